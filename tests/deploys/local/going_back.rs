//! Rollbacks.

use forge::deploy::provider::Wanted;

use super::bed::{Bed, Plan};
use super::engine::{docker, free_port};

/// Revisions 1 to 3, which answer `one`, `two`, `three`; their images.
fn three(bed: &Bed, url: Option<&str>) -> Vec<String> {
    let images: Vec<String> = ["one", "two", "three"].map(|word| bed.web(word)).to_vec();
    for image in &images {
        bed.deployed(image, url);
    }
    images
}

#[test]
fn twice_in_a_row_goes_further_back_and_then_stops() {
    let bed = Bed::new();
    three(&bed, None);
    for (number, word) in [(2, "two"), (1, "one")] {
        bed.back().ends(0).says(&format!("runs app:{number} again"));
        assert_eq!(bed.answer().as_deref(), Some(word));
    }
    bed.back().ends(1).says("nothing that app could go back to");
    assert_eq!(bed.answer().as_deref(), Some("one"));
    let history = ["app:1", "app:2", "app:3", "app:2", "app:1"];
    let history = history.map(|revision| format!("{revision} successful"));
    assert_eq!(bed.history(), history);
    // Forth again, and back to what was before.
    bed.rollback(Wanted::To("3".into()), &Plan::default())
        .ends(0);
    bed.back().ends(0).says("runs app:1 again");
}

#[test]
fn the_port_goes_back_too() {
    let bed = Bed::new();
    let url = format!("http://127.0.0.1:{}", free_port());
    three(&bed, Some(&url));
    bed.back().ends(0).says("goes over to app:2");
    assert_eq!(bed.answer().as_deref(), Some("two"));
}

#[test]
fn so_many_steps_or_a_named_one() {
    let bed = Bed::new();
    three(&bed, None);
    let to = |text: &str| bed.rollback(Wanted::To(text.into()), &Plan::default());
    to("9").ends(1).says("never completed");
    to("app:3").ends(1).says("already");
    bed.rollback(Wanted::Steps(2), &Plan::default())
        .ends(0)
        .says("to app:1 Some(\"c0\")");
    assert_eq!(bed.answer().as_deref(), Some("one"));
}

#[test]
fn what_cant_run_any_more_is_passed_over() {
    let bed = Bed::new();
    let images = three(&bed, None);
    docker(&["image", "rm", "-f", &images[1]]);
    bed.rollback(Wanted::To("2".into()), &Plan::default())
        .ends(1)
        .says("needs an image that is gone");
    bed.back()
        .ends(0)
        .says("app:2 needs an image that is gone")
        .says("runs app:1 again");
}

#[test]
fn a_deployment_that_never_completed_is_no_way_back() {
    let bed = Bed::new();
    let (one, bad, two) = (bed.web("one"), bed.crash(), bed.web("two"));
    bed.deployed(&one, None);
    let plan = |image| Plan {
        image,
        ..Plan::default()
    };
    bed.deploy(&plan(&bad)).ends(5);
    bed.deploy(&plan(&two)).ends(0);
    bed.back().ends(0).says("runs app:1 again");
}

#[test]
fn a_rollback_that_fails_leaves_what_ran() {
    let bed = Bed::new();
    // It runs once, and never again on a disk that remembers.
    let once = bed.image(
        "EXPOSE 8000\nCMD test $WORD = fine || exit 9; mkdir /www; echo one > /www/index.html; exec httpd -f -p 8000 -h /www",
    );
    let two = bed.web("two");
    let plan = |image, smoke| Plan {
        image,
        smoke,
        env: &[("WORD", "fine")],
        ..Plan::default()
    };
    bed.deploy(&plan(&once, &[])).ends(0);
    bed.deploy(&plan(&two, &[])).ends(0);
    // Its checks fail, but somebody wanted it back.
    bed.rollback(Wanted::Steps(1), &plan(&two, &["false"]))
        .ends(6)
        .says("its checks fail");
    assert_eq!(bed.answer().as_deref(), Some("one"));
}

#[test]
fn so_many_are_kept_and_no_image_goes() {
    let bed = Bed::new();
    let image = bed.web("one");
    let words: Vec<String> = (0..13).map(|number| number.to_string()).collect();
    for word in &words {
        let plan = Plan {
            image: &image,
            env: &[("N", word)],
            ..Plan::default()
        };
        bed.deploy(&plan).ends(0);
    }
    let kept = bed.containers();
    assert_eq!(kept.len(), 11, "{kept:?}");
    assert!(kept.contains(&".3".to_owned()) && !kept.contains(&".2".to_owned()));
    docker(&["image", "inspect", &image]);
}

//! What runs, what ran, and what it wrote.

use super::bed::{Bed, Plan};
use super::engine::{docker, until};

#[test]
fn status_says_what_runs() {
    let bed = Bed::new();
    bed.status().ends(1).says("nothing has been deployed");
    let image = bed.web("one");
    bed.deployed(&image, None);
    bed.status()
        .ends(0)
        .says("number: 1")
        .says("up: 1")
        .says("\"c0\"")
        .says("\"completed\"");
    docker(&["stop", &bed.name("")]);
    bed.status().says("up: 0");
}

#[test]
fn an_environment_that_names_no_service_has_one() {
    let bed = Bed::new();
    let image = bed.web("one");
    let plan = Plan {
        image: &image,
        services: &[],
        ..Plan::default()
    };
    bed.deploy(&plan).ends(0);
    let name = format!("{0}-dev-{0}", bed.pipeline);
    assert_eq!(
        docker(&["inspect", "-f", "{{.State.Running}}", &name]),
        "true"
    );
}

#[test]
fn history_tells_how_each_one_ended() {
    let bed = Bed::new();
    assert!(bed.history().is_empty());
    let (one, bad) = (bed.web("one"), bed.crash());
    let (two, three) = (bed.web("two"), bed.web("three"));
    bed.deployed(&one, None);
    let plan = |image, smoke| Plan {
        image,
        smoke,
        ..Plan::default()
    };
    bed.deploy(&plan(&bad, &[])).ends(5);
    bed.deploy(&plan(&two, &["false"])).ends(5);
    bed.deploy(&plan(&three, &["true"])).ends(0);
    assert_eq!(
        bed.history(),
        [
            "app:4 successful",
            "app:3 failed its checks failed",
            "app:2 failed its container crashed",
            "app:1 successful",
        ]
    );
}

#[test]
fn logs_are_shown_and_followed() {
    let bed = Bed::new();
    bed.logs(None, &|_| {});
    let image =
        bed.image("CMD echo hello; while [ ! -e /go ]; do sleep 0.1; done; echo and on; sleep 600");
    bed.deployed(&image, None);
    until("its first line", || {
        bed.logs(None, &|_| {}).text == "app: hello\n"
    });
    let name = bed.name("");
    let go_on = |line: &str| {
        if line == "hello" {
            docker(&["exec", &name, "touch", "/go"]);
        }
    };
    let run = bed.logs(Some("and on"), &go_on);
    assert_eq!(run.text, "app: hello\napp: and on\n");
    // What has ended can be read still.
    docker(&["stop", &name]);
    assert_eq!(bed.logs(None, &|_| {}).text, run.text);
}

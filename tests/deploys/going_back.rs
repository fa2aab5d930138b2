//! Rollbacks.

use serde_json::json;

use crate::driver::{deploy, run};
use crate::script::{REPOSITORY, Script, Wrong};

/// Revisions 1 to 4, with images of the same numbers.
fn four() -> Script {
    let script = Script::new(&[]);
    for number in 2..=4 {
        let scenario =
            json!({ "digest": format!("sha256:{number}"), "commit": format!("c{number}") });
        deploy(&script, scenario).ends(0);
    }
    script.state(|state| state.calls.clear());
    script
}

fn image(number: u32) -> String {
    format!("{REPOSITORY}@sha256:{number}")
}

#[test]
fn twice_in_a_row_goes_further_back_and_then_stops() {
    let script = four();
    for number in [3, 2, 1] {
        run(&script, "rollback", json!({}))
            .ends(0)
            .says(&format!("runs app:{number} again"));
        assert_eq!(script.runs(), image(number));
    }
    run(&script, "rollback", json!({}))
        .ends(1)
        .says("nothing that app could go back to");
    assert_eq!(script.calls("UpdateService").len(), 3);
    assert!(script.calls("RegisterTaskDefinition").is_empty());
    assert!(script.calls("DeregisterTaskDefinition").is_empty());
}

#[test]
fn a_new_deployment_after_a_rollback_goes_back_to_what_was_good() {
    let script = four();
    run(&script, "rollback", json!({})).ends(0);
    deploy(&script, json!({ "digest": "sha256:5" })).ends(0);
    run(&script, "rollback", json!({}))
        .ends(0)
        .says("runs app:3 again");
}

#[test]
fn so_many_steps_or_a_named_one() {
    let script = four();
    let shown = run(&script, "rollback", json!({ "steps": 2, "dry": true }));
    shown
        .says("to app:2 Some(\"sha256:2\") Some(\"c2\")")
        .says("~ app image");
    assert!(script.writes().is_empty());
    run(&script, "rollback", json!({ "to": "2" }))
        .ends(0)
        .says("runs app:2 again");
    run(&script, "rollback", json!({ "to": "app:2" }))
        .ends(1)
        .says("already");
    run(&script, "rollback", json!({ "to": "9" }))
        .ends(1)
        .says("never completed");
    run(&script, "rollback", json!({ "to": "x" }))
        .ends(1)
        .says("isn't a revision");
}

#[test]
fn what_cant_run_any_more_is_passed_over() {
    let script = four();
    script.state(|state| state.revisions[2]["status"] = json!("INACTIVE"));
    let scenario = json!({ "gone": ["sha256:2"] });
    run(&script, "rollback", scenario)
        .ends(0)
        .says("app:3 is inactive")
        .says("app:2 needs an image that is gone")
        .says("runs app:1 again");
    let script = four();
    script.state(|state| state.revisions[2]["status"] = json!("INACTIVE"));
    run(&script, "rollback", json!({ "to": "3" }))
        .ends(1)
        .says("is inactive");
}

#[test]
fn a_deployment_that_never_completed_is_no_way_back() {
    let script = four();
    script.state(|state| state.deployments[2].record = "ROLLBACK_SUCCESSFUL");
    run(&script, "rollback", json!({}))
        .ends(0)
        .says("runs app:2 again");
}

#[test]
fn tags_tell_where_ecs_doesnt() {
    let script = four();
    script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
    run(&script, "rollback", json!({}))
        .ends(0)
        .says("runs app:3 again");
    // The first one was deployed by somebody else, so no tag says that it completed.
    let script = Script::new(&[]);
    deploy(&script, json!({})).ends(0);
    script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
    run(&script, "rollback", json!({}))
        .ends(1)
        .says("nothing that app could go back to");
}

#[test]
fn a_revision_that_says_latest_comes_back_with_the_image_that_it_ran() {
    let script = Script::new(&[]);
    script.state(|state| {
        state.revisions[0]["containerDefinitions"][0]["image"] =
            json!(format!("{REPOSITORY}:latest"));
    });
    deploy(&script, json!({})).ends(0);
    run(&script, "rollback", json!({}))
        .ends(0)
        .says("runs app:3 again");
    assert_eq!(script.runs(), format!("{REPOSITORY}@sha256:resolved"));
    let tags = &script.calls("RegisterTaskDefinition")[1]["tags"];
    let tags = tags.as_array().expect("tags");
    assert!(
        tags.contains(&json!({ "key": "forge:copy-of", "value": "app:1" })),
        "{tags:?}"
    );
    // The copy counts as what it is a copy of: there is nothing behind it.
    run(&script, "rollback", json!({})).ends(1);

    // The same for the way back of a deployment that fails.
    let script = Script::new(&[]);
    script.state(|state| {
        state.revisions[0]["containerDefinitions"][0]["image"] =
            json!(format!("{REPOSITORY}:latest"));
    });
    deploy(&script, json!({ "smoke": ["false"] })).ends(5);
    assert_eq!(script.runs(), format!("{REPOSITORY}@sha256:resolved"));
}

#[test]
fn a_deployment_under_way_is_cancelled_not_rolled_back() {
    let script = four();
    script.state(|state| state.begin(0, crate::script::Fate::Stuck));
    run(&script, "rollback", json!({}))
        .ends(4)
        .says("forge cancel dev");
    assert!(script.writes().is_empty());
    run(&script, "cancel", json!({}))
        .ends(0)
        .says("0005 goes back");
    assert_eq!(script.writes(), ["StopServiceDeployment"]);
    let stopped = &script.calls("StopServiceDeployment")[0];
    assert_eq!(stopped["stopType"], "ROLLBACK");
}

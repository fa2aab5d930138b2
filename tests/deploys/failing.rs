//! Deployments that fail, and calls that do.

use serde_json::json;

use crate::driver::deploy;
use crate::script::{Fate, REPOSITORY, Script, Wrong};

fn first() -> String {
    format!("{REPOSITORY}@sha256:1")
}

#[test]
fn the_breakers_rollback_is_a_failure() {
    for denied in [false, true] {
        let script = Script::new(&[Fate::Breaker]);
        if denied {
            script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
        }
        deploy(&script, json!({}))
            .ends(5)
            .says("stopped: app exited with 1")
            .says("| said \"ecs/app/stopped-ecs-svc-0002\"")
            .says("RolledBack");
        assert_eq!(script.calls("UpdateService").len(), 1, "{denied}");
        assert_eq!(script.runs(), first());
    }
}

#[test]
fn what_hangs_goes_back_after_its_time_and_is_seen_to() {
    let script = Script::new(&[Fate::Stuck]);
    deploy(&script, json!({ "timeout": 400 }))
        .ends(5)
        .says("didn't complete within")
        .says("app: going back to app:1")
        .says("app: runs app:1 again");
    assert_eq!(script.calls("UpdateService").len(), 2);
    assert_eq!(script.runs(), first());

    let script = Script::new(&[Fate::Stuck]);
    let scenario = json!({ "timeout": 400, "on-failure": "stop" });
    deploy(&script, scenario)
        .ends(6)
        .says("`on-failure` is \\\"stop\\\"");
    assert_eq!(script.calls("UpdateService").len(), 1);
}

#[test]
fn a_way_back_that_fails_is_said() {
    let script = Script::new(&[Fate::Stuck, Fate::Stuck]);
    deploy(&script, json!({ "timeout": 300 }))
        .ends(6)
        .says("couldn't go back");
    assert_eq!(script.calls("UpdateService").len(), 2);
}

#[test]
fn who_is_overtaken_fails_and_leaves_the_other_alone() {
    for denied in [false, true] {
        let script = Script::new(&[Fate::Overtaken]);
        if denied {
            script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
        }
        deploy(&script, json!({}))
            .ends(6)
            .says("superseded by ecs-svc/0003");
        assert_eq!(script.calls("UpdateService").len(), 1);
    }
}

#[test]
fn what_vanished_has_failed() {
    let script = Script::new(&[Fate::Vanishes]);
    script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
    deploy(&script, json!({})).ends(6).says("vanished");
}

#[test]
fn a_failed_check_from_outside_goes_back() {
    let script = Script::new(&[]);
    deploy(&script, json!({ "smoke": ["true", "false"] }))
        .ends(5)
        .says("smoke: `false` failed: exit code 1")
        .says("runs app:1 again");
    assert_eq!(script.runs(), first());
    let tagged = script.state(|state| state.revisions[1]["tags"].to_string());
    assert!(!tagged.contains("forge:completed"), "{tagged}");
}

#[test]
fn an_answer_that_is_lost_is_found_and_not_sent_again() {
    for wrong in [Wrong::FailsAfter, Wrong::CutAfter] {
        let script = Script::new(&[]);
        script.goes_wrong("UpdateService", wrong, 1);
        script.goes_wrong("RegisterTaskDefinition", wrong, 1);
        deploy(&script, json!({}))
            .ends(0)
            .says("goes out as ecs-svc/0002");
        assert_eq!(script.calls("UpdateService").len(), 1, "{wrong:?}");
        assert_eq!(script.calls("RegisterTaskDefinition").len(), 1, "{wrong:?}");
    }
}

#[test]
fn a_call_that_did_nothing_is_made_again_and_given_up_clearly() {
    for wrong in [Wrong::Fails, Wrong::Throttled] {
        let script = Script::new(&[]);
        script.goes_wrong("UpdateService", wrong, 2);
        deploy(&script, json!({})).ends(0);
        assert_eq!(script.calls("UpdateService").len(), 3, "{wrong:?}");
    }
    let script = Script::new(&[]);
    script.goes_wrong("UpdateService", Wrong::Throttled, 99);
    deploy(&script, json!({}))
        .ends(1)
        .says("UpdateService was throttled");
    assert_eq!(script.runs(), first());
}

#[test]
fn credentials_that_expire_on_the_way_leave_it_going_on() {
    let script = Script::new(&[Fate::Stuck]);
    script.goes_wrong("DescribeServiceDeployments", Wrong::Expired, 99);
    deploy(&script, json!({}))
        .ends(6)
        .says("goes on, but can't be followed");
    assert_eq!(script.calls("UpdateService").len(), 1);
}

#[test]
fn tasks_that_may_not_be_looked_at_change_nothing() {
    let script = Script::new(&[Fate::Breaker]);
    script.goes_wrong("ListTasks", Wrong::Denied, 99);
    deploy(&script, json!({}))
        .ends(5)
        .says("can't be looked at");
}

#[test]
fn throttled_looks_are_borne() {
    let script = Script::new(&[]);
    script.goes_wrong("DescribeServiceDeployments", Wrong::Throttled, 4);
    deploy(&script, json!({})).ends(0);
}

#[test]
fn ctrl_c_says_what_goes_on_and_never_success() {
    let script = Script::new(&[]);
    deploy(&script, json!({ "cancel-on": "goes out as" }))
        .ends(130)
        .says("ecs-svc/0002 of app goes on")
        .says("forge cancel dev");
    let script = Script::new(&[]);
    let scenario = json!({ "cancel-on": "in task", "before": ["migrate"] });
    deploy(&script, scenario)
        .ends(130)
        .says("the service wasn't touched");
    assert!(script.calls("UpdateService").is_empty());
    let script = Script::new(&[Fate::Stuck]);
    let scenario = json!({ "cancel-on": "going back", "timeout": 300 });
    deploy(&script, scenario)
        .ends(130)
        .says("forge rollback dev");
}

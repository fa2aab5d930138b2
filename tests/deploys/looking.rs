//! What only looks.

use serde_json::json;

use crate::driver::{deploy, run};
use crate::script::{Script, Wrong};

#[test]
fn status_history_and_logs_tell_and_change_nothing() {
    let script = Script::new(&[]);
    deploy(&script, json!({})).ends(0);
    let before = script.writes();
    run(&script, "status", json!({}))
        .ends(0)
        .says("\"sha256:2\"")
        .says("\"c0ffee\"")
        .says("state: \"completed\"");
    run(&script, "history", json!({}))
        .ends(0)
        .says("number: 2")
        .says("number: 1")
        .says("\"ann\"")
        .says("state: \"successful\"");
    run(&script, "logs", json!({}))
        .ends(0)
        .says("running-ecs-svc-0002 said \"ecs/app/running-ecs-svc-0002\"");
    run(&script, "cancel", json!({})).ends(0).says("[]");
    assert_eq!(script.writes(), before);
}

#[test]
fn history_says_what_it_may_not_read() {
    let script = Script::new(&[]);
    script.goes_wrong("ListServiceDeployments", Wrong::Denied, 9);
    run(&script, "history", json!({}))
        .ends(0)
        .says("isn't allowed");
    run(&script, "cancel", json!({})).ends(1);
}

#[test]
fn a_service_that_isnt_there_is_named() {
    let script = Script::new(&[]);
    script.goes_wrong("DescribeServices", Wrong::Denied, 9);
    run(&script, "status", json!({})).ends(3).says("was denied");
}

//! Deployments that go well, that have nothing to do, and that are refused.

use serde_json::json;

use crate::driver::{deploy, run};
use crate::script::{Fate, REPOSITORY, Script, Wrong};

#[test]
fn a_deployment_registers_a_pinned_revision_and_updates_once() {
    let script = Script::new(&[]);
    let scenario = json!({ "env": { "LOG_LEVEL": "DEBUG" }, "smoke": ["true"] });
    let run = deploy(&script, scenario);
    run.ends(0)
        .says("~ app env LOG_LEVEL: INFO → DEBUG")
        .says("app: registered app:2")
        .says("ecs-svc/0002 completed")
        .says("smoke: `true` passed");
    assert_eq!(
        script.writes(),
        ["RegisterTaskDefinition", "UpdateService", "TagResource"]
    );
    assert_eq!(script.runs(), format!("{REPOSITORY}@sha256:2"));
    let registered = &script.calls("RegisterTaskDefinition")[0];
    assert_eq!(registered["newerThanTheSdk"], json!({ "kept": [1, 2] }));
    let container = &registered["containerDefinitions"][0];
    assert_eq!(container["image"], format!("{REPOSITORY}@sha256:2"));
    assert_eq!(container["environment"][0]["value"], "DEBUG");
    for read_only in [
        "revision",
        "status",
        "registeredAt",
        "taskDefinitionArn",
        "registeredBy",
    ] {
        assert!(registered.get(read_only).is_none(), "{read_only}");
    }
    for (key, value) in [
        ("forge:commit", "c0ffee"),
        ("forge:by", "ann"),
        ("forge:key", "k1"),
        ("forge:at", "2026-01-09T12:00:00Z"),
        ("forge:container", "app"),
    ] {
        let tags = registered["tags"].as_array().expect("tags");
        assert!(
            tags.contains(&json!({ "key": key, "value": value })),
            "{key}: {tags:?}"
        );
    }
    let breaker = &script.calls("UpdateService")[0]["deploymentConfiguration"];
    assert_eq!(
        breaker["deploymentCircuitBreaker"],
        json!({ "enable": true, "rollback": true })
    );
    assert_eq!(breaker["maximumPercent"], 200);
}

#[test]
fn an_unchanged_service_gets_no_call() {
    let script = Script::new(&[]);
    // What forge never deployed is checked, once.
    let first = json!({ "digest": "sha256:1" });
    deploy(&script, first.clone()).ends(0).says("Done");
    assert_eq!(script.writes(), ["TagResource"]);
    deploy(&script, first).ends(0).says("Fresh");
    deploy(&script, json!({})).ends(0).says("Done");
    let before = script.writes();
    deploy(&script, json!({})).ends(0).says("Fresh");
    assert_eq!(script.writes(), before);
}

#[test]
fn a_file_gives_the_definition() {
    let script = Script::new(&[]);
    let file = json!({
        "family": "other", "requiresCompatibilities": ["FARGATE"], "cpu": "512", "memory": "1024",
        "containerDefinitions": [{ "name": "app", "image": "app:latest" }],
    });
    let scenario = json!({ "task-definition": file.to_string() });
    deploy(&script, scenario).ends(0).says("~ cpu: 256 → 512");
    let registered = &script.calls("RegisterTaskDefinition")[0];
    assert_eq!(registered["family"], "other");
    assert_eq!(
        registered["containerDefinitions"][0]["image"],
        format!("{REPOSITORY}@sha256:2")
    );
}

#[test]
fn a_plan_changes_nothing_and_only_that_plan_is_approved() {
    let script = Script::new(&[]);
    let approval = |approve: Option<&str>| json!({ "approval": true, "approve": approve });
    let plan = run(&script, "plan", approval(None)).plan();
    deploy(&script, approval(None))
        .ends(4)
        .says(&format!("--approve {plan}"));
    deploy(&script, approval(Some("00000000")))
        .ends(4)
        .says("00000000");
    assert_eq!(script.writes(), [] as [&str; 0]);
    deploy(&script, approval(Some(&plan))).ends(0);
    // What it was approved upon is gone.
    let scenario = json!({ "approval": true, "approve": plan, "digest": "sha256:3" });
    deploy(&script, scenario).ends(4);
}

#[test]
fn gates_and_checks_refuse_before_anything_is_written() {
    let script = Script::new(&[]);
    let arm = json!({ "architecture": "arm64" });
    for (scenario, code, said) in [
        (json!({ "account": "999999999999" }), 4, "123456789012"),
        (
            json!({ "branches": ["main"], "branch": "topic" }),
            4,
            "`topic` isn't deployed here",
        ),
        (json!({ "gone": ["sha256:2"] }), 1, "the registry has no"),
        (arm, 1, "the image is for arm64"),
        (json!({ "memory": 1536 }), 1, "cpu = 256 and memory = 1536"),
        (json!({ "cancel-on": "" }), 130, "interrupted"),
    ] {
        deploy(&script, scenario).ends(code).says(said);
    }
    assert_eq!(script.writes(), [] as [&str; 0]);
}

#[test]
fn credentials_that_expired_are_told_from_what_is_refused() {
    let script = Script::new(&[]);
    script.goes_wrong("DescribeServices", Wrong::Expired, 9);
    deploy(&script, json!({})).ends(3).says("log in again");
}

#[test]
fn another_deployment_under_way_is_not_disturbed() {
    let script = Script::new(&[]);
    script.state(|state| state.begin(0, Fate::Stuck));
    deploy(&script, json!({})).ends(4).says("ecs-svc/0002");
    assert_eq!(script.writes(), [] as [&str; 0]);
    deploy(&script, json!({ "takeover": true })).ends(0);
}

#[test]
fn who_comes_second_stops_before_the_update() {
    for (quick, said) in [
        (false, "another deployment is going on"),
        (true, "meanwhile"),
    ] {
        let script = Script::new(&[]);
        script.state(|state| {
            state.quick = quick;
            state.intruder = Some("RegisterTaskDefinition");
        });
        deploy(&script, json!({})).ends(4).says(said);
        assert_eq!(script.writes(), ["RegisterTaskDefinition"]);
    }
}

#[test]
fn a_migration_runs_first_and_keeps_a_bad_one_away() {
    let script = Script::new(&[]);
    let scenario = json!({ "before": ["python -m app.migrate"] });
    deploy(&script, scenario.clone())
        .ends(0)
        .says("before: `python -m app.migrate` is done");
    assert_eq!(
        script.writes(),
        [
            "RegisterTaskDefinition",
            "RunTask",
            "UpdateService",
            "TagResource"
        ]
    );
    let task = &script.calls("RunTask")[0];
    let command = &task["overrides"]["containerOverrides"][0]["command"];
    assert_eq!(*command, json!(["sh", "-c", "python -m app.migrate"]));
    assert_eq!(
        task["networkConfiguration"]["awsvpcConfiguration"]["subnets"][0],
        "subnet-1"
    );
    assert!(
        task["taskDefinition"]
            .as_str()
            .expect("one")
            .ends_with("app:2")
    );

    let script = Script::new(&[]);
    script.state(|state| state.exit_code = 3);
    deploy(&script, scenario)
        .ends(1)
        .says("app exited with 3")
        .says("said")
        .says("Untouched");
    assert_eq!(script.writes(), ["RegisterTaskDefinition", "RunTask"]);
}

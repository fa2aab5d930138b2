//! What programs are told of a deployment: events on standard output, and notices to those who want them.

use serde_json::{Value, json};

use crate::aws::ecs::behavior::Behavior;
use crate::bed::{Bed, events};
use crate::mould::digest;
use crate::receivers::Http;
use crate::receivers::Reply::{Cut, Say};

const ALL: &str =
    "on = [\"deploy-started\", \"deploy-succeeded\", \"deploy-failed\", \"rolled-back\"]";

/// One whose deployments are told to a receiver.
fn bed(http: &Http, keys: &str) -> Bed {
    let mut bed = Bed::new(&format!("notify = [\"ops\"]\n{keys}"));
    let notify = format!("[notify.ops]\nkind = \"webhook\"\nurl = \"${{env.HOOK}}\"\n{ALL}\n");
    let text = bed.ws.read("Pipeline.toml");
    bed.ws.write("Pipeline.toml", &(text + &notify));
    bed.ws.git(&["commit", "-q", "-a", "-m", "notify"]);
    bed.env("HOOK", &http.url("/hook"));
    bed
}

/// The names of what arrived, and the documents.
fn told(http: &Http) -> (Vec<String>, Vec<Value>) {
    let documents: Vec<Value> = http
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    let name = |document: &Value| document["event"].as_str().unwrap_or_default().to_owned();
    (documents.iter().map(name).collect(), documents)
}

#[test]
fn the_events_of_a_deployment() {
    let bed = Bed::new("before = [\"migrate\"]\nsmoke = [{ run = \"true\" }]");
    bed.aws
        .ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), Behavior::exits(0)));
    let ran = bed.forge(&["deploy", "--json"]);
    let all = ran.code(0).events();
    let names: Vec<&str> = all
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    let position = |name: &str| names.iter().position(|one| *one == name).expect(name);
    let order = [
        "deploy-planned",
        "deploy-started",
        "deploy-progress",
        "deploy-finished",
    ];
    assert!(order.map(position).is_sorted(), "{names:?}");
    for name in order {
        for event in events(&all, name) {
            assert_eq!(
                (&event["target"], &event["environment"]),
                (&json!("deploy"), &json!("production"))
            );
        }
    }
    let planned = events(&all, "deploy-planned")[0];
    assert_eq!(planned["plan"].as_str().map(str::len), Some(8));
    assert_eq!(planned["image"], bed.image("one"));
    assert_eq!(planned["services"][0]["running"]["revision"], "app:1");
    let steps: Vec<&str> = events(&all, "deploy-progress")
        .iter()
        .filter_map(|event| event["step"].as_str())
        .filter(|step| !matches!(*step, "rollout" | "event"))
        .collect();
    assert_eq!(
        steps,
        [
            "registered",
            "before-started",
            "before-done",
            "updating",
            "completed",
            "smoke-passed"
        ]
    );
    let finished = events(&all, "deploy-finished")[0];
    assert_eq!(
        (
            &finished["result"],
            &finished["exit-code"],
            &finished["now"]
        ),
        (
            &json!("done"),
            &json!(0),
            &json!([{"service": "app", "revision": "app:2", "running": 2, "desired": 2}])
        )
    );
    assert!(
        ran.stderr.is_empty() || !ran.stderr.contains("warning"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_events_of_a_failure() {
    let bed = Bed::new("");
    bed.aws.ecs(|ecs| {
        ecs.image_behaves(&digest("one"), Behavior::exits(3).says(&["no database"]));
    });
    let ran = bed.forge(&["deploy", "--json"]);
    let all = ran.code(5).events();
    let crashed = events(&all, "deploy-progress")
        .into_iter()
        .find(|event| event["step"] == "crashed")
        .expect("a crash");
    assert_eq!(
        (
            &crashed["exit-code"],
            &crashed["container"],
            &crashed["log"]
        ),
        (&json!(3), &json!("app"), &json!(["no database"]))
    );
    let finished = events(&all, "deploy-finished")[0];
    assert_eq!(
        (
            &finished["result"],
            &finished["after"],
            &finished["exit-code"]
        ),
        (&json!("failed"), &json!("rolled-back"), &json!(5))
    );
    assert!(
        finished["reason"]
            .as_str()
            .is_some_and(|why| why.contains("app exited with 3"))
    );
    let end = all.last().expect("an end");
    assert_eq!(
        (&end["event"], &end["exit-code"]),
        (&json!("run-finished"), &json!(5))
    );
}

#[test]
fn a_success_is_told_once() {
    let http = Http::new(&[]);
    let bed = bed(&http, "url = \"https://example.com\"");
    bed.forge(&["deploy"]).code(0);
    let (names, documents) = told(&http);
    assert_eq!(names, ["deploy-started", "deploy-succeeded"]);
    let deployment = &documents[1]["deployment"];
    for (field, value) in [
        ("environment", "production"),
        ("target", "deploy"),
        ("revision", "app:2"),
        ("previous", "app:1"),
        ("url", "https://example.com"),
    ] {
        assert_eq!(deployment[field], value, "{field}");
    }
    // Nothing is to be done, or only looked at: nobody is told.
    bed.forge(&["deploy"]).code(0);
    bed.forge(&["deploy", "-n"]).code(0);
    assert_eq!(http.requests().len(), 2);
    bed.settle("app");
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    assert_eq!(told(&http).0[2..], ["rolled-back"]);
}

#[test]
fn a_failure_is_told_once_with_its_reason() {
    let http = Http::new(&[]);
    let bed = bed(&http, "");
    bed.aws.ecs(|ecs| {
        ecs.image_behaves(&digest("one"), Behavior::exits(3).says(&["no database"]));
    });
    bed.forge(&["deploy"]).code(5);
    let (mut names, documents) = told(&http);
    names.sort();
    assert_eq!(names, ["deploy-failed", "deploy-started", "rolled-back"]);
    let failed = documents.iter().find(|one| one["event"] == "deploy-failed");
    let failed = &failed.expect("told")["deployment"];
    assert!(
        failed["reason"]
            .as_str()
            .is_some_and(|why| why.contains("app exited with 3"))
    );
    assert!(
        failed["log"]
            .as_str()
            .is_some_and(|log| log.contains("no database"))
    );
}

#[test]
fn what_is_refused_is_told_to_nobody() {
    let http = Http::new(&[]);
    let bed = bed(&http, "branch = [\"release\"]");
    bed.forge(&["deploy"]).code(4);
    assert_eq!(http.requests().len(), 0);
}

#[test]
fn a_notifier_that_fails_changes_nothing() {
    let http = Http::new(&[
        Cut,
        Cut,
        Cut,
        Say(500, "", "no"),
        Say(500, "", "no"),
        Say(500, "", "no"),
        Cut,
        Cut,
        Cut,
    ]);
    let bed = bed(&http, "");
    let ran = bed.forge(&["deploy", "--json"]);
    ran.code(0).says("ops");
    assert_eq!(ran.end_of("deploy")["outcome"], "ran");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

//! `status`, `history`, `stats`, `logs` and `cancel`: what they say, for people and for programs, and that they only look.

use libc::SIGINT;
use serde_json::Value;

use crate::aws::ecs::behavior::Behavior;
use crate::bed::{Bed, wait_for};
use crate::mould::digest;

/// One with a deployment that completed, one that failed, and another that completed.
fn bed() -> Bed {
    let bed = Bed::new("");
    bed.aws.ecs(|ecs| {
        ecs.behave(|_| true, Behavior::runs().says(&["hello", "\x1b[2Jworld"]));
        ecs.image_behaves(&digest("two"), Behavior::exits(1));
    });
    bed.deploy("one");
    bed.settle("app");
    bed.commit("two");
    bed.forge(&["deploy"]).code(5);
    bed.settle("app");
    bed.deploy("three");
    bed.settle("app");
    bed.aws.forget_calls();
    bed
}

#[track_caller]
fn json(bed: &Bed, args: &[&str]) -> Value {
    let ran = bed.forge(args);
    ran.code(0);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

#[track_caller]
fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn what_there_is_to_see_is_shown_and_nothing_is_written() {
    let bed = bed();
    let head = bed.head();

    bed.forge(&["status"])
        .code(0)
        .says("ENVIRONMENT")
        .says("app:4")
        .says(&head[..10])
        .says("2 of 2")
        .says("completed");
    let status = json(&bed, &["status", "production", "--json"]);
    assert_eq!(
        fields(&status[0]),
        [
            "environment",
            "service",
            "revision",
            "deployment",
            "digest",
            "commit",
            "running",
            "desired",
            "pending",
            "state",
            "since",
            "others"
        ]
    );
    assert_eq!(status[0]["digest"], digest("three"));
    assert_eq!(status[0]["deployment"], bed.deployment("app"));

    let ran = bed.forge(&["history", "production"]);
    ran.code(0)
        .says("ada")
        .says("rolled back")
        .says("circuit breaker");
    let states: Vec<&str> = ran
        .stdout
        .lines()
        .skip(1)
        .map(|line| {
            if line.contains("rolled back") {
                "back"
            } else {
                "fine"
            }
        })
        .collect();
    assert_eq!(states, ["fine", "fine", "back", "fine"], "the newest last");
    let history = json(&bed, &["history", "production", "--json"]);
    assert_eq!(
        fields(&history[3]),
        [
            "service", "revision", "digest", "commit", "by", "state", "reason", "created",
            "finished"
        ]
    );
    assert_eq!(history[3]["commit"], head);
    assert_eq!(history[2]["state"], "rolled back");

    bed.forge(&["stats", "production"])
        .code(0)
        .says("4 deployments to production, 0 rollbacks")
        .says("25% (1 of 4)");
    let stats = json(&bed, &["stats", "production", "--json"]);
    assert_eq!(
        fields(&stats),
        [
            "deployments",
            "rollbacks",
            "failed",
            "per-week",
            "lead-time-ms",
            "change-failure-rate",
            "time-to-recovery-ms"
        ]
    );
    assert_eq!(
        (&stats["failed"], &stats["change-failure-rate"]),
        (&1.into(), &0.25.into())
    );

    let ran = bed.forge(&["logs", "production"]);
    ran.code(0).says("hello").says("world").says_not("\x1b[2J");
    let ran = bed.forge(&["logs", "production", "--json"]);
    let line = &ran.code(0).events()[0];
    assert_eq!(fields(line), ["at", "service", "task", "text"]);
    assert_eq!(
        (&line["service"], &line["text"]),
        (&"app".into(), &"hello".into())
    );

    bed.forge(&["cancel", "production"])
        .code(0)
        .says("no deployment is going on in production");
    assert_eq!(bed.writes(), [""; 0]);
}

#[test]
fn names_that_arent_there_are_said_with_what_is() {
    let bed = Bed::new("");
    for command in ["status", "history", "stats", "logs", "cancel", "rollback"] {
        bed.forge(&[command, "productoin"])
            .code(2)
            .says("no environment `productoin`")
            .says("production");
    }
    assert_eq!(bed.aws.calls().len(), 0);
}

#[test]
fn logs_are_followed_from_task_to_task() {
    let bed = Bed::new("");
    bed.aws.ecs(|ecs| {
        ecs.image_behaves(&digest("one"), Behavior::runs().says(&["the new one"]));
    });
    let running = bed.start(&["logs", "production", "--follow"]);
    bed.forge(&["deploy"]).code(0);
    wait_for(&running, "the new one");
    running.signal(SIGINT);
    let ran = running.wait();
    ran.code(130);
    assert_eq!(
        ran.stdout.matches("the new one").count(),
        2,
        "once a task: {}",
        ran.stdout
    );
}

#[test]
fn a_deployment_can_be_cancelled_by_anybody() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(1e6)));
    let running = bed.start(&["deploy"]);
    wait_for(&running, "2 pending");
    let ours = bed.deployment("app");
    let other = bed.clone_of();
    other
        .run(bed.command_in(&other, &["status"]))
        .code(0)
        .says("in progress (1 older)");
    other
        .run(bed.command_in(&other, &["cancel", "production"]))
        .code(0)
        .says(&format!("app: {ours} goes back to what was before"))
        .says("see how it goes: forge status production");
    running
        .wait()
        .code(5)
        .says("StopServiceDeployment")
        .says_not("✓ deploy");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
}

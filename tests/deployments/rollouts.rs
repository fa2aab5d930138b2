//! How a deployment goes, and which end of it is a success.

use std::time::Duration;

use serde_json::json;

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::bed::{Bed, wait_for};
use crate::mould::digest;

fn crashes() -> Behavior {
    Behavior::exits(3).says(&["connecting to db:5432", "no database"])
}

/// One whose new image behaves so.
fn bed(behavior: Behavior, keys: &str) -> Bed {
    let bed = Bed::new(keys);
    let bad = digest("one");
    bed.aws.ecs(|ecs| ecs.image_behaves(&bad, behavior));
    bed
}

/// Their position in a text, which has all of them.
#[track_caller]
fn in_order(text: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        let at = text[from..].find(word);
        from += at.unwrap_or_else(|| panic!("no {word:?} after the others in\n{text}"));
    }
}

#[test]
fn a_deployment_pins_the_digest_and_is_one_call() {
    let bed = Bed::new("");
    bed.forge(&["deploy"])
        .code(0)
        .says("app: app:2 goes out as ecs-svc/")
        .says("app runs app:2 (2 of 2)");
    assert_eq!(bed.pinned("app"), bed.image("one"));
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
    for (key, value) in [
        ("forge:commit", bed.head()),
        ("forge:completed", "production/app".into()),
        ("forge:container", "app".into()),
        ("forge:by", "ada".into()),
    ] {
        assert_eq!(bed.tag("app:2", key), Some(value), "{key}");
    }
    for key in ["forge:at", "forge:key"] {
        assert!(
            bed.tag("app:2", key).is_some_and(|value| !value.is_empty()),
            "{key}"
        );
    }
}

#[test]
fn what_runs_already_is_fresh_and_nothing_is_called() {
    let bed = Bed::new("");
    // Old tasks drain for minutes behind a load balancer; what was deployed is done nevertheless.
    bed.aws.ecs(|ecs| ecs.timings.drain = 100_000.0);
    bed.forge(&["deploy"]).code(0);
    bed.aws.forget_calls();
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "fresh");
    assert_eq!(bed.writes(), [""; 0]);
    // Another commit that makes the same image is no reason either.
    bed.commit("one");
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "fresh");
    assert_eq!(bed.writes(), ["ecr:PutImage"]);
}

#[test]
fn what_the_circuit_breaker_rolled_back_has_failed() {
    for records in [true, false] {
        let bed = bed(crashes(), "");
        if !records {
            bed.aws
                .inject(Fault::new("ecs:*ServiceDeployments", What::Denied));
        }
        let ran = bed.forge(&["deploy"]);
        ran.code(5)
            .says("rolling back to deployment")
            .says_not("✓ deploy");
        in_order(
            &ran.stdout,
            &[
                "app exited with 3",
                "| connecting to db:5432",
                "| no database",
                "✗ deploy",
                "app: app exited with 3; ECS rolled ecs-svc/",
                "; rolled back: app runs app:1 (2 of 2)",
            ],
        );
        let ends = ran.stdout.matches("stopped: app exited with 3").count();
        assert_eq!(
            ends, 2,
            "once as it comes, once in the log: all ended alike"
        );
        assert_eq!(bed.updates(), 1, "ECS goes back, forge doesn't do it again");
        bed.settle("app");
        assert_eq!(bed.primary("app"), "app:1", "it is stable again, and yet");
        assert_eq!(bed.tag("app:2", "forge:completed"), None);
    }
}

#[test]
fn a_service_without_a_breaker_gets_one() {
    let bed = bed(crashes(), "");
    bed.aws.ecs(|ecs| {
        let service = ecs.service("app");
        service.settings.remove("deploymentConfiguration");
    });
    bed.forge(&["deploy"])
        .code(5)
        .says("the circuit breaker is switched on")
        .says("no database");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
}

#[test]
fn what_nobody_takes_back_ends_with_the_time_and_was_told_of_at_once() {
    let bed = bed(crashes(), "on-failure = \"stop\"\ntimeout = \"2s\"");
    bed.aws.ecs(|ecs| {
        let service = ecs.service("app");
        service.settings.remove("deploymentConfiguration");
    });
    let ran = bed.forge(&["deploy"]);
    ran.code(6).says("didn't complete within 2.0s");
    in_order(
        &ran.stdout,
        &[
            "app exited with 3",
            "| no database",
            "running, ",
            "✗ deploy",
        ],
    );
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
    // It goes on trying; what helps is said.
    bed.forge(&["rollback", "production", "--yes"])
        .code(4)
        .says("forge cancel production");
    bed.forge(&["cancel", "production"]).code(0);
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
}

#[test]
fn who_has_no_name_here_has_one_there() {
    let mut bed = Bed::new("");
    bed.env("USER", "");
    bed.forge(&["deploy"]).code(0);
    assert_eq!(bed.tag("app:2", "forge:by").as_deref(), Some("user/forge"));
}

#[test]
fn what_hangs_is_taken_back_after_its_time() {
    let bed = bed(Behavior::runs().slow(1e6), "timeout = \"1s\"");
    bed.forge(&["deploy"])
        .code(5)
        .says("didn't complete within 1.0s")
        .says("app: going back to app:1")
        .says("app: runs app:1 again");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 2));
}

#[test]
fn an_image_that_cant_be_pulled_is_told_at_once() {
    let bed = bed(Behavior::no_image(), "");
    let ran = bed.forge(&["deploy"]);
    ran.code(5);
    ran.says("rolling back to deployment");
    in_order(
        &ran.stdout,
        &["stopped: app: CannotPullContainerError", "✗ deploy"],
    );
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn what_never_gets_healthy_is_told_of() {
    let aws = Aws::start();
    let bed = Bed::seeded(aws, &["app"], "", |seed| seed.health_check = true);
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::never_healthy()));
    bed.forge(&["deploy"]).code(5).says("health check");
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn who_is_superseded_has_failed_and_leaves_the_other_alone() {
    for records in [true, false] {
        let bed = bed(Behavior::runs().slow(1e6), "");
        if !records {
            bed.aws
                .inject(Fault::new("ecs:*ServiceDeployments", What::Denied));
        }
        let running = bed.start(&["deploy"]);
        wait_for(&running, "goes out as");
        let ours = bed.deployment("app");
        let theirs = bed.somebody_deploys("app");
        running
            .wait()
            .code(6)
            .says(&format!("{ours} was superseded by {theirs}"))
            .says_not("✓ deploy");
        bed.settle("app");
        assert_eq!((bed.deployment("app"), bed.updates()), (theirs, 1));
    }
}

#[test]
fn what_vanished_has_failed() {
    let bed = bed(Behavior::runs().slow(1e6), "");
    bed.aws
        .inject(Fault::new("ecs:*ServiceDeployments", What::Denied));
    let running = bed.start(&["deploy"]);
    wait_for(&running, "of 2 running");
    bed.aws.ecs(|ecs| ecs.service("app").deployments.clear());
    running.wait().code(6).says("vanished").says_not("✓ deploy");
    assert_eq!(bed.updates(), 1);
}

#[test]
fn a_service_that_is_deleted_meanwhile_is_a_failure() {
    let bed = bed(Behavior::runs().slow(1e6), "timeout = \"3s\"");
    let running = bed.start(&["deploy"]);
    wait_for(&running, "of 2 running");
    let input = json!({"cluster": "production", "service": "app", "force": true});
    bed.aws.acts("DeleteService", &input).expect("deleted");
    running
        .wait()
        .code(6)
        .says("it was deleted")
        .says_not("✓ deploy");
    assert_eq!(bed.updates(), 1);
}

#[test]
fn a_wrong_clock_changes_nothing() {
    for days in [-3.0, 3.0] {
        let aws = Aws::start();
        aws.skew(days * 24.0 * 3600.0);
        let bed = Bed::on(aws, &["app"], "");
        let bad = digest("two");
        bed.aws.ecs(|ecs| ecs.image_behaves(&bad, crashes()));
        bed.forge(&["deploy"]).code(0);
        bed.settle("app");
        bed.commit("two");
        bed.forge(&["deploy"]).code(5).says("no database");
        bed.settle("app");
        assert_eq!(bed.primary("app"), "app:2");
        bed.deploy("three");
        bed.forge(&["rollback", "production", "--yes"]).code(0);
        assert_eq!(bed.primary("app"), "app:2");
        bed.forge(&["status"]).code(0).says("app:2");
        bed.forge(&["history", "production"])
            .code(0)
            .says("rolled back");
    }
}

#[test]
fn the_way_back_is_seen_to_its_end() {
    // What was good before crashes now, too.
    let bed = Bed::new("smoke = [{ run = \"exit 9\" }]\ntimeout = \"3s\"");
    bed.aws.ecs(|ecs| {
        let old = digest("zero");
        ecs.image_behaves(&old, Behavior::exits(4).says(&["the schema is too new"]));
    });
    let ran = bed.forge(&["deploy"]);
    ran.code(6)
        .says("couldn't go back")
        .says("the schema is too new")
        .says_not("✓ deploy");
}

#[test]
fn a_second_deployment_goes_on_from_one_that_failed() {
    let bed = bed(crashes(), "");
    bed.forge(&["deploy"]).code(5);
    // At once: ECS may still be going back.
    bed.aws.pass(Duration::from_secs(1));
    bed.settle("app");
    bed.deploy("two");
    assert_eq!(bed.pinned("app"), bed.image("two"));
    assert_eq!(bed.primary("app"), "app:3");
}

/// One whose old image crashes by now as well, and whose tasks may all be replaced at once.
fn nothing_runs_any_more(keys: &str) -> Bed {
    let bed = bed(crashes(), keys);
    bed.aws.ecs(|ecs| {
        ecs.image_behaves(&digest("zero"), crashes());
        let settings = &mut ecs.service("app").settings;
        settings["deploymentConfiguration"]["minimumHealthyPercent"] = 0.into();
    });
    bed
}

#[test]
fn that_ecs_goes_back_is_no_way_back_before_its_tasks_run() {
    for records in [true, false] {
        let bed = nothing_runs_any_more("timeout = \"1s\"");
        if !records {
            bed.aws
                .inject(Fault::new("ecs:*ServiceDeployments", What::Denied));
        }
        bed.forge(&["deploy"])
            .code(6)
            .says("not rolled back")
            .says_not("runs app:1 again")
            .says_not("✓ deploy");
        assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
    }
}

#[test]
fn a_way_back_that_ecs_gave_up_is_none() {
    fn given_up(answer: &mut serde_json::Value) {
        let text = answer.to_string();
        let text = text.replace("ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED");
        *answer = serde_json::from_str(&text).expect("JSON");
    }
    let bed = nothing_runs_any_more("timeout = \"1s\"");
    let fault = Fault::new("ecs:*ServiceDeployments", What::Tells(given_up));
    bed.aws.inject(fault);
    bed.forge(&["deploy"])
        .code(6)
        .says("ECS couldn't go back")
        .says("not rolled back")
        .says_not("runs app:1 again");
    bed.forge(&["status", "production"])
        .code(0)
        .says("0 of 2")
        .says_not("completed");
}

#[test]
fn what_ecs_says_is_back_is_looked_at() {
    // It says so, and a moment later nothing runs.
    fn gone(answer: &mut serde_json::Value) {
        for one in answer["services"].as_array_mut().into_iter().flatten() {
            for deployment in one["deployments"].as_array_mut().into_iter().flatten() {
                if deployment["taskDefinition"].to_string().contains("app:1") {
                    deployment["runningCount"] = 0.into();
                }
            }
        }
    }
    let bed = bed(crashes(), "timeout = \"2s\"");
    let running = bed.start(&["deploy"]);
    wait_for(&running, "rolling back to deployment");
    bed.aws
        .inject(Fault::new("ecs:DescribeServices", What::Tells(gone)));
    running.wait().code(6).says("not rolled back");
}

#[test]
fn records_of_which_only_the_list_may_be_read_stop_nothing() {
    let bed = Bed::new("timeout = \"3s\"");
    bed.aws
        .inject(Fault::new("ecs:DescribeServiceDeployments", What::Denied));
    bed.forge(&["deploy"])
        .code(0)
        .says("app runs app:2 (2 of 2)");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

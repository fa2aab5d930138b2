//! An AWS that stutters: tried again where that is safe, never sent twice where it isn't, and in the end a line that says
//! what state the service is in.

use serde_json::json;

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::aws::seed::Seed;
use crate::bed::{Bed, wait_for};
use crate::mould::digest;

/// The deployments that were ever made of the service, its first included.
fn rollouts(aws: &Aws) -> usize {
    aws.ecs(|ecs| ecs.service("app").rollouts.len())
}

fn revisions(aws: &Aws) -> usize {
    aws.ecs(|ecs| ecs.families["app"].len())
}

#[test]
fn stuttering_is_waited_out() {
    for what in [What::Throttle, What::ServerError, What::CutBefore] {
        let bed = Bed::new("");
        bed.aws.inject(Fault::new("ecs:Describe*", what).every(2));
        bed.aws
            .inject(Fault::new("ecs:List*", What::Throttle).every(3));
        bed.forge(&["deploy"]).code(0);
        assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
    }
}

#[test]
fn an_answer_that_is_lost_is_found_and_nothing_is_sent_twice() {
    for what in [|| What::ServerErrorAfter, || What::CutAfter] {
        let bed = Bed::new("");
        for call in ["ecs:UpdateService", "ecs:RegisterTaskDefinition"] {
            bed.aws.inject(Fault::new(call, what()).once());
        }
        bed.forge(&["deploy"]).code(0);
        assert_eq!(bed.updates(), 1);
        assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 1);
        assert_eq!((rollouts(&bed.aws), revisions(&bed.aws)), (2, 2));
        assert_eq!(bed.pinned("app"), bed.image("one"));
    }
}

#[test]
fn what_certainly_did_nothing_is_sent_again() {
    for what in [|| What::Throttle, || What::ServerError, || What::CutBefore] {
        let bed = Bed::new("");
        for call in ["ecs:UpdateService", "ecs:RegisterTaskDefinition"] {
            bed.aws.inject(Fault::new(call, what()).once());
        }
        bed.forge(&["deploy"]).code(0);
        assert_eq!((rollouts(&bed.aws), revisions(&bed.aws)), (2, 2));
    }
}

#[test]
fn an_update_that_never_works_leaves_the_service_and_says_so() {
    for what in [What::ServerError, What::Throttle, What::CutBefore] {
        let bed = Bed::new("");
        bed.aws.inject(Fault::new("ecs:UpdateService", what));
        let ran = bed.forge(&["deploy"]);
        ran.says("ecs:UpdateService")
            .says("app wasn't changed")
            .says_not("✓ deploy");
        assert!(matches!(ran.code, Some(1 | 3)), "{:?}", ran.code);
        assert_eq!((&*bed.primary("app"), rollouts(&bed.aws)), ("app:1", 1));
    }
}

#[test]
fn nobody_knows_whether_it_began() {
    let bed = Bed::new("");
    // From the update on, nothing answers any more.
    bed.aws.inject(Fault::happens("ecs:UpdateService", |world| {
        world
            .faults
            .push(Fault::new("ecs:DescribeServices", What::ServerError));
    }));
    bed.aws
        .inject(Fault::new("ecs:UpdateService", What::ServerErrorAfter));
    bed.forge(&["deploy"])
        .code(6)
        .says("whether the deployment began can't be seen")
        .says("forge status production")
        .says_not("✓ deploy");
    assert_eq!(bed.updates(), 1);
}

/// A deployment that is under way when something happens.
fn under_way(keys: &str, happens: impl FnOnce(&Bed)) -> (Bed, crate::run::Ran) {
    let bed = Bed::new(keys);
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(120.0)));
    let running = bed.start(&["deploy"]);
    wait_for(&running, "2 pending");
    happens(&bed);
    let ran = running.wait();
    (bed, ran)
}

#[test]
fn credentials_that_expire_meanwhile_end_it_with_what_goes_on() {
    let (bed, ran) = under_way("", |bed| bed.aws.expire_credentials());
    ran.code(6)
        .says("expired")
        .says("goes on")
        .says("forge status production")
        .says_not("✓ deploy");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

#[test]
fn an_aws_that_goes_away_ends_it_with_what_goes_on() {
    let keys = "timeout = \"1s\"";
    let (bed, ran) = under_way(keys, |bed| {
        bed.aws.inject(Fault::new("*:*", What::CutBefore));
    });
    ran.code(6)
        .says("can't be followed")
        .says("forge status production")
        .says_not("✓ deploy");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

#[test]
fn an_aws_that_comes_back_is_followed_on() {
    let (bed, ran) = under_way("", |bed| {
        bed.aws.inject(Fault::new("*:*", What::CutBefore).times(12));
    });
    ran.code(0);
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

#[test]
fn what_only_tells_more_may_be_forbidden() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("two"), Behavior::exits(3).says(&["secret"])));
    for call in [
        "ecs:*ServiceDeployments",
        "ecs:*Task",
        "ecs:*Tasks",
        "ecs:TagResource",
        "logs:*",
    ] {
        bed.aws.inject(Fault::new(call, What::Denied));
    }
    bed.forge(&["deploy"]).code(0).says("isn't marked as good");
    bed.settle("app");
    bed.commit("two");
    bed.forge(&["deploy"])
        .code(5)
        .says("its tasks can't be looked at");
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:2");
}

#[test]
fn a_one_off_task_whose_answer_is_lost_runs_once() {
    let bed = Bed::new("before = [\"migrate\"]");
    bed.aws
        .ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), Behavior::exits(0)));
    bed.aws
        .inject(Fault::new("ecs:RunTask", What::CutAfter).once());
    bed.forge(&["deploy"]).code(0);
    assert_eq!(bed.aws.calls_of("ecs:RunTask").len(), 2);
    let started = bed.aws.ecs(|ecs| {
        let tasks = ecs.tasks.iter();
        tasks
            .filter(|task| task.started_by.as_deref() == Some("forge-before"))
            .count()
    });
    assert_eq!(started, 1);
}

#[test]
fn a_rollback_is_as_patient() {
    let bed = Bed::new("");
    bed.deploy("one");
    bed.settle("app");
    bed.aws.forget_calls();
    bed.aws
        .inject(Fault::new("ecs:Describe*", What::Throttle).every(2));
    bed.aws
        .inject(Fault::new("ecs:UpdateService", What::ServerErrorAfter).once());
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
}

/// Two services of one family, whose revisions differ in what their container is to do.
fn of_one_family() -> Bed {
    let bed = Bed::with(&["web", "worker"], "");
    for role in ["web", "worker"] {
        let mut definition = Seed::new("production", "web", &bed.image("zero")).definition();
        let environment = json!([{"name": "ROLE", "value": role}]);
        definition["containerDefinitions"][0]["environment"] = environment;
        bed.aws
            .acts("RegisterTaskDefinition", &definition)
            .expect("registered");
        let input = json!({"cluster": "production", "service": role, "taskDefinition": "web"});
        bed.aws.acts("UpdateService", &input).expect("it is taken");
        bed.settle(role);
    }
    bed.aws.forget_calls();
    bed
}

#[test]
fn what_another_service_got_isnt_taken_for_its_own() {
    for what in [What::Throttle, What::ServerError, What::CutBefore] {
        let bed = of_one_family();
        let second = Fault::new("ecs:RegisterTaskDefinition", what).about("worker");
        bed.aws.inject(second.once());
        bed.forge(&["deploy"]).code(0);
        for (service, revision) in [("web", "web:4"), ("worker", "web:5")] {
            assert_eq!(bed.primary(service), revision);
            let number: usize = revision[4..].parse().expect("a number");
            let said = bed.aws.ecs(|ecs| {
                let container = &ecs.families["web"][number - 1].containers()[0];
                container["environment"][0]["value"].clone()
            });
            assert_eq!(said, service);
        }
    }
}

/// A service as it was before its newest deployment.
fn lags(answer: &mut serde_json::Value) {
    let service = match answer["service"].is_null() {
        true => &mut answer["services"][0],
        false => &mut answer["service"],
    };
    let all = service["deployments"].as_array_mut().expect("deployments");
    if all.len() > 1 {
        all.remove(0);
        all[0]["status"] = "PRIMARY".into();
    }
}

#[test]
fn an_update_that_begins_nothing_is_no_success() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(1e6)));
    bed.aws
        .inject(Fault::new("ecs:*Service", What::Tells(lags)));
    bed.aws
        .inject(Fault::new("ecs:DescribeServices", What::Tells(lags)));
    bed.forge(&["deploy"])
        .code(6)
        .says("took the update to app:2, and began no deployment of it")
        .says("forge status production")
        .says_not("✓ deploy");
    assert_eq!(bed.updates(), 1);
}

#[test]
fn an_answer_from_a_moment_ago_is_no_deployment_of_ours() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::exits(3)));
    bed.aws
        .inject(Fault::new("ecs:UpdateService", What::Tells(lags)));
    let ran = bed.forge(&["deploy"]);
    ran.code(5).says("app exited with 3").says_not("✓ deploy");
    assert_eq!(bed.updates(), 1, "it was taken: nothing is sent twice");
}

//! The same command once more, after one that failed or was ended: what runs, but was never checked, isn't green.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{SIGINT, SIGKILL};

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::bed::{Bed, wait_for};
use crate::mould::{self, REPOSITORY, digest};
use crate::run::Running;

/// A check that fails as long as there is a file.
const CHECKED: &str = "smoke = [{ run = \"test ! -e broken\" }]";

fn mark(bed: &Bed, revision: &str) -> Option<String> {
    bed.tag(revision, "forge:completed")
}

/// app:2 runs, and nobody has checked it: the same command does that, and only that.
#[track_caller]
fn is_checked_again(bed: &Bed) {
    bed.settle("app");
    assert_eq!(
        (bed.primary("app"), mark(bed, "app:2")),
        ("app:2".into(), None)
    );
    bed.aws.forget_calls();
    bed.forge(&["deploy", "-n"])
        .code(0)
        .says("runs already, but its checks never passed");
    assert_eq!(bed.writes(), [""; 0]);
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "ran");
    assert_eq!(bed.writes(), ["ecs:TagResource"]);
    assert_eq!(mark(bed, "app:2").as_deref(), Some("production/app"));
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "fresh");
}

#[test]
fn after_a_check_that_failed() {
    let bed = Bed::new(&format!("{CHECKED}\non-failure = \"stop\""));
    bed.ws.write("broken", "");
    for updates in [1, 0] {
        bed.aws.forget_calls();
        bed.forge(&["deploy"])
            .code(6)
            .says("smoke: `test ! -e broken`")
            .says("not rolled back")
            .says_not("✓ deploy");
        assert_eq!(bed.updates(), updates);
        bed.settle("app");
    }
    std::fs::remove_file(bed.ws.path("broken")).expect("removed");
    is_checked_again(&bed);
}

#[test]
fn after_a_kill_while_it_rolls_out() {
    let bed = Bed::new(CHECKED);
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(60.0)));
    let running = bed.start(&["deploy"]);
    wait_for(&running, "2 pending");
    running.signal(SIGKILL);
    running.wait();
    is_checked_again(&bed);
}

/// One that is ended while its checks run.
fn ended_in_checks(bed: &Bed) {
    bed.ws.write("wait", "");
    let running = bed.start(&["deploy"]);
    bed.ws.wait_for("checks");
    running.signal(SIGINT);
    running.wait().code(130);
    std::fs::remove_file(bed.ws.path("wait")).expect("removed");
    bed.settle("app");
}

const WAITING: &str =
    "smoke = [{ run = \"echo > checks; if test -e wait; then sleep 60; fi; test ! -e broken\" }]";

#[test]
fn after_an_end_while_it_is_checked() {
    let bed = Bed::new(WAITING);
    ended_in_checks(&bed);
    is_checked_again(&bed);
}

#[test]
fn what_was_begun_goes_back_when_its_checks_fail_at_last() {
    let bed = Bed::new(WAITING);
    ended_in_checks(&bed);
    bed.ws.write("broken", "");
    bed.forge(&["deploy"])
        .code(5)
        .says("goes back to app:1 if it fails")
        .says("app: runs app:1 again");
    assert_eq!(
        (bed.primary("app"), mark(&bed, "app:2")),
        ("app:1".into(), None)
    );
}

#[test]
fn after_a_kill_before_the_way_back() {
    let bed = Bed::new(CHECKED);
    bed.ws.write("broken", "");
    let pid = Arc::new(AtomicI32::new(0));
    let known = Arc::clone(&pid);
    // The way back never arrives.
    bed.aws
        .inject(Fault::new("ecs:UpdateService", What::CutBefore).skip(1));
    bed.aws.inject(
        Fault::happens("ecs:UpdateService", move |_| {
            // SAFETY: a signal to a child that isn't reaped yet.
            unsafe { libc::kill(known.load(Ordering::SeqCst), SIGKILL) };
        })
        .skip(1)
        .once(),
    );
    let running: Running = bed.start(&["deploy"]);
    pid.store(running.pid(), Ordering::SeqCst);
    running
        .wait()
        .says("going back to app:1")
        .says_not("✓ deploy");
    std::fs::remove_file(bed.ws.path("broken")).expect("removed");
    is_checked_again(&bed);
}

/// One of two services has it, and whoever deployed was killed before the other got it.
fn half_deployed() -> Bed {
    let bed = Bed::with(&["api", "worker"], CHECKED);
    let never = Fault::new("ecs:UpdateService", What::CutBefore).about("worker");
    bed.aws.inject(never);
    let running = bed.start(&["deploy"]);
    wait_for(&running, "api: ecs-svc/");
    wait_for(&running, "completed");
    running.signal(SIGKILL);
    running.wait();
    bed.aws.heal();
    bed.settle("api");
    bed.settle("worker");
    assert_eq!(
        (&*bed.primary("api"), &*bed.primary("worker")),
        ("api:2", "worker:1")
    );
    bed.aws.forget_calls();
    bed
}

#[test]
fn what_was_half_deployed_is_finished() {
    let bed = half_deployed();
    bed.forge(&["deploy"]).code(0);
    let updates = bed.aws.calls_of("ecs:UpdateService");
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].input["service"], "worker");
    for service in ["api", "worker"] {
        let mark = bed.tag(&bed.primary(service), "forge:completed");
        assert_eq!(mark, Some(format!("production/{service}")));
    }
}

#[test]
fn what_was_half_deployed_goes_back_as_a_whole() {
    let bed = half_deployed();
    bed.ws.write("broken", "");
    bed.forge(&["deploy"]).code(5).says("api: runs api:1 again");
    assert_eq!(
        (&*bed.primary("api"), &*bed.primary("worker")),
        ("api:1", "worker:1")
    );
}

/// A service that somebody else made, of the very image that is to be deployed.
fn made_by_others(keys: &str) -> Bed {
    let aws = Aws::start();
    mould::lend(&aws);
    let image = format!("{}/{REPOSITORY}@{}", aws.host(), digest("one"));
    Bed::seeded(aws, &["app"], keys, |seed| seed.image = image.clone())
}

#[test]
fn what_others_deployed_is_checked_once() {
    let bed = made_by_others(CHECKED);
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "ran");
    assert_eq!((bed.updates(), bed.primary("app")), (0, "app:1".into()));
    assert_eq!(mark(&bed, "app:1").as_deref(), Some("production/app"));
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "fresh");
}

#[test]
fn what_others_deployed_stays_when_its_checks_fail() {
    let bed = made_by_others(CHECKED);
    bed.ws.write("broken", "");
    for _ in 0..2 {
        bed.forge(&["deploy"])
            .code(6)
            .says("nothing to go back to")
            .says_not("✓ deploy");
    }
    assert_eq!((bed.updates(), bed.primary("app")), (0, "app:1".into()));
}

#[test]
fn a_restart_of_what_was_never_checked_is_one() {
    let bed = made_by_others(CHECKED);
    bed.forge(&["deploy", "--restart"])
        .code(0)
        .says("started anew")
        .says_not("registered");
    assert_eq!((bed.updates(), bed.primary("app")), (1, "app:1".into()));
    assert_eq!(mark(&bed, "app:1").as_deref(), Some("production/app"));
}

#[test]
fn the_copy_of_a_rollback_whose_checks_fail_isnt_marked() {
    let aws = Aws::start();
    mould::lend(&aws);
    let moving = format!("{}/{REPOSITORY}:latest", aws.host());
    aws.ecr(|ecr| {
        let image = ecr.create(REPOSITORY).images.get_mut(&digest("zero"));
        image.map(|image| image.tags.insert("latest".into()));
    });
    let bed = Bed::seeded(aws, &["app"], CHECKED, |seed| seed.image = moving.clone());
    bed.deploy("one");
    bed.settle("app");
    bed.ws.write("broken", "");
    bed.forge(&["rollback", "production", "--yes"])
        .code(6)
        .says("its checks fail");
    assert_eq!(
        (bed.primary("app"), mark(&bed, "app:3")),
        ("app:3".into(), None)
    );
}

//! Ctrl-C and its like, in each phase: it ends at once, never as a success, and says what goes on without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use libc::{SIGHUP, SIGINT, SIGTERM};

use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::Fault;
use crate::bed::{Bed, events, wait_for};
use crate::mould::digest;
use crate::pty::Terminal;
use crate::run::{Ran, alive};

/// A deployment that gets a signal when a call arrives, and no answer to that before it has heard it.
fn interrupted_at(bed: &Bed, call: &str, signal: i32) -> Ran {
    let pid = Arc::new(AtomicI32::new(0));
    let known = Arc::clone(&pid);
    bed.aws.inject(
        Fault::happens(call, move |_| {
            let until = Instant::now() + Duration::from_secs(2);
            while known.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let pid = known.load(Ordering::SeqCst);
            // SAFETY: a signal to a child that isn't reaped yet.
            unsafe { libc::kill(pid, signal) };
            while alive(pid) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
        .once(),
    );
    let running = bed.start(&["deploy"]);
    pid.store(running.pid(), Ordering::SeqCst);
    running.wait()
}

/// One that gets a signal when it has printed something.
fn interrupted_after(bed: &Bed, text: &str, signal: i32) -> Ran {
    let running = bed.start(&["deploy"]);
    wait_for(&running, text);
    running.signal(signal);
    running.wait()
}

#[test]
fn while_it_plans() {
    for call in ["ecs:DescribeServices", "logs:DescribeLogGroups"] {
        let bed = Bed::new("");
        interrupted_at(&bed, call, SIGINT)
            .code(130)
            .says_not("✓ deploy");
        assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 0);
    }
}

#[test]
fn while_somebody_is_asked() {
    let bed = Bed::new("approval = true");
    let mut terminal = Terminal::start(bed.command(&["deploy"]), 200, 50);
    terminal.wait_for("[y/N] ");
    terminal.press("\x03");
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 0);
}

#[test]
fn before_the_update_the_service_stays_as_it_is() {
    let bed = Bed::new("");
    interrupted_at(&bed, "ecs:RegisterTaskDefinition", SIGINT)
        .code(130)
        .says_not("✓ deploy");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 0));
}

#[test]
fn while_a_task_runs_first() {
    let bed = Bed::new("before = [\"migrate\"]");
    interrupted_after(&bed, "before: `migrate` in task", SIGINT)
        .code(130)
        .says("of `migrate` goes on; the service wasn't touched")
        .says_not("✓ deploy");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 0));
}

#[test]
fn while_it_rolls_out() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let bed = Bed::new("");
        bed.aws
            .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(60.0)));
        let ran = interrupted_after(&bed, "2 pending", signal);
        let ours = bed.deployment("app");
        ran.code(130)
            .says(&format!("the deployment {ours} of app goes on"))
            .says("`forge status production`")
            .says("`forge cancel production`")
            .says_not("✓ deploy");
        bed.settle("app");
        assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
    }
}

#[test]
fn what_it_says_is_true() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(1e6)));
    interrupted_after(&bed, "2 pending", SIGINT).code(130);
    bed.forge(&["status", "production"])
        .code(0)
        .says("app:2")
        .says("in progress");
    let before = bed.writes().len();
    bed.forge(&["cancel", "production", "-n"])
        .code(0)
        .says("would take app back from");
    assert_eq!(bed.writes().len(), before);
    bed.forge(&["cancel", "production"])
        .code(0)
        .says("goes back to what was before");
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:1");
    bed.forge(&["cancel", "production"])
        .code(0)
        .says("no deployment is going on in production");
}

#[test]
fn while_it_is_checked() {
    // One that doesn't care for signals is ended all the same.
    for line in [
        "echo > checks; sleep 60",
        "trap '' INT TERM; echo > checks; sleep 60",
    ] {
        let bed = Bed::new(&format!("smoke = [{{ run = \"{line}\" }}]"));
        let running = bed.start(&["deploy"]);
        bed.ws.wait_for("checks");
        running.signal(SIGINT);
        running
            .wait()
            .code(130)
            .says("the deployment has completed; its checks haven't")
            .says_not("✓ deploy");
        assert_eq!(bed.primary("app"), "app:2");
        assert_eq!(bed.tag("app:2", "forge:completed"), None);
    }
}

#[test]
fn while_a_page_is_waited_for() {
    let quiet = crate::receivers::Http::new(&[crate::receivers::Reply::Say(503, "", "")]);
    let keys = format!(
        "smoke = [{{ http = \"{}\", status = 204, within = \"60s\" }}]",
        quiet.url("/health")
    );
    let bed = Bed::new(&keys);
    let running = bed.start(&["deploy"]);
    crate::run::wait_until("a request", || !quiet.requests().is_empty());
    running.signal(SIGINT);
    running
        .wait()
        .code(130)
        .says("its checks haven't")
        .says_not("✓ deploy");
}

#[test]
fn on_the_way_back() {
    let bed = Bed::new("smoke = [{ run = \"exit 1\" }]");
    let running = bed.start(&["deploy"]);
    wait_for(&running, "app:2 goes out as");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("zero"), Behavior::runs().slow(60.0)));
    wait_for(&running, "app:1 goes out as");
    let back = bed.deployment("app");
    running.signal(SIGINT);
    running
        .wait()
        .code(130)
        .says("smoke: ")
        .says(&format!("the deployment {back} of app goes on"))
        .says_not("✓ deploy");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 2));
}

#[test]
fn between_two_services() {
    let bed = Bed::with(&["api", "worker"], "");
    let running = bed.start(&["deploy"]);
    wait_for(&running, "worker: 0 of 2 running");
    running.signal(SIGINT);
    running.wait().code(130).says("of worker goes on");
    assert_eq!(
        (&*bed.primary("api"), &*bed.primary("worker")),
        ("api:2", "worker:2")
    );
}

#[test]
fn in_a_rollback() {
    let bed = Bed::new("");
    bed.deploy("one");
    bed.settle("app");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("zero"), Behavior::runs().slow(60.0)));
    let running = bed.start(&["rollback", "production", "--yes"]);
    wait_for(&running, "2 pending");
    running.signal(SIGINT);
    running
        .wait()
        .code(130)
        .says("goes on")
        .says("`forge status production`")
        .says_not("✓");
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn programs_are_told_too() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(1e6)));
    let running = bed.start(&["deploy", "--json"]);
    wait_for(&running, "\"pending\":2");
    running.signal(SIGTERM);
    let ran = running.wait();
    let all = ran.code(130).events();
    let finished = events(&all, "deploy-finished");
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0]["result"], "interrupted");
    assert_eq!(finished[0]["exit-code"], 130);
    assert_eq!(ran.end_of("deploy")["outcome"], "cancelled");
    let end = all.last().expect("an end");
    assert_eq!(
        (&end["ok"], &end["exit-code"]),
        (&false.into(), &130.into())
    );
}

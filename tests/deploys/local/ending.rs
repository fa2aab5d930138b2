//! Deployments that are interrupted, cancelled, killed, or come second.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::bed::{Bed, Plan};
use super::engine::{docker, free_port, get};

/// A line of each phase: the lock is taken, a task runs, a trial runs, the port goes over, the new one runs, its
/// checks have passed.
const PHASES: [&str; 6] = [
    "registered app:",
    "before: `sleep 1` in",
    "goes out as",
    "goes over to app:",
    "1 of 1 running",
    "smoke: `true` passed",
];

struct Scene {
    bed: Bed,
    two: String,
    url: String,
    port: u16,
    old: String,
}

impl Scene {
    /// `one` is there, on a port.
    fn new() -> Scene {
        let bed = Bed::new();
        let (one, two) = (bed.web("one"), bed.web("two"));
        let port = free_port();
        let url = format!("http://localhost:{port}");
        bed.deployed(&one, Some(&url));
        let old = bed.live_id();
        Scene {
            bed,
            two,
            url,
            port,
            old,
        }
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            image: &self.two,
            url: Some(self.url.clone()),
            before: &["sleep 1"],
            smoke: &["true"],
            ..Plan::default()
        }
    }

    #[track_caller]
    fn is_as_before(&self, phase: &str) {
        let left = self.bed.containers();
        let fine = |name: &String| name == "+live" || name.ends_with(".cancelled");
        assert!(left.iter().all(fine), "{phase}: {left:?}");
        super::engine::until(phase, || get(self.port).as_deref() == Some("one"));
        assert_eq!(self.bed.live_id(), self.old, "{phase}");
    }

    #[track_caller]
    fn goes_out(&self) {
        self.bed.deploy(&self.plan()).ends(0);
        assert_eq!(get(self.port).as_deref(), Some("two"));
    }
}

#[test]
fn an_interrupt_takes_everything_back() {
    let scene = Scene::new();
    for phase in PHASES {
        let plan = Plan {
            cancel_on: Some(phase),
            ..scene.plan()
        };
        scene
            .bed
            .deploy(&plan)
            .ends(130)
            .says("nothing goes on: app");
        scene.is_as_before(phase);
    }
    let plan = Plan {
        smoke: &["ctrl-c"],
        ..scene.plan()
    };
    scene.bed.deploy(&plan).ends(130).says("app:1");
    scene.is_as_before("in the checks");
    scene.goes_out();
}

#[test]
fn somebody_else_can_cancel_it() {
    let scene = Scene::new();
    for phase in PHASES {
        let cancel = |line: &str| {
            if line.contains(phase) {
                scene.bed.cancel().ends(0).says("was ended; app runs app:1");
            }
        };
        let plan = Plan {
            at: &cancel,
            ..scene.plan()
        };
        let run = scene.bed.deploy(&plan);
        run.ends(5).says("somebody has cancelled it");
        scene.is_as_before(phase);
        if phase == PHASES[0] {
            let stopped = "app:2 stopped it was cancelled";
            assert_eq!(scene.bed.history(), [stopped, "app:1 successful"]);
        }
    }
    scene.bed.cancel().ends(0);
    scene.is_as_before("nothing to cancel");
}

#[test]
fn what_a_killed_forge_left_is_seen_and_ended() {
    let scene = Scene::new();
    for phase in PHASES {
        // Whatever a panic leaves, kill -9 leaves.
        let kill = |line: &str| assert!(!line.contains(phase), "killed on purpose");
        let plan = Plan {
            at: &kill,
            ..scene.plan()
        };
        let killed = catch_unwind(AssertUnwindSafe(|| scene.bed.deploy(&plan)));
        assert!(killed.is_err(), "{phase}");
        scene.bed.status().ends(0).says("in progress");
        scene
            .bed
            .deploy(&scene.plan())
            .ends(4)
            .says("another deployment is going on in app")
            .says("forge cancel");
        scene.bed.back().ends(4).says("forge cancel dev");
        scene.bed.cancel().ends(0).says("app runs app:1");
        scene.is_as_before(phase);
    }
}

#[test]
fn a_takeover_ends_the_other_one_first() {
    let scene = Scene::new();
    let kill = |line: &str| assert!(!line.contains("goes over"), "killed on purpose");
    let plan = Plan {
        at: &kill,
        ..scene.plan()
    };
    let killed = catch_unwind(AssertUnwindSafe(|| scene.bed.deploy(&plan)));
    assert!(killed.is_err());
    let plan = Plan {
        takeover: true,
        ..scene.plan()
    };
    scene.bed.deploy(&plan).ends(0);
    assert_eq!(get(scene.port).as_deref(), Some("two"));
    assert_eq!(scene.bed.containers(), ["+live", ".1", ".2.cancelled"]);
}

#[test]
fn of_two_at_once_one_is_refused() {
    let scene = Scene::new();
    let refused = Cell::new(0);
    let second = |line: &str| {
        if PHASES.iter().any(|phase| line.contains(phase)) {
            let run = scene.bed.deploy(&scene.plan());
            run.ends(4).says("another deployment is going on");
            refused.set(refused.get() + 1);
        }
    };
    let plan = Plan {
        at: &second,
        ..scene.plan()
    };
    scene.bed.deploy(&plan).ends(0);
    assert_eq!(refused.get(), PHASES.len());
    assert_eq!(scene.bed.containers(), ["+live", ".1"]);
}

#[test]
fn of_many_threads_one_deploys() {
    let bed = Bed::new();
    let image = bed.web("one");
    let codes: Vec<u8> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (pipeline, image) = (bed.pipeline.clone(), image.clone());
                scope.spawn(move || {
                    let bed = Bed::of(pipeline);
                    let plan = Plan {
                        image: &image,
                        before: &["sleep 2"],
                        ..Plan::default()
                    };
                    bed.deploy(&plan).code
                })
            })
            .collect();
        let ended = threads.into_iter();
        ended
            .map(|thread| thread.join().expect("it ends"))
            .collect()
    });
    // Who comes so late that the first has finished has nothing to do.
    assert!(codes.iter().all(|code| [0, 4].contains(code)), "{codes:?}");
    assert!(codes.contains(&0) && codes.contains(&4), "{codes:?}");
    assert_eq!(bed.containers(), ["+live"]);
}

#[test]
fn who_planned_upon_something_else_is_refused() {
    let bed = Bed::new();
    let (one, two, three) = (bed.web("one"), bed.web("two"), bed.web("three"));
    bed.deployed(&one, None);
    let plan = Plan {
        image: &two,
        ..Plan::default()
    };
    bed.deploy_after(&plan, &|| bed.deployed(&three, None))
        .ends(4)
        .says("somebody else deployed to app meanwhile");
    assert_eq!(bed.answer().as_deref(), Some("three"));
    assert_eq!(bed.containers(), ["+live", ".1"]);
}

#[test]
fn a_strangers_container_is_left_alone() {
    let bed = Bed::new();
    let image = bed.web("one");
    let name = bed.name(".next");
    docker(&["create", "--name", &name, "busybox:1"]);
    let plan = Plan {
        image: &image,
        ..Plan::default()
    };
    let run = bed.deploy(&plan);
    docker(&["rm", &name]);
    run.ends(1)
        .says(&format!("another container is called {name}"));
}

/// Whoever is killed while names go from one to the next leaves nobody with that of the live one.
#[test]
fn a_name_that_nobody_has_is_given_again() {
    let bed = Bed::new();
    let (one, two, three) = (bed.web("one"), bed.web("two"), bed.web("three"));
    bed.deployed(&one, None);
    bed.deployed(&two, None);
    docker(&["rename", &bed.name(""), &bed.name(".2")]);
    bed.status().ends(0).says("number: 2").says("up: 1");
    let bad = Plan {
        image: &three,
        smoke: &["false"],
        ..Plan::default()
    };
    bed.deploy(&bad).ends(5).says("number: 2");
    assert_eq!(bed.containers(), ["+live", ".1", ".3.smoke"]);
    docker(&["rename", &bed.name(""), &bed.name(".2")]);
    bed.deployed(&three, None);
    assert_eq!(bed.containers(), ["+live", ".1", ".2", ".3.smoke"]);
}

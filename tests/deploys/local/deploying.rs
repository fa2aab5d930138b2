//! Deployments that go well, that have nothing to do, that fail, and that are refused.

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::time::Duration;

use forge::pipeline::model::OnFailure;

use super::bed::{Bed, Plan, docker, done, free_port, get};

fn url(port: u16) -> Option<String> {
    Some(format!("http://localhost:{port}"))
}

#[test]
fn the_first_one_runs_and_says_what_it_is() {
    let bed = Bed::new();
    let image = bed.web("one");
    let plan = Plan {
        image: &image,
        env: &[("LEVEL", "debug")],
        memory: Some(64),
        smoke: &["true"],
        ..Plan::default()
    };
    bed.plan(&plan).ends(0).says("+ app env LEVEL = debug");
    assert!(bed.containers().is_empty());
    bed.deploy(&plan)
        .ends(0)
        .says("app: registered app:1")
        .says("app: 1 of 1 running")
        .says("smoke: `true` passed")
        .says(&done());
    assert_eq!(bed.containers(), ["+live"]);
    assert_eq!(bed.answer().as_deref(), Some("one"));
    let format = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} {{.Config.Env}} \
        {{index .Config.Labels \"forge.commit\"}} {{index .Config.Labels \"forge.by\"}} \
        {{index .Config.Labels \"forge.deployment\"}} {{index .Config.Labels \"forge.revision\"}}";
    let made = docker(&["inspect", "-f", format, &bed.name("")]);
    assert!(
        made.starts_with("unless-stopped 67108864 [LEVEL=debug"),
        "{made}"
    );
    assert!(made.ends_with("c0 ann 1 1"), "{made}");
}

#[test]
fn what_runs_already_is_made_anew_where_that_is_asked_for() {
    let bed = Bed::new();
    let one = bed.web("one");
    bed.deployed(&one, None);
    let old = bed.live_id();
    let plan = Plan {
        image: &one,
        ..Plan::default()
    };
    bed.deploy(&plan).ends(0);
    assert_eq!(bed.live_id(), old);
    let plan = Plan {
        restart: true,
        ..plan
    };
    bed.deploy(&plan).ends(0).says("app: 1 of 1 running");
    assert_ne!(bed.live_id(), old);
    // The old one stays, stopped: the way back.
    assert_eq!(bed.containers(), ["+live", ".1"]);
}

#[test]
fn the_old_one_goes_when_the_new_one_is_healthy() {
    let bed = Bed::new();
    let (one, two) = (bed.web("one"), bed.web("two"));
    bed.deployed(&one, None);
    let old = bed.live_id();
    let beside = Cell::new(false);
    let look = |line: &str| {
        if line.contains("1 of 1 running") {
            beside.set(bed.containers() == ["+.next", "+live"]);
        }
    };
    let plan = Plan {
        image: &two,
        at: &look,
        ..Plan::default()
    };
    bed.deploy(&plan).ends(0).says("~ app image").says("c0..c1");
    assert!(beside.get());
    assert_eq!(bed.containers(), ["+live", ".1"]);
    assert_eq!(bed.answer().as_deref(), Some("two"));
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &bed.name(".1")]), old);
}

#[test]
fn a_published_port_goes_over_to_what_was_tried_out() {
    let bed = Bed::new();
    let (one, two) = (bed.web("one"), bed.web("two"));
    let port = free_port();
    bed.deployed(&one, url(port).as_deref());
    assert_eq!(get(port).as_deref(), Some("one"));
    let seen = RefCell::new(Vec::new());
    let look = |line: &str| {
        if line.contains("goes out") || line.contains("goes over") || line.contains("completed") {
            seen.borrow_mut().push(get(port).unwrap_or_default());
        }
    };
    let plan = Plan {
        image: &two,
        url: url(port),
        at: &look,
        ..Plan::default()
    };
    bed.deploy(&plan)
        .ends(0)
        .says(&format!("port {port} goes over to app:2"));
    assert_eq!(seen.into_inner(), ["one", "one", "two"]);
    assert_eq!(bed.containers(), ["+live", ".1"]);

    // Another port is another definition.
    let other = free_port();
    let plan = Plan {
        image: &two,
        url: url(other),
        ..Plan::default()
    };
    bed.deploy(&plan).ends(0).says("portMappings");
    assert_eq!((get(port), get(other).as_deref()), (None, Some("two")));
}

#[test]
fn what_runs_already_is_left_alone() {
    let bed = Bed::new();
    let image = bed.web("one");
    bed.deployed(&image, None);
    let id = bed.live_id();
    let plan = Plan {
        image: &image,
        ..Plan::default()
    };
    bed.deploy(&plan).ends(0).says("Fresh");
    assert_eq!((bed.live_id(), bed.history().len()), (id, 1));
    docker(&["stop", &bed.name("")]);
    bed.deploy(&plan).ends(0).says(&done());
    assert_eq!(bed.containers(), ["+live", ".1"]);
}

#[test]
fn one_that_crashes_never_takes_the_place() {
    for port in [None, Some(free_port())] {
        let bed = Bed::new();
        let (one, bad) = (bed.web("one"), bed.crash());
        let url = port.and_then(url);
        bed.deployed(&one, url.as_deref());
        let old = bed.live_id();
        let plan = Plan {
            image: &bad,
            url,
            ..Plan::default()
        };
        bed.deploy(&plan)
            .ends(5)
            .says("app exited with 3")
            .says("| the disk is on fire")
            .never_says("going back")
            .says("RolledBack");
        assert_eq!(bed.containers(), ["+live", ".2.crashed"]);
        assert_eq!(bed.live_id(), old);
        assert_eq!(bed.answer().as_deref(), Some("one"));
    }
}

#[test]
fn one_that_cant_start_is_told_in_the_engines_words() {
    let bed = Bed::new();
    let image = bed.image("CMD [\"/no/such/program\"]");
    let plan = Plan {
        image: &image,
        ..Plan::default()
    };
    bed.deploy(&plan)
        .ends(6)
        .says("/no/such/program")
        .says("has never completed");
    assert_eq!(bed.containers(), [".1.crashed"]);
}

#[test]
fn one_that_is_not_healthy_never_takes_the_place() {
    let bed = Bed::new();
    let (one, sick) = (bed.web("one"), bed.unhealthy());
    let port = free_port();
    bed.deployed(&one, url(port).as_deref());
    let plan = |image| Plan {
        image,
        url: url(port),
        ..Plan::default()
    };
    bed.deploy(&plan(&sick))
        .ends(5)
        .says("app isn't healthy: not today")
        .never_says("going back")
        .says("RolledBack");
    assert_eq!(bed.containers(), ["+live", ".2.unhealthy"]);
    // Nobody listens, and there is no check.
    let silent = bed.image("EXPOSE 8000\nCMD sleep 600");
    let short = Plan {
        timeout: Duration::from_secs(1),
        ..plan(&silent)
    };
    bed.deploy(&short)
        .ends(5)
        .says("nobody listens on port 8000 in it");
    assert_eq!(get(port).as_deref(), Some("one"));
}

#[test]
fn a_check_that_fails_brings_the_old_one_back() {
    for port in [None, Some(free_port())] {
        let bed = Bed::new();
        let (one, two) = (bed.web("one"), bed.web("two"));
        let url = port.and_then(url);
        bed.deployed(&one, url.as_deref());
        let plan = Plan {
            image: &two,
            url,
            smoke: &["false"],
            ..Plan::default()
        };
        let run = bed.deploy(&plan);
        run.ends(5).says("smoke: `false` failed").says("RolledBack");
        if port.is_some() {
            run.says("app: going back to app:1")
                .says("app: runs app:1 again");
        }
        assert_eq!(bed.containers(), ["+live", ".2.smoke"]);
        assert_eq!(bed.answer().as_deref(), Some("one"));
        // What was left in place is replaced, too.
        let plan = Plan {
            on_failure: OnFailure::Stop,
            ..plan
        };
        bed.deploy(&plan).ends(6).says("on-failure");
        // With the port, it is the one that failed that has it.
        let left = if port.is_some() {
            "failed"
        } else {
            "completed"
        };
        bed.status().says(&format!("state: \"{left}\""));
        bed.deployed(&one, plan.url.as_deref());
        let runs = bed.containers();
        let runs: Vec<&String> = runs.iter().filter(|name| name.starts_with('+')).collect();
        assert_eq!(runs, ["+live"]);
        assert_eq!(bed.answer().as_deref(), Some("one"));
    }
}

#[test]
fn a_migration_runs_first_and_keeps_a_bad_one_away() {
    let bed = Bed::new();
    let (one, two) = (bed.web("one"), bed.web("two"));
    bed.deployed(&one, None);
    let plan = |before| Plan {
        image: &two,
        before,
        env: &[("WORD", "migrated")],
        ..Plan::default()
    };
    bed.deploy(&plan(&[
        "test $WORD = migrated",
        "echo no such table; exit 4",
    ]))
    .ends(1)
    .says("before: `test $WORD = migrated` is done")
    .says("app exited with 4")
    .says("| no such table")
    .says("Untouched");
    assert_eq!(bed.containers(), ["+live", ".2.before"]);
    bed.deploy(&plan(&["true"])).ends(0);
    assert_eq!(bed.answer().as_deref(), Some("two"));
}

#[test]
fn several_services_go_out_and_back_together() {
    let bed = Bed::new();
    let (one, bad) = (bed.web("one"), bed.web("two"));
    let plan = |image, smoke| Plan {
        image,
        smoke,
        services: &["app", "worker"],
        ..Plan::default()
    };
    bed.deploy(&plan(&one, &["true"])).ends(0);
    bed.deploy(&plan(&bad, &["false"])).ends(5);
    let running = |service: &str| {
        let filter = format!("label=forge.deploy={}/dev/{service}", bed.pipeline);
        docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"])
    };
    assert_eq!(running("app"), bed.name(""));
    assert_eq!(running("worker"), format!("{}-dev-worker", bed.pipeline));
    assert_eq!(bed.containers(), ["+live", ".2.smoke"]);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_made() {
    let bed = Bed::new();
    let image = bed.web("one");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let plan = || Plan {
        image: &image,
        ..Plan::default()
    };
    let ports = bed.image("EXPOSE 80 443\nCMD sleep 600");
    for (plan, code, said) in [
        (
            Plan {
                url: url(port),
                ..plan()
            },
            1,
            "is taken by another program",
        ),
        (
            Plan {
                secrets: &[("TOKEN", "arn:aws:x")],
                ..plan()
            },
            1,
            "${env.TOKEN}",
        ),
        (
            Plan {
                approval: true,
                ..plan()
            },
            4,
            "--approve",
        ),
        (
            Plan {
                image: &ports,
                url: url(free_port()),
                ..plan()
            },
            1,
            "exposes the ports 80, 443",
        ),
    ] {
        bed.deploy(&plan).ends(code).says(said);
    }
    assert!(bed.containers().is_empty());
}

#[test]
fn an_image_that_the_engine_hasnt_is_pulled_as_who_may() {
    let bed = Bed::new();
    let image = bed.web("one");
    let pushed = bed.push(&image);
    let plan = Plan {
        pushed: Some(&pushed),
        ..Plan::default()
    };
    bed.plan(&plan).ends(0).says("it is pulled");
    let stranger = Plan {
        stranger: true,
        ..plan
    };
    bed.deploy(&stranger).ends(1).says("docker pull");
    assert!(bed.containers().is_empty());
    let plan = Plan {
        stranger: false,
        ..stranger
    };
    bed.deploy(&plan).ends(0).says("app: pulling ");
    assert_eq!(bed.answer().as_deref(), Some("one"));
}

//! Going back: where to, what is passed over, and what stays untouched.

use std::fs;

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::aws::seed::Seed;
use crate::bed::{Bed, events};
use crate::mould::{REPOSITORY, digest};
use crate::pty::Terminal;

const BACK: [&str; 3] = ["rollback", "production", "--yes"];

/// One to which these were deployed, in order.
fn bed(texts: &[&str]) -> Bed {
    let bed = Bed::new("");
    for text in texts {
        bed.deploy(text);
        bed.settle("app");
    }
    bed.aws.forget_calls();
    bed
}

/// The image that the service runs.
fn runs(bed: &Bed) -> String {
    bed.aws.ecs(|ecs| {
        let primary = ecs.service("app").primary().expect("a deployment");
        primary.images[0].digest.clone().unwrap_or_default()
    })
}

#[test]
fn twice_goes_further_back_and_never_in_a_circle() {
    let bed = bed(&["one", "two"]);
    for (revision, text) in [("app:2", "one"), ("app:1", "zero")] {
        bed.forge(&BACK)
            .code(0)
            .says(&format!("goes back to {revision}"))
            .says(&format!("app runs {revision} (2 of 2)"));
        assert_eq!(
            (bed.primary("app"), runs(&bed)),
            (revision.into(), digest(text))
        );
        bed.settle("app");
    }
    bed.forge(&BACK)
        .code(1)
        .says("nothing that app could go back to");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 2));
    // Forward again is a deployment.
    bed.forge(&["deploy"]).code(0);
    assert_eq!(runs(&bed), digest("two"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let bed = bed(&["one"]);
    let before = files(&bed);
    bed.forge(&["rollback", "production", "-n"])
        .code(0)
        .says("goes back to app:1")
        .says("nothing was changed");
    bed.forge(&["rollback", "production"])
        .code(4)
        .says("forge rollback production --yes");
    bed.commit("two");
    bed.forge(&["deploy", "-n"]).code(0).says("app runs app:2");
    assert_eq!(bed.writes(), [""; 0]);
    assert_eq!(files(&bed), before, "nor in the cache");
}

/// Everything in the cache directory, with its time.
fn files(bed: &Bed) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![bed.ws.path(".forge")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let meta = entry.metadata().expect("there");
            if meta.is_dir() {
                left.push(entry.path());
            } else {
                let time = meta.modified().expect("a time");
                found.push(format!(
                    "{} {} {time:?}",
                    entry.path().display(),
                    meta.len()
                ));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn it_needs_no_cache_and_no_checkout_of_ones_own() {
    let bed = bed(&["one", "two"]);
    fs::remove_dir_all(bed.ws.path(".forge")).expect("removed");
    bed.forge(&BACK).code(0);
    assert_eq!(bed.primary("app"), "app:2");
    bed.settle("app");
    let other = bed.clone_of();
    other.run(bed.command_in(&other, &BACK)).code(0);
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn what_never_completed_is_nothing_to_go_back_to() {
    let bed = Bed::new("");
    let bad = digest("two");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&bad, Behavior::exits(1)));
    bed.deploy("one");
    bed.settle("app");
    bed.commit("two");
    bed.forge(&["deploy"]).code(5);
    bed.settle("app");
    bed.deploy("three");
    bed.settle("app");
    assert_eq!(bed.primary("app"), "app:4");
    bed.forge(&["rollback", "production", "--to", "3", "--yes"])
        .code(1)
        .says("app:3 never completed")
        .says("forge history production");
    bed.forge(&BACK).code(0).says("goes back to app:2");
    assert_eq!(bed.primary("app"), "app:2");
}

#[test]
fn what_is_deregistered_is_passed_over_and_said() {
    let bed = bed(&["one", "two"]);
    let input = serde_json::json!({"taskDefinition": "app:2"});
    let done = bed.aws.acts("DeregisterTaskDefinition", &input);
    done.expect("deregistered");
    bed.forge(&["rollback", "production", "--to", "app:2", "--yes"])
        .code(1)
        .says("app:2 is inactive");
    bed.forge(&BACK)
        .code(0)
        .says("passed over: app:2 is inactive");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn what_has_no_image_any_more_is_passed_over_and_said() {
    let bed = bed(&["one", "two"]);
    bed.aws.ecr(|ecr| {
        let repository = ecr.repository(REPOSITORY).expect("it is there");
        repository.images.remove(&digest("one"))
    });
    bed.forge(&BACK)
        .code(0)
        .says("passed over: app:2 needs an image that is gone");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn what_runs_the_same_image_is_passed_over() {
    let bed = bed(&["one"]);
    let more = bed.ws.read("Pipeline.toml") + "env = { LEVEL = \"debug\" }\n";
    bed.ws.write("Pipeline.toml", &more);
    bed.deploy("one");
    bed.settle("app");
    assert_eq!((&*bed.primary("app"), runs(&bed)), ("app:3", digest("one")));
    bed.forge(&BACK)
        .code(0)
        .says("passed over: app:2 runs the same image");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn a_revision_or_a_number_of_steps_can_be_named() {
    let bed = bed(&["one", "two", "three"]);
    bed.forge(&["rollback", "production", "--to", "app:4", "--yes"])
        .code(1)
        .says("runs app:4 already");
    bed.forge(&["rollback", "production", "--to", "latest", "--yes"])
        .code(1)
        .says("isn't a revision");
    bed.forge(&["rollback", "production", "--steps", "9", "--yes"])
        .code(1);
    assert_eq!(bed.updates(), 0);
    bed.forge(&["rollback", "production", "--steps", "2", "--yes"])
        .code(0);
    assert_eq!(bed.primary("app"), "app:2");
    bed.settle("app");
    // A revision that is named needn't lie on the way back.
    bed.forge(&["rollback", "production", "--to", "3", "--yes"])
        .code(0);
    assert_eq!((&*bed.primary("app"), runs(&bed)), ("app:3", digest("two")));
    bed.settle("app");
    bed.forge(&["rollback", "production", "--to=app:1", "--yes"])
        .code(0);
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn beyond_what_ecs_remembers_tags_tell() {
    let bed = bed(&["one", "two", "three"]);
    // 90 days later.
    bed.aws.ecs(|ecs| {
        ecs.service("app").rollouts.clear();
        ecs.service("app").past.clear();
    });
    bed.forge(&BACK).code(0);
    assert_eq!((&*bed.primary("app"), runs(&bed)), ("app:3", digest("two")));
    bed.settle("app");
    bed.forge(&BACK).code(0);
    assert_eq!((&*bed.primary("app"), runs(&bed)), ("app:2", digest("one")));
}

#[test]
fn what_completed_in_another_service_is_no_way_back() {
    // Two environments, whose services run revisions of one family.
    let bed = Bed::new("");
    let other = Seed {
        family: "app".into(),
        ..Seed::new("staging", "web", &bed.image("zero"))
    };
    bed.aws.seed(&other);
    let more = bed.ws.read("Pipeline.toml")
        + "[environment.staging]\ncluster = \"staging\"\nservice = \"web\"\n\
           [target.stage]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"staging\"\n";
    bed.ws.write("Pipeline.toml", &more);
    let go = |text: &str, target: &str, service: &str| {
        bed.commit(text);
        bed.forge(&[target]).code(0);
        bed.settle(service);
        bed.primary(service)
    };
    let first = go("one", "deploy", "app");
    let theirs = go("two", "stage", "web");
    let last = go("three", "deploy", "app");
    for records in [true, false] {
        if !records {
            // 90 days later only tags tell.
            bed.aws.ecs(|ecs| {
                ecs.service("app").rollouts.clear();
                ecs.service("app").past.clear();
            });
        }
        bed.forge(&["rollback", "production", "-n"])
            .code(0)
            .says(&format!("goes back to {first}"))
            .says_not(&theirs);
        bed.forge(&["rollback", "production", "--to", &theirs, "--yes"])
            .code(1)
            .says(&format!("{theirs} never completed in app"));
    }
    assert_eq!(bed.primary("app"), last);
    let mark = bed.tag(&theirs, "forge:completed");
    assert_eq!(mark.as_deref(), Some("staging/web"));
    bed.forge(&BACK).code(0);
    assert_eq!((bed.primary("app"), runs(&bed)), (first, digest("one")));
}

#[test]
fn a_tag_that_has_moved_brings_back_what_ran() {
    let aws = Aws::start();
    let host = aws.host();
    let moving = format!("{host}/{REPOSITORY}:latest");
    let point = |aws: &Aws, text: &str| {
        aws.ecr(|ecr| {
            let repository = ecr.create(REPOSITORY);
            for image in repository.images.values_mut() {
                image.tags.remove("latest");
            }
            let image = repository.images.get_mut(&digest(text));
            image.map(|image| image.tags.insert("latest".into()));
        });
    };
    crate::mould::lend(&aws);
    point(&aws, "zero");
    let bed = Bed::seeded(aws, &["app"], "", |seed| seed.image = moving.clone());
    bed.deploy("one");
    bed.settle("app");
    point(&bed.aws, "three");
    bed.forge(&BACK)
        .code(0)
        .says("as a copy that pins its image")
        .says("app: app:3 is app:1 with its image pinned");
    assert_eq!(
        (runs(&bed), bed.pinned("app")),
        (digest("zero"), bed.image("zero"))
    );
    assert_eq!(bed.tag("app:3", "forge:copy-of").as_deref(), Some("app:1"));
}

#[test]
fn a_rollback_that_fails_says_so() {
    let bed = bed(&["one", "two"]);
    bed.aws.ecs(|ecs| {
        let old = digest("one");
        ecs.image_behaves(&old, Behavior::exits(7).says(&["unknown column"]));
    });
    bed.forge(&BACK)
        .code(6)
        .says("app exited with 7")
        .says("| unknown column")
        .says("production was not rolled back")
        .says("what ran before runs again")
        .says_not("✓");
}

#[test]
fn a_person_is_asked() {
    let bed = bed(&["one"]);
    for (key, code) in [("n\r", 4), ("\x03", 130), ("y\r", 0)] {
        let mut terminal = Terminal::start(bed.command(&["rollback", "production"]), 200, 50);
        terminal.wait_for("Roll production back? [y/N]");
        assert_eq!(bed.updates(), 0);
        terminal.press(key);
        let (ended, shown) = terminal.wait();
        assert_eq!(ended, Some(code), "{key:?}\n{shown}");
    }
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 1));
}

#[test]
fn what_goes_on_is_not_rolled_back_over() {
    let bed = bed(&["one"]);
    bed.aws
        .ecs(|ecs| ecs.behave(|_| true, Behavior::runs().slow(1e6)));
    let theirs = bed.somebody_deploys("app");
    bed.forge(&BACK)
        .code(4)
        .says(&theirs)
        .says("forge cancel production");
    assert_eq!(bed.updates(), 0);
}

#[test]
fn programs_read_the_same() {
    let bed = bed(&["one"]);
    let ran = bed.forge(&["rollback", "production", "--yes", "--json"]);
    let all = ran.code(0).events();
    let planned = events(&all, "rollback-planned");
    assert_eq!(planned[0]["services"][0]["to"]["revision"], "app:1");
    assert_eq!(planned[0]["services"][0]["to"]["digest"], digest("zero"));
    assert_eq!(planned[0]["services"][0]["running"]["commit"], bed.head());
    assert_eq!(events(&all, "deploy-started").len(), 1);
    let finished = events(&all, "deploy-finished");
    assert_eq!(
        (finished.len(), &finished[0]["result"]),
        (1, &"done".into())
    );
    assert_eq!(finished[0]["now"][0]["revision"], "app:1");
}

#[test]
fn what_cant_be_read_isnt_passed_over() {
    for records in [true, false] {
        let bed = bed(&["one", "two"]);
        if !records {
            bed.aws.ecs(|ecs| ecs.service("app").rollouts.clear());
        }
        for what in [
            What::Throttle,
            What::ServerError,
            What::CutBefore,
            What::Denied,
            What::Expired,
        ] {
            bed.aws
                .inject(Fault::new("ecs:DescribeTaskDefinition", what).about("app:2"));
            for args in [&BACK[..], &["rollback", "production", "-n"]] {
                let ran = bed.forge(args);
                ran.says("ecs:DescribeTaskDefinition")
                    .says_not("goes back to")
                    .says_not("passed over");
                assert_ne!(ran.code, Some(0));
            }
            bed.aws.heal();
        }
        assert_eq!((&*bed.primary("app"), bed.updates()), ("app:3", 0));
        bed.forge(&BACK).code(0).says("goes back to app:2");
    }
}

#[test]
fn what_cant_be_read_is_no_reason_to_go_further_back() {
    let bed = bed(&["one"]);
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("two"), Behavior::runs().slow(1e6)));
    bed.commit("two");
    let running = bed.start(&["deploy"]);
    crate::bed::wait_for(&running, "2 pending");
    running.signal(libc::SIGINT);
    running.wait().code(130);
    bed.commit("three");
    let plan = ["deploy", "-n", "--takeover"];
    bed.forge(&plan)
        .code(0)
        .says("goes back to app:2 if it fails");
    bed.aws
        .inject(Fault::new("ecs:DescribeTaskDefinition", What::Throttle).about("app:2"));
    bed.forge(&plan)
        .code(0)
        .says("nothing to go back to if it fails");
}

#[test]
fn the_plan_goes_back_to_what_can_be_deployed() {
    let bed = bed(&["one", "two"]);
    let input = serde_json::json!({"taskDefinition": "app:3"});
    let done = bed.aws.acts("DeregisterTaskDefinition", &input);
    done.expect("deregistered");
    let text = bed.ws.read("Pipeline.toml") + "smoke = [{ run = \"exit 9\" }]\n";
    bed.ws.write("Pipeline.toml", &text);
    bed.commit("three");
    bed.forge(&["deploy"])
        .code(5)
        .says("goes back to app:2 if it fails")
        .says("app: runs app:2 again");
    assert_eq!((&*bed.primary("app"), runs(&bed)), ("app:2", digest("one")));
}

//! Who may not deploy is told before anything is changed: no image is pushed, no revision registered.

use std::sync::mpsc;
use std::time::Duration;

use crate::aws::ACCOUNT;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::aws::world::World;
use crate::bed::{Bed, deploy_as_somebody, events, wait_for};
use crate::mould::digest;
use crate::pty::Terminal;

/// It is always one of them.
const ALWAYS: &str = "freeze = [\"Mon 00:00..Thu 00:00\", \"Thu 00:00..Mon 00:00\"]";

/// Refused with this code; an image that has yet to be built isn't.
#[track_caller]
fn refused(bed: &Bed, args: &[&str], code: i32, why: &str) {
    bed.ws.write("file", "never built\n");
    let ran = bed.forge(args);
    bed.ws.git(&["checkout", "-q", "file"]);
    ran.code(code)
        .says(why)
        .says_not("restored")
        .says_not("ran in");
    assert_eq!(bed.writes(), [""; 0]);
}

#[test]
fn another_account_is_refused() {
    let bed = Bed::new("account = \"999999999999\"");
    for args in [
        &["deploy"] as &[&str],
        &[
            "deploy",
            "--approve",
            "--yes",
            "--hotfix",
            "now",
            "--takeover",
        ],
        &["rollback", "production", "--yes"],
        &["cancel", "production"],
        &["status"],
        &["status", "production"],
        &["history", "production"],
        &["stats", "production"],
        &["logs", "production"],
    ] {
        refused(&bed, args, 4, ACCOUNT);
    }
    let right = Bed::new(&format!("account = \"{ACCOUNT}\""));
    right.forge(&["deploy"]).code(0);
}

#[test]
fn a_role_is_taken_on_for_an_environment() {
    let role = |account: &str| {
        format!("account = \"{ACCOUNT}\"\nassume-role = \"arn:aws:iam::{account}:role/deploy\"")
    };
    let mut bed = Bed::new(&role(ACCOUNT));
    // It is who deploys, as far as anybody there knows.
    bed.env("USER", "");
    bed.forge(&["deploy"]).code(0);
    assert!(!bed.aws.calls_of("sts:AssumeRole").is_empty());
    let by = bed.tag("app:2", "forge:by").expect("somebody");
    assert!(by.starts_with("assumed-role/deploy/"), "{by}");
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    // One of another account leads there.
    let elsewhere = "999999999999";
    let bed = Bed::new(&role(elsewhere));
    bed.forge(&["deploy"]).code(4).says(elsewhere);
    assert_eq!(bed.aws.calls_of("ecs:*").len(), 0);
}

#[test]
fn another_branch_is_refused() {
    let bed = Bed::new("branch = [\"main\", \"release/*\"]");
    bed.ws.git(&["switch", "-q", "-c", "feature"]);
    refused(&bed, &["deploy"], 4, "`feature` isn't deployed here");
    bed.ws.git(&["checkout", "-q", "--detach"]);
    refused(&bed, &["deploy"], 4, "no branch");
    bed.ws.git(&["switch", "-q", "-c", "release/1"]);
    bed.forge(&["deploy"]).code(0);
}

#[test]
fn an_image_that_was_skipped_is_not_what_was_built_some_other_time() {
    let bed = Bed::new("");
    bed.forge(&["deploy"]).code(0);
    let text = bed.ws.read("Pipeline.toml");
    let image = "[target.image]\n";
    assert!(text.contains(image), "{text}");
    let only = format!("{image}when = {{ branch = \"main\" }}\n");
    bed.ws.write("Pipeline.toml", &text.replace(image, &only));
    bed.ws.write("file", "another\n");
    bed.ws.git(&["switch", "-q", "-c", "feature"]);
    let before = bed.writes();
    for args in [&["deploy", "-n"] as &[&str], &["deploy"]] {
        bed.forge(args)
            .code(1)
            .says("its image image is skipped here: when branch = main");
        assert_eq!(bed.writes(), before);
    }
}

#[test]
fn a_freeze_holds_unless_there_is_a_reason() {
    let bed = Bed::new(ALWAYS);
    refused(&bed, &["deploy"], 4, "--hotfix \"reason\"");
    refused(&bed, &["deploy", "--hotfix", "  "], 4, "is on, until");
    refused(&bed, &["deploy", "--yes"], 4, "is on, until");
    bed.forge(&["deploy", "--hotfix", "login is down"])
        .code(0)
        .says("hotfix: login is down");
    assert_eq!(
        bed.tag("app:2", "forge:hotfix").as_deref(),
        Some("login is down")
    );
    bed.settle("app");
    // What makes it better isn't frozen.
    bed.forge(&["rollback", "production", "--yes"]).code(0);
}

#[test]
fn missing_credentials_are_said_first() {
    let mut bed = Bed::new("");
    bed.aws.expire_credentials();
    refused(&bed, &["deploy"], 3, "expired");
    bed.env("AWS_ACCESS_KEY_ID", "");
    bed.env("AWS_SECRET_ACCESS_KEY", "");
    bed.aws.forget_calls();
    for args in [
        &["deploy"] as &[&str],
        &["deploy", "-n"],
        &["rollback", "production", "--yes"],
        &["status"],
        &["status", "production"],
        &["history", "production"],
        &["stats", "production"],
        &["logs", "production"],
        &["cancel", "production"],
    ] {
        refused(&bed, args, 3, "no AWS credentials");
    }
    assert_eq!(bed.aws.calls().len(), 0);
}

#[test]
fn denied_calls_name_what_is_missing() {
    let bed = Bed::new("");
    bed.aws
        .inject(Fault::new("ecs:RegisterTaskDefinition", What::Denied));
    bed.forge(&["deploy"])
        .code(3)
        .says("ecs:RegisterTaskDefinition was denied")
        .says("the caller's IAM policy has to allow this action");
    assert_eq!(bed.updates(), 0);
    bed.aws.heal();
    bed.aws
        .inject(Fault::new("ecs:UpdateService", What::Denied));
    bed.forge(&["deploy"])
        .code(3)
        .says("ecs:UpdateService was denied");
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn a_service_that_isnt_there_is_refused() {
    let bed = Bed::new("");
    let text = bed
        .ws
        .read("Pipeline.toml")
        .replace("services = [\"app\"]", "service = \"api\"");
    bed.ws.write("Pipeline.toml", &text);
    bed.forge(&["deploy"]).code(1).says("no service `api`");
    assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 0);
}

/// The id of the plan that is shown.
fn plan_id(bed: &Bed) -> String {
    let ran = bed.forge(&["deploy", "-n", "--json"]);
    let all = ran.code(0).events();
    let planned = events(&all, "deploy-planned");
    planned[0]["plan"].as_str().expect("an id").to_owned()
}

#[test]
fn an_approval_is_of_one_plan() {
    let bed = Bed::new("approval = true");
    refused(&bed, &["deploy"], 4, "--approve=PLAN-ID");
    refused(&bed, &["deploy", "--yes"], 4, "--approve=PLAN-ID");
    bed.forge(&["image"]).code(0);
    let id = plan_id(&bed);
    assert_eq!(plan_id(&bed), id, "the same plan has the same id");
    let approved = format!("--approve={id}");
    // Another commit, another definition, somebody else's deployment: another plan.
    bed.aws.forget_calls();
    bed.commit("two");
    bed.forge(&["deploy", &approved])
        .code(4)
        .says(&format!("what was approved is the plan {id}"));
    bed.ws.git(&["reset", "-q", "--hard", "HEAD~"]);
    bed.somebody_deploys("app");
    bed.settle("app");
    bed.forge(&["deploy", &approved]).code(4).says(&id);
    assert_eq!(bed.updates(), 0);
    assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 0);
    let id = plan_id(&bed);
    bed.forge(&["deploy", &format!("--approve={id}")]).code(0);
    assert_eq!(bed.updates(), 1);
}

#[test]
fn any_plan_can_be_approved() {
    let bed = Bed::new("approval = true");
    bed.forge(&["deploy", "--approve"]).code(0);
    assert_eq!(bed.updates(), 1);
}

#[test]
fn a_person_is_asked_and_no_other_line_gets_in_between() {
    let bed = Bed::new("approval = true");
    let noise = "\n[target.noise]\ncache = false\nrun = \"touch began; until [ -e asked ]; do sleep 0.01; done; echo loud; touch done\"\n";
    let text = bed.ws.read("Pipeline.toml");
    bed.ws.write("Pipeline.toml", &(text + noise));
    for (key, code) in [("n", 1), ("y", 0)] {
        for name in ["asked", "done"] {
            let _ = std::fs::remove_file(bed.ws.path(name));
        }
        let args = ["deploy", "noise", "--output=stream", "-j2", "-k"];
        let mut terminal = Terminal::start(bed.command(&args), 200, 50);
        terminal.wait_for("Deploy this to production? [y/N] ");
        bed.ws.write("asked", "");
        crate::run::wait_until("the noise", || bed.ws.has("done"));
        assert_eq!(bed.updates(), 0);
        terminal.press(key);
        terminal.press("\r");
        let (ended, shown) = terminal.wait();
        let code = if key == "n" { 4 } else { code };
        assert_eq!(ended, Some(code), "{shown}");
        assert!(shown.contains(&format!("[y/N] {key}\r\n")), "{shown}");
        assert!(shown.contains("loud"), "{shown}");
    }
    assert_eq!(bed.updates(), 1);
}

#[test]
fn while_another_deployment_goes_on_nobody_else_deploys() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.image_behaves(&digest("one"), Behavior::runs().slow(1e6)));
    let first = bed.start(&["deploy"]);
    wait_for(&first, "goes out as");
    let other = bed.clone_of();
    other.write("file", "two\n");
    other.git(&["commit", "-q", "-a", "-m", "two"]);
    let ours = bed.deployment("app");
    other
        .run(bed.command_in(&other, &["deploy"]))
        .code(4)
        .says(&ours)
        .says("forge cancel production");
    assert_eq!((bed.deployment("app"), bed.updates()), (ours.clone(), 1));
    // Unless it is meant.
    other
        .run(bed.command_in(&other, &["deploy", "--takeover"]))
        .code(0)
        .says(&format!("takes over from {ours}"));
    first.wait().code(6).says("was superseded by");
    assert_eq!((bed.pinned("app"), bed.updates()), (bed.image("two"), 2));
}

#[test]
fn who_deploys_between_looking_and_updating_is_seen() {
    // After the plan, and between the last look and the call before it; under way still, or done already.
    for (call, done) in [
        ("ecs:RegisterTaskDefinition", false),
        ("ecs:RegisterTaskDefinition", true),
        ("logs:DescribeLogGroups", true),
    ] {
        let bed = Bed::new("");
        let act = move |world: &mut World| {
            deploy_as_somebody(world, "app");
            if done {
                world.clock.pass(Duration::from_secs(600));
            }
        };
        bed.aws.inject(Fault::happens(call, act).once());
        let ran = bed.forge(&["deploy"]);
        ran.code(4).says(match done {
            true => "somebody else deployed to app meanwhile",
            false => "another deployment is going on in app",
        });
        assert_eq!(bed.updates(), 0, "{call}");
        bed.settle("app");
        let theirs = bed.primary("app");
        assert_eq!(theirs, "app:2", "{call}");
    }
}

#[test]
fn of_two_that_start_at_once_one_says_that_it_has_deployed() {
    let bed = Bed::new("");
    bed.aws
        .ecs(|ecs| ecs.behave(|_| true, Behavior::runs().slow(60.0)));
    let other = bed.clone_of();
    other.write("file", "two\n");
    other.git(&["commit", "-q", "-a", "-m", "two"]);
    let (done, ends) = mpsc::channel();
    std::thread::scope(|scope| {
        for ws in [&bed.ws, &other] {
            let (done, bed) = (done.clone(), &bed);
            scope.spawn(move || {
                let ran = ws.run(bed.command_in(ws, &["deploy"]));
                done.send(ran).expect("somebody listens");
            });
        }
    });
    let ran: Vec<_> = ends.try_iter().collect();
    let (won, lost): (Vec<_>, Vec<_>) = ran.iter().partition(|ran| ran.code == Some(0));
    let shown: Vec<_> = ran.iter().map(|ran| &ran.stdout).collect();
    assert_eq!((won.len(), lost.len()), (1, 1), "{shown:#?}");
    assert!(matches!(lost[0].code, Some(4 | 6)), "{shown:#?}");
}

//! `--force` and `--restart`: what runs already is deployed again, as the revision that it is.

use crate::aws::ecs::Ecs;
use crate::aws::ecs::behavior::Behavior;
use crate::bed::{Bed, events};

/// One whose image is the same whenever it is built, deployed once.
fn bed(keys: &str) -> Bed {
    let bed = Bed::new(keys);
    bed.aws
        .ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), Behavior::exits(0)));
    bed.ws.write("Dockerfile", "FROM busybox:1\n");
    bed.ws.git(&["commit", "-q", "-a", "-m", "as its base"]);
    bed.forge(&["deploy", "--approve"]).code(0);
    bed.settle("app");
    bed.aws.forget_calls();
    bed
}

/// How many tasks ran a line of `before`.
fn migrations(bed: &Bed) -> usize {
    let all = |ecs: &mut Ecs| {
        ecs.tasks
            .iter()
            .filter(|one| one.group.starts_with("family:"))
            .count()
    };
    bed.aws.ecs(all)
}

#[test]
fn what_runs_already_is_started_anew() {
    let bed = bed("before = [\"./migrate\"]");
    let before = bed.deployment("app");
    let completed = bed.tag("app:2", "forge:completed");
    bed.forge(&["deploy", "-n", "--force"])
        .code(0)
        .says("what comes out as it was is started anew");
    assert_eq!(bed.updates(), 0);
    bed.forge(&["deploy", "--force"])
        .code(0)
        .says("started anew: new tasks of the same revision")
        .says("before: `./migrate` is done")
        .says("app: app:2 goes out as ecs-svc/")
        .says("✓ deploy")
        .says("app runs app:2 (2 of 2)")
        .says_not("registered app:3");
    let calls = bed.aws.calls_of("ecs:UpdateService");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].input["forceNewDeployment"], true);
    assert_eq!(migrations(&bed), 2, "not the answer about the first one");
    assert_eq!(bed.aws.calls_of("ecs:RegisterTaskDefinition").len(), 0);
    assert_eq!(bed.primary("app"), "app:2");
    assert_ne!(bed.deployment("app"), before);
    assert_eq!(bed.tag("app:2", "forge:completed"), completed);
    bed.settle("app");
    // Without it nothing is called, and it is no step on the way back.
    let ran = bed.forge(&["deploy", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "fresh");
    assert_eq!(bed.updates(), 1);
    bed.forge(&["rollback", "production", "--yes"])
        .code(0)
        .says("goes back to app:1");
}

#[test]
fn nothing_else_runs_for_a_restart() {
    let bed = bed("");
    let before = bed.deployment("app");
    let restart = ["deploy", "--restart", "-n"];
    bed.forge(&restart).code(0).says("started anew: new tasks");
    assert_eq!(bed.writes(), [""; 0]);
    let ran = bed.forge(&["deploy", "--restart", "--json"]);
    assert_eq!(ran.code(0).end_of("deploy")["outcome"], "ran");
    assert_eq!(ran.end_of("image")["outcome"], "fresh");
    assert_eq!(bed.writes(), ["ecs:UpdateService", "ecs:TagResource"]);
    assert_eq!(bed.primary("app"), "app:2");
    assert_ne!(bed.deployment("app"), before);
}

#[test]
fn programs_and_approvals_know_a_restart() {
    let bed = bed("approval = true");
    let plan = |args: &[&str]| {
        let ran = bed.forge(&[args, &["--json"]].concat());
        let all = ran.events();
        let planned = events(&all, "deploy-planned");
        (
            planned[0]["plan"].clone(),
            planned[0]["services"][0]["restart"].clone(),
        )
    };
    let (id, restart) = plan(&["deploy", "--force", "--approve=00000000"]);
    assert_eq!(restart, true);
    assert_eq!(bed.updates(), 0);
    let approve = format!("--approve={}", id.as_str().expect("a plan"));
    bed.forge(&["deploy", "--force", &approve]).code(0);
    assert_eq!(bed.updates(), 1);
}

#[test]
fn a_restart_that_crashes_leaves_what_ran() {
    let bed = bed("");
    bed.aws.ecs(|ecs| {
        let crashes = Behavior::exits(3).says(&["the cache is cold"]);
        ecs.revision_behaves("app:2", crashes);
    });
    bed.forge(&["deploy", "--force"])
        .code(5)
        .says("app exited with 3")
        .says("| the cache is cold")
        .says("app runs app:2 (2 of 2)")
        .says_not("✓ deploy");
    assert_eq!(bed.updates(), 1);
}

#[test]
fn a_restart_has_nowhere_to_go_back_to() {
    let bed = bed("timeout = \"2s\"\nsmoke = [{ run = \"test ! -e broken\" }]");
    bed.ws.write("broken", "");
    let forced = |reason: &str| {
        bed.aws.forget_calls();
        bed.forge(&["deploy", "--force"])
            .code(6)
            .says(reason)
            .says("app was only restarted, app:2 ran before as well")
            .says("forge rollback production");
        assert_eq!(bed.updates(), 1);
        assert_eq!(bed.primary("app"), "app:2");
    };
    forced("smoke: `test ! -e broken`");
    bed.settle("app");
    bed.aws
        .ecs(|ecs| ecs.revision_behaves("app:2", Behavior::runs().slow(1e6)));
    forced("didn't complete within 2.0s");
}

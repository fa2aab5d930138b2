//! Which targets run, when, and what a run answers: order, parallelism, conditions, failures, exit codes.

#[path = "support/run.rs"]
mod run;

use run::{Ran, Workspace};

/// A line that waits until a file is there: two of them prove that both run at once.
fn meet(mine: &str, other: &str) -> String {
    format!(
        "echo x > {mine}; n=0; while [ ! -e {other} ]; do sleep 0.02; n=$((n+1)); [ $n -lt 3000 ]; done"
    )
}

/// A line that fails when another with the same mark runs beside it, and is there long enough to be seen.
const EXCLUSIVE: &str = "mkdir busy; sleep 0.1; rmdir busy";

#[test]
fn as_many_run_at_once_as_jobs_allow() {
    let workspace = Workspace::new(&format!(
        "[target.a]\nrun = '{}'\n[target.b]\nrun = '{}'\n[target.c]\nrun = '{}'\n",
        meet("a", "b"),
        meet("b", "c"),
        meet("c", "a")
    ));
    workspace
        .forge(&["a", "b", "c", "-j3"])
        .code(0)
        .says("3 ran");

    let exclusive = format!("run = \"{EXCLUSIVE}\"\n");
    let workspace = Workspace::new(&format!(
        "[target.a]\n{exclusive}[target.b]\n{exclusive}[target.c]\n{exclusive}"
    ));
    workspace.forge(&["a", "b", "c", "-j1"]).code(0);
    workspace
        .forge(&["a", "b", "c", "-j3", "--force", "-k"])
        .code(1);
}

#[test]
fn a_common_lock_keeps_targets_apart_and_others_not() {
    let workspace = Workspace::new(&format!(
        "[target.a]\nlocks = [\"db\"]\nrun = \"{EXCLUSIVE}\"\n[target.b]\nlocks = [\"db\", \"x\"]\nrun = \"{EXCLUSIVE}\"\n[target.c]\nlocks = [\"y\"]\nrun = '{}'\n[target.d]\nrun = '{}'\n",
        meet("c", "d"),
        meet("d", "c")
    ));
    workspace
        .forge(&["a", "b", "c", "d", "-j4"])
        .code(0)
        .says("4 ran");
}

#[test]
fn an_interactive_target_runs_alone() {
    let workspace = Workspace::new(&format!(
        "[target.a]\nrun = \"{EXCLUSIVE}\"\nlocks = [\"x\"]\n[target.b]\nlocks = [\"x\"]\nrun = \"{EXCLUSIVE}\"\n[target.ask]\ninteractive = true\nrun = \"{EXCLUSIVE}\"\n"
    ));
    workspace
        .forge(&["a", "b", "ask", "-j4"])
        .code(0)
        .says("3 ran");
}

#[test]
fn a_target_starts_when_its_last_need_ends_and_not_a_wave_later() {
    // `slow` ends only after `after`, which waits for `quick` alone.
    let workspace = Workspace::new(&format!(
        "[target.quick]\nrun = \"true\"\n[target.slow]\nrun = '{}'\n[target.after]\nneeds = [\"quick\"]\nrun = \"echo x > after\"\n",
        meet("slow", "after")
    ));
    workspace
        .forge(&["after", "slow", "-j2"])
        .code(0)
        .says("3 ran");
}

const FINALLY: &str = r#"
[target.up]
run = "echo up >> log"
inputs = []
[target.work]
needs = ["up"]
finally = ["down"]
inputs = ["fail"]
outputs = ["out"]
run = "echo work >> log; echo x > out; test ! -e fail"
[target.tools]
cache = false
run = "echo tools >> log"
[target.down]
needs = ["tools"]
cache = false
run = "echo down >> log; test ! -e broken"
[target.next]
needs = ["work"]
inputs = []
run = "echo next >> log"
"#;

#[test]
fn finally_runs_after_success_failure_and_a_fresh_target() {
    let workspace = Workspace::new(FINALLY);
    let log = || {
        let lines = workspace.read("log");
        std::fs::write(workspace.path("log"), "").expect("written");
        lines.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    workspace.forge(&["work", "-j1"]).code(0);
    assert_eq!(log(), "up work tools down");
    let fresh = workspace.forge(&["work", "--json"]);
    assert_eq!(fresh.code(0).end_of("work")["outcome"], "fresh");
    assert_eq!(log(), "tools down");
    workspace.write("fail", "");
    let failed = workspace.forge(&["next", "-j1", "--json"]);
    assert_eq!(
        failed.code(1).outcomes(),
        [
            "down ran",
            "next skipped",
            "tools ran",
            "up fresh",
            "work failed"
        ]
    );
    assert_eq!(log(), "work tools down");
    std::fs::remove_file(workspace.path("fail")).expect("removed");
    workspace.write("broken", "");
    let failed = workspace.forge(&["next", "-k", "--json"]);
    assert_eq!(failed.code(1).end_of("down")["outcome"], "failed");
    assert_eq!(failed.end_of("next")["outcome"], "ran");
}

#[test]
fn finally_runs_after_a_need_failed_and_after_a_skip() {
    let workspace = Workspace::new(
        r#"
[target.up]
run = "exit 1"
[target.work]
needs = ["up"]
finally = ["down"]
run = "echo work >> log"
[target.never]
when = { env = { NO_SUCH_THING = "1" } }
finally = ["down2"]
run = "echo never >> log"
[target.all]
needs = ["never"]
[target.down]
run = "echo down >> log"
[target.down2]
run = "echo down2 >> log"
"#,
    );
    let ran = workspace.forge(&["work", "-k", "--json"]);
    assert_eq!(
        ran.code(1).outcomes(),
        ["down ran", "up failed", "work skipped"]
    );
    workspace.forge(&["all", "--json"]).code(0);
    assert_eq!(workspace.read("log"), "down\ndown2\n");
}

#[test]
fn finally_runs_after_an_interrupt_of_what_was_started() {
    let workspace = Workspace::new(
        r#"
[target.work]
finally = ["down"]
run = "echo up > up; while [ ! -e enough ]; do sleep 0.02; done"
[target.down]
needs = ["tools"]
run = "sleep 0.3; echo down >> log"
[target.tools]
cache = false
run = "echo tools >> log; while [ -e wait ]; do sleep 0.02; done"
[target.later]
needs = ["work"]
finally = ["down2"]
run = "true"
[target.down2]
needs = ["tools2"]
run = "echo down2 >> log"
[target.tools2]
needs = ["work"]
run = "echo tools2 >> log"
"#,
    );
    let forge = workspace.start_forge(&["later", "--json"]);
    workspace.wait_for("up");
    forge.signal(libc::SIGINT);
    let ran = forge.wait();
    assert_eq!(ran.code(130).end_of("down")["outcome"], "ran");
    assert_eq!(ran.end_of("work")["outcome"], "cancelled");
    assert_eq!(ran.end_of("down2")["outcome"], "skipped");
    assert_eq!(workspace.read("log"), "tools\ndown\n");

    // Interrupted twice, that ends as well.
    std::fs::remove_file(workspace.path("log")).expect("removed");
    workspace.write("wait", "");
    workspace.write("enough", "");
    let forge = workspace.start_forge(&["work", "--json"]);
    workspace.wait_for("log");
    forge.signal(libc::SIGINT);
    let interrupted = || forge.stdout().contains("interrupted");
    run::wait_until("the interrupt", interrupted);
    forge.signal(libc::SIGINT);
    assert_eq!(
        forge.wait().code(130).end_of("tools")["outcome"],
        "cancelled"
    );
}

const WHEN: &str = r#"
[target.branch]
when = { branch = ["main", "release/*"] }
run = "true"
[target.tag]
when = { tag = "v*" }
run = "true"
[target.event]
when = { event = "pull_request" }
run = "true"
[target.os]
when = { os = "plan9" }
run = "true"
[target.env]
when = { env = { DEPLOY = "y*" } }
run = "true"
"#;

#[test]
fn a_named_target_whose_condition_is_unmet_is_refused() {
    let workspace = Workspace::new(WHEN);
    workspace.commit();
    workspace.forge(&["branch"]).code(0);
    workspace.git(&["checkout", "-q", "-b", "release/1.0"]);
    workspace.forge(&["branch"]).code(0);
    workspace.git(&["checkout", "-q", "-b", "feature"]);
    for (target, condition) in [
        ("branch", "branch = main or release/*, and it is feature"),
        ("tag", "tag = v*, and there is none"),
        ("event", "event = pull_request, and it is local"),
        ("os", "os = plan9, and it is linux"),
        ("env", "env.DEPLOY = y*, and there is none"),
    ] {
        let ran = workspace.forge(&[target]);
        ran.code(4).says("forge::refused").says(condition);
        assert!(ran.stderr.contains("Pipeline.toml"), "{}", ran.stderr);
    }
    workspace.git(&["tag", "v1"]);
    workspace.forge(&["tag"]).code(0);
    workspace
        .forge_with(&[("GITHUB_EVENT_NAME", "pull_request")], &["event"])
        .code(0);
    workspace.forge_with(&[("DEPLOY", "yes")], &["env"]).code(0);
    workspace
        .forge_with(&[("DEPLOY", "no")], &["env"])
        .code(4)
        .says("it is no");
}

#[test]
fn an_unmet_need_counts_as_done_and_what_only_it_needs_stays() {
    let workspace = Workspace::new(
        r#"
[pipeline]
default = ["all", "never"]
[target.only-for-never]
run = "echo only >> log"
[target.shared]
run = "echo shared >> log"
[target.never]
needs = ["only-for-never", "shared"]
when = { branch = "nowhere" }
run = "echo never >> log"
[target.work]
needs = ["never", "shared"]
run = "echo work >> log"
[target.all]
needs = ["work"]
"#,
    );
    workspace.commit();
    let ran = workspace.forge(&["--json"]);
    assert_eq!(
        ran.code(0).outcomes(),
        [
            "never skipped",
            "only-for-never skipped",
            "shared ran",
            "work ran"
        ]
    );
    assert_eq!(workspace.read("log"), "shared\nwork\n");
    let reason = ran.end_of("never")["reason"].clone();
    assert_eq!(reason, "when branch = nowhere, and it is main");
    workspace.forge(&["never"]).code(4);
    let planned = workspace.forge(&["-n"]);
    planned.code(0).says("skip    never");
}

const FAILING: &str = r#"
[target.bad]
run = "echo broken; exit 3"
[target.good]
run = "echo x > good; sleep 0.2"
[target.on-bad]
needs = ["bad"]
run = "true"
[target.on-on-bad]
needs = ["on-bad"]
run = "true"
[target.on-good]
needs = ["good"]
run = "true"
[target.all]
needs = ["on-on-bad", "on-good"]
"#;

#[test]
fn keep_going_runs_exactly_what_depends_on_no_failure() {
    let workspace = Workspace::new(FAILING);
    let ran = workspace.forge(&["all", "-k", "--json", "-j2"]);
    assert_eq!(
        ran.code(1).outcomes(),
        [
            "bad failed",
            "good ran",
            "on-bad skipped",
            "on-good ran",
            "on-on-bad skipped"
        ]
    );
    assert_eq!(ran.end_of("on-bad")["reason"], "needs bad, which failed");
    assert_eq!(
        ran.end_of("on-on-bad")["reason"],
        "needs on-bad, which was skipped"
    );
    assert_eq!(ran.end_of("bad")["exit-code"], 3);
}

#[test]
fn without_it_nothing_starts_after_a_failure_but_what_runs_ends() {
    let workspace = Workspace::new(FAILING);
    let ran = workspace.forge(&["all", "--json", "-j2"]);
    assert_eq!(
        ran.code(1).outcomes(),
        [
            "bad failed",
            "good ran",
            "on-bad skipped",
            "on-good skipped",
            "on-on-bad skipped"
        ]
    );
    assert_eq!(ran.end_of("on-good")["reason"], "bad failed");
}

#[test]
fn retries_are_recorded_and_a_late_success_is_flaky() {
    let workspace = Workspace::new(
        "[target.test]\ninputs = []\nretries = 2\nrun = \"echo try >> tries; test $(wc -l < tries) -ge 3\"\n",
    );
    let ran = workspace.forge(&["test", "--json"]);
    let end = ran.code(0).end_of("test");
    assert_eq!(
        (&end["outcome"], &end["flaky"]),
        (&"ran".into(), &true.into())
    );
    assert_eq!(end["attempts"], 3);
    let retrying = ran
        .events()
        .iter()
        .filter(|event| event["event"] == "target-retrying")
        .count();
    assert_eq!(retrying, 2);

    let workspace = Workspace::new("[target.test]\nretries = 1\nrun = \"exit 7\"\n");
    let ran = workspace.forge(&["test"]);
    ran.code(1)
        .says("attempt 1 of 2 failed")
        .says("exit code 7")
        .says("2 attempts");
}

#[test]
fn an_attempt_finds_nothing_of_what_the_one_before_made() {
    let workspace = Workspace::new(
        "[target.gen]\ninputs = []\noutputs = [\"out\"]\nretries = 1\nrun = \"mkdir -p out; test -e luck || { touch luck out/half; exit 1; }; touch out/whole\"\n",
    );
    workspace.forge(&["gen"]).code(0).says("flaky");
    assert!(workspace.path("out/whole").exists() && !workspace.path("out/half").exists());
}

#[test]
fn a_failure_and_then_a_success_under_one_key_is_flaky_and_said_so() {
    let workspace = Workspace::new("[target.test]\ninputs = []\nrun = \"test -e luck\"\n");
    workspace.forge(&["test"]).code(1).says_not("flaky");
    workspace.write("luck", "");
    let ran = workspace.forge(&["test", "-v"]);
    ran.code(0).says("flaky");
    workspace
        .forge(&["stats"])
        .code(0)
        .says("FLAKY")
        .says("50%");
    let stats = workspace.forge(&["stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats.code(0).stdout).expect("JSON");
    assert_eq!(stats["targets"][0]["flaky"], 1, "{stats}");

    // Another key is another story.
    let workspace = Workspace::new("[target.test]\ninputs = [\"luck\"]\nrun = \"test -e luck\"\n");
    workspace.forge(&["test"]).code(1);
    workspace.write("luck", "");
    let ran = workspace.forge(&["test", "--json"]);
    assert_eq!(ran.code(0).end_of("test")["flaky"], false);
}

#[test]
fn a_success_and_then_a_failure_under_one_key_is_flaky_too() {
    let workspace = Workspace::new("[target.test]\ninputs = []\nrun = \"test -e luck\"\n");
    workspace.write("luck", "");
    workspace.forge(&["test"]).code(0);
    std::fs::remove_file(workspace.path("luck")).expect("removed");
    let ran = workspace.forge(&["test", "--force", "--json"]);
    assert_eq!(ran.code(1).end_of("test")["flaky"], true);
}

#[test]
fn words_after_dashes_go_to_the_named_targets_alone() {
    let workspace = Workspace::new(
        r#"
[target.dep]
inputs = []
run = ["true", "printf '[%s]' dep >> log"]
[target.test]
inputs = []
needs = ["dep"]
run = ["echo first >> first", "printf '[%s]' test >> log"]
[target.placed]
run = "printf '<%s>' ${args} end >> log"
"#,
    );
    workspace
        .forge(&["test", "-j1", "--", "-k", "it's $HOME"])
        .code(0);
    assert_eq!(workspace.read("log"), "[dep][test][-k][it's $HOME]");
    assert_eq!(workspace.read("first"), "first\n");
    let other = workspace.forge(&["test", "--json", "--", "-v"]);
    assert_eq!(other.code(0).outcomes(), ["dep fresh", "test ran"]);
    std::fs::remove_file(workspace.path("log")).expect("removed");
    workspace.forge(&["placed", "--", "a b"]).code(0);
    assert_eq!(workspace.read("log"), "<a b><end>");
}

#[test]
fn three_means_that_something_missing_is_all_that_is_wrong() {
    let workspace = Workspace::new(
        r#"
[target.missing]
tools = { no-such-tool-here = "*" }
run = "true"
[target.missing-too]
shell = ["/no/such/shell", "-c"]
run = "true"
[target.bad]
run = "exit 5"
[target.ok]
run = "true"
[target.late]
needs = ["ok"]
tools = { no-such-tool-here = "*" }
run = "true"
"#,
    );
    workspace
        .forge(&["missing"])
        .code(3)
        .says("no-such-tool-here isn't installed");
    workspace.forge(&["missing", "missing-too", "-k"]).code(3);
    workspace.forge(&["missing", "bad", "-k"]).code(1);
    workspace.forge(&["bad", "late", "-k", "-j1"]).code(1);
}

#[test]
fn retry_runs_what_failed_and_what_that_kept_from_running() {
    let workspace = Workspace::new(FAILING);
    workspace
        .forge(&["retry"])
        .code(2)
        .says("nothing has run here yet");
    workspace.forge(&["all", "-k"]).code(1);
    workspace.write("Pipeline.toml", &FAILING.replace("exit 3", "exit 0"));
    let ran = workspace.forge(&["retry", "--json"]);
    assert_eq!(
        ran.code(0).outcomes(),
        ["bad ran", "on-bad ran", "on-on-bad ran"]
    );
    workspace.forge(&["retry"]).code(0).says("Nothing failed");
}

fn monorepo() -> Workspace {
    let workspace = Workspace::new(
        "[workspace]\nmembers = [\"svc/*\"]\n[template.svc.target.test]\nrun = \"echo x > ran\"\n[target.test]\nrun = \"echo x > ran\"\n",
    );
    for name in ["svc-a", "svc-b", "lib"] {
        workspace.write(
            &format!("svc/{name}/Pipeline.toml"),
            &format!("[project]\nname = \"{name}\"\ntemplate = \"svc\"\n"),
        );
    }
    workspace
}

#[test]
fn one_name_means_that_target_of_every_project() {
    let all = [
        "lib:test ran",
        "svc-a:test ran",
        "svc-b:test ran",
        "test ran",
    ];
    assert_eq!(
        monorepo().forge(&["test", "--json"]).code(0).outcomes(),
        all
    );
    let globbed = monorepo().forge(&["svc-*:test", "--json"]);
    assert_eq!(
        globbed.code(0).outcomes(),
        ["svc-a:test ran", "svc-b:test ran"]
    );
    let one = monorepo().forge(&["-C", "svc/lib", "test", "--json"]);
    assert_eq!(one.code(0).outcomes(), ["lib:test ran"]);
    let root = monorepo().forge(&[":test", "--json"]);
    assert_eq!(root.code(0).outcomes(), ["test ran"]);
}

fn total(ran: &Ran) -> serde_json::Value {
    let events = ran.events();
    let started = events.first().expect("an event");
    assert_eq!(started["event"], "run-started");
    started["total"].clone()
}

#[test]
fn a_group_does_nothing_and_fails_with_its_needs() {
    let workspace = Workspace::new(
        "[target.a]\nrun = \"true\"\n[target.b]\nrun = \"test -e ok\"\ninputs = [\"ok\"]\n[target.g]\nneeds = [\"a\", \"b\"]\n[target.on-g]\nneeds = [\"g\"]\nrun = \"true\"\n",
    );
    let ran = workspace.forge(&["on-g", "--json", "-k"]);
    assert_eq!(
        ran.code(1).outcomes(),
        ["a ran", "b failed", "on-g skipped"]
    );
    assert_eq!(total(&ran), 3);
    workspace.write("ok", "");
    workspace.forge(&["on-g"]).code(0);
}

#[test]
fn what_is_made_far_behind_a_need_is_an_input_where_it_is_matched() {
    let workspace = Workspace::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"made/x.c\"]\nrun = \"mkdir -p made; cp in made/x.c\"\n\
         [target.check]\nneeds = [\"gen\"]\ninputs = []\nrun = \"true\"\n\
         [target.step]\nneeds = [\"check\"]\ninputs = []\nrun = \"true\"\n\
         [target.build]\nneeds = [\"step\"]\ninputs = [\"made/**/*.c\"]\nrun = \"cat made/x.c\"\n\
         [target.other]\nneeds = [\"step\"]\ninputs = [\"src/**/*.c\"]\nrun = \"true\"\n",
    );
    let ends = |address: &str| {
        let ran = workspace.forge(&["build", "other", "--json"]);
        ran.code(0).end_of(address)["outcome"].clone()
    };
    workspace.write("in", "1");
    assert_eq!(ends("build"), "ran");
    workspace.write("in", "2");
    assert_eq!(ends("build"), "ran");
    workspace.write("in", "3");
    assert_eq!(ends("other"), "fresh");
    workspace.forge(&["why", "build"]).code(0).says("is fresh");
}

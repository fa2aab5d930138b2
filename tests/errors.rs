//! What goes wrong before or around a target, and what is said about it.

#[path = "support/run.rs"]
mod run;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use run::{Ran, Workspace};

#[test]
fn a_missing_shell_is_named() {
    let workspace = Workspace::new("[target.a]\nshell = [\"nosuchsh\", \"-c\"]\nrun = \"true\"\n");
    workspace
        .forge(&["a"])
        .code(3)
        .says("its shell nosuchsh can't be started")
        .says("help: install nosuchsh");
}

#[test]
fn a_missing_directory_is_named() {
    let workspace = Workspace::new("[target.a]\ndir = \"nowhere\"\nrun = \"true\"\n");
    workspace
        .forge(&["a"])
        .code(1)
        .says("its directory nowhere doesn't exist");
}

#[test]
fn a_missing_or_unfit_tool_is_named_with_what_is_wanted() {
    let workspace = Workspace::new(
        "[target.a]\ntools = { no-such-tool = \"1.2\" }\nrun = \"true\"\n[target.b]\ntools = { python3 = \"2.7\" }\nrun = \"true\"\n[target.c]\ntools = { python3 = \"3\" }\nrun = \"true\"\n",
    );
    workspace
        .forge(&["a"])
        .code(3)
        .says("no-such-tool isn't installed")
        .says("help: install no-such-tool 1.2 so");
    workspace
        .forge(&["b"])
        .code(3)
        .says("2.7 is wanted")
        .says("comes first in PATH: put python3 2.7 before it");
    workspace.forge(&["c"]).code(0);
}

/// Whoever runs it at a prompt of his own was asked; below forge nobody is.
#[test]
fn who_wants_to_ask_somebody_is_told_of_the_terminal() {
    let help = "help: nothing can be read from its standard input; if it asks somebody, `interactive = true` in [target.ask] gives it the terminal\n";
    let asking = [
        "printf 'Name: '; exit 1",
        "read -r name",
        "echo 'Sure?'; read -r answer; test $answer = yes",
        "python3 -c 'input()'",
        "echo 'the input device is not a TTY' >&2; exit 1",
        "stty size",
    ];
    for run in asking {
        let workspace = Workspace::new(&format!("[target.ask]\nrun = {run:?}\n"));
        let ran = workspace.forge(&["ask"]);
        assert!(
            ran.code(1)
                .stdout
                .contains(&format!("\n{help}\n✗ 1 failed")),
            "{}",
            ran.stdout
        );
    }
    for run in ["echo Name:; exit 1", "echo x | grep y", "false"] {
        let workspace = Workspace::new(&format!("[target.ask]\nrun = {run:?}\n"));
        workspace.forge(&["ask"]).code(1).says_not("help:");
    }
    let workspace = Workspace::new("[target.ask]\ninteractive = true\nrun = 'read -r x'\n");
    workspace.forge(&["ask"]).code(1).says_not("help:");
}

#[test]
fn a_variable_that_is_not_passed_on_is_named() {
    let pipeline = r#"
[pipeline]
inherit-env = ["CI"]
[target.plain]
run = 'test -n "$DATABASE_URL"'
[target.python]
run = "python3 -c 'import os; os.environ[\"DATABASE_URL\"]'"
[target.own]
inherit-env = []
run = "test $GO -gt 1; ./deploy ${API_TOKEN}"
[target.other]
run = 'DATABASE_URL=x; echo $DATABASE_URL ${GO:-1}; false'
[target.passed]
inherit-env = ["DATABASE_URL"]
run = 'test -z "$DATABASE_URL"'
"#;
    let workspace = Workspace::new(pipeline);
    let env = [("DATABASE_URL", "u"), ("GO", "1"), ("API_TOKEN", "t")];
    let is_told = |target: &str, help: &str| {
        let ran = workspace.forge_with(&env, &[target]);
        ran.code(1).says(&format!("\nhelp: {help}\n"));
    };
    for target in ["plain", "python"] {
        is_told(
            target,
            &format!(
                "DATABASE_URL is set here, and the target doesn't see it: `inherit-env = [\"CI\", \"DATABASE_URL\"]` in [target.{target}] passes it on"
            ),
        );
    }
    is_told(
        "own",
        "API_TOKEN, GO are set here, and the target doesn't see them: `inherit-env = [\"GO\"]` and `secret-env = [\"API_TOKEN\"]` in [target.own] passes them on",
    );
    for target in ["other", "passed"] {
        let ran = workspace.forge_with(&env, &[target]);
        ran.code(1).says_not("help:");
    }
    // Who has it nowhere can't pass it on.
    workspace.forge(&["plain"]).code(1).says_not("help:");
}

#[test]
fn an_unreadable_input_fails_its_target_alone() {
    let workspace = Workspace::new(
        "[target.a]\ninputs = [\"secret.txt\"]\nrun = \"true\"\n[target.b]\ninputs = []\nrun = \"true\"\n",
    );
    workspace.write("secret.txt", "x");
    std::fs::set_permissions(
        workspace.path("secret.txt"),
        std::fs::Permissions::from_mode(0o000),
    )
    .expect("permissions");
    let ran = as_somebody_else(&workspace, &["a", "b", "-k", "--json"]);
    assert_eq!(ran.code(1).outcomes(), ["a failed", "b ran"]);
    let reason = ran.end_of("a")["reason"].to_string();
    assert!(
        reason.contains("secret.txt") && reason.contains("ermission denied"),
        "{reason}"
    );
}

/// Root reads everything: runs forge as one who doesn't.
fn as_somebody_else(workspace: &Workspace, args: &[&str]) -> Ran {
    let mut command = workspace.command(args);
    if unsafe { libc::geteuid() } == 0 {
        for path in [workspace.path(""), workspace.home().to_owned()] {
            // What is theirs stays as it is, its times too.
            let path = path.to_string_lossy();
            run::output("chown", &["-R", "--from=0", "65534", &path]);
        }
        command.uid(65534).gid(65534);
    }
    workspace.run(command)
}

#[test]
fn outputs_in_directories_that_are_read_only_go_all_the_same() {
    let workspace = Workspace::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = \"mkdir -p out/d; cp in out/d/$(cat in); chmod 555 out/d; if [ -e fail ]; then . ./fail; fi\"\n",
    );
    workspace.write("in", "1");
    as_somebody_else(&workspace, &["gen"]).code(0);
    // Made anew.
    workspace.write("in", "2");
    as_somebody_else(&workspace, &["gen"]).code(0);
    assert!(!workspace.path("out/d/1").exists());
    // Put back.
    workspace.write("in", "1");
    as_somebody_else(&workspace, &["gen"]).code(0);
    assert!(!workspace.path("out/d/2").exists());
    let mode = |path: &str| {
        let metadata = std::fs::metadata(workspace.path(path)).expect(path);
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("out/d"), 0o555);
    // Left by commands that failed.
    workspace.write("in", "3");
    workspace.write("fail", "exit 1");
    as_somebody_else(&workspace, &["gen"]).code(1);
    workspace.write("fail", "");
    workspace.write("in", "4");
    as_somebody_else(&workspace, &["gen"]).code(0);
    assert!(!workspace.path("out/d/3").exists());
    as_somebody_else(&workspace, &["clean"]).code(0);
    assert!(!workspace.path("out").exists());
}

#[test]
fn an_unreadable_directory_fails_those_that_look_into_it() {
    let workspace = Workspace::new(
        "[target.a]\nrun = \"true\"\n[target.b]\ninputs = [\"src/*\"]\nrun = \"true\"\n",
    );
    workspace.write("src/x", "x");
    workspace.write("closed/y", "y");
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(workspace.path("closed"), closed).expect("permissions");
    let ran = as_somebody_else(&workspace, &["a", "b", "-k", "--json"]);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(workspace.path("closed"), open).expect("permissions");
    assert_eq!(ran.code(1).outcomes(), ["a failed", "b ran"]);
    assert!(ran.end_of("a")["reason"].to_string().contains("closed"));
}

#[test]
fn a_place_that_is_not_there_is_named() {
    let workspace = Workspace::new("");
    workspace
        .forge(&["-C", "nowhere"])
        .code(2)
        .says("nowhere")
        .says("No such file or directory");
    let empty = tempfile::tempdir().expect("a directory");
    let mut command = workspace.command(&["test"]);
    command.current_dir(empty.path());
    workspace
        .run(command)
        .code(2)
        .says("Pipeline.toml")
        .says("forge init");
    workspace
        .forge(&["-f", "other.toml"])
        .code(2)
        .says("other.toml");
}

#[test]
fn an_unknown_target_has_a_nearest_name() {
    let workspace = Workspace::new("[target.lint]\nrun = \"true\"\n");
    workspace.forge(&["lnt"]).code(2).says("lnt").says("lint");
    workspace
        .forge(&["lint", "no:such"])
        .code(2)
        .says("no:such");
    workspace.forge(&[]).code(2).says("default");
}

/// What newcomers do, and what they should type next.
#[test]
fn a_slip_is_answered_with_the_way_on() {
    let said = |pipeline: &str, args: &[&str], code: i32, said: &str| {
        Workspace::new(pipeline).forge(args).code(code).says(said);
    };
    let fine = "[target.a]\nrun = \"true\"\n";
    said(fine, &["chek"], 2, "the command `forge check`?");
    said("", &["test"], 2, "help: declare one: [target.test]");
    said("target:\n", &["a"], 2, "help: a line is `key = value`");
    said("[target.a]\nrun = 3\n", &["a"], 2, "write: run = \"3\"");
    said(fine, &["-f", ".", "a"], 2, "help: work in it: -C .");
    said(
        "[target.a]\nrun = \"no-such-program\"\n",
        &["a"],
        1,
        "exit code 127: command not found",
    );
    said(
        "[target.i]\nkind = \"image\"\nrepository = \"i\"\n",
        &["i"],
        2,
        "commit first, or say `tags`",
    );
}

#[test]
fn a_file_by_nearly_the_right_name_is_named() {
    let workspace = Workspace::new("[target.a]\nrun = \"true\"\n");
    let (right, near) = ("Pipeline.toml", "pipeline.toml");
    std::fs::rename(workspace.path(right), workspace.path(near)).expect("renamed");
    workspace
        .forge(&["a"])
        .code(2)
        .says("there is `pipeline.toml`: rename it to Pipeline.toml");
}

/// A glob that is spelt wrong would never run its target again.
#[test]
fn check_tells_of_what_does_nothing() {
    let workspace = Workspace::new(
        "[target.idle]\n\
         [target.a]\ninputs = [\"srcs/*\", \"src/*\", \"!src/x\", \"build/gen/*\"]\nrun = \"true\"\nneeds = [\"gen\"]\n\
         [target.gen]\noutputs = [\"build/gen\"]\nrun = \"true\"\n",
    );
    workspace.write("src/y", "y");
    let ran = workspace.forge(&["check"]);
    let ran = ran
        .code(0)
        .says("`srcs/*` matches no file here")
        .says("`idle` does nothing");
    assert_eq!(ran.stderr.matches('⚠').count(), 2, "{}", ran.stderr);
}

/// What is spelt wrong would be read unseen.
#[test]
fn check_tells_of_inputs_that_are_not_there() {
    let workspace = Workspace::new(
        "[workspace]\nmembers = [\"m*\"]\n\
         [template.t.target.u]\ninputs = [\"setup.cfg\"]\nrun = \"true\"\n\
         [target.a]\ninputs = [\"requirments.txt\", \"/gone/x\", \".env.local\", \"made\", \"!never\"]\nrun = \"true\"\nneeds = [\"gen\"]\n\
         [target.gen]\noutputs = [\"made\"]\nrun = \"true\"\n",
    );
    workspace.write("requirements.txt", "");
    workspace.write(".gitignore", ".env.local\n");
    for member in ["m1", "m2"] {
        workspace.write(
            &format!("{member}/Pipeline.toml"),
            "[project]\ntemplate = \"t\"\n",
        );
    }
    workspace.write("m1/setup.cfg", "");
    let ran = workspace.forge(&["check"]);
    let ran = ran
        .code(0)
        .says("`requirments.txt` isn't there")
        .says("did you mean `requirements.txt`?")
        .says("`gone/x` isn't there");
    assert_eq!(ran.stderr.matches('⚠').count(), 2, "{}", ran.stderr);
}

/// Words that nothing gets would leave a run green that didn't do what was asked.
#[test]
fn words_that_no_command_gets_are_refused() {
    let workspace = Workspace::new(
        "[pipeline]\ndefault = [\"unit\"]\n[target.all]\nneeds = [\"unit\"]\n[target.unit]\ninputs = []\nrun = \"echo\"\n",
    );
    workspace
        .forge(&["all", "--", "-k", "slow"])
        .code(2)
        .says("(-k slow): `all` runs no command itself; name one of `unit`");
    workspace
        .forge(&["--", "-k"])
        .code(2)
        .says("(-k): name the target that it is for");
    workspace.forge(&["all", "unit", "--", "-k"]).code(0);
}

#[test]
fn what_chooses_among_targets_is_refused_where_none_are_chosen() {
    let workspace = Workspace::new("[target.a]\ninputs = []\nrun = \"true\"\n");
    for command in ["check", "doctor", "history", "cache"] {
        let line: &[&str] = match command {
            "cache" => &["cache", "clear", "--affected"],
            command => &[command, "--since", "HEAD"],
        };
        workspace.forge(line).code(2).says("choose among targets");
    }
}

/// To roll back what wasn't meant is worse than to ask.
#[test]
fn an_environment_that_could_be_one_of_several_is_asked_for() {
    let workspace = Workspace::new("[workspace]\nmembers = [\"*\"]\n");
    let member = |name: &str, environments: &str| {
        workspace.write(
            &format!("{name}/Pipeline.toml"),
            &format!("[project]\nname = \"{name}\"\n{environments}"),
        );
    };
    let prod = "[environment.prod]\nregion = \"eu-west-1\"\ncluster = \"${env.CLUSTER}\"\nservice = \"app\"\n";
    member("billing", prod);
    member("web", prod);
    for command in ["rollback", "history", "logs", "cancel", "status"] {
        workspace
            .forge(&[command, "prod"])
            .code(2)
            .says("2 projects have an environment `prod`")
            .says("`billing:prod`, `web:prod`");
    }
    // These get further.
    for line in [
        &["status", "web:prod"][..],
        &["-C", "web", "status", "prod"][..],
    ] {
        workspace.forge(line).says("CLUSTER");
    }
    workspace
        .forge(&["status", "web:prd"])
        .code(2)
        .says("did you mean `prod`?");
}

#[test]
fn help_is_a_command() {
    let workspace = Workspace::new("");
    workspace.forge(&["help"]).code(0).says("forge init");
    workspace.forge(&["help", "rollback"]).code(0).says("ENV");
}

#[test]
fn what_other_tools_would_take_is_answered() {
    let workspace = Workspace::new(
        "[workspace]\nmembers = [\"m\"]\n[target.deploy]\ninputs = []\nrun = \"true\"\n",
    );
    workspace.write(
        "m/Pipeline.toml",
        "[project]\nname = \"billing\"\n[target.test]\ninputs = []\nrun = \"true\"\n",
    );
    workspace
        .forge(&["billing"])
        .code(2)
        .says("`billing` is a project: name a target of it, like `billing:test`");
    workspace
        .forge(&["deploy", "ENV=staging"])
        .code(2)
        .says("`--var ENV=staging` sets ${var.ENV}");
}

#[test]
fn a_bad_option_is_a_usage_error() {
    let workspace = Workspace::new("");
    workspace
        .forge(&["--keep-goin"])
        .code(2)
        .says("--keep-going");
    workspace
        .forge(&["-j", "0"])
        .code(2)
        .says("--jobs <N>': a whole number from 1 on");
    workspace.forge(&["-j", "many"]).code(2).says("many");
    workspace
        .forge(&["--var", "novalue"])
        .code(2)
        .says("NAME=VALUE");
    workspace
        .forge(&["--output", "loud"])
        .code(2)
        .says("grouped");
}

#[test]
fn help_shows_the_commands_and_needs_no_workspace() {
    let workspace = Workspace::new("this is no pipeline");
    let help = workspace.forge(&["--help"]);
    help.code(0);
    let commands = [
        "run",
        "list",
        "check",
        "why",
        "graph",
        "watch",
        "init",
        "retry",
        "cancel",
        "clean",
        "cache",
        "history",
        "stats",
        "schema",
        "completions",
        "doctor",
    ];
    for command in commands {
        let shown = help
            .stdout
            .lines()
            .any(|line| line.split_whitespace().next() == Some(command));
        assert!(shown, "{command} isn't in\n{}", help.stdout);
    }
    help.says("[TARGET]... [-- ARGS...]").says("--keep-going");
    let longest = help.stdout.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{}", help.stdout);
    let list = workspace.forge(&["list", "--help"]);
    list.code(0).says("List the targets").says("[TARGET]...");
    workspace.forge(&["--version"]).code(0).says("forge 0.");
}

/// What a command alone takes, and what of all others it heeds: nothing that it passes over.
#[test]
fn help_of_a_command_is_about_it() {
    let workspace = Workspace::new("");
    let rollback = "\
Go back to what ran before

Usage: forge rollback [OPTIONS] <ENV>

Arguments:
  <ENV>  As in `[environment.ENV]`

Options:
      --to <REVISION>  To this revision: `app:41`, or `41`
      --steps <N>      So many deployments back [default: 1]

General options:
  -n, --dry-run  Say what would happen; change nothing
      --yes      Answer questions with yes
      --json     Events, or a command's answer, as JSON
  -h, --help     Print help

`forge --help` lists the options that all commands take, such as -C DIR and -f FILE.
";
    for line in [&["rollback", "--help"][..], &["-n", "rollback", "-h"]] {
        assert_eq!(workspace.forge(line).code(0).stdout, rollback, "{line:?}");
    }
    let told = workspace.forge(&["help", "rollback"]);
    told.code(0).says("--steps").says_not("--jobs");
    for command in ["run", "watch", "retry", "audit"] {
        let help = workspace.forge(&[command, "--help"]);
        help.code(0).says("--keep-going").says("--since <REV>");
    }
    // Hidden there, taken all the same.
    workspace.forge(&["schema", "-j2"]).code(0);
}

#[test]
fn every_error_of_a_file_is_shown_with_its_place() {
    let workspace = Workspace::new(
        "[target.a]\nruns = \"true\"\n[target.b]\nneeds = [\"c\"]\nrun = \"true\"\n",
    );
    workspace
        .forge(&["b"])
        .code(2)
        .says("Pipeline.toml:2")
        .says("Pipeline.toml:4")
        .says("2 errors");
}

//! `forge ci github`: what it writes for the real application, that GitHub would take it whatever a pipeline holds,
//! and what it does with files that are there.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::Bed;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn workflow(pipeline: &str) -> String {
    printed(&Bed::new(pipeline), &[])
}

#[track_caller]
fn printed(bed: &Bed, args: &[&str]) -> String {
    let ran = bed.plain(&[&["ci", "github"], args].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

/// GitHub's own schema for workflows has nothing against them.
#[track_caller]
fn accepted(workflows: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let testbed = std::env::var_os("FORGE_TESTBED").map(PathBuf::from);
    let testbed = testbed.unwrap_or("/var/tmp/forge-testbed".into());
    let program = testbed.join("check-jsonschema/bin/check-jsonschema");
    assert!(
        program.exists(),
        "{} is missing: bash tests/setup.sh",
        program.display()
    );
    let mut check = Command::new(program);
    check.args(["--builtin-schema", "vendor.github-workflows"]);
    for (number, text) in workflows.iter().enumerate() {
        let file = dir.path().join(format!("{number}.yml"));
        fs::write(&file, text).expect("written");
        check.arg(file);
    }
    let output = check.output().expect("check-jsonschema");
    assert!(
        output.status.success(),
        "{output:?}\n{}",
        workflows.join("\n---\n")
    );
}

#[track_caller]
fn holds(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn the_company_app_gets_this() {
    let fixture = Path::new(HERE).join("fixtures/company-app/Pipeline.toml");
    let text = workflow(&fs::read_to_string(fixture).expect("a pipeline"));
    accepted(&[&text]);
    let golden = Path::new(HERE).join("fixtures/ci/company-app.yml");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &text).expect("written");
    }
    let expected = fs::read_to_string(&golden).expect("a golden");
    assert!(
        text == expected,
        "UPDATE_GOLDENS=1 writes it; it is now\n{text}"
    );
}

#[test]
fn a_pipeline_of_tests_alone_has_one_job() {
    let bed = Bed::new(
        "[target.test]\nservices = [\"db\"]\nsecret-env = [\"TOKEN\"]\nrun = \"echo ${env.FLAVOUR}\"\n\
         [target.watchdog]\ninteractive = true\nrun = \"top\"\n[service.db]\nrun = \"db\"\nports = [1]\n",
    );
    let text = printed(&bed, &["--install", "curl x | sh"]);
    accepted(&[&text]);
    holds(
        &text,
        &[
            "run: forge test --keep-going\n",
            "TOKEN: ${{ secrets.TOKEN }}",
            "FLAVOUR: ${{ vars.FLAVOUR }}",
            "run: curl x | sh",
            "# Services of tests are started by forge",
        ],
    );
    for absent in [
        "fetch-depth",
        "id-token",
        "workflow_dispatch",
        "FORGE_REVISION",
        "deploy",
        "top",
    ] {
        assert!(!text.contains(absent), "{absent} in\n{text}");
    }
}

/// Who asks it and what records are signed with are secrets, and so is whatever its address is made of.
#[test]
fn a_remote_cache_gets_its_secrets() {
    let target = "[target.test]\nrun = \"true\"\n";
    let remote = "[cache]\nremote = \"https://${env.CACHE_USER}@cache.example.com\"\n";
    let names = ["CACHE_USER", "FORGE_REMOTE_SECRET", "FORGE_REMOTE_TOKEN"];
    let text = printed(&Bed::new(&format!("{remote}{target}")), &[]);
    accepted(&[&text]);
    for name in names {
        holds(&text, &[&format!("{name}: ${{{{ secrets.{name} }}}}")]);
    }
    let without = printed(&Bed::new(target), &[]);
    assert!(
        names.iter().all(|name| !without.contains(name)),
        "{without}"
    );
}

#[test]
fn a_monorepo_looks_at_what_a_pull_request_changes() {
    let bed = Bed::new("[workspace]\nmembers = [\"a\"]\n[target.list]\nrun = \"true\"\n");
    bed.write(
        "a/Pipeline.toml",
        "[project]\nname = \"a\"\ndefault = [\"test\"]\n[target.test]\nrun = \"true\"\n",
    );
    let text = printed(&bed, &[]);
    accepted(&[&text]);
    holds(
        &text,
        &[
            "run: forge test --keep-going ${GITHUB_BASE_REF:+--since \"origin/$GITHUB_BASE_REF\"}",
            "fetch-depth: 0",
        ],
    );
}

/// The line of the workflow as a shell of a runner sees it.
#[test]
fn since_is_given_for_pull_requests_alone() {
    let line = "printf '[%s]' forge test ${GITHUB_BASE_REF:+--since \"origin/$GITHUB_BASE_REF\"}";
    let said = |base: Option<&str>| {
        let mut shell = Command::new("bash");
        shell.args(["-ec", line]).env_remove("GITHUB_BASE_REF");
        shell.envs(base.map(|base| ("GITHUB_BASE_REF", base)));
        String::from_utf8(shell.output().expect("bash").stdout).expect("UTF-8")
    };
    assert_eq!(said(None), "[forge][test]");
    assert_eq!(said(Some("")), "[forge][test]");
    assert_eq!(said(Some("main")), "[forge][test][--since][origin/main]");
}

#[test]
fn deployments_are_guarded_by_branch_tag_and_hand() {
    let text = workflow(
        "[target.image]\nkind = \"image\"\nrepository = \"app\"\n[registry]\nhost = \"ghcr.io\"\n\
         [environment.dev]\nservice = \"s\"\ncluster = \"c\"\nbranch = \"release/*\"\n\
         [environment.prod]\nservice = \"s\"\ncluster = \"c\"\napproval = true\nbranch = \"main\"\ntimeout = \"20m\"\n\
         [environment.own]\nservice = \"s\"\ncluster = \"c\"\n\
         [environment.laptop]\nprovider = \"docker\"\nservice = \"s\"\n\
         [target.to-dev]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"dev\"\n\
         [target.to-prod]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"prod\"\nwhen = { tag = \"v*\" }\n\
         [target.rollback]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"own\"\n\
         [target.pushed]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"own\"\nwhen = { event = \"push\" }\n\
         [target.by-hand]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"dev\"\nwhen = { event = \"workflow_dispatch\" }\n\
         [target.nightly]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"dev\"\nwhen = { event = \"schedule\" }\n\
         [target.to-laptop]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"laptop\"\n",
    );
    accepted(&[&text]);
    holds(
        &text,
        &[
            "branches: [release/**, main]",
            "tags: [v**]",
            "if: github.event_name == 'push' && startsWith(github.ref, 'refs/heads/release/')",
            "if: github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')",
            "startsWith(github.ref, 'refs/heads/release/') || inputs.deploy == 'to-dev'",
            "if: inputs.deploy == 'rollback'",
            "if: github.event_name == 'push'\n",
            "if: inputs.deploy == 'by-hand'",
            "default: none, options: [none, to-dev, to-prod, rollback, by-hand]",
            "options: [none, dev, prod, own]",
            "env: { RUN: to-prod --approve }\n",
            "env: { RUN: run rollback }\n",
            "timeout-minutes: 55",
            "concurrency: deploy-prod\n",
            "concurrency: rollback-${{ inputs.rollback }}\n",
            "packages: write",
            "id-token: write",
            "# - Environment prod: required reviewers; without them nobody is asked. Deployment branches: main.",
            "env: { RUN: \"rollback ${{ inputs.rollback }} --yes\" }",
            "run: forge $RUN\n",
            // Nothing deploys the default branch, and its pushes make the image nevertheless.
            "\n  image:\n",
            "needs: image\n",
        ],
    );
    assert!(!text.contains("laptop"), "{text}");
    assert!(!text.contains("nightly"), "{text}");
    // A job's name is taken once: that of the target, then that of going back.
    holds(&text, &["\n  rollback:\n", "\n  rollback_:\n"]);
}

#[test]
fn whatever_names_hold_it_is_a_workflow() {
    let hostile = [
        "a: b #c",
        "${{ github.token }}",
        "'\"\\",
        "- x",
        "null",
        "é\n\u{2028}\u{7f}😀\u{fffe}",
        "*a &b",
        "{}[],",
    ];
    let texts: Vec<String> = hostile
        .iter()
        .map(|name| {
            let name = serde_json::to_string(name).expect("a string").replace('\u{7f}', "\\u007f");
            let url = name.replacen('"', "\"https://", 1);
            workflow(&format!(
                "[pipeline]\nname = {name}\n[target._x]\nrun = \"true\"\ntools = {{ python3 = \"3.11\" }}\n\
                 [target._2]\nkind = \"deploy\"\nenvironment = \"0\"\nneeds = [\"i\"]\n\
                 when = {{ branch = [\"it's\", \"a+b!\", \"*x?\"] }}\n\
                 [target.i]\nkind = \"image\"\nrepository = \"r\"\nneeds = [\"_x\"]\n\
                 [environment.0]\nservice = \"s\"\ncluster = \"c\"\nurl = {url}\n"
            ))
        })
        .collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    accepted(&all);
    let injected = &texts[1];
    assert!(
        injected.contains("name: ${{ '${{' }} github.token }}"),
        "{injected}"
    );
    assert!(injected.contains("python-version: \"3.11\""), "{injected}");
}

#[test]
fn nothing_to_run_is_an_error() {
    let ran = Bed::new("[pipeline]\nname = \"x\"\n").plain(&["ci", "github"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("nothing to run in CI"), "{ran:?}");
}

#[test]
fn only_its_own_file_is_replaced() {
    let bed = Bed::new("[target.test]\nrun = \"true\"\n");
    bed.commit();
    let file = ".github/workflows/ci.yml";
    let write = |args: &[&str]| bed.plain(&[&["ci", "github", "--write"], args].concat());
    let says = |args: &[&str], said: &str| {
        let ran = write(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.stdout.starts_with(said) && ran.stdout.contains(".yml"),
            "{ran:?}"
        );
    };
    says(&["-n"], "would write ");
    assert!(!bed.exists(".github"));
    says(&[], "wrote ");
    let first = bed.read(file);
    assert_eq!(first, printed(&bed, &[]));
    says(&[], "unchanged: ");
    bed.write("Pipeline.toml", "[target.lint]\nrun = \"true\"\n");
    says(&[], "replaced ");
    assert!(bed.read(file).contains("forge lint"));

    bed.write(file, "name: mine\n");
    let refused = write(&[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("forge didn't write it\n  help: --write=NAME"),
        "{refused:?}"
    );
    assert_eq!(bed.read(file), "name: mine\n");
    says(&["--force"], "replaced ");

    let other = bed.plain(&["ci", "github", "--write=forge"]);
    assert_eq!(other.code, 0, "{other:?}");
    assert!(bed.exists(".github/workflows/forge.yml"));
    assert_eq!(bed.plain(&["ci", "github", "--write=../x"]).code, 2);
}

/// Who writes it for the first time has to give GitHub what it names.
#[test]
fn what_to_do_next_is_told() {
    let bed = Bed::new("[target.test]\nsecret-env = [\"TOKEN\"]\nrun = \"echo ${env.FLAVOUR}\"\n");
    bed.commit();
    let write = |args: &[&str]| {
        let ran = bed.plain(&[&["ci", "github", "--write"], args].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let (_, next) = ran.stdout.split_once('\n').expect("a line");
        next.to_owned()
    };
    assert_eq!(write(&["-n"]), "");
    let commit = "  git add .github/workflows/ci.yml && git commit -m 'CI runs forge' .github/workflows/ci.yml && git push\n";
    assert_eq!(
        write(&[]),
        format!(
            "next, what the repository's settings lack of this (`gh` asks for values):
  gh variable set FLAVOUR
  gh variable set FORGE_REPOSITORY  # where forge's sources are
  gh variable set FORGE_REVISION    # which of them: a commit
  gh secret set TOKEN
then:
{commit}"
        )
    );
    assert_eq!(write(&[]), "");
    bed.write(
        "Pipeline.toml",
        "[target.image]\nkind = \"image\"\nrepository = \"r\"\n\
         [environment.dev]\nservice = \"s\"\ncluster = \"c\"\n\
         [environment.prod]\nservice = \"s\"\ncluster = \"c\"\napproval = true\n\
         [target.a]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"dev\"\n\
         [target.b]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"prod\"\n",
    );
    let next = write(&["--install", "true"]);
    holds(
        &next,
        &[
            "  Settings → Environments: dev, prod       # prod with required reviewers: without them nobody is asked\n",
            "  gh variable set AWS_ROLE_ARN --env dev ",
            "  gh variable set AWS_ROLE_ARN --env prod ",
        ],
    );
    assert!(!next.contains("secret set"), "{next}");
    bed.write("Pipeline.toml", "[target.test]\nrun = \"true\"\n");
    assert_eq!(write(&["--install", "true"]), format!("next:\n{commit}"));
}

/// Workflows lie where git's root is, and steps run where the workspace is.
#[test]
fn a_workspace_can_lie_below_the_repository() {
    let bed = Bed::new("");
    bed.remove("Pipeline.toml");
    bed.write("back end/Pipeline.toml", "[target.test]\nrun = \"true\"\n");
    bed.commit();
    let ran = bed.plain(&["-C", "back end", "ci", "github", "--write"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = bed.read(".github/workflows/ci.yml");
    accepted(&[&text]);
    holds(
        &text,
        &[
            "working-directory: back end\n",
            "path: \"back end/.forge\\n~/.cargo/bin/forge\"\n",
        ],
    );
}

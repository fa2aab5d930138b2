//! The fixtures as their users would have them: copies in git repositories of their own, run through forge, with the real
//! tools from PyPI, a real PostgreSQL and a real Redis (`tests/setup.sh services` brings them).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const NO_ENGINE: (&str, &str) = ("DOCKER_HOST", "unix:///nowhere");

// --- the bed ------------------------------------------------------------------------------------

/// A copy of a fixture under git, everything committed.
struct Copy {
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// What a run did.
struct Run {
    exit: Option<i32>,
    outcomes: BTreeMap<String, String>,
    told: String,
}

impl Copy {
    fn of(fixture: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = temporary.path().join("copy");
        Self::at(fixture, dir, Some(temporary))
    }

    fn at(fixture: &str, dir: PathBuf, temporary: Option<tempfile::TempDir>) -> Self {
        let from = Path::new(HERE).join("fixtures").join(fixture);
        // What git knows, so that nothing of a run in the original comes along.
        fs::create_dir_all(&dir).expect("made");
        let listed = output(Command::new("git").current_dir(&from).args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]));
        for name in text(&listed.stdout).lines() {
            let to = dir.join(name);
            fs::create_dir_all(to.parent().expect("has one")).expect("made");
            fs::copy(from.join(name), to).expect(name);
        }
        let copy = Self {
            dir,
            _temporary: temporary,
        };
        copy.git("init -q -b main");
        copy.git("add -A");
        copy.git("-c user.name=a -c user.email=a@example.com commit -q -m start");
        copy
    }

    fn git(&self, words: &str) {
        let done = output(
            Command::new("git")
                .current_dir(&self.dir)
                .args(words.split(' ')),
        );
        assert!(done.status.success(), "git {words}: {}", text(&done.stderr));
    }

    /// Everything as committed; what git ignores stays.
    fn reset(&self) {
        self.git("checkout -q .");
        self.git("clean -fdq");
    }

    fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.dir.join(file);
        let before = fs::read_to_string(&path).expect(file);
        let after = change(before.clone());
        assert_ne!(before, after, "nothing to change in {file}");
        fs::write(path, after).expect(file);
    }

    fn append(&self, file: &str, more: &str) {
        self.edit(file, |before| before + more);
    }

    fn forge(&self, words: &str) -> Run {
        self.forge_in(".", words, &[])
    }

    fn forge_in(&self, dir: &str, words: &str, env: &[(&str, &str)]) -> Run {
        let done = output(
            forge(&self.dir.join(dir))
                .args(words.split(' '))
                .arg("--json")
                .envs(env.iter().copied()),
        );
        let events = text(&done.stdout);
        let outcomes = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect(line))
            .filter(|event| event["event"] == "target-finished")
            .map(|event| {
                let word = |key: &str| event[key].as_str().expect(key).to_owned();
                (word("target"), word("outcome"))
            })
            .collect();
        Run {
            exit: done.status.code(),
            outcomes,
            told: text(&done.stderr),
        }
    }
}

impl Run {
    fn with(&self, outcome: &str) -> BTreeSet<&str> {
        let of_it = self.outcomes.iter().filter(|(_, its)| *its == outcome);
        of_it.map(|(target, _)| target.as_str()).collect()
    }

    /// These ran, all else was fresh.
    #[track_caller]
    fn only_ran(&self, targets: &str) {
        let all: BTreeSet<&str> = self.outcomes.keys().map(String::as_str).collect();
        let ran = words(targets);
        assert_eq!(self.with("ran"), ran, "{}", self.told);
        assert_eq!(self.with("fresh"), &all - &ran, "{}", self.told);
        assert_eq!(self.exit, Some(0), "{}", self.told);
    }

    /// This target alone failed and its output says so.
    #[track_caller]
    fn failed(&self, target: &str, because: &str) {
        assert_eq!(self.with("failed"), words(target), "{}", self.told);
        assert_eq!(self.exit, Some(1), "{}", self.told);
        assert!(self.told.contains(because), "{because:?} in {}", self.told);
    }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

/// forge, as from a person's shell: nothing of CI's environment changes what it prints.
fn forge(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command.current_dir(dir);
    for name in [
        "CI",
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// --- company-app --------------------------------------------------------------------------------

const LINT_TEST_SCAN: &str =
    "venv black ruff mypy unit integration test bandit dependencies secrets";

/// One copy for all tests, since a virtual environment takes a minute to fill: made anew in each run of the tests, with
/// everything run once in containers.
fn company_app() -> MutexGuard<'static, Option<Copy>> {
    static SHARED: Mutex<Option<Copy>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*shared {
        Some(app) => app.reset(),
        None => *shared = Some(first_run()),
    }
    shared
}

fn first_run() -> Copy {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("company-app");
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("removed");
    }
    let app = Copy::at("company-app", dir, None);
    let run = app.forge("lint test scan");
    run.only_ran(LINT_TEST_SCAN);
    for service in ["container postgres:15", "container redis:7"] {
        assert!(run.told.contains(service), "{service} in {}", run.told);
    }
    app
}

fn company_test(test: impl FnOnce(&Copy)) {
    let shared = company_app();
    let app = shared.as_ref().expect("made above");
    test(app);
}

#[test]
fn company_app_runs_once() {
    company_test(|app| {
        // What another test tried is put back.
        let back = app.forge("lint test scan");
        assert!(back.with("ran").is_empty(), "{}", back.told);
        let run = app.forge("lint test scan");
        run.only_ran("");
        assert_eq!(run.outcomes.len(), LINT_TEST_SCAN.split(' ').count());
        assert!(!run.told.contains("postgres"), "a service for nothing");
    });
}

#[test]
fn company_app_reruns_what_an_edit_concerns() {
    company_test(|app| {
        app.append("README.md", "\nMore.\n");
        app.forge("lint test").only_ran("");
        app.forge("lint test scan").only_ran("secrets");

        app.append("tests/unit/test_settings.py", "\n\n# The end.\n");
        app.forge("lint scan unit")
            .only_ran("black ruff mypy unit secrets");

        app.reset();
        app.append("app/settings.py", "\n\n# The end.\n");
        app.forge("lint test scan")
            .only_ran("black ruff mypy unit integration test bandit secrets");

        app.reset();
        let back = app.forge("lint test scan");
        assert!(back.with("ran").is_empty(), "{}", back.told);
        assert_eq!(back.exit, Some(0), "{}", back.told);
    });
}

#[test]
fn company_app_needs_no_engine() {
    company_test(|app| {
        let run = app.forge_in(".", "integration --force -v", &[NO_ENGINE]);
        assert_eq!(run.exit, Some(0), "{}", run.told);
        assert!(run.with("ran").contains("integration"), "{}", run.told);
        let ports: Vec<u16> = run
            .told
            .lines()
            .filter_map(|line| line.split_once("process on 127.0.0.1:"))
            .map(|(_, port)| port.trim().parse().expect("a port"))
            .collect();
        assert_eq!(ports.len(), 2, "{}", run.told);
        for port in ports {
            let answer = TcpStream::connect(("127.0.0.1", port));
            assert!(answer.is_err(), "something still listens on {port}");
        }
    });
}

/// A mistake, what to ask for, which target finds it, and words of its output.
struct Mistake {
    file: &'static str,
    text: &'static str,
    ask: &'static str,
    finds: &'static str,
    says: &'static str,
}

const MISTAKES: [Mistake; 6] = [
    Mistake {
        file: "app/settings.py",
        text: "\n\nWRONG = {  'a':1 }\n",
        ask: "black ruff",
        finds: "black",
        says: "1 file would be reformatted",
    },
    Mistake {
        file: "app/settings.py",
        text: "\n\ndef wrong() -> None:\n    unused = 1\n",
        ask: "black ruff",
        finds: "ruff",
        says: "F841",
    },
    Mistake {
        file: "app/settings.py",
        text: "\n\ndef wrong() -> int:\n    return \"one\"\n",
        ask: "lint",
        finds: "mypy",
        says: "Incompatible return value type",
    },
    Mistake {
        file: "tests/unit/test_settings.py",
        text: "\n\ndef test_wrong() -> None:\n    assert 1 + 1 == 3\n",
        ask: "ruff unit",
        finds: "unit",
        says: "FAILED tests/unit/test_settings.py::test_wrong",
    },
    Mistake {
        file: "app/settings.py",
        text: "\n\nWRONG = eval(\"1\")\n",
        ask: "black bandit",
        finds: "bandit",
        says: "B307",
    },
    Mistake {
        file: "app/settings.py",
        // In two parts, so that nobody's scanner finds it here.
        text: concat!("\n\nWRONG = \"AKIA", "IOSFODNN7EXAMPLE\"\n"),
        ask: "black secrets",
        finds: "secrets",
        says: "AWS Access Key",
    },
];

#[test]
fn company_app_finds_each_mistake() {
    company_test(|app| {
        for mistake in &MISTAKES {
            app.reset();
            app.append(mistake.file, mistake.text);
            app.forge(&format!("-k {}", mistake.ask))
                .failed(mistake.finds, mistake.says);
        }
    });
}

#[test]
fn company_app_finds_a_vulnerable_pin() {
    company_test(|app| {
        // A new advisory for what is pinned: the other way round it would take a new virtual environment.
        app.edit("security/advisories.json", |before| {
            before.replace("[\"<5.4\"]", "[\"<99\"]")
        });
        app.forge("-k dependencies bandit")
            .failed("dependencies", "pyyaml");
    });
}

#[test]
fn company_app_wants_its_coverage() {
    company_test(|app| {
        let lines: String = (0..200).map(|n| format!("        wrong = {n}\n")).collect();
        let code = format!("\n\ndef wrong(x: int) -> None:\n    if x:\n{lines}");
        app.append("app/settings.py", &code);
        let run = app.forge("-k test");
        run.failed("test", "less than fail-under=80");
        assert_eq!(run.with("ran"), words("unit integration"), "{}", run.told);
    });
}

#[test]
fn company_app_comes_from_its_makefile() {
    let app = Copy::of("company-app");
    fs::remove_file(app.dir.join("Pipeline.toml")).expect("removed");
    let before = app.dir.join("before");
    fs::copy(before.join("Makefile"), app.dir.join("Makefile")).expect("copied");
    for words in ["init", "check"] {
        let done = output(forge(&app.dir).args(words.split(' ')));
        assert!(done.status.success(), "{words}: {}", text(&done.stderr));
    }
}

// --- monorepo -----------------------------------------------------------------------------------

/// What its README says, line by line.
#[test]
fn monorepo_runs_what_changed() {
    let shop = Copy::of("monorepo");
    let first = shop.forge("test");
    assert_eq!(first.with("ran").len(), 29, "{}", first.told);
    assert_eq!(first.exit, Some(0), "{}", first.told);
    let second = shop.forge("test");
    second.only_ran("");
    assert_eq!(second.outcomes.len(), 29);

    shop.append("libs/common/src/common/__init__.py", "# a remark\n");
    shop.forge("test").only_ran("common:build");

    shop.git("checkout -q -b price");
    shop.edit("services/pricing/src/pricing/__init__.py", |before| {
        before.replace("(10, 5)", "(12, 5)")
    });
    let price = shop.forge("test -k");
    price.failed("pricing:test", "test_many_cost_less");
    assert_eq!(price.with("ran"), words("pricing:build"), "{}", price.told);
    assert_eq!(price.with("fresh").len(), 27, "{}", price.told);

    shop.reset();
    shop.append("libs/money/src/money/__init__.py", "VERSION = 2\n");
    let affected = shop.forge("test --affected");
    affected.only_ran(
        "money:build money:test billing:build billing:test checkout:build checkout:test \
         pricing:build pricing:test",
    );
    assert_eq!(affected.with("fresh"), words("common:build"));

    shop.reset();
    let back = shop.forge("test");
    assert!(back.with("ran").is_empty(), "{}", back.told);
    assert!(back.with("restored").contains("billing:build"));
}

#[test]
fn monorepo_takes_addresses() {
    let shop = Copy::of("monorepo");
    shop.forge_in("services/billing", "test", &[])
        .only_ran("money:build billing:build billing:test");
    let built = shop.forge("*:build");
    assert_eq!(built.outcomes.len(), 14, "{}", built.told);
    assert_eq!(built.with("fresh"), words("money:build billing:build"));
    shop.forge("orders:start").only_ran("orders:start");
    shop.forge("orders:start").only_ran("orders:start");
    shop.forge("gateway:smoke").only_ran("gateway:smoke");
    shop.forge("gateway:smoke").only_ran("");
}

/// A clone elsewhere that is given the cache runs nothing.
#[test]
fn monorepo_moves() {
    let shop = Copy::of("monorepo");
    shop.forge("*:build");
    let elsewhere = Copy::of("monorepo");
    let copied = Command::new("cp")
        .arg("-a")
        .args([shop.dir.join(".forge"), elsewhere.dir.join(".forge")])
        .status();
    assert!(copied.expect("cp starts").success());
    let run = elsewhere.forge("*:build");
    assert_eq!(run.with("restored").len(), 14, "{}", run.told);
    let here = |copy: &Copy| fs::read(copy.dir.join("services/billing/dist/billing.pyz"));
    assert_eq!(
        here(&shop).expect("built"),
        here(&elsewhere).expect("restored")
    );
}

// --- all of them --------------------------------------------------------------------------------

#[test]
fn every_pipeline_file_is_right() {
    let init = fs::read_dir(Path::new(HERE).join("fixtures/init")).expect("there");
    let mut dirs: Vec<PathBuf> = init.map(|entry| entry.expect("there").path()).collect();
    for dir in [".", "fixtures/company-app", "fixtures/monorepo"] {
        dirs.push(Path::new(HERE).join(dir));
    }
    assert!(dirs.len() > 8, "{dirs:?}");
    for dir in dirs {
        let done = output(forge(&dir).arg("check"));
        let told = text(&done.stdout) + &text(&done.stderr);
        assert!(done.status.success(), "{}: {told}", dir.display());
    }
}

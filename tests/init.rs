//! `forge init`: goldens for whole projects, the writer's manners, and that no input breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forge::cli::init::{InitArgs, run};
use forge::init::{Found, propose};
use forge::pipeline::{LoadOptions, Problem, load_texts};
use miette::Diagnostic;
use proptest::prelude::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/init")
}

/// Copies a fixture's input files, so that its goldens are no input.
fn project(name: &str) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let to = temporary.path().join(name);
    copy(&fixtures().join(name), &to);
    let _ = fs::remove_file(to.join("Pipeline.toml"));
    let _ = fs::remove_file(to.join("notes.txt"));
    (temporary, to)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn golden(name: &str) {
    let (_kept, dir) = project(name);
    let proposal = propose(&Found::read(&dir).unwrap());
    let notes: String = proposal.notes.iter().map(|n| format!("{n}\n")).collect();
    for (file, actual) in [("Pipeline.toml", proposal.text), ("notes.txt", notes)] {
        let path = fixtures().join(name).join(file);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        snapbox::assert_data_eq!(actual, snapbox::Data::text(expected).raw());
    }
    let text = fs::read_to_string(fixtures().join(name).join("Pipeline.toml")).unwrap();
    loads(&text).unwrap();
}

/// As `forge check` reads it, with its warnings as errors.
fn loads(text: &str) -> Result<(), String> {
    let options = LoadOptions::default();
    let loaded = load_texts(&[("", text)], &options).map_err(|problems| format!("{problems:?}"))?;
    // make's targets keep their names, those of forge's commands too; a comment says how to run them.
    let named = |w: &&Problem| {
        w.code()
            .is_some_and(|c| c.to_string() == "forge::command-name")
    };
    match loaded.warnings.iter().find(|w| !named(w)) {
        None => Ok(()),
        Some(warning) => Err(format!("{warning:?}")),
    }
}

#[test]
fn a_teams_makefile() {
    golden("team");
}

#[test]
fn a_c_project_with_pattern_rules() {
    golden("c-project");
}

#[test]
fn a_node_project() {
    golden("node");
}

#[test]
fn a_rust_crate() {
    golden("rust");
}

#[test]
fn a_python_project_without_a_makefile() {
    golden("python");
}

#[test]
fn a_makefile_full_of_what_cannot_be_translated() {
    golden("nasty");
}

#[test]
fn a_dockerfile_and_nothing_else() {
    golden("docker-only");
}

#[test]
fn nothing_at_all() {
    golden("empty");
}

fn init(args: &InitArgs, dir: &Path) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(args, dir, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(err))
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let (_kept, dir) = project("rust");
    let file = dir.join("Pipeline.toml");
    fs::write(&file, "# mine\n").unwrap();

    let (code, _, err) = init(&InitArgs::default(), &dir);
    assert_eq!(code, 2);
    assert!(err.contains("--force"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");

    let forced = InitArgs {
        force: true,
        ..InitArgs::default()
    };
    assert_eq!(init(&forced, &dir).0, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("cargo test"));
}

#[test]
fn print_shows_the_file_and_writes_none() {
    let (_kept, dir) = project("team");
    let print = InitArgs {
        print: true,
        ..InitArgs::default()
    };
    let (code, out, err) = init(&print, &dir);
    assert_eq!(code, 0);
    assert!(out.parse::<toml::Table>().is_ok());
    assert!(err.contains("note: Makefile:"), "{err}");
    assert!(!dir.join("Pipeline.toml").exists());
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let (code, _, err) = init(&InitArgs::default(), Path::new("/nowhere/at/all"));
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: can't read /nowhere/at/all"),
        "{err}"
    );
}

/// The page says what `init` writes: each of its examples is a pipeline of its own.
#[test]
fn every_pipeline_on_the_migration_page_loads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        loads(block).unwrap_or_else(|error| panic!("{block}\n{error}"));
    }
}

/// The worked example shows what `init` really makes of its Makefile.
#[test]
fn the_migration_pages_example_is_what_init_writes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = fs::read_to_string(page).unwrap();
    let example = page.split("## A Makefile, step by step").nth(1).unwrap();
    let block = |fence: &str| {
        let rest = example.split(fence).nth(1).unwrap();
        rest.split("```").next().unwrap().to_owned()
    };
    let mut found = with(&[("Makefile", block("```make\n"))]);
    let files = ["requirements.txt", "requirements-dev.txt"];
    found.paths.extend(files.map(str::to_owned));
    let proposed: toml::Table = propose(&found).text.parse().unwrap();
    let shown: toml::Table = block("```toml\n").parse().unwrap();
    for (name, target) in shown["target"].as_table().unwrap() {
        assert_eq!(proposed["target"].get(name), Some(target), "{name}");
    }
    assert_eq!(
        proposed["pipeline"]["default"],
        shown["pipeline"]["default"]
    );
    assert_eq!(
        proposed["target"]["push"]["needs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

fn with(files: &[(&str, String)]) -> Found {
    let texts: BTreeMap<String, String> = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.clone()))
        .collect();
    Found {
        name: "p".into(),
        paths: texts.keys().cloned().chain(["a.c".into()]).collect(),
        texts,
        is_member: false,
    }
}

/// Pieces that a Makefile's grammar turns on, so that random ones get deep into the reader.
fn makefile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-c.%$@:#=|&;'\"{}() \\\\-]{0,6}",
        prop::sample::select(vec![
            "\n",
            "\n\t",
            "a",
            "b",
            "a.o",
            ": ",
            " | ",
            ":= ",
            "?= ",
            "+= ",
            "$(A)",
            "${A}",
            "$$",
            "$@",
            "$(wildcard *.c)",
            "$(shell pwd)",
            "$(shell ls)",
            "A",
            "\\\n",
            "\n.PHONY: a b\n",
            "\nifeq (a,b)\n",
            "\nendif\n",
            "\ninclude x\n",
            "\ndefine A\n",
            "\nendef\n",
            "## hm",
            "\nexport A\n",
            "docker push x",
            "pytest",
            "-",
            "${x.y}",
            "'''",
            "\u{1}",
            "é",
            "\nclean:\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_a_makefile_give_a_pipeline(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let proposal = propose(&with(&[("Makefile", text)]));
        let loaded = loads(&proposal.text);
        prop_assert!(loaded.is_ok(), "{}\n{loaded:?}", proposal.text);
    }

    #[test]
    fn any_makefile_like_text_gives_a_pipeline(text in makefile()) {
        let proposal = propose(&with(&[("Makefile", text)]));
        let loaded = loads(&proposal.text);
        prop_assert!(loaded.is_ok(), "{}\n{loaded:?}", proposal.text);
    }

    #[test]
    fn any_text_in_the_other_files_gives_a_pipeline(text in "\\PC{0,80}", name in "[a-z'\" :]{0,9}", script in "\\PC{0,30}") {
        let package = serde_json::json!({ "scripts": { name: script }, "dependencies": { "a": "1" } });
        let files = ["pyproject.toml", "setup.cfg", "requirements.txt", "Cargo.toml"];
        let mut all: Vec<(&str, String)> = files.iter().map(|f| (*f, text.clone())).collect();
        all.push(("package.json", package.to_string()));
        let proposal = propose(&with(&all));
        let loaded = loads(&proposal.text);
        prop_assert!(loaded.is_ok(), "{}\n{loaded:?}", proposal.text);
    }
}

/// `[pipeline]` in a member's file would be an error, for every command in the whole workspace.
#[test]
fn in_a_member_it_writes_a_project() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Pipeline.toml", "[workspace]\nmembers = [\"services/*\"]\n");
    write("services/billing/Makefile", "X = 1\ntest:\n\tpytest $(X)\n");
    write("tools/Makefile", "test:\n\tpytest\n");
    let init = |dir: &str| {
        let args = InitArgs {
            print: true,
            force: false,
        };
        let mut text = Vec::new();
        let code = run(&args, &root.path().join(dir), &mut text, &mut Vec::new());
        assert_eq!(code, 0);
        String::from_utf8(text).unwrap()
    };
    let member = init("services/billing");
    assert!(member.contains("\n[project]\nname"), "{member}");
    let files = [("", "[workspace]\nmembers = [\"m\"]\n"), ("m", &member)];
    let loaded = load_texts(&files, &LoadOptions::default());
    assert_eq!(loaded.expect("right").workspace.projects[1].name, "billing");
    assert!(init("tools").contains("\n[pipeline]\nname"));
}

/// Whether they are one workspace is for their people to say; the two lines that make one of them are there.
#[test]
fn several_projects_lead_to_a_workspace() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("services/billing/Makefile", "test:\n\tpytest\n");
    write(
        "services/users/pyproject.toml",
        "[project]\nname = \"users\"\n",
    );
    write("web/Makefile", "test:\n\tpytest\n");
    write("web/admin/Makefile", "test:\n\tpytest\n");
    write("docs/Makefile", "html:\n\tsphinx\n");
    let (code, _, err) = init(&InitArgs::default(), root.path());
    assert_eq!(code, 0);
    let names = "services/billing, services/users, web are projects of their own";
    assert!(err.contains(names), "{err}");
    let file = root.path().join("Pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    loads(&text).unwrap();
    let (_, lines) = text.split_once("\n# [workspace]\n").expect(&text);
    assert_eq!(lines, "# members = [\"services/*\", \"web\"]\n");
    // As it says: the `#` off, then `init` in each.
    fs::write(&file, text.replace("# [w", "[w").replace("# memb", "memb")).unwrap();
    for dir in ["services/billing", "services/users", "web"] {
        assert_eq!(init(&InitArgs::default(), &root.path().join(dir)).0, 0);
    }
    let loaded = forge::pipeline::load(&file, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.workspace.projects.len(), 4);

    // One is none, and a member has no members.
    fs::remove_dir_all(root.path().join("services")).unwrap();
    let found = Found::read(root.path()).unwrap();
    assert!(!propose(&found).text.contains("[workspace]"));
}

/// Workflows tell neither what a command reads nor whose a service is: what they do more is said, not guessed.
#[test]
fn what_workflows_do_more_is_told() {
    let workflow = "jobs:\n  test:\n    services:\n      db:\n        image: mysql:8\n        env:\n          MYSQL_ROOT_PASSWORD: root\n    steps:\n      - run: make test\n      - run: |\n          pytest\n          ./upload.sh coverage.xml\n";
    let name = ".github/workflows/ci.yml";
    let files = [
        ("Makefile", "test:\n\tpytest\n".to_owned()),
        (name, workflow.to_owned()),
    ];
    let proposal = propose(&with(&files));
    loads(&proposal.text).unwrap();
    let told = format!(
        "{name}: it starts db and runs what no target does (from line 12 on): the end of the file says what"
    );
    assert!(
        proposal.notes.iter().any(|note| note.to_string() == told),
        "{:?}",
        proposal.notes
    );
    let end = "# .github/workflows/ci.yml runs this, which no target here does:\n#     ./upload.sh coverage.xml  (line 12)\n";
    assert!(proposal.text.contains(end), "{}", proposal.text);
    let service = proposal
        .text
        .split("\n# [service.db]\n")
        .nth(1)
        .expect("one");
    let service = service.replace("# ", "");
    assert_eq!(
        service,
        "image = \"mysql:8\"\nenv = { MYSQL_ROOT_PASSWORD = \"root\" }\nports = [3306]\n"
    );
}

//! Each diagnostic as people see it. A folder of `fixtures/diagnostics` is named after a code (with
//! `--VARIANT` where a code has several faces) and holds a small workspace and `expected.txt`; a file
//! `words` holds what is asked for on the command line. `UPDATE_GOLDENS=1` writes what is rendered now.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use forge::graph;
use forge::pipeline::{LoadOptions, Problem, code, load};
use miette::{GraphicalReportHandler, GraphicalTheme};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/diagnostics");
    let entries = fs::read_dir(root).expect("fixtures/diagnostics");
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// What the workspace in a folder has to say: errors, else warnings and what selecting says.
fn problems(folder: &Path) -> Vec<Problem> {
    let loaded = match load(&folder.join("Pipeline.toml"), &LoadOptions::default()) {
        Ok(loaded) => loaded,
        Err(problems) => return problems.0,
    };
    let mut problems = loaded.warnings;
    if let Ok(words) = fs::read_to_string(folder.join("words")) {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        problems.extend(graph::select(&loaded.workspace, &words, None).err());
    }
    problems
}

fn render(problems: &[Problem]) -> String {
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = String::new();
    for problem in problems {
        handler
            .render_report(&mut text, problem)
            .expect("rendering");
        text.push('\n');
    }
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_folder_shows_what_is_expected() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut wrong = Vec::new();
    for folder in folders() {
        let rendered = render(&problems(&folder));
        let golden = folder.join("expected.txt");
        if update {
            fs::write(&golden, &rendered).expect("writing a golden");
        } else if fs::read_to_string(&golden).unwrap_or_default() != rendered {
            wrong.push(format!("{}:\n{rendered}", name(&folder)));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_GOLDENS=1 rewrites):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_folder_shows_its_own_code_and_nothing_else() {
    for folder in folders() {
        let name = name(&folder);
        let wanted = format!("forge::{}", name.split("--").next().unwrap_or_default());
        let codes: BTreeSet<&str> = problems(&folder).iter().map(Problem::code_str).collect();
        match name.as_str() {
            "all-at-once" => assert!(codes.len() > 4, "{codes:?}"),
            _ => assert_eq!(codes, BTreeSet::from([wanted.as_str()]), "in {name}"),
        }
    }
}

#[test]
fn every_code_has_a_folder() {
    let shown: BTreeSet<String> = folders()
        .iter()
        .map(|folder| format!("forge::{}", name(folder)))
        .collect();
    let missing: Vec<_> = code::CATALOGUE
        .iter()
        .filter(|code| !shown.contains(**code))
        .collect();
    assert!(missing.is_empty(), "no folder for {missing:?}");
}

//! Whatever stands in a file, reading it ends with a workspace or with problems whose every span lies in
//! its file.

use miette::{Diagnostic, GraphicalReportHandler};
use proptest::prelude::*;

use super::meaning::COMPANY;
use crate::pipeline::{LoadOptions, Problem, load_texts};

const MEMBER: &str = "[project]\nname = \"m\"\ndepends = [\"m\"]\ntemplate = \"t\"\n[target.\"a\"]\nneeds = [\"^a\", \"m:a\", \":venv\"]\nrun = '''\nécho ${env.X} ${var.Y}\n'''\n";

fn check(files: &[(&str, &str)]) {
    let problems = match load_texts(files, &LoadOptions::default()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    };
    for problem in &problems {
        check_problem(problem, files);
    }
}

fn check_problem(problem: &Problem, files: &[(&str, &str)]) {
    for (span, _) in problem.labels_at() {
        let text = files[span.file.0 as usize].1;
        assert!(
            text.get(span.range.clone()).is_some(),
            "{problem}: {span:?}"
        );
    }
    let mut out = String::new();
    GraphicalReportHandler::new()
        .render_report(&mut out, problem)
        .unwrap();
    assert!(!out.contains("Failed to read contents"), "{out}");
    assert!(problem.code().is_some() && !problem.message().is_empty());
}

/// Tokens that a pipeline file is made of, and that confuse one.
const TOKENS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "\"",
    "'",
    "\"\"\"",
    "\n",
    "\r\n",
    "\r",
    " ",
    ",",
    ".",
    "#",
    "é",
    "\u{0}",
    "\u{1F980}",
    "\\",
    "true",
    "0",
    "-1",
    "1e9",
    "1979-05-27",
    "target",
    "test",
    "run",
    "needs",
    "^",
    ":",
    "/",
    "..",
    "!",
    "*",
    "${",
    "}",
    "$${",
    "${env.X}",
    "${var.a}",
    "${service.postgres.port.1}",
    "${image.image.ref}",
    "[target.test]\n",
    "run = \"x\"\n",
    "needs = [\"test\"]\n",
    "outputs = [\"a/\"]\n",
    "kind = \"image\"\n",
    "[workspace]\nmembers = [\"*\"]\n",
    "[project]\n",
    "when = {}\n",
    "ready = {}\n",
    "9999999999999999999999",
];

/// A valid file with stretches taken out and tokens put in.
fn mutated(base: &'static str) -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0usize..12,
        prop::sample::select(TOKENS),
    );
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut chars: Vec<char> = base.chars().collect();
        for (at, taken, token) in edits {
            let at = at.index(chars.len().max(1)).min(chars.len());
            let end = (at + taken).min(chars.len());
            chars.splice(at..end, token.chars());
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_never_panics(root in mutated(COMPANY), member in mutated(MEMBER)) {
        check(&[("", &root), ("m", &member)]);
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,80}") {
        check(&[("", &text)]);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&[("", &String::from_utf8_lossy(&bytes))]);
    }

    #[test]
    fn any_tokens_never_panic(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40)) {
        check(&[("", &tokens.concat())]);
    }
}

#[test]
fn deep_nesting_ends() {
    check(&[("", &format!("x = {}", "[".repeat(10_000)))]);
    check(&[(
        "",
        &format!("x = {}{}", "{a=".repeat(5_000), "}".repeat(5_000)),
    )]);
    check(&[("", &format!("{} = 1", vec!["a"; 5_000].join(".")))]);
}

//! Links between pages, to files and to headings.

use std::collections::BTreeSet;
use std::path::Path;

use crate::page::{Page, pages, root};

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for (line, target) in links(&page) {
            if let Some(why) = broken(&page, &target) {
                wrong.push(format!("{}:{line}: {target}: {why}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Targets of `[text](target)` outside of code, with their lines from 1.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(&page.text) {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

/// Lines outside of fences.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

fn broken(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let from = root().join(&page.name);
    let path = match file {
        "" => from,
        file => from.parent().unwrap_or(Path::new("/")).join(file),
    };
    if !path.exists() {
        return Some("there is no such file".into());
    }
    if anchor.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let known = anchors(&text);
    (!known.contains(anchor)).then(|| format!("no such heading; there are {known:?}"))
}

/// As GitHub makes them from headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let keep = |c: char| c.is_alphanumeric() || " -_".contains(c);
    let slug = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|&c| keep(c))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(|(_, line)| slug(line)).collect()
}

#[test]
fn a_link_to_nowhere_is_seen() {
    let page = Page {
        name: "README.md".into(),
        text: "# `[a.B]` c\n[x](#ab-c) [y](#nowhere) [z](docs/none.md) [w](https://example.com)\n"
            .into(),
    };
    let targets: Vec<String> = links(&page).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["#ab-c", "#nowhere", "docs/none.md"]);
    assert_eq!(anchors(&page.text), BTreeSet::from(["ab-c".to_owned()]));
    assert!(broken(&page, "docs/none.md").is_some());
}

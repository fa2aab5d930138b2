//! The graph over small written workspaces, and over random ones.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::pipeline::model::{Need, ProjectId, TargetId, Workspace};
use crate::pipeline::{LoadOptions, code, load_texts};

const ROOT: &str = r#"
[pipeline]
name = "root"
default = ["test"]
[workspace]
members = ["*"]
[template.py.target.fmt]
run = "true"
[target.test]
needs = ["checks"]
run = "true"
[target.checks]
needs = ["lint", "types"]
[target.lint]
run = "true"
[target.types]
run = "true"
finally = ["report"]
[target.report]
needs = ["tool"]
run = "true"
[target.tool]
run = "true"
"#;
const COMMON: &str = "[target.build]\nrun = \"true\"\n";
const A: &str = "[project]\nname = \"svc-a\"\ndepends = [\"common\"]\ntemplate = \"py\"\ndefault = [\"lint\"]\n[target.test]\nrun = \"true\"\n[target.lint]\nrun = \"true\"\n";
const B: &str =
    "[project]\nname = \"svc-b\"\n[target.test]\nneeds = [\"svc-a:test\"]\nrun = \"true\"\n";
const C: &str = "[project]\nname = \"other\"\n[target.docs]\ninputs = [\"/shared/**/*.md\", \"!/shared/old/**\", \"x\"]\nrun = \"true\"\n";

fn workspace() -> Workspace {
    let files = [
        ("", ROOT),
        ("apps/other", C),
        ("common", COMMON),
        ("svc/a", A),
        ("svc/b", B),
    ];
    load_texts(&files, &LoadOptions::default())
        .unwrap()
        .workspace
}

fn names(ws: &Workspace, targets: impl IntoIterator<Item = TargetId>) -> Vec<String> {
    targets
        .into_iter()
        .map(|id| ws.target(id).address.to_string())
        .collect()
}

fn project(ws: &Workspace, name: &str) -> ProjectId {
    ws.projects
        .iter()
        .find(|project| project.name == name)
        .unwrap()
        .id
}

fn selected(words: &[&str], from: Option<&str>) -> Vec<String> {
    let ws = workspace();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let from = from.map(|name| project(&ws, name));
    let selected = select(&ws, &words, from);
    names(&ws, selected.unwrap_or_else(|problem| panic!("{problem}")))
}

#[test]
fn words_name_targets() {
    assert_eq!(
        selected(&["test"], None),
        ["test", "svc-a:test", "svc-b:test"]
    );
    assert_eq!(selected(&["test"], Some("svc-b")), ["svc-b:test"]);
    assert_eq!(selected(&[":test"], Some("svc-b")), ["test"]);
    assert_eq!(selected(&["svc-a:test"], Some("svc-b")), ["svc-a:test"]);
    assert_eq!(
        selected(&["svc-*:test"], None),
        ["svc-a:test", "svc-b:test"]
    );
    assert_eq!(selected(&["*:lint"], None), ["lint", "svc-a:lint"]);
    assert_eq!(selected(&["t*"], Some("svc-a")), ["svc-a:test"]);
    assert_eq!(
        selected(&["lint", "test", "lint"], Some("svc-a")),
        ["svc-a:lint", "svc-a:test"]
    );
    assert_eq!(selected(&[], None), ["test", "svc-a:test", "svc-b:test"]);
    assert_eq!(selected(&[], Some("svc-a")), ["svc-a:lint"]);
}

#[test]
fn unknown_words_say_what_is_near() {
    let ws = workspace();
    let help = |word: &str, from: Option<&str>| {
        let problem =
            select(&ws, &[word.to_owned()], from.map(|name| project(&ws, name))).unwrap_err();
        assert_eq!(problem.code_str(), code::UNKNOWN_TARGET);
        problem.help_str().unwrap_or_default().to_owned()
    };
    assert_eq!(help("tset", None), "did you mean `test`?");
    assert_eq!(help("svc-a:tset", None), "did you mean `svc-a:test`?");
    assert_eq!(help("scv-a:test", None), "did you mean `svc-a`?");
    assert_eq!(help("docs", Some("svc-a")), "did you mean `other:docs`?");
    assert_eq!(help("tool", Some("svc-a")), "did you mean `:tool`?");
    let none = select(&ws, &[], Some(project(&ws, "svc-b"))).unwrap_err();
    assert_eq!(none.code_str(), code::NO_DEFAULT);
    assert!(none.help_str().unwrap().contains("`test`"));
}

#[test]
fn the_closure_holds_needs_and_what_follows_in_order() {
    let ws = workspace();
    let start = select(&ws, &[":test".into()], None).unwrap();
    assert_eq!(
        names(&ws, closure(&ws, &start)),
        ["lint", "types", "checks", "test", "tool", "report"]
    );
    assert_eq!(names(&ws, leaf_needs(&ws, start[0])), ["lint", "types"]);
    let all: BTreeSet<String> = names(&ws, transitive_needs(&ws, start[0]))
        .into_iter()
        .collect();
    assert_eq!(
        all,
        BTreeSet::from(["checks", "lint", "types"].map(str::to_owned))
    );
}

#[test]
fn changed_files_touch_projects_and_what_builds_on_them() {
    let ws = workspace();
    let touched = |paths: &[&str]| -> Vec<&str> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        affected(&ws, &paths)
            .into_iter()
            .map(|id| ws.project(id).name.as_str())
            .collect()
    };
    assert_eq!(touched(&["common/x.c"]), ["common", "svc-a", "svc-b"]);
    assert_eq!(touched(&["svc/a/src/deep/x.py"]), ["svc-a", "svc-b"]);
    assert_eq!(touched(&["svc/b/x"]), ["svc-b"]);
    assert_eq!(touched(&["shared/a/x.md"]), ["root", "other"]);
    assert_eq!(touched(&["shared/old/x.md"]), ["root"]);
    assert_eq!(touched(&["Pipeline.toml"]), ["root", "svc-a", "svc-b"]);
    assert!(touched(&[]).is_empty());
}

/// A workspace of `n` targets in one project; `needs[i]` are the needs of target i.
fn graph_of(needs: &[Vec<usize>]) -> Workspace {
    let text: String = (0..needs.len())
        .map(|i| format!("[target.t{i}]\nrun = \"true\"\n"))
        .collect();
    let mut ws = load_texts(&[("", &text)], &LoadOptions::default())
        .unwrap()
        .workspace;
    for (target, needs) in ws.targets.iter_mut().zip(needs) {
        let span = target.span.clone();
        let need = |index: &usize| Need {
            target: TargetId(u32::try_from(*index).unwrap()),
            span: span.clone(),
        };
        target.needs = needs.iter().map(need).collect();
    }
    ws
}

/// `(needs, finally)` by index, any direction: circles included.
fn edges(n: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0..n, 0..4), n)
}

fn has_cycle(edges: &[Vec<usize>]) -> bool {
    // Takes away what waits for nothing until nothing changes.
    let mut alive: BTreeSet<usize> = (0..edges.len()).collect();
    loop {
        let free: Vec<usize> = alive
            .iter()
            .copied()
            .filter(|node| edges[*node].iter().all(|next| !alive.contains(next)))
            .collect();
        if free.is_empty() {
            return !alive.is_empty();
        }
        alive.retain(|node| !free.contains(node));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn circles_are_found_exactly_where_they_are(edges in edges(12)) {
        let found = cycles(&edges);
        prop_assert_eq!(!found.is_empty(), has_cycle(&edges));
        for cycle in found {
            for (position, node) in cycle.iter().enumerate() {
                prop_assert!(edges[*node].contains(&cycle[(position + 1) % cycle.len()]));
            }
        }
    }

    #[test]
    fn an_order_puts_needs_first(edges in edges(12), start in 0usize..12) {
        // Only downward edges: no circles.
        let needs: Vec<Vec<usize>> = edges.iter().enumerate().map(|(node, next)| next.iter().copied().filter(|next| *next < node).collect()).collect();
        let ws = graph_of(&needs);
        let order = closure(&ws, &[TargetId(u32::try_from(start).unwrap())]);
        let place: HashMap<TargetId, usize> = order.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        prop_assert_eq!(place.len(), order.len());
        for id in &order {
            for need in &ws.target(*id).needs {
                prop_assert!(place[&need.target] < place[id]);
            }
        }
        prop_assert_eq!(transitive_needs(&ws, order[order.len() - 1]).len(), order.len() - 1);
    }

    #[test]
    fn a_floor_leaves_out_exactly_what_stands_lower(edges in edges(12), floor in 0u32..6) {
        let needs: Vec<Vec<usize>> = edges.iter().enumerate().map(|(node, next)| next.iter().copied().filter(|next| *next < node).collect()).collect();
        let ws = graph_of(&needs);
        let heights = heights(&ws);
        let height = |id: &TargetId| heights[id.0 as usize];
        for target in &ws.targets {
            let highest = target.needs.iter().map(|need| height(&need.target)).max();
            prop_assert_eq!(height(&target.id), highest.map_or(0, |highest| highest + 1));
            let mut all = transitive_needs(&ws, target.id);
            all.retain(|need| height(need) >= floor);
            prop_assert_eq!(needs_down_to(&ws, target.id, &heights, floor), all);
        }
    }

    #[test]
    fn circles_hang_nothing(edges in edges(12)) {
        let ws = graph_of(&edges);
        for id in 0..12 {
            closure(&ws, &[TargetId(id)]);
            transitive_needs(&ws, TargetId(id));
            leaf_needs(&ws, TargetId(id));
        }
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_is_no_deeper_than_one_of_three() {
    let n = 100_000;
    let needs: Vec<Vec<usize>> = (0..n)
        .map(|i| if i == 0 { Vec::new() } else { vec![i - 1] })
        .collect();
    let ws = graph_of(&needs);
    let last = ws.targets[n - 1].id;
    let order = closure(&ws, &[last]);
    assert_eq!(
        (order.len(), order[0], order[n - 1]),
        (n, ws.targets[0].id, last)
    );
    assert_eq!(transitive_needs(&ws, last).len(), n - 1);
}

#[test]
fn the_next_few_rows_are_found_without_a_walk_through_all() {
    // To look at everything below each of them would take five billion steps.
    let n = 100_000;
    let needs: Vec<Vec<usize>> = (0..n).map(|i| (i - i.min(1)..i).collect()).collect();
    let ws = graph_of(&needs);
    let heights = heights(&ws);
    assert_eq!(heights[n - 1], 99_999);
    for target in &ws.targets {
        let floor = heights[target.id.0 as usize].saturating_sub(2);
        let found = needs_down_to(&ws, target.id, &heights, floor);
        assert_eq!(found.len(), heights[target.id.0 as usize].min(2) as usize);
    }
}

#[test]
fn as_many_words_as_targets_are_looked_up() {
    let n = 100_000;
    let ws = graph_of(&vec![Vec::new(); n]);
    let words: Vec<String> = (0..n).rev().map(|i| format!(":t{i}")).collect();
    let found = select(&ws, &words, None).unwrap();
    assert_eq!((found.len(), found[0]), (n, ws.targets[n - 1].id));
}

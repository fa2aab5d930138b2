//! `forge graph`: what needs what, as a tree, for Graphviz, for Mermaid, or as JSON.
//!
//! Knows nothing of files; the workspace is all it sees.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::graph::closure;
use crate::pipeline::model::{Target, TargetId, Workspace};

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Dot,
    Mermaid,
    Json,
}

/// The targets with everything they need and what follows them. Ends with a line break.
pub fn render(ws: &Workspace, targets: &[TargetId], format: Format) -> String {
    match format {
        Format::Text => text(ws, targets),
        Format::Dot => dot(ws, &closure(ws, targets)),
        Format::Mermaid => mermaid(ws, &closure(ws, targets)),
        Format::Json => json(ws, &closure(ws, targets)),
    }
}

/// A line of the tree that is still to be written.
struct Branch {
    target: TargetId,
    /// What stands before the line's own mark: `│  ` and spaces.
    indent: String,
    /// `None`: a root.
    last: Option<bool>,
    finally: bool,
}

/// A tree for each target; what was shown with its needs before is shown without them again.
fn text(ws: &Workspace, targets: &[TargetId]) -> String {
    let mut out = String::new();
    let mut shown = HashSet::new();
    let root = |target: &TargetId| Branch {
        target: *target,
        indent: String::new(),
        last: None,
        finally: false,
    };
    let mut stack: Vec<Branch> = targets.iter().rev().map(root).collect();
    while let Some(branch) = stack.pop() {
        let target = ws.target(branch.target);
        let below = children(target);
        let again = !shown.insert(branch.target) && !below.is_empty();
        out += &line(&branch, target, again);
        if again {
            continue;
        }
        let indent = match branch.last {
            None => String::new(),
            Some(true) => format!("{}   ", branch.indent),
            Some(false) => format!("{}│  ", branch.indent),
        };
        let count = below.len();
        let branches = below
            .into_iter()
            .enumerate()
            .map(|(index, (target, finally))| Branch {
                target,
                indent: indent.clone(),
                last: Some(index + 1 == count),
                finally,
            });
        stack.extend(branches.rev());
    }
    out
}

fn line(branch: &Branch, target: &Target, again: bool) -> String {
    let mark = match branch.last {
        None => "",
        Some(true) => "└─ ",
        Some(false) => "├─ ",
    };
    let finally = if branch.finally { " (finally)" } else { "" };
    let again = if again { " …" } else { "" };
    format!(
        "{}{mark}{}{finally}{again}\n",
        branch.indent, target.address
    )
}

/// Needs, then what runs `finally`.
fn children(target: &Target) -> Vec<(TargetId, bool)> {
    let needs = target.needs.iter().map(|need| (need.target, false));
    let finally = target.finally.iter().map(|last| (last.target, true));
    needs.chain(finally).collect()
}

fn dot(ws: &Workspace, targets: &[TargetId]) -> String {
    let mut out = String::from("digraph forge {\n  rankdir = LR;\n  node [shape = box];\n");
    for id in targets {
        let target = ws.target(*id);
        let style = match target.kind.name() {
            "group" => " [style = rounded]",
            _ => "",
        };
        out += &format!("  \"{}\"{style};\n", target.address);
        for (other, finally) in children(target) {
            let other = &ws.target(other).address;
            let style = if finally { " [style = dashed]" } else { "" };
            out += &format!("  \"{}\" -> \"{other}\"{style};\n", target.address);
        }
    }
    out + "}\n"
}

fn mermaid(ws: &Workspace, targets: &[TargetId]) -> String {
    let mut out = String::from("graph LR\n");
    for id in targets {
        let target = ws.target(*id);
        let (open, close) = match target.kind.name() {
            "group" => ("([", "])"),
            _ => ("[", "]"),
        };
        out += &format!("  t{}{open}\"{}\"{close}\n", id.0, target.address);
        for (other, finally) in children(target) {
            let arrow = if finally { "-.->" } else { "-->" };
            out += &format!("  t{} {arrow} t{}\n", id.0, other.0);
        }
    }
    out
}

fn json(ws: &Workspace, targets: &[TargetId]) -> String {
    let addresses = |needs: &[crate::pipeline::model::Need]| -> Vec<String> {
        let addresses = needs
            .iter()
            .map(|need| ws.target(need.target).address.to_string());
        addresses.collect()
    };
    let node = |id: &TargetId| -> Value {
        let target = ws.target(*id);
        json!({
            "target": &*target.address,
            "project": ws.project(target.project).name,
            "kind": target.kind.name(),
            "needs": addresses(&target.needs),
            "finally": addresses(&target.finally),
        })
    };
    let nodes: Vec<Value> = targets.iter().map(node).collect();
    format!("{:#}\n", json!({ "targets": nodes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{LoadOptions, load_texts};

    const FILE: &str = "[pipeline]\nname = \"p\"\n[target.venv]\nrun = \"true\"\n[target.a]\nneeds = [\"venv\"]\nrun = \"true\"\n\
        [target.b]\nneeds = [\"a\"]\nrun = \"true\"\nfinally = [\"end\"]\n[target.all]\nneeds = [\"a\", \"b\"]\n[target.end]\nrun = \"true\"\n";

    fn rendered(format: Format) -> String {
        let ws = load_texts(&[("", FILE)], &LoadOptions::default())
            .unwrap()
            .workspace;
        let all = ws
            .targets
            .iter()
            .find(|target| target.name == "all")
            .unwrap()
            .id;
        render(&ws, &[all], format)
    }

    #[test]
    fn a_tree_shows_each_subtree_once() {
        let tree = "all\n├─ a\n│  └─ venv\n└─ b\n   ├─ a …\n   └─ end (finally)\n";
        assert_eq!(rendered(Format::Text), tree);
    }

    #[test]
    fn other_programs_get_every_edge() {
        let dot = rendered(Format::Dot);
        assert!(
            dot.contains("\"all\" -> \"b\";") && dot.contains("\"b\" -> \"end\" [style = dashed];")
        );
        let mermaid = rendered(Format::Mermaid);
        assert!(mermaid.contains("t3([\"all\"])") && mermaid.contains("t2 -.-> t4"));
        let json: Value = serde_json::from_str(&rendered(Format::Json)).unwrap();
        assert_eq!(json["targets"][0]["target"], "venv");
        assert_eq!(json["targets"].as_array().unwrap().len(), 5);
        assert_eq!(json["targets"][3]["kind"], "group");
    }
}

//! `forge graph`: what needs what, as a tree, for Graphviz, for Mermaid, or as JSON.
//!
//! Knows nothing of files; the workspace is all it sees.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, SerializeMap, Serializer as _};
use serde_json::{Serializer, Value, json};

use crate::graph::closure;
use crate::pipeline::model::{Need, Target, TargetId, Workspace};

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Dot,
    Mermaid,
    Json,
}

/// Writes the targets with everything they need and what follows them. Ends with a line break.
///
/// # Errors
/// `out` can't be written.
pub fn render(
    ws: &Workspace,
    targets: &[TargetId],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match format {
        Format::Text => text(ws, targets, &mut out),
        Format::Dot => dot(ws, &closure(ws, targets), &mut out),
        Format::Mermaid => mermaid(ws, &closure(ws, targets), &mut out),
        Format::Json => json(ws, &closure(ws, targets), &mut out),
    }?;
    out.flush()
}

/// What is deeper begins a tree of its own: lines as long as a graph is deep are for nobody, and for every target of a
/// chain one they take the square of its length.
const DEEP: usize = 40;

/// A line of the tree that is still to be written.
struct Branch {
    target: TargetId,
    /// What stands before the line's own mark: `│  ` and spaces.
    indent: String,
    depth: usize,
    /// `None`: a root.
    last: Option<bool>,
    finally: bool,
}

impl Branch {
    fn root(target: TargetId) -> Branch {
        Branch {
            target,
            indent: String::new(),
            depth: 0,
            last: None,
            finally: false,
        }
    }
}

/// A tree for each target; what was shown with its needs before is shown without them again.
fn text(ws: &Workspace, targets: &[TargetId], out: &mut dyn Write) -> io::Result<()> {
    let mut shown = vec![false; ws.targets.len()];
    let mut deeper = VecDeque::new();
    let mut stack: Vec<Branch> = targets.iter().rev().copied().map(Branch::root).collect();
    loop {
        while let Some(branch) = stack.pop() {
            let target = ws.target(branch.target);
            let below = children(target);
            let was_shown = shown[branch.target.0 as usize];
            let too_deep = branch.depth == DEEP && !was_shown && !below.is_empty();
            line(
                &branch,
                target,
                (was_shown || too_deep) && !below.is_empty(),
                out,
            )?;
            if too_deep {
                deeper.push_back(branch.target);
            } else if !was_shown {
                shown[branch.target.0 as usize] = true;
                stack.extend(branches(&branch, below).rev());
            }
        }
        let Some(next) = deeper.pop_front() else {
            return Ok(());
        };
        if !shown[next.0 as usize] {
            stack.push(Branch::root(next));
        }
    }
}

/// What stands below a line.
fn branches(
    branch: &Branch,
    below: Vec<(TargetId, bool)>,
) -> impl DoubleEndedIterator<Item = Branch> {
    let indent = match branch.last {
        None => String::new(),
        Some(true) => format!("{}   ", branch.indent),
        Some(false) => format!("{}│  ", branch.indent),
    };
    let (depth, count) = (branch.depth + 1, below.len());
    let below = below.into_iter().enumerate();
    below.map(move |(index, (target, finally))| Branch {
        target,
        indent: indent.clone(),
        depth,
        last: Some(index + 1 == count),
        finally,
    })
}

fn line(branch: &Branch, target: &Target, again: bool, out: &mut dyn Write) -> io::Result<()> {
    let mark = match branch.last {
        None => "",
        Some(true) => "└─ ",
        Some(false) => "├─ ",
    };
    let finally = if branch.finally { " (finally)" } else { "" };
    let again = if again { " …" } else { "" };
    writeln!(
        out,
        "{}{mark}{}{finally}{again}",
        branch.indent, target.address
    )
}

/// Needs, then what runs `finally`.
fn children(target: &Target) -> Vec<(TargetId, bool)> {
    let needs = target.needs.iter().map(|need| (need.target, false));
    let finally = target.finally.iter().map(|last| (last.target, true));
    needs.chain(finally).collect()
}

fn dot(ws: &Workspace, targets: &[TargetId], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"digraph forge {\n  rankdir = LR;\n  node [shape = box];\n")?;
    for id in targets {
        let target = ws.target(*id);
        let style = match target.kind.name() {
            "group" => " [style = rounded]",
            _ => "",
        };
        writeln!(out, "  \"{}\"{style};", target.address)?;
        for (other, finally) in children(target) {
            let other = &ws.target(other).address;
            let style = if finally { " [style = dashed]" } else { "" };
            writeln!(out, "  \"{}\" -> \"{other}\"{style};", target.address)?;
        }
    }
    out.write_all(b"}\n")
}

fn mermaid(ws: &Workspace, targets: &[TargetId], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"graph LR\n")?;
    for id in targets {
        let target = ws.target(*id);
        let (open, close) = match target.kind.name() {
            "group" => ("([", "])"),
            _ => ("[", "]"),
        };
        writeln!(out, "  t{}{open}\"{}\"{close}", id.0, target.address)?;
        for (other, finally) in children(target) {
            let arrow = if finally { "-.->" } else { "-->" };
            writeln!(out, "  t{} {arrow} t{}", id.0, other.0)?;
        }
    }
    Ok(())
}

fn json(ws: &Workspace, targets: &[TargetId], out: &mut dyn Write) -> io::Result<()> {
    let nodes = targets.iter().map(|id| {
        let target = ws.target(*id);
        let addresses = |needs: &[Need]| -> Vec<&str> {
            let needs = needs.iter();
            needs.map(|need| &*ws.target(need.target).address).collect()
        };
        json!({
            "target": &*target.address,
            "project": ws.project(target.project).name,
            "kind": target.kind.name(),
            "needs": addresses(&target.needs),
            "finally": addresses(&target.finally),
        })
    });
    let mut json = Serializer::pretty(&mut *out);
    let mut whole = json.serialize_map(Some(1))?;
    whole.serialize_entry("targets", &Each(RefCell::new(nodes)))?;
    whole.end()?;
    out.write_all(b"\n")
}

/// A list that is made while it is written: as a whole it would take more room than the graph itself.
struct Each<I>(RefCell<I>);

impl<I: Iterator<Item = Value>> Serialize for Each<I> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&mut *self.0.borrow_mut())
    }
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
        written(&ws, &[all], format)
    }

    fn written(ws: &Workspace, targets: &[TargetId], format: Format) -> String {
        let mut out = Vec::new();
        render(ws, targets, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
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

    #[test]
    fn a_long_chain_is_shown_in_pieces() {
        let chain = |n: usize| -> String {
            let one = |i: usize| match i {
                0 => "[target.t0]\n".to_owned(),
                i => format!("[target.t{i}]\nneeds = [\"t{}\"]\n", i - 1),
            };
            (0..n).map(one).collect()
        };
        let n = 10_000;
        let ws = load_texts(&[("", &chain(n))], &LoadOptions::default())
            .unwrap()
            .workspace;
        let text = written(&ws, &[ws.targets[n - 1].id], Format::Text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[DEEP],
            format!("{}└─ t{} …", " ".repeat(3 * (DEEP - 1)), n - 1 - DEEP)
        );
        assert_eq!(lines[DEEP + 1], format!("t{}", n - 1 - DEEP));
        assert_eq!(lines[DEEP + 2], format!("└─ t{}", n - 2 - DEEP));
        // One line for each, and one more where a piece ends.
        assert_eq!(lines.len(), n + (n - 2) / DEEP);
        assert!(lines.iter().all(|line| line.len() < 4 * DEEP));
    }
}

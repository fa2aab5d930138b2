//! Targets that wait for one another, through `needs` and `finally`, over all projects.

use crate::graph;
use crate::pipeline::code;
use crate::pipeline::model::{Span, TargetId, Workspace};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

pub fn check(ws: &Workspace) -> Vec<Problem> {
    let cycles = graph::cycles(&waits_for(ws));
    cycles.iter().map(|cycle| problem(ws, cycle)).collect()
}

/// A target waits for its needs, and for every target that names it in `finally`.
fn waits_for(ws: &Workspace) -> Vec<Vec<usize>> {
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); ws.targets.len()];
    for (index, target) in ws.targets.iter().enumerate() {
        edges[index].extend(target.needs.iter().map(|need| need.target.0 as usize));
        for last in &target.finally {
            edges[last.target.0 as usize].push(index);
        }
    }
    edges
}

fn problem(ws: &Workspace, cycle: &[usize]) -> Problem {
    /// So many places are enough to see it.
    const SHOWN: usize = 8;
    let names: Vec<&str> = cycle
        .iter()
        .map(|index| &*ws.targets[*index].address)
        .collect();
    let message = match names[..] {
        [name] => format!("`{name}` waits for itself"),
        _ => format!("targets wait for one another: {}", suggest::circle(&names)),
    };
    let mut problem = Problem::new(code::CYCLE, message)
        .help("take one of these out, or move what both sides need into a target of its own");
    for (position, index) in cycle.iter().enumerate().take(SHOWN) {
        let next = cycle[(position + 1) % cycle.len()];
        let (span, label) = edge(ws, *index, next);
        problem = problem.label(span, label);
    }
    problem
}

/// Where the file says that `from` waits for `to`.
fn edge(ws: &Workspace, from: usize, to: usize) -> (&Span, String) {
    let (waiting, first) = (&ws.targets[from], &ws.targets[to]);
    let is = |wanted: usize| move |target: TargetId| target.0 as usize == wanted;
    if let Some(need) = waiting.needs.iter().find(|need| is(to)(need.target)) {
        return (
            &need.span,
            format!("`{}` needs `{}`", waiting.address, first.address),
        );
    }
    let last = first.finally.iter().find(|last| is(from)(last.target));
    let span = last.map_or(&first.span, |last| &last.span);
    (
        span,
        format!("`{}` runs after `{}`", waiting.address, first.address),
    )
}

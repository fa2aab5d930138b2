//! In which order targets run, and what stands behind each.

use std::collections::HashSet;

use crate::pipeline::model::{Kind, TargetId, Workspace};

/// The targets, everything they need, and what runs `finally` after any of them: needs before
/// dependents, a `finally` target after what it follows. Otherwise in the order given and written.
pub fn closure(ws: &Workspace, targets: &[TargetId]) -> Vec<TargetId> {
    let members = reachable(ws, targets);
    let mut inside = vec![false; ws.targets.len()];
    for target in &members {
        inside[target.0 as usize] = true;
    }
    let mut follows: Vec<Vec<TargetId>> = vec![Vec::new(); ws.targets.len()];
    for target in &members {
        for last in &ws.target(*target).finally {
            follows[last.target.0 as usize].push(*target);
        }
    }
    let before = |target: TargetId| {
        let needs = ws.target(target).needs.iter().map(|need| need.target);
        needs.chain(follows[target.0 as usize].iter().copied())
    };
    let mut order = Vec::with_capacity(members.len());
    let mut placed = vec![false; ws.targets.len()];
    for start in members {
        // A target is entered once, and placed when it comes up again with all before it placed.
        let mut stack = vec![(start, false)];
        while let Some((target, entered)) = stack.pop() {
            let index = target.0 as usize;
            if entered {
                order.push(target);
                continue;
            }
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            stack.push((target, true));
            let waiting: Vec<TargetId> = before(target)
                .filter(|other| inside[other.0 as usize])
                .collect();
            stack.extend(waiting.into_iter().rev().map(|other| (other, false)));
        }
    }
    order
}

/// The targets, all their needs and `finally` targets, in the order in which they are met.
fn reachable(ws: &Workspace, targets: &[TargetId]) -> Vec<TargetId> {
    let mut seen = vec![false; ws.targets.len()];
    let mut found = Vec::new();
    let mut stack: Vec<TargetId> = targets.iter().rev().copied().collect();
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        found.push(id);
        let target = ws.target(id);
        let next = target.needs.iter().chain(&target.finally);
        stack.extend(next.rev().map(|need| need.target));
    }
    found
}

/// Everything that finishes before a target: its needs, their needs, and so on.
pub fn transitive_needs(ws: &Workspace, id: TargetId) -> HashSet<TargetId> {
    let mut seen = HashSet::new();
    let mut stack = vec![id];
    while let Some(target) = stack.pop() {
        for need in &ws.target(target).needs {
            if seen.insert(need.target) {
                stack.push(need.target);
            }
        }
    }
    seen
}

/// How far up each target stands: 0 without needs, else one above the highest of them.
pub fn heights(ws: &Workspace) -> Vec<u32> {
    let all: Vec<TargetId> = ws.targets.iter().map(|target| target.id).collect();
    let mut heights = vec![0; all.len()];
    for id in closure(ws, &all) {
        let needs = ws.target(id).needs.iter();
        let above = needs.map(|need| heights[need.target.0 as usize] + 1);
        heights[id.0 as usize] = above.max().unwrap_or(0);
    }
    heights
}

/// Of [`transitive_needs`] those that stand at `floor` or higher. What is lower isn't looked at, so that a question about
/// the next few rows doesn't cost a walk through all.
pub fn needs_down_to(
    ws: &Workspace,
    id: TargetId,
    heights: &[u32],
    floor: u32,
) -> HashSet<TargetId> {
    let mut seen = HashSet::new();
    let mut stack = vec![id];
    while let Some(target) = stack.pop() {
        for need in &ws.target(target).needs {
            // Needs stand lower than what needs them: nothing high enough is behind one that isn't.
            if heights[need.target.0 as usize] >= floor && seen.insert(need.target) {
                stack.push(need.target);
            }
        }
    }
    seen
}

/// The direct needs, a group standing for its own needs: what has outputs. Each once, in order.
pub fn leaf_needs(ws: &Workspace, id: TargetId) -> Vec<TargetId> {
    let mut seen = HashSet::new();
    let mut leaves = Vec::new();
    let needs = |id: TargetId| ws.target(id).needs.iter().rev().map(|need| need.target);
    let mut stack: Vec<TargetId> = needs(id).collect();
    while let Some(target) = stack.pop() {
        if !seen.insert(target) {
            continue;
        }
        match ws.target(target).kind {
            Kind::Group => stack.extend(needs(target)),
            _ => leaves.push(target),
        }
    }
    leaves
}

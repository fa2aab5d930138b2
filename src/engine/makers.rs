//! Which targets can have made something in a place, without asking each target that is needed.
//!
//! A key holds what a target picks up of everything behind it. To walk through all of that for each target takes the
//! square of their number; here the place tells how low in the graph anything is made there, and the walk ends at that
//! height. Knows only what is declared.

use std::collections::HashMap;

use crate::graph;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::{OutputPattern, TargetId, Workspace};

/// Where targets make something, and how high they stand.
pub(super) struct Makers {
    /// See [`graph::heights`].
    heights: Vec<u32>,
    /// The lowest that makes exactly this, or a pattern that begins here.
    at: HashMap<String, u32>,
    /// The lowest that makes something here or below.
    below: HashMap<String, u32>,
}

impl Makers {
    pub(super) fn of(ws: &Workspace) -> Self {
        let mut makers = Self {
            heights: Vec::new(),
            at: HashMap::new(),
            below: HashMap::new(),
        };
        if ws.targets.iter().any(|target| !target.outputs.is_empty()) {
            makers.heights = graph::heights(ws);
        }
        for target in &ws.targets {
            for place in target.outputs.iter().flat_map(places) {
                makers.add(&place, makers.heights[target.id.0 as usize]);
            }
        }
        makers
    }

    fn add(&mut self, place: &str, height: u32) {
        lower(&mut self.at, place, height);
        lower(&mut self.below, place, height);
        above(place).for_each(|directory| lower(&mut self.below, directory, height));
    }

    /// What a target needs, directly or not, that may have made something in one of these directories; by number.
    pub(super) fn needed_by(
        &self,
        ws: &Workspace,
        id: TargetId,
        directories: &[String],
    ) -> Vec<TargetId> {
        let lowest = directories.iter().filter_map(|place| self.lowest(place));
        let Some(floor) = lowest.min() else {
            return Vec::new();
        };
        let needs = graph::needs_down_to(ws, id, &self.heights, floor).into_iter();
        let mut needs: Vec<TargetId> = needs
            .filter(|need| !ws.target(*need).outputs.is_empty())
            .collect();
        needs.sort_unstable();
        needs
    }

    /// The height of the lowest target that makes something in a directory, or a directory around it.
    fn lowest(&self, directory: &str) -> Option<u32> {
        let around = above(directory).filter_map(|outer| self.at.get(outer));
        around.chain(self.below.get(directory)).min().copied()
    }
}

fn lower(heights: &mut HashMap<String, u32>, place: &str, height: u32) {
    match heights.get_mut(place) {
        Some(lowest) => *lowest = height.min(*lowest),
        None => drop(heights.insert(place.to_owned(), height)),
    }
}

/// Where everything lies that an output can be.
fn places(output: &OutputPattern) -> Vec<String> {
    match output.literal {
        true => vec![output.pattern.clone()],
        false => Glob::new(&output.pattern).bases().collect(),
    }
}

/// The directories around a path, the workspace's root (empty) last.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let root = (!path.is_empty()).then_some("");
    let outer = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
    outer.chain(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{LoadOptions, load_texts};

    #[test]
    fn a_place_names_what_may_have_been_made_in_it() {
        let text = "[target.a]\noutputs = [\"gen/x\"]\nrun = \"true\"\n\
            [target.b]\nneeds = [\"a\"]\noutputs = [\"lib/c/**/*.o\"]\nrun = \"true\"\n\
            [target.c]\nneeds = [\"b\"]\nrun = \"true\"\n[target.d]\nneeds = [\"c\"]\nrun = \"true\"\n\
            [target.apart]\noutputs = [\"far/y\"]\nrun = \"true\"\n";
        let ws = load_texts(&[("", text)], &LoadOptions::default()).unwrap();
        let ws = ws.workspace;
        let makers = Makers::of(&ws);
        let needed_in = |places: &[&str]| -> Vec<&str> {
            let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
            let needed = makers.needed_by(&ws, ws.targets[3].id, &places);
            needed.iter().map(|id| &*ws.target(*id).address).collect()
        };
        // In it, around it, and below it: what stands higher than the lowest is asked as well.
        for place in ["gen", "gen/x", "gen/x/deep", ""] {
            assert_eq!(needed_in(&[place]), ["a", "b"], "{place}");
        }
        for place in ["lib", "lib/c", "lib/c/deep"] {
            assert_eq!(needed_in(&[place]), ["b"], "{place}");
        }
        assert_eq!(needed_in(&["lib", "gen"]), ["a", "b"]);
        for place in ["ge", "gen/y", "lib/d", "src"] {
            assert!(needed_in(&[place]).is_empty(), "{place}");
        }
        assert!(needed_in(&[]).is_empty());
    }
}

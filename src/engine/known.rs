//! What holds from one run to the next where somebody hears of every change: `forge watch`.
//!
//! A target is *known* when a look found it with nothing to do and nothing has happened to its inputs since. Of such a
//! one only what it made is looked at. What isn't told of reliably isn't relied on: what is reached through links is looked at
//! every time, and [`Session::are_as_known`] looks at all files, for when there is time. Knows nothing of how changes are heard of.

use std::collections::BTreeSet;

use crate::cache::inputs::Inputs;
use crate::cache::walk::join;
use crate::parallel;
use crate::pipeline::model::{Kind, Target, TargetId};

use super::glance::SHARE;
use super::session::{Session, lock};

impl Session {
    pub(super) fn is_known(&self, id: TargetId) -> bool {
        self.options.watched && lock(&self.known).contains(&id)
    }

    /// A look found the target with nothing to do, and these inputs.
    pub(super) fn learn(&self, target: &Target, inputs: &Inputs) {
        if self.options.watched && inputs.links.is_empty() && !self.is_behind_links(target) {
            lock(&self.known).insert(target.id);
        }
    }

    /// Whether a directory on the way to its inputs is a link.
    fn is_behind_links(&self, target: &Target) -> bool {
        let mut places = self.spec(target.id).places();
        places.any(|place| self.place().leads_out(&join(place, "_")))
    }

    /// Where to look for the inputs of those that aren't known.
    pub(super) fn bases_of_unknown(&self, targets: &[TargetId]) -> Vec<String> {
        let unknown = targets.iter().filter(|id| {
            let has_inputs = matches!(self.ws.target(**id).kind, Kind::Command { .. });
            has_inputs && !self.is_known(**id)
        });
        let bases = unknown.flat_map(|id| &self.spec(*id).bases);
        bases.cloned().collect()
    }

    /// Something happened to these paths.
    pub fn unlearn(&self, paths: &BTreeSet<String>) {
        let is_far = |id: &TargetId| {
            let spec = self.spec(*id);
            !paths.iter().any(|path| spec.is_near(path))
        };
        lock(&self.known).retain(is_far);
    }

    /// Whether a look at all files says what is taken for known; if it doesn't, nothing is any more.
    pub fn are_as_known(&self) -> bool {
        let known = std::mem::take(&mut *lock(&self.known));
        let targets: Vec<&Target> = known.iter().map(|id| self.ws.target(*id)).collect();
        let bases = targets
            .iter()
            .flat_map(|target| &self.spec(target.id).bases);
        let tree = self.walker.walk(&bases.cloned().collect::<Vec<_>>());
        let are_same = tree.is_ok_and(|tree| {
            let is_same = |target: &&Target| {
                let inputs = self.inputs(target, Some(&tree));
                let memo = self.memo(&target.address);
                matches!((inputs, memo), (Ok(inputs), Some(memo)) if inputs.stats() == memo.inputs)
            };
            parallel::map(&targets, SHARE, is_same)
                .into_iter()
                .all(|same| same)
        });
        if are_same {
            *lock(&self.known) = known;
        }
        are_same
    }
}

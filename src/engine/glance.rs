//! What can be told of a target from stats alone.
//!
//! A look reads no file whose stat is known, but it asks for the digest of each, and makes the key of them. Where all
//! stats are those of an earlier look, and everything else that the key is made of too, its answer is that one's: it
//! was left as a [`Memo`], which holds what was seen and what came of it. A memo is left only of stats that the index
//! trusts, so it is no less careful than the index. What isn't as the memo says is looked at in full.

use std::collections::HashMap;

use crate::cache::digest::Digest;
use crate::cache::inputs::{InputError, Inputs};
use crate::cache::key::Preimage;
use crate::cache::snapshot::Memo;
use crate::cache::store::State;
use crate::cache::walk::Tree;
use crate::parallel;
use crate::pipeline::model::{Kind, Target, TargetId};

use super::session::Session;

/// So many targets are worth a thread to glance at them.
const SHARE: usize = 32;

/// The files of a target with commands as they are now. (Of other kinds files don't tell everything.)
pub struct Glance {
    pub inputs: Result<Inputs, InputError>,
    /// Stats of its inputs, and of what it made; none where it never succeeded, or something is missing.
    stats: Option<(Digest, Digest)>,
}

impl Glance {
    /// Whether everything is as it was, and so the target what it was. `rest` is its key's preimage but for the inputs.
    pub fn confirms(&self, rest: &Preimage, memo: &Memo, state: &State) -> bool {
        let is_same = |(inputs, made): &(Digest, Digest)| {
            let is_its = state.key == memo.key && state.manifest == memo.manifest;
            is_its && *made == memo.made && seen(rest, inputs) == memo.seen
        };
        self.stats.as_ref().is_some_and(is_same)
    }
}

impl Session {
    /// Glances at many targets at once, in a walk that holds their bases.
    pub fn glances(&self, targets: &[TargetId], tree: &Tree) -> HashMap<TargetId, Glance> {
        let targets: Vec<&Target> = targets
            .iter()
            .map(|id| self.ws.target(*id))
            .filter(|target| matches!(target.kind, Kind::Command { .. }))
            .collect();
        let glances = parallel::map(&targets, SHARE, |target| self.glance(target, tree));
        targets
            .iter()
            .map(|target| target.id)
            .zip(glances)
            .collect()
    }

    fn glance(&self, target: &Target, tree: &Tree) -> Glance {
        let inputs = self.inputs(target, Some(tree));
        let made = || {
            let state = self.state(&target.address)?;
            self.place().stats(&*self.manifest(&state.manifest)?)
        };
        let stats = match &inputs {
            Ok(inputs) if self.memo(&target.address).is_some() => {
                made().map(|made| (inputs.stats(), made))
            }
            _ => None,
        };
        Glance { inputs, stats }
    }

    /// After a look in full, at a target that has nothing to do: leaves word for the next, if it may rely on it.
    pub fn leave_memo(&self, target: &Target, inputs: &Inputs, rest: &Preimage, state: &State) {
        let made = || {
            let manifest = self.manifest(&state.manifest)?;
            self.place().trusted_stats(&manifest)
        };
        let made = inputs.are_trusted(&self.index).then(made).flatten();
        let memo = made.map(|made| Memo {
            seen: seen(rest, &inputs.stats()),
            key: state.key,
            manifest: state.manifest,
            made,
        });
        if let Some(memo) = memo {
            self.set_memo(&target.address, memo);
        }
    }
}

fn seen(rest: &Preimage, inputs: &Digest) -> Digest {
    Digest::of(&[rest.key().0, inputs.0].concat())
}

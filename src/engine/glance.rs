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

use super::event::Spent;
use super::session::Session;

/// So many targets are worth a thread to glance at them.
pub(super) const SHARE: usize = 32;

/// The files of a target with commands as they are now. (Of other kinds files don't tell everything.)
pub struct Glance {
    /// None where they are the memo's, unless somebody wants to know of each.
    pub inputs: Option<Result<Inputs, InputError>>,
    /// Of the inputs, where their stats aren't the memo's; none where a file couldn't be read.
    pub digests: Option<Vec<Digest>>,
    /// Names and stats of the inputs are the memo's, so is what it made.
    is_same: bool,
}

impl Glance {
    /// Whether everything is as it was, and so the target what it was. `rest` is its key's preimage but for the inputs.
    pub fn confirms(&self, rest: &Preimage, memo: &Memo, state: &State) -> bool {
        let is_its = state.key == memo.key && state.manifest == memo.manifest;
        is_its && self.is_same && rest.key() == memo.rest
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
        let (mut glances, compared) = Spent::on("compare with the snapshot", || {
            parallel::map(&targets, SHARE, |target| self.glance(target, tree))
        });
        let ((), digested) = Spent::on("digest what changed", || self.digest_all(&mut glances));
        self.note(compared);
        self.note(digested);
        let ids = targets.iter().map(|target| target.id);
        ids.zip(glances).collect()
    }

    fn glance(&self, target: &Target, tree: &Tree) -> Glance {
        let is_known = self.is_known(target.id);
        let inputs = (!is_known).then(|| self.inputs(target, Some(tree)));
        let is_its = |memo: &Memo| match &inputs {
            None => true,
            Some(Ok(inputs)) => inputs.stats() == memo.inputs,
            Some(Err(_)) => false,
        };
        let memo = self.memo(&target.address).filter(is_its);
        let is_same = memo.is_some_and(|memo| {
            let manifest = self.manifest(&memo.manifest);
            manifest.and_then(|manifest| self.place().stats(&manifest)) == Some(memo.made)
        });
        // A list of all files would be long: it takes longer to make room for it than to use the room again.
        let wanted = !is_same || self.options.watched;
        Glance {
            inputs: inputs.filter(|_| wanted),
            digests: None,
            is_same,
        }
    }

    /// What has to be read is read in one go: a few files of each of many targets are many files.
    fn digest_all(&self, glances: &mut [Glance]) {
        let unsure = glances.iter().filter(|glance| !glance.is_same);
        let inputs = unsure.filter_map(|glance| glance.inputs.as_ref()?.as_ref().ok());
        // Whoever looks at the target tells what can't be read.
        let Ok(digests) = self.index.digests(inputs.flat_map(Inputs::stat_of_each)) else {
            return;
        };
        let mut digests = digests.into_iter();
        for glance in glances.iter_mut().filter(|glance| !glance.is_same) {
            if let Some(Ok(inputs)) = &glance.inputs {
                glance.digests = Some(digests.by_ref().take(inputs.files.len()).collect());
            }
        }
    }

    /// After a look in full, at a target that has nothing to do: leaves word for the next, if it may rely on it; whether it may.
    pub fn leave_memo(
        &self,
        target: &Target,
        inputs: &Inputs,
        rest: &Preimage,
        state: &State,
    ) -> bool {
        let made = || {
            let manifest = self.manifest(&state.manifest)?;
            self.place().trusted_stats(&manifest)
        };
        let made = inputs.are_trusted(&self.index).then(made).flatten();
        let memo = made.map(|made| Memo {
            rest: rest.key(),
            inputs: inputs.stats(),
            key: state.key,
            manifest: state.manifest,
            made,
        });
        let may = memo.is_some();
        if let Some(memo) = memo {
            self.set_memo(&target.address, memo);
        }
        may
    }
}

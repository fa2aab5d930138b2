//! What of an earlier result is still its target's to remove.
//!
//! Pipeline files change: what is no output any more may have become a source, or what another target makes. The same holds
//! where records are those of another branch, or of another workspace with the same cache directory.

use std::borrow::Cow;

use crate::cache::capture;
use crate::cache::manifest::{Entry, Manifest};
use crate::pipeline::model::Target;

use super::session::Session;

impl Session {
    /// Of what a target made earlier: what it declares, and what nobody declares any more and nobody has changed. Of what it made
    /// in another workspace only what is here as well.
    pub fn removable<'m>(
        &self,
        target: &Target,
        made: &'m Manifest,
        is_here: bool,
    ) -> Cow<'m, Manifest> {
        let is_declared = |path: &str| capture::claims(&target.outputs, path);
        let is_unchanged = |entry: &Entry| {
            let alone = Manifest::new(vec![entry.clone()]);
            self.place().is_intact(&alone).unwrap_or(false)
        };
        let is_removable = |entry: &&Entry| {
            let is_declared = is_declared(&entry.path);
            is_declared && is_here
                || (is_declared || self.maker(&entry.path).is_none()) && is_unchanged(entry)
        };
        if is_here && made.entries.iter().all(|entry| is_declared(&entry.path)) {
            return Cow::Borrowed(made);
        }
        let entries = made.entries.iter().filter(is_removable);
        Cow::Owned(Manifest::new(entries.cloned().collect()))
    }
}

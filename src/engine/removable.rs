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
    /// Of what a target made earlier: what it declares, and what nobody declares any more and nobody has changed.
    pub fn removable<'m>(&self, target: &Target, made: &'m Manifest) -> Cow<'m, Manifest> {
        let is_declared = |path: &str| capture::claims(&target.outputs, path);
        let is_unchanged = |entry: &Entry| {
            let alone = Manifest::new(vec![entry.clone()]);
            self.place().is_intact(&alone).unwrap_or(false)
        };
        let is_removable = |entry: &&Entry| {
            is_declared(&entry.path) || self.maker(&entry.path).is_none() && is_unchanged(entry)
        };
        if made.entries.iter().all(|entry| is_declared(&entry.path)) {
            return Cow::Borrowed(made);
        }
        let entries = made.entries.iter().filter(is_removable);
        Cow::Owned(Manifest::new(entries.cloned().collect()))
    }
}

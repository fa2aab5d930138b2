//! What of an earlier result is still its target's to remove.
//!
//! Pipeline files change: what is no output any more may have become a source, or what another target makes. The same holds
//! where records are those of another branch, or of another workspace with the same cache directory.

use std::borrow::Cow;

use crate::cache::manifest::{Entry, Manifest};
use crate::pipeline::glob::Glob;
use crate::pipeline::model::Target;
use crate::pipeline::paths::is_within;

use super::session::Session;

impl Session {
    /// Of what a target made earlier: what it declares, and what nobody declares any more and nobody has changed.
    pub fn removable<'m>(&self, target: &Target, made: &'m Manifest) -> Cow<'m, Manifest> {
        let (literals, globs): (Vec<_>, Vec<_>) =
            target.outputs.iter().partition(|output| output.literal);
        let globs: Vec<Glob> = globs
            .iter()
            .map(|output| Glob::new(&output.pattern))
            .collect();
        let is_declared = |path: &str| {
            let ancestors = path.match_indices('/').map(|(at, _)| &path[..at]);
            literals
                .iter()
                .any(|output| is_within(path, &output.pattern))
                || ancestors
                    .chain([path])
                    .any(|path| globs.iter().any(|glob| glob.matches(path)))
        };
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

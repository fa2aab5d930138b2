//! Word that a target's outputs are being changed, by a command or by a restore: what is left when that is ended has nobody's
//! record, and the next run takes it away.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::capture::Found;
use crate::cache::digest::Digest;
use crate::cache::manifest::Manifest;
use crate::cache::stat::Kind as FileKind;
use crate::cache::store::{self, State};
use crate::fault;

use super::job::Job;
use super::session::lock;

/// What is said of a target's outputs before something changes them, and forgotten with the record of what they became.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// What lay there before commands ran; none when none did.
    pub before: Option<Strays>,
    /// Manifests that were being put in place.
    pub placing: Vec<Digest>,
    /// What lay there when the commands had ended, and there was nothing to record; none when they were ended, or still run.
    pub after: Option<Found>,
}

/// How it is written: what is said of another workspace with the same cache says nothing of this one.
#[derive(Serialize, Deserialize)]
struct Marker<U> {
    workspace: u64,
    unfinished: U,
}

/// What lay in a target's outputs before it ran.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Strays {
    pub found: Found,
    /// See [`crate::cache::store::State::foreign`].
    pub foreign: bool,
}

impl Strays {
    /// A digest of outputs and of this: of no outputs alone.
    pub fn with(&self, outputs: &Digest) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"beside others' files").update(&outputs.0);
        for (path, stat) in &self.found {
            hasher.update(path.as_bytes()).update(&[0]);
            if stat.kind() != FileKind::Directory {
                hasher.update(&stat.packed());
            }
        }
        hasher.finalize().into()
    }

    pub fn first_file(&self) -> &str {
        let mut found = self.found.iter();
        let file = found.find(|(_, stat)| stat.kind() != FileKind::Directory);
        file.map_or("an output", |(path, _)| path)
    }
}

impl Job<'_> {
    /// What was being done to the outputs when a run was ended.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        let bytes = fs::read(self.session.marker(&self.target.address)).ok()?;
        let marker: Marker<Unfinished> = postcard::from_bytes(&bytes).ok()?;
        let is_ours = marker.workspace == self.session.here();
        is_ours.then_some(marker.unfinished)
    }

    /// Commands have ended, and left what nobody will record. What comes later isn't theirs.
    pub(super) fn mark_end(&self) {
        // Whoever got its result to the records has given away the turn.
        let is_ours = lock(&self.turn).is_some();
        if let (true, Some(unfinished), Ok(found)) = (is_ours, self.unfinished(), self.strays()) {
            self.mark(&Unfinished {
                after: Some(found),
                ..unfinished
            });
        }
    }

    /// Says so, whole or not at all.
    pub(super) fn mark(&self, unfinished: &Unfinished) {
        let session = self.session;
        let path = session.marker(&self.target.address);
        let write = || {
            let workspace = session.here();
            let marker = Marker {
                workspace,
                unfinished,
            };
            let bytes = postcard::to_stdvec(&marker).map_err(io::Error::other)?;
            if let Some(turn) = &*lock(&self.turn) {
                let own = session
                    .cache_dir
                    .join(session.lock_name(&self.target.address));
                if link(turn, &bytes, &own, &path).is_ok() {
                    return Ok(());
                }
            }
            store::prepare(&session.cache_dir)?;
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            store::write_whole(&path, &bytes)
        };
        if let Err(error) = write() {
            self.warn(format!("the cache can't be written ({error})"), None);
        }
        fault::point("marked");
    }

    /// Lists of what may have been put in place since the last record; none where the cache has lost one.
    pub(super) fn placed(&self, unfinished: &Unfinished) -> Vec<Option<(Arc<Manifest>, bool)>> {
        let placing = unfinished.placing.iter();
        placing
            .map(|digest| Some((self.session.manifest(digest)?, true)))
            .collect()
    }

    /// What the target made when it got into a state, and whether that was here; none where the cache has lost it.
    pub(super) fn made(&self, state: &State) -> Option<(Arc<Manifest>, bool)> {
        let manifest = self.session.manifest(&state.manifest)?;
        Some((manifest, state.workspace == self.session.here()))
    }
}

/// The word stands in the target's lock file, under another name: files that come and go are slow to make where many did.
/// Not if there is one already, which stays whole until another takes its place.
fn link(turn: &File, bytes: &[u8], own: &Path, marker: &Path) -> io::Result<()> {
    if marker.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // What a longer one has left behind it is not read; cutting it off would take longer than all the rest.
    turn.write_all_at(bytes, 0)?;
    fs::hard_link(own, marker)
}

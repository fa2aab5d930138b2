//! What is kept, and how it is written.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cache::digest::Digest;

/// Of every value; others aren't read.
const VERSION: u8 = 3;

/// What running an action gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Blob of the [`crate::cache::manifest::Manifest`].
    pub manifest: Digest,
    /// [`crate::cache::manifest::Manifest::digest`].
    pub outputs: Digest,
    /// Blob of what it printed.
    pub log: Digest,
    /// Blob of the key's preimage.
    pub preimage: Digest,
    pub duration_ms: u64,
    /// Seconds since 1970 when it was last stored or restored: the least recently used go first.
    pub used: u64,
    /// Bytes of its outputs and log.
    pub size: u64,
}

impl Record {
    /// What a target is that has been given this result, in a workspace.
    pub fn state(&self, key: Digest, workspace: u64) -> State {
        State {
            key,
            workspace,
            manifest: self.manifest,
            outputs: self.outputs,
            log: self.log,
            preimage: self.preimage,
            duration_ms: self.duration_ms,
            foreign: false,
            image: None,
        }
    }
}

/// What a target was when it last succeeded in this workspace: what is on disk belongs to this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub key: Digest,
    /// Where that was: a cache may be copied, or have several workspaces.
    pub workspace: u64,
    pub manifest: Digest,
    pub outputs: Digest,
    pub log: Digest,
    pub preimage: Digest,
    pub duration_ms: u64,
    /// Its output directories held files before forge first ran it: results may depend on them and aren't stored.
    pub foreign: bool,
    /// What an image target left: it lies in an engine or a registry, where others may remove it.
    pub image: Option<Image>,
}

/// An image, and where it was when its target succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What names exactly this image: `registry/repository@sha256:…`, or `repository:forge-KEY` in the engine.
    pub reference: String,
    /// `sha256:…`: of the manifest in the registry, or the engine's id where it wasn't pushed.
    pub digest: String,
    /// Without the registry.
    pub repository: String,
    /// Those it was given.
    pub tags: Vec<String>,
    /// It lies in a registry; else in the engine.
    pub pushed: bool,
}

/// What names blobs.
pub struct Contents {
    pub results: Vec<(Digest, Record)>,
    pub states: Vec<State>,
}

/// What to write at once.
#[derive(Default)]
pub struct Batch {
    pub results: Vec<(Digest, Record)>,
    pub states: Vec<(String, State)>,
    pub forget_states: Vec<String>,
    pub forget_results: Vec<Digest>,
    /// Keys whose action failed (`true`) or, after failures, succeeded (`false`).
    pub failures: Vec<(Digest, bool)>,
    /// Bytes of blobs that came in, for [`Store::total`].
    pub grown: u64,
}

impl Batch {
    /// Adds what another one holds.
    pub fn append(&mut self, other: Batch) {
        self.results.extend(other.results);
        self.states.extend(other.states);
        self.forget_states.extend(other.forget_states);
        self.forget_results.extend(other.forget_results);
        self.failures.extend(other.failures);
        self.grown += other.grown;
    }

    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
            && self.states.is_empty()
            && self.forget_states.is_empty()
            && self.forget_results.is_empty()
            && self.failures.is_empty()
            && self.grown == 0
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Our own plain structures: nothing in them can fail to be written.
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first()? {
        (&VERSION, value) => postcard::from_bytes(value).ok(),
        _ => None,
    }
}

pub(super) fn read<T: DeserializeOwned>(tree: &sled::Tree, key: &[u8]) -> sled::Result<Option<T>> {
    Ok(tree.get(key)?.and_then(|bytes| decode(&bytes)))
}

pub(super) fn pairs<T: DeserializeOwned>(tree: &sled::Tree) -> sled::Result<Vec<(Vec<u8>, T)>> {
    let mut all = Vec::new();
    for pair in tree.iter() {
        let (key, value) = pair?;
        all.extend(decode(&value).map(|value| (key.to_vec(), value)));
    }
    Ok(all)
}

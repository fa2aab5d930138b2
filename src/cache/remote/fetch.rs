//! From the remote into the local store: the record of a key, then every content that it names and the store lacks.
//!
//! All of it is a stranger's word until it is checked: the record by its seal, contents by their digests while they
//! arrive, and the manifest by what a target of these outputs can have made.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::envelope::{Blob, Sealed};
use super::several::several;
use super::wire::{Fault, unread};
use super::{Line, blob_path, record_path};
use crate::cache::blobs::Blobs;
use crate::cache::capture;
use crate::cache::digest::Digest;
use crate::cache::manifest::{Manifest, Node};
use crate::cache::restore;
use crate::cache::store::{self, Record};
use crate::pipeline::model::OutputPattern;
use crate::pipeline::paths::is_within;

/// A record is a few hundred bytes.
const MAX_RECORD: u64 = 64 << 10;
/// Of a list of outputs, which is read whole.
const MAX_MANIFEST: u64 = 128 << 20;
/// Of a log, which is read whole; those that forge keeps are smaller.
const MAX_LOG: u64 = 32 << 20;

/// A result that is asked for.
pub struct Wanted<'a> {
    /// The target's.
    pub address: &'a Arc<str>,
    pub key: Digest,
    /// What the key was made of.
    pub preimage: &'a [u8],
    /// Paths that the target may make.
    pub outputs: &'a [OutputPattern],
    /// Of the cache, relative to the workspace, if it lies in it: no output lies there.
    pub cache_dir: Option<&'a str>,
    /// Where it is put.
    pub blobs: &'a Blobs,
    /// In bytes: more than the local store may hold isn't fetched.
    pub limit: u64,
    /// Called once, when it takes so long that a person wants to know what is waited for.
    pub slow: &'a (dyn Fn() + Sync),
}

/// After so long.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// One fetch as it goes on.
struct Way<'a> {
    wanted: &'a Wanted<'a>,
    began: Instant,
    told: AtomicBool,
}

impl Way<'_> {
    fn goes_on(&self) {
        let is_slow = self.began.elapsed() > WORTH_A_WORD;
        if is_slow && !self.told.swap(true, Ordering::Relaxed) {
            (self.wanted.slow)();
        }
    }
}

impl Line {
    pub(super) fn fetch(&self, wanted: &Wanted) -> Option<Record> {
        if !self.is_on() {
            return None;
        }
        match self.try_fetch(wanted) {
            Ok(record) => return Some(record),
            // Nobody made it yet, or a part of it had to make room: nothing out of the ordinary.
            Err(Fault::Missing | Fault::Here) => {}
            Err(Fault::Wrong(why)) => {
                let host = self.wire.host();
                let message = format!("what {host} has for it isn't used: {why}");
                let help =
                    "what isn't used is run instead; more of the kind isn't told in this run";
                self.once(&self.has_lied, wanted.address, message, help);
            }
            Err(fault) => self.give_up(wanted.address, &fault),
        }
        None
    }

    fn try_fetch(&self, wanted: &Wanted) -> Result<Record, Fault> {
        let way = Way {
            wanted,
            began: Instant::now(),
            told: AtomicBool::new(false),
        };
        let sealed = self.record(&wanted.key)?;
        let manifest = self.manifest(&sealed, &way)?;
        let mut missing = contents(&manifest)?;
        missing.insert(sealed.log.digest, sealed.log.size);
        let bytes = missing
            .values()
            .fold(0, |sum: u64, size| sum.saturating_add(*size));
        if bytes > wanted.limit {
            return Err(Fault::Here);
        }
        missing.retain(|digest, _| !wanted.blobs.contains(digest));
        let missing: Vec<_> = missing
            .into_iter()
            .map(|(digest, size)| Blob { digest, size })
            .collect();
        several(&missing, |blob| self.blob(blob, &way))?;
        let preimage = wanted.blobs.put(wanted.preimage);
        Ok(Record {
            manifest: sealed.manifest.digest,
            outputs: sealed.outputs,
            log: sealed.log.digest,
            preimage: preimage.map_err(|_| Fault::Here)?,
            duration_ms: sealed.duration_ms,
            used: store::now(),
            size: manifest.size().saturating_add(sealed.log.size),
        })
    }

    fn record(&self, key: &Digest) -> Result<Sealed, Fault> {
        let (length, body) = self.wire.get(&record_path(key), MAX_RECORD)?;
        let mut bytes = Vec::new();
        let read = body.take(MAX_RECORD + 1).read_to_end(&mut bytes);
        read.map_err(|error| unread(&error))?;
        if length.unwrap_or(0) > MAX_RECORD || bytes.len() as u64 > MAX_RECORD {
            return Err(Fault::Wrong("its record is too large to be one".into()));
        }
        let sealed = self.sealer.open(key, &bytes);
        let sealed = sealed.map_err(|why| Fault::Wrong(why.into()))?;
        if sealed.manifest.size > MAX_MANIFEST || sealed.log.size > MAX_LOG {
            return Err(Fault::Wrong(
                "its list of outputs or its log is too large".into(),
            ));
        }
        Ok(sealed)
    }

    /// The list of outputs, if it is one that the target can have made.
    fn manifest(&self, sealed: &Sealed, way: &Way) -> Result<Manifest, Fault> {
        let wanted = way.wanted;
        let wrong = |why: String| Fault::Wrong(why);
        let Blob { digest, .. } = sealed.manifest;
        let bytes = match wanted.blobs.read(&digest) {
            Some(bytes) => bytes,
            None => {
                self.blob(&sealed.manifest, way)?;
                wanted.blobs.read(&digest).ok_or(Fault::Here)?
            }
        };
        let manifest = postcard::from_bytes::<Manifest>(&bytes);
        let manifest = manifest.map_err(|_| wrong("its list of outputs can't be read".into()))?;
        restore::check_paths(&manifest).map_err(|error| wrong(error.to_string()))?;
        if manifest.digest() != sealed.outputs {
            return Err(wrong("its list of outputs is another one".into()));
        }
        let is_in_cache = |path: &str| wanted.cache_dir.is_some_and(|cache| is_within(path, cache));
        let strange = |path: &&str| is_in_cache(path) || !capture::claims(wanted.outputs, path);
        let mut paths = manifest.entries.iter().map(|entry| &*entry.path);
        match paths.find(strange) {
            Some(path) => Err(wrong(format!("it has {path:?}, which is no output of it"))),
            None => Ok(manifest),
        }
    }

    /// Brings one content into the store.
    fn blob(&self, blob: &Blob, way: &Way) -> Result<(), Fault> {
        let blobs = way.wanted.blobs;
        if blob.size == 0 && blob.digest == Digest::of(&[]) {
            return blobs.put(&[]).map(drop).map_err(|_| Fault::Here);
        }
        let wrong = || {
            self.suspects().insert(blob.digest);
            Fault::Wrong("a content of it isn't what it was when it was sent".into())
        };
        let (length, body) = self.wire.get(&blob_path(&blob.digest), blob.size)?;
        if length.is_some_and(|length| length != blob.size) {
            return Err(wrong());
        }
        let mut body = Arriving {
            way,
            body,
            ended: None,
        };
        match (
            blobs.receive(&blob.digest, blob.size, &mut body),
            body.ended,
        ) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(fault)) => Err(fault),
            (Err(error), None) if error.kind() == io::ErrorKind::InvalidData => Err(wrong()),
            (Err(_), None) => Err(Fault::Here),
        }
    }
}

/// Tells apart what goes wrong on the way here from what goes wrong here.
struct Arriving<'a, R> {
    way: &'a Way<'a>,
    body: R,
    ended: Option<Fault>,
}

impl<R: Read> Read for Arriving<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.way.goes_on();
        self.body.read(buffer).inspect_err(|error| {
            self.ended = Some(unread(error));
        })
    }
}

/// The files' contents, each once.
fn contents(manifest: &Manifest) -> Result<HashMap<Digest, u64>, Fault> {
    let mut contents = HashMap::new();
    for entry in &manifest.entries {
        if let Node::File { digest, size, .. } = entry.node
            && *contents.entry(digest).or_insert(size) != size
        {
            return Err(Fault::Wrong(
                "its list of outputs contradicts itself".into(),
            ));
        }
    }
    Ok(contents)
}

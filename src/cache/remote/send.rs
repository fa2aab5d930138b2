//! From the local store to the remote, on a thread of its own that is there from the first result on.
//!
//! Contents go first and the record last: a record never names what isn't there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, bounded, unbounded};

use super::envelope::{Blob, Sealed};
use super::several::several;
use super::wire::Fault;
use super::{Line, blob_path, record_path};
use crate::cache::blobs::Blobs;
use crate::cache::digest::Digest;
use crate::cache::index::open_regular;
use crate::cache::manifest::{Manifest, Node};
use crate::cache::store::Record;

/// A result on its way.
pub struct Parcel {
    /// The target's.
    pub address: Arc<str>,
    pub key: Digest,
    pub record: Record,
    pub manifest: Arc<Manifest>,
}

/// The queue, and the thread that empties it.
#[derive(Default)]
pub(super) struct Sender {
    open: Mutex<Option<Open>>,
    waiting: Arc<AtomicUsize>,
}

struct Open {
    parcels: crossbeam_channel::Sender<Parcel>,
    /// Hangs up when the thread ends.
    ended: Receiver<()>,
}

impl Sender {
    pub fn queue(&self, line: &Arc<Line>, parcel: Parcel, blobs: &Blobs) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = self.start(line, blobs);
        }
        if let Some(open) = &*open {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // It listens until nobody can send any more.
            let _ = open.parcels.send(parcel);
        }
    }

    /// None where no thread can be started: then nothing is sent.
    fn start(&self, line: &Arc<Line>, blobs: &Blobs) -> Option<Open> {
        let (parcels, queue) = unbounded::<Parcel>();
        let (end, ended) = bounded(0);
        let (line, blobs) = (Arc::clone(line), blobs.clone());
        let waiting = Arc::clone(&self.waiting);
        let work = move || {
            let _end: crossbeam_channel::Sender<()> = end;
            for parcel in queue {
                if line.may_send() {
                    line.send(&parcel, &blobs);
                }
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("remote".into()).spawn(work);
        thread.ok().map(|_| Open { parcels, ended })
    }

    pub fn close(&self) -> Option<Receiver<()>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.take().map(|open| open.ended)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Line {
    fn send(&self, parcel: &Parcel, blobs: &Blobs) {
        let host = self.wire.host();
        match self.try_send(parcel, blobs) {
            // What isn't here any more isn't sent: another forge made room.
            Ok(()) | Err(Fault::Here | Fault::Missing | Fault::Wrong(_)) => {}
            Err(fault @ (Fault::Refused(413) | Fault::Cut)) => {
                let why = match fault {
                    Fault::Cut => "it cuts the connection",
                    _ => "a content of it is too large there (413)",
                };
                let message = format!("its result isn't sent to {host}: {why}");
                let help = "this changes nothing here; more of the kind isn't told in this run";
                self.once(&self.is_narrow, &parcel.address, message, help);
            }
            Err(Fault::Refused(status)) => {
                let message = format!("nothing is sent to {host}: it takes nothing ({status})");
                let help = match status {
                    401 | 403 | 407 => {
                        "may this caller write there? `remote-write = \"never\"` only reads"
                    }
                    _ => "this changes nothing here; `remote-write = \"never\"` only reads",
                };
                self.once(&self.mute, &parcel.address, message, help);
            }
            Err(fault) => self.give_up(&parcel.address, &fault),
        }
    }

    fn try_send(&self, parcel: &Parcel, blobs: &Blobs) -> Result<(), Fault> {
        let of = |digest: Digest| {
            let found = std::fs::metadata(blobs.path(&digest));
            let size = found.map_err(|_| Fault::Here)?.len();
            Ok(Blob { digest, size })
        };
        let record = &parcel.record;
        let sealed = Sealed {
            manifest: of(record.manifest)?,
            outputs: record.outputs,
            log: of(record.log)?,
            duration_ms: record.duration_ms,
        };
        let mut contents: HashMap<Digest, u64> = parcel
            .manifest
            .entries
            .iter()
            .filter_map(|entry| match entry.node {
                Node::File { digest, size, .. } => Some((digest, size)),
                _ => None,
            })
            .collect();
        for blob in [sealed.manifest, sealed.log] {
            contents.insert(blob.digest, blob.size);
        }
        contents.retain(|_, size| *size > 0);
        let contents: Vec<_> = contents.into_iter().collect();
        several(&contents, |(digest, size)| {
            self.send_blob(digest, *size, blobs)
        })?;
        let bytes = self.sealer.seal(&parcel.key, &sealed);
        self.wire.put(&record_path(&parcel.key), &bytes)
    }

    fn send_blob(&self, digest: &Digest, size: u64, blobs: &Blobs) -> Result<(), Fault> {
        let path = blob_path(digest);
        let is_suspect = self.suspects().contains(digest);
        if !is_suspect && self.wire.has(&path, size)? {
            return Ok(());
        }
        let open = || open_regular(&blobs.path(digest));
        self.wire.put_file(&path, size, open)
    }
}

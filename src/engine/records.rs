//! Records on their way to the store: targets end without waiting for the disk.
//!
//! What ends at about the same time is written at once. A target's marker goes, and others may have their turn with it, when its
//! record is safe and not before: a run that is killed in between has left an unfinished target, which is looked at as such.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::cache::store::Batch;
use crate::fault;

use super::session::{Session, lock};

/// What ends within it is written at once; nobody waits for that, but for whoever waits for a target's turn.
const TOGETHER: Duration = Duration::from_millis(10);

/// What a target leaves to the store.
pub struct Entry {
    pub batch: Batch,
    /// That it runs.
    pub marker: PathBuf,
    /// The right to work on it.
    pub turn: Option<File>,
}

/// Writes entries, on a thread of its own, until it is finished.
pub struct Records {
    open: Mutex<Option<(Sender<Entry>, JoinHandle<()>)>>,
}

impl Records {
    /// # Errors
    /// No thread can be started.
    pub fn new(session: &Arc<Session>) -> io::Result<Self> {
        let (sender, entries) = unbounded();
        let session = Arc::clone(session);
        let builder = thread::Builder::new().name("records".into());
        let thread = builder.spawn(move || write(&session, &entries))?;
        Ok(Self {
            open: Mutex::new(Some((sender, thread))),
        })
    }

    pub fn put(&self, entry: Entry) {
        if let Some((sender, _)) = &*lock(&self.open) {
            // It listens until it is finished.
            let _ = sender.send(entry);
        }
    }

    /// Waits until everything is written.
    pub fn finish(&self) {
        let open = lock(&self.open).take();
        if let Some((sender, thread)) = open {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn write(session: &Session, entries: &Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let (mut all, mut settled) = (Batch::default(), Vec::new());
        let until = Instant::now() + TOGETHER;
        let more = std::iter::from_fn(|| entries.recv_deadline(until).ok());
        for entry in std::iter::once(first).chain(more) {
            all.append(entry.batch);
            settled.push((entry.marker, entry.turn));
        }
        session.tell_growth(&mut all);
        let is_safe = session.store.put(&all);
        for (marker, turn) in settled {
            if is_safe {
                let _ = fs::remove_file(marker);
                fault::point("unmarked");
            }
            drop(turn);
        }
    }
}

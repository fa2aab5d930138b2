//! A cache that machines share: a server that keeps what is PUT to it.
//!
//! `ac/KEY` holds a [sealed](envelope) record, `cas/DIGEST` a content. [`fetch`] fills the local store from there, [`send`] does the
//! reverse, behind the run's back. Nothing here is needed: whatever goes wrong is told once and changes no outcome, and
//! whatever comes is checked before it is kept. Knows nothing of targets but their addresses and outputs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;

use super::blobs::Blobs;
use super::digest::Digest;
use super::store::Record;

pub use address::Address;
pub use fetch::Wanted;
pub use send::Parcel;

use envelope::Sealer;
use send::Sender;
use wire::{Fault, Wire};

mod address;
pub mod envelope;
mod fetch;
mod send;
mod several;
mod wire;

/// What a person should know of the remote. Names its host, and nothing else of its address.
pub struct Warning {
    /// The target that it came up with.
    pub target: Option<Arc<str>>,
    pub message: String,
    pub help: String,
}

/// Tells it.
pub type Warn = Box<dyn Fn(Warning) + Send + Sync>;

/// The remote of a run.
pub struct Remote {
    line: Arc<Line>,
    sender: Sender,
    writes: bool,
}

impl Remote {
    /// Nothing is asked yet. `secret` is what records are signed with, `writes` whether results are sent.
    pub fn new(address: Address, secret: Option<&str>, writes: bool, warn: Warn) -> Self {
        let line = Line {
            wire: Wire::new(address),
            sealer: Sealer::new(secret),
            off: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            has_lied: AtomicBool::new(false),
            is_narrow: AtomicBool::new(false),
            suspects: Mutex::default(),
            warn,
        };
        Self {
            line: Arc::new(line),
            sender: Sender::default(),
            writes,
        }
    }

    pub fn host(&self) -> &str {
        self.line.wire.host()
    }

    /// Brings what a key gave elsewhere into the local store. None where that can't be had, whyever.
    pub fn fetch(&self, wanted: &Wanted) -> Option<Record> {
        self.line.fetch(wanted)
    }

    /// Has a result sent that the local store has, if results are sent; doesn't wait for that.
    pub fn send(&self, parcel: Parcel, blobs: &Blobs) {
        if self.writes && self.line.may_send() {
            self.sender.queue(&self.line, parcel, blobs);
        }
    }

    /// Nothing more is sent than what waits: hangs up when that is done. None where nothing waits.
    pub fn close(&self) -> Option<Receiver<()>> {
        self.sender.close()
    }

    /// Results that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.sender.waiting()
    }

    /// Ends what goes on, at once and without a word.
    pub fn stop(&self) {
        self.line.stopped.store(true, Ordering::Relaxed);
        self.line.wire.stop();
    }
}

/// Whether a remote answers at all.
///
/// # Errors
/// Why it doesn't, or whom it doesn't let in.
pub fn ask(address: Address) -> Result<(), String> {
    let wire = Wire::new(address);
    match wire.get(&record_path(&Digest([0; 32])), 0) {
        Ok(_) | Err(Fault::Missing) => Ok(()),
        Err(fault) => Err(words(&fault).0),
    }
}

/// What fetching and sending share.
struct Line {
    wire: Wire,
    sealer: Sealer,
    /// It can't be used, and was said to be so.
    off: AtomicBool,
    /// It takes nothing.
    mute: AtomicBool,
    /// The run ends.
    stopped: AtomicBool,
    /// It sent something wrong, and was said to have.
    has_lied: AtomicBool,
    /// Something was too large for it, and it was said.
    is_narrow: AtomicBool,
    /// Contents that were wrong there: sent whatever it says of them.
    suspects: Mutex<HashSet<Digest>>,
    warn: Warn,
}

impl Line {
    fn is_on(&self) -> bool {
        !self.off.load(Ordering::Relaxed) && !self.stopped.load(Ordering::Relaxed)
    }

    fn may_send(&self) -> bool {
        self.is_on() && !self.mute.load(Ordering::Relaxed)
    }

    fn suspects(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once that it isn't used any more, and why.
    fn give_up(&self, target: &Arc<str>, fault: &Fault) {
        if self.stopped.load(Ordering::Relaxed) || self.off.swap(true, Ordering::Relaxed) {
            return;
        }
        let (why, help) = words(fault);
        let message = format!("the remote cache at {} isn't used: {why}", self.wire.host());
        self.tell(target, message, help);
    }

    /// Says it once of each kind.
    fn once(&self, said: &AtomicBool, target: &Arc<str>, message: String, help: &str) {
        if !self.stopped.load(Ordering::Relaxed) && !said.swap(true, Ordering::Relaxed) {
            self.tell(target, message, help);
        }
    }

    fn tell(&self, target: &Arc<str>, message: String, help: &str) {
        (self.warn)(Warning {
            target: Some(Arc::clone(target)),
            message,
            help: help.to_owned(),
        });
    }
}

/// What is wrong, and what to do about it.
fn words(fault: &Fault) -> (String, &'static str) {
    const ON: &str = "the run goes on without it; `forge doctor` asks it again";
    match fault {
        Fault::Refused(status @ (401 | 403 | 407)) => (
            format!("it doesn't let this caller in ({status})"),
            "set FORGE_REMOTE_TOKEN, or a user and password in `remote`; the run goes on without it",
        ),
        Fault::Refused(status) => (format!("it answers {status}"), ON),
        Fault::Cut => ("it cut the connection".into(), ON),
        Fault::Down(why) | Fault::Wrong(why) => (why.clone(), ON),
        Fault::Missing => ("it lost what it had".into(), ON),
        Fault::Here => ("the cache here can't be used".into(), ON),
    }
}

fn record_path(key: &Digest) -> String {
    format!("ac/{}", key.hex())
}

fn blob_path(digest: &Digest) -> String {
    format!("cas/{}", digest.hex())
}

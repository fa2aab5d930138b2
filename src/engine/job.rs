//! How a target that has something to do gets it done: from the cache, or by running.
//!
//! A job runs on a thread of its own and may wait: for another forge that runs the same target, for a service, for
//! its processes. It tells what happens through a channel and answers with a [`Finished`].

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::cache::digest::Digest;
use crate::cache::remote::Remote;
use crate::cache::restore::RestoreError;
use crate::cache::store::{self, Batch, Record, State};
use crate::exec::process::Handle;
use crate::exec::service::{Endpoint, ServiceError, Services};
use crate::fault;
use crate::pipeline::model::{Kind, ServiceId, Target, TargetId};

use super::commands::End;
use super::event::{Event, Finished, Outcome};
use super::log::Log;
use super::look::{Fault, Look};
use super::outcome::Wording;
use super::records::{Entry, Records};
use super::session::{Session, lock};

/// What all jobs of a run share.
pub struct Shared {
    pub session: Arc<Session>,
    pub services: Arc<Services>,
    pub(super) records: Records,
    /// The cache that other machines share, where there is one.
    pub(super) remote: Option<Remote>,
    pub events: Sender<Message>,
    /// The run was interrupted: nothing starts, everything ends, but for what cleans up.
    pub cancelled: AtomicBool,
    /// It was interrupted twice: that ends too.
    pub killed: AtomicBool,
    /// A command was started: files may have changed since.
    pub ran: AtomicBool,
    /// Processes that can be ended.
    pub running: Mutex<HashMap<TargetId, Handle>>,
}

/// From the jobs to the coordinator.
pub enum Message {
    Event(Event),
    Finished(usize, Box<Finished>),
    Signal(i32),
    /// A job wants to ask whoever sits at the terminal, and waits for its turn.
    Asks(Sender<()>),
    /// It has been answered.
    Asked,
}

/// One target's way.
pub struct Job<'a> {
    pub(super) shared: &'a Shared,
    pub(super) session: &'a Session,
    pub(super) target: &'a Target,
    /// Runs because of a `finally`: an interrupt is what it is for.
    cleans_up: bool,
    /// The right to work on the target. None where no lock can be had: then nothing can be kept either.
    pub(super) turn: Mutex<Option<File>>,
    /// Somebody's file keeps an earlier result from being put back: what it makes instead isn't what its key stands for.
    pub(super) in_the_way: AtomicBool,
    pub(super) words: Wording<'a>,
}

impl<'a> Job<'a> {
    pub fn new(shared: &'a Shared, target: &'a Target, cleans_up: bool) -> Self {
        let session = &*shared.session;
        Self {
            shared,
            session,
            target,
            cleans_up,
            turn: Mutex::default(),
            in_the_way: AtomicBool::default(),
            words: Wording::new(session, target),
        }
    }

    /// Does it. `look` is what was found when nothing had run yet; none where that may have changed.
    pub fn run(&self, look: Option<Look>) -> Finished {
        match self.try_run(look) {
            Ok(finished) => finished,
            Err(_) if self.is_cancelled() => self.words.interrupted(),
            Err(fault) => self.words.fault(fault),
        }
    }

    fn try_run(&self, look: Option<Look>) -> Result<Finished, Fault> {
        if let Kind::Deploy(deploy) = &self.target.kind {
            return self.deploy(deploy);
        }
        let mut look = match look {
            Some(look) => look,
            None => self.session.look(self.target, None)?,
        };
        if let Some(state) = &look.fresh {
            return Ok(self.words.fresh(state, &look));
        }
        let has_waited = self.take_turn();
        fault::point("turn taken");
        if self.is_cancelled() {
            return Ok(self.words.interrupted());
        }
        if has_waited {
            // That took as long as it took: what was found before says nothing any more.
            self.session.newest_state(&self.target.address);
            look = self.session.look(self.target, None)?;
            if let Some(state) = &look.fresh {
                return Ok(self.words.fresh(state, &look));
            }
        }
        if !self.session.options.force && self.session.uses_cache(self.target.id) {
            if let Some(hit) = self.hit(&look) {
                return Ok(hit);
            }
            if self.is_cancelled() {
                return Ok(self.words.interrupted());
            }
        }
        self.execute(look)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel().load(Ordering::Relaxed)
    }

    /// What says that this job shall end.
    fn cancel(&self) -> &'a AtomicBool {
        if self.cleans_up {
            &self.shared.killed
        } else {
            &self.shared.cancelled
        }
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody listens only when the run is over.
        let _ = self.shared.events.send(Message::Event(event));
    }

    pub(super) fn warn(&self, message: String, help: Option<String>) {
        self.tell(Event::Warning {
            target: Some(Arc::clone(&self.target.address)),
            message,
            help,
        });
    }

    /// Waits until no other forge works on this target; then what that one did is found. Whether one did.
    pub(super) fn take_turn(&self) -> bool {
        let Ok(file) = self.own_lock() else {
            return false;
        };
        let mut waited = false;
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            if self.is_cancelled() {
                break;
            }
            if !std::mem::replace(&mut waited, true) {
                self.tell(Event::Waiting {
                    target: Arc::clone(&self.target.address),
                    why: "another forge runs it".into(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *lock(&self.turn) = Some(file);
        waited
    }

    fn own_lock(&self) -> std::io::Result<File> {
        let cache_dir = &self.session.cache_dir;
        let name = self.session.lock_name(&self.target.address);
        store::lock_file(cache_dir, &name).or_else(|_| {
            store::prepare(cache_dir)?;
            fs::create_dir_all(cache_dir.join("locks"))?;
            store::lock_file(cache_dir, &name)
        })
    }

    /// Leaves what is to be remembered to the store; the target is done.
    pub(super) fn leave(&self, batch: Batch) {
        self.shared.records.put(Entry {
            batch,
            marker: self.session.marker(&self.target.address),
            turn: lock(&self.turn).take(),
        });
    }

    /// Puts the outputs in place from what an earlier run with this key left; none when that can't be had.
    fn hit(&self, look: &Look) -> Option<Finished> {
        let mut earlier = self.earlier(look)?;
        let mut state = earlier.state;
        let manifest = self.session.manifest(&state.manifest)?;
        let log = self.session.blobs.read(&state.log)?;
        let others = self.others_files(&manifest, earlier.before.as_ref()).ok()?;
        let restored = self.restore(&manifest, state.manifest, earlier.before.as_ref());
        let touched = match restored {
            Ok(touched) => touched,
            Err(error) => {
                let in_the_way = matches!(error, RestoreError::InTheWay(_));
                self.in_the_way.store(in_the_way, Ordering::Relaxed);
                self.warn(
                    format!("it can't be restored: {error}"),
                    Some("it runs instead".into()),
                );
                return None;
            }
        };
        fault::point("restored");
        if others.foreign {
            (state.foreign, state.outputs) = (true, others.with(&manifest.digest()));
            self.warn_of_others(others.first_file());
        }
        for (_, used) in &mut earlier.used.states {
            *used = state.clone();
        }
        let is_news = !earlier.used.is_empty();
        self.leave(earlier.used);
        if is_news {
            self.session.set_state(&self.target.address, state.clone());
        }
        let mut finished = self.words.fresh(&state, look);
        finished.log = log.into();
        if touched > 0 {
            finished.outcome = Outcome::Restored;
            finished.reason = look.reason.clone();
        }
        if earlier.is_remote {
            finished.reason.push_str(", from the remote cache");
        }
        Some(finished)
    }

    /// What an earlier run with this key left: the last one, another one here, or one on another machine.
    fn earlier(&self, look: &Look) -> Option<Earlier> {
        if let Some(state) = self.last(look) {
            return Some(Earlier {
                before: Some(state.clone()),
                state,
                used: Batch::default(),
                is_remote: false,
            });
        }
        let address = &self.target.address;
        let kept = self.session.store.result(&look.key);
        let kept = kept.filter(|record| self.is_whole(record));
        let is_remote = kept.is_none();
        let record = kept.or_else(|| self.fetch(look))?;
        let state = record.state(look.key, self.session.here());
        let used = Record {
            used: store::now(),
            ..record
        };
        Some(Earlier {
            before: self.session.newest_state(address),
            used: Batch {
                results: vec![(look.key, used)],
                states: vec![(address.to_string(), state.clone())],
                ..Batch::default()
            },
            state,
            is_remote,
        })
    }

    /// Whether what a record says of the outputs and of what was printed can be read.
    fn is_whole(&self, record: &Record) -> bool {
        let log = self.session.blobs.read(&record.log);
        log.is_some() && self.session.manifest(&record.manifest).is_some()
    }

    /// What the target made last time, if it was made of the same, everything of it is kept, and nobody has recorded
    /// anything since: then the records needn't be asked, nor told.
    fn last(&self, look: &Look) -> Option<State> {
        let session = self.session;
        let state = session.certain_state(&self.target.address)?;
        let is_kept = || {
            let manifest = session.manifest(&state.manifest)?;
            let mut digests = manifest.digests().chain([&state.log, &state.preimage]);
            digests
                .all(|digest| session.blobs.contains(digest))
                .then_some(())
        };
        // Whether an image is still there its registry says.
        let may_be = state.key == look.key && !state.foreign && state.image.is_none();
        (may_be && is_kept().is_some()).then_some(state)
    }

    /// Runs the commands and keeps what they made.
    fn execute(&self, mut look: Look) -> Result<Finished, Fault> {
        look.needs = self.needs_now();
        if let Kind::Image(image) = &self.target.kind {
            return self.provide(image, look);
        }
        let endpoints = match self.start_services() {
            Ok(endpoints) => endpoints,
            Err(Stopped::Cancelled) => {
                return Ok(self.words.interrupted());
            }
            Err(Stopped::Failed(fault, log)) => {
                let mut finished = self.words.fault(fault);
                finished.service_logs = log;
                return Ok(finished);
            }
        };
        if !self.target.services.is_empty() {
            // An image that had to be pulled has its digest only now.
            look.preimage = self.session.preimage(self.target, &look.inputs)?;
            look.key = look.preimage.key();
        }
        let previous = self.session.newest_state(&self.target.address);
        let strays = self.clear_outputs(previous.as_ref())?;
        let mut log = Log::default();
        let began = Instant::now();
        let (end, attempts) = self.attempts(&look, &endpoints, &mut log)?;
        let duration = began.elapsed();
        let log = log.into_bytes();
        let mut finished = match end {
            End::Success => self.keep(&look, &strays, duration, &log)?,
            End::Cancelled => self.words.interrupted(),
            End::Failed(failure) => {
                let mut finished = self.words.finished(Outcome::Failed, failure.reason);
                finished.exit_code = failure.code;
                finished.flaky = self.succeeded_before(&look.key);
                finished
            }
        };
        self.mark_end();
        if finished.outcome == Outcome::Failed {
            finished.service_logs = self.service_logs();
            self.remember_failure(&look.key);
        }
        if finished.outcome == Outcome::Ran {
            finished.reason = self.words.mask.text(&look.reason);
            finished.flaky |= attempts > 1;
            finished.exit_code = Some(0);
        }
        finished.key = Some(look.key.hex());
        finished.attempts = attempts;
        finished.duration = duration;
        finished.log = log.into();
        Ok(finished)
    }

    /// With the same key.
    fn succeeded_before(&self, key: &Digest) -> bool {
        self.session.uses_cache(self.target.id) && self.session.store.result(key).is_some()
    }

    pub(super) fn remember_failure(&self, key: &Digest) {
        if self.session.uses_cache(self.target.id) {
            self.session.store.put(&Batch {
                failures: vec![(*key, true)],
                ..Batch::default()
            });
        }
    }

    /// All at once: none knows of another.
    fn start_services(&self) -> Result<HashMap<ServiceId, Endpoint>, Stopped> {
        let acquire = |id: &ServiceId| self.shared.services.acquire(id.0 as usize, self.cancel());
        let answers: Vec<_> = std::thread::scope(|scope| {
            let services = self.target.services.iter();
            let starting: Vec<_> = services
                .map(|id| (*id, scope.spawn(move || acquire(id))))
                .collect();
            starting
                .into_iter()
                .map(|(id, thread)| (id, thread.join()))
                .collect()
        });
        let mut endpoints = HashMap::new();
        for (id, answer) in answers {
            match answer {
                Ok(Ok(endpoint)) => {
                    self.session.learn_images_of(id);
                    endpoints.insert(id, endpoint);
                }
                Ok(Err(error)) if error.is_cancelled() || self.is_cancelled() => {
                    return Err(Stopped::Cancelled);
                }
                Ok(Err(error)) => return Err(self.without_service(id, error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(endpoints)
    }

    fn without_service(&self, id: ServiceId, error: ServiceError) -> Stopped {
        let name: Arc<str> = self.session.ws.service(id).name.as_str().into();
        let exit_with = if error.is_missing() { 3 } else { 1 };
        let log = (!error.log.is_empty()).then(|| (name, error.log.into()));
        let fault = Fault {
            message: error.message,
            help: error.help,
            exit_with,
        };
        Stopped::Failed(fault, log.into_iter().collect())
    }

    fn service_logs(&self) -> Vec<(Arc<str>, Arc<[u8]>)> {
        let tail = |id: &ServiceId| {
            let bytes = self.shared.services.tail(id.0 as usize);
            let name: Arc<str> = self.session.ws.service(*id).name.as_str().into();
            (!bytes.is_empty()).then(|| (name, self.words.mask.whole(&bytes).into()))
        };
        self.target.services.iter().filter_map(tail).collect()
    }
}

/// A result that is to be put in place.
struct Earlier {
    /// What the target is then.
    state: State,
    /// What it is now.
    before: Option<State>,
    /// What the records learn from that.
    used: Batch,
    is_remote: bool,
}

/// Why services aren't up.
enum Stopped {
    Cancelled,
    Failed(Fault, Vec<(Arc<str>, Arc<[u8]>)>),
}

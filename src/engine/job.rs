//! How a target that has something to do gets it done: from the cache, or by running.
//!
//! A job runs on a thread of its own pool and may wait: for another forge that runs the same target, for a service, for
//! its processes. It tells what happens through a channel and answers with a [`Finished`].

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use crate::cache::capture::{self, CaptureError, Found};
use crate::cache::digest::Digest;
use crate::cache::inputs::{InputError, Inputs};
use crate::cache::manifest::Manifest;
use crate::cache::stat::{Kind as FileKind, Stat};
use crate::cache::store::{self, Batch, Record, State};
use crate::exec::process::{self, Exit, Handle, Output, Spec};
use crate::exec::service::{Endpoint, Services};
use crate::graph;
use crate::pipeline::model::{ServiceId, Target, TargetId};

use super::environment::Declared;
use super::event::{Event, Finished, Outcome};
use super::log::{Lines, Log};
use super::look::{Fault, Look};
use super::outcome::Wording;
use super::render::Values;
use super::session::{Done, Session, lock};

/// What all jobs of a run share.
pub struct Shared {
    pub session: Arc<Session>,
    pub services: Arc<Services>,
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
}

/// The right to work on a target, as long as it is kept.
struct Turn {
    /// None where no lock can be had: then nothing can be kept either.
    lock: Option<File>,
    /// Another forge worked on it meanwhile.
    waited: bool,
}

/// How a run of the commands ended.
enum End {
    Success,
    Failed(String, Option<i32>),
    Cancelled,
}

/// One target's way.
pub struct Job<'a> {
    shared: &'a Shared,
    session: &'a Session,
    target: &'a Target,
    /// Runs because of a `finally`: an interrupt is what it is for.
    cleans_up: bool,
    words: Wording<'a>,
}

impl<'a> Job<'a> {
    pub fn new(shared: &'a Shared, target: &'a Target, cleans_up: bool) -> Self {
        let session = &*shared.session;
        Self {
            shared,
            session,
            target,
            cleans_up,
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
        let mut look = match look {
            Some(look) => look,
            None => self.session.look(self.target, None)?,
        };
        if let Some(state) = &look.fresh {
            return Ok(self.words.fresh(state, &look));
        }
        if self.session.options.no_cache {
            return self.execute(look);
        }
        let turn = self.take_turn();
        if self.is_cancelled() {
            return Ok(self.words.interrupted());
        }
        if turn.waited {
            // That took as long as it took: what was found before says nothing any more.
            self.session.newest_state(&self.target.address);
            look = self.session.look(self.target, None)?;
        }
        if !self.session.options.force && self.target.cache {
            let state = self.session.newest_state(&self.target.address);
            if let Some(hit) = self.hit(&look, state) {
                return Ok(hit);
            }
        }
        self.execute(look)
    }

    fn is_cancelled(&self) -> bool {
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

    fn tell(&self, event: Event) {
        // Nobody listens only when the run is over.
        let _ = self.shared.events.send(Message::Event(event));
    }

    fn warn(&self, message: String, help: Option<String>) {
        self.tell(Event::Warning {
            target: Some(Arc::clone(&self.target.address)),
            message,
            help,
        });
    }

    /// Waits until no other forge works on this target; then what that one did is found.
    fn take_turn(&self) -> Turn {
        let mut turn = Turn {
            lock: self.own_lock().ok(),
            waited: false,
        };
        while let Some(file) = &turn.lock {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if !self.is_cancelled() => {
                    if !std::mem::replace(&mut turn.waited, true) {
                        self.tell(Event::Waiting {
                            target: Arc::clone(&self.target.address),
                            why: "another forge runs it".into(),
                        });
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => break,
            }
        }
        turn
    }

    fn own_lock(&self) -> std::io::Result<File> {
        let cache_dir = &self.session.cache_dir;
        store::prepare(cache_dir)?;
        fs::create_dir_all(cache_dir.join("locks"))?;
        store::lock_file(cache_dir, &self.session.lock_name(&self.target.address))
    }

    /// Puts the outputs in place from what an earlier run with this key left; none when that can't be had.
    fn hit(&self, look: &Look, state: Option<State>) -> Option<Finished> {
        let record = self.session.store.result(&look.key)?;
        let manifest = self.session.manifest(&record.manifest)?;
        let log = self.session.blobs.read(&record.log)?;
        let previous = state
            .as_ref()
            .and_then(|state| self.session.manifest(&state.manifest));
        let touched = match self.session.place().restore(&manifest, previous.as_deref()) {
            Ok(touched) => touched + self.remove_leftovers(&manifest),
            Err(error) => {
                self.warn(
                    format!("it can't be restored: {error}"),
                    Some("it runs instead".into()),
                );
                return None;
            }
        };
        let kept = State {
            key: look.key,
            manifest: record.manifest,
            outputs: record.outputs,
            log: record.log,
            preimage: record.preimage,
            duration_ms: record.duration_ms,
            foreign: false,
        };
        let used = Record {
            used: store::now(),
            ..record.clone()
        };
        self.session.outdate_snapshot();
        self.session.store.put(&Batch {
            results: vec![(look.key, used)],
            states: vec![(self.target.address.to_string(), kept.clone())],
            ..Batch::default()
        });
        self.session.set_state(&self.target.address, kept.clone());
        let _ = fs::remove_file(self.session.marker(&self.target.address));
        let mut finished = self.words.fresh(&kept, look);
        finished.log = log.into();
        if touched > 0 {
            finished.outcome = Outcome::Restored;
            finished.reason = look.reason.clone();
        }
        Some(finished)
    }

    /// Runs the commands and keeps what they made.
    fn execute(&self, mut look: Look) -> Result<Finished, Fault> {
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
            End::Failed(reason, code) => {
                let mut finished = self.words.finished(Outcome::Failed, reason);
                finished.exit_code = code;
                finished.flaky = self.succeeded_before(&look.key);
                finished
            }
        };
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

    fn remember_failure(&self, key: &Digest) {
        if self.session.uses_cache(self.target.id) {
            self.session.store.put(&Batch {
                failures: vec![(*key, true)],
                ..Batch::default()
            });
        }
    }

    fn start_services(&self) -> Result<HashMap<ServiceId, Endpoint>, Stopped> {
        let mut endpoints = HashMap::new();
        for id in &self.target.services {
            match self.shared.services.acquire(id.0 as usize, self.cancel()) {
                Ok(endpoint) => {
                    self.session.learn_images_of(*id);
                    endpoints.insert(*id, endpoint);
                }
                Err(error) if error.is_cancelled() || self.is_cancelled() => {
                    return Err(Stopped::Cancelled);
                }
                Err(error) => {
                    let name: Arc<str> = self.session.ws.service(*id).name.as_str().into();
                    let log = if error.log.is_empty() {
                        Vec::new()
                    } else {
                        vec![(name, error.log.into())]
                    };
                    let exit_with = if error.cause == crate::exec::service::Cause::Missing {
                        3
                    } else {
                        1
                    };
                    let fault = Fault {
                        message: error.message,
                        help: error.help,
                        exit_with,
                    };
                    return Err(Stopped::Failed(fault, log));
                }
            }
        }
        Ok(endpoints)
    }

    fn service_logs(&self) -> Vec<(Arc<str>, Arc<[u8]>)> {
        let tail = |id: &ServiceId| {
            let bytes = self.shared.services.tail(id.0 as usize);
            let name: Arc<str> = self.session.ws.service(*id).name.as_str().into();
            (!bytes.is_empty()).then(|| (name, self.words.mask.whole(&bytes).into()))
        };
        self.target.services.iter().filter_map(tail).collect()
    }

    /// Removes what the target made last time, finished or not; what is in its output directories then is somebody else's.
    fn clear_outputs(&self, previous: Option<&State>) -> Result<Strays, Fault> {
        if self.target.outputs.is_empty() {
            return Ok(Strays::default());
        }
        if self.target.incremental {
            return Ok(Strays::default());
        }
        let unfinished = self.unfinished();
        if let Some(manifest) = previous.and_then(|state| self.session.manifest(&state.manifest)) {
            let removed = self.session.place().remove(&manifest);
            removed.map_err(|error| {
                Fault::failed(format!("its old outputs can't be removed: {error}"))
            })?;
        }
        let mut found = self.strays()?;
        if let Some(known) = &unfinished {
            self.remove_unknown(&found, known, None);
            found = self.strays()?;
        }
        // Where it ran before, what lies there now came after; unless there were others' files from the beginning.
        let may_be = match (previous, unfinished) {
            (Some(state), _) => state.foreign,
            (None, Some(known)) => known.foreign,
            (None, None) => true,
        };
        let foreign = may_be && self.lies_in_directories(&found);
        let strays = Strays { found, foreign };
        if let Err(error) = self.mark(&strays) {
            self.warn(format!("the cache can't be written ({error})"), None);
        }
        Ok(strays)
    }

    /// Leaves word that the target runs, so that a run that is ended can be told from one that left a record.
    fn mark(&self, strays: &Strays) -> std::io::Result<()> {
        store::prepare(&self.session.cache_dir)?;
        let marker = self.session.marker(&self.target.address);
        marker.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&marker, postcard::to_stdvec(strays).unwrap_or_default())
    }

    /// What lay in the outputs before a run that left no record.
    fn unfinished(&self) -> Option<Strays> {
        let bytes = fs::read(self.session.marker(&self.target.address)).ok()?;
        postcard::from_bytes(&bytes).ok()
    }

    /// Whether files lie in output directories, where forge never ran the target: a result may then be made of them,
    /// as a virtual environment is of what is installed. What came later (bytecode, notes) is not its business.
    fn lies_in_directories(&self, found: &Found) -> bool {
        let outputs = &self.target.outputs;
        let named = |path: &String| outputs.iter().any(|output| output.pattern == *path);
        let mut files = found
            .iter()
            .filter(|(_, stat)| stat.kind() != FileKind::Directory);
        files.any(|(path, _)| !named(path))
    }

    /// What lies in the outputs.
    fn strays(&self) -> Result<Found, Fault> {
        capture::scan(&self.session.ws.root, &self.target.outputs, false)
            .map_err(|error| Fault::failed(error.to_string()))
    }

    /// After a hit: what a run that was ended left beside what belongs there.
    fn remove_leftovers(&self, manifest: &Manifest) -> usize {
        match (self.unfinished(), self.strays()) {
            (Some(known), Ok(found)) => self.remove_unknown(&found, &known, Some(manifest)),
            _ => 0,
        }
    }

    /// Removes what neither lay there before nor belongs there; never through a link.
    fn remove_unknown(&self, found: &Found, known: &Strays, keep: Option<&Manifest>) -> usize {
        let place = self.session.place();
        let belongs = |path: &str| {
            known.found.contains_key(path) || keep.is_some_and(|keep| keep.get(path).is_some())
        };
        // Backwards: what is in a directory before the directory, which goes only when it is empty.
        let left = found.iter().rev();
        let left = left.filter(|(path, _)| !belongs(path) && !place.leads_out(path));
        let remove = |(path, stat): &(&String, &Stat)| {
            let path = self.session.ws.root.join(path);
            let removed = match stat.kind() {
                FileKind::Directory => fs::remove_dir(path),
                _ => fs::remove_file(path),
            };
            removed.is_ok()
        };
        left.filter(remove).count()
    }

    fn attempts(
        &self,
        look: &Look,
        endpoints: &HashMap<ServiceId, Endpoint>,
        log: &mut Log,
    ) -> Result<(End, u32), Fault> {
        let values = Values {
            session: self.session,
            target: self.target,
            endpoints: Some(endpoints),
        };
        let lines = self.session.commands(self.target, &values)?;
        let declared = Declared::of(self.target, &self.session.caller, &self.session.ws.root)?;
        let env = declared.environment(&self.session.caller, &values)?;
        let shown: Arc<[String]> = lines
            .iter()
            .map(|line| self.words.mask.text(line))
            .collect();
        let of = self.target.retries + 1;
        let mut attempt = 1;
        loop {
            self.tell(Event::TargetStarted {
                target: Arc::clone(&self.target.address),
                attempt,
                commands: Arc::clone(&shown),
                reason: self.words.mask.text(&look.reason),
                interactive: self.target.interactive,
            });
            let end = self.attempt(&lines, &env, log)?;
            match &end {
                End::Failed(reason, _) if attempt < of => {
                    self.tell(Event::Retrying {
                        target: Arc::clone(&self.target.address),
                        attempt,
                        of,
                        reason: reason.clone(),
                    });
                    self.remember_failure(&look.key);
                    attempt += 1;
                }
                _ => return Ok((end, attempt)),
            }
        }
    }

    fn attempt(
        &self,
        lines: &[String],
        env: &[(OsString, OsString)],
        log: &mut Log,
    ) -> Result<End, Fault> {
        let deadline = self.target.timeout.map(|timeout| Instant::now() + timeout);
        for line in lines {
            match self.command(line, env, deadline, log)? {
                End::Success => {}
                end => return Ok(end),
            }
        }
        Ok(End::Success)
    }

    fn command(
        &self,
        line: &str,
        env: &[(OsString, OsString)],
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<End, Fault> {
        let dir = self.session.directory(self.target);
        let argv: Vec<OsString> = self
            .target
            .shell
            .iter()
            .map(OsString::from)
            .chain([line.into()])
            .collect();
        let spec = Spec {
            argv: &argv,
            dir: &dir,
            env,
            interactive: self.target.interactive,
        };
        let mut process = {
            let mut running = lock(&self.shared.running);
            if self.is_cancelled() {
                return Ok(End::Cancelled);
            }
            self.shared.ran.store(true, Ordering::Relaxed);
            let process = process::spawn(&spec).map_err(|error| self.cannot_start(&error, &dir))?;
            running.insert(self.target.id, process.handle());
            process
        };
        let timed_out = self.follow(&mut process, deadline, log)?;
        let exit = process.wait()?;
        lock(&self.shared.running).remove(&self.target.id);
        Ok(match exit {
            _ if timed_out => {
                let timeout = self.target.timeout.unwrap_or_default();
                End::Failed(
                    format!("timed out after {}", crate::units::duration(timeout)),
                    None,
                )
            }
            Exit::Code(0) if !self.is_cancelled() => End::Success,
            _ if self.is_cancelled() => End::Cancelled,
            // It owned the terminal: Ctrl-C was its own business, and it let it end.
            Exit::Signal(libc::SIGINT) | Exit::Code(130) if self.target.interactive => {
                End::Cancelled
            }
            Exit::Code(code) => End::Failed(format!("exit code {code}"), Some(code)),
            Exit::Signal(signal) => {
                End::Failed(format!("killed by signal {signal}"), Some(128 + signal))
            }
        })
    }

    fn cannot_start(&self, error: &std::io::Error, dir: &Path) -> Fault {
        if !dir.is_dir() {
            return Fault::failed(format!("its directory {} doesn't exist", self.target.dir));
        }
        let shell = self.target.shell.first().map_or("sh", String::as_str);
        Fault {
            message: format!("its shell {shell} can't be started: {error}"),
            help: Some(format!("install {shell}, or name another in `shell`")),
            exit_with: 3,
        }
    }

    /// Passes output on until there is no more; whether the time ran out.
    fn follow(
        &self,
        process: &mut process::Process,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<bool, Fault> {
        let (mut mask, mut lines) = (self.words.mask.stream(), Lines::default());
        let mut buffer = vec![0; 64 * 1024];
        let mut timed_out = false;
        loop {
            let wait_until = deadline.filter(|_| !timed_out);
            match process.read(&mut buffer, wait_until)? {
                Output::Bytes(read) => self.output(lines.push(&mask.push(&buffer[..read])), log),
                Output::Quiet => {}
                Output::End => break,
            }
            if !timed_out && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                timed_out = true;
                process.handle().interrupt();
            }
        }
        let mut last = lines.push(&mask.finish());
        last.extend(lines.finish());
        self.output(last, log);
        // It may have closed its output and go on.
        if let (Some(deadline), false) = (deadline, timed_out) {
            timed_out = !process.ends_by(deadline)?;
            if timed_out {
                process.handle().interrupt();
            }
        }
        Ok(timed_out)
    }

    fn output(&self, bytes: Vec<u8>, log: &mut Log) {
        if !bytes.is_empty() {
            log.push(&bytes);
            self.tell(Event::Output {
                target: Arc::clone(&self.target.address),
                bytes: bytes.into(),
            });
        }
    }

    /// After success: outputs into the store, unless something makes the result doubtful.
    fn keep(
        &self,
        look: &Look,
        strays: &Strays,
        duration: Duration,
        log: &[u8],
    ) -> Result<Finished, Fault> {
        let session = self.session;
        let found = match capture::scan(&session.ws.root, &self.target.outputs, true) {
            Ok(found) => capture::own(found, &strays.found, &self.target.outputs),
            Err(error) => return Ok(self.words.finished(Outcome::Failed, error.to_string())),
        };
        let foreign = strays.foreign;
        let store_it = session.uses_cache(self.target.id) && !foreign;
        let kept = capture::capture(
            &session.ws.root,
            &found,
            &session.index,
            store_it.then_some(&session.blobs),
        );
        let (manifest, store_it) = match kept {
            Ok(manifest) => (manifest, store_it),
            Err(error @ (CaptureError::Missing(_) | CaptureError::Unstorable { .. })) => {
                return Ok(self.words.finished(Outcome::Failed, error.to_string()));
            }
            Err(error) => {
                self.warn(format!("its result isn't cached: {error}"), None);
                let again = capture::capture(&session.ws.root, &found, &session.index, None);
                (
                    again.map_err(|error| Fault::failed(error.to_string()))?,
                    false,
                )
            }
        };
        let manifest = Arc::new(manifest);
        let outputs = manifest.digest();
        session.set_done(
            self.target.id,
            Done {
                outputs,
                manifest: Arc::clone(&manifest),
            },
        );
        let mut finished = self.words.finished(Outcome::Ran, "");
        let doubtful = self.target.cache && !self.held(look);
        if session.options.no_cache || doubtful {
            return Ok(finished);
        }
        if foreign && self.target.cache {
            self.warn_of_foreign(strays.first_file());
        }
        finished.flaky = self.record(
            look,
            &manifest,
            Kept {
                outputs,
                duration,
                log,
                store_it,
                foreign,
            },
        );
        Ok(finished)
    }

    fn warn_of_foreign(&self, first: &str) {
        let address = &self.target.address;
        let outputs: Vec<&str> = self
            .target
            .outputs
            .iter()
            .map(|output| output.pattern.as_str())
            .collect();
        let outputs = outputs.join(" and ");
        self.warn(
            format!("{first} was there before forge ran this target"),
            Some(format!(
                "the result is kept here but not cached, since it may be made of what was there; to have it cached, \
                 remove {outputs} and run {address} again"
            )),
        );
    }

    /// Whether everything that the key was made of is still what it was: what was made of anything else isn't its result.
    fn held(&self, look: &Look) -> bool {
        let (what, help) = match self.moved(look) {
            Ok(None) => return true,
            Ok(Some(moved)) => moved,
            Err(fault) => (fault.message, None),
        };
        self.warn(format!("{what}, so its result isn't cached"), help);
        false
    }

    /// What changed since the key was made, and what to do about it.
    fn moved(&self, look: &Look) -> Result<Option<(String, Option<String>)>, Fault> {
        let session = self.session;
        let inputs = session.inputs(self.target, None)?;
        if let Some(path) = first_difference(&look.inputs, &inputs) {
            let help = format!(
                "if {} itself writes it, name it in outputs or exclude it from inputs",
                self.target.address
            );
            return Ok(Some((
                format!("its input {path} changed while it ran"),
                Some(help),
            )));
        }
        if let Some(what) = session.outdated(self.target, &inputs, &look.preimage)? {
            return Ok(Some((format!("{what} while it ran"), None)));
        }
        for need in graph::leaf_needs(&session.ws, self.target.id) {
            let done = session.outputs_of(need);
            let intact = |done: Done| session.place().is_intact(&done.manifest);
            if !done.map_or(Ok(true), intact).map_err(InputError::from)? {
                let address = &session.ws.target(need).address;
                let what = format!("outputs of {address}, which it needs, changed while it ran");
                return Ok(Some((what, None)));
            }
        }
        Ok(None)
    }

    /// Writes the record; whether the action had failed before under the same key.
    fn record(&self, look: &Look, manifest: &Arc<Manifest>, kept: Kept) -> bool {
        let session = self.session;
        let address = &self.target.address;
        let blobs = || -> std::io::Result<State> {
            let bytes = postcard::to_stdvec(&**manifest).map_err(std::io::Error::other)?;
            Ok(State {
                key: look.key,
                manifest: session.blobs.put(&bytes)?,
                outputs: kept.outputs,
                log: session.blobs.put(kept.log)?,
                preimage: session.blobs.put(look.preimage.bytes())?,
                duration_ms: u64::try_from(kept.duration.as_millis()).unwrap_or(u64::MAX),
                foreign: kept.foreign,
            })
        };
        let state = match blobs() {
            Ok(state) => state,
            Err(error) => {
                self.warn(
                    format!("its result isn't cached: the cache can't be written ({error})"),
                    None,
                );
                return false;
            }
        };
        let record = Record {
            manifest: state.manifest,
            outputs: state.outputs,
            log: state.log,
            preimage: state.preimage,
            duration_ms: state.duration_ms,
            used: store::now(),
            size: manifest.size() + kept.log.len() as u64,
        };
        let flaky = session.store.failures(&look.key) > 0;
        session.outdate_snapshot();
        session.store.put(&Batch {
            results: kept
                .store_it
                .then_some((look.key, record))
                .into_iter()
                .collect(),
            states: vec![(address.to_string(), state.clone())],
            failures: flaky.then_some((look.key, false)).into_iter().collect(),
            ..Batch::default()
        });
        session.keep_manifest(state.manifest, Arc::clone(manifest));
        session.set_state(address, state);
        let _ = fs::remove_file(session.marker(address));
        flaky
    }
}

/// What lay in a target's outputs before it ran.
#[derive(Default, Serialize, Deserialize)]
struct Strays {
    found: Found,
    /// See [`State::foreign`].
    foreign: bool,
}

impl Strays {
    fn first_file(&self) -> &str {
        let mut found = self.found.iter();
        let file = found.find(|(_, stat)| stat.kind() != FileKind::Directory);
        file.map_or("an output", |(path, _)| path)
    }
}

/// What a success leaves beside its outputs.
struct Kept<'a> {
    outputs: Digest,
    duration: Duration,
    log: &'a [u8],
    store_it: bool,
    foreign: bool,
}

/// Why services aren't up.
enum Stopped {
    Cancelled,
    Failed(Fault, Vec<(Arc<str>, Arc<[u8]>)>),
}

/// A path that isn't what it was.
fn first_difference(before: &Inputs, after: &Inputs) -> Option<String> {
    if before == after {
        return None;
    }
    let old: HashMap<_, _> = before.files.iter().map(|file| (&file.name, file)).collect();
    let new: HashMap<_, _> = after.files.iter().map(|file| (&file.name, file)).collect();
    let changed = after
        .files
        .iter()
        .find(|file| old.get(&file.name) != Some(file));
    let gone = before
        .files
        .iter()
        .find(|file| !new.contains_key(&file.name));
    let file = changed.or(gone).map(|file| file.name.clone());
    let link = || {
        after
            .links
            .iter()
            .chain(&before.links)
            .find(|link| !(before.links.contains(link) && after.links.contains(link)))
    };
    Some(
        file.or_else(|| link().map(|link| link.0.clone()))
            .unwrap_or_else(|| "(a missing one)".into()),
    )
}

//! What a run knows: the workspace, the caller, the disk, and what earlier runs left.
//!
//! Nothing is opened or asked before it is needed: a session of a run with nothing to do reads one flat file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use crate::cache::blobs::Blobs;
use crate::cache::capture::{self, CaptureError};
use crate::cache::claims::Claims;
use crate::cache::digest::Digest;
use crate::cache::finder::{Finder, Made};
use crate::cache::index::Index;
use crate::cache::manifest::Manifest;
use crate::cache::restore::Place;
use crate::cache::snapshot::{Known, Memo, Snapshot};
use crate::cache::spec::Spec;
use crate::cache::store::{Batch, Image, Position, State, Store};
use crate::cache::upkeep::Upkeep;
use crate::cache::walk::Walker;
use crate::deploy::provider::Provider;
use crate::docker::{self, Engine};
use crate::fault;
use crate::graph;
use crate::image::registry::Registry;
use crate::pipeline::model::{ServiceId, Span, Target, TargetId, Workspace};

use super::active;
use super::audit::Findings;
use super::environment::Caller;
use super::event::Spent;
use super::git::Git;
use super::look::Fault;
use super::makers::Makers;
use super::render::Plain;
use super::tools::Tools;

/// What the command line says about a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub jobs: usize,
    pub keep_going: bool,
    /// Change nothing: not a file, not a record.
    pub dry_run: bool,
    /// Run everything selected, and store it.
    pub force: bool,
    /// Images stay in the engine.
    pub no_push: bool,
    /// Questions are answered with yes.
    pub yes: bool,
    /// Deployments are agreed to: all, or just the plan with this id.
    pub approve: Option<String>,
    /// The reason to deploy in a freeze.
    pub hotfix: Option<String>,
    /// Deploys though another deployment is going on.
    pub takeover: bool,
    /// Starts anew what runs already, as `force` does, without running anything else for that.
    pub restart: bool,
    /// Look nothing up and store nothing.
    pub no_cache: bool,
    /// Run without the cache, and watched: what they read and write is compared with what they declare.
    pub audited: Vec<TargetId>,
    /// Logs of fresh targets are shown: they have to be read.
    pub logs: bool,
    /// The targets that were named: they get the words after `--`.
    pub named: HashSet<TargetId>,
    pub args: Vec<String>,
    /// Given where the process goes on after the run. Set, it ends a run that doesn't listen for signals itself yet.
    pub interrupted: Option<Arc<AtomicBool>>,
    /// Somebody hears of what happens to files, and says when the snapshot is to be written.
    pub watched: bool,
}

/// What a target left to those that need it.
#[derive(Clone, Debug)]
pub struct Done {
    pub outputs: Digest,
    pub manifest: Arc<Manifest>,
    /// Of an image target.
    pub image: Option<Image>,
}

/// Everything about one run of forge in one workspace.
pub struct Session {
    pub ws: Arc<Workspace>,
    pub options: Options,
    pub caller: Caller,
    pub git: Git,
    pub cache_dir: PathBuf,
    /// Relative to the workspace, if it lies in it.
    cache_inside: Option<String>,
    pub walker: Walker,
    pub index: Index,
    pub blobs: Blobs,
    pub store: Store,
    pub tools: Tools,
    pub(super) claims: Claims,
    specs: Vec<OnceLock<Spec>>,
    makers: OnceLock<Makers>,
    /// See [`Session::here`].
    here: OnceLock<u64>,
    /// Where lines end, by file.
    line_ends: Vec<OnceLock<Vec<usize>>>,
    snapshot: Arc<Snapshot>,
    /// Up to where the records had been read when `states` was all that they say.
    seen: Mutex<Option<Position>>,
    states: Mutex<BTreeMap<String, State>>,
    memos: Mutex<BTreeMap<String, Memo>>,
    manifests: Mutex<HashMap<Digest, Arc<Manifest>>>,
    images: Mutex<BTreeMap<String, String>>,
    asked_images: Mutex<HashMap<String, Option<String>>>,
    /// What base images are, by reference.
    pub(super) bases: Mutex<HashMap<String, String>>,
    pub(super) registry: OnceLock<Result<Box<dyn Registry>, Fault>>,
    pub(super) engine: OnceLock<Result<Engine, Fault>>,
    /// Where environments' services run, by the environments' numbers.
    pub(super) providers: Mutex<HashMap<usize, Arc<dyn Provider>>>,
    done: Mutex<HashMap<TargetId, Done>>,
    /// Targets that don't run though they are needed, and why.
    skipped: Mutex<HashMap<TargetId, String>>,
    /// Targets whose last run left no record: what lies in their outputs is in question.
    unfinished: HashSet<String>,
    changed: Mutex<bool>,
    /// Only the snapshot is to know something new.
    noticed: AtomicBool,
    /// The blobs have more in them than when it was last seen to that they keep within their limit.
    grown: AtomicBool,
    findings: Mutex<BTreeMap<TargetId, Findings>>,
    warnings: Arc<Mutex<Vec<String>>>,
    /// Targets whose inputs are those of their memo, as far as is known.
    pub(super) known: Mutex<HashSet<TargetId>>,
    /// What was done so far beside the targets.
    spent: Mutex<Vec<Spent>>,
}

impl Session {
    pub fn new(ws: Arc<Workspace>, options: Options, caller: Caller) -> Self {
        let cache_dir = cache_dir(&ws);
        let cache_inside = cache_dir
            .strip_prefix(&ws.root)
            .ok()
            .and_then(Path::to_str)
            .map(str::to_owned);
        let claims = Claims::of(&ws);
        let walker = Walker::new(&ws.root, claims.literal_paths().chain(cache_inside.clone()));
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&warnings);
        let warn = Box::new(move |text| lock(&heard).push(text));
        let store = if options.dry_run {
            Store::reading(&cache_dir, warn)
        } else {
            Store::new(&cache_dir, warn)
        };
        let ((known, snapshot), read) =
            Spent::on("read the snapshot", || what_was(&cache_dir, &store));
        let snapshot = Arc::new(snapshot);
        // A run that changes nothing doesn't even make a file to read the clock.
        let probe_dir = if options.dry_run {
            PathBuf::from("/dev/null")
        } else {
            cache_dir.join("tmp")
        };
        Self {
            index: Index::new(&ws.root, &probe_dir, Arc::clone(&snapshot)),
            blobs: Blobs::new(&cache_dir),
            git: Git::new(&ws.root),
            tools: Tools::new(known.tools),
            specs: ws.targets.iter().map(|_| OnceLock::new()).collect(),
            makers: OnceLock::new(),
            here: OnceLock::new(),
            line_ends: ws.files.iter().map(|_| OnceLock::new()).collect(),
            seen: Mutex::new(known.seen),
            states: Mutex::new(known.states),
            memos: Mutex::new(known.memos),
            manifests: Mutex::default(),
            images: Mutex::new(known.images),
            snapshot,
            asked_images: Mutex::default(),
            bases: Mutex::default(),
            registry: OnceLock::new(),
            engine: OnceLock::new(),
            providers: Mutex::default(),
            done: Mutex::default(),
            skipped: Mutex::default(),
            unfinished: unfinished(&cache_dir),
            changed: Mutex::new(false),
            noticed: AtomicBool::new(false),
            grown: AtomicBool::new(false),
            findings: Mutex::default(),
            ws,
            options,
            caller,
            cache_dir,
            cache_inside,
            walker,
            store,
            claims,
            warnings,
            known: Mutex::default(),
            spent: Mutex::new(vec![read]),
        }
    }

    /// Makes it ready for another run: what was read of the workspace stays, what was asked of git, tools, engines and registries
    /// is asked again.
    pub fn again(&mut self) {
        self.git = Git::new(&self.ws.root);
        self.tools = Tools::new(self.tools.all());
        self.unfinished = unfinished(&self.cache_dir);
        (self.registry, self.engine) = (OnceLock::new(), OnceLock::new());
        (self.asked_images, self.bases, self.done) = Default::default();
        self.skipped = Mutex::default();
        self.providers = Mutex::default();
    }

    /// Keeps what something took, for whoever wants to know.
    pub fn note(&self, spent: Spent) {
        lock(&self.spent).push(spent);
    }

    /// What was noted since the last call.
    pub fn take_spent(&self) -> Vec<Spent> {
        std::mem::take(&mut *lock(&self.spent))
    }

    pub fn spec(&self, id: TargetId) -> &Spec {
        self.specs[id.0 as usize].get_or_init(|| Spec::of(&self.ws, self.ws.target(id)))
    }

    /// What tells this workspace from others that have the same cache, or had: it keeps it when it is moved, and a copy has
    /// another.
    pub fn here(&self) -> u64 {
        *self.here.get_or_init(|| {
            let found = std::fs::metadata(&self.ws.root);
            let Some(found) = found.ok().filter(|_| !fault::copies_pass()) else {
                return 0;
            };
            let born = found.created().ok();
            let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
            let mut hasher = blake3::Hasher::new();
            hasher.update(&found.ino().to_le_bytes());
            hasher.update(&born.unwrap_or_default().as_nanos().to_le_bytes());
            let mut number = [0; 8];
            number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
            u64::from_le_bytes(number)
        })
    }

    pub(super) fn makers(&self) -> &Makers {
        self.makers.get_or_init(|| Makers::of(&self.ws))
    }

    /// The line of its file, from 1, on which something stands.
    pub(super) fn line(&self, span: &Span) -> usize {
        let ends = || {
            let text = &self.ws.file(span.file).text;
            text.match_indices('\n').map(|(at, _)| at).collect()
        };
        let ends: &Vec<usize> = self.line_ends[span.file.0 as usize].get_or_init(ends);
        ends.partition_point(|end| *end < span.range.start) + 1
    }

    pub fn finder(&self) -> Finder<'_> {
        Finder {
            walker: &self.walker,
            root: &self.ws.root,
            cache_dir: self.cache_inside.as_deref(),
            claims: &self.claims,
            made: self,
        }
    }

    /// Which target makes a path.
    pub fn maker(&self, path: &str) -> Option<TargetId> {
        self.claims.owner(path)
    }

    /// Whether a file that a target's outputs match is none that it made: those who need the target have it as an input.
    /// While nobody knows what the target has left, it is the target's.
    pub fn lies_by_hand(&self, path: &str) -> bool {
        self.claims.owner_by_glob(path).is_some_and(|maker| {
            let done = self.outputs_of(maker);
            let is_made = |done: Done| done.manifest.get(path).is_some();
            let is_open = self.marker(&self.ws.target(maker).address).exists();
            !is_open && !done.is_none_or(is_made)
        })
    }

    pub fn place(&self) -> Place<'_> {
        Place {
            root: &self.ws.root,
            cache_dir: &self.cache_dir,
            blobs: &self.blobs,
            index: &self.index,
        }
    }

    /// The words after `--`, for a target that was named.
    pub fn args_of(&self, id: TargetId) -> &[String] {
        if self.options.named.contains(&id) {
            &self.options.args
        } else {
            &[]
        }
    }

    /// Whether the cache may be asked and told about a target.
    pub fn uses_cache(&self, id: TargetId) -> bool {
        self.ws.target(id).cache && self.may_keep(id)
    }

    /// Whether anything of a target may be recorded.
    pub fn may_keep(&self, id: TargetId) -> bool {
        !self.options.no_cache && !self.is_audited(id)
    }

    pub fn is_audited(&self, id: TargetId) -> bool {
        self.options.audited.contains(&id)
    }

    /// What the audit of a target found.
    pub fn set_findings(&self, findings: Findings) {
        lock(&self.findings).insert(findings.target, findings);
    }

    /// What was found, by target; nothing of those that didn't run.
    pub fn take_findings(&self) -> BTreeMap<TargetId, Findings> {
        std::mem::take(&mut *lock(&self.findings))
    }

    pub fn state(&self, address: &str) -> Option<State> {
        lock(&self.states).get(address).cloned()
    }

    /// The state that a target is in, if the records say nothing newer than the snapshot does.
    pub fn certain_state(&self, address: &str) -> Option<State> {
        let is_current = self.snapshot.is_current(&self.cache_dir);
        is_current.then(|| self.state(address)).flatten()
    }

    /// The state that the store has: another forge may have written it since this run began.
    pub fn newest_state(&self, address: &str) -> Option<State> {
        let state = self.store.state(address, self.seen().as_ref());
        if let Some(state) = &state {
            lock(&self.states).insert(address.to_owned(), state.clone());
        }
        state.or_else(|| self.state(address))
    }

    pub fn set_state(&self, address: &str, state: State) {
        lock(&self.states).insert(address.to_owned(), state);
        *lock(&self.changed) = true;
    }

    /// What the last look at a target in full came to.
    pub fn memo(&self, address: &str) -> Option<Memo> {
        lock(&self.memos).get(address).cloned()
    }

    pub fn set_memo(&self, address: &str, memo: Memo) {
        lock(&self.memos).insert(address.to_owned(), memo);
        self.noticed.store(true, Ordering::Relaxed);
    }

    pub fn forget_state(&self, address: &str) {
        lock(&self.states).remove(address);
        *lock(&self.changed) = true;
    }

    /// A manifest, from memory, from the snapshot or from its blob.
    pub fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        if let Some(manifest) = lock(&self.manifests).get(digest) {
            return Some(Arc::clone(manifest));
        }
        let manifest = match self.snapshot.manifest(digest) {
            Some(manifest) => manifest,
            None => postcard::from_bytes(&self.blobs.read(digest)?).ok()?,
        };
        let manifest = Arc::new(manifest);
        lock(&self.manifests).insert(*digest, Arc::clone(&manifest));
        Some(manifest)
    }

    pub fn keep_manifest(&self, digest: Digest, manifest: Arc<Manifest>) {
        lock(&self.manifests).insert(digest, manifest);
    }

    /// What a target left: in this run, else (for commands that only look) when it last succeeded.
    pub fn outputs_of(&self, id: TargetId) -> Option<Done> {
        if let Some(done) = lock(&self.done).get(&id) {
            return Some(done.clone());
        }
        let state = self.state(&self.ws.target(id).address)?;
        let manifest = self.manifest(&state.manifest)?;
        Some(Done {
            outputs: state.outputs,
            manifest,
            image: state.image,
        })
    }

    pub fn set_done(&self, id: TargetId, done: Done) {
        lock(&self.done).insert(id, done);
    }

    /// The target is left out of this run: what lies where its outputs would be is what those who need it have, whoever made
    /// it, and whatever it made when it last ran.
    ///
    /// # Errors
    /// What lies there can't be read.
    pub fn leave_out(&self, target: &Target, reason: &str) -> Result<(), CaptureError> {
        lock(&self.skipped).insert(target.id, reason.to_owned());
        if target.outputs.is_empty() {
            return Ok(());
        }
        let found = capture::scan(&self.ws.root, &self.cache_dir, &target.outputs, false)?;
        let manifest = Arc::new(capture::capture(&self.ws.root, &found, &self.index, None)?);
        let done = Done {
            outputs: manifest.digest(),
            manifest,
            image: None,
        };
        self.set_done(target.id, done);
        Ok(())
    }

    /// Why a target is left out of this run, if it is.
    pub fn left_out(&self, id: TargetId) -> Option<String> {
        lock(&self.skipped).get(&id).cloned()
    }

    /// Whether the target's last run left no record.
    pub fn is_unfinished(&self, address: &str) -> bool {
        !self.unfinished.is_empty() && self.unfinished.contains(&name_of(address))
    }

    /// Where it is kept that a target runs, and which files in its outputs aren't its own.
    pub fn marker(&self, address: &str) -> PathBuf {
        self.cache_dir.join("running").join(name_of(address))
    }

    pub fn lock_name(&self, address: &str) -> String {
        format!("locks/{}", name_of(address))
    }

    /// The digest of a service's image: what the engine says, and where there is none, what it last said.
    pub fn image_digest(&self, image: &str, can_be_process: bool) -> Option<String> {
        if let Some(known) = lock(&self.asked_images).get(image) {
            return known.clone();
        }
        let digest = match docker::image_digest(image) {
            Ok(digest) => digest,
            Err(_) if can_be_process => None,
            Err(_) => lock(&self.images).get(image).cloned(),
        };
        lock(&self.asked_images).insert(image.to_owned(), digest.clone());
        digest
    }

    /// A service was started: its image may have been pulled, so its digest is asked for again.
    pub fn learn_image(&self, image: &str) {
        if let Ok(Some(digest)) = docker::image_digest(image) {
            lock(&self.asked_images).insert(image.to_owned(), Some(digest.clone()));
            lock(&self.images).insert(image.to_owned(), digest);
            *lock(&self.changed) = true;
        }
    }

    /// See [`Session::learn_image`], for a service.
    pub fn learn_images_of(&self, id: ServiceId) {
        let service = self.ws.service(id);
        if let Some(image) = &service.image {
            let text = image.render(&Plain {
                session: self,
                project: service.project,
            });
            text.into_iter().for_each(|image| self.learn_image(&image));
        }
    }

    /// What the cache had to say since the last call, for people.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.warnings))
    }

    /// Writes what the run learned; nothing where it learned nothing.
    pub fn save(&self) {
        let changed = *lock(&self.changed);
        let mut rest = Batch::default();
        self.tell_growth(&mut rest);
        let grown = self.grown.load(Ordering::Relaxed);
        let noticed = self.noticed.load(Ordering::Relaxed)
            || self.index.has_changed()
            || self.tools.changed().is_some();
        if self.options.dry_run || !(changed || grown || noticed) {
            return;
        }
        // Whatever another forge records now comes after the snapshot, and outdates it.
        self.store.hold();
        self.store.put(&rest);
        fault::point("learned");
        if grown {
            self.grown.store(false, Ordering::Relaxed);
            self.keep_within_limit();
        }
        fault::point("kept within limit");
        let (states, seen) = self.states_to_keep(changed || grown);
        let mut memos = lock(&self.memos).clone();
        memos.retain(|address, memo| {
            let state = states.get(address);
            state.is_some_and(|state| state.key == memo.key && state.manifest == memo.manifest)
        });
        if self.options.watched {
            lock(&self.states).clone_from(&states);
            *lock(&self.seen) = seen;
        }
        let known = Known {
            states,
            seen,
            memos,
            tools: self.tools.all(),
            images: lock(&self.images).clone(),
        };
        let manifest = |digest: &Digest| self.manifest(digest);
        let directories = self.index.directories();
        let saved = self
            .snapshot
            .save(&self.cache_dir, known, &manifest, &directories);
        if let Err(error) = saved {
            lock(&self.warnings).push(format!(
                "the cache's snapshot can't be written ({error}): the next run will be slower"
            ));
        }
        match self.options.interrupted {
            Some(_) => self.store.idle(),
            None => self.store.abandon(),
        }
    }

    /// Adds what has come into the blobs to what is about to be written: a batch of its own would be one more wait for
    /// the disk.
    pub fn tell_growth(&self, batch: &mut Batch) {
        let bytes = self.blobs.take_grown();
        batch.grown += bytes;
        self.grown.fetch_or(bytes > 0, Ordering::Relaxed);
    }

    fn seen(&self) -> Option<Position> {
        *lock(&self.seen)
    }

    /// What the snapshot shall say, and up to where the records were read for it. They know what others did meanwhile; where
    /// nobody did anything they aren't asked.
    fn states_to_keep(&self, changed: bool) -> (BTreeMap<String, State>, Option<Position>) {
        let known = lock(&self.states);
        if !changed && self.snapshot.is_current(&self.cache_dir) {
            return (known.clone(), self.seen());
        }
        // What the records have lost is still as this run found it.
        let newest = self.store.states(self.seen().as_ref(), &known);
        newest.unwrap_or_else(|| (known.clone(), None))
    }

    /// Whether somebody asked for the run to end before it could hear that itself.
    pub fn is_interrupted(&self) -> bool {
        let asked = self.options.interrupted.as_ref();
        asked.is_some_and(|asked| asked.load(Ordering::Relaxed))
    }

    /// Least recently used records go when the store is above `max-size`; while another forge runs here, that one sees to it.
    fn keep_within_limit(&self) {
        let marks = active::marks(&self.cache_dir);
        if marks
            .living
            .iter()
            .any(|other| other.pid != std::process::id())
        {
            return;
        }
        let upkeep = Upkeep {
            store: &self.store,
            blobs: &self.blobs,
            dry_run: false,
        };
        // One that was killed has told nobody what it stored.
        let recount = !marks.dead.is_empty();
        if let Err(error) = upkeep.keep_within(self.ws.cache.max_size, recount) {
            lock(&self.warnings).push(format!("the cache can't be kept within its limit: {error}"));
        }
        for mark in marks.dead {
            let _ = std::fs::remove_file(mark);
        }
    }
}

/// `[cache] dir`, absolute.
pub fn cache_dir(ws: &Workspace) -> PathBuf {
    ws.root.join(&ws.cache.dir)
}

/// What earlier runs left: the snapshot, else what the records and an older snapshot still say.
fn what_was(cache_dir: &Path, store: &Store) -> (Known, Snapshot) {
    if let Some(mut snapshot) = Snapshot::load(cache_dir) {
        return (snapshot.take_known(), snapshot);
    }
    let mut outdated = Snapshot::load_outdated(cache_dir).unwrap_or_default();
    let before = outdated.take_known();
    let mut known = Known::default();
    if cache_dir.join("records").exists() {
        let seen = before.seen.filter(|seen| store.continues(seen));
        let before = seen.map(|_| before.states).unwrap_or_default();
        (known.states, known.seen) = store.states(seen.as_ref(), &before).unwrap_or_default();
    }
    (known, outdated)
}

fn unfinished(cache_dir: &Path) -> HashSet<String> {
    let entries = std::fs::read_dir(cache_dir.join("running"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

impl Made for Session {
    fn made_for(&self, reader: TargetId, maker: TargetId) -> Option<Arc<Manifest>> {
        let is_needed = graph::transitive_needs(&self.ws, reader).contains(&maker);
        let done = is_needed.then(|| self.outputs_of(maker)).flatten();
        done.map(|done| done.manifest)
    }
}

/// A file name for an address.
fn name_of(address: &str) -> String {
    Digest::of(address.as_bytes()).hex()[..16].to_owned()
}

/// A lock that a panic elsewhere doesn't take away: what it guards is replaced whole, never half.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

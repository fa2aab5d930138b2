//! What a target leaves: its outputs before, during and after it runs.
//!
//! Before, what it made last time goes, and word is left that it runs; after success, what it made goes into the store,
//! unless something makes it doubtful whose result it is. Knows nothing of processes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cache::capture::{self, CaptureError, Found};
use crate::cache::digest::Digest;
use crate::cache::inputs::{File, InputError, Inputs};
use crate::cache::key::{self, Section};
use crate::cache::manifest::Manifest;
use crate::cache::restore::RestoreError;
use crate::cache::stat::{Kind as FileKind, Stat};
use crate::cache::store::{self, Batch, Image, Record, State};
use crate::fault;
use crate::pipeline::model::{OutputPattern, TargetId};

use super::event::{Finished, Outcome};
use super::job::Job;
use super::look::{Fault, Look};
use super::session::Done;
use super::unfinished::{Strays, Unfinished};

impl Job<'_> {
    /// Removes what the target made last time, finished or not; what is in its output directories then is somebody else's.
    pub(super) fn clear_outputs(&self, previous: Option<&State>) -> Result<Strays, Fault> {
        if self.target.outputs.is_empty() {
            return Ok(Strays::default());
        }
        let unfinished = self.unfinished().unwrap_or_default();
        if self.target.incremental {
            // All of it stays and will be its own, unless this run fails and an earlier result is put back.
            if unfinished.before.is_none() || unfinished.after.is_some() {
                let before = match unfinished.before {
                    Some(before) => before,
                    None => Strays {
                        found: self.strays()?,
                        ..Strays::default()
                    },
                };
                self.mark(&Unfinished {
                    before: Some(before),
                    after: None,
                    placing: unfinished.placing,
                });
            }
            return Ok(Strays::default());
        }
        let mut made = self.placed(&unfinished);
        made.extend(previous.map(|state| self.made(state)));
        for (manifest, is_here) in made.iter().flatten() {
            let ours = self.session.removable(self.target, manifest, *is_here);
            let removed = self.session.place().remove(&ours);
            removed.map_err(|error| {
                Fault::failed(format!("its old outputs can't be removed: {error}"))
            })?;
        }
        let lost = made.iter().any(Option::is_none);
        let before = unfinished.before;
        if lost && before.is_none() {
            self.remove_unlisted(None);
        }
        fault::point("outputs cleared");
        let mut found = self.strays()?;
        if let Some(known) = &before {
            self.remove_unknown(&found, known, unfinished.after.as_ref(), None);
            found = self.strays()?;
        }
        let doubted = match lost {
            true => self.target.outputs.clone(),
            false => self.doubted_outputs(previous, before.as_ref()),
        };
        let strays = Strays {
            foreign: holds_files(&found, &doubted) || self.in_the_way.load(Ordering::Relaxed),
            found,
        };
        let unfinished = Unfinished {
            before: Some(strays),
            ..Unfinished::default()
        };
        self.mark(&unfinished);
        Ok(unfinished.before.unwrap_or_default())
    }

    /// Outputs of which nothing says that the target ever made them, here and as such: whatever lies there before it runs, a result
    /// may be made of, as a virtual environment is of what is installed, and a log of the lines before. Where it ran before,
    /// what came later (byte code, notes) is not its business; unless there were others' files from the beginning.
    fn doubted_outputs(
        &self,
        previous: Option<&State>,
        before: Option<&Strays>,
    ) -> Vec<OutputPattern> {
        let outputs = &self.target.outputs;
        match (previous, before) {
            (Some(state), _) if state.foreign || state.workspace != self.session.here() => {
                outputs.clone()
            }
            (Some(state), _) => {
                let preimage = self.session.blobs.read(&state.preimage);
                let fields = preimage.and_then(|bytes| key::decode(&bytes));
                let told: HashSet<String> = fields
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|((section, name), _)| (section == Section::Output).then_some(name))
                    .collect();
                let is_told = |output: &OutputPattern| told.contains(&output.pattern);
                let new = outputs.iter().filter(|output| !is_told(output));
                new.cloned().collect()
            }
            (None, Some(known)) if !known.foreign => Vec::new(),
            (None, _) => outputs.clone(),
        }
    }

    fn outputs_named(&self) -> String {
        let outputs = self.target.outputs.iter();
        let patterns: Vec<&str> = outputs.map(|output| output.pattern.as_str()).collect();
        patterns.join(" and ")
    }

    /// What lies in the outputs.
    pub(super) fn strays(&self) -> Result<Found, Fault> {
        let session = self.session;
        capture::scan(
            &session.ws.root,
            &session.cache_dir,
            &self.target.outputs,
            false,
        )
        .map_err(|error| Fault::failed(error.to_string()))
    }

    /// What lies in the outputs and isn't theirs, where an earlier result is about to be put: those who need it see it too. Of what
    /// a run that was ended left nothing is told here: that goes.
    pub(super) fn others_files(
        &self,
        manifest: &Manifest,
        state: Option<&State>,
    ) -> Result<Strays, Fault> {
        let before = self.unfinished().and_then(|unfinished| unfinished.before);
        let doubted = self.doubted_outputs(state, before.as_ref());
        if doubted.is_empty() || self.target.incremental {
            return Ok(Strays::default());
        }
        let mut found = match before {
            Some(known) => known.found,
            None => self.strays()?,
        };
        found.retain(|path, _| manifest.get(path).is_none());
        Ok(Strays {
            foreign: holds_files(&found, &doubted),
            found,
        })
    }

    /// Makes the outputs be what an earlier run with this key left; how many paths it touched.
    pub(super) fn restore(
        &self,
        manifest: &Manifest,
        digest: Digest,
        state: Option<&State>,
    ) -> Result<usize, RestoreError> {
        let mut unfinished = self.unfinished().unwrap_or_default();
        let mut previous = self.placed(&unfinished);
        previous.extend(state.map(|state| self.made(state)));
        if !manifest.entries.is_empty() {
            unfinished.placing.push(digest);
            self.mark(&unfinished);
        }
        if unfinished.before.is_none() && previous.iter().any(Option::is_none) {
            self.remove_unlisted(Some(manifest));
        }
        let previous = previous.iter().flatten();
        let previous: Vec<_> = previous
            .map(|(known, is_here)| self.session.removable(self.target, known, *is_here))
            .collect();
        let previous: Vec<&Manifest> = previous.iter().map(|ours| &**ours).collect();
        let mut touched = self.session.place().restore(manifest, &previous)?;
        // What commands that were ended left beside what belongs there.
        if let (Some(known), Ok(found)) = (&unfinished.before, self.strays()) {
            touched +=
                self.remove_unknown(&found, known, unfinished.after.as_ref(), Some(manifest));
        }
        Ok(touched)
    }

    /// Where the cache has lost the list of what the target made last time: what isn't made any more would pass for
    /// somebody else's, and for an input of those who need it. A file whose content the cache keeps was made by a target.
    fn remove_unlisted(&self, keep: Option<&Manifest>) {
        let (session, place) = (self.session, self.session.place());
        let found = self.strays().unwrap_or_default();
        // Backwards: what is in a directory before the directory, which goes only when it is empty.
        for (path, stat) in found.iter().rev() {
            if keep.is_some_and(|keep| keep.get(path).is_some()) || place.leads_out(path) {
                continue;
            }
            let full = session.ws.root.join(path);
            let _ = match stat.kind() {
                FileKind::Directory => fs::remove_dir(full),
                FileKind::File => {
                    let digests = session.index.digests([(path.as_str(), stat)].into_iter());
                    let is_kept = digests.is_ok_and(|all| session.blobs.contains(&all[0]));
                    if is_kept {
                        fs::remove_file(full)
                    } else {
                        Ok(())
                    }
                }
                FileKind::Link => fs::remove_file(full),
                FileKind::Other => Ok(()),
            };
        }
    }

    /// Removes what neither lay there before nor belongs there; never through a link. Of commands that ended by themselves, what
    /// came `after` them stays.
    fn remove_unknown(
        &self,
        found: &Found,
        known: &Strays,
        after: Option<&Found>,
        keep: Option<&Manifest>,
    ) -> usize {
        let place = self.session.place();
        let belongs = |path: &str| {
            known.found.contains_key(path) || keep.is_some_and(|keep| keep.get(path).is_some())
        };
        let is_theirs = |path: &str, stat: &Stat| match after.map(|after| after.get(path)) {
            None => true,
            Some(None) => false,
            // Times of directories change with what comes later.
            Some(Some(left)) => stat.kind() == FileKind::Directory || left == stat,
        };
        let left: Vec<(&String, &Stat)> = found
            .iter()
            .filter(|(path, stat)| {
                !belongs(path) && is_theirs(path, stat) && !place.leads_out(path)
            })
            .collect();
        // What can't be opened can't be removed either: the target's commands will say so.
        for (path, _) in left
            .iter()
            .filter(|(_, stat)| stat.kind() == FileKind::Directory)
        {
            let _ = place.open(path);
        }
        let remove = |(path, stat): &(&String, &Stat)| {
            let path = self.session.ws.root.join(path);
            let removed = match stat.kind() {
                FileKind::Directory => fs::remove_dir(path),
                _ => fs::remove_file(path),
            };
            fault::point("leftover removed");
            removed.is_ok()
        };
        // Backwards: what is in a directory before the directory, which goes only when it is empty.
        left.iter().rev().filter(|one| remove(one)).count()
    }

    /// After success: outputs into the store, unless something makes the result doubtful.
    pub(super) fn keep(
        &self,
        look: &Look,
        strays: &Strays,
        duration: Duration,
        log: &[u8],
    ) -> Result<Finished, Fault> {
        let session = self.session;
        let (root, cache_dir) = (&session.ws.root, &session.cache_dir);
        let found = match capture::scan(root, cache_dir, &self.target.outputs, true) {
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
        fault::point("outputs captured");
        let manifest = Arc::new(manifest);
        // What needs this sees what was there too: its result is one of both.
        let outputs = match foreign {
            true => strays.with(&manifest.digest()),
            false => manifest.digest(),
        };
        session.set_done(
            self.target.id,
            Done {
                outputs,
                manifest: Arc::clone(&manifest),
                image: None,
            },
        );
        let mut finished = self.words.finished(Outcome::Ran, "");
        // What always runs keeps nothing that could be doubtful.
        let doubtful = self.target.cache && !self.held(look);
        if !session.may_keep(self.target.id) || doubtful {
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
                image: None,
            },
        );
        Ok(finished)
    }

    fn warn_of_foreign(&self, first: &str) {
        let address = &self.target.address;
        let outputs = self.outputs_named();
        self.warn(
            format!("{first} was there before forge ran this target"),
            Some(format!(
                "the result is kept here but not cached, since it may be made of what was there; to have it cached, \
                 remove {outputs} and run {address} again"
            )),
        );
    }

    /// The same, where an earlier result was put beside it.
    pub(super) fn warn_of_others(&self, first: &str) {
        let address = &self.target.address;
        self.warn(
            format!("{first} was there before forge put the outputs of this target beside it"),
            Some(format!(
                "what needs {address} may be made of it too, and is kept here alone; to have it cached, remove {first}, \
                 say `forge clean {address}`, and run it again"
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
    pub(super) fn moved(&self, look: &Look) -> Result<Option<(String, Option<String>)>, Fault> {
        let session = self.session;
        let inputs = session.inputs(self.target, None)?;
        if let Some(path) = first_difference(&look.inputs, &inputs) {
            let help = format!(
                "if {} itself writes it, exclude it from inputs, or say `cache = false`",
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
        // Another forge may have made them again meanwhile, just as they were: what was read halfway through is wrong.
        let now = self.needs_now();
        for need in session.needs_told(self.target) {
            let done = session.outputs_of(need);
            let intact = |done: Done| session.place().is_intact(&done.manifest);
            let written = look.needs.get(&need) != now.get(&need);
            if written || !done.map_or(Ok(true), intact).map_err(InputError::from)? {
                let address = &session.ws.target(need).address;
                let what = format!("outputs of {address}, which it needs, changed while it ran");
                return Ok(Some((what, None)));
            }
        }
        Ok(None)
    }

    /// See [`Look::needs`].
    pub(super) fn needs_now(&self) -> HashMap<TargetId, Option<Digest>> {
        let needs = self.session.needs_told(self.target).into_iter();
        let writes = |need| {
            let done = self.session.outputs_of(need)?;
            self.session.place().writes(&done.manifest)
        };
        needs.map(|need| (need, writes(need))).collect()
    }

    /// Writes the record; whether the action had failed before under the same key.
    pub(super) fn record(&self, look: &Look, manifest: &Arc<Manifest>, kept: Kept) -> bool {
        let session = self.session;
        let address = &self.target.address;
        let blobs = || -> std::io::Result<State> {
            let bytes = postcard::to_stdvec(&**manifest).map_err(std::io::Error::other)?;
            Ok(State {
                key: look.key,
                workspace: session.here(),
                manifest: session.blobs.put(&bytes)?,
                outputs: kept.outputs,
                log: session.blobs.put(kept.log)?,
                preimage: session.blobs.put(look.preimage.bytes())?,
                duration_ms: u64::try_from(kept.duration.as_millis()).unwrap_or(u64::MAX),
                foreign: kept.foreign,
                image: kept.image.cloned(),
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
            size: manifest.size().saturating_add(kept.log.len() as u64),
        };
        if kept.store_it {
            self.send(look.key, &record, manifest);
        }
        let flaky = session.store.failures(&look.key) > 0;
        fault::point("result kept");
        self.leave(Batch {
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
        flaky
    }
}

/// Whether a file, or a link, lies in the outputs.
fn holds_files(found: &Found, outputs: &[OutputPattern]) -> bool {
    let mut files = found
        .iter()
        .filter(|(_, stat)| stat.kind() != FileKind::Directory);
    files.any(|(path, _)| capture::claims(outputs, path))
}

/// What a success leaves beside its outputs.
pub(super) struct Kept<'a> {
    pub outputs: Digest,
    pub duration: Duration,
    pub log: &'a [u8],
    pub store_it: bool,
    pub foreign: bool,
    pub image: Option<&'a Image>,
}

/// A path that isn't what it was.
fn first_difference(before: &Inputs, after: &Inputs) -> Option<String> {
    if before == after {
        return None;
    }
    fn by_name(inputs: &Inputs) -> HashMap<&str, &File> {
        let files = inputs.files.iter();
        files.map(|file| (file.name(), file)).collect()
    }
    let (old, new) = (by_name(before), by_name(after));
    let changed = after
        .files
        .iter()
        .find(|file| old.get(file.name()) != Some(file));
    let gone = before
        .files
        .iter()
        .find(|file| !new.contains_key(file.name()));
    let file = changed.or(gone).map(|file| file.name().to_owned());
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

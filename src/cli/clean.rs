//! `forge clean`: removes what targets made, as far as it is recorded.

use std::fs::{self, TryLockError};
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;

use crate::cache::manifest::{Manifest, Node};
use crate::cache::store::{self, Batch};
use crate::engine::active;
use crate::engine::session::{self, Session};
use crate::pipeline::model::{Target, TargetId};
use crate::report::style::{count, printable};

use super::context::{Context, Place};
use crate::units::size as bytes;

/// What went.
#[derive(Default)]
struct Removed {
    targets: usize,
    paths: usize,
    bytes: u64,
    /// The outermost.
    shown: Vec<String>,
}

impl Removed {
    fn add(&mut self, more: Removed) {
        self.targets += more.targets;
        self.paths += more.paths;
        self.bytes += more.bytes;
        self.shown.extend(more.shown);
    }
}

/// A session that may remove things, unless it is a dry run.
pub fn session(context: &Context, place: &Place) -> Session {
    let options = session::Options {
        dry_run: context.options.dry_run,
        jobs: 1,
        ..session::Options::default()
    };
    Session::new(
        Arc::clone(&place.workspace),
        options,
        context.caller.clone(),
    )
}

/// Removes the recorded outputs of targets and forgets that they were made; the exit code. With `dry_run` in the
/// session's options it only says what it would do.
///
/// # Errors
/// `out` can't be written.
pub fn run(
    session: &Session,
    chosen: &[TargetId],
    as_json: bool,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let mut removed = Removed::default();
    let mut code = 0;
    // Keeps `forge cache clear` away.
    let _mark = (!session.options.dry_run && session.cache_dir.exists())
        .then(|| active::mark(&session.cache_dir));
    for id in chosen {
        let target = session.ws.target(*id);
        match clean(session, target, &mut removed) {
            Ok(()) => {}
            Err(refusal) => {
                code = code.max(refusal.code);
                writeln!(io::stderr(), "forge: {}: {}", target.address, refusal.why)?;
            }
        }
    }
    session.save();
    for warning in session.take_warnings() {
        writeln!(io::stderr(), "! {warning}")?;
    }
    if session.options.dry_run && !as_json {
        for path in &removed.shown {
            writeln!(out, "{}", printable(path))?;
        }
    }
    if as_json {
        let value =
            json!({ "targets": removed.targets, "paths": removed.paths, "bytes": removed.bytes });
        writeln!(out, "{value}")?;
    } else if removed.paths == 0 {
        // Of what couldn't go it was said.
        if code == 0 {
            writeln!(out, "nothing to remove")?;
        }
    } else {
        writeln!(
            out,
            "{} {} ({}) of {}",
            if session.options.dry_run {
                "would remove"
            } else {
                "removed"
            },
            count(removed.paths, "path", "paths"),
            bytes(removed.bytes),
            count(removed.targets, "target", "targets"),
        )?;
    }
    Ok(code)
}

/// Why outputs of a target are still there.
struct Refusal {
    why: String,
    code: u8,
}

impl Refusal {
    fn failed(error: &dyn std::fmt::Display) -> Self {
        Self {
            why: format!("its outputs can't be removed: {error}"),
            code: 1,
        }
    }
}

fn clean(session: &Session, target: &Target, removed: &mut Removed) -> Result<(), Refusal> {
    let dry_run = session.options.dry_run;
    if dry_run {
        if let Some(manifest) = outputs(session, target, session.state(&target.address)) {
            count_in(session, &manifest, removed);
        }
        return Ok(());
    }
    if !session.cache_dir.exists() {
        return Ok(());
    }
    let lock = store::prepare(&session.cache_dir)
        .and_then(|()| fs::create_dir_all(session.cache_dir.join("locks")))
        .and_then(|()| store::lock_file(&session.cache_dir, &session.lock_name(&target.address)))
        .map_err(|error| Refusal::failed(&error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Refusal {
                why: "another forge runs it, so its outputs stay".into(),
                code: 4,
            });
        }
        Err(TryLockError::Error(error)) => return Err(Refusal::failed(&error)),
    }
    let Some(state) = session.newest_state(&target.address) else {
        return Ok(());
    };
    if let Some(manifest) = outputs(session, target, Some(state)) {
        let mut there = Removed::default();
        count_in(session, &manifest, &mut there);
        let done = session.place().remove(&manifest);
        done.map_err(|error| Refusal::failed(&error))?;
        removed.add(there);
        crate::fault::point("cleaned");
    }
    session.forget_state(&target.address);
    session.store.put(&Batch {
        forget_states: vec![target.address.to_string()],
        ..Batch::default()
    });
    Ok(())
}

/// What the record says that the target made, as far as it is still its own.
fn outputs(session: &Session, target: &Target, state: Option<store::State>) -> Option<Manifest> {
    let state = state?;
    let manifest = session.manifest(&state.manifest)?;
    let is_here = state.workspace == session.here();
    Some(session.removable(target, &manifest, is_here).into_owned())
}

/// Adds what is there of a manifest.
fn count_in(session: &Session, manifest: &Manifest, removed: &mut Removed) {
    let mut any = false;
    for entry in &manifest.entries {
        let Ok(found) = fs::symlink_metadata(session.ws.root.join(&entry.path)) else {
            continue;
        };
        if found.is_dir() == matches!(entry.node, Node::Directory { .. }) {
            any = true;
            let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
            if parent.is_none_or(|parent| manifest.get(parent).is_none()) {
                removed.shown.push(entry.path.clone());
            }
            removed.paths += 1;
            removed.bytes += if found.is_file() { found.len() } else { 0 };
        }
    }
    removed.targets += usize::from(any);
}

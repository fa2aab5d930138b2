//! `sandbox = true`: of the workspace a target sees what it declares, and writes where its outputs are.
//!
//! Elsewhere it may read everything, and write to the directory for temporary files. The doorkeeper asks at each call and
//! remembers whom it sent away; the fence is the kernel's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::exec::sandbox::{self, Fence, Grounds};
use crate::exec::trace::{self, Access, Act, Calls, Found, Watcher};
use crate::pipeline::paths::is_within;

use super::audit::{Own, Reach, is_bytecode};
use super::look::Fault;
use super::session::lock;

/// A directory in which a target may make files of its own.
enum Yard {
    /// Only directly in it.
    Flat(String),
    /// At any depth.
    Deep(String),
}

/// The doorkeeper of one target.
pub struct Sandbox {
    reach: Arc<Reach>,
    yards: Vec<Yard>,
    /// Outside of the workspace.
    temporary: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    own: Own,
    /// By path (absolute outside of the workspace): whether it was to be written.
    refused: BTreeMap<String, bool>,
}

impl Sandbox {
    /// A doorkeeper, and the fence.
    ///
    /// # Errors
    /// The system has no such thing.
    pub fn new(
        reach: Reach,
        env: &[(OsString, OsString)],
    ) -> Result<(Arc<Self>, Arc<Fence>), Fault> {
        trace::available()
            .and_then(|()| sandbox::available())
            .map_err(missing)?;
        let temporary = env.iter().find(|(name, _)| name == "TMPDIR");
        let temporary = temporary.map_or(Path::new("/tmp"), |(_, value)| Path::new(value));
        let sandbox = Self {
            yards: yards(&reach),
            reach: Arc::new(reach),
            temporary: temporary
                .canonicalize()
                .unwrap_or_else(|_| temporary.into()),
            state: Mutex::default(),
        };
        let fence = Fence::new(&sandbox.grounds())?;
        Ok((Arc::new(sandbox), Arc::new(fence)))
    }

    /// What the target was kept from, in words; none if nothing.
    pub fn refusals(&self) -> Option<String> {
        let refused = &lock(&self.state).refused;
        let words: Vec<String> = refused
            .iter()
            .map(|(path, write)| format!("{} {path}", if *write { "write" } else { "read" }))
            .collect();
        let (first, rest) = words.split_at(words.len().min(3));
        match rest.len() {
            _ if first.is_empty() => None,
            0 => Some(first.join(", ")),
            more => Some(format!("{} and {more} more", first.join(", "))),
        }
    }

    fn grounds(&self) -> Grounds {
        let root = self.reach.root();
        let needed = self.reach.needed();
        let bases = needed.globs.iter().flat_map(|glob| glob.bases());
        let reads = self
            .reach
            .files()
            .chain(needed.literals.iter().map(String::as_str));
        let yards = self.yards.iter().map(|yard| match yard {
            Yard::Flat(directory) | Yard::Deep(directory) => nearest(root, directory),
        });
        Grounds {
            hidden: root.to_path_buf(),
            reads: reads
                .map(|path| root.join(path))
                .chain(bases.map(|base| root.join(base)))
                .collect(),
            writes: yards.chain([self.temporary.clone()]).collect(),
        }
    }

    fn may_read(&self, state: &State, path: &str, found: Found) -> bool {
        !matches!(found, Found::File | Found::Link) || self.reach.reads(path) || state.own.has(path)
    }

    /// What is there and isn't the target's stays as it is.
    fn may_write(&self, state: &State, path: &str, access: &Access) -> bool {
        if self.reach.makes(path) || state.own.has(path) {
            return true;
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut yards = self.yards.iter();
        access.found == Found::Nothing
            && yards.any(|yard| match yard {
                Yard::Flat(directory) => parent == directory || is_within(directory, path),
                Yard::Deep(directory) => is_within(path, directory) || is_within(directory, path),
            })
    }

    fn inside(&self, path: &str, access: &Access) -> bool {
        let mut state = lock(&self.state);
        let allowed = match access.act {
            Act::Look | Act::List => true,
            Act::Read | Act::Follow => self.may_read(&state, path, access.found),
            // A nameless file in a directory: what counts is where it gets its name.
            Act::Change if access.found == Found::Directory => true,
            Act::Replace | Act::Change | Act::Remove => self.may_write(&state, path, access),
        };
        if allowed
            && matches!(access.act, Act::Replace | Act::Change)
            && access.found == Found::Nothing
        {
            state.own.add(path);
        }
        // Python does without, and nobody misses it.
        if !allowed && !is_bytecode(path) {
            *state.refused.entry(path.to_owned()).or_default() |= access.act.writes();
        }
        allowed
    }

    fn outside(&self, access: &Access) -> bool {
        let open = ["/dev", "/proc"].map(Path::new);
        let mut open = open.into_iter().chain([&*self.temporary]);
        if !access.act.writes() || open.any(|place| access.path.starts_with(place)) {
            return true;
        }
        let path = access.path.to_string_lossy().into_owned();
        lock(&self.state).refused.insert(path, true);
        false
    }
}

impl Watcher for Sandbox {
    fn calls(&self) -> Calls {
        Calls::Touching
    }

    fn sees(&self, access: &Access) -> bool {
        match self.reach.inside(&access.path) {
            Some(path) => self.inside(&path, access),
            None => self.outside(access),
        }
    }

    /// The fence has seen it.
    fn missed(&self, _why: &str) {}
}

/// Where the outputs are made.
fn yards(reach: &Reach) -> Vec<Yard> {
    let outputs = reach.outputs();
    let parent = |path: &String| {
        path.rsplit_once('/')
            .map_or("", |(parent, _)| parent)
            .to_owned()
    };
    let literals = outputs.literals.iter().map(|path| Yard::Flat(parent(path)));
    let globs = outputs
        .globs
        .iter()
        .flat_map(|glob| glob.bases())
        .map(Yard::Deep);
    literals.chain(globs).collect()
}

/// The directory, or the next one above it that is there.
fn nearest(root: &Path, directory: &str) -> PathBuf {
    let mut path = root.join(directory);
    while path != root && !path.is_dir() {
        path.pop();
    }
    path
}

fn missing(message: String) -> Fault {
    Fault {
        message,
        help: Some("run it elsewhere, or take `sandbox = true` out".into()),
        exit_with: 3,
    }
}

//! What the commands of an audited target did with files, gathered as it happens. Nothing is refused.
//!
//! What a target made itself is its own: reading that back is no input.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::exec::trace::{Access, Act, Calls, Found, Watcher};

use super::super::session::lock;
use super::reach::Reach;

/// What happened to a path in the workspace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Its content, or (of a link) where it leads.
    pub read: bool,
    /// Only whether it is there.
    pub looked: bool,
    pub listed: bool,
    /// It was to be read, and wasn't there.
    pub missing: bool,
    /// Made, or changed.
    pub written: bool,
    /// Removed, and not by whoever made it.
    pub removed: bool,
}

/// Everything that was seen so far.
#[derive(Clone, Default)]
pub struct Sights {
    /// By path relative to the workspace.
    pub inside: BTreeMap<String, Facts>,
    pub outside_read: BTreeSet<PathBuf>,
    pub outside_written: BTreeSet<PathBuf>,
    /// Why something may have gone by unseen.
    pub missed: BTreeSet<String>,
    own: Own,
}

/// Paths that a target made itself, whole directories among them.
#[derive(Clone, Default)]
pub struct Own(HashSet<String>);

impl Own {
    pub fn add(&mut self, path: &str) {
        self.0.insert(path.to_owned());
    }

    pub fn remove(&mut self, path: &str) -> bool {
        self.0.remove(path)
    }

    /// Whether it, or a directory around it, is.
    pub fn has(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        !self.0.is_empty() && parents.chain([path]).any(|path| self.0.contains(path))
    }
}

/// The watcher of an audit.
pub struct Seen {
    reach: Arc<Reach>,
    sights: Mutex<Sights>,
}

impl Seen {
    pub fn new(reach: Arc<Reach>) -> Self {
        Self {
            reach,
            sights: Mutex::default(),
        }
    }

    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    pub fn sights(&self) -> Sights {
        lock(&self.sights).clone()
    }
}

impl Watcher for Seen {
    fn calls(&self) -> Calls {
        Calls::All
    }

    fn sees(&self, access: &Access) -> bool {
        if !self.reach.is_cache(&access.path) {
            let mut sights = lock(&self.sights);
            match self.reach.inside(&access.path) {
                Some(path) => sights.inside(path, access),
                None => sights.outside(access),
            }
        }
        true
    }

    fn missed(&self, why: &str) {
        lock(&self.sights).missed.insert(why.to_owned());
    }
}

impl Sights {
    fn inside(&mut self, path: String, access: &Access) {
        let own = self.own.has(&path);
        let is_there = matches!(access.found, Found::File | Found::Link);
        let facts = self.inside.entry(path.clone()).or_default();
        match access.act {
            Act::Read | Act::Follow if access.found == Found::Nothing => facts.missing |= !own,
            Act::Read | Act::Follow => facts.read |= is_there && !own,
            Act::Look => facts.looked |= is_there && !own,
            Act::List => facts.listed |= !own,
            Act::Replace => {
                facts.written = true;
                self.own.add(&path);
            }
            Act::Change => {
                facts.written = true;
                if access.found == Found::Nothing {
                    self.own.add(&path);
                }
            }
            Act::Remove => {
                facts.written = false;
                facts.removed |= !self.own.remove(&path) && !own;
            }
        }
    }

    fn outside(&mut self, access: &Access) {
        if ["/dev", "/proc", "/sys"]
            .iter()
            .any(|top| access.path.starts_with(top))
        {
            return;
        }
        match access.act {
            Act::Read if access.found == Found::File => {
                self.outside_read.insert(access.path.clone());
            }
            Act::Replace | Act::Change => {
                self.outside_written.insert(access.path.clone());
            }
            _ => {}
        }
    }
}

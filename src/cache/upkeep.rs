//! Looking after the store: how much is in it, what goes when it is too large, what is damaged.
//!
//! Which records go is [`super::prune`]'s choice; in here they go. Records go before their blobs, so that being killed
//! in between leaves blobs that nobody needs, never a record that promises what isn't there.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::blobs::Blobs;
use super::digest::Digest;
use super::manifest::Manifest;
use super::prune::{Candidate, choose};
use super::store::{Batch, Contents, Record, State, Store};
use crate::fault;
use crate::parallel;

/// A blob that no record names may belong to a target that is being recorded just now.
const GRACE: Duration = Duration::from_secs(3600);

/// So many blobs are worth a thread to look at them.
const SHARE: usize = 8;

/// A store with its blobs.
pub struct Upkeep<'a> {
    pub store: &'a Store,
    pub blobs: &'a Blobs,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// How much is in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Results that can be restored.
    pub records: usize,
    /// Targets whose outputs are known.
    pub targets: usize,
    pub blobs: usize,
    /// Of all blobs.
    pub bytes: u64,
    /// Seconds since 1970 when the least recently used record was used; none without records.
    pub oldest_use: Option<u64>,
}

/// What pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pruned {
    pub records: usize,
    pub blobs: usize,
    /// What those blobs took.
    pub bytes: u64,
    /// What the others take.
    pub left: u64,
}

/// What a check of every byte found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Blobs that were read.
    pub blobs: usize,
    pub bytes: u64,
    /// Blobs that weren't what their names say: removed.
    pub damaged: usize,
    /// Blobs that couldn't be read, and stay.
    pub unreadable: usize,
    /// Records that lost something: removed.
    pub records: usize,
}

impl Upkeep<'_> {
    /// # Errors
    /// The store can't be read.
    pub fn stats(&self) -> io::Result<Stats> {
        let blobs = self.blobs.all()?;
        let Contents {
            results: records,
            states,
        } = self.contents()?;
        Ok(Stats {
            records: records.len(),
            targets: states.len(),
            blobs: blobs.len(),
            bytes: blobs.values().map(Metadata::len).sum(),
            oldest_use: records.iter().map(|(_, record)| record.used).min(),
        })
    }

    /// Removes blobs that nothing names and then the least recently used records, until at most `limit` bytes are left.
    /// What the targets of the workspace are in now (their manifests, logs and keys) stays.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn prune(&self, limit: u64) -> io::Result<Pruned> {
        // Before the records: a blob of a record that is written in between is not taken for nobody's.
        let blobs = self.blobs.all()?;
        let Contents {
            results: records,
            states,
        } = self.contents()?;
        let mut kept: HashSet<Digest> = states.iter().flat_map(blobs_of_state).collect();
        let current: HashSet<Digest> = states.iter().map(|state| state.key).collect();
        let candidates = parallel::map(&records, SHARE, |(key, record)| Candidate {
            key: *key,
            used: record.used,
            current: current.contains(key),
            blobs: self.blobs_of(record),
        });
        let named: HashSet<&Digest> = candidates
            .iter()
            .flat_map(|candidate| &candidate.blobs)
            .chain(&kept)
            .collect();
        let nobodys = blobs.iter().filter(|(blob, _)| !named.contains(blob));
        let (young, mut gone): (Vec<Digest>, Vec<Digest>) = nobodys
            .map(|(blob, _)| *blob)
            .partition(|blob| is_young(&blobs[blob]));
        kept.extend(young);
        let sizes: HashMap<Digest, u64> = blobs
            .iter()
            .map(|(blob, metadata)| (*blob, metadata.len()))
            .collect();
        let choice = choose(&candidates, &sizes, &kept, limit);
        gone.extend(choice.blobs.iter().filter(|blob| sizes.contains_key(blob)));
        let bytes = gone.iter().filter_map(|blob| sizes.get(blob)).sum();
        let left = sizes.values().sum::<u64>().saturating_sub(bytes);
        if !self.dry_run {
            self.forget(&choice.records);
            fault::point("records pruned");
            for blob in &gone {
                self.blobs.remove(blob);
                fault::point("blob pruned");
            }
            self.blobs.remove_staged(GRACE);
            self.store.set_total(left);
        }
        Ok(Pruned {
            records: choice.records.len(),
            blobs: gone.len(),
            bytes,
            left,
        })
    }

    /// At the end of a run that stored something: prunes if the store is above `limit`, then to a tenth below it, so that
    /// the next run needn't. The blobs are counted only where nobody knows what they take.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn keep_within(&self, limit: u64, recount: bool) -> io::Result<()> {
        let known = self.store.total().filter(|_| !recount);
        let total = match known {
            Some(total) => total,
            None => {
                let counted = self.blobs.all()?.values().map(Metadata::len).sum();
                self.store.set_total(counted);
                counted
            }
        };
        if total > limit {
            self.prune(limit - limit / 10)?;
        }
        Ok(())
    }

    /// Reads every blob; removes those that are damaged, and the records that lost something.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn verify(&self) -> io::Result<Verified> {
        let blobs = self.blobs.all()?;
        let all: Vec<&Digest> = blobs.keys().collect();
        let all = parallel::map(&all, SHARE, |blob| (*blob, self.blobs.is_sound(blob)));
        let damaged: HashSet<&Digest> = all
            .iter()
            .filter(|(_, sound)| matches!(sound, Ok(false)))
            .map(|(blob, _)| *blob)
            .collect();
        let unreadable = all.iter().filter(|(_, sound)| sound.is_err()).count();
        let records = self.contents()?.results;
        let is_there = |blob: &Digest| blobs.contains_key(blob) && !damaged.contains(blob);
        let lost: Vec<Digest> = records
            .iter()
            .filter(|(_, record)| {
                !is_there(&record.manifest) || !self.blobs_of(record).iter().all(is_there)
            })
            .map(|(key, _)| *key)
            .collect();
        if !self.dry_run {
            self.forget(&lost);
            fault::point("lost forgotten");
            damaged.iter().for_each(|blob| self.blobs.remove(blob));
        }
        Ok(Verified {
            blobs: blobs.len(),
            bytes: blobs.values().map(Metadata::len).sum(),
            damaged: damaged.len(),
            unreadable,
            records: lost.len(),
        })
    }

    fn contents(&self) -> io::Result<Contents> {
        self.store
            .contents()
            .ok_or_else(|| io::Error::other("its records can't be read"))
    }

    fn forget(&self, records: &[Digest]) {
        self.store.put(&Batch {
            forget_results: records.to_vec(),
            ..Batch::default()
        });
    }

    /// Everything that a record needs; with a manifest that is lost, what is known of it.
    fn blobs_of(&self, record: &Record) -> Vec<Digest> {
        let manifest: Option<Manifest> = self
            .blobs
            .peek(&record.manifest)
            .and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let manifest = manifest.unwrap_or_default();
        let own = [record.manifest, record.log, record.preimage];
        manifest.digests().copied().chain(own).collect()
    }
}

fn blobs_of_state(state: &State) -> [Digest; 3] {
    [state.manifest, state.log, state.preimage]
}

/// Where a file system keeps no times, everything is young.
fn is_young(blob: &Metadata) -> bool {
    let age = blob
        .modified()
        .map(|then| SystemTime::now().duration_since(then).unwrap_or_default());
    age.is_ok_and(|age| age < GRACE)
}

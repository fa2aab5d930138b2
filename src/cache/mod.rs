//! What a target is made of, and where its results are kept.
//!
//! [`walk`] lists what is on disk, [`finder`] tells which of it are inputs, [`index`] answers digests from stats, [`key`] makes the action key,
//! [`store`] holds the records and [`blobs`] the contents, [`capture`] and [`restore`] move outputs in and out, `remove` takes them away,
//! [`remote`] shares results with other machines, [`snapshot`] answers a run with nothing to do, [`prune`] and [`upkeep`] keep the store within its limit. Knows nothing of processes or of the screen.

pub mod blobs;
pub mod capture;
pub mod claims;
pub mod digest;
mod directory;
pub mod finder;
pub mod gitindex;
mod gitpattern;
pub mod ignored;
pub mod index;
pub mod inputs;
pub mod key;
mod known;
pub mod manifest;
mod packed;
pub mod prune;
pub mod remote;
mod remove;
pub mod repository;
pub mod resolved;
pub mod restore;
pub mod snapshot;
pub mod spec;
pub mod staged;
pub mod stat;
pub mod store;
pub mod upkeep;
pub mod walk;

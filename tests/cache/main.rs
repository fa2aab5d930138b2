//! What the cache promises (SPEC §4) and what went wrong elsewhere (the hazards), each as run, rerun, change, rerun:
//! which targets ran is told by forge and, apart from that, by the commands themselves.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod edits;
mod forges;
mod glances;
mod ignores;
mod keys;
mod kills;
mod links;
mod modes;
mod names;
mod outputs;
mod owners;
mod results;
mod selection;
mod store;

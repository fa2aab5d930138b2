//! forge: a declarative, make-style build tool with content caching.
//!
//! What lives where, in the order in which data goes through: [`pipeline`] reads `Pipeline.toml`,
//! [`graph`] says what needs what, [`engine`] runs targets through [`cache`] and [`exec`] and tells
//! what happens as events, which [`report`] shows, [`history`] keeps and [`notify`] tells. [`init`] proposes a first
//! `Pipeline.toml`, [`ci`] a workflow that calls forge. [`docker`] is the engine and [`aws`] is AWS, for those who wait; [`deploy`]
//! plans deployments and carries them out; [`http`] one request; [`units`] writes durations, [`parallel`] shares work out,
//! [`fault`] is where tests kill.
//! [`cli`] holds a file for each command. `docs/design.md`
//! has the pictures; `tests/house.rs` holds who may know whom.

pub mod aws;
pub mod cache;
pub mod ci;
pub mod cli;
pub mod deploy;
pub mod docker;
pub mod engine;
pub mod exec;
pub mod fault;
pub mod graph;
pub mod history;
pub mod http;
pub mod image;
pub mod init;
pub mod notify;
pub mod parallel;
pub mod pipeline;
pub mod report;
pub mod units;

//! The plan, the scheduler, and the life of one target from ready to outcome.
//!
//! [`session`] is what a run knows, [`look`] whether a target has anything to do (at a [`glance`], if it can, or as it is [`known`]; what reaches it through others the [`makers`] tell), [`job`] how it is done, by [`commands`] if it has to run (what one that failed was [`lacking`] is told), and [`keep`] what becomes of its outputs, of which [`unfinished`] tells when a run is ended, and of earlier ones what is [`removable`],
//! [`image`], [`base`], [`found`], [`provide`] and [`build`] the same for images, [`deploy`] for deployments,
//! [`records`] how that gets into the store and [`remote`] to other machines, [`scheduler`] in which order, [`run`] the coordinator that owns the state, [`active`] who else runs here,
//! [`audit`] what a target does beside what it declares. What people see are [`event`]s.

pub mod active;
pub mod audit;
mod base;
mod build;
mod commands;
pub mod deploy;
pub mod environment;
pub mod event;
mod found;
pub mod git;
mod glance;
mod image;
pub mod job;
mod keep;
mod known;
mod lacking;
mod log;
mod login;
pub mod look;
mod makers;
mod origin;
pub mod outcome;
pub mod plan;
mod provide;
mod records;
mod remote;
mod removable;
pub mod render;
pub mod run;
mod sandbox;
pub mod scheduler;
pub mod session;
pub mod tools;
mod unfinished;
mod watch;
mod workers;

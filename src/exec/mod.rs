//! Processes and services: what a target's commands run in.
//!
//! Knows nothing of targets, keys or what is done with the output.

pub mod mask;
pub mod process;
pub mod service;
mod supervisor;

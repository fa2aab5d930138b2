//! Processes and services: what a target's commands run in, and who looks on.
//!
//! Knows nothing of targets, keys or what is done with the output.

pub mod mask;
pub mod process;
pub mod sandbox;
pub mod service;
mod supervisor;
pub mod trace;

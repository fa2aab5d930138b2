//! Images: what goes into one, and what its Dockerfile says.
//!
//! [`dockerignore`] says which files a build sees, [`private`] what stays on the machine all the same, [`context`] sends
//! them, [`dockerfile`] reads the instructions, [`practice`] what is worth a warning in them, [`registry`] is where images go.
//! Knows nothing of targets and talks to no engine.

pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod practice;
pub mod private;
pub mod registry;

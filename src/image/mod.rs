//! Images: what goes into one, and what its Dockerfile says.
//!
//! [`dockerignore`] says which files a build sees, [`context`] sends them, [`dockerfile`] reads the instructions, [`practice`] what is worth
//! a warning in them. Knows nothing of targets; talks to no engine and no registry.

pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod practice;

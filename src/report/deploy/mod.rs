//! Deployments on the screen and for programs.

pub mod json;
pub mod text;

//! `Pipeline.toml`: read with spans, resolved, validated.

pub mod glob;
pub mod model;

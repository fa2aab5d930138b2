//! `Pipeline.toml`: read with spans, resolved, validated.

pub mod model;

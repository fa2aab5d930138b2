//! Deployments and rollbacks: planned, guarded, carried out, and followed to their end.
//!
//! What is decided ([`taskdef`], [`diff`], [`plan`], [`gates`], [`choice`], [`state`]) is apart from what is
//! done about it. Everything comes in as plain values, and goes out as [`progress::Progress`] and an
//! [`outcome::Outcome`].
//!
//! Knows nothing of targets, of how images are built, of events or screens.

pub mod choice;
pub mod diff;
pub mod ecs;
pub mod error;
pub mod gates;
pub mod local;
pub mod outcome;
pub mod plan;
pub mod progress;
pub mod provider;
pub mod request;
pub mod seen;
pub mod size;
pub mod smoke;
pub mod spec;
pub mod state;
pub mod tags;
pub mod taskdef;
pub mod way_back;

use std::sync::Arc;

use crate::pipeline::model::Provider as Kind;

/// Where an environment's services run. `pipeline` is its name.
///
/// # Errors
/// Credentials are missing, there is no engine.
pub fn open(
    kind: Kind,
    pipeline: &str,
    spec: &spec::Spec,
) -> Result<Arc<dyn provider::Provider>, error::DeployError> {
    match kind {
        Kind::Ecs => Ok(Arc::new(ecs::Ecs::connect(spec)?)),
        Kind::Docker => Ok(Arc::new(local::Local::connect(pipeline)?)),
    }
}

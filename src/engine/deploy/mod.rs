//! Deployments: what is to be deployed where, whether it may be, and the deployment followed to its end.
//!
//! Whether anything is to be done only the place itself can say, so nothing of it is kept in the store. [`order`] puts
//! together what is deployed, [`early`] refuses what can be refused before anything runs, [`lent`] is what a
//! deployment borrows from a run, [`job`] a deploy target's way, [`ask`] a question to whoever sits at the terminal.

pub mod ask;
pub mod early;
mod job;
pub mod lent;
pub mod order;

use crate::deploy::error::DeployError;

pub use job::{plan, sentence};

use super::look::Fault;

impl From<DeployError> for Fault {
    fn from(error: DeployError) -> Self {
        Self {
            exit_with: error.exit_code(),
            message: error.message,
            help: Some(error.help).filter(|help| !help.is_empty()),
        }
    }
}

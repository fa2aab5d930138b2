//! A workflow file for a CI service that calls forge, made from what a pipeline says. Pure: knows nothing of files,
//! of git and of who asks.

mod condition;
mod github;
mod jobs;
mod settings;
mod steps;
mod variables;
mod yaml;

pub use github::{MARK, Options, github};
pub use settings::Step;

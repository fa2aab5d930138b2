//! The simulated AWS, asked by the clients that forge asks the real one with, and by a real Docker engine.

#[path = "../support/aws/mod.rs"]
mod aws;
mod clients;
mod definitions;
mod identity;
mod kept;
mod logs;
mod registry;
mod rollouts;
mod tasks;

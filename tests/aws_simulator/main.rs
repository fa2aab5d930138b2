//! The simulated AWS, asked by the clients that forge asks the real one with, and by a real Docker engine.

#[path = "../support/aws/mod.rs"]
mod aws;
mod clients;
mod identity;
mod registry;

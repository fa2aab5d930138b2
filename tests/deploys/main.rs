//! Deployments, rollbacks and what is asked about them, from the library's front door to the calls that reach AWS.

#[path = "../support/aws/mod.rs"]
mod aws;
mod checking;
mod deploying;
mod driver;
mod failing;
mod going_back;
mod local;
mod looking;
mod moto;
mod script;

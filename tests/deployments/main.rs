//! Deployments, black-box: what goes wrong on the way to Amazon ECS and back, and what forge says of it. AWS is the
//! simulator in front of a real registry; `tests/setup.sh registry` starts that, and without it these tests fail.

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/pty.rs"]
mod pty;
#[path = "../receivers/mod.rs"]
mod receivers;
#[path = "../support/run.rs"]
mod run;

mod bed;
mod mould;

mod again;
mod faults;
mod gates;
mod looking;
mod notices;
mod restarts;
mod rollbacks;
mod rollouts;
mod screens;
mod secrets;
mod services;
mod signals;

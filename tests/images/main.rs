//! Image targets, black-box: a real engine, a real registry with a password, and for ECR the simulator in front of it.
//! `tests/setup.sh registry` starts both; without them these tests fail.

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/run.rs"]
mod run;

mod bed;
mod company;
mod ecr;
mod engine;
mod pulled;
mod registry;
mod said;

//! Environments on the local engine. Without one these tests fail.

mod bed;
mod deploying;
mod ending;
mod engine;
mod going_back;
mod looking;

//! The plan, the scheduler, and the life of one target from ready to outcome.
//!
//! [`session`] is what a run knows, [`plan`] what it will do, [`scheduler`] in which order, [`look`] whether a target has
//! anything to do, [`job`] how it is done, [`run`] the coordinator that owns the state. What people see are [`event`]s.

pub mod environment;
pub mod event;
pub mod git;
pub mod scheduler;
pub mod tools;

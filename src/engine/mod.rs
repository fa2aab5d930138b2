//! The plan, the scheduler, and the life of one target from ready to outcome.

pub mod event;

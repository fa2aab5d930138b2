//! Arguments, and one file a command.

pub mod doctor;
pub mod history;
pub mod stats;
mod table;

//! Arguments, and one file a command.

pub mod graph;
pub mod schema;

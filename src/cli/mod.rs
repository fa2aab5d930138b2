//! Arguments, and one file a command.

pub mod schema;

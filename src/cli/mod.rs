//! Arguments, and one file a command: thin, reading like the help text.

pub mod graph;
pub mod doctor;
pub mod history;
pub mod init;
pub mod schema;
pub mod stats;
mod table;

//! Arguments, and one file a command.

pub mod history;
pub mod init;
pub mod stats;
mod table;

//! Arguments, and one file a command.

pub mod init;

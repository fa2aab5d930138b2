//! What a target really reads and writes, against what it declares.
//!
//! [`reach`] is what the declarations cover, [`seen`] gathers what the commands do, [`findings`] compares the two, and
//! [`proposal`] says what to declare. The same reach is what a sandbox lets through: see [`super::sandbox`].

mod bytecode;
mod findings;
mod proposal;
mod reach;
mod seen;

pub use bytecode::is_bytecode;
pub use findings::{Findings, Origin, Read, Write};
pub use proposal::Proposal;
pub use reach::Reach;
pub use seen::{Own, Seen};

//! Targets and what they need: selection, cycles, affected projects. Pure.
//!
//! Every walk is a loop with a stack of its own: a chain of a hundred thousand targets is no deeper than
//! one of three.

mod affected;
mod cycles;
mod order;
mod select;

pub use affected::affected;
pub use cycles::cycles;
pub use order::{closure, heights, leaf_needs, needs_down_to, transitive_needs};
pub use select::{Names, select};

#[cfg(test)]
mod tests;

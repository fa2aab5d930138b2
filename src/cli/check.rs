//! `forge check`: every error of every file at once, and nothing else.

use std::io::{self, Write};

use crate::engine::plan;
use crate::report::style::count;

use super::context::{Context, Ended};

/// Reads everything; says what is wrong, or that nothing is.
///
/// # Errors
/// There is something wrong.
pub fn run(context: &Context, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load()?;
    let session = context.reading(&place);
    let ws = &place.workspace;
    let problems: Vec<_> = ws
        .targets
        .iter()
        .flat_map(|target| plan::unresolved(&session, target))
        .collect();
    context.show(&place.warnings);
    if !problems.is_empty() {
        return Err(context.report(&problems));
    }
    let files = count(ws.files.len(), "file", "files");
    let said: io::Result<()> = writeln!(
        out,
        "{files}, {}: no errors",
        count(ws.targets.len(), "target", "targets")
    );
    Ok(u8::from(said.is_err()))
}

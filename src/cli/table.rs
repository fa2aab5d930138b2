//! Rows in columns, for commands that list things. Knows nothing of what is listed.

use std::io::{self, Write};

/// Two blanks between columns, nothing after the last cell of a row.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut widths = vec![0; head.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = console::measure_text_width(cell).max(*width);
        }
    }
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line += cell;
            line += &" ".repeat(width.saturating_sub(console::measure_text_width(cell)) + 2);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

//! Rows in columns, for commands that list things. Knows nothing of what is listed.

use std::io::{self, Write};

use console::{measure_text_width, truncate_str};

/// No column is made narrower than this to make room.
const NARROW: usize = 8;
/// Between two columns.
const GAP: usize = 2;

/// Two blanks between columns, nothing after the last cell of a row. On a terminal no row is longer than a line of it: the
/// widest columns are cut.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let terminal = console::Term::stdout();
    let columns = terminal
        .size_checked()
        .map(|(_, columns)| usize::from(columns));
    write_within(columns, out, head, rows)
}

fn write_within(
    columns: Option<usize>,
    out: &mut dyn Write,
    head: &[&str],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut widths = vec![0; head.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    if let Some(columns) = columns {
        fit(&mut widths, columns);
    }
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let cell = truncate_str(cell, *width, "…");
            line += &cell;
            line += &" ".repeat(width.saturating_sub(measure_text_width(&cell)) + GAP);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Takes from the widest column, again and again, until all fit or none has anything to give.
fn fit(widths: &mut [usize], columns: usize) {
    let room = columns.saturating_sub(widths.len().saturating_sub(1) * GAP);
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROW => *widest -= 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_give_way() {
        let fitted = |widths: &[usize], columns| {
            let mut widths = widths.to_vec();
            fit(&mut widths, columns);
            widths
        };
        assert_eq!(fitted(&[4, 30, 4], 80), [4, 30, 4]);
        assert_eq!(fitted(&[4, 30, 4], 30), [4, 18, 4]);
        assert_eq!(fitted(&[40, 4, 20], 44), [18, 4, 18]);
        assert_eq!(fitted(&[4, 30], 3), [4, NARROW]);
    }

    #[test]
    fn what_is_cut_says_so() {
        let rows = [vec!["services/billing:test".to_owned(), "3".to_owned()]];
        let written = |columns| {
            let mut out = Vec::new();
            write_within(columns, &mut out, &["TARGET", "RUNS"], &rows).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Some(18)), "TARGET        RUNS\nservices/bi…  3\n");
        assert!(written(None).contains("services/billing:test  3"));
    }
}

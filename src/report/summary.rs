//! The step summary of GitHub Actions: a table of targets in Markdown, with what the failed ones printed.
//! Knows nothing of the log next to it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::engine::event::{Event, Finished, Listener, Outcome};

use super::lines::{self, Closing};
use super::sink::Sink;
use super::style::{Paint, duration, printable};

/// GitHub drops the summary of a step beyond 1 MiB; what else the step writes there needs room too.
const LIMIT: usize = 1_000_000;

/// Of one target's output, the end is shown.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// Appends the summary when the run ends.
pub struct Summary {
    path: PathBuf,
    /// For the one complaint: that the file can't be written.
    complaints: Sink,
    targets: Vec<Finished>,
}

impl Summary {
    pub fn new(path: PathBuf, complaints: Sink) -> Summary {
        Summary {
            path,
            complaints,
            targets: Vec::new(),
        }
    }

    fn append(&self, closing: &Closing) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        let taken = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let room = LIMIT.saturating_sub(taken);
        file.write_all(markdown(&self.targets, closing, room).as_bytes())
    }
}

impl Listener for Summary {
    fn on(&mut self, event: &Event) {
        if let Event::TargetFinished(finished) = event {
            self.targets.push((**finished).clone());
        }
        let Some(mut closing) = Closing::of(event) else {
            return;
        };
        closing.built = self.targets.iter().filter_map(lines::built).collect();
        closing.built.sort_unstable();
        if let Err(error) = self.append(&closing) {
            let line = format!("! the step summary can't be written: {error}\n");
            self.complaints.write(line.as_bytes());
        }
    }
}

/// At most `room` bytes: failures are left out from the end, then rows of the table.
fn markdown(targets: &[Finished], closing: &Closing, room: usize) -> String {
    let mut out = format!("### {}\n\n", lines::closing(closing, Paint::new(false)));
    if out.len() > room {
        return String::new();
    }
    let mut rows = targets
        .iter()
        .filter(|t| t.outcome != Outcome::Fresh)
        .peekable();
    if rows.peek().is_some() {
        out += "| | target | outcome | time | saved | why |\n| --- | --- | --- | ---: | ---: | --- |\n";
    }
    // Failures are what people look for: half of the room is theirs.
    let left = append(&mut out, rows.map(row), room / 2);
    if left > 0 {
        out += &format!("\n… and {left} more targets\n");
    }
    let failed: Vec<_> = targets
        .iter()
        .filter(|t| t.outcome == Outcome::Failed)
        .collect();
    let left = append(
        &mut out,
        failed.into_iter().map(details),
        room.saturating_sub(100),
    );
    if left > 0 {
        out += &format!("\n… and the output of {left} more: see the log\n");
    }
    out.push('\n');
    if out.len() > room { String::new() } else { out }
}

/// Appends pieces while they fit, and says how many didn't.
fn append(out: &mut String, pieces: impl Iterator<Item = String>, room: usize) -> usize {
    let mut left = 0;
    for piece in pieces {
        if left == 0 && out.len() + piece.len() <= room {
            *out += &piece;
        } else {
            left += 1;
        }
    }
    left
}

fn row(finished: &Finished) -> String {
    let symbol = match finished.outcome {
        Outcome::Fresh => "=",
        Outcome::Restored => "↓",
        Outcome::Ran => "✅",
        Outcome::Failed => "❌",
        Outcome::Skipped => "–",
        Outcome::Cancelled => "■",
    };
    let took = match finished.outcome {
        Outcome::Skipped => String::new(),
        _ => duration(finished.duration),
    };
    let flaky = if finished.flaky { ", flaky" } else { "" };
    format!(
        "| {symbol} | {} | {}{flaky} | {} | {} | {} |\n",
        cell(&finished.target),
        finished.outcome.name(),
        took,
        finished.saved.map(duration).unwrap_or_default(),
        cell(&finished.reason),
    )
}

/// Text that means nothing to Markdown.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn details(finished: &Finished) -> String {
    let start = finished.log.len().saturating_sub(OUTPUT_LIMIT);
    let tail = String::from_utf8_lossy(finished.log.get(start..).unwrap_or_default()).into_owned();
    let text = console::strip_ansi_codes(&tail).replace('\r', "");
    let cut = if start > 0 {
        "… (its start is in the log)\n"
    } else {
        ""
    };
    format!(
        "\n<details><summary>{}: {}</summary>\n\n<pre>{cut}{}</pre>\n\n</details>\n",
        escape(&printable(&finished.target)),
        escape(&printable(&finished.reason)),
        preformatted(&text),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A blank line would end the HTML block and Markdown would begin: line ends are written as entities.
fn preformatted(text: &str) -> String {
    escape(text.trim_end()).replace('\n', "&#10;")
}

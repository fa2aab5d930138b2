//! How single words look: colours, durations, names that can't play tricks, cutting to a width.
//! Knows nothing of events.
//!
//! Colours only repeat what a symbol or a word says, and are taken from those that can be read on dark and
//! on light backgrounds: no yellow, no grey, no dimmed text.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

pub use crate::units::duration;

/// Colours, on or off.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    pub fn new(on: bool) -> Paint {
        Paint { on }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub fn cached(self, text: &str) -> String {
        self.wrap("36", text)
    }

    pub fn notice(self, text: &str) -> String {
        self.wrap("1;35", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Colours, and the width that lines are cut to.
#[derive(Clone, Copy)]
pub struct Style {
    pub paint: Paint,
    /// Rows and columns of the terminal; none off a terminal, where nothing is cut.
    pub size: Option<fn() -> (u16, u16)>,
}

impl Style {
    /// How wide a terminal is; none off one.
    pub fn columns(&self) -> Option<usize> {
        let size = self.size?;
        Some(usize::from(size().1).max(20))
    }

    /// The same without a width.
    pub fn uncut(&self) -> Style {
        Style {
            size: None,
            ..*self
        }
    }

    /// `head · tail`, the tail cut at the edge of a terminal and the head never.
    pub fn line(&self, head: &str, tail: &str) -> String {
        if tail.is_empty() {
            return head.to_owned();
        }
        let tail = printable(tail);
        let Some(columns) = self.columns() else {
            return format!("{head} · {tail}");
        };
        let taken = console::measure_text_width(head) + 3;
        // A dozen columns say nothing: then the tail takes the next row as well.
        let left = columns - taken % columns;
        let room = if left < 12 { left + columns } else { left };
        format!("{head} · {}", cut(&tail, room))
    }
}

/// A duration that is still growing: `0.7s`, without digits that flicker.
pub fn clock(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 59_950 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => duration(time),
    }
}

/// `1 attempt`, `2 attempts`.
pub fn count(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// Control characters and those that turn the writing direction, written as escapes.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_trick) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\x00'..='\x1f' if !matches!(c, '\n' | '\r' | '\t') => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_trick(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn is_trick(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line cut at blanks into lines that fit, those after the first a little to the right. A word that doesn't fit stays
/// whole; without a width so does everything.
pub fn wrapped(line: &str, room: Option<usize>) -> Vec<String> {
    let wide = console::measure_text_width;
    let Some(room) = room.filter(|room| wide(line) > *room) else {
        return vec![line.to_owned()];
    };
    let rest = line.trim_start_matches(' ');
    let indent = " ".repeat(line.len() - rest.len());
    let mut lines = Vec::new();
    let mut open = indent.clone();
    let mut empty = true;
    for word in rest.split(' ') {
        if !empty && wide(&open) + 1 + wide(word) > room {
            lines.push(std::mem::replace(&mut open, format!("{indent}  ")));
            empty = true;
        }
        if !empty {
            open.push(' ');
        }
        open += word;
        empty = false;
    }
    lines.push(open);
    lines
}

/// At most `columns` wide; what is cut off the end becomes `…`.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    console::truncate_str(text, columns, "…")
}

/// At most `columns` wide; what is cut off the start becomes `…`, since the end of a name tells it apart.
pub fn cut_start(text: &str, columns: usize) -> String {
    if console::measure_text_width(text) <= columns {
        return text.to_owned();
    }
    let fits = |rest: &str| console::measure_text_width(rest) < columns;
    let rest = text
        .char_indices()
        .map(|(at, _)| text.get(at..).unwrap_or_default())
        .find(|rest| fits(rest));
    format!("…{}", rest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_blanks_where_there_is_a_width() {
        let line = "  a line that is long and_a_word_that_never_fits end";
        assert_eq!(wrapped(line, None), [line]);
        assert_eq!(wrapped(line, Some(80)), [line]);
        assert_eq!(
            wrapped(line, Some(14)),
            [
                "  a line that",
                "    is long",
                "    and_a_word_that_never_fits",
                "    end"
            ]
        );
    }

    #[test]
    fn tricks_become_visible() {
        assert_eq!(printable("app/main.py changed"), "app/main.py changed");
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{202e}d"),
            "a\\x1b[2Jb\\nc\\u{202e}d"
        );
        assert_eq!(printable("über │ 表"), "über │ 表");
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("表表表", 4), "表…");
        assert_eq!(cut_start("abcdef", 4), "…def");
        assert_eq!(cut_start("表表表", 4), "…表");
        assert_eq!(cut_start("abc", 3), "abc");
    }

    #[test]
    fn only_the_tail_of_a_line_is_cut() {
        let narrow = Style {
            paint: Paint::new(true),
            size: Some(|| (24, 30)),
        };
        let head = narrow.paint.bold("a-long-name:of-a-target");
        assert_eq!(
            narrow.line(&head, "a reason that takes the next row and more"),
            format!("{head} · a reason that takes the next row …")
        );
        assert_eq!(
            narrow.line("name", "a reason that goes on and on"),
            "name · a reason that goes on …"
        );
        let plain = Style {
            paint: Paint::new(false),
            size: None,
        };
        assert_eq!(plain.line("name", "a\nb"), "name · a\\nb");
    }
}

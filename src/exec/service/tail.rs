//! What is kept of a service's output: its last lines, and whether a text has been in it.

use std::collections::VecDeque;

/// Lines that are kept.
pub const LINES: usize = 50;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 2048;

/// The last lines of a stream, in bounded memory.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The last line has ended.
    ended: bool,
}

impl Tail {
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.ended || self.lines.is_empty() {
                self.lines.push_back(Vec::new());
            }
            if self.lines.len() > LINES {
                self.lines.pop_front();
            }
            if let Some(line) = self.lines.back_mut() {
                let room = LINE_BYTES.saturating_sub(line.len());
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                line.extend_from_slice(text.get(..room).unwrap_or(text));
            }
            self.ended = piece.ends_with(b"\n");
        }
    }

    /// The lines, each with its end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for line in &self.lines {
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        all
    }
}

/// Looks for a text in a stream that comes in pieces.
pub struct Needle {
    text: Vec<u8>,
    /// The end of what came so far, where the text may have begun.
    carry: Vec<u8>,
    found: bool,
}

impl Needle {
    pub fn new(text: &str) -> Needle {
        let text = text.as_bytes().to_vec();
        let found = text.is_empty();
        Needle {
            text,
            carry: Vec::new(),
            found,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.found {
            return;
        }
        self.carry.extend_from_slice(bytes);
        self.found = self
            .carry
            .windows(self.text.len())
            .any(|window| window == self.text);
        let keep = self.text.len() - 1;
        let old = self.carry.len().saturating_sub(keep);
        self.carry.drain(..old);
    }

    pub fn found(&self) -> bool {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_bounded_memory() {
        let mut tail = Tail::default();
        for number in 0..200 {
            tail.push(format!("line {number}").as_bytes());
            tail.push(b"\n");
        }
        tail.push(&vec![b'x'; 100_000]);
        tail.push(b"yy");
        let text = String::from_utf8(tail.bytes()).unwrap();
        assert_eq!(text.lines().count(), LINES);
        assert!(text.starts_with("line 151\n"), "{}", &text[..20]);
        assert!(text.ends_with("xxx\n"));
        assert!(text.len() < LINE_BYTES + LINES * 10);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        let mut tail = Tail::default();
        tail.push(b"a\n\nb");
        tail.push(b"c\n");
        assert_eq!(tail.bytes(), b"a\n\nbc\n");
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        let mut needle = Needle::new("ready");
        for piece in ["r", "re", "ad", "re", "ady"] {
            assert!(!needle.found());
            needle.push(piece.as_bytes());
        }
        assert!(needle.found());
        assert!(Needle::new("").found());
    }
}

//! What a step prints: cut into lines, kept for the case that it fails, and without secrets.

use std::collections::VecDeque;

/// Most that is kept of a step, in bytes.
const KEPT: usize = 16 << 20;
/// A shorter piece of a secret would hide half of a log.
const SHORTEST: usize = 4;

/// The secrets of a build, as they could turn up in a line.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    pub fn new(secrets: &[(String, Vec<u8>)]) -> Self {
        let mut parts: Vec<String> = secrets
            .iter()
            .flat_map(|(_, value)| lines(value))
            .filter(|line| line.len() >= SHORTEST)
            .collect();
        // The longer first: one may begin with another.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Self(parts)
    }

    pub fn hide(&self, mut text: String) -> String {
        for part in &self.0 {
            if text.contains(part.as_str()) {
                text = text.replace(part.as_str(), "***");
            }
        }
        text
    }
}

fn lines(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The output of one step.
#[derive(Debug, Default)]
pub struct Output {
    lines: VecDeque<String>,
    size: usize,
    begun: Vec<u8>,
}

impl Output {
    /// Takes a piece in, and gives the lines that it completes.
    pub fn push(&mut self, piece: &[u8], mask: &Mask) -> Vec<String> {
        self.begun.extend_from_slice(piece);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        let text = String::from_utf8_lossy(&whole);
        let lines: Vec<String> = text
            .lines()
            .map(|line| mask.hide(line.to_owned()))
            .collect();
        lines.iter().for_each(|line| self.keep(line.clone()));
        lines
    }

    /// The last line, where it has no end.
    pub fn finish(&mut self, mask: &Mask) -> Option<String> {
        if self.begun.is_empty() {
            return None;
        }
        self.push(b"\n", mask).pop()
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    fn keep(&mut self, line: String) {
        self.size += line.len() + 1;
        self.lines.push_back(line);
        while self.size > KEPT {
            let Some(first) = self.lines.pop_front() else {
                break;
            };
            self.size -= first.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_secrets_stars() {
        let secrets = [
            ("a".to_owned(), b"hunter2\n".to_vec()),
            ("b".to_owned(), b"hunter22".to_vec()),
            ("c".to_owned(), b"x".to_vec()),
        ];
        let mask = Mask::new(&secrets);
        let mut output = Output::default();
        assert_eq!(output.push(b"a hun", &mask), [""; 0]);
        assert_eq!(
            output.push(b"ter2 x\r\nhunter22\nend", &mask),
            ["a *** x", "***"]
        );
        assert_eq!(output.finish(&mask).as_deref(), Some("end"));
        assert_eq!(output.finish(&mask), None);
        assert_eq!(output.into_lines(), ["a *** x", "***", "end"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut output = Output::default();
        let line = vec![b'x'; KEPT / 4];
        for _ in 0..6 {
            output.push(&line, &Mask::default());
            output.push(b"\n", &Mask::default());
        }
        assert_eq!(output.into_lines().len(), 3);
    }
}

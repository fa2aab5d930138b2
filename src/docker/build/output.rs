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
    begun: [Vec<u8>; 2],
}

/// The two ways out of a command. A line that one has begun isn't ended by the other.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Out,
    Error,
}

impl Output {
    /// Takes a piece in, and gives the lines that it completes.
    pub fn push(&mut self, way: Way, piece: &[u8], mask: &Mask) -> Vec<String> {
        let begun = &mut self.begun[way as usize];
        begun.extend_from_slice(piece);
        let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = begun.split_off(end + 1);
        let whole = std::mem::replace(begun, rest);
        let text = String::from_utf8_lossy(&whole);
        let lines: Vec<String> = text
            .lines()
            .map(|line| mask.hide(line.to_owned()))
            .collect();
        lines.iter().for_each(|line| self.keep(line.clone()));
        lines
    }

    /// The last lines, where they have no end.
    pub fn finish(&mut self, mask: &Mask) -> Vec<String> {
        let mut lines = Vec::new();
        for way in [Way::Out, Way::Error] {
            if !self.begun[way as usize].is_empty() {
                lines.extend(self.push(way, b"\n", mask));
            }
        }
        lines
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
        assert_eq!(output.push(Way::Out, b"a hun", &mask), [""; 0]);
        assert_eq!(output.push(Way::Error, b"x\nerr", &mask), ["x"]);
        assert_eq!(
            output.push(Way::Out, b"ter2 x\r\nhunter22\nend", &mask),
            ["a *** x", "***"]
        );
        assert_eq!(output.finish(&mask), ["end", "err"]);
        assert_eq!(output.finish(&mask), [""; 0]);
        assert_eq!(output.into_lines(), ["x", "a *** x", "***", "end", "err"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut output = Output::default();
        let line = vec![b'x'; KEPT / 4];
        for _ in 0..6 {
            output.push(Way::Out, &line, &Mask::default());
            output.push(Way::Out, b"\n", &Mask::default());
        }
        assert_eq!(output.into_lines().len(), 3);
    }
}

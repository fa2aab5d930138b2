//! What a target prints, kept for later: all of it, unless it is more than anybody reads.

/// Beginning and end of a long log, in bytes each.
const HALF: usize = 8 << 20;

/// A growing log of bounded size.
#[derive(Default)]
pub struct Log {
    head: Vec<u8>,
    tail: Vec<u8>,
    dropped: usize,
}

impl Log {
    pub fn push(&mut self, bytes: &[u8]) {
        let room = (HALF - self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * HALF {
            let cut = self.tail.len() - HALF;
            self.dropped += cut;
            self.tail.drain(..cut);
        }
    }

    /// How much was printed by now.
    pub fn len(&self) -> usize {
        self.head.len() + self.dropped + self.tail.len()
    }

    /// The end of it, `most` bytes at most.
    pub fn last(&self, most: usize) -> Vec<u8> {
        let end = |bytes: &[u8], most: usize| bytes[bytes.len().saturating_sub(most)..].to_vec();
        let tail = end(&self.tail, most);
        [end(&self.head, most - tail.len()), tail].concat()
    }

    /// A line of forge's own, between what is printed.
    pub fn note(&mut self, line: &str) {
        if !matches!(self.last(1).last(), None | Some(b'\n')) {
            self.push(b"\n");
        }
        self.push(format!("{line}\n").as_bytes());
    }

    pub fn into_bytes(mut self) -> Vec<u8> {
        if self.dropped > 0 {
            let note = format!("\n[… {} bytes left out …]\n", self.dropped);
            self.head.extend_from_slice(note.as_bytes());
        }
        self.head.append(&mut self.tail);
        self.head
    }
}

/// A line that is longer is passed on in pieces, so that one without an end takes no more memory than others.
const LONGEST: usize = 256 << 10;

/// Cuts what arrives into whole lines.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The whole lines that there are by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let known = self.rest.len();
        self.rest.extend_from_slice(bytes);
        match bytes.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => self.rest.drain(..=known + end).collect(),
            None if self.rest.len() > LONGEST => self.finish(),
            None => Vec::new(),
        }
    }

    /// The last line, if it had no end.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_keeps_its_ends() {
        let mut log = Log::default();
        log.push(b"first\n");
        for _ in 0..40 {
            log.push(&vec![b'x'; 1 << 20]);
        }
        log.push(b"last\n");
        let bytes = log.into_bytes();
        assert!(bytes.starts_with(b"first\n") && bytes.ends_with(b"last\n"));
        assert!(bytes.len() < 3 * HALF + 100);
    }

    #[test]
    fn a_note_is_a_line_of_its_own() {
        let mut log = Log::default();
        log.note("first");
        log.push(b"Name: ");
        assert_eq!((log.len(), &*log.last(8)), (12, &b"t\nName: "[..]));
        log.note("help: say it");
        log.push(b"on\n");
        assert_eq!(log.into_bytes(), b"first\nName: \nhelp: say it\non\n");
    }

    #[test]
    fn lines_come_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a"), b"");
        assert_eq!(lines.push(b"b\nc\nd"), b"ab\nc\n");
        assert_eq!(lines.finish(), b"d");
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let mut lines = Lines::default();
        let passed: usize = (0..100).map(|_| lines.push(&[b'x'; 64 << 10]).len()).sum();
        assert!(passed > (100 << 16) - 2 * LONGEST);
        assert_eq!(lines.push(b"y\nz").last(), Some(&b'\n'));
        assert_eq!(lines.finish(), b"z");
    }
}

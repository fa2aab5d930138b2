//! Secrets in output become `***`, also where a secret is cut by the end of a read.
//!
//! Knows nothing of where the secrets come from.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};

const MASK: &[u8] = b"***";

/// Finds a set of secret values.
#[derive(Clone)]
pub struct Mask {
    finder: Option<AhoCorasick>,
    longest: usize,
}

impl Mask {
    /// Empty values hide nothing. Each line of a value of several lines is a secret too: tools print keys line by line.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut secrets: Vec<&[u8]> = Vec::new();
        for value in values {
            secrets.push(value);
            if value.contains(&b'\n') {
                let lines = value.split(|&byte| byte == b'\n');
                secrets.extend(lines.map(<[u8]>::trim_ascii).filter(|line| line.len() > 7));
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        let longest = secrets.iter().map(|secret| secret.len()).max().unwrap_or(0);
        // Most targets have no secret: nothing is built for them.
        let finder = (longest > 0).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&secrets)
                .ok()
        });
        let finder = finder.flatten();
        Self { finder, longest }
    }

    /// A text that is all there.
    pub fn whole<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.finder {
            Some(finder) if finder.is_match(text) => {
                let masks = vec![MASK; finder.patterns_len()];
                Cow::Owned(finder.replace_all_bytes(text, &masks))
            }
            _ => Cow::Borrowed(text),
        }
    }

    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.whole(text.as_bytes())).into_owned()
    }

    pub fn stream(&self) -> Stream {
        Stream {
            mask: self.clone(),
            held: Vec::new(),
        }
    }
}

/// Masks a text that arrives in pieces.
pub struct Stream {
    mask: Mask,
    /// The end of what arrived: a secret may have begun in it.
    held: Vec<u8>,
}

impl Stream {
    /// Takes a piece and gives back what can be shown by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(finder) = &self.mask.finder else {
            return piece.to_vec();
        };
        self.held.extend_from_slice(piece);
        let mut shown = Vec::with_capacity(self.held.len());
        let mut at = 0;
        // A match that begins after this could still become a longer one.
        let sure = (self.held.len() + 1).saturating_sub(self.mask.longest);
        for found in finder.find_iter(&self.held) {
            if found.start() >= sure {
                break;
            }
            shown.extend_from_slice(&self.held[at..found.start()]);
            shown.extend_from_slice(MASK);
            at = found.end();
        }
        if at < sure {
            shown.extend_from_slice(&self.held[at..sure]);
            at = sure;
        }
        self.held.drain(..at);
        shown
    }

    /// What was held back until now.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.mask.whole(&held).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_longer_secret_wins_over_one_it_begins_with() {
        let mask = Mask::new([b"pass".as_slice(), b"password"]);
        assert_eq!(mask.text("my password, my pass"), "my ***, my ***");
    }

    #[test]
    fn lines_of_a_key_are_secrets() {
        let mask = Mask::new([b"-----BEGIN\nabcdefghij\n-----END".as_slice()]);
        assert_eq!(mask.text("x abcdefghij y"), "x *** y");
    }

    #[test]
    fn no_secret_no_change() {
        let mask = Mask::new([b"".as_slice()]);
        assert_eq!(mask.stream().push(b"plain"), b"plain");
    }

    proptest! {
        #[test]
        fn pieces_are_masked_as_the_whole(text in "[abcx]{0,60}", cuts in proptest::collection::vec(1usize..7, 0..40)) {
            let mask = Mask::new([b"abc".as_slice(), b"bca", b"abcab", b"cc"]);
            let mut stream = mask.stream();
            let (mut shown, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, next) = rest.split_at(cut.min(rest.len()));
                shown.extend(stream.push(piece));
                rest = next;
            }
            shown.extend(stream.push(rest));
            shown.extend(stream.finish());
            prop_assert_eq!(shown, mask.whole(text.as_bytes()).into_owned());
        }
    }
}

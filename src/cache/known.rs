//! The digests that the files of one directory had, with the stats that they had then.
//!
//! A workspace has many files, so names lie in one piece and nothing is allocated for each. Whether an entry may be
//! trusted is [`super::index`]'s question.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::stat::Stat;

/// The files of one directory, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Directory {
    names: String,
    entries: Vec<Entry>,
}

/// Where a file's name ends, and what is known of the file.
type Entry = (u32, Stat, Digest);

/// As it is read, before its names are known to lie where it says.
#[derive(Deserialize)]
struct Raw {
    names: String,
    entries: Vec<Entry>,
}

impl TryFrom<Raw> for Directory {
    type Error = &'static str;

    fn try_from(Raw { names, entries }: Raw) -> Result<Self, Self::Error> {
        let mut from = 0;
        for (to, ..) in &entries {
            names.get(from..*to as usize).ok_or("names lie outside")?;
            from = *to as usize;
        }
        Ok(Self { names, entries })
    }
}

impl Directory {
    /// What is known of a file. `near` is where it probably stands: one after the file that was asked for before.
    pub fn get(&self, name: &str, near: &mut usize) -> Option<(&Stat, Digest)> {
        let at = match self.entries.get(*near) {
            Some(_) if self.name(*near) == name => *near,
            _ => self.find(name).ok()?,
        };
        *near = at + 1;
        let (_, stat, digest) = &self.entries[at];
        Some((stat, *digest))
    }

    pub fn set(&mut self, name: &str, stat: Stat, digest: Digest) {
        match self.find(name) {
            Ok(at) => (self.entries[at].1, self.entries[at].2) = (stat, digest),
            Err(at) => {
                let from = self.start(at);
                // As long as all names together fit in four gigabytes.
                let Ok(length) = u32::try_from(name.len()) else {
                    return;
                };
                if u32::try_from(self.names.len() + name.len()).is_err() {
                    return;
                }
                self.names.insert_str(from, name);
                for entry in &mut self.entries[at..] {
                    entry.0 += length;
                }
                self.entries
                    .insert(at, (from as u32 + length, stat, digest));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn start(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at));
        before.map_or(0, |(end, ..)| *end as usize)
    }

    fn name(&self, at: usize) -> &str {
        &self.names[self.start(at)..self.entries[at].0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn stat(size: u64) -> Stat {
        Stat {
            dev: 1,
            ino: 2,
            mode: 0o100_644,
            size,
            mtime: 3,
            ctime: 4,
        }
    }

    proptest! {
        #[test]
        fn what_was_set_is_got(names in proptest::collection::vec("[a-cé]{0,3}", 0..40), asked in "[a-cé]{0,3}", near in 0..50usize) {
            let (mut directory, mut model) = (Directory::default(), BTreeMap::new());
            for (size, name) in names.iter().enumerate() {
                directory.set(name, stat(size as u64), Digest::of(name.as_bytes()));
                model.insert(name.clone(), size as u64);
            }
            let bytes = postcard::to_stdvec(&directory).expect("written");
            let directory: Directory = postcard::from_bytes(&bytes).expect("read");
            let mut near = near;
            for name in model.keys().chain([&asked]) {
                let got = directory.get(name, &mut near);
                let expected = model.get(name).map(|size| (stat(*size), Digest::of(name.as_bytes())));
                prop_assert_eq!(got.map(|(stat, digest)| (*stat, digest)), expected);
            }
        }

        #[test]
        fn a_damaged_one_is_refused_or_whole(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(directory) = postcard::from_bytes::<Directory>(&bytes) {
                for at in 0..directory.entries.len() {
                    directory.name(at);
                }
            }
        }
    }

    #[test]
    fn names_that_lie_outside_are_refused() {
        let raw = |end: u32| (String::from("aé"), vec![(end, stat(0), Digest::of(b""))]);
        for (end, good) in [(1, true), (3, true), (2, false), (4, false)] {
            let bytes = postcard::to_stdvec(&raw(end)).expect("written");
            assert_eq!(postcard::from_bytes::<Directory>(&bytes).is_ok(), good);
        }
    }
}

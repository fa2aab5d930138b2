//! The action key, and why it changed.
//!
//! What a target is made of is written down once, as a list of fields: its *preimage*. The key is the digest
//! of those bytes, and `forge why` compares the same bytes, kept from last time, with those of now: what
//! explains the key can't drift from what makes it. (The idea is n2's, in its `hash.rs`.)
//!
//! Every part is framed by its length, so no two lists of fields have the same bytes.

use std::collections::BTreeMap;

use super::digest::Digest;

/// Raised whenever the meaning of a field changes: results of before are then not found.
const VERSION: &str = "forge-key-1";

/// What kind of thing a field tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Section {
    Format = 0,
    Platform = 1,
    Target = 2,
    Command = 3,
    Env = 4,
    Tool = 5,
    Input = 6,
    Upstream = 7,
    Service = 8,
    Output = 9,
    Image = 10,
}

impl Section {
    const ALL: [Section; 11] = [
        Section::Format,
        Section::Platform,
        Section::Target,
        Section::Command,
        Section::Env,
        Section::Tool,
        Section::Input,
        Section::Upstream,
        Section::Service,
        Section::Output,
        Section::Image,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Section::Format => "format",
            Section::Platform => "platform",
            Section::Target => "definition",
            Section::Command => "command",
            Section::Env => "environment",
            Section::Tool => "tool",
            Section::Input => "input",
            Section::Upstream => "needed outputs",
            Section::Service => "service",
            Section::Output => "declared output",
            Section::Image => "image",
        }
    }
}

/// A value in a preimage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is no such thing: an unset variable, an absent file.
    Absent,
    Text(String),
    /// Too large or not for everybody's eyes.
    Digest(Digest),
    /// A file: whether it is executable, and what is in it.
    File {
        executable: bool,
        digest: Digest,
    },
    Link(String),
}

/// The fields of a target, as bytes.
#[derive(Clone)]
pub struct Preimage {
    bytes: Vec<u8>,
}

impl Default for Preimage {
    fn default() -> Self {
        let mut preimage = Self {
            bytes: Vec::with_capacity(4096),
        };
        preimage.add(Section::Format, "version", &Value::Text(VERSION.into()));
        preimage
    }
}

impl Preimage {
    pub fn add(&mut self, section: Section, name: &str, value: &Value) {
        self.bytes.push(section as u8);
        self.part(name.as_bytes());
        match value {
            Value::Absent => self.bytes.push(b'-'),
            Value::Text(text) => {
                self.bytes.push(b't');
                self.part(text.as_bytes());
            }
            Value::Digest(digest) => {
                self.bytes.push(b'd');
                self.bytes.extend(digest.0);
            }
            Value::File { executable, digest } => {
                self.bytes.push(if *executable { b'x' } else { b'f' });
                self.bytes.extend(digest.0);
            }
            Value::Link(to) => {
                self.bytes.push(b'l');
                self.part(to.as_bytes());
            }
        }
    }

    pub fn text(&mut self, section: Section, name: &str, value: impl Into<String>) {
        self.add(section, name, &Value::Text(value.into()));
    }

    fn part(&mut self, bytes: &[u8]) {
        self.bytes.extend((bytes.len() as u64).to_le_bytes());
        self.bytes.extend(bytes);
    }

    pub fn key(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One field of a preimage that was read back.
pub type Field = ((Section, String), Value);

/// Reads a preimage; none where the bytes aren't one.
pub fn decode(bytes: &[u8]) -> Option<Vec<Field>> {
    let mut reader = Reader { bytes };
    let mut fields = Vec::new();
    while !reader.bytes.is_empty() {
        let section = *Section::ALL.get(usize::from(reader.byte()?))?;
        let name = reader.text()?;
        let value = match reader.byte()? {
            b'-' => Value::Absent,
            b't' => Value::Text(reader.text()?),
            b'd' => Value::Digest(reader.digest()?),
            b'l' => Value::Link(reader.text()?),
            mode @ (b'x' | b'f') => Value::File {
                executable: mode == b'x',
                digest: reader.digest()?,
            },
            _ => return None,
        };
        fields.push(((section, name), value));
    }
    Some(fields)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn digest(&mut self) -> Option<Digest> {
        Some(Digest(self.take(32)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
        let bytes = self.take(usize::try_from(length).ok()?)?;
        String::from_utf8(bytes.to_vec()).ok()
    }
}

/// A field that isn't what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub section: Section,
    pub name: String,
    /// None: the field is new.
    pub before: Option<Value>,
    /// None: the field is gone.
    pub after: Option<Value>,
}

/// What the second list of fields has that the first hasn't, by section and name.
pub fn diff(before: &[Field], after: &[Field]) -> Vec<Change> {
    let old: BTreeMap<_, _> = before.iter().map(|(name, value)| (name, value)).collect();
    let new: BTreeMap<_, _> = after.iter().map(|(name, value)| (name, value)).collect();
    let mut changes = Vec::new();
    for (name, value) in &new {
        let known = old.get(name);
        if known != Some(value) {
            changes.push(change(name, known.copied(), Some(value)));
        }
    }
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
    changes.extend(gone.map(|(name, value)| change(name, Some(value), None)));
    changes.sort_by(|a, b| (a.section, &a.name).cmp(&(b.section, &b.name)));
    changes
}

fn change(
    (section, name): &(Section, String),
    before: Option<&Value>,
    after: Option<&Value>,
) -> Change {
    Change {
        section: *section,
        name: name.clone(),
        before: before.cloned(),
        after: after.cloned(),
    }
}

impl Change {
    /// `app/main.py changed`, `LOG_LEVEL: "info" → "debug"`.
    pub fn sentence(&self) -> String {
        use Value::{Absent, File, Text};
        let name = match self.section {
            Section::Env => format!("${}", self.name),
            Section::Input => self.name.clone(),
            Section::Upstream => format!("outputs of {}", self.name),
            Section::Tool => format!("version of {}", self.name),
            Section::Target | Section::Platform | Section::Format | Section::Image => {
                self.name.clone()
            }
            section => format!("{} {}", section.name(), self.name),
        };
        match (&self.before, &self.after) {
            (
                Some(File {
                    executable: a,
                    digest: x,
                }),
                Some(File {
                    executable: b,
                    digest: y,
                }),
            ) if x == y && a != b => {
                format!(
                    "{name} became {}",
                    if *b { "executable" } else { "not executable" }
                )
            }
            (None | Some(Absent), Some(Text(new))) => format!("{name} set to {}", quoted(new)),
            (Some(Text(old)), None | Some(Absent)) => format!("{name} unset (was {})", quoted(old)),
            (Some(Text(old)), Some(Text(new))) => {
                format!("{name}: {} → {}", quoted(old), quoted(new))
            }
            (None | Some(Absent), _) => format!("{name} added"),
            (_, None | Some(Absent)) => format!("{name} removed"),
            _ => format!("{name} changed"),
        }
    }
}

fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn preimage(fields: &[(Section, &str, Value)]) -> Preimage {
        let mut preimage = Preimage::default();
        for (section, name, value) in fields {
            preimage.add(*section, name, value);
        }
        preimage
    }

    #[test]
    fn unset_empty_and_set_are_three_keys() {
        let key = |value| preimage(&[(Section::Env, "A", value)]).key();
        let keys = [
            key(Value::Absent),
            key(Value::Text(String::new())),
            key(Value::Text("x".into())),
        ];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }

    #[test]
    fn a_change_is_told_in_a_sentence() {
        let file = |executable, text: &str| Value::File {
            executable,
            digest: Digest::of(text.as_bytes()),
        };
        let cases = [
            (
                Section::Input,
                Some(file(false, "a")),
                Some(file(false, "b")),
                "n changed",
            ),
            (
                Section::Input,
                Some(file(false, "a")),
                Some(file(true, "a")),
                "n became executable",
            ),
            (Section::Input, None, Some(file(false, "a")), "n added"),
            (Section::Input, Some(file(false, "a")), None, "n removed"),
            (
                Section::Env,
                Some(Value::Absent),
                Some(Value::Text(String::new())),
                "$n set to \"\"",
            ),
            (
                Section::Env,
                Some(Value::Text("a".into())),
                Some(Value::Text("b".into())),
                "$n: \"a\" → \"b\"",
            ),
            (
                Section::Upstream,
                Some(Value::Digest(Digest::of(b"a"))),
                Some(Value::Digest(Digest::of(b"b"))),
                "outputs of n changed",
            ),
        ];
        for (section, before, after, expected) in cases {
            let change = Change {
                section,
                name: "n".into(),
                before,
                after,
            };
            assert_eq!(change.sentence(), expected);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Absent),
            ".{0,8}".prop_map(Value::Text),
            any::<[u8; 32]>().prop_map(|bytes| Value::Digest(Digest(bytes))),
            (any::<bool>(), any::<[u8; 32]>()).prop_map(|(executable, bytes)| Value::File {
                executable,
                digest: Digest(bytes)
            }),
            ".{0,8}".prop_map(Value::Link),
        ]
    }

    fn any_fields() -> impl Strategy<Value = Vec<(Section, String, Value)>> {
        let section = proptest::sample::select(Section::ALL.to_vec());
        proptest::collection::vec((section, ".{0,6}", any_value()), 0..8)
    }

    fn build(fields: &[(Section, String, Value)]) -> Preimage {
        let mut preimage = Preimage::default();
        for (section, name, value) in fields {
            preimage.add(*section, name, value);
        }
        preimage
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(fields in any_fields()) {
            let preimage = build(&fields);
            let read = decode(preimage.bytes()).expect("decodes");
            let expected: Vec<Field> = fields.into_iter().map(|(section, name, value)| ((section, name), value)).collect();
            prop_assert_eq!(&read[1..], &expected[..]);
        }

        #[test]
        fn different_fields_have_different_keys_and_a_difference(a in any_fields(), b in any_fields()) {
            prop_assume!(a != b);
            prop_assert_ne!(build(&a).key(), build(&b).key());
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes);
        }
    }
}

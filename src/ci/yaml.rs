//! YAML that is pleasant to read, and reads back as what was meant, whatever a text holds. A part that is used
//! several times is written once, as an anchor (GitHub knows those since September 2025).

use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// A key without a value.
    Nothing,
    Text(String),
    Number(u64),
    Bool(bool),
    /// Texts in one line: `[a, b]`.
    Flow(Vec<String>),
    List(Vec<Yaml>),
    Map(Map),
    /// A map of simple values in one line: `{ a: 1, b: c }`.
    Inline(Map),
    /// A part that may be used again, under this name where it has the same content.
    Shared(&'static str, Box<Yaml>),
}

/// A comment, a key, a value.
type Entry = (Option<String>, String, Yaml);

/// Keys in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    entries: Vec<Entry>,
}

impl Map {
    pub fn with(mut self, key: &str, value: impl Into<Yaml>) -> Map {
        self.entries.push((None, key.to_owned(), value.into()));
        self
    }

    /// Nothing where there is no value.
    pub fn maybe(self, key: &str, value: Option<impl Into<Yaml>>) -> Map {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// With a comment above, in one line.
    pub fn noted(mut self, note: &str, key: &str, value: impl Into<Yaml>) -> Map {
        let note = Some(printable(note));
        self.entries.push((note, key.to_owned(), value.into()));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// See [`Yaml::Shared`].
pub fn shared(name: &'static str, part: impl Into<Yaml>) -> Yaml {
    Yaml::Shared(name, Box::new(part.into()))
}

impl From<&str> for Yaml {
    fn from(text: &str) -> Yaml {
        Yaml::Text(text.to_owned())
    }
}

impl From<String> for Yaml {
    fn from(text: String) -> Yaml {
        Yaml::Text(text)
    }
}

impl From<u64> for Yaml {
    fn from(number: u64) -> Yaml {
        Yaml::Number(number)
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Yaml {
        Yaml::Bool(value)
    }
}

impl From<Map> for Yaml {
    fn from(map: Map) -> Yaml {
        Yaml::Map(map)
    }
}

/// A whole document; keys of the first level stand apart.
pub fn document(head: &[String], map: &Map) -> String {
    let mut writer = Writer::default();
    map.entries
        .iter()
        .for_each(|(_, _, value)| writer.collect(value));
    for line in head {
        writer.out += format!("# {}", printable(line)).trim_end();
        writer.out.push('\n');
    }
    for (at, entry) in map.entries.iter().enumerate() {
        if at > 0 || !head.is_empty() {
            writer.out.push('\n');
        }
        writer.entry(entry, 0);
    }
    writer.out
}

#[derive(Default)]
struct Writer<'a> {
    out: String,
    /// Every shared part, as often as it is used.
    parts: Vec<(&'static str, &'a Yaml)>,
    /// What a name stands for by now.
    anchors: BTreeMap<&'static str, &'a Yaml>,
}

impl<'a> Writer<'a> {
    fn collect(&mut self, yaml: &'a Yaml) {
        match yaml {
            Yaml::Shared(name, part) => {
                let part = (*name, &**part);
                let again = self.parts.contains(&part);
                self.parts.push(part);
                // What is in it is written once.
                if !again {
                    self.collect(part.1);
                }
            }
            Yaml::List(items) => items.iter().for_each(|item| self.collect(item)),
            Yaml::Map(map) => {
                let values = map.entries.iter().map(|(_, _, value)| value);
                values.for_each(|value| self.collect(value));
            }
            _ => {}
        }
    }

    fn indent(&mut self, depth: usize) {
        self.out += &"  ".repeat(depth);
    }

    fn entry(&mut self, (note, key, value): &'a Entry, depth: usize) {
        if let Some(note) = note {
            self.indent(depth);
            self.out += &format!("# {note}\n");
        }
        self.indent(depth);
        self.out += &scalar(key);
        self.out.push(':');
        self.value(value, depth);
    }

    /// What stands after a key's colon.
    fn value(&mut self, value: &'a Yaml, depth: usize) {
        match value {
            Yaml::Nothing => self.out.push('\n'),
            Yaml::Map(map) if map.is_empty() => self.out += " {}\n",
            Yaml::List(items) if items.is_empty() => self.out += " []\n",
            Yaml::Map(map) => {
                self.out.push('\n');
                self.entries(map, depth + 1);
            }
            Yaml::Shared(name, part) if self.refers(name, part) => {
                self.out += &format!(" *{name}\n");
            }
            Yaml::Shared(name, part) => {
                let anchor = self.anchor(name, part);
                self.out += &anchor;
                self.value(part, depth);
            }
            Yaml::List(items) => {
                self.out.push('\n');
                items.iter().for_each(|item| self.item(item, depth + 1));
            }
            simple => {
                self.out += &format!(" {}\n", line(simple));
            }
        }
    }

    fn entries(&mut self, map: &'a Map, depth: usize) {
        map.entries
            .iter()
            .for_each(|entry| self.entry(entry, depth));
    }

    fn item(&mut self, item: &'a Yaml, depth: usize) {
        self.indent(depth);
        self.out.push('-');
        match item {
            Yaml::Shared(name, part) if self.refers(name, part) => {
                self.out += &format!(" *{name}\n");
            }
            Yaml::Shared(name, part) => {
                let anchor = self.anchor(name, part);
                self.out += &anchor;
                match &**part {
                    Yaml::Map(map) if anchor.is_empty() => self.inline(map, depth),
                    part => self.value(part, depth),
                }
            }
            Yaml::Map(map) => self.inline(map, depth),
            other => self.value(other, depth),
        }
    }

    /// A map whose first key stands beside the dash.
    fn inline(&mut self, map: &'a Map, depth: usize) {
        let from = self.out.len();
        self.entries(map, depth + 1);
        let indent = 2 * (depth + 1);
        self.out.replace_range(from..from + indent, " ");
    }

    /// Whether the part is written already, so that its name is enough.
    fn refers(&self, name: &str, part: &Yaml) -> bool {
        self.anchors.get(name).is_some_and(|known| *known == part)
    }

    /// ` &name` where the part is used again, and the name is free.
    fn anchor(&mut self, name: &'static str, part: &'a Yaml) -> String {
        let uses = self
            .parts
            .iter()
            .filter(|known| **known == (name, part))
            .count();
        if uses < 2 || self.anchors.contains_key(name) {
            return String::new();
        }
        self.anchors.insert(name, part);
        format!(" &{name}")
    }
}

fn line(value: &Yaml) -> String {
    match value {
        Yaml::Text(text) => scalar(text),
        Yaml::Number(number) => number.to_string(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Flow(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| flow_scalar(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        Yaml::Inline(map) => {
            let entries = map.entries.iter();
            let entries: Vec<String> = entries
                .map(|(_, key, value)| match value {
                    Yaml::Text(text) => format!("{}: {}", flow_scalar(key), flow_scalar(text)),
                    value => format!("{}: {}", flow_scalar(key), line(value)),
                })
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Yaml::Nothing | Yaml::List(_) | Yaml::Map(_) | Yaml::Shared(..) => String::new(),
    }
}

/// The plainest form that reads back as the same text.
pub fn scalar(text: &str) -> String {
    match is_plain(text) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// Inside brackets commas and brackets count as well.
fn flow_scalar(text: &str) -> String {
    match is_plain(text) && !text.contains([',', '[', ']', '{', '}']) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let begins =
        first.is_ascii_alphabetic() || first == '_' || first == '/' || first == '.' || first == '$';
    let ends = !text.ends_with([' ', ':']);
    let clean = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    begins
        && ends
        && clean
        && !text.contains(": ")
        && !text.contains(" #")
        && !means_something(text)
}

/// Words that YAML 1.1 or 1.2 take for something else than a text.
fn means_something(text: &str) -> bool {
    let words = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", ".nan", ".inf",
    ];
    // `on:` is the one key that GitHub itself is called by.
    let lower = text.to_ascii_lowercase();
    let number = text.starts_with('.') && text[1..].starts_with(|c: char| c.is_ascii_digit());
    text != "on" && words.contains(&lower.as_str())
        || number
        || text == "."
        || text.starts_with("..")
}

/// Double quotes; JSON's escapes are YAML's too.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            ' '..='~' => out.push(c),
            c if u32::from(c) > 0xffff => out += &format!("\\U{:08X}", u32::from(c)),
            c if c.is_alphanumeric() => out.push(c),
            c => out += &format!("\\u{:04X}", u32::from(c)),
        }
    }
    out.push('"');
    out
}

/// A comment ends with its line.
fn printable(text: &str) -> String {
    let plain = |c: char| {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            ' '
        } else {
            c
        }
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_take_the_plainest_form() {
        let cases = [
            ("forge lint test", "forge lint test"),
            ("${{ github.ref }}", "${{ github.ref }}"),
            (
                "github.ref == 'refs/heads/main'",
                "github.ref == 'refs/heads/main'",
            ),
            ("on", "on"),
            ("On", "\"On\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a:", "\"a:\""),
            ("- a", "\"- a\""),
            ("*a", "\"*a\""),
            ("3.11", "\"3.11\""),
            (".5", "\".5\""),
            ("null", "\"null\""),
            (
                "a\nb\u{1}\u{2028}ä😀\"\\",
                "\"a\\nb\\u0001\\u2028ä\\U0001F600\\\"\\\\\"",
            ),
        ];
        for (text, written) in cases {
            assert_eq!(scalar(text), written);
        }
    }

    #[test]
    fn what_is_used_twice_is_written_once() {
        let part = |name| shared(name, Map::default().with("a", 1).with("b", true));
        let steps = Yaml::List(vec![part("p"), part("q"), part("p"), "x".into()]);
        let map = Map::default()
            .with("steps", steps)
            .noted(
                "why\nnot",
                "flow",
                Yaml::Flow(vec!["a".into(), "b,c".into()]),
            )
            .with("inner", Map::default().with("empty", Map::default()))
            .with(
                "one",
                Yaml::Inline(Map::default().with("k", "a, b").with("l", 2)),
            );
        assert_eq!(
            document(&["head".into()], &map),
            "# head\n\nsteps:\n  - &p\n    a: 1\n    b: true\n  - a: 1\n    b: true\n  - *p\n  - x\n\n\
             # why not\nflow: [a, \"b,c\"]\n\ninner:\n  empty: {}\n\none: { k: \"a, b\", l: 2 }\n"
        );
    }

    /// What only a part that is used twice holds is written once, and gets no name.
    #[test]
    fn parts_hold_parts() {
        let part = || {
            let both = vec![
                shared("twice", Yaml::Inline(Map::default().with("a", 1))),
                shared("once", Map::default().with("b", 2)),
            ];
            shared("all", Yaml::List(both))
        };
        let twice = shared("twice", Yaml::Inline(Map::default().with("a", 1)));
        let map = Map::default()
            .with("x", Yaml::List(vec![twice]))
            .with("u", part())
            .with("v", part());
        assert_eq!(
            document(&[], &map),
            "x:\n  - &twice { a: 1 }\n\nu: &all\n  - *twice\n  - b: 2\n\nv: *all\n"
        );
    }
}

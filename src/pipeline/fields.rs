//! A pipeline file after decoding: typed values with spans, keys still by name. Templates are laid
//! under a member's own keys by looking at both ([`View`]); nothing is copied.
//!
//! Knows nothing of TOML, nor of what a key means.

use std::time::Duration;

use super::model::{FreezeWindow, Port, Span};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

/// What [`super::keys::Shape`] asked for.
#[derive(Clone, Debug)]
pub enum Value {
    Str(String),
    Bool(bool),
    Number(i64),
    Duration(Duration),
    /// Bytes.
    Size(u64),
    /// As written, and parsed. Rare: every other value would take its room.
    Version(Box<(String, semver::VersionReq)>),
    Port(Port),
    Freeze(FreezeWindow),
    List(Vec<Node>),
    Table(Fields),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Field {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

/// A table, in the order it is written.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub fields: Vec<Field>,
    /// Something in it could not be read: what is missing from it may be no mistake.
    pub broken: bool,
}

/// A string and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    pub text: &'a str,
    pub span: &'a Span,
}

impl Node {
    pub fn word(&self) -> Option<Word<'_>> {
        match &self.value {
            Value::Str(text) => Some(Word {
                text,
                span: &self.span,
            }),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(nodes) => nodes,
            _ => &[],
        }
    }

    pub fn table(&self) -> Option<&Fields> {
        match &self.value {
            Value::Table(fields) => Some(fields),
            _ => None,
        }
    }

    /// The strings of a list.
    pub fn words(&self) -> impl Iterator<Item = Word<'_>> {
        self.list().iter().filter_map(Node::word)
    }
}

impl Fields {
    pub fn get(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The entries of the table `key`; nothing where it isn't there.
    pub fn entries(&self, key: &str) -> &[Field] {
        self.get(key)
            .and_then(|field| field.node.table())
            .map_or(&[], |table| &table.fields)
    }

    /// Whether the sub-table `key` could not be read, or only in part.
    pub fn broken_table(&self, key: &str) -> bool {
        match self.table(key) {
            Some(table) => table.broken,
            None => self.broken,
        }
    }

    /// The sub-table `key`.
    pub fn table(&self, key: &str) -> Option<&Fields> {
        self.get(key)?.node.table()
    }
}

/// A table's own keys, and those of the template below it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub own: &'a Fields,
    pub template: Option<&'a Fields>,
}

impl<'a> View<'a> {
    pub fn new(own: &'a Fields) -> View<'a> {
        View {
            own,
            template: None,
        }
    }

    /// The table's own value of the key, else the template's.
    pub fn get(&self, key: &str) -> Option<&'a Field> {
        let below = || self.template.and_then(|template| template.get(key));
        self.own.get(key).or_else(below)
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn word(&self, key: &str) -> Option<Word<'a>> {
        self.get(key)?.node.word()
    }

    pub fn string(&self, key: &str) -> Option<String> {
        self.word(key).map(|word| word.text.to_owned())
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.node.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub fn number<N: TryFrom<i64>>(&self, key: &str) -> Option<N> {
        match self.get(key)?.node.value {
            Value::Number(value) => N::try_from(value).ok(),
            _ => None,
        }
    }

    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.get(key)?.node.value {
            Value::Duration(value) => Some(value),
            _ => None,
        }
    }

    /// Bytes.
    pub fn size(&self, key: &str) -> Option<u64> {
        match self.get(key)?.node.value {
            Value::Size(value) => Some(value),
            _ => None,
        }
    }

    /// `None`: the key is left out.
    pub fn list(&self, key: &str) -> Option<&'a [Node]> {
        Some(self.get(key)?.node.list())
    }

    /// The strings of a list; none where it is left out.
    pub fn words(&self, key: &str) -> impl Iterator<Item = Word<'a>> + use<'a> {
        self.list(key)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::word)
    }

    /// [`View::words`], owned.
    pub fn strings(&self, key: &str) -> Vec<String> {
        self.words(key).map(|word| word.text.to_owned()).collect()
    }

    /// The entries of a table, the template's first: a later one of the same name is the stronger.
    pub fn entries(&self, key: &str) -> impl Iterator<Item = &'a Field> + use<'a> {
        let template = self.template.map_or(&[][..], |below| below.entries(key));
        template.iter().chain(self.own.entries(key))
    }

    /// Whether something in it could not be read.
    pub fn broken(&self) -> bool {
        self.own.broken || self.template.is_some_and(|template| template.broken)
    }
}

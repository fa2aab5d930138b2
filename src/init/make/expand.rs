//! make's variables: what is known of each, and what a text that uses them comes to.
//!
//! An expansion either is sure or says why it isn't. Knows nothing of rules.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::super::commands::is_secret;
use super::pieces::{
    Automatic, Expanded, FUNCTIONS, Piece, automatic_value, forge_name, literal, only_literal,
    plain_name, push, push_literal, reference,
};

#[derive(Clone, Debug)]
enum Part {
    /// To be expanded when it is used.
    Raw(String),
    Done(Vec<Piece>),
    /// The variable's own default, which the caller may override.
    Own,
}

#[derive(Clone, Debug, Default)]
struct Variable {
    simple: bool,
    parts: Vec<Part>,
    /// Everything that was assigned, as written.
    source: String,
    unsure: Option<String>,
}

/// Every variable that was assigned so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    assigned: BTreeMap<String, Variable>,
    /// What `?=` gave: the value where the caller gives none.
    defaults: BTreeMap<String, String>,
    /// Why variables that are set nowhere here may be set elsewhere.
    pub elsewhere: Option<String>,
    /// Used, and set nowhere.
    pub unset: RefCell<BTreeSet<String>>,
    /// Overridable ones that name files, and so keep their default.
    pub fixed: RefCell<BTreeSet<String>>,
    /// Overridable ones whose default is made of others.
    pub composed: RefCell<BTreeSet<String>>,
    /// Commands that a `$(shell …)` ran and forge has a name for.
    pub known_commands: RefCell<BTreeSet<String>>,
    steps: Cell<usize>,
}

/// Expansions deeper or longer than these are not followed: no real Makefile comes near.
const MOST_DEPTH: usize = 40;
const MOST_STEPS: usize = 20_000;

/// Variables that make sets by itself and that a caller's environment may override.
const BUILT_IN: [(&str, &str); 8] = [
    ("AR", "ar"),
    ("AS", "as"),
    ("CC", "cc"),
    ("CXX", "g++"),
    ("FC", "f77"),
    ("LD", "ld"),
    ("LEX", "lex"),
    ("YACC", "yacc"),
];

impl Variables {
    /// `NAME = …` (recursive) and `NAME := …` (simple).
    pub fn assign(&mut self, name: &str, raw: &str, simple: bool) {
        let mut variable = Variable {
            simple,
            ..Variable::default()
        };
        self.push(&mut variable, raw);
        self.defaults.remove(name);
        self.assigned.insert(name.to_owned(), variable);
    }

    /// `NAME ?= …`: nothing, where the variable has a value (make's own count).
    pub fn assign_default(&mut self, name: &str, raw: &str) {
        if self.assigned.contains_key(name) {
            return;
        }
        let raw = built_in(name).unwrap_or(raw);
        self.defaults.insert(name.to_owned(), raw.to_owned());
        let own = Variable {
            parts: vec![Part::Own],
            ..Variable::default()
        };
        self.assigned.insert(name.to_owned(), own);
    }

    /// `NAME += …`
    pub fn append(&mut self, name: &str, raw: &str) {
        let mut variable = self.assigned.remove(name).unwrap_or_default();
        if !variable.parts.is_empty() {
            variable.parts.push(Part::Done(literal(" ")));
        }
        self.push(&mut variable, raw);
        self.assigned.insert(name.to_owned(), variable);
    }

    fn push(&self, variable: &mut Variable, raw: &str) {
        variable.source.push(' ');
        variable.source.push_str(raw);
        if !variable.simple {
            variable.parts.push(Part::Raw(raw.to_owned()));
            return;
        }
        match self.expand(raw, None) {
            Ok(pieces) => variable.parts.push(Part::Done(pieces)),
            Err(reason) => variable.unsure = Some(reason),
        }
    }

    /// What the variable holds isn't known, for this reason.
    pub fn doubt(&mut self, name: &str, reason: &str) {
        let variable = self.assigned.entry(name.to_owned()).or_default();
        variable.unsure.get_or_insert_with(|| reason.to_owned());
    }

    /// None of the variables assigned so far is known any more.
    pub fn doubt_all(&mut self, reason: &str) {
        let names: Vec<String> = self.assigned.keys().cloned().collect();
        names.iter().for_each(|name| self.doubt(name, reason));
    }

    /// Names that were assigned.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.assigned.keys().map(String::as_str)
    }

    pub fn is_assigned(&self, name: &str) -> bool {
        self.assigned.contains_key(name)
    }

    /// Whether the caller may set it: by `?=`, or by its being set nowhere.
    pub fn is_open(&self, name: &str) -> bool {
        self.defaults.contains_key(name) || !self.assigned.contains_key(name)
    }

    /// The texts that the variable's value is made of.
    pub fn raw(&self, name: &str) -> Vec<String> {
        let assigned = self.assigned.get(name).map(|v| v.source.clone());
        let default = self.defaults.get(name).cloned();
        assigned.into_iter().chain(default).collect()
    }

    /// The value of an overridable variable where nobody overrides it.
    pub fn default_of(&self, name: &str) -> String {
        let raw = self.defaults.get(name).map(String::as_str);
        self.expand(raw.or(built_in(name)).unwrap_or(""), None)
            .ok()
            .and_then(|pieces| only_literal(&pieces))
            .unwrap_or_default()
    }

    /// Expands a text that names files: overridable variables in it are fixed to their defaults.
    pub fn expand_names(&self, raw: &str) -> Result<String, String> {
        let mut text = String::new();
        for piece in self.expand(raw, None)? {
            match piece {
                Piece::Literal(part) | Piece::Glob(part) => text.push_str(&part),
                Piece::Var(name) => {
                    if self.unset.borrow().contains(&name) && !self.defaults.contains_key(&name) {
                        return Err(format!("`$({name})` names a file and is set by the caller"));
                    }
                    text.push_str(&self.default_of(&name));
                    self.fixed.borrow_mut().insert(name);
                }
                Piece::Forge(_) => return Err("a file's name holds what only a run knows".into()),
            }
        }
        Ok(text)
    }

    /// Expands a text as make would when it uses it.
    pub fn expand(&self, raw: &str, automatic: Option<&Automatic>) -> Expanded {
        self.steps.set(0);
        self.expand_at(raw, automatic, 0)
    }

    fn expand_at(&self, raw: &str, automatic: Option<&Automatic>, depth: usize) -> Expanded {
        self.steps.set(self.steps.get() + 1);
        if depth > MOST_DEPTH || self.steps.get() > MOST_STEPS {
            return Err("a variable that goes round in circles".into());
        }
        let mut pieces = Vec::new();
        let mut rest = raw;
        while let Some(at) = rest.find('$') {
            push_literal(&mut pieces, &rest[..at]);
            rest = &rest[at + 1..];
            let Some(c) = rest.chars().next() else {
                push_literal(&mut pieces, "$");
                break;
            };
            let (inner, after) = match c {
                '(' | '{' => reference(rest).ok_or("a `$(` that nothing closes")?,
                c => rest.split_at(c.len_utf8()),
            };
            rest = after;
            match c {
                '$' => push_literal(&mut pieces, "$"),
                _ => {
                    let found = self.refer(inner, c, automatic, depth + 1)?;
                    found.into_iter().for_each(|piece| push(&mut pieces, piece));
                }
            }
        }
        push_literal(&mut pieces, rest);
        Ok(pieces)
    }

    fn refer(
        &self,
        inner: &str,
        opened: char,
        automatic: Option<&Automatic>,
        depth: usize,
    ) -> Expanded {
        let word = inner.split([' ', '\t']).next().unwrap_or("");
        if FUNCTIONS.contains(&word) && word.len() < inner.len() {
            return self.function(word, inner[word.len()..].trim(), automatic, depth);
        }
        let name = only_literal(&self.expand_at(inner, automatic, depth)?)
            .ok_or_else(|| format!("`$({inner})` has a name that only a run knows"))?;
        if let Some(value) = automatic_value(&name, automatic) {
            return value;
        }
        if name.contains(':') && name.contains('=') {
            return Err(format!("`$({name})` is a substitution of make"));
        }
        let braced = opened == '(' || opened == '{';
        if !braced && !self.assigned.contains_key(&name) {
            return Err(format!(
                "`${name}` is make's variable `{name}`, which is not set (the shell's is `$${name}`)"
            ));
        }
        self.value(&name, automatic, depth)
    }

    fn value(&self, name: &str, automatic: Option<&Automatic>, depth: usize) -> Expanded {
        let Some(variable) = self.assigned.get(name) else {
            return self.unassigned(name);
        };
        if let Some(reason) = &variable.unsure {
            return Err(reason.clone());
        }
        let mut pieces = Vec::new();
        for part in &variable.parts {
            let found = match part {
                Part::Done(done) => {
                    self.steps.set(self.steps.get() + done.len());
                    done.clone()
                }
                Part::Raw(raw) => self.expand_at(raw, automatic, depth + 1)?,
                Part::Own => self.own(name, depth)?,
            };
            found.into_iter().for_each(|piece| push(&mut pieces, piece));
        }
        let length = |piece: &Piece| match piece {
            Piece::Literal(text) => text.len() / 64,
            _ => 1,
        };
        let more: usize = pieces.iter().map(length).sum();
        self.steps.set(self.steps.get() + more);
        Ok(pieces)
    }

    fn own(&self, name: &str, depth: usize) -> Expanded {
        if !plain_name(name) {
            return Err(format!("`{name}` is no name for a variable of forge"));
        }
        let raw = self.defaults.get(name).map_or("", String::as_str);
        let pieces = self.expand_at(raw, None, depth + 1)?;
        if only_literal(&pieces).is_some() {
            return Ok(vec![Piece::Var(name.to_owned())]);
        }
        self.composed.borrow_mut().insert(name.to_owned());
        Ok(pieces)
    }

    fn unassigned(&self, name: &str) -> Expanded {
        match name {
            "CURDIR" | "PWD" => return Ok(vec![Piece::Forge("workspace.dir")]),
            "HOME" => return Ok(vec![Piece::Forge("env.HOME")]),
            "USER" => return Ok(vec![Piece::Forge("env.USER")]),
            "RM" => return Ok(literal("rm -f")),
            "MAKE" => return Err("`$(MAKE)` runs make again".into()),
            "MAKEFILE_LIST" | "MAKECMDGOALS" | "MAKEFLAGS" | "MAKELEVEL" | "SHELL" | "OS"
            | "PATH" | ".DEFAULT_GOAL" | ".VARIABLES" => {
                return Err(format!("`$({name})` is known to make alone"));
            }
            "" => return Ok(Vec::new()),
            _ => {}
        }
        if let Some(reason) = &self.elsewhere {
            return Err(format!("`$({name})` may be set by {reason}"));
        }
        if is_secret(name) || !plain_name(name) {
            return Err(format!("`$({name})` comes from the caller"));
        }
        if built_in(name).is_none() {
            self.unset.borrow_mut().insert(name.to_owned());
        }
        Ok(vec![Piece::Var(name.to_owned())])
    }

    fn function(
        &self,
        name: &str,
        arguments: &str,
        automatic: Option<&Automatic>,
        depth: usize,
    ) -> Expanded {
        let shown: String = arguments.chars().take(40).collect();
        let dots = if shown.len() < arguments.len() {
            "…"
        } else {
            ""
        };
        let unknown = || format!("`$({name} {shown}{dots})` is a function of make");
        match name {
            "shell" => {
                let command = arguments.split_whitespace().collect::<Vec<_>>().join(" ");
                let known = forge_name(&command).ok_or_else(unknown)?;
                self.known_commands.borrow_mut().insert(command);
                Ok(vec![Piece::Forge(known)])
            }
            "wildcard" => {
                let patterns = self.expand_at(arguments, automatic, depth)?;
                let patterns = only_literal(&patterns).ok_or_else(unknown)?;
                let globs = patterns.split_whitespace().map(|p| Piece::Glob(p.into()));
                let spaced = globs.flat_map(|glob| [Piece::Literal(" ".into()), glob]);
                Ok(spaced.skip(1).collect())
            }
            _ => Err(unknown()),
        }
    }
}

/// The value of a variable that make sets by itself, overridable by the environment.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
    found.map(|(_, value)| *value)
}

//! `${namespace.key}` in strings: found ([`scan`]), and put in ([`Text::render`]).
//!
//! What looks like a reference of ours is `${`, a word, a dot, something, `}`, or `${args}`. All other
//! `${…}` belong to the shell and stay as they are, what is inside of them still being looked at:
//! `${X:-${env.Y}}`. `$${` is a literal `${`.
//!
//! Knows nothing of what exists; [`super::resolve`] looks names up.

use std::fmt;
use std::ops::Range;

use super::model::{Part, Reference, Text};

/// The namespaces that a reference may begin with.
pub const NAMESPACES: &[&str] = &[
    "git",
    "env",
    "var",
    "project",
    "workspace",
    "service",
    "image",
    "environment",
];

/// A stretch of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Literal(&'a str),
    /// What stands between `${` and `}`.
    Reference(&'a str),
    /// `${env.X` with no `}` behind it.
    Unclosed,
    /// What stands between `${{` and `}}`, or in `${ }` beside the spaces: a reference as others write it. No shell has it.
    Foreign(&'a str),
}

/// Cuts a string into its pieces, each with its range.
pub fn scan(raw: &str) -> Vec<(Piece<'_>, Range<usize>)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(dollar) = raw[at..].find('$').map(|found| at + found) {
        let rest = &raw[dollar..];
        let (piece, taken) = if rest.starts_with("$${") {
            (Piece::Literal("${"), 3)
        } else if let Some(found) = reference(rest) {
            found
        } else {
            at = dollar + 1;
            continue;
        };
        if start < dollar {
            pieces.push((Piece::Literal(&raw[start..dollar]), start..dollar));
        }
        at = dollar + taken;
        start = at;
        pieces.push((piece, dollar..at));
    }
    if start < raw.len() {
        pieces.push((Piece::Literal(&raw[start..]), start..raw.len()));
    }
    pieces
}

/// A reference at the beginning of `text`, and its length.
fn reference(text: &str) -> Option<(Piece<'_>, usize)> {
    let body = text.strip_prefix("${")?;
    if body.starts_with(['{', ' ']) {
        return foreign(body).map(|(piece, taken)| (piece, "${".len() + taken));
    }
    if body.starts_with("args}") {
        return Some((Piece::Reference("args"), "${args}".len()));
    }
    let word = body
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|end| *end > 0 && body[*end..].starts_with('.'))?;
    let known = NAMESPACES.contains(&&body[..word]);
    let stop = |c: char| c == '}' || c == '\n' || c == '$';
    let end = body.find(stop).unwrap_or(body.len());
    let closed = body[end..].starts_with('}');
    let simple = |key: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        !key.is_empty() && key.chars().all(part)
    };
    match closed {
        true if known || simple(&body[word + 1..end]) => {
            Some((Piece::Reference(&body[..end]), end + 3))
        }
        false if known => Some((Piece::Unclosed, end + 2)),
        _ => None,
    }
}

/// `{ git.sha }}` or ` git.sha }` at the beginning of `text`, and its length.
fn foreign(text: &str) -> Option<(Piece<'_>, usize)> {
    let inner = text.strip_prefix('{');
    let end = if inner.is_some() { "}}" } else { "}" };
    let (body, rest) = inner.unwrap_or(text).split_once(end)?;
    let key = body.trim_matches(' ');
    let (namespace, name) = key.split_once('.')?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_ours = NAMESPACES.contains(&namespace) && !name.is_empty() && name.chars().all(is_word);
    is_ours.then_some((Piece::Foreign(key), text.len() - rest.len()))
}

/// Gives the values of references while something runs.
pub trait Lookup {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved>;
}

/// A reference that has no value now: an unset variable, a commit without a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// As it is written: `${env.TOKEN}`.
    pub reference: String,
    /// `the variable is not set`.
    pub reason: String,
}

impl Unresolved {
    pub fn new(reference: &Reference, reason: impl Into<String>) -> Unresolved {
        Unresolved {
            reference: reference.to_string(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no value: {}", self.reference, self.reason)
    }
}

impl std::error::Error for Unresolved {}

impl Text {
    /// The string with every reference's value put in.
    pub fn render(&self, lookup: &dyn Lookup) -> Result<String, Unresolved> {
        let mut out = String::with_capacity(self.raw.len());
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Reference(Reference::Var(_, value)) => out.push_str(value),
                Part::Reference(reference) => out.push_str(&lookup.get(reference)?),
            }
        }
        Ok(out)
    }

    /// What it refers to, in order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Literal(_) => None,
        })
    }

    /// The string, where it holds no reference but `${var.…}`.
    pub fn literal(&self) -> Option<String> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Reference(Reference::Var(_, value)) => Some(value.as_str()),
            Part::Reference(_) => None,
        });
        parts.collect()
    }
}

/// As it is written, but for the names of services and targets, which only the workspace knows.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::GitSha => f.write_str("${git.sha}"),
            Reference::GitShortSha => f.write_str("${git.short-sha}"),
            Reference::GitBranch => f.write_str("${git.branch}"),
            Reference::GitTag => f.write_str("${git.tag}"),
            Reference::GitDirty => f.write_str("${git.dirty}"),
            Reference::Env(name) => write!(f, "${{env.{name}}}"),
            Reference::Var(name, _) => write!(f, "${{var.{name}}}"),
            Reference::ProjectName => f.write_str("${project.name}"),
            Reference::ProjectDir => f.write_str("${project.dir}"),
            Reference::WorkspaceDir => f.write_str("${workspace.dir}"),
            Reference::ServiceHost(_) => f.write_str("${service.….host}"),
            Reference::ServicePort(_, None) => f.write_str("${service.….port}"),
            Reference::ServicePort(_, Some(port)) => write!(f, "${{service.….port.{port}}}"),
            Reference::ImageRef(_) => f.write_str("${image.….ref}"),
            Reference::ImageDigest(_) => f.write_str("${image.….digest}"),
            Reference::Environment(key) => write!(f, "${{environment.{key}}}"),
            Reference::Args => f.write_str("${args}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(raw: &str) -> Vec<Piece<'_>> {
        scan(raw).into_iter().map(|(piece, _)| piece).collect()
    }

    #[test]
    fn references_are_found_between_literals() {
        use Piece::{Literal, Reference};
        assert_eq!(
            pieces("a ${git.sha} b ${args}"),
            [
                Literal("a "),
                Reference("git.sha"),
                Literal(" b "),
                Reference("args")
            ]
        );
        assert_eq!(
            pieces("${service.db.port.5432}"),
            [Reference("service.db.port.5432")]
        );
        assert_eq!(pieces("${gti.sha}"), [Reference("gti.sha")]);
        assert_eq!(
            pieces("${X:-${env.Y}}"),
            [Literal("${X:-"), Reference("env.Y"), Literal("}")]
        );
        assert_eq!(pieces("${env.X:-a b}"), [Reference("env.X:-a b")]);
        assert_eq!(pieces("${env.}"), [Reference("env.")]);
    }

    #[test]
    fn the_shell_keeps_what_is_its_own() {
        for shell in [
            "$X",
            "${X}",
            "${foo}",
            "${X:-y}",
            "${#X}",
            "${X%.py}",
            "${X##*.}",
            "${X-a.b}",
            "${1}",
            "${@}",
            "$",
            "${",
            "${}",
            "$(git.sha)",
            "${X/a.b/c}",
            "${argsx}",
            "$$",
            "${X.}",
        ] {
            assert_eq!(pieces(shell), [Piece::Literal(shell)], "{shell}");
        }
    }

    #[test]
    fn a_doubled_dollar_is_literal() {
        use Piece::{Literal, Unclosed};
        assert_eq!(pieces("$${git.sha}"), [Literal("${"), Literal("git.sha}")]);
        assert_eq!(
            pieces("$$${x}"),
            [Literal("$"), Literal("${"), Literal("x}")]
        );
        assert_eq!(pieces("a ${env.X"), [Literal("a "), Unclosed]);
    }

    #[test]
    fn ranges_cover_the_string() {
        let raw = "ä${git.sha}$${x}${X}ö${env.Y";
        let mut at = 0;
        for (_, range) in scan(raw) {
            assert_eq!(range.start, at);
            at = range.end;
        }
        assert_eq!(at, raw.len());
    }
}

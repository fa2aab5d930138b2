//! Expanded texts and what can be said of a reference without knowing any variable.

/// A piece of an expanded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    /// A variable that the caller may set: becomes `${var.NAME}`.
    Var(String),
    /// A name of forge's own, such as `git.sha`.
    Forge(&'static str),
    /// From `$(wildcard …)`.
    Glob(String),
}

/// What came of an expansion, or why nothing sure did.
pub(super) type Expanded = Result<Vec<Piece>, String>;

/// The target that automatic variables speak of.
#[derive(Clone, Debug, Default)]
pub(super) struct Automatic {
    pub target: String,
    /// Normal prerequisites, each once.
    pub prerequisites: Vec<String>,
}

/// make's functions: `$(NAME arguments)`.
pub(super) const FUNCTIONS: [&str; 36] = [
    "abspath",
    "addprefix",
    "addsuffix",
    "and",
    "basename",
    "call",
    "dir",
    "error",
    "eval",
    "file",
    "filter",
    "filter-out",
    "findstring",
    "firstword",
    "flavor",
    "foreach",
    "guile",
    "if",
    "info",
    "intcmp",
    "join",
    "lastword",
    "let",
    "notdir",
    "or",
    "origin",
    "patsubst",
    "realpath",
    "shell",
    "sort",
    "strip",
    "subst",
    "suffix",
    "value",
    "warning",
    "wildcard",
];

/// The value of `$@` and its like; `None` for any other name.
pub(super) fn automatic_value(name: &str, automatic: Option<&Automatic>) -> Option<Expanded> {
    let directory = |path: &str| path.rsplit_once('/').map_or(".", |(dir, _)| dir).to_owned();
    let file = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let first = |a: &Automatic| a.prerequisites.first().cloned().unwrap_or_default();
    let value = |of: &dyn Fn(&Automatic) -> String| match automatic {
        Some(automatic) => Ok(literal(&of(automatic))),
        None => Err(format!("`$({name})` outside a recipe")),
    };
    Some(match name {
        "@" => value(&|a| a.target.clone()),
        "@D" => value(&|a| directory(&a.target)),
        "@F" => value(&|a| file(&a.target)),
        "<" => value(&first),
        "<D" => value(&|a| directory(&first(a))),
        "<F" => value(&|a| file(&first(a))),
        "^" => value(&|a| a.prerequisites.join(" ")),
        "?" | "*" | "%" | "+" | "|" | "?D" | "?F" | "*D" | "*F" | "^D" | "^F" | "+D" | "+F"
        | "%D" | "%F" => Err(format!("`${name}` is known to make alone")),
        _ => return None,
    })
}

/// What forge calls the answer of a command that people put into `$(shell …)`.
pub(super) fn forge_name(command: &str) -> Option<&'static str> {
    let command = command
        .strip_suffix("2>/dev/null")
        .unwrap_or(command)
        .trim();
    Some(match command {
        "git rev-parse HEAD" => "git.sha",
        "git rev-parse --short HEAD" => "git.short-sha",
        "git rev-parse --abbrev-ref HEAD" | "git branch --show-current" => "git.branch",
        "pwd" => "workspace.dir",
        _ => return None,
    })
}

/// From an opening bracket: what is inside, and what follows the closing one.
pub(super) fn reference(text: &str) -> Option<(&str, &str)> {
    let open = text.chars().next()?;
    let close = if open == '(' { ')' } else { '}' };
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some((&text[1..at], &text[at + 1..]));
            }
        }
    }
    None
}

/// A name that `${var.NAME}` can speak of.
pub(super) fn plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

/// A text as pieces.
pub(super) fn literal(text: &str) -> Vec<Piece> {
    vec![Piece::Literal(text.to_owned())]
}

/// Adds text at the end.
pub(super) fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    push(pieces, Piece::Literal(text.to_owned()));
}

/// Adds a piece at the end.
pub(super) fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Literal(last)), Piece::Literal(text)) => last.push_str(&text),
        (_, Piece::Literal(text)) if text.is_empty() => {}
        (_, piece) => pieces.push(piece),
    }
}

/// The text, where there is nothing else.
pub(super) fn only_literal(pieces: &[Piece]) -> Option<String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(part) => text.push_str(part),
            _ => return None,
        }
    }
    Some(text)
}

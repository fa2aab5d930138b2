//! Small questions about a statement's text. Knows nothing of what was read before.

use super::model::{Node, Prerequisite};

/// Adds the words of a rule's right side, those after `|` as order-only.
pub(super) fn add_prerequisites(node: &mut Node, text: &str) {
    let (normal, order_only) = text.split_once('|').unwrap_or((text, ""));
    for (words, order_only) in [(normal, false), (order_only, true)] {
        for word in words.split_whitespace() {
            let name = word.strip_prefix("./").unwrap_or(word).to_owned();
            if !node.prerequisites.iter().any(|p| p.name == name) {
                node.prerequisites.push(Prerequisite { name, order_only });
            }
        }
    }
}

/// `## test: runs the tests` above the rule of `test`, without the name.
pub(super) fn without_name(help: &str, name: &str) -> String {
    let rest = help.strip_prefix(name).map(str::trim_start);
    let rest = rest.and_then(|r| r.strip_prefix([':', '-', '–']));
    rest.map_or(help, str::trim).to_owned()
}

/// The first word and the rest; no word where an operator follows it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    // `export = 1` and `include: x` are an assignment and a rule.
    match rest.trim_start().starts_with(['=', ':', '?', '+']) {
        true => ("", text),
        false => (word, rest.trim()),
    }
}

/// What a statement turns on.
pub(super) enum Operator {
    Assign { at: usize, length: usize },
    Rule { at: usize },
}

/// The first assignment operator or rule colon outside `$(…)`.
pub(super) fn operator(text: &str) -> Option<Operator> {
    let at = find_outside_any(text, &[':', '='])?;
    let rest = &text[at..];
    for assign in [":::=", "::=", ":="] {
        if rest.starts_with(assign) {
            return Some(Operator::Assign {
                at,
                length: assign.len(),
            });
        }
    }
    if rest.starts_with(':') {
        return Some(Operator::Rule { at });
    }
    Some(match text[..at].chars().last() {
        Some('?' | '+' | '!') => Operator::Assign {
            at: at - 1,
            length: 2,
        },
        _ => Operator::Assign { at, length: 1 },
    })
}

/// Where a character first stands outside `$(…)`.
pub(super) fn find_outside(text: &str, wanted: char) -> Option<usize> {
    find_outside_any(text, &[wanted])
}

fn find_outside_any(text: &str, wanted: &[char]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            c if depth == 0 && wanted.contains(&c) => return Some(at),
            _ => {}
        }
    }
    None
}

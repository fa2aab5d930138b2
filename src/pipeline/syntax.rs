//! What isn't TOML, said in the words of someone who writes a pipeline file.
//!
//! Knows nothing of keys.

use std::ops::Range;

use super::code;
use super::model::{FileId, Span};
use super::problem::Problem;

/// One problem for each error of the parser, without those that only follow from another.
pub fn problems(file: FileId, text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let at = |range: Range<usize>| Span { file, range };
    let mut problems = Vec::new();
    // What stands below a second `[target.x]` is read as if it stood below the first.
    let mut merged: Option<Range<usize>> = None;
    for error in errors {
        let range = between_characters(text, error.span().unwrap_or(text.len()..text.len()));
        let message = error.message();
        if !message.starts_with("duplicate key") {
            problems.push(syntax(&at(range.clone()), message, &text[range]));
            continue;
        }
        if merged
            .as_ref()
            .is_some_and(|lines| lines.contains(&range.start))
        {
            continue;
        }
        let line = line_start(text, range.start);
        let header = text[line..].trim_start().starts_with('[');
        if header {
            merged = Some(range.end..next_header(text, range.end));
        }
        let first = first_place(text, range.clone(), header);
        problems.push(duplicate(
            &text[range.clone()],
            &at(range),
            first.map(at).as_ref(),
        ));
    }
    problems
}

fn duplicate(name: &str, second: &Span, first: Option<&Span>) -> Problem {
    let problem = Problem::new(code::DUPLICATE_KEY, format!("`{name}` is there twice"))
        .label(second, "the second one")
        .help("take one of them out, or make one of the two");
    match first {
        Some(first) => problem.label(first, "the first one"),
        None => problem,
    }
}

fn syntax(span: &Span, message: &str, found: &str) -> Problem {
    let problem = Problem::new(code::SYNTAX, "this is not valid TOML");
    if message.starts_with("string values must be quoted") {
        return problem
            .label(span, "a string without quotes")
            .help(format!("write: \"{found}\""));
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string")
    {
        return problem
            .label(span, "the string has no end")
            .help("close it with the quote it begins with; a string over several lines begins and ends with `\"\"\"`");
    }
    let problem = problem.label(span, message.to_owned());
    let help = match message {
        _ if message.contains("expected `=`") => {
            Some("a line is `key = value`; a target begins with [target.NAME]")
        }
        _ if message.starts_with("missing escaped value") => {
            Some("between \"…\" a backslash begins an escape; between '…' it is one")
        }
        _ if message.starts_with("unexpected key or value") => {
            Some("one `key = value` a line; a text with \" in it stands between '…'")
        }
        _ => None,
    };
    problem.maybe_help(help.map(str::to_owned))
}

/// Where the same key stands before: a header that reads the same, or a line of the same table.
fn first_place(text: &str, second: Range<usize>, header: bool) -> Option<Range<usize>> {
    let line = line_start(text, second.start);
    let name = &text[second.clone()];
    let before = &text[line..second.end];
    let mut start = 0;
    let mut found = None;
    for other in text[..line].split_inclusive('\n') {
        let indent = other.len() - other.trim_start().len();
        if header {
            let rest = other.strip_prefix(before);
            let ends = |rest: &str| rest.trim_start_matches(['"', '\'', ' ']).starts_with(']');
            if rest.is_some_and(ends) {
                return Some(start + before.len() - name.len()..start + before.len());
            }
        } else if other[indent..].starts_with('[') {
            found = None;
        } else if other[indent..]
            .strip_prefix(name)
            .is_some_and(is_assignment)
        {
            found = found.or(Some(start + indent..start + indent + name.len()));
        }
        start += other.len();
    }
    found
}

fn is_assignment(rest: &str) -> bool {
    rest.trim_start().starts_with('=')
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the next `[table]` begins; the text's end where there is none.
fn next_header(text: &str, from: usize) -> usize {
    let mut start = from;
    while let Some(newline) = text[start..].find('\n') {
        start += newline + 1;
        if text[start..]
            .trim_start_matches([' ', '\t'])
            .starts_with('[')
        {
            return start;
        }
    }
    text.len()
}

/// A range that lies in the text and cuts no character in two.
fn between_characters(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

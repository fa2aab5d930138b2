//! A Makefile's logical lines: recipe lines as the shell gets them, other lines joined and without
//! comments. Knows nothing of rules and variables.

/// A logical line and the number (1-based) of its first physical one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub number: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Began with a tab: the text after it; continuation lines are kept apart by `\` and a
    /// newline, each without its leading tab.
    Tabbed(String),
    /// Anything else: joined, without its comment. `help` is what stood after `##`.
    Plain { text: String, help: Option<String> },
}

/// Splits a Makefile.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut physical = text
        .lines()
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate();
    let mut lines = Vec::new();
    while let Some((index, first)) = physical.next() {
        let mut parts = vec![first];
        while continues(parts[parts.len() - 1]) {
            match physical.next() {
                Some((_, next)) => parts.push(next),
                None => break,
            }
        }
        let kind = match first.strip_prefix('\t') {
            Some(_) => tabbed(&parts),
            None => plain(&parts),
        };
        lines.push(Line {
            number: index + 1,
            kind,
        });
    }
    lines
}

/// An odd number of backslashes at the end.
fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

fn tabbed(parts: &[&str]) -> Kind {
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part.strip_prefix('\t').unwrap_or(part))
        .collect();
    Kind::Tabbed(parts.join("\n"))
}

fn plain(parts: &[&str]) -> Kind {
    let last = parts.len() - 1;
    let joined: Vec<&str> = parts
        .iter()
        .enumerate()
        .map(|(i, part)| match i {
            _ if i < last => part.strip_suffix('\\').unwrap_or(part),
            _ => part,
        })
        .enumerate()
        .map(|(i, part)| if i == 0 { part } else { part.trim_start() })
        .collect();
    let joined = joined.join(" ");
    let (text, comment) = split_comment(&joined);
    let help = comment
        .and_then(|comment| comment.strip_prefix('#'))
        .map(|help| help.trim_matches(|c: char| c == '#' || c.is_whitespace()))
        .filter(|help| !help.is_empty());
    Kind::Plain {
        text: text.trim_end().to_owned(),
        help: help.map(str::to_owned),
    }
}

/// The text before the first `#` that no backslash escapes (`\#` becomes `#`), and what follows it.
fn split_comment(line: &str) -> (String, Option<&str>) {
    let mut text = String::new();
    for (at, c) in line.char_indices() {
        if c != '#' {
            text.push(c);
        } else if text.ends_with('\\') {
            text.pop();
            text.push('#');
        } else {
            return (text, Some(&line[at + 1..]));
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuations_join_comments_go_and_tabs_make_recipes() {
        let text = "A = a \\\n   b # c\ntest: x ## Runs it\n\techo \\\n\t\thi # there\n";
        let plain = |text: &str, help: Option<&str>| Kind::Plain {
            text: text.into(),
            help: help.map(Into::into),
        };
        let expected = [
            (1, plain("A = a  b", None)),
            (3, plain("test: x", Some("Runs it"))),
            (4, Kind::Tabbed("echo \\\n\thi # there".into())),
        ];
        let lines: Vec<_> = lines(text)
            .into_iter()
            .map(|l| (l.number, l.kind))
            .collect();
        assert_eq!(lines, expected);
    }
}

//! A recipe as shell lines that forge runs. Knows nothing of targets other than the one it makes.

use super::expand::Variables;
use super::model::{Node, Remark};
use super::pieces::{Automatic, Piece};

/// A recipe line, ready for `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellLine {
    /// As the file says it: `${var.X}` in place, the shell's own `${x.y}` escaped.
    pub text: String,
    /// With every overridable variable at its default: for judging what it does.
    pub plain: String,
    /// Overridable variables in it.
    pub variables: Vec<String>,
}

/// Longer lines keep the line breaks they had.
const WIDTH: usize = 100;

/// The lines of a target's recipe, or the line that can't be translated and why.
pub(super) fn shell_lines(
    node: &Node,
    automatic: &Automatic,
    variables: &Variables,
    oneshell: bool,
) -> Result<Vec<ShellLine>, Remark> {
    let mut lines = Vec::new();
    for (number, raw) in &node.recipe {
        let line = shell_line(raw, automatic, variables).map_err(|reason| (*number, reason))?;
        lines.extend(line);
    }
    if oneshell && lines.len() > 1 {
        let join =
            |of: &dyn Fn(&ShellLine) -> String| lines.iter().map(of).collect::<Vec<_>>().join("\n");
        return Ok(vec![ShellLine {
            text: join(&|l| l.text.clone()),
            plain: join(&|l| l.plain.clone()),
            variables: lines.iter().flat_map(|l| l.variables.clone()).collect(),
        }]);
    }
    Ok(lines)
}

fn shell_line(
    raw: &str,
    automatic: &Automatic,
    variables: &Variables,
) -> Result<Option<ShellLine>, String> {
    let mut pieces = variables.expand(raw, Some(automatic))?;
    let ignore_errors = take_prefix(&mut pieces, variables);
    let mut line = render(&pieces, variables)?;
    let tidy = tidy(&line.text);
    let empty = tidy.is_empty() || tidy.starts_with('#') || tidy == ":" || tidy == "true";
    if empty {
        return Ok(None);
    }
    line.plain = self::tidy(&line.plain);
    line.text = match ignore_errors {
        true => forgiven(&tidy)?,
        false => tidy,
    };
    Ok(Some(line))
}

/// Takes `@`, `-` and `+` off the front; true if `-` was among them.
fn take_prefix(pieces: &mut Vec<Piece>, variables: &Variables) -> bool {
    let mut minus = false;
    while let Some(first) = pieces.first_mut() {
        match first {
            Piece::Literal(text) => {
                let rest = text.trim_start_matches(['@', '-', '+', ' ', '\t']);
                minus |= text[..text.len() - rest.len()].contains('-');
                *text = rest.to_owned();
                if !text.is_empty() {
                    break;
                }
            }
            // `$(Q)` and its like: a prefix that the caller may take away.
            Piece::Var(name) => {
                let value = variables.default_of(name);
                if value.is_empty() || !value.chars().all(|c| "@-+ ".contains(c)) {
                    break;
                }
                minus |= value.contains('-');
            }
            _ => break,
        }
        pieces.remove(0);
    }
    minus
}

/// The line with its failure ignored.
fn forgiven(line: &str) -> Result<String, String> {
    if line.contains(['\n', '#']) {
        return Err("a `-` before a line of this form".into());
    }
    Ok(match line.contains([';', '|', '&']) {
        true => format!("( {line} ) || true"),
        false => format!("{line} || true"),
    })
}

/// Pieces as text of the pipeline file.
pub(super) fn render(pieces: &[Piece], variables: &Variables) -> Result<ShellLine, String> {
    let mut line = ShellLine {
        text: String::new(),
        plain: String::new(),
        variables: Vec::new(),
    };
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => {
                line.text.push_str(&escape(text));
                line.plain.push_str(text);
                // What follows begins with `${` and would be read as `$${`.
                let name_next = matches!(pieces.get(at + 1), Some(Piece::Var(_) | Piece::Forge(_)));
                if text.ends_with('$') && name_next {
                    return Err("a `$` before a variable".into());
                }
            }
            Piece::Glob(pattern) => {
                let odd = |quote: char| line.plain.matches(quote).count() % 2 == 1;
                if odd('\'') || odd('"') {
                    return Err("a wildcard between quotes".into());
                }
                line.text.push_str(pattern);
                line.plain.push_str(pattern);
            }
            Piece::Var(name) => {
                let value = variables.default_of(name);
                if variables.fixed.borrow().contains(name) {
                    line.text.push_str(&escape(&value));
                } else {
                    line.text.push_str(&format!("${{var.{name}}}"));
                    line.variables.push(name.clone());
                }
                line.plain.push_str(&value);
            }
            Piece::Forge(name) => {
                line.text.push_str(&format!("${{{name}}}"));
                line.plain.push_str(&format!("${{{name}}}"));
            }
        }
    }
    Ok(line)
}

/// Keeps the shell's `${…}` from being read as forge's: those with a dot, `${args}`, and those
/// after a `$`, which would be an escape themselves.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let inner = &rest[at + 2..];
        let name = inner.find('}').map(|end| &inner[..end]);
        let ours = name.is_none_or(|name| name.contains('.') || name == "args");
        out.push_str(&rest[..at]);
        let escaped = ours || out.ends_with('$');
        out.push_str(if escaped { "$${" } else { "${" });
        rest = inner;
    }
    out.push_str(rest);
    out
}

/// Joins what continuation lines took apart, where that changes nothing and stays short.
fn tidy(text: &str) -> String {
    let text = text.trim();
    if !text.contains("\\\n") || text.contains(['\'', '"', '#']) {
        return text.to_owned();
    }
    let joined = text.replace("\\\n", "\u{0}");
    let words: Vec<&str> = joined
        .split([' ', '\t', '\u{0}'])
        .filter(|w| !w.is_empty())
        .collect();
    // A continuation inside a word glues; one between words does not.
    let glued = joined
        .char_indices()
        .filter(|(_, c)| *c == '\u{0}')
        .any(|(at, _)| {
            let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
            !blank(joined[..at].chars().last()) && !blank(joined[at + 1..].chars().next())
        });
    let line = words.join(" ");
    match glued {
        true => text.to_owned(),
        false if line.len() > WIDTH => {
            let lines: Vec<&str> = text.split("\\\n").map(str::trim).collect();
            lines.join(" \\\n    ")
        }
        false => line,
    }
}

/// Whether `sh -eu -c`, forge's shell, could make something else of the line than `sh -c`: where
/// more than one command can fail, or a variable can be unset.
pub(super) fn needs_plain_shell(line: &ShellLine) -> bool {
    let shell = without_references(&line.text);
    let shell = shell.replace("&&", "").replace("\\\n", "");
    shell.contains(['$', ';', '&', '`', '(', '{', '\n'])
}

/// The text without forge's own `${name.key}`.
fn without_references(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').filter(|end| inner[..*end].contains('.'));
        match end {
            Some(end) if !out.ends_with('$') => rest = &inner[end + 1..],
            _ => {
                out.push_str("${");
                rest = inner;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_forge_would_read_as_its_own_is_escaped() {
        let cases = [
            ("${HOME} $x $(ls)", "${HOME} $x $(ls)"),
            ("${f%.c}", "$${f%.c}"),
            ("${args}", "$${args}"),
            ("$${x}", "$$${x}"),
            ("${", "$${"),
        ];
        for (shell, forge) in cases {
            assert_eq!(escape(shell), forge);
        }
    }

    #[test]
    fn continuations_are_joined_only_where_nothing_changes() {
        assert_eq!(
            tidy("docker build \\\n  -t x \\\n  ."),
            "docker build -t x ."
        );
        assert_eq!(tidy("a\\\nb"), "a\\\nb");
        assert_eq!(tidy("echo 'a \\\n b'"), "echo 'a \\\n b'");
    }
}

//! What a failed command lacked, where it can be told from its words and from what it printed: a variable that its caller
//! has, or a terminal. Where nothing can be told, nothing is said.

use std::ffi::{OsStr, OsString};

use crate::pipeline::model::Target;
use crate::pipeline::names;

use super::environment::Caller;

/// So much of the end of what it printed is looked at, in bytes.
pub const HEARD: usize = 4096;

/// What programs say that want to ask somebody.
const ASKING: &[&str] = &[
    "eoferror",
    "eof when reading",
    "not a tty",
    "is not a terminal",
    "not from a terminal",
    "a terminal is required",
    "no tty present",
    "inappropriate ioctl for device",
    "could not read username",
    "could not read password",
    "error asking for",
];

/// Words of a line that complains of a variable.
const MISSED: &[&str] = &[
    "unbound variable",
    "not set",
    "unset",
    "must be set",
    "null or not set",
    "keyerror",
    "undefined",
    "environment",
    "missing",
    "required",
];

/// What a shell sets by itself, whoever started it.
const OF_SHELLS: &[&str] = &["PWD", "OLDPWD", "SHLVL", "_", "PPID"];

/// A command that failed.
pub struct Lacking<'a> {
    pub target: &'a Target,
    /// As the shell got it.
    pub line: &'a str,
    /// The end of what it printed.
    pub printed: &'a [u8],
    /// What it saw.
    pub env: &'a [(OsString, OsString)],
    /// What it would have seen.
    pub caller: &'a Caller,
}

impl Lacking<'_> {
    /// What to write into the pipeline file.
    pub fn help(&self) -> Option<String> {
        let printed = String::from_utf8_lossy(self.printed);
        self.variables(&printed)
            .or_else(|| self.terminal(&printed.to_lowercase()))
    }

    fn variables(&self, printed: &str) -> Option<String> {
        let missed = |name: &str| {
            let is_used = uses(self.line, name) && !sets(self.line, name);
            is_used || printed.lines().any(|line| complains(line, name))
        };
        let unseen = |name: &&str| {
            let sees = |(seen, _): &(OsString, OsString)| seen == OsStr::new(name);
            names::is_variable(name) && !OF_SHELLS.contains(name) && !self.env.iter().any(sees)
        };
        let names = self.caller.keys().filter_map(|name| name.to_str());
        let names: Vec<&str> = names.filter(unseen).filter(|name| missed(name)).collect();
        if names.is_empty() {
            return None;
        }
        let (secret, open): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| names::is_secret(name));
        // A list of the target's own replaces that of the pipeline: it is shown as it has to be.
        let entry = |key: &str, there: &[String], more: &[&str]| {
            let there = there.iter().map(String::as_str);
            let all: Vec<String> = there.chain(more.iter().copied()).map(quoted).collect();
            (!more.is_empty()).then(|| format!("`{key} = [{}]`", all.join(", ")))
        };
        let entries = [
            entry("inherit-env", &self.target.inherit_env, &open),
            entry("secret-env", &self.target.secret_env, &secret),
        ];
        let entries: Vec<String> = entries.into_iter().flatten().collect();
        let (are, them) = match names.len() {
            1 => ("is", "it"),
            _ => ("are", "them"),
        };
        Some(format!(
            "{} {are} set here, and the target doesn't see {them}: {} in [target.{}] passes {them} on",
            names.join(", "),
            entries.join(" and "),
            self.target.name,
        ))
    }

    fn terminal(&self, printed: &str) -> Option<String> {
        let says = ASKING.iter().any(|words| printed.contains(words));
        let asks = says || ends_in_prompt(printed) || reads(self.line);
        (asks && !self.target.interactive).then(|| {
            format!(
                "nothing can be read from its standard input; if it asks somebody, `interactive = true` in [target.{}] gives it the terminal",
                self.target.name
            )
        })
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// Whether a shell line has `$NAME` or `${NAME}`, with nothing to take instead.
fn uses(line: &str, name: &str) -> bool {
    let is_there = |(at, _): (usize, &str)| {
        let rest = &line[at + 1..];
        let braced = rest.strip_prefix('{');
        let rest = braced.unwrap_or(rest).strip_prefix(name);
        rest.is_some_and(|rest| match braced {
            Some(_) => rest.starts_with(['}', '?']) || rest.starts_with(":?"),
            None => !rest.starts_with(is_of_name),
        })
    };
    line.match_indices('$').any(is_there)
}

/// Whether a shell line gives the variable a value itself.
fn sets(line: &str, name: &str) -> bool {
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || ";&|(){}".contains(c))
        .collect();
    let assigned = |word: &&str| {
        word.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('='))
    };
    words.iter().any(assigned)
        || (words.contains(&name) && (words.contains(&"for") || words.contains(&"read")))
}

/// Whether a line of output has the name, and says that it lacks it.
fn complains(line: &str, name: &str) -> bool {
    let whole = |(at, _): (usize, &str)| {
        let before = line[..at].ends_with(is_of_name);
        !before && !line[at + name.len()..].starts_with(is_of_name)
    };
    let told = || {
        let line = line.to_lowercase();
        MISSED.iter().any(|words| line.contains(words))
    };
    line.match_indices(name).any(whole) && told()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether the last line has no end, and reads like a question.
fn ends_in_prompt(printed: &str) -> bool {
    let last = printed.rsplit('\n').next().unwrap_or_default().trim_end();
    last.ends_with([':', '?', '>', ']'])
}

/// Whether a shell line has a `read` that is fed by nothing.
fn reads(line: &str) -> bool {
    let commands = line.split([';', '\n', '&']);
    commands.into_iter().any(|command| {
        let fed = command.contains(['|', '<']);
        let is_read = command.split_whitespace().next() == Some("read");
        is_read && !fed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_told_from_defaults_and_longer_names() {
        for line in ["echo $A", "x=${A}", "${A:?say it}", "sh -c 'echo $A.'"] {
            assert!(uses(line, "A"), "{line}");
        }
        for line in ["echo $AB", "${A:-b}", "${A-b}", "${AB}", "A", "echo ${A.b}"] {
            assert!(!uses(line, "A"), "{line}");
        }
        for line in ["A=1; echo $A", "for A in b; do echo $A; done", "read A"] {
            assert!(sets(line, "A"), "{line}");
        }
        assert!(!sets("BA=1 echo $A", "A"));
    }

    #[test]
    fn complaints_name_the_variable() {
        for line in [
            "sh: 1: URL: parameter not set",
            "bash: URL: unbound variable",
            "KeyError: 'URL'",
            "error: environment variable URL is missing",
        ] {
            assert!(complains(line, "URL"), "{line}");
        }
        for line in ["THE_URL: unbound variable", "fetching URL", "KeyError: 'x'"] {
            assert!(!complains(line, "URL"), "{line}");
        }
    }

    #[test]
    fn questions_have_no_line_end() {
        for printed in ["Name: ", "one\nGo on? ", "go on? [y/n] ", ">>> "] {
            assert!(ends_in_prompt(printed), "{printed}");
        }
        for printed in ["Name:\n", "", "failed", "a: b"] {
            assert!(!ends_in_prompt(printed), "{printed}");
        }
        for line in ["read x", "echo hi; read -r x", "a && read x"] {
            assert!(reads(line), "{line}");
        }
        for line in [
            "echo x | read y",
            "read x < file",
            "while read x; do",
            "reader",
        ] {
            assert!(!reads(line), "{line}");
        }
    }
}

//! What a failed command lacked, where it can be told from its words and from what it printed: a terminal. Where nothing can be told, nothing is said.

use crate::pipeline::model::Target;

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

/// A command that failed.
pub struct Lacking<'a> {
    pub target: &'a Target,
    /// As the shell got it.
    pub line: &'a str,
    /// The end of what it printed.
    pub printed: &'a [u8],
}

impl Lacking<'_> {
    /// What to write into the pipeline file.
    pub fn help(&self) -> Option<String> {
        let printed = String::from_utf8_lossy(self.printed);
        self.terminal(&printed.to_lowercase())
    }

    fn terminal(&self, printed: &str) -> Option<String> {
        let says = ASKING.iter().any(|words| printed.contains(words));
        let asks = says || ends_in_prompt(printed) || (printed.is_empty() && reads(self.line));
        (asks && !self.target.interactive).then(|| {
            format!(
                "nothing can be read from its standard input; if it asks somebody, `interactive = true` in [target.{}] gives it the terminal",
                self.target.name
            )
        })
    }
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

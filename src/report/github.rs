//! GitHub's workflow commands: their syntax, and keeping what a target prints from being taken for one.
//! Knows nothing of events.
//!
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use std::hash::{BuildHasher, Hasher, RandomState};

/// Text of a command: after the second `::`.
pub fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Text of a property: `title=…`.
pub fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// `::error file=Pipeline.toml,line=12,title=forge test::exit code 1`
pub fn annotation(
    level: &str,
    place: Option<&(impl AsRef<str>, usize)>,
    title: &str,
    message: &str,
) -> String {
    let place = place.filter(|(file, _)| !file.as_ref().is_empty());
    let place = place.map(|(file, line)| format!("file={},line={line},", property(file.as_ref())));
    format!(
        "::{level} {}title={}::{}\n",
        place.unwrap_or_default(),
        property(title),
        data(message)
    )
}

/// The opening line of a group that ends with [`END_GROUP`].
pub fn group(title: &str) -> String {
    format!("::group::{}\n", data(title))
}

pub const END_GROUP: &str = "::endgroup::\n";

/// Switches the runner's command parser off around text that isn't forge's own.
pub struct Guard {
    /// What switches it on again; nobody else may know it.
    token: String,
    off: bool,
}

impl Guard {
    pub fn new() -> Guard {
        let word = || RandomState::new().build_hasher().finish();
        Guard::with_token(format!("forge-{:016x}{:016x}", word(), word()))
    }

    fn with_token(token: String) -> Guard {
        Guard { token, off: false }
    }

    /// The line that switches commands off, if they are on.
    pub fn off(&mut self) -> String {
        if std::mem::replace(&mut self.off, true) {
            return String::new();
        }
        format!("::stop-commands::{}\n", self.token)
    }

    /// The line that switches them on again, if they are off.
    pub fn on(&mut self) -> String {
        if std::mem::replace(&mut self.off, false) {
            return format!("::{}::\n", self.token);
        }
        String::new()
    }

    /// `bytes` (whole lines), with commands off.
    pub fn untrusted(&mut self, bytes: &[u8]) -> Vec<u8> {
        let was_off = self.off;
        let mut out = self.off().into_bytes();
        out.extend_from_slice(bytes);
        if !was_off {
            out.extend_from_slice(self.on().as_bytes());
        }
        out
    }

    /// A command of forge's own, understood whether commands are off or on.
    pub fn command(&mut self, command: &str) -> String {
        let was_off = self.off;
        let mut out = self.on() + command;
        if was_off {
            out += &self.off();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_escaped() {
        let place = ("dir,a:b/Pipeline.toml", 12);
        assert_eq!(
            annotation(
                "error",
                Some(&place),
                "forge billing:test",
                "100% wrong:\r\na, b"
            ),
            "::error file=dir%2Ca%3Ab/Pipeline.toml,line=12,title=forge billing%3Atest::100%25 wrong:%0D%0Aa, b\n"
        );
        assert_eq!(
            annotation("warning", None::<&(&str, usize)>, "forge", "m"),
            "::warning title=forge::m\n"
        );
        assert_eq!(group("lint (ran, 3%)\n"), "::group::lint (ran, 3%25)%0A\n");
    }

    #[test]
    fn what_a_target_prints_is_no_command() {
        let mut guard = Guard::with_token("T".into());
        assert_eq!(
            guard.untrusted(b"::error::x\n"),
            b"::stop-commands::T\n::error::x\n::T::\n"
        );
        assert_eq!(guard.command("::debug::y\n"), "::debug::y\n");
        assert_eq!(guard.off(), "::stop-commands::T\n");
        assert_eq!(guard.untrusted(b"x\n"), b"x\n");
        assert_eq!(
            guard.command("::debug::y\n"),
            "::T::\n::debug::y\n::stop-commands::T\n"
        );
        assert_eq!(guard.on(), "::T::\n");
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(Guard::new().token, Guard::new().token);
    }
}

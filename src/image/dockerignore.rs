//! `.dockerignore`, with exactly Docker's meaning (moby's `patternmatcher`): the last pattern that matches a path or a
//! directory above it decides, `!` takes back, `**` is any number of directories, and a match has to be of the whole path.

use std::fs;
use std::io;
use std::path::Path;

/// The patterns of a file, in order.
#[derive(Clone, Debug, Default)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    takes_back: bool,
    tokens: Vec<Token>,
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Name,
    /// `**` at the end.
    Rest,
    /// `**/`, or `**` before something else: nothing, or anything that ends with `/`.
    Directories,
    /// `[a-z]`; the flag is that of `[^…]`.
    Class(bool, Vec<(char, char)>),
}

impl Dockerignore {
    /// The ignore file of a Dockerfile: its own (`NAME.dockerignore`), else the context's, as BuildKit has it. Paths are
    /// relative to `root`; without a file nothing is left out.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn of(root: &Path, context: &str, dockerfile: &str) -> io::Result<Option<Self>> {
        let own = root.join(format!("{dockerfile}.dockerignore"));
        let general = root.join(context).join(".dockerignore");
        for path in [own, general] {
            match fs::read(&path) {
                Ok(bytes) => return Ok(Some(Self::new(&String::from_utf8_lossy(&bytes)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let text = format!("{}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        Ok(None)
    }

    pub fn new(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            patterns: text.lines().filter_map(pattern).collect(),
        }
    }

    /// Whether a path (relative to the context, with `/`) is left out of it.
    pub fn excludes(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            // Only one that would change the answer needs to be looked at.
            if pattern.takes_back == excluded && pattern.matches_path_or_parent(&path) {
                excluded = !pattern.takes_back;
            }
        }
        excluded
    }

    /// Whether a `!` pattern takes back exactly this path, or a directory that it lies in.
    pub fn names(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let mut back = self.patterns.iter().filter(|pattern| pattern.takes_back);
        back.any(|pattern| pattern.matches_path_or_parent(&path))
    }

    /// Whether something below an excluded directory may be taken back: then it has to be entered.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_back)
    }
}

fn pattern(line: &str) -> Option<Pattern> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (takes_back, body) = match line.strip_prefix('!') {
        Some(body) => (true, body.trim()),
        None => (false, line),
    };
    let cleaned = clean(body);
    if body.is_empty() || cleaned.is_empty() {
        return None;
    }
    Some(Pattern {
        takes_back,
        tokens: tokens(&cleaned),
    })
}

/// Go's `filepath.Clean`, and no leading `/`: the root is the context.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() && !path.starts_with('/') {
        ".".into()
    } else {
        parts.join("/")
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' if chars.get(at + 1) == Some(&'*') => {
                at += 2;
                if chars.get(at) == Some(&'/') {
                    at += 1;
                }
                tokens.push(if at == chars.len() {
                    Token::Rest
                } else {
                    Token::Directories
                });
                continue;
            }
            '*' => tokens.push(Token::Name),
            '?' => tokens.push(Token::One),
            '\\' if at + 1 < chars.len() => {
                at += 1;
                tokens.push(Token::Char(chars[at]));
            }
            '[' => match class(&chars[at..]) {
                Some((token, length)) => {
                    tokens.push(token);
                    at += length;
                    continue;
                }
                None => tokens.push(Token::Char('[')),
            },
            c => tokens.push(Token::Char(c)),
        }
        at += 1;
    }
    tokens
}

fn class(chars: &[char]) -> Option<(Token, usize)> {
    let negated = chars.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let mut ranges = Vec::new();
    loop {
        let from = *chars.get(at)?;
        if from == ']' && !ranges.is_empty() {
            return Some((Token::Class(negated, ranges), at + 1));
        }
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(&to)) if to != ']' => {
                ranges.push((from, to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
}

impl Pattern {
    fn matches_path_or_parent(&self, path: &[char]) -> bool {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, c)| **c == '/')
            .map(|(at, _)| at);
        ends.chain([path.len()])
            .any(|end| matches(&self.tokens, &path[..end]))
    }
}

/// Whether the tokens match the whole path: every set of places that the tokens so far can have led to.
fn matches(tokens: &[Token], path: &[char]) -> bool {
    let mut places = vec![false; path.len() + 1];
    places[0] = true;
    for token in tokens {
        let mut next = vec![false; path.len() + 1];
        let mut reached = false;
        for at in 0..=path.len() {
            let here = path.get(at);
            match token {
                // Stays open over any character (or any but `/`) once it is reached.
                Token::Rest => {
                    reached |= places[at];
                    next[at] = reached;
                }
                Token::Name => {
                    reached = places[at] || (reached && at > 0 && path[at - 1] != '/');
                    next[at] = reached;
                }
                Token::Directories => {
                    next[at] |= places[at] || (reached && at > 0 && path[at - 1] == '/');
                    reached |= places[at];
                }
                Token::One => step(&mut next, places[at], at, here.is_some_and(|c| *c != '/')),
                Token::Char(wanted) => step(&mut next, places[at], at, here == Some(wanted)),
                Token::Class(negated, ranges) => {
                    let inside = |c: &char| ranges.iter().any(|(from, to)| from <= c && c <= to);
                    step(
                        &mut next,
                        places[at],
                        at,
                        here.is_some_and(|c| inside(c) != *negated),
                    );
                }
            }
        }
        places = next;
    }
    places[path.len()]
}

fn step(next: &mut [bool], reached: bool, at: usize, takes: bool) {
    if reached && takes {
        next[at + 1] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn excludes(text: &str, path: &str) -> bool {
        Dockerignore::new(text).excludes(path)
    }

    #[test]
    fn patterns_mean_what_docker_says() {
        let yes = [
            ("a", "a"),
            ("a", "a/b/c"),
            ("/a", "a"),
            ("a/", "a/b"),
            ("*.log", "x.log"),
            ("**/*.log", "x.log"),
            ("**/*.log", "a/b/x.log"),
            ("**", "a/b"),
            ("a/**", "a/b/c"),
            ("a/**/c", "a/c"),
            ("a/**/c", "a/x/y/c/d"),
            ("**/node_modules", "x/node_modules/y"),
            ("*/temp*", "x/temporary.txt"),
            ("temp?", "tempa"),
            ("[a-c].txt", "b.txt"),
            ("[^a-c].txt", "d.txt"),
            ("  a  ", "a"),
            ("./a", "a"),
            ("x/../a", "a"),
            ("\u{feff}a", "a"),
            ("\\*a", "*a"),
            ("a**c", "a/b/c"),
            ("a\n!b\nb", "b"),
        ];
        for (text, path) in yes {
            assert!(excludes(text, path), "{text:?} {path}");
        }
        let no = [
            ("*.log", "a/x.log"),
            ("a/**", "a"),
            ("#a", "#a"),
            ("", "a"),
            ("!a", "a"),
            ("a\n!a/keep", "a/keep"),
            ("*\n!*.py", "x.py"),
            ("**\n!src/**/*.py", "src/a/b.py"),
            ("temp?", "temp"),
            ("temp?", "temp/"),
            ("[^a-c].txt", "b.txt"),
            ("a", "ab"),
        ];
        for (text, path) in no {
            assert!(!excludes(text, path), "{text:?} {path}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        let text = "docs\n!docs/*.md\ndocs/secret.md\n";
        assert!(excludes(text, "docs/a.txt"));
        assert!(!excludes(text, "docs/a.md"));
        assert!(excludes(text, "docs/secret.md"));
        assert!(Dockerignore::new(text).takes_back());
    }

    proptest! {
        #[test]
        fn anything_is_answered(text in "\\PC{0,30}", path in "\\PC{0,30}") {
            excludes(&text, &path);
        }

        /// Against a plain transcription of the rule, by trying every way.
        #[test]
        fn agrees_with_the_rule(pattern in "([ab]|\\*|\\?|/|\\*\\*/?){1,6}", path in "[ab]{1,2}(/[ab]{1,2}){0,2}") {
            let cleaned = clean(&pattern);
            prop_assume!(!cleaned.is_empty());
            let tokens = tokens(&cleaned);
            let chars: Vec<char> = path.chars().collect();
            prop_assert_eq!(matches(&tokens, &chars), slow(&tokens, &chars));
        }
    }

    fn slow(tokens: &[Token], path: &[char]) -> bool {
        let Some((first, rest)) = tokens.split_first() else {
            return path.is_empty();
        };
        match first {
            Token::Char(c) => path.first() == Some(c) && slow(rest, &path[1..]),
            Token::One => path.first().is_some_and(|c| *c != '/') && slow(rest, &path[1..]),
            Token::Rest => (0..=path.len()).any(|at| slow(rest, &path[at..])),
            Token::Name => (0..=path.len())
                .take_while(|at| !path[..*at].contains(&'/'))
                .any(|at| slow(rest, &path[at..])),
            Token::Directories => (0..=path.len())
                .filter(|at| *at == 0 || path[at - 1] == '/')
                .any(|at| slow(rest, &path[at..])),
            Token::Class(..) => false,
        }
    }
}

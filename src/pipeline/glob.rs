//! Path patterns: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}` within a name, `**` over any number of directories.
//!
//! Patterns of a target are matched against every file of its project on every run, so they are
//! compared name by name as they are, without being compiled. `*` matches a leading dot, as in git.

use super::paths::is_within;

/// For so many patterns braces may stand: they are compared one by one.
pub const MOST: usize = 1000;

/// A pattern, split at `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// Several, where braces span a `/`.
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    /// The directories before the first wildcard: compared as they are.
    fixed: Box<str>,
    /// What follows, name by name.
    parts: Vec<Box<str>>,
}

impl Alternative {
    fn new(plain: &str) -> Self {
        let parts: Vec<&str> = plain.split('/').filter(|part| !part.is_empty()).collect();
        let directories = &parts[..parts.len().saturating_sub(1)];
        let is_fixed = |part: &&&str| !has_wildcard(part) && !part.contains('\\');
        let fixed = directories.iter().take_while(is_fixed).count();
        Self {
            fixed: parts[..fixed].join("/").into(),
            parts: parts[fixed..].iter().map(|part| Box::from(*part)).collect(),
        }
    }

    fn matches(&self, path: &str) -> bool {
        if self.fixed.is_empty() {
            return matches_parts(&self.parts, path);
        }
        let below = path.strip_prefix(&*self.fixed);
        let below = below.and_then(|below| below.strip_prefix('/'));
        below.is_some_and(|below| !below.is_empty() && matches_parts(&self.parts, below))
    }

    fn can_match_below(&self, directory: &str) -> bool {
        if self.fixed.is_empty() {
            return leads_below(&self.parts, directory);
        }
        if is_within(&self.fixed, directory) {
            return true;
        }
        let below = directory.strip_prefix(&*self.fixed);
        let below = below.and_then(|below| below.strip_prefix('/'));
        below.is_some_and(|below| leads_below(&self.parts, below))
    }
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        // What nobody looked at may be anything.
        let plain = match has_too_many(pattern) {
            true => vec![pattern.to_owned()],
            false => expand_braces(pattern),
        };
        let alternatives = plain.iter().map(|plain| Alternative::new(plain)).collect();
        Self { alternatives }
    }

    /// Whether `path` (with `/`, no leading or trailing one) is matched as a whole.
    pub fn matches(&self, path: &str) -> bool {
        self.alternatives
            .iter()
            .any(|alternative| alternative.matches(path))
    }

    /// Whether something below a directory can be matched.
    pub fn can_match_below(&self, directory: &str) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|alternative| alternative.can_match_below(directory))
    }

    /// The directories that hold all that can match: what comes before the first wildcard.
    pub fn bases(&self) -> impl Iterator<Item = String> + '_ {
        let bases = self.alternatives.iter();
        bases.map(|alternative| alternative.fixed.to_string())
    }
}

/// Whether its braces stand for more than [`MOST`], or there are more of them.
pub fn has_too_many(pattern: &str) -> bool {
    // For how much it stands what lies outside of braces, then within each open one: up to its last comma, and since.
    let mut open = vec![(0_usize, 1_usize)];
    for byte in pattern.bytes() {
        match (byte, &mut open[..]) {
            (b'{', _) => open.push((0, 1)),
            (b',', [_, .., (before, since)]) => {
                *before = before.saturating_add(*since);
                *since = 1;
            }
            (b'}', [.., (_, outside), (before, since)]) => {
                *outside = outside.saturating_mul(before.saturating_add(*since));
                open.pop();
            }
            _ => {}
        }
    }
    open[0].1 > MOST || pattern.matches('{').count() > MOST
}

/// Whether one of the patterns that its braces stand for climbs.
pub fn climbs(pattern: &str) -> bool {
    let climbs = |plain: &String| plain.split('/').any(|part| part == "..");
    pattern.contains('{') && !has_too_many(pattern) && expand_braces(pattern).iter().any(climbs)
}

/// Whether a pattern is more than a plain path.
pub fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

fn matches_parts(parts: &[Box<str>], path: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return path.is_empty();
    };
    if &**first == "**" {
        let mut path = Some(path);
        while let Some(tail) = path {
            if matches_parts(rest, tail) {
                return true;
            }
            path = tail.split_once('/').map(|(_, tail)| tail);
            if path.is_none() && !tail.is_empty() {
                return rest.is_empty();
            }
        }
        return false;
    }
    let (name, tail) = path.split_once('/').unwrap_or((path, ""));
    if path.is_empty() || !matches_name(first.as_bytes(), name.as_bytes()) {
        return false;
    }
    if tail.is_empty() {
        return rest.is_empty();
    }
    matches_parts(rest, tail)
}

/// Whether `directory` matches the first parts, and some are left for what is below.
fn leads_below(parts: &[Box<str>], directory: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return false;
    };
    let (name, tail) = directory.split_once('/').unwrap_or((directory, ""));
    &**first == "**"
        || matches_name(first.as_bytes(), name.as_bytes())
            && if tail.is_empty() {
                !rest.is_empty()
            } else {
                leads_below(rest, tail)
            }
}

/// One name against one pattern part; backtracks to the last `*` alone, so it is never exponential.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(next) = matches_one(pattern, p, name, n) {
            (p, n) = next;
        } else if let Some((after, from)) = star {
            let from = from + char_len(name, from);
            star = Some((after, from));
            (p, n) = (after, from);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Where both go on after one matched character.
fn matches_one(pattern: &[u8], p: usize, name: &[u8], n: usize) -> Option<(usize, usize)> {
    match pattern.get(p)? {
        b'?' => Some((p + 1, n + char_len(name, n))),
        b'[' => match class(&pattern[p..], &name[n..n + char_len(name, n)]) {
            Some((true, length)) => Some((p + length, n + char_len(name, n))),
            Some((false, _)) => None,
            None => (name[n] == b'[').then_some((p + 1, n + 1)),
        },
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some((p + 2, n + 1)),
        &byte => (byte == name[n]).then_some((p + 1, n + 1)),
    }
}

/// Whether `character` is in the class that `pattern` begins with, and the class's length; none if it has no end.
fn class(pattern: &[u8], character: &[u8]) -> Option<(bool, usize)> {
    let text = std::str::from_utf8(pattern).ok()?;
    let wanted = std::str::from_utf8(character).ok()?.chars().next()?;
    let negated = text[1..].starts_with(['!', '^']);
    let body = &text[if negated { 2 } else { 1 }..];
    // A `]` that comes first is itself.
    let first = body.chars().next()?.len_utf8();
    let end = first + body[first..].find(']')?;
    let mut found = false;
    let mut chars = body[..end].chars().peekable();
    while let Some(from) = chars.next() {
        let mut ahead = chars.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) => {
                chars = ahead;
                to
            }
            _ => from,
        };
        found |= (from..=to).contains(&wanted);
    }
    Some((found != negated, text.len() - body.len() + end + 1))
}

fn char_len(name: &[u8], at: usize) -> usize {
    match name[at] {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
    .min(name.len() - at)
}

/// `a{b,c}d` → `abd`, `acd`; nested ones too; an unclosed brace stays as it is.
fn expand_braces(pattern: &str) -> Vec<String> {
    let Some((open, close)) = outer_braces(pattern) else {
        return vec![pattern.to_owned()];
    };
    let (head, tail) = (&pattern[..open], &pattern[close + 1..]);
    let tails = expand_braces(tail);
    let mut all = Vec::new();
    for choice in split_choices(&pattern[open + 1..close]) {
        for middle in expand_braces(choice) {
            all.extend(tails.iter().map(|tail| format!("{head}{middle}{tail}")));
        }
    }
    all
}

fn outer_braces(pattern: &str) -> Option<(usize, usize)> {
    let open = pattern.find('{')?;
    let mut depth = 0;
    for (at, byte) in pattern.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((open, at));
        }
    }
    None
}

fn split_choices(body: &str) -> Vec<&str> {
    let (mut depth, mut from, mut choices) = (0, 0, Vec::new());
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                choices.push(&body[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    choices.push(&body[from..]);
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_users_expect() {
        let yes = [
            ("**/*.py", "a.py"),
            ("**/*.py", "x/y/a.py"),
            ("src/**", "src/a"),
            ("src/**", "src/a/b"),
            ("src/**/b", "src/b"),
            ("src/**/b", "src/x/y/b"),
            ("**", "a/b"),
            ("*", ".hidden"),
            ("a?c", "aéc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]x", "]x"),
            ("{a,b/c}/*.{rs,toml}", "b/c/x.toml"),
            ("a*b*c", "aXbYbZc"),
            ("dist/*.pyz", "dist/x.pyz"),
            ("a\\*b", "a*b"),
            ("**/tests/**/*.py", "a/tests/b/c.py"),
        ];
        for (pattern, path) in yes {
            assert!(Glob::new(pattern).matches(path), "{pattern} {path}");
        }
        let no = [
            ("*.py", "x/a.py"),
            ("src/*", "src/a/b"),
            ("src/**", "srcs/a"),
            ("[!a-c]x", "bx"),
            ("a?c", "ac"),
            ("a*b", "ab/b"),
            ("**/*.py", "a.pyc"),
            ("a/b", "a"),
            ("a", "a/b"),
            ("", "a"),
            ("src/**", "src"),
        ];
        for (pattern, path) in no {
            assert!(!Glob::new(pattern).matches(path), "{pattern} {path}");
        }
    }

    #[test]
    fn directories_that_can_hold_a_match_are_told_from_others() {
        for (pattern, directory, can) in [
            ("src/**/*.c", "src", true),
            ("src/**/*.c", "src/a/b", true),
            ("src/**/*.c", "srcs", false),
            ("src/*/x.c", "src/a", true),
            ("src/*/x.c", "src/a/b", false),
            ("src/a/b/*.c", "src/a", true),
            ("*.c", "a", false),
            ("*.c", "a.c", false),
            ("*/*.c", "a", true),
            ("{a/b,c}/*", "c", true),
            ("{a/b,c}/*", "b", false),
            ("a?/*/c", "ab/x", true),
            ("a?/*/c", "b/x", false),
        ] {
            let told = Glob::new(pattern).can_match_below(directory);
            assert_eq!(told, can, "{pattern} {directory}");
        }
    }

    #[test]
    fn bases_are_what_comes_before_the_first_wildcard() {
        let base = |pattern| Glob::new(pattern).bases().collect::<Vec<_>>();
        assert_eq!(base("src/a/*.rs"), ["src/a"]);
        assert_eq!(base("**/*.rs"), [""]);
        assert_eq!(base("src/a.rs"), ["src"]);
        assert_eq!(base("{a/b,c}/*"), ["a/b", "c"]);
    }

    #[test]
    fn braces_stand_for_what_can_be_compared() {
        let many = |part: &str, times| part.repeat(times);
        for few in [
            "",
            "{",
            "}{,",
            "{a,b}",
            &many("{a,b}", 9),
            &many("{a}", 900),
        ] {
            assert!(!has_too_many(few), "{few}");
        }
        let nested = many("{a,", 100_000) + &many("}", 100_000);
        for too_many in [
            many("{a,b}", 40),
            many("{a}", 100_000),
            many("{", 100_000),
            nested,
        ] {
            assert!(has_too_many(&too_many), "{too_many}");
            assert!(Glob::new(&too_many).matches(&too_many));
        }
        let words = |count: usize| format!("{{{}}}", many("a,", count - 1));
        assert!(!has_too_many(&words(MOST)) && has_too_many(&words(MOST + 1)));
    }

    #[test]
    fn braces_may_hide_what_climbs() {
        for out in ["{../a,b}/c", "{a,..}/c", "a/{b,{.,c}.}", "{a/..,b}"] {
            assert!(climbs(out), "{out}");
        }
        for inside in ["a", "a..b", "{a..,..b}/c", "{a,b}../c"] {
            assert!(!climbs(inside), "{inside}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_globset(pattern in "([a-c]|\\*|\\?|/|\\*\\*/|\\[ab\\]){1,8}", path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
            prop_assume!(!pattern.contains("***") && !pattern.contains("//") && !pattern.starts_with('/') && !pattern.ends_with('/'));
            prop_assume!(pattern.split('/').all(|part| part == "**" || !part.contains("**")));
            let theirs = globset::GlobBuilder::new(&pattern).literal_separator(true).build().expect("compiles").compile_matcher();
            prop_assert_eq!(Glob::new(&pattern).matches(&path), theirs.is_match(&path));
        }

        #[test]
        fn never_panics(pattern in "\\PC{0,20}", path in "\\PC{0,20}") {
            let glob = Glob::new(&pattern);
            glob.matches(&path);
            glob.bases().count();
        }
    }
}

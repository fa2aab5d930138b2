//! Lines of ignore files as git's `wildmatch` takes them, told to the builder of patterns, which takes some for others.

use std::str::Chars;

/// A line for the builder; none where there is no pattern in it, or one that git lets match nothing.
pub fn translated(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = without_trailing_spaces(line);
    let (negation, pattern) = match line.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", line),
    };
    let (pattern, end) = match pattern.strip_suffix('/') {
        Some(pattern) => (pattern, "/"),
        None => (pattern, ""),
    };
    // Said here, since a class may get a slash that the builder would take for a reason to begin at the top.
    let start = if pattern.contains('/') { "/" } else { "**/" };
    let mut rest = pattern.strip_prefix('/').unwrap_or(pattern).chars();
    if rest.as_str().is_empty() {
        return None;
    }
    let mut told = format!("{negation}{start}");
    while let Some(c) = rest.next() {
        match c {
            '\\' => push_escaped(&mut told, rest.next()?),
            '[' => told += &class(&mut rest)?,
            '{' | '}' => push_escaped(&mut told, c),
            // The builder trims more than spaces.
            c if c.is_whitespace() && rest.as_str().is_empty() => push_escaped(&mut told, c),
            c => told.push(c),
        }
    }
    Some(told + end)
}

/// Nothing is an escape in a class, so it holds what the builder would take for something else at the end of a line.
fn push_escaped(told: &mut String, c: char) {
    if c == '\\' || c.is_whitespace() {
        told.extend(['[', c, ']']);
    } else {
        told.extend(['\\', c]);
    }
}

fn without_trailing_spaces(line: &str) -> &str {
    let bare = line.trim_end_matches(' ');
    let backslashes = bare.len() - bare.trim_end_matches('\\').len();
    let is_escaped = bare.len() < line.len() && backslashes % 2 == 1;
    &line[..bare.len() + usize::from(is_escaped)]
}

/// A class of characters, of which the `[` was taken.
fn class(rest: &mut Chars<'_>) -> Option<String> {
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut set = Set::default();
    let mut previous = None;
    let mut is_first = true;
    loop {
        let c = rest.next()?;
        if c == ']' && !is_first {
            return set.told(negated);
        }
        is_first = false;
        let mut ahead = rest.clone();
        let next = ahead.next();
        previous = match (c, previous, next) {
            ('\\', ..) => {
                let c = rest.next()?;
                set.add(c, c);
                Some(c)
            }
            ('-', Some(from), Some(to)) if to != ']' => {
                *rest = ahead;
                set.add(from, if to == '\\' { rest.next()? } else { to });
                None
            }
            ('[', _, Some(':')) => {
                let (inner, after) = ahead.as_str().split_once(']')?;
                if let Some(name) = inner.strip_suffix(':') {
                    set.add_named(name)?;
                    *rest = after.chars();
                    None
                } else {
                    set.add('[', '[');
                    Some('[')
                }
            }
            _ => {
                set.add(c, c);
                Some(c)
            }
        };
    }
}

/// The characters of a class.
struct Set {
    ascii: [bool; 128],
    /// The others as the builder takes them: bytes and ranges of bytes, as they are to git.
    beyond: String,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            ascii: [false; 128],
            beyond: String::new(),
        }
    }
}

impl Set {
    fn add(&mut self, from: char, to: char) {
        for (at, held) in (0_u8..).zip(&mut self.ascii) {
            *held |= (from..=to).contains(&char::from(at));
        }
        if to.is_ascii() || from > to {
            return;
        }
        if from < to {
            self.beyond.extend([from.max('\u{80}'), '-']);
        }
        self.beyond.push(to);
    }

    /// None where git knows no such name.
    fn add_named(&mut self, name: &str) -> Option<()> {
        let holds: fn(&u8) -> bool = match name {
            "alnum" => u8::is_ascii_alphanumeric,
            "alpha" => u8::is_ascii_alphabetic,
            "blank" => |byte| matches!(byte, b' ' | b'\t'),
            "cntrl" => u8::is_ascii_control,
            "digit" => u8::is_ascii_digit,
            "graph" => u8::is_ascii_graphic,
            "lower" => u8::is_ascii_lowercase,
            "print" => |byte| matches!(byte, b' '..=b'~'),
            "punct" => u8::is_ascii_punctuation,
            "space" => |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
            "upper" => u8::is_ascii_uppercase,
            "xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        for (at, held) in (0_u8..).zip(&mut self.ascii) {
            *held |= holds(&at);
        }
        Some(())
    }

    /// A slash is matched by no class.
    fn told(mut self, negated: bool) -> Option<String> {
        self.ascii[usize::from(b'/')] = negated;
        let held = (0_u8..).zip(self.ascii).filter(|(_, held)| *held);
        let mut held: Vec<char> = held.map(|(at, _)| char::from(at)).collect();
        // Those that mean something at some place in a class go where they mean themselves.
        held.sort_by_key(|c| match c {
            ']' => 0,
            '!' | '^' => 2,
            '-' => 3,
            _ => 1,
        });
        let is_plain = self.beyond.is_empty();
        match held.first() {
            None if is_plain => None,
            Some('!' | '^') if is_plain && !negated => {
                let each: Vec<String> = held.iter().map(|c| format!("\\{c}")).collect();
                Some(format!("{{{}}}", each.join(",")))
            }
            _ => {
                let first = held.iter().take_while(|c| !matches!(c, '!' | '^' | '-'));
                let (first, last) = held.split_at(first.count());
                let [first, last] = [first, last].map(|part| part.iter().collect::<String>());
                let negation = if negated { "!" } else { "" };
                Some(format!("[{negation}{first}{}{last}]", self.beyond))
            }
        }
    }
}

//! Text that others print, made fit for a message: plain, short, of whole lines.

/// Most lines of a log in a message.
const LINES: usize = 20;
/// Most bytes of a log in a message.
const BYTES: usize = 2000;
/// Most characters of a text of one line.
const WIDTH: usize = 300;

/// The last lines of a log, without colours and control characters.
pub fn tail(log: &[u8]) -> String {
    // More than enough for lines with many colours; the whole may be megabytes.
    let end = &log[log.len().saturating_sub(16 * BYTES)..];
    let text = String::from_utf8_lossy(end);
    let text = console::strip_ansi_codes(&text);
    let mut kept: Vec<String> = Vec::new();
    let mut room = BYTES;
    for line in text.trim_end().lines().rev().take(LINES) {
        let line: String = line
            .chars()
            .filter(|c| *c == '\t' || is_shown(*c))
            .collect();
        let line = line.trim_end();
        if line.len() + 1 > room {
            if kept.is_empty() {
                kept.push(last(line, room).to_owned());
            }
            break;
        }
        room -= line.len() + 1;
        kept.push(line.to_owned());
    }
    kept.reverse();
    kept.join("\n").trim_matches('\n').to_owned()
}

/// The same without line ends, cut where it gets long.
pub fn one_line(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    let words: Vec<&str> = plain
        .split(|c: char| c.is_whitespace() || !is_shown(c))
        .collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    cut(&words.join(" "), WIDTH)
}

/// At most so many characters; what is cut off becomes `…`.
pub fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// The end of a text, at most so many bytes, cut between characters.
pub fn last(text: &str, bytes: usize) -> &str {
    let mut at = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(at) {
        at += 1;
    }
    &text[at..]
}

/// Control characters say nothing, and those that turn the writing direction make text lie.
fn is_shown(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_by_its_last_lines() {
        let many: String = (1..=100).map(|n| format!("line {n}\n")).collect();
        let told = tail(many.as_bytes());
        assert!(told.starts_with("line 81\n") && told.ends_with("line 100"));
        assert_eq!(tail(b"\x1b[31mred\x1b[0m\r\n\x07bell\n\n\n"), "red\nbell");
        assert_eq!(tail(b"\n\n"), "");
        let long = tail(&[b'x'; 100_000]);
        assert_eq!(long.len(), BYTES);
        let wide = tail("ä".repeat(50_000).as_bytes());
        assert!(wide.len() <= BYTES && wide.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(
            one_line("a\r\nSubject: b\x1b[1m\u{202e}c"),
            "a Subject: b c"
        );
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), WIDTH);
    }
}

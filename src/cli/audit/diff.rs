//! Two versions of a text, as a unified diff. Knows nothing of what the text is.

use std::fmt::Write;

/// Lines around a change.
const CONTEXT: usize = 3;

/// A line of both, of the old or of the new text.
#[derive(Clone, Copy)]
enum Line<'a> {
    Both(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// Empty where nothing differs.
pub fn unified(name: &str, old: &str, new: &str) -> String {
    let lines = compare(
        &old.lines().collect::<Vec<_>>(),
        &new.lines().collect::<Vec<_>>(),
    );
    let mut text = String::new();
    let mut from = 0;
    while let Some(first) = next_change(&lines, from) {
        let mut end = first + 1;
        // Changes whose surroundings touch are one hunk.
        while let Some(next) = next_change(&lines, end).filter(|next| *next <= end + 2 * CONTEXT) {
            end = next + 1;
        }
        let start = first.saturating_sub(CONTEXT).max(from);
        let stop = (end + CONTEXT).min(lines.len());
        if text.is_empty() {
            let _ = writeln!(text, "--- {name}\n+++ {name}");
        }
        hunk(&lines, start, stop, &mut text);
        from = stop;
    }
    text
}

fn next_change(lines: &[Line], from: usize) -> Option<usize> {
    let mut rest = lines.iter().skip(from);
    let at = rest.position(|line| !matches!(line, Line::Both(_)))?;
    Some(from + at)
}

fn hunk(lines: &[Line], start: usize, stop: usize, text: &mut String) {
    let count = |lines: &[Line]| {
        let old = lines.iter().filter(|line| !matches!(line, Line::New(_)));
        let new = lines.iter().filter(|line| !matches!(line, Line::Old(_)));
        (old.count(), new.count())
    };
    let (before_old, before_new) = count(&lines[..start]);
    let (old, new) = count(&lines[start..stop]);
    let (at_old, at_new) = (before_old + 1, before_new + 1);
    // Writing to a string can't fail.
    let _ = writeln!(text, "@@ -{at_old},{old} +{at_new},{new} @@");
    for line in &lines[start..stop] {
        let _ = match line {
            Line::Both(line) => writeln!(text, " {line}"),
            Line::Old(line) => writeln!(text, "-{line}"),
            Line::New(line) => writeln!(text, "+{line}"),
        };
    }
}

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(same)
        .count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut lines: Vec<Line> = old[..head].iter().map(|line| Line::Both(line)).collect();
    between(&old[head..old_end], &new[head..new_end], &mut lines);
    lines.extend(old[old_end..].iter().map(|line| Line::Both(line)));
    lines
}

/// By the longest common subsequence.
fn between<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = new.len() + 1;
    let mut longest = vec![0u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let below = longest[(i + 1) * width + j].max(longest[i * width + j + 1]);
            longest[i * width + j] = match a == b {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => below,
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Both(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_changes_are_hunks_of_their_own() {
        let old: String = (1..=20).map(|line| format!("{line}\n")).collect();
        let new = old.replace("2\n", "two\n").replace("19\n", "");
        let old = old.as_str();
        let text = unified("f", old, &new);
        assert_eq!(text.matches("@@ -").count(), 2, "{text}");
        assert!(
            text.contains("\n-19\n") && text.contains("\n+two\n"),
            "{text}"
        );
        assert_eq!(unified("f", old, old), "");
    }

    #[test]
    fn patch_understands_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (old, new) = ("a\nb\nc\nd\ne\nf\n", "a\nx\nc\nd\nf\ng\n");
        std::fs::write(dir.path().join("f"), old).expect("written");
        std::fs::write(dir.path().join("d"), unified("f", old, new)).expect("written");
        let mut patch = std::process::Command::new("patch");
        let done = patch
            .current_dir(dir.path())
            .args(["-s", "f", "d"])
            .status();
        assert!(done.expect("patch starts").success());
        assert_eq!(
            std::fs::read_to_string(dir.path().join("f")).expect("there"),
            new
        );
    }
}

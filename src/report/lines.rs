//! One line of text for one thing that happened. Pure: knows nothing of streams and of what was said before.

use std::time::Duration;

use crate::engine::event::{Counts, Event, Finished, Image, Outcome};

use super::style::{Paint, Style, count, duration, printable, wrapped};

/// The symbol that goes with an outcome, in its colour.
fn symbol(outcome: Outcome, paint: Paint) -> String {
    match outcome {
        Outcome::Fresh => paint.cached("="),
        Outcome::Restored => paint.cached("↓"),
        Outcome::Ran => paint.good("✓"),
        Outcome::Failed => paint.bad("✗"),
        Outcome::Skipped => paint.notice("–"),
        Outcome::Cancelled => paint.bad("■"),
    }
}

/// What a target that ended is said to have done, with its time: `ran in 3.1s`.
pub fn outcome(finished: &Finished) -> String {
    let name = finished.outcome.name();
    match finished.outcome {
        Outcome::Fresh | Outcome::Skipped => name.to_owned(),
        Outcome::Cancelled => format!("{name} after {}", duration(finished.duration)),
        _ => format!("{name} in {}", duration(finished.duration)),
    }
}

/// `✓ lint · ran in 3.1s · app/main.py changed`
pub fn finished(finished: &Finished, style: &Style) -> String {
    let mut head = format!(
        "{} {} · {}",
        symbol(finished.outcome, style.paint),
        style.paint.bold(&printable(&finished.target)),
        outcome(finished),
    );
    if finished.attempts > 1 {
        head += &format!(
            " · {}",
            count(finished.attempts as usize, "attempt", "attempts")
        );
    }
    if finished.flaky {
        head += &format!(" · {}", style.paint.notice("flaky"));
    }
    style.line(&head, &finished.reason)
}

/// Below the line of a target that gave an image: where that is, in full, so that it can be copied.
pub fn image(image: &Image) -> String {
    let verb = if image.pushed {
        "pushed"
    } else {
        "in the engine"
    };
    let mut line = format!("  {verb} {}", printable(&image.reference));
    if !image.tags.is_empty() {
        line += &format!(" · {}", printable(&image.tags.join(", ")));
    }
    line
}

/// Above the output of a target that failed: `✗ test failed: exit code 1 · Pipeline.toml:12`, and its commands.
pub fn failure(finished: &Finished, commands: &[String], style: Style) -> String {
    let mut title = format!("✗ {} failed", printable(&finished.target));
    if !finished.reason.is_empty() {
        title += &format!(": {}", printable(&finished.reason));
    }
    if let Some(code) = finished.exit_code
        && !finished.reason.contains(&format!("exit code {code}"))
    {
        title += &format!(" · exit code {code}");
    }
    if finished.attempts > 1 {
        title += &format!(
            " · {}",
            count(finished.attempts as usize, "attempt", "attempts")
        );
    }
    let (file, line) = &finished.location;
    if !file.is_empty() {
        title += &format!(" · {}:{line}", printable(file));
    }
    let rows = wrapped(&title, style.columns());
    let rows: Vec<String> = rows.iter().map(|row| style.paint.bad(row)).collect();
    format!("{}\n{}", rows.join("\n"), self::commands(commands))
}

/// `  $ ruff check .`, a script's further lines below it.
pub fn commands(commands: &[String]) -> String {
    let mut out = String::new();
    for command in commands {
        for (i, line) in command.trim_end().lines().enumerate() {
            out += if i == 0 { "  $ " } else { "    " };
            out += &printable(line);
            out.push('\n');
        }
    }
    out
}

/// `! lint: what is wrong`, and what to do about it below.
pub fn warning(target: Option<&str>, message: &str, help: Option<&str>, paint: Paint) -> String {
    let subject = target
        .map(|t| format!("{}: ", printable(t)))
        .unwrap_or_default();
    let mut out = format!("{} {subject}{}\n", paint.notice("!"), paragraph(message));
    if let Some(help) = help {
        out += &format!("  help: {}\n", paragraph(help));
    }
    out
}

/// Line ends stay, further lines set in.
fn paragraph(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n  ")
}

/// How the run ended: what a closing line is made of.
pub struct Closing {
    pub ok: bool,
    /// Targets whose image was built, not found.
    pub built: Vec<String>,
    pub counts: Counts,
    pub duration: Duration,
    pub saved: Duration,
    pub exit_code: u8,
}

impl Closing {
    /// From the last event of a run; none from any other.
    pub fn of(event: &Event) -> Option<Closing> {
        let &Event::RunFinished {
            ok,
            counts,
            duration,
            saved,
            exit_code,
        } = event
        else {
            return None;
        };
        Some(Closing {
            ok,
            built: Vec::new(),
            counts,
            duration,
            saved,
            exit_code,
        })
    }
}

/// Whose image the end of a target says was built.
pub fn built(finished: &Finished) -> Option<String> {
    let built = finished.outcome == Outcome::Ran && finished.image.is_some();
    built.then(|| finished.target.to_string())
}

/// `✓ 3 ran, 12 fresh, 1 restored in 4.2s · built api:image · saved 1m 10s`
pub fn closing(closing: &Closing, paint: Paint) -> String {
    let interrupted = closing.exit_code == 130;
    let counts = counted(&closing.counts, closing.ok);
    let mut text = match (interrupted, counts.is_empty()) {
        (true, true) => "interrupted".to_owned(),
        (true, false) => format!("interrupted: {counts}"),
        (false, true) if closing.ok => "nothing to do".to_owned(),
        (false, true) => "nothing ran".to_owned(),
        (false, false) => counts,
    };
    text += &format!(" in {}", duration(closing.duration));
    let symbol = match (interrupted, closing.ok) {
        (true, _) => paint.bad("■"),
        (false, true) => paint.good("✓"),
        (false, false) => paint.bad("✗"),
    };
    let saved = match closing.saved {
        // Less can't be told from noise.
        saved if saved < Duration::from_millis(50) => String::new(),
        saved => format!(" · saved {}", duration(saved)),
    };
    let built = match closing.built.as_slice() {
        [] => String::new(),
        built => format!(" · built {}", printable(&built.join(", "))),
    };
    format!("{symbol} {}{built}{saved}", paint.bold(&text))
}

/// What went wrong first, what didn't happen at all last; nothing that counts zero.
fn counted(counts: &Counts, ok: bool) -> String {
    let skipped = (counts.skipped, "skipped");
    let mut parts = vec![(counts.failed, "failed"), (counts.cancelled, "cancelled")];
    if !ok {
        parts.push(skipped);
    }
    parts.extend([
        (counts.ran, "ran"),
        (counts.fresh, "fresh"),
        (counts.restored, "restored"),
    ]);
    if ok {
        parts.push(skipped);
    }
    list(parts)
}

/// The closing line of `--dry-run`, from the number of targets planned for each action.
pub fn planned(actions: &[(&'static str, usize)], paint: Paint) -> String {
    let of = |name| {
        actions
            .iter()
            .find(|(action, _)| *action == name)
            .map_or(0, |(_, n)| *n)
    };
    let text = list(vec![
        (of("run"), "would run"),
        (of("deploy"), "would be deployed"),
        (of("restore"), "would be restored"),
        (of("fresh"), "fresh"),
        (of("skip"), "would be skipped"),
    ]);
    let text = if text.is_empty() {
        "nothing to do".to_owned()
    } else {
        text
    };
    format!("{} (dry run: nothing was changed)", paint.bold(&text))
}

fn list(parts: Vec<(usize, &str)>) -> String {
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ok: bool, exit_code: u8, saved: u64, n: [usize; 6]) -> String {
        let [fresh, restored, ran, failed, skipped, cancelled] = n;
        let counts = Counts {
            fresh,
            restored,
            ran,
            failed,
            skipped,
            cancelled,
        };
        let (duration, saved) = (Duration::from_millis(4200), Duration::from_secs(saved));
        closing(
            &Closing {
                built: Vec::new(),
                ok,
                counts,
                duration,
                saved,
                exit_code,
            },
            Paint::new(false),
        )
    }

    #[test]
    fn closing_lines() {
        let table = [
            (
                close(true, 0, 70, [12, 1, 3, 0, 0, 0]),
                "✓ 3 ran, 12 fresh, 1 restored in 4.2s · saved 1m 10s",
            ),
            (
                close(true, 0, 0, [0, 0, 1, 0, 2, 0]),
                "✓ 1 ran, 2 skipped in 4.2s",
            ),
            (
                close(false, 1, 0, [0, 0, 3, 1, 2, 0]),
                "✗ 1 failed, 2 skipped, 3 ran in 4.2s",
            ),
            (
                close(false, 130, 0, [0, 0, 1, 0, 0, 2]),
                "■ interrupted: 2 cancelled, 1 ran in 4.2s",
            ),
            (close(false, 130, 0, [0; 6]), "■ interrupted in 4.2s"),
            (close(true, 0, 0, [0; 6]), "✓ nothing to do in 4.2s"),
            (close(false, 4, 0, [0; 6]), "✗ nothing ran in 4.2s"),
        ];
        for (got, expected) in table {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_plan_is_counted_by_action() {
        let actions = [("run", 3), ("fresh", 12), ("skip", 1)];
        assert_eq!(
            planned(&actions, Paint::new(false)),
            "3 would run, 12 fresh, 1 would be skipped (dry run: nothing was changed)"
        );
    }

    #[test]
    fn scripts_are_set_in() {
        let lines = ["set -x\nruff .\n".to_owned(), "mypy \x1b[1m".to_owned()];
        assert_eq!(
            commands(&lines),
            "  $ set -x\n    ruff .\n  $ mypy \\x1b[1m\n"
        );
    }
}

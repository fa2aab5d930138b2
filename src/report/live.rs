//! The live region of a terminal: a bar for the whole run and what is running, with clocks.
//! Knows nothing of events or of the lines above it.
//!
//! It exists only once something has been running for a moment: a run of fresh targets never draws it.
//! Every frame is one text given to one indicatif bar, so that a frame is drawn whole or not at all.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::sink::Sink;
use super::style::{clock, cut, cut_start, printable};
use super::terminal::Terminal;

/// What runs shorter than this isn't worth a region.
const WORTH_SHOWING: Duration = Duration::from_millis(100);

/// Columns of the bar.
const BAR: usize = 24;

/// One line below the bar.
struct Row {
    name: String,
    /// `attempt 2`, `waits for another forge`.
    note: String,
    since: Instant,
}

/// The region, drawn or not yet.
pub struct Live {
    /// Until it is drawn for the first time.
    target: Option<Terminal>,
    bar: Option<ProgressBar>,
    rows: Vec<Row>,
    started: Instant,
    done: usize,
    total: usize,
    size: fn() -> (u16, u16),
    suspended: bool,
}

impl Live {
    pub fn new(sink: Sink, size: fn() -> (u16, u16), started: Instant) -> Live {
        Live {
            target: Some(Terminal::new(sink, size)),
            bar: None,
            rows: Vec::new(),
            started,
            done: 0,
            total: 0,
            size,
            suspended: false,
        }
    }

    /// How many targets there are in all.
    pub fn begin(&mut self, total: usize, now: Instant) {
        self.total = total;
        self.started = now;
    }

    /// A row for `name`; one that has a row keeps its clock.
    pub fn show(&mut self, name: &str, note: &str, now: Instant) {
        let name = printable(name).into_owned();
        let note = printable(note).into_owned();
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.note = note,
            None => self.rows.push(Row {
                name,
                note,
                since: now,
            }),
        }
    }

    /// Takes the row away.
    pub fn hide(&mut self, name: &str) {
        let name = printable(name);
        self.rows.retain(|row| row.name != name);
    }

    /// One more target has ended.
    pub fn done(&mut self, name: &str) {
        self.hide(name);
        self.done += 1;
    }

    /// Draws the next frame; the first one when something has been running for long enough.
    pub fn tick(&mut self, now: Instant) {
        if self.suspended {
            return;
        }
        let worth = |row: &Row| now.saturating_duration_since(row.since) >= WORTH_SHOWING;
        if self.bar.is_none()
            && self.rows.iter().any(worth)
            && let Some(target) = self.target.take()
        {
            let bar = ProgressBar::with_draw_target(None, draw_target(target));
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(self.frame(now));
        }
    }

    /// Runs `write`, which writes permanent lines, with the region out of the way.
    pub fn print(&mut self, now: Instant, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) if !self.suspended => {
                bar.set_message(self.frame(now));
                bar.suspend(write);
            }
            _ => write(),
        }
    }

    /// Gives the terminal away, or takes it back.
    pub fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        match (&self.bar, suspended) {
            (Some(bar), true) => bar.finish_and_clear(),
            (Some(bar), false) => bar.reset(),
            (None, _) => {}
        }
    }

    /// The region is gone for good.
    pub fn end(&mut self) {
        self.target = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn frame(&self, now: Instant) -> String {
        let (height, width) = (self.size)();
        // The last column stays empty: some terminals wrap when it is written.
        let width = usize::from(width.max(2)) - 1;
        let mut lines = vec![cut(&self.headline(now), width).into_owned()];
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.name.cmp(&b.name)));
        let shown = rows.len().min(usize::from(height).saturating_sub(4).max(1));
        lines.extend(rows.iter().take(shown).map(|row| row.line(now, width)));
        if rows.len() > shown {
            lines.push(format!("          … and {} more", rows.len() - shown));
        }
        lines.join("\n")
    }

    fn headline(&self, now: Instant) -> String {
        let full = (self.done * BAR)
            .checked_div(self.total)
            .unwrap_or(0)
            .min(BAR);
        let elapsed = clock(now.saturating_duration_since(self.started));
        format!(
            "{}{} {}/{} · {elapsed}",
            "━".repeat(full),
            "╌".repeat(BAR - full),
            self.done,
            self.total
        )
    }
}

fn draw_target(terminal: Terminal) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(terminal), 20)
}

impl Row {
    /// `     6.2s  billing:test · attempt 2`
    fn line(&self, now: Instant, width: usize) -> String {
        let time = format!("{:>8}  ", clock(now.saturating_duration_since(self.since)));
        let room = width.saturating_sub(time.len());
        let name = cut_start(&self.name, room);
        let left = room.saturating_sub(console::measure_text_width(&name) + 3);
        if self.note.is_empty() || left < 8 {
            return format!("{time}{name}");
        }
        format!("{time}{name} · {}", cut(&self.note, left))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(size: fn() -> (u16, u16), now: Instant) -> Live {
        let mut live = Live::new(Sink::new(Box::new(std::io::sink())), size, now);
        live.begin(6, now);
        live
    }

    #[test]
    fn nothing_is_drawn_before_something_takes_time() {
        let now = Instant::now();
        let mut live = live(|| (24, 80), now);
        live.tick(now + Duration::from_secs(9));
        assert!(live.bar.is_none(), "nothing runs");
        live.show("lint", "", now);
        live.tick(now + Duration::from_millis(99));
        assert!(live.bar.is_none(), "not for long");
        live.tick(now + Duration::from_millis(100));
        assert!(live.bar.is_some());
    }

    #[test]
    fn a_suspended_region_waits() {
        let now = Instant::now();
        let mut live = live(|| (24, 80), now);
        live.show("shell", "", now);
        live.suspend(true);
        live.tick(now + Duration::from_secs(1));
        assert!(live.bar.is_none());
        live.suspend(false);
        live.tick(now + Duration::from_secs(1));
        assert!(live.bar.is_some());
    }

    #[test]
    fn a_frame_has_the_longest_first_and_fits() {
        let now = Instant::now();
        let mut live = live(|| (6, 40), now);
        live.done("venv");
        live.done("black");
        let second = Duration::from_secs(1);
        live.show(
            "billing:a-name-that-is-longer-than-the-line:test",
            "",
            now + second,
        );
        live.show("lint", "app/main.py changed and more than that", now);
        live.show("late", "", now + 2 * second);
        live.show("later", "", now + 3 * second);
        let frame = live.frame(now + 65 * second);
        let expected = "\
━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 2/6 · 1m 05s
  1m 05s  lint · app/main.py changed a…
  1m 04s  …is-longer-than-the-line:test
          … and 2 more";
        assert_eq!(frame, expected);
        assert!(
            frame
                .lines()
                .all(|line| console::measure_text_width(line) < 40)
        );
    }

    #[test]
    fn a_tiny_terminal_is_no_trouble() {
        let now = Instant::now();
        let mut live = live(|| (0, 0), now);
        live.show("lint", "note", now);
        live.total = 0;
        assert!(!live.frame(now).is_empty());
    }

    #[test]
    fn lines_go_above_and_the_region_leaves_nothing() {
        let written = Shared::default();
        let sink = Sink::new(Box::new(written.clone()));
        let now = Instant::now();
        let mut live = Live::new(sink.clone(), || (24, 40), now);
        live.begin(1, now);
        live.show("lint", "", now);
        live.tick(now + Duration::from_millis(100));
        let bar = "╌".repeat(24);
        let first = format!("{bar} 0/1 · 0.1s\x1b[K\r\n    0.1s  lint\x1b[K");
        assert_eq!(written.take(), first);
        live.done("lint");
        live.print(now + Duration::from_millis(200), || sink.write(b"done\n"));
        let text = written.take();
        let (clear, rest) = text.split_once("done\n").unwrap();
        assert!(clear.ends_with("\r\x1b[2K"), "{clear:?}");
        assert_eq!(rest, format!("{} 1/1 · 0.2s\x1b[K", "━".repeat(24)));
        live.end();
        assert_eq!(written.take(), "\r\x1b[2K");
    }

    #[test]
    fn a_drawn_region_goes_and_comes_back() {
        let written = Shared::default();
        let now = Instant::now();
        let mut live = Live::new(Sink::new(Box::new(written.clone())), || (24, 40), now);
        live.show("build", "", now);
        live.tick(now + Duration::from_secs(1));
        written.take();
        live.suspend(true);
        assert!(
            written.take().ends_with("\r\x1b[2K\x1b[1A"),
            "the cursor is where the region began"
        );
        live.print(now, || ());
        live.tick(now + Duration::from_secs(2));
        assert_eq!(written.take(), "");
        live.suspend(false);
        live.print(now + Duration::from_secs(3), || ());
        assert!(written.take().contains("    3.0s  build"));
    }

    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Shared {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}

//! `forge watch`: runs, then again whenever a file changes.
//!
//! The pipeline files are read again for every run, so a change of them is a change like any other. Whether a change
//! matters is the cache's question: whatever isn't plainly irrelevant leads to a run, and one that finds everything
//! fresh isn't mentioned.

mod eyes;
mod quiet;
mod relevance;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::report::reporter;
use crate::report::style::{count, printable};

use super::args::Words;
use super::context::{Context, Ended, say};
use super::run::{execute, prepare};

use eyes::{Eyes, Happening};
use quiet::Quiet;
use relevance::Relevance;

/// So long nothing must change before it is run: editors and git write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// Something that never stops changing doesn't hold up a run for longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// In so many runs on end a file may change before it is taken for something that the run itself writes.
const STREAK: usize = 3;

/// Runs until a signal ends it; the exit code.
///
/// # Errors
/// What keeps the first run from beginning.
pub fn run(context: &Context, words: &Words) -> Result<u8, Ended> {
    let (happens, happening) = unbounded();
    let interrupted = Arc::new(AtomicBool::new(false));
    listen(happens.clone(), Arc::clone(&interrupted))
        .map_err(|error| say(&format!("signals can't be heard: {error}")))?;
    let mut watch = Watch {
        context,
        words,
        interrupted,
        happening,
        eyes: Eyes::open(happens),
        relevance: None,
        streaks: HashMap::new(),
    };
    watch.warn();
    let mut changed = None;
    loop {
        let first = changed.is_none();
        match watch.once(changed.as_ref()) {
            Ok(Ran::Interrupted) => return Ok(130),
            Err(ended) if first => return Err(ended),
            Ok(Ran::Silently) if !first => {}
            _ => watch.tell("Waiting for changes (Ctrl-C ends)."),
        }
        match watch.next() {
            Some(paths) => changed = Some(paths),
            None => return Ok(130),
        }
    }
}

/// Sends what asks the process to end.
fn listen(happens: Sender<Happening>, interrupted: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let builder = std::thread::Builder::new().name("watch-signals".into());
    builder.spawn(move || {
        for _ in signals.forever() {
            interrupted.store(true, Ordering::Relaxed);
            if happens.send(Happening::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// What one run came to.
enum Ran {
    /// Everything was fresh.
    Silently,
    Visibly,
    Interrupted,
}

/// Paths relative to the workspace; empty where nobody knows which.
type Changed = BTreeSet<String>;

struct Watch<'a> {
    context: &'a Context,
    words: &'a Words,
    /// Ends a run that doesn't listen for signals yet.
    interrupted: Arc<AtomicBool>,
    happening: Receiver<Happening>,
    eyes: Eyes,
    /// By the pipeline files as they last were without errors.
    relevance: Option<Relevance>,
    /// In how many runs on end a file changed.
    streaks: HashMap<String, usize>,
}

impl Watch<'_> {
    /// Reads the pipeline files, looks at what there is to watch, and runs: in this order, so that nothing changes unseen.
    fn once(&mut self, changed: Option<&Changed>) -> Result<Ran, Ended> {
        let mut news = changed.map(sentence);
        let of_pipeline = |path: &String| path.ends_with("Pipeline.toml");
        if changed.is_some_and(|changed| changed.iter().any(of_pipeline)) {
            news.take().into_iter().for_each(|news| self.tell(&news));
        }
        let place = self.context.load()?;
        let relevance = Relevance::new(&place.workspace);
        self.eyes.look_at(relevance.directories());
        self.relevance = Some(relevance);
        self.warn();
        let prepared = prepare(self.context, &place, self.words, Some(&self.interrupted))?;
        let Some((session, plan)) = prepared else {
            return Ok(Ran::Silently);
        };
        let mut screen = reporter(self.context.report_options());
        let tell = |text: &str| self.tell(text);
        let mut screen = Quiet::new(&mut *screen, changed.is_some(), move || {
            news.iter().for_each(|news| tell(news));
        });
        let code = execute(&session, &plan, &mut screen);
        Ok(match code {
            130 => Ran::Interrupted,
            _ if screen.has_spoken() => Ran::Visibly,
            _ => Ran::Silently,
        })
    }

    /// What to run again for; none when a signal came first.
    fn next(&mut self) -> Option<Changed> {
        // What changed during the run is told of with a delay.
        let during = self.settle(None)?;
        if self.is_news(&during) {
            return Some(during.paths);
        }
        loop {
            let first = self.happening.recv().ok()?;
            let seen = self.settle(Some(first))?;
            if seen.any() {
                self.streaks.clear();
                return Some(seen.paths);
            }
        }
    }

    /// Collects what happens until nothing does for a moment; none for a signal.
    fn settle(&mut self, first: Option<Happening>) -> Option<Seen> {
        let began = Instant::now();
        let mut seen = Seen::default();
        if let Some(happening) = first {
            self.take_in(happening, &mut seen)?;
        }
        while let Ok(happening) = self.happening.recv_timeout(QUIET) {
            self.take_in(happening, &mut seen)?;
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        Some(seen)
    }

    /// Adds what matters; none for a signal.
    fn take_in(&mut self, happening: Happening, seen: &mut Seen) -> Option<()> {
        match happening {
            Happening::Signal => return None,
            Happening::Overrun => seen.overrun = true,
            Happening::Changed(paths, gone) => {
                if gone {
                    self.eyes.forget(&paths);
                }
                let relevance = self.relevance.iter();
                seen.paths
                    .extend(relevance.flat_map(|relevance| {
                        paths.iter().filter_map(|path| relevance.name(path))
                    }));
            }
        }
        Some(())
    }

    /// Whether what changed during a run asks for another: not what changes every time, which a run writes itself.
    fn is_news(&mut self, during: &Seen) -> bool {
        self.streaks.retain(|path, _| during.paths.contains(path));
        for path in &during.paths {
            *self.streaks.entry(path.clone()).or_default() += 1;
        }
        let own = self.streaks.iter().find(|(_, runs)| **runs >= STREAK);
        let own = own.map(|(path, _)| path.clone());
        let only_own = self.streaks.values().all(|runs| *runs >= STREAK);
        if let (true, Some(path)) = (only_own, own) {
            self.tell(&format!(
                "{} changes in every run: if a target writes it, name it in outputs or have git ignore it.",
                printable(&path)
            ));
            return false;
        }
        during.any()
    }

    fn tell(&self, text: &str) {
        // As the reporters: a reader that went away is no reason to end.
        let _ = if self.context.options.json {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }

    fn warn(&mut self) {
        if let Some(warning) = self.eyes.take_warning() {
            let _ = writeln!(io::stderr(), "! {warning}");
        }
    }
}

/// What happened in a while.
#[derive(Default)]
struct Seen {
    paths: Changed,
    /// More than could be told: anything may have changed.
    overrun: bool,
}

impl Seen {
    fn any(&self) -> bool {
        self.overrun || !self.paths.is_empty()
    }
}

fn sentence(changed: &Changed) -> String {
    match (changed.first(), changed.len()) {
        (None, _) => "Many files changed.".into(),
        (Some(path), 1) => format!("{} changed.", printable(path)),
        (Some(path), all) => format!(
            "{} and {} changed.",
            printable(path),
            count(all - 1, "other file", "other files")
        ),
    }
}

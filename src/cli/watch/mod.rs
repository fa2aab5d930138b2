//! `forge watch`: runs, then again whenever a file changes.
//!
//! Whether a change matters is the cache's question: whatever isn't plainly irrelevant leads to a run, and one that finds
//! everything fresh isn't mentioned. A run looks at what something happened to, and takes the rest for what it was: it costs
//! what the change costs, however large the workspace. Where more than contents may be different (a pipeline file, a directory,
//! what git ignores), everything is read anew, and when nothing has happened for a while, all files are looked at, whether
//! the system told of everything.

mod eyes;
mod quiet;
mod relevance;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cache::stat::Stat;
use crate::engine::active;
use crate::engine::session::{self, Session};
use crate::report::reporter;
use crate::report::style::{count, printable};

use super::args::Words;
use super::context::{Context, Ended, say};
use super::run::{self, Chosen, execute};

use eyes::{Eyes, Happening};
use quiet::Quiet;
use relevance::Relevance;

/// So long nothing must change before it is run: editors and git write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// Something that never stops changing doesn't hold up a run for longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so long without a change there is time to look at everything.
const CALM: Duration = Duration::from_secs(1);
/// So many changes at once are no edit any more.
const MANY: usize = 1000;
/// In so many runs on end a file may change before it is suspected that the run itself writes it.
const STREAK: usize = 3;
/// So often it is looked after all whether somebody else wrote it, each time after a longer pause.
const DOUBTS: usize = 3;

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
        held: None,
        touched: Touched::default(),
        unsettled: false,
        streaks: HashMap::new(),
        took: Duration::ZERO,
    };
    watch.warn();
    let ended = watch.until_interrupted();
    watch.save();
    ended.map(|()| 130)
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

/// What a run knew, for the next.
struct Held {
    session: Arc<Session>,
    chosen: Chosen,
    relevance: Arc<Relevance>,
    /// See [`Relevance::outside`].
    outside: Vec<Option<Stat>>,
}

/// What happened since a run began to look.
#[derive(Default)]
struct Touched {
    paths: BTreeSet<String>,
    /// More than that: nothing that was known holds.
    anything: bool,
}

struct Watch<'a> {
    context: &'a Context,
    words: &'a Words,
    /// Ends a run that doesn't listen for signals yet.
    interrupted: Arc<AtomicBool>,
    happening: Receiver<Happening>,
    eyes: Eyes,
    /// By the pipeline files as they last were without errors.
    relevance: Option<Arc<Relevance>>,
    held: Option<Held>,
    touched: Touched,
    /// There was a run since everything was last looked at and written down.
    unsettled: bool,
    /// In how many runs on end a file changed.
    streaks: HashMap<String, usize>,
    /// How long the last run took.
    took: Duration,
}

/// What follows from what changed during a run.
enum Then {
    Run,
    /// Only if nothing changes for so long.
    RunAfter(Duration),
    Wait,
}

impl Watch<'_> {
    fn until_interrupted(&mut self) -> Result<(), Ended> {
        let mut changed = None;
        loop {
            let first = changed.is_none();
            let began = Instant::now();
            let ran = self.once(changed.as_ref());
            self.took = began.elapsed();
            match ran {
                Ok(Ran::Interrupted) => return Ok(()),
                Err(ended) if first => return Err(ended),
                Ok(Ran::Silently) if !first => {}
                _ => self.tell("Waiting for changes (Ctrl-C ends)."),
            }
            match self.next() {
                Some(paths) => changed = Some(paths),
                None => return Ok(()),
            }
        }
    }

    /// Runs: with what is known from the run before, as far as nothing has happened to it.
    fn once(&mut self, changed: Option<&Changed>) -> Result<Ran, Ended> {
        let mut news = changed.map(sentence);
        let of_pipeline = |path: &String| path.ends_with("Pipeline.toml");
        if changed.is_some_and(|changed| changed.iter().any(of_pipeline)) {
            news.take().into_iter().for_each(|news| self.tell(&news));
        }
        let Some(held) = self.hold()? else {
            return Ok(Ran::Silently);
        };
        let plan = run::plan(self.context, &held.session, &held.chosen)?;
        let mut screen = reporter(self.context.report_options());
        let tell = |text: &str| self.tell(text);
        let mut screen = Quiet::new(&mut *screen, changed.is_some(), move || {
            news.iter().for_each(|news| tell(news));
        });
        let code = execute(&held.session, &plan, &mut screen);
        let spoken = screen.has_spoken();
        self.held = Some(held);
        self.unsettled = true;
        Ok(match code {
            130 => Ran::Interrupted,
            _ if spoken => Ran::Visibly,
            _ => Ran::Silently,
        })
    }

    /// What the run before knew, without what something happened to; else all of it anew.
    fn hold(&mut self) -> Result<Option<Held>, Ended> {
        let touched = std::mem::take(&mut self.touched);
        let options = &self.context.options;
        let may_hold = !(touched.anything || options.affected || options.since.is_some());
        let held = self.held.take();
        let held = held.filter(|held| may_hold && held.relevance.outside() == held.outside);
        if let Some(mut held) = held
            // Somebody has it still, if only for a moment.
            && let Some(session) = Arc::get_mut(&mut held.session)
        {
            session.again();
            session.unlearn(&touched.paths);
            return Ok(Some(held));
        }
        self.hold_anew()
    }

    /// Reads the pipeline files, and looks at what there is to watch before anything else is looked at, so that nothing changes unseen.
    fn hold_anew(&mut self) -> Result<Option<Held>, Ended> {
        let place = self.context.load()?;
        let relevance = Arc::new(Relevance::new(&place.workspace));
        let outside = relevance.outside();
        self.eyes.look_at(relevance.directories());
        self.relevance = Some(Arc::clone(&relevance));
        self.warn();
        let Some(chosen) = run::choose(self.context, &place, self.words)? else {
            return Ok(None);
        };
        let options = session::Options {
            interrupted: Some(Arc::clone(&self.interrupted)),
            watched: self.eyes.see_all(),
            ..run::options(self.context, self.words, &chosen)
        };
        let session = run::session(self.context, &place, options);
        Ok(Some(Held {
            session,
            chosen,
            relevance,
            outside,
        }))
    }

    /// While nothing happens: looks whether what is known holds, and writes it down; whether it doesn't.
    fn settle_down(&mut self) -> bool {
        if !std::mem::take(&mut self.unsettled) {
            return false;
        }
        if let Some(held) = &self.held {
            self.touched.anything |= !held.session.are_as_known();
        }
        self.save();
        self.touched.anything
    }

    fn save(&self) {
        if let Some(Held { session, .. }) = &self.held {
            // Others keep their hands off the store meanwhile.
            let mark = active::mark(&session.cache_dir);
            session.save();
            drop(mark);
        }
    }

    /// Takes in what happened.
    fn touch(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let relevance = self.relevance.as_ref();
            let name = relevance.and_then(|relevance| relevance.inside(path));
            let more = |name: &&str| {
                let is_place = || {
                    let matters = relevance.is_some_and(|relevance| relevance.name(path).is_some());
                    matters && path.is_dir()
                };
                let is_rule = relevance.is_some_and(|relevance| relevance.is_rule(name));
                is_rule || self.eyes.watches(path) || is_place()
            };
            match name.filter(|name| !more(name)) {
                Some(name) if self.touched.paths.len() < MANY => {
                    self.touched.paths.insert(name.to_owned());
                }
                _ => self.touched.anything = true,
            }
        }
    }

    /// What to run again for; none when a signal came first.
    fn next(&mut self) -> Option<Changed> {
        // What changed during the run is told of with a delay.
        let during = self.settle(None)?;
        let mut doubt = match self.judge(&during) {
            Then::Run => return Some(during.paths),
            Then::RunAfter(pause) => Some(Instant::now() + pause),
            Then::Wait => None,
        };
        loop {
            let heard = match doubt {
                Some(until) => self.happening.recv_deadline(until),
                None => self.happening.recv_timeout(CALM),
            };
            let first = match heard {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) if doubt.take().is_some() => {
                    return Some(during.paths);
                }
                Err(RecvTimeoutError::Timeout) if self.settle_down() => return Some(Changed::new()),
                Err(RecvTimeoutError::Timeout) => self.happening.recv().ok()?,
                Err(RecvTimeoutError::Disconnected) => return None,
            };
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
            Happening::Overrun => {
                seen.overrun = true;
                self.touched.anything = true;
            }
            Happening::Changed(paths, gone) => {
                self.touch(&paths);
                if gone {
                    self.eyes.forget(&paths);
                }
                let Some(relevance) = &self.relevance else {
                    return Some(());
                };
                let by_hand = |path: &&str| {
                    let mut held = self.held.iter();
                    held.any(|held| held.session.lies_by_hand(path))
                };
                let name = |path: &PathBuf| {
                    let inside = || relevance.inside(path).filter(by_hand);
                    relevance.name(path).or_else(|| inside().map(str::to_owned))
                };
                seen.paths.extend(paths.iter().filter_map(name));
            }
        }
        Some(())
    }

    /// Whether what changed during a run asks for another. What changes every time a run may write itself, or somebody who
    /// saves often: the next one tells, after a pause that is no shorter than the run was.
    fn judge(&mut self, during: &Seen) -> Then {
        self.streaks.retain(|path, _| during.paths.contains(path));
        for path in &during.paths {
            *self.streaks.entry(path.clone()).or_default() += 1;
        }
        let shortest = self
            .streaks
            .iter()
            .min_by(|a, b| (a.1, a.0).cmp(&(b.1, b.0)));
        let Some((path, runs)) = shortest.filter(|(_, runs)| **runs >= STREAK) else {
            return if during.any() { Then::Run } else { Then::Wait };
        };
        let doubts = *runs - STREAK;
        if doubts < DOUBTS {
            return Then::RunAfter(self.took.max(CALM) * (1 << doubts));
        }
        self.tell(&format!(
            "{} changes in every run: if a target writes it, exclude it from inputs or have git ignore it; if not, save it once more.",
            printable(path)
        ));
        Then::Wait
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

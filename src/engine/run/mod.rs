//! The coordinator: one thread that owns the state of a run.
//!
//! It asks the scheduler what may go on, looks at targets itself as long as nothing runs (one walk of the workspace answers
//! for all of them then), hands those with something to do to threads that may wait, and tells listeners
//! what happens. A run with nothing to do never gets past the looking: no thread, no store, no signal handler.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};

use crate::pipeline::model::{Kind, Target, TargetId};

use super::event::{Counts, Event, Finished, Listener, Outcome, Spent};
use super::glance::Glance;
use super::job::{Job, Message};
use super::look::{Fault, Look};
use super::outcome::Wording;
use super::plan::Plan;
use super::scheduler::{Scheduler, Step, blamed};
use super::session::Session;

pub use dry::dry_run;

use hands::Hands;

mod dry;
mod hands;
mod interrupted;
mod sending;

/// How often clocks on the screen move.
const TICK: Duration = Duration::from_millis(100);
/// After so long with nothing to do is looked whether another process waits for the store.
const IDLE: Duration = Duration::from_millis(30);
/// After so many looks in a row it is closed in any case.
const LONG: usize = 8;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub counts: Counts,
    pub exit_code: u8,
}

/// Runs a plan to its end.
pub fn run(session: &Arc<Session>, plan: &Plan, listener: &mut dyn Listener) -> Summary {
    let mut coordinator = Coordinator::new(session, plan, listener);
    coordinator.start();
    coordinator.work();
    coordinator.end()
}

struct Coordinator<'a> {
    session: &'a Arc<Session>,
    plan: &'a Plan,
    listener: &'a mut dyn Listener,
    scheduler: Scheduler,
    /// Glances at all targets from one walk, while nothing has run that could have changed a file.
    glances: Option<HashMap<TargetId, Glance>>,
    looks: HashMap<usize, Look>,
    hands: Option<Hands>,
    counts: Counts,
    /// How each target ended; none for a group.
    outcomes: Vec<Option<Outcome>>,
    saved: Duration,
    exit_code: u8,
    began: Instant,
    signals: usize,
    /// How often in a row nothing happened.
    quiet: usize,
    /// Targets that an interrupt doesn't end.
    cleaning: HashSet<TargetId>,
    /// The target that owns the terminal.
    interactive: Option<usize>,
    names: Vec<Arc<str>>,
    /// When those who wait for the store were last let in.
    made_way: Instant,
    /// Jobs that have a question for whoever sits at the terminal; the first one asks it now.
    asking: VecDeque<Sender<()>>,
    /// What happens while somebody is asked is told when he has answered.
    held: Vec<Message>,
}

impl<'a> Coordinator<'a> {
    fn new(session: &'a Arc<Session>, plan: &'a Plan, listener: &'a mut dyn Listener) -> Self {
        let address = |id: &TargetId| Arc::clone(&session.ws.target(*id).address);
        Self {
            scheduler: Scheduler::new(
                plan.nodes.clone(),
                session.options.jobs,
                session.options.keep_going,
            ),
            names: plan.targets.iter().map(address).collect(),
            glances: None,
            looks: HashMap::new(),
            hands: None,
            counts: Counts::default(),
            outcomes: vec![None; plan.targets.len()],
            saved: Duration::ZERO,
            exit_code: 0,
            began: Instant::now(),
            made_way: Instant::now(),
            signals: 0,
            quiet: 0,
            cleaning: HashSet::new(),
            interactive: None,
            asking: VecDeque::new(),
            held: Vec::new(),
            session,
            plan,
            listener,
        }
    }

    fn start(&mut self) {
        let total = self
            .plan
            .targets
            .iter()
            .filter(|id| !is_group(self.session.ws.target(**id)))
            .count();
        self.listener.on(&Event::RunStarted {
            name: self.session.ws.projects[0].name.as_str().into(),
            total,
            jobs: self.session.options.jobs,
            dry_run: self.session.options.dry_run,
        });
        self.tell_spent();
    }

    fn work(&mut self) {
        while !self.scheduler.is_done() {
            if self.hands.is_none() {
                self.heed_interruption();
            }
            match self.scheduler.step() {
                Some(Step::Look(number)) => self.look(number),
                Some(Step::Skip(number, reason)) => self.skip(number, &reason),
                Some(Step::Start(number)) => self.dispatch(number),
                None => self.wait(),
            }
            self.tell_warnings();
        }
    }

    fn target(&self, number: usize) -> &'a Target {
        self.session.ws.target(self.plan.targets[number])
    }

    /// Answers for a target without a thread where that can be done.
    fn look(&mut self, number: usize) {
        let target = self.target(number);
        if is_group(target) {
            self.scheduler.finish(number, Outcome::Fresh);
            return;
        }
        // Whether an image is still there is a question to a registry: that takes a while, and several can be asked at once.
        // What a service runs only its place can say.
        if self.hands.is_some() || matches!(target.kind, Kind::Image(_) | Kind::Deploy(_)) {
            return self.scheduler.queue(number);
        }
        match self.look_now(target) {
            Ok(look) => match &look.fresh {
                Some(state) => {
                    let finished = self.words(target).fresh(state, &look);
                    self.finished(number, finished);
                }
                None => {
                    self.looks.insert(number, look);
                    self.scheduler.queue(number);
                }
            },
            Err(fault) => {
                let finished = self.words(target).fault(fault);
                self.finished(number, finished);
            }
        }
    }

    fn look_now(&mut self, target: &Target) -> Result<Look, Fault> {
        let (session, plan) = (self.session, self.plan);
        let glances = self.glances.get_or_insert_with(|| {
            let bases = session.bases_of_unknown(&plan.targets);
            let (tree, walked) = Spent::on("list inputs", || session.walker.walk(&bases));
            session.note(walked);
            // A directory that can't be read is the trouble of those that look into it: each walks for itself then.
            tree.map_or_else(
                |_| HashMap::new(),
                |tree| session.glances(&plan.targets, &tree),
            )
        });
        session.look(target, glances.remove(&target.id))
    }

    fn words<'t>(&'t self, target: &'t Target) -> Wording<'t> {
        Wording::new(self.session, target)
    }

    fn skip(&mut self, number: usize, reason: &str) {
        let target = self.target(number);
        let reason = match blamed(reason) {
            Some(culprit) if self.plan.nodes[number].needs.contains(&culprit) => {
                format!("needs {}, which {}", self.names[culprit], self.how(culprit))
            }
            Some(culprit) => format!("{} failed", self.names[culprit]),
            None => reason.to_owned(),
        };
        if is_group(target) {
            return self.scheduler.finish(number, Outcome::Skipped);
        }
        let finished = self.words(target).skipped(&reason);
        self.finished(number, finished);
    }

    fn how(&self, number: usize) -> &'static str {
        match self.outcomes[number] {
            Some(Outcome::Failed) => "failed",
            Some(Outcome::Cancelled) => "was cancelled",
            Some(Outcome::Skipped) => "was skipped",
            _ => "didn't succeed",
        }
    }

    fn dispatch(&mut self, number: usize) {
        // From here on files may change: later targets walk for themselves.
        self.glances = None;
        let look = self.looks.remove(&number).filter(|_| self.nothing_ran());
        if self.hands.is_none() {
            match Hands::new(self.session, self.plan) {
                Ok(hands) => {
                    self.hands = Some(hands);
                    self.heed_interruption();
                }
                Err(fault) => {
                    let target = self.target(number);
                    let finished = self.words(target).fault(fault);
                    return self.finished(number, finished);
                }
            }
        }
        let Some(hands) = &self.hands else { return };
        let target = self.target(number);
        if target.interactive {
            self.listener.suspend(true);
            self.interactive = Some(number);
        }
        let (shared, id) = (Arc::clone(&hands.shared), target.id);
        let cleans_up = self.scheduler.cleans_up(number);
        if cleans_up {
            self.cleaning.insert(id);
        }
        let work = move || {
            let target = shared.session.ws.target(id);
            let job = Job::new(&shared, target, cleans_up);
            let done = catch_unwind(AssertUnwindSafe(|| job.run(look)));
            let fault = || Fault::failed("forge itself failed on it; please report this");
            let finished =
                done.unwrap_or_else(|_| Wording::new(&shared.session, target).fault(fault()));
            let _ = shared
                .events
                .send(Message::Finished(number, Box::new(finished)));
        };
        // The scheduler hands out no more than may run at once.
        let started = hands.workers.start(work);
        if let Err(error) = started {
            let fault = Fault::failed(format!("no thread can be started: {error}"));
            let finished = self.words(target).fault(fault);
            self.hear(Message::Finished(number, Box::new(finished)));
        }
    }

    fn nothing_ran(&self) -> bool {
        self.hands
            .as_ref()
            .is_none_or(|hands| !hands.shared.ran.load(Ordering::Relaxed))
    }

    /// Until something happens, with the clocks going on.
    fn wait(&mut self) {
        let Some(hands) = &self.hands else { return };
        // Targets that talk all the time leave no quiet moment.
        if self.made_way.elapsed() > IDLE {
            self.session.store.let_in();
            self.made_way = Instant::now();
        }
        let message = match hands.messages.recv_timeout(IDLE) {
            Err(RecvTimeoutError::Timeout) => {
                self.session.store.let_in();
                hands.messages.recv_timeout(TICK)
            }
            other => other,
        };
        match message {
            Ok(message) => {
                self.quiet = 0;
                self.hear(message);
            }
            Err(_) => {
                self.quiet += 1;
                if self.quiet == LONG {
                    // Whoever stops this process shouldn't stop all others with it.
                    self.session.store.idle();
                }
                self.listener.tick();
            }
        }
    }

    fn hear(&mut self, message: Message) {
        if !self.asking.is_empty() && matches!(message, Message::Event(_) | Message::Finished(..)) {
            return self.held.push(message);
        }
        match message {
            Message::Asks(grant) => {
                self.asking.push_back(grant);
                if self.asking.len() == 1 {
                    self.let_ask();
                }
            }
            Message::Asked => {
                self.asking.pop_front();
                self.listener.suspend(false);
                match self.asking.is_empty() {
                    true => {
                        let held = std::mem::take(&mut self.held);
                        held.into_iter().for_each(|message| self.hear(message));
                    }
                    false => self.let_ask(),
                }
            }
            Message::Event(event) => self.listener.on(&event),
            Message::Finished(number, finished) => {
                if self.target(number).interactive {
                    self.listener.suspend(false);
                    self.interactive = None;
                }
                self.finished(number, *finished);
                self.listener.tick();
            }
            Message::Signal(signal) => self.interrupt(signal),
        }
    }

    /// The screen is that job's until it has its answer.
    fn let_ask(&mut self) {
        self.listener.suspend(true);
        let asks = self.asking.front();
        let _ = asks.map(|grant| grant.send(()));
    }

    fn finished(&mut self, number: usize, finished: Finished) {
        self.counts.add(finished.outcome);
        self.outcomes[number] = Some(finished.outcome);
        // What a remote says that it took may be any time.
        let saved = finished.saved.unwrap_or_default();
        self.saved = self.saved.saturating_add(saved);
        if finished.outcome == Outcome::Failed && self.exit_code != 130 {
            // Something missing is told apart only if nothing else went wrong.
            let first = self.counts.failed == 1;
            self.exit_code = if first || self.exit_code == finished.exit_with {
                finished.exit_with
            } else {
                1
            };
        }
        if finished.outcome == Outcome::Cancelled {
            self.stop_interrupted();
        }
        self.scheduler.finish(number, finished.outcome);
        let target = self.target(number);
        if let Some(hands) = &mut self.hands {
            hands.release(&target.services);
        }
        self.listener.on(&Event::TargetFinished(Box::new(finished)));
    }

    fn tell_spent(&mut self) {
        let spent = self.session.take_spent();
        spent.iter().for_each(|spent| self.listener.spent(spent));
    }

    fn tell_warnings(&mut self) {
        for message in self.session.take_warnings() {
            self.listener.on(&Event::Warning {
                target: None,
                message,
                help: None,
            });
        }
    }

    fn end(mut self) -> Summary {
        // Others keep their hands off the store until everything is in it.
        let mut marked = None;
        if let Some(hands) = self.hands.take() {
            hands.shared.services.stop_all();
            self.finish_sending(&hands);
            hands.signals.close();
            hands.shared.records.finish();
            while let Ok(message) = hands.messages.try_recv() {
                match message {
                    Message::Event(event) => self.listener.on(&event),
                    Message::Signal(signal) => self.interrupt(signal),
                    Message::Finished(..) | Message::Asks(_) | Message::Asked => {}
                }
            }
            marked = hands.active;
        }
        if self.session.options.watched {
            self.session.store.idle();
        } else {
            let ((), saved) = Spent::on("write the snapshot", || self.session.save());
            self.session.note(saved);
        }
        drop(marked);
        self.tell_warnings();
        self.tell_spent();
        let summary = Summary {
            counts: self.counts,
            exit_code: self.exit_code,
        };
        self.listener.on(&Event::RunFinished {
            ok: self.exit_code == 0,
            counts: self.counts,
            duration: self.began.elapsed(),
            saved: self.saved,
            exit_code: self.exit_code,
        });
        summary
    }
}

fn is_group(target: &Target) -> bool {
    matches!(target.kind, Kind::Group)
}

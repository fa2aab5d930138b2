//! The coordinator: one thread that owns the state of a run.
//!
//! It asks the scheduler what may go on, looks at targets itself as long as nothing runs (one walk of the workspace answers
//! for all of them then), hands those with something to do to threads that may wait, and tells listeners
//! what happens. A run with nothing to do never gets past the looking: no thread, no store, no signal handler.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cache::store;
use crate::exec::service::{Rendered, ServiceEvent, Services};
use crate::pipeline::model::{Deploy, Kind, Target, TargetId};

use super::active::{self, Mark};
use super::deploy;
use super::environment;
use super::event::{Counts, Event, Finished, Listener, Outcome, Spent};
use super::glance::Glance;
use super::job::{Job, Message, Shared};
use super::look::{Fault, Look};
use super::outcome::Wording;
use super::plan::{Plan, action};
use super::records::Records;
use super::render::Plain;
use super::scheduler::{Scheduler, Step, blamed};
use super::session::{Session, lock};
use super::workers::Workers;

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

/// What a run needs once something really runs.
struct Hands {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    workers: Workers,
    signals: signal_hook::iterator::Handle,
    /// Targets that still may use a service, by service.
    users: Vec<usize>,
    /// Held while this run goes on: `forge cancel` finds it.
    active: Option<Mark>,
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

    /// Until there are hands, signals are the caller's business.
    fn heed_interruption(&mut self) {
        if self.signals == 0 && self.session.is_interrupted() {
            self.interrupt(SIGINT);
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
            match self.hands() {
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

    fn hands(&self) -> Result<Hands, Fault> {
        let (events, messages) = unbounded();
        let session = self.session;
        let services = Arc::new(services(session, events.clone())?);
        let shared = Arc::new(Shared {
            session: Arc::clone(session),
            services,
            records: Records::new(session)?,
            events: events.clone(),
            cancelled: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            ran: AtomicBool::new(false),
            running: Mutex::default(),
        });
        let mut users = vec![0; session.ws.services.len()];
        for id in &self.plan.targets {
            session
                .ws
                .target(*id)
                .services
                .iter()
                .for_each(|service| users[service.0 as usize] += 1);
        }
        let signals = watch_signals(events)?;
        let active = active::mark(&session.cache_dir);
        Ok(Hands {
            shared,
            messages,
            workers: Workers::new(),
            signals,
            users,
            active,
        })
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

    /// The first signal asks everything to end; another one doesn't ask.
    fn interrupt(&mut self, signal: i32) {
        // Who owns the terminal got the Ctrl-C itself, and decides what it means.
        if signal == SIGINT && self.interactive.is_some() && io::stdin().is_terminal() {
            return;
        }
        self.signals += 1;
        self.end_running();
        if self.signals == 1 {
            let signal = match signal {
                SIGINT => "Ctrl-C",
                SIGTERM => "SIGTERM",
                _ => "SIGHUP",
            };
            self.listener.on(&Event::Interrupted { signal });
        }
        self.stop_interrupted();
    }

    fn stop_interrupted(&mut self) {
        self.exit_code = 130;
        self.scheduler.stop("interrupted");
    }

    /// What cleans up is let be the first time.
    fn end_running(&self) {
        let Some(hands) = &self.hands else { return };
        let killed = self.signals > 1;
        hands.shared.cancelled.store(true, Ordering::Relaxed);
        hands.shared.killed.store(killed, Ordering::Relaxed);
        for (id, handle) in lock(&hands.shared.running).iter() {
            if killed {
                handle.kill();
            } else if !self.cleaning.contains(id) {
                handle.interrupt();
            }
        }
    }

    fn finished(&mut self, number: usize, finished: Finished) {
        self.counts.add(finished.outcome);
        self.outcomes[number] = Some(finished.outcome);
        self.saved += finished.saved.unwrap_or_default();
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
        self.release_services(number);
        self.listener.on(&Event::TargetFinished(Box::new(finished)));
    }

    /// `--dry-run` of a deployment: its address where it would do something.
    fn plan_deployment(
        &mut self,
        target: &Target,
        deploy: &Deploy,
        would_run: &[Option<Arc<str>>],
    ) -> Option<Arc<str>> {
        let builds = |id: TargetId| {
            let number = self.plan.targets.iter().position(|other| *other == id);
            number.is_none_or(|number| would_run[number].is_some())
        };
        let built = deploy.image.is_none_or(|id| !builds(id));
        match deploy::plan(self.session, target, deploy, built) {
            Ok((deployment, plan)) => {
                let fresh = plan.is_fresh();
                self.listener.on(&Event::DeployPlanned {
                    deployment: Arc::new(deployment),
                    plan: Arc::new(plan),
                    open: !built,
                });
                (!fresh).then(|| Arc::clone(&target.address))
            }
            Err(fault) => {
                let finished = self.words(target).fault(fault);
                self.exit_code = finished.exit_with;
                self.counts.add(finished.outcome);
                self.listener.on(&Event::TargetFinished(Box::new(finished)));
                None
            }
        }
    }

    /// A service whose last user has ended goes.
    fn release_services(&mut self, number: usize) {
        let target = self.target(number);
        let Some(hands) = &mut self.hands else { return };
        for service in &target.services {
            let at = service.0 as usize;
            hands.users[at] = hands.users[at].saturating_sub(1);
            if hands.users[at] == 0 {
                let services = Arc::clone(&hands.shared.services);
                thread::spawn(move || services.stop(at));
            }
        }
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

/// `--dry-run`: what would happen, in order, with nothing changed.
pub fn dry_run(session: &Arc<Session>, plan: &Plan, listener: &mut dyn Listener) -> Summary {
    let mut coordinator = Coordinator::new(session, plan, listener);
    coordinator.start();
    let mut would_run: Vec<Option<Arc<str>>> = vec![None; plan.targets.len()];
    for number in 0..plan.targets.len() {
        let target = coordinator.target(number);
        let running_need = plan.nodes[number]
            .needs
            .iter()
            .find_map(|&need| would_run[need].clone());
        if is_group(target) {
            would_run[number] = running_need;
            continue;
        }
        if let (Kind::Deploy(deploy), None) = (&target.kind, &plan.nodes[number].unmet) {
            would_run[number] = coordinator.plan_deployment(target, deploy, &would_run);
            continue;
        }
        let running_need = match &target.kind {
            Kind::Image(image) => session.feeder(target, image, plan, &would_run),
            _ => running_need,
        };
        let look = coordinator.look_now(target);
        let planned = action(
            session,
            target,
            plan.nodes[number].unmet.as_deref(),
            running_need,
            look,
        );
        if planned.runs {
            would_run[number] = Some(Arc::clone(&target.address));
        }
        coordinator.listener.on(&planned.event);
    }
    coordinator.end()
}

fn is_group(target: &Target) -> bool {
    matches!(target.kind, Kind::Group)
}

fn services(session: &Arc<Session>, events: Sender<Message>) -> Result<Services, Fault> {
    let ws = &session.ws;
    let base: Vec<_> = environment::base(&session.caller).into_iter().collect();
    let mut definitions = Vec::with_capacity(ws.services.len());
    for service in &ws.services {
        let project = ws.project(service.project);
        let name: Arc<str> = match project.id.0 {
            0 => service.name.as_str().into(),
            _ => format!("{}:{}", project.name, service.name).into(),
        };
        let dir = ws.root.join(&project.dir);
        let plain = Plain {
            session,
            project: service.project,
        };
        definitions.push(Rendered::new(service, name, dir, base.clone(), &plain)?);
    }
    let id = crate::cache::digest::Digest::of(ws.root.as_os_str().as_encoded_bytes()).hex()[..12]
        .to_owned();
    let run = format!("{}-{}", std::process::id(), store::now());
    let services = Services::new(id, run, definitions, move |event| {
        let _ = events.send(Message::Event(translate(event)));
    });
    let session = Arc::clone(session);
    Ok(services.pulled_as(move |image| session.login_for(image).map_err(|fault| fault.message)))
}

fn translate(event: ServiceEvent) -> Event {
    match event {
        ServiceEvent::Starting { service } => Event::ServiceStarting { service },
        ServiceEvent::Ready {
            service,
            detail,
            took,
        } => Event::ServiceReady {
            service,
            detail,
            took,
        },
        ServiceEvent::Stopped { service } => Event::ServiceStopped { service },
        ServiceEvent::Progress { service, text } => Event::Waiting {
            target: service,
            why: text,
        },
        ServiceEvent::Notice {
            service,
            message,
            help,
        } => Event::Warning {
            message: message
                .strip_prefix(&format!("service {service}: "))
                .map_or_else(|| message.clone(), str::to_owned),
            target: Some(service),
            help,
        },
    }
}

fn watch_signals(events: Sender<Message>) -> Result<signal_hook::iterator::Handle, Fault> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if events.send(Message::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
    Ok(handle)
}

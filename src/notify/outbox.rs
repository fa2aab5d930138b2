//! Sends notices beside everything else: a thread for each notifier that has something to say, begun with its first
//! notice. Knows nothing of why something is sent.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::pipeline::model::NotifierKind;

use super::excerpt::{cut, one_line};
use super::http::timed_out;
use super::notice::Notice;
use super::settings::Settings;
use super::{Failure, email, pagerduty, slack, webhook};

/// How long a message may take, all its tries included, and how long a run waits at its end.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What a receiver said to a message that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Host, and port where it isn't the usual one.
    pub place: String,
    /// `200 ok`; one line.
    pub said: String,
}

impl Answer {
    pub fn new(place: String, said: String) -> Answer {
        Answer {
            place,
            said: cut(&one_line(&said), 120),
        }
    }
}

/// A message that didn't arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The notifier's name.
    pub notifier: String,
    pub failure: Failure,
}

/// Notices on their way.
#[derive(Default)]
pub struct Outbox {
    /// By the notifier's number in the workspace.
    workers: BTreeMap<usize, Worker>,
}

impl Outbox {
    /// Hands a notice over; returns at once.
    pub fn send(&mut self, notifier: usize, settings: &Settings, notice: Notice) {
        let start = || Worker::start(settings.clone());
        let worker = self.workers.entry(notifier).or_insert_with(start);
        worker.open += 1;
        if let Some(queue) = &worker.queue {
            // A worker that is gone is seen by its answers.
            let _ = queue.send(notice);
        }
    }

    /// Waits for what is on its way, not longer than [`LIMIT`]; what didn't arrive.
    pub fn finish(self) -> Vec<Report> {
        let until = Instant::now() + LIMIT;
        let workers = self.workers.into_values();
        let reports = workers.flat_map(|worker| worker.finish(until));
        reports.collect()
    }
}

/// Sends the notices of one notifier, one after the other.
struct Worker {
    settings: Settings,
    queue: Option<Sender<Notice>>,
    answers: Receiver<Result<Answer, Failure>>,
    /// Notices without an answer so far.
    open: usize,
}

impl Worker {
    fn start(settings: Settings) -> Worker {
        let (queue, notices) = channel::<Notice>();
        let (answer, answers) = channel();
        let own = settings.clone();
        let work = move || {
            for notice in notices {
                if answer.send(send(&own, &notice)).is_err() {
                    break;
                }
            }
        };
        // A thread that can't be started lets go of its ends of the channels.
        let _ = thread::Builder::new().name("notify".into()).spawn(work);
        Worker {
            settings,
            queue: Some(queue),
            answers,
            open: 0,
        }
    }

    /// The next answer; a failure where none comes.
    fn next(&mut self, until: Instant) -> Result<Answer, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        self.open = self.open.saturating_sub(1);
        match self.answers.recv_timeout(left) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.open = 0;
                Err(timed_out(&self.settings.place()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.open = 0;
                Err(Failure::undelivered(
                    "sending it broke off",
                    "`forge notify test` with its name sends a message by itself",
                ))
            }
        }
    }

    /// Each failure once, however many messages it concerns.
    fn finish(mut self, until: Instant) -> Vec<Report> {
        self.queue = None;
        let mut reports: Vec<Report> = Vec::new();
        while self.open > 0 {
            let Err(failure) = self.next(until) else {
                continue;
            };
            let report = Report {
                notifier: self.settings.name.clone(),
                failure,
            };
            if !reports.contains(&report) {
                reports.push(report);
            }
        }
        reports
    }
}

/// Sends one notice and waits for the answer.
///
/// # Errors
/// It didn't arrive within [`LIMIT`].
pub fn once(settings: &Settings, notice: Notice) -> Result<Answer, Failure> {
    let mut worker = Worker::start(settings.clone());
    if let Some(queue) = worker.queue.take() {
        let _ = queue.send(notice);
    }
    worker.next(Instant::now() + LIMIT)
}

fn send(settings: &Settings, notice: &Notice) -> Result<Answer, Failure> {
    let until = Instant::now() + LIMIT;
    let sent = match settings.kind {
        NotifierKind::Slack => slack::send(settings, notice, until),
        NotifierKind::PagerDuty => pagerduty::send(settings, notice, until),
        NotifierKind::Email => email::send(settings, notice, until),
        NotifierKind::Webhook => webhook::send(settings, notice, until),
    };
    // Whatever an answer or an error quotes, no secret of this notifier leaves this function.
    sent.map(|answer| Answer {
        said: settings.hide(&answer.said),
        ..answer
    })
    .map_err(|failure| Failure {
        message: settings.hide(&failure.message),
        ..failure
    })
}

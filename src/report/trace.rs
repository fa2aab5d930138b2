//! `--trace FILE`: the run in Chrome's trace format, for `chrome://tracing` and Perfetto. One row for each
//! target that runs at the same time, a mark for what was fresh or restored, and one row for what forge does itself. Knows nothing of text.
//!
//! The file is written when the run ends, interrupted or not, and takes its name only when it is whole.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine::event::{Event, Finished, Listener, Spent};

use super::sink::Sink;

/// Process ids in the trace: they only part the rows of targets from those of services and of forge itself.
const TARGETS: u32 = 1;
const SERVICES: u32 = 2;
const FORGE: u32 = 3;

/// Collects spans and writes them at the end.
pub struct Trace {
    path: PathBuf,
    /// For the one complaint: that the file can't be written.
    complaints: Sink,
    began: Instant,
    events: Vec<Value>,
    /// Of forge itself: some of it before the run began.
    spent: Vec<Spent>,
    running: HashMap<Arc<str>, Span>,
    /// Rows of targets that are taken.
    rows: Vec<bool>,
}

struct Span {
    row: usize,
    since: Instant,
    reason: String,
}

impl Trace {
    pub fn new(path: PathBuf, complaints: Sink) -> Trace {
        Trace {
            path,
            complaints,
            began: Instant::now(),
            events: Vec::new(),
            spent: Vec::new(),
            running: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// Microseconds since the run began.
    fn at(&self, instant: Instant) -> u64 {
        micros(instant.saturating_duration_since(self.began))
    }

    fn started(&mut self, target: &Arc<str>, reason: &str, now: Instant) {
        if self.running.contains_key(target) {
            return;
        }
        let row = self
            .rows
            .iter()
            .position(|taken| !taken)
            .unwrap_or(self.rows.len());
        match self.rows.get_mut(row) {
            Some(taken) => *taken = true,
            None => self.rows.push(true),
        }
        self.running.insert(
            target.clone(),
            Span {
                row,
                since: now,
                reason: reason.to_owned(),
            },
        );
    }

    fn finished(&mut self, finished: &Finished, now: Instant) {
        let Some(span) = self.running.remove(&finished.target) else {
            self.mark(finished, now);
            return;
        };
        if let Some(taken) = self.rows.get_mut(span.row) {
            *taken = false;
        }
        let (from, to) = (self.at(span.since), self.at(now));
        self.events.push(json!({
            "name": *finished.target, "cat": finished.outcome, "ph": "X", "ts": from, "dur": to - from,
            "pid": TARGETS, "tid": span.row + 1,
            "args": {
                "outcome": finished.outcome, "reason": finished.reason, "started-for": span.reason,
                "attempts": finished.attempts, "exit-code": finished.exit_code, "key": finished.key,
            },
        }));
    }

    /// What ended without having run.
    fn mark(&mut self, finished: &Finished, now: Instant) {
        self.events.push(json!({
            "name": *finished.target, "cat": finished.outcome, "ph": "i", "s": "p", "ts": self.at(now),
            "pid": TARGETS, "tid": 0,
            "args": {
                "outcome": finished.outcome, "reason": finished.reason,
                "saved-ms": finished.saved.map(|saved| micros(saved) / 1000),
            },
        }));
    }

    fn service_ready(&mut self, service: &str, detail: &str, took: Duration, now: Instant) {
        let to = self.at(now);
        let from = to.saturating_sub(micros(took));
        self.events.push(json!({
            "name": format!("{service} gets ready"), "cat": "service", "ph": "X", "ts": from, "dur": to - from,
            "pid": SERVICES, "tid": 0, "args": {"detail": detail},
        }));
    }

    /// Writes the file; what is still running is shown as far as it came.
    fn write(&mut self, now: Instant) {
        let mut events: Vec<Value> = vec![
            process(TARGETS, "targets"),
            process(SERVICES, "services"),
            process(FORGE, "forge"),
        ];
        events.append(&mut self.events);
        for Spent { what, began, took } in self.spent.drain(..) {
            let from = micros(began.saturating_duration_since(self.began));
            events.push(json!({
                "name": what, "cat": "forge", "ph": "X", "ts": from, "dur": micros(took), "pid": FORGE, "tid": 0,
            }));
        }
        for (target, span) in self.running.drain() {
            let from = micros(span.since.saturating_duration_since(self.began));
            let to = micros(now.saturating_duration_since(self.began));
            events.push(json!({
                "name": *target, "ph": "X", "ts": from, "dur": to - from, "pid": TARGETS, "tid": span.row + 1,
            }));
        }
        let trace = json!({"traceEvents": events, "displayTimeUnit": "ms"});
        if let Err(error) = replace(&self.path, trace.to_string().as_bytes()) {
            let line = format!(
                "! the trace {} can't be written: {error}\n",
                self.path.display()
            );
            self.complaints.write(line.as_bytes());
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn process(pid: u32, name: &str) -> Value {
    json!({"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}})
}

/// The file is the old one or the new one, never a part.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".trace-")
        .permissions(readable())
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What the umask leaves of `rw-rw-rw-`, as for any new file.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

impl Listener for Trace {
    fn on(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::RunStarted { .. } => self.began = now,
            Event::TargetStarted { target, reason, .. } => self.started(target, reason, now),
            Event::TargetFinished(finished) => self.finished(finished, now),
            Event::ServiceReady {
                service,
                detail,
                took,
            } => self.service_ready(service, detail, *took, now),
            Event::RunFinished { .. } => self.write(now),
            _ => {}
        }
    }

    fn spent(&mut self, spent: &Spent) {
        // What came before the run moves its beginning: nothing else was told of yet.
        self.began = self.began.min(spent.began);
        self.spent.push(*spent);
    }
}

//! `--json`: one event a line, for programs. Names and fields are a promise (see the reference); knows
//! nothing of what people read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::event::{Event, Finished, Image, Listener};

use super::deploy::json as deploy;
use super::sink::Sink;

/// Writes each event as a line.
pub struct Json {
    sink: Sink,
    /// `-v`: the output of targets as well.
    output: bool,
}

impl Json {
    pub fn new(sink: Sink, output: bool) -> Json {
        Json { sink, output }
    }
}

impl Listener for Json {
    fn on(&mut self, event: &Event) {
        if matches!(event, Event::Output { .. }) && !self.output {
            return;
        }
        self.sink.write(format!("{}\n", value(event)).as_bytes());
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn value(event: &Event) -> Value {
    match event {
        Event::RunStarted {
            name,
            total,
            jobs,
            dry_run,
        } => {
            json!({"event": "run-started", "name": **name, "total": total, "jobs": jobs, "dry-run": dry_run})
        }
        Event::TargetStarted {
            target,
            attempt,
            commands,
            reason,
            interactive,
        } => json!({
            "event": "target-started", "target": **target, "attempt": attempt, "reason": reason,
            "commands": **commands, "interactive": interactive,
        }),
        Event::Output { target, bytes } => {
            json!({"event": "output", "target": **target, "text": String::from_utf8_lossy(bytes)})
        }
        Event::Progress { target, text } => {
            json!({"event": "target-progress", "target": **target, "text": text})
        }
        Event::Waiting { target, why } => {
            json!({"event": "target-waiting", "target": **target, "reason": why})
        }
        Event::Retrying {
            target,
            attempt,
            of,
            reason,
        } => json!({
            "event": "target-retrying", "target": **target, "attempt": attempt, "of": of, "reason": reason,
        }),
        Event::Planned {
            target,
            action,
            reason,
            commands,
        } => json!({
            "event": "target-planned", "target": **target, "action": action, "reason": reason,
            "commands": **commands,
        }),
        Event::TargetFinished(finished) => self::finished(finished),
        Event::RunFinished {
            ok,
            counts,
            duration,
            saved,
            exit_code,
        } => json!({
            "event": "run-finished", "ok": ok, "counts": counts, "duration-ms": ms(*duration),
            "saved-ms": ms(*saved), "exit-code": exit_code,
        }),
        other => aside(other),
    }
}

fn finished(finished: &Finished) -> Value {
    let mut value = json!({
        "event": "target-finished",
        "target": *finished.target,
        "outcome": finished.outcome,
        "key": finished.key,
        "reason": finished.reason,
        "duration-ms": ms(finished.duration),
        "saved-ms": finished.saved.map(ms),
        "attempts": finished.attempts,
        "exit-code": finished.exit_code,
        "flaky": finished.flaky,
    });
    if let Some(built) = &finished.image {
        value["image"] = image(built);
    }
    value
}

/// An image, as programs read of it in events and lists.
pub fn image(image: &Image) -> Value {
    json!({
        "ref": image.reference, "digest": image.digest, "repository": image.repository, "tags": image.tags,
        "pushed": image.pushed,
    })
}

/// What isn't about a target's own life.
fn aside(event: &Event) -> Value {
    match event {
        Event::ServiceStarting { service } => {
            json!({"event": "service-starting", "service": **service})
        }
        Event::ServiceReady {
            service,
            detail,
            took,
        } => json!({
            "event": "service-ready", "service": **service, "detail": detail, "duration-ms": ms(*took),
        }),
        Event::ServiceStopped { service } => {
            json!({"event": "service-stopped", "service": **service})
        }
        Event::Warning {
            target,
            message,
            help,
        } => {
            json!({"event": "warning", "target": target.as_deref(), "message": message, "help": help})
        }
        Event::Interrupted { signal } => json!({"event": "interrupted", "signal": signal}),
        Event::DeployPlanned {
            deployment,
            plan,
            open,
        } => deploy::planned(deployment, plan, *open),
        Event::RollbackPlanned {
            deployment, plan, ..
        } => deploy::back(deployment, plan),
        Event::DeployStarted { deployment } => deploy::started(deployment),
        Event::DeployProgress {
            deployment,
            progress,
        } => deploy::progress(deployment, progress),
        Event::DeployFinished {
            deployment,
            outcome,
            duration,
            ..
        } => deploy::finished(deployment, outcome, *duration),
        _ => Value::Null,
    }
}

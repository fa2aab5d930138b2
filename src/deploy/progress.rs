//! What is told while a deployment goes on. Each is a line for people, too.
//!
//! Knows nothing of screens.

use std::fmt;

use super::seen::{Revision, StoppedTask};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Registered {
        service: String,
        revision: Revision,
    },
    /// A one-off task was started.
    BeforeStarted {
        command: String,
        task: String,
    },
    BeforeDone {
        command: String,
    },
    /// The one call was made, or found to have been.
    Updating {
        service: String,
        revision: Revision,
        deployment: String,
    },
    /// The counts changed.
    Rollout {
        service: String,
        running: u32,
        desired: u32,
        pending: u32,
        failed: u32,
    },
    /// A line of the service's own log.
    Event {
        service: String,
        message: String,
    },
    /// A task of the deployment crashed, with the last lines of its log.
    Crashed {
        service: String,
        task: StoppedTask,
        log: Vec<String>,
    },
    /// ECS goes back by itself.
    BreakerRollback {
        service: String,
    },
    Completed {
        service: String,
        deployment: String,
    },
    SmokePassed {
        check: String,
    },
    SmokeFailed {
        check: String,
        reason: String,
    },
    RollingBack {
        service: String,
        to: Revision,
    },
    RolledBack {
        service: String,
        to: Revision,
    },
    /// Doesn't change the outcome.
    Warning(String),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Registered { service, revision } => {
                write!(f, "{service}: registered {revision}")
            }
            Progress::BeforeStarted { command, task } => {
                write!(f, "before: `{command}` in task {task}")
            }
            Progress::BeforeDone { command } => write!(f, "before: `{command}` is done"),
            Progress::Updating {
                service,
                revision,
                deployment,
            } => write!(f, "{service}: {revision} goes out as {deployment}"),
            Progress::Rollout {
                service,
                running,
                desired,
                pending,
                failed,
            } => {
                write!(
                    f,
                    "{service}: {running} of {desired} running, {pending} pending"
                )?;
                match failed {
                    0 => Ok(()),
                    failed => write!(f, ", {failed} failed"),
                }
            }
            Progress::Event { service, message } => {
                // ECS begins its messages with `(service app)`.
                let own = format!("(service {service}) ");
                let message = message.strip_prefix(&own).unwrap_or(message);
                write!(f, "{service}: {message}")
            }
            Progress::Crashed { service, task, log } => {
                write!(f, "{service}: {}", crashed(task))?;
                log.iter().try_for_each(|line| write!(f, "\n  | {line}"))
            }
            Progress::BreakerRollback { service } => {
                write!(
                    f,
                    "{service}: too many tasks failed, ECS goes back by itself"
                )
            }
            Progress::Completed {
                service,
                deployment,
            } => write!(f, "{service}: {deployment} completed"),
            Progress::SmokePassed { check } => write!(f, "smoke: {check} passed"),
            Progress::SmokeFailed { check, reason } => write!(f, "smoke: {check} failed: {reason}"),
            Progress::RollingBack { service, to } => write!(f, "{service}: going back to {to}"),
            Progress::RolledBack { service, to } => write!(f, "{service}: runs {to} again"),
            Progress::Warning(text) => write!(f, "warning: {text}"),
        }
    }
}

/// That a task ended, and why, on one line.
pub fn crashed(task: &StoppedTask) -> String {
    match cause(task) {
        cause if cause.is_empty() => format!("task {} stopped", task.id),
        cause => format!("task {} stopped: {cause}", task.id),
    }
}

/// Why a task ended: the container's exit code and reason, then the task's where that tells more. The same for all
/// tasks that ended like it; empty where nothing is known.
pub fn cause(task: &StoppedTask) -> String {
    let (mut text, mut exited) = (String::new(), false);
    if let Some(container) = task.culprit() {
        let (name, reason) = (&container.name, &container.reason);
        exited = container.exit_code.is_some();
        text = match (container.exit_code, reason.as_str()) {
            (Some(code), "") => format!("{name} exited with {code}"),
            (Some(code), reason) => format!("{name} exited with {code}: {reason}"),
            (None, "") => String::new(),
            (None, reason) => format!("{name}: {reason}"),
        };
    }
    // ECS says many things twice.
    let is_known = exited && task.reason.starts_with("Essential container");
    if is_known || text.contains(&task.reason) {
        return text;
    }
    match text.is_empty() {
        true => task.reason.clone(),
        false => format!("{text}: {}", task.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::seen::StoppedContainer;

    #[test]
    fn a_crash_says_what_is_known() {
        let mut task = StoppedTask {
            id: "abc".into(),
            stop_code: "EssentialContainerExited".into(),
            reason: "Essential container in task exited".into(),
            containers: vec![StoppedContainer {
                name: "app".into(),
                exit_code: Some(137),
                reason: "OutOfMemoryError".into(),
            }],
        };
        assert_eq!(
            crashed(&task),
            "task abc stopped: app exited with 137: OutOfMemoryError"
        );
        task.containers[0].exit_code = None;
        assert_eq!(
            cause(&task),
            "app: OutOfMemoryError: Essential container in task exited"
        );
        task.reason = "OutOfMemoryError".into();
        assert_eq!(cause(&task), "app: OutOfMemoryError");
        task.containers.clear();
        task.reason.clear();
        assert_eq!(crashed(&task), "task abc stopped");
    }

    #[test]
    fn an_event_doesnt_name_its_service_twice() {
        let event = Progress::Event {
            service: "app".into(),
            message: "(service app) has reached a steady state.".into(),
        };
        assert_eq!(event.to_string(), "app: has reached a steady state.");
    }
}

//! One-off tasks, such as a migration: containers of what the first service is going to run, before it does.

use std::time::Instant;

use super::Local;
use super::health::{stopped, tail};
use super::ledger::short;
use super::names::Why;
use super::part::{GRACE, Part, Stop};
use crate::deploy::progress::{Progress, crashed};
use crate::deploy::request::Caller;
use crate::deploy::spec::Spec;
use crate::docker::{ContainerState, EngineError};

/// Runs the environment's lines in turn, each in a container of its own, up to the first that fails.
///
/// # Errors
/// One failed, or it isn't wanted any more; none of them runs.
pub fn run(
    local: &Local,
    part: &Part<'_>,
    spec: &Spec,
    caller: &mut Caller<'_>,
) -> Result<(), Stop> {
    for line in &spec.before {
        part.go_on(caller)?;
        let id = part.task(line)?;
        caller.tell(Progress::BeforeStarted {
            command: line.clone(),
            task: short(&id),
        });
        let ended = one(local, part, spec, line, &id, caller);
        // Its output has been told; the migration itself is in the database.
        let removed = local.engine.remove(&id);
        ended?;
        removed.map_err(|error| failed(line, error.message))?;
        caller.tell(Progress::BeforeDone {
            command: line.clone(),
        });
    }
    Ok(())
}

fn one(
    local: &Local,
    part: &Part<'_>,
    spec: &Spec,
    line: &str,
    id: &str,
    caller: &mut Caller<'_>,
) -> Result<(), Stop> {
    let end = Instant::now() + spec.timeout;
    let over = || caller.is_cancelled() || Instant::now() >= end;
    let ended = local.engine.run(id, |_| {}, &over);
    if ended.as_ref().is_err_and(EngineError::is_cancelled) {
        let stopped = local.engine.stop(id, GRACE);
        part.go_on(caller)?;
        let limit = crate::units::duration(spec.timeout);
        let why = match stopped {
            Ok(()) => format!("it was stopped after {limit}"),
            Err(error) => format!("it still runs after {limit}: {error}"),
        };
        return Err(failed(line, why));
    }
    part.go_on(caller)?;
    let state = ended.map_err(|error| failed(line, error.message))?;
    judge(local, part, line, id, &state, caller)
}

fn judge(
    local: &Local,
    part: &Part<'_>,
    line: &str,
    id: &str,
    state: &ContainerState,
    caller: &mut Caller<'_>,
) -> Result<(), Stop> {
    if state.exit_code == 0 {
        return Ok(());
    }
    let task = stopped(id, &part.new.container, state);
    let why = crashed(&task);
    caller.tell(Progress::Crashed {
        service: part.name().to_owned(),
        task,
        log: tail(&local.engine, id),
    });
    Err(failed(line, why))
}

fn failed(line: &str, why: impl AsRef<str>) -> Stop {
    Stop::Failed(Why::Task, format!("before: `{line}`: {}", why.as_ref()))
}

//! What containers wrote.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Local;
use super::ledger::{Entry, Ledger, Service};
use super::names::Stage;
use crate::deploy::error::DeployError;
use crate::deploy::provider::LogLine;
use crate::deploy::request::Caller;
use crate::deploy::spec::Spec;

/// How many lines of each container are shown first.
const FIRST: usize = 100;
/// How many come at most between two looks.
const MORE: usize = 100_000;

/// See [`crate::deploy::provider::Provider::logs`].
pub fn show(
    local: &Local,
    spec: &Spec,
    follow: bool,
    line: &mut dyn FnMut(LogLine),
    caller: &mut Caller<'_>,
) -> Result<(), DeployError> {
    // By container: the moment of the last line that was shown.
    let mut shown: HashMap<String, Timestamp> = HashMap::new();
    loop {
        let mut lines = Vec::new();
        for service in local.services(spec) {
            let ledger = local.look(&service)?;
            for entry in writers(&ledger) {
                lines.extend(more(local, &service, entry, &mut shown)?);
            }
        }
        lines.sort_by_key(|line: &LogLine| line.at);
        lines.into_iter().for_each(&mut *line);
        if shown.is_empty() && !follow {
            caller.warn(format!("nothing has been deployed to `{}` here", spec.name));
        }
        if !follow || caller.is_cancelled() {
            return Ok(());
        }
        caller.pause(caller.pace.times(1.0));
        if caller.is_cancelled() {
            return Ok(());
        }
    }
}

/// What runs; else what ran last.
fn writers(ledger: &Ledger) -> Vec<&Entry> {
    let all = || {
        ledger
            .entries
            .iter()
            .filter(|one| one.stage != Stage::Before)
    };
    let running: Vec<&Entry> = all().filter(|one| one.running).collect();
    match running.is_empty() {
        true => ledger.primary().into_iter().collect(),
        false => running,
    }
}

/// The lines after the last one that was shown.
fn more(
    local: &Local,
    service: &Service,
    entry: &Entry,
    shown: &mut HashMap<String, Timestamp>,
) -> Result<Vec<LogLine>, DeployError> {
    let last = shown.get(&entry.id).copied();
    let since = last.map_or(0, |last| last.as_second());
    let most = if last.is_some() { MORE } else { FIRST };
    let read = local.engine.lines(&entry.id, since, most);
    let read = match read {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        read => read.map_err(super::error)?,
    };
    let fresh = read.iter().filter_map(|text| {
        let (at, text) = text.split_once(' ').unwrap_or((text, ""));
        let at: Timestamp = at.parse().ok()?;
        last.is_none_or(|last| at > last).then(|| LogLine {
            service: service.name.clone(),
            task: entry.short(),
            at,
            text: text.trim_end().to_owned(),
        })
    });
    let fresh: Vec<LogLine> = fresh.collect();
    let newest = fresh.iter().map(|line| line.at).max();
    let newest = newest.or(last).unwrap_or(Timestamp::UNIX_EPOCH);
    shown.insert(entry.id.clone(), newest);
    Ok(fresh)
}

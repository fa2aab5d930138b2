//! `forge history ENV` and `forge stats ENV`: the deployments to an environment, as its place remembers them.

use std::io::{self, Write};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::deploy::provider::Record;
use crate::engine::git::Git;
use crate::history::deployments::{Deployed, Figures, figures as figures_of};
use crate::report::style::{count, duration, printable};
use crate::units;

use super::context::{Context, Ended, Place, say};
use super::environment::{Environments, complain};

/// More than any environment has in the 90 days that ECS remembers.
const ALL: usize = 1000;

/// Prints the newest deployments, the newest last; the exit code.
///
/// # Errors
/// There is no such environment, it can't be asked.
pub fn list(
    context: &Context,
    place: &Place,
    environment: &str,
    limit: usize,
    out: &mut dyn Write,
) -> Result<u8, Ended> {
    let environments = Environments::new(context, place);
    let mut records = read(&environments, environment, limit)?;
    records.truncate(limit);
    records.reverse();
    let now = Timestamp::now();
    let printed = if context.options.json {
        let values: Vec<_> = records.iter().map(value).collect();
        serde_json::to_writer_pretty(&mut *out, &values)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else if records.is_empty() {
        writeln!(out, "no deployments yet")
    } else {
        let rows: Vec<_> = records.iter().map(|record| row(record, now)).collect();
        let head = [
            "WHEN", "STATE", "TIME", "SERVICE", "REVISION", "COMMIT", "BY", "WHY",
        ];
        super::table::write(out, &head, &rows)
    };
    printed.map_err(|error| say(&error.to_string()))?;
    Ok(0)
}

fn read(environments: &Environments, name: &str, limit: usize) -> Result<Vec<Record>, Ended> {
    environments.heed_signals()?;
    let opened = environments.named(name)?;
    let records = opened.ask(|caller| opened.provider.history(&opened.spec, limit, caller));
    records.map_err(|fault| complain(name, &fault))
}

fn row(record: &Record, now: Timestamp) -> Vec<String> {
    let short = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or("-");
        printable(&text.chars().take(10).collect::<String>()).into_owned()
    };
    let took = record.finished.map(|end| took(record.created, end));
    let revision = record.revision.as_ref().map(ToString::to_string);
    vec![
        units::age(record.created, now),
        record.state.to_owned(),
        took.map_or_else(|| "-".to_owned(), duration),
        record.service.clone(),
        revision.unwrap_or_else(|| "-".to_owned()),
        short(&record.commit),
        printable(record.by.as_deref().unwrap_or("-")).into_owned(),
        printable(&record.reason).into_owned(),
    ]
}

fn took(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn value(record: &Record) -> serde_json::Value {
    json!({
        "service": record.service, "revision": record.revision.as_ref().map(ToString::to_string),
        "digest": record.digest, "commit": record.commit, "by": record.by, "state": record.state,
        "reason": record.reason, "created": record.created.to_string(),
        "finished": record.finished.map(|at| at.to_string()),
    })
}

/// Prints how often, how fast and how well is deployed; the exit code.
///
/// # Errors
/// As [`list`].
pub fn figures(
    context: &Context,
    place: &Place,
    environment: &str,
    days: Option<u32>,
    out: &mut dyn Write,
) -> Result<u8, Ended> {
    let environments = Environments::new(context, place);
    let records = read(&environments, environment, ALL)?;
    let now = Timestamp::now();
    let span = days.map(|days| SignedDuration::from_hours(i64::from(days) * 24));
    let from = span.and_then(|span| now.checked_sub(span).ok());
    let git = &environments.session.git;
    let of = |record: &Record| deployed(record, git);
    let records = records.iter().rev();
    let records = records.filter(|record| from.is_none_or(|from| record.created >= from));
    let all: Vec<Deployed> = records.filter_map(of).collect();
    let figures = figures_of(&all, now);
    let printed = if context.options.json {
        serde_json::to_writer_pretty(&mut *out, &figures)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(environment, &figures, out)
    };
    printed.map_err(|error| say(&error.to_string()))?;
    Ok(0)
}

fn deployed(record: &Record, git: &Git) -> Option<Deployed> {
    let revision = record.revision.as_ref().map(ToString::to_string);
    Some(Deployed {
        created: record.created,
        // The local engine doesn't say when a deployment was over.
        finished: match record.finished {
            Some(at) => at,
            None if is_over(record.state) => record.created,
            None => return None,
        },
        ok: record.state == "successful",
        content: record.digest.clone().or(revision),
        committed: record
            .commit
            .as_deref()
            .and_then(|commit| committed(git, commit)),
    })
}

fn is_over(state: &str) -> bool {
    [
        "successful",
        "failed",
        "stopped",
        "rolled back",
        "rollback failed",
    ]
    .contains(&state)
}

/// When a commit was made, where git knows it.
fn committed(git: &Git, commit: &str) -> Option<Timestamp> {
    if !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let text = git.run(&["show", "-s", "--format=%ct", commit])?;
    Timestamp::from_second(text.trim().parse().ok()?).ok()
}

fn print(environment: &str, figures: &Figures, out: &mut dyn Write) -> io::Result<()> {
    if figures.deployments == 0 {
        return writeln!(out, "no deployments to {environment} that are over");
    }
    let time = |ms: Option<u64>| {
        ms.map_or_else(|| "-".to_owned(), |ms| duration(Duration::from_millis(ms)))
    };
    let n = count(figures.deployments, "deployment", "deployments");
    let back = count(figures.rollbacks, "rollback", "rollbacks");
    writeln!(out, "{n} to {environment}, {back}")?;
    let week = figures.per_week;
    let week = week.map_or_else(|| "-".to_owned(), |n| format!("{n:.1} a week"));
    let failed = figures.change_failure_rate.unwrap_or_default() * 100.0;
    let rows = [
        ("deployment frequency", week),
        ("lead time for changes", time(figures.lead_time_ms)),
        (
            "change failure rate",
            format!(
                "{failed:.0}% ({} of {})",
                figures.failed, figures.deployments
            ),
        ),
        ("time to recovery", time(figures.time_to_recovery_ms)),
    ];
    rows.iter()
        .try_for_each(|(name, value)| writeln!(out, "{name:<22} {value}"))
}

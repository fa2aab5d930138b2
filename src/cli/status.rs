//! `forge status [ENV]`: what runs where.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;

use crate::deploy::provider::Status;
use crate::report::style::printable;
use crate::units;

use super::context::{Context, Ended, Place};
use super::environment::{Environments, complain};

/// Arguments of `forge status`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// An environment; none: all of them
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
}

/// Prints what runs; the exit code: that of the last environment that couldn't be asked.
///
/// # Errors
/// There is no such environment; `out` can't be written.
pub fn run(
    context: &Context,
    place: &Place,
    args: &Args,
    out: &mut dyn Write,
) -> Result<io::Result<u8>, Ended> {
    let environments = Environments::new(context, place);
    environments.heed_signals()?;
    let numbers = match &args.environment {
        Some(name) => vec![environments.find(name)?],
        None => environments.here(),
    };
    if numbers.is_empty() && !context.options.json {
        return Ok(
            writeln!(out, "no environments here: [environment.NAME] declares one").map(|()| 0),
        );
    }
    let mut code = 0;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for number in numbers {
        let name = &environments.label(number);
        let asked = environments
            .open(number)
            .and_then(|opened| opened.ask(|caller| opened.provider.status(&opened.spec, caller)));
        match asked {
            Ok(all) => {
                rows.extend(all.iter().map(|one| row(name, one, Timestamp::now())));
                values.extend(all.iter().map(|one| value(name, one)));
            }
            Err(fault) => code = complain(name, &fault).0,
        }
    }
    Ok(print(context, &rows, &values, out).map(|()| code))
}

fn print(
    context: &Context,
    rows: &[Vec<String>],
    values: &[serde_json::Value],
    out: &mut dyn Write,
) -> io::Result<()> {
    if context.options.json {
        serde_json::to_writer_pretty(&mut *out, values)?;
        return writeln!(out);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let head = [
        "ENVIRONMENT",
        "SERVICE",
        "REVISION",
        "COMMIT",
        "TASKS",
        "STATE",
        "SINCE",
    ];
    super::table::write(out, &head, rows)
}

fn row(environment: &str, one: &Status, now: Timestamp) -> Vec<String> {
    let commit = one.running.commit.as_deref().unwrap_or("-");
    let commit: String = commit.chars().take(10).collect();
    let mut tasks = format!("{} of {}", one.up, one.desired);
    if one.pending > 0 {
        tasks += &format!(", {} pending", one.pending);
    }
    let mut state = one.state.to_owned();
    if !one.others.is_empty() {
        let n = one.others.len();
        state += &match one.state {
            "in progress" => format!(" ({n} older)"),
            _ => format!(" ({n} draining)"),
        };
    }
    vec![
        environment.to_owned(),
        one.service.clone(),
        one.running.revision.to_string(),
        printable(&commit).into_owned(),
        tasks,
        state,
        units::age(one.since, now),
    ]
}

fn value(environment: &str, one: &Status) -> serde_json::Value {
    json!({
        "environment": environment, "service": one.service, "revision": one.running.revision.to_string(),
        "deployment": one.running.deployment, "digest": one.running.digest, "commit": one.running.commit,
        "running": one.up, "desired": one.desired, "pending": one.pending, "state": one.state,
        "since": one.since.to_string(), "others": one.others,
    })
}

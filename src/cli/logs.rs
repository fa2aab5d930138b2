//! `forge logs ENV`: what the services' tasks print.

use std::io::{self, Write};

use serde_json::json;

use crate::deploy::provider::LogLine;
use crate::engine::look::Fault;
use crate::report::style::{Paint, printable};

use super::context::{Context, Ended};
use super::environment::{Environments, complain};

/// Arguments of `forge logs`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// As in `[environment.ENV]`
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
}

/// Prints lines; the exit code: 130 for one that was followed until Ctrl-C.
///
/// # Errors
/// There is no such environment, its logs can't be read.
pub fn run(context: &Context, args: &Args, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load()?;
    let environments = Environments::new(context, &place);
    environments.heed_signals()?;
    let opened = environments.named(&args.environment)?;
    let (json, paint) = (context.options.json, context.paint());
    let mut written = Ok(());
    let mut line = |line: LogLine| {
        if written.is_ok() {
            written = write(out, &line, json, paint).and_then(|()| out.flush());
        }
    };
    let read: Result<(), Fault> = opened.ask(|caller| {
        opened
            .provider
            .logs(&opened.spec, args.follow, &mut line, caller)
    });
    match (read, written) {
        // Whoever read it has seen enough.
        (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        (_, Err(error)) => Err(super::context::say(&error.to_string())),
        (Err(fault), _) => Err(complain(&args.environment, &fault)),
        (Ok(()), Ok(())) if environments.is_interrupted() => Ok(130),
        (Ok(()), Ok(())) => Ok(0),
    }
}

fn write(out: &mut dyn Write, line: &LogLine, json: bool, paint: Paint) -> io::Result<()> {
    if json {
        let value = json!({
            "at": line.at.to_string(), "service": line.service, "task": line.task, "text": line.text,
        });
        return writeln!(out, "{value}");
    }
    let task: String = line.task.chars().take(8).collect();
    let name = paint.cached(&format!(
        "{}/{}",
        printable(&line.service),
        printable(&task)
    ));
    let at = line.at.strftime("%Y-%m-%d %H:%M:%SZ");
    writeln!(out, "{at} {name} │ {}", printable(line.text.trim_end()))
}

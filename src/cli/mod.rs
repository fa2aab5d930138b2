//! Arguments, and one file a command: thin, reading like the help text.

pub mod args;
mod audit;
mod cache;
mod cancel;
mod check;
pub mod ci;
mod clean;
mod complete;
mod completions;
mod context;
mod dashboard;
mod deployments;
pub mod doctor;
mod environment;
pub mod graph;
pub mod history;
pub mod init;
mod list;
mod logs;
pub mod notify;
mod rollback;
mod run;
pub mod schema;
mod since;
pub mod stats;
mod status;
mod table;
mod watch;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};

use crate::pipeline::model::TargetId;

use args::{Cli, Command};
use context::{Context, Ended, Place, cache_dir, say};

/// Does what a command line says; the exit code.
pub fn main(line: Vec<OsString>) -> u8 {
    match args::parse(line) {
        Ok(cli) => command(cli).unwrap_or_else(|Ended(code)| code),
        Err(error) => {
            // Help and version are such errors too, and go to standard output.
            let _ = error.print();
            if error.use_stderr() { 2 } else { 0 }
        }
    }
}

fn command(cli: Cli) -> Result<u8, Ended> {
    let Some(command) = cli.command else {
        return Ok(0);
    };
    let chooses = cli.options.affected || cli.options.since.is_some();
    if chooses && !command.selects() {
        return Err(say(
            "`--since` and `--affected` choose among targets, and this command takes none",
        ));
    }
    let context = Context::new(cli.options)?;
    let json = context.options.json;
    let mut out = io::stdout().lock();
    let printed = match command {
        Command::Run(words) => {
            drop(out);
            return run::run(&context, &words);
        }
        Command::Watch(words) => {
            drop(out);
            return watch::run(&context, &words);
        }
        Command::Audit(args) => {
            drop(out);
            return audit::run(&context, &args);
        }
        Command::Retry => {
            drop(out);
            return run::retry(&context);
        }
        Command::Targets(_) => return Ok(2),
        Command::Check => return check::run(&context, &mut out),
        Command::List(selection) => {
            let place = context.load()?;
            let chosen = everything_or(&context, &place, &selection.targets)?;
            let reading = std::cell::OnceCell::new();
            let image = |address: &str| {
                let session = reading.get_or_init(|| context.reading(&place));
                session.state(address)?.image
            };
            let images = &image as &dyn Fn(&str) -> _;
            list::run(
                &place.workspace,
                &chosen,
                json.then_some(images),
                context.paint(),
                &mut out,
            )
            .map(|()| 0)
        }
        Command::Why(selection) => {
            let place = context.load()?;
            let mut chosen = context.select(&place, &selection.targets)?;
            since::narrow(&context, &place, &mut chosen)?;
            why::run(
                &context.reading(&place),
                &chosen,
                json,
                context.paint(),
                &mut out,
            )
        }
        Command::Graph(args) => {
            let place = context.load()?;
            let chosen = everything_or(&context, &place, &args.targets)?;
            let format = if json {
                graph::Format::Json
            } else {
                args.format
            };
            graph::render(&place.workspace, &chosen, format, &mut out).map(|()| 0)
        }
        Command::Schema => writeln!(out, "{}", schema::run().trim_end()).map(|()| 0),
        Command::Init(mut args) => {
            args.force = context.options.force;
            return Ok(init::run(
                &args,
                &context.directory,
                &mut out,
                &mut io::stderr(),
            ));
        }
        Command::History(mut args) => {
            args.json = json;
            let place = context.load()?;
            if let Some(environment) = &args.environment {
                return deployments::list(
                    &context,
                    &place,
                    environment,
                    args.limit.get(),
                    &mut out,
                );
            }
            history::run(
                &args,
                &cache_dir(Some(&place.workspace), &context.directory),
                &mut out,
                jiff::Timestamp::now(),
            )
        }
        Command::Stats(mut args) => {
            args.json = json;
            let place = context.load()?;
            if let Some(environment) = &args.environment {
                return deployments::figures(&context, &place, environment, args.days, &mut out);
            }
            stats::run(
                &args,
                &cache_dir(Some(&place.workspace), &context.directory),
                &mut out,
                jiff::Timestamp::now(),
            )
        }
        Command::Dashboard(args) => {
            let place = context.load()?;
            let page = dashboard::Place {
                name: &place.workspace.projects[0].name,
                cache_dir: &cache_dir(Some(&place.workspace), &context.directory),
                directory: &context.directory,
                dry_run: context.options.dry_run,
            };
            dashboard::run(&args, &page, &mut out, jiff::Timestamp::now())
        }
        Command::Ci(args) => return ci::run(&context, &args, &mut out),
        Command::Notify(args) => return notify::run(&context, &args, &mut out),
        Command::Doctor(args) => return doctor(&context, &args, &mut out),
        Command::Rollback(args) => {
            drop(out);
            return rollback::run(&context, &args);
        }
        Command::Status(args) => status::run(&context, &context.load()?, &args, &mut out)?,
        Command::Logs(args) => return logs::run(&context, &args, &mut out),
        Command::Cancel(args) => match args.environment {
            Some(environment) => return cancel::deployment(&context, &environment, &mut out),
            None => {
                let place = context.load()?;
                let dir = cache_dir(Some(&place.workspace), &context.directory);
                cancel::run(&dir, context.options.dry_run, &mut out)
            }
        },
        Command::Clean(selection) => {
            let place = context.load()?;
            let chosen = everything_or(&context, &place, &selection.targets)?;
            let session = clean::session(&context, &place);
            clean::run(&session, &chosen, json, &mut out)
        }
        Command::Cache(args) => {
            let place = context.load()?;
            let cache = cache::Cache {
                dir: &cache_dir(Some(&place.workspace), &context.directory),
                max_size: place.workspace.cache.max_size,
                json,
                dry_run: context.options.dry_run,
                yes: context.options.yes,
            };
            cache::run(&cache, args.action, &mut out)
        }
        Command::Completions(args) => {
            write!(out, "{}", completions::script(args.shell)).map(|()| 0)
        }
        Command::Complete(args) => complete::run(&args.words, &context.directory, &mut out),
    };
    printed.map_err(|error| match error.kind() {
        // Whoever read it has seen enough.
        io::ErrorKind::BrokenPipe => Ended(0),
        _ => say(&error.to_string()),
    })
}

/// The targets that words name; without words all there are.
fn everything_or(
    context: &Context,
    place: &Place,
    words: &[String],
) -> Result<Vec<TargetId>, Ended> {
    let targets = place.workspace.targets.iter();
    let here = targets.filter(|target| place.member.is_none_or(|member| target.project == member));
    let mut chosen = match words {
        [] => here.map(|target| target.id).collect(),
        words => context.select(place, words)?,
    };
    since::narrow(context, place, &mut chosen)?;
    Ok(chosen)
}

fn doctor(context: &Context, args: &doctor::Args, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load().ok();
    let workspace = place.as_ref().map(|place| &*place.workspace);
    let tools = crate::engine::tools::Tools::default();
    let env: Vec<_> = context.caller.clone().into_iter().collect();
    let version = |tool: &crate::pipeline::model::Tool| {
        tools
            .version(tool, &context.directory, &env)
            .map_err(|error| (error.message, error.help))
    };
    let session = place.as_ref().map(|place| context.reading(place));
    let patient = doctor::Patient {
        cache_dir: &cache_dir(workspace, &context.directory),
        workspace,
        tool: &version,
        session: session.as_ref(),
        json: context.options.json,
    };
    doctor::run(args, &patient, context.paint(), out).map_err(|error| say(&error.to_string()))
}

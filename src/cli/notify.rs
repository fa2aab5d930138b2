//! `forge notify test NAME`, and what a run's notifiers are told of where it happens.

use std::cell::OnceCell;
use std::io::{self, Write};
use std::sync::Arc;

use crate::engine::event::Listener;
use crate::engine::plan::Plan;
use crate::engine::render::Plain;
use crate::engine::session::Session;
use crate::history::{self, repairs::failures_in_a_row};
use crate::notify::{
    About, Failure, FailureKind, Notice, Notifying, Report, Settings, Source, once,
};
use crate::pipeline::interpolate::Lookup;
use crate::pipeline::model::{Notifier, NotifierKind, ProjectId};
use crate::pipeline::suggest;
use crate::report::Chain;

use super::context::{Context, Ended, Place, say};
use super::run::execute;

/// Arguments of `forge notify`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[arg(value_enum, value_name = "ACTION")]
    pub action: Action,
    /// As in `[notify.NAME]`
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// What to do with a notifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Send a test message through it
    Test,
}

/// What a session knows of where it runs.
struct Surroundings<'a> {
    session: &'a Session,
    history: OnceCell<Vec<history::Run>>,
}

impl<'a> Surroundings<'a> {
    fn of(session: &'a Session) -> Surroundings<'a> {
        let history = OnceCell::new();
        Surroundings { session, history }
    }
}

impl Source for Surroundings<'_> {
    fn about(&self) -> About {
        About {
            project: self.session.ws.project(ProjectId(0)).name.clone(),
            branch: self.session.git.branch().map(str::to_owned),
            commit: self.session.git.sha().map(str::to_owned),
            who: self.session.who(),
            link: self.session.page(),
        }
    }

    fn failures_before(&self, target: &str) -> usize {
        // Without a history nothing is known to have failed before.
        let read = || history::read(&self.session.cache_dir).unwrap_or_default();
        let runs = self.history.get_or_init(read);
        failures_in_a_row(runs, self.session.git.branch(), target)
    }

    fn values(&self, project: ProjectId) -> Box<dyn Lookup + '_> {
        let session = self.session;
        Box::new(Plain { session, project })
    }

    fn is_ci(&self) -> bool {
        self.session.is_ci()
    }
}

/// Runs a plan, and tells the workspace's notifiers of it; the run's exit code, whatever becomes of them.
pub fn run_and_tell(session: &Arc<Session>, plan: &Plan, screen: &mut dyn Listener) -> u8 {
    tell(session, screen, |listener| execute(session, plan, listener))
}

/// Lets `work` tell a screen and the workspace's notifiers what happens.
pub fn tell<T>(
    session: &Session,
    screen: &mut dyn Listener,
    work: impl FnOnce(&mut dyn Listener) -> T,
) -> T {
    let surroundings = Surroundings::of(session);
    let Some(mut notifying) = Notifying::new(&session.ws, &surroundings) else {
        return work(screen);
    };
    let mut chain = Chain::default();
    chain.push(screen);
    chain.push(&mut notifying);
    let done = work(&mut chain);
    drop(chain);
    warn(&notifying.finish());
    done
}

fn warn(reports: &[Report]) {
    for Report { notifier, failure } in reports {
        let _ = writeln!(
            io::stderr(),
            "! notifier {notifier}: {}\n  help: {}",
            failure.message,
            failure.help
        );
    }
}

/// Sends a test message; the exit code: 1 where it didn't arrive, 3 where a setting has no value.
///
/// # Errors
/// There is no such notifier, or no pipeline file.
pub fn run(context: &Context, args: &Args, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load()?;
    let Action::Test = args.action;
    let notifier = find(&place, &args.name)?;
    let session = context.reading(&place);
    let surroundings = Surroundings::of(&session);
    let values = surroundings.values(place.member.unwrap_or(ProjectId(0)));
    let settings = Settings::read(notifier, &*values);
    let kind = kind(notifier.kind);
    if context.options.dry_run {
        let settings = settings.map_err(|failure| refused(&args.name, &failure))?;
        let said = format!("would send a test message to {} ({kind})", settings.place());
        return print(out, &said);
    }
    let sent = settings.and_then(|settings| once(&settings, Notice::test(surroundings.about())));
    let answer = sent.map_err(|failure| refused(&args.name, &failure))?;
    let said = format!(
        "sent a test message to {} ({kind}): {}",
        answer.place, answer.said
    );
    print(out, &said)
}

/// A member's own notifier goes before the root's of the same name.
fn find<'a>(place: &'a Place, name: &str) -> Result<&'a Notifier, Ended> {
    let ws = &place.workspace;
    let file = ws.project(place.member.unwrap_or(ProjectId(0))).file;
    let named = || ws.notifiers.iter().filter(|notifier| notifier.name == name);
    let own = named().find(|notifier| notifier.span.file == file);
    own.or_else(|| named().next()).ok_or_else(|| {
        let names = ws.notifiers.iter().map(|notifier| notifier.name.as_str());
        let help = suggest::help(name, "notifiers", names);
        let help = help.unwrap_or_else(|| format!("declare it: [notify.{name}]"));
        say(&format!("there is no notifier `{name}`\n  help: {help}"))
    })
}

fn refused(name: &str, failure: &Failure) -> Ended {
    let _ = writeln!(
        io::stderr(),
        "forge: notifier {name}: {}\n  help: {}",
        failure.message,
        failure.help
    );
    Ended(match failure.kind {
        FailureKind::Missing => 3,
        FailureKind::Undelivered => 1,
    })
}

fn print(out: &mut dyn Write, text: &str) -> Result<u8, Ended> {
    writeln!(out, "{text}").map_err(|error| say(&error.to_string()))?;
    Ok(0)
}

fn kind(kind: NotifierKind) -> &'static str {
    match kind {
        NotifierKind::Slack => "slack",
        NotifierKind::PagerDuty => "pagerduty",
        NotifierKind::Email => "email",
        NotifierKind::Webhook => "webhook",
    }
}

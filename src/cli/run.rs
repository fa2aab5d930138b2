//! `forge TARGET…`, `forge run`, `forge retry`.

use std::io::Write;
use std::sync::Arc;

use crate::engine::deploy::early;
use crate::engine::event::{Listener, Spent};
use crate::engine::git::Git;
use crate::engine::plan::{Plan, PlanError};
use crate::engine::run::{dry_run, run as run_plan};
use crate::engine::session::{self, Session};
use crate::history::{self, Recorder};
use crate::parallel;
use crate::pipeline::model::{Kind, TargetId};
use crate::pipeline::suggest;
use crate::report::{Chain, reporter};

use super::args::Words;
use super::context::{Context, Ended, Place, say};
use super::notify::run_and_tell;
use super::since;

/// Runs targets; the exit code.
///
/// # Errors
/// What keeps the run from beginning.
pub fn run(context: &Context, words: &Words) -> Result<u8, Ended> {
    let place = context.load()?;
    run_in(context, &place, words)
}

/// `forge retry`: what failed last time, and what that kept from running.
///
/// # Errors
/// As [`run`].
pub fn retry(context: &Context) -> Result<u8, Ended> {
    let place = context.load()?;
    let cache_dir = session::cache_dir(&place.workspace);
    let runs = history::read(&cache_dir)
        .map_err(|error| say(&format!("the history can't be read: {error}")))?;
    let Some(unfinished) = history::last_run(&runs) else {
        return Err(say("there is no run to repeat: nothing has run here yet"));
    };
    let targets: Vec<String> = unfinished
        .failed
        .into_iter()
        .chain(unfinished.skipped)
        .collect();
    let exists = |address: &String| {
        place
            .workspace
            .targets
            .iter()
            .any(|target| *target.address == **address)
    };
    let (targets, gone): (Vec<_>, Vec<_>) = targets.into_iter().partition(exists);
    for address in gone {
        say(&format!(
            "{address} failed last time, and isn't there any more"
        ));
    }
    if targets.is_empty() {
        let _ = writeln!(std::io::stderr(), "Nothing failed in the last run.");
        return Ok(0);
    }
    // Addresses of the root stand for the root's alone here, not for every project's.
    let targets = targets.into_iter().map(|address| {
        if address.contains(':') {
            address
        } else {
            format!(":{address}")
        }
    });
    run_in(
        context,
        &place,
        &Words {
            targets: targets.collect(),
            args: Vec::new(),
        },
    )
}

/// Runs targets of a workspace that is read already.
///
/// # Errors
/// As [`run`].
pub fn run_in(context: &Context, place: &Place, words: &Words) -> Result<u8, Ended> {
    match prepare(context, place, words)? {
        Some((session, plan)) => {
            let mut screen = reporter(context.report_options());
            let code = run_and_tell(&session, &plan, &mut *screen);
            drop(screen);
            if !session.options.dry_run {
                place.keep();
                // The process is about to end: giving back memory piece by piece would only take time.
                std::mem::forget((session, plan));
            }
            Ok(code)
        }
        None => {
            let _ = writeln!(
                std::io::stderr(),
                "Nothing selected is affected by the changes."
            );
            Ok(0)
        }
    }
}

/// What is to be run; none where nothing selected is affected by the changes since `--since`.
///
/// # Errors
/// As [`run`].
fn prepare(
    context: &Context,
    place: &Place,
    words: &Words,
) -> Result<Option<(Arc<Session>, Plan)>, Ended> {
    let Some(chosen) = choose(context, place, words)? else {
        return Ok(None);
    };
    heard(place, words, &chosen)?;
    let options = options(context, words, &chosen);
    let session = session(context, place, options);
    let plan = plan(context, &session, &chosen)?;
    Ok(Some((session, plan)))
}

/// Words after `--` that no command gets would change nothing, and nobody would see that.
fn heard(place: &Place, words: &Words, chosen: &Chosen) -> Result<(), Ended> {
    let target = |id: &TargetId| place.workspace.target(*id);
    let mut named = chosen.named.iter().map(target);
    if words.args.is_empty() || named.any(|target| matches!(target.kind, Kind::Command { .. })) {
        return Ok(());
    }
    let needs = chosen.named.iter().flat_map(|id| &target(id).needs);
    let needs: Vec<&str> = needs.map(|need| &*target(&need.target).address).collect();
    let why = match (chosen.named.first().map(target), needs.as_slice()) {
        (None, _) => "name the target that it is for".to_owned(),
        (Some(one), []) => format!("`{}` runs no command itself", one.address),
        (Some(one), needs) => format!(
            "`{}` runs no command itself; name one of {}",
            one.address,
            suggest::list(needs)
        ),
    };
    let said = words.args.join(" ");
    Err(say(&format!(
        "nothing gets what stands after `--` ({said}): {why}"
    )))
}

/// The targets of a run, without those that they need.
pub struct Chosen {
    selected: Vec<TargetId>,
    /// Those that were asked for by name.
    named: Vec<TargetId>,
}

impl Chosen {
    /// Exactly these, each as if it had been named.
    pub fn these(targets: Vec<TargetId>) -> Self {
        Self {
            selected: targets.clone(),
            named: targets,
        }
    }
}

/// The targets that words stand for; none where nothing selected is affected by the changes since `--since`.
///
/// # Errors
/// As [`run`].
pub fn choose(context: &Context, place: &Place, words: &Words) -> Result<Option<Chosen>, Ended> {
    let mut selected = context.select(place, &words.targets)?;
    let asked = !selected.is_empty();
    since::narrow(context, place, &mut selected)?;
    if asked && selected.is_empty() {
        return Ok(None);
    }
    let named = if words.targets.is_empty() {
        Vec::new()
    } else {
        selected.clone()
    };
    Ok(Some(Chosen { selected, named }))
}

/// What the command line says about a run of these targets.
pub fn options(context: &Context, words: &Words, chosen: &Chosen) -> session::Options {
    let options = &context.options;
    let jobs = options.jobs.map(usize::from);
    session::Options {
        jobs: jobs.unwrap_or_else(parallel::cores),
        keep_going: options.keep_going,
        dry_run: options.dry_run,
        force: options.force,
        no_cache: options.no_cache,
        no_push: options.no_push,
        audited: Vec::new(),
        yes: options.yes,
        approve: options.approve.clone(),
        hotfix: options.hotfix.clone(),
        takeover: options.takeover,
        restart: options.restart,
        logs: options.verbose > 0,
        named: chosen.named.iter().copied().collect(),
        args: words.args.clone(),
        ..session::Options::default()
    }
}

/// What a run in this place knows.
pub fn session(context: &Context, place: &Place, options: session::Options) -> Arc<Session> {
    let workspace = Arc::clone(&place.workspace);
    let session = Session::new(workspace, options, context.caller.clone());
    session.note(place.read);
    Arc::new(session)
}

/// What a run will do.
///
/// # Errors
/// A named target's condition isn't met; a variable that a target refers to is unset.
pub fn plan(context: &Context, session: &Arc<Session>, chosen: &Chosen) -> Result<Plan, Ended> {
    let plan = || {
        let plan = Plan::new(session, &chosen.selected, &chosen.named)?;
        if !session.options.dry_run {
            early::look(session, &plan)
                .map_err(|(problem, code)| PlanError::Refused(problem, code))?;
        }
        Ok(plan)
    };
    let (plan, planned) = Spent::on("plan", plan);
    session.note(planned);
    plan.map_err(|error| match error {
        PlanError::Refused(problem, code) => {
            context.show(&[problem]);
            Ended(code)
        }
        PlanError::Invalid(problems) => context.report(&problems),
    })
}

/// Runs what was prepared, and adds it to the history; the exit code.
pub fn execute(session: &Arc<Session>, plan: &Plan, screen: &mut dyn Listener) -> u8 {
    let mut recorder = Recorder::new(session.cache_dir.clone(), || about(session));
    let mut chain = Chain::default();
    chain.push(screen);
    if !session.options.no_cache {
        chain.push(&mut recorder);
    }
    let go = if session.options.dry_run {
        dry_run
    } else {
        run_plan
    };
    let summary = go(session, plan, &mut chain);
    drop(chain);
    if let Some(warning) = recorder.warning() {
        let _ = writeln!(std::io::stderr(), "! {warning}");
    }
    summary.exit_code
}

fn about(session: &Session) -> history::About {
    let git: &Git = &session.git;
    history::About {
        when: jiff::Timestamp::now().to_string(),
        commit: git.sha().map(str::to_owned),
        branch: git.branch().map(str::to_owned),
        command: std::env::args().skip(1).collect(),
    }
}

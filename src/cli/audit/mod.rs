//! `forge audit`: what targets read and write beside what they declare, and the edit that declares it.

mod diff;
mod edit;
mod show;

use std::io::{self, Write};
use std::sync::Arc;

use crate::engine::audit::{Findings, Proposal};
use crate::engine::event::{Event, Listener, Outcome};
use crate::engine::run::run as run_plan;
use crate::engine::session::{self, Session};
use crate::exec::trace;
use crate::graph;
use crate::pipeline::LoadOptions;
use crate::pipeline::model::{Kind, Target, TargetId, Workspace};
use crate::report::{Chain, reporter};

use super::args::Audit;
use super::context::{Context, Ended, Place, say};
use super::run;
use super::since;
use edit::{Edit, Edits};

/// All that one audit came to.
struct Audited<'a> {
    ws: &'a Workspace,
    targets: Vec<One<'a>>,
    edits: Vec<Edit>,
    /// Why there is no edit, where there could be one.
    no_edit: Option<String>,
    fixed: bool,
}

/// What became of one target.
struct One<'a> {
    target: &'a Target,
    outcome: Outcome,
    reason: String,
    /// None where it didn't run.
    findings: Option<Findings>,
}

impl One<'_> {
    fn is_ok(&self) -> bool {
        let clean = self.findings.as_ref().is_some_and(Findings::is_clean);
        self.outcome == Outcome::Ran && clean
    }
}

/// Runs targets and tells what they don't declare; the exit code.
///
/// # Errors
/// What keeps the audit from beginning.
pub fn run(context: &Context, args: &Audit) -> Result<u8, Ended> {
    if let Err(why) = trace::available() {
        say(&why);
        return Err(Ended(3));
    }
    let place = context.load()?;
    let mut selected = context.select(&place, &args.words.targets)?;
    since::narrow(context, &place, &mut selected)?;
    let audited = commands(&place.workspace, &selected)?;
    let chosen = run::Chosen::these(selected);
    let options = session::Options {
        audited: audited.clone(),
        ..run::options(context, &args.words, &chosen)
    };
    let session = run::session(context, &place, options);
    let plan = run::plan(context, &session, &chosen)?;
    if context.options.dry_run {
        return Ok(run::execute(
            &session,
            &plan,
            &mut *reporter(context.report_options()),
        ));
    }
    let mut ends = Ends::default();
    let mut chain = Chain::default();
    chain.push(&mut ends);
    // A document is the whole answer then.
    if !context.options.json {
        chain.push(reporter(context.report_options()));
    }
    let summary = run_plan(&session, &plan, &mut chain);
    drop(chain);
    if summary.exit_code == 130 {
        return Ok(130);
    }
    let loading = LoadOptions {
        vars: context.options.vars.clone(),
    };
    let mut audited = judge(&session, &place, audited, &ends, &loading);
    if args.fix {
        audited.write()?;
    }
    let ok = summary.exit_code == 0 && audited.targets.iter().all(One::is_ok);
    let mut out = io::stdout().lock();
    let shown = match context.options.json {
        true => writeln!(out, "{}", show::json(&audited, ok)),
        false => show::text(
            &audited,
            context.options.verbose > 0,
            context.paint(),
            &mut out,
        ),
    };
    if let Err(error) = shown.and_then(|()| out.flush()) {
        return Err(say(&error.to_string()));
    }
    Ok(match (ok, summary.exit_code) {
        (true, _) => 0,
        (false, 0) => 1,
        (false, code) => code,
    })
}

/// The targets with commands among those named; a group stands for what it needs.
fn commands(ws: &Workspace, selected: &[TargetId]) -> Result<Vec<TargetId>, Ended> {
    let mut found = Vec::new();
    for id in selected {
        let members = match ws.target(*id).kind {
            Kind::Group => graph::leaf_needs(ws, *id),
            _ => vec![*id],
        };
        for id in members {
            let is_command = matches!(ws.target(id).kind, Kind::Command { .. });
            if is_command && !found.contains(&id) {
                found.push(id);
            }
        }
    }
    match found.is_empty() {
        true => Err(say(
            "none of these targets runs a command: there is nothing to audit",
        )),
        false => Ok(found),
    }
}

fn judge<'a>(
    session: &Arc<Session>,
    place: &'a Place,
    audited: Vec<TargetId>,
    ends: &Ends,
    loading: &LoadOptions,
) -> Audited<'a> {
    let ws = &*place.workspace;
    let mut findings = session.take_findings();
    let mut edits = Edits::new(ws);
    let mut targets = Vec::new();
    let mut no_edit = None;
    for id in audited {
        let target = ws.target(id);
        let findings = findings.remove(&id);
        let proposal = findings.as_ref().map(|findings| Proposal::of(ws, findings));
        if let Some(proposal) = proposal.filter(|proposal| !proposal.is_empty())
            && edits.add(target, &proposal).is_none()
        {
            no_edit = Some(format!(
                "{} isn't written as a table of its own",
                target.address
            ));
        }
        let (outcome, reason) = ends.of(&target.address);
        targets.push(One {
            target,
            outcome,
            reason,
            findings,
        });
    }
    let edits = edits.finish(loading).unwrap_or_else(|why| {
        no_edit = Some(why);
        Vec::new()
    });
    Audited {
        ws,
        targets,
        edits,
        no_edit,
        fixed: false,
    }
}

impl Audited<'_> {
    fn write(&mut self) -> Result<(), Ended> {
        for edit in &self.edits {
            std::fs::write(self.ws.root.join(&edit.file), &edit.text)
                .map_err(|error| say(&format!("{} can't be written: {error}", edit.file)))?;
        }
        self.fixed = !self.edits.is_empty();
        Ok(())
    }
}

/// How targets ended, heard from the run.
#[derive(Default)]
struct Ends(Vec<(Arc<str>, Outcome, String)>);

impl Ends {
    fn of(&self, address: &str) -> (Outcome, String) {
        let end = self.0.iter().find(|(name, ..)| **name == *address);
        end.map_or((Outcome::Skipped, String::new()), |(_, outcome, reason)| {
            (*outcome, reason.clone())
        })
    }
}

impl Listener for Ends {
    fn on(&mut self, event: &Event) {
        if let Event::TargetFinished(finished) = event {
            let target = Arc::clone(&finished.target);
            self.0
                .push((target, finished.outcome, finished.reason.clone()));
        }
    }
}

//! `forge rollback ENV`: back to what ran before, and seen to run.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::deploy::outcome::{After, Ending, Outcome};
use crate::deploy::provider::{BackPlan, Wanted};
use crate::engine::deploy::ask;
use crate::engine::event::{Deployment, Event, Listener};
use crate::engine::look::Fault;
use crate::report::reporter;

use super::context::{Context, Ended};
use super::environment::{Environments, Opened, complain};
use super::notify::tell;

/// Arguments of `forge rollback`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// As in `[environment.ENV]`
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// To this revision: `app:41`, or `41`
    #[arg(long, value_name = "REVISION", conflicts_with = "steps")]
    pub to: Option<String>,
    /// So many deployments back
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
}

/// Rolls back; the exit code.
///
/// # Errors
/// What keeps it from beginning.
pub fn run(context: &Context, args: &Args) -> Result<u8, Ended> {
    let place = context.load()?;
    let environments = Environments::new(context, &place);
    environments.heed_signals()?;
    let opened = environments.named(&args.environment)?;
    let wanted = match &args.to {
        Some(revision) => Wanted::To(revision.clone()),
        None => Wanted::Steps(args.steps),
    };
    let ended = tell(
        &environments.session,
        &mut *reporter(context.report_options()),
        |listener| {
            let mut rollback = Rollback {
                context,
                opened: &opened,
                listener,
            };
            rollback.run(&environments, &wanted)
        },
    );
    ended.map_err(|fault| complain(&args.environment, &fault))
}

struct Rollback<'a> {
    context: &'a Context,
    opened: &'a Opened<'a>,
    listener: &'a mut dyn Listener,
}

impl Rollback<'_> {
    fn run(&mut self, environments: &Environments, wanted: &Wanted) -> Result<u8, Fault> {
        let opened = self.opened;
        let plan =
            opened.ask(|caller| opened.provider.plan_rollback(&opened.spec, wanted, caller))?;
        let deployment = Arc::new(deployment(environments, opened, &plan));
        self.listener.on(&Event::RollbackPlanned {
            deployment: Arc::clone(&deployment),
            plan: Arc::new(plan.clone()),
            now: Timestamp::now(),
        });
        if self.context.options.dry_run {
            let _ = writeln!(io::stderr(), "dry run: nothing was changed");
            return Ok(0);
        }
        self.agreed(environments)?;
        self.carry_out(&deployment, &plan)
    }

    /// Whether somebody wants it.
    fn agreed(&self, environments: &Environments) -> Result<(), Fault> {
        if self.context.options.yes {
            return Ok(());
        }
        let name = &self.opened.environment.name;
        let refused = |message: &str, help: Option<String>| Fault {
            message: message.into(),
            help,
            exit_with: 4,
        };
        if !ask::can() {
            let help = format!("forge rollback {name} --yes");
            return Err(refused("there is no terminal to ask on", Some(help)));
        }
        let cancelled = || environments.is_interrupted();
        if ask::yes(&format!("Roll {name} back?"), &cancelled) {
            return Ok(());
        }
        Err(match cancelled() {
            true => crate::deploy::error::DeployError::interrupted().into(),
            false => refused("not rolled back; nothing was changed", None),
        })
    }

    fn carry_out(&mut self, deployment: &Arc<Deployment>, plan: &BackPlan) -> Result<u8, Fault> {
        let began = Instant::now();
        let (opened, listener) = (self.opened, &mut *self.listener);
        listener.on(&Event::DeployStarted {
            deployment: Arc::clone(deployment),
        });
        let mut log = String::new();
        let mut sink = |progress: crate::deploy::progress::Progress| {
            log += &format!("{progress}\n");
            listener.on(&Event::DeployProgress {
                deployment: Arc::clone(deployment),
                progress,
            });
        };
        let ended = opened.lend(&mut sink, |caller| {
            opened.provider.rollback(&opened.spec, plan, caller)
        });
        let outcome = match &ended {
            Ok(outcome) => outcome.clone(),
            Err(error) => Outcome {
                result: Ending::Failed {
                    reason: error.message.clone(),
                    after: After::Untouched,
                },
                now: Vec::new(),
            },
        };
        let code = outcome.result.exit_code();
        listener.on(&Event::DeployFinished {
            deployment: Arc::clone(deployment),
            outcome: Arc::new(outcome),
            duration: began.elapsed(),
            log: log.into_bytes().into(),
        });
        ended?;
        Ok(code)
    }
}

fn deployment(environments: &Environments, opened: &Opened, plan: &BackPlan) -> Deployment {
    let first = plan.services.first();
    Deployment {
        digest: first.and_then(|one| one.to.digest.clone()),
        commit: first.and_then(|one| one.to.commit.clone()),
        previous: first.map(|one| one.running.revision.to_string()),
        ..environments.session.deployment(None, opened.environment)
    }
}

//! A deploy target's way: its plan, somebody's agreement, the deployment to its end.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::bounded;

use crate::deploy::error::DeployError;
use crate::deploy::gates::Approval;
use crate::deploy::outcome::{After, Ending, Outcome as Ended};
use crate::deploy::progress::Progress;
use crate::deploy::provider::Provider;
use crate::engine::event::{DeployPlan, Deployment, Event, Finished, Outcome};
use crate::engine::job::{Job, Message};
use crate::engine::log::Log;
use crate::engine::look::Fault;
use crate::engine::session::Session;
use crate::pipeline::model::{Deploy, Target};

use super::ask;
use super::lent::Lent;
use super::order::Order;

/// A deployment that was planned.
struct Planned<'a> {
    order: &'a Order<'a>,
    provider: &'a dyn Provider,
    plan: Arc<DeployPlan>,
    deployment: Arc<Deployment>,
}

impl Job<'_> {
    /// Deploys: again and again the same is found to be there, and nothing is called.
    pub(in crate::engine) fn deploy(&self, deploy: &Deploy) -> Result<Finished, Fault> {
        self.take_turn();
        if self.is_cancelled() {
            return Ok(self.words.interrupted());
        }
        let began = Instant::now();
        let order = self.session.order(self.target, deploy, true)?;
        let provider = self.session.provider(deploy.environment)?;
        let log = RefCell::default();
        let ended = self.planned(&order, &*provider, &log);
        let mut finished = match ended {
            Ok(finished) => finished,
            Err(fault) if fault.exit_with == INTERRUPTED => {
                self.words.finished(Outcome::Cancelled, fault.message)
            }
            Err(fault) => {
                let log = log.take().into_bytes();
                let mut finished = self.words.fault(fault);
                finished.log = [&log, &*finished.log].concat().into();
                finished
            }
        };
        finished.key = Some(order.request.key.clone());
        finished.duration = began.elapsed();
        finished.attempts = 1;
        Ok(finished)
    }

    fn planned(
        &self,
        order: &Order<'_>,
        provider: &dyn Provider,
        log: &RefCell<Log>,
    ) -> Result<Finished, Fault> {
        self.doing("plans");
        let mut told = Vec::new();
        let plan = self.lend(order, log, &mut |progress| told.push(progress), |caller| {
            provider.plan(&order.request, caller)
        })?;
        let planned = Planned {
            deployment: Arc::new(order.deployment(self.session, self.target, &plan)),
            plan: Arc::new(plan),
            order,
            provider,
        };
        if planned.plan.is_fresh() {
            let reason = runs_already(&planned.plan);
            return Ok(self.words.finished(Outcome::Fresh, reason));
        }
        self.tell(Event::DeployPlanned {
            deployment: Arc::clone(&planned.deployment),
            plan: Arc::clone(&planned.plan),
            open: false,
        });
        for progress in told {
            self.progress(&planned.deployment, progress, log);
        }
        self.carry_out(&planned, log)
    }

    fn carry_out(&self, planned: &Planned, log: &RefCell<Log>) -> Result<Finished, Fault> {
        let approval = self.agreement(planned)?;
        if let Some(gate) = planned.plan.refusal(&approval) {
            return Err(Fault {
                message: format!("{}: {}", gate.name.text(), gate.why),
                help: Some(gate.help),
                exit_with: 4,
            });
        }
        let began = Instant::now();
        let deployment = &planned.deployment;
        self.tell(Event::DeployStarted {
            deployment: Arc::clone(deployment),
        });
        let order = planned.order;
        let mut sink = |progress| self.progress(deployment, progress, log);
        let ended = self.lend(order, log, &mut sink, |caller| {
            planned
                .provider
                .deploy(&order.request, &planned.plan, &approval, caller)
        });
        let outcome = match &ended {
            Ok(outcome) => Arc::new(outcome.clone()),
            Err(error) => Arc::new(not_begun(error)),
        };
        let told: Arc<[u8]> = log.take().into_bytes().into();
        self.tell(Event::DeployFinished {
            deployment: Arc::clone(deployment),
            outcome: Arc::clone(&outcome),
            duration: began.elapsed(),
            log: Arc::clone(&told),
        });
        if let Err(error) = ended {
            log.borrow_mut().push(&told);
            return Err(error.into());
        }
        let (ending, reason) = sentence(&outcome);
        let mut finished = self.words.finished(ending, &reason);
        finished.log = told;
        if ending == Outcome::Failed {
            finished.exit_with = outcome.result.exit_code();
            let help = what_now(&outcome.result, &planned.plan.environment);
            finished.log = [&*finished.log, help.as_bytes()].concat().into();
        }
        Ok(finished)
    }

    /// What somebody says to the plan, where anybody has to.
    fn agreement(&self, planned: &Planned) -> Result<Approval, Fault> {
        let options = &self.session.options;
        let plan = &planned.plan;
        match &options.approve {
            Some(id) if id.is_empty() => return Ok(Approval::Any),
            Some(id) => return Ok(Approval::Of(id.clone())),
            None if !plan.waits_for_approval() || !ask::can() => return Ok(Approval::None),
            None => {}
        }
        let question = format!("Deploy this to {}?", plan.environment);
        if options.yes || self.ask(&question) {
            return Ok(Approval::Of(plan.id()));
        }
        Err(match self.is_cancelled() {
            true => DeployError::interrupted().into(),
            false => Fault {
                message: "not approved; nothing was changed".into(),
                help: None,
                exit_with: 4,
            },
        })
    }

    /// Asks when the screen is this job's.
    fn ask(&self, question: &str) -> bool {
        let (grant, turn) = bounded(1);
        if self.shared.events.send(Message::Asks(grant)).is_err() || turn.recv().is_err() {
            return false;
        }
        let answer = ask::yes(question, &|| self.is_cancelled());
        let _ = self.shared.events.send(Message::Asked);
        answer
    }

    fn lend<T>(
        &self,
        order: &Order<'_>,
        log: &RefCell<Log>,
        sink: &mut dyn FnMut(Progress),
        work: impl FnOnce(&mut crate::deploy::request::Caller<'_>) -> T,
    ) -> T {
        let lent = Lent {
            session: self.session,
            environment: order.environment,
            target: Some(self.target),
            cancelled: &|| self.is_cancelled(),
            output: &|bytes| {
                if !bytes.is_empty() {
                    log.borrow_mut().push(bytes);
                    self.tell(Event::Output {
                        target: Arc::clone(&self.target.address),
                        bytes: bytes.into(),
                    });
                }
            },
        };
        lent.to(sink, work)
    }

    fn progress(&self, deployment: &Arc<Deployment>, progress: Progress, log: &RefCell<Log>) {
        log.borrow_mut().push(format!("{progress}\n").as_bytes());
        self.tell(Event::DeployProgress {
            deployment: Arc::clone(deployment),
            progress,
        });
    }
}

/// Ctrl-C.
const INTERRUPTED: u8 = 130;

/// A plan for `-n`, and what events say of it. `built`: its image is there.
///
/// # Errors
/// As for the deployment itself.
pub fn plan(
    session: &Session,
    target: &Target,
    deploy: &Deploy,
    built: bool,
) -> Result<(Deployment, DeployPlan), Fault> {
    let order = session.order(target, deploy, built)?;
    let provider = session.provider(deploy.environment)?;
    let lent = Lent {
        session,
        environment: order.environment,
        target: Some(target),
        cancelled: &|| session.is_interrupted(),
        output: &|_| {},
    };
    let plan = lent.to(&mut |_| {}, |caller| provider.plan(&order.request, caller))?;
    Ok((order.deployment(session, target, &plan), plan))
}

/// How it ended, as the outcome of a target and on one line.
pub fn sentence(ended: &Ended) -> (Outcome, String) {
    let runs = ended.now.iter().map(ToString::to_string);
    let runs = runs.collect::<Vec<_>>().join(", ");
    match &ended.result {
        Ending::Fresh => (Outcome::Fresh, runs),
        Ending::Done => (Outcome::Ran, runs),
        Ending::Failed { reason, after } => {
            let left = match after {
                After::Untouched => "no service was touched".to_owned(),
                After::RolledBack => format!("rolled back: {runs}"),
                After::Left(why) if runs.is_empty() => format!("not rolled back: {why}"),
                After::Left(why) => format!("not rolled back: {why}; now {runs}"),
            };
            (Outcome::Failed, format!("{reason}; {left}"))
        }
        Ending::Interrupted { goes_on } => (Outcome::Cancelled, goes_on.clone()),
    }
}

/// What to do after a failure, as a line of its log.
fn what_now(result: &Ending, environment: &str) -> String {
    match result {
        Ending::Failed {
            after: After::RolledBack,
            ..
        } => "help: what ran before runs again: there is time to mend it and to deploy again\n"
            .into(),
        Ending::Failed {
            after: After::Left(_),
            ..
        } => format!(
            "help: look at it: forge status {environment}, forge logs {environment}; to what was good: forge rollback {environment} (while it still goes on: forge cancel {environment})\n"
        ),
        _ => String::new(),
    }
}

/// It was refused when it was about to begin.
fn not_begun(error: &DeployError) -> Ended {
    let reason = error.message.clone();
    Ended {
        result: match error.exit_code() {
            INTERRUPTED => Ending::Interrupted { goes_on: reason },
            _ => Ending::Failed {
                reason,
                after: After::Untouched,
            },
        },
        now: Vec::new(),
    }
}

fn runs_already(plan: &DeployPlan) -> String {
    let each = plan.services.iter();
    let each = each.map(|one| format!("{} runs it: {}", one.service, one.running.revision));
    each.collect::<Vec<_>>().join(", ")
}

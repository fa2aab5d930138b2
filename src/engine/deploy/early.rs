//! What keeps a deployment from being made, as far as it can be seen before anything has run: nobody wants to learn after
//! ten minutes of tests that today is Friday. All of it is looked at again when the deployment is planned.

use jiff::Timestamp;

use crate::deploy::gates::{self, Gate};
use crate::engine::look::Fault;
use crate::engine::plan::{Plan, REFUSED};
use crate::engine::session::Session;
use crate::pipeline::model::{Environment, Kind, Target};
use crate::pipeline::problem::Problem;

use super::ask;

/// What stands in the way of a plan's deployments: one problem, and the exit code that it asks for.
///
/// # Errors
/// A gate is shut; credentials are missing, or another account's.
pub fn look(session: &Session, plan: &Plan) -> Result<(), (Problem, u8)> {
    let runs = plan.nodes.iter().zip(&plan.targets);
    let runs = runs.filter(|(node, _)| node.unmet.is_none());
    for target in runs.map(|(_, id)| session.ws.target(*id)) {
        let Kind::Deploy(deploy) = &target.kind else {
            continue;
        };
        one(session, target, deploy.environment).map_err(|fault| {
            let environment = &session.ws.environments[deploy.environment];
            (
                problem(session, target, environment, &fault),
                fault.exit_with,
            )
        })?;
    }
    Ok(())
}

fn one(session: &Session, target: &Target, environment: usize) -> Result<(), Fault> {
    let spec = session.environment_spec(&session.ws.environments[environment])?;
    let now = Timestamp::now();
    let hotfix = session.options.hotfix.as_deref();
    passed(gates::branch(&spec.branch, session.git.branch()))?;
    passed(gates::freeze(
        &spec.freeze,
        spec.timezone.as_deref(),
        now,
        hotfix,
    ))?;
    if spec.approval && session.options.approve.is_none() && !ask::can() {
        return Err(Fault {
            message: "somebody has to approve it, and there is no terminal to ask on".into(),
            help: Some(format!(
                "look at the plan: forge {0} -n; then: forge {0} --approve=PLAN-ID",
                target.address
            )),
            exit_with: 4,
        });
    }
    Ok(session.provider(environment)?.check(&spec)?)
}

fn passed(gate: Gate) -> Result<(), Fault> {
    if gate.open {
        return Ok(());
    }
    Err(Fault {
        message: gate.why,
        help: Some(gate.help),
        exit_with: 4,
    })
}

fn problem(
    session: &Session,
    target: &Target,
    environment: &Environment,
    fault: &Fault,
) -> Problem {
    let problem = Problem::new(
        REFUSED,
        format!("{} can't be run now: {}", target.address, fault.message),
    )
    .label(&environment.span, "deploys here");
    let help = match &fault.help {
        Some(help) => format!("{help}\nnothing was run"),
        None => "nothing was run".to_owned(),
    };
    problem.help(help).in_workspace(&session.ws)
}

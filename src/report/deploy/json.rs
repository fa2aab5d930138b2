//! Deployments as events for programs. Names and fields are a promise (see the reference).

use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::event::{
    After, BackPlan, DeployOutcome, DeployPlan, DeployProgress, Deployment, Ending, Note, Running,
    ServicePlan,
};

/// With what names the deployment.
fn event(name: &str, deployment: &Deployment, fields: Value) -> Value {
    let mut event = json!({
        "event": name, "target": deployment.target.as_deref(), "environment": *deployment.environment,
    });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    event
}

pub fn planned(deployment: &Deployment, plan: &DeployPlan, open: bool) -> Value {
    let services: Vec<Value> = plan.services.iter().map(service).collect();
    let gates = plan.gates.iter().map(|gate| {
        json!({"name": gate.name.text(), "open": gate.open, "why": gate.why, "help": gate.help})
    });
    let notes = plan.notes.iter().map(|note| match note {
        Note::Checked(text) => json!({"checked": true, "text": text}),
        Note::NotChecked(text) => json!({"checked": false, "text": text}),
    });
    event(
        "deploy-planned",
        deployment,
        json!({
            "plan": (!open).then(|| plan.id()), "fresh": plan.is_fresh(), "account": plan.account,
            "region": plan.region, "cluster": plan.cluster, "image": plan.image.reference(),
            "commit": plan.commit, "services": services, "before": plan.before,
            "gates": gates.collect::<Vec<_>>(), "needs-approval": plan.needs_approval,
            "notes": notes.collect::<Vec<_>>(),
        }),
    )
}

fn service(one: &ServicePlan) -> Value {
    json!({
        "service": one.service, "fresh": one.fresh, "restart": one.restart, "unchecked": one.unchecked,
        "running": running(&one.running),
        "changes": one.diff.iter().map(change).collect::<Vec<_>>(), "commits": one.commits,
        "desired-count": one.desired_count.map(|(before, after)| json!({"before": before, "after": after})),
        "circuit-breaker": one.breaker,
        "back-to": one.good.as_ref().map(|good| good.revision.to_string()),
    })
}

fn running(running: &Running) -> Value {
    json!({
        "deployment": running.deployment, "revision": running.revision.to_string(),
        "digest": running.digest, "commit": running.commit,
    })
}

fn change(change: &crate::engine::event::Change) -> Value {
    json!({"what": change.what, "before": change.before, "after": change.after})
}

pub fn back(deployment: &Deployment, plan: &BackPlan) -> Value {
    let services = plan.services.iter().map(|one| {
        json!({
            "service": one.service, "running": running(&one.running), "to": running(&one.to),
            "registered": one.registered.map(|at| at.to_string()), "copy": one.copy,
            "changes": one.diff.iter().map(change).collect::<Vec<_>>(), "passed-over": one.skipped,
        })
    });
    event(
        "rollback-planned",
        deployment,
        json!({"account": plan.account, "services": services.collect::<Vec<_>>()}),
    )
}

pub fn started(deployment: &Deployment) -> Value {
    event("deploy-started", deployment, json!({}))
}

pub fn progress(deployment: &Deployment, progress: &DeployProgress) -> Value {
    use DeployProgress as P;
    let mut fields = match progress {
        P::Registered { service, revision } => {
            json!({"step": "registered", "service": service, "revision": revision.to_string()})
        }
        P::BeforeStarted { command, task } => {
            json!({"step": "before-started", "command": command, "task": task})
        }
        P::BeforeDone { command } => json!({"step": "before-done", "command": command}),
        P::Updating {
            service,
            revision,
            deployment,
        } => json!({
            "step": "updating", "service": service, "revision": revision.to_string(), "deployment": deployment,
        }),
        P::Rollout {
            service,
            running,
            desired,
            pending,
            failed,
        } => json!({
            "step": "rollout", "service": service, "running": running, "desired": desired,
            "pending": pending, "failed": failed,
        }),
        P::Event { service, message } => {
            json!({"step": "event", "service": service, "message": message})
        }
        P::Crashed { service, task, log } => {
            let culprit = task.culprit();
            json!({
                "step": "crashed", "service": service, "task": task.id, "stop-code": task.stop_code,
                "reason": task.reason, "container": culprit.map(|one| &one.name),
                "exit-code": culprit.and_then(|one| one.exit_code),
                "container-reason": culprit.map(|one| &one.reason), "log": log,
            })
        }
        P::BreakerRollback { service } => json!({"step": "breaker-rollback", "service": service}),
        P::Completed {
            service,
            deployment,
        } => {
            json!({"step": "completed", "service": service, "deployment": deployment})
        }
        P::SmokePassed { check } => json!({"step": "smoke-passed", "check": check}),
        P::SmokeFailed { check, reason } => {
            json!({"step": "smoke-failed", "check": check, "reason": reason})
        }
        P::RollingBack { service, to } => {
            json!({"step": "rolling-back", "service": service, "revision": to.to_string()})
        }
        P::RolledBack { service, to } => {
            json!({"step": "rolled-back", "service": service, "revision": to.to_string()})
        }
        P::Warning(_) => json!({"step": "warning"}),
    };
    fields["text"] = progress.to_string().into();
    event("deploy-progress", deployment, fields)
}

pub fn finished(deployment: &Deployment, outcome: &DeployOutcome, duration: Duration) -> Value {
    let (result, reason, after) = match &outcome.result {
        Ending::Fresh => ("fresh", None, None),
        Ending::Done => ("done", None, None),
        Ending::Failed { reason, after } => {
            let after = match after {
                After::Untouched => "untouched",
                After::RolledBack => "rolled-back",
                After::Left(_) => "left",
            };
            ("failed", Some(reason), Some(after))
        }
        Ending::Interrupted { goes_on } => ("interrupted", Some(goes_on), None),
    };
    let now = outcome.now.iter().map(|now| {
        json!({
            "service": now.service, "revision": now.revision.as_ref().map(ToString::to_string),
            "running": now.running, "desired": now.desired,
        })
    });
    event(
        "deploy-finished",
        deployment,
        json!({
            "result": result, "reason": reason, "after": after, "now": now.collect::<Vec<_>>(),
            "exit-code": outcome.result.exit_code(),
            "duration-ms": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }),
    )
}

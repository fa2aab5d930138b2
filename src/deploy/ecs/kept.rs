//! Roles, secrets and parameters: without one of them no task starts, and ECS says so only minutes later.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Ecs;
use crate::aws::Kept;
use crate::deploy::error::DeployError;
use crate::deploy::plan::Note;
use crate::deploy::taskdef::Definition;

/// Looks for everything that a definition relies on. What the caller may not ask for is noted.
///
/// # Errors
/// Something isn't there.
pub fn look(ecs: &Ecs, definition: &Definition, notes: &mut Vec<Note>) -> Result<(), DeployError> {
    for (what, thing) in relied_on(definition) {
        notes.push(match ecs.aws.exists(&thing) {
            Ok(true) => Note::Checked(what),
            Ok(false) => {
                return Err(DeployError::wrong(
                    format!("there is no {what}; no task could start"),
                    "make it, or name another in the task definition",
                ));
            }
            Err(error) => Note::NotChecked(format!("{what}: {error}")),
        });
    }
    Ok(())
}

/// What it relies on, each once, with how people call it.
fn relied_on(definition: &Definition) -> Vec<(String, Kept)> {
    let roles = ["executionRoleArn", "taskRoleArn"].into_iter();
    let roles = roles.filter_map(|key| definition.fields().get(key)?.as_str());
    let named = |text: &str| Some((format!("role {text}"), Kept::role(text)?));
    let mut all: Vec<(String, Kept)> = roles.filter_map(named).collect();
    for container in definition.containers() {
        let secrets = container.get("secrets").and_then(Value::as_array);
        let named = secrets.into_iter().flatten();
        for from in named.filter_map(|one| one.get("valueFrom")?.as_str()) {
            let kept = Kept::value_from(from);
            let kind = match kept {
                Kept::Parameter { .. } => "parameter",
                _ => "secret",
            };
            all.push((format!("{kind} {from}"), kept));
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|(what, _)| seen.insert(what.clone()));
    all
}

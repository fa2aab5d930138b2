//! What tasks wrote, from CloudWatch.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use aws_sdk_ecs::types::DesiredStatus;
use jiff::Timestamp;

use super::definitions::Registered;
use super::{Ecs, convert};
use crate::aws::AwsErrorKind;
use crate::deploy::error::DeployError;
use crate::deploy::provider::LogLine;
use crate::deploy::request::Caller;
use crate::deploy::spec::Spec;
use crate::deploy::taskdef::Definition;

/// How many lines tell how a task ended.
const TAIL: i32 = 20;
/// How many lines of each task are shown first.
const FIRST: i32 = 100;
/// How often an empty log is asked for: it reaches CloudWatch some seconds after the task wrote it.
const TRIES: u32 = 4;

/// A log stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    pub group: String,
    pub name: String,
}

/// Where a container of a task writes to; `None`: not to CloudWatch, or under a name that can't be known.
pub fn stream(definition: &Definition, container: &str, task: &str) -> Option<Stream> {
    let (group, prefix) = log_options(definition, container)?;
    Some(Stream {
        group,
        name: format!("{}/{container}/{task}", prefix?),
    })
}

/// The log group of a container, and the prefix of its streams.
pub fn log_options(definition: &Definition, container: &str) -> Option<(String, Option<String>)> {
    let log = definition.container(container)?.get("logConfiguration")?;
    let option = |name: &str| Some(log.get("options")?.get(name)?.as_str()?.to_owned());
    let ours = log.get("logDriver")?.as_str()? == "awslogs";
    let group = option("awslogs-group").filter(|_| ours)?;
    Some((group, option("awslogs-stream-prefix")))
}

/// Whether ECS makes the group where it is missing.
pub fn creates_group(definition: &Definition, container: &str) -> bool {
    let log = |one: &serde_json::Map<_, serde_json::Value>| {
        let options = one.get("logConfiguration")?.get("options")?;
        Some(options.get("awslogs-create-group")? == "true")
    };
    definition.container(container).and_then(log) == Some(true)
}

impl Ecs {
    /// The last lines of a container that ended; empty where there are none, or they can't be read.
    pub(super) fn tail(
        &self,
        definition: &Definition,
        container: &str,
        task: &str,
        caller: &Caller<'_>,
    ) -> Vec<String> {
        let Some(stream) = stream(definition, container, task) else {
            return Vec::new();
        };
        for attempt in 0..TRIES {
            if attempt > 0 {
                caller.pause(caller.pace.times(1.0));
            }
            match self.events(&stream, None, TAIL, caller) {
                Ok((events, _)) if !events.is_empty() => {
                    let lines = events.into_iter().filter_map(|event| event.message);
                    return lines.map(|line| line.trim_end().to_owned()).collect();
                }
                Err(error) if error.kind == AwsErrorKind::Denied => break,
                _ => {}
            }
            if caller.is_cancelled() {
                break;
            }
        }
        Vec::new()
    }

    /// A piece of a stream: its end, or what follows a token; and the token to go on from.
    fn events(
        &self,
        stream: &Stream,
        token: Option<String>,
        most: i32,
        caller: &Caller<'_>,
    ) -> Result<(Vec<OutputLogEvent>, Option<String>), crate::aws::AwsError> {
        let call = self
            .logs
            .get_log_events()
            .log_group_name(&stream.group)
            .log_stream_name(&stream.name)
            .start_from_head(token.is_some())
            .set_next_token(token)
            .limit(most)
            .send();
        let answer = self
            .aws
            .call_until("logs:GetLogEvents", call, caller.cancelled)?;
        Ok((answer.events.unwrap_or_default(), answer.next_forward_token))
    }

    /// The ids of a service's tasks.
    pub(super) fn tasks(
        &self,
        service: &str,
        status: DesiredStatus,
        caller: &Caller<'_>,
    ) -> Result<Vec<String>, crate::aws::AwsError> {
        let call = self
            .client
            .list_tasks()
            .cluster(&self.cluster)
            .service_name(service)
            .desired_status(status)
            .send();
        let answer = self
            .aws
            .call_until("ecs:ListTasks", call, caller.cancelled)?;
        Ok(answer.task_arns.unwrap_or_default())
    }
}

/// A stream that is shown, and how far.
struct Shown {
    service: String,
    task: String,
    stream: Stream,
    token: Option<String>,
}

/// See [`crate::deploy::provider::Provider::logs`].
pub fn show(
    ecs: &Ecs,
    spec: &Spec,
    follow: bool,
    line: &mut dyn FnMut(LogLine),
    caller: &mut Caller<'_>,
) -> Result<(), DeployError> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut definitions = HashMap::new();
    loop {
        for service in &spec.services {
            find(ecs, service, &mut definitions, &mut shown, caller)?;
        }
        let mut lines = Vec::new();
        for one in &mut shown {
            more(ecs, one, &mut lines, caller)?;
        }
        lines.sort_by_key(|line: &LogLine| line.at);
        lines.into_iter().for_each(&mut *line);
        if shown.is_empty() && !follow {
            caller.warn("no task of this environment writes to CloudWatch now");
        }
        if !follow || caller.is_cancelled() {
            return Ok(());
        }
        caller.pause(caller.pace.times(2.0));
        if caller.is_cancelled() {
            return Ok(());
        }
    }
}

/// Adds the streams of tasks that weren't there before. Without running ones, those that stopped last.
fn find(
    ecs: &Ecs,
    service: &str,
    definitions: &mut HashMap<String, Registered>,
    shown: &mut Vec<Shown>,
    caller: &Caller<'_>,
) -> Result<(), DeployError> {
    let mut tasks = ecs
        .tasks(service, DesiredStatus::Running, caller)
        .map_err(super::error)?;
    if tasks.is_empty() {
        tasks = ecs
            .tasks(service, DesiredStatus::Stopped, caller)
            .map_err(super::error)?;
    }
    let known: BTreeSet<String> = shown.iter().map(|one| one.task.clone()).collect();
    tasks.retain(|arn| !known.contains(convert::last_part(arn)));
    for task in ecs.describe_tasks(&tasks, caller).map_err(super::error)? {
        let name = task.task_definition_arn().unwrap_or_default().to_owned();
        if !definitions.contains_key(&name) {
            let registered = ecs.definition(&name, caller)?;
            definitions.insert(name.clone(), registered);
        }
        let Some(registered) = definitions.get(&name) else {
            continue;
        };
        let id = convert::last_part(task.task_arn().unwrap_or_default());
        for container in registered.definition.container_names() {
            if let Some(stream) = stream(&registered.definition, container, id) {
                shown.push(Shown {
                    service: service.to_owned(),
                    task: id.to_owned(),
                    stream,
                    token: None,
                });
            }
        }
    }
    Ok(())
}

fn more(
    ecs: &Ecs,
    one: &mut Shown,
    lines: &mut Vec<LogLine>,
    caller: &Caller<'_>,
) -> Result<(), DeployError> {
    let (events, token) = match ecs.events(&one.stream, one.token.clone(), FIRST, caller) {
        Ok(piece) => piece,
        // It hasn't written anything yet.
        Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind == AwsErrorKind::Throttled => return Ok(()),
        Err(error) if error.kind == AwsErrorKind::Cancelled => return Ok(()),
        Err(error) => return Err(super::error(error)),
    };
    if token.is_some() {
        one.token = token;
    }
    lines.extend(events.into_iter().map(|event| LogLine {
        service: one.service.clone(),
        task: one.task.clone(),
        at: Timestamp::from_millisecond(event.timestamp.unwrap_or(0)).unwrap_or_default(),
        text: event.message.unwrap_or_default().trim_end().to_owned(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_stream_is_called_by_prefix_container_and_task() {
        let definition = |log: Value| {
            let fields = json!({ "family": "f", "containerDefinitions": [
                { "name": "app", "image": "i", "logConfiguration": log }
            ]});
            Definition::new(fields, None).unwrap()
        };
        let full = json!({ "logDriver": "awslogs", "options":
            { "awslogs-group": "/ecs/app", "awslogs-stream-prefix": "ecs" } });
        let found = stream(&definition(full), "app", "abc").unwrap();
        assert_eq!(
            (found.group.as_str(), found.name.as_str()),
            ("/ecs/app", "ecs/app/abc")
        );
        for log in [
            json!({ "logDriver": "awslogs", "options": { "awslogs-group": "/ecs/app" } }),
            json!({ "logDriver": "splunk", "options":
                { "awslogs-group": "g", "awslogs-stream-prefix": "p" } }),
            json!({}),
        ] {
            assert_eq!(stream(&definition(log), "app", "abc"), None);
        }
        assert_eq!(stream(&definition(json!({})), "other", "abc"), None);
    }
}

//! Task definitions, to and from ECS as the JSON they are: what the SDK of this version doesn't know of isn't lost.

use std::error::Error;
use std::sync::{Arc, Mutex};

use aws_sdk_ecs::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::types::{ContainerDefinition, Tag, TaskDefinitionField, TaskDefinitionStatus};
use jiff::Timestamp;
use serde_json::Value;

use super::Ecs;
use crate::aws::{AwsError, AwsErrorKind};
use crate::deploy::diff::diff;
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::request::Caller;
use crate::deploy::seen::Revision;
use crate::deploy::taskdef::Definition;

/// How often a registration is sent at most.
const ATTEMPTS: u32 = 3;

/// A registered definition.
#[derive(Clone, Debug)]
pub struct Registered {
    pub arn: String,
    pub revision: Revision,
    pub definition: Definition,
    /// Can still be deployed.
    pub active: bool,
    /// By AWS's clock.
    pub registered: Option<Timestamp>,
}

/// Keeps the text of an answer.
#[derive(Clone, Debug, Default)]
struct Answer(Arc<Mutex<Vec<u8>>>);

impl Intercept for Answer {
    fn name(&self) -> &'static str {
        "Answer"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        if let (Some(bytes), Ok(mut kept)) = (context.response().body().bytes(), self.0.lock()) {
            *kept = bytes.to_vec();
        }
        Ok(())
    }
}

impl Answer {
    fn registered(&self) -> Result<Registered, DeployError> {
        let bytes = self.0.lock().map(|kept| kept.clone()).unwrap_or_default();
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let tags = answer.get("tags").cloned();
        let inner = answer.get_mut("taskDefinition").map(Value::take);
        let inner = inner.unwrap_or_default();
        let text = |key: &str| inner.get(key).and_then(Value::as_str).unwrap_or_default();
        let arn = text("taskDefinitionArn").to_owned();
        let active = text("status") == "ACTIVE";
        let registered = inner.get("registeredAt").and_then(Value::as_f64);
        let registered = registered.and_then(|at| Timestamp::from_second(at as i64).ok());
        let revision = arn.parse().map_err(|()| {
            DeployError::new(Kind::Failed, "ECS answered with no task definition", "")
        })?;
        Ok(Registered {
            arn,
            revision,
            definition: Definition::new(inner, tags.as_ref())?,
            active,
            registered,
        })
    }
}

impl Ecs {
    /// By ARN or `family:number`; a family alone: its newest active revision.
    pub(super) fn definition(
        &self,
        name: &str,
        caller: &Caller<'_>,
    ) -> Result<Registered, DeployError> {
        let answer = self.describe_definition(name, caller);
        answer.map_err(super::error)?.registered()
    }

    /// The same; `None` only where ECS says that there is none, not even an inactive one: a call that failed for any other
    /// reason says nothing about that.
    pub(super) fn find_definition(
        &self,
        name: &str,
        caller: &Caller<'_>,
    ) -> Result<Option<Registered>, DeployError> {
        // ECS has no exception of its own for it.
        let missing = |error: &AwsError| {
            error.code.as_deref() == Some("ClientException")
                && error.message.contains("Unable to describe task definition")
        };
        match self.describe_definition(name, caller) {
            Ok(answer) => answer.registered().map(Some),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Err(super::error(error)),
        }
    }

    fn describe_definition(&self, name: &str, caller: &Caller<'_>) -> Result<Answer, AwsError> {
        let answer = Answer::default();
        let call = self
            .client
            .describe_task_definition()
            .task_definition(name)
            .include(TaskDefinitionField::Tags)
            .customize()
            .interceptor(answer.clone())
            .send();
        let call = self
            .aws
            .call_until("ecs:DescribeTaskDefinition", call, caller.cancelled);
        call.map(|_| answer)
    }

    /// Registers a revision. It isn't done twice when an answer is lost: the newest revision is ours where it says the
    /// same and carries our tags. Tags alone don't tell: services of one run may share a family and all of their tags,
    /// as do copies of one revision that pin different images. What was throttled certainly did nothing.
    pub(super) fn register(
        &self,
        definition: &Definition,
        caller: &Caller<'_>,
    ) -> Result<Registered, DeployError> {
        let mut attempt = 1;
        let mut lost = false;
        loop {
            let error = match self.register_once(definition) {
                Ok(registered) => return Ok(registered),
                Err(error) => error,
            };
            let retry = matches!(
                error.kind,
                AwsErrorKind::Throttled | AwsErrorKind::Unreachable
            );
            if !retry || attempt == ATTEMPTS {
                return Err(super::error(error));
            }
            caller.pause(caller.pace.times(f64::from(attempt)));
            if caller.is_cancelled() {
                return Err(DeployError::interrupted());
            }
            lost |= error.kind == AwsErrorKind::Unreachable;
            if lost
                && let Ok(newest) = self.definition(definition.family(), caller)
                && newest.definition.tags == definition.tags
                && diff(&newest.definition, definition).is_empty()
            {
                return Ok(newest);
            }
            attempt += 1;
        }
    }

    fn register_once(&self, definition: &Definition) -> Result<Registered, AwsError> {
        let answer = Answer::default();
        let body = definition.request().to_string();
        // The builder wants something; what is sent is the body.
        let call = self
            .once
            .register_task_definition()
            .family(definition.family())
            .container_definitions(ContainerDefinition::builder().build())
            .customize()
            .interceptor(answer.clone())
            .mutate_request(move |request| {
                let length = body.len().to_string();
                request.headers_mut().insert("content-length", length);
                *request.body_mut() = body.clone().into();
            })
            .send();
        self.aws.call("ecs:RegisterTaskDefinition", call)?;
        answer.registered().map_err(|error| AwsError {
            kind: AwsErrorKind::Other,
            code: None,
            message: error.message,
            help: None,
        })
    }

    /// Active revisions of a family, newest first.
    pub(super) fn revisions(
        &self,
        family: &str,
        most: i32,
        caller: &Caller<'_>,
    ) -> Result<Vec<String>, DeployError> {
        let call = self
            .client
            .list_task_definitions()
            .family_prefix(family)
            .status(TaskDefinitionStatus::Active)
            .max_results(most)
            .sort(aws_sdk_ecs::types::SortOrder::Desc)
            .send();
        let answer = self
            .aws
            .call_until("ecs:ListTaskDefinitions", call, caller.cancelled)
            .map_err(super::error)?;
        Ok(answer.task_definition_arns.unwrap_or_default())
    }

    /// Sets a tag; one that may not be set is told, and changes nothing else.
    pub(super) fn tag(&self, arn: &str, key: &str, value: &str, caller: &mut Caller<'_>) {
        let tag = Tag::builder().key(key).value(value).build();
        let call = self.client.tag_resource().resource_arn(arn).tags(tag);
        if let Err(error) = self.aws.call("ecs:TagResource", call.send()) {
            caller.warn(format!("the revision isn't marked as good: {error}"));
        }
    }
}

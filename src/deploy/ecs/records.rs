//! Service deployments and service revisions: what ECS remembers, for 90 days.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use aws_sdk_ecs::types::ServiceRevision;

use super::{Ecs, convert};
use crate::aws::{AwsError, AwsErrorKind};
use crate::deploy::request::Caller;
use crate::deploy::seen::ServiceDeployment;

/// How many pages of records are read at most, of a hundred each.
const PAGES: usize = 5;
/// How many service revisions one call describes.
const REVISIONS: usize = 20;

impl Ecs {
    /// The records of a service, newest first, up to about `most`. Empty where they may not be read.
    pub(super) fn list_records(
        &self,
        service: &str,
        most: usize,
        caller: &Caller<'_>,
    ) -> Result<Vec<ServiceDeployment>, AwsError> {
        let mut found: Vec<ServiceDeployment> = Vec::new();
        let mut token = None;
        for _ in 0..PAGES {
            let call = self
                .client
                .list_service_deployments()
                .cluster(&self.cluster)
                .service(service)
                .set_next_token(token.take())
                .send();
            let call = self
                .aws
                .call_until("ecs:ListServiceDeployments", call, caller.cancelled);
            let Some(answer) = self.unless_denied(call)? else {
                return Ok(Vec::new());
            };
            let page = answer.service_deployments.unwrap_or_default();
            found.extend(page.iter().map(convert::brief));
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() || found.len() >= most {
                break;
            }
        }
        found.sort_by_key(|one| Reverse(one.created));
        Ok(found)
    }

    /// The record of one deployment (`ecs-svc/…`), asked for by its ARN where that is known.
    pub(super) fn record(
        &self,
        service: &str,
        deployment: &str,
        arn: &mut Option<String>,
        caller: &Caller<'_>,
    ) -> Result<Option<ServiceDeployment>, AwsError> {
        if !self.may_read_records() {
            return Ok(None);
        }
        let Some(known) = arn.clone() else {
            let listed = self.list_records(service, 1, caller)?;
            let ours = listed.into_iter().find(|one| one.is_of(deployment));
            *arn = ours.as_ref().map(|one| one.arn.clone());
            return Ok(ours);
        };
        let call = self
            .client
            .describe_service_deployments()
            .service_deployment_arns(known)
            .send();
        let call = self
            .aws
            .call_until("ecs:DescribeServiceDeployments", call, caller.cancelled);
        let answer = self.unless_denied(call)?;
        let listed = answer.and_then(|answer| answer.service_deployments);
        Ok(listed.unwrap_or_default().first().map(convert::record))
    }

    /// Descriptions of service revisions, as far as they may be read.
    pub(super) fn service_revisions(
        &self,
        arns: &[String],
        caller: &Caller<'_>,
    ) -> Result<Vec<ServiceRevision>, AwsError> {
        let mut found = Vec::new();
        for some in arns.chunks(REVISIONS) {
            let call = self
                .client
                .describe_service_revisions()
                .set_service_revision_arns(Some(some.to_vec()))
                .send();
            let call = self
                .aws
                .call_until("ecs:DescribeServiceRevisions", call, caller.cancelled);
            match self.unless_denied(call)? {
                Some(answer) => found.extend(answer.service_revisions.unwrap_or_default()),
                None => break,
            }
        }
        Ok(found)
    }

    /// These calls are newer than ECS: not every policy (and not every endpoint) has them. Then there is
    /// less to know, but nothing to stop for, and they aren't asked again.
    fn unless_denied<T>(&self, call: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
        let unknown = |error: &AwsError| {
            let code = error.code.as_deref().unwrap_or_default();
            error.kind == AwsErrorKind::Denied
                || code.starts_with("UnsupportedFeature")
                || code.starts_with("UnknownOperation")
        };
        match call {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if unknown(&error) => {
                self.records.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

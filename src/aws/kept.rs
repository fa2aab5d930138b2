//! Whether something is there that tasks rely on: a secret, a parameter, a role.
//!
//! One small question each, so they are signed and asked here instead of by three more clients, of which that of IAM alone
//! takes longer to build than all of forge.

use std::env;
use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sts::error::ErrorMetadata;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use serde_json::{Value, json};

use super::{Aws, AwsError, Place};
use crate::http;

/// Something that is kept for tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// By ARN, without the key, stage and version that may follow it in a task definition.
    Secret { arn: String },
    /// By name or ARN.
    Parameter { name: String },
    /// By name.
    Role { name: String },
}

impl Kept {
    /// What `valueFrom` of a container's secret names
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html>): the ARN of a secret, else a parameter.
    pub fn value_from(text: &str) -> Kept {
        if text.split(':').nth(2) != Some("secretsmanager") {
            return Kept::Parameter { name: text.into() };
        }
        let arn: Vec<&str> = text.split(':').take(7).collect();
        Kept::Secret { arn: arn.join(":") }
    }

    /// A role by its ARN or name; none where a task definition leaves it empty.
    pub fn role(text: &str) -> Option<Kept> {
        let name = text.rsplit('/').next().filter(|name| !name.is_empty())?;
        Some(Kept::Role { name: name.into() })
    }

    fn arn(&self) -> Option<&str> {
        match self {
            Kept::Secret { arn } => Some(arn),
            Kept::Parameter { name } => Some(name.as_str()).filter(|name| name.starts_with("arn:")),
            Kept::Role { .. } => None,
        }
    }
}

/// A question as it goes out.
struct Question {
    /// `ssm:GetParameters`
    operation: &'static str,
    service: &'static str,
    /// Of the variable that says where it answers: `AWS_ENDPOINT_URL_SSM`.
    variable: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

impl Question {
    fn of(what: &Kept) -> Question {
        match what {
            Kept::Secret { arn } => Question {
                operation: "secretsmanager:DescribeSecret",
                service: "secretsmanager",
                variable: "SECRETS_MANAGER",
                headers: vec![JSON, ("x-amz-target", "secretsmanager.DescribeSecret")],
                body: json!({ "SecretId": arn }).to_string(),
            },
            Kept::Parameter { name } => Question {
                operation: "ssm:GetParameters",
                service: "ssm",
                variable: "SSM",
                headers: vec![JSON, ("x-amz-target", "AmazonSSM.GetParameters")],
                body: json!({ "Names": [name] }).to_string(),
            },
            // Names of roles are letters, digits and `+=,.@_-`.
            Kept::Role { name } => Question {
                operation: "iam:GetRole",
                service: "iam",
                variable: "IAM",
                headers: vec![FORM],
                body: format!(
                    "Action=GetRole&Version=2010-05-08&RoleName={}",
                    name.replace('+', "%2B")
                        .replace('=', "%3D")
                        .replace(',', "%2C")
                        .replace('@', "%40")
                ),
            },
        }
    }

    /// Where it is asked, and the region that it is signed for.
    fn place(&self, region: &str) -> (String, String) {
        let set = |name: &str| env::var(name).ok().filter(|url| !url.is_empty());
        let own = set(&format!("AWS_ENDPOINT_URL_{}", self.variable));
        let named = own.or_else(|| set("AWS_ENDPOINT_URL"));
        let china = region.starts_with("cn-");
        let end = if china {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let (host, region) = match (self.service, china) {
            ("iam", false) => (format!("iam.{end}"), "us-east-1"),
            ("iam", true) => (format!("iam.cn-north-1.{end}"), "cn-north-1"),
            (service, _) => (format!("{service}.{region}.{end}"), region),
        };
        let url = named.unwrap_or_else(|| format!("https://{host}"));
        (format!("{}/", url.trim_end_matches('/')), region.to_owned())
    }
}

impl Aws {
    /// # Errors
    /// It couldn't be asked, mostly because the caller may not.
    pub fn exists(&self, what: &Kept) -> Result<bool, AwsError> {
        let question = Question::of(what);
        let region = what.arn().and_then(|arn| arn.split(':').nth(3));
        let region = region.filter(|region| !region.is_empty());
        let (url, region) = question.place(region.unwrap_or(&self.region));
        let headers = self.signed(&question, &url, &region)?;
        let mut request = http::agent().post(&url);
        for (name, value) in &headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let unreachable =
            |error: ureq::Error| AwsError::unreachable(question.operation, &error.to_string());
        let mut answer = request
            .send(question.body.as_bytes())
            .map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_string().map_err(unreachable)?;
        if status == 200 {
            return Ok(is_in(&body));
        }
        let said = said(&body);
        match said.code() {
            Some("ResourceNotFoundException" | "NoSuchEntity") => Ok(false),
            _ => Err(AwsError::refused(question.operation, &said, status)),
        }
    }

    fn signed(
        &self,
        question: &Question,
        url: &str,
        region: &str,
    ) -> Result<Vec<(String, String)>, AwsError> {
        let cannot =
            |why: String| AwsError::other(format!("{} can't be asked: {why}", question.operation));
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or_else(|| cannot("no credentials".into()))?;
        let credentials = self.waiter.wait(provider.provide_credentials());
        let credentials =
            credentials.map_err(|error| AwsError::of_credentials(&error, &Place::default()))?;
        let identity = credentials.into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(question.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(error.to_string()))?
            .into();
        let body = SignableBody::Bytes(question.body.as_bytes());
        let headers = question.headers.iter().copied();
        let signed = SignableRequest::new("POST", url, headers, body)
            .and_then(|request| sign(request, &params))
            .map_err(|error| cannot(error.to_string()))?;
        let (instructions, _) = signed.into_parts();
        let own = question.headers.iter().copied();
        let all = own.chain(instructions.headers());
        Ok(all
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

/// SSM answers 200 all the same, and lists what it doesn't have.
fn is_in(body: &str) -> bool {
    let value: Option<Value> = serde_json::from_str(body).ok();
    let invalid = value.and_then(|value| Some(value.get("InvalidParameters")?.as_array()?.len()));
    invalid.is_none_or(|invalid| invalid == 0)
}

/// Name and words of an error, from JSON or, as IAM has it, from XML.
fn said(body: &str) -> ErrorMetadata {
    let mut said = ErrorMetadata::builder();
    if let Ok(value) = serde_json::from_str::<Value>(body) {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        if let Some(kind) = text("__type") {
            said = said.code(kind.rsplit('#').next().unwrap_or_default());
        }
        if let Some(message) = text("message").or_else(|| text("Message")) {
            said = said.message(message);
        }
        return said.build();
    }
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    if let Some(code) = element("Code") {
        said = said.code(code);
    }
    if let Some(message) = element("Message") {
        said = said.message(message);
    }
    said.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_definition_names_is_told_apart() {
        let secret = "arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf";
        for text in [secret.to_owned(), format!("{secret}:password::")] {
            let arn = secret.to_owned();
            assert_eq!(Kept::value_from(&text), Kept::Secret { arn });
        }
        for name in ["/app/key", "arn:aws:ssm:eu-west-1:1:parameter/app/key"] {
            let name = name.to_owned();
            assert_eq!(Kept::value_from(&name.clone()), Kept::Parameter { name });
        }
        let name = "execution".to_owned();
        let role = Some(Kept::Role { name });
        assert_eq!(Kept::role("arn:aws:iam::1:role/path/execution"), role);
        assert_eq!(Kept::role("execution"), role);
        assert_eq!(Kept::role(""), None);
    }

    #[test]
    fn errors_are_read_from_json_and_xml() {
        let json = r#"{"__type":"com.amazon#ResourceNotFoundException","Message":"no such"}"#;
        let xml = "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no such</Message></Error></ErrorResponse>";
        for (body, code) in [(json, "ResourceNotFoundException"), (xml, "NoSuchEntity")] {
            let said = said(body);
            assert_eq!((said.code(), said.message()), (Some(code), Some("no such")));
        }
        assert_eq!(said("<html>").code(), None);
        assert!(is_in(r#"{"Parameters":[{}],"InvalidParameters":[]}"#) && is_in("<xml/>"));
        assert!(!is_in(r#"{"Parameters":[],"InvalidParameters":["x"]}"#));
    }
}

//! How AWS asks and answers: JSON 1.1 with an `X-Amz-Target`, and the older query protocol with XML. Knows nothing of
//! what the services do.

use serde_json::{Map, Value, json};

use super::http::{Answer, Head};
use super::ids;

/// A request, taken apart.
#[derive(Clone, Debug)]
pub struct Call {
    /// As in policies: `ecs`, `ecr`, `sts`, `logs`, …; `registry` for what Docker asks.
    pub service: String,
    pub operation: String,
    pub input: Value,
    pub access_key: Option<String>,
    pub region: Option<String>,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Json,
    Query,
}

const TARGETS: &[(&str, &str)] = &[
    ("AmazonEC2ContainerServiceV20141113", "ecs"),
    ("AmazonEC2ContainerRegistry_V20150921", "ecr"),
    ("Logs_20140328", "logs"),
    ("secretsmanager", "secretsmanager"),
    ("AmazonSSM", "ssm"),
];

const VERSIONS: &[(&str, &str)] = &[("2011-06-15", "sts"), ("2010-05-08", "iam")];

impl Call {
    /// None for what no service of AWS would be asked.
    pub fn parse(head: &Head, body: &[u8]) -> Option<Self> {
        let (service, operation, input, protocol) = match head.get("x-amz-target") {
            Some(target) => json_call(target, body)?,
            None => query_call(body)?,
        };
        let scope = credential_scope(head.get("authorization").unwrap_or_default());
        let (access_key, region) = scope.unzip();
        Some(Self {
            service,
            operation,
            input,
            access_key,
            region,
            protocol,
        })
    }

    /// One of the registry's own protocol.
    pub fn of_registry(operation: String, input: Value) -> Self {
        Self {
            service: "registry".into(),
            operation,
            input,
            access_key: None,
            region: None,
            protocol: Protocol::Json,
        }
    }

    /// `ecs:UpdateService`
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }

    pub fn answer(&self, result: Result<Value, Failure>) -> Answer {
        let id = ids::uuid();
        let answer = match (self.protocol, result) {
            (Protocol::Json, Ok(value)) => json_answer(200, &value),
            (Protocol::Json, Err(failure)) => {
                let body = json!({"__type": failure.code, "message": failure.message});
                json_answer(failure.status, &body)
            }
            (Protocol::Query, Ok(value)) => self.xml_answer(&value, &id),
            (Protocol::Query, Err(failure)) => self.xml_failure(&failure, &id),
        };
        answer.with("x-amzn-requestid", &id)
    }

    fn namespace(&self) -> String {
        let version = VERSIONS
            .iter()
            .find(|(_, service)| *service == self.service);
        let version = version.map_or("", |(version, _)| version);
        format!("https://{}.amazonaws.com/doc/{version}/", self.service)
    }

    fn xml_answer(&self, value: &Value, id: &str) -> Answer {
        let (name, space) = (&self.operation, self.namespace());
        let inside = xml(value);
        let text = format!(
            "<{name}Response xmlns=\"{space}\"><{name}Result>{inside}</{name}Result>\
             <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{name}Response>"
        );
        Answer::new(200, "text/xml", text)
    }

    fn xml_failure(&self, failure: &Failure, id: &str) -> Answer {
        let who = if failure.status < 500 {
            "Sender"
        } else {
            "Receiver"
        };
        let error = json!({"Type": who, "Code": failure.code, "Message": failure.message});
        let (inside, space) = (xml(&error), self.namespace());
        let text = format!(
            "<ErrorResponse xmlns=\"{space}\"><Error>{inside}</Error><RequestId>{id}</RequestId></ErrorResponse>"
        );
        Answer::new(failure.status, "text/xml", text)
    }
}

fn json_call(target: &str, body: &[u8]) -> Option<(String, String, Value, Protocol)> {
    let (prefix, operation) = target.split_once('.')?;
    let (_, service) = TARGETS.iter().find(|(known, _)| *known == prefix)?;
    let input = serde_json::from_slice(body).unwrap_or(Value::Null);
    Some(((*service).into(), operation.into(), input, Protocol::Json))
}

fn query_call(body: &[u8]) -> Option<(String, String, Value, Protocol)> {
    let text = std::str::from_utf8(body).ok()?;
    let mut input = Map::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=')?;
        input.insert(unescaped(name), unescaped(value).into());
    }
    let taken = |value: Option<Value>| value?.as_str().map(str::to_owned);
    let operation = taken(input.remove("Action"))?;
    let version = taken(input.remove("Version"))?;
    let (_, service) = VERSIONS.iter().find(|(known, _)| *known == version)?;
    Some(((*service).into(), operation, input.into(), Protocol::Query))
}

/// What `%41` and `+` stand for.
pub fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = std::str::from_utf8(after.get(..2).unwrap_or_default());
        let value = escaped
            .ok()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Access key and region of `AWS4-HMAC-SHA256 Credential=KEY/20260101/REGION/ecs/aws4_request, …`.
fn credential_scope(authorization: &str) -> Option<(String, String)> {
    let (_, credential) = authorization.split_once("Credential=")?;
    let mut parts = credential.split(',').next()?.split('/');
    let key = parts.next()?;
    let region = parts.nth(1)?;
    Some((key.to_owned(), region.to_owned()))
}

fn json_answer(status: u16, value: &Value) -> Answer {
    Answer::new(status, "application/x-amz-json-1.1", value.to_string())
}

fn xml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let elements = fields.iter();
            elements
                .map(|(name, value)| format!("<{name}>{}</{name}>", xml(value)))
                .collect()
        }
        Value::Array(items) => {
            let members = items.iter();
            members
                .map(|item| format!("<member>{}</member>", xml(item)))
                .collect()
        }
        Value::String(text) => text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;"),
        other => other.to_string(),
    }
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: u16,
    pub code: String,
    pub message: String,
}

/// What an operation answers.
pub type Done = Result<Value, Failure>;

impl Failure {
    /// The caller's fault.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    pub fn with_status(status: u16, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self {
            status,
            code,
            message,
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }
}

/// The parameters of a call, looked at as strictly as the real service does.
pub struct Input<'a>(pub &'a Map<String, Value>);

impl<'a> Input<'a> {
    /// # Errors
    /// No object; a parameter that isn't known; one of `required` isn't there.
    pub fn new(value: &'a Value, required: &[&str], optional: &[&str]) -> Result<Self, Failure> {
        let Some(fields) = value.as_object() else {
            return Err(Failure::new(
                "SerializationException",
                "Expected a JSON object",
            ));
        };
        for name in fields.keys() {
            if !required.contains(&&**name) && !optional.contains(&&**name) {
                let message = format!("Unknown parameter: {name}");
                return Err(Failure::new("SerializationException", message));
            }
        }
        for name in required {
            if fields.get(*name).is_none_or(Value::is_null) {
                let message = format!(
                    "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
                     Member must not be null"
                );
                return Err(Failure::invalid(message));
            }
        }
        Ok(Self(fields))
    }

    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn of_type<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let wrong = || Failure::new("SerializationException", format!("{name}: expected {kind}"));
        self.value(name)
            .map(|value| read(value).ok_or_else(wrong))
            .transpose()
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.of_type(name, "a string", Value::as_str)
    }

    /// One that is required: an empty one is none.
    pub fn needed(&self, name: &str) -> Result<&'a str, Failure> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| Failure::invalid(format!("{name} can not be blank.")))
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.of_type(name, "a number", Value::as_i64)
    }

    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        Ok(self
            .of_type(name, "true or false", Value::as_bool)?
            .unwrap_or(false))
    }

    pub fn list(&self, name: &str) -> Result<&'a [Value], Failure> {
        let list = self.of_type(name, "a list", Value::as_array)?;
        Ok(list.map_or(&[], Vec::as_slice))
    }

    pub fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let wrong = || {
            Failure::new(
                "SerializationException",
                format!("{name}: expected strings"),
            )
        };
        let list = self.list(name)?.iter();
        list.map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect()
    }

    /// A page of what there is, by `maxResults` and `nextToken`, as fields of an answer.
    pub fn page<T: Into<Value>>(&self, name: &str, items: Vec<T>, most: usize) -> Done {
        let begin = match self.text("nextToken")? {
            None => 0,
            Some(token) => token
                .parse()
                .map_err(|_| Failure::invalid("Invalid token."))?,
        };
        let size = match self.number("maxResults")? {
            None => most,
            Some(size) => usize::try_from(size).unwrap_or(0),
        };
        if size == 0 || size > most.max(100) {
            return Err(Failure::invalid("maxResults is out of range."));
        }
        let more = begin + size < items.len();
        let page = items.into_iter().skip(begin).take(size);
        let mut answer = json!({ name: page.map(Into::into).collect::<Vec<Value>>() });
        if more {
            answer["nextToken"] = (begin + size).to_string().into();
        }
        Ok(answer)
    }
}

/// Tags of AWS, `[{"key": …, "value": …}]`, whatever the case of the names.
pub fn tags(list: &[Value]) -> Vec<(String, String)> {
    let one = |tag: &Value, name: &str, upper: &str| {
        let text = tag[name].as_str().or_else(|| tag[upper].as_str());
        text.unwrap_or_default().to_owned()
    };
    let pairs = list.iter();
    pairs
        .map(|tag| (one(tag, "key", "Key"), one(tag, "value", "Value")))
        .collect()
}

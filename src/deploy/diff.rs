//! What differs between two task definitions, for people: names instead of positions, nothing about
//! what ECS fills in by itself, no values of secrets.
//!
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::taskdef::Definition;

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `app env LOG_LEVEL`, `cpu`, `app image`.
    pub what: String,
    /// `None`: it wasn't there.
    pub before: Option<String>,
    /// `None`: it goes.
    pub after: Option<String>,
}

/// `+ app env A = 1`, `- app secret KEY`, `~ cpu: 256 → 512`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change {
            what,
            before,
            after,
        } = self;
        match (before, after) {
            (Some(before), Some(after)) if before == after => write!(f, "~ {what}: {after}"),
            (Some(before), Some(after)) => write!(f, "~ {what}: {before} → {after}"),
            (None, Some(after)) => write!(f, "+ {what} = {after}"),
            (Some(_), None) => write!(f, "- {what}"),
            (None, None) => write!(f, "  {what}"),
        }
    }
}

/// What makes `before` into `after`; empty where ECS would run the same.
pub fn diff(before: &Definition, after: &Definition) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (normal_fields(before), normal_fields(after));
    compare(&mut Vec::new(), Some(&before), Some(&after), &mut changes);
    changes
}

fn normal_fields(definition: &Definition) -> Value {
    normal(&Value::Object(definition.fields().clone())).unwrap_or(Value::Null)
}

/// Lists of things with names become tables, what is empty or ECS's default goes.
fn normal(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => Some(normal_list(list)),
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, value)| {
                let default = is_default(fields, name, value);
                (!default).then(|| Some((name.clone(), normal(value)?)))?
            });
            let kept: Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other.clone()),
    }
}

fn normal_list(list: &[Value]) -> Value {
    let name = |one: &Value| Some(one.get("name")?.as_str()?.to_owned());
    let names: Option<BTreeSet<String>> = list.iter().map(name).collect();
    if names.is_none_or(|names| names.len() != list.len()) {
        let kept = list.iter().map(|one| normal(one).unwrap_or(Value::Null));
        return kept.collect();
    }
    let entries = list.iter().filter_map(|one| {
        let mut fields = one.as_object()?.clone();
        let name = fields.shift_remove("name")?.as_str()?.to_owned();
        let rest = normal(&Value::Object(fields)).unwrap_or(Value::Object(Map::new()));
        Some((name, rest))
    });
    Value::Object(entries.collect())
}

/// What ECS writes into a definition that leaves it out.
fn is_default(fields: &Map<String, Value>, name: &str, value: &Value) -> bool {
    match name {
        "essential" => value == &Value::Bool(true),
        "cpu" => value == &Value::from(0),
        "protocol" => value == "tcp" && fields.contains_key("containerPort"),
        "hostPort" => value == &Value::from(0) || fields.get("containerPort") == Some(value),
        _ => false,
    }
}

fn compare(
    path: &mut Vec<String>,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if before == after {
        return;
    }
    let empty = Map::new();
    let fields = |side: Option<&Value>| match side {
        Some(Value::Object(fields)) => Some(fields.clone()),
        None => Some(empty.clone()),
        _ => None,
    };
    if let (Some(old), Some(new)) = (fields(before), fields(after))
        && !is_leaf(path)
    {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            path.push(name.clone());
            compare(path, old.get(name), new.get(name), changes);
            path.pop();
        }
        return;
    }
    let hidden = is_secret(path);
    let show = |value: &Value| match (hidden, is_leaf(path)) {
        (true, _) => "(not shown)".to_owned(),
        (false, true) => value.get("value").map_or_else(|| plain(value), plain),
        (false, false) => plain(value),
    };
    changes.push(Change {
        what: name(path),
        before: before.map(show),
        after: after.map(show),
    });
}

/// One entry of `environment` or `secrets` is told as a whole.
fn is_leaf(path: &[String]) -> bool {
    let list = path.len().checked_sub(2).map(|at| path[at].as_str());
    matches!(list, Some("environment" | "secrets"))
}

/// Where a value must not be shown: secrets, and what is named like one.
fn is_secret(path: &[String]) -> bool {
    const WORDS: &[&str] = &[
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "PRIVATE",
        "_KEY",
        "APIKEY",
        "DSN",
    ];
    let inside = path
        .iter()
        .any(|part| part == "secrets" || part == "secretOptions");
    let last = path
        .last()
        .map(|part| part.to_uppercase().replace('-', "_"));
    let named = last.is_some_and(|name| WORDS.iter().any(|word| name.contains(word)));
    inside || named
}

/// A value on one line, without the password of an address.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    without_password(&text)
}

/// `postgres://user:***@host`: a password stands between the last `:` and `@` of an address's authority.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return text.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

fn name(path: &[String]) -> String {
    let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
    if words.first() == Some(&"containerDefinitions") {
        words.remove(0);
    }
    let words = words.iter().map(|word| match *word {
        "environment" => "env",
        "secrets" => "secret",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(container: Value, cpu: &str) -> Definition {
        let fields = json!({ "family": "f", "cpu": cpu, "containerDefinitions": [container] });
        Definition::new(fields, None).unwrap()
    }

    fn told(before: Value, after: Value) -> Vec<String> {
        let changes = diff(&definition(before, "256"), &definition(after, "512"));
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_are_told_by_name() {
        let before = json!({
            "name": "app", "image": "r@sha256:aa", "command": ["serve"],
            "environment": [{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }],
        });
        let after = json!({
            "name": "app", "image": "r@sha256:bb",  "command": ["serve", "-v"],
            "environment": [{ "name": "A", "value": "1" }, { "name": "C", "value": "3" }],
        });
        assert_eq!(
            told(before, after),
            [
                "~ app command: [\"serve\"] → [\"serve\",\"-v\"]",
                "- app env B",
                "+ app env C = 3",
                "~ app image: r@sha256:aa → r@sha256:bb",
                "~ cpu: 256 → 512",
            ]
        );
    }

    #[test]
    fn no_value_of_a_secret_is_shown() {
        let side = |value: &str| {
            json!({
                "name": "app", "image": "r",
                "secrets": [{ "name": "KEY", "valueFrom": value }],
                "environment": [
                    { "name": "STRIPE_TOKEN", "value": value },
                    { "name": "DATABASE_URL", "value": format!("postgres://me:{value}@h/db") },
                ],
                "logConfiguration": { "options": { "splunk-token": value } },
            })
        };
        let told = told(side("hunter1"), side("hunter2")).join("\n");
        assert!(!told.contains("hunter"), "{told}");
        assert!(told.contains("~ app secret KEY: (not shown)"), "{told}");
        assert!(
            told.contains("~ app env STRIPE_TOKEN: (not shown)"),
            "{told}"
        );
        assert!(
            told.contains("~ app env DATABASE_URL: postgres://me:***@h/db"),
            "{told}"
        );
    }

    #[test]
    fn what_ecs_fills_in_is_no_difference() {
        let written = json!({
            "name": "app", "image": "r", "portMappings": [{ "containerPort": 80 }],
            "environment": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
        });
        let answered = json!({
            "name": "app", "image": "r", "cpu": 0, "essential": true, "mountPoints": [], "volumesFrom": [],
            "portMappings": [{ "containerPort": 80, "hostPort": 80, "protocol": "tcp" }],
            "environment": [{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }],
            "systemControls": [],
        });
        let changes = diff(
            &definition(written.clone(), "1"),
            &definition(answered.clone(), "1"),
        );
        assert_eq!(changes, []);
        let changes = diff(&definition(answered, "1"), &definition(written, "1"));
        assert_eq!(changes, []);
    }

    #[test]
    fn what_matters_is_a_difference() {
        let base =
            json!({ "name": "app", "image": "r", "portMappings": [{ "containerPort": 80 }] });
        for change in [
            json!({ "essential": false }),
            json!({ "cpu": 10 }),
            json!({ "portMappings": [{ "containerPort": 80, "protocol": "udp" }] }),
            json!({ "portMappings": [{ "containerPort": 80, "hostPort": 8080 }] }),
            json!({ "readonlyRootFilesystem": true }),
            json!({ "name": "other" }),
        ] {
            let mut other = base.clone();
            for (key, value) in change.as_object().unwrap() {
                other[key] = value.clone();
            }
            let changes = diff(&definition(base.clone(), "1"), &definition(other, "1"));
            assert!(!changes.is_empty(), "{change}");
        }
    }

    #[test]
    fn passwords_leave_addresses() {
        for (text, shown) in [
            ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
            ("p://u:p@ss@h", "p://u:***@h"),
            ("p://u@h", "p://u@h"),
            ("http://h/a:b@c", "http://h/a:b@c"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}

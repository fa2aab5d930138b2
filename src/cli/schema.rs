//! `forge schema`: the JSON schema of the pipeline file, printed from the same table that reads it.

use serde_json::{Map, Value, json};

use crate::pipeline::keys::{Key, MEMBER, ROOT, Section, Shape};

/// The schema (draft 2020-12), as text that ends with a line break. A root file and a member's file have
/// one name, so it takes either.
pub fn run() -> String {
    let mut definitions = Map::new();
    let root = reference(&ROOT, &mut definitions);
    let member = reference(&MEMBER, &mut definitions);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pipeline.toml",
        "description": "What forge builds, tests and deploys.",
        "type": "object",
        "anyOf": [root, member],
        "$defs": definitions,
    });
    format!("{schema:#}\n")
}

/// A section under `$defs`, written there the first time.
fn reference(section: &'static Section, definitions: &mut Map<String, Value>) -> Value {
    let name: String = section
        .title
        .trim_matches(['[', ']'])
        .replace(".NAME", "")
        .replace("the root file", "root")
        .replace("a member's file", "member");
    if !definitions.contains_key(&name) {
        // Taken before its keys are looked at: a section may hold itself by way of another.
        definitions.insert(name.clone(), Value::Null);
        let properties: Map<String, Value> = section
            .keys
            .iter()
            .map(|key| (key.name.to_owned(), property(key, definitions)))
            .collect();
        let object = json!({
            "description": section.doc,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        definitions.insert(name.clone(), object);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = shape(&key.shape, definitions);
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    let mut doc = key.doc.to_owned();
    if !key.kinds.is_empty() {
        doc += &format!(" (For: {}.)", key.kinds.join(", "));
    }
    object.insert("description".into(), doc.into());
    if let Some(default) = key.default.and_then(json_of) {
        object.insert("default".into(), default);
    }
    if let Some(example) = json_of(key.example) {
        object.insert("examples".into(), json!([example]));
    }
    schema
}

/// A value as TOML writes it, as JSON.
fn json_of(text: &str) -> Option<Value> {
    let mut table: Map<String, Value> = toml::from_str(&format!("value = {text}")).ok()?;
    table.remove("value")
}

fn shape(shape_: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape_ {
        Shape::Text | Shape::Plain | Shape::Word | Shape::Glob => json!({ "type": "string" }),
        Shape::Freeze | Shape::Timezone | Shape::Version => json!({ "type": "string" }),
        Shape::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Number(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::PortNumber => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        Shape::Port => json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": "^[0-9]+(:[0-9]+)?$" },
        ]}),
        Shape::Duration => {
            json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d) *)+$" })
        }
        Shape::Size => json!({ "type": "string", "pattern": "^[0-9]+ *([KMGTkmgt]i?)?[Bb]$" }),
        Shape::List(inner) => json!({ "type": "array", "items": shape(inner, definitions) }),
        Shape::OneOrMany(inner) => {
            let one = shape(inner, definitions);
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Shape::Map(inner) => {
            json!({ "type": "object", "additionalProperties": shape(inner, definitions) })
        }
        Shape::Table(section) => reference(section, definitions),
        Shape::Named(section) => {
            json!({ "type": "object", "additionalProperties": reference(section, definitions) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_json_and_all_its_references_lead_somewhere() {
        let text = run();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let definitions = schema["$defs"].as_object().unwrap();
        assert!(definitions.values().all(Value::is_object));
        for reference in text.split("\"#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
        let target = &definitions["target"]["properties"];
        assert_eq!(target["cache"]["default"], json!(true));
        assert_eq!(
            target["kind"]["enum"],
            json!(["command", "image", "deploy"])
        );
        assert!(target["run"]["anyOf"].is_array());
    }

    #[test]
    fn every_default_and_example_can_be_written_as_json() {
        let schema = run();
        for section in [&ROOT, &MEMBER, &crate::pipeline::keys::TARGET] {
            for key in section.keys {
                assert!(json_of(key.example).is_some(), "{}", key.name);
                assert!(key.default.is_none_or(|default| json_of(default).is_some()));
                assert!(schema.contains(&format!("\"{}\"", key.name)));
            }
        }
    }
}

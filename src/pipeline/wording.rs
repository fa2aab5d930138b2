//! How the decoder speaks of types and keys.

use toml::de::DeValue;

use super::keys::{MEMBER, ROOT, Section, Shape};

/// Keys that people bring from elsewhere, or put in the wrong file.
pub fn special_key(name: &str, section: &'static Section) -> Option<String> {
    let is = |other: &'static Section| std::ptr::eq(section, other);
    let text = match name {
        "pipeline" if is(&MEMBER) => {
            "a member of a workspace has [project] instead; if this is no member, exclude it in the root's [workspace] members with `\"!DIR\"`"
        }
        "project" if is(&ROOT) => {
            "[project] belongs to a member; the root file has [pipeline]. If this is a member, a root file above it must name it in [workspace] members"
        }
        "template" | "workspace" | "registry" | "cache" if is(&MEMBER) => {
            return Some(format!("[{name}] belongs in the root file"));
        }
        "command" | "cmd" | "cmds" | "commands" | "script" | "recipe"
            if section.key("run").is_some() =>
        {
            "did you mean `run`?"
        }
        "deps" | "dependencies" | "depends" | "depends-on" if section.key("needs").is_some() => {
            "did you mean `needs`?"
        }
        "sources" | "srcs" if section.key("inputs").is_some() => "did you mean `inputs`?",
        "generates" | "targets" if section.key("outputs").is_some() => "did you mean `outputs`?",
        "desc" | "help" if section.key("description").is_some() => "did you mean `description`?",
        _ => return None,
    };
    Some(text.to_owned())
}

/// What a list or table is made of.
pub fn innermost(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Map(inner) => innermost(inner),
        other => other,
    }
}

/// "a string", "a list of strings": what a shape asks for.
pub fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "`true` or `false`".into(),
        Shape::Number(..) | Shape::PortNumber => "a whole number".into(),
        Shape::Port => "a port".into(),
        Shape::Duration => "a duration such as `\"10m\"`".into(),
        Shape::Size => "a size such as `\"10GB\"`".into(),
        Shape::Table(_) | Shape::Named(_) => "a table".into(),
        Shape::Map(inner) => format!("a table of {}", plural(inner)),
        Shape::List(inner) => format!("a list of {}", plural(inner)),
        Shape::OneOrMany(inner) => format!("{} or a list of {}", expected(inner), plural(inner)),
        _ => "a string".into(),
    }
}

fn plural(shape: &Shape) -> &'static str {
    match shape {
        Shape::Port => "ports",
        Shape::Table(_) | Shape::Named(_) => "tables",
        Shape::OneOrMany(_) => "strings or lists",
        _ => "strings",
    }
}

pub fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The value that was probably meant, written as the shape asks for it.
pub fn corrected(found: &DeValue<'_>, written: &str, shape: &Shape) -> Option<String> {
    let short = !written.contains('\n') && written.len() < 60;
    match (shape, found) {
        (Shape::OneOrMany(one), found) if !matches!(found, DeValue::String(_)) => {
            corrected(found, written, one)
        }
        (Shape::List(_) | Shape::OneOrMany(_), DeValue::String(_) | DeValue::Integer(_)) => {
            Some(format!("[{written}]"))
        }
        (Shape::Duration, DeValue::Integer(_)) => Some(format!("\"{written}s\"")),
        (Shape::Bool, DeValue::String(text)) => match text.as_ref() {
            "yes" | "true" | "on" => Some("true".into()),
            "no" | "false" | "off" => Some("false".into()),
            _ => None,
        },
        (Shape::Number(..) | Shape::PortNumber, DeValue::String(text)) => {
            text.parse::<i64>().ok().map(|number| number.to_string())
        }
        (shape, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))
            if plain_string(shape) =>
        {
            Some(format!("\"{written}\""))
        }
        _ => None,
    }
    .filter(|_| short)
}

fn plain_string(shape: &Shape) -> bool {
    use Shape::{Glob, Plain, Text, Version, Word};
    matches!(shape, Text | Plain | Word | Glob | Version)
}

//! Reads one pipeline file by the table of keys, and says everything that is wrong with it at once:
//! what isn't TOML, unknown keys, wrong types, values that don't parse.
//!
//! Knows nothing of other files, nor of what a key means.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code;
use super::fields::{Field, Fields, Node, Value};
use super::keys::{Key, MEMBER, ROOT, Section, Shape};
use super::model::{FileId, Span};
use super::problem::Problem;
use super::suggest;
use super::values;

/// What a file says, and whether it was TOML at all.
#[derive(Debug, Default)]
pub struct Decoded {
    pub fields: Fields,
    pub problems: Vec<Problem>,
    /// It isn't TOML: a part of it was not seen.
    pub unreadable: bool,
}

/// Decodes the text of one file. A file that isn't TOML is reported for that alone.
pub fn decode(file: FileId, text: &str, section: &'static Section) -> Decoded {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut decoder = Decoder {
        file,
        len: text.len(),
        problems: Vec::new(),
    };
    if !errors.is_empty() {
        for error in &errors {
            decoder.syntax(text, error);
        }
        return Decoded {
            problems: decoder.problems,
            unreadable: true,
            ..Decoded::default()
        };
    }
    let fields = decoder.section(table.get_ref(), section, None);
    Decoded {
        fields,
        problems: decoder.problems,
        unreadable: false,
    }
}

struct Decoder {
    file: FileId,
    /// Length of the text: no span may go beyond it.
    len: usize,
    problems: Vec<Problem>,
}

impl Decoder {
    fn span(&self, range: Range<usize>) -> Span {
        let end = range.end.min(self.len);
        Span {
            file: self.file,
            range: range.start.min(end)..end,
        }
    }

    fn syntax(&mut self, text: &str, error: &toml::de::Error) {
        let range = error.span().unwrap_or(self.len..self.len);
        let span = self.span(widen(text, range));
        let duplicate = error.message().starts_with("duplicate key");
        self.problems.push(if duplicate {
            let name = &text[span.range.clone()];
            Problem::new(code::DUPLICATE_KEY, format!("`{name}` is there twice"))
                .label(&span, "the second one")
                .help("remove one of them, or merge the two")
        } else {
            Problem::new(code::SYNTAX, "this is not valid TOML")
                .label(&span, error.message().to_owned())
        });
    }

    /// Entries in the order of the file.
    fn in_order<'t, 'i>(
        table: &'t DeTable<'i>,
    ) -> Vec<(
        &'t Spanned<std::borrow::Cow<'i, str>>,
        &'t Spanned<DeValue<'i>>,
    )> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    /// `within`: what to call it instead of its title (`[target.test]`).
    fn section(
        &mut self,
        table: &DeTable<'_>,
        section: &'static Section,
        within: Option<&str>,
    ) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in Decoder::in_order(table) {
            let key_span = self.span(name.span());
            let Some(key) = section.key(name.get_ref()) else {
                self.unknown_key(name.get_ref(), &key_span, section, within);
                fields.broken = true;
                continue;
            };
            match self.value(value, &key.shape, key) {
                Some(node) => fields.fields.push(Field {
                    key: key.name.to_owned(),
                    key_span,
                    node,
                }),
                None => fields.broken = true,
            }
        }
        fields
    }

    fn unknown_key(
        &mut self,
        name: &str,
        span: &Span,
        section: &'static Section,
        within: Option<&str>,
    ) {
        let title = within.unwrap_or(section.title);
        let keys = section.keys.iter().map(|key| key.name);
        let help = special_key(name, section)
            .or_else(|| suggest::help(name, &format!("{title} takes"), keys));
        self.problems.push(
            Problem::new(code::UNKNOWN_KEY, format!("{title} has no key `{name}`"))
                .label(span, "unknown key")
                .maybe_help(help),
        );
    }

    /// `None`: it was reported.
    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: &Shape, key: &Key) -> Option<Node> {
        let span = self.span(value.span());
        let parsed = match (shape, value.get_ref()) {
            (Shape::OneOrMany(inner), DeValue::String(_)) => {
                Value::List(vec![self.value(value, inner, key)?])
            }
            (Shape::List(inner) | Shape::OneOrMany(inner), DeValue::Array(items)) => {
                self.list(items, inner, key)?
            }
            (Shape::Map(inner), DeValue::Table(table)) => self.map(table, inner, key),
            (Shape::Table(section), DeValue::Table(table)) => {
                Value::Table(self.section(table, section, None))
            }
            (Shape::Named(section), DeValue::Table(table)) => self.named(table, section, key)?,
            (Shape::Bool, DeValue::Boolean(value)) => Value::Bool(*value),
            (shape, DeValue::String(text)) if takes_string(shape) => {
                let parsed = string(text, shape);
                self.checked(parsed, text, &span, key)?
            }
            (Shape::Number(..) | Shape::Port | Shape::PortNumber, DeValue::Integer(written)) => {
                let number = i64::from_str_radix(written.as_str(), written.radix());
                let number = number.map_err(|_| "the number is too large".to_owned());
                let parsed = number.and_then(|number| integer(number, shape));
                self.checked(parsed, &written.to_string(), &span, key)?
            }
            (shape, other) => {
                self.wrong_type(other, shape, &span, key);
                return None;
            }
        };
        Some(Node {
            span,
            value: parsed,
        })
    }

    fn list(
        &mut self,
        items: &[Spanned<DeValue<'_>>],
        inner: &'static Shape,
        key: &Key,
    ) -> Option<Value> {
        let nodes: Vec<_> = items
            .iter()
            .map(|item| self.value(item, inner, key))
            .collect();
        // All items were looked at, so all that is wrong is said; a list with a hole is not used.
        nodes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(Value::List)
    }

    fn map(&mut self, table: &DeTable<'_>, inner: &'static Shape, key: &Key) -> Value {
        let mut fields = Fields::default();
        for (name, value) in Decoder::in_order(table) {
            match self.value(value, inner, key) {
                Some(node) => fields.fields.push(Field {
                    key: name.get_ref().to_string(),
                    key_span: self.span(name.span()),
                    node,
                }),
                None => fields.broken = true,
            }
        }
        Value::Table(fields)
    }

    /// `[target.NAME]` and its like: free names, each with a table of fixed keys.
    fn named(
        &mut self,
        table: &DeTable<'_>,
        section: &'static Section,
        key: &Key,
    ) -> Option<Value> {
        let mut fields = Fields::default();
        for (name, value) in Decoder::in_order(table) {
            let (key_span, span) = (self.span(name.span()), self.span(value.span()));
            let title = section.title.replace("NAME", name.get_ref());
            let DeValue::Table(inner) = value.get_ref() else {
                self.not_a_table(&title, name.get_ref(), value.get_ref(), &span, key);
                fields.broken = true;
                continue;
            };
            self.name(name.get_ref(), &key_span, section);
            let value = Value::Table(self.section(inner, section, Some(&title)));
            fields.fields.push(Field {
                key: name.get_ref().to_string(),
                key_span,
                node: Node { span, value },
            });
        }
        Some(Value::Table(fields))
    }

    /// Names become parts of addresses, of file names and of what people type.
    fn name(&mut self, name: &str, span: &Span, section: &Section) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.is_empty() && name.chars().all(allowed) && !name.starts_with(['-', '.']) {
            return;
        }
        let help = match name.contains(':') {
            true => {
                "`project:target` is how a target is addressed: it is declared without the project, in the project's own file"
            }
            false => {
                "a name has letters, digits, `_`, `.` and `-`, and begins with a letter, a digit or `_`"
            }
        };
        let message = format!("`{name}` can't be a name in {}", section.title);
        self.problems.push(
            Problem::new(code::BAD_NAME, message)
                .label(span, "this name")
                .help(help),
        );
    }

    fn checked(
        &mut self,
        parsed: Result<Value, String>,
        written: &str,
        span: &Span,
        key: &Key,
    ) -> Option<Value> {
        let error = match parsed {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let glob = matches!(innermost(&key.shape), Shape::Glob);
        let problem = if glob {
            Problem::new(code::BAD_GLOB, format!("`{written}` is not a glob"))
                .label(span, error)
                .help("`*` is any part of a name, `**` any directories; `\\` before a character takes it as it is")
        } else {
            let near = match innermost(&key.shape) {
                Shape::Choice(choices) => suggest::nearest(written, choices.iter().copied()),
                _ => None,
            };
            Problem::new(
                code::BAD_VALUE,
                format!("`{}` can't be `{written}`", key.name),
            )
            .label(span, error)
            .help(match near {
                Some(near) => format!("did you mean `\"{near}\"`?"),
                None => format!("for example: {} = {}", key.name, key.example),
            })
        };
        self.problems.push(problem);
        None
    }

    fn wrong_type(&mut self, found: &DeValue<'_>, shape: &Shape, span: &Span, key: &Key) {
        let message = format!(
            "`{}` takes {}, not {}",
            key.name,
            expected(&key.shape),
            article(found)
        );
        self.problems.push(
            Problem::new(code::WRONG_TYPE, message)
                .label(span, format!("expected {}", expected(shape)))
                .help(format!("for example: {} = {}", key.name, key.example)),
        );
    }

    fn not_a_table(
        &mut self,
        title: &str,
        name: &str,
        found: &DeValue<'_>,
        span: &Span,
        key: &Key,
    ) {
        let message = format!("{title} is a table, not {}", article(found));
        self.problems.push(
            Problem::new(code::WRONG_TYPE, message)
                .label(span, "expected a table")
                .help(format!(
                    "`{name}` stands under `{}`; begin it with {title}",
                    key.name
                )),
        );
    }
}

/// Keys that people bring from elsewhere, or put in the wrong file.
fn special_key(name: &str, section: &'static Section) -> Option<String> {
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

fn takes_string(shape: &Shape) -> bool {
    use Shape::{Choice, Duration, Freeze, Glob, Plain, Port, Size, Text, Timezone, Version, Word};
    matches!(
        shape,
        Text | Plain
            | Word
            | Choice(_)
            | Duration
            | Size
            | Version
            | Port
            | Freeze
            | Timezone
            | Glob
    )
}

fn string(text: &str, shape: &Shape) -> Result<Value, String> {
    let same = || Value::Str(text.to_owned());
    match shape {
        Shape::Choice(choices) if !choices.contains(&text) => {
            Err(format!("expected one of {}", suggest::list(choices)))
        }
        Shape::Duration => values::duration(text).map(Value::Duration),
        Shape::Size => values::size(text).map(Value::Size),
        Shape::Version => {
            values::version(text).map(|version| Value::Version(text.to_owned(), version))
        }
        Shape::Port => values::port(text).map(Value::Port),
        Shape::Freeze => values::freeze(text).map(Value::Freeze),
        Shape::Timezone => values::timezone(text).map(|()| same()),
        Shape::Glob => values::glob(text).map(|()| same()),
        _ if text.contains('\0') => Err("a string can't hold a zero byte".into()),
        _ => Ok(same()),
    }
}

fn integer(number: i64, shape: &Shape) -> Result<Value, String> {
    match shape {
        Shape::Number(low, high) if !(*low..=*high).contains(&number) => {
            Err(format!("expected a number from {low} to {high}"))
        }
        Shape::Number(..) => Ok(Value::Number(number)),
        Shape::PortNumber => values::port_number(number).map(|port| Value::Number(i64::from(port))),
        _ => values::port_number(number).map(|inside| {
            Value::Port(super::model::Port {
                inside,
                outside: None,
            })
        }),
    }
}

/// What a list or table is made of.
fn innermost(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Map(inner) => innermost(inner),
        other => other,
    }
}

/// "a string", "a list of strings": what a shape asks for.
fn expected(shape: &Shape) -> String {
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

fn article(value: &DeValue<'_>) -> &'static str {
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

/// A span that begins and ends between characters, and shows something where it can.
fn widen(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

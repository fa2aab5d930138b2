//! Reads one pipeline file by the table of keys, and says everything that is wrong with it at once:
//! what isn't TOML, unknown keys, wrong types, values that don't parse.
//!
//! Knows nothing of other files, nor of what a key means.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code;
use super::fields::{Field, Fields, Node, Value};
use super::keys::{Key, Section, Shape};
use super::model::{FileId, Span};
use super::problem::Problem;
use super::suggest;
use super::syntax;
use super::values;
use super::wording::{article, corrected, expected, innermost, special_key};

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
        text,
        problems: Vec::new(),
    };
    if !errors.is_empty() {
        return Decoded {
            problems: syntax::problems(file, text, &errors),
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

struct Decoder<'s> {
    file: FileId,
    text: &'s str,
    problems: Vec<Problem>,
}

impl Decoder<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        let end = range.end.min(self.text.len());
        Span {
            file: self.file,
            range: range.start.min(end)..end,
        }
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
            self.name(name.get_ref(), &key_span, section);
            let table = match value.get_ref() {
                DeValue::Table(inner) => self.section(inner, section, Some(&title)),
                other => {
                    self.not_a_table(&title, name.get_ref(), other, &span, key);
                    // It is there, so that its name is not unknown elsewhere.
                    Fields {
                        broken: true,
                        ..Fields::default()
                    }
                }
            };
            fields.fields.push(Field {
                key: name.get_ref().to_string(),
                key_span,
                node: Node {
                    span,
                    value: Value::Table(table),
                },
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
            let verb = match key.shape {
                Shape::List(_) | Shape::Map(_) => "hold",
                _ => "be",
            };
            Problem::new(
                code::BAD_VALUE,
                format!("`{}` can't {verb} `{written}`", key.name),
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
        let whole = std::ptr::eq(shape, &raw const key.shape);
        let message = match whole {
            true => format!(
                "`{}` takes {}, not {}",
                key.name,
                expected(shape),
                article(found)
            ),
            false => format!(
                "`{}` takes {}, and this is {}",
                key.name,
                expected(&key.shape),
                article(found)
            ),
        };
        let written = self.text.get(span.range.clone()).unwrap_or_default();
        let help = match (corrected(found, written, shape), whole) {
            (Some(value), true) => format!("write: {} = {value}", key.name),
            (Some(value), false) => format!("write: {value}"),
            (None, _) => format!("for example: {} = {}", key.name, key.example),
        };
        self.problems.push(
            Problem::new(code::WRONG_TYPE, message)
                .label(span, format!("expected {}", expected(shape)))
                .help(help),
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
            let version = values::version(text)?;
            Ok(Value::Version(Box::new((text.to_owned(), version))))
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

//! The reference of the pipeline file: its tables are printed from the table of keys, and each key stands in
//! an example.

use std::collections::BTreeSet;

use forge::pipeline::keys::{self, Key, Section, Shape};

use crate::page::{Page, read, update};

const PAGE: &str = "docs/pipeline-file.md";

/// Every section that a file can hold, each once.
fn sections() -> Vec<&'static Section> {
    let mut found: Vec<&'static Section> = Vec::new();
    let mut waiting: Vec<&'static Section> = vec![&keys::MEMBER, &keys::ROOT];
    while let Some(section) = waiting.pop() {
        if !found.iter().any(|known| known.title == section.title) {
            found.push(section);
            waiting.extend(section.keys.iter().filter_map(|key| below(&key.shape)));
        }
    }
    found
}

fn below(shape: &Shape) -> Option<&'static Section> {
    match shape {
        Shape::Table(section) | Shape::Named(section) => Some(section),
        Shape::List(inner) | Shape::OneOrMany(inner) | Shape::Map(inner) => below(inner),
        _ => None,
    }
}

pub fn tables_of_keys_are_those_of_the_code() {
    let page = read(PAGE.into());
    let mut text = page.text.clone();
    for section in sections() {
        text = replaced(&text, section);
    }
    if update() {
        page.write(&text);
    } else {
        assert!(
            text == page.text,
            "{PAGE} has other tables than the code (UPDATE_GOLDENS=1 writes them)"
        );
    }
}

/// The text with a section's table between its two comments.
fn replaced(text: &str, section: &Section) -> String {
    let begin = format!("<!-- keys of {} -->\n", section.title);
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{PAGE} has no line {begin}"));
    let (_, after) = rest.split_once("<!-- end -->\n").expect("an end");
    format!("{before}{begin}{}<!-- end -->\n{after}", table(section))
}

fn table(section: &Section) -> String {
    let rows: String = section.keys.iter().map(row).collect();
    format!("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n{rows}")
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Some(default) => format!("`{default}`"),
        None => String::new(),
    };
    let kinds = match key.kinds {
        [] => String::new(),
        kinds => format!("*{}*: ", kinds.join(", ")),
    };
    format!(
        "| `{}` | {} | {default} | {kinds}{} |\n",
        key.name,
        takes(&key.shape),
        key.doc
    )
}

/// The words that the page explains.
fn takes(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".into(),
        Shape::Plain => "path".into(),
        Shape::Word => "word".into(),
        Shape::Choice(choices) => {
            let quoted: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
            quoted.join(", ")
        }
        Shape::Bool => "`true`, `false`".into(),
        Shape::Number(low, high) => format!("{low} to {high}"),
        Shape::Duration => "duration".into(),
        Shape::Size => "size".into(),
        Shape::Version => "version".into(),
        Shape::Port => "port".into(),
        Shape::PortNumber => "number of a port".into(),
        Shape::Freeze => "times of the week".into(),
        Shape::Timezone => "time zone".into(),
        Shape::Glob => "glob".into(),
        Shape::List(inner) => format!("list of {}", takes(inner)),
        Shape::OneOrMany(inner) => format!("{}, or a list", takes(inner)),
        Shape::Map(inner) => format!("table of {}", takes(inner)),
        Shape::Table(_) => "table".into(),
        Shape::Named(_) => "tables by name".into(),
    }
}

#[test]
fn every_key_stands_in_an_example() {
    let mut used = BTreeSet::new();
    for block in Page::blocks(&read(PAGE.into())) {
        if block.language() == "toml" && !block.has("broken") {
            let table: toml::Table = block.text.parse().expect("TOML");
            let member = block.value("member").is_some();
            collect(
                if member { &keys::MEMBER } else { &keys::ROOT },
                &table,
                &mut used,
            );
        }
    }
    let all = sections().into_iter().flat_map(|section| {
        let name = |key: &Key| format!("{} {}", section.title, key.name);
        section.keys.iter().map(name).collect::<Vec<_>>()
    });
    let missing: Vec<String> = all.filter(|name| !used.contains(name)).collect();
    assert!(missing.is_empty(), "no example in {PAGE} has {missing:#?}");
}

fn collect(section: &'static Section, table: &toml::Table, used: &mut BTreeSet<String>) {
    for (name, value) in table {
        if let Some(key) = section.key(name) {
            used.insert(format!("{} {name}", section.title));
            descend(&key.shape, value, used);
        }
    }
}

fn descend(shape: &Shape, value: &toml::Value, used: &mut BTreeSet<String>) {
    match (shape, value) {
        (Shape::Table(section), toml::Value::Table(table)) => collect(section, table, used),
        (Shape::Named(_) | Shape::Map(_), toml::Value::Table(table)) => {
            let inner = |value| match shape {
                Shape::Named(section) => descend(&Shape::Table(section), value, used),
                Shape::Map(inner) => descend(inner, value, used),
                _ => {}
            };
            table.values().for_each(inner);
        }
        (Shape::List(inner) | Shape::OneOrMany(inner), toml::Value::Array(values)) => {
            values.iter().for_each(|value| descend(inner, value, used));
        }
        (Shape::OneOrMany(inner), value) => descend(inner, value, used),
        _ => {}
    }
}

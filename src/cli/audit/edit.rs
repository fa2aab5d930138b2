//! A proposal written into the pipeline files, with their comments and layout as they are.
//!
//! A list is edited where it stands: in the target's own table, or in the template that it comes from.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, Item, TableLike, Value};

use crate::engine::audit::Proposal;
use crate::pipeline::model::{FileId, Target, Workspace};
use crate::pipeline::{LoadOptions, load_texts};

use super::diff::unified;

/// Lists longer than this get a line for each entry.
const WIDTH: usize = 100;

/// Pipeline files, edited.
pub struct Edits<'a> {
    ws: &'a Workspace,
    documents: BTreeMap<FileId, DocumentMut>,
}

/// One edited file.
pub struct Edit {
    /// Relative to the workspace.
    pub file: String,
    pub text: String,
    pub diff: String,
}

impl<'a> Edits<'a> {
    pub fn new(ws: &'a Workspace) -> Self {
        Self {
            ws,
            documents: BTreeMap::new(),
        }
    }

    /// Adds what is proposed to the target's lists; none where the file can't be taken apart.
    pub fn add(&mut self, target: &Target, proposal: &Proposal) -> Option<()> {
        let inputs: Vec<String> = proposal
            .everything
            .iter()
            .chain(&proposal.inputs)
            .cloned()
            .collect();
        for (key, entries) in [
            ("needs", &proposal.needs),
            ("inputs", &inputs),
            ("outputs", &proposal.outputs),
        ] {
            if !entries.is_empty() {
                extend(self.table(target, key)?, key, entries)?;
            }
        }
        Some(())
    }

    /// The files that changed.
    ///
    /// # Errors
    /// What wouldn't be right any more: one line.
    pub fn finish(self, options: &LoadOptions) -> Result<Vec<Edit>, String> {
        let mut edits = Vec::new();
        let mut texts: Vec<String> = self
            .ws
            .files
            .iter()
            .map(|file| file.text.to_string())
            .collect();
        for (id, document) in self.documents {
            let file = self.ws.file(id);
            let text = document.to_string();
            let diff = unified(&file.name, &file.text, &text);
            if !diff.is_empty() {
                texts[id.0 as usize].clone_from(&text);
                edits.push(Edit {
                    file: file.name.clone(),
                    text,
                    diff,
                });
            }
        }
        check(self.ws, &texts, options)?;
        Ok(edits)
    }

    /// Where a key of a target is written, or would be.
    fn table(&mut self, target: &Target, key: &str) -> Option<&mut dyn TableLike> {
        let project = self.ws.project(target.project);
        let own = [String::from("target"), target.name.clone()];
        let template = project
            .template
            .as_ref()
            .map(|template| ["template", template, "target", &target.name].map(str::to_owned));
        let root = self.ws.projects[0].file;
        let has = |table: Option<&mut dyn TableLike>, key: &str| {
            table.is_some_and(|table| table.contains_key(key))
        };
        let in_own = |edits: &mut Self, key: &str| has(edits.at(project.file, &own), key);
        let in_template = |edits: &mut Self, key: &str| {
            template
                .as_ref()
                .is_some_and(|path| has(edits.at(root, path), key))
        };
        let by_template = !in_own(self, key)
            && (in_template(self, key) || (!in_own(self, "run") && in_template(self, "run")));
        match template.filter(|_| by_template) {
            Some(path) => self.at(root, &path),
            None => self.at(project.file, &own),
        }
    }

    fn at(&mut self, file: FileId, path: &[String]) -> Option<&mut dyn TableLike> {
        let document = match self.documents.entry(file) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(self.ws.file(file).text.parse().ok()?)
            }
        };
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for name in path {
            table = table.get_mut(name)?.as_table_like_mut()?;
        }
        Some(table)
    }
}

/// What is written must be what forge reads.
fn check(ws: &Workspace, texts: &[String], options: &LoadOptions) -> Result<(), String> {
    let files = ws
        .projects
        .iter()
        .map(|project| (&*project.dir, &*texts[project.file.0 as usize]));
    let files: Vec<(&str, &str)> = files.collect();
    match load_texts(&files, options) {
        Ok(_) => Ok(()),
        Err(problems) => Err(problems
            .0
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()),
    }
}

fn extend(table: &mut dyn TableLike, key: &str, entries: &[String]) -> Option<()> {
    if !table.contains_key(key) {
        let width = aligned(table);
        table.insert(key, Item::Value(Value::Array(Array::new())));
        if let Some(mut written) = table.key_mut(key) {
            let spaces = width.saturating_sub(key.len()).max(1);
            written.leaf_decor_mut().set_suffix(" ".repeat(spaces));
        }
    }
    let array = table.get_mut(key)?.as_array_mut()?;
    let there: Vec<String> = array
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
    for entry in entries.iter().filter(|entry| !there.contains(entry)) {
        push(array, entry);
    }
    if !is_tall(array) && array.to_string().len() > WIDTH {
        stack(array);
    }
    Some(())
}

/// The column of `=` where all keys of a table share one, else none.
fn aligned(table: &dyn TableLike) -> usize {
    let width = |(name, _): (&str, &Item)| {
        let key = table.key(name)?;
        let suffix = key.leaf_decor().suffix()?.as_str()?;
        Some(key.display_repr().len() + suffix.len())
    };
    let widths: Vec<Option<usize>> = table.iter().map(width).collect();
    match widths.first() {
        Some(Some(first))
            if widths.len() > 1 && widths.iter().all(|width| *width == Some(*first)) =>
        {
            *first
        }
        _ => 0,
    }
}

/// Whether its entries stand on lines of their own.
fn is_tall(array: &Array) -> bool {
    let prefix = |value: &Value| {
        let prefix = value.decor().prefix().and_then(|prefix| prefix.as_str());
        prefix.is_some_and(|prefix| prefix.contains('\n'))
    };
    array.iter().any(prefix)
}

/// Adds an entry as the others stand, and leaves a comment with the entry that it follows.
fn push(array: &mut Array, entry: &str) {
    let mut value = Value::from(entry);
    if is_tall(array) {
        let first = array
            .get(0)
            .and_then(|value| value.decor().prefix()?.as_str());
        let indent = first
            .and_then(|prefix| prefix.rsplit('\n').next())
            .unwrap_or("  ")
            .to_owned();
        let last = array.len().saturating_sub(1);
        let mut behind = String::new();
        if let Some(last) = array.get_mut(last) {
            behind += last
                .decor()
                .suffix()
                .and_then(|suffix| suffix.as_str())
                .unwrap_or_default();
            last.decor_mut().set_suffix("");
        }
        behind += array.trailing().as_str().unwrap_or_default();
        let closing = behind.rsplit('\n').next().unwrap_or_default().to_owned();
        value
            .decor_mut()
            .set_prefix(format!("{}\n{indent}", behind.trim_end()));
        array.push_formatted(value);
        array.set_trailing(format!("\n{closing}"));
        array.set_trailing_comma(true);
    } else {
        value
            .decor_mut()
            .set_prefix(if array.is_empty() { "" } else { " " });
        array.push_formatted(value);
    }
}

/// A line for each entry.
fn stack(array: &mut Array) {
    for value in array.iter_mut() {
        value.decor_mut().set_prefix("\n  ");
        value.decor_mut().set_suffix("");
    }
    array.set_trailing("\n");
    array.set_trailing_comma(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, entries: &[&str]) -> String {
        let mut document: DocumentMut = text.parse().expect("TOML");
        let entries: Vec<String> = entries.iter().map(|entry| entry.to_string()).collect();
        extend(document.as_table_mut(), "inputs", &entries).expect("a list");
        document.to_string()
    }

    #[test]
    fn a_list_keeps_its_layout_and_its_comments() {
        for (before, after) in [
            (
                "inputs = [\"a\"] # why\n",
                "inputs = [\"a\", \"b\"] # why\n",
            ),
            ("inputs = []\n", "inputs = [\"b\"]\n"),
            ("inputs = [ \"a\" ]\n", "inputs = [ \"a\" , \"b\"]\n"),
            (
                "inputs = [\n    \"x\",  # first\n    \"a\",  # second\n]\n",
                "inputs = [\n    \"x\",  # first\n    \"a\",  # second\n    \"b\",\n]\n",
            ),
            (
                "inputs = [\n  \"a\"  # last\n]\n",
                "inputs = [\n  \"a\",  # last\n  \"b\",\n]\n",
            ),
            ("inputs = [\"a\", \"b\"]\n", "inputs = [\"a\", \"b\"]\n"),
            ("run = \"x\"\n", "run = \"x\"\ninputs = [\"b\"]\n"),
            (
                "dir     = \".\"\nrun     = \"x\"\n",
                "dir     = \".\"\nrun     = \"x\"\ninputs  = [\"b\"]\n",
            ),
        ] {
            assert_eq!(edited(before, &["b"]), after);
        }
    }

    #[test]
    fn a_long_list_gets_a_line_for_each_entry() {
        let names: Vec<String> = (0..9)
            .map(|n| format!("some/directory/file-{n}.txt"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = edited("inputs = [\"a\"]\n", &names);
        assert_eq!(text.lines().count(), 12, "{text}");
        text.parse::<toml::Table>().expect("TOML");
    }
}

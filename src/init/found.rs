//! What a directory holds, as far as a proposal needs it: the text of a few well-known files and
//! the names of the rest. The one place in `init` that reads the file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::workflows;

/// Files that are read; everything else is known by its name alone.
const READ: [&str; 12] = [
    "GNUmakefile",
    "makefile",
    "Makefile",
    "pyproject.toml",
    "setup.cfg",
    "requirements.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "requirements-test.txt",
    "package.json",
    "Cargo.toml",
    "Dockerfile",
];

/// Names beyond this many are not looked at: a rule whose prerequisite was not seen is left to
/// make, which is right in any case.
const MOST_PATHS: usize = 50_000;

/// What is in a project's directory.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Name of the directory.
    pub name: String,
    /// Text of the files that `init` reads, by name; bytes that are not UTF-8 are replaced.
    pub texts: BTreeMap<String, String>,
    /// Files and directories relative to the project, with `/`, as far as git does not ignore them.
    pub paths: BTreeSet<String>,
    /// A pipeline file above names the directory among its members. Whoever knows pipeline files sets it.
    pub is_member: bool,
}

impl Found {
    /// Reads `dir`. Names that cannot be read are as if they were not there; the error is that the
    /// directory itself or one of the well-known files cannot be read.
    pub fn read(dir: &Path) -> io::Result<Found> {
        let dir = dir.canonicalize()?;
        let mut found = Found {
            name: dir
                .file_name()
                .map_or_else(|| "project".into(), |n| n.to_string_lossy().into_owned()),
            ..Found::default()
        };
        for name in READ.map(str::to_owned).into_iter().chain(workflows(&dir)) {
            let path = dir.join(&name);
            if path.is_file() {
                let bytes = std::fs::read(&path)?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                found.texts.insert(name, text);
            }
        }
        found.paths = paths(&dir);
        Ok(found)
    }

    /// The Makefile that make itself would take: name and text.
    pub(super) fn makefile(&self) -> Option<(&str, &str)> {
        ["GNUmakefile", "makefile", "Makefile"]
            .into_iter()
            .find_map(|name| Some((name, self.text(name)?)))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// As a table; `None` when the file is not there or does not parse.
    pub(super) fn toml(&self, name: &str) -> Option<toml::Table> {
        self.text(name)?.parse().ok()
    }

    /// The files that a proposal is made from: those that were read and say something to it.
    pub(super) fn sources(&self) -> Vec<String> {
        if let Some((name, _)) = self.makefile() {
            return vec![name.to_owned()];
        }
        let says = |name: &&String| !name.starts_with(workflows::DIR);
        self.texts.keys().filter(says).cloned().collect()
    }

    /// What the project calls itself, else its directory's name.
    pub(super) fn project_name(&self) -> String {
        let named = |file: &str, table: &str| {
            let toml = self.toml(file)?;
            Some(toml.get(table)?.get("name")?.as_str()?.to_owned())
        };
        named("pyproject.toml", "project")
            .or_else(|| named("Cargo.toml", "package"))
            .unwrap_or_else(|| self.name.clone())
    }
}

/// Names of the workflows, as they are in `texts`. Where they can't be listed there are none.
fn workflows(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join(workflows::DIR));
    let names = entries.into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"));
    names
        .map(|name| format!("{}/{name}", workflows::DIR))
        .collect()
}

fn paths(dir: &Path) -> BTreeSet<String> {
    ignore::WalkBuilder::new(dir)
        .hidden(false)
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != ".forge")
        .build()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(dir).ok()?.to_str()?.to_owned();
            (!path.is_empty()).then_some(path)
        })
        .take(MOST_PATHS)
        .collect()
}

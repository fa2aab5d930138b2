//! What a target sees of the environment, and what of it is in its key.
//!
//! A target sees a fixed list of the caller's variables and what it declares, nothing else (SPEC: `PATH`, `HOME`, …).
//! Only what it declares is in its key; values that come from the caller or a dotenv file are in it as digests, since
//! keys are explained on screens and kept on disks.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cache::digest::Digest;
use crate::cache::key::{Preimage, Section, Value};
use crate::pipeline::glob::{Glob, has_wildcard};
use crate::pipeline::interpolate::{Lookup, Unresolved};
use crate::pipeline::model::{Target, Text};

/// The caller's variables that every target sees; none of them is in a key.
const PASSED: &[&str] = &["PATH", "HOME", "USER", "SHELL", "LANG", "TERM", "TMPDIR"];

/// The caller's environment, as it was when forge started.
pub type Caller = BTreeMap<OsString, OsString>;

/// What a service's process and every target begin with.
pub fn base(caller: &Caller) -> BTreeMap<OsString, OsString> {
    let passed = |name: &OsStr| name.to_str().is_some_and(|name| PASSED.contains(&name) || name.starts_with("LC_"));
    let passed = caller.iter().filter(|(name, _)| passed(name));
    let mut env: BTreeMap<_, _> = passed.map(|(name, value)| (name.clone(), value.clone())).collect();
    env.insert("TZ".into(), "UTC".into());
    env
}

/// Where the value of a declared variable comes from.
enum Source<'a> {
    Text(&'a Text),
    Caller(Option<&'a OsString>),
    Dotenv(String),
}

/// The declared variables of a target.
pub struct Declared<'a> {
    variables: BTreeMap<OsString, Source<'a>>,
    secrets: BTreeMap<&'a str, Option<&'a OsString>>,
}

impl<'a> Declared<'a> {
    /// Puts the layers on each other, weakest first: pipeline, project and template, `inherit-env`, `dotenv`, `env`.
    ///
    /// # Errors
    /// A dotenv file can't be read; a missing one has no values.
    pub fn of(target: &'a Target, caller: &'a Caller, root: &Path) -> io::Result<Self> {
        let mut variables = BTreeMap::new();
        for (name, text) in &target.env_defaults {
            variables.insert(name.into(), Source::Text(text));
        }
        for name in &target.inherit_env {
            inherit(name, caller, &mut variables);
        }
        for file in &target.dotenv {
            for (name, value) in read_dotenv(&root.join(file))? {
                variables.insert(name.into(), Source::Dotenv(value));
            }
        }
        for (name, text) in &target.env {
            variables.insert(name.into(), Source::Text(text));
        }
        let secret = |name: &'a String| (name.as_str(), caller.get(OsStr::new(name)));
        Ok(Self { variables, secrets: target.secret_env.iter().map(secret).collect() })
    }

    /// The values that must never be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.values().flatten().map(|value| value.as_bytes())
    }

    /// # Errors
    /// A reference has no value.
    pub fn describe(&self, preimage: &mut Preimage, lookup: &dyn Lookup) -> Result<(), Unresolved> {
        for (name, source) in &self.variables {
            let value = match source {
                Source::Text(text) => Value::Text(text.render(lookup)?),
                Source::Caller(None) => Value::Absent,
                Source::Caller(Some(value)) => Value::Digest(Digest::of(value.as_bytes())),
                Source::Dotenv(value) => Value::Digest(Digest::of(value.as_bytes())),
            };
            preimage.add(Section::Env, &name.to_string_lossy(), &value);
        }
        Ok(())
    }

    /// Everything that the target's processes see.
    ///
    /// # Errors
    /// A reference has no value.
    pub fn environment(&self, caller: &Caller, lookup: &dyn Lookup) -> Result<Vec<(OsString, OsString)>, Unresolved> {
        let mut env = base(caller);
        for (name, source) in &self.variables {
            let value = match source {
                Source::Text(text) => text.render(lookup)?.into(),
                Source::Caller(None) => {
                    env.remove(name);
                    continue;
                }
                Source::Caller(Some(value)) => (*value).clone(),
                Source::Dotenv(value) => value.into(),
            };
            env.insert(name.clone(), value);
        }
        for (name, value) in &self.secrets {
            match value {
                Some(value) => env.insert(name.into(), (*value).clone()),
                None => env.remove(OsStr::new(name)),
            };
        }
        Ok(env.into_iter().collect())
    }
}

fn inherit<'a>(name: &'a str, caller: &'a Caller, variables: &mut BTreeMap<OsString, Source<'a>>) {
    if has_wildcard(name) {
        let glob = Glob::new(name);
        let matching = caller.iter().filter(|(name, _)| name.to_str().is_some_and(|name| glob.matches(name)));
        for (name, value) in matching {
            variables.insert(name.clone(), Source::Caller(Some(value)));
        }
        return;
    }
    let name = OsString::from(name);
    match caller.get(&name) {
        Some(value) => {
            variables.insert(name, Source::Caller(Some(value)));
        }
        // A default of the pipeline holds where the caller has nothing.
        None => {
            variables.entry(name).or_insert(Source::Caller(None));
        }
    }
}

fn read_dotenv(path: &Path) -> io::Result<Vec<(String, String)>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(dotenv_line).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(crate::cache::walk::with_path(error, path)),
    }
}

/// `KEY=value`, `export KEY="a\nb"`, `KEY='literal'`, `KEY=value # comment`.
fn dotenv_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    if line.starts_with('#') {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) {
        return None;
    }
    let value = if let Some(rest) = value.strip_prefix('\'') {
        rest.split('\'').next().unwrap_or_default().to_owned()
    } else if let Some(rest) = value.strip_prefix('"') {
        unescape(rest)
    } else {
        value.split(" #").next().unwrap_or_default().trim_end().to_owned()
    };
    Some((name.to_owned(), value))
}

/// The inside of double quotes, up to the closing one.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_lines_are_read_as_others_read_them() {
        let cases = [
            ("A=b", Some(("A", "b"))),
            ("export A = b ", Some(("A", "b"))),
            ("A='b # c' # d", Some(("A", "b # c"))),
            ("A=\"b\\n\\\"c\\\"\"", Some(("A", "b\n\"c\""))),
            ("A=b # c", Some(("A", "b"))),
            ("A=b#c", Some(("A", "b#c"))),
            ("A=", Some(("A", ""))),
            ("# A=b", None),
            ("nothing", None),
            ("A B=c", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(dotenv_line(line), expected, "{line}");
        }
    }
}

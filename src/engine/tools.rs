//! The versions of the tools that a target names: checked, and part of its key.
//!
//! Asking a tool costs a process, so the answer is kept with the program's stat, but only where the program itself decides
//! what it prints: a real executable under its own name. Shims (pyenv, asdf, rustup, volta) print what a file
//! elsewhere says; they are asked in every run, once for all directories that the same files speak for.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use semver::Version;

use crate::cache::stat::Stat;
use crate::pipeline::model::Tool;

/// What tools said.
#[derive(Default)]
pub struct Tools {
    kept: Mutex<BTreeMap<String, (Stat, String)>>,
    asked: Mutex<HashMap<Question, String>>,
    changed: Mutex<bool>,
}

/// All that a shim's answer may depend on.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    program: PathBuf,
    /// Another one may take its place while a run goes on.
    stat: Option<Stat>,
    /// The nearest directory that holds a file of a version manager.
    steered_from: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

/// A tool that can't be used.
#[derive(Debug)]
pub struct ToolError {
    pub message: String,
    pub help: String,
}

impl Tools {
    pub fn new(kept: BTreeMap<String, (Stat, String)>) -> Self {
        Self {
            kept: Mutex::new(kept),
            ..Self::default()
        }
    }

    /// What was learned, if anything was.
    pub fn changed(&self) -> Option<BTreeMap<String, (Stat, String)>> {
        let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.then(|| self.all())
    }

    pub fn all(&self) -> BTreeMap<String, (Stat, String)> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The version that a tool prints.
    ///
    /// # Errors
    /// It isn't there, doesn't run, prints no version, or not one that fits.
    pub fn version(
        &self,
        tool: &Tool,
        dir: &Path,
        env: &[(OsString, OsString)],
    ) -> Result<String, ToolError> {
        let program = find(&tool.name, dir, env).ok_or_else(|| ToolError {
            message: format!("{} isn't installed", tool.name),
            help: format!("install {} so that it is in PATH", wanted(tool)),
        })?;
        let printed = self.printed(&tool.name, &program, dir, env)?;
        let version = first_version(&printed).ok_or_else(|| ToolError {
            message: format!("`{} --version` prints no version", tool.name),
            help: format!(
                "it printed {:?}; leave it out of `tools`",
                printed.lines().next().unwrap_or_default()
            ),
        })?;
        if tool.requirement != "*" && !tool.version.matches(&version.version) {
            return Err(ToolError {
                message: format!(
                    "{} is {}, and {} is wanted",
                    tool.name, version.number, tool.requirement
                ),
                help: format!(
                    "{} comes first in PATH: put {} before it",
                    program.display(),
                    wanted(tool)
                ),
            });
        }
        Ok(version.whole)
    }

    fn printed(
        &self,
        name: &str,
        program: &Path,
        dir: &Path,
        env: &[(OsString, OsString)],
    ) -> Result<String, ToolError> {
        let ask = || {
            ask(program, dir, env).map_err(|why| ToolError {
                message: format!("`{name} --version` {why}"),
                help: format!("it is {}", program.display()),
            })
        };
        let Some(stat) = own_binary(name, program) else {
            return self.asked_once(program, dir, env, ask);
        };
        let path = program.to_string_lossy().into_owned();
        let known = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, printed)) = known().get(&path).filter(|(seen, _)| *seen == stat) {
            return Ok(printed.clone());
        }
        let printed = ask()?;
        known().insert(path, (stat, printed.clone()));
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(printed)
    }

    /// What a shim answers, in this run; whoever asks the same meanwhile waits for the answer.
    fn asked_once(
        &self,
        program: &Path,
        dir: &Path,
        env: &[(OsString, OsString)],
        ask: impl FnOnce() -> Result<String, ToolError>,
    ) -> Result<String, ToolError> {
        let question = Question {
            program: program.to_path_buf(),
            stat: fs::metadata(program).ok().map(|found| Stat::from(&found)),
            steered_from: steered_from(dir),
            env: env.to_vec(),
        };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(printed) = asked.get(&question) {
            return Ok(printed.clone());
        }
        let printed = ask()?;
        asked.insert(question, printed.clone());
        Ok(printed)
    }
}

/// The nearest directory, this one or above, with a file that version managers go by.
fn steered_from(dir: &Path) -> Option<PathBuf> {
    let holds = |dir: &&Path| {
        let steers = |entry: fs::DirEntry| steers(&entry.file_name().to_string_lossy());
        // What can't be listed may hold one.
        fs::read_dir(dir).map_or(true, |entries| entries.flatten().any(steers))
    };
    dir.ancestors().find(holds).map(Path::to_path_buf)
}

/// `.python-version`, `.tool-versions`, `rust-toolchain.toml`, `mise.toml`, `package.json` (volta) and their like.
fn steers(name: &str) -> bool {
    name.ends_with("-version")
        || name.ends_with("-versions")
        || name.starts_with("rust-toolchain")
        || name.contains("mise")
        || [
            ".nvmrc",
            ".bazelversion",
            ".bazeliskrc",
            ".prototools",
            ".sdkmanrc",
            ".config",
            "package.json",
        ]
        .contains(&name)
}

fn ask(program: &Path, dir: &Path, env: &[(OsString, OsString)]) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::null());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let output = command
        .output()
        .map_err(|error| format!("can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("ends with {}", output.status));
    }
    // Some print it to standard error.
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A program as a shell would find it.
pub fn find(name: &str, dir: &Path, env: &[(OsString, OsString)]) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(dir.join(name)).filter(|path| is_program(path));
    }
    let path = env.iter().find(|(name, _)| name == OsStr::new("PATH"))?;
    std::env::split_paths(&path.1)
        .map(|directory| dir.join(directory).join(name))
        .find(|path| is_program(path))
}

/// `node >=20`, or `node`.
fn wanted(tool: &Tool) -> String {
    match tool.requirement.as_str() {
        "*" => tool.name.clone(),
        requirement => format!("{} {requirement}", tool.name),
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The stat of a program that answers for itself; none for scripts, shims and programs with several names.
fn own_binary(name: &str, program: &Path) -> Option<Stat> {
    let real = fs::canonicalize(program).ok()?;
    let called = Path::new(name).file_name()?.to_str()?;
    // `python3` is `python3.11`; `bazel` is no `bazelisk`, which goes by a file.
    let more = real.file_name()?.to_str()?.strip_prefix(called)?;
    let own_name = !more.contains(|c: char| c.is_ascii_alphabetic());
    let metadata = fs::metadata(&real).ok()?;
    let mut magic = [0; 4];
    File::open(&real).ok()?.read_exact(&mut magic).ok()?;
    let executable = magic == *b"\x7fELF" || magic == [0xcf, 0xfa, 0xed, 0xfe];
    (own_name && executable && metadata.nlink() == 1).then(|| Stat::from(&metadata))
}

/// What a tool says that it is.
struct Said {
    /// `3.11.7`.
    number: String,
    /// Filled up to three numbers.
    version: Version,
    /// With what tells it from others of that number: `1.95.0-nightly (59807616e 2026-04-14)`, `3.13.0rc1`.
    whole: String,
}

/// The first thing in a text that looks like a version.
fn first_version(text: &str) -> Option<Said> {
    let mut single = None;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || "(),;\"'".contains(c));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        match version_in(word, after) {
            Some((said, true)) => return Some(said),
            Some((said, false)) => drop(single.get_or_insert(said)),
            None => {}
        }
        let mut after = after.chars();
        after.next();
        rest = after.as_str();
    }
    single
}

/// The version in a word, by what comes after it, and whether it is one beyond doubt.
fn version_in(word: &str, after: &str) -> Option<(Said, bool)> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
    let end = word[digits..]
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(word.len(), |at| digits + at);
    let number = word[digits..end].trim_end_matches('.');
    let mut parts = number.split('.').map(|part| part.parse::<u64>());
    let (Some(Ok(major)), minor, patch) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let or_zero = |part: Option<Result<u64, _>>| part.and_then(Result::ok).unwrap_or(0);
    let build = after
        .strip_prefix(" (")
        .and_then(|after| after.split_once(')'));
    let said = Said {
        number: number.to_owned(),
        version: Version::new(major, or_zero(minor), or_zero(patch)),
        whole: match build {
            Some((build, _)) => format!("{word} ({build})"),
            None => word.to_owned(),
        },
    };
    Some((
        said,
        number.contains('.') && word[..digits].chars().all(is_name),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::model::{FileId, Span};

    /// A script that says which file steers it, and notes that it was asked.
    const SHIM: &str = r#"#!/bin/sh
echo asked >> "$NOTES"
dir=$PWD
while [ "$dir" ] && ! [ -e "$dir/.tool-versions" ]; do dir=${dir%/*}; done
cat "$dir/.tool-versions" 2>/dev/null || echo 1.0
"#;

    #[test]
    fn a_shim_is_asked_once_where_the_same_file_steers_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = temp.path();
        for dir in ["bin", "a/deep", "b", "c"] {
            fs::create_dir_all(root.join(dir)).expect(dir);
        }
        let shim = root.join("bin/shim");
        fs::write(&shim, SHIM).expect("the shim");
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("its mode");
        fs::write(root.join("c/.tool-versions"), "2.0\n").expect("a version file");
        let env = |more: &str| {
            let path = format!("{}:/usr/bin:/bin", root.join("bin").display());
            let pair = |name: &str, value: &str| (name.into(), value.into());
            let notes = root.join("notes").display().to_string();
            vec![
                pair("PATH", &path),
                pair("NOTES", &notes),
                pair("MORE", more),
            ]
        };
        let tool = Tool {
            name: "shim".into(),
            requirement: "*".into(),
            version: semver::VersionReq::STAR,
            span: Span {
                file: FileId(0),
                range: 0..0,
            },
        };
        let tools = Tools::default();
        let version = |dir: &str, env: &[_]| tools.version(&tool, &root.join(dir), env).expect(dir);
        let asked =
            || fs::read_to_string(root.join("notes")).map_or(0, |notes| notes.lines().count());

        for dir in ["a", "a/deep", "b"] {
            assert_eq!(version(dir, &env("")), "1.0");
        }
        assert_eq!(asked(), 1);
        assert_eq!(version("c", &env("")), "2.0");
        assert_eq!(asked(), 2);
        assert_eq!(version("a", &env("other")), "1.0");
        assert_eq!(asked(), 3, "another environment may mean another answer");
    }

    #[test]
    fn a_program_answers_for_itself_under_its_own_name_alone() {
        let temp = tempfile::tempdir().expect("a directory");
        let called = |name: &str, real: &str| {
            let (program, link) = (temp.path().join(real), temp.path().join(name));
            fs::write(&program, b"\x7fELF").expect(real);
            if name != real {
                std::os::unix::fs::symlink(&program, &link).expect(name);
            }
            let is_own = own_binary(name, &link).is_some();
            fs::remove_file(&program).expect(real);
            is_own
        };
        for (name, real) in [
            ("ruff", "ruff"),
            ("python3", "python3.11"),
            ("clang", "clang-14"),
        ] {
            assert!(called(name, real), "{name} is {real}");
        }
        for (name, real) in [
            ("bazel", "bazelisk"),
            ("cargo", "rustup"),
            ("node", "node-shim"),
        ] {
            assert!(!called(name, real), "{name} is {real}");
        }
    }

    #[test]
    fn versions_are_found_in_what_tools_print() {
        let cases = [
            ("Python 3.11.7", "3.11.7"),
            (
                "black, 24.8.0 (compiled: yes)\nPython (CPython) 3.11.7",
                "24.8.0",
            ),
            ("git version 2.47.3", "2.47.3"),
            ("go version go1.22.1 linux/amd64", "1.22.1"),
            ("v20.20.2", "20.20.2"),
            ("jq-1.7", "1.7"),
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
            ("rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0"),
            ("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
            ("less 590", "590"),
        ];
        for (text, expected) in cases {
            assert_eq!(first_version(text).expect(text).number, expected);
        }
        assert!(first_version("no version here").is_none());
    }

    #[test]
    fn what_tells_two_versions_of_a_number_apart_is_told() {
        let cases = [
            (
                "rustc 1.95.0-nightly (59807616e 2026-04-14)",
                "1.95.0-nightly (59807616e 2026-04-14)",
            ),
            (
                "rustc 1.95.0 (59807616e 2026-04-14)",
                "1.95.0 (59807616e 2026-04-14)",
            ),
            ("Python 3.13.0rc1", "3.13.0rc1"),
            ("go version go1.22rc1 linux/amd64", "go1.22rc1"),
            ("v1.2.3-beta.1", "v1.2.3-beta.1"),
            ("tool 2.0.1+build5, made today", "2.0.1+build5"),
            ("pip 23.0 from /usr/lib/python3 (python 3.11)", "23.0"),
            (
                "aws-cli/2.15.0 Python/3.11.6 Linux/5.10 exe/x86_64",
                "aws-cli/2.15.0",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(first_version(text).expect(text).whole, expected);
        }
    }
}

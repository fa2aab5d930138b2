//! What could be written next on a command line: for the shells' scripts. Says nothing of what is wrong with the line
//! or the pipeline file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use crate::pipeline::model::{Project, Workspace};
use crate::pipeline::{self, LoadOptions};

use super::args::Cli;

/// Instead of candidates: the shell knows better.
const FILES: &str = ":files";

/// Prints a candidate a line, with a tab and what it is.
///
/// # Errors
/// `out` can't be written.
pub fn run(words: &[String], directory: &Path, out: &mut dyn Write) -> io::Result<u8> {
    let cli = Cli::command();
    let line = Line::read(&cli, words);
    for (candidate, about) in line.candidates(directory) {
        if about.is_empty() {
            writeln!(out, "{candidate}")?;
        } else {
            writeln!(out, "{candidate}\t{about}")?;
        }
    }
    Ok(0)
}

/// A command line up to the cursor.
struct Line<'a> {
    cli: &'a Command,
    /// The word that is being written.
    current: &'a str,
    command: Option<&'a Command>,
    /// The option whose value it is.
    option: Option<&'a Arg>,
    /// Complete words that aren't options, the command's name left out.
    named: usize,
    directory: Option<&'a str>,
    file: Option<&'a str>,
    /// After `--` comes what forge knows nothing of.
    past_end: bool,
}

impl<'a> Line<'a> {
    fn read(cli: &'a Command, words: &'a [String]) -> Self {
        let (current, before) = words
            .split_last()
            .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let mut line = Line {
            cli,
            current,
            command: None,
            option: None,
            named: 0,
            directory: None,
            file: None,
            past_end: false,
        };
        before.iter().for_each(|word| line.push(word));
        line
    }

    fn push(&mut self, word: &'a str) {
        if let Some(option) = self.option.take() {
            self.set(option, word);
        } else if word == "--" {
            self.past_end = true;
        } else if word.starts_with('-') {
            self.push_option(word);
        } else if self.command.is_none() && self.named == 0 {
            self.command = self.commands().find(|command| command.get_name() == word);
            self.named = usize::from(self.command.is_none());
        } else {
            self.named += 1;
        }
    }

    fn push_option(&mut self, word: &'a str) {
        if let Some((name, value)) = word.split_once('=') {
            if let Some(option) = self.find(name) {
                self.set(option, value);
            }
            return;
        }
        if let Some(option) = self.find(word) {
            self.option = Some(option).filter(|option| takes_word(option));
        } else if let Some((at, _)) = word.char_indices().nth(2) {
            // -C/somewhere
            let (short, value) = word.split_at(at);
            if let Some(option) = self.find(short) {
                self.set(option, value);
            }
        }
    }

    fn set(&mut self, option: &Arg, value: &'a str) {
        match option.get_id().as_str() {
            "directory" => self.directory = Some(value),
            "file" => self.file = Some(value),
            _ => {}
        }
    }

    fn commands(&self) -> impl Iterator<Item = &'a Command> + use<'a> {
        self.cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
    }

    fn options(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        let own = self.command.into_iter().flat_map(Command::get_arguments);
        let all = own.chain(self.cli.get_arguments());
        all.filter(|option| !option.is_positional() && !option.is_hide_set())
    }

    /// `--jobs` or `-j`.
    fn find(&self, name: &str) -> Option<&'a Arg> {
        self.options().find(|option| {
            let long = option
                .get_long()
                .is_some_and(|long| name.strip_prefix("--") == Some(long));
            let short = option.get_short().is_some_and(|short| {
                name.strip_prefix('-')
                    .is_some_and(|name| name.chars().eq([short]))
            });
            long || short
        })
    }

    fn candidates(&self, directory: &Path) -> Vec<(String, String)> {
        if self.past_end {
            return files();
        }
        if let Some(option) = self.option {
            return self.values(option, "", self.current);
        }
        if let (true, Some((name, value))) =
            (self.current.starts_with("--"), self.current.split_once('='))
        {
            let option = self.find(name);
            return option.map_or_else(Vec::new, |option| {
                self.values(option, &format!("{name}="), value)
            });
        }
        let all = if self.current.starts_with('-') {
            self.option_names()
        } else {
            self.words(directory)
        };
        all.into_iter()
            .filter(|(candidate, _)| candidate.starts_with(self.current))
            .collect()
    }

    fn values(&self, option: &Arg, prefix: &str, current: &str) -> Vec<(String, String)> {
        let possible = possible_values(option);
        if possible.is_empty() {
            return files();
        }
        let fitting = possible
            .into_iter()
            .filter(|(value, _)| value.starts_with(current));
        fitting
            .map(|(value, about)| (format!("{prefix}{value}"), about))
            .collect()
    }

    fn option_names(&self) -> Vec<(String, String)> {
        let names = self.options().flat_map(|option| {
            let long = option.get_long().map(|long| format!("--{long}"));
            let short = option.get_short().map(|short| format!("-{short}"));
            long.or(short).map(|name| (name, about(option.get_help())))
        });
        names
            .chain([("--help".into(), "Print help".into())])
            .collect()
    }

    fn words(&self, directory: &Path) -> Vec<(String, String)> {
        let Some(command) = self.command else {
            let mut words = self.targets(directory);
            if self.named == 0 {
                let commands = self.commands();
                words
                    .extend(commands.map(|command| {
                        (command.get_name().to_owned(), about(command.get_about()))
                    }));
            }
            return words;
        };
        let Some(positional) = command.get_positionals().next() else {
            return Vec::new();
        };
        let names = positional.get_value_names().unwrap_or_default();
        let is = |what: &str| names.iter().any(|name| name == what);
        match self.named {
            _ if is("TARGET") => self.targets(directory),
            0 if is("ENV") => self.environments(directory),
            0 => possible_values(positional),
            _ => Vec::new(),
        }
    }

    fn targets(&self, directory: &Path) -> Vec<(String, String)> {
        let Some((ws, member)) = self.load(directory) else {
            return Vec::new();
        };
        let mut projects = ws.projects.iter();
        let member = member.and_then(|dir| projects.find(|project| project.dir == dir));
        names(&ws, member).into_iter().collect()
    }

    /// The workspace, and the member in whose directory the line is written.
    fn load(&self, directory: &Path) -> Option<(Workspace, Option<String>)> {
        let directory = self
            .directory
            .map_or_else(|| directory.to_path_buf(), |inner| directory.join(inner));
        let file = self.file.map(|file| directory.join(file));
        let found = pipeline::find(&directory, file.as_deref()).ok()?;
        let loaded = pipeline::load(&found.root_file, &LoadOptions::default()).ok()?;
        Some((loaded.workspace, found.member))
    }

    fn environments(&self, directory: &Path) -> Vec<(String, String)> {
        let loaded = self.load(directory);
        let all = loaded
            .into_iter()
            .flat_map(|(workspace, _)| workspace.environments);
        all.map(|environment| (environment.name, String::new()))
            .collect()
    }
}

fn files() -> Vec<(String, String)> {
    vec![(FILES.to_owned(), String::new())]
}

/// Whether the next word is its value.
fn takes_word(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

fn possible_values(arg: &Arg) -> Vec<(String, String)> {
    if !arg.get_action().takes_values() {
        return Vec::new();
    }
    let values = arg.get_possible_values().into_iter();
    values
        .map(|value| (value.get_name().to_owned(), about(value.get_help())))
        .collect()
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// What can be typed for a target in this directory; none outside a workspace, or where its files have errors.
/// By the rules of selection: a bare name means every project's at the root, and the member's own in its directory.
fn names(ws: &Workspace, member: Option<&Project>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for target in &ws.targets {
        let about = target.description.clone().unwrap_or_default();
        let about = about.replace(['\t', '\n'], " ");
        let in_root = target.project.0 == 0;
        if member.is_none_or(|member| member.id == target.project) {
            names
                .entry(target.name.clone())
                .or_insert_with(|| about.clone());
        }
        let whole = match (in_root, member) {
            (true, Some(_)) => format!(":{}", target.name),
            _ => target.address.to_string(),
        };
        names.entry(whole).or_insert(about);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(dir: &Path, line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut out = Vec::new();
        assert_eq!(run(&words, dir, &mut out).expect("written"), 0);
        let text = String::from_utf8(out).expect("text");
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        text.lines().map(first).collect()
    }

    fn workspace() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("billing")).expect("made");
        let root = "[workspace]\nmembers = [\"billing\"]\n[environment.prod]\nprovider = \"docker\"\nservice = \"app\"\n[environment.dev]\nprovider = \"docker\"\nservice = \"app\"\n[target.lint]\nrun = \"true\"\n[target.test]\nrun = \"true\"\n";
        std::fs::write(dir.path().join("Pipeline.toml"), root).expect("written");
        let member = "[project]\nname = \"billing\"\n[target.test]\nrun = \"true\"\n";
        std::fs::write(dir.path().join("billing/Pipeline.toml"), member).expect("written");
        dir
    }

    #[test]
    fn targets_and_commands() {
        let dir = workspace();
        let at = |line: &str| complete(dir.path(), line).join(" ");
        assert_eq!(at("li"), "lint list");
        assert_eq!(at("lint li"), "lint");
        assert_eq!(at("-k -j 2 why "), "billing:test lint test");
        assert_eq!(at("billing:"), "billing:test");
        assert_eq!(at("-C billing run "), ":lint :test billing:test test");
        assert_eq!(at("-Cbilling run :l"), ":lint");
        assert_eq!(at("cache ver"), "verify");
        assert_eq!(at("cache verify "), "");
        assert_eq!(at("completions "), "bash zsh fish");
        assert_eq!(at("rollback "), "prod dev");
        assert_eq!(at("status p"), "prod");
        assert_eq!(at("test -- a"), ":files");
    }

    #[test]
    fn options_and_their_values() {
        let dir = workspace();
        let at = |line: &str| complete(dir.path(), line).join(" ");
        assert_eq!(at("--keep"), "--keep-going");
        assert_eq!(at("lint --output "), "grouped stream quiet");
        assert_eq!(at("graph --format=d"), "--format=dot");
        assert_eq!(at("-C "), ":files");
        assert!(!at("list --f").contains("--format"));
        assert_eq!(at("--approve li"), "lint list", "its value needs an =");
    }

    #[test]
    fn no_workspace_no_targets() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(complete(dir.path(), "li"), ["list"]);
        std::fs::write(dir.path().join("Pipeline.toml"), "[target").expect("written");
        assert!(complete(dir.path(), "why ").is_empty());
    }
}

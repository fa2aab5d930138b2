//! The command line as it is written. What it means is decided elsewhere.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::pipeline::COMMANDS;
use crate::report::{ColorChoice, Output};

/// A declarative build tool: unchanged work is skipped, the rest runs in parallel.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "forge",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    override_usage = "forge [OPTIONS] [TARGET]... [-- ARGS...]\n       forge [OPTIONS] COMMAND",
    allow_external_subcommands = true,
    subcommand_help_heading = "Commands (`forge run NAME` for a target with such a name)",
    after_help = "`forge list` shows the targets of this workspace, `forge init` writes a first Pipeline.toml."
)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "General options")]
pub struct Options {
    /// Work in this directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Read this pipeline file
    #[arg(short = 'f', long, value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,
    /// Run so many targets at once [default: cores]
    #[arg(short = 'j', long, value_name = "N", global = true, value_parser = from_one)]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Go on with what doesn't depend on a failure
    #[arg(short = 'k', long, global = true)]
    pub keep_going: bool,
    /// Say what would happen; change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// Run everything selected, and store it
    #[arg(long, global = true)]
    pub force: bool,
    /// Look nothing up and store nothing
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Only projects with a file changed since REV, and those that depend on them
    #[arg(long, value_name = "REV", global = true, conflicts_with = "affected")]
    pub since: Option<String>,
    /// As --since the merge base with the default branch
    #[arg(long, global = true)]
    pub affected: bool,
    /// Set ${var.NAME}
    #[arg(long = "var", value_name = "NAME=VALUE", global = true, value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// Build images, but don't push them
    #[arg(long, global = true)]
    pub no_push: bool,
    /// Answer questions with yes
    #[arg(long, global = true)]
    pub yes: bool,
    /// Approve a deployment, or just the plan with this id
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true, default_missing_value = "", global = true)]
    pub approve: Option<String>,
    /// Deploy in a freeze, for this reason
    #[arg(long, value_name = "REASON", global = true)]
    pub hotfix: Option<String>,
    /// Deploy though another deployment is going on
    #[arg(long, global = true)]
    pub takeover: bool,
    /// Deploy what runs already once more, for new tasks; nothing else runs for that
    #[arg(long, global = true)]
    pub restart: bool,
    /// How to show the output of targets
    #[arg(long, value_enum, value_name = "HOW", global = true)]
    pub output: Option<Output>,
    /// Events, or a command's answer, as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Write a Chrome trace
    #[arg(long, value_name = "FILE", global = true)]
    pub trace: Option<PathBuf>,
    /// When to use colour
    #[arg(long, value_enum, value_name = "WHEN", global = true)]
    pub color: Option<ColorChoice>,
    /// Only failures and the closing line
    #[arg(short = 'q', long, global = true)]
    pub quiet: bool,
    /// Show logs of everything; twice: commands too
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Print help
    #[arg(short = 'h', long, action = clap::ArgAction::HelpShort, global = true)]
    pub help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    pub version: Option<bool>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run targets (the same as naming them, also for those named like a command)
    Run(Words),
    /// List the targets, by project
    List(Selection),
    /// Read everything and report every error; change nothing
    Check,
    /// Say what changed since a target last ran
    Why(Selection),
    /// Run targets and tell what they read and write without declaring it
    Audit(Audit),
    /// Show what needs what
    Graph(GraphArgs),
    /// Run targets, then again whenever a file changes
    Watch(Words),
    /// Write a Pipeline.toml from what is there
    Init(super::init::InitArgs),
    /// Run what failed in the last run, and what that kept from running
    Retry,
    /// End the run that goes on in this workspace, or the deployment in an environment
    Cancel(Cancel),
    /// Remove what targets made
    Clean(Selection),
    /// Look after the store
    Cache(CacheArgs),
    /// Go back to what ran before
    Rollback(super::rollback::Args),
    /// What runs where
    Status(super::status::Args),
    /// What the tasks of an environment print
    Logs(super::logs::Args),
    /// List the runs that did something, or the deployments of an environment
    History(super::history::Args),
    /// Figures of the runs, or of the deployments to an environment
    Stats(super::stats::Args),
    /// Write the history as a web page
    Dashboard(super::dashboard::Args),
    /// Print a CI service's workflow file that calls forge
    Ci(super::ci::Args),
    /// Send a test message through a notifier
    Notify(super::notify::Args),
    /// Print the JSON schema of the pipeline file
    Schema,
    /// Print a script that completes commands, options and targets
    Completions(Completions),
    /// Is Docker reachable, are the tools there, is the cache healthy
    Doctor(super::doctor::Args),
    /// What could be written next, for the scripts of `completions`
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
    #[command(external_subcommand)]
    Targets(Vec<OsString>),
}

impl Command {
    /// Whether it is about a selection of targets.
    pub fn selects(&self) -> bool {
        use Command::{Audit, Clean, Graph, List, Retry, Run, Watch, Why};
        matches!(
            self,
            Run(_) | List(_) | Why(_) | Audit(_) | Graph(_) | Watch(_) | Retry | Clean(_)
        )
    }
}

/// Targets, and words for them.
#[derive(Args, Clone, Debug, Default)]
pub struct Words {
    /// `test`, `billing:test`, `'svc-*:test'`; none: the defaults
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Passed to the targets named
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// Targets alone.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// `test`, `billing:test`, `'svc-*:test'`
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
}

/// Targets to watch.
#[derive(Args, Clone, Debug)]
pub struct Audit {
    #[command(flatten)]
    pub words: Words,
    /// Write the edit that declares it into the pipeline file
    #[arg(long)]
    pub fix: bool,
}

#[derive(Args, Clone, Debug)]
pub struct GraphArgs {
    /// Where to begin; none: everything
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// How to show it
    #[arg(long, value_enum, default_value_t = super::graph::Format::Text)]
    pub format: super::graph::Format,
}

#[derive(Args, Clone, Debug)]
pub struct Cancel {
    /// An environment: the deployment in it
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct CacheArgs {
    /// Say how much is in it, remove the least recently used until it is within `max-size`, read everything and remove what
    /// is damaged, or remove everything
    #[arg(
        value_enum,
        value_name = "stats|prune|verify|clear",
        hide_possible_values = true
    )]
    pub action: CacheAction,
}

/// What to do with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CacheAction {
    /// How much is in it
    Stats,
    /// Remove the least recently used until it is within `max-size`
    Prune,
    /// Read everything and remove what is damaged
    Verify,
    /// Remove everything
    Clear,
}

#[derive(Args, Clone, Debug)]
pub struct Completions {
    #[arg(value_enum, value_name = "bash|zsh|fish", hide_possible_values = true)]
    pub shell: Shell,
}

#[derive(Args, Clone, Debug)]
pub struct Complete {
    /// The line up to the cursor, the program's name left out
    #[arg(last = true, value_name = "WORD")]
    pub words: Vec<String>,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Reads the command line; words that aren't a command are targets.
///
/// # Errors
/// Clap's, which print themselves: help and version among them.
pub fn parse(line: Vec<OsString>) -> Result<Cli, clap::Error> {
    if let Some(targets) = plain(&line) {
        return Ok(Cli {
            options: Options::default(),
            command: Some(Command::Run(Words {
                targets,
                args: Vec::new(),
            })),
        });
    }
    let mut command = Cli::command();
    let cli = read(&mut command, &line)?;
    match cli.command {
        Some(Command::Targets(words)) => {
            // The words are the end of the line: `forge -k lint -j2` is `forge -k run lint -j2`.
            let mut at = line.len() - words.len();
            // Words for the defaults.
            if line[at - 1] == "--" {
                at -= 1;
            }
            let mut line = line;
            line.insert(at, "run".into());
            read(&mut command, &line)
        }
        None => Ok(Cli {
            command: Some(Command::Run(Words::default())),
            ..cli
        }),
        Some(_) => Ok(cli),
    }
}

fn read(command: &mut clap::Command, line: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(line);
    let matches = matches.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => help(line).unwrap_or(error),
        _ => error,
    })?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(command))
}

/// General options that change what a command does, by their ids; none where it runs targets, and heeds all of them.
fn heeded(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        "list" | "why" | "graph" => &["since", "affected", "json"],
        "clean" => &["dry_run", "since", "affected", "json"],
        "cache" => &["dry_run", "yes", "json"],
        "rollback" => &["dry_run", "yes", "json"],
        "check" | "doctor" | "status" | "logs" | "history" | "stats" => &["json"],
        "cancel" | "dashboard" | "notify" => &["dry_run"],
        "ci" => &["dry_run", "force"],
        "init" => &["force"],
        "schema" | "completions" => &[],
        _ => return None,
    })
}

/// The help that a line asks for. A command's own shows what it heeds: two dozen options that all take would bury it.
fn help(line: &[OsString]) -> Option<clap::Error> {
    let mut command = Cli::command();
    // Only then its commands have the options of all.
    command.build();
    let of_all: Vec<clap::Id> = command
        .get_arguments()
        .map(|arg| arg.get_id().clone())
        .collect();
    let mut command = command.mut_subcommands(|command| {
        let Some(heeded) = heeded(command.get_name()) else {
            return command;
        };
        let is_shown = |id: &clap::Id| {
            !of_all.contains(id) || id.as_str() == "help" || heeded.contains(&id.as_str())
        };
        command
            .after_help("`forge --help` lists the options that all commands take, such as -C DIR and -f FILE.")
            .mut_args(|arg| match is_shown(arg.get_id()) {
                true => arg,
                false => arg.hide(true),
            })
    });
    command.try_get_matches_from_mut(line).err()
}

/// A number of things, of which there has to be one.
pub fn from_one(text: &str) -> Result<std::num::NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "a whole number from 1 on".to_owned())
}

/// Words that are nothing but targets. To describe the whole command line takes as long as to look at a hundred targets,
/// and this is the line that is typed most.
fn plain(line: &[OsString]) -> Option<Vec<String>> {
    let words: Option<Vec<&str>> = line.get(1..)?.iter().map(|word| word.to_str()).collect();
    let words = words?;
    let is_command = |word: &&str| COMMANDS.contains(word) || word.starts_with('_');
    let is_plain = words
        .iter()
        .all(|word| !word.is_empty() && !word.starts_with('-'));
    let targets = words.iter().map(|word| (*word).to_owned());
    (is_plain && !words.first().is_some_and(is_command)).then(|| targets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        parse(line.split(' ').map(OsString::from).collect()).expect(line)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_commands_heed_are_options() {
        let mut command = Cli::command();
        command.build();
        for command in command.get_subcommands() {
            for id in heeded(command.get_name()).into_iter().flatten() {
                let is_there = command.get_arguments().any(|arg| arg.get_id() == id);
                assert!(is_there, "{}: {id}", command.get_name());
            }
        }
    }

    #[test]
    fn plain_lines_mean_what_they_mean_to_the_definition() {
        let asked = |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            // An option that changes nothing keeps the line from being plain.
            let mut long = line.clone();
            long.insert(1, "--color=auto".into());
            let mut defined = parse(long).expect("parses");
            defined.options.color = None;
            let plain = parse(line).expect("parses");
            assert_eq!(format!("{plain:?}"), format!("{defined:?}"));
        };
        for line in [
            &["forge"][..],
            &["forge", "lint"],
            &["forge", "a:lint", "list", "two words", "é"],
            &["forge", "list", "x"],
            &["forge", "_x"],
        ] {
            asked(line);
        }
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let line = ["forge", name].map(OsString::from);
            assert_eq!(plain(&line), None, "{name} is in no list of commands");
        }
    }

    #[test]
    fn words_are_targets_unless_they_are_a_command() {
        let targets = |line| match parsed(line).command {
            Some(Command::Run(words)) => (words.targets.join(" "), words.args.join(" ")),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(targets("forge"), (String::new(), String::new()));
        assert_eq!(targets("forge -k"), (String::new(), String::new()));
        assert_eq!(targets("forge lint"), ("lint".into(), String::new()));
        assert_eq!(
            targets("forge -j 2 lint test -k -- -x --json"),
            ("lint test".into(), "-x --json".into())
        );
        assert_eq!(
            targets("forge lint list"),
            ("lint list".into(), String::new())
        );
        assert_eq!(targets("forge run list"), ("list".into(), String::new()));
        assert!(parsed("forge lint -k").options.keep_going);
        assert_eq!(
            parsed("forge --approve deploy-prod")
                .options
                .approve
                .as_deref(),
            Some("")
        );
        assert_eq!(
            parsed("forge deploy-prod --approve=abc")
                .options
                .approve
                .as_deref(),
            Some("abc")
        );
        assert!(matches!(
            parsed("forge -C dir list --json").command,
            Some(Command::List(_))
        ));
    }
}

//! `forge ci github`: prints a workflow file that calls forge, or writes it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::ci::{MARK, Options, Step, github};

use super::context::{Context, Ended, say};
use super::since::default_branch;

/// What is said where nothing had to be written.
const UNCHANGED: &str = "unchanged:";

/// Arguments of `forge ci`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[arg(value_enum, value_name = "SERVICE")]
    pub service: Service,
    /// Write .github/workflows/NAME.yml instead of printing it [default: ci]
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "ci")]
    pub write: Option<String>,
    /// A shell line that installs forge on the runner
    #[arg(long, value_name = "LINE")]
    pub install: Option<String>,
}

/// Whose workflows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// GitHub Actions
    Github,
}

/// Prints or writes the workflow.
///
/// # Errors
/// Nothing to run, a file that isn't forge's in the way, or one that can't be written.
pub fn run(context: &Context, args: &Args, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load()?;
    let ws = &place.workspace;
    let Service::Github = args.service;
    let repository = repository(&ws.root);
    let dir = ws.root.strip_prefix(&repository).unwrap_or(Path::new(""));
    let branch = default_branch(&ws.root);
    let branch = branch
        .as_deref()
        .map(|name| name.strip_prefix("origin/").unwrap_or(name));
    let options = Options {
        default_branch: branch.unwrap_or("main").to_owned(),
        dir: dir.to_string_lossy().into_owned(),
        install: args.install.clone(),
    };
    let Some(workflow) = github(ws, &options) else {
        return Err(say(
            "there is nothing to run in CI: declare a target first, [target.test] with `run`",
        ));
    };
    for note in &workflow.notes {
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    match &args.write {
        None => write!(out, "{}", workflow.text).map_err(|error| say(&error.to_string()))?,
        Some(name) => {
            let path = path(&repository, name)?;
            let said = write_file(&path, &workflow.text, context)?;
            let mut text = format!("{said} {}\n", path.display());
            if said != UNCHANGED && !context.options.dry_run {
                let path = path.strip_prefix(&repository).unwrap_or(&path);
                text += &next(&workflow.settings, path);
            }
            write!(out, "{text}").map_err(|error| say(&error.to_string()))?;
        }
    }
    Ok(0)
}

/// What there is to do once the file is there: for the settings of the repository, and for git.
fn next(settings: &[Step], path: &Path) -> String {
    let mut text = String::new();
    if !settings.is_empty() {
        text += "next, what the repository's settings lack of this (`gh` asks for values):\n";
    }
    let width = settings.iter().map(|step| step.line.chars().count()).max();
    let width = width.unwrap_or(0);
    for Step { line, why } in settings {
        text += &match why.as_str() {
            "" => format!("  {line}\n"),
            why => format!("  {line:width$}  # {why}\n"),
        };
    }
    let then = if settings.is_empty() { "next" } else { "then" };
    let path = path.display();
    text + &format!(
        "{then}:\n  git add {path} && git commit -m 'CI runs forge' {path} && git push\n"
    )
}

/// The directory that git and GitHub take for the whole: where workflows are looked for.
fn repository(root: &Path) -> PathBuf {
    let mut above = root.ancestors();
    let found = above.find(|dir| dir.join(".git").exists());
    found.unwrap_or(root).to_path_buf()
}

fn path(repository: &Path, name: &str) -> Result<PathBuf, Ended> {
    let name = name.strip_suffix(".yml").unwrap_or(name);
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        return Err(say(&format!(
            "--write: `{name}` can't be a file's name: letters, digits, `_`, `.` and `-`"
        )));
    }
    Ok(repository
        .join(".github/workflows")
        .join(format!("{name}.yml")))
}

/// What was done, or would be: a word.
fn write_file(path: &Path, text: &str, context: &Context) -> Result<&'static str, Ended> {
    let there = match fs::read_to_string(path) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) if !context.options.force => return Err(failed(path, &error)),
        Err(_) => Some(String::new()),
    };
    let done = match there.as_deref() {
        None => "wrote",
        Some(there) if there == text => return Ok(UNCHANGED),
        Some(there) if is_ours(there) || context.options.force => "replaced",
        Some(_) => return Err(in_the_way(path)),
    };
    if context.options.dry_run {
        return Ok(if done == "wrote" {
            "would write"
        } else {
            "would replace"
        });
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    written.map_err(|error| failed(path, &error))?;
    Ok(done)
}

fn is_ours(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches(['#', ' ']).starts_with(MARK)
}

fn in_the_way(path: &Path) -> Ended {
    say(&format!(
        "{} is there, and forge didn't write it\n  help: --write=NAME writes another file, --force replaces this one",
        path.display()
    ))
}

fn failed(path: &Path, error: &io::Error) -> Ended {
    say(&format!(
        "{} can't be read or written: {error}",
        path.display()
    ))
}

//! `forge init`: writes a Pipeline.toml from what is there.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::init::{Found, propose};
use crate::pipeline::workspace_of;

const FILE: &str = "Pipeline.toml";

/// Arguments of `forge init`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct InitArgs {
    /// Print the file instead of writing it
    #[arg(long)]
    pub print: bool,
    /// Replace a Pipeline.toml that is already there: the global `--force`.
    #[arg(skip)]
    pub force: bool,
}

/// Proposes a pipeline for `dir`, and writes or prints it. Notes and what was done go to `err`.
/// Answers with the exit code: 0, or 2 when a file is in the way or something cannot be read or
/// written.
pub fn run(args: &InitArgs, dir: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match init(args, dir, out, err) {
        Ok(()) => 0,
        Err(message) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(err, "error: {message}");
            2
        }
    }
}

fn init(
    args: &InitArgs,
    dir: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), String> {
    let path = dir.join(FILE);
    if !args.print && !args.force && path.symlink_metadata().is_ok() {
        return Err(in_the_way(&path));
    }
    let mut found = Found::read(dir).map_err(|e| format!("can't read {}: {e}", dir.display()))?;
    found.is_member = workspace_of(dir).is_some();
    let proposal = propose(&found);
    if args.print {
        put(out, &proposal.text)?;
    } else {
        write(&path, &proposal.text, args.force)?;
    }
    for note in &proposal.notes {
        put(err, &format!("note: {note}\n"))?;
    }
    if !args.print {
        put(err, &format!("wrote {}\n", path.display()))?;
    }
    Ok(())
}

fn in_the_way(path: &Path) -> String {
    format!(
        "{} is already there\n  `forge init --print` shows what would be written, `forge init --force` replaces the file",
        path.display()
    )
}

fn put(to: &mut dyn Write, text: &str) -> Result<(), String> {
    to.write_all(text.as_bytes())
        .map_err(|e| format!("can't write the output: {e}"))
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => in_the_way(path),
            _ => format!("can't write {}: {e}", path.display()),
        })
}

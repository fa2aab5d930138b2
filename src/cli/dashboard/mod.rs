//! `forge dashboard`: the history as a web page, in one file that needs nothing else.

mod page;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::history::{self, stats::window};

/// In the cache directory, where git ignores it.
const NAME: &str = "dashboard.html";

/// Success, durations, what is slow or flaky, and what the cache saves.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to write it; `-`: standard output. Left out: in the cache directory
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Only the runs of the last N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
}

/// What a page is made for, and from.
pub struct Place<'a> {
    /// Of the pipeline.
    pub name: &'a str,
    pub cache_dir: &'a Path,
    /// A relative `--out` starts here.
    pub directory: &'a Path,
    pub dry_run: bool,
}

/// Writes the page, and says where; the exit code.
///
/// # Errors
/// The history can't be read, the page can't be written.
pub fn run(args: &Args, place: &Place, out: &mut dyn Write, now: Timestamp) -> io::Result<u8> {
    let runs = window(history::read(place.cache_dir)?, args.days, now);
    let html = page::html(place.name, &runs, args.days, now);
    let file = match &args.out {
        Some(path) if path.as_os_str() == "-" => return out.write_all(html.as_bytes()).map(|()| 0),
        Some(path) => place.directory.join(path),
        // A cache directory is made by what runs, and ignores itself in git then.
        None if !place.cache_dir.is_dir() => return writeln!(out, "no runs yet").map(|()| 0),
        None => place.cache_dir.join(NAME),
    };
    if place.dry_run {
        return writeln!(out, "would write {}", file.display()).map(|()| 0);
    }
    let failed = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("{} can't be written: {error}", file.display()),
        )
    };
    fs::write(&file, html).map_err(failed)?;
    writeln!(out, "wrote {}", file.display()).map(|()| 0)
}

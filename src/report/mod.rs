//! The screen: events in, text out. Knows nothing of how targets run.
//!
//! Where things go: people's lines and the output of targets to standard output, as make does; with
//! `--json` the events take standard output and people's text moves to standard error. The live region
//! (the bar and the running targets) is always drawn on standard error. Nothing written here can fail a
//! run: a reader that went away mutes its stream.

mod chain;
mod deploy;
mod github;
pub mod json;
mod lines;
mod live;
mod sink;
pub mod style;
mod summary;
mod terminal;
mod text;
mod trace;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use crate::engine::event::Listener;

pub use chain::Chain;
use sink::Sink;
use style::{Paint, Style};

/// `--output`: how the output of targets is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A failed target's output at the end; with `-v` every target's when it ends.
    #[default]
    Grouped,
    /// As it comes, each line with its target's name.
    Stream,
    /// Failures and the closing line.
    Quiet,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// Where a terminal reads.
    #[default]
    Auto,
    Always,
    Never,
}

/// What to show, and where it will be read.
#[derive(Clone, Debug)]
pub struct Options {
    pub output: Output,
    /// Events as JSON lines on standard output.
    pub json: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// The same as [`Output::Quiet`].
    pub quiet: bool,
    pub color: ColorChoice,
    /// Groups, annotations and the rest of GitHub's workflow commands.
    pub github: bool,
    /// Where GitHub wants the step summary.
    pub summary: Option<PathBuf>,
    /// `--trace FILE`.
    pub trace: Option<PathBuf>,
    /// Nobody watches: no live region, even on a terminal.
    pub ci: bool,
    /// Standard output is a terminal.
    pub out_terminal: bool,
    /// Standard output goes to another program, which may write to the same terminal (`forge | tee log`).
    pub out_pipe: bool,
    /// Standard error is a terminal.
    pub err_terminal: bool,
    /// Rows and columns of the terminal, asked for whenever something is drawn.
    pub size: fn() -> (u16, u16),
}

impl Options {
    /// Everything that surroundings decide, from the caller's environment (`NO_COLOR`, `CLICOLOR_FORCE`,
    /// `TERM`, `CI`, `GITHUB_ACTIONS`, `GITHUB_STEP_SUMMARY`) and the two streams; the rest is as without options.
    pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Options {
        let set = |name| env(name).filter(|value| !value.is_empty());
        let github = set("GITHUB_ACTIONS").as_deref() == Some("true");
        let dumb = set("TERM").as_deref() == Some("dumb");
        Options {
            output: Output::Grouped,
            json: false,
            verbose: 0,
            quiet: false,
            color: match (set("NO_COLOR"), set("CLICOLOR_FORCE")) {
                (Some(_), _) => ColorChoice::Never,
                (None, Some(force)) if force != "0" => ColorChoice::Always,
                _ => ColorChoice::Auto,
            },
            github,
            summary: set("GITHUB_STEP_SUMMARY")
                .filter(|_| github)
                .map(PathBuf::from),
            trace: None,
            ci: set("CI").is_some_and(|value| value != "false" && value != "0"),
            out_terminal: !dumb && std::io::stdout().is_terminal(),
            out_pipe: is_pipe(&std::io::stdout()),
            err_terminal: !dumb && std::io::stderr().is_terminal(),
            size: || console::Term::stderr().size(),
        }
    }

    fn is_quiet(&self) -> bool {
        self.quiet || self.output == Output::Quiet
    }

    /// Whether people's text is read on a terminal.
    fn text_terminal(&self) -> bool {
        if self.json {
            self.err_terminal
        } else {
            self.out_terminal
        }
    }

    /// Only where nothing else writes to the terminal in between; in a stream the output itself is the sign
    /// of life.
    fn has_live_region(&self) -> bool {
        let shared = self.out_pipe || (self.json && self.out_terminal);
        let wanted = !self.is_quiet() && self.output == Output::Grouped;
        self.err_terminal && wanted && !shared && !self.ci && !self.github
    }

    fn style(&self) -> Style {
        let terminal = self.text_terminal();
        Style {
            paint: Paint::new(match self.color {
                ColorChoice::Auto => terminal,
                ColorChoice::Always => true,
                ColorChoice::Never => false,
            }),
            size: terminal.then_some(self.size),
        }
    }
}

fn is_pipe(stream: &impl AsFd) -> bool {
    let file = stream.as_fd().try_clone_to_owned().map(File::from);
    let kind = file
        .and_then(|file| file.metadata())
        .map(|meta| meta.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// Where text goes.
pub struct Writers {
    pub out: Box<dyn Write + Send>,
    pub err: Box<dyn Write + Send>,
}

impl Writers {
    /// The process's own streams.
    pub fn standard() -> Writers {
        Writers {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }
}

/// The listeners that `options` ask for, on the process's own streams.
pub fn reporter(options: Options) -> Box<dyn Listener> {
    reporter_to(options, Writers::standard())
}

/// The same, on other streams.
pub fn reporter_to(options: Options, writers: Writers) -> Box<dyn Listener> {
    let (out, err) = (Sink::new(writers.out), Sink::new(writers.err));
    let people = if options.json {
        err.clone()
    } else {
        out.clone()
    };
    let mut chain = Chain::default();
    if options.json {
        chain.push(json::Json::new(out, options.verbose > 0));
    }
    chain.push(text::Text::new(&options, people, err.clone()));
    if let Some(path) = &options.summary {
        chain.push(summary::Summary::new(path.clone(), err.clone()));
    }
    if let Some(path) = &options.trace {
        chain.push(trace::Trace::new(path.clone(), err));
    }
    Box::new(chain)
}

#[cfg(test)]
mod tests;

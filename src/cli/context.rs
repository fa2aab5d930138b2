//! What most commands begin with: where they are, and what the pipeline files say.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, NarratableReportHandler};

use crate::cache::resolved::Resolved;
use crate::engine::environment::Caller;
use crate::engine::event::Spent;
use crate::engine::session::{self, Session};
use crate::graph;
use crate::pipeline::model::{ProjectId, TargetId, Workspace};
use crate::pipeline::{self, Files, LoadOptions, Loaded, Problem, Problems};
use crate::report::ColorChoice;
use crate::report::style::Paint;

use super::args::Options;

/// An exit code that isn't 0; what is to be said has been said.
pub struct Ended(pub u8);

/// A command line, and the directory that it means.
pub struct Context {
    pub options: Options,
    pub directory: PathBuf,
    pub caller: Caller,
}

/// A workspace, and where in it the command was given.
pub struct Place {
    pub workspace: Arc<Workspace>,
    /// The member whose directory it is.
    pub member: Option<ProjectId>,
    /// Only after [`Context::load_anew`].
    pub warnings: Vec<Problem>,
    /// Where it is to be kept what came of the files; none where it is.
    unkept: Option<Resolved>,
    /// On reading the pipeline files.
    pub read: Spent,
}

impl Place {
    /// Spares the next one to resolve the files.
    pub fn keep(&self) {
        if let Some(resolved) = &self.unkept {
            // Without it nothing is wrong.
            let _ = resolved.save(&self.workspace);
        }
    }
}

impl Context {
    /// # Errors
    /// The current directory is gone, or `-C` names none.
    pub fn new(options: Options) -> Result<Self, Ended> {
        let current = std::env::current_dir()
            .map_err(|error| say(&format!("there is no current directory: {error}")))?;
        let directory = match &options.directory {
            Some(directory) => current.join(directory),
            None => current,
        };
        let directory = directory
            .canonicalize()
            .map_err(|error| say(&format!("{}: {error}", directory.display())))?;
        Ok(Self {
            options,
            directory,
            caller: std::env::vars_os().collect(),
        })
    }

    /// Reads the pipeline files; says what is wrong with them.
    ///
    /// # Errors
    /// There is none, or it has errors.
    pub fn load(&self) -> Result<Place, Ended> {
        let loaded = self.load_with(|mut files, options| {
            let may_ask = !self.options.no_cache;
            let mut resolved = may_ask.then(|| Resolved::of(&files, options)).flatten();
            let known = resolved.as_mut().and_then(|known| known.load(&mut files));
            match known {
                Some(workspace) => {
                    let warnings = Vec::new();
                    let loaded = Loaded {
                        workspace,
                        warnings,
                    };
                    Ok((loaded, resolved.filter(Resolved::is_news)))
                }
                None => Ok((files.finish(options)?, resolved)),
            }
        });
        loaded.map_err(|problems| self.report(&problems.0))
    }

    /// Reads the pipeline files, with what is worth knowing about them.
    ///
    /// # Errors
    /// There is none, or it has errors: nobody has been told.
    pub fn load_anew(&self) -> Result<Place, Problems> {
        self.load_with(|files, options| Ok((files.finish(options)?, None)))
    }

    fn load_with(
        &self,
        finish: impl FnOnce(Files, &LoadOptions) -> Result<(Loaded, Option<Resolved>), Problems>,
    ) -> Result<Place, Problems> {
        let options = LoadOptions {
            vars: self.options.vars.clone(),
        };
        let load = || -> Result<_, Problems> {
            let found = pipeline::find(&self.directory, self.options.file.as_deref())?;
            let files = pipeline::read(&found.root_file)?;
            Ok((finish(files, &options)?, found.member))
        };
        let (loaded, read) = Spent::on("read the pipeline files", load);
        let ((loaded, unkept), member) = loaded?;
        let workspace = Arc::new(loaded.workspace);
        let member = member.and_then(|dir| {
            workspace
                .projects
                .iter()
                .find(|project| project.dir == dir)
                .map(|project| project.id)
        });
        Ok(Place {
            workspace,
            member,
            warnings: loaded.warnings,
            unkept,
            read,
        })
    }

    /// Shows problems on standard error; exit code 2.
    pub fn report(&self, problems: &[Problem]) -> Ended {
        self.show(problems);
        let errors = problems.len();
        if errors > 1 {
            let _ = writeln!(std::io::stderr(), "{errors} errors");
        }
        Ended(2)
    }

    /// Shows problems on standard error.
    pub fn show(&self, problems: &[Problem]) {
        let mut text = String::new();
        for problem in problems {
            // Writing to a string can't fail.
            let _ = match self.theme() {
                Some(theme) => GraphicalReportHandler::new_themed(theme)
                    .with_width(self.width())
                    .with_links(false)
                    .render_report(&mut text, problem),
                None => NarratableReportHandler::new().render_report(&mut text, problem),
            };
            text.push('\n');
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn theme(&self) -> Option<GraphicalTheme> {
        Some(if self.paints(std::io::stderr().is_terminal()) {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        })
    }

    fn width(&self) -> usize {
        let (_, columns) = console::Term::stderr().size();
        if std::io::stderr().is_terminal() {
            usize::from(columns).clamp(40, 120)
        } else {
            100
        }
    }

    /// Whether to use colour on a stream.
    pub fn paints(&self, terminal: bool) -> bool {
        match self.report_options().color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal,
        }
    }

    /// For commands that print a page of text.
    pub fn paint(&self) -> Paint {
        Paint::new(self.paints(std::io::stdout().is_terminal()))
    }

    /// What the reporters are told.
    pub fn report_options(&self) -> crate::report::Options {
        let env = |name: &str| {
            self.caller
                .get(std::ffi::OsStr::new(name))
                .map(|value| value.to_string_lossy().into_owned())
        };
        let mut report = crate::report::Options::detect(&env);
        report.output = self.options.output.unwrap_or_default();
        report.json = self.options.json;
        report.verbose = self.options.verbose;
        report.quiet = self.options.quiet;
        report.trace = self.options.trace.clone();
        report.color = self.options.color.unwrap_or(report.color);
        report
    }

    /// The targets that words name.
    ///
    /// # Errors
    /// A word names none.
    pub fn select(&self, place: &Place, words: &[String]) -> Result<Vec<TargetId>, Ended> {
        graph::select(&place.workspace, words, place.member)
            .map_err(|problem| self.report(&[problem.in_workspace(&place.workspace)]))
    }

    /// A session for a command that changes nothing.
    pub fn reading(&self, place: &Place) -> Session {
        let options = session::Options {
            dry_run: true,
            jobs: 1,
            ..session::Options::default()
        };
        Session::new(Arc::clone(&place.workspace), options, self.caller.clone())
    }
}

/// One line on standard error; exit code 2.
pub fn say(text: &str) -> Ended {
    let _ = writeln!(std::io::stderr(), "forge: {text}");
    Ended(2)
}

/// The cache directory of the workspace around a directory; that of the directory itself where there is none.
pub fn cache_dir(workspace: Option<&Workspace>, directory: &Path) -> PathBuf {
    workspace.map_or_else(|| directory.join(".forge"), session::cache_dir)
}

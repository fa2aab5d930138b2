//! The environment that a command names, and the way to what runs in it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::deploy::error::DeployError;
use crate::deploy::progress::Progress;
use crate::deploy::provider::Provider;
use crate::deploy::request::Caller;
use crate::deploy::spec::Spec;
use crate::engine::deploy::lent::Lent;
use crate::engine::look::Fault;
use crate::engine::session::Session;
use crate::pipeline::model::{Environment, Kind, ProjectId, Target};
use crate::pipeline::suggest;

use super::context::{Context, Ended, Place, say};

/// The exit code of who was interrupted.
const INTERRUPTED: i32 = 130;

/// Finds environments by their names, and opens them.
pub struct Environments<'a> {
    place: &'a Place,
    pub session: Session,
    interrupted: Arc<AtomicBool>,
}

/// One environment, and the way to its services.
pub struct Opened<'a> {
    environments: &'a Environments<'a>,
    pub environment: &'a Environment,
    pub spec: Spec,
    pub provider: Arc<dyn Provider>,
}

impl<'a> Environments<'a> {
    pub fn new(context: &Context, place: &'a Place) -> Self {
        Self {
            place,
            session: context.reading(place),
            interrupted: Arc::default(),
        }
    }

    /// From now on Ctrl-C and its like are asked for by [`Opened::lend`]; a second one ends the process.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn heed_signals(&self) -> Result<(), Ended> {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let flag = || Arc::clone(&self.interrupted);
            flag::register_conditional_shutdown(signal, INTERRUPTED, flag())
                .and_then(|_| flag::register(signal, flag()))
                .map_err(|error| say(&format!("signals can't be heard: {error}")))?;
        }
        Ok(())
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The number of the environment of that name: that of the project in whose directory the command was given, else the
    /// only one. `PROJECT:NAME` says which.
    ///
    /// # Errors
    /// There is none, or it could be several: to act in one that wasn't meant is worse than to ask.
    pub fn find(&self, name: &str) -> Result<usize, Ended> {
        let ws = &self.place.workspace;
        let all = &ws.environments;
        let (project, bare) = name.split_once(':').unwrap_or(("", name));
        let is_named = |number: &usize| {
            let owner = &ws.project(all[*number].project).name;
            all[*number].name == bare && (project.is_empty() || owner == project)
        };
        let named: Vec<usize> = (0..all.len()).filter(is_named).collect();
        let here = self.place.member.unwrap_or(ProjectId(0));
        let own = named.iter().find(|number| all[**number].project == here);
        match (own, named.as_slice()) {
            (Some(own), _) => Ok(*own),
            (None, [only]) => Ok(*only),
            (None, []) => {
                let names = all.iter().map(|environment| environment.name.as_str());
                let help = suggest::help(bare, "environments", names);
                let help = help.unwrap_or_else(|| format!("declare it: [environment.{bare}]"));
                Err(say(&format!(
                    "there is no environment `{name}`\n  help: {help}"
                )))
            }
            (None, several) => {
                let labels: Vec<String> = several.iter().map(|one| self.label(*one)).collect();
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                Err(say(&format!(
                    "{} projects have an environment `{name}`\n  help: say which: {}",
                    several.len(),
                    suggest::list(&labels)
                )))
            }
        }
    }

    /// Its name, with the project's where another one has the same.
    pub fn label(&self, number: usize) -> String {
        let ws = &self.place.workspace;
        let one = &ws.environments[number];
        let same = ws
            .environments
            .iter()
            .filter(|other| other.name == one.name);
        match same.count() {
            1 => one.name.clone(),
            _ => format!("{}:{}", ws.project(one.project).name, one.name),
        }
    }

    /// All of them, or those of the member in whose directory the command was given.
    pub fn here(&self) -> Vec<usize> {
        let all = self.place.workspace.environments.iter();
        let member = self.place.member;
        let here = all.enumerate();
        let here = here.filter(|(_, one)| member.is_none_or(|member| one.project == member));
        here.map(|(number, _)| number).collect()
    }

    /// # Errors
    /// A setting has no value, credentials are missing.
    pub fn open(&'a self, number: usize) -> Result<Opened<'a>, Fault> {
        let environment = &self.place.workspace.environments[number];
        Ok(Opened {
            environments: self,
            environment,
            spec: self.session.environment_spec(environment)?,
            provider: self.session.provider(number)?,
        })
    }

    /// The same for the environment of a name; what is wrong is said.
    ///
    /// # Errors
    /// As [`Environments::find`] and [`Environments::open`].
    pub fn named(&'a self, name: &str) -> Result<Opened<'a>, Ended> {
        let number = self.find(name)?;
        self.open(number).map_err(|fault| complain(name, &fault))
    }
}

impl<'a> Opened<'a> {
    /// Lends a provider what it needs, for as long as `work` takes.
    pub fn lend<T>(
        &self,
        sink: &mut dyn FnMut(Progress),
        work: impl FnOnce(&mut Caller<'_>) -> T,
    ) -> T {
        let lent = Lent {
            session: &self.environments.session,
            environment: self.environment,
            target: self.target(),
            cancelled: &|| self.environments.is_interrupted(),
            output: &|bytes| {
                let _ = io::stderr().write_all(bytes);
            },
        };
        lent.to(sink, work)
    }

    /// The same for what only looks; what it has to tell is a warning at most.
    ///
    /// # Errors
    /// Those of `work`, said.
    pub fn ask<T>(
        &self,
        work: impl FnOnce(&mut Caller<'_>) -> Result<T, DeployError>,
    ) -> Result<T, Fault> {
        let mut warn = |progress: Progress| {
            let _ = writeln!(io::stderr(), "! {progress}");
        };
        self.lend(&mut warn, work).map_err(Fault::from)
    }

    /// A target that deploys here: its checks run as it says.
    fn target(&self) -> Option<&'a Target> {
        let ws = &self.environments.place.workspace;
        let deploys = |target: &&Target| match &target.kind {
            Kind::Deploy(deploy) => {
                std::ptr::eq(&ws.environments[deploy.environment], self.environment)
            }
            _ => false,
        };
        ws.targets.iter().find(deploys)
    }
}

/// Says what keeps a command from its answer.
pub fn complain(environment: &str, fault: &Fault) -> Ended {
    let mut text = format!("forge: {environment}: {}\n", fault.message);
    if let Some(help) = &fault.help {
        text += &format!("  help: {help}\n");
    }
    let _ = io::stderr().write_all(text.as_bytes());
    Ended(fault.exit_with)
}

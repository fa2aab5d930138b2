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
use crate::pipeline::model::{Environment, Kind, Target};
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

    /// The number of the environment of that name; a member's own goes before others.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<usize, Ended> {
        let all = &self.place.workspace.environments;
        let named = || (0..all.len()).filter(|number| all[*number].name == name);
        let own = |number: &usize| Some(all[*number].project) == self.place.member;
        named().find(own).or_else(|| named().next()).ok_or_else(|| {
            let names = all.iter().map(|environment| environment.name.as_str());
            let help = suggest::help(name, "environments", names);
            let help = help.unwrap_or_else(|| format!("declare it: [environment.{name}]"));
            say(&format!("there is no environment `{name}`\n  help: {help}"))
        })
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

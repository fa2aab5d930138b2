//! Services that are processes.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::backend::{Backend, Trouble};
use super::definition::{Check, Endpoint, Rendered};
use super::error::ServiceError;
use super::watched::{Job, Watched};
use crate::exec::process::Exit;

/// After SIGINT; then the whole tree is killed.
const GRACE: Duration = Duration::from_secs(5);
/// After that: the kernel is slow, not unwilling.
const KILLED: Duration = Duration::from_secs(10);
/// How often a running probe is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A service process.
pub struct Local {
    name: String,
    endpoint: Endpoint,
    dir: PathBuf,
    env: Vec<(OsString, OsString)>,
    process: Watched,
}

impl Local {
    /// Starts a service's `run` for an address that has been chosen for it.
    pub fn start(service: &Rendered, endpoint: Endpoint) -> Result<Local, ServiceError> {
        let name = service.name.to_string();
        if !service.dir.is_dir() {
            let dir = service.dir.display();
            return Err(ServiceError::failed(
                &name,
                format!("its directory {dir} doesn't exist"),
            ));
        }
        let lines: Vec<String> = service
            .run
            .iter()
            .map(|line| line.fill(&endpoint))
            .collect();
        let mut env = service.base_env.clone();
        for (key, value) in &service.env {
            env.retain(|(known, _)| known != key.as_str());
            env.push((key.into(), value.fill(&endpoint).into()));
        }
        let process = Watched::start(Job {
            argv: ["sh", "-eu", "-c", &lines.join("\n")]
                .map(OsString::from)
                .to_vec(),
            dir: service.dir.clone(),
            env: env.clone(),
            needle: match &service.ready {
                Some(Check::Log(text)) => Some(text.clone()),
                _ => None,
            },
        })
        .map_err(|error| not_started(&name, &error))?;
        Ok(Local {
            name,
            endpoint,
            dir: service.dir.clone(),
            env,
            process,
        })
    }
}

fn not_started(name: &str, error: &io::Error) -> ServiceError {
    match error.kind() {
        io::ErrorKind::NotFound => ServiceError::missing(
            name,
            "there is no `sh` on the PATH",
            "add its directory to PATH",
        ),
        _ => ServiceError::failed(name, format!("can't be started: {error}")),
    }
}

impl Backend for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> String {
        "process".into()
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn trouble(&self) -> Result<Option<Trouble>, ServiceError> {
        Ok(self.process.exit().map(|exit| match exit {
            Exit::Code(code) => Trouble::Ended {
                code: code.into(),
                why: "",
            },
            Exit::Signal(signal) => Trouble::Ended {
                code: i64::from(signal) + 128,
                why: " (killed by a signal)",
            },
        }))
    }

    fn exec(
        &self,
        argv: &[String],
        over: &dyn Fn() -> bool,
    ) -> Result<(i64, Vec<u8>), ServiceError> {
        let probe = Watched::start(Job {
            argv: argv.iter().map(OsString::from).collect(),
            dir: self.dir.clone(),
            env: self.env.clone(),
            needle: None,
        })
        .map_err(|error| not_started(&self.name, &error))?;
        loop {
            if let Some(exit) = probe.wait(LOOK) {
                return Ok((exit.code().into(), probe.tail()));
            }
            if over() {
                return Err(ServiceError::cancelled(&self.name));
            }
        }
    }

    fn log_holds(&self, _text: &str) -> Result<bool, ServiceError> {
        Ok(self.process.holds_needle())
    }

    fn tail(&self) -> Vec<u8> {
        self.process.tail()
    }

    fn stop(&self) -> Result<(), ServiceError> {
        self.process.interrupt();
        if self.process.wait(GRACE).is_some() {
            return Ok(());
        }
        self.process.kill();
        match self.process.wait(KILLED) {
            Some(_) => Ok(()),
            None => Err(ServiceError::failed(
                &self.name,
                "doesn't end, not even when killed",
            )),
        }
    }
}

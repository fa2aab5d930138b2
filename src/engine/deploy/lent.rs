//! What a deployment borrows from a run: a shell for its checks, a look into the registry, git, a way to be ended.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::deploy::progress::Progress;
use crate::deploy::request::{Caller, Found, Pace};
use crate::deploy::taskdef::Image;
use crate::engine::environment::{self, Declared};
use crate::engine::look::Fault;
use crate::engine::render::Values;
use crate::engine::session::Session;
use crate::exec::mask::Mask;
use crate::exec::process::{self, Exit, Output, Spec};
use crate::pipeline::model::{Environment, Target};

use super::order::NOT_BUILT;

/// How often a running check is asked whether it shall end.
const LOOK: Duration = Duration::from_millis(50);
/// So many commits say what is new; more are only counted.
const COMMITS: usize = 50;
/// Runs the checks of an environment that no target deploys to.
const SHELL: [&str; 3] = ["sh", "-eu", "-c"];
/// Milliseconds between two looks at a deployment: for an AWS whose clock runs fast.
const PACE: &str = "FORGE_DEPLOY_PACE";

/// What is lent.
pub struct Lent<'a> {
    pub session: &'a Session,
    pub environment: &'a Environment,
    /// The deploy target; its environment and shell are those of its checks.
    pub target: Option<&'a Target>,
    pub cancelled: &'a dyn Fn() -> bool,
    /// What checks print, masked.
    pub output: &'a dyn Fn(&[u8]),
}

impl Lent<'_> {
    /// Lends everything for as long as `work` takes.
    pub fn to<T>(
        &self,
        sink: &mut dyn FnMut(Progress),
        work: impl FnOnce(&mut Caller<'_>) -> T,
    ) -> T {
        let pace = self.session.var(PACE);
        let pace = pace
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis);
        let mut caller = Caller {
            sink,
            cancelled: self.cancelled,
            shell: &|line| self.shell(line),
            image: &|image| self.find(image),
            login: &|image| self.session.login_for(&image.reference()).ok().flatten(),
            commits: &|old, new| self.commits(old, new),
            pace: pace.map_or_else(Pace::default, Pace),
        };
        work(&mut caller)
    }

    fn shell(&self, line: &str) -> Result<(), String> {
        let ended = self.run(line).map_err(|fault| fault.message)?;
        match ended {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(format!("exit code {code}")),
            Exit::Signal(signal) => Err(format!("killed by signal {signal}")),
        }
    }

    fn run(&self, line: &str) -> Result<Exit, Fault> {
        let session = self.session;
        let project = session.ws.project(self.environment.project);
        let (env, mask, shell, dir);
        match self.target {
            Some(target) => {
                let values = Values {
                    session,
                    target,
                    endpoints: None,
                };
                let declared = Declared::of(target, &session.caller, &session.ws.root)?;
                env = declared.environment(&session.caller, &values)?;
                mask = Mask::new(declared.secrets());
                shell = target.shell.to_vec();
                dir = session.directory(target);
            }
            None => {
                env = environment::base(&session.caller).into_iter().collect();
                mask = Mask::new([]);
                shell = SHELL.map(str::to_owned).to_vec();
                dir = session.ws.root.join(&project.dir);
            }
        }
        let argv: Vec<OsString> = shell
            .iter()
            .map(OsString::from)
            .chain([line.into()])
            .collect();
        let spec = Spec {
            argv: &argv,
            dir: &dir,
            env: &env,
            interactive: false,
            guard: None,
        };
        let mut process = process::spawn(&spec)?;
        self.follow(&mut process, &mask)?;
        Ok(process.wait()?)
    }

    fn follow(&self, process: &mut process::Process, mask: &Mask) -> Result<(), Fault> {
        let mut stream = mask.stream();
        let mut buffer = vec![0; 16 * 1024];
        let mut asked = false;
        loop {
            match process.read(&mut buffer, Some(Instant::now() + LOOK))? {
                Output::Bytes(read) => (self.output)(&stream.push(&buffer[..read])),
                Output::Quiet => {}
                Output::End => break,
            }
            if (self.cancelled)() && !std::mem::replace(&mut asked, true) {
                process.handle().interrupt();
            }
        }
        (self.output)(&stream.finish());
        Ok(())
    }

    /// Looks for an image in the pipeline's registry; others aren't forge's to ask.
    fn find(&self, image: &Image) -> Found {
        if image.digest == NOT_BUILT {
            return Found::Unknown("it isn't built yet".into());
        }
        let ask = || -> Result<Found, Fault> {
            let registry = self.session.registry()?;
            let host = registry.host()?;
            let Some(repository) = image.repository.strip_prefix(&format!("{host}/")) else {
                let why = format!("it isn't in {host}, the registry of the pipeline file");
                return Ok(Found::Unknown(why));
            };
            let digest = image.digest.parse()?;
            Ok(match registry.architectures(repository, &digest)? {
                Some(architectures) => Found::Here(architectures),
                None => Found::Gone,
            })
        };
        ask().unwrap_or_else(|fault| Found::Unknown(fault.message))
    }

    fn commits(&self, old: &str, new: &str) -> Vec<String> {
        let is_commit =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit(old) || !is_commit(new) {
            return Vec::new();
        }
        let range = format!("{old}..{new}");
        let most = format!("-{COMMITS}");
        let log = self
            .session
            .git
            .run(&["log", "--format=%h %s", &most, &range, "--"]);
        let log = log.unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

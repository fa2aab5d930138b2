//! A target's commands: one after the other, as often as the target may fail, with what they print passed on.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::exec::process::{self, Exit, Guard, Output, Spec};
use crate::exec::service::Endpoint;
use crate::fault;
use crate::pipeline::model::ServiceId;

use super::environment::Declared;
use super::event::Event;
use super::job::Job;
use super::lacking::{HEARD, Lacking};
use super::log::{Lines, Log};
use super::look::{Fault, Look};
use super::render::Values;
use super::session::lock;
use super::watch::Watch;

/// What is run.
struct Recipe {
    lines: Vec<String>,
    env: Vec<(OsString, OsString)>,
    guard: Option<Guard>,
}

/// How a run of the commands ended.
pub(super) enum End {
    Success,
    Failed(Failure),
    Cancelled,
}

/// What is known of a command that failed.
pub(super) struct Failure {
    pub reason: String,
    /// Where it ended by itself.
    pub code: Option<i32>,
    /// What to write, where it can be told what it lacked.
    pub help: Option<String>,
}

impl Failure {
    fn new(reason: impl Into<String>, code: Option<i32>) -> Self {
        Self {
            reason: reason.into(),
            code,
            help: None,
        }
    }
}

/// What stands between the output of one attempt and that of the next.
pub(super) fn retried(attempt: u32, of: u32, reason: &str) -> String {
    format!("↻ attempt {attempt} of {of} failed · {reason}")
}

impl Job<'_> {
    /// How they ended at last, and how often it was tried.
    pub(super) fn attempts(
        &self,
        look: &Look,
        endpoints: &HashMap<ServiceId, Endpoint>,
        log: &mut Log,
    ) -> Result<(End, u32), Fault> {
        let values = Values {
            session: self.session,
            target: self.target,
            endpoints: Some(endpoints),
        };
        let lines = self.session.commands(self.target, &values)?;
        let declared = Declared::of(self.target, &self.session.caller, &self.session.ws.root)?;
        let env = declared.environment(&self.session.caller, &values)?;
        let shown: Arc<[String]> = lines
            .iter()
            .map(|line| self.words.mask.text(line))
            .collect();
        let watch = Watch::of(self, look, &env)?;
        let recipe = Recipe {
            lines,
            env,
            guard: watch.guard(),
        };
        let of = self.target.retries + 1;
        let mut attempt = 1;
        loop {
            self.tell(Event::TargetStarted {
                target: Arc::clone(&self.target.address),
                attempt,
                commands: Arc::clone(&shown),
                reason: self.words.mask.text(&look.reason),
                interactive: self.target.interactive,
            });
            let end = self.attempt(&recipe, log)?;
            match &end {
                End::Failed(failure) if attempt < of => {
                    self.tell(Event::Retrying {
                        target: Arc::clone(&self.target.address),
                        attempt,
                        of,
                        reason: failure.reason.clone(),
                    });
                    log.note(&retried(attempt, of, &failure.reason));
                    self.remember_failure(&look.key);
                    // What it made on the way is nobody's.
                    self.clear_outputs(None)?;
                    attempt += 1;
                }
                End::Failed(failure) => {
                    if let Some(help) = &failure.help {
                        log.note(&format!("help: {help}"));
                    }
                    return Ok((watch.judge(self, end), attempt));
                }
                _ => return Ok((watch.judge(self, end), attempt)),
            }
        }
    }

    fn attempt(&self, recipe: &Recipe, log: &mut Log) -> Result<End, Fault> {
        let deadline = self.target.timeout.map(|timeout| Instant::now() + timeout);
        let all = recipe.lines.len();
        for (before, line) in recipe.lines.iter().enumerate() {
            match self.command(line, recipe, deadline, log)? {
                End::Success => {}
                End::Failed(failure) if all > 1 => {
                    let reason = format!("{} (command {} of {all})", failure.reason, before + 1);
                    return Ok(End::Failed(Failure { reason, ..failure }));
                }
                end => return Ok(end),
            }
        }
        Ok(End::Success)
    }

    fn command(
        &self,
        line: &str,
        recipe: &Recipe,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<End, Fault> {
        let dir = self.session.directory(self.target);
        let argv: Vec<OsString> = self
            .target
            .shell
            .iter()
            .map(OsString::from)
            .chain([line.into()])
            .collect();
        let spec = Spec {
            argv: &argv,
            dir: &dir,
            env: &recipe.env,
            interactive: self.target.interactive,
            guard: recipe.guard.clone(),
        };
        let mut process = {
            let mut running = lock(&self.shared.running);
            if self.is_cancelled() {
                return Ok(End::Cancelled);
            }
            self.shared.ran.store(true, Ordering::Relaxed);
            let process = process::spawn(&spec)
                .map_err(|error| self.cannot_start(&error, &dir, recipe.guard.is_some()))?;
            running.insert(self.target.id, process.handle());
            fault::point("command started");
            process
        };
        let before = log.len();
        let timed_out = self.follow(&mut process, deadline, log)?;
        let exit = process.wait()?;
        fault::point("command ended");
        lock(&self.shared.running).remove(&self.target.id);
        let failure = match exit {
            _ if timed_out => {
                let timeout = crate::units::duration(self.target.timeout.unwrap_or_default());
                Failure::new(format!("timed out after {timeout}"), None)
            }
            Exit::Code(0) if !self.is_cancelled() => return Ok(End::Success),
            _ if self.is_cancelled() => return Ok(End::Cancelled),
            // It owned the terminal: Ctrl-C was its own business, and it let it end.
            Exit::Signal(libc::SIGINT) | Exit::Code(130) if self.target.interactive => {
                return Ok(End::Cancelled);
            }
            Exit::Code(code) => {
                let reason = match code {
                    // What a shell says of a command that it doesn't find.
                    127 => "exit code 127: command not found".into(),
                    _ => format!("exit code {code}"),
                };
                let lacks = Lacking {
                    target: self.target,
                    line,
                    printed: &log.last(HEARD.min(log.len() - before)),
                    env: &recipe.env,
                    caller: &self.session.caller,
                };
                Failure {
                    help: lacks.help(),
                    ..Failure::new(reason, Some(code))
                }
            }
            Exit::Signal(signal) => {
                Failure::new(format!("killed by signal {signal}"), Some(128 + signal))
            }
        };
        Ok(End::Failed(failure))
    }

    fn cannot_start(&self, error: &std::io::Error, dir: &Path, watched: bool) -> Fault {
        if !dir.is_dir() {
            return Fault::failed(format!("its directory {} doesn't exist", self.target.dir));
        }
        if watched && error.raw_os_error() == Some(libc::EBUSY) {
            return Fault::failed(
                "it can't be watched: forge itself runs in a sandbox or an audit",
            );
        }
        let shell = self.target.shell.first().map_or("sh", String::as_str);
        Fault {
            message: format!("its shell {shell} can't be started: {error}"),
            help: Some(format!("install {shell}, or name another in `shell`")),
            exit_with: 3,
        }
    }

    /// Passes output on until there is no more; whether the time ran out.
    fn follow(
        &self,
        process: &mut process::Process,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<bool, Fault> {
        let (mut mask, mut lines) = (self.words.mask.stream(), Lines::default());
        let mut buffer = vec![0; 64 * 1024];
        let mut timed_out = false;
        loop {
            let wait_until = deadline.filter(|_| !timed_out);
            match process.read(&mut buffer, wait_until)? {
                Output::Bytes(read) => self.output(lines.push(&mask.push(&buffer[..read])), log),
                Output::Quiet => {}
                Output::End => break,
            }
            if !timed_out && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                timed_out = true;
                process.handle().interrupt();
            }
        }
        let mut last = lines.push(&mask.finish());
        last.extend(lines.finish());
        self.output(last, log);
        // It may have closed its output and go on.
        if let (Some(deadline), false) = (deadline, timed_out) {
            timed_out = !process.ends_by(deadline)?;
            if timed_out {
                process.handle().interrupt();
            }
        }
        Ok(timed_out)
    }

    fn output(&self, bytes: Vec<u8>, log: &mut Log) {
        if !bytes.is_empty() {
            log.push(&bytes);
            self.tell(Event::Output {
                target: Arc::clone(&self.target.address),
                bytes: bytes.into(),
            });
        }
    }
}

//! What people read: lines for what ended, the output of targets, the failures last, the closing line.
//! On a terminal with the live region below, in GitHub Actions with its commands. How a single line reads
//! is `lines`' business.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::event::{Event, Finished, Listener, Outcome};

use super::github::{self, Guard};
use super::lines::{self, Closing};
use super::live::Live;
use super::sink::Sink;
use super::style::{Style, duration, printable};
use super::{Options, Output};
use deployments::Steps;

mod deployments;

/// So many lines for skipped targets are worth reading; hundreds would push what matters off the screen.
const SKIPPED_SHOWN: usize = 10;

/// The listener for people.
pub struct Text {
    sink: Sink,
    style: Style,
    quiet: bool,
    stream: bool,
    verbose: bool,
    /// `-vv`: the commands as well.
    commands_too: bool,
    live: Option<Live>,
    guard: Option<Guard>,
    /// Rendered commands of what started, for the case that it fails.
    commands: HashMap<Arc<str>, Arc<[String]>>,
    failures: Vec<Finished>,
    /// Targets that were skipped, and whether the run was interrupted: nobody wants to read what that kept from running.
    skipped: usize,
    interrupted: bool,
    /// Something stands above already.
    began: bool,
    /// Targets whose image was built.
    built: Vec<String>,
    /// Of the deployments that go on.
    steps: Steps,
    /// `--dry-run`: how many targets for each action.
    planned: Option<Vec<(&'static str, usize)>>,
}

impl Text {
    /// Writes to `sink`, and draws the live region on `live`.
    pub fn new(options: &Options, sink: Sink, live: Sink) -> Text {
        Text {
            sink,
            style: options.style(),
            quiet: options.is_quiet(),
            stream: options.output == Output::Stream && !options.is_quiet(),
            verbose: options.verbose > 0 && !options.is_quiet(),
            commands_too: options.verbose > 1,
            live: options
                .has_live_region()
                .then(|| Live::new(live, options.size, Instant::now())),
            guard: options.github.then(Guard::new),
            commands: HashMap::new(),
            failures: Vec::new(),
            skipped: 0,
            interrupted: false,
            began: false,
            built: Vec::new(),
            steps: Steps::default(),
            planned: None,
        }
    }

    /// Writes above the live region, in one piece.
    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.began = true;
        match &mut self.live {
            Some(live) => live.print(Instant::now(), || self.sink.write(bytes)),
            None => self.sink.write(bytes),
        }
    }

    /// One line of forge's own.
    fn say(&mut self, line: &str) {
        if !self.quiet {
            let line = self.harmless(line);
            self.write(format!("{line}\n").as_bytes());
        }
    }

    /// GitHub's old command syntax is understood anywhere in a line, in the name of a file as well.
    fn harmless(&self, line: &str) -> String {
        match self.guard {
            Some(_) => line.replace("##[", "## ["),
            None => line.to_owned(),
        }
    }

    fn row(&mut self, name: &str, note: &str) {
        if let Some(live) = &mut self.live {
            live.show(name, note, Instant::now());
        }
    }

    fn run_started(&mut self, total: usize, dry_run: bool) {
        self.planned = dry_run.then(Vec::new);
        if let Some(live) = &mut self.live {
            live.begin(total, Instant::now());
        }
        if let Some(guard) = self.guard.as_mut().filter(|_| self.stream) {
            let off = guard.off();
            self.write(off.as_bytes());
        }
    }

    fn target_started(&mut self, target: &Arc<str>, attempt: u32, commands: &Arc<[String]>) {
        self.commands.insert(target.clone(), commands.clone());
        match attempt {
            0 | 1 => self.row(target, ""),
            n => self.row(target, &format!("attempt {n}")),
        }
    }

    fn output(&mut self, target: &str, bytes: &[u8]) {
        if !self.stream || bytes.is_empty() {
            return;
        }
        let name = self.style.paint.cached(&printable(target));
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for line in bytes
            .strip_suffix(b"\n")
            .unwrap_or(bytes)
            .split(|b| *b == b'\n')
        {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(" │ ".as_bytes());
            out.extend_from_slice(line);
            out.extend_from_slice(reset(line));
            out.push(b'\n');
        }
        self.write(&out);
    }

    fn finished(&mut self, finished: &Finished) {
        if let Some(live) = &mut self.live {
            live.done(&finished.target);
        }
        if self.left_deployment(finished) {
            return;
        }
        let finished = &*self.without_steps(finished);
        if self.planned.is_some() {
            if finished.outcome == Outcome::Failed {
                self.failures.push(finished.clone());
            }
            return;
        }
        if self.has_line(finished.outcome) {
            let line = lines::finished(finished, &self.style);
            if !self.finished_group(finished) {
                self.say(&line);
                if let Some(image) = &finished.image {
                    self.say(&lines::image(image));
                }
                self.finished_output(finished);
            }
        }
        self.built.extend(lines::built(finished));
        if finished.flaky {
            self.annotate_flaky(finished);
        }
        if finished.outcome == Outcome::Failed {
            self.failures.push(finished.clone());
        }
    }

    fn has_line(&mut self, outcome: Outcome) -> bool {
        match outcome {
            _ if self.verbose => true,
            Outcome::Fresh => false,
            Outcome::Skipped if self.interrupted => false,
            Outcome::Skipped => {
                self.skipped += 1;
                self.skipped <= SKIPPED_SHOWN
            }
            _ => true,
        }
    }

    /// Whether the output of a target that didn't fail is shown when it ends.
    fn shows_output(&self, finished: &Finished) -> bool {
        let wanted = match finished.outcome {
            Outcome::Ran => !self.stream && (self.verbose || self.guard.is_some()),
            Outcome::Cancelled => !self.stream && self.verbose,
            Outcome::Fresh | Outcome::Restored => self.verbose,
            Outcome::Failed | Outcome::Skipped => false,
        };
        let anything = self.commands_too || !finished.log.is_empty();
        wanted && !self.quiet && anything
    }

    fn finished_output(&mut self, finished: &Finished) {
        if self.shows_output(finished) {
            self.write(&self.body(finished));
        }
    }

    /// What a target printed, below its commands where they are wanted.
    fn body(&self, finished: &Finished) -> Vec<u8> {
        let commands = self.commands.get(&finished.target);
        let commands = commands.filter(|_| self.commands_too);
        let commands = commands.map_or_else(String::new, |commands| lines::commands(commands));
        let mut body = self.harmless(&commands).into_bytes();
        body.extend(block(&finished.log));
        body
    }

    /// In GitHub Actions: the line as the title of a group with the output in it.
    fn finished_group(&mut self, finished: &Finished) -> bool {
        if self.guard.is_none() || !self.shows_output(finished) {
            return false;
        }
        let took = lines::outcome(finished).replacen(" in ", ", ", 1);
        let title = format!("{} ({took})", printable(&finished.target));
        let body = self.body(finished);
        let Some(guard) = &mut self.guard else {
            return false;
        };
        let mut out = guard.command(&github::group(&title)).into_bytes();
        out.extend(guard.untrusted(&body));
        out.extend_from_slice(guard.command(github::END_GROUP).as_bytes());
        self.write(&out);
        true
    }

    fn annotate_flaky(&mut self, finished: &Finished) {
        let Some(guard) = &mut self.guard else { return };
        let title = format!("forge {}", finished.target);
        let message = "flaky: it failed and succeeded with the same inputs";
        let line = github::annotation("warning", Some(&finished.location), &title, message);
        let line = guard.command(&line);
        self.write(line.as_bytes());
    }

    fn warning(&mut self, target: Option<&str>, message: &str, help: Option<&str>) {
        if self.quiet {
            return;
        }
        let text = match &mut self.guard {
            Some(guard) => {
                let title = target.map_or("forge".to_owned(), |t| format!("forge {t}"));
                let message = [Some(message), help]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join("\n");
                guard.command(&github::annotation(
                    "warning",
                    None::<&(&str, usize)>,
                    &title,
                    &message,
                ))
            }
            None => lines::warning(target, message, help, self.style.paint),
        };
        self.write(text.as_bytes());
    }

    fn planned(&mut self, target: &str, action: &'static str, reason: &str, commands: &[String]) {
        self.count_planned(action);
        if action != "fresh" || self.verbose {
            let head = format!("{action:<7} {}", self.style.paint.bold(&printable(target)));
            let line = self.style.line(&head, reason);
            let commands = if action == "run" {
                lines::commands(commands)
            } else {
                String::new()
            };
            self.say(format!("{line}\n{commands}").trim_end());
        }
    }

    /// Everything about a failure: heading, output in full, the last lines of its services.
    fn failure(&mut self, finished: &Finished) {
        let commands = self
            .commands
            .get(&finished.target)
            .map(|c| c.to_vec())
            .unwrap_or_default();
        let mut body = self
            .harmless(&lines::failure(finished, &commands, self.style))
            .into_bytes();
        if finished.log.is_empty() && finished.attempts > 0 {
            body.extend_from_slice(b"  (it printed nothing)\n");
        }
        body.extend(block(&finished.log));
        for (service, log) in &finished.service_logs {
            let title = format!("last lines of service {}:", printable(service));
            body.extend_from_slice(format!("{}\n", self.style.paint.bold(&title)).as_bytes());
            body.extend(block(log));
        }
        let mut out = if self.began {
            b"\n".to_vec()
        } else {
            Vec::new()
        };
        match &mut self.guard {
            Some(guard) => {
                let title = format!("forge {}", finished.target);
                let line =
                    github::annotation("error", Some(&finished.location), &title, &finished.reason);
                out.extend_from_slice(guard.command(&line).as_bytes());
                out.extend(guard.untrusted(&body));
            }
            None => out.extend(body),
        }
        self.write(&out);
    }

    fn run_finished(&mut self, closing: &Closing) {
        if let Some(live) = &mut self.live {
            live.end();
        }
        let more = self.skipped.saturating_sub(SKIPPED_SHOWN);
        if more > 0 {
            self.say(&format!("– {more} more skipped (`-v` shows them)"));
        }
        let on = self.guard.as_mut().map(Guard::on).unwrap_or_default();
        self.write(on.as_bytes());
        let failures = std::mem::take(&mut self.failures);
        for finished in &failures {
            self.failure(finished);
        }
        let line = match &self.planned {
            Some(actions) if closing.ok => lines::planned(actions, self.style.paint),
            _ => lines::closing(closing, self.style.paint),
        };
        let gap = if failures.is_empty() { "" } else { "\n" };
        self.write(format!("{gap}{line}\n").as_bytes());
    }

    fn count_planned(&mut self, action: &'static str) {
        let Some(planned) = &mut self.planned else {
            return;
        };
        match planned.iter_mut().find(|(name, _)| *name == action) {
            Some((_, n)) => *n += 1,
            None => planned.push((action, 1)),
        }
    }

    fn service(&mut self, event: &Event) {
        match event {
            Event::ServiceStarting { service } => match self.live {
                Some(_) => self.row(&service_row(service), "starting"),
                None => self.say(&format!("○ {} · service, starting", printable(service))),
            },
            Event::ServiceReady {
                service,
                detail,
                took,
            } => {
                if let Some(live) = &mut self.live {
                    live.hide(&service_row(service));
                }
                let name = self.style.paint.bold(&printable(service));
                let head = format!("● {name} · ready in {}", duration(*took));
                self.say(&self.style.line(&head, detail));
            }
            Event::ServiceStopped { service } => {
                if let Some(live) = &mut self.live {
                    live.hide(&service_row(service));
                }
                if self.verbose {
                    self.say(&format!("○ {} · service, stopped", printable(service)));
                }
            }
            _ => {}
        }
    }
}

impl Listener for Text {
    fn on(&mut self, event: &Event) {
        match event {
            Event::RunStarted { total, dry_run, .. } => self.run_started(*total, *dry_run),
            Event::TargetStarted {
                target,
                attempt,
                commands,
                ..
            } => self.target_started(target, *attempt, commands),
            Event::Output { target, bytes } => self.output(target, bytes),
            Event::Progress { target, text } => self.row(target, text),
            Event::Waiting { target, why } => {
                self.row(target, why);
                self.say(
                    &self
                        .style
                        .line(&format!("… {} · waiting", printable(target)), why),
                );
            }
            Event::Retrying {
                target,
                attempt,
                of,
                reason,
            } => {
                let head = format!("↻ {} · attempt {attempt} of {of} failed", printable(target));
                self.say(&self.style.line(&head, reason));
            }
            Event::ServiceStarting { .. }
            | Event::ServiceReady { .. }
            | Event::ServiceStopped { .. } => {
                self.service(event);
            }
            Event::Planned {
                target,
                action,
                reason,
                commands,
            } => {
                self.planned(target, action, reason, commands);
            }
            Event::DeployPlanned { .. }
            | Event::RollbackPlanned { .. }
            | Event::DeployStarted { .. }
            | Event::DeployProgress { .. }
            | Event::DeployFinished { .. } => self.deployment(event),
            Event::TargetFinished(finished) => self.finished(finished),
            Event::Warning {
                target,
                message,
                help,
            } => {
                self.warning(target.as_deref(), message, help.as_deref());
            }
            Event::Interrupted { signal } => {
                self.interrupted = true;
                self.say(&format!("■ {signal}: ending what is running"));
            }
            Event::RunFinished { .. } => {
                if let Some(mut closing) = Closing::of(event) {
                    closing.built = std::mem::take(&mut self.built);
                    closing.built.sort_unstable();
                    self.run_finished(&closing);
                }
            }
        }
    }

    fn tick(&mut self) {
        if let Some(live) = &mut self.live {
            live.tick(Instant::now());
        }
    }

    fn suspend(&mut self, suspended: bool) {
        if let Some(live) = &mut self.live {
            live.suspend(suspended);
        }
    }
}

/// A service may have the name of a target.
fn service_row(service: &str) -> String {
    format!("service {service}")
}

/// Output of a target as it is, ended so that what follows is not affected by it.
fn block(log: &[u8]) -> Vec<u8> {
    let mut out = log.to_vec();
    out.extend_from_slice(reset(log));
    if !log.is_empty() && !log.ends_with(b"\n") {
        out.push(b'\n');
    }
    out
}

/// What takes back the colours that `text` may have left behind.
fn reset(text: &[u8]) -> &'static [u8] {
    if text.contains(&0x1b) {
        b"\x1b[0m"
    } else {
        b""
    }
}

//! What became of a target, put into the words of a [`Finished`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::store::State;
use crate::exec::mask::Mask;
use crate::pipeline::model::Target;

use super::environment::Declared;
use super::event::{Finished, Outcome};
use super::look::{Fault, Look};
use super::session::{Done, Session};

/// Words the result of one target.
pub struct Wording<'a> {
    pub session: &'a Session,
    pub target: &'a Target,
    /// Hides the target's secrets.
    pub mask: Mask,
    began: Instant,
}

impl<'a> Wording<'a> {
    pub fn new(session: &'a Session, target: &'a Target) -> Self {
        let mask = if target.secret_env.is_empty() {
            Mask::new([])
        } else {
            let declared = Declared::of(target, &session.caller, &session.ws.root);
            declared.map_or_else(|_| Mask::new([]), |declared| Mask::new(declared.secrets()))
        };
        Self {
            session,
            target,
            mask,
            began: Instant::now(),
        }
    }

    pub fn finished(&self, outcome: Outcome, reason: impl AsRef<str>) -> Finished {
        let file = self.session.ws.file(self.target.span.file);
        Finished {
            target: Arc::clone(&self.target.address),
            outcome,
            key: None,
            reason: self.mask.text(reason.as_ref()),
            duration: self.began.elapsed(),
            saved: None,
            attempts: 0,
            exit_code: None,
            flaky: false,
            log: Arc::default(),
            service_logs: Vec::new(),
            image: None,
            location: (
                file.name.as_str().into(),
                self.session.line(&self.target.span),
            ),
            exit_with: u8::from(outcome == Outcome::Failed),
        }
    }

    /// Nothing to do; those that need it find its outputs.
    pub fn fresh(&self, state: &State, look: &Look) -> Finished {
        if let Some(manifest) = self.session.manifest(&state.manifest) {
            self.session.set_done(
                self.target.id,
                Done {
                    outputs: state.outputs,
                    manifest,
                    image: state.image.clone(),
                },
            );
        }
        let mut finished = self.finished(Outcome::Fresh, "up to date");
        if self.session.options.logs {
            finished.log = self
                .session
                .blobs
                .read(&state.log)
                .unwrap_or_default()
                .into();
        }
        finished.image = state.image.clone();
        finished.key = Some(look.key.hex());
        finished.saved = Some(Duration::from_millis(state.duration_ms));
        finished
    }

    /// It couldn't be run.
    pub fn fault(&self, fault: Fault) -> Finished {
        let mut finished = self.finished(Outcome::Failed, &fault.message);
        finished.exit_with = fault.exit_with;
        let help = fault
            .help
            .map(|help| format!("help: {help}\n"))
            .unwrap_or_default();
        finished.log = help.into_bytes().into();
        finished
    }

    pub fn skipped(&self, reason: &str) -> Finished {
        self.finished(Outcome::Skipped, reason)
    }

    pub fn interrupted(&self) -> Finished {
        self.finished(Outcome::Cancelled, "interrupted")
    }
}

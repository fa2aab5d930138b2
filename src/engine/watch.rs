//! Who looks on while a target's commands run: nobody, an audit, or the doorkeeper of a sandbox.

use std::ffi::OsString;
use std::sync::Arc;

use crate::exec::process::Guard;
use crate::exec::sandbox::Fence;
use crate::exec::trace;

use super::audit::{Findings, Reach, Seen};
use super::commands::{End, Failure};
use super::job::Job;
use super::look::{Fault, Look};
use super::sandbox::Sandbox;

/// See the module's words.
pub enum Watch {
    Nobody,
    Audit(Arc<Seen>),
    Sandbox(Arc<Sandbox>, Arc<Fence>),
}

impl Watch {
    /// An audit of a target with a sandbox goes without that: it finds everything at once.
    ///
    /// # Errors
    /// The system can't: exit code 3.
    pub fn of(job: &Job, look: &Look, env: &[(OsString, OsString)]) -> Result<Self, Fault> {
        let (session, target) = (job.session, job.target);
        let reach = || Reach::of(session, target, &look.inputs);
        if session.is_audited(target.id) {
            trace::available().map_err(|message| Fault {
                message,
                help: None,
                exit_with: 3,
            })?;
            return Ok(Watch::Audit(Arc::new(Seen::new(Arc::new(reach())))));
        }
        if target.sandbox {
            let (sandbox, fence) = Sandbox::new(reach(), env)?;
            return Ok(Watch::Sandbox(sandbox, fence));
        }
        Ok(Watch::Nobody)
    }

    pub fn guard(&self) -> Option<Guard> {
        match self {
            Watch::Nobody => None,
            Watch::Audit(seen) => Some(Guard {
                watcher: Arc::clone(seen) as _,
                fence: None,
            }),
            Watch::Sandbox(sandbox, fence) => Some(Guard {
                watcher: Arc::clone(sandbox) as _,
                fence: Some(Arc::clone(fence)),
            }),
        }
    }

    /// What there is to say after the last attempt.
    pub fn judge(&self, job: &Job, end: End) -> End {
        match self {
            Watch::Nobody => end,
            Watch::Audit(seen) => {
                job.session
                    .set_findings(Findings::of(job.session, job.target, seen));
                end
            }
            Watch::Sandbox(sandbox, _) => match sandbox.refusals() {
                Some(refused) => Self::refused(job, end, &refused),
                None => end,
            },
        }
    }

    fn refused(job: &Job, end: End, refused: &str) -> End {
        let help = format!("`forge audit {}` says what to declare", job.target.address);
        match end {
            End::Failed(failure) => {
                let refused = format!("the sandbox didn't let it {refused}");
                let reason = format!("{}; {refused}", failure.reason);
                job.warn(refused, Some(help));
                End::Failed(Failure { reason, ..failure })
            }
            End::Success => {
                job.warn(
                    format!("the sandbox didn't let it {refused}; it succeeded without"),
                    Some(help),
                );
                End::Success
            }
            End::Cancelled => End::Cancelled,
        }
    }
}

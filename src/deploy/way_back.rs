//! What is asked of a rollback, and what is said about the answer. Pure.

use super::choice::{self, Back, Choice, Step, Unfit};
use super::error::DeployError;
use super::provider::Wanted;
use super::seen::Revision;

/// Which deployment somebody wants to have back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Steps(u32),
    To(Revision),
}

impl Asked {
    /// A bare number is a revision of the running one's family.
    ///
    /// # Errors
    /// It isn't a revision.
    pub fn read(wanted: &Wanted, family: &str) -> Result<Asked, DeployError> {
        let text = match wanted {
            Wanted::Steps(steps) => return Ok(Asked::Steps(*steps)),
            Wanted::To(text) => text,
        };
        let number = text.parse().ok().map(|number| Revision {
            family: family.to_owned(),
            number,
        });
        let revision = number.or_else(|| text.parse().ok());
        revision.map(Asked::To).ok_or_else(|| {
            DeployError::wrong(
                format!("`{text}` isn't a revision"),
                format!("for example: --to {family}:12, or --to 12"),
            )
        })
    }

    /// Chooses from what completed, oldest first. A named revision needn't lie on the way.
    pub fn decide(
        &self,
        completed: &[Step],
        running: &Step,
        fit: &mut dyn FnMut(&Step) -> Result<(), Unfit>,
    ) -> Choice {
        match self {
            Asked::To(revision) => choice::choose(completed, running, Back::To(revision), fit),
            Asked::Steps(steps) => {
                let behind = choice::behind(completed, running);
                choice::choose(&behind, running, Back::Steps(*steps), fit)
            }
        }
    }

    /// The step, and what was passed over on the way to it, for people.
    ///
    /// # Errors
    /// There is nothing to go back to, or what was named can't be.
    pub fn settle(
        &self,
        chosen: Choice,
        service: &str,
        environment: &str,
    ) -> Result<(Step, Vec<String>), DeployError> {
        let asked = match self {
            Asked::To(revision) => revision.to_string(),
            Asked::Steps(_) => String::new(),
        };
        match chosen {
            Choice::Go { step, skipped } => Ok((step, told(skipped))),
            Choice::Nothing { skipped } => Err(nothing(service, &told(skipped))),
            Choice::NotDeployed => Err(DeployError::wrong(
                format!("{asked} never completed in {service}"),
                format!("see what did: forge history {environment}"),
            )),
            Choice::Running => Err(DeployError::wrong(
                format!("{service} runs {asked} already"),
                "",
            )),
            Choice::Unfit(unfit) => Err(DeployError::wrong(
                format!("{asked} {}", unfit.why()),
                format!("see what else there is: forge history {environment}"),
            )),
        }
    }
}

fn told(skipped: Vec<(Revision, Unfit)>) -> Vec<String> {
    let lines = skipped.into_iter();
    lines
        .map(|(revision, unfit)| format!("{revision} {}", unfit.why()))
        .collect()
}

/// Nothing that a service could go back to.
pub fn nothing(service: &str, skipped: &[String]) -> DeployError {
    let help = match skipped {
        [] => "no earlier deployment of another image has completed there".to_owned(),
        skipped => skipped.join("; "),
    };
    DeployError::wrong(
        format!("there is nothing that {service} could go back to"),
        help,
    )
}

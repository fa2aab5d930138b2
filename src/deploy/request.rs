//! What a deployment is made of, and what whoever asks for it lends: eyes, a voice, a shell.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::DeployError;
use super::gates::{self, Gate};
use super::progress::Progress;
use super::spec::Spec;
use super::tags;
use super::taskdef::{Definition, Image};
use crate::docker::Credentials;

/// What is to be deployed, and where.
#[derive(Clone, Debug)]
pub struct Request {
    pub spec: Spec,
    /// From the environment's file; `None`: the running revision with the new image.
    pub definition: Option<Definition>,
    pub image: Image,
    pub commit: Option<String>,
    pub branch: Option<String>,
    /// Who deploys, for people; empty where only the place that is deployed to knows.
    pub by: String,
    /// The key of the deploy target.
    pub key: String,
    /// Link to the run.
    pub run: Option<String>,
    /// For the freeze, and for people.
    pub now: Timestamp,
    /// The reason to go through a freeze.
    pub hotfix: Option<String>,
    /// Goes ahead though another deployment is going on.
    pub takeover: bool,
    /// What runs already is started anew, for new tasks that read their secrets again.
    pub force: bool,
}

impl Request {
    /// The gates that need nothing but what is asked for.
    pub fn gates(&self) -> Vec<Gate> {
        let spec = &self.spec;
        let zone = spec.timezone.as_deref();
        vec![
            gates::branch(&spec.branch, self.branch.as_deref()),
            gates::freeze(&spec.freeze, zone, self.now, self.hotfix.as_deref()),
        ]
    }

    /// The definition gets the image, what the environment lays over it, and the tags of this deployment in
    /// place of those of an earlier one.
    ///
    /// # Errors
    /// Sizes that don't go together.
    pub fn put_into(
        &self,
        definition: &mut Definition,
        container: &str,
    ) -> Result<(), DeployError> {
        definition.pin(container, &self.image);
        definition.overlay(container, &self.spec.overlay);
        definition.check()?;
        definition.tags.forget_ours();
        let at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        for (key, value) in [
            (tags::COMMIT, self.commit.as_deref()),
            (tags::BY, Some(self.by.as_str())),
            (tags::AT, Some(at.as_str())),
            (tags::KEY, Some(self.key.as_str())),
            (tags::RUN, self.run.as_deref()),
            (tags::HOTFIX, self.hotfix.as_deref()),
            (tags::CONTAINER, Some(container)),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                definition.tags.set(key, value);
            }
        }
        Ok(())
    }
}

/// What is known of an image in its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// With its architectures as the registry names them (`amd64`, `arm64`); empty where it doesn't say.
    Here(Vec<String>),
    Gone,
    /// It couldn't be asked; one line says why.
    Unknown(String),
}

/// What the caller lends.
pub struct Caller<'a> {
    pub sink: &'a mut dyn FnMut(Progress),
    /// Ctrl-C.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Runs a line of `smoke` as targets are run; one line says why it failed.
    pub shell: &'a dyn Fn(&str) -> Result<(), String>,
    /// Looks for an image where it should be.
    pub image: &'a dyn Fn(&Image) -> Found,
    /// Who to be where an image is pulled from; `None`: nothing is known, and nothing may be needed.
    pub login: &'a dyn Fn(&Image) -> Option<Credentials>,
    /// `c0ffee1 A subject` of each commit after the first up to the second, newest first; empty where git can't tell.
    pub commits: &'a dyn Fn(&str, &str) -> Vec<String>,
    pub pace: Pace,
}

impl Caller<'_> {
    pub fn tell(&mut self, progress: Progress) {
        (self.sink)(progress);
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.tell(Progress::Warning(text.into()));
    }

    pub fn is_cancelled(&self) -> bool {
        (self.cancelled)()
    }

    /// Sleeps, less when cancelled.
    pub fn pause(&self, pause: Duration) {
        const LOOK: Duration = Duration::from_millis(50);
        let end = Instant::now() + pause;
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

/// How fast things are asked after: every pause is so many times this.
#[derive(Clone, Copy, Debug)]
pub struct Pace(pub Duration);

impl Default for Pace {
    fn default() -> Pace {
        Pace(Duration::from_secs(1))
    }
}

impl Pace {
    /// `times` the unit, give or take a quarter: many that wait for the same don't ask at once.
    pub fn times(self, times: f64) -> Duration {
        let random = RandomState::new().build_hasher().finish();
        let jitter = 0.75 + (random % 1000) as f64 / 2000.0;
        self.0.mul_f64(times * jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_doesnt_wait_as_long_as_everybody() {
        let pace = Pace(Duration::from_millis(100));
        let pauses: Vec<Duration> = (0..64).map(|_| pace.times(2.0)).collect();
        let range = Duration::from_millis(150)..=Duration::from_millis(250);
        assert!(
            pauses.iter().all(|pause| range.contains(pause)),
            "{pauses:?}"
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}

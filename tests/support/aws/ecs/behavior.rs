//! What becomes of a task once it runs, as a test says. Knows nothing of when.

use super::super::clock::Time;

#[derive(Clone, Debug)]
pub struct Behavior {
    /// Seconds that it takes longer to start.
    pub slow: Time,
    /// What its first essential container prints.
    pub lines: Vec<String>,
    pub end: End,
}

#[derive(Clone, Debug)]
pub enum End {
    /// It runs until it is stopped, and gets healthy.
    Runs,
    /// It exits so many seconds after it started.
    Exits { code: i32, after: Time },
    /// It runs, but its health checks fail.
    Unhealthy,
    /// It doesn't get as far as that; why.
    NeverStarts(String),
}

impl Behavior {
    fn ending(end: End) -> Self {
        Self {
            slow: 0.0,
            lines: Vec::new(),
            end,
        }
    }

    pub fn runs() -> Self {
        Self::ending(End::Runs)
    }

    /// One second after it started.
    pub fn exits(code: i32) -> Self {
        Self::ending(End::Exits { code, after: 1.0 })
    }

    pub fn never_healthy() -> Self {
        Self::ending(End::Unhealthy)
    }

    /// Its image can't be pulled.
    pub fn no_image() -> Self {
        Self::never_starts(
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref: \
             unexpected status from HEAD request: 403 Forbidden",
        )
    }

    pub fn never_starts(reason: &str) -> Self {
        Self::ending(End::NeverStarts(reason.into()))
    }

    /// When it exits, after its start.
    #[must_use]
    pub fn after(mut self, seconds: Time) -> Self {
        if let End::Exits { after, .. } = &mut self.end {
            *after = seconds;
        }
        self
    }

    #[must_use]
    pub fn says(mut self, lines: &[&str]) -> Self {
        self.lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self
    }

    #[must_use]
    pub fn slow(mut self, seconds: Time) -> Self {
        self.slow = seconds;
        self
    }
}

/// A task about to start, for rules to look at.
#[derive(Clone, Debug)]
pub struct Run {
    /// `family:3`
    pub revision: String,
    pub images: Vec<String>,
    /// Of the images, where they could be resolved.
    pub digests: Vec<String>,
    /// What RunTask says to run instead of the image's own command.
    pub command: Vec<String>,
    /// The deployment, or what RunTask says.
    pub started_by: String,
}

pub struct Rule {
    pub which: Box<dyn Fn(&Run) -> bool + Send>,
    pub behavior: Behavior,
}

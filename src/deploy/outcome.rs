//! How a deployment or a rollback that was begun ended. Pure.

use std::fmt;

use super::seen::Revision;

/// The end, and what runs then.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub result: Ending,
    /// As seen at the end; a service that couldn't be asked is left out.
    pub now: Vec<Now>,
}

/// What a service runs at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    pub service: String,
    pub revision: Option<Revision>,
    pub running: u32,
    pub desired: u32,
}

/// `app runs app:41 (2 of 2)`
impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{} runs {revision}", self.service)?,
            None => write!(f, "{} runs nothing known", self.service)?,
        }
        write!(f, " ({} of {})", self.running, self.desired)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything ran already; nothing was called.
    Fresh,
    /// Ours completed, everywhere, and passed the checks.
    Done,
    Failed {
        /// One line.
        reason: String,
        after: After,
    },
    /// Ctrl-C; one line says what goes on, and how to follow or end it.
    Interrupted { goes_on: String },
}

/// What a failure left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// It failed before the service was touched.
    Untouched,
    /// Seen to run what was good before.
    RolledBack,
    /// Left as it is; one line says why.
    Left(String),
}

impl Ending {
    pub fn exit_code(&self) -> u8 {
        match self {
            Ending::Fresh | Ending::Done => 0,
            Ending::Failed { after, .. } => match after {
                After::Untouched => 1,
                After::RolledBack => 5,
                After::Left(_) => 6,
            },
            Ending::Interrupted { .. } => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_have_their_exit_codes() {
        let failed = |after| Ending::Failed {
            reason: "why".into(),
            after,
        };
        let goes_on = String::new();
        for (ending, code) in [
            (Ending::Fresh, 0),
            (Ending::Done, 0),
            (failed(After::Untouched), 1),
            (failed(After::RolledBack), 5),
            (failed(After::Left("superseded".into())), 6),
            (Ending::Interrupted { goes_on }, 130),
        ] {
            assert_eq!(ending.exit_code(), code, "{ending:?}");
        }
    }
}

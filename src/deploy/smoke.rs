//! Looks at a deployment from outside, as its users do.
//!
//! Knows nothing of what was deployed.

use std::time::{Duration, Instant};

use super::progress::Progress;
use super::request::Caller;
use super::spec::Check;

/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// How the checks ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Smoke {
    Passed,
    /// The first that failed, on one line.
    Failed(String),
    Interrupted,
}

/// Runs the checks in turn, up to the first that fails.
pub fn run(checks: &[Check], caller: &mut Caller<'_>) -> Smoke {
    for check in checks {
        let (name, result) = match check {
            Check::Http {
                url,
                status,
                within,
            } => (url.clone(), http(url, *status, *within, caller)),
            Check::Run(line) => (format!("`{line}`"), (caller.shell)(line)),
        };
        if caller.is_cancelled() {
            return Smoke::Interrupted;
        }
        match result {
            Ok(()) => caller.tell(Progress::SmokePassed { check: name }),
            Err(reason) => {
                let told = format!("{name}: {reason}");
                caller.tell(Progress::SmokeFailed {
                    check: name,
                    reason,
                });
                return Smoke::Failed(told);
            }
        }
    }
    Smoke::Passed
}

/// Asks until the answer has the status, as long as it may take.
fn http(url: &str, status: u16, within: Duration, caller: &Caller<'_>) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(REQUEST.min(within.max(Duration::from_secs(1)))))
        .build()
        .into();
    let start = Instant::now();
    loop {
        let seen = match agent.get(url).call() {
            Ok(answer) if answer.status().as_u16() == status => return Ok(()),
            Ok(answer) => format!("status {} instead of {status}", answer.status().as_u16()),
            Err(error) => error.to_string(),
        };
        if start.elapsed() >= within || caller.is_cancelled() {
            return Err(format!("{seen}, after {}", crate::units::duration(within)));
        }
        caller.pause(caller.pace.times(1.0));
    }
}

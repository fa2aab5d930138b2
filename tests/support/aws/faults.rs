//! What goes wrong when a test says so, and for which calls. Knows nothing of what the calls do.

use serde_json::Value;

use super::wire::{Call, Failure};
use super::world::World;

pub enum What {
    /// "Rate exceeded", which the SDK retries.
    Throttle,
    /// An answer of 500, and nothing was done.
    ServerError,
    /// An answer of 500, but it was done.
    ServerErrorAfter,
    /// The connection is cut, and nothing was done.
    CutBefore,
    /// The connection is cut, but it was done.
    CutAfter,
    /// The connection is cut once so many bytes of the body came in; of a registry's calls only.
    CutAfterBytes(u64),
    /// The caller may not do this.
    Denied,
    /// The caller's credentials have expired.
    Expired,
    /// Another error of the service, by code and message.
    Fails(&'static str, &'static str),
    /// It is done, and its answer tells something else: one from a replica that lags, a state that can't be waited for.
    Tells(fn(&mut Value)),
    /// Something happens before the call is looked at: another actor.
    Happens(Box<dyn FnMut(&mut World) + Send>),
}

/// Something that goes wrong, in some calls.
pub struct Fault {
    on: String,
    about: String,
    what: What,
    skip: u32,
    every: u32,
    times: u32,
    seen: u32,
}

impl Fault {
    /// In all calls of the name `service:Operation`, where `*` stands for anything: `ecs:UpdateService`, `ecr:*`,
    /// `registry:PATCH blobs`.
    pub fn new(on: &str, what: What) -> Self {
        Self {
            on: on.into(),
            about: String::new(),
            what,
            skip: 0,
            every: 1,
            times: u32::MAX,
            seen: 0,
        }
    }

    /// Something else happens just before a call.
    pub fn happens(on: &str, act: impl FnMut(&mut World) + Send + 'static) -> Self {
        Self::new(on, What::Happens(Box::new(act)))
    }

    /// Only in calls whose input, as JSON, has this in it.
    #[must_use]
    pub fn about(self, text: &str) -> Self {
        Self {
            about: text.into(),
            ..self
        }
    }

    /// Not in the first so many.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Only in each nth of those that are left.
    #[must_use]
    pub fn every(self, every: u32) -> Self {
        Self {
            every: every.max(1),
            ..self
        }
    }

    /// Not more often than this.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn strikes(&mut self, call: &Call) -> bool {
        let about = || self.about.is_empty() || call.input.to_string().contains(&self.about);
        if !glob(&self.on, &call.name()) || self.times == 0 || !about() {
            return false;
        }
        self.seen += 1;
        let strikes = self.seen > self.skip && (self.seen - self.skip).is_multiple_of(self.every);
        self.times -= u32::from(strikes);
        strikes
    }
}

/// What a call comes to, beside what it does.
#[derive(Default)]
pub struct Verdict {
    /// It isn't done at all.
    pub instead: Option<Failure>,
    /// It is done, but this is what is answered.
    pub after: Option<Failure>,
    /// It is done, and this is done to its answer.
    pub told: Option<fn(&mut Value)>,
    pub cut_before: bool,
    pub cut_after: bool,
    pub cut_bytes: Option<u64>,
}

/// Asks all faults about a call; those that are acts act.
pub fn judge(world: &mut World, call: &Call) -> Verdict {
    let mut verdict = Verdict::default();
    let mut faults = std::mem::take(&mut world.faults);
    for fault in faults.iter_mut() {
        if fault.strikes(call) {
            apply(&mut fault.what, world, call, &mut verdict);
        }
    }
    faults.append(&mut world.faults);
    world.faults = faults;
    verdict
}

fn apply(what: &mut What, world: &mut World, call: &Call, verdict: &mut Verdict) {
    match what {
        What::Throttle => verdict.instead = Some(throttled(call)),
        What::ServerError => verdict.instead = Some(server_error(call)),
        What::ServerErrorAfter => verdict.after = Some(server_error(call)),
        What::CutBefore => verdict.cut_before = true,
        What::CutAfter => verdict.cut_after = true,
        What::CutAfterBytes(bytes) => verdict.cut_bytes = Some(*bytes),
        What::Denied => verdict.instead = Some(world.denied(call)),
        What::Expired => verdict.instead = Some(expired(call)),
        What::Fails(code, message) => verdict.instead = Some(Failure::new(code, *message)),
        What::Tells(change) => verdict.told = Some(*change),
        What::Happens(act) => act(world),
    }
}

fn is_query(call: &Call) -> bool {
    matches!(&*call.service, "sts" | "iam")
}

fn throttled(call: &Call) -> Failure {
    let code = if is_query(call) {
        "Throttling"
    } else {
        "ThrottlingException"
    };
    Failure::new(code, "Rate exceeded")
}

fn server_error(call: &Call) -> Failure {
    let code = match &*call.service {
        "ecs" | "ecr" => "ServerException",
        "logs" => "ServiceUnavailableException",
        "secretsmanager" => "InternalServiceError",
        "ssm" => "InternalServerError",
        _ => "InternalFailure",
    };
    Failure::with_status(500, code, "Service Unavailable. Please try again later.")
}

pub fn expired(call: &Call) -> Failure {
    let message = "The security token included in the request is expired";
    if is_query(call) {
        Failure::with_status(403, "ExpiredToken", message)
    } else {
        Failure::new("ExpiredTokenException", message)
    }
}

/// Whether a text fits a pattern, in which `*` stands for anything.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.any(|at| glob(after, &rest[at..]))
}

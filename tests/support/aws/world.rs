//! All that exists in the simulated AWS, and the way of a call through it: who asks, what goes wrong, which service
//! answers. Knows nothing of what a service does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::backing::Backing;
use super::clock::{Clock, Time};
use super::ecr::{self, Ecr, Token};
use super::ecs::{Around, Ecs};
use super::faults::{self, Fault};
use super::http::{Answer, Head, Incoming, Reply};
use super::kept::{self, Kept};
use super::logs::{self, Logs};
use super::sts::{self, Identity};
use super::wire::{Call, Done, Failure};
use super::{ACCOUNT, REGION};

/// Where resources are: nobody sees those of another account or region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub account: String,
    pub region: String,
}

impl Place {
    pub fn new(account: &str, region: &str) -> Self {
        let (account, region) = (account.into(), region.into());
        Self { account, region }
    }

    /// Where callers are who use [`super::Aws::env`].
    pub fn home() -> Self {
        Self::new(ACCOUNT, REGION)
    }

    /// `arn:aws:ecs:REGION:ACCOUNT:RESOURCE`
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!(
            "arn:aws:{service}:{}:{}:{resource}",
            self.region, self.account
        )
    }
}

/// The services of one place.
pub struct Region {
    pub ecr: Ecr,
    pub ecs: Ecs,
    pub logs: Logs,
    pub kept: Kept,
}

impl Region {
    fn new(place: &Place, host: &str) -> Self {
        Self {
            ecr: Ecr::new(place.clone(), host),
            ecs: Ecs::new(place.clone()),
            logs: Logs::new(place.clone()),
            kept: Kept::new(place.clone()),
        }
    }

    /// ECS, and what it looks at.
    fn apart(&mut self, now: Time) -> (&mut Ecs, Around<'_>) {
        let Self {
            ecr,
            ecs,
            logs,
            kept,
        } = self;
        (
            ecs,
            Around {
                ecr,
                logs,
                kept,
                now,
            },
        )
    }

    pub fn advance(&mut self, now: Time) {
        let (ecs, mut around) = self.apart(now);
        ecs.advance(&mut around);
    }

    /// Lets ECS do something at some time.
    pub fn act(&mut self, operation: &str, input: &Value, now: Time) -> Done {
        let (ecs, mut around) = self.apart(now);
        ecs.answer(operation, input, &mut around)
    }
}

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub operation: String,
    pub input: Value,
    /// Of the access key that signed it.
    pub access_key: Option<String>,
    pub region: Option<String>,
    /// In simulated time.
    pub at: Time,
}

pub struct World {
    pub clock: Clock,
    /// `127.0.0.1:PORT`, which is also what the registry is called.
    pub host: String,
    pub regions: BTreeMap<Place, Region>,
    /// By access key.
    pub identities: BTreeMap<String, Identity>,
    /// Passwords of the registry.
    pub tokens: BTreeMap<String, Token>,
    /// For how long a token of the registry is good, in simulated seconds.
    pub token_life: Time,
    /// Whether the registry answers nobody.
    pub registry_gone: bool,
    pub backing: Option<Backing>,
    pub faults: Vec<Fault>,
    pub calls: Vec<Seen>,
}

pub fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(host: String) -> Self {
        Self {
            clock: Clock::new(60.0),
            host,
            regions: BTreeMap::new(),
            identities: BTreeMap::new(),
            tokens: BTreeMap::new(),
            token_life: 12.0 * 3600.0,
            registry_gone: false,
            backing: Backing::from_env(),
            faults: Vec::new(),
            calls: Vec::new(),
        }
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The services of a place as they are now; it is there once it is asked for.
    pub fn region(&mut self, place: &Place) -> &mut Region {
        let (now, host) = (self.clock.now(), &self.host);
        let region = || Region::new(place, host);
        let region = self.regions.entry(place.clone()).or_insert_with(region);
        region.advance(now);
        region
    }

    /// Somebody else calls ECS at home: no call is recorded, no fault strikes.
    pub fn acts(&mut self, operation: &str, input: &Value) -> Done {
        let now = self.now();
        self.region(&Place::home()).act(operation, input, now)
    }

    pub fn record(&mut self, call: &Call) {
        self.calls.push(Seen {
            service: call.service.clone(),
            operation: call.operation.clone(),
            input: call.input.clone(),
            access_key: call.access_key.clone(),
            region: call.region.clone(),
            at: self.clock.now(),
        });
    }

    /// What is said to somebody whom no policy allows a call.
    pub fn denied(&self, call: &Call) -> Failure {
        let caller = call
            .access_key
            .as_ref()
            .and_then(|key| self.identities.get(key));
        let who = caller.map_or("anonymous", |caller| &caller.arn);
        let what = call.name();
        let message = format!(
            "User: {who} is not authorized to perform: {what} on resource: * because no identity-based policy \
             allows the {what} action"
        );
        match &*call.service {
            "sts" | "iam" => Failure::with_status(403, "AccessDenied", message),
            _ => Failure::new("AccessDeniedException", message),
        }
    }

    fn caller(&self, call: &Call) -> Result<Identity, Failure> {
        let query = matches!(&*call.service, "sts" | "iam");
        if sts::is_unsigned(call) {
            return Ok(Identity::user("", ""));
        }
        let refused = |json: &str, xml: &str, message: &str| match query {
            true => Failure::with_status(403, xml, message),
            false => Failure::new(json, message),
        };
        let Some(key) = &call.access_key else {
            let (json, xml) = (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
            );
            return Err(refused(json, xml, "Missing Authentication Token"));
        };
        let Some(identity) = self.identities.get(key) else {
            let message = "The security token included in the request is invalid.";
            return Err(refused(
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                message,
            ));
        };
        match identity.expires {
            Some(expires) if expires <= self.now() => Err(faults::expired(call)),
            _ => Ok(identity.clone()),
        }
    }

    fn perform(&mut self, call: &Call) -> Done {
        let caller = self.caller(call)?;
        let now = self.now();
        if call.service == "sts" {
            let (answer, handed) = sts::answer(call, &caller, now)?;
            self.identities.extend(handed);
            return Ok(answer);
        }
        let place = Place::new(&caller.account, call.region.as_deref().unwrap_or_default());
        match &*call.service {
            "ecr" => ecr::answer(self, &place, call),
            "ecs" => self.region(&place).act(&call.operation, &call.input, now),
            "logs" => logs::answer(
                &mut self.region(&place).logs,
                &call.operation,
                &call.input,
                now,
            ),
            "secretsmanager" | "ssm" | "iam" => kept::answer(&self.region(&place).kept, call, now),
            other => Err(Failure::new("UnknownOperationException", other)),
        }
    }
}

/// Answers what isn't the registry's.
pub fn serve(world: &Mutex<World>, head: &Head, body: &mut Incoming) -> Reply {
    let Ok(bytes) = body.all() else {
        return Reply::Cut;
    };
    let Some(call) = Call::parse(head, &bytes) else {
        let answer = Answer::new(404, "text/plain", "UnknownOperationException");
        return Reply::Answer(answer);
    };
    let mut world = lock(world);
    world.record(&call);
    let verdict = faults::judge(&mut world, &call);
    if verdict.cut_before {
        return Reply::Cut;
    }
    let mut result = match verdict.instead {
        Some(failure) => Err(failure),
        None => world.perform(&call),
    };
    if let (Ok(answer), Some(change)) = (&mut result, verdict.told) {
        change(answer);
    }
    if verdict.cut_after {
        return Reply::Cut;
    }
    let answer = call.answer(verdict.after.map_or(result, Err));
    Reply::Answer(answer.with("date", &http_date(world.now())))
}

fn http_date(time: Time) -> String {
    let time = jiff::Timestamp::from_second(time as i64).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

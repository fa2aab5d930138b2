//! Follows one deployment to its end, with an own poller: ECS's waiters stop after ten minutes and take
//! any stable service for a success.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{DesiredStatus, Task};

use super::definitions::Registered;
use super::{Ecs, convert};
use crate::aws::{AwsError, AwsErrorKind};
use crate::deploy::progress::{Progress, cause};
use crate::deploy::request::Caller;
use crate::deploy::seen::{DeploymentView, ServiceView};
use crate::deploy::state::{Observation, State, Watch};

/// How many crashed tasks are told of with their logs, each ended in another way; the others are counted.
const TOLD: usize = 3;
/// How many tasks one call describes.
const DESCRIBED: usize = 100;
/// Refused so often in a row, it won't get better by asking.
const REFUSALS: u32 = 3;

/// What is followed.
pub struct Followed<'a> {
    pub service: &'a str,
    /// `ecs-svc/…`
    pub deployment: String,
    /// For the logs of its tasks.
    pub registered: &'a Registered,
    pub timeout: Duration,
    /// ECS went back to it, under its old id.
    pub reinstated: bool,
    /// Events from before.
    pub events: BTreeSet<String>,
}

/// How following ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Over {
        state: State,
        /// Why its first task crashed, where one did.
        cause: Option<String>,
    },
    Interrupted,
    /// It can't be followed any more; one line says why.
    Lost(String),
}

/// How often calls may fail.
#[derive(Default)]
pub struct Patience {
    refused: u32,
    /// In a row, of any kind.
    failed: u32,
}

impl Patience {
    pub fn well(&mut self) {
        *self = Patience::default();
    }

    /// A call failed; what to say when there is no point in another.
    pub fn bad(&mut self, error: &AwsError) -> Option<String> {
        self.failed += 1;
        self.refused += u32::from(is_refusal(error));
        (self.refused >= REFUSALS).then(|| error.message.clone())
    }

    /// How many times the usual pause: twice as long with each failure, up to sixteen times.
    pub fn factor(&self) -> f64 {
        f64::from(1 << self.failed.min(4))
    }
}

/// Whether the same call would be answered the same way again.
fn is_refusal(error: &AwsError) -> bool {
    !matches!(
        error.kind,
        AwsErrorKind::Throttled | AwsErrorKind::Unreachable | AwsErrorKind::Cancelled
    )
}

/// Follows until it is over.
pub fn follow(ecs: &Ecs, followed: Followed<'_>, caller: &mut Caller<'_>) -> End {
    let watch = match followed.reinstated {
        true => Watch::reinstated,
        false => Watch::new,
    };
    let mut follower = Follower {
        watch: watch(followed.deployment.clone(), followed.timeout),
        events: followed.events.clone(),
        record: None,
        counts: None,
        crashed: BTreeSet::new(),
        told: Vec::new(),
        breaker: false,
        blind: false,
        ecs,
        followed,
    };
    let start = Instant::now();
    let mut patience = Patience::default();
    let mut last_error = None;
    for look in 0_u32.. {
        if caller.is_cancelled() {
            return End::Interrupted;
        }
        match follower.look(start.elapsed(), look, caller) {
            Ok(state) => {
                patience.well();
                if state.is_over() {
                    follower.last_words(&state, caller);
                    let cause = follower.told.first().map(|(cause, _)| cause.clone());
                    return End::Over { state, cause };
                }
            }
            Err(error) => {
                if let Some(why) = patience.bad(&error) {
                    return End::Lost(why);
                }
                last_error = Some(error.message);
            }
        }
        if start.elapsed() >= follower.followed.timeout * 2 {
            // Not one answer since the time was up: else the state would have said so.
            return End::Lost(last_error.unwrap_or_default());
        }
        let usual = if look < 10 { 1.0 } else { 3.0 };
        caller.pause(caller.pace.times(usual * patience.factor()));
    }
    End::Interrupted
}

struct Follower<'a> {
    ecs: &'a Ecs,
    followed: Followed<'a>,
    watch: Watch,
    events: BTreeSet<String>,
    /// ARN of the deployment's record.
    record: Option<String>,
    counts: Option<[u32; 4]>,
    /// ARNs of stopped tasks that were looked at.
    crashed: BTreeSet<String>,
    /// Why tasks crashed, with what they wrote last.
    told: Vec<(String, Vec<String>)>,
    /// That ECS goes back was told.
    breaker: bool,
    /// Tasks may not be looked at.
    blind: bool,
}

impl Follower<'_> {
    fn look(
        &mut self,
        elapsed: Duration,
        look: u32,
        caller: &mut Caller<'_>,
    ) -> Result<State, AwsError> {
        let name = self.followed.service;
        let ours = &self.followed.deployment;
        // The service is looked at last: when the record says that ours was stopped, it tells for whom.
        let record = match self.followed.reinstated {
            true => None,
            false => self.ecs.record(name, ours, &mut self.record, caller)?,
        };
        let service = self.ecs.service(name, caller.cancelled)?;
        let view = service.as_ref().map(convert::service).unwrap_or_default();
        let news = self.tell_events(&view, caller);
        let failed = self.tell_counts(&view, caller);
        if news || failed || look % 4 == 3 {
            self.look_at_tasks(caller);
        }
        let state = self.watch.observe(&Observation {
            service: &view,
            record: record.as_ref(),
            records: self.ecs.may_read_records(),
            elapsed,
        });
        let state = state.clone();
        if state == State::RollingBack && !self.breaker {
            self.breaker = true;
            caller.tell(Progress::BreakerRollback {
                service: name.to_owned(),
            });
        }
        Ok(state)
    }

    /// Whether there were new ones. They are told by their ids: times can be equal, and lag.
    fn tell_events(&mut self, view: &ServiceView, caller: &mut Caller<'_>) -> bool {
        let before = self.events.len();
        for event in view.events.iter().rev() {
            if self.events.insert(event.id.clone()) {
                caller.tell(Progress::Event {
                    service: self.followed.service.to_owned(),
                    message: event.message.clone(),
                });
            }
        }
        self.events.len() > before
    }

    /// Whether more tasks failed.
    fn tell_counts(&mut self, view: &ServiceView, caller: &mut Caller<'_>) -> bool {
        let ours = &self.followed.deployment;
        // Of one that is replaced no tasks are wanted any more: that tells nobody anything.
        let mut all = view.deployments.iter();
        let ours = all.find(|one| one.id == *ours && one.primary);
        let Some(DeploymentView {
            running,
            desired,
            pending,
            failed,
            ..
        }) = ours.cloned()
        else {
            return false;
        };
        let counts = [running, desired, pending, failed];
        let before = self.counts.replace(counts);
        if before != Some(counts) {
            caller.tell(Progress::Rollout {
                service: self.followed.service.to_owned(),
                running,
                desired,
                pending,
                failed,
            });
        }
        failed > before.map_or(0, |before| before[3])
    }

    /// Tasks only tell why: not being allowed to look at them changes nothing.
    fn look_at_tasks(&mut self, caller: &mut Caller<'_>) {
        if self.blind {
            return;
        }
        if let Err(error) = self.tell_crashes(caller) {
            let refused = is_refusal(&error);
            self.blind = refused;
            if refused {
                caller.warn(format!("its tasks can't be looked at: {error}"));
            }
        }
    }

    fn tell_crashes(&mut self, caller: &mut Caller<'_>) -> Result<(), AwsError> {
        let service = self.followed.service;
        let mut arns = self.ecs.tasks(service, DesiredStatus::Stopped, caller)?;
        arns.retain(|arn| !self.crashed.contains(arn));
        for task in self.ecs.describe_tasks(&arns, caller)? {
            if task.started_by() != Some(&self.followed.deployment) {
                self.crashed.extend(task.task_arn);
                continue;
            }
            // It is on its way down: its containers' exit codes come later.
            if task.last_status() != Some("STOPPED") {
                continue;
            }
            let stopped = convert::stopped(&task);
            self.crashed.extend(task.task_arn);
            if !stopped.crashed() || self.told.len() == TOLD {
                continue;
            }
            let definition = &self.followed.registered.definition;
            let container = stopped.culprit().map(|one| one.name.clone());
            let log = container.map(|name| self.ecs.tail(definition, &name, &stopped.id, caller));
            let end = (cause(&stopped), log.unwrap_or_default());
            if self.told.contains(&end) {
                continue;
            }
            self.told.push(end.clone());
            caller.tell(Progress::Crashed {
                service: service.to_owned(),
                task: stopped,
                log: end.1,
            });
        }
        Ok(())
    }

    /// After the end: what hasn't been told of a failure, or that it is done.
    fn last_words(&mut self, state: &State, caller: &mut Caller<'_>) {
        if *state == State::Completed {
            caller.tell(Progress::Completed {
                service: self.followed.service.to_owned(),
                deployment: self.followed.deployment.clone(),
            });
            return;
        }
        // Much can have happened since the service was looked at.
        if let Ok(Some(service)) = self.ecs.service(self.followed.service, caller.cancelled) {
            self.tell_events(&convert::service(&service), caller);
        }
        self.look_at_tasks(caller);
    }
}

impl Ecs {
    pub(super) fn describe_tasks(
        &self,
        arns: &[String],
        caller: &Caller<'_>,
    ) -> Result<Vec<Task>, AwsError> {
        let mut found = Vec::new();
        for some in arns.chunks(DESCRIBED) {
            let call = self
                .client
                .describe_tasks()
                .cluster(&self.cluster)
                .set_tasks(Some(some.to_vec()))
                .send();
            let answer = self
                .aws
                .call_until("ecs:DescribeTasks", call, caller.cancelled)?;
            found.extend(answer.tasks.unwrap_or_default());
        }
        Ok(found)
    }
}

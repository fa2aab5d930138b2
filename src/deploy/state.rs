//! Our own deployment as a state machine, fed with what is seen of the service. Pure.
//!
//! Only its own completion is success: a service that is stable again after the circuit breaker rolled
//! back looks just as well as one that was deployed to.
//!
//! Two sources tell of it. The service deployment (a record of its own, which isn't everybody's to read) has
//! the last word once it was seen. Without it there is the service's list of deployments, from which one that failed
//! may vanish; then it counts who is PRIMARY instead. One that is older than ours (by AWS's clock, on both
//! sides) is what the circuit breaker went back to, a newer one has taken over.
//!
//! What ECS goes back to has its old id again, and under that the record of its first life, which succeeded. So such a
//! deployment is followed by the list alone, and has completed when the service says so of all of its tasks.

use std::time::Duration;

use jiff::Timestamp;

use super::seen::{DeploymentView, Rollout, ServiceDeployment, ServiceView, Status};

/// How long a new deployment may be missing from what AWS answers before it counts as vanished.
const UNSEEN: Duration = Duration::from_secs(60);
/// A verdict from absence needs so many looks in a row: answers can come from a replica that lags.
const LOOKS: u32 = 2;

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Accepted, nothing has happened.
    Pending,
    InProgress,
    /// It failed, and ECS is going back by itself.
    RollingBack,
    Completed,
    Failed {
        reason: String,
    },
    /// Another deployment took its place.
    SupersededBy {
        deployment: String,
    },
    /// The circuit breaker (or whoever asked ECS to) went back to an older deployment.
    RolledBack {
        reason: String,
    },
    Vanished,
    TimedOut,
}

impl State {
    pub fn is_over(&self) -> bool {
        !matches!(
            self,
            State::Pending | State::InProgress | State::RollingBack
        )
    }
}

/// One look at the service.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    pub service: &'a ServiceView,
    /// The record of our deployment, where it can be read.
    pub record: Option<&'a ServiceDeployment>,
    /// Records may be read, as far as is known: one may be listed and then not described.
    pub records: bool,
    /// Since the deployment began.
    pub elapsed: Duration,
}

/// Follows one deployment.
#[derive(Clone, Debug)]
pub struct Watch {
    deployment: String,
    timeout: Duration,
    /// ECS went back to it.
    reinstated: bool,
    /// When AWS says that ours began, once it was seen.
    created: Option<Timestamp>,
    record_seen: bool,
    absent: u32,
    state: State,
}

impl Watch {
    /// `deployment` is the id that `UpdateService` answered (`ecs-svc/…`).
    pub fn new(deployment: impl Into<String>, timeout: Duration) -> Watch {
        Watch {
            deployment: deployment.into(),
            timeout,
            reinstated: false,
            created: None,
            record_seen: false,
            absent: 0,
            state: State::Pending,
        }
    }

    /// A deployment of old that ECS goes back to.
    pub fn reinstated(deployment: impl Into<String>, timeout: Duration) -> Watch {
        Watch {
            reinstated: true,
            ..Watch::new(deployment, timeout)
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes in a look. What is over stays as it ended.
    pub fn observe(&mut self, seen: &Observation<'_>) -> &State {
        if self.state.is_over() {
            return &self.state;
        }
        let ours = seen.service.deployments.iter();
        let ours = ours.clone().find(|one| one.id == self.deployment);
        if let Some(ours) = ours {
            self.created = Some(ours.created);
        }
        let record = seen.record.filter(|_| !self.reinstated);
        self.record_seen |= record.is_some();
        let next = match record {
            _ if seen.service.is_going() => State::Failed {
                reason: format!("the service is {}: it was deleted", seen.service.status),
            },
            Some(record) => self.by_record(record, seen.service),
            // The record is the better witness: while it can't be read, nothing is concluded. Where it may not be, there
            // is none.
            None if self.record_seen && seen.records => self.state.clone(),
            None => self.by_list(ours, seen),
        };
        // ECS's own way back gets as long again: cutting in would be a second one.
        let limit = match next {
            State::RollingBack => self.timeout * 2,
            _ => self.timeout,
        };
        self.state = match next.is_over() {
            false if seen.elapsed >= limit => State::TimedOut,
            _ => next,
        };
        &self.state
    }

    fn by_record(&self, record: &ServiceDeployment, service: &ServiceView) -> State {
        let reason = || match record.reason.is_empty() {
            true => "ECS doesn't say why".to_owned(),
            false => record.reason.clone(),
        };
        match record.status {
            Status::Pending => State::Pending,
            Status::InProgress | Status::StopRequested => State::InProgress,
            Status::Successful => State::Completed,
            Status::RollbackRequested | Status::RollbackInProgress => State::RollingBack,
            Status::RollbackSuccessful => State::RolledBack { reason: reason() },
            Status::RollbackFailed => State::Failed {
                reason: format!("ECS couldn't go back: {}", reason()),
            },
            Status::Stopped => match service.primary() {
                Some(other) if self.is_newer(other, record.created) => State::SupersededBy {
                    deployment: other.id.clone(),
                },
                _ => State::Failed {
                    reason: format!("it was stopped: {}", reason()),
                },
            },
        }
    }

    fn is_newer(&self, other: &DeploymentView, created: Timestamp) -> bool {
        other.id != self.deployment && other.created > self.created.unwrap_or(created)
    }

    fn by_list(&mut self, ours: Option<&DeploymentView>, seen: &Observation<'_>) -> State {
        if let Some(ours) = ours.filter(|ours| ours.primary) {
            self.absent = 0;
            return match ours.rollout {
                Rollout::Completed if self.reinstated && !seen.service.is_stable() => {
                    State::InProgress
                }
                Rollout::Completed => State::Completed,
                Rollout::InProgress => State::InProgress,
                Rollout::Failed => State::Failed {
                    reason: ours.reason.clone(),
                },
            };
        }
        let Some(created) = self.created else {
            return match seen.elapsed >= UNSEEN {
                true => State::Vanished,
                false => State::Pending,
            };
        };
        self.absent += 1;
        let verdict = self.replaced(ours, seen.service, created);
        match verdict.is_over() && self.absent < LOOKS {
            true => self.state.clone(),
            false => verdict,
        }
    }

    /// Ours was there, and isn't the primary one any more.
    fn replaced(
        &self,
        ours: Option<&DeploymentView>,
        service: &ServiceView,
        created: Timestamp,
    ) -> State {
        let Some(primary) = service.primary() else {
            return State::Vanished;
        };
        if primary.created > created {
            return State::SupersededBy {
                deployment: primary.id.clone(),
            };
        }
        let reason = ours.map(|ours| ours.reason.clone());
        let reason = reason.filter(|reason| !reason.is_empty());
        match primary.rollout {
            Rollout::InProgress => State::RollingBack,
            Rollout::Completed => State::RolledBack {
                reason: reason.unwrap_or_else(|| {
                    format!("ECS went back to the older deployment {}", primary.id)
                }),
            },
            Rollout::Failed => State::Failed {
                reason: "ECS couldn't go back".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: (&str, i64) = ("ecs-svc/old", 10);
    const OURS: (&str, i64) = ("ecs-svc/ours", 20);
    const NEW: (&str, i64) = ("ecs-svc/new", 30);

    fn deployment(who: (&str, i64), primary: bool, rollout: Rollout) -> DeploymentView {
        DeploymentView {
            id: who.0.into(),
            primary,
            rollout,
            reason: String::new(),
            task_definition: String::new(),
            desired: 1,
            running: 1,
            pending: 0,
            failed: 0,
            created: Timestamp::from_second(who.1).unwrap(),
        }
    }

    fn service(deployments: Vec<DeploymentView>) -> ServiceView {
        ServiceView {
            desired: 1,
            running: 1,
            deployments,
            ..ServiceView::default()
        }
    }

    fn record(status: Status) -> ServiceDeployment {
        ServiceDeployment {
            arn: "arn:…/1".into(),
            revision_arn: "arn:…/ours".into(),
            status,
            reason: "because".into(),
            created: Timestamp::from_second(20).unwrap(),
            finished: None,
        }
    }

    /// What a sequence of looks, one a second, ends in.
    fn follow(looks: &[(ServiceView, Option<ServiceDeployment>)]) -> State {
        let mut watch = Watch::new(OURS.0, Duration::from_secs(900));
        for (second, (service, record)) in (1..).zip(looks) {
            watch.observe(&Observation {
                service,
                record: record.as_ref(),
                records: true,
                elapsed: Duration::from_secs(second),
            });
        }
        watch.state().clone()
    }

    use Rollout::{Completed, Failed, InProgress};

    fn going() -> ServiceView {
        service(vec![
            deployment(OURS, true, InProgress),
            deployment(OLD, false, Completed),
        ])
    }

    fn back(rollout: Rollout) -> ServiceView {
        service(vec![deployment(OLD, true, rollout)])
    }

    fn taken() -> ServiceView {
        service(vec![
            deployment(NEW, true, InProgress),
            deployment(OURS, false, InProgress),
        ])
    }

    #[test]
    fn the_record_decides() {
        let table = [
            (Status::Pending, State::Pending),
            (Status::InProgress, State::InProgress),
            (Status::StopRequested, State::InProgress),
            (Status::RollbackRequested, State::RollingBack),
            (Status::RollbackInProgress, State::RollingBack),
            (Status::Successful, State::Completed),
            (
                Status::RollbackSuccessful,
                State::RolledBack {
                    reason: "because".into(),
                },
            ),
            (
                Status::RollbackFailed,
                State::Failed {
                    reason: "ECS couldn't go back: because".into(),
                },
            ),
            (
                Status::Stopped,
                State::Failed {
                    reason: "it was stopped: because".into(),
                },
            ),
        ];
        for (status, state) in table {
            assert_eq!(follow(&[(going(), Some(record(status)))]), state);
        }
        // However well the service looks: stable, all tasks running, and rolled back.
        let stable = back(Completed);
        assert!(stable.is_stable());
        let state = follow(&[(stable, Some(record(Status::RollbackSuccessful)))]);
        assert!(matches!(state, State::RolledBack { .. }));
        assert_eq!(
            follow(&[(taken(), Some(record(Status::Stopped)))]),
            State::SupersededBy {
                deployment: NEW.0.into()
            }
        );
    }

    #[test]
    fn without_a_record_the_list_decides() {
        let done = service(vec![
            deployment(OURS, true, Completed),
            deployment(OLD, false, Completed),
        ]);
        let superseded = State::SupersededBy {
            deployment: NEW.0.into(),
        };
        let failed = service(vec![deployment(OURS, true, Failed)]);
        let gone = service(vec![deployment(NEW, true, Completed)]);
        let table: &[(&[ServiceView], State)] = &[
            (&[going()], State::InProgress),
            (&[going(), done], State::Completed),
            (&[going(), taken(), taken()], superseded.clone()),
            (&[going(), gone.clone(), gone], superseded),
            (
                &[going(), back(InProgress), back(InProgress)],
                State::RollingBack,
            ),
            (
                &[going(), service(vec![]), service(vec![])],
                State::Vanished,
            ),
            (
                &[failed],
                State::Failed {
                    reason: String::new(),
                },
            ),
        ];
        for (looks, state) in table {
            let looks: Vec<_> = looks.iter().map(|look| (look.clone(), None)).collect();
            assert_eq!(follow(&looks), *state, "{looks:?}");
        }
        let looks = [going(), back(Completed), back(Completed)].map(|look| (look, None));
        assert!(matches!(follow(&looks), State::RolledBack { .. }));
    }

    #[test]
    fn one_look_at_a_lagging_replica_decides_nothing() {
        // Not there yet: the old one looks complete.
        let early = [(back(Completed), None), (back(Completed), None)];
        assert_eq!(follow(&early), State::Pending);
        // Not there for once.
        let once = [(going(), None), (back(Completed), None), (going(), None)];
        assert_eq!(follow(&once), State::InProgress);
        // A record that can't be read for a while.
        let silent = [
            (going(), Some(record(Status::InProgress))),
            (back(Completed), None),
            (back(Completed), None),
            (back(Completed), None),
        ];
        assert_eq!(follow(&silent), State::InProgress);
    }

    #[test]
    fn what_never_shows_up_has_vanished_and_time_runs_out() {
        let mut watch = Watch::new(OURS.0, Duration::from_secs(900));
        let mut look = |service: &ServiceView, seconds| {
            let elapsed = Duration::from_secs(seconds);
            let seen = Observation {
                service,
                record: None,
                records: true,
                elapsed,
            };
            watch.observe(&seen).clone()
        };
        assert_eq!(look(&back(Completed), 59), State::Pending);
        assert_eq!(look(&back(Completed), 60), State::Vanished);

        let mut watch = Watch::new(OURS.0, Duration::from_secs(900));
        let mut look = |service: &ServiceView, seconds| {
            let elapsed = Duration::from_secs(seconds);
            let seen = Observation {
                service,
                record: None,
                records: true,
                elapsed,
            };
            watch.observe(&seen).clone()
        };
        assert_eq!(look(&going(), 899), State::InProgress);
        assert_eq!(look(&going(), 900), State::TimedOut);
        let done = service(vec![deployment(OURS, true, Completed)]);
        assert_eq!(look(&done, 901), State::TimedOut, "over is over");
        // What completes in the very last look has completed.
        let mut watch = Watch::new(OURS.0, Duration::from_secs(900));
        let seen = Observation {
            service: &done,
            record: None,
            records: true,
            elapsed: Duration::from_secs(900),
        };
        assert_eq!(*watch.observe(&seen), State::Completed);
    }

    #[test]
    fn the_way_back_may_take_as_long_again() {
        let mut watch = Watch::new(OURS.0, Duration::from_secs(100));
        let record = record(Status::RollbackInProgress);
        let mut look = |seconds| {
            let seen = Observation {
                service: &going(),
                record: Some(&record),
                records: true,
                elapsed: Duration::from_secs(seconds),
            };
            watch.observe(&seen).clone()
        };
        assert_eq!(look(199), State::RollingBack);
        assert_eq!(look(200), State::TimedOut);
    }

    #[test]
    fn what_ecs_goes_back_to_has_completed_when_its_tasks_run() {
        // Its own record is that of its first life.
        let first_life = record(Status::Successful);
        let mut watch = Watch::reinstated(OURS.0, Duration::from_secs(100));
        let mut look = |rollout, running| {
            let mut service = service(vec![deployment(OURS, true, rollout)]);
            service.deployments[0].running = running;
            let seen = Observation {
                service: &service,
                record: Some(&first_life),
                records: true,
                elapsed: Duration::from_secs(1),
            };
            watch.observe(&seen).clone()
        };
        assert_eq!(look(InProgress, 0), State::InProgress);
        assert_eq!(look(InProgress, 1), State::InProgress);
        assert_eq!(look(Completed, 0), State::InProgress);
        assert_eq!(look(Completed, 1), State::Completed);
    }

    #[test]
    fn records_that_may_be_listed_only_leave_it_to_the_list() {
        let listed = record(Status::InProgress);
        let done = service(vec![deployment(OURS, true, Completed)]);
        let mut watch = Watch::new(OURS.0, Duration::from_secs(100));
        let mut look = |service: &ServiceView, record, records| {
            let seen = Observation {
                service,
                record,
                records,
                elapsed: Duration::from_secs(1),
            };
            watch.observe(&seen).clone()
        };
        assert_eq!(look(&going(), Some(&listed), true), State::InProgress);
        assert_eq!(look(&done, None, true), State::InProgress);
        assert_eq!(look(&done, None, false), State::Completed);
    }

    fn looks() -> impl Strategy<Value = Vec<(ServiceView, Option<ServiceDeployment>)>> {
        let rollout = || prop_oneof![Just(InProgress), Just(Completed), Just(Failed)];
        let one = (
            any::<[bool; 3]>(),
            0usize..4,
            [rollout(), rollout(), rollout()],
        );
        let service = one.prop_map(|(there, primary, rollouts)| {
            let who = [OLD, OURS, NEW];
            let listed = (0..3).filter(|at| there[*at]);
            service(
                listed
                    .map(|at| deployment(who[at], at == primary, rollouts[at]))
                    .collect(),
            )
        });
        let status = prop_oneof![
            Just(Status::Pending),
            Just(Status::InProgress),
            Just(Status::Successful),
            Just(Status::Stopped),
            Just(Status::RollbackInProgress),
            Just(Status::RollbackSuccessful),
            Just(Status::RollbackFailed),
        ];
        let look = (service, proptest::option::of(status.prop_map(record)));
        proptest::collection::vec(look, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Whatever is seen in whatever order: success is only said when our own deployment was seen complete.
        #[test]
        fn success_is_our_own(looks in looks()) {
            let state = follow(&looks);
            if state == State::Completed {
                let ours = looks.iter().any(|(service, record)| {
                    let listed = service.deployments.iter().any(|one| {
                        one.id == OURS.0 && one.primary && one.rollout == Completed
                    });
                    listed || record.as_ref().is_some_and(|one| one.status == Status::Successful)
                });
                prop_assert!(ours);
            }
        }
    }
}

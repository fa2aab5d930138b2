//! Services: containers and processes that are up and ready while targets run.
//!
//! A service is started when the first target that really runs asks for it, once for all that do, and is
//! gone afterwards whatever happens: a process ends with forge's supervisor, a container is removed by
//! the run that made it or, when that was killed, by the label of its owner in the next run that starts
//! a container.
//!
//! Knows nothing of targets, keys or what is done with events.

mod backend;
mod container;
mod definition;
mod error;
mod local;
mod owner;
mod ports;
mod probe;
mod slot;
mod start;
mod tail;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

pub use container::{Leftover, leftovers, sweep};
pub use definition::{Check, Endpoint, Rendered, Template};
pub use error::{Cause, ServiceError};

use backend::Backend;
use container::Origin;
use ports::Ports;
use slot::{Entered, Slot, State};

use crate::docker::{Credentials, Engine, EngineError};

/// Where every service answers.
pub const HOST: &str = "127.0.0.1";

/// What happens to services.
#[derive(Clone, Debug)]
pub enum ServiceEvent {
    Starting {
        service: Arc<str>,
    },
    /// A step on the way, such as a pull: worth showing while it lasts.
    Progress {
        service: Arc<str>,
        text: String,
    },
    /// It answers; `detail` says how and where: `container postgres:15 on 127.0.0.1:40123`.
    Ready {
        service: Arc<str>,
        detail: String,
        took: Duration,
    },
    Stopped {
        service: Arc<str>,
    },
    /// Something a person should know that changes no outcome.
    Notice {
        service: Arc<str>,
        message: String,
        help: Option<String>,
    },
}

type Events = Box<dyn Fn(ServiceEvent) + Send + Sync>;
/// Who to be where an image is pulled from, or in one line why that can't be told.
type Logins = Box<dyn Fn(&str) -> Result<Option<Credentials>, String> + Send + Sync>;

/// What a run asks of services. Cheap to make: nothing is started or connected to before [`Services::acquire`].
pub struct Services {
    slots: Vec<Slot>,
    origin: Origin,
    events: Events,
    logins: Logins,
    ports: Ports,
    engine: OnceLock<Result<Arc<Engine>, EngineError>>,
    swept: Once,
    /// The run is over: nothing starts any more.
    closed: AtomicBool,
}

impl Services {
    /// `workspace_id` and `run_id` end up in labels of containers.
    pub fn new(
        workspace_id: String,
        run_id: String,
        definitions: Vec<Rendered>,
        events: impl Fn(ServiceEvent) + Send + Sync + 'static,
    ) -> Services {
        Services {
            slots: definitions.into_iter().map(Slot::new).collect(),
            origin: Origin {
                workspace: workspace_id,
                run: run_id,
                owner: owner::Owner::current(),
            },
            events: Box::new(events),
            logins: Box::new(|_| Ok(None)),
            ports: Ports::default(),
            engine: OnceLock::new(),
            swept: Once::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Images are pulled as `login` says, of an image's name.
    #[must_use]
    pub fn pulled_as(
        mut self,
        login: impl Fn(&str) -> Result<Option<Credentials>, String> + Send + Sync + 'static,
    ) -> Services {
        self.logins = Box::new(login);
        self
    }

    /// Where a service answers. Starts it if nobody has, and waits until it is ready; who comes while
    /// another starts it waits for that.
    ///
    /// # Errors
    /// It can't be started, isn't ready in time, or has ended; the same for all who ask. `cancel` ends
    /// the wait of this caller alone: another who waits starts it then.
    pub fn acquire(&self, index: usize, cancel: &AtomicBool) -> Result<Endpoint, ServiceError> {
        let Some(slot) = self.slots.get(index) else {
            return Err(ServiceError::failed(&format!("#{index}"), "isn't defined"));
        };
        let name = &slot.definition.name;
        let cancelled = || cancel.load(Ordering::Relaxed) || self.closed.load(Ordering::Relaxed);
        match slot.enter(&cancelled) {
            Entered::Cancelled => Err(ServiceError::cancelled(name)),
            Entered::Failed(error) => Err(error),
            Entered::Up(service) => still_up(slot, &*service),
            Entered::MyTurn(turn) => {
                let started = self.start(&slot.definition, &cancelled);
                let answer = match &started {
                    Ok(service) => Ok(service.endpoint().clone()),
                    Err(error) => Err(error.clone()),
                };
                turn.end(match started {
                    Ok(service) => State::Up(service),
                    Err(error) if error.is_cancelled() => State::Idle,
                    Err(error) => State::Failed(error),
                });
                answer
            }
        }
    }

    fn start(
        &self,
        service: &Rendered,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Arc<dyn Backend>, ServiceError> {
        let begun = Instant::now();
        self.tell(ServiceEvent::Starting {
            service: Arc::clone(&service.name),
        });
        let backend = start::start(self, service, cancelled)?;
        self.tell(ServiceEvent::Ready {
            service: Arc::clone(&service.name),
            detail: detail(&*backend),
            took: begun.elapsed(),
        });
        Ok(backend)
    }

    /// Ends a service that nobody uses any more; one that isn't up is left alone. Returns when it is gone.
    pub fn stop(&self, index: usize) {
        if let Some(slot) = self.slots.get(index) {
            self.stop_slot(slot);
        }
    }

    /// Ends all of them, and lets none start again.
    pub fn stop_all(&self) {
        self.closed.store(true, Ordering::Relaxed);
        thread::scope(|scope| {
            for slot in &self.slots {
                if slot.peek(|state| matches!(state, State::Busy | State::Up(_))) {
                    scope.spawn(|| self.stop_slot(slot));
                }
            }
        });
    }

    fn stop_slot(&self, slot: &Slot) {
        let Some((service, turn)) = slot.take() else {
            return;
        };
        let name = &slot.definition.name;
        if let Err(error) = service.stop() {
            self.tell(ServiceEvent::Notice {
                service: Arc::clone(name),
                message: error.message,
                help: Some("`forge doctor --fix` removes what is left of it".into()),
            });
        }
        drop(service);
        // Before others see that it is gone: after that the run may end, and nobody listens any more.
        self.tell(ServiceEvent::Stopped {
            service: Arc::clone(name),
        });
        turn.end(State::Idle);
    }

    /// The last lines of a service, for those whose work with it failed; says so when it has ended.
    pub fn tail(&self, index: usize) -> Vec<u8> {
        let Some(slot) = self.slots.get(index) else {
            return Vec::new();
        };
        let found = slot.peek(|state| match state {
            State::Up(service) => Ok(Arc::clone(service)),
            State::Failed(error) => Err(error.log.clone()),
            State::Idle | State::Busy => Err(Vec::new()),
        });
        let service = match found {
            Ok(service) => service,
            Err(log) => return log,
        };
        let mut log = service.tail();
        if let Ok(Some(trouble)) = service.trouble() {
            log.extend_from_slice(
                format!("({}: {trouble} while in use)\n", service.name()).as_bytes(),
            );
        }
        log
    }

    /// The engine, connected to once for all services of a run.
    fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        self.engine
            .get_or_init(|| Engine::connect().map(Arc::new))
            .clone()
    }

    fn tell(&self, event: ServiceEvent) {
        (self.events)(event);
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// A service that has ended since it was ready fails those who come later: what it held is lost.
fn still_up(slot: &Slot, service: &dyn Backend) -> Result<Endpoint, ServiceError> {
    match service.trouble()? {
        None => Ok(service.endpoint().clone()),
        Some(trouble) => {
            let error = ServiceError::failed(service.name(), format!("{trouble} while in use"))
                .log(service.tail());
            slot.fail(error.clone());
            Err(error)
        }
    }
}

fn detail(service: &dyn Backend) -> String {
    let endpoint = service.endpoint();
    let ports: Vec<String> = endpoint
        .ports
        .iter()
        .map(|(_, port)| port.to_string())
        .collect();
    match ports.is_empty() {
        true => service.kind(),
        false => format!(
            "{} on {}:{}",
            service.kind(),
            endpoint.host,
            ports.join(", ")
        ),
    }
}

//! The state of one service in a run, and whose turn it is to change it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backend::Backend;
use super::definition::Rendered;
use super::error::ServiceError;

/// How often somebody who waits for another's start looks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(50);

/// One service of a run.
pub struct Slot {
    pub definition: Rendered,
    state: Mutex<State>,
    changed: Condvar,
}

/// `Idle → Busy → Up → Busy → Idle`; `Failed` is reached from `Busy` and `Up`, and stays.
pub enum State {
    Idle,
    /// Somebody starts or stops it.
    Busy,
    Up(Arc<dyn Backend>),
    Failed(ServiceError),
}

/// What somebody who wants the service finds.
pub enum Entered<'a> {
    /// It isn't up: start it.
    MyTurn(Turn<'a>),
    Up(Arc<dyn Backend>),
    Failed(ServiceError),
    Cancelled,
}

/// The right to change a service's state; `Idle` follows where nothing else is said.
pub struct Turn<'a> {
    slot: &'a Slot,
    next: State,
}

impl Slot {
    pub fn new(definition: Rendered) -> Slot {
        Slot {
            definition,
            state: Mutex::new(State::Idle),
            changed: Condvar::new(),
        }
    }

    /// Waits while somebody else is busy with it.
    pub fn enter(&self, cancelled: &dyn Fn() -> bool) -> Entered<'_> {
        let mut state = self.lock();
        loop {
            match &*state {
                State::Up(service) => return Entered::Up(Arc::clone(service)),
                State::Failed(error) => return Entered::Failed(error.clone()),
                _ if cancelled() => return Entered::Cancelled,
                State::Idle => {
                    *state = State::Busy;
                    return Entered::MyTurn(self.turn());
                }
                State::Busy => state = self.wait(state),
            }
        }
    }

    /// Takes out what is up, to stop it; waits while somebody is busy with it.
    pub fn take(&self) -> Option<(Arc<dyn Backend>, Turn<'_>)> {
        let mut state = self.lock();
        while let State::Busy = &*state {
            state = self.wait(state);
        }
        match std::mem::replace(&mut *state, State::Busy) {
            State::Up(service) => Some((service, self.turn())),
            other => {
                *state = other;
                None
            }
        }
    }

    /// What a look from outside finds, without waiting.
    pub fn peek<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Nobody gets it any more in this run.
    pub fn fail(&self, error: ServiceError) {
        *self.lock() = State::Failed(error);
        self.changed.notify_all();
    }

    fn turn(&self) -> Turn<'_> {
        Turn {
            slot: self,
            next: State::Idle,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(state, LOOK) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

impl Turn<'_> {
    pub fn end(mut self, next: State) {
        self.next = next;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = std::mem::replace(&mut self.next, State::Idle);
        *self.slot.lock() = next;
        self.slot.changed.notify_all();
    }
}

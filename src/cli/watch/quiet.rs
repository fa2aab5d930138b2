//! Keeps a run with nothing to do off the screen. Knows nothing of what the screen is.

use crate::engine::event::{Event, Listener, Outcome, Spent};

/// Passes events on from the first one that is worth a word; before it, says why there is a run.
pub struct Quiet<'a, F: FnMut()> {
    screen: &'a mut dyn Listener,
    announce: F,
    /// What came before that event; none once it came.
    held: Option<Vec<Event>>,
}

impl<'a, F: FnMut()> Quiet<'a, F> {
    /// Without `wait` everything is passed on at once.
    pub fn new(screen: &'a mut dyn Listener, wait: bool, announce: F) -> Self {
        Self {
            screen,
            announce,
            held: wait.then(Vec::new),
        }
    }

    /// Whether anything was shown.
    pub fn has_spoken(&self) -> bool {
        self.held.is_none()
    }
}

/// Whether an event belongs to a run with nothing to do as well.
fn is_dull(event: &Event) -> bool {
    match event {
        Event::RunStarted { .. } => true,
        Event::TargetFinished(finished) => {
            matches!(finished.outcome, Outcome::Fresh | Outcome::Skipped)
        }
        Event::RunFinished { ok, .. } => *ok,
        _ => false,
    }
}

impl<F: FnMut()> Listener for Quiet<'_, F> {
    fn on(&mut self, event: &Event) {
        if let Some(held) = &mut self.held {
            if is_dull(event) {
                held.push(event.clone());
                return;
            }
            (self.announce)();
            let held = self.held.take().into_iter().flatten();
            held.for_each(|event| self.screen.on(&event));
        }
        self.screen.on(event);
    }

    fn tick(&mut self) {
        if self.has_spoken() {
            self.screen.tick();
        }
    }

    fn suspend(&mut self, suspended: bool) {
        if self.has_spoken() {
            self.screen.suspend(suspended);
        }
    }

    fn spent(&mut self, spent: &Spent) {
        self.screen.spent(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;

    struct Count<'a>(&'a Cell<usize>);

    impl Listener for Count<'_> {
        fn on(&mut self, _: &Event) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn events(ok: bool) -> [Event; 2] {
        let started = Event::RunStarted {
            name: "app".into(),
            total: 1,
            jobs: 1,
            dry_run: false,
        };
        let finished = Event::RunFinished {
            ok,
            counts: crate::engine::event::Counts::default(),
            duration: Duration::ZERO,
            saved: Duration::ZERO,
            exit_code: u8::from(!ok),
        };
        [started, finished]
    }

    #[test]
    fn a_word_only_where_something_happened() {
        for (ok, wait, shown, announced) in
            [(true, true, 0, 0), (false, true, 2, 1), (true, false, 2, 0)]
        {
            let (seen, told) = (Cell::new(0), Cell::new(0));
            let mut screen = Count(&seen);
            let mut quiet = Quiet::new(&mut screen, wait, || told.set(told.get() + 1));
            events(ok).iter().for_each(|event| quiet.on(event));
            assert_eq!(quiet.has_spoken(), shown > 0);
            assert_eq!((seen.get(), told.get()), (shown, announced));
        }
    }
}

//! Several listeners as one. Knows nothing of what they do.

use crate::engine::event::{Event, Listener, Spent};

/// Passes everything on to each of its listeners, in the order in which they were added.
#[derive(Default)]
pub struct Chain<'a> {
    listeners: Vec<Box<dyn Listener + 'a>>,
}

impl<'a> Chain<'a> {
    /// Adds a listener; `&mut L` is one as well, for a caller who wants it back.
    pub fn push(&mut self, listener: impl Listener + 'a) {
        self.listeners.push(Box::new(listener));
    }
}

impl Listener for Chain<'_> {
    fn on(&mut self, event: &Event) {
        self.listeners.iter_mut().for_each(|l| l.on(event));
    }

    fn tick(&mut self) {
        self.listeners.iter_mut().for_each(|l| l.tick());
    }

    fn suspend(&mut self, suspended: bool) {
        self.listeners.iter_mut().for_each(|l| l.suspend(suspended));
    }

    fn spent(&mut self, spent: &Spent) {
        self.listeners.iter_mut().for_each(|l| l.spent(spent));
    }
}

impl<L: Listener + ?Sized> Listener for &mut L {
    fn on(&mut self, event: &Event) {
        (**self).on(event);
    }

    fn tick(&mut self) {
        (**self).tick();
    }

    fn suspend(&mut self, suspended: bool) {
        (**self).suspend(suspended);
    }

    fn spent(&mut self, spent: &Spent) {
        (**self).spent(spent);
    }
}

impl<L: Listener + ?Sized> Listener for Box<L> {
    fn on(&mut self, event: &Event) {
        (**self).on(event);
    }

    fn tick(&mut self) {
        (**self).tick();
    }

    fn suspend(&mut self, suspended: bool) {
        (**self).suspend(suspended);
    }

    fn spent(&mut self, spent: &Spent) {
        (**self).spent(spent);
    }
}

//! A run that somebody wants to end.

use std::io::{self, IsTerminal};
use std::sync::atomic::Ordering;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cache::remote::Remote;
use crate::engine::event::Event;
use crate::engine::session::lock;

use super::Coordinator;

impl Coordinator<'_> {
    /// Until there are hands, signals are the caller's business.
    pub(super) fn heed_interruption(&mut self) {
        if self.signals == 0 && self.session.is_interrupted() {
            self.interrupt(SIGINT);
        }
    }

    /// The first signal asks everything to end; another one doesn't ask.
    pub(super) fn interrupt(&mut self, signal: i32) {
        // Who owns the terminal got the Ctrl-C itself, and decides what it means.
        if signal == SIGINT && self.interactive.is_some() && io::stdin().is_terminal() {
            return;
        }
        self.signals += 1;
        self.end_running();
        if self.signals == 1 {
            let signal = match signal {
                SIGINT => "Ctrl-C",
                SIGTERM => "SIGTERM",
                _ => "SIGHUP",
            };
            self.listener.on(&Event::Interrupted { signal });
        }
        self.stop_interrupted();
    }

    pub(super) fn stop_interrupted(&mut self) {
        self.exit_code = 130;
        self.scheduler.stop("interrupted");
    }

    /// What cleans up is let be the first time.
    fn end_running(&self) {
        let Some(hands) = &self.hands else { return };
        let killed = self.signals > 1;
        hands.shared.cancelled.store(true, Ordering::Relaxed);
        hands.shared.killed.store(killed, Ordering::Relaxed);
        hands.shared.remote.iter().for_each(Remote::stop);
        for (id, handle) in lock(&hands.shared.running).iter() {
            if killed {
                handle.kill();
            } else if !self.cleaning.contains(id) {
                handle.interrupt();
            }
        }
    }
}

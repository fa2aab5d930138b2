//! The end of a run whose results are still on their way to the remote cache.

use std::time::Duration;

use crossbeam_channel::{after, select};

use crate::cache::remote::Remote;
use crate::engine::event::Event;
use crate::engine::job::Message;

use super::hands::Hands;
use super::{Coordinator, TICK};

/// Whoever waits for the run waits no longer for that.
const LIMIT: Duration = Duration::from_secs(60);
/// After so long a person wants to know what is waited for.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

impl Coordinator<'_> {
    /// Waits until everything is sent, within limits; a signal ends that, and nothing else.
    pub(super) fn finish_sending(&mut self, hands: &Hands) {
        let remote = hands.shared.remote.as_ref();
        let Some((remote, ended)) = remote.and_then(|remote| Some((remote, remote.close()?)))
        else {
            return;
        };
        let (limit, word) = (after(LIMIT), after(WORTH_A_WORD));
        let why = loop {
            select! {
                recv(ended) -> _ => return,
                recv(hands.messages) -> message => match message {
                    Ok(Message::Event(event)) => self.listener.on(&event),
                    Ok(Message::Signal(_)) => break "interrupted".to_owned(),
                    _ => {}
                },
                recv(word) -> _ => self.say_that_it_sends(remote),
                recv(limit) -> _ => break format!("{} s are over", LIMIT.as_secs()),
                default(TICK) => {
                    // Others have the store meanwhile.
                    self.session.store.idle();
                    if self.session.is_interrupted() {
                        break "interrupted".to_owned();
                    }
                    self.listener.tick();
                }
            }
        };
        let left = remote.waiting();
        remote.stop();
        self.listener.on(&Event::Warning {
            target: None,
            message: format!(
                "not everything was sent to {}: {why} ({left} of the results are missing there)",
                remote.host()
            ),
            help: Some("this changes nothing here".into()),
        });
    }

    fn say_that_it_sends(&mut self, remote: &Remote) {
        self.listener.on(&Event::Warning {
            target: None,
            message: format!("still sending results to {}", remote.host()),
            help: Some("Ctrl-C leaves that; the results are kept here".into()),
        });
    }
}

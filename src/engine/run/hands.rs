//! What a run needs once something really runs: threads, services, a way to hear of signals.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cache::digest::Digest;
use crate::engine::active::{self, Mark};
use crate::engine::environment;
use crate::engine::event::Event;
use crate::engine::job::{Message, Shared};
use crate::engine::look::Fault;
use crate::engine::plan::Plan;
use crate::engine::records::Records;
use crate::engine::render::Plain;
use crate::engine::session::Session;
use crate::engine::workers::Workers;
use crate::exec::service::{Rendered, ServiceEvent, Services};
use crate::pipeline::model::ServiceId;

/// They are there from the first target that has something to do to the end.
pub(super) struct Hands {
    pub shared: Arc<Shared>,
    pub messages: Receiver<Message>,
    pub workers: Workers,
    pub signals: signal_hook::iterator::Handle,
    /// Targets that still may use a service, by service.
    users: Vec<usize>,
    /// Held while this run goes on: `forge cancel` finds it.
    pub active: Option<Mark>,
}

impl Hands {
    /// # Errors
    /// A service can't be described, or no thread be started.
    pub fn new(session: &Arc<Session>, plan: &Plan) -> Result<Self, Fault> {
        let (events, messages) = unbounded();
        let services = Arc::new(services(session, events.clone())?);
        let shared = Arc::new(Shared {
            session: Arc::clone(session),
            services,
            records: Records::new(session)?,
            remote: session.remote(&events),
            events: events.clone(),
            cancelled: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            ran: AtomicBool::new(false),
            running: Mutex::default(),
        });
        let mut users = vec![0; session.ws.services.len()];
        for id in &plan.targets {
            session
                .ws
                .target(*id)
                .services
                .iter()
                .for_each(|service| users[service.0 as usize] += 1);
        }
        let signals = watch_signals(events)?;
        let active = active::mark(&session.cache_dir);
        Ok(Hands {
            shared,
            messages,
            workers: Workers::new(),
            signals,
            users,
            active,
        })
    }

    /// A service whose last user has ended goes.
    pub fn release(&mut self, services: &[ServiceId]) {
        for service in services {
            let at = service.0 as usize;
            self.users[at] = self.users[at].saturating_sub(1);
            if self.users[at] == 0 {
                let services = Arc::clone(&self.shared.services);
                thread::spawn(move || services.stop(at));
            }
        }
    }
}

fn services(session: &Arc<Session>, events: Sender<Message>) -> Result<Services, Fault> {
    let ws = &session.ws;
    let base: Vec<_> = environment::base(&session.caller).into_iter().collect();
    let mut definitions = Vec::with_capacity(ws.services.len());
    for service in &ws.services {
        let project = ws.project(service.project);
        let name: Arc<str> = match project.id.0 {
            0 => service.name.as_str().into(),
            _ => format!("{}:{}", project.name, service.name).into(),
        };
        let dir = ws.root.join(&project.dir);
        let plain = Plain {
            session,
            project: service.project,
        };
        definitions.push(Rendered::new(service, name, dir, base.clone(), &plain)?);
    }
    let id = Digest::of(ws.root.as_os_str().as_encoded_bytes()).hex()[..12].to_owned();
    let run = run_id(std::process::id(), SystemTime::now(), &ws.root);
    let services = Services::new(id, run, definitions, move |event| {
        let _ = events.send(Message::Event(translate(event)));
    });
    let session = Arc::clone(session);
    Ok(services.pulled_as(move |image| session.login_for(image).map_err(|fault| fault.message)))
}

/// Twelve hexadecimal digits, which containers are named by. Processes in containers of their own have the same number, often in
/// the same second.
fn run_id(pid: u32, now: SystemTime, root: &Path) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut bytes = [&pid.to_le_bytes()[..], &since.as_nanos().to_le_bytes()].concat();
    bytes.extend(root.as_os_str().as_encoded_bytes());
    Digest::of(&bytes).hex()[..12].to_owned()
}

fn translate(event: ServiceEvent) -> Event {
    match event {
        ServiceEvent::Starting { service } => Event::ServiceStarting { service },
        ServiceEvent::Ready {
            service,
            detail,
            took,
        } => Event::ServiceReady {
            service,
            detail,
            took,
        },
        ServiceEvent::Stopped { service } => Event::ServiceStopped { service },
        ServiceEvent::Progress { service, text } => Event::Waiting {
            target: service,
            why: text,
        },
        ServiceEvent::Notice {
            service,
            message,
            help,
        } => Event::Warning {
            message: message
                .strip_prefix(&format!("service {service}: "))
                .map_or_else(|| message.clone(), str::to_owned),
            target: Some(service),
            help,
        },
    }
}

fn watch_signals(events: Sender<Message>) -> Result<signal_hook::iterator::Handle, Fault> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if events.send(Message::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn runs_are_told_apart_by_twelve_digits() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_500_000);
        let one = run_id(1, now, Path::new("/a"));
        assert!(one.len() == 12 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(one, run_id(1, now, Path::new("/a")));
        assert_ne!(one, run_id(2, now, Path::new("/a")));
        assert_ne!(one, run_id(1, now, Path::new("/b")));
        assert_ne!(
            one,
            run_id(1, now + Duration::from_nanos(1), Path::new("/a"))
        );
    }
}

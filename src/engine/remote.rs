//! The remote cache of a run: where it is, which targets ask it, and what is sent there.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::cache::digest::Digest;
use crate::cache::manifest::Manifest;
use crate::cache::remote::{self, Address, Parcel, Remote, Wanted, Warning};
use crate::cache::store::Record;
use crate::pipeline::model::{Kind, ProjectId, RemoteWrite};

use super::event::Event;
use super::job::{Job, Message};
use super::look::Look;
use super::render::Plain;
use super::session::Session;

/// Who asks, where the address names no user.
const TOKEN: &str = "FORGE_REMOTE_TOKEN";
/// What records are signed with.
const SECRET: &str = "FORGE_REMOTE_SECRET";

impl Session {
    /// `[cache] remote`.
    fn remote_address(&self) -> Option<Result<Address, String>> {
        let plain = Plain {
            session: self,
            project: ProjectId(0),
        };
        let text = self.ws.cache.remote.as_ref()?.render(&plain);
        let text = text.map_err(|unset| format!("{}: {}", unset.reference, unset.reason));
        let token = self.var(TOKEN);
        Some(text.and_then(|text| Address::new(&text, token.as_deref())))
    }

    /// The remote cache, where there is one and this run uses it; what is wrong with its address is told.
    pub(super) fn remote(&self, events: &Sender<Message>) -> Option<Remote> {
        if self.options.no_cache {
            return None;
        }
        let events = events.clone();
        let warn = move |warning: Warning| {
            // Nobody listens only when the run is over.
            let _ = events.send(Message::Event(Event::Warning {
                target: warning.target,
                message: warning.message,
                help: Some(warning.help),
            }));
        };
        let writes = match self.ws.cache.remote_write {
            RemoteWrite::Never => false,
            RemoteWrite::Ci => self.is_ci(),
            RemoteWrite::Always => true,
        };
        match self.remote_address()? {
            Ok(address) => {
                let secret = self.var(SECRET);
                Some(Remote::new(
                    address,
                    secret.as_deref(),
                    writes,
                    Box::new(warn),
                ))
            }
            Err(why) => {
                warn(Warning {
                    target: None,
                    message: format!("[cache] remote isn't used: {why}"),
                    help: "the run goes on without it".into(),
                });
                None
            }
        }
    }

    /// Asks the remote cache whether it answers, if there is one: its host and whether what it has must be signed, or
    /// what is wrong.
    pub fn ask_remote(&self) -> Option<Result<(String, bool), String>> {
        Some(self.remote_address()?.and_then(|address| {
            let host = address.host().to_owned();
            match remote::ask(address) {
                Ok(()) => Ok((host, self.var(SECRET).is_some())),
                Err(why) => Err(format!("{host}: {why}")),
            }
        }))
    }
}

impl Job<'_> {
    /// What another machine left under this key, with all that belongs to it in the local store by now.
    pub(super) fn fetch(&self, look: &Look) -> Option<Record> {
        let remote = self.remote()?;
        let slow = || {
            self.tell(Event::Waiting {
                target: Arc::clone(&self.target.address),
                why: format!("it comes from {}", remote.host()),
            });
        };
        remote.fetch(&Wanted {
            address: &self.target.address,
            key: look.key,
            preimage: look.preimage.bytes(),
            outputs: &self.target.outputs,
            cache_dir: self.session.finder().cache_dir,
            blobs: &self.session.blobs,
            limit: self.session.ws.cache.max_size,
            slow: &slow,
        })
    }

    /// Lets others have a result that was stored.
    pub(super) fn send(&self, key: Digest, record: &Record, manifest: &Arc<Manifest>) {
        let Some(remote) = self.remote() else { return };
        let parcel = Parcel {
            address: Arc::clone(&self.target.address),
            key,
            record: record.clone(),
            manifest: Arc::clone(manifest),
        };
        remote.send(parcel, &self.session.blobs);
    }

    /// Images lie in a registry.
    fn remote(&self) -> Option<&Remote> {
        let remote = self.shared.remote.as_ref()?;
        matches!(self.target.kind, Kind::Command { .. }).then_some(remote)
    }
}

//! A service as a run uses it: everything interpolated but its own address, which it gets when it starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::interpolate::{Lookup, Unresolved};
use crate::pipeline::model::{Part, Port, Probe, Reference, Service, ServiceId, Text};

/// A service, ready to be started.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Unique in the run, and what people see: `postgres`, `billing:postgres`.
    pub name: Arc<str>,
    /// A container; with `run` as well, the process stands in where there is no engine or no image.
    pub image: Option<String>,
    /// A process; empty for a container only.
    pub run: Vec<Template>,
    /// What `env` says.
    pub env: Vec<(String, Template)>,
    pub ports: Vec<Port>,
    pub ready: Option<Check>,
    pub within: Duration,
    pub every: Duration,
    /// Of a process: its working directory.
    pub dir: PathBuf,
    /// Of a process: the environment below `env` (`PATH`, `HOME`, …).
    pub base_env: Vec<(OsString, OsString)>,
}

/// [`Probe`], rendered.
#[derive(Clone, Debug)]
pub enum Check {
    Exec(Template),
    Http(Template),
    /// A port's inside number.
    Tcp(u16),
    Log(String),
}

/// Text in which a service's own host and ports are still open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub(super) Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Host,
    /// By its inside number; `None`: the first.
    Port(Option<u16>),
}

/// Where a service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    /// Inside and outside, in the order of the definition.
    pub ports: Vec<(u16, u16)>,
}

impl Endpoint {
    /// The outside port for an inside one; the first where none is named.
    pub fn port(&self, inside: Option<u16>) -> Option<u16> {
        let mut ports = self.ports.iter();
        let found = match inside {
            None => ports.next(),
            Some(inside) => ports.find(|(number, _)| *number == inside),
        };
        found.map(|(_, outside)| *outside)
    }
}

impl Rendered {
    /// Interpolates a service. Its own address stays open; another service's can't be had, because
    /// nothing says which of two services starts first.
    ///
    /// # Errors
    /// A reference has no value now.
    pub fn new(
        service: &Service,
        name: Arc<str>,
        dir: PathBuf,
        base_env: Vec<(OsString, OsString)>,
        lookup: &dyn Lookup,
    ) -> Result<Rendered, Unresolved> {
        let text = |text: &Text| Template::new(text, service.id, lookup);
        Ok(Rendered {
            name,
            image: match &service.image {
                Some(image) => Some(text(image)?.fill(&nowhere())),
                None => None,
            },
            run: service
                .run
                .iter()
                .map(text)
                .collect::<Result<_, Unresolved>>()?,
            env: service
                .env
                .iter()
                .map(|(name, value)| Ok((name.clone(), text(value)?)))
                .collect::<Result<_, Unresolved>>()?,
            ports: service.ports.clone(),
            ready: match &service.ready {
                None => None,
                Some(Probe::Exec(line)) => Some(Check::Exec(text(line)?)),
                Some(Probe::Http(url)) => Some(Check::Http(text(url)?)),
                Some(Probe::Tcp(port)) => Some(Check::Tcp(*port)),
                Some(Probe::Log(words)) => Some(Check::Log(words.clone())),
            },
            within: service.within,
            every: service.every,
            dir,
            base_env,
        })
    }
}

impl Template {
    fn new(text: &Text, own: ServiceId, lookup: &dyn Lookup) -> Result<Template, Unresolved> {
        let piece = |part: &Part| match part {
            Part::Literal(text) | Part::Reference(Reference::Var(_, text)) => {
                Ok(Piece::Text(text.clone()))
            }
            Part::Reference(reference) => Piece::new(reference, own, lookup),
        };
        Ok(Template(
            text.parts.iter().map(piece).collect::<Result<_, _>>()?,
        ))
    }

    /// The text for a service that answers there. A port it doesn't have becomes 0.
    pub fn fill(&self, at: &Endpoint) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Host => at.host.clone(),
                Piece::Port(inside) => at.port(*inside).unwrap_or(0).to_string(),
            })
            .collect()
    }
}

impl Piece {
    fn new(
        reference: &Reference,
        own: ServiceId,
        lookup: &dyn Lookup,
    ) -> Result<Piece, Unresolved> {
        match reference {
            Reference::ServiceHost(id) if *id == own => Ok(Piece::Host),
            Reference::ServicePort(id, port) if *id == own => Ok(Piece::Port(*port)),
            Reference::ServiceHost(_) | Reference::ServicePort(..) => Err(Unresolved::new(
                reference,
                "a service can refer to its own address only",
            )),
            _ => Ok(Piece::Text(lookup.get(reference)?)),
        }
    }
}

impl From<&str> for Template {
    /// Text without open places.
    fn from(text: &str) -> Template {
        Template(vec![Piece::Text(text.to_owned())])
    }
}

/// For what can't depend on an address.
fn nowhere() -> Endpoint {
    Endpoint {
        host: super::HOST.to_owned(),
        ports: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::model::{FileId, Span};

    struct Sha;

    impl Lookup for Sha {
        fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
            match reference {
                Reference::GitSha => Ok("/abc".to_owned()),
                other => Err(Unresolved::new(other, "not known")),
            }
        }
    }

    #[test]
    fn its_own_address_stays_open_and_others_are_resolved() {
        let own = ServiceId(3);
        let text = Text {
            raw: String::new(),
            span: Span {
                file: FileId(0),
                range: 0..0,
            },
            parts: vec![
                Part::Literal("http://".into()),
                Part::Reference(Reference::ServiceHost(own)),
                Part::Literal(":".into()),
                Part::Reference(Reference::ServicePort(own, None)),
                Part::Reference(Reference::ServicePort(own, Some(81))),
                Part::Reference(Reference::GitSha),
            ],
        };
        let template = Template::new(&text, own, &Sha);
        let at = Endpoint {
            host: "h".into(),
            ports: vec![(80, 4000), (81, 5)],
        };
        assert_eq!(template.unwrap().fill(&at), "http://h:40005/abc");

        let foreign = Template::new(&text, ServiceId(4), &Sha).unwrap_err();
        assert!(foreign.reason.contains("its own address only"), "{foreign}");
    }
}

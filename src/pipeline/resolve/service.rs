//! Services, and the references to their hosts and ports.

use std::time::Duration;

use super::text::Scope;
use super::{Resolver, service_id};
use crate::pipeline::code;
use crate::pipeline::fields::{Value, View};
use crate::pipeline::model::{Port, Probe, ProjectId, Reference, Service, ServiceId, Span};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

impl<'a> Resolver<'a> {
    pub(super) fn service(&mut self, id: ServiceId) -> Service {
        let named = &self.services[id.0 as usize];
        let (field, view, project) = (named.field, named.view, named.project);
        let own = [id];
        let scope = Scope {
            services: &own,
            ..Scope::new(project)
        };
        self.check_service(&field.key, &field.key_span, view);
        self.check_env_names(view.entries("env"));
        let ready = View::new(view.own.table("ready").unwrap_or(&super::EMPTY));
        Service {
            id,
            name: field.key.clone(),
            project,
            span: field.key_span.clone(),
            image: view.word("image").map(|word| self.text(word, &scope)),
            run: self.texts(view.list("run").unwrap_or_default(), &scope),
            env: self.text_map(view.entries("env"), &scope),
            ports: self.ports(id),
            ready: self.probe(&field.key, view, ready, &scope),
            within: ready.duration("within").unwrap_or(Duration::from_secs(60)),
            every: ready
                .duration("every")
                .unwrap_or(Duration::from_millis(500)),
        }
    }

    fn check_service(&mut self, name: &str, span: &Span, view: View<'a>) {
        self.check_not_empty(view, &["run", "image"]);
        if !view.has("image") && !view.has("run") && !view.broken() {
            self.report(
                Problem::new(
                    code::MISSING_KEY,
                    format!("the service `{name}` has neither `image` nor `run`"),
                )
                .label(span, "nothing to start")
                .help("image = \"redis:7\" for a container, run = \"redis-server\" for a process"),
            );
        }
    }

    pub(super) fn ports(&self, id: ServiceId) -> Vec<Port> {
        let view = self.services[id.0 as usize].view;
        let ports = view.list("ports").unwrap_or_default().iter();
        let ports = ports.filter_map(|node| match node.value {
            Value::Port(port) => Some(port),
            _ => None,
        });
        ports.collect()
    }

    fn probe(
        &mut self,
        name: &str,
        view: View<'a>,
        ready: View<'a>,
        scope: &Scope<'_>,
    ) -> Option<Probe> {
        let field = view.get("ready")?;
        let given: Vec<_> = ["exec", "http", "tcp", "log"]
            .into_iter()
            .filter_map(|key| ready.get(key))
            .collect();
        if let [first, second, ..] = given[..] {
            self.report(
                Problem::new(
                    code::KEY_CONFLICT,
                    format!("the service `{name}` is probed in two ways"),
                )
                .label(&second.key_span, format!("`{}` too", second.key))
                .label(&first.key_span, "one way")
                .help("keep the one that tells best whether it is ready"),
            );
        }
        let Some(probe) = given.first() else {
            if !ready.broken() && !ready.has("within") && !ready.has("every") {
                self.report(
                    Problem::new(code::EMPTY_VALUE, "`ready` says nothing")
                        .label(&field.node.span, "no probe")
                        .help("ready = { exec = \"pg_isready\" }, or http, tcp or log"),
                );
            }
            return None;
        };
        match (probe.key.as_str(), &probe.node.value) {
            ("exec", _) => Some(Probe::Exec(self.text(probe.node.word()?, scope))),
            ("http", _) => {
                let text = self.text(probe.node.word()?, scope);
                if text.raw.starts_with('/') {
                    self.check_has_port(name, view, &probe.node.span);
                }
                Some(Probe::Http(text))
            }
            ("tcp", Value::Number(port)) => {
                let port = u16::try_from(*port).ok()?;
                self.check_port(name, view, port, &probe.node.span);
                Some(Probe::Tcp(port))
            }
            ("log", Value::Str(text)) => Some(Probe::Log(text.clone())),
            _ => None,
        }
    }

    fn check_has_port(&mut self, name: &str, view: View<'a>, span: &Span) {
        if view.list("ports").is_none_or(<[_]>::is_empty) && !view.broken() {
            self.report(
                Problem::new(
                    code::MISSING_KEY,
                    format!("the service `{name}` declares no port"),
                )
                .label(span, "a port is needed for this")
                .help(format!("add ports = [PORT] to [service.{name}]")),
            );
        }
    }

    fn check_port(&mut self, name: &str, view: View<'a>, port: u16, span: &Span) {
        let ports = view.list("ports").unwrap_or_default();
        let declared = ports
            .iter()
            .any(|node| matches!(node.value, Value::Port(declared) if declared.inside == port));
        if !declared && !view.broken() {
            self.report(
                Problem::new(
                    code::UNKNOWN_REFERENCE,
                    format!("the service `{name}` has no port {port}"),
                )
                .label(span, "not declared")
                .help(format!("add {port} to the `ports` of [service.{name}]")),
            );
        }
    }

    /// The services that a target lists.
    pub(super) fn listed_services(&mut self, view: View<'a>, project: ProjectId) -> Vec<ServiceId> {
        let mut services = Vec::new();
        for word in view.words("services") {
            match self.find_named("service", word.text, project) {
                Some(index) if services.contains(&service_id(index)) => {}
                Some(index) => services.push(service_id(index)),
                None => {
                    let names = Resolver::names_of(&self.services, project);
                    let help = suggest::help(word.text, "services", names)
                        .unwrap_or_else(|| format!("declare it: [service.{}]", word.text));
                    self.report(
                        Problem::new(
                            code::UNKNOWN_SERVICE,
                            format!("there is no service `{}`", word.text),
                        )
                        .label(word.span, "unknown service")
                        .help(help),
                    );
                }
            }
        }
        services
    }

    /// `${service.NAME.host}`, `.port` and `.port.N`.
    pub(super) fn service_reference(
        &mut self,
        body: &str,
        key: &str,
        span: &Span,
        scope: &Scope<'_>,
    ) -> Option<Reference> {
        let (name, what) = split_service(key);
        let Some(index) = self.find_named("service", name, scope.project) else {
            let help = suggest::help(
                name,
                "services",
                Resolver::names_of(&self.services, scope.project),
            );
            self.report(
                Problem::new(
                    code::UNKNOWN_SERVICE,
                    format!("there is no service `{name}`"),
                )
                .label(span, "unknown service")
                .maybe_help(help),
            );
            return None;
        };
        let id = service_id(index);
        if !scope.services.contains(&id) {
            self.service_not_listed(name, span, scope);
            return None;
        }
        let view = self.services[index].view;
        match what {
            Some(What::Host) => Some(Reference::ServiceHost(id)),
            Some(What::Port(None)) => {
                self.check_has_port(name, view, span);
                Some(Reference::ServicePort(id, None))
            }
            Some(What::Port(Some(port))) => {
                self.check_port(name, view, port, span);
                Some(Reference::ServicePort(id, Some(port)))
            }
            None => {
                self.report(
                    Problem::new(code::UNKNOWN_REFERENCE, format!("there is no ${{{body}}}"))
                        .label(span, "unknown reference")
                        .help(format!("there are ${{service.{name}.host}}, ${{service.{name}.port}} and ${{service.{name}.port.N}}")),
                );
                None
            }
        }
    }

    fn service_not_listed(&mut self, name: &str, span: &Span, scope: &Scope<'_>) {
        let (label, help) = match scope.target {
            Some(target) => (
                "nothing starts it for this target",
                format!(
                    "add \"{name}\" to the `services` of [target.{}]",
                    self.targets[target.0 as usize].name
                ),
            ),
            None => (
                "no service is up when this is read",
                "use it in a target that lists the service".to_owned(),
            ),
        };
        self.report(
            Problem::new(
                code::SERVICE_NOT_LISTED,
                format!("the service `{name}` is not known to be up here"),
            )
            .label(span, label)
            .help(help),
        );
    }
}

enum What {
    Host,
    Port(Option<u16>),
}

/// A service's name may hold dots itself, so what is asked for is read from the end.
fn split_service(key: &str) -> (&str, Option<What>) {
    if let Some(name) = key.strip_suffix(".host") {
        return (name, Some(What::Host));
    }
    if let Some(name) = key.strip_suffix(".port") {
        return (name, Some(What::Port(None)));
    }
    let numbered = key.rsplit_once('.').and_then(|(rest, number)| {
        let name = rest.strip_suffix(".port")?;
        Some((name, number.parse().ok()?))
    });
    match numbered {
        Some((name, port)) => (name, Some(What::Port(Some(port)))),
        None => (key.split('.').next().unwrap_or(key), None),
    }
}

//! Getting one service from its definition to ready: container or process, which ports, which probes.

use std::io;
use std::sync::Arc;

use super::backend::Backend;
use super::container::{self, Container};
use super::definition::{Check, Endpoint, Rendered};
use super::error::{Cause, ServiceError};
use super::local::Local;
use super::probe::{self, Pace, Step};
use super::{HOST, ServiceEvent, Services, ports};
use crate::docker::{Engine, ImageInfo, Pull};

/// How often a process is started when somebody took its free port before it did.
const ATTEMPTS: usize = 3;

/// Starts a service and waits until it is ready.
pub fn start(
    run: &Services,
    service: &Rendered,
    cancelled: &dyn Fn() -> bool,
) -> Result<Arc<dyn Backend>, ServiceError> {
    let Some(image) = &service.image else {
        return process(run, service, cancelled);
    };
    match engine_with_image(run, service, image, cancelled) {
        Ok((engine, info)) => in_container(run, service, image, (&engine, info), cancelled),
        Err(error) if error.is_cancelled() || service.run.is_empty() => Err(error),
        Err(error) => {
            run.tell(ServiceEvent::Notice {
                service: Arc::clone(&service.name),
                message: format!("{}; its `run` is used instead", error.message),
                help: error.help,
            });
            process(run, service, cancelled)
        }
    }
}

/// An engine that has the image, if need be by pulling it.
fn engine_with_image(
    run: &Services,
    service: &Rendered,
    image: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Arc<Engine>, ImageInfo), ServiceError> {
    let failed = |error| ServiceError::engine(&service.name, error);
    let engine = run.engine().map_err(failed)?;
    if let Some(info) = engine.image(image).map_err(failed)? {
        return Ok((engine, info));
    }
    let mut last = String::new();
    let progress = |text: String| {
        if text != last {
            last.clone_from(&text);
            let text = format!("pulling {image}: {text}");
            run.tell(ServiceEvent::Progress {
                service: Arc::clone(&service.name),
                text,
            });
        }
    };
    let login = (run.logins)(image).map_err(|why| no_image(service, image, &why))?;
    let pull = Pull {
        reference: image,
        platform: None,
        credentials: login.as_ref(),
    };
    match engine.pull(pull, progress, cancelled) {
        Err(error) if error.is_cancelled() => Err(ServiceError::cancelled(&service.name)),
        Err(error) => Err(no_image(service, image, &error.message)),
        Ok(()) => match engine.image(image).map_err(failed)? {
            Some(info) => Ok((engine, info)),
            None => Err(no_image(service, image, "the pull brought another image")),
        },
    }
}

fn no_image(service: &Rendered, image: &str, why: &str) -> ServiceError {
    ServiceError::missing(
        &service.name,
        format!("the image `{image}` isn't here and can't be pulled: {why}"),
        format!(
            "check its name, `docker login` where it is private and `docker pull {image}` by hand, or give the service a `run`"
        ),
    )
}

fn in_container(
    run: &Services,
    service: &Rendered,
    image: &str,
    (engine, info): (&Arc<Engine>, ImageInfo),
    cancelled: &dyn Fn() -> bool,
) -> Result<Arc<dyn Backend>, ServiceError> {
    run.swept.call_once(|| sweep(run, service, engine));
    refuse_taken(service)?;
    let health = service.ready.is_none() && info.health_check.is_some();
    let container = Container::start(engine, service, image, &run.origin, health)?;
    let steps = container_steps(service, container.endpoint(), info.health_check);
    probe::wait(&container, &steps, pace(service), cancelled)?;
    Ok(Arc::new(container))
}

/// Before the first container of a run, because leftovers may hold its ports.
fn sweep(run: &Services, service: &Rendered, engine: &Engine) {
    let service = Arc::clone(&service.name);
    match container::sweep(engine) {
        Ok(0) => {}
        Ok(count) => {
            let text = format!("removed {count} container(s) that a killed run left behind");
            run.tell(ServiceEvent::Progress { service, text });
        }
        Err(error) => run.tell(ServiceEvent::Notice {
            service,
            message: format!("containers that killed runs left behind can't be removed: {error}"),
            help: error.help,
        }),
    }
}

/// A HEALTHCHECK is run at the service's own pace beside the engine's, whose default is every 30 s.
///
/// What is seen from inside isn't the whole truth: targets come through the published port. So the first
/// must answer as well, and before: PostgreSQL's image serves privately while it prepares its data, and
/// says that it is ready then.
fn container_steps(
    service: &Rendered,
    outside: &Endpoint,
    health_check: Option<Vec<String>>,
) -> Vec<Step> {
    let first = outside.port(None).map(|port| Step::Tcp {
        port,
        proxied: true,
    });
    let own = match &service.ready {
        None => health_check.map(Step::Exec),
        Some(Check::Exec(line)) => Some(shell(&line.fill(&container::inside(service)))),
        Some(other) => return steps(other, outside, true).into_iter().collect(),
    };
    first.into_iter().chain(own).collect()
}

fn process_steps(service: &Rendered, endpoint: &Endpoint) -> Vec<Step> {
    match &service.ready {
        None => endpoint
            .port(None)
            .map(|port| Step::Tcp {
                port,
                proxied: false,
            })
            .into_iter()
            .collect(),
        Some(check) => steps(check, endpoint, false).into_iter().collect(),
    }
}

fn steps(check: &Check, at: &Endpoint, proxied: bool) -> Option<Step> {
    Some(match check {
        Check::Exec(line) => shell(&line.fill(at)),
        Check::Http(url) => Step::Http(whole_url(&url.fill(at), at)),
        Check::Tcp(inside) => Step::Tcp {
            port: at.port(Some(*inside))?,
            proxied,
        },
        Check::Log(text) => Step::Log(text.clone()),
    })
}

fn shell(line: &str) -> Step {
    Step::Exec(["sh", "-c", line].map(str::to_owned).to_vec())
}

/// A path is one on the first port.
fn whole_url(url: &str, at: &Endpoint) -> String {
    match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{HOST}:{}{url}", at.port(None).unwrap_or(80)),
    }
}

fn pace(service: &Rendered) -> Pace {
    Pace {
        within: service.within,
        every: service.every,
    }
}

fn process(
    run: &Services,
    service: &Rendered,
    cancelled: &dyn Fn() -> bool,
) -> Result<Arc<dyn Backend>, ServiceError> {
    let chooses = service.ports.iter().any(|port| port.outside.is_none());
    let mut attempt = 1;
    loop {
        refuse_taken(service)?;
        match try_process(run, service, cancelled) {
            Err(error) if lost_its_port(&error) && chooses && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(explain(service, error)),
            Ok(process) => return Ok(process),
        }
    }
}

fn try_process(
    run: &Services,
    service: &Rendered,
    cancelled: &dyn Fn() -> bool,
) -> Result<Arc<dyn Backend>, ServiceError> {
    let endpoint = choose_ports(run, service).map_err(|error| {
        ServiceError::failed(&service.name, format!("there is no free port: {error}"))
    })?;
    let process = Local::start(service, endpoint)?;
    let steps = process_steps(service, process.endpoint());
    match probe::wait(&process, &steps, pace(service), cancelled) {
        Ok(()) => Ok(Arc::new(process)),
        Err(error) => {
            // The message is about the service; that it doesn't end would be another matter.
            let _ = process.stop();
            Err(error)
        }
    }
}

fn choose_ports(run: &Services, service: &Rendered) -> io::Result<Endpoint> {
    let ports = service.ports.iter().map(|port| {
        let outside = port.outside.map_or_else(|| run.ports.free(), Ok)?;
        Ok((port.inside, outside))
    });
    Ok(Endpoint {
        host: HOST.into(),
        ports: ports.collect::<io::Result<_>>()?,
    })
}

fn lost_its_port(error: &ServiceError) -> bool {
    error.cause == Cause::Failed && ports::says_taken(&String::from_utf8_lossy(&error.log))
}

/// A shell ends with 127 when a program isn't there: then that is what is wrong.
fn explain(service: &Rendered, error: ServiceError) -> ServiceError {
    if !error.message.contains("exit code 127") {
        return error;
    }
    let log = String::from_utf8_lossy(&error.log);
    let said = log
        .lines()
        .rfind(|line| line.contains("not found"))
        .unwrap_or("exit code 127");
    let help = match service.image {
        Some(_) => "install it, or make the service's image available",
        None => "install it, or correct the service's `run`",
    };
    ServiceError::missing(
        &service.name,
        format!("its program isn't there ({said})"),
        help,
    )
    .log(error.log)
}

/// A fixed port that somebody else holds would make every probe talk to a stranger.
fn refuse_taken(service: &Rendered) -> Result<(), ServiceError> {
    let mut fixed = service.ports.iter().filter_map(|port| port.outside);
    match fixed.any(ports::is_taken) {
        true => Err(port_taken(service, None)),
        false => Ok(()),
    }
}

/// The error for a fixed port that is taken.
pub fn port_taken(service: &Rendered, said: Option<&str>) -> ServiceError {
    let port = service
        .ports
        .iter()
        .find(|port| port.outside.is_some_and(ports::is_taken))
        .or(service.ports.first());
    let (inside, outside) = port.map_or((0, 0), |port| (port.inside, port.outside.unwrap_or(0)));
    let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
    let name = service.name.rsplit(':').next().unwrap_or_default();
    ServiceError::failed(
        &service.name,
        format!("port {outside} of {HOST} is taken by another program{said}"),
    )
    .help(format!(
        "end that program (`ss -ltnp 'sport = :{outside}'` shows it), or write `ports = [{inside}]` for any free port and use ${{service.{name}.port}}"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::definition::Template;
    use super::*;

    #[test]
    fn a_path_is_one_on_the_first_port() {
        let at = Endpoint {
            host: HOST.into(),
            ports: vec![(80, 4000), (81, 4001)],
        };
        assert_eq!(whole_url("/health", &at), "http://127.0.0.1:4000/health");
        assert_eq!(whole_url("http://h/x", &at), "http://h/x");
    }

    #[test]
    fn a_container_is_asked_from_outside_first() {
        let probe = Template::from("pg_isready -p 5432");
        let service = Rendered {
            ready: Some(Check::Exec(probe)),
            ..service()
        };
        let at = Endpoint {
            host: HOST.into(),
            ports: vec![(5432, 4000)],
        };
        let port = Step::Tcp {
            port: 4000,
            proxied: true,
        };
        let health = || Some(vec!["check".to_owned()]);
        let own = shell("pg_isready -p 5432");
        assert_eq!(
            container_steps(&service, &at, health()),
            [port.clone(), own]
        );
        let image = Step::Exec(vec!["check".to_owned()]);
        let plain = self::service();
        assert_eq!(
            container_steps(&plain, &at, health()),
            [port.clone(), image]
        );
        assert_eq!(container_steps(&plain, &at, None), [port]);
    }

    fn service() -> Rendered {
        Rendered {
            name: "db".into(),
            image: None,
            run: Vec::new(),
            env: Vec::new(),
            ports: Vec::new(),
            ready: None,
            within: Duration::from_secs(1),
            every: Duration::from_secs(1),
            dir: "/".into(),
            base_env: Vec::new(),
        }
    }
}

//! Services that are containers, on a real engine with the images of `tests/setup.sh`: without an engine
//! these tests fail.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use forge::docker::{self, Engine};
use forge::exec::service::{
    Check, Rendered, ServiceError, ServiceEvent, Services, Template, leftovers, sweep,
};
use forge::pipeline::model::Port;

const HTTP: &str = "forge-test/http:1";
static GO: AtomicBool = AtomicBool::new(false);

fn run_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("t{}-{number}", std::process::id())
}

fn service(image: &str) -> Rendered {
    Rendered {
        name: "web".into(),
        image: Some(image.into()),
        run: Vec::new(),
        env: Vec::new(),
        ports: vec![Port {
            inside: 8080,
            outside: None,
        }],
        ready: None,
        within: Duration::from_secs(300),
        every: Duration::from_millis(200),
        dir: env::temp_dir(),
        base_env: vec![(OsString::from("PATH"), env::var_os("PATH").unwrap())],
    }
}

fn with(image: &str, ready: Check) -> Rendered {
    Rendered {
        ready: Some(ready),
        ..service(image)
    }
}

/// A run and what it told.
struct Run {
    id: String,
    services: Services,
    told: Arc<Mutex<Vec<String>>>,
}

fn run(definition: Rendered) -> Run {
    let id = run_id();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let services = Services::new("tests".into(), id.clone(), vec![definition], move |event| {
        sink.lock().unwrap().push(match event {
            ServiceEvent::Starting { service } => format!("starting {service}"),
            ServiceEvent::Ready { detail, .. } => format!("ready: {detail}"),
            ServiceEvent::Stopped { service } => format!("stopped {service}"),
            ServiceEvent::Notice { message, .. } => format!("notice: {message}"),
            ServiceEvent::Progress { text, .. } => format!("progress: {text}"),
        });
    });
    Run { id, services, told }
}

impl Run {
    fn port(&self) -> u16 {
        self.services.acquire(0, &GO).unwrap().port(None).unwrap()
    }

    fn containers(&self) -> Vec<String> {
        containers(&self.id)
    }

    fn told(&self, what: &str) -> bool {
        self.told
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.starts_with(what))
    }
}

fn containers(run: &str) -> Vec<String> {
    let filter = format!("label=forge.run={run}");
    let listed = docker(&["ps", "-aq", "--filter", &filter], "");
    listed.lines().map(str::to_owned).collect()
}

fn failure(definition: Rendered) -> ServiceError {
    let run = run(definition);
    let error = run.services.acquire(0, &GO).unwrap_err();
    assert_eq!(run.containers(), [""; 0], "{error}");
    error
}

fn docker(args: &[&str], input: &str) -> String {
    let mut child = Command::new("docker")
        .args(args)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker is installed");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "docker {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An image for one test, on top of busybox.
fn image(name: &str, lines: &str) -> String {
    let tag = format!("forge-test/{name}:services");
    docker(
        &["build", "-q", "-t", &tag, "-"],
        &format!("FROM busybox:1\n{lines}\n"),
    );
    tag
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_health_check_is_waited_for_and_the_container_goes_with_the_run() {
    let run = run(service(HTTP));
    let port = run.port();
    assert!(get(port, "/health").contains("200"));
    assert_eq!(run.containers().len(), 1);
    assert!(run.told(&format!("ready: container {HTTP} on 127.0.0.1:{port}")));
    assert!(
        String::from_utf8(run.services.tail(0))
            .unwrap()
            .contains("serving on 8080\n")
    );
    run.services.stop_all();
    assert_eq!(run.containers(), [""; 0]);
    assert!(run.told("stopped web"));
}

#[test]
fn its_port_is_on_the_loopback_alone() {
    let run = run(service(HTTP));
    let port = run.port();
    let bound = docker(&["port", &run.containers()[0]], "");
    assert_eq!(bound.trim(), format!("8080/tcp -> 127.0.0.1:{port}"));
}

#[test]
fn every_kind_of_probe_works_and_the_port_answers_then() {
    let probes = [
        Check::Exec(Template::from("wget -q -O - http://127.0.0.1:8080/health")),
        Check::Http(Template::from("/health")),
        Check::Tcp(8080),
        Check::Log("serving on 8080".into()),
    ];
    for probe in probes {
        let log_only = matches!(probe, Check::Log(_));
        let run = run(with(HTTP, probe));
        let port = run.port();
        assert!(log_only || get(port, "/").contains("200"));
    }
}

/// The engine's proxy accepts connections from the first moment on.
#[test]
fn a_port_that_the_container_does_not_listen_on_yet_is_not_ready() {
    let late = image(
        "late",
        r#"RUN mkdir /www && echo ok > /www/index.html
           CMD ["sh", "-c", "sleep 1; echo now; exec httpd -f -p 8080 -h /www"]"#,
    );
    for ready in [
        None,
        Some(Check::Tcp(8080)),
        Some(Check::Exec(Template::from("true"))),
    ] {
        let run = run(Rendered {
            ready,
            ..service(&late)
        });
        assert!(get(run.port(), "/").contains("200"));
    }
}

#[test]
fn all_who_ask_share_one_container() {
    let run = run(service(HTTP));
    let ports: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| run.port())).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ports.iter().all(|port| *port == ports[0]));
    assert_eq!(run.containers().len(), 1);
}

#[test]
fn one_that_dies_before_it_is_ready_says_how() {
    let error = failure(service("forge-test/crash:1"));
    assert_eq!(
        error.message,
        "service web: ended with exit code 3 before it was ready"
    );
    let log = String::from_utf8(error.log).unwrap();
    assert!(log.contains("fatal: no configuration"), "{log}");
}

#[test]
fn an_unhealthy_one_fails_with_what_its_check_said() {
    let error = failure(service("forge-test/unhealthy:1"));
    assert_eq!(
        error.message,
        "service web: unhealthy (the check says no) before it was ready"
    );
    assert!(
        String::from_utf8(error.log)
            .unwrap()
            .contains("started but never well")
    );
}

#[test]
fn a_late_one_is_removed() {
    let within = Duration::from_secs(2);
    let never = Check::Exec(Template::from("echo not today; exit 9"));
    let error = failure(Rendered {
        within,
        ..with(HTTP, never)
    });
    let said = "not ready after 2 s: its probe ended with exit code 9: not today";
    assert!(error.message.ends_with(said), "{error}");
}

#[test]
fn it_sees_its_environment_and_its_own_address_from_inside() {
    let env = vec![("WORDS".to_owned(), Template::from("two words"))];
    let check = Check::Exec(Template::from("test \"$WORDS\" = 'two words'"));
    let run = run(Rendered {
        env,
        ..with(HTTP, check)
    });
    run.port();
}

#[test]
fn a_taken_port_is_refused_and_a_free_one_used() {
    let holder = (20_000..30_000)
        .rev()
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap();
    let port = holder.local_addr().unwrap().port();
    let ports = vec![Port {
        inside: 8080,
        outside: Some(port),
    }];
    let definition = Rendered {
        ports,
        ..service(HTTP)
    };
    let error = failure(definition.clone());
    assert!(
        error
            .message
            .contains(&format!("port {port} of 127.0.0.1 is taken")),
        "{error}"
    );
    drop(holder);
    assert_eq!(run(definition).port(), port);
}

#[test]
fn an_absent_image_is_missing_in_the_engines_words() {
    let error = failure(service("localhost:1/no/such-image:9"));
    assert!(error.is_missing());
    assert!(
        error.message.contains("`localhost:1/no/such-image:9`"),
        "{error}"
    );
    assert!(error.message.contains("refused"), "{error}");
}

#[test]
fn an_absent_image_is_replaced_by_the_process() {
    let ready = Some(Check::Log("up".into()));
    let definition = Rendered {
        run: vec![Template::from("echo up; exec sleep 600")],
        ready,
        ports: Vec::new(),
        ..service("localhost:1/no/such-image:9")
    };
    let run = run(definition);
    run.services.acquire(0, &GO).unwrap();
    assert!(run.told("notice: service web: the image `localhost:1/no/such-image:9` isn't here"));
    assert!(run.told("ready: process"));
}

#[test]
fn one_that_is_removed_behind_our_back_is_an_error() {
    let run = run(service(HTTP));
    run.port();
    docker(&["kill", &run.containers()[0]], "");
    let error = run.services.acquire(0, &GO).unwrap_err();
    assert_eq!(
        error.message,
        "service web: ended with exit code 137 while in use"
    );
}

#[test]
fn anonymous_volumes_go_as_well() {
    let image = image("volume", "VOLUME /data\nCMD [\"sleep\", \"600\"]");
    let run = run(Rendered {
        ports: Vec::new(),
        ..service(&image)
    });
    run.services.acquire(0, &GO).unwrap();
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    let volume = docker(&["inspect", "-f", format, &run.containers()[0]], "");
    assert!(!volume.trim().is_empty());
    run.services.stop_all();
    let left = docker(&["volume", "ls", "-q"], "");
    assert!(!left.contains(volume.trim()));
}

#[test]
fn giving_up_ends_the_wait_and_the_container() {
    let cancel = AtomicBool::new(false);
    let run = run(with(HTTP, Check::Exec(Template::from("sleep 600"))));
    thread::scope(|scope| {
        let asking = scope.spawn(|| run.services.acquire(0, &cancel));
        while run.containers().is_empty() {
            thread::sleep(Duration::from_millis(20));
        }
        cancel.store(true, Ordering::SeqCst);
        assert!(asking.join().unwrap().unwrap_err().is_cancelled());
    });
    assert_eq!(run.containers(), [""; 0]);
}

const VICTIM: &str = "FORGE_TEST_VICTIM";

/// This test program again, as a run that has a service up.
fn victim(id: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_killed_run_leaves_nothing_once_another_starts",
            "--nocapture",
        ])
        .env(VICTIM, id)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn be_a_victim(id: String) -> ! {
    let services = Services::new("tests".into(), id, vec![service(HTTP)], |_| {});
    services.acquire(0, &GO).unwrap();
    println!("\nvictim is up");
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_run_leaves_nothing_once_another_starts() {
    if let Ok(id) = env::var(VICTIM) {
        be_a_victim(id);
    }
    let (killed, living) = (run_id(), run_id());
    let mut children = [victim(&killed), victim(&living)];
    for child in &mut children {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line == "victim is up"));
    }
    let [first, second] = &mut children;
    first.kill().unwrap();
    // Until it is reaped its number still belongs to it.
    first.wait().unwrap();
    assert_eq!(
        (containers(&killed).len(), containers(&living).len()),
        (1, 1)
    );

    let run = run(service(HTTP));
    run.port();
    let found = (containers(&killed).len(), containers(&living).len());
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(found, (0, 1));

    let engine = Engine::connect().unwrap();
    sweep(&engine).unwrap();
    assert_eq!(containers(&living), [""; 0]);
    let left = leftovers(&engine).unwrap();
    assert!(left.iter().all(|one| !one.name.ends_with(&living)));
    assert_eq!(run.containers().len(), 1);
}

#[test]
fn the_digest_of_an_image_is_its_id() {
    let id = docker(&["inspect", "-f", "{{.Id}}", "busybox:1"], "");
    let digest = docker::image_digest("busybox:1").unwrap();
    assert_eq!(digest.as_deref(), Some(id.trim()));
    assert_eq!(
        docker::image_digest("localhost:1/no/such-image").unwrap(),
        None
    );
    assert_eq!(
        docker::image_digest("not a name")
            .map_err(drop)
            .ok()
            .flatten(),
        None
    );
}

#[test]
fn the_engine_says_who_it_is() {
    let version = Engine::connect().unwrap().version().unwrap();
    assert!(!version.version.is_empty() && !version.api.is_empty());
    assert!(fs::metadata(version.socket).is_ok());
}

/// In a process of its own, because the engine's address comes from the environment.
#[test]
fn without_an_engine_the_service_is_missing_or_its_process_is_used() {
    const NOWHERE: &str = "unix:///nonexistent/docker.sock";
    if env::var("DOCKER_HOST").as_deref() == Ok(NOWHERE) {
        return without_an_engine();
    }
    let this = "without_an_engine_the_service_is_missing_or_its_process_is_used";
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", this])
        .env("DOCKER_HOST", NOWHERE)
        .status();
    assert!(status.unwrap().success());
}

fn without_an_engine() {
    let alone = run(service(HTTP));
    let error = alone.services.acquire(0, &GO).unwrap_err();
    assert!(error.is_missing());
    assert!(
        error
            .message
            .contains("no Docker engine answers at /nonexistent/docker.sock")
    );
    assert!(error.help.unwrap().contains("install and start Docker"));
    assert!(docker::image_digest(HTTP).unwrap_err().is_absent());

    let both = run(Rendered {
        run: vec![Template::from("echo up; exec sleep 600")],
        ..with(HTTP, Check::Log("up".into()))
    });
    both.services.acquire(0, &GO).unwrap();
    assert!(both.told("notice: service web: no Docker engine answers"));
    assert!(both.told("ready: process on 127.0.0.1:"));
}

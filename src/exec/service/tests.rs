//! Services that are processes, from start to end. The server that they run is this test program itself.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::definition::Piece;
use super::*;
use crate::pipeline::model::Port;

const LISTEN: &str = "FORGE_TEST_LISTEN";
static GO: AtomicBool = AtomicBool::new(false);

/// Not a test: the server of the others, when it is started with a port in its environment.
#[test]
fn serves_when_asked() {
    let Ok(port) = env::var(LISTEN) else { return };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    println!("serving now");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 512];
        let read = stream.read(&mut request).unwrap_or(0);
        let good = request[..read].starts_with(b"GET /health ");
        let status = if good { "204 Fine" } else { "503 No" };
        let _ = write!(stream, "HTTP/1.1 {status}\r\n\r\n");
    }
}

/// Text with `@` for the service's first port.
fn template(text: &str) -> Template {
    let mut pieces = Vec::new();
    for (index, piece) in text.split('@').enumerate() {
        if index > 0 {
            pieces.push(Piece::Port(None));
        }
        pieces.push(Piece::Text(piece.to_owned()));
    }
    Template(pieces)
}

fn server() -> String {
    let program = env::current_exe().unwrap();
    let test = "exec::service::tests::serves_when_asked";
    format!(
        "{LISTEN}=@ exec '{}' --exact {test} --nocapture",
        program.display()
    )
}

fn service(run: &str) -> Rendered {
    Rendered {
        name: "db".into(),
        image: None,
        run: vec![template(run)],
        env: vec![("MINE".into(), template("port @"))],
        ports: vec![Port {
            inside: 80,
            outside: None,
        }],
        ready: None,
        within: Duration::from_secs(600),
        every: Duration::from_millis(50),
        dir: env::temp_dir(),
        base_env: vec![(OsString::from("PATH"), env::var_os("PATH").unwrap())],
    }
}

fn services(definition: Rendered) -> Services {
    Services::new("w".into(), "r".into(), vec![definition], |_| {})
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn alive(pid: i32) -> bool {
    unsafe { libc::kill(pid, 0) == 0 }
}

fn failure(definition: Rendered) -> ServiceError {
    services(definition).acquire(0, &GO).unwrap_err()
}

#[test]
fn it_gets_a_free_port_and_is_gone_when_stopped() {
    let run = services(service(&server()));
    let endpoint = run.acquire(0, &GO).unwrap();
    let port = endpoint.port(Some(80)).unwrap();
    assert_eq!(
        endpoint,
        Endpoint {
            host: "127.0.0.1".into(),
            ports: vec![(80, port)]
        }
    );
    assert!(answers(port));
    run.stop(0);
    assert!(!answers(port));
    run.stop(0);
    run.stop_all();
    assert!(run.acquire(0, &GO).unwrap_err().is_cancelled());
}

#[test]
fn dropping_the_run_ends_it() {
    let run = services(service(&server()));
    let port = run.acquire(0, &GO).unwrap().port(None).unwrap();
    drop(run);
    assert!(!answers(port));
}

#[test]
fn all_who_ask_get_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let mut definition = service(&format!(
        "echo start >>'{}'; sleep 0.2; {}",
        starts.display(),
        server()
    ));
    definition.every = Duration::from_millis(10);
    let run = services(definition);
    let endpoints = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| endpoints.lock().unwrap().push(run.acquire(0, &GO).unwrap()));
        }
    });
    let endpoints = endpoints.into_inner().unwrap();
    assert!(endpoints.iter().all(|endpoint| *endpoint == endpoints[0]));
    assert_eq!(fs::read_to_string(starts).unwrap(), "start\n");
}

#[test]
fn events_tell_its_life() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let run = Services::new("w".into(), "r".into(), vec![service(&server())], |event| {
        let text = match event {
            ServiceEvent::Starting { service } => format!("starting {service}"),
            ServiceEvent::Ready { detail, .. } => detail,
            ServiceEvent::Stopped { service } => format!("stopped {service}"),
            other => format!("{other:?}"),
        };
        SEEN.lock().unwrap().push(text);
    });
    let port = run.acquire(0, &GO).unwrap().port(None).unwrap();
    run.stop_all();
    let ready = format!("process on 127.0.0.1:{port}");
    assert_eq!(*SEEN.lock().unwrap(), ["starting db", &ready, "stopped db"]);
}

#[test]
fn every_kind_of_probe_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let slow = format!(
        "(sleep 0.3; echo half >'{0}'; echo whole >>'{0}') & {1}",
        mark.display(),
        server()
    );
    let probes = [
        Check::Exec(template(&format!(
            "grep -q whole '{}' && test \"$MINE\" = 'port @'",
            mark.display()
        ))),
        Check::Http(template("/health")),
        Check::Http(template("http://localhost:@/health")),
        Check::Tcp(80),
        Check::Log("serving now".into()),
    ];
    for ready in probes {
        let waits_for_mark = matches!(ready, Check::Exec(_));
        let definition = Rendered {
            ready: Some(ready),
            ..service(&slow)
        };
        let run = services(definition);
        let port = run.acquire(0, &GO).unwrap().port(None).unwrap();
        assert!(answers(port));
        if waits_for_mark {
            assert_eq!(fs::read_to_string(&mark).unwrap(), "half\nwhole\n");
        }
    }
}

#[test]
fn without_ports_and_probe_it_is_ready_at_once() {
    let run = services(Rendered {
        ports: Vec::new(),
        ..service("exec sleep 600")
    });
    assert_eq!(run.acquire(0, &GO).unwrap().ports, []);
}

#[test]
fn one_that_dies_before_it_is_ready_fails_at_once_with_its_last_lines() {
    let error = failure(service("echo some words; echo why >&2; exit 3"));
    assert_eq!(
        error.message,
        "service db: ended with exit code 3 before it was ready"
    );
    assert_eq!(error.log, b"some words\nwhy\n");
    assert_eq!(error.cause, Cause::Failed);

    let error = failure(service("true"));
    assert!(error.help.unwrap().contains("foreground"));
}

#[test]
fn one_that_is_late_says_what_was_missing() {
    let late = |ready: Check| {
        let within = Duration::from_millis(300);
        let definition = Rendered {
            ready: Some(ready),
            within,
            ..service(&server())
        };
        failure(definition).message
    };
    let said = late(Check::Exec(template("echo not yet; exit 4")));
    assert_eq!(
        said,
        "service db: not ready after 0.3 s: its probe ended with exit code 4: not yet"
    );
    assert!(late(Check::Log("never said".into())).ends_with("its log doesn't hold \"never said\""));
    assert!(late(Check::Exec(template("sleep 600"))).ends_with("its probe doesn't end"));
    assert!(late(Check::Http(template("https://127.0.0.1/"))).contains("only http://"));
    let said = late(Check::Http(template("/other")));
    assert!(
        said.ends_with("answers 503") || said.contains("refused"),
        "{said}"
    );
}

#[test]
fn a_missing_program_is_missing_and_not_failed() {
    let error = failure(service("no-such-server --port @"));
    assert!(error.is_missing());
    assert!(error.message.contains("no-such-server"), "{error}");
}

#[test]
fn a_fixed_port_is_used_and_a_taken_one_refused() {
    // Below the range that the system gives out: nobody else gets it in between.
    let holder = (20_000..30_000)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap();
    let port = holder.local_addr().unwrap().port();
    let fixed = vec![Port {
        inside: 80,
        outside: Some(port),
    }];
    let definition = Rendered {
        ports: fixed,
        ..service(&server())
    };

    let error = failure(definition.clone());
    assert!(
        error
            .message
            .contains(&format!("port {port} of 127.0.0.1 is taken")),
        "{error}"
    );
    assert!(error.help.unwrap().contains("`ports = [80]`"));

    drop(holder);
    let run = services(definition);
    assert_eq!(run.acquire(0, &GO).unwrap().ports, [(80, port)]);
}

#[test]
fn a_free_port_that_was_lost_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let tried = dir.path().join("tried");
    let script = format!(
        "echo @ >>'{0}'; test $(wc -l <'{0}') = 3 || {{ echo 'bind: Address already in use'; exit 1; }}; {1}",
        tried.display(),
        server()
    );
    let run = services(service(&script));
    let port = run.acquire(0, &GO).unwrap().port(None).unwrap();
    let tried = fs::read_to_string(tried).unwrap();
    assert_eq!(tried.lines().last(), Some(&*port.to_string()));
    assert_eq!(tried.lines().count(), 3);
}

#[test]
fn its_whole_tree_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!(
        "setsid sh -c 'trap \"\" INT TERM; echo $$ >\"{0}.new\"; mv \"{0}.new\" \"{0}\"; while :; do sleep 1; done' & {1}",
        pid_file.display(),
        server()
    );
    let ready = Some(Check::Exec(template(&format!(
        "test -e '{}'",
        pid_file.display()
    ))));
    let run = services(Rendered {
        ready,
        ..service(&script)
    });
    run.acquire(0, &GO).unwrap();
    let pid = fs::read_to_string(pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(alive(pid));
    run.stop_all();
    assert!(!alive(pid));
}

#[test]
fn it_may_clean_up_on_its_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("clean");
    let script = format!(
        "trap 'echo done >\"{}\"; exit 0' INT; echo up; while :; do sleep 0.05; done",
        mark.display()
    );
    let ready = Some(Check::Log("up".into()));
    let run = services(Rendered {
        ready,
        ports: Vec::new(),
        ..service(&script)
    });
    run.acquire(0, &GO).unwrap();
    run.stop_all();
    assert_eq!(fs::read_to_string(mark).unwrap(), "done\n");
}

#[test]
fn who_waits_takes_over_from_one_that_gave_up() {
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let script = format!("echo x >>'{}'; exec sleep 600", started.display());
    let ready = Some(Check::Exec(template(&format!(
        "test $(wc -l <'{}') = 2",
        started.display()
    ))));
    let run = services(Rendered {
        ready,
        ..service(&script)
    });
    let cancel = AtomicBool::new(false);
    let (asked, ready) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let first = scope.spawn(|| run.acquire(0, &cancel));
        wait_for(&started);
        let second = scope.spawn(|| {
            asked.fetch_add(1, Ordering::SeqCst);
            run.acquire(0, &GO)
                .map(|_| ready.store(true, Ordering::SeqCst))
        });
        while asked.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        cancel.store(true, Ordering::SeqCst);
        assert!(first.join().unwrap().unwrap_err().is_cancelled());
        second.join().unwrap().unwrap();
    });
    assert!(ready.load(Ordering::SeqCst));
}

fn wait_for(path: &Path) {
    while !path.exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_that_ends_while_in_use_is_told_and_not_given_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let end = dir.path().join("end");
    let script = format!(
        "echo up; until test -e '{}'; do sleep 0.02; done; echo oh no; exit 7",
        end.display()
    );
    let ready = Some(Check::Log("up".into()));
    let run = services(Rendered {
        ready,
        ..service(&script)
    });
    run.acquire(0, &GO).unwrap();
    assert_eq!(run.tail(0), b"up\n");
    fs::write(end, "").unwrap();
    let told = "(db: ended with exit code 7 while in use)\n";
    while !String::from_utf8(run.tail(0)).unwrap().ends_with(told) {
        thread::sleep(Duration::from_millis(5));
    }
    let error = run.acquire(0, &GO).unwrap_err();
    assert_eq!(
        error.message,
        "service db: ended with exit code 7 while in use"
    );
    assert_eq!(error.log, b"up\noh no\n");
    assert_eq!(run.tail(0), b"up\noh no\n");
}

#[test]
fn its_environment_is_what_it_was_given() {
    let ready = Some(Check::Log("end".into()));
    let run = services(Rendered {
        ready,
        ..service("env | sort; echo end; exec sleep 600")
    });
    let port = run.acquire(0, &GO).unwrap().port(None).unwrap();
    let log = String::from_utf8(run.tail(0)).unwrap();
    assert!(log.contains(&format!("MINE=port {port}\n")), "{log}");
    assert!(!log.contains("CARGO"), "{log}");
}

//! The engine and its registry as a test sees them from outside; knows nothing of deployments.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use forge::deploy::taskdef::Image;
use forge::docker::Credentials;

/// What no test waits longer for.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A port of 127.0.0.1 that nobody has.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What a web server answers; `None`: nobody does.
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let timeout = Some(Duration::from_secs(5));
    stream.set_read_timeout(timeout).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim().to_owned()).filter(|body| !body.is_empty())
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: run tests/setup.sh registry"))
}

/// Who may push to and pull from the registry of the test bed.
pub fn login() -> Credentials {
    Credentials {
        user: "AWS".into(),
        password: variable("FORGE_TEST_REGISTRY_PASSWORD"),
    }
}

pub fn of_registry(pushed: &str) -> Image {
    let (repository, digest) = pushed.split_once('@').expect("a digest");
    Image {
        repository: repository.into(),
        digest: digest.into(),
    }
}

/// What is deployed of a local image, and what its commit is called.
pub fn of_engine(name: &str) -> (Image, &str) {
    let (repository, commit) = name.split_once(':').expect("a tag");
    let image = Image {
        repository: repository.into(),
        digest: docker(&["image", "inspect", "-f", "{{.Id}}", name]),
    };
    (image, commit)
}

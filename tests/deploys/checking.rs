//! Smoke checks over HTTP.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use forge::deploy::progress::Progress;
use forge::deploy::request::{Caller, Found, Pace};
use forge::deploy::smoke::{self, Smoke};
use forge::deploy::spec::Check;

use crate::aws::http::{self, Answer, Reply, Server};

/// Answers 503 so many times, then 204.
fn slow_start(failures: u32) -> (Server, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let handler = move |_: &http::Head, _: &mut http::Incoming| -> Reply {
        let asked = count.fetch_add(1, Ordering::SeqCst);
        let status = if asked < failures { 503 } else { 204 };
        Reply::Answer(Answer::new(status, "text/plain", ""))
    };
    (Server::start(listener, Arc::new(handler)), asked)
}

fn check(url: String, status: u16, within: u64, cancelled: bool) -> (Smoke, Vec<String>) {
    let mut told = Vec::new();
    let mut sink = |progress: Progress| told.push(progress.to_string());
    let checks = [Check::Http {
        url,
        status,
        within: Duration::from_millis(within),
    }];
    let mut caller = Caller {
        sink: &mut sink,
        cancelled: &|| cancelled,
        shell: &|_| Err("nobody asks for a shell".into()),
        image: &|_| Found::Gone,
        login: &|_| None,
        commits: &|_, _| Vec::new(),
        pace: Pace(Duration::from_millis(5)),
    };
    let ended = smoke::run(&checks, &mut caller);
    (ended, told)
}

#[test]
fn a_service_that_comes_up_within_its_time_passes() {
    let (server, asked) = slow_start(3);
    let url = format!("http://{}/health", server.address);
    let (ended, told) = check(url.clone(), 204, 60_000, false);
    assert_eq!(ended, Smoke::Passed);
    assert_eq!(told, [format!("smoke: {url} passed")]);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[test]
fn another_status_or_none_fails_with_what_was_seen() {
    let (server, _) = slow_start(u32::MAX);
    let url = format!("http://{}/", server.address);
    let Smoke::Failed(reason) = check(url, 200, 100, false).0 else {
        panic!("it passed");
    };
    assert!(reason.contains("status 503 instead of 200"), "{reason}");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", closed.local_addr().expect("bound"));
    drop(closed);
    assert!(matches!(
        check(url.clone(), 200, 100, false).0,
        Smoke::Failed(_)
    ));
    assert_eq!(check(url, 200, 60_000, true).0, Smoke::Interrupted);
}

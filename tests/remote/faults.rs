//! A remote that is down, slow, full, or lost a part: the run goes on by itself and ends with 0.

use std::net::{Ipv4Addr, TcpListener};

use crate::shelf::{Odd, Shelf};
use crate::{BOTH, PIPELINE, filled, machine, machine_of, ran_alone};

/// As [`PIPELINE`], with nothing sent: what is asked for is what is looked at.
fn reading() -> String {
    PIPELINE.replace("\"always\"", "\"never\"")
}

#[test]
fn nobody_listens() {
    let (_shelf, first) = filled();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let second = machine(&format!("http://127.0.0.1:{port}"));
    let words = format!("the remote cache at 127.0.0.1:{port} isn't used: connection refused");
    ran_alone(&second, &first, BOTH, Some(("build", &words)));
}

#[test]
fn no_such_host() {
    let (_shelf, first) = filled();
    let second = machine("https://me:hunter2@cache.invalid/path");
    let words = "the remote cache at cache.invalid isn't used";
    ran_alone(&second, &first, BOTH, Some(("build", words)));
}

/// Waited for once, not once a target.
#[test]
fn nobody_answers() {
    let (shelf, first) = filled();
    shelf.behave(|_| Some(Odd::Hang));
    let second = machine(&shelf.url());
    ran_alone(
        &second,
        &first,
        BOTH,
        Some(("build", "it doesn't answer in time")),
    );
    assert_eq!(shelf.asked().len(), 1);
}

/// It takes what is said and says nothing, also where TLS is spoken.
#[test]
fn nobody_answers_by_tls() {
    let (shelf, first) = filled();
    shelf.behave(|_| Some(Odd::Hang));
    let second = machine(&shelf.url().replace("http:", "https:"));
    ran_alone(&second, &first, BOTH, Some(("build", "isn't used")));
}

#[test]
fn a_server_in_trouble() {
    for status in [500, 502, 429, 400] {
        let (shelf, first) = filled();
        shelf.behave(move |_| Some(Odd::Status(status)));
        let second = machine(&shelf.url());
        let words = format!("isn't used: it answers {status}");
        ran_alone(&second, &first, BOTH, Some(("build", &words)));
        assert_eq!(shelf.asked().len(), 1, "it is asked no more");
    }
}

#[test]
fn a_server_that_lets_nobody_in() {
    for status in [401, 403] {
        let (shelf, first) = filled();
        shelf.behave(move |_| Some(Odd::Status(status)));
        let second = machine(&shelf.url());
        let words = format!("it doesn't let this caller in ({status})");
        ran_alone(&second, &first, BOTH, Some(("build", &words)));
    }
}

/// bazel#18696: the record is there, and a content had to make room.
#[test]
fn a_content_that_had_to_go() {
    let (shelf, first) = filled();
    let large = shelf.kept("cas/").into_iter();
    let large = large.filter(|(_, content)| content.len() > 2_000_000);
    let paths: Vec<String> = large.map(|(path, _)| path).collect();
    shelf.forget(&paths[0]);
    let second = machine(&shelf.url());
    ran_alone(&second, &first, &["build"], None);
    assert!(shelf.kept("").contains_key(&paths[0]), "it is there again");
    machine(&shelf.url()).expect(&["test"], &[]).not_warned();
}

#[test]
fn a_connection_that_ends_halfway() {
    let (shelf, first) = filled();
    shelf.behave(|asked| asked.path.starts_with("cas/").then_some(Odd::Cut(10)));
    let second = machine_of(&reading(), &shelf.url());
    let words = "it cut the connection";
    ran_alone(&second, &first, BOTH, Some(("build", words)));
}

/// Each byte comes in time, all of them wouldn't.
#[test]
fn a_transfer_that_would_take_for_ever() {
    let (shelf, first) = filled();
    shelf.behave(|asked| asked.path.starts_with("cas/").then_some(Odd::Trickle(400)));
    let second = machine_of(&reading(), &shelf.url());
    let done = second.expect(&["build"], &["build"]);
    done.warned("isn't used: it doesn't answer in time");
    let waited = done.events_of("target-waiting");
    assert_eq!(waited.len(), 1, "{done:?}");
    let why = format!("it comes from {}", shelf.host());
    assert_eq!(waited[0]["reason"], why.as_str());
    drop(first);
}

#[test]
fn an_address_that_is_none() {
    let (_shelf, first) = filled();
    for (url, words) in [
        ("cache.example.com", "it is no address"),
        ("ftp://me:hunter2@host", "it is no address"),
        ("http://me:1/hunter2@host", "are written %2F and %40"),
    ] {
        let second = machine(url);
        let done = second.expect(&["test"], BOTH);
        assert_eq!(done.warnings().len(), 1, "{done:?}");
        done.warned("[cache] remote isn't used");
        done.warned(words);
        assert!(!format!("{done:?}").contains("hunter2"));
    }
    let mut second = machine("");
    second.unset("REMOTE");
    let done = second.expect(&["test"], BOTH);
    done.warned("[cache] remote isn't used: ${env.REMOTE}: the variable is not set");
    drop(first);
}

/// No room here for what is there: more than the cache may hold isn't fetched.
#[test]
fn what_the_cache_here_can_not_hold() {
    let (shelf, first) = filled();
    let small = reading().replace("[cache]", "[cache]\nmax-size = \"1MB\"");
    let second = machine_of(&small, &shelf.url());
    ran_alone(&second, &first, &["build"], None);
    let fetched = shelf.kinds();
    // The list of the large one; and all of the small one.
    assert!(fetched["GET cas"] <= 4, "{fetched:?}");
}

#[test]
fn doctor_says_whether_it_answers() {
    let shelf = Shelf::start();
    let mut bed = machine(&shelf.url());
    let said = bed.plain(&["doctor"]);
    let line = format!(
        "remote cache   {} answers; results aren't signed",
        shelf.host()
    );
    assert!(said.stdout.contains(&line), "{said:?}");
    bed.set("FORGE_REMOTE_SECRET", "open sesame");
    let said = bed.plain(&["doctor"]);
    assert!(
        !said.stdout.contains("sesame") && !said.stdout.contains("signed"),
        "{said:?}"
    );
    let code = said.code;
    shelf.behave(|_| Some(Odd::Status(403)));
    let said = bed.plain(&["doctor"]);
    assert_eq!(said.code, code, "it is never needed");
    assert!(
        said.stdout.contains("it doesn't let this caller in (403)"),
        "{said:?}"
    );
    bed.unset("REMOTE");
    let said = bed.plain(&["doctor"]);
    assert!(
        said.stdout
            .contains("${env.REMOTE}: the variable is not set"),
        "{said:?}"
    );
    let without = machine_of("[target.a]\nrun = \"true\"\n", "");
    let said = without.plain(&["doctor"]);
    assert!(!said.stdout.contains("remote cache"), "{said:?}");
}

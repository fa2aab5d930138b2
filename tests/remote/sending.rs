//! What is sent, by whom, and what becomes of a run whose results nobody takes.

use std::process::Command;

use crate::shelf::{Odd, Shelf};
use crate::{BOTH, PIPELINE, machine, machine_of};

#[test]
fn who_writes() {
    for (mode, ci, sends) in [
        ("always", None, true),
        ("never", Some("true"), false),
        ("ci", None, false),
        ("ci", Some("true"), true),
        ("ci", Some("1"), true),
        ("ci", Some("false"), false),
        ("ci", Some(""), false),
    ] {
        let shelf = Shelf::start();
        let pipeline = PIPELINE.replace("\"always\"", &format!("{mode:?}"));
        let mut bed = machine_of(&pipeline, &shelf.url());
        if let Some(ci) = ci {
            bed.set("CI", ci);
        }
        bed.expect(&["test"], BOTH).not_warned();
        assert_eq!(
            shelf.kept("ac/").len(),
            if sends { 2 } else { 0 },
            "{mode} {ci:?}"
        );
        let writes = |method: &str| matches!(method, "PUT" | "HEAD");
        let wrote = shelf.asked().iter().any(|asked| writes(&asked.method));
        assert_eq!(wrote, sends, "{mode} {ci:?}");
    }
}

/// CI alone writes where nothing is said.
#[test]
fn the_default_is_ci() {
    let shelf = Shelf::start();
    let pipeline = PIPELINE.replace("remote-write = \"always\"", "");
    let mut bed = machine_of(&pipeline, &shelf.url());
    bed.expect(&["test"], BOTH);
    assert!(shelf.kept("").is_empty());
    bed.set("CI", "true");
    bed.expect(&["test", "--force"], BOTH);
    assert_eq!(shelf.kept("ac/").len(), 2);
}

/// The record last: it never names what isn't there.
#[test]
fn contents_come_before_their_record() {
    let shelf = Shelf::start();
    machine(&shelf.url()).expect(&["build"], &["build"]);
    let asked = shelf.asked();
    let puts: Vec<_> = asked.iter().filter(|asked| asked.method == "PUT").collect();
    let last = puts.last().expect("something was sent");
    assert!(last.path.starts_with("ac/"), "{puts:?}");
    assert_eq!(puts.len(), shelf.kept("").len());
    shelf.asked();
    // What is there isn't sent again.
    machine(&shelf.url()).expect(&["build", "--force"], &["build"]);
    let kinds = shelf.kinds();
    assert_eq!(kinds.get("PUT ac"), Some(&1), "{kinds:?}");
    // The times of files are in their list.
    assert_eq!(kinds.get("PUT cas"), Some(&1), "{kinds:?}");
}

#[test]
fn force_sends_and_does_not_ask() {
    let shelf = Shelf::start();
    machine(&shelf.url()).expect(&["test", "--force"], BOTH);
    let kinds = shelf.kinds();
    assert!(
        kinds.keys().all(|kind| !kind.starts_with("GET")),
        "{kinds:?}"
    );
    assert_eq!(shelf.kept("ac/").len(), 2);
}

#[test]
fn without_the_cache_there_is_no_remote() {
    let shelf = Shelf::start();
    machine(&shelf.url()).expect(&["test"], BOTH);
    let before = shelf.connections();
    machine(&shelf.url())
        .expect(&["test", "--no-cache"], BOTH)
        .not_warned();
    assert_eq!(shelf.connections(), before);
}

#[test]
fn what_is_never_kept_is_never_sent() {
    let shelf = Shelf::start();
    let pipeline = format!(
        "{PIPELINE}\n[target.always]\ncache = false\nrun = \"echo always >> ../ran\"\n\
         [target.fails]\ninputs = []\nrun = \"exit 1\"\n"
    );
    let bed = machine_of(&pipeline, &shelf.url());
    bed.expect(&["always"], &["always"]);
    assert_eq!(bed.forge(&["fails"]).code, 1);
    assert!(shelf.kept("").is_empty());
    let kinds = shelf.kinds();
    assert!(kinds.keys().all(|kind| kind == "GET ac"), "{kinds:?}");
    // What lay there before may be a part of the result.
    bed.write("out/mine", "mine");
    bed.forge(&["build"]).warned("was there before");
    assert!(shelf.kept("").is_empty());
}

/// Of what is too large, nothing else suffers.
#[test]
fn a_content_that_is_too_large() {
    let shelf = Shelf::start();
    let large = forge::cache::digest::Digest::of(&[b'x'; 3_000_000]).hex();
    shelf.behave(move |asked| {
        let is_large = asked.method == "PUT" && asked.path.contains(&large);
        is_large.then_some(Odd::Status(413))
    });
    let done = machine(&shelf.url()).expect(&["test"], BOTH);
    done.warned("its result isn't sent to 127.0.0.1");
    assert_eq!(done.warnings().len(), 1, "{done:?}");
    assert_eq!(shelf.kept("ac/").len(), 1, "the other one was sent");
    machine(&shelf.url()).expect(&["test"], &["build"]);
}

#[test]
fn a_remote_that_takes_nothing() {
    for status in [401, 403, 405, 507] {
        let shelf = Shelf::start();
        shelf.behave(move |asked| (asked.method == "PUT").then_some(Odd::Status(status)));
        let done = machine(&shelf.url()).expect(&["test"], BOTH);
        done.warned(&format!("it takes nothing ({status})"));
        assert_eq!(done.warnings().len(), 1, "{done:?}");
        assert!(shelf.kept("").is_empty());
    }
}

#[test]
fn a_remote_that_breaks_down_meanwhile() {
    for odd in [Odd::Status(500), Odd::Status(413), Odd::Hang] {
        let shelf = Shelf::start();
        let told = odd.clone();
        shelf.behave(move |asked| (asked.method != "GET").then(|| told.clone()));
        let done = machine(&shelf.url()).expect(&["test"], BOTH);
        let told = done.warnings().into_iter();
        let told = told.filter(|told| !told.starts_with("still sending"));
        assert_eq!(told.count(), 1, "{odd:?}: {done:?}");
        assert!(shelf.kept("").is_empty());
    }
}

/// A server that doesn't know the question is sent everything.
#[test]
fn a_remote_without_head() {
    let shelf = Shelf::start();
    shelf.behave(|asked| (asked.method == "HEAD").then_some(Odd::Status(405)));
    machine(&shelf.url()).expect(&["test"], BOTH).not_warned();
    machine(&shelf.url()).expect(&["test"], &[]).not_warned();
}

/// What was made is here, whether or not the rest of it is sent.
#[test]
fn an_interrupt_ends_the_sending_and_nothing_else() {
    let shelf = Shelf::start();
    shelf.behave(|asked| (asked.method == "PUT").then_some(Odd::Hang));
    let bed = machine(&shelf.url());
    let running = bed.start(&["test"]);
    running.tells("still sending results to");
    let signal = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(signal.expect("kill starts").success());
    let done = running.wait();
    assert_eq!(done.code, 0, "{done:?}");
    done.warned("not everything was sent to 127.0.0.1");
    assert_eq!(bed.ran(), BOTH);
    bed.expect(&["test"], &[]);
}

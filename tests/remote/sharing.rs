//! One machine has what another one made.

use std::collections::BTreeMap;

use crate::shelf::Shelf;
use crate::support::contents;
use crate::{BOTH, PIPELINE, filled, machine, machine_of};

#[test]
fn another_machine_has_what_the_first_one_made() {
    let (shelf, first) = filled();
    let second = machine(&shelf.url());
    let done = second.expect(&["test"], &[]);
    done.not_warned();
    assert_eq!(done.outcome("build"), "restored");
    assert_eq!(
        done.reason("build"),
        "never ran here, from the remote cache"
    );
    // It leaves no file.
    assert_eq!(done.outcome("test"), "fresh");
    assert_eq!(done.reason("test"), "up to date, from the remote cache");
    for outputs in ["out", "gen"] {
        let (made, restored) = (first.path(outputs), second.path(outputs));
        assert_eq!(contents(&restored), contents(&made), "{outputs}");
    }
    assert_eq!(second.mode("out/tool"), 0o755);
    assert!(second.path("out/link").is_symlink());
    let kinds = shelf.kinds();
    let sent = kinds.keys().filter(|kind| !kind.starts_with("GET"));
    assert_eq!(
        sent.count(),
        0,
        "what came from there needn't go there: {kinds:?}"
    );
}

#[test]
fn what_was_printed_comes_along_and_so_does_why() {
    let (shelf, _first) = filled();
    let second = machine(&shelf.url());
    let said = second.plain(&["test", "-v"]);
    assert_eq!(said.code, 0, "{said:?}");
    for line in ["built it", "tested", "some letters"] {
        assert!(said.stdout.contains(line), "{line}: {said:?}");
    }
    assert!(second.ran().is_empty());
    second.write("in.txt", "other letters\n");
    let why = second.plain(&["why", "build"]);
    assert!(why.stdout.contains("in.txt changed"), "{why:?}");
}

/// Two that hang on nothing but themselves are asked for at the same time.
#[test]
fn several_targets_at_once() {
    let mut pipeline =
        String::from("[cache]\nremote = \"${env.REMOTE}\"\nremote-write = \"always\"\n");
    let names: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    for name in &names {
        pipeline += &format!(
            "[target.{name}]\ninputs = []\noutputs = [\"{name}\"]\n\
             run = \"echo {name} >> ../ran; mkdir {name}; for i in 1 2 3 4 5 6 7 8 9; do echo {name} $i > {name}/$i; done\"\n"
        );
    }
    let shelf = Shelf::start();
    let targets: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = machine_of(&pipeline, &shelf.url());
    let args = [&["-j", "4"], &*targets].concat();
    first.expect(&args, &targets).not_warned();
    assert_eq!(shelf.kept("ac/").len(), 6);
    let second = machine_of(&pipeline, &shelf.url());
    let done = second.expect(&args, &[]);
    done.not_warned();
    assert_eq!(done.with_outcome("restored"), targets);
    for name in targets {
        assert_eq!(contents(&second.path(name)), contents(&first.path(name)));
    }
}

#[test]
fn what_is_here_already_is_not_fetched() {
    let (shelf, first) = filled();
    first.write("in.txt", "more\n");
    first.expect(&["test"], BOTH);
    // Has all that the first result left, and of the second what is the same.
    let second = machine(&shelf.url());
    second.expect(&["test"], &[]);
    shelf.asked();
    second.write("in.txt", "more\n");
    let done = second.expect(&["test"], &[]);
    assert_eq!(
        done.reason("build"),
        "in.txt changed, from the remote cache"
    );
    let kinds = shelf.kinds();
    // Both records, the list of outputs of the one that has some, what the other one printed, and the letters.
    let expected = [("GET ac", 2), ("GET cas", 3)];
    let expected: BTreeMap<_, _> = expected.map(|(kind, n)| (kind.to_owned(), n)).into();
    assert_eq!(kinds, expected);
    second.write("in.txt", "some letters\n");
    second.expect(&["test"], &[]);
    assert!(shelf.asked().is_empty(), "it had that itself");
}

/// It asks for nothing, not even for a connection.
#[test]
fn who_has_nothing_to_do_needs_no_remote() {
    let (shelf, first) = filled();
    let before = shelf.connections();
    assert_eq!(first.forge(&["test"]).with_outcome("fresh"), BOTH);
    for args in [
        &["-n", "test"][..],
        &["why", "test"],
        &["list"],
        &["check"],
        &["status"],
    ] {
        let said = first.plain(args);
        assert!(said.code < 2, "{said:?}");
    }
    let stranger = machine(&shelf.url());
    let planned = stranger.plain(&["-n", "test"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    stranger.plain(&["why", "test"]);
    assert_eq!(shelf.connections(), before);
}

#[test]
fn a_list_that_is_lost_here_is_fetched() {
    let (shelf, _first) = filled();
    let second = machine(&shelf.url());
    second.expect(&["test"], &[]);
    for directory in ["blobs", "snapshot"] {
        second.remove(format!(".forge/{directory}"));
    }
    second.remove("out");
    let done = second.expect(&["test"], &[]);
    assert_eq!(done.outcome("build"), "restored", "{done:?}");
    assert!(second.exists("out/large"));
}

/// A part of the path belongs to it.
#[test]
fn several_caches_on_one_server() {
    let shelf = Shelf::start();
    let first = machine_of(PIPELINE, &format!("{}/ours/", shelf.url()));
    first.expect(&["test"], BOTH);
    assert_eq!(shelf.kept("ours/ac/").len(), 2);
    assert_eq!(shelf.kept("").len(), shelf.kept("ours/").len());
    machine(&shelf.url()).expect(&["test"], BOTH);
    machine_of(PIPELINE, &format!("{}/ours", shelf.url())).expect(&["test"], &[]);
}

//! The remote cache: what one machine made, another one has; and whatever a remote does, a run ends as it would
//! have ended without it.

#[path = "../support/shelf.rs"]
mod shelf;
#[path = "../support/mod.rs"]
mod support;

mod faults;
mod lies;
mod manners;
mod sending;
mod sharing;

use shelf::Shelf;
use support::Bed;

/// What [`build`](PIPELINE) and `test` leave word of.
const BOTH: &[&str] = &["build", "test"];

/// Everything that an output can be, and a target without one.
const PIPELINE: &str = r##"
[pipeline]
name = "letters"

[cache]
remote       = "${env.REMOTE}"
remote-write = "always"

[target.build]
inputs  = ["in.txt"]
outputs = ["out", "gen/file"]
run     = [
  "echo build >> ../ran",
  "mkdir -p out/empty gen; cp in.txt out/plain; cp in.txt gen/file; : > out/nothing",
  "echo '#!/bin/sh' > out/tool; chmod 755 out/tool; chmod 444 out/plain",
  "ln -s plain out/link; head -c 3000000 /dev/zero | tr '\\0' x > out/large",
  "echo built it",
]

[target.test]
needs  = ["build"]
inputs = []
run    = "echo test >> ../ran; echo tested; cat out/plain"
"##;

/// A checkout on a machine that uses a remote.
fn machine(url: &str) -> Bed {
    machine_of(PIPELINE, url)
}

fn machine_of(pipeline: &str, url: &str) -> Bed {
    let mut bed = Bed::new(pipeline);
    bed.write("in.txt", "some letters\n");
    bed.set("REMOTE", url);
    bed
}

/// A remote that has what a machine made, and that machine.
fn filled() -> (Shelf, Bed) {
    let shelf = Shelf::start();
    let first = machine(&shelf.url());
    first.expect(&["test"], BOTH).not_warned();
    shelf.asked();
    (shelf, first)
}

/// These ran, though somebody else had made them; one thing was told, of one target; and what was made is what
/// the first one made.
#[track_caller]
fn ran_alone(bed: &Bed, first: &Bed, ran: &[&str], warning: Option<(&str, &str)>) {
    let done = bed.expect(&["test"], ran);
    let told = done.events_of("warning");
    match warning {
        Some((target, words)) => {
            assert_eq!(told.len(), 1, "{done:?}");
            assert_eq!(told[0]["target"], target, "{done:?}");
            done.warned(words);
        }
        None => done.not_warned(),
    }
    for outputs in ["out", "gen"] {
        let made = |bed: &Bed| support::contents(&bed.path(outputs));
        assert_eq!(made(bed), made(first), "{outputs}");
    }
}

//! Promise 10 and hazard 11: nothing is written through a link or outside the workspace, and links as inputs.

use std::collections::BTreeMap;

use forge::cache::blobs::Blobs;
use forge::cache::digest::Digest;
use forge::cache::manifest::{Entry, Manifest, Node};
use forge::cache::snapshot::Snapshot;
use forge::cache::store::{Batch, Store};

use super::support::{Bed, contents};

const MAKE: &str = "[target.t]\ninputs = [\"in\"]\noutputs = [\"out/gen\"]\n\
                    run = 'echo t >> ../ran; mkdir -p out/gen/deep; cp in out/gen/a; cp in out/gen/deep/b'\n";

fn made() -> Bed {
    let bed = Bed::new(MAKE);
    bed.write("in", "one\n");
    bed.expect(&["t"], &["t"]);
    bed
}

/// Puts a link to a directory elsewhere in place of one, with all that was in it or with something else.
fn plant(bed: &Bed, path: &str, same: bool) -> std::path::PathBuf {
    let elsewhere = bed.base().join("elsewhere");
    let _ = std::fs::remove_dir_all(&elsewhere);
    std::fs::rename(bed.path(path), &elsewhere).expect("moved");
    if !same {
        std::fs::remove_dir_all(&elsewhere).expect("removed");
        bed.write("../elsewhere/theirs", "theirs\n");
    }
    bed.link(&elsewhere, path);
    elsewhere
}

#[test]
fn hazard_11_a_link_in_place_of_an_output_directory_is_replaced_and_not_followed() {
    for same in [true, false] {
        for place in ["out/gen", "out/gen/deep"] {
            let bed = made();
            let good = contents(&bed.path("out"));
            let elsewhere = plant(&bed, place, same);
            let theirs = contents(&elsewhere);
            let done = bed.expect(&["t"], &[]);
            assert_eq!(done.outcome("t"), "restored", "{place}");
            assert_eq!(contents(&bed.path("out")), good, "{place}, same: {same}");
            assert_eq!(contents(&elsewhere), theirs, "{place}, same: {same}");
            assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "fresh");
        }
    }
}

#[test]
fn hazard_11_a_link_in_place_of_a_directory_above_is_refused() {
    let bed = made();
    bed.write("in", "two\n");
    bed.expect(&["t"], &["t"]);
    let elsewhere = plant(&bed, "out", false);
    bed.write("in", "one\n");
    // The command is free to write where it likes; forge isn't, so it can only run it.
    bed.write(
        "Pipeline.toml",
        MAKE.replace("run = '", "run = 'rm -f out; "),
    );
    bed.expect(&["t"], &["t"]);
    assert_eq!(contents(&elsewhere).len(), 1);
    let elsewhere = plant(&bed, "out", false);
    let theirs = contents(&elsewhere);
    let done = bed.expect(&["t"], &["t"]);
    done.warned("nothing is written through a link");
    assert_eq!(contents(&elsewhere), theirs);
}

#[test]
fn hazard_11_nothing_behind_a_link_is_removed() {
    for then in ["exit 1", ""] {
        let bed = Bed::new(&MAKE.replace("cp in out/gen/deep/b", "cp in out/gen/deep/b; sh ../do"));
        bed.write("in", "one\n");
        bed.write("../do", "");
        bed.expect(&["t"], &["t"]);
        // The next run fails, or leaves a file less; what it made earlier is replaced by a link meanwhile.
        bed.write("in", "two\n");
        bed.write("../do", then);
        bed.forge(&["t"]);
        let elsewhere = plant(&bed, "out", true);
        bed.write("../elsewhere/gen/theirs", "theirs\n");
        let theirs = contents(&elsewhere);
        bed.write(
            "Pipeline.toml",
            bed.read("Pipeline.toml").replace("mkdir", "rm out; mkdir"),
        );
        bed.write("../do", "");
        bed.forge(&["t"]);
        assert_eq!(contents(&elsewhere), theirs, "{then:?}");
        // The same where the output itself is the link.
        bed.forge(&["t"]);
        let elsewhere = plant(&bed, "out/gen", true);
        bed.write("../elsewhere/theirs", "theirs\n");
        let theirs = contents(&elsewhere);
        bed.write("../do", then);
        bed.write("in", "three\n");
        bed.forge(&["t"]);
        bed.remove("out");
        bed.write("out/x", "");
        bed.link(&elsewhere, "out/gen");
        bed.forge(&["t"]);
        let left = contents(&elsewhere);
        assert!(
            theirs.keys().all(|path| left.contains_key(path)),
            "{then:?}: {left:?}"
        );
    }
}

#[test]
fn hazard_11_an_output_that_is_a_link_is_kept_as_a_link() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"venv\", \"data\"]\n\
         run = 'echo t >> ../ran; mkdir venv; ln -s /bin/sh venv/python; ln -s /etc data'\n",
    );
    bed.expect(&["t"], &["t"]);
    let made = contents(&bed.root.join("venv"));
    for _ in 0..2 {
        bed.remove("venv");
        bed.remove("data");
        bed.expect(&["t"], &[]);
        assert_eq!(contents(&bed.root.join("venv")), made);
        assert_eq!(
            std::fs::read_link(bed.path("data"))
                .expect("a link")
                .to_str(),
            Some("/etc")
        );
    }
    let size: u64 = bed.kept_with("root:").len() as u64;
    assert_eq!(size, 0, "what is behind the link was stored");
}

#[test]
fn hazard_11_links_in_a_circle_end() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"src/**\", \"lib\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; mkdir out; ln -s ../out out/self; ln -s . out/dot; cat src/real/a > out/a'\n\
         [target.all]\nrun = 'echo all >> ../ran'\n",
    );
    bed.write("src/real/a", "one\n");
    bed.write("lib/b", "");
    bed.link("..", "src/up");
    bed.link("self", "src/self");
    bed.link("../src", "src/real/around");
    bed.link("../lib", "lib/around");
    bed.expect(&["t", "all"], &["all", "t"]);
    bed.expect(&["t", "all"], &[]);
    bed.write("src/real/a", "two\n");
    bed.expect(&["t", "all"], &["all", "t"]);
    bed.remove("out");
    bed.expect(&["t"], &[]);
}

#[test]
fn a_linked_input_is_the_link_and_what_is_behind_it() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"src/*\"]\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; cat src/* > out || :'\n",
    );
    bed.write("real/a", "one\n");
    bed.write("real/b", "one\n");
    bed.write("../outside", "one\n");
    bed.write("src/plain", "");
    bed.link("../real/a", "src/link");
    bed.link("../real", "src/directory");
    bed.link("nowhere", "src/dangling");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    bed.write("real/a", "two\n");
    bed.expect(&["t"], &["t"]);
    bed.write("real/b", "two\n");
    bed.expect(&["t"], &["t"]);
    bed.remove("src/link");
    bed.link("../real/b", "src/link"); // the same content
    bed.expect(&["t"], &["t"]);
    bed.write("src/nowhere", ""); // what the dangling one leads to
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
}

#[test]
fn links_behind_a_linked_directory_are_inputs_with_what_they_lead_to() {
    for inputs in ["src/**", "src"] {
        let bed = Bed::new(&format!(
            "[target.t]\ninputs = [\"{inputs}\"]\noutputs = [\"out\"]\n\
             run = 'echo t >> ../ran; cat src/vendor/x src/vendor/more/x > out'\n"
        ));
        for name in ["a", "b"] {
            bed.write(format!("{name}/x"), name);
        }
        for directory in ["src", "real", "other"] {
            bed.write(format!("{directory}/own"), "");
        }
        bed.write("../outside", "one\n");
        bed.link("../real", "src/vendor");
        bed.link("../a/x", "real/x");
        bed.link("../other", "real/more");
        bed.link("../../outside", "real/outside");
        bed.link("../out", "real/made");
        // In circles: around the workspace, and around the two directories.
        bed.link("..", "real/up");
        bed.link("../real", "other/back");
        bed.link("../b/x", "other/x");
        bed.expect(&["t"], &["t"]);
        bed.expect(&["t"], &[]);
        assert_eq!(bed.read("out"), "ab");
        bed.write("a/x", "edited ");
        bed.expect(&["t"], &["t"]);
        bed.remove("real/x");
        bed.link("../b/x", "real/x");
        bed.expect(&["t"], &["t"]);
        assert_eq!(bed.read("out"), "bb");
        bed.write("b/new", "c");
        bed.remove("other/x");
        bed.link("../b/new", "other/x");
        bed.expect(&["t"], &["t"]);
        assert_eq!(bed.read("out"), "bc");
        bed.write("../outside", "two\n");
        bed.expect(&["t"], &[]);
    }
}

/// What a target with these inputs does when the files are edited one by one, in a workspace with links to directories:
/// of the files those that it runs again for.
fn matched(inputs: &str, files: &[&str]) -> Vec<String> {
    let bed = Bed::new(&format!(
        "[target.t]\ninputs = [{inputs}]\noutputs = [\"out.c\", \"real/*.o.c\"]\n\
         run = 'echo t >> ../ran; echo > out.c; echo > real/made.o.c'\n\
         [target.other]\ninputs = []\noutputs = [\"real/other.c\"]\nrun = 'echo > real/other.c'\n"
    ));
    bed.write(".gitignore", "ignored*\n");
    for file in ["src/own", "real/x.h", "real/other.c", "out.c"]
        .iter()
        .chain(files)
    {
        bed.write(file, "one\n");
    }
    bed.commit();
    bed.link("../real", "src/vendor");
    bed.link("..", "src/up");
    bed.link("../ignored", "src/more");
    bed.link("../deep", "real/deep");
    bed.link("../deep/y.c", "real/linked.c");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    let is_seen = |file: &&&str| {
        bed.write(file, "two\n");
        bed.forge(&["t"]);
        bed.ran() == ["t"]
    };
    files
        .iter()
        .filter(is_seen)
        .map(|file| (*file).to_owned())
        .collect()
}

#[test]
fn globs_match_behind_a_linked_directory_by_the_path_through_the_link() {
    let files = [
        "real/x.c",
        "real/x.h",
        "real/other.c",
        "real/ignored.c",
        "deep/y.c",
        "deep/y.h",
        "deep/z.c",
        "ignored/w.c",
    ];
    for (inputs, expected) in [
        (
            "'src/**/*.c'",
            &["real/x.c", "deep/y.c", "deep/z.c", "ignored/w.c"][..],
        ),
        ("'src/*/x.c'", &["real/x.c"]),
        ("'src/*/*/y.?'", &["deep/y.c", "deep/y.h"]),
        ("'src/*.c', 'src/vendor/x.*'", &["real/x.c", "real/x.h"]),
        (
            "'src/**/*.c', '!src/vendor/deep/**'",
            &["real/x.c", "deep/y.c", "ignored/w.c"],
        ),
        ("'src/**/*.c', '!src/vendor'", &["ignored/w.c"]),
        ("'src/*.c', 'src/own'", &[]),
    ] {
        assert_eq!(matched(inputs, &files), expected, "{inputs}");
    }
}

#[test]
fn a_circle_behind_linked_directories_ends_and_hides_nothing() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"src/*/*/*/x\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; cat src/vendor/deep/back/x > out'\n",
    );
    for file in ["src/own", "real/x", "deep/own"] {
        bed.write(file, "one\n");
    }
    bed.link("../real", "src/vendor");
    bed.link("../deep", "real/deep");
    bed.link("../real", "deep/back");
    bed.link("..", "deep/up");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    bed.write("real/x", "two\n");
    bed.expect(&["t"], &["t"]);
}

/// Replaces what the cache has of the only target by a manifest that was never captured.
fn forge_manifest(bed: &Bed, change: impl Fn(&mut Manifest)) {
    let cache = bed.path(".forge");
    let blobs = Blobs::new(&cache);
    let store = Store::new(&cache, Box::new(|warning| panic!("{warning}")));
    let (key, mut record) = store.results().pop().expect("one result");
    let bytes = blobs.read(&record.manifest).expect("kept");
    let mut manifest: Manifest = postcard::from_bytes(&bytes).expect("a manifest");
    change(&mut manifest);
    let bytes = postcard::to_stdvec(&manifest).expect("written");
    record.manifest = blobs.put(&bytes).expect("kept");
    record.outputs = manifest.digest();
    let (states, _) = store.states(None, &BTreeMap::new()).expect("read");
    let states = states.into_iter().map(|(name, mut state)| {
        (state.manifest, state.outputs) = (record.manifest, record.outputs);
        (name, state)
    });
    store.put(&Batch {
        states: states.collect(),
        results: vec![(key, record)],
        ..Batch::default()
    });
    drop(store);
    Snapshot::outdate(&cache);
}

#[test]
fn hazard_11_paths_that_leave_the_workspace_are_refused() {
    let base = Bed::new("").base().to_path_buf();
    let absolute = base.join("evil");
    let paths = [
        "../evil",
        "out/../../evil",
        absolute.to_str().expect("UTF-8"),
        "out/gen/../../../evil",
        ".",
        "",
    ];
    for path in paths {
        let bed = made();
        std::fs::create_dir_all(&base).expect("made");
        forge_manifest(&bed, |manifest| {
            let mut entries = manifest.entries.clone();
            let Some(Entry { node, .. }) = entries
                .iter()
                .find(|entry| matches!(entry.node, Node::File { .. }))
            else {
                panic!("no file");
            };
            let evil = Entry {
                path: path.into(),
                node: node.clone(),
            };
            entries.push(evil);
            *manifest = Manifest::new(entries);
        });
        bed.remove("out");
        let done = bed.expect(&["t"], &["t"]);
        done.warned("lies outside the workspace");
        assert!(
            !bed.base().join("evil").exists() && !absolute.exists(),
            "{path:?}"
        );
        assert_eq!(bed.read("out/gen/a"), "one\n");
        bed.remove("out");
        bed.expect(&["t"], &[]).not_warned();
        let _ = std::fs::remove_dir_all(&base);
    }
}

#[test]
fn hazard_11_a_manifest_that_names_others_files_removes_none_of_them() {
    let bed = made();
    bed.write("../theirs", "theirs\n");
    forge_manifest(&bed, |manifest| {
        let node = Node::File {
            digest: Digest::of(b"theirs\n"),
            size: 7,
            mode: 0o644,
            mtime: 0,
        };
        let mut entries = manifest.entries.clone();
        entries.push(Entry {
            path: "../theirs".into(),
            node,
        });
        *manifest = Manifest::new(entries);
    });
    bed.write("in", "two\n"); // what it made last time is removed first
    bed.forge(&["t"]);
    assert_eq!(bed.read("../theirs"), "theirs\n");
}

#[test]
fn hazard_11_a_restored_link_is_never_written_through() {
    let bed = made();
    let elsewhere = bed.base().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    forge_manifest(&bed, |manifest| {
        let mut entries = manifest.entries.clone();
        for entry in &mut entries {
            if entry.path == "out/gen/deep" {
                entry.node = Node::Link {
                    to: elsewhere.to_str().expect("UTF-8").into(),
                };
            }
        }
        *manifest = Manifest::new(entries);
    });
    bed.remove("out");
    bed.forge(&["t"]);
    assert_eq!(
        contents(&elsewhere).len(),
        0,
        "written through a link of its own"
    );
    assert_eq!(bed.forge(&["t"]).code, 0);
    assert_eq!(bed.read("out/gen/deep/b"), "one\n");
    assert_eq!(contents(&elsewhere).len(), 0);
}

#[test]
fn a_file_that_is_called_like_a_link_and_its_target_hides_neither() {
    let bed = Bed::new("[target.t]\ninputs = [\"l*\"]\nrun = 'echo t >> ../ran'\n");
    bed.write("d", "one\n");
    bed.write("l -> d", "one\n");
    bed.link("d", "l");
    bed.expect(&["t"], &["t"]);
    for name in ["d", "l -> d"] {
        bed.write(name, "two\n");
        bed.expect(&["t"], &["t"]);
    }
    bed.expect(&["t"], &[]);
}

#[test]
fn what_lies_around_a_link_to_it_is_behind_it() {
    for (inputs, to) in [("sub/**", ".."), ("sub", "../../work")] {
        let bed = Bed::new(&format!(
            "[target.t]\ninputs = [\"{inputs}\"]\noutputs = [\"out\"]\n\
             run = 'echo t >> ../ran; cat sub/up/other/f > out'\n\
             [target.apart]\ninputs = []\noutputs = [\"made\"]\nrun = 'echo apart >> ../ran; date > made'\n"
        ));
        bed.write("other/f", "one\n");
        bed.write("sub/own", "");
        bed.link(to, "sub/up");
        bed.link("../sub", "other/back");
        bed.link("..", "other/up");
        bed.expect(&["t"], &["t"]);
        bed.expect(&["t"], &[]);
        bed.write("other/f", "two\n");
        bed.expect(&["t"], &["t"]);
        assert_eq!(bed.read("out"), "two\n");
        bed.expect(&["apart"], &["apart"]);
        bed.expect(&["t"], &[]);
        bed.write("sub/own", "two");
        bed.expect(&["t"], &["t"]);
    }
}

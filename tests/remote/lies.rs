//! What a remote sends is a stranger's word: changed, cut short, of another key, or properly signed and made up.

use std::fs;

use forge::cache::digest::Digest;
use forge::cache::manifest::{Entry, Manifest, Node};

use crate::shelf::Shelf;
use crate::support::Bed;
use crate::{BOTH, PIPELINE, filled, machine, machine_of, ran_alone};

#[test]
fn a_record_that_nobody_signed() {
    let (shelf, first) = filled();
    for text in ["", "hello", "forge record 1\n", "<html>Not here.</html>"] {
        shelf.change("ac/", |record| *record = text.into());
        let second = machine(&shelf.url());
        let warning = format!(
            "what {} has for it isn't used: it is no signed record",
            shelf.host()
        );
        ran_alone(&second, &first, BOTH, Some(("build", &warning)));
    }
}

#[test]
fn a_changed_record() {
    let (shelf, first) = filled();
    shelf.change("ac/", |record| *record.last_mut().expect("bytes") ^= 1);
    let second = machine(&shelf.url());
    ran_alone(&second, &first, BOTH, Some(("build", "is damaged")));
    // It put its own in their place.
    machine(&shelf.url()).expect(&["test"], &[]).not_warned();
}

#[test]
fn a_record_that_never_ends() {
    let (shelf, first) = filled();
    shelf.change("ac/", |record| record.resize(200_000, 0));
    let second = machine(&shelf.url());
    ran_alone(
        &second,
        &first,
        BOTH,
        Some(("build", "too large to be one")),
    );
}

/// What is right under one key says nothing under another.
#[test]
fn the_record_of_another_key() {
    let (shelf, first) = filled();
    let records: Vec<_> = shelf.kept("ac/").into_iter().collect();
    let [(one, of_one), (other, of_other)] = &*records else {
        panic!("{records:?}");
    };
    shelf.keep(one, of_other);
    shelf.keep(other, of_one);
    let second = machine(&shelf.url());
    ran_alone(&second, &first, BOTH, Some(("build", "isn't used")));
}

#[test]
fn a_record_signed_by_somebody_else() {
    let shelf = Shelf::start();
    let mut first = machine(&shelf.url());
    first.set("FORGE_REMOTE_SECRET", "open sesame");
    first.expect(&["test"], BOTH).not_warned();
    for (secret, words) in [
        (Some("open barley"), "isn't signed for this key"),
        (
            None,
            "signed with a FORGE_REMOTE_SECRET, which isn't set here",
        ),
    ] {
        let mut second = machine(&shelf.url());
        // Its own mustn't take their place here.
        let pipeline = PIPELINE.replace("\"always\"", "\"never\"");
        second.write("Pipeline.toml", pipeline);
        if let Some(secret) = secret {
            second.set("FORGE_REMOTE_SECRET", secret);
        }
        ran_alone(&second, &first, BOTH, Some(("build", words)));
        assert!(second.kept_with("sesame").is_empty());
    }
    let mut friend = machine(&shelf.url());
    friend.set("FORGE_REMOTE_SECRET", "open sesame");
    friend.expect(&["test"], &[]).not_warned();
}

#[test]
fn a_changed_content_is_put_right_again() {
    for (kind, change) in [
        (
            "changed",
            (|content| content[1_000_000] ^= 1) as fn(&mut Vec<u8>),
        ),
        ("cut short", |content| content.truncate(1_000_000)),
        ("longer", |content| content.push(b'x')),
    ] {
        let (shelf, first) = filled();
        let large = shelf.kept("cas/").into_iter();
        let large: Vec<_> = large
            .filter(|(_, content)| content.len() > 2_000_000)
            .collect();
        assert_eq!(large.len(), 1);
        shelf.change(&large[0].0, change);
        let second = machine(&shelf.url());
        // What it makes of that is what the first one made: the other target's record holds.
        let told = "a content of it isn't what it was";
        ran_alone(&second, &first, &["build"], Some(("build", told)));
        let third = machine(&shelf.url());
        let done = third.expect(&["test"], &[]);
        assert_eq!(done.outcome("build"), "restored", "{kind}: {done:?}");
    }
}

/// What the seal of a record is made with, as docs/cache.md says: written anew here, so that it can't change unseen.
fn sealed(secret: &str, key: &str, payload: &[u8]) -> Vec<u8> {
    let derived = blake3::derive_key(
        "forge: seal of a remote cache record, version 1",
        secret.as_bytes(),
    );
    let key = Digest::from_hex(key).expect("a key");
    let mut hasher = blake3::Hasher::new_keyed(&derived);
    hasher.update(b"forge record 1\n");
    hasher.update(&key.0).update(payload);
    let seal = hasher.finalize();
    [b"forge record 1\n", &seal.as_bytes()[..], payload].concat()
}

type Payload = ((Digest, u64), Digest, (Digest, u64), u64);

/// Replaces the only record there by one with these outputs, signed as it should be.
fn make_up(shelf: &Shelf, manifest: &Manifest) {
    let (path, record) = shelf.kept("ac/").pop_first().expect("a record");
    let start = b"forge record 1\n".len() + 32;
    let old: Payload = postcard::from_bytes(&record[start..]).expect("a payload");
    let key = path.trim_start_matches("ac/");
    assert_eq!(sealed("", key, &record[start..]), record, "as it was made");
    let list = postcard::to_stdvec(manifest).expect("bytes");
    let digest = Digest::of(&list);
    shelf.keep(&format!("cas/{}", digest.hex()), &list);
    let new: Payload = ((digest, list.len() as u64), manifest.digest(), old.2, old.3);
    let payload = postcard::to_stdvec(&new).expect("bytes");
    shelf.keep(&path, &sealed("", key, &payload));
}

const MADE_UP: &str = r#"
[cache]
remote       = "${env.REMOTE}"
remote-write = "always"

[target.make]
inputs  = ["in.txt"]
outputs = ["gen/file"]
run     = "echo make >> ../ran; mkdir -p gen; echo made > gen/file"
"#;

/// A remote with the result of `make`, and a content to put into made-up ones.
fn made() -> (Shelf, Node) {
    let shelf = Shelf::start();
    machine_of(MADE_UP, &shelf.url()).expect(&["make"], &["make"]);
    let content = b"#!/bin/sh\necho owned\n";
    let digest = Digest::of(content);
    shelf.keep(&format!("cas/{}", digest.hex()), content);
    let file = Node::File {
        digest,
        size: content.len() as u64,
        mode: 0o755,
        mtime: 0,
    };
    (shelf, file)
}

fn entry(path: &str, node: &Node) -> Entry {
    Entry {
        path: path.into(),
        node: node.clone(),
    }
}

#[test]
fn outputs_that_are_none_of_the_target() {
    let (shelf, file) = made();
    let link = Node::Link { to: "/tmp".into() };
    let outside = "lies outside the workspace";
    let strange = "which is no output of it";
    for (entries, words) in [
        (vec![entry("../escaped", &file)], outside),
        (vec![entry("gen/../../escaped", &file)], outside),
        (vec![entry("/tmp/forge-escaped", &file)], outside),
        (vec![entry("", &file)], outside),
        (vec![entry("Pipeline.toml", &file)], strange),
        (vec![entry(".git/hooks/post-checkout", &file)], strange),
        (vec![entry(".forge/snapshot", &file)], strange),
        (vec![entry("gen/other", &file)], strange),
        (vec![entry("gen/filed", &file)], strange),
        (
            vec![entry("gen/file", &link), entry("gen/file/x", &file)],
            "lies below a link or a file",
        ),
        (
            vec![entry("gen/file", &file), entry("gen/file", &file)],
            "is out of order",
        ),
    ] {
        make_up(&shelf, &Manifest { entries });
        let second = machine_of(&MADE_UP.replace("always", "never"), &shelf.url());
        let before = second.read("Pipeline.toml");
        let done = second.expect(&["make"], &["make"]);
        done.warned(words);
        assert_eq!(done.warnings().len(), 1, "{done:?}");
        assert_eq!(second.read("gen/file"), "made\n");
        assert_eq!(second.read("Pipeline.toml"), before);
        assert!(!second.exists("../escaped") && !second.exists("gen/other"));
        assert!(!fs::exists("/tmp/forge-escaped").expect("known"));
        // What it names wasn't even fetched.
        let Node::File { digest, .. } = &file else {
            panic!("a file");
        };
        let asked = shelf.asked();
        let fetched = asked.iter().any(|asked| asked.path.contains(&digest.hex()));
        assert!(!fetched, "{asked:?}");
        // Nothing of it stays: the next one isn't told of it again.
        second.remove("gen");
        second.expect(&["make"], &[]).not_warned();
    }
}

/// Nothing is written through a link that lies in the workspace, whoever wants it.
#[test]
fn a_planted_link_is_not_followed() {
    let (shelf, file) = made();
    let entries = vec![entry("gen/file", &file)];
    make_up(&shelf, &Manifest { entries });
    let second = machine_of(MADE_UP, &shelf.url());
    let elsewhere = second.base().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    second.link("../elsewhere", "gen");
    let done = second.forge(&["make"]);
    done.warned("nothing is written through a link");
    let there = fs::read_to_string(elsewhere.join("file")).unwrap_or_default();
    assert!(!there.contains("owned"), "{done:?}");
}

/// A list that is another one than the record says, and one that says two things of one content.
#[test]
fn a_list_that_contradicts_the_record_or_itself() {
    let (shelf, file) = made();
    let (path, record) = shelf.kept("ac/").pop_first().expect("a record");
    let start = b"forge record 1\n".len() + 32;
    let mut old: Payload = postcard::from_bytes(&record[start..]).expect("a payload");
    old.1 = Digest::of(b"others");
    let payload = postcard::to_stdvec(&old).expect("bytes");
    let key = path.trim_start_matches("ac/");
    shelf.keep(&path, &sealed("", key, &payload));
    let never = MADE_UP.replace("always", "never");
    let alone = |words: &str| {
        let second: Bed = machine_of(&never, &shelf.url());
        second.expect(&["make"], &["make"]).warned(words);
    };
    alone("its list of outputs is another one");
    let mut other = file.clone();
    if let Node::File { size, .. } = &mut other {
        *size += 1;
    }
    shelf.keep(&path, &record);
    make_up(
        &shelf,
        &Manifest {
            entries: vec![entry("gen/file", &other)],
        },
    );
    alone("a content of it isn't what it was");
}

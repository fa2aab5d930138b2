//! What is done with bytes from anywhere: nothing panics, and nothing outside the workspace is touched.
//!
//! Plain functions, so that tests run them as well as a fuzzer.

#![allow(dead_code)] // Each binary of the fuzzer uses one.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::sync::Arc;

use forge::cache::blobs::Blobs;
use forge::cache::digest::Digest;
use forge::cache::index::Index;
use forge::cache::key::{self, Preimage, Section};
use forge::cache::manifest::{Entry, Manifest, Node};
use forge::cache::restore::Place;
use forge::cache::snapshot::{Known, Memo, Snapshot};
use forge::cache::store::{Record, State};
use forge::pipeline::interpolate::{Piece, scan};
use forge::pipeline::{LoadOptions, load_texts};
use miette::GraphicalReportHandler;

/// Reads a pipeline file, of the root and of a member. What is wrong with it can be shown, and what is right stays
/// in the workspace.
pub fn pipeline(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (root, member) = text.split_once('\0').unwrap_or((text, ""));
    let files = [("", root), ("member", member)];
    let files = if member.is_empty() {
        &files[..1]
    } else {
        &files
    };
    let problems = match load_texts(files, &LoadOptions::default()) {
        Ok(loaded) => {
            for target in &loaded.workspace.targets {
                let outputs = target.outputs.iter().map(|output| &*output.pattern);
                outputs.chain([&*target.dir]).for_each(stays_inside);
            }
            loaded.warnings
        }
        Err(problems) => problems.0,
    };
    for problem in &problems {
        let mut shown = String::new();
        let rendered = GraphicalReportHandler::new().render_report(&mut shown, problem);
        assert!(rendered.is_ok() && !problem.message().is_empty());
    }
}

fn stays_inside(path: &str) {
    let mut parts = Path::new(path).components();
    let is_inside = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    assert!(is_inside, "{path:?} leaves the workspace");
}

/// Finds references in a string: its pieces are the string.
pub fn interpolation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut at = 0;
    for (piece, range) in scan(text) {
        assert_eq!(range.start, at);
        let raw = &text[range.clone()];
        match piece {
            Piece::Literal("${") if raw == "$${" => {}
            Piece::Literal(literal) => assert_eq!(literal, raw),
            Piece::Reference(inside) => assert_eq!(format!("${{{inside}}}"), raw),
            Piece::Unclosed => assert!(raw.starts_with("${")),
        }
        at = range.end;
    }
    assert_eq!(at, text.len());
}

/// Reads what the records hold, and compares keys with each other and with nothing.
pub fn records(data: &[u8]) {
    let _ = postcard::from_bytes::<Record>(data);
    let _ = postcard::from_bytes::<State>(data);
    let (half, rest) = data.split_at(data.len() / 2);
    let all = [data, half, rest].map(|bytes| key::decode(bytes).unwrap_or_default());
    for before in &all {
        for after in &all {
            let changes = key::diff(before, after);
            changes.iter().for_each(|change| drop(change.sentence()));
            assert!(!std::ptr::eq(before, after) || changes.is_empty());
        }
    }
}

/// Loads the snapshot and asks it everything: once as the bytes are, once with a header that is what its checksum says.
pub fn snapshot(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("snapshot");
    let mut whole = data.to_vec();
    if let Some(header) = data.get(48..64).and_then(|numbers| {
        let (at, length) = numbers.split_at(8);
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?) as usize);
        data.get(number(at)?..)?.get(..number(length)?)
    }) {
        whole[16..48].copy_from_slice(&Digest::of(header).0);
    }
    for bytes in [data, &whole] {
        fs::write(&file, bytes).expect("written");
        let Some(mut snapshot) = Snapshot::load(dir.path()) else {
            continue;
        };
        let known = snapshot.take_known();
        for state in known.states.values() {
            snapshot.manifest(&state.manifest);
        }
        for path in ["", "src", "lib"] {
            snapshot.directory(path);
        }
        let saved = snapshot.save(dir.path(), known, &|_| None, &HashMap::new());
        assert!(saved.is_ok() && Snapshot::load(dir.path()).is_some());
    }
}

/// Does everything that is done with the list of a target's outputs, in a workspace that has links to the outside.
pub fn manifest(data: &[u8]) {
    let base = tempfile::tempdir().expect("a directory");
    let (root, outside) = (base.path().join("work"), base.path().join("outside"));
    for directory in [&root, &outside, &root.join("dir"), &outside.join("a")] {
        fs::create_dir(directory).expect("made");
    }
    fs::write(outside.join("a/file"), "not yours").expect("written");
    symlink(&outside, root.join("link")).expect("linked");
    symlink("../../outside", root.join("dir/link")).expect("linked");
    let cache_dir = root.join(".forge");
    let blobs = Blobs::new(&cache_dir);
    let kept = blobs.put(b"kept").expect("kept");
    let index = Index::new(&root, &cache_dir.join("tmp"), Arc::default());
    let place = Place {
        root: &root,
        cache_dir: &cache_dir,
        blobs: &blobs,
        index: &index,
    };
    let before = below(base.path(), &root);
    let (one, other) = data.split_at(data.len() / 2);
    let read = postcard::from_bytes(data).unwrap_or_default();
    for manifest in [read, entries(data, kept), entries(one, kept)] {
        let other = entries(other, kept);
        let _ = place.restore(&manifest, &[&other]);
        place.stats(&manifest);
        place.trusted_stats(&manifest);
        place.writes(&manifest);
        let _ = place.is_intact(&manifest);
        let _ = place.remove(&manifest);
        manifest.digest();
        manifest.size();
    }
    assert_eq!(below(base.path(), &root), before);
}

/// What is in a directory, and what is in its files; without what is below `but`.
fn below(directory: &Path, but: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).expect("read").flatten() {
            let path = entry.path();
            if path == but {
                continue;
            }
            if entry.file_type().expect("has one").is_dir() {
                waiting.push(path.clone());
            }
            found.push((path.clone(), fs::read(path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

/// Bytes as entries that are nearly right: three bytes make a path, one what lies there.
fn entries(data: &[u8], kept: Digest) -> Manifest {
    const NAMES: [&str; 12] = [
        "a",
        "file",
        "dir",
        "link",
        "..",
        ".",
        "",
        "/",
        "../outside",
        "link/a",
        "\0",
        ".forge",
    ];
    let entry = |bytes: &[u8]| {
        let name = |byte: u8| NAMES.get(usize::from(byte) % 16).copied();
        let names: Vec<&str> = bytes[..3].iter().filter_map(|byte| name(*byte)).collect();
        let mode = 0o600 | u32::from(bytes[3]);
        Entry {
            path: names.join("/"),
            node: match bytes[3] % 4 {
                0 => Node::Directory { mode: mode | 0o700 },
                1 => Node::Link {
                    to: names.into_iter().rev().collect::<Vec<_>>().join("/"),
                },
                _ => Node::File {
                    digest: kept,
                    size: 4,
                    mode,
                    mtime: i64::from(bytes[3]),
                },
            },
        }
    };
    let entries: Vec<Entry> = data.chunks_exact(4).take(40).map(entry).collect();
    if data.first().is_some_and(|byte| byte % 8 == 0) {
        // As nobody makes it: in any order, twice.
        return Manifest { entries };
    }
    Manifest::new(entries)
}

/// To begin with, where the format is not one that is written by hand.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let digest = Digest::of(b"a");
    let list = entries(
        b"\x00\x01\x0f\x02\x02\x0f\x0f\x00\x02\x01\x0f\x03\x01\x02\x03\x01",
        digest,
    );
    let state = State {
        key: digest,
        manifest: digest,
        outputs: digest,
        log: digest,
        preimage: digest,
        duration_ms: 7,
        foreign: true,
        image: None,
    };
    let bytes = postcard::to_stdvec(&state).expect("written");
    match target {
        "records" => {
            let mut preimage = Preimage::default();
            preimage.text(Section::Command, "1", "cp in out");
            preimage.text(Section::Env, "PATH", "/bin");
            vec![bytes, preimage.bytes().to_vec()]
        }
        "manifest" => vec![postcard::to_stdvec(&list).expect("written")],
        "snapshot" => {
            let dir = tempfile::tempdir().expect("a directory");
            let mut known = Known::default();
            let memo = Memo {
                rest: digest,
                inputs: digest,
                key: digest,
                manifest: digest,
                made: digest,
            };
            known.states.insert("a".into(), state);
            known.memos.insert("a".into(), memo);
            let list = Arc::new(list);
            Snapshot::default()
                .save(
                    dir.path(),
                    known,
                    &|_| Some(Arc::clone(&list)),
                    &HashMap::new(),
                )
                .expect("saved");
            vec![fs::read(dir.path().join("snapshot")).expect("read")]
        }
        _ => Vec::new(),
    }
}

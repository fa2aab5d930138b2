//! What is done with bytes from anywhere: nothing panics, and nothing outside the workspace is touched.
//!
//! Plain functions, so that tests run them as well as a fuzzer.

#![allow(dead_code)] // Each binary of the fuzzer uses one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};

use forge::cache::blobs::Blobs;
use forge::cache::digest::Digest;
use forge::cache::index::Index;
use forge::cache::key::{self, Preimage, Section};
use forge::cache::manifest::{Entry, Manifest, Node};
use forge::cache::remote::envelope::{Blob, Sealed, Sealer};
use forge::cache::restore::Place;
use forge::cache::snapshot::{Known, Memo, Snapshot};
use forge::cache::store::{Batch, Record, State, Store, Warn};
use forge::pipeline::glob::Glob;
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
                for path in outputs.chain([&*target.dir]) {
                    stays_inside(path);
                    let glob = Glob::new(path);
                    glob.bases().for_each(|base| stays_inside(&base));
                }
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
            Piece::Foreign(key) => assert!(raw.starts_with("${") && raw.contains(key)),
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
        let manifests = |snapshot: &Snapshot| -> Vec<Option<Manifest>> {
            let digests = known.states.values().map(|state| &state.manifest);
            digests.map(|digest| snapshot.manifest(digest)).collect()
        };
        for path in ["", "src", "lib"] {
            snapshot.directory(path);
        }
        let saved = snapshot.save(dir.path(), known.clone(), &|_| None, &HashMap::new());
        saved.expect("saved");
        let mut again = Snapshot::load(dir.path()).expect("loads");
        assert_eq!(manifests(&again), manifests(&snapshot));
        assert_eq!(again.take_known(), known);
    }
}

/// Reads the journal of the records, asks it everything and writes to it: once as the bytes are, once with checksums that
/// are what they should be, once as entries of a journal that begins well.
pub fn journal(data: &[u8]) {
    for bytes in [data.to_vec(), mended(data.to_vec()), begun(data)] {
        let base = tempfile::tempdir().expect("a directory");
        let cache_dir = base.path().join(".forge");
        let records = cache_dir.join("records");
        fs::create_dir_all(&records).expect("made");
        fs::write(records.join("journal"), bytes).expect("written");
        let everything = || below(base.path(), Path::new(""));
        let was = everything();
        let read = ask(&opened(&cache_dir, Store::reading).0);
        assert_eq!(everything(), was);
        write(&cache_dir, read);
        assert!(below(base.path(), &cache_dir).is_empty());
    }
}

/// All that records say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answers {
    results: BTreeMap<Digest, Record>,
    states: BTreeMap<String, State>,
    /// Of those with a result, and of [`PUT`].
    failures: BTreeMap<Digest, u32>,
    total: Option<u64>,
}

/// A key, and of all digests of what is written by it.
const PUT: Digest = Digest([7; 32]);

type Told = Arc<Mutex<Vec<String>>>;

fn opened(cache_dir: &Path, open: fn(&Path, Warn) -> Store) -> (Store, Told) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let warn = Box::new(move |text| heard.lock().expect("not poisoned").push(text));
    (open(cache_dir, warn), told)
}

/// None where they can't be read.
fn ask(store: &Store) -> Option<Answers> {
    let (states, seen) = store.states(None, &BTreeMap::new())?;
    let results = BTreeMap::from_iter(store.contents()?.results);
    assert_eq!(BTreeMap::from_iter(store.results()), results);
    for (key, record) in &results {
        assert_eq!(store.result(key).as_ref(), Some(record));
    }
    for (address, state) in &states {
        assert_eq!(store.state(address, None).as_ref(), Some(state));
    }
    let again = store.states(seen.as_ref(), &states);
    assert_eq!(again.map(|(again, _)| again).as_ref(), Some(&states));
    let keys = results.keys().chain([&PUT]);
    Some(Answers {
        failures: keys.map(|key| (*key, store.failures(key))).collect(),
        total: store.total(),
        results,
        states,
    })
}

/// What was put is there for whoever asks next, and so is what was there before, but where it was damaged.
fn write(cache_dir: &Path, read: Option<Answers>) {
    let (store, told) = opened(cache_dir, Store::new);
    let mut expected = ask(&store).expect("answers");
    let times = || told.lock().expect("not poisoned").len();
    assert!(read.is_none_or(|read| times() > 0 || read == expected));
    let (record, state) = (record(PUT), state(PUT));
    let forgotten = expected.states.keys().find(|address| **address != "put");
    let batch = Batch {
        results: vec![(PUT, record.clone())],
        states: vec![("put".into(), state.clone())],
        forget_states: forgotten.cloned().into_iter().collect(),
        failures: expected.failures.keys().map(|key| (*key, true)).collect(),
        grown: 1,
        ..Batch::default()
    };
    let times_before = times();
    assert!(store.put(&batch));
    if times() > times_before {
        // Where the journal became long, it was found that what it had handed down is gone.
        expected = Answers::default();
        let counted = batch.failures.iter().map(|(key, _)| (*key, 0));
        expected.failures.extend(counted);
    }
    expected.results.insert(PUT, record);
    expected.states.insert("put".into(), state);
    let forgotten = |address: &String| batch.forget_states.contains(address);
    expected.states.retain(|address, _| !forgotten(address));
    let counts = expected.failures.values_mut();
    counts.for_each(|count| *count = count.saturating_add(1));
    expected.total = expected.total.map(|total| total.saturating_add(1));
    expected
        .failures
        .retain(|key, _| expected.results.contains_key(key));
    assert_eq!(ask(&store).as_ref(), Some(&expected));
    store.idle();
    for open in [Store::reading, Store::new] {
        let (store, told) = opened(cache_dir, open);
        assert_eq!(ask(&store).as_ref(), Some(&expected));
        assert!(told.lock().expect("not poisoned").is_empty());
    }
    let told = told.lock().expect("not poisoned");
    assert!(
        told.len() < 2 && told.iter().all(|text| text.contains("set aside")),
        "{told:?}"
    );
}

/// A journal, or nearly one, with checksums of what it says.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut before = Vec::new();
    // Where a length stands, where the checksum, and where what they are of begins.
    let (mut length, mut checksum, mut from) = (32..40, 16..32, 40_usize);
    while let Some(written) = bytes.get(length) {
        let number = |all, byte: &u8| all << 8 | usize::from(*byte);
        let to = from.checked_add(written.iter().rfold(0, number));
        let Some(to) = to.filter(|to| *to <= bytes.len()) else {
            break;
        };
        before.extend(&bytes[from..to]);
        before = Digest::of(&before).0[..16].to_vec();
        bytes[checksum].copy_from_slice(&before);
        (length, checksum, from) = (to..to + 4, to + 4..to + 20, to + 20);
    }
    bytes
}

/// A journal with nothing below it, and these entries: a byte says how long the next one is.
fn begun(data: &[u8]) -> Vec<u8> {
    let header = postcard::to_stdvec(&(1_u128, 0_u64, None::<u64>, "")).expect("written");
    let mut bytes = [b"forge journal 2\n", &[0; 16][..]].concat();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    let mut rest = data;
    while let Some((length, more)) = rest.split_first() {
        let (entry, more) = more.split_at(more.len().min(usize::from(*length)));
        bytes.extend((entry.len() as u32).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(entry);
        rest = more;
    }
    mended(bytes)
}

/// Opens what a remote sent. What was sealed is what it was for whoever opens it, with the same secret and for the same key.
pub fn remote(data: &[u8]) {
    let secrets = [None, Some("secret"), std::str::from_utf8(data).ok()];
    let sealers = secrets.map(Sealer::new);
    let sent = sealers.iter().filter_map(|by| by.open(&PUT, data).ok());
    for record in &Vec::from_iter(sent.chain(postcard::from_bytes(data))) {
        for sealer in &sealers {
            let sealed = sealer.seal(&PUT, record);
            assert_eq!(sealer.open(&PUT, &sealed).as_ref(), Ok(record));
            assert!(sealer.open(&Digest::of(data), &sealed).is_err());
            assert!(sealer.open(&PUT, &sealed[1..]).is_err());
        }
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

fn record(digest: Digest) -> Record {
    Record {
        manifest: digest,
        outputs: digest,
        log: digest,
        preimage: digest,
        duration_ms: 7,
        used: 1,
        size: 1,
    }
}

fn state(digest: Digest) -> State {
    State {
        foreign: true,
        ..record(digest).state(digest, 0)
    }
}

/// To begin with, where the format is not one that is written by hand.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let digest = Digest::of(b"a");
    let list = entries(
        b"\x00\x01\x0f\x02\x02\x0f\x0f\x00\x02\x01\x0f\x03\x01\x02\x03\x01",
        digest,
    );
    let last = state(digest);
    let bytes = postcard::to_stdvec(&last).expect("written");
    match target {
        "records" => {
            let mut preimage = Preimage::default();
            preimage.text(Section::Command, "1", "cp in out");
            preimage.text(Section::Env, "PATH", "/bin");
            vec![bytes, preimage.bytes().to_vec()]
        }
        "manifest" => vec![postcard::to_stdvec(&list).expect("written")],
        "journal" => {
            type Said = (
                Vec<(Digest, Option<Record>)>,
                Vec<(&'static str, Option<State>)>,
                Vec<(Digest, u32)>,
                Option<u64>,
            );
            let said = |entries: &[Said]| {
                let mut bytes = Vec::new();
                for entry in entries {
                    let entry = postcard::to_stdvec(entry).expect("written");
                    bytes.push(u8::try_from(entry.len()).expect("short"));
                    bytes.extend(entry);
                }
                bytes
            };
            let result = |key| (vec![(key, Some(record(key)))], vec![], vec![], None);
            let of = |name| (vec![], vec![(name, Some(state(digest)))], vec![], None);
            let gone = (vec![(digest, None)], vec![("a", None)], vec![], None);
            let counted = (vec![], vec![], vec![(digest, 0), (PUT, 2)], Some(7));
            let few = said(&[result(digest), of("a"), of("b"), counted, gone]);
            // One that is handed to sled.
            let many: Vec<_> = (0..24).map(|key| result(Digest([key; 32]))).collect();
            vec![begun(&few), few, said(&many)]
        }
        "remote" => {
            let blob = Blob { digest, size: 7 };
            let record = Sealed {
                manifest: blob,
                outputs: digest,
                log: blob,
                duration_ms: 7,
            };
            let bytes = postcard::to_stdvec(&record).expect("written");
            vec![Sealer::new(None).seal(&PUT, &record), bytes]
        }
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
            known.states.insert("a".into(), last);
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

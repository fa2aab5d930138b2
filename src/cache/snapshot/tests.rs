use super::writer::SLACK;
use super::*;
use crate::cache::manifest::{Entry, Node};

fn manifest(path: &str) -> Manifest {
    Manifest::new(vec![Entry {
        path: path.into(),
        node: Node::Directory { mode: 0o755 },
    }])
}

fn state(manifest: Digest) -> State {
    State {
        workspace: 0,
        key: manifest,
        manifest,
        outputs: manifest,
        log: manifest,
        preimage: manifest,
        duration_ms: 1,
        foreign: false,
        image: None,
    }
}

const STAT: Stat = Stat {
    dev: 1,
    ino: 1,
    mode: 0,
    size: 1,
    mtime: 1,
    ctime: 1,
};

fn directory(name: &str) -> Directory {
    let mut directory = Directory::default();
    directory.set(name, STAT, Digest::of(name.as_bytes()));
    directory
}

/// A snapshot with two targets and two directories, written on one that had but the first of each.
fn saved(dir: &Path) -> Known {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let mut known = Known::default();
    known.images.insert("postgres:15".into(), "sha256:1".into());
    known.states.insert("a".into(), state(a));
    let changed = |path: &str| -> HashMap<Box<str>, Arc<Directory>> {
        [(path.into(), Arc::new(directory(path)))].into()
    };
    let only = |wanted: Digest, path: &'static str| {
        move |digest: &Digest| (*digest == wanted).then(|| Arc::new(manifest(path)))
    };
    let none = Snapshot::default();
    none.save(dir, known.clone(), &only(a, "a"), &changed("src"))
        .expect("saved");
    known.states.insert("b".into(), state(b));
    let first = Snapshot::load(dir).expect("loads");
    first
        .save(dir, known.clone(), &only(b, "b"), &changed("lib"))
        .expect("saved");
    known
}

fn check(snapshot: &Snapshot, known: &Known, damaged: bool) {
    assert_eq!(snapshot.header.known, *known);
    let same = |found: bool, missing: bool| assert!(found || (damaged && missing));
    for name in ["a", "b"] {
        let found = snapshot.manifest(&Digest::of(name.as_bytes()));
        same(found == Some(manifest(name)), found.is_none());
    }
    for path in ["src", "lib"] {
        let found = snapshot.directory(path);
        same(found == Some(directory(path)), found.is_none());
    }
}

#[test]
fn what_did_not_change_is_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = saved(dir.path());
    let snapshot = Snapshot::load(dir.path()).expect("loads");
    check(&snapshot, &known, false);
    assert_eq!(snapshot.directory("sr"), None);
    // What no state names any more goes.
    let none = Known::default();
    snapshot
        .save(dir.path(), none, &|_| None, &HashMap::new())
        .expect("saved");
    let snapshot = Snapshot::load(dir.path()).expect("loads");
    assert_eq!(snapshot.manifest(&Digest::of(b"a")), None);
    assert!(snapshot.directory("src").is_some());
}

#[test]
fn what_nobody_reads_is_cleared_away_when_it_is_most_of_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = saved(dir.path());
    let path = dir.path().join("snapshot");
    let (mut longest, mut anew) = (0, 0);
    for number in 0..400 {
        let snapshot = Snapshot::load(dir.path()).expect("loads");
        let before = fs::metadata(&path).expect("there").len();
        let mut changed = directory("src");
        let name = format!("{number}-{}", "x".repeat(4000));
        changed.set(&name, STAT, Digest::of(b"new"));
        let changed = [("src".into(), Arc::new(changed))].into();
        snapshot
            .save(dir.path(), known.clone(), &|_| None, &changed)
            .expect("saved");
        let after = fs::metadata(&path).expect("there").len();
        longest = longest.max(after);
        anew += usize::from(after < before);
        let again = Snapshot::load(dir.path()).expect("loads");
        assert_eq!(again.directory("src").as_ref(), Some(&*changed["src"]));
        assert_eq!(again.directory("lib"), Some(directory("lib")));
        assert_eq!(again.header.known, known);
    }
    assert!(anew > 2 && longest < 3 * SLACK, "{anew} times, {longest}");
}

#[test]
fn nobody_writes_behind_what_he_has_not_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = saved(dir.path());
    let early = Snapshot::load(dir.path()).expect("loads");
    let changed = |name: &str| -> HashMap<Box<str>, Arc<Directory>> {
        [(name.into(), Arc::new(directory(name)))].into()
    };
    let other = Snapshot::load(dir.path()).expect("loads");
    other
        .save(dir.path(), known.clone(), &|_| None, &changed("other"))
        .expect("saved");
    assert!(!early.is_current(dir.path()));
    // What the early one has read is still there.
    check(&early, &known, false);
    Snapshot::outdate(dir.path());
    early
        .save(dir.path(), known.clone(), &|_| None, &changed("early"))
        .expect("saved");
    let last = Snapshot::load(dir.path()).expect("loads");
    check(&last, &known, false);
    assert!(last.directory("early").is_some() && last.directory("other").is_none());
}

#[test]
fn an_outdated_one_speaks_of_contents_and_not_of_targets() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = saved(dir.path());
    let loaded = Snapshot::load(dir.path()).expect("loads");
    assert!(loaded.is_current(dir.path()));
    Snapshot::outdate(dir.path());
    assert!(!loaded.is_current(dir.path()) && Snapshot::load(dir.path()).is_none());
    let outdated = Snapshot::load_outdated(dir.path()).expect("loads");
    check(&outdated, &known, false);
    // A newer one takes its place.
    saved(dir.path());
    assert!(!loaded.is_current(dir.path()));
    assert!(Snapshot::load_outdated(dir.path()).is_none());
}

#[test]
fn a_large_one_is_read_where_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let paths: Vec<String> = (0..4000)
        .map(|number| format!("directory-{number:0>60}"))
        .collect();
    let directories = paths.iter().map(|path| {
        let path: Box<str> = path.as_str().into();
        (path.clone(), Arc::new(directory(&path)))
    });
    Snapshot::default()
        .save(
            dir.path(),
            Known::default(),
            &|_| None,
            &directories.collect(),
        )
        .expect("saved");
    let snapshot = Snapshot::load(dir.path()).expect("loads");
    for path in &paths {
        assert_eq!(snapshot.directory(path), Some(directory(path)));
    }
}

#[test]
fn a_cut_or_changed_snapshot_never_answers_wrongly() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = saved(dir.path());
    let path = dir.path().join("snapshot");
    let bytes = fs::read(&path).expect("read");
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("damaged");
        if let Some(snapshot) = Snapshot::load(dir.path()) {
            check(&snapshot, &known, true);
        }
    };
    (0..bytes.len()).for_each(|length| damaged(&bytes[..length]));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        damaged(&changed);
    }
}

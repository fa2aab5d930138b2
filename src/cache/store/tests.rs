use super::*;
use std::sync::Arc;

fn store(dir: &Path) -> (Store, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let warn = Box::new(move |text| heard.lock().expect("not poisoned").push(text));
    (Store::new(dir, warn), warnings)
}

fn record(seed: u8) -> Record {
    let digest = Digest::of(&[seed]);
    Record {
        manifest: digest,
        outputs: digest,
        log: digest,
        preimage: digest,
        duration_ms: 1,
        used: 2,
        size: 3,
    }
}

fn batch(seed: u8) -> Batch {
    Batch {
        results: vec![(Digest::of(&[seed]), record(seed))],
        ..Batch::default()
    }
}

#[test]
fn two_stores_of_one_directory_take_turns() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_path_buf();
    let writers: Vec<_> = (0..2u8)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                let (store, warnings) = store(&path);
                for number in 0..20 {
                    store.put(&batch(writer * 100 + number));
                }
                store.idle();
                assert!(warnings.lock().expect("not poisoned").is_empty());
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("writes");
    }
    let (store, _) = store(&path);
    assert!(path.join("records/db").exists());
    assert_eq!(store.results().len(), 40);
    assert_eq!(store.result(&Digest::of(&[101])), Some(record(101)));
}

#[test]
fn those_who_wait_are_let_in_but_for_who_holds_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    first.put(&batch(1));
    let path = dir.path().to_path_buf();
    let (began, other_began) = std::sync::mpsc::channel();
    let (ended, other_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (second, _) = store(&path);
        let _ = began.send(());
        second.put(&batch(2));
        let _ = ended.send(second.result(&Digest::of(&[1])));
    });
    other_began.recv().expect("begins");
    first.hold();
    // However often somebody looks.
    while !first.somebody_waits() {
        first.let_in();
    }
    first.put(&batch(3));
    first.let_in();
    assert!(matches!(*first.slot(), Slot::Open(_)));
    first.held.store(false, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        first.let_in();
        match other_ended.try_recv() {
            Ok(found) => break found,
            Err(_) => assert!(Instant::now() < deadline, "it never came in"),
        }
    };
    assert_eq!(found, Some(record(1)));
    assert_eq!(first.results().len(), 3);
}

#[test]
fn damage_is_set_aside_and_a_new_store_begun() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    first.put(&batch(1));
    first.idle();
    fs::remove_dir_all(dir.path().join("records")).expect("removed");
    fs::write(dir.path().join("records"), "nonsense").expect("damaged");
    let (second, warnings) = store(dir.path());
    assert_eq!(second.result(&Digest::of(&[1])), None);
    second.put(&batch(2));
    assert!(second.result(&Digest::of(&[2])).is_some());
    let warnings = warnings.lock().expect("not poisoned");
    assert!(
        warnings.len() == 1 && warnings[0].contains("set aside"),
        "{warnings:?}"
    );
}

#[test]
fn flipped_and_cut_bytes_never_give_another_answer() {
    for damage in 0..40 {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, _) = store(dir.path());
        for seed in 0..50 {
            first.put(&batch(seed));
        }
        first.idle();
        let name = ["db", "journal"][damage % 4 / 2];
        let file = dir.path().join("records").join(name);
        let mut bytes = fs::read(&file).expect("read");
        let at = damage * bytes.len() / 40;
        if damage % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at..]
                .iter_mut()
                .take(64)
                .for_each(|byte| *byte ^= 0x5a);
        }
        fs::write(&file, bytes).expect("damaged");
        let (second, _) = store(dir.path());
        for seed in 0..50 {
            let found = second.result(&Digest::of(&[seed]));
            assert!(found.is_none_or(|found| found == record(seed)));
        }
        second.put(&batch(99));
    }
}

#[test]
fn reading_changes_no_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _) = store(dir.path());
    writer.put(&batch(1));
    writer.idle();
    let tree = || -> Vec<(PathBuf, Vec<u8>)> {
        let files = walkdir::WalkDir::new(dir.path())
            .sort_by_file_name()
            .into_iter()
            .flatten();
        files
            .map(|entry| {
                (
                    entry.path().into(),
                    fs::read(entry.path()).unwrap_or_default(),
                )
            })
            .collect()
    };
    let before = tree();
    let reader = Store::reading(dir.path(), Box::new(|_| {}));
    assert!(reader.result(&Digest::of(&[1])).is_some());
    drop(reader);
    assert_eq!(tree(), before);
}

#[test]
fn a_directory_that_cannot_be_made_is_a_warning() {
    let (store, warnings) = store(Path::new("/proc/forge"));
    store.put(&batch(1));
    assert_eq!(store.result(&Digest::of(&[1])), None);
    assert_eq!(warnings.lock().expect("not poisoned").len(), 1);
}

#[test]
fn failures_count_until_a_success() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = store(dir.path());
    let key = Digest::of(b"k");
    let failed = |failed| Batch {
        failures: vec![(key, failed)],
        ..Batch::default()
    };
    store.put(&failed(true));
    store.put(&failed(true));
    assert_eq!(store.failures(&key), 2);
    store.put(&failed(false));
    assert_eq!(store.failures(&key), 0);
}

#[test]
fn half_a_snapshot_of_a_killed_process_damages_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    first.put(&batch(1));
    first.idle();
    for half in ["", "half"] {
        let name = "records/snap.7FFFFFFFFFFFFFFF.generating";
        fs::write(dir.path().join(name), half).expect("written");
        let (second, warnings) = store(dir.path());
        assert_eq!(second.result(&Digest::of(&[1])), Some(record(1)));
        assert!(warnings.lock().expect("not poisoned").is_empty());
    }
}

/// More than a journal takes.
const MANY: u8 = 60;

fn state(seed: u8) -> State {
    record(seed).state(Digest::of(&[seed]), 0)
}

fn states(of: impl Iterator<Item = u8>) -> BTreeMap<String, State> {
    of.map(|seed| (format!("t{seed}"), state(seed))).collect()
}

fn all(seed: u8) -> Batch {
    Batch {
        states: states(seed..seed + 1).into_iter().collect(),
        failures: vec![(Digest::of(&[seed]), true)],
        ..batch(seed)
    }
}

#[test]
fn sled_is_asked_for_what_it_holds_and_for_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    first.put(&all(0));
    assert!(!dir.path().join("records/db").exists());
    (1..MANY).for_each(|seed| assert!(first.put(&all(seed))));
    first.put(&Batch {
        forget_results: vec![Digest::of(&[1])],
        forget_states: vec!["t1".into()],
        failures: vec![(Digest::of(&[1]), false)],
        ..Batch::default()
    });
    first.idle();
    assert!(dir.path().join("records/db").exists());
    let (again, warnings) = store(dir.path());
    for seed in 0..MANY {
        let (key, is_there) = (Digest::of(&[seed]), seed != 1);
        assert_eq!(again.result(&key), is_there.then(|| record(seed)));
        let found = again.state(&format!("t{seed}"), None);
        assert_eq!(found, is_there.then(|| state(seed)));
        assert_eq!(again.failures(&key), u32::from(is_there));
    }
    let expected = states((0..MANY).filter(|seed| *seed != 1));
    let (found, _) = again.states(None, &BTreeMap::new()).expect("read");
    assert_eq!(found, expected);
    assert_eq!(again.results().len(), usize::from(MANY) - 1);
    again.idle();
    // What it never had is not there, whatever has become of it.
    fs::write(dir.path().join("records/db"), "").expect("damaged");
    assert_eq!(again.result(&Digest::of(&[MANY])), None);
    assert_eq!(again.failures(&Digest::of(&[MANY])), 0);
    assert!(warnings.lock().expect("not poisoned").is_empty());
}

#[test]
fn who_has_seen_it_up_to_somewhere_is_told_what_came_after() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    let none = BTreeMap::new();
    first.put(&all(0));
    let (known, seen) = first.states(None, &none).expect("read");
    assert_eq!(known, states(0..1));
    assert_eq!(first.state("t1", seen.as_ref()), None);
    first.put(&all(1));
    // Not asked of the records: as whoever asks says that it was.
    let said = states(7..8);
    let (found, _) = first.states(seen.as_ref(), &said).expect("read");
    assert!(found.contains_key("t7") && found.contains_key("t1"));
    (2..MANY).for_each(|seed| assert!(first.put(&all(seed))));
    // Another journal has begun since: the records say what they know, and nothing against what else is known.
    let (found, _) = first.states(seen.as_ref(), &said).expect("read");
    assert_eq!(found, states(0..MANY));
    let (found, _) = first
        .states(seen.as_ref(), &states(MANY..MANY + 1))
        .expect("read");
    assert_eq!(found, states(0..MANY + 1));
    assert_eq!(first.state("t0", seen.as_ref()), Some(state(0)));
    // Other records, as far.
    let other = tempfile::tempdir().expect("a directory");
    let (second, _) = store(other.path());
    second.put(&all(0));
    assert_eq!(second.states(seen.as_ref(), &none).expect("read").0, known);
    assert_eq!(second.state("t0", seen.as_ref()), Some(state(0)));
}

#[test]
fn an_entry_that_was_cut_off_goes_and_those_before_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("records/journal");
    let (first, _) = store(dir.path());
    first.put(&batch(1));
    let whole = fs::read(&file).expect("read");
    first.put(&batch(2));
    first.idle();
    let longer = fs::read(&file).expect("read");
    for length in whole.len()..longer.len() {
        fs::write(&file, &longer[..length]).expect("cut");
        let (second, warnings) = store(dir.path());
        assert_eq!(second.result(&Digest::of(&[2])), None);
        second.put(&batch(3));
        second.idle();
        for seed in [1, 3] {
            assert_eq!(second.result(&Digest::of(&[seed])), Some(record(seed)));
        }
        assert!(warnings.lock().expect("not poisoned").is_empty());
    }
}

#[test]
fn a_journal_that_is_gone_or_changed_is_damage() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |file| fs::remove_file(file).expect("removed"),
        |file| {
            let mut bytes = fs::read(file).expect("read");
            bytes[60] ^= 1;
            fs::write(file, bytes).expect("written");
        },
        |file| fs::write(file, "").expect("emptied"),
    ];
    for damage in damages {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, _) = store(dir.path());
        (0..MANY).for_each(|seed| assert!(first.put(&all(seed))));
        first.idle();
        damage(&dir.path().join("records/journal"));
        let reader = Store::reading(dir.path(), Box::new(|_| {}));
        assert_eq!(reader.result(&Digest::of(&[0])), None);
        let (second, warnings) = store(dir.path());
        assert_eq!(second.result(&Digest::of(&[0])), None);
        second.put(&all(1));
        second.idle();
        let (third, _) = store(dir.path());
        assert_eq!(third.results().len(), 1);
        let warnings = warnings.lock().expect("not poisoned");
        assert!(
            warnings.len() == 1 && warnings[0].contains("set aside"),
            "{warnings:?}"
        );
    }
}

#[test]
fn damage_after_damage_is_set_aside_too() {
    let dir = tempfile::tempdir().expect("a directory");
    for seed in 0..4 {
        let (store, warnings) = store(dir.path());
        assert!(store.put(&all(seed)));
        store.idle();
        assert_eq!(store.results().len(), 1);
        let warnings = warnings.lock().expect("not poisoned");
        assert_eq!(warnings.len(), usize::from(seed > 0), "{warnings:?}");
        store.idle();
        fs::write(dir.path().join("records/journal"), "nonsense").expect("damaged");
    }
}

#[test]
fn damage_below_the_journal_is_found_when_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = store(dir.path());
    (0..MANY).for_each(|seed| assert!(first.put(&all(seed))));
    first.idle();
    for entry in fs::read_dir(dir.path().join("records")).expect("read") {
        let path = entry.expect("an entry").path();
        if !path.ends_with("journal") && path.is_file() {
            fs::write(path, "nonsense").expect("damaged");
        }
    }
    let (second, warnings) = store(dir.path());
    assert_eq!(second.result(&Digest::of(&[0])), None);
    assert_eq!(warnings.lock().expect("not poisoned").len(), 1);
    assert!(second.put(&all(1)));
    assert_eq!(second.result(&Digest::of(&[1])), Some(record(1)));
    assert_eq!(second.results().len(), 1);
}

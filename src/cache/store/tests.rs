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
        let file = dir.path().join("records/db");
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

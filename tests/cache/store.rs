//! Promise 7, hazards 9 and 15: a store that is damaged, locked, read-only or full costs time, never a right answer.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::support::{Bed, Mount, Ran, contents, files_with, tree, wait_until};

const COPY: &str = "[target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'echo a >> ../ran; mkdir -p a; cp in a/file'\n\
    [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; cp a/file b'\n";

fn made() -> Bed {
    let bed = Bed::new(COPY);
    bed.write("in", "one\n");
    bed.expect(&["b"], &["a", "b"]);
    bed
}

fn in_store(bed: &Bed, directory: &str) -> Vec<PathBuf> {
    let directory = bed.path(".forge").join(directory);
    let files = tree(&directory)
        .into_keys()
        .map(|path| directory.join(path));
    files.filter(|path| path.is_file()).collect()
}

/// Runs twice: right the first time whatever it took, nothing to do the second.
#[track_caller]
fn heals(bed: &Bed, text: &str, what: &str) -> Ran {
    let done = bed.forge(&["b"]);
    assert_eq!(
        (done.code, bed.read("b")),
        (0, text.to_owned()),
        "{what}: {done:?}"
    );
    assert!(!done.stderr.contains("panicked"), "{what}: {done:?}");
    bed.ran();
    let again = bed.forge(&["b"]);
    assert_eq!(
        (again.code, bed.ran()),
        (0, vec![]),
        "{what}: {done:?} {again:?}"
    );
    assert_eq!(
        (bed.read("b"), bed.read("a/file")),
        (text.into(), text.into()),
        "{what}"
    );
    assert_eq!(again.warnings(), Vec::<String>::new(), "{what}: {done:?}");
    done
}

#[test]
fn hazard_9_a_missing_or_damaged_blob_makes_the_target_run_and_heal() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("removed", |path| fs::remove_file(path).expect("removed")),
        ("emptied", |path| fs::write(path, "").expect("written")),
        ("cut", |path| {
            let bytes = fs::read(path).expect("read");
            fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("flipped", |path| {
            let mut bytes = fs::read(path).expect("read");
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            fs::write(path, bytes).expect("written");
        }),
    ];
    for (what, damage) in damages {
        let bed = made();
        for path in in_store(&bed, "blobs") {
            damage(&path);
        }
        heals(&bed, "one\n", what); // what is there is right without them
        bed.remove("a");
        bed.remove("b");
        heals(&bed, "one\n", what);
        bed.remove("a");
        bed.remove("b");
        bed.expect(&["b"], &[]);
        assert_eq!(bed.read("b"), "one\n", "{what}");
    }
}

#[test]
fn hazard_9_each_single_blob_may_be_damaged() {
    let count = in_store(&made(), "blobs").len();
    for number in 0..count {
        let bed = made();
        let path = &in_store(&bed, "blobs")[number];
        let mut bytes = fs::read(path).expect("read");
        bytes.push(b'!');
        fs::write(path, bytes).expect("written");
        for directory in ["a", "b"] {
            bed.remove(directory);
        }
        let _ = fs::remove_file(bed.path(".forge/snapshot"));
        heals(&bed, "one\n", &format!("blob {number}"));
    }
}

#[test]
fn hazard_15_a_snapshot_that_is_cut_flipped_or_gone_is_made_anew() {
    let bed = made();
    let path = bed.path(".forge/snapshot");
    let good = fs::read(&path).expect("kept");
    for length in [0, 1, 16, 40, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("written");
        bed.expect(&["b"], &[]).not_warned();
    }
    for at in (0..good.len()).step_by(good.len() / 12) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).expect("written");
        bed.expect(&["b"], &[]).not_warned();
    }
    fs::remove_file(&path).expect("removed");
    bed.expect(&["b"], &[]);
    fs::remove_file(&path).expect("made anew");
    fs::create_dir(&path).expect("made");
    assert_eq!((bed.forge(&["b"]).code, bed.ran()), (0, vec![]));
}

#[test]
fn hazard_15_an_old_snapshot_never_speaks_for_newer_outputs() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; mkdir -p out; touch out/both; grep -q one in || touch out/two'\n\
         [target.slow]\nneeds = [\"t\"]\ninputs = []\nrun = 'touch ../there; sleep 100'\n",
    );
    bed.write("in", "one");
    bed.expect(&["t"], &["t"]);
    bed.write("in", "two");
    let running = bed.start(&["slow"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    assert!(bed.exists("out/two"));
    running.kill(); // `t` has a record; no snapshot was written
    bed.ran();
    bed.write("in", "one");
    assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "restored");
    assert!(bed.exists("out/both") && !bed.exists("out/two"));
}

#[test]
fn hazard_15_targets_that_the_records_have_lost_and_the_snapshot_has_not_need_not_run() {
    let two = "[target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'echo a >> ../ran; mkdir a; cp in a/file'\n\
        [target.b]\ninputs = [\"more\"]\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; cp more b'\n\
        [target.c]\nneeds = [\"a\", \"b\"]\n";
    type Loss = fn(&Bed);
    let losses: [Loss; 2] = [
        |bed| bed.remove(".forge/records"),
        |bed| {
            bed.remove(".forge/records");
            bed.write(".forge/records", "no database");
        },
    ];
    for lose in losses {
        let bed = Bed::new(two);
        bed.write("in", "one");
        bed.write("more", "one");
        bed.expect(&["c"], &["a", "b"]);
        lose(&bed);
        bed.write("more", "two");
        bed.expect(&["c"], &["b"]);
        bed.expect(&["c"], &[]);
        // It still knows what belongs to whom.
        bed.write("in", "two");
        let done = bed.expect(&["c"], &["a"]);
        done.not_warned();
    }
}

#[test]
fn hazard_15_damaged_records_are_reported_set_aside_and_begun_anew() {
    type Damage = fn(&Bed);
    let damages: [(&str, Damage); 4] = [
        ("scrambled", |bed| {
            for path in in_store(bed, "records") {
                let mut bytes = fs::read(&path).expect("read");
                bytes
                    .iter_mut()
                    .for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7));
                fs::write(path, bytes).expect("written");
            }
        }),
        ("cut", |bed| {
            for path in in_store(bed, "records") {
                let bytes = fs::read(&path).expect("read");
                fs::write(path, &bytes[..bytes.len() / 3]).expect("written");
            }
        }),
        ("made a file", |bed| {
            bed.remove(".forge/records");
            bed.write(".forge/records", "no database");
        }),
        ("emptied", |bed| {
            bed.remove(".forge/records");
            fs::create_dir(bed.path(".forge/records")).expect("made");
        }),
    ];
    for (what, damage) in damages {
        for snapshot in [true, false] {
            let bed = made();
            damage(&bed);
            if !snapshot {
                bed.remove(".forge/snapshot");
            }
            bed.write("in", "two\n");
            let done = heals(&bed, "two\n", what);
            if matches!(what, "scrambled" | "made a file") {
                done.warned("set aside");
            }
            bed.write("in", "three\n");
            heals(&bed, "three\n", what);
            if snapshot {
                bed.write("in", "two\n");
                bed.expect(&["b"], &[]);
            }
        }
    }
}

#[test]
fn hazard_15_records_that_somebody_holds_for_a_while_are_waited_for() {
    let bed = made();
    bed.write("in", "two\n");
    let holder = File::options()
        .write(true)
        .open(bed.path(".forge/records.lock"))
        .expect("opens");
    holder.lock().expect("locked");
    let running = bed.start(&["b"]);
    // Reading commands answer all the same.
    assert_eq!(bed.plain(&["why", "b"]).code, 0);
    assert_eq!(bed.forge(&["-n", "b"]).code, 0);
    holder.unlock().expect("unlocked");
    let done = running.wait();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(bed.ran(), ["a", "b"]);
    bed.expect(&["b"], &[]);
}

#[test]
fn hazard_15_records_that_are_held_for_ever_by_others_cost_the_cache_alone() {
    let bed = made();
    // What a few runs recorded lies in a journal: sled has it when there is enough of it.
    for number in 0.. {
        bed.write("in", number.to_string());
        bed.forge(&["b"]);
        if bed.exists(".forge/records/db") {
            break;
        }
    }
    let holder = File::open(bed.path(".forge/records/db")).expect("opens");
    holder.lock().expect("locked"); // as another program with the database open would
    bed.ran();
    bed.write("in", "one\n");
    let done = bed.expect(&["b"], &["a", "b"]);
    done.warned("can't be used");
    assert_eq!(bed.read("b"), "one\n");
    holder.unlock().expect("unlocked");
    bed.write("in", "three\n");
    heals(&bed, "three\n", "released");
}

/// A forge that root's rights don't help.
fn as_nobody(bed: &Bed, args: &[&str]) -> Ran {
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        return bed.forge(args);
    }
    let mut command = bed.command("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_forge"),
        "--json",
    ]);
    let child = super::support::Running::new({
        command.args(args);
        command
    });
    child.wait()
}

fn open_up(bed: &Bed) {
    for path in [
        bed.base(),
        &bed.root,
        &bed.base().join("tmp"),
        &bed.base().join("home"),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("changed");
    }
}

#[test]
fn hazard_15_a_read_only_store_is_a_warning_and_a_right_answer() {
    let bed = made();
    open_up(&bed);
    for path in ["a", "a/file", "b"] {
        let mode = if path == "a" { 0o777 } else { 0o666 };
        bed.chmod(path, mode);
    }
    bed.remove("a");
    bed.remove("b");
    let kept: Vec<_> = tree(&bed.path(".forge")).into_iter().collect();
    for (path, node) in kept.iter().rev() {
        bed.chmod(
            bed.path(".forge").join(path),
            if node.mode & 0o040_000 != 0 {
                0o555
            } else {
                0o444
            },
        );
    }
    bed.chmod(".forge", 0o555);
    fs::set_permissions(bed.base().join("ran"), fs::Permissions::from_mode(0o666)).ok();
    let before = contents(&bed.path(".forge"));
    for text in ["one\n", "two\n"] {
        bed.write("in", text);
        let done = as_nobody(&bed, &["b"]);
        assert_eq!((done.code, bed.read("b")), (0, text.to_owned()), "{done:?}");
        assert!(!done.warnings().is_empty(), "{done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        bed.ran();
    }
    assert_eq!(contents(&bed.path(".forge")), before);
    for path in [".forge".to_owned()].into_iter().chain(
        kept.iter()
            .map(|(path, _)| format!(".forge/{}", path.display())),
    ) {
        bed.chmod(path, 0o777);
    }
    let done = bed.forge(&["b"]);
    assert_eq!((done.code, bed.read("b")), (0, "two\n".into()), "{done:?}");
}

#[test]
fn hazard_15_a_store_that_cannot_even_be_made_is_a_warning() {
    let bed = Bed::new(COPY);
    bed.write("in", "one\n");
    bed.write(".forge", "a file is in the way");
    for text in ["one\n", "two\n"] {
        bed.write("in", text);
        let done = bed.expect(&["b"], &["a", "b"]);
        assert!(
            !done.warnings().is_empty() && !done.stderr.contains("panicked"),
            "{done:?}"
        );
        assert_eq!(bed.read("b"), text);
    }
    assert_eq!(bed.read(".forge"), "a file is in the way");
}

/// A forge that can write no file larger than this.
fn with_limit(bed: &Bed, bytes: u64, args: &[&str]) -> Ran {
    let mut command = bed.command("sh");
    let blocks = bytes / 512;
    // Without the signal, so that a write fails as it would on a full disk.
    command.args([
        "-c",
        &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""),
        "sh",
    ]);
    command
        .args([env!("CARGO_BIN_EXE_forge"), "--json"])
        .args(args);
    super::support::Running::new(command).wait()
}

#[test]
fn hazard_15_files_that_cannot_grow_cost_the_cache_alone() {
    for limit in [0, 4096, 65_536, 300_000] {
        let bed = Bed::new(COPY);
        bed.write("../ran", "");
        bed.write("in", "one\n");
        let _ = with_limit(&bed, limit, &["b"]); // may be too little for the commands themselves
        bed.ran();
        let bed = made();
        bed.write("in", "x".repeat(100_000));
        if limit > 100_000 {
            let done = with_limit(&bed, limit, &["b"]);
            assert_eq!(
                (done.code, bed.read("b").len()),
                (0, 100_000),
                "{limit}: {done:?}"
            );
            bed.ran();
        }
        bed.write("in", "two\n");
        heals(&bed, "two\n", &format!("limit {limit}"));
    }
}

#[test]
fn hazard_15_a_full_disk_is_a_warning_and_a_right_answer() {
    for size in ["64k", "600k", "1m", "2m"] {
        let bed = Bed::new(COPY);
        let Some(mount) = Mount::memory(bed.path(".forge"), size) else {
            return with_limit_instead();
        };
        let text = "y".repeat(1_500_000);
        bed.write("in", &text);
        let done = bed.forge(&["b"]);
        assert_eq!(
            (done.code, bed.read("b") == text),
            (0, true),
            "{size}: {done:?}"
        );
        assert!(
            size == "2m" || !done.warnings().is_empty(),
            "{size}: {done:?}"
        );
        assert!(!done.stderr.contains("panicked"), "{size}: {done:?}");
        bed.ran();
        bed.write("in", "small\n");
        let done = bed.forge(&["b"]);
        assert_eq!(
            (done.code, bed.read("b")),
            (0, "small\n".into()),
            "{size}: {done:?}"
        );
        bed.ran();
        drop(mount);
        bed.write("in", "two\n");
        heals(&bed, "two\n", size);
    }
}

/// Where nothing can be mounted, a limit on the size of files is the nearest thing.
fn with_limit_instead() {
    let bed = made();
    bed.write("in", "y".repeat(200_000));
    let done = with_limit(&bed, 250_000, &["b"]);
    assert_eq!((done.code, bed.read("b").len()), (0, 200_000), "{done:?}");
}

#[test]
fn a_deleted_cache_directory_costs_a_run() {
    let bed = made();
    bed.remove(".forge");
    let done = heals(&bed, "one\n", "deleted");
    assert_eq!(done.with_outcome("failed"), Vec::<String>::new());
}

#[test]
fn where_the_list_of_outputs_is_lost_none_of_them_outlives_its_source() {
    let bed = Bed::new(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'mkdir -p a; for name in $(cat in); do echo $name > a/$name; done'\n\
         [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'ls a > b'\n",
    );
    let run = |names: &str| {
        bed.write("in", names);
        let done = bed.forge(&["b"]);
        assert_eq!(done.code, 0, "{done:?}");
        bed.read("b")
    };
    let lose_list = || {
        let lists = files_with(&bed.path(".forge/blobs"), "a/y");
        assert!(!lists.is_empty());
        lists
            .iter()
            .for_each(|list| fs::remove_file(list).expect("removed"));
        for snapshot in [".forge/snapshot", ".forge/snapshot.outdated"] {
            if bed.exists(snapshot) {
                bed.remove(snapshot);
            }
        }
    };
    run("x\n");
    // What is made then is known already, and is new.
    for (names, made) in [("x\n", "x\n"), ("z\n", "z\n")] {
        assert_eq!(run("x y\n"), "x\ny\n");
        run("x\n");
        run("x y\n");
        lose_list();
        assert_eq!(run(names), made);
    }
    // What no target made stays.
    run("x y\n");
    bed.write("a/note", "mine\n");
    lose_list();
    run("w\n");
    assert!(bed.exists("a/note") && bed.exists("a/w") && !bed.exists("a/y"));
}

#[test]
fn an_output_that_may_not_be_looked_at_is_not_left_out() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; mkdir out; echo > out/a; chmod 444 out'\n",
    );
    open_up(&bed);
    let done = as_nobody(&bed, &["t"]);
    open_up(&bed);
    bed.chmod("out", 0o755);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(done.reason("t").contains("out/a"), "{done:?}");
}

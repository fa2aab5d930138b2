//! Hazards 10 and 17: modes, empty directories, links, and compiled Python.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{Bed, contents};

#[test]
fn hazard_10_all_kinds_of_outputs_are_the_same_after_two_restores() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\", \"single\"]\nrun = 'echo t >> ../ran; sh ../make; cat in > single'\n",
    );
    bed.write(
        "../make",
        "mkdir -p out/empty/deep out/closed out/private\n\
         echo a > out/plain; echo b > out/run; chmod 755 out/run; echo c > out/fixed; chmod 444 out/fixed\n\
         echo d > out/closed/in; chmod 555 out/closed; echo e > out/private/in; chmod 700 out/private\n\
         ln -s plain out/link; ln -s nowhere out/dangling; ln -s /etc/hostname out/absolute; ln -s ../.. out/up\n\
         ln -s empty out/to-directory; ln -s loop out/loop; : > out/zero; chmod 600 out/zero\n",
    );
    bed.write("in", "1\n");
    bed.expect(&["t"], &["t"]);
    let made = contents(&bed.path("out"));
    assert_eq!(made.len(), 16);
    for round in 0..2 {
        bed.chmod("out/closed", 0o755);
        bed.remove("out");
        assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "restored");
        assert_eq!(contents(&bed.path("out")), made, "restore {round}");
        assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "fresh");
    }
    // One file in a directory that can't be written to.
    bed.chmod("out/closed", 0o755);
    bed.remove("out/closed/in");
    bed.chmod("out/closed", 0o555);
    bed.expect(&["t"], &[]);
    assert_eq!(contents(&bed.path("out")), made);
    // And all of it goes when it is made anew.
    bed.write("in", "2\n");
    bed.write("../make", "mkdir out; echo a > out/only");
    bed.expect(&["t"], &["t"]);
    assert_eq!(contents(&bed.path("out")).len(), 1);
    bed.write("in", "1\n");
    bed.expect(&["t"], &[]);
    assert_eq!(contents(&bed.path("out")), made);
}

#[test]
fn hazard_10_a_hit_in_another_workspace_has_the_modes_too() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; echo a > out; chmod 4751 out'\n",
    );
    bed.expect(&["t"], &["t"]);
    let copy = bed.copied();
    copy.remove("out");
    copy.expect(&["t"], &[]);
    assert_eq!(copy.mode("out"), bed.mode("out"));
}

/// Sets a module's time to the same second whatever made it, as a fast edit or a checkout would.
const SECOND: SystemTime = UNIX_EPOCH;

#[test]
fn hazard_17_a_restored_module_never_meets_stale_bytecode() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"lib/mod.py\"]\n\
         run = 'echo gen >> ../ran; mkdir -p lib; echo \"value = $(cat in)\" > lib/mod.py; touch -d @1700000000 lib/mod.py'\n",
    );
    let time = SECOND + Duration::from_secs(1_700_000_000);
    let value = || {
        let mut python = bed.command("python3");
        let output = python.args([
            "-c",
            "import sys; sys.path.insert(0, 'lib'); import mod; print(mod.value)",
        ]);
        let output = output.output().expect("python3 starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for text in ["1", "2", "1", "2"] {
        bed.write("in", text);
        let done = bed.forge(&["gen"]);
        assert_eq!(done.code, 0, "{done:?}");
        bed.set_mtime("lib/mod.py", time);
        if done.outcome("gen") == "ran" {
            // Python itself is fooled by this; forge has a word only in what it restores.
            let _ = std::fs::remove_dir_all(bed.path("lib/__pycache__"));
        }
        assert_eq!(value(), text);
        assert!(bed.exists("lib/__pycache__"));
    }
}

#[test]
fn hazard_17_bytecode_that_was_captured_with_its_module_is_valid_after_a_restore() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"lib\"]\n\
         run = 'echo gen >> ../ran; mkdir lib; echo \"value = $(cat in)\" > lib/mod.py; python3 -m compileall -q lib'\n",
    );
    let value = || {
        // A compiled file that fits is used, so that it is what speaks.
        let code = "import sys; sys.path.insert(0, 'lib'); sys.dont_write_bytecode = True; import mod; print(mod.value)";
        let output = bed
            .command("python3")
            .args(["-v", "-c", code])
            .output()
            .expect("python3 starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut lines = told.lines();
        let fits = lines.any(|line| line.contains("matches") && line.ends_with("lib/mod.py"));
        (value, fits)
    };
    for text in ["1", "2", "1", "2"] {
        bed.write("in", text);
        assert_eq!(bed.forge(&["gen"]).code, 0);
        assert_eq!(value(), (text.to_owned(), true));
    }
}

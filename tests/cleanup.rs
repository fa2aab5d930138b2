//! What runs after a target whatever became of it, and what is said of targets that are never cached.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn workspace(pipeline: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("Pipeline.toml"), pipeline).expect("written");
    dir
}

fn forge(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command
        .current_dir(dir)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Until something is there, or so long that it never will be.
fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{path:?} never came"
        );
        sleep(Duration::from_millis(10));
    }
}

const PIPELINE: &str = r#"
[target.work]
inputs  = []
run     = "touch started; sleep 600"
finally = ["tidy"]

[target.never]
needs = ["work"]
run   = "touch never"

[target.tidy]
cache = false
run   = "touch tidied"
"#;

#[test]
fn finally_runs_after_an_interrupted_target() {
    let dir = workspace(PIPELINE);
    let child = forge(dir.path(), &["never"]).spawn().expect("forge starts");
    wait_for(&dir.path().join("started"));
    let pid = i32::try_from(child.id()).expect("a process number");
    // SAFETY: a signal to a child that hasn't been waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let output = child.wait_with_output().expect("forge ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(dir.path().join("tidied").exists(), "{said}");
    assert!(!dir.path().join("never").exists(), "{said}");
}

#[test]
fn a_target_that_is_never_cached_may_change_its_inputs() {
    let pipeline = "[target.format]\ncache = false\nrun = \"echo x >> source\"\n";
    let dir = workspace(pipeline);
    let output = forge(dir.path(), &["format"]).output().expect("forge runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("isn't cached"), "{said}");
}

//! A workspace of its own for a test, and the real forge in it: run to its end, or started and watched.

#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing that a test waits for takes this long, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A directory with a `Pipeline.toml`.
pub struct Workspace {
    dir: TempDir,
    home: TempDir,
}

/// What a run of forge left.
pub struct Ran {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub raw: Vec<u8>,
}

impl Workspace {
    pub fn new(pipeline: &str) -> Self {
        let workspace = Self {
            dir: tempfile::tempdir().expect("a directory"),
            home: tempfile::tempdir().expect("a home"),
        };
        workspace.write("Pipeline.toml", pipeline);
        workspace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// Empty where there is no such file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Waits for a file that a target writes.
    pub fn wait_for(&self, name: &str) -> String {
        wait_until(&format!("{name} to be written"), || {
            !self.read(name).is_empty()
        });
        self.read(name)
    }

    /// A process id that a target wrote to a file.
    pub fn pid(&self, name: &str) -> i32 {
        let mut pid = None;
        wait_until(&format!("a pid in {name}"), || {
            let text = self.read(name);
            pid = text.strip_suffix('\n').and_then(|pid| pid.parse().ok());
            pid.is_some()
        });
        pid.expect("a pid")
    }

    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("git");
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A repository with everything committed on the branch `main`.
    pub fn commit(&self) {
        self.git(&["init", "-q", "-b", "main"]);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "begin"]);
    }

    /// forge in this workspace, with a small environment that is the same everywhere.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        if let Some(engine) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", engine);
        }
        command
    }

    pub fn forge(&self, args: &[&str]) -> Ran {
        self.run(self.command(args))
    }

    /// forge with one more variable or several.
    pub fn forge_with(&self, env: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        self.run(command)
    }

    pub fn run(&self, command: Command) -> Ran {
        self.start(command).wait()
    }

    /// Starts it; its output goes to files, so that nobody who holds a stream holds the test.
    pub fn start(&self, mut command: Command) -> Running {
        let log = tempfile::tempdir().expect("a directory");
        let file = |name: &str| File::create(log.path().join(name)).expect("a log");
        command.stdout(file("out")).stderr(file("err"));
        let child = command.spawn().expect("forge starts");
        Running { child, log }
    }

    pub fn start_forge(&self, args: &[&str]) -> Running {
        self.start(self.command(args))
    }
}

/// A forge that runs.
pub struct Running {
    child: Child,
    log: TempDir,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: it is our child and not reaped yet.
        unsafe { libc::kill(self.pid(), signal) };
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log.path().join("out")).unwrap_or_default()).into()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log.path().join("err")).unwrap_or_default()).into()
    }

    pub fn wait(mut self) -> Ran {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if Instant::now() > until {
                self.signal(libc::SIGKILL);
                let _ = self.child.wait();
                panic!("forge hangs\n{}\n{}", self.stdout(), self.stderr());
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ran {
            code: status.code(),
            signal: status.signal(),
            raw: fs::read(self.log.path().join("out")).expect("its output"),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Ran {
    /// Checks the exit code, and shows everything if it is another.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(expected),
            "signal {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "no {text:?} in\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) -> &Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "{text:?} in\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The events of `--json`.
    #[track_caller]
    pub fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The event with which a target ended.
    #[track_caller]
    pub fn end_of(&self, target: &str) -> serde_json::Value {
        let ends = self
            .events()
            .into_iter()
            .filter(|event| event["event"] == "target-finished" && event["target"] == target);
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends.len(), 1, "{target} ends once: {}", self.stdout);
        ends.into_iter().next().expect("one")
    }

    /// `lint ran`, `test skipped`: every target's outcome, sorted.
    #[track_caller]
    pub fn outcomes(&self) -> Vec<String> {
        let events = self.events();
        let ends = events
            .iter()
            .filter(|event| event["event"] == "target-finished");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut outcomes: Vec<String> = ends
            .map(|event| format!("{} {}", text(&event["target"]), text(&event["outcome"])))
            .collect();
        outcomes.sort();
        outcomes
    }
}

/// Waits until something is so, and gives up when it can't be any more.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and not dead.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !(state.is_empty() || state.starts_with('Z') || state.starts_with('X'))
}

/// Runs a program and gives back what it prints.
pub fn output(program: impl AsRef<OsStr>, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

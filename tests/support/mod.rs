//! The bed of black-box tests: a workspace in a directory of its own, a forge that sees nothing of whoever runs the
//! tests, and answers taken apart. Knows nothing of what is tested.
//!
//! Commands of test targets leave word of having run by `echo NAME >> ../ran`: that lies beside the workspace, so it
//! is no file of it, and a relative path doesn't tell copies of a workspace apart.

#![allow(dead_code)] // Every test file uses a part of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// What no command of a test takes; a hang is a failure, not a wait.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A workspace with a home, a place for temporary files, and the environment of its caller.
pub struct Bed {
    dir: tempfile::TempDir,
    /// The workspace.
    pub root: PathBuf,
    env: BTreeMap<String, String>,
}

impl Bed {
    /// A workspace with this Pipeline.toml.
    pub fn new(pipeline: &str) -> Self {
        Self::below(&std::env::temp_dir(), pipeline)
    }

    /// A workspace on the file system of this directory.
    pub fn below(directory: &Path, pipeline: &str) -> Self {
        let dir = tempfile::tempdir_in(directory).expect("a directory");
        let base = dir.path().canonicalize().expect("there");
        let mut env = BTreeMap::new();
        let path = std::env::var("PATH").expect("PATH");
        for (name, value) in [
            ("PATH", path.as_str()),
            ("HOME", base.join("home").to_str().expect("UTF-8")),
            ("TMPDIR", base.join("tmp").to_str().expect("UTF-8")),
            ("LANG", "C.UTF-8"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        let root = base.join("work");
        for directory in [&root, &base.join("home"), &base.join("tmp")] {
            fs::create_dir(directory).expect("made");
        }
        let bed = Self { dir, root, env };
        bed.write("Pipeline.toml", pipeline);
        bed
    }

    /// The directory around the workspace.
    pub fn base(&self) -> &Path {
        self.root.parent().expect("has one")
    }

    /// Another bed with a copy of everything in this workspace, times included.
    pub fn copied(&self) -> Self {
        let other = Self::new("");
        fs::remove_dir_all(&other.root).expect("removed");
        let done = Command::new("cp")
            .arg("-a")
            .args([&self.root, &other.root])
            .status();
        assert!(done.expect("cp starts").success());
        let mut env = self.env.clone();
        env.extend(["HOME", "TMPDIR"].map(|name| (name.to_owned(), other.env[name].clone())));
        Self { env, ..other }
    }

    // The caller's environment.

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.remove(name);
        self
    }

    pub fn var(&self, name: &str) -> &str {
        &self.env[name]
    }

    // Files. Paths are relative to the workspace.

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("made");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.path(path);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether anything is there, if only a link that leads nowhere.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// Removes whatever is there.
    pub fn remove(&self, path: impl AsRef<Path>) {
        remove(&self.path(path));
    }

    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).expect("changed");
    }

    pub fn mode(&self, path: impl AsRef<Path>) -> u32 {
        fs::symlink_metadata(self.path(path)).expect("there").mode() & 0o7777
    }

    pub fn link(&self, to: impl AsRef<Path>, path: impl AsRef<Path>) {
        symlink(to, self.path(path)).expect("linked");
    }

    pub fn mtime(&self, path: impl AsRef<Path>) -> SystemTime {
        let metadata = fs::metadata(self.path(path)).expect("there");
        metadata.modified().expect("has a time")
    }

    pub fn set_mtime(&self, path: impl AsRef<Path>, time: SystemTime) {
        let file = File::open(self.path(path)).expect("opens");
        file.set_times(FileTimes::new().set_modified(time))
            .expect("set");
    }

    /// Gives every file and directory of the workspace, the cache aside, the time of now.
    pub fn touch_everything(&self) {
        let now = SystemTime::now();
        for path in tree(&self.root).keys() {
            let path = self.root.join(path);
            let kind = fs::symlink_metadata(&path).expect("there").file_type();
            if !path.starts_with(self.root.join(".forge")) && !kind.is_symlink() {
                self.set_mtime(path, now);
            }
        }
    }

    /// What commands left word of since the last call, sorted.
    pub fn ran(&self) -> Vec<String> {
        let path = self.base().join("ran");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    // Programs.

    /// Any program, in the workspace, with the environment of the bed's caller.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    pub fn forge_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_forge"));
        command.args(args);
        command
    }

    /// Runs forge with `--json`.
    pub fn forge(&self, args: &[&str]) -> Ran {
        let mut command = self.forge_command(&["--json"]);
        command.args(args);
        Ran::of(finish(command))
    }

    /// Runs forge as a person would see it.
    pub fn plain(&self, args: &[&str]) -> Ran {
        Ran::of(finish(self.forge_command(args)))
    }

    /// Starts forge with `--json`, to go on beside the test.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.forge_command(&["--json"]);
        command.args(args);
        Running::new(command)
    }

    /// Runs forge, which must succeed, and of whose targets exactly these must have run, by their own word and by
    /// forge's.
    #[track_caller]
    pub fn expect(&self, args: &[&str], ran: &[&str]) -> Ran {
        let done = self.forge(args);
        assert_eq!(done.code, 0, "{done:?}");
        let mut expected = ran.to_vec();
        expected.sort_unstable();
        assert_eq!(self.ran(), expected, "by the commands' word: {done:?}");
        assert_eq!(
            done.with_outcome("ran"),
            expected,
            "by forge's word: {done:?}"
        );
        done
    }

    /// As [`Bed::expect`] of one target, whose outcome is told.
    #[track_caller]
    pub fn outcome(&self, target: &str) -> String {
        let done = self.forge(&[target]);
        assert_eq!(done.code, 0, "{done:?}");
        let outcome = done.outcome(target);
        let ran = self.ran().iter().any(|name| name == target);
        assert_eq!(
            ran,
            outcome == "ran",
            "{target} did something else: {done:?}"
        );
        outcome
    }

    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.root, args)
    }

    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let mut command = self.command("git");
        command.current_dir(dir);
        command.args([
            "-c",
            "user.name=n",
            "-c",
            "user.email=e@e",
            "-c",
            "protocol.file.allow=always",
        ]);
        command.args(args);
        let output = finish(command);
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Makes the workspace a repository with everything committed.
    pub fn commit(&self) {
        if !self.exists(".git") {
            self.git(&["init", "-q", "-b", "main"]);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "state"]);
    }

    /// Every file below the cache directory that holds these bytes.
    pub fn kept_with(&self, bytes: &str) -> Vec<PathBuf> {
        files_with(&self.path(".forge"), bytes)
    }
}

/// Files below a directory that hold these bytes.
pub fn files_with(directory: &Path, bytes: &str) -> Vec<PathBuf> {
    let finder = bytes.as_bytes();
    let mut found = Vec::new();
    for (path, node) in tree(directory) {
        if node
            .content
            .windows(finder.len())
            .any(|window| window == finder)
        {
            found.push(directory.join(path));
        }
    }
    found
}

fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    /// Of a file; of a link what it leads to.
    pub content: Vec<u8>,
    /// Of the last change of content and of anything, in nanoseconds.
    pub times: (i128, i128),
}

/// All that is below a directory, by relative path; links aren't followed.
pub fn tree(directory: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(next) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let content = if metadata.is_symlink() {
                let to = fs::read_link(&path).unwrap_or_default();
                to.into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(&path).unwrap_or_default()
            } else {
                Vec::new()
            };
            if metadata.is_dir() {
                waiting.push(path.clone());
            }
            let nanos =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            let times = (
                nanos(metadata.mtime(), metadata.mtime_nsec()),
                nanos(metadata.ctime(), metadata.ctime_nsec()),
            );
            let name = path.strip_prefix(directory).expect("below").to_path_buf();
            let mode = metadata.mode();
            nodes.insert(
                name,
                Node {
                    mode,
                    content,
                    times,
                },
            );
        }
    }
    nodes
}

/// As [`tree`], with what says when it was made left out.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let nodes = tree(directory).into_iter();
    nodes
        .map(|(path, node)| (path, (node.mode, node.content)))
        .collect()
}

/// How a forge ended, and all that it said.
pub struct Ran {
    /// -1 where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The lines of standard output that are JSON.
    pub events: Vec<Value>,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "exit code {}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let events = stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Self {
            code: output.status.code().unwrap_or(-1),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            events: events.collect(),
            stdout,
        }
    }

    pub fn events_of(&self, kind: &str) -> Vec<&Value> {
        let of_kind = |event: &&Value| event["event"] == kind;
        self.events.iter().filter(of_kind).collect()
    }

    #[track_caller]
    fn finished(&self, target: &str) -> &Value {
        let of_target = |event: &&Value| event["target"] == target;
        let finished = self
            .events_of("target-finished")
            .into_iter()
            .find(of_target);
        finished.unwrap_or_else(|| panic!("{target} didn't finish: {self:?}"))
    }

    #[track_caller]
    pub fn outcome(&self, target: &str) -> String {
        text(&self.finished(target)["outcome"])
    }

    #[track_caller]
    pub fn key(&self, target: &str) -> String {
        text(&self.finished(target)["key"])
    }

    #[track_caller]
    pub fn reason(&self, target: &str) -> String {
        text(&self.finished(target)["reason"])
    }

    /// The targets that ended so, sorted.
    pub fn with_outcome(&self, outcome: &str) -> Vec<String> {
        let finished = self.events_of("target-finished").into_iter();
        let ended = finished.filter(|event| event["outcome"] == outcome);
        let mut names: Vec<String> = ended.map(|event| text(&event["target"])).collect();
        names.sort();
        names
    }

    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.events_of("warning").into_iter();
        warnings.map(|event| text(&event["message"])).collect()
    }

    #[track_caller]
    pub fn warned(&self, of: &str) {
        let warned = self.warnings().iter().any(|warning| warning.contains(of));
        assert!(warned, "no warning of {of:?}: {self:?}");
    }

    #[track_caller]
    pub fn not_warned(&self) {
        assert!(self.warnings().is_empty(), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// What a program prints, read on a thread so that it is never held up, and to be seen before it ends.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Drain {
    fn new(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                sink.lock()
                    .expect("whole")
                    .extend_from_slice(&buffer[..read]);
            }
        });
        Self { bytes, thread }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("whole").clone()
    }

    fn all(self) -> Vec<u8> {
        self.thread.join().expect("read");
        std::mem::take(&mut *self.bytes.lock().expect("whole"))
    }
}

/// A program that goes on beside the test; ended with it.
pub struct Running {
    child: Option<Child>,
    output: Option<(Drain, Drain)>,
    name: String,
}

impl Running {
    pub fn new(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let stdout = Drain::new(child.stdout.take().expect("piped"));
        let stderr = Drain::new(child.stderr.take().expect("piped"));
        Self {
            child: Some(child),
            output: Some((stdout, stderr)),
            name: format!("{command:?}"),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("runs").id()
    }

    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut().expect("runs");
        child.try_wait().expect("can be asked").is_none()
    }

    /// Waits until standard output has these words.
    #[track_caller]
    pub fn tells(&self, words: &str) {
        let (stdout, _) = self.output.as_ref().expect("runs");
        let has = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(words);
        wait_until(&format!("{} to tell {words}", self.name), || {
            has(stdout.so_far()).then_some(())
        });
    }

    /// SIGKILL: it gets no chance to put anything in order.
    pub fn kill(mut self) -> Ran {
        let _ = self.child.as_mut().expect("runs").kill();
        self.end()
    }

    pub fn wait(mut self) -> Ran {
        self.end()
    }

    fn end(&mut self) -> Ran {
        Ran::of(self.output())
    }

    fn output(&mut self) -> Output {
        wait_until(&format!("{} to end", self.name), || {
            (!self.is_running()).then_some(())
        });
        let mut child = self.child.take().expect("runs");
        let (stdout, stderr) = self.output.take().expect("taken once");
        Output {
            status: child.wait().expect("ended"),
            stdout: stdout.all(),
            stderr: stderr.all(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn finish(command: Command) -> Output {
    Running::new(command).output()
}

/// Waits for something to be there.
///
/// # Panics
/// It doesn't come about in [`PATIENCE`].
#[track_caller]
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A file system of its own, gone with the value. There is none where nobody may mount.
pub struct Mount(PathBuf);

impl Mount {
    /// One of this size, in memory.
    pub fn memory(at: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        Self::new(at, &["-t", "tmpfs", "-o", &options, "tmpfs"])
    }

    /// One that keeps times in whole seconds, in a file beside it.
    pub fn of_seconds(at: PathBuf) -> Option<Self> {
        let image = at.with_extension("image");
        File::create(&image)
            .expect("made")
            .set_len(32 << 20)
            .expect("grown");
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-I", "128", "-O", "^has_journal"])
            .arg(&image);
        let made = make.output().is_ok_and(|output| output.status.success());
        let image = image.to_str().expect("UTF-8");
        made.then(|| Self::new(at, &["-o", "loop", image]))
            .flatten()
    }

    fn new(at: PathBuf, args: &[&str]) -> Option<Self> {
        fs::create_dir_all(&at).expect("made");
        let output = Command::new("mount").args(args).arg(&at).output();
        let mounted = output.is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

//! The commands that look after a workspace, black-box: watch, clean, cache, cancel, completions.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const FORGE: &str = env!("CARGO_BIN_EXE_forge");
/// Nothing takes so long; it only keeps a broken forge from hanging the tests.
const LONG: Duration = Duration::from_secs(60);

/// A workspace of its own, with a home of its own.
struct Workspace {
    dir: tempfile::TempDir,
}

impl Workspace {
    fn new(pipeline: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        fs::create_dir(dir.path().join("ws")).unwrap();
        let workspace = Workspace { dir };
        workspace.write("Pipeline.toml", pipeline);
        workspace
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("ws").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path().join("home"))
            .stdin(Stdio::null());
        command
    }

    fn forge(&self, args: &[&str]) -> Done {
        Done::from(self.command(FORGE, args).output().unwrap())
    }

    /// Runs in the background; dies with the test.
    fn start(&self, args: &[&str]) -> Running {
        // One pipe for both streams, so that their lines come in order.
        let (reader, out) = std::io::pipe().unwrap();
        let err = out.try_clone().unwrap();
        let mut command = self.command(FORGE, args);
        let child = command.stdout(out).stderr(err).spawn().unwrap();
        drop(command);
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Running { child, lines }
    }

    /// Blobs are what takes the room.
    fn stored(&self) -> u64 {
        let files = walkdir::WalkDir::new(self.path(".forge/blobs"));
        let sizes = files
            .into_iter()
            .map(|entry| entry.unwrap().metadata().unwrap());
        sizes
            .filter(|meta| meta.is_file())
            .map(|meta| meta.len())
            .sum()
    }
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert!(all.contains(text), "no {text:?} in: {all}");
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Waits for a line; answers all up to it.
    #[track_caller]
    fn until(&self, text: &str) -> String {
        let mut all = String::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => {
                    all += &line;
                    all += "\n";
                    if line.contains(text) {
                        return all;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} for long, only: {all}"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {text:?}: {all}"),
            }
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) -> String {
        let status = wait(|| self.child.try_wait().unwrap());
        let rest: Vec<String> = self.lines.iter().collect();
        assert_eq!(status.code(), Some(code), "{rest:?}");
        rest.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(began.elapsed() < LONG, "waited for long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Copies its input and says so.
const COPY: &str = r#"
[target.copy]
inputs = ["in/*"]
outputs = ["out"]
run = "mkdir -p out; cp in/* out/; echo copied $(cat in/*)"
"#;

/// Runs until a file `go` is there, with a process of its own below it.
const SLOW: &str = r#"
[target.slow]
inputs = ["in"]
outputs = ["made"]
run = "echo $$ > ../pid; until test -e ../go; do sleep 0.02; done; cp in made; echo slow $(cat in)"
"#;

fn pid_of(workspace: &Workspace) -> i32 {
    let file = workspace.dir.path().join("pid");
    wait(|| fs::read_to_string(&file).ok()?.trim().parse().ok())
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

// ---- watch

#[test]
fn watch_runs_again_when_something_changed() {
    let ws = Workspace::new(COPY);
    ws.write("in/a", "one");
    let watch = ws.start(&["watch", "-v", "copy"]);
    let text = watch.until("Waiting for changes");
    assert!(text.contains("copied one"), "{text}");
    ws.write("in/a", "two");
    let text = watch.until("Waiting for changes");
    assert!(
        text.contains("in/a changed.") && text.contains("copied two"),
        "{text}"
    );
    // A new directory with a file in it, of a pattern that reaches there.
    ws.write(
        "Pipeline.toml",
        &COPY
            .replace("in/*\"", "in/**\"")
            .replace("cp in/*", "cp -r in/*")
            .replace("cat in/*", "find in -type f | sort"),
    );
    let text = watch.until("Waiting for changes");
    assert!(text.contains("Pipeline.toml changed."), "{text}");
    ws.write("in/new/deep/b", "three");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("in/new") && text.contains("deep/b"), "{text}");
    ws.write("in/new/deep/c", "four");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("deep/c"), "{text}");
    watch.signal(libc::SIGINT);
    watch.ends_with(130);
}

#[test]
fn watch_says_nothing_where_nothing_is_to_do() {
    let ws = Workspace::new(COPY);
    ws.write("in/a", "one");
    ws.write(".gitignore", "*.log\n");
    let watch = ws.start(&["watch", "-v", "copy"]);
    watch.until("Waiting for changes");
    let snapshot = || {
        let found = fs::metadata(ws.path(".forge/snapshot")).ok()?;
        Some((found.ino(), found.mtime_nsec()))
    };
    let before = snapshot();
    ws.write("elsewhere", "x");
    ws.write("debug.log", "x");
    ws.write("in/a", "one");
    // It ran, and found in/a to be what it was: it keeps that in mind.
    wait(|| snapshot().filter(|now| Some(*now) != before));
    ws.write("in/a", "two");
    let text = watch.until("Waiting for changes");
    assert!(text.starts_with("in/a changed.\n"), "{text}");
    watch.signal(libc::SIGTERM);
    assert_eq!(watch.ends_with(130), "");
}

#[test]
fn watch_shows_errors_of_the_pipeline_file_and_goes_on() {
    let ws = Workspace::new(COPY);
    ws.write("in/a", "one");
    let watch = ws.start(&["watch", "copy"]);
    watch.until("Waiting for changes");
    ws.write("Pipeline.toml", "[target.copy]\nnedes = []\n");
    let text = watch.until("Waiting for changes");
    assert!(
        text.contains("Pipeline.toml changed.") && text.contains("nedes"),
        "{text}"
    );
    ws.write(
        "Pipeline.toml",
        &COPY.replace("[target.copy]", "[target.other]"),
    );
    let text = watch.until("Waiting for changes");
    assert!(text.contains("copy"), "{text}");
    ws.write("in/a", "two");
    ws.write("Pipeline.toml", &COPY.replace("echo copied", "echo again"));
    watch.until("Waiting for changes");
    assert_eq!(ws.read("out/a"), "two");
    ws.forge(&["watch", "nosuch"]).exits(2).says("nosuch");
}

#[test]
fn watch_sees_what_lies_by_hand_among_made_files() {
    let ws = Workspace::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"src/*_gen\"]\nrun = \"cp in src/a_gen\"\n\
         [target.show]\nneeds = [\"gen\"]\ninputs = [\"src/**\"]\nrun = \"cat src/*\"\n",
    );
    ws.write("in", "made\n");
    ws.write("src/b_gen", "");
    ws.forge(&["show"]).exits(0);
    let watch = ws.start(&["watch", "-v", "show"]);
    watch.until("Waiting for changes");
    ws.write("src/b_gen", "by hand\n");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("src/b_gen changed."), "{text}");
    assert!(text.contains("by hand"), "{text}");
    watch.signal(libc::SIGINT);
    watch.ends_with(130);
}

#[test]
fn watch_sees_an_ignored_file_that_is_named() {
    let ws = Workspace::new(
        "[target.show]\ninputs = [\"conf/local\"]\ndotenv = [\".env\"]\nrun = \"echo with $(cat conf/local) ${NAME:-}\"\n",
    );
    ws.write(".gitignore", "conf/\n.env\n");
    ws.write("conf/local", "one");
    let watch = ws.start(&["watch", "-v", "show"]);
    watch.until("Waiting for changes");
    ws.write("conf/local", "two");
    assert!(watch.until("Waiting for changes").contains("with two"));
    ws.write(".env", "NAME=three\n");
    assert!(
        watch
            .until("Waiting for changes")
            .contains("with two three")
    );
}

#[test]
fn a_change_during_a_run_leads_to_another() {
    let ws = Workspace::new(SLOW);
    ws.write("in", "one");
    let watch = ws.start(&["watch", "-v", "slow"]);
    pid_of(&ws);
    ws.write("in", "two");
    ws.write("../go", "");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("slow two"), "{text}");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("in changed."), "{text}");
    assert_eq!(ws.read("made"), "two");
    ws.forge(&["slow"]).exits(0).says("fresh");
}

#[test]
fn what_a_target_writes_itself_does_not_make_it_run_for_ever() {
    let ws = Workspace::new(
        "[target.log]\ninputs = [\"in\"]\ncache = false\nrun = \"date +%N >> notes; echo ran\"\n",
    );
    ws.write("in", "one");
    let watch = ws.start(&["watch", "-v", "log"]);
    let text = watch.until("notes changes in every run");
    assert!(text.matches("ran").count() >= 3, "{text}");
    let lines = ws.read("notes").lines().count();
    ws.write("in", "two");
    watch.until("in changed.");
    assert!(ws.read("notes").lines().count() >= lines);
}

#[test]
fn the_last_of_many_changes_during_runs_is_built_as_well() {
    let ws = Workspace::new(
        "[target.copy]\ninputs = [\"in\"]\noutputs = [\"made\"]\nrun = \"cp in made; sleep 0.5\"\n",
    );
    ws.write("in", "0");
    let watch = ws.start(&["watch", "copy"]);
    let made = |count: usize| {
        let is_made = |text: String| (text == count.to_string()).then_some(());
        wait(|| fs::read_to_string(ws.path("made")).ok().and_then(is_made));
    };
    for count in 0..5 {
        made(count);
        ws.write("in", &(count + 1).to_string());
    }
    made(5);
    watch.signal(libc::SIGINT);
    let text = watch.ends_with(130);
    assert!(!text.contains("in every run"), "{text}");
}

/// Two targets that have nothing to do with each other.
const PAIR: &str = r#"
[target.a]
inputs = ["a/*"]
outputs = ["made-a"]
run = "cat a/* > made-a; echo a is $(cat made-a)"

[target.b]
inputs = ["b/**"]
outputs = ["made-b"]
run = "cat $(find -L b -type f | sort) > made-b; echo b is $(cat made-b)"

[target.all]
needs = ["a", "b"]
"#;

/// A watch of [`PAIR`] that has looked at `b` often enough to know it.
fn watch_of_pair(ws: &Workspace) -> Running {
    let watch = ws.start(&["watch", "-v", "all"]);
    watch.until("Waiting for changes");
    for name in ["1", "2"] {
        edit_a(ws, &watch, name);
    }
    watch
}

/// Adds a file (what changes again and again would be taken for something that runs write); what the run for it said.
fn edit_a(ws: &Workspace, watch: &Running, name: &str) -> String {
    ws.write(&format!("a/{name}"), name);
    let text = watch.until("Waiting for changes");
    assert!(text.contains("a is "), "{text}");
    text
}

#[test]
fn a_watch_that_edits_one_project_still_sees_to_the_others() {
    let ws = Workspace::new(PAIR);
    ws.write("a/in", "one");
    ws.write("b/in", "one");
    ws.write("b/junk", "junk");
    fs::create_dir_all(ws.path(".git/info")).unwrap();
    let watch = watch_of_pair(&ws);
    // Nobody is told of what targets make.
    fs::remove_file(ws.path("made-b")).unwrap();
    edit_a(&ws, &watch, "3");
    assert_eq!(ws.read("made-b"), "onejunk");
    // Nor of what git ignores from now on.
    ws.write(".git/info/exclude", "junk\n");
    let text = edit_a(&ws, &watch, "4");
    assert!(text.contains("b/junk removed"), "{text}");
    // A file that is new, and one that is gone.
    ws.write("b/new", "new");
    let text = watch.until("Waiting for changes");
    assert!(text.contains("b/new changed."), "{text}");
    fs::remove_file(ws.path("b/new")).unwrap();
    watch.until("b/new changed.");
    watch.until("Waiting for changes");
    fs::create_dir(ws.path("b/deep")).unwrap();
    ws.write("b/deep/in", "deep");
    let text = watch.until("b is ");
    assert!(text.contains("deepone"), "{text}");
}

#[test]
fn a_watch_sees_what_lies_behind_a_link_and_out_of_sight() {
    let ws = Workspace::new(PAIR);
    ws.write("a/in", "one");
    ws.write(".gitignore", "hidden\n");
    ws.write("hidden/in", "one");
    std::os::unix::fs::symlink("hidden", ws.path("b")).unwrap();
    let watch = watch_of_pair(&ws);
    ws.write("hidden/in", "changed");
    let text = edit_a(&ws, &watch, "3");
    assert!(text.contains("b is changed"), "{text}");
}

#[test]
fn a_watch_finds_in_the_end_what_nobody_told_it() {
    let ws = Workspace::new(PAIR);
    ws.write("a/in", "one");
    ws.write("b/in", "one");
    fs::hard_link(ws.path("b/in"), ws.path("../elsewhere")).unwrap();
    let watch = watch_of_pair(&ws);
    fs::write(ws.path("../elsewhere"), "changed").unwrap();
    edit_a(&ws, &watch, "3");
    watch.until("b is changed");
}

#[test]
fn ctrl_c_ends_what_a_watch_runs() {
    let ws = Workspace::new(SLOW);
    ws.write("in", "one");
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let _ = fs::remove_file(ws.path("../pid"));
        let watch = ws.start(&["watch", "slow"]);
        let pid = pid_of(&ws);
        watch.signal(signal);
        watch.ends_with(130);
        assert!(!is_alive(pid));
    }
}

// ---- clean

#[test]
fn clean_removes_what_is_recorded_and_the_next_run_restores_it() {
    let ws = Workspace::new(COPY);
    ws.write("in/a", "one");
    ws.forge(&["clean"]).exits(0).says("nothing to remove");
    assert!(!ws.has(".forge"));
    ws.forge(&["copy"]).exits(0);
    ws.write("out/mine", "not recorded");
    ws.forge(&["clean", "-n", "copy"])
        .exits(0)
        .says("would remove 2 paths (3 B) of 1 target")
        .says("out\n");
    assert!(ws.has("out/a"));
    let json = ws.forge(&["clean", "-n", "--json"]).exits(0).json();
    assert_eq!(json["paths"], 2);
    ws.forge(&["clean", "copy"]).exits(0);
    assert!(!ws.has("out/a") && ws.has("out/mine") && ws.has("in/a"));
    ws.forge(&["clean"]).exits(0).says("nothing to remove");
    ws.forge(&["copy"]).exits(0).says("restored");
    assert_eq!(ws.read("out/a"), "one");
}

#[test]
fn clean_leaves_what_has_become_a_source() {
    let ws = Workspace::new(
        "[target.gen]\ninputs = []\noutputs = [\"gen.txt\"]\nrun = \"echo made > gen.txt\"\n",
    );
    ws.forge(&["gen"]).exits(0);
    ws.write(
        "Pipeline.toml",
        "[target.gen]\ninputs = [\"gen.txt\"]\nrun = \"true\"\n",
    );
    ws.write("gen.txt", "written by hand");
    ws.forge(&["clean"]).exits(0);
    assert_eq!(ws.read("gen.txt"), "written by hand");
}

#[test]
fn clean_leaves_a_target_that_another_forge_runs() {
    let ws = Workspace::new(&format!("{SLOW}{COPY}"));
    ws.write("in/a", "one");
    ws.write(
        "Pipeline.toml",
        &format!(
            "{}{COPY}",
            SLOW.replace("\"in\"", "\"in/a\"")
                .replace("cp in made", "cp in/a made")
                .replace("cat in)", "cat in/a)")
        ),
    );
    ws.forge(&["copy"]).exits(0);
    let slow = ws.start(&["slow"]);
    pid_of(&ws);
    ws.forge(&["clean"])
        .exits(4)
        .says("slow: another forge runs it");
    assert!(!ws.has("out/a"));
    ws.write("../go", "");
    slow.ends_with(0);
    assert!(ws.has("made"));
}

// ---- cache

/// Its output is 100 kB that nobody else has.
fn churn(limit: &str) -> String {
    format!(
        "[cache]\nmax-size = \"{limit}\"\n[target.big]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = \"for n in $(seq 1000); do echo $(cat in) $n {}; done > out\"\n",
        "x".repeat(90)
    )
}

#[test]
fn churn_stays_within_the_limit() {
    let ws = Workspace::new(&churn("450kB"));
    let mut most = 0;
    for round in 0..12 {
        ws.write("in", &format!("round {round:02}"));
        ws.forge(&["big"]).exits(0).says("1 ran");
        most = most.max(ws.stored());
        assert!(ws.stored() <= 450_000, "{} after {round}", ws.stored());
    }
    assert!(most > 200_000, "the limit was made use of: {most}");
    // What is newest is kept; what went simply runs.
    ws.write("in", "round 10");
    ws.forge(&["big"]).exits(0).says("1 restored");
    ws.write("in", "round 00");
    ws.forge(&["big"]).exits(0).says("1 ran");
    ws.forge(&["cache", "verify"]).exits(0).says("all sound");
}

#[test]
fn prune_and_stats_tell_what_there_is() {
    let ws = Workspace::new(&churn("10GB"));
    ws.forge(&["cache", "stats"])
        .exits(0)
        .says("the cache is empty");
    assert!(!ws.has(".forge"));
    for round in 0..4 {
        ws.write("in", &format!("round {round}"));
        ws.forge(&["big"]).exits(0);
    }
    let stats = ws.forge(&["cache", "stats", "--json"]).exits(0).json();
    assert_eq!(
        (&stats["records"], &stats["targets"]),
        (&4.into(), &1.into())
    );
    assert_eq!(stats["limit"], 10_000_000_000u64);
    assert_eq!(stats["bytes"], ws.stored());
    ws.forge(&["cache", "stats"])
        .exits(0)
        .says("of 10.0 GB in")
        .says("4 results of 1 target");
    ws.forge(&["cache", "prune"])
        .exits(0)
        .says("nothing to remove");

    ws.write("Pipeline.toml", &churn("250kB"));
    let before = ws.stored();
    ws.forge(&["cache", "prune", "-n"])
        .exits(0)
        .says("would remove 2 results");
    assert_eq!(ws.stored(), before);
    let pruned = ws.forge(&["cache", "prune", "--json"]).exits(0).json();
    assert_eq!(pruned["records"], 2);
    assert_eq!(pruned["left"], ws.stored());
    assert!(ws.stored() <= 250_000);
    ws.forge(&["why", "big"]).exits(0);
}

#[test]
fn blobs_of_a_run_that_was_killed_are_counted_and_removed() {
    let ws = Workspace::new(&churn("450kB"));
    ws.write("in", "one");
    ws.forge(&["big"]).exits(0);
    // A process that was killed left a mark, blobs that nobody names, and a file half written.
    for n in 0..5u8 {
        let bytes = vec![n; 100_000];
        let name = blake3::hash(&bytes).to_hex().to_string();
        ws.write(&format!(".forge/blobs/{}/{}", &name[..1], &name[1..]), "");
        let path = ws.path(&format!(".forge/blobs/{}/{}", &name[..1], &name[1..]));
        fs::write(&path, bytes).unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(7200);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    ws.write(".forge/active/4194399", "");
    ws.write("in", "two");
    ws.forge(&["big"]).exits(0);
    assert!(ws.stored() <= 450_000, "{}", ws.stored());
    assert!(!ws.has(".forge/active/4194399"));
    ws.write("in", "one");
    ws.forge(&["big"]).exits(0).says("1 restored");
}

fn blob_of(ws: &Workspace, content: &str) -> PathBuf {
    let name = blake3::hash(content.as_bytes()).to_hex().to_string();
    ws.path(&format!(".forge/blobs/{}/{}", &name[..1], &name[1..]))
}

#[test]
fn verify_finds_damage_and_the_target_runs() {
    let ws = Workspace::new(COPY);
    ws.write("in/a", "one");
    ws.forge(&["copy"]).exits(0);
    ws.forge(&["cache", "verify"]).exits(0).says("all sound");
    let blob = blob_of(&ws, "one");
    fs::write(&blob, "0ne").unwrap();
    ws.forge(&["cache", "verify", "-n"]).exits(1);
    assert!(blob.exists());
    let found = ws.forge(&["cache", "verify", "--json"]).exits(1).json();
    assert_eq!(
        (&found["damaged"], &found["records"]),
        (&1.into(), &1.into())
    );
    assert!(!blob.exists());
    ws.forge(&["cache", "verify"]).exits(0);
    fs::remove_dir_all(ws.path("out")).unwrap();
    ws.forge(&["copy"]).exits(0).says("1 ran");
    fs::remove_file(&blob).unwrap();
    ws.forge(&["cache", "verify"])
        .exits(1)
        .says("1 result lost something");
}

#[test]
fn clear_asks_and_waits_for_nobody() {
    let ws = Workspace::new(&format!("{SLOW}{}", COPY.replace("in/*", "src/*")));
    ws.write("in", "one");
    ws.write("src/a", "one");
    ws.forge(&["copy"]).exits(0);
    ws.forge(&["cache", "clear"]).exits(4).says("--yes");
    assert!(ws.has(".forge/blobs"));
    let slow = ws.start(&["slow"]);
    pid_of(&ws);
    let pid = slow.child.id().to_string();
    ws.forge(&["cache", "clear", "--yes"]).exits(4).says(&pid);
    ws.write("../go", "");
    slow.ends_with(0);
    ws.forge(&["cache", "clear", "-n"])
        .exits(0)
        .says("would remove");
    assert!(ws.has(".forge/blobs"));
    ws.forge(&["cache", "clear", "--yes"])
        .exits(0)
        .says("removed");
    assert!(!ws.has(".forge/blobs") && !ws.has(".forge/records") && !ws.has(".forge/snapshot"));
    assert!(ws.has(".forge/history.jsonl") && ws.has("out/a"));
    ws.forge(&["cache", "clear", "--yes"])
        .exits(0)
        .says("the cache is empty");
    ws.forge(&["copy"]).exits(0).says("1 ran");
}

#[test]
fn clear_leaves_a_directory_that_forge_did_not_make() {
    let ws = Workspace::new("[cache]\ndir = \"data\"\n[target.a]\nrun = \"true\"\n");
    ws.write("data/blobs/mine", "precious");
    ws.forge(&["cache", "clear", "--yes"])
        .exits(0)
        .says("the cache is empty");
    assert_eq!(ws.read("data/blobs/mine"), "precious");
}

// ---- cancel

#[test]
fn cancel_ends_the_run_that_goes_on() {
    let ws = Workspace::new(SLOW);
    ws.write("in", "one");
    ws.forge(&["cancel"]).exits(0).says("nothing runs here");
    for args in [&["slow"][..], &["--no-cache", "slow"], &["watch", "slow"]] {
        let _ = fs::remove_file(ws.path("../pid"));
        let slow = ws.start(args);
        let pid = pid_of(&ws);
        let forge = slow.child.id().to_string();
        ws.forge(&["cancel", "-n"]).exits(0).says(&forge);
        assert!(is_alive(pid));
        ws.forge(&["cancel"])
            .exits(0)
            .says(&format!("ended process {forge}"));
        slow.ends_with(130);
        assert!(!is_alive(pid));
    }
    ws.forge(&["cancel"]).exits(0).says("nothing runs here");
    ws.forge(&["cancel", "prod"]).exits(2).says("prod");
}

#[test]
fn cancel_signals_nobody_whose_mark_is_not_its_own() {
    let ws = Workspace::new(SLOW);
    let mut bystander = ws.command("sleep", &["600"]).spawn().unwrap();
    let name = format!(".forge/active/{}", bystander.id());
    ws.write(&name, "");
    ws.forge(&["cancel"]).exits(0).says("nothing runs here");
    // Somebody holds it, but not the process with that id: one with the same id in another container.
    let held = fs::File::options()
        .write(true)
        .open(ws.path(&name))
        .unwrap();
    held.lock().unwrap();
    ws.forge(&["cancel"]).exits(1).says("can't be ended");
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

// ---- completions

/// What bash offers for a line with the cursor at its end.
fn bash(ws: &Workspace, line: &str) -> Vec<String> {
    let script = r#"
        source <("$FORGE" completions bash)
        COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
        # As bash splits a line, each of its own break characters is a word.
        IFS=$'\n' read -rd '' -a COMP_WORDS < <(grep -oE '[:=]+|[^ :=]+' <<<"$LINE")
        [[ $LINE == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p forge | sed 's/.*-F \([^ ]*\) .*/\1/') "$FORGE" "${COMP_WORDS[COMP_CWORD]}" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = ws
        .command("bash", &["--norc", "-c", script])
        .env("FORGE", FORGE)
        .env("LINE", line)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_options_and_targets() {
    let ws = Workspace::new(
        "[workspace]\nmembers = [\"billing\"]\n[target.lint]\nrun = \"true\"\n[target.list]\nrun = \"true\"\n",
    );
    ws.write("billing/Pipeline.toml", "[project]\nname = \"billing\"\n[target.test]\nrun = \"true\"\n[target.types]\nrun = \"true\"\n");
    assert_eq!(bash(&ws, "forge li"), ["lint", "list", "list"]);
    assert_eq!(
        bash(&ws, "forge why "),
        [
            "billing:test",
            "billing:types",
            "lint",
            "list",
            "test",
            "types"
        ]
    );
    // Only what follows the colon is replaced.
    assert_eq!(bash(&ws, "forge -k billing:"), ["test", "types"]);
    assert_eq!(bash(&ws, "forge billing:te"), ["test"]);
    assert_eq!(bash(&ws, "forge -C billing run :l"), ["lint", "list"]);
    assert_eq!(bash(&ws, "forge --keep"), ["--keep-going"]);
    assert_eq!(bash(&ws, "forge lint --output=s"), ["stream"]);
    assert_eq!(bash(&ws, "forge cache p"), ["prune"]);
    assert_eq!(bash(&ws, "forge -f Pip"), ["Pipeline.toml"]);
    // Errors in the file are for other moments.
    ws.write("Pipeline.toml", "[target");
    assert!(bash(&ws, "forge why ").is_empty());
}

#[test]
fn completion_scripts_are_there_for_each_shell() {
    let ws = Workspace::new("");
    for shell in ["bash", "zsh", "fish"] {
        ws.forge(&["completions", shell])
            .exits(0)
            .says("__complete");
    }
    ws.forge(&["completions", "tcsh"]).exits(2);
    let executable = fs::metadata(Path::new(FORGE)).unwrap().permissions().mode() & 0o111;
    assert_ne!(executable, 0);
}

// ---- check, doctor, status, history: what they answer

#[test]
fn check_answers_programs_with_a_document() {
    let ws = Workspace::new("[target.a]\ninputs = [\"gone/*\"]\nrun = \"true\"\n");
    let sound = ws
        .forge(&["check", "--json"])
        .exits(0)
        .says("matches no file");
    let told = sound.json();
    assert_eq!(
        (&told["ok"], &told["files"], &told["targets"]),
        (&true.into(), &1.into(), &1.into())
    );
    assert_eq!(
        told["problems"],
        serde_json::json!([{
            "severity": "warning", "code": "forge::no-input", "message": "`gone/*` matches no file here",
            "help": "correct it, or take it out; what git ignores is never matched by a glob",
            "places": [{ "file": "Pipeline.toml", "line": 2, "column": 11, "label": "this glob" }],
        }])
    );
    ws.write(
        "Pipeline.toml",
        "[target.a]\ndeps = []\nrun = \"echo ${env.}\"\n",
    );
    let broken = ws
        .forge(&["check", "--json"])
        .exits(2)
        .says("2 errors")
        .json();
    assert_eq!(
        (&broken["ok"], &broken["files"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let codes = broken["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| &problem["code"]);
    assert!(codes.eq(["forge::unknown-key", "forge::unknown-reference"]));
}

#[test]
fn doctor_answers_programs_with_a_document() {
    let ws = Workspace::new("[target.a]\ntools = { no-such-tool = \"*\" }\nrun = \"true\"\n");
    let told = ws.forge(&["doctor", "--json"]).exits(3).json();
    assert_eq!(told["ok"], false);
    let of = |what: &str| {
        let mut findings = told["findings"].as_array().unwrap().iter();
        findings.find(|one| one["what"] == what).unwrap().clone()
    };
    assert_eq!(of("git")["state"], "good");
    assert_eq!(of("AWS")["state"], "unchecked");
    assert_eq!(
        of("no-such-tool"),
        serde_json::json!({
            "state": "bad", "what": "no-such-tool", "text": "no-such-tool isn't installed",
            "help": "install no-such-tool so that it is in PATH",
        })
    );
}

#[test]
fn status_of_nothing_says_so() {
    let ws = Workspace::new("[target.a]\nrun = \"true\"\n");
    let done = ws.forge(&["status"]).exits(0);
    assert_eq!(
        done.out,
        "no environments here: [environment.NAME] declares one\n"
    );
    assert_eq!(ws.forge(&["status", "--json"]).exits(0).out, "[]\n");
}

#[test]
fn of_nothing_there_is_no_list() {
    let ws = Workspace::new("[target.a]\nrun = \"true\"\n");
    for line in [
        &["history", "--limit", "0"][..],
        &["history", "--limit", "x"],
    ] {
        ws.forge(line).exits(2).says("a whole number from 1 on");
    }
    for command in ["stats", "dashboard"] {
        ws.forge(&[command, "--days", "0"])
            .exits(2)
            .says("--days <N>");
    }
    ws.forge(&["history", "--limit", "1"])
        .exits(0)
        .says("no runs yet");
}

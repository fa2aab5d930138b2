//! What becomes of the processes of a run: signals, time-outs, what is left running, terminals, output.

#[path = "support/pty.rs"]
mod pty;
#[path = "support/run.rs"]
mod run;

use std::fs::File;

use pty::Terminal;
use run::{Workspace, alive, wait_until};

/// Starts a daemon in a session of its own that ignores every polite signal, and then works for ever.
const STUBBORN: &str = r#"
[target.work]
inputs = []
outputs = ["out.txt"]
run = '''
echo half > out.txt
if [ -e go ]; then exit 0; fi
( setsid sh -c 'trap "" INT TERM HUP; echo $$ > daemon.pid; while :; do sleep 0.1; done' & )
sh -c 'echo $$ > child.pid; exec sleep 600' &
while [ ! -s daemon.pid ] || [ ! -s child.pid ]; do sleep 0.01; done
echo $$ > main.pid
wait
'''
"#;

fn ends_everything(signal: i32) {
    let workspace = Workspace::new(STUBBORN);
    let forge = workspace.start_forge(&["work", "--json"]);
    let pids = ["main.pid", "daemon.pid", "child.pid"].map(|name| workspace.pid(name));
    assert!(pids.into_iter().all(alive));
    forge.signal(signal);
    let ran = forge.wait();
    ran.code(130);
    assert_eq!(pids.map(alive), [false; 3], "processes are left");
    assert_eq!(ran.outcomes(), ["work cancelled"]);
    let events = ran.events();
    let last = events.last().expect("an event");
    assert_eq!(last["event"], "run-finished");
    assert_eq!(last["ok"], false);
    assert_eq!(last["exit-code"], 130);

    // Nothing was stored: the same key isn't a hit.
    workspace.write("go", "");
    let again = workspace.forge(&["work", "--json"]);
    assert_eq!(again.code(0).outcomes(), ["work ran"]);
}

#[test]
fn ctrl_c_ends_whole_trees_and_stores_nothing() {
    ends_everything(libc::SIGINT);
}

#[test]
fn sigterm_ends_whole_trees_and_stores_nothing() {
    ends_everything(libc::SIGTERM);
}

#[test]
fn sighup_ends_whole_trees_and_stores_nothing() {
    ends_everything(libc::SIGHUP);
}

#[test]
fn a_target_that_ends_well_on_ctrl_c_is_cancelled_all_the_same() {
    let workspace = Workspace::new(
        r#"
[target.work]
inputs = []
outputs = ["out"]
run = '''
echo half > out
if [ -e go ]; then exit 0; fi
trap 'exit 0' INT
echo up > up
while :; do sleep 0.02; done
'''
"#,
    );
    let forge = workspace.start_forge(&["work", "--json"]);
    workspace.wait_for("up");
    forge.signal(libc::SIGINT);
    let ran = forge.wait();
    assert_eq!(ran.code(130).outcomes(), ["work cancelled"]);
    workspace.write("go", "");
    assert_eq!(
        workspace.forge(&["work", "--json"]).outcomes(),
        ["work ran"]
    );
}

#[test]
fn who_ignores_ctrl_c_is_killed_after_a_while() {
    let workspace = Workspace::new(
        "[target.work]\nrun = \"trap '' INT TERM; echo $$ > pid; while :; do sleep 0.05; done\"\n",
    );
    let forge = workspace.start_forge(&["work"]);
    let pid = workspace.pid("pid");
    forge.signal(libc::SIGINT);
    forge.wait().code(130).says("interrupted");
    assert!(!alive(pid));
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let workspace = Workspace::new(
        r#"
[target.work]
run = '''
trap 'trap "" INT; echo asked > asked; sleep 3; echo late > late; exit 1' INT
echo up > up
while :; do sleep 0.02; done
'''
"#,
    );
    let forge = workspace.start_forge(&["work"]);
    workspace.wait_for("up");
    forge.signal(libc::SIGINT);
    workspace.wait_for("asked");
    forge.signal(libc::SIGINT);
    forge.wait().code(130);
    assert!(!workspace.has("late"), "it was left to finish");
}

#[test]
fn what_waits_for_its_turn_when_interrupted_is_skipped() {
    let workspace = Workspace::new(
        r#"
[target.a]
run = "echo up > up; sleep 600"
[target.b]
needs = ["a"]
run = "echo ran > b"
[target.c]
locks = ["x"]
run = "echo ran > c"
"#,
    );
    let forge = workspace.start_forge(&["a", "b", "-j1", "--json"]);
    workspace.wait_for("up");
    forge.signal(libc::SIGTERM);
    let ran = forge.wait();
    assert_eq!(ran.code(130).outcomes(), ["a cancelled", "b skipped"]);
    assert!(!workspace.has("b"));
}

#[test]
fn the_tree_dies_with_a_killed_forge() {
    let workspace = Workspace::new(STUBBORN);
    let forge = workspace.start_forge(&["work"]);
    let pids = ["main.pid", "daemon.pid", "child.pid"].map(|name| workspace.pid(name));
    forge.signal(libc::SIGKILL);
    forge.wait();
    wait_until("the orphans to die", || !pids.into_iter().any(alive));
    workspace.write("go", "");
    let again = workspace.forge(&["work", "--json"]);
    assert_eq!(again.code(0).outcomes(), ["work ran"]);
}

#[test]
fn what_a_successful_target_left_running_is_ended() {
    let workspace = Workspace::new(
        r#"
[target.work]
run = '''
( setsid sh -c 'trap "" TERM; echo $$ > daemon.pid; while :; do sleep 0.1; done' & )
while [ ! -s daemon.pid ]; do sleep 0.01; done
'''
"#,
    );
    let ran = workspace.forge(&["work", "--json"]);
    assert_eq!(ran.code(0).outcomes(), ["work ran"]);
    assert!(!alive(workspace.pid("daemon.pid")));
}

#[test]
fn a_stranger_that_holds_the_pipe_does_not_hold_forge() {
    let workspace = Workspace::new(
        "[target.work]\nrun = \"echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done\"\n",
    );
    let forge = workspace.start_forge(&["work"]);
    let pid = workspace.pid("pid");
    let pipe = File::options()
        .append(true)
        .open(format!("/proc/{pid}/fd/1"))
        .expect("the target's output");
    workspace.write("go", "");
    forge.wait().code(0).says("1 ran");
    drop(pipe);
}

#[test]
fn time_runs_out_for_whole_trees() {
    let workspace =
        Workspace::new(&STUBBORN.replace("inputs = []", "inputs = []\ntimeout = \"1s\""));
    let ran = workspace.forge(&["work", "--json"]);
    ran.code(1);
    let end = ran.end_of("work");
    assert_eq!(end["outcome"], "failed");
    assert_eq!(end["reason"], "timed out after 1.0s");
    for name in ["main.pid", "daemon.pid", "child.pid"] {
        assert!(!alive(workspace.pid(name)), "{name} is left");
    }
    workspace.write("go", "");
    assert_eq!(
        workspace.forge(&["work", "--json"]).outcomes(),
        ["work ran"]
    );
}

#[test]
fn time_runs_out_also_for_who_closed_its_output() {
    let workspace = Workspace::new(
        "[target.work]\ntimeout = \"300ms\"\nrun = \"exec >&- 2>&-; while :; do sleep 0.1; done\"\n",
    );
    workspace.forge(&["work"]).code(1).says("timed out after");
}

#[test]
fn each_attempt_has_its_own_time() {
    let workspace = Workspace::new(
        "[target.work]\ntimeout = \"1s\"\nretries = 1\nrun = \"if [ -e once ]; then exit 0; fi; echo > once; sleep 600\"\n",
    );
    let ran = workspace.forge(&["work", "--json"]);
    let end = ran.code(0).end_of("work");
    assert_eq!(
        (&end["outcome"], &end["attempts"]),
        (&"ran".into(), &2.into())
    );
}

#[test]
fn output_and_errors_keep_their_order() {
    let workspace = Workspace::new(
        "[target.work]\nrun = \"for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; exit 1\"\n",
    );
    let expected: String = (1..=5).map(|i| format!("out {i}\nerr {i}\n")).collect();
    workspace.forge(&["work"]).code(1).says(&expected);
}

/// Runs it, and gives back the most memory that forge itself had, in KiB.
fn peak_of(workspace: &Workspace, args: &[&str]) -> u64 {
    let forge = workspace.start_forge(args);
    workspace.wait_for("done");
    let status = std::fs::read_to_string(format!("/proc/{}/status", forge.pid())).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    workspace.write("go", "");
    forge.wait().code(1);
    peak.expect("a peak")
}

#[test]
fn huge_output_takes_little_memory() {
    for make in ["yes", "tr '\\0' x < /dev/zero"] {
        let workspace = Workspace::new(&format!(
            "[target.work]\nrun = '''{make} | head -c 200000000; echo y > done\nwhile [ ! -e go ]; do sleep 0.02; done\necho the end; exit 1'''\n"
        ));
        let peak = peak_of(&workspace, &["work"]);
        assert!(peak < 150 << 10, "{make}: {peak} KiB");
    }
}

#[test]
fn binary_output_passes_as_it_is() {
    let workspace =
        Workspace::new("[target.work]\nrun = '''printf '\\377\\000\\001\\nlast without end' '''\n");
    let ran = workspace.forge(&["work", "-v"]);
    ran.code(0);
    let wanted = b"\xff\x00\x01\nlast without end\n";
    assert!(
        ran.raw.windows(wanted.len()).any(|window| window == wanted),
        "{:?}",
        ran.stdout
    );
}

#[test]
fn a_target_has_no_terminal_to_ask_on() {
    let workspace = Workspace::new(
        r#"
[target.work]
run = "if read -r answer < /dev/tty; then echo asked > asked; fi; test ! -t 0; read -r line || echo nothing > in"
"#,
    );
    let terminal = Terminal::start(workspace.command(&["work"]), 80, 24);
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!workspace.has("asked") && workspace.has("in"));
}

const ASKING: &str = r#"
[target.ask]
interactive = true
run = '''
test -t 0 && test -t 1 && test -t 2
trap 'echo caught $((n=n+1))' INT
echo ready
while :; do
  if read -r line < /dev/tty; then
    echo "got $line"
    case $line in end) exit 0;; bad) exit 3;; esac
  fi
done
'''
"#;

#[test]
fn an_interactive_target_owns_the_terminal_and_its_ctrl_c() {
    let workspace = Workspace::new(ASKING);
    let mut terminal = Terminal::start(workspace.command(&["ask"]), 80, 24);
    terminal.wait_for("ready");
    terminal.press("hello\n");
    terminal.wait_for("got hello");
    for time in ["caught 1", "caught 2"] {
        terminal.press("\x03");
        terminal.wait_for(time);
    }
    terminal.press("end\n");
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("1 ran"), "{shown}");
}

#[test]
fn an_interactive_target_that_dies_of_ctrl_c_ends_the_run() {
    let workspace = Workspace::new(
        "[target.ask]\ninteractive = true\nrun = \"echo ready; sleep 600\"\n[target.next]\nneeds = [\"ask\"]\nrun = \"echo > next\"\n",
    );
    let mut terminal = Terminal::start(workspace.command(&["next"]), 80, 24);
    terminal.wait_for("ready");
    terminal.press("\x03");
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(130), "{shown}");
    assert!(!workspace.has("next"));
}

#[test]
fn an_interactive_target_ends_with_sigterm_and_when_its_time_is_up() {
    let workspace = Workspace::new(
        "[target.ask]\ninteractive = true\nrun = \"echo $$ > pid; exec sleep 600\"\n\n[target.late]\ninteractive = true\ntimeout = \"300ms\"\nrun = \"exec sleep 600\"\n",
    );
    let forge = workspace.start_forge(&["ask"]);
    let pid = workspace.pid("pid");
    forge.signal(libc::SIGTERM);
    forge.wait().code(130);
    assert!(!alive(pid));
    workspace.forge(&["late"]).code(1).says("timed out");
}

#[test]
fn a_closed_terminal_ends_everything() {
    let workspace = Workspace::new(STUBBORN);
    let mut terminal = Terminal::start(workspace.command(&["work"]), 80, 24);
    let pids = ["main.pid", "daemon.pid", "child.pid"].map(|name| workspace.pid(name));
    terminal.close();
    let (code, _) = terminal.wait();
    assert_eq!(code, Some(130));
    assert_eq!(pids.map(alive), [false; 3], "processes are left");
}

#[test]
fn ctrl_c_on_a_terminal_ends_a_run() {
    let workspace = Workspace::new(STUBBORN);
    let mut terminal = Terminal::start(workspace.command(&["work"]), 80, 24);
    let pids = ["main.pid", "daemon.pid", "child.pid"].map(|name| workspace.pid(name));
    terminal.press("\x03");
    let (code, shown) = terminal.wait();
    assert_eq!(code, Some(130), "{shown}");
    assert_eq!(pids.map(alive), [false; 3], "processes are left");
    assert!(shown.contains("interrupted: 1 cancelled"), "{shown}");
}

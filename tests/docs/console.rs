//! Every command in the pages is given, and prints what the page says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use snapbox::Assert;

use crate::page::{Block, Page, pages, root, update};
use crate::workspace::{Workspace, is_plan};

/// What every command sees of the caller.
const PASSED: &[&str] = &["HOME", "USER", "DOCKER_HOST", "PYENV_ROOT"];

pub fn every_command_prints_what_the_page_says() {
    let pages = pages();
    let wrong: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = pages.iter().map(|page| scope.spawn(|| run(page))).collect();
        let ended = running.into_iter().map(|page| page.join().expect("a page"));
        ended.flatten().collect()
    });
    assert!(
        wrong.is_empty(),
        "{}\n(UPDATE_GOLDENS=1 writes what is printed into the pages)",
        wrong.join("\n")
    );
}

/// A page from its beginning to its end; what isn't as it says.
fn run(page: &Page) -> Vec<String> {
    let mut workspace = None;
    let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    let mut moved = 0;
    for block in page.blocks() {
        enter(&block, &mut workspace);
        if block.language() != "console" {
            continue;
        }
        let workspace = workspace
            .as_mut()
            .unwrap_or_else(|| panic!("{}:{}: no workspace", page.name, block.line));
        workspace.prepare(&block);
        let printed = play(&block, workspace);
        if let Err(difference) = same(&printed, &block.text) {
            wrong.push(format!("{}:{}\n{difference}", page.name, block.line + 1));
            let at = block.line.saturating_add_signed(moved);
            let old = block.text.lines().count();
            let new: Vec<String> = printed.lines().map(str::to_owned).collect();
            moved += new.len() as isize - old as isize;
            lines.splice(at..at + old, new);
        }
    }
    if update() && !wrong.is_empty() {
        page.write(&(lines.join("\n") + "\n"));
        wrong.clear();
    }
    wrong
}

/// Makes the workspace that a block asks for.
fn enter(block: &Block, workspace: &mut Option<Workspace>) {
    if let Some(dir) = block.value("member") {
        let dir = workspace.as_ref().expect("a root file").dir().join(dir);
        fs::create_dir_all(&dir).expect("a member's directory");
        fs::write(dir.join("Pipeline.toml"), &block.text).expect("a member's file");
    } else if let Some(fixture) = block.value("fixture") {
        let fresh = Workspace::of(block);
        copy(&root().join("fixtures").join(fixture), &fresh.dir());
        *workspace = Some(fresh);
    } else if block.language() == "toml" {
        let fresh = Workspace::of(block);
        let text = fresh.own(&block.text);
        fs::write(fresh.dir().join("Pipeline.toml"), text).expect("a pipeline file");
        *workspace = Some(fresh);
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("git")
        .args(["-C"])
        .arg(from)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .expect("git");
    for name in String::from_utf8_lossy(&done.stdout).split_terminator('\0') {
        let target = to.join(name);
        fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        fs::copy(from.join(name), target).expect("a copy");
    }
}

/// The block as it would be printed now.
fn play(block: &Block, workspace: &mut Workspace) -> String {
    let mut out = String::new();
    for command in commands(&block.text) {
        let command = workspace.asked(&command);
        let mut lines = command.lines();
        out += &format!("$ {}\n", lines.next().unwrap_or_default());
        lines.for_each(|line| out += &format!("> {line}\n"));
        out += &give(&command, workspace);
    }
    out
}

/// Lines that begin with `$ `, and those after them that begin with `> `.
fn commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
            open = true;
        } else if let (true, Some(more), Some(last)) =
            (open, line.strip_prefix("> "), commands.last_mut())
        {
            *last += &format!("\n{more}");
        } else {
            open = false;
        }
    }
    commands
}

fn give(command: &str, workspace: &mut Workspace) -> String {
    let forge = Path::new(env!("CARGO_BIN_EXE_forge"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", forge.parent().expect("a parent").display());
    let passed = PASSED
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{}", workspace.own(command))])
        .current_dir(workspace.dir())
        .env_clear()
        .envs(passed)
        .envs(workspace.env())
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "you")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "you@example.com")))
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let mut text = workspace
        .shown(&String::from_utf8_lossy(&output.stdout))
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect::<String>();
    match output.status.code() {
        Some(0) => {}
        Some(code) => text += &format!("[exit code {code}]\n"),
        None => text += "[killed]\n",
    }
    text
}

fn same(printed: &str, expected: &str) -> Result<(), String> {
    let (printed, expected) = (plain(printed), plain(expected));
    let assert = Assert::new().normalize_paths(false);
    let result = assert.try_eq(Some(&"printed now"), printed.into(), expected.into());
    result.map_err(|error| error.to_string())
}

/// What ECS does by itself comes between forge's own lines whenever it is seen.
const OF_ECS: [&str; 6] = [
    " pending",
    "(task ",
    "(deployment ",
    "steady state",
    "consistently start",
    "rolling back to deployment",
];

/// A text in which what differs from run to run doesn't: times, keys, commits, ports, ids, and the blanks of
/// columns that they widen. What ECS does is left out.
fn plain(text: &str) -> String {
    let of_ecs = |line: &str| line.contains("app: ") && OF_ECS.iter().any(|it| line.contains(it));
    let lines = text.lines().filter(|line| !of_ecs(line)).map(|line| {
        let indent = line.len() - line.trim_start().len();
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        for at in 1..words.len() {
            if words[at].starts_with("ago") {
                words[at - 1] = "#".into();
            }
        }
        // Said only where it is worth saying.
        let words = words.join(" ").replace(" · saved #", "");
        let words = words.replace(" (1 draining)", "");
        let words = match words.split_once("· plan ") {
            Some((before, after)) if is_plan(after) => format!("{before}· plan #"),
            _ => words,
        };
        format!("{}{words}\n", &line[..indent])
    });
    lines.collect()
}

/// Words are cut again at punctuation: `"duration-ms":12,`.
fn word(word: &str) -> String {
    let mut out = String::new();
    for piece in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
    {
        let end = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let port = out.ends_with("127.0.0.1:") && is_number(end);
        let json = out.ends_with("-ms\":") && is_number(end);
        let deployment = out.ends_with("ecs-svc/") && is_number(end);
        let before = ["approve=", "plan\":\""];
        let plan = before.iter().any(|before| out.ends_with(before)) && is_plan(end);
        if is_time(end) || port || json || deployment || plan {
            out += "#";
        } else if is_hash(end) {
            out += "#hash";
        } else if is_moment(end) {
            out += "#moment";
        } else {
            out += end;
        }
        out += &piece[end.len()..];
    }
    out
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn is_time(text: &str) -> bool {
    let number = text.strip_suffix("ms").or(text.strip_suffix('s'));
    number.is_some_and(is_number)
}

/// A key or a commit, whole or short.
fn is_hash(text: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    // GitHub's guard has a word of its own before it.
    let text = text.strip_prefix("forge-").unwrap_or(text);
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    matches!(text.len(), 7 | 10 | 12 | 16 | 32 | 40 | 64) && digit && text.bytes().all(hex)
}

/// `2026-11-23T07`: the rest of a time stamp follows after its colons.
fn is_moment(text: &str) -> bool {
    text.len() == 13 && text.as_bytes()[10] == b'T' && text.starts_with("20")
}

#[test]
fn only_what_differs_from_run_to_run_may_differ() {
    let same_ = |a: &str, b: &str| same(a, b).is_ok();
    assert!(same_("✓ a · ran in 0.02s\n", "✓ a · ran in 12.5s\n"));
    assert!(same_("on 127.0.0.1:4000\n", "on 127.0.0.1:39999\n"));
    assert!(same_(
        "0s ago  ✓  0.28s  2 ran\n",
        "12s ago  ✓  10.28s  2 ran\n"
    ));
    assert!(same_("1h ago  app\n", "25m ago app\n"));
    assert!(same_("a · plan 01234567\n", "a · plan 76543210\n"));
    assert!(same_(
        "x │ app: 1 of 2 running, 1 pending\nx │ app: done\n",
        "x │ app: done\n"
    ));
    assert!(!same_("x │ app: done\n", "x │ app: failed\n"));
    assert!(same_(
        "{\"duration-ms\":12,\"a\":1}\n",
        "{\"duration-ms\":7,\"a\":1}\n"
    ));
    assert!(same_("anything at all\n", "any[..] all\n"));
    assert!(!same_("✓ a · ran in 0.02s\n", "✓ a · fresh in 0.02s\n"));
    assert!(!same_("2 ran\n", "3 ran\n"));
    assert!(!same_("{\"a\":2}\n", "{\"a\":1}\n"));
    assert!(!same_("one\n", "one\ntwo\n"));
}

//! `forge audit` and `sandbox = true`: what real programs do with files they don't declare is seen, told, fixed and refused.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use support::{Bed, Ran, wait_until};

/// The findings about one target.
struct Answer {
    ran: Ran,
    value: Value,
}

impl Answer {
    #[track_caller]
    fn of(bed: &Bed, target: &str) -> Self {
        let ran = bed.forge(&["audit", target]);
        assert_eq!(ran.events.len(), 1, "one document: {ran:?}");
        let targets = ran.events[0]["targets"].as_array().expect("a list");
        let of_target = targets.iter().find(|value| value["target"] == target);
        let value = of_target
            .unwrap_or_else(|| panic!("no {target}: {ran:?}"))
            .clone();
        assert_eq!(value["unseen"], Value::Array(vec![]), "{ran:?}");
        Self { ran, value }
    }

    /// `how path`, sorted by path.
    fn list(&self, key: &str) -> Vec<String> {
        let all = self.value[key]
            .as_array()
            .unwrap_or_else(|| panic!("no {key}: {:?}", self.ran));
        let one = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => format!(
                "{} {}",
                value["how"].as_str().expect("how"),
                value["path"].as_str().expect("path")
            ),
        };
        all.iter().map(one).collect()
    }

    #[track_caller]
    fn reads(&self, expected: &[&str]) {
        assert_eq!(self.list("reads"), expected, "{:?}", self.ran);
    }

    #[track_caller]
    fn writes(&self, expected: &[&str]) {
        assert_eq!(self.list("writes"), expected, "{:?}", self.ran);
    }

    #[track_caller]
    fn is_clean(&self) {
        self.reads(&[]);
        self.writes(&[]);
        assert_eq!(self.ran.code, 0, "{:?}", self.ran);
    }
}

/// A workspace with one target and these files, each with its name in it.
fn one(target: &str, files: &[&str]) -> Bed {
    let bed = Bed::new(&format!("[target.t]\n{target}\n"));
    for file in files {
        bed.write(file, format!("{file}\n"));
    }
    bed
}

/// Compiles a C program into the workspace's surroundings.
#[track_caller]
fn compiled(bed: &Bed, name: &str, source: &str, flags: &[&str]) -> String {
    let file = bed.base().join(format!("{name}.c"));
    fs::write(&file, source).expect("written");
    let program = bed.base().join(name);
    let mut cc = Command::new("cc");
    cc.arg("-o").arg(&program).arg(&file).args(flags);
    assert!(cc.status().expect("cc starts").success());
    program.to_str().expect("UTF-8").to_owned()
}

// What is seen.

#[test]
fn what_is_declared_is_clean_and_what_is_not_is_named() {
    let bed = one(
        "inputs = [\"a.txt\", \"*.md\"]\noutputs = [\"out\"]\nrun = \"cat a.txt b.txt > out; echo x > log; rm old\"",
        &["a.txt", "b.txt", "old", "x.md"],
    );
    let answer = Answer::of(&bed, "t");
    answer.reads(&["read b.txt"]);
    answer.writes(&["wrote log", "removed old"]);
    assert_eq!(answer.list("never-read"), ["*.md"]);
    assert_eq!(answer.ran.code, 1);
    bed.write(
        "Pipeline.toml",
        "[target.t]\ninputs = [\"*.txt\"]\noutputs = [\"out\"]\nrun = \"cat a.txt b.txt > out\"",
    );
    Answer::of(&bed, "t").is_clean();
}

#[test]
fn nothing_is_looked_up_and_nothing_stored() {
    let bed = one(
        "inputs = []\noutputs = [\"out\"]\nrun = \"echo t >> ../ran; echo 1 > out\"",
        &[],
    );
    Answer::of(&bed, "t").is_clean();
    assert_eq!(bed.ran(), ["t"]);
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    Answer::of(&bed, "t").is_clean();
    assert_eq!(bed.ran(), ["t"], "looked up");
}

#[test]
fn shells_links_directories_and_looks() {
    let bed = one(
        "inputs = []\nrun = \"cd sub; . ./lib.sh; cat ../now/a > /dev/null; test -e ../flag; test -e ../none || ls .. > /dev/null; [ -L ../link ]\"",
        &["sub/lib.sh", "v1/a", "flag", "Readme"],
    );
    bed.write("sub/lib.sh", "cat ./beside > /dev/null\n");
    bed.write("sub/beside", "x");
    bed.link("v1", "now");
    bed.link("nowhere", "link");
    let answer = Answer::of(&bed, "t");
    answer.reads(&[
        "looked flag",
        "looked link",
        "read now",
        "read sub/beside",
        "read sub/lib.sh",
        "read v1/a",
    ]);
    assert_eq!(answer.list("listed"), [""]);
}

#[test]
fn a_link_behind_a_link_is_declared_with_what_it_leads_to() {
    let bed = one(
        "inputs = [\"src/*\"]\nrun = \"cat src/vendor/x > /dev/null\"",
        &["src/own", "real/own", "a/x"],
    );
    bed.link("../real", "src/vendor");
    bed.link("../a/x", "real/x");
    Answer::of(&bed, "t").reads(&[]);
}

#[test]
fn an_audit_tells_what_is_made_on_the_way_from_what_was_there() {
    let bed = one(
        "inputs = []\noutputs = [\"out\"]\nrun = \"mkdir -p tmp/x; echo 1 > tmp/x/a; cat tmp/x/a > part; mv part out; mv tmp tmp2; cat tmp2/x/a; rm -r tmp2; echo more >> notes\"",
        &["notes"],
    );
    let answer = Answer::of(&bed, "t");
    answer.reads(&["read notes"]);
    answer.writes(&["edited notes"]);
}

#[test]
fn python_imports_are_reads_and_its_byte_code_nobodys_business() {
    let bed = one("inputs = [\"main.py\"]\nrun = \"python3 main.py\"", &[]);
    bed.write("main.py", "import app.inner, other\n");
    bed.write("app/__init__.py", "");
    bed.write("app/inner.py", "import json\nopen('data.json').read()\n");
    bed.write("other.py", "");
    bed.write("data.json", "{}");
    let expected = [
        "read app/__init__.py",
        "read app/inner.py",
        "read data.json",
        "read other.py",
    ];
    for _ in 0..2 {
        let answer = Answer::of(&bed, "t");
        answer.reads(&expected);
        answer.writes(&[]);
        // The second time it reads byte code alone.
        assert!(bed.exists("__pycache__"));
    }
}

#[test]
fn a_static_program_is_followed_like_any_other() {
    let bed = one(
        "inputs = []\nrun = \"busybox sh -c 'busybox cat a; busybox cp b c'\"",
        &["a", "b"],
    );
    let answer = Answer::of(&bed, "t");
    answer.reads(&["read a", "read b"]);
    answer.writes(&["wrote c"]);
}

const CALLS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int ok, const char *what) { if (!ok) { perror(what); exit(1); } }

static void *in_thread(void *directory) {
    int fd = openat((int)(long)directory, "thread", O_RDONLY);
    need(fd >= 0, "thread");
    close(fd);
    return NULL;
}

int main(void) {
    int sub = open("sub", O_DIRECTORY | O_RDONLY);
    need(sub >= 0, "sub");
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, in_thread, (void *)(long)sub);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);

    struct open_how how; memset(&how, 0, sizeof how);
    how.flags = O_RDONLY;
    need(syscall(SYS_openat2, sub, "how", &how, sizeof how) >= 0, "openat2");
    how.resolve = RESOLVE_IN_ROOT;
    need(syscall(SYS_openat2, sub, "/rooted", &how, sizeof how) >= 0, "openat2 in root");

    int fd = open("mapped", O_RDONLY);
    char *text = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    need(text != MAP_FAILED && text[0] == 'm', "mmap");

    if (vfork() == 0) { execl("./script", "script", (char *)NULL); _exit(1); }
    int status; wait(&status);
    need(status == 0, "script");

    need(fchdir(sub) == 0, "fchdir");
    need(access("../looked", R_OK) == 0, "access");
    need(truncate("cut", 0) == 0, "truncate");
    need(link("linked", "linked2") == 0, "link");
    need(renameat(sub, "moved", AT_FDCWD, "../moved2") == 0, "rename");
    need(symlink("anything", "sym") == 0, "symlink");
    need(unlinkat(sub, "gone", 0) == 0, "unlink");
    return 0;
}
"#;

#[test]
fn every_way_to_a_file_is_seen() {
    let files = [
        "sub/thread",
        "sub/how",
        "sub/rooted",
        "mapped",
        "script",
        "interpreter",
        "looked",
        "sub/cut",
        "sub/linked",
        "sub/moved",
        "sub/gone",
    ];
    for flags in [&["-pthread"][..], &["-pthread", "-static"]] {
        let bed = one(
            "inputs = []\ninherit-env = [\"CALLS\"]\nrun = \"$CALLS\"",
            &files,
        );
        bed.write("script", "#!./interpreter\n");
        bed.write("interpreter", "#!/bin/sh\nexit 0\n");
        bed.chmod("script", 0o755);
        bed.chmod("interpreter", 0o755);
        let mut bed = bed;
        let program = compiled(&bed, "calls", CALLS, flags);
        bed.set("CALLS", &program);
        let answer = Answer::of(&bed, "t");
        assert_eq!(answer.value["outcome"], "ran", "{:?}", answer.ran);
        answer.reads(&[
            "read interpreter",
            "looked looked",
            "read mapped",
            "read script",
            "read sub/cut",
            "read sub/how",
            "read sub/linked",
            "read sub/moved",
            "read sub/rooted",
            "read sub/thread",
        ]);
        answer.writes(&[
            "wrote moved2",
            "edited sub/cut",
            "removed sub/gone",
            "wrote sub/linked2",
            "removed sub/moved",
            "wrote sub/sym",
        ]);
    }
}

/// A ptrace-based tracer couldn't be under another one.
#[test]
fn a_debugger_still_works_under_an_audit() {
    let bed = one("inputs = []\nrun = \"strace -f -o ../trace cat a\"", &["a"]);
    Answer::of(&bed, "t").reads(&["read a"]);
    let trace = fs::read_to_string(bed.base().join("trace")).expect("strace wrote it");
    assert!(trace.contains("exited with 0"), "{trace}");
}

#[test]
fn children_of_children_are_followed_and_those_that_outlive_hold_nothing_up() {
    let bed = one(
        "inputs = []\nrun = \"\"\"
setsid sh -c 'cat deep > /dev/null; echo x > ../seen; trap \"\" TERM; while :; do sleep 1; done' &
while ! test -e ../seen; do sleep 0.01; done
\"\"\"",
        &["deep"],
    );
    Answer::of(&bed, "t").reads(&["read deep"]);
}

#[test]
fn a_thousand_processes_at_once() {
    let bed = one("inputs = [\"Makefile\"]\nrun = \"make -s -j8\"", &[]);
    let names: Vec<String> = (0..1000).map(|n| format!("in/{n}.txt")).collect();
    for name in &names {
        bed.write(name, "x");
    }
    let rules: String = (0..1000)
        .map(|n| format!("t{n}:\n\t@cat in/{n}.txt > /dev/null\n"))
        .collect();
    let all: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
    bed.write("Makefile", format!("all: {}\n{rules}", all.join(" ")));
    let answer = Answer::of(&bed, "t");
    assert_eq!(answer.value["outcome"], "ran", "{:?}", answer.ran);
    let mut expected: Vec<String> = names.iter().map(|name| format!("read {name}")).collect();
    expected.sort();
    assert_eq!(answer.list("reads"), expected);
    let diff = answer.ran.events[0]["edits"][0]["diff"]
        .as_str()
        .expect("a diff");
    assert!(
        diff.contains("+inputs = [\"Makefile\", \"in/*.txt\"]\n"),
        "{diff}"
    );
}

#[test]
fn a_failing_target_is_told_as_far_as_it_came() {
    let bed = one(
        "inputs = []\nrun = [\"cat a; exit 7\", \"cat b\"]",
        &["a", "b"],
    );
    let answer = Answer::of(&bed, "t");
    answer.reads(&["read a"]);
    assert_eq!(
        (answer.ran.code, &answer.value["outcome"]),
        (1, &"failed".into())
    );
    let shown = bed.plain(&["audit", "t"]);
    assert!(
        shown.stdout.contains("as far as it came") && shown.stdout.contains("exit code 7"),
        "{shown:?}"
    );
    // Clean, and still a failure.
    bed.write("Pipeline.toml", "[target.t]\ninputs = []\nrun = \"exit 7\"");
    let clean = Answer::of(&bed, "t");
    clean.reads(&[]);
    assert_eq!(clean.ran.code, 1);
}

#[test]
fn the_machines_own_files_are_only_summed_up() {
    let bed = one("inputs = []\nrun = \"cat /etc/passwd > /dev/null\"", &[]);
    let shown = bed.plain(&["audit", "t"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stdout.contains("/etc (") && !shown.stdout.contains("/etc/passwd"),
        "{shown:?}"
    );
    let listed = bed.plain(&["audit", "t", "-v"]);
    assert!(listed.stdout.contains("/etc/passwd"), "{listed:?}");
}

#[test]
fn only_commands_can_be_audited() {
    let bed = Bed::new(
        "[target.a]\ninputs = []\nrun = \"cat f\"\n[target.g]\nneeds = [\"a\"]\n[target.e]\nneeds = []\n",
    );
    bed.write("f", "");
    let group = bed.forge(&["audit", "g"]);
    assert_eq!(
        (group.code, &group.events[0]["targets"][0]["target"]),
        (1, &"a".into()),
        "{group:?}"
    );
    assert_eq!(bed.plain(&["audit", "e"]).code, 2);
    assert_eq!(bed.plain(&["audit", "nothing"]).code, 2);
}

// What others make.

#[test]
fn needed_outputs_are_declared_and_those_of_others_are_a_missing_need() {
    let bed = Bed::new(
        "[target.far]\ninputs = []\noutputs = [\"far\"]\nrun = \"echo 1 > far\"\n\
         [target.gen]\nneeds = [\"far\"]\ninputs = []\noutputs = [\"gen\"]\nrun = \"mkdir gen; cp far gen/a\"\n\
         [target.other]\ninputs = []\noutputs = [\"*.o\"]\nrun = \"echo 1 > x.o\"\n\
         [target.t]\nneeds = [\"gen\"]\ninputs = []\nrun = \"cat gen/a far x.o\"\n",
    );
    assert_eq!(bed.forge(&["other"]).code, 0);
    let answer = Answer::of(&bed, "t");
    answer.reads(&["read far", "read x.o"]);
    let fixed = bed.plain(&["audit", "t", "--fix"]);
    assert_eq!(fixed.code, 1, "{fixed:?}");
    assert!(
        bed.read("Pipeline.toml")
            .contains("needs = [\"gen\", \"far\", \"other\"]")
    );
    Answer::of(&bed, "t").is_clean();
}

#[test]
fn git_is_told_apart_and_ignored_files_are_named_one_by_one() {
    let bed = one("run = \"git rev-parse HEAD; cat local.env big/*\"", &[]);
    bed.write(".gitignore", "*.env\nbig\n");
    bed.commit();
    bed.write("local.env", "x");
    for name in ["a", "b", "c", "d"] {
        bed.write(format!("big/{name}"), "");
    }
    let answer = Answer::of(&bed, "t");
    let reads = answer.list("reads");
    assert!(reads.contains(&"read .git/HEAD".to_owned()), "{reads:?}");
    let fixed = bed.forge(&["audit", "t", "--fix"]);
    let text = bed.read("Pipeline.toml");
    assert!(
        text.contains("inputs = [\"**\", \"local.env\", \"big\"]"),
        "{text} {fixed:?}"
    );
    let left = Answer::of(&bed, "t").list("reads");
    assert!(left.iter().all(|read| read.contains(".git/")), "{left:?}");
}

// The edit.

#[test]
fn a_fix_keeps_comments_and_layout_and_leaves_nothing_to_say() {
    let before = "# top\n[target.t] # the target\n# inputs\ninputs = [\n    \"a.txt\", # first\n    # the code\n    \"src/main.c\",\n]\n\n# how\nrun = \"cat a.txt b.txt src/*.c src/*/*.h > out\"   # all of it\n\n[target.u]\nrun = \"true\"\n";
    let bed = Bed::new(before);
    for file in [
        "a.txt",
        "b.txt",
        "src/main.c",
        "src/x/1.h",
        "src/x/2.h",
        "src/y/3.h",
        "src/y/4.h",
    ] {
        bed.write(file, file);
    }
    let shown = bed.plain(&["audit", "t"]);
    assert_eq!(
        bed.read("Pipeline.toml"),
        before,
        "without --fix nothing is written"
    );
    assert!(
        shown
            .stdout
            .contains("+    \"b.txt\",\n+    \"src/**/*.h\",\n"),
        "{shown:?}"
    );
    let fixed = bed.plain(&["audit", "t", "--fix"]);
    assert_eq!(fixed.code, 1, "{fixed:?}");
    let after = before
        .replace(
            "    \"src/main.c\",\n",
            "    \"src/main.c\",\n    \"b.txt\",\n    \"src/**/*.h\",\n",
        )
        .replace("# all of it\n", "# all of it\noutputs = [\"out\"]\n");
    assert_eq!(bed.read("Pipeline.toml"), after);
    Answer::of(&bed, "t").is_clean();
    assert_eq!(bed.plain(&["audit", "t", "--fix"]).code, 0);
    assert_eq!(
        bed.read("Pipeline.toml"),
        after,
        "a clean audit edits nothing"
    );
}

#[test]
fn the_diff_is_what_fix_writes() {
    let bed = one("inputs = []\nrun = \"cat a\"", &["a"]);
    let shown = bed.plain(&["audit", "t", "--color", "never"]).stdout;
    let from = shown.find("--- Pipeline.toml").expect("a diff");
    let to = shown.find("\n`--fix`").expect("an end");
    fs::write(bed.base().join("diff"), &shown[from..to]).expect("written");
    let mut patch = bed.command("patch");
    assert!(
        patch
            .args(["-s", "-p0", "-i", "../diff"])
            .status()
            .expect("patch starts")
            .success()
    );
    Answer::of(&bed, "t").is_clean();
}

#[test]
fn members_and_templates_are_edited_where_the_list_is_written() {
    let root = "[workspace]\nmembers = [\"libs/*\"]\n[template.lib.target.test]\ninputs = [\"*.py\"] # of all\nrun = \"cat *.py data.txt; cat /dev/null ../../shared.txt\"\n[template.lib.target.lint]\ninputs = []\nrun = \"cat lint.cfg\"\n";
    let bed = Bed::new(root);
    bed.write("shared.txt", "");
    let own = "[project]\nname = \"two\"\ntemplate = \"lib\"\n\n[target.lint] # its own\ninputs = [] # list\n";
    bed.write(
        "libs/one/Pipeline.toml",
        "[project]\nname = \"one\"\ntemplate = \"lib\"\n",
    );
    bed.write("libs/two/Pipeline.toml", own);
    for lib in ["one", "two"] {
        for file in ["a.py", "data.txt", "lint.cfg"] {
            bed.write(format!("libs/{lib}/{file}"), "");
        }
    }
    let fixed = bed.plain(&["audit", "one:test", "two:lint", "--fix"]);
    assert_eq!(fixed.code, 1, "{fixed:?}");
    let expected = root.replace(
        "[\"*.py\"] # of all",
        "[\"*.py\", \"data.txt\", \"/shared.txt\"] # of all",
    );
    assert_eq!(bed.read("Pipeline.toml"), expected);
    assert_eq!(
        bed.read("libs/two/Pipeline.toml"),
        own.replace("[] # list", "[\"lint.cfg\"] # list")
    );
    for target in ["one:test", "two:test", "two:lint"] {
        Answer::of(&bed, target).is_clean();
    }
    Answer::of(&bed, "one:lint").reads(&["read libs/one/lint.cfg"]);
}

#[test]
fn an_edited_file_never_becomes_an_output() {
    let bed = one(
        "inputs = [\"a\"]\nrun = \"sed -i s/a/b/ a; echo x >> b\"",
        &["a", "b"],
    );
    let answer = Answer::of(&bed, "t");
    answer.writes(&["edited a", "edited b"]);
    let edits = &answer.ran.events[0]["edits"];
    assert_eq!(edits.as_array().map(Vec::len), Some(0), "{edits}");
}

// The sandbox.

/// A sandboxed target that reads `declared`, and does this.
fn sandboxed(run: &str) -> Bed {
    let bed = Bed::new(&format!(
        "[target.gen]\ninputs = []\noutputs = [\"made\", \"one.o\"]\nrun = \"mkdir made; echo made > made/a; echo o > one.o\"\n\
         [target.t]\nneeds = [\"gen\"]\nsandbox = true\ninputs = [\"declared\", \"lib/*.py\"]\noutputs = [\"build/out\", \"top\"]\nrun = '''\n{run}\n'''\n"
    ));
    for file in ["declared", "secret", "sub/secret", "lib/m.py"] {
        bed.write(file, format!("{file}\n"));
    }
    bed.write("lib/m.py", "x = 1\n");
    bed
}

const OUTPUTS: &str = "mkdir -p build; echo 1 > build/out; echo 1 > top";

#[track_caller]
fn refused(run: &str, named: &str) -> Bed {
    let bed = sandboxed(&format!("{run}\n{OUTPUTS}"));
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (1, "failed"), "{done:?}");
    assert!(done.reason("t").contains(named), "{named}: {done:?}");
    bed
}

#[test]
fn a_sandbox_lets_through_what_is_declared() {
    let bed = sandboxed(
        "cat declared made/a one.o > /dev/null
PYTHONPATH=lib python3 -c 'import m; assert m.x == 1'
ls > /dev/null; test -e secret; cat nothing || true
mkdir -p build/tmp; echo 1 > build/tmp/a; cat build/tmp/a > build/part; mv build/part build/out
t=$(mktemp); echo 2 > $t; cat $t > top.part; mv top.part top; cat top; rm $t; rm -r build/tmp
cat /etc/passwd > /dev/null",
    );
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (0, "ran"), "{done:?}");
    done.not_warned();
    assert_eq!(bed.read("top"), "2\n");
    assert_eq!(bed.outcome("t"), "fresh");
    assert!(!bed.exists("lib/__pycache__"), "nothing beside the outputs");
}

#[test]
fn an_undeclared_read_fails_and_is_named() {
    refused("cat secret", "read secret");
    refused("cat lib/../sub/secret", "read sub/secret");
    refused("busybox cat secret", "read secret");
    refused("ln -s secret top; cat top", "read secret");
    refused("python3 -c 'open(\"secret\")'", "read secret");
    refused("mv secret top", "read secret");
    refused("ln secret top", "read secret");
    refused(
        "cp declared top; chmod +x top; sh -c 'cat .git/x Pipeline.toml'",
        "read Pipeline.toml",
    );
    refused(
        "cat .forge/CACHEDIR.TAG .forge/.gitignore",
        "read .forge/.gitignore",
    );
}

#[test]
fn a_refusal_is_permission_denied_and_no_more() {
    let bed = sandboxed(&format!(
        "cat secret 2> message || true; cat message > /dev/null\n{OUTPUTS}"
    ));
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (0, "ran"), "{done:?}");
    done.warned("read secret");
    assert!(bed.read("message").contains("Permission denied"));
}

#[test]
fn writes_beside_the_outputs_are_refused() {
    let bed = refused("echo x >> declared", "write declared");
    assert_eq!(bed.read("declared"), "declared\n");
    let bed = refused("echo x > sub/new", "write sub/new");
    assert!(!bed.exists("sub/new"));
    let bed = refused("rm secret", "write secret");
    assert!(bed.exists("secret"));
    let bed = refused("echo x > secret", "write secret");
    assert_eq!(bed.read("secret"), "secret\n");
    let bed = refused("echo x > ../beside", "beside");
    assert!(!bed.base().join("beside").exists());
    let bed = refused("echo x > $HOME/mine", "mine");
    assert!(!bed.base().join("home/mine").exists());
    refused("echo x > made/b", "write made/b");
}

#[test]
fn a_program_that_asks_the_kernel_in_its_own_way_is_refused_as_well() {
    let source = CALLS
        .replace("\"sub\", O_DIRECTORY", "\"..\", O_DIRECTORY")
        .replace("\"thread\"", "\"work/secret\"");
    for flags in [&["-pthread"][..], &["-pthread", "-static"]] {
        let bed = sandboxed("../calls");
        compiled(&bed, "calls", &source, flags);
        let done = bed.forge(&["t"]);
        assert!(done.reason("t").contains("read secret"), "{done:?}");
    }
}

/// Landlock's part: the fence stands without the doorkeeper.
#[test]
fn the_fence_alone_keeps_the_workspace_hidden() {
    use forge::exec::sandbox::{Fence, Grounds};
    use std::os::unix::process::CommandExt;

    let bed = sandboxed("");
    let fence = Fence::new(&Grounds {
        hidden: bed.root.clone(),
        reads: vec![bed.path("declared")],
        writes: vec![bed.path("lib")],
    })
    .expect("a kernel with Landlock");
    let fence = Arc::new(fence);
    let cat = |path: &Path, script: &str| {
        let mut command = bed.command("sh");
        command.args(["-c", script, "sh"]).arg(path);
        let fence = Arc::clone(&fence);
        // SAFETY: system calls alone.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                fence.enter()
            });
        }
        command.output().expect("sh starts").status.success()
    };
    for (path, script, allowed) in [
        ("declared", "cat \"$1\"", true),
        ("secret", "cat \"$1\"", false),
        ("lib/m.py", "cat \"$1\"", true),
        ("lib/new", "echo 1 > \"$1\" && cat \"$1\"", true),
        ("declared", "echo 1 > \"$1\"", false),
        ("sub/new", "echo 1 > \"$1\"", false),
        ("../beside", "echo 1 > \"$1\"", false),
        ("", "ls \"$1\"", true),
    ] {
        assert_eq!(cat(&bed.path(path), script), allowed, "{script} of {path}");
    }
}

#[test]
fn a_sandbox_is_part_of_the_key() {
    let file =
        |sandbox: &str| format!("[target.t]\n{sandbox}\ninputs = [\"a\"]\nrun = \"cat a\"\n");
    let bed = Bed::new(&file(""));
    bed.write("a", "");
    let before = bed.forge(&["t"]).key("t");
    bed.write("Pipeline.toml", file("sandbox = false"));
    let without = bed.forge(&["t"]);
    assert_eq!(
        (&*without.outcome("t"), without.key("t")),
        ("fresh", before.clone())
    );
    bed.write("Pipeline.toml", file("sandbox = true"));
    let with = bed.forge(&["t"]);
    assert_eq!(with.outcome("t"), "ran", "{with:?}");
    assert!(
        with.reason("t").contains("sandbox") && with.key("t") != before,
        "{with:?}"
    );
}

/// Its files aren't the target's.
#[test]
fn services_are_up_and_not_watched() {
    let bed = Bed::new(
        "[service.s]\nrun = \"cat own.cfg; echo up; exec sleep 60\"\nports = [1]\nready = { log = \"up\" }\n\
         [target.t]\nservices = [\"s\"]\ninputs = []\nrun = \"test -n ${service.s.port}; cat a\"\n",
    );
    bed.write("own.cfg", "");
    bed.write("a", "");
    let answer = Answer::of(&bed, "t");
    assert_eq!(answer.value["outcome"], "ran", "{:?}", answer.ran);
    answer.reads(&["read a"]);
}

#[test]
fn interrupting_a_watched_target_ends_it() {
    for target in ["inputs = []", "inputs = []\nsandbox = true"] {
        let bed = one(
            &format!("{target}\nrun = \"while :; do cat /etc/passwd > $TMPDIR/up; done\""),
            &[],
        );
        let audit = !target.contains("sandbox");
        let args: &[&str] = if audit { &["audit", "t"] } else { &["t"] };
        let running = bed.start(args);
        let up = bed.base().join("tmp/up");
        wait_until("the target to run", || up.exists().then_some(()));
        let id = running.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .expect("kill starts")
                .success()
        );
        assert_eq!(running.wait().code, 130);
    }
}

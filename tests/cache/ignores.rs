//! What git ignores is no input of a glob, and nothing else is passed over: git itself is asked what it ignores.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::{Bed, Ran};

const ALL: &str = "[target.t]\nrun = 'echo t >> ../ran'\n";

static EDITS: AtomicUsize = AtomicUsize::new(0);

/// Of these files, those whose edit reruns a target whose inputs are all files: the same ones that git sees.
fn seen(bed: &Bed, files: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    for name in files {
        // Never what it held before: nothing is known of that.
        let text = || EDITS.fetch_add(1, Ordering::Relaxed).to_string();
        bed.write(name, text());
        bed.forge(&["t"]);
        bed.ran();
        bed.write(name, text());
        bed.forge(&["t"]);
        let is_input = !bed.ran().is_empty();
        let others = bed.git(&["ls-files", "-z", "--others", "--exclude-standard"]);
        let git_sees = others.split('\0').any(|other| other == *name);
        assert_eq!(is_input, git_sees, "{name:?}");
        if is_input {
            seen.push((*name).to_owned());
        }
    }
    seen
}

#[test]
fn a_line_means_what_it_means_to_git() {
    let rules = [
        "\u{feff}*.bom",
        "**",
        "!*",
        "*.tmp",
        "!keep[[:digit:]].tmp",
        "[\\]1].c",
        "[[:nosuch:]]y",
        "[a-]z",
        "w[!a]w",
        "[z-a]q",
        "[]!^]n",
        "[!^]m",
        "[^!]m",
        "[\\!^]k",
        "p[[:punct:]]p",
        "r[.-0]r",
        "s[a\\]b]s",
        "u[[:u]",
        "tab\t",
        "trail  ",
        "sp\\ ",
        "esc\\ \\",
        "bs\\\\/",
        "dir/[!x]",
        "mid dle",
        "cr\r",
        "**end",
        "[/]slash",
    ];
    let names = [
        "a.bom",
        "x.tmp",
        "keep1.tmp",
        "keepa.tmp",
        "].c",
        "1.c",
        "\\.c",
        "dy",
        ":y",
        "-z",
        "az",
        "bz",
        "wbw",
        "waw",
        "w/w",
        "bq",
        "zq",
        "]n",
        "!n",
        "^n",
        "an",
        "!m",
        "^m",
        "am",
        "!k",
        "^k",
        "ak",
        "p+p",
        "pap",
        "p/p",
        "r.r",
        "r0r",
        "r/r",
        "sas",
        "s]s",
        "sbs",
        "s\\s",
        "u[",
        "u:",
        "tab",
        "tab\t",
        "trail",
        "trail  ",
        "sp",
        "sp ",
        "esc ",
        "esc",
        "bs\\/f",
        "dir/x",
        "dir/y/z",
        "mid dle",
        "cr",
        "cr\r",
        "theend",
        "slash",
    ];
    // Each by itself as well: what one of them says must not hide what another does.
    let mut files = vec![rules.join("\n")];
    files.extend(rules.map(|rule| format!("*\n!*/\n!{rule}\n")));
    let bed = Bed::new(ALL);
    bed.commit();
    for name in names {
        bed.write(name, "");
    }
    for (number, rules) in files.iter().enumerate() {
        bed.write(".gitignore", rules);
        if number == 0 {
            seen(&bed, &names);
            continue;
        }
        // One run is enough for all that git doesn't see.
        let others = bed.git(&["ls-files", "-z", "--others", "--exclude-standard"]);
        bed.forge(&["t"]);
        bed.ran();
        for name in names {
            bed.write(name, format!("{number}"));
            if others.split('\0').any(|other| other == name) {
                bed.expect(&["t"], &["t"]);
            }
        }
        bed.expect(&["t"], &[]);
    }
}

#[test]
fn a_byte_that_is_no_text_spoils_no_other_line() {
    let bed = Bed::new(ALL);
    bed.commit();
    bed.write(".gitignore", b"# caf\xe9\n*.log\ncaf\xe9*\n!keep.log\n");
    let odd = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(bed.path(".").join(odd), "").expect("written");
    assert_eq!(seen(&bed, &["a.log", "keep.log", "b"]), ["keep.log", "b"]);
}

#[test]
fn an_ignore_file_that_is_a_link_holds_no_rules() {
    let bed = Bed::new(ALL);
    bed.commit();
    bed.write("rules", "*.log\n");
    bed.write("excludes", "*.tmp\n");
    bed.write("sub/own", "");
    bed.link("../rules", "sub/.gitignore");
    bed.link("rules", ".gitignore");
    bed.remove(".git/info/exclude");
    bed.link("../../excludes", ".git/info/exclude");
    let files = ["a.log", "sub/b.log", "sub/c.tmp"];
    assert_eq!(seen(&bed, &files), ["a.log", "sub/b.log"]);
}

#[test]
fn the_repository_may_name_the_ignore_file_of_its_user() {
    let files = ["x.usual", "x.own", "x.user"];
    let bed = Bed::new(ALL);
    bed.commit();
    bed.write("../home/.config/git/ignore", "*.usual\n");
    bed.write("../home/own", "*.own\n");
    bed.write("../home/user", "*.user\n");
    assert_eq!(seen(&bed, &files), ["x.own", "x.user"]);
    bed.git(&["config", "--global", "core.excludesFile", "~/user"]);
    assert_eq!(seen(&bed, &files), ["x.usual", "x.own"]);
    bed.git(&["config", "core.excludesFile", "~/own"]);
    assert_eq!(seen(&bed, &files), ["x.usual", "x.user"]);
    bed.git(&["config", "core.excludesFile", ""]);
    assert_eq!(seen(&bed, &files), files);
}

/// A tracked file that a rule ignores, and one that isn't tracked.
fn forced(options: &[&str]) -> Bed {
    let bed = Bed::new(ALL);
    bed.git(&[&["init", "-q", "-b", "main"], options].concat());
    bed.write(".gitignore", "*.log\n");
    bed.write("forced.log", "one\n");
    bed.git(&["add", "-A"]);
    bed.git(&["add", "-f", "forced.log"]);
    bed
}

/// That the target failed, since it can't be told what git tracks.
#[track_caller]
fn refused(bed: &Bed, cause: &str, help: &str) -> Ran {
    let done = bed.plain(&["t"]);
    assert_eq!((done.code, bed.ran()), (1, vec![]), "{done:?}");
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(said.contains(cause) && said.contains(help), "{said}");
    done
}

#[test]
fn what_git_tracks_is_known_from_git_or_not_at_all() {
    for kind in ["split", "sha256"] {
        let mut bed = match kind {
            "sha256" => forced(&["--object-format=sha256"]),
            _ => forced(&[]),
        };
        if kind == "split" {
            bed.git(&["update-index", "--split-index"]);
        }
        bed.expect(&["t"], &["t"]);
        bed.write("forced.log", "two\n");
        bed.expect(&["t"], &["t"]);
        bed.write("other.log", "");
        bed.expect(&["t"], &[]);
        bed.set("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        bed.write("forced.log", "three\n");
        refused(&bed, "dubious ownership", "safe.directory");
        bed.set("GIT_TEST_ASSUME_DIFFERENT_OWNER", "0");
        bed.expect(&["t"], &["t"]);
        bed.set("PATH", "/nowhere");
        refused(&bed, "git can't be run", "git ls-files");
    }
}

#[test]
fn an_index_that_cannot_be_read_is_not_an_empty_one() {
    let bed = forced(&[]);
    fs::rename(bed.path(".git/index"), bed.path(".git/kept")).expect("moved");
    fs::create_dir(bed.path(".git/index")).expect("made");
    refused(
        &bed,
        "what git tracks is unknown",
        "make git's index readable",
    );
    fs::remove_dir(bed.path(".git/index")).expect("removed");
    // Where there is none, nothing is tracked.
    bed.expect(&["t"], &["t"]);
    bed.write("forced.log", "two\n");
    bed.expect(&["t"], &[]);
}

#[test]
fn a_git_file_that_leads_nowhere_tells_nothing_of_what_is_tracked() {
    for text in ["gitdir: ../nowhere/.git/worktrees/w\n", "odd\n"] {
        let bed = forced(&[]);
        fs::rename(bed.path(".git"), bed.base().join("kept")).expect("moved");
        bed.write(".git", text);
        refused(&bed, "leads to no repository", "available");
        bed.remove("forced.log");
        // No rule names what is there.
        bed.expect(&["t"], &["t"]);
    }
}

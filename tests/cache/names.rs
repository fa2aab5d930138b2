//! Hazard 16: names that are hard to write down are right or refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::support::{Bed, contents};

const COPY: &str = "[target.t]\ninputs = [\"src/**\"]\noutputs = [\"out\"]\n\
                    run = 'echo t >> ../ran; mkdir -p out; cp -r src/. out/'\n\
                    [target.apart]\ninputs = [\"plain/*.txt\"]\noutputs = [\"apart\"]\nrun = 'echo apart >> ../ran; cat plain/*.txt > apart'\n";

#[test]
fn hazard_16_odd_names_are_inputs_and_outputs_like_others() {
    let names = [
        "with space",
        "with\nline",
        "tab\there",
        "quote'\"s",
        "back\\slash",
        "-dash",
        "$HOME",
        "*",
        "[a]",
        "{b}",
        "!not",
        "#hash",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{65e5}\u{672c}",
        "CASE",
        "case",
        "Case",
        "~",
        "a:b",
        " ",
        "...",
    ];
    let bed = Bed::new(COPY);
    for name in names {
        bed.write(format!("src/{name}"), name);
        bed.write(format!("src/in {name}/deep"), "");
    }
    bed.expect(&["t"], &["t"]);
    let made = contents(&bed.path("out"));
    assert_eq!(made.len(), names.len() * 3);
    bed.expect(&["t"], &[]);
    bed.remove("out");
    bed.expect(&["t"], &[]);
    assert_eq!(contents(&bed.path("out")), made);
    for name in names {
        bed.write(format!("src/{name}"), "changed");
        bed.expect(&["t"], &["t"]);
        assert_eq!(bed.read(format!("out/{name}")), "changed");
        bed.write(format!("src/{name}"), name);
        bed.expect(&["t"], &[]);
        assert_eq!(bed.read(format!("out/{name}")), name);
    }
}

#[test]
fn hazard_16_names_that_differ_in_form_or_case_are_different_files() {
    for (one, other) in [("caf\u{e9}", "cafe\u{301}"), ("A", "a")] {
        let bed = Bed::new(COPY);
        bed.write(format!("src/{one}"), "text");
        bed.expect(&["t"], &["t"]);
        std::fs::rename(
            bed.path(format!("src/{one}")),
            bed.path(format!("src/{other}")),
        )
        .expect("renamed");
        bed.expect(&["t"], &["t"]);
        assert!(bed.exists(format!("out/{other}")) && !bed.exists(format!("out/{one}")));
    }
}

#[test]
fn hazard_16_a_name_that_is_no_text_is_refused_as_an_input_and_harmless_elsewhere() {
    let odd = OsStr::from_bytes(b"odd-\xff");
    for below in [false, true] {
        let bed = Bed::new(&COPY.replace("cp -r src/. out/", "ls src > out/list"));
        bed.write("src/a", "");
        bed.write("plain/a.txt", "");
        let directory = bed.path("src").join(odd);
        let (path, name) = if below {
            std::fs::create_dir(&directory).expect("made");
            (directory.join("inner"), "inner")
        } else {
            (directory, "odd-")
        };
        std::fs::write(&path, "").expect("written");
        let done = bed.forge(&["t"]);
        assert_eq!((done.code, &*done.outcome("t")), (1, "failed"));
        let reason = done.reason("t");
        assert!(
            reason.contains("UTF-8") && reason.contains(name),
            "{reason}"
        );
        bed.expect(&["apart"], &["apart"]);
        bed.expect(&["apart"], &[]);
        // Ignored by git: no input.
        bed.write(".gitignore", "odd*\n");
        bed.expect(&["t"], &["t"]);
    }
}

#[test]
fn hazard_16_a_directory_whose_name_is_no_text_hides_no_input() {
    let bed = Bed::new("[target.t]\ninputs = [\"src/**/*.py\"]\nrun = 'echo t >> ../ran'\n");
    bed.write("src/a.py", "");
    let odd = bed.path("src").join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).expect("made");
    std::fs::write(odd.join("readme"), "").expect("written");
    bed.expect(&["t"], &["t"]); // nothing in it is meant
    std::fs::write(odd.join("b.py"), "").expect("written");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, bed.ran()), (1, vec![]));
    assert!(done.reason("t").contains("b.py"), "{done:?}");
}

#[test]
fn hazard_16_an_output_whose_name_is_no_text_is_refused() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\nrun = \"echo t >> ../ran; mkdir -p out; touch $(printf 'out/odd-\\\\377')\"\n",
    );
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (1, "failed"), "{done:?}");
    assert!(done.reason("t").contains("UTF-8"), "{done:?}");
}

#[test]
fn hazard_16_what_is_neither_file_nor_link_is_no_input_and_is_refused_as_an_output() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"src/*\"]\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; mkfifo out'\n",
    );
    let pipe = bed.command("mkfifo").arg(bed.path("pipe")).status();
    assert!(pipe.expect("starts").success());
    bed.write("src/a", "");
    std::fs::rename(bed.path("pipe"), bed.path("src/pipe")).expect("moved");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (1, "failed"), "{done:?}");
    assert!(done.reason("t").contains("neither a file"), "{done:?}");
}

#[test]
fn hazard_16_what_lies_behind_a_name_that_is_no_text_is_not_left_out() {
    let bed = Bed::new("[target.t]\ninputs = [\"src/**\"]\nrun = 'echo t >> ../ran'\n");
    let odd = bed.path("odd").join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir_all(&odd).expect("made");
    std::fs::write(odd.join("f"), "").expect("written");
    bed.write("src/a", "");
    bed.link(&odd, "hop");
    bed.link("../hop", "src/link");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, bed.ran()), (1, vec![]), "{done:?}");
    assert!(done.reason("t").contains("src/link"), "{done:?}");
}

#[test]
fn an_input_that_cannot_be_asked_for_is_not_taken_for_absent() {
    let bed = Bed::new("[target.t]\ninputs = [\"loop/f\", \"a/b\"]\nrun = 'echo t >> ../ran'\n");
    bed.write("a", "");
    bed.expect(&["t"], &["t"]);
    bed.link("loop", "loop");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, bed.ran()), (1, vec![]), "{done:?}");
    assert!(done.reason("t").contains("loop/f"), "{done:?}");
}

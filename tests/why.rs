//! `forge why`: what the last key held that this one doesn't, told from the key itself.

mod support;

use serde_json::Value;
use support::Bed;

const PIPELINE: &str = "[pipeline]\nvars = { who = \"you\" }\n\
    [target.gen]\ninputs = [\"gen.txt\"]\noutputs = [\"gen\"]\nrun = 'cp gen.txt gen'\n\
    [target.t]\nneeds = [\"gen\"]\ninputs = [\"src/*\", \"maybe\"]\noutputs = [\"out\"]\n\
    inherit-env = [\"LEVEL\"]\nenv = { MODE = \"fast\" }\ntools = { fake = \"*\" }\nsecret-env = [\"TOKEN\"]\n\
    run = 'echo ${var.who} > out'\n\
    [target.all]\nneeds = [\"t\"]\n\
    [target.always]\ncache = false\nrun = 'true'\n";

fn bed() -> Bed {
    let mut bed = Bed::new(PIPELINE);
    bed.write("src/a", "one\n");
    bed.write("src/b", "two\n");
    bed.write("gen.txt", "gen\n");
    tool(&bed, "1.0.0");
    let path = format!("{}:{}", bed.base().join("bin").display(), bed.var("PATH"));
    bed.set("PATH", &path).set("TOKEN", "the-token-itself");
    bed
}

fn tool(bed: &Bed, version: &str) {
    bed.write("../bin/fake", format!("#!/bin/sh\necho {version}\n"));
    bed.chmod("../bin/fake", 0o755);
}

struct Answer {
    verdict: String,
    changes: Vec<String>,
}

fn why(bed: &Bed, args: &[&str]) -> Answer {
    let done = bed.forge(&[&["why"], args].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let answer = done.events.first().unwrap_or_else(|| panic!("{done:?}"));
    let changes = answer["changes"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    Answer {
        verdict: text(&answer["verdict"]),
        changes: changes.map(|change| text(&change["change"])).collect(),
    }
}

fn ran() -> Bed {
    let bed = bed();
    let done = bed.forge(&["t"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(why(&bed, &["t"]).verdict, "fresh");
    bed
}

#[test]
fn before_the_first_run_it_says_so() {
    let bed = bed();
    let done = bed.plain(&["why", "t"]);
    assert_eq!(done.code, 0);
    assert!(
        done.stdout.contains("t would run: it has never run"),
        "{done:?}"
    );
}

#[test]
fn each_kind_of_change_is_told_by_name() {
    type Change = fn(&mut Bed);
    let cases: [(&str, Change); 14] = [
        ("src/a changed", |bed| bed.write("src/a", "new\n")),
        ("src/c added", |bed| bed.write("src/c", "new\n")),
        ("src/b removed", |bed| bed.remove("src/b")),
        ("src/a became executable", |bed| bed.chmod("src/a", 0o755)),
        ("maybe added", |bed| bed.write("maybe", "")),
        ("$LEVEL added", |bed| {
            bed.set("LEVEL", "debug");
        }),
        ("$MODE: \"fast\" → \"slow\"", |bed| {
            edit(bed, "fast", "slow")
        }),
        ("version of fake: \"1.0.0\" → \"1.1.0\"", |bed| {
            tool(bed, "1.1.0")
        }),
        (
            "command 1: \"echo you > out\" → \"echo me > out\"",
            |bed| edit(bed, "\"you\"", "\"me\""),
        ),
        ("shell: \"sh -eu -c\" → \"bash -c\"", |bed| {
            edit(bed, "[target.t]", "[target.t]\nshell = [\"bash\", \"-c\"]")
        }),
        ("declared output more set to \"\"", |bed| {
            edit(bed, "[\"out\"]", "[\"out\", \"more\"]")
        }),
        ("secret-env: \"TOKEN\" → \"OTHER\"", |bed| {
            edit(bed, "TOKEN", "OTHER")
        }),
        ("gen.txt removed", |bed| {
            edit(bed, "\"maybe\"]", "\"maybe\", \"gen.txt\"]");
            assert_eq!(bed.forge(&["t"]).code, 0);
            bed.remove("gen.txt");
        }),
        ("src/a changed", |bed| {
            bed.remove("src/a");
            bed.link("target", "src/a");
        }),
    ];
    for (expected, change) in cases {
        let mut bed = ran();
        change(&mut bed);
        let answer = why(&bed, &["t"]);
        assert_eq!(answer.verdict, "run", "{expected}");
        let told = answer
            .changes
            .iter()
            .any(|change| change.contains(expected));
        assert!(told, "{expected}: {:?}", answer.changes);
    }
}

fn edit(bed: &Bed, old: &str, new: &str) {
    let text = bed.read("Pipeline.toml");
    assert!(text.contains(old));
    bed.write("Pipeline.toml", text.replace(old, new));
}

#[test]
fn a_change_is_told_alone_and_as_the_run_then_says() {
    let bed = ran();
    bed.write("src/a", "new\n");
    assert_eq!(why(&bed, &["t"]).changes, ["src/a changed"]);
    let done = bed.forge(&["t"]);
    assert_eq!(
        (&*done.outcome("t"), &*done.reason("t")),
        ("ran", "src/a changed")
    );
}

#[test]
fn what_is_kept_for_these_inputs_would_be_restored() {
    let bed = ran();
    edit(&bed, "\"you\"", "\"me\"");
    assert_eq!(bed.forge(&["t"]).outcome("t"), "ran");
    edit(&bed, "\"me\"", "\"you\"");
    let answer = why(&bed, &["t"]);
    assert_eq!((&*answer.verdict, answer.changes.len()), ("restore", 1));
    assert_eq!(bed.forge(&["t"]).outcome("t"), "restored");
}

#[test]
fn changed_outputs_are_no_change_of_the_key() {
    let bed = ran();
    bed.write("out", "edited");
    let answer = why(&bed, &["t"]);
    assert_eq!((&*answer.verdict, answer.changes.len()), ("restore", 0));
}

#[test]
fn outputs_of_a_need_that_changed_are_told_as_its_outputs() {
    let bed = ran();
    bed.write("gen.txt", "other\n");
    assert_eq!(why(&bed, &["gen"]).changes, ["gen.txt changed"]);
    assert_eq!(bed.forge(&["gen"]).code, 0);
    let answer = why(&bed, &["t"]);
    assert_eq!(answer.changes, ["outputs of gen changed"]);
}

#[test]
fn a_secret_and_inherited_values_are_never_shown() {
    let mut bed = ran();
    bed.set("TOKEN", "another-token")
        .set("LEVEL", "inherited-value");
    for args in [&["why", "t"][..], &["why", "t", "--json"]] {
        let done = bed.plain(args);
        let text = format!("{}{}", done.stdout, done.stderr);
        assert!(text.contains("LEVEL"), "{text}");
        assert!(
            !text.contains("token-itself") && !text.contains("another-token"),
            "{text}"
        );
        assert!(!text.contains("inherited-value"), "{text}");
    }
}

#[test]
fn groups_and_uncached_targets_say_what_they_are() {
    let bed = ran();
    assert_eq!(why(&bed, &["all"]).verdict, "unknown");
    assert_eq!(why(&bed, &["always"]).verdict, "run");
    assert_eq!(bed.plain(&["why", "nowhere"]).code, 2);
}

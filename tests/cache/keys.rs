//! Promise 1 and hazards 1 to 3: what is in a key, and what isn't.

use super::support::{Bed, files_with};

/// One target that notes that it ran and says what it sees of a variable.
fn seeing(declaration: &str) -> Bed {
    Bed::new(&format!(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\n{declaration}\n\
         run = 'echo t >> ../ran; echo \"${{A-unset}}\" > out'\n"
    ))
}

/// Runs `t` and says its key.
fn key(bed: &Bed, outcome: &str) -> String {
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (0, outcome), "{done:?}");
    done.key("t")
}

#[test]
fn hazard_1_a_declared_variable_changed_unset_and_empty_are_three_keys() {
    let mut bed = seeing("inherit-env = [\"A\"]");
    let mut keys = vec![key(&bed, "ran")];
    assert_eq!(bed.read("out"), "unset\n");
    for value in ["", "x", "y"] {
        bed.set("A", value);
        keys.push(key(&bed, "ran"));
        assert_eq!(bed.read("out"), format!("{value}\n"));
        assert_eq!(key(&bed, "fresh"), keys[keys.len() - 1]);
    }
    bed.unset("A");
    assert_eq!(key(&bed, "restored"), keys[0]);
    assert_eq!(bed.read("out"), "unset\n");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[test]
fn hazard_1_an_undeclared_variable_is_invisible() {
    let mut bed = seeing("");
    bed.set("A", "x");
    let first = key(&bed, "ran");
    assert_eq!(bed.read("out"), "unset\n");
    bed.set("A", "y");
    assert_eq!(key(&bed, "fresh"), first);
}

#[test]
fn a_value_in_the_file_is_in_the_key_whatever_the_caller_has() {
    let mut bed = seeing("env = { A = \"x\" }");
    let first = key(&bed, "ran");
    bed.set("A", "other");
    assert_eq!(key(&bed, "fresh"), first);
    assert_eq!(bed.read("out"), "x\n");
    bed.write(
        "Pipeline.toml",
        bed.read("Pipeline.toml").replace("\"x\"", "\"y\""),
    );
    assert_ne!(key(&bed, "ran"), first);
    assert_eq!(bed.read("out"), "y\n");
}

#[test]
fn inherited_globs_take_what_is_there() {
    let mut bed = seeing("inherit-env = [\"A*\"]");
    let none = key(&bed, "ran");
    bed.set("A", "x");
    let one = key(&bed, "ran");
    bed.set("AB", "x");
    let two = key(&bed, "ran");
    bed.set("BA", "x");
    assert_eq!(key(&bed, "fresh"), two);
    assert!(none != one && one != two && none != two);
}

#[test]
fn dotenv_values_are_in_the_key_and_not_the_file() {
    let bed = seeing("dotenv = [\".env\"]");
    let absent = key(&bed, "ran");
    bed.write(".env", "A=x\n");
    let first = key(&bed, "ran");
    assert_eq!(bed.read("out"), "x\n");
    bed.write(".env", "# a comment\nA=x\n");
    assert_eq!(key(&bed, "fresh"), first);
    bed.write(".env", "A=y\n");
    assert_ne!(key(&bed, "ran"), first);
    bed.remove(".env");
    assert_eq!(key(&bed, "restored"), absent);
    assert_eq!(bed.read("out"), "unset\n");
}

#[test]
fn a_secret_is_never_in_a_key_a_log_or_the_store() {
    const SECRET: &str = "correct-horse-battery";
    let mut bed = seeing("secret-env = [\"A\"]");
    bed.set("A", SECRET);
    let pipeline = bed.read("Pipeline.toml");
    // It reaches the target, which prints it, in pieces too, and then fails or doesn't.
    let shouting = |end: &str| {
        pipeline.replace(
            "> out",
            &format!("> ../seen; echo $A; printf correct-; sleep 0.05; echo horse-battery; touch out; {end}"),
        )
    };
    bed.write("Pipeline.toml", shouting("true"));
    let good = bed.forge(&["-v", "-v", "t"]);
    assert_eq!(good.outcome("t"), "ran");
    assert_eq!(
        std::fs::read_to_string(bed.base().join("seen")).expect("seen"),
        format!("{SECRET}\n")
    );
    bed.set("A", "another-secret");
    assert_eq!(
        bed.forge(&["t"]).key("t"),
        good.key("t"),
        "it is in the key"
    );
    bed.set("A", SECRET);
    bed.write("Pipeline.toml", shouting("false"));
    let bad = bed.forge(&["-v", "t"]);
    assert_eq!((bad.code, &*bad.outcome("t")), (1, "failed"));
    let shown = bed.plain(&["-v", "t"]);
    let told = [&good, &bad, &shown].map(|done| format!("{}{}", done.stdout, done.stderr));
    for text in &told {
        assert!(text.contains("***") && !text.contains(SECRET), "{text}");
    }
    for read in [["why", "t"], ["history", "--json"], ["list", "--json"]] {
        let done = bed.plain(&read);
        assert!(
            !format!("{}{}", done.stdout, done.stderr).contains(SECRET),
            "{read:?}"
        );
    }
    assert_eq!(bed.kept_with(SECRET), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        files_with(&bed.base().join("tmp"), SECRET),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn a_secret_that_a_glob_takes_in_too_stays_secret() {
    let mut bed = seeing("inherit-env = [\"A*\"]\nsecret-env = [\"A\"]");
    bed.set("A", "correct-horse");
    let first = key(&bed, "ran");
    bed.set("A", "battery-staple");
    assert_eq!(key(&bed, "fresh"), first);
}

fn tool(bed: &Bed, version: &str) {
    let path = bed.base().join("bin/fake");
    std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
    std::fs::write(&path, format!("#!/bin/sh\necho 'fake {version}'\n")).expect("written");
    bed.chmod(&path, 0o755);
}

#[test]
fn hazard_2_another_tool_version_is_a_miss_and_a_wrong_one_ends_with_3() {
    let mut bed = seeing("tools = { fake = \"1.2\" }");
    let path = format!("{}:{}", bed.base().join("bin").display(), bed.var("PATH"));
    bed.set("PATH", &path);
    let missing = bed.forge(&["t"]);
    assert_eq!((missing.code, &*missing.outcome("t")), (3, "failed"));
    assert!(
        missing.reason("t").contains("fake isn't installed"),
        "{missing:?}"
    );
    tool(&bed, "1.2.3");
    let first = key(&bed, "ran");
    assert_eq!(key(&bed, "fresh"), first);
    tool(&bed, "1.2.4");
    assert_ne!(key(&bed, "ran"), first);
    tool(&bed, "1.3.0");
    let wrong = bed.forge(&["t"]);
    assert_eq!(
        (wrong.code, &*wrong.outcome("t")),
        (3, "failed"),
        "{wrong:?}"
    );
    tool(&bed, "1.2.3");
    assert_eq!(key(&bed, "fresh"), first); // what it made is the same for all versions
}

#[test]
fn a_tool_that_becomes_another_while_its_target_runs_has_made_no_result() {
    let mut bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\ntools = { fake = \"*\" }\n\
         run = 'if [ -e ../next ]; then mv ../next ../bin/fake; fi; fake > out'\n",
    );
    let path = format!("{}:{}", bed.base().join("bin").display(), bed.var("PATH"));
    bed.set("PATH", &path);
    tool(&bed, "2.0");
    std::fs::rename(bed.base().join("bin/fake"), bed.base().join("next")).expect("moved");
    tool(&bed, "1.0");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, bed.read("out")), (0, "fake 2.0\n".into()));
    done.warned("its tool fake became another while it ran");
    tool(&bed, "1.0");
    assert_eq!(bed.forge(&["t"]).code, 0);
    assert_eq!(bed.read("out"), "fake 1.0\n");
}

#[test]
fn another_build_of_the_same_version_is_another_tool() {
    let mut bed = seeing("tools = { fake = \"1\" }");
    let path = format!("{}:{}", bed.base().join("bin").display(), bed.var("PATH"));
    bed.set("PATH", &path);
    let mut keys = std::collections::BTreeSet::new();
    for said in [
        "1.5.0-nightly (abc 2026-04-14)",
        "1.5.0-nightly (abd 2026-04-15)",
        "1.5.0",
        "1.5.0rc1",
    ] {
        tool(&bed, said);
        assert!(keys.insert(key(&bed, "ran")), "{said}");
    }
}

#[test]
fn hazard_2_another_command_args_or_vars_rerun() {
    let bed = Bed::new(
        "[pipeline]\nvars = { who = \"you\" }\n\
         [target.t]\ninputs = []\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; echo ${var.who} ${args} > out'\n",
    );
    let ask = |args: &[&str], outcome: &str, text: &str| {
        let done = bed.forge(args);
        assert_eq!(
            (done.code, &*done.outcome("t")),
            (0, outcome),
            "{args:?}: {done:?}"
        );
        assert_eq!(bed.read("out"), text);
    };
    ask(&["t"], "ran", "you\n");
    ask(&["t", "--var", "who=me"], "ran", "me\n");
    ask(&["t", "--var", "who=me"], "fresh", "me\n");
    ask(&["t"], "restored", "you\n");
    ask(&["t", "--", "a b"], "ran", "you a b\n");
    ask(&["t", "--", "a", "b"], "ran", "you a b\n");
    ask(&["t", "--", "a", "b"], "fresh", "you a b\n");
    bed.write(
        "Pipeline.toml",
        bed.read("Pipeline.toml").replace("> out", ">out"),
    );
    ask(&["t"], "ran", "you\n");
}

#[test]
fn what_a_service_says_is_told_apart_field_by_field() {
    let pipeline = |env: &str| {
        format!(
            "[service.s]\nrun = \"exec sleep 100\"\nenv = {{ {env} }}\n\
             [target.t]\ninputs = []\nservices = [\"s\"]\nrun = 'echo t >> ../ran'\n"
        )
    };
    let bed = Bed::new(&pipeline("A = \"1\\nenv B=2\""));
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    bed.write("Pipeline.toml", pipeline("A = \"1\", B = \"2\""));
    bed.expect(&["t"], &["t"]);
}

#[test]
fn words_after_two_dashes_go_to_named_targets_alone() {
    let bed = Bed::new(
        "[target.a]\ninputs = []\noutputs = [\"a\"]\nrun = 'echo a >> ../ran; touch a'\n\
         [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; echo > b'\n",
    );
    bed.expect(&["b"], &["a", "b"]);
    bed.expect(&["b", "--", "x"], &["b"]);
    bed.expect(&["b"], &[]);
}

#[test]
fn hazard_3_an_ignored_file_that_is_named_is_an_input() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"*.cfg\", \"local.cfg\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; cat *.cfg > out'\n",
    );
    bed.write(".gitignore", "*.cfg\n!shared.cfg\n");
    bed.write("shared.cfg", "a\n");
    bed.write("local.cfg", "b\n");
    bed.write("other.cfg", "c\n");
    bed.commit();
    bed.expect(&["t"], &["t"]);
    bed.write("other.cfg", "d\n"); // ignored and not named
    bed.expect(&["t"], &[]);
    bed.write("local.cfg", "e\n");
    bed.expect(&["t"], &["t"]);
    assert!(bed.read("out").contains("e\n"));
    bed.remove("local.cfg");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
}

#[test]
fn braces_in_ignore_files_are_what_git_takes_them_for() {
    let bed = Bed::new("[target.t]\nrun = 'echo t >> ../ran'\n");
    bed.commit();
    let rules =
        "*.{gen,tmp}\n\\{a,b\\}\n[{}]c\n[!{]d\n[]{]e\n[{f\n{g\nh}\n\\\\{i}\n!{j,k}.{gen,tmp}\n";
    bed.write(".gitignore", rules);
    bed.write("../home/global", "*.{obj,lib}\n");
    bed.git(&["config", "--global", "core.excludesFile", "~/global"]);
    for name in [
        "a.gen",
        "a.{gen,tmp}",
        "{j,k}.{gen,tmp}",
        "{a,b}",
        "a",
        "{c",
        "}c",
        "\\c",
        "{d",
        "dd",
        "]e",
        "{e",
        "[{f",
        "{g",
        "g",
        "h}",
        "h",
        "\\{i}",
        "{i}",
        "a.obj",
        "a.{obj,lib}",
    ] {
        bed.write(name, "one\n");
        bed.forge(&["t"]);
        bed.ran();
        bed.write(name, "two\n");
        bed.forge(&["t"]);
        let is_input = !bed.ran().is_empty();
        let others = bed.git(&["ls-files", "-z", "--others", "--exclude-standard"]);
        let git_sees = others.split('\0').any(|other| other == name);
        assert_eq!(is_input, git_sees, "{name}");
    }
}

#[test]
fn inside_a_submodule_its_own_ignore_files_hold_and_no_others() {
    let bed = Bed::new("[target.t]\nrun = 'echo t >> ../ran'\n");
    let theirs = bed.base().join("theirs");
    let files = ["lib/x.c", "top.c", "gen.log", "deep/a.tmp"];
    for file in files {
        bed.write(format!("../theirs/{file}"), "one\n");
    }
    bed.write("../theirs/.gitignore", "*.log\n*.bak\n");
    bed.git_in(&theirs, &["init", "-q"]);
    bed.git_in(&theirs, &["add", "-A", "-f"]);
    bed.git_in(&theirs, &["commit", "-q", "-m", "theirs"]);
    bed.git(&["init", "-q", "-b", "main"]);
    bed.write(".gitignore", "lib/\n*.tmp\n");
    bed.git(&["submodule", "--quiet", "add", "../theirs", "vendor"]);
    bed.commit();
    bed.expect(&["t"], &["t"]);
    for file in files.into_iter().chain(["new.tmp"]) {
        bed.write(format!("vendor/{file}"), "two\n");
        bed.expect(&["t"], &["t"]);
        bed.expect(&["t"], &[]);
    }
    bed.write("vendor/new.bak", "");
    bed.write("lib/x.c", "");
    bed.expect(&["t"], &[]);
}

const COUNT: &str = "[target.t]\ninputs = [\"src/**\", \"maybe.txt\"]\noutputs = [\"out\"]\n\
                     run = 'echo t >> ../ran; cat src/* > out'\n\
                     [target.other]\ninputs = []\nrun = 'echo other >> ../ran'\n";

#[test]
fn promise_1_touching_checking_out_and_cloning_change_no_key() {
    let bed = Bed::new(COUNT);
    bed.write("src/a", "one\n");
    bed.write("src/b", "two\n");
    bed.write(".gitignore", "/out\n");
    bed.commit();
    let first = bed.expect(&["t"], &["t"]).key("t");
    bed.touch_everything();
    assert_eq!(bed.expect(&["t"], &[]).key("t"), first);
    bed.git(&["checkout", "-q", "-b", "other"]);
    bed.write("src/a", "three\n");
    bed.commit();
    assert_ne!(bed.expect(&["t"], &["t"]).key("t"), first);
    bed.git(&["checkout", "-q", "main"]);
    assert_eq!(bed.expect(&["t"], &[]).key("t"), first);
    assert_eq!(bed.read("out"), "one\ntwo\n");
    // A clone elsewhere makes the same key; with the cache brought along, it hits.
    let clone = Bed::new("");
    clone.remove("Pipeline.toml");
    let from = bed.root.to_str().expect("UTF-8");
    clone.git(&["clone", "-q", from, "."]);
    let done = clone.forge(&["-n", "t"]);
    assert_eq!(done.code, 0);
    let cache = bed.copied();
    std::fs::rename(cache.path(".forge"), clone.path(".forge")).expect("moved");
    let done = clone.expect(&["t"], &[]);
    assert_eq!((done.key("t"), &*done.outcome("t")), (first, "restored"));
    assert_eq!(clone.read("out"), "one\ntwo\n");
}

#[test]
fn promise_1_a_copied_workspace_is_fresh() {
    let bed = Bed::new(COUNT);
    bed.write("src/a", "one\n");
    let first = bed.expect(&["t"], &["t"]).key("t");
    let copy = bed.copied();
    let done = copy.expect(&["t"], &[]);
    assert_eq!((done.key("t"), &*done.outcome("t")), (first, "fresh"));
}

#[test]
fn what_a_pipeline_file_says_of_others_reruns_nothing() {
    let bed = Bed::new(COUNT);
    bed.write("src/a", "one\n");
    bed.expect(&["t"], &["t"]);
    let other = COUNT.replace("echo other", "echo changed; echo other");
    bed.write(
        "Pipeline.toml",
        format!("# a comment\n{other}[target.new]\nrun = \"true\"\n"),
    );
    bed.expect(&["t"], &[]);
    bed.write(
        "Pipeline.toml",
        COUNT.replace("[target.t]", "[target.t]\ndescription = \"d\""),
    );
    bed.expect(&["t"], &[]);
}

#[test]
fn files_that_come_and_go_are_seen() {
    let bed = Bed::new(COUNT);
    bed.write("src/a", "one\n");
    bed.expect(&["t"], &["t"]);
    bed.write("src/deep/b", "");
    bed.write("elsewhere", "no input\n");
    bed.chmod("src/a", 0o600); // not executable before nor after
    bed.remove("src/deep");
    bed.expect(&["t"], &[]);
    bed.write("src/b", "two\n");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("out"), "one\ntwo\n");
    bed.write("maybe.txt", ""); // named, and absent before
    bed.expect(&["t"], &["t"]);
    bed.remove("src/b");
    bed.remove("maybe.txt");
    assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "restored");
    assert_eq!(bed.read("out"), "one\n");
}

#[test]
fn hazard_10_an_input_that_becomes_executable_reruns() {
    let bed = Bed::new(COUNT);
    bed.write("src/a", "one\n");
    bed.expect(&["t"], &["t"]);
    bed.chmod("src/a", 0o755);
    bed.expect(&["t"], &["t"]);
    bed.chmod("src/a", 0o644);
    assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "fresh");
}

#[test]
fn left_out_inputs_are_every_file_of_the_project_without_those_of_members_in_it() {
    let bed = Bed::new(
        "[workspace]\nmembers = [\"svc\", \"svc/web\", \"svc-b\"]\n\
         [target.all]\nrun = 'echo root >> ../ran'\n",
    );
    for (dir, up) in [
        ("svc", "../.."),
        ("svc/web", "../../.."),
        ("svc-b", "../.."),
    ] {
        let name = dir.replace('/', "-");
        let text = format!(
            "[project]\nname = \"{name}\"\n[target.all]\nrun = 'echo {name} >> {up}/ran'\n"
        );
        bed.write(format!("{dir}/Pipeline.toml"), text);
        bed.write(format!("{dir}/src/a"), "");
    }
    bed.write("src/a", "");
    let ran = || {
        let done = bed.forge(&["all"]);
        assert_eq!(done.code, 0, "{done:?}");
        bed.ran()
    };
    assert_eq!(ran(), ["root", "svc", "svc-b", "svc-web"]);
    for (changed, who) in [
        ("src/a", "root"),
        ("svc/src/a", "svc"),
        ("svc/web/src/a", "svc-web"),
        ("svc-b/new", "svc-b"),
        ("svc.txt", "root"),
        ("svc/web.txt", "svc"),
    ] {
        bed.write(changed, changed);
        assert_eq!(ran(), [who], "{changed}");
    }
}

/// A target that needs another through a third, and reads what that makes.
fn behind(outputs: &str) -> Bed {
    Bed::new(&format!(
        "[target.gen]\ninputs = [\"src\"]\noutputs = [{outputs}]\nrun = 'echo gen >> ../ran; mkdir -p web/gen; cp src web/gen/x.c'\n\
         [target.mid]\nneeds = [\"gen\"]\ninputs = []\nrun = 'echo mid >> ../ran'\n\
         [target.use]\nneeds = [\"mid\"]\ninputs = [\"web/**/*.c\"]\noutputs = [\"out\"]\n\
         run = 'echo use >> ../ran; cat web/gen/*.c > out'\n"
    ))
}

#[test]
fn what_patterns_pick_up_of_an_indirect_need_counts_whatever_git_says_of_it() {
    for outputs in [
        "\"web/gen\"",
        "\"web/gen/x.c\"",
        "\"web/gen/*\"",
        "\"web/gen/**\"",
    ] {
        for is_ignored in [false, true] {
            let bed = behind(outputs);
            bed.git(&["init", "-q"]);
            bed.write(".gitignore", if is_ignored { "web/gen\n" } else { "\n" });
            bed.write("src", "one\n");
            bed.expect(&["use"], &["gen", "mid", "use"]);
            bed.write("src", "two\n");
            bed.expect(&["use"], &["gen", "mid", "use"]);
            assert_eq!(bed.read("out"), "two\n", "{outputs}");
            bed.expect(&["use"], &[]);
        }
    }
}

#[test]
fn of_a_need_that_is_skipped_what_lies_there_counts() {
    let mut bed = Bed::new(
        "[target.gen]\ninputs = []\noutputs = [\"gen\"]\nrun = 'echo gen >> ../ran; mkdir -p gen; echo made > gen/x'\n\
         when = { env = { RELEASE = \"yes\" } }\n\
         [target.use]\nneeds = [\"gen\"]\ninputs = []\noutputs = [\"out\"]\n\
         run = 'echo use >> ../ran; cat gen/* > out 2>&1 || echo nothing > out'\n",
    );
    bed.set("RELEASE", "yes");
    bed.expect(&["use"], &["gen", "use"]);
    bed.unset("RELEASE");
    assert_eq!(bed.expect(&["use"], &[]).outcome("use"), "fresh");
    // What it made is gone, or another's.
    bed.remove("gen");
    bed.expect(&["use"], &["use"]);
    assert_eq!(bed.read("out"), "nothing\n");
    for text in ["mine\n", "other\n"] {
        bed.write("gen/x", text);
        let why = bed.plain(&["why", "use"]);
        assert!(why.stdout.contains("outputs of gen"), "{why:?}");
        bed.expect(&["use"], &["use"]);
        assert_eq!(bed.read("out"), text);
        bed.expect(&["use"], &[]);
    }
    bed.write("gen/x", "made\n");
    bed.expect(&["use"], &[]);
    assert_eq!(bed.read("out"), "made\n");
}

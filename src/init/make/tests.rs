//! Small Makefiles and what becomes of them.

use std::collections::BTreeMap;

use super::super::{Found, Note, propose};

/// The proposal for a Makefile beside these files.
fn proposed(makefile: &str, files: &[&str]) -> (toml::Table, Vec<Note>) {
    let proposal = propose(&found(makefile, files));
    (proposal.text.parse().unwrap(), proposal.notes)
}

fn found(makefile: &str, files: &[&str]) -> Found {
    Found {
        name: "p".into(),
        texts: BTreeMap::from([("Makefile".into(), makefile.to_owned())]),
        paths: files
            .iter()
            .copied()
            .chain([".gitignore"])
            .map(Into::into)
            .collect(),
        is_member: false,
    }
}

/// The keys of one target as they are written, sorted, without comments.
fn target(makefile: &str, files: &[&str], name: &str) -> String {
    let text = propose(&found(makefile, files)).text;
    let header = format!("[target.{name}]\n");
    let block = text
        .split(&header)
        .nth(1)
        .unwrap_or("")
        .split("\n\n")
        .next();
    let lines = block.unwrap_or("").lines();
    let mut entries: Vec<String> = lines
        .map(|line| {
            line.split("  # ")
                .next()
                .unwrap_or(line)
                .replacen(" = ", "=", 1)
        })
        .collect();
    entries.sort();
    entries.join(" ")
}

#[test]
fn what_only_checks_is_cached_and_the_rest_is_not() {
    let cases = [
        ("pytest -q", "run=\"pytest -q\""),
        ("ruff check . && mypy .", "run=\"ruff check . && mypy .\""),
        (
            "cargo clippy > /dev/null 2>&1",
            "run=\"cargo clippy > /dev/null 2>&1\"",
        ),
        (
            "ruff check . > out.txt",
            "cache=false run=\"ruff check . > out.txt\"",
        ),
        (
            "pytest && ./release",
            "cache=false run=\"pytest && ./release\"",
        ),
        ("black .", "cache=false run=\"black .\""),
        (
            "kubectl apply",
            "cache=false inherit-env=[\"KUBECONFIG\"] run=\"kubectl apply\"",
        ),
        ("safety check", "cache=false run=\"safety check\""),
        (
            "flask run",
            "cache=false interactive=true run=\"flask run\"",
        ),
        (
            "read -p 'Sure? ' a && ./wipe $$a",
            "cache=false interactive=true run=\"read -p 'Sure? ' a && ./wipe $a\"",
        ),
        (
            "psql shop",
            "cache=false interactive=true run=\"psql shop\"",
        ),
        ("bash", "cache=false interactive=true run=\"bash\""),
        (
            "python manage.py shell",
            "cache=false interactive=true run=\"python manage.py shell\"",
        ),
        (
            "docker run -it app sh",
            "cache=false inherit-env=[\"DOCKER_HOST\", \"DOCKER_CONFIG\"] interactive=true run=\"docker run -it app sh\"",
        ),
        ("psql shop < a.sql", "cache=false run=\"psql shop < a.sql\""),
        (
            "psql -c 'select 1'",
            "cache=false run=\"psql -c 'select 1'\"",
        ),
        (
            "cat a | while read b; do ./c $$b; done",
            "cache=false run=\"cat a | while read b; do ./c $b; done\"",
        ),
        ("bash a.sh", "cache=false run=\"bash a.sh\""),
        (
            "test -d $(shell pwd)",
            "cache=false run=\"test -d ${workspace.dir}\"",
        ),
        (
            "echo \"$$(git push)\"",
            "cache=false run='echo \"$(git push)\"'",
        ),
        (
            "pytest --junitxml=r.xml",
            "outputs=[\"r.xml\"] run=\"pytest --junitxml=r.xml\"",
        ),
        (
            "cd a && pytest --junitxml=r.xml",
            "cache=false run=\"cd a && pytest --junitxml=r.xml\"",
        ),
    ];
    for (line, expected) in cases {
        let makefile = format!(".PHONY: t\nt:\n\t{line}\n");
        assert_eq!(target(&makefile, &[], "t"), expected);
    }
}

#[test]
fn file_targets_name_their_inputs_and_outputs() {
    let makefile = "out/a.txt: in.txt lib/*.txt | out\n\tcat $^ > $@\nout:\n\tmkdir -p $@\n";
    let expected = "inputs=[\"in.txt\", \"lib/*.txt\"] outputs=[\"out/a.txt\"] \
                    run=[\"mkdir -p out\", \"cat in.txt lib/*.txt > out/a.txt\"]";
    assert_eq!(target(makefile, &["in.txt"], "out-a-txt"), expected);
}

#[test]
fn a_prerequisite_that_nothing_explains_leaves_the_target_to_make() {
    let makefile = "a.txt: gone.txt\n\tcp $< $@\n";
    let (table, notes) = proposed(makefile, &[]);
    assert_eq!(table["target"]["a-txt"]["run"].as_str(), Some("make a.txt"));
    assert_eq!(notes[0].line, Some(1));
    assert!(
        notes[0].text.contains("`gone.txt` isn't there"),
        "{}",
        notes[0]
    );
}

#[test]
fn variables_come_to_what_make_makes_of_them() {
    let cases = [
        ("A = $(B)\nB = late", "$(A)", "late"),
        ("A := $(B)\nB = late", "$(A)", "${var.B}"),
        ("A ?= x\nA ?= y", "$(A)", "${var.A}"),
        ("A = x\nA ?= y", "$(A)", "x"),
        ("A = x\nA += y", "$(A)", "x y"),
        ("A ?= x\nA += y", "$(A)", "${var.A} y"),
        ("N = A\nA = x", "$($(N))", "x"),
        ("A = a#b", "$(A)", "a"),
        ("A = a\\#b", "$(A)", "a#b"),
        ("R ?= x\nA ?= $(R)/y", "$(A)", "${var.R}/y"),
    ];
    for (variables, used, expected) in cases {
        let makefile = format!("{variables}\n.PHONY: t\nt:\n\techo {used}\n");
        let (table, _) = proposed(&makefile, &[]);
        let run = table["target"]["t"]["run"].as_str();
        assert_eq!(
            run,
            Some(format!("echo {expected}").as_str()),
            "{variables}"
        );
    }
}

#[test]
fn what_make_alone_can_say_is_left_to_it() {
    let recipes = [
        "echo $(shell date)",
        "echo $(A:.c=.o)",
        "echo $(patsubst a,b,c)",
        "$(MAKE) x",
        "echo $i",
        "echo $?",
        "curl -d $(DEPLOY_TOKEN) x",
        "echo $$$(VAR)",
    ];
    for recipe in recipes {
        let makefile = format!(".PHONY: t\nt:\n\t{recipe}\n");
        let (table, notes) = proposed(&makefile, &[]);
        assert_eq!(
            table["target"]["t"]["run"].as_str(),
            Some("make t"),
            "{recipe}"
        );
        assert_eq!(notes[0].line, Some(3), "{recipe}");
    }
}

#[test]
fn an_order_that_only_a_list_says_is_left_to_make() {
    let rules =
        "lint:\n\truff check .\ntest:\n\tpytest\npush:\n\tdocker push x\nlogin:\n\tdocker login\n";
    let cases = [
        ("ci: lint test", None),
        ("ci: lint push", Some("make ci")),
        ("ci: push login", None),
        ("ci: login push", Some("make ci")),
    ];
    for (rule, run) in cases {
        let makefile = format!(".PHONY: ci lint test push login\n{rule}\n{rules}");
        let (table, _) = proposed(&makefile, &[]);
        let found = table["target"]["ci"].get("run").and_then(|r| r.as_str());
        assert_eq!(found, run, "{rule}");
    }
}

#[test]
fn stamps_and_installations_keep_what_they_stand_for() {
    let venv = ".venv/bin/activate: requirements.txt\n\tpython3 -m venv .venv\n\t.venv/bin/pip install -r requirements.txt\n";
    let expected = "inputs=[\"requirements.txt\"] outputs=[\".venv\"]";
    assert!(target(venv, &["requirements.txt"], "venv").starts_with(expected));
    for recipe in ["./setup\n\ttouch $@", "pip install -r in.txt\n\ttouch $@"] {
        let makefile = format!(".stamp: in.txt\n\t{recipe}\n");
        assert!(target(&makefile, &["in.txt"], "stamp").contains("run=\"make .stamp\""));
    }
}

#[test]
fn the_callers_environment_reaches_what_reads_it() {
    let makefile = ".PHONY: t\nt:\n\tx=1; ./go $$STAGE $$x $$HOME '$$quoted' $$DB_PASSWORD\n";
    let target = target(makefile, &[], "t");
    assert!(target.contains("inherit-env=[\"STAGE\"]"), "{target}");
    assert!(target.contains("secret-env=[\"DB_PASSWORD\"]"), "{target}");
}

#[test]
fn clean_stays_where_something_needs_it() {
    let clean = "clean:\n\trm -rf out\n";
    let (table, _) = proposed(&format!(".PHONY: clean\n{clean}"), &[]);
    assert!(table.get("target").is_none());
    let (table, _) = proposed(
        &format!(".PHONY: clean all\nall: clean\n\t./go\n{clean}"),
        &[],
    );
    assert_eq!(table["target"]["clean"]["cache"].as_bool(), Some(false));
}

/// What make runs for a variable's value runs below forge, too.
#[test]
fn a_target_left_to_make_gets_what_its_variables_need() {
    let makefile = "ACCOUNT := $(shell aws sts get-caller-identity)\nAWS = aws --region x\n\
                    IN_POD = $(shell kubectl get pod -o name)\n.PHONY: a b c\n\
                    a:\n\techo $(ACCOUNT)\nb:\n\t$(AWS) ecs list-tasks $(shell date)\nc:\n\techo $(IN_POD) $(shell date)\n";
    for name in ["a", "b"] {
        let keys = target(makefile, &[], name);
        let run = format!("run=\"make {name}\"");
        for wanted in ["\"AWS_PROFILE\"", "\"AWS_SECRET_ACCESS_KEY\"", &run] {
            assert!(keys.contains(wanted), "{name}: {keys}");
        }
    }
    let keys = target(makefile, &[], "c");
    assert!(keys.contains("inherit-env=[\"KUBECONFIG\"]"), "{keys}");
}

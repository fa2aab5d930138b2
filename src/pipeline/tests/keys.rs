//! Every key of the table is read: writing its example into a file changes the workspace.

use super::{load, render};
use crate::pipeline::keys::{self, Key};
use crate::pipeline::{LoadOptions, load_texts};

/// What examples refer to.
const AROUND: &str = r#"
[pipeline]
name = "around"
[workspace]
members = ["m/*"]
[template.python-service.target.inherited]
run = "true"
[service.postgres]
image = "postgres:15"
[target.tools]
run = "true"
[target.cleanup]
run = "true"
[notify.team]
kind = "webhook"
on = ["run-failed"]
url = "https://example.com"
[environment.other]
provider = "docker"
"#;

const COMMON: &str = "[project]\nname = \"common\"\n[target.build]\nrun = \"true\"\n";

/// A table of the file with a key's example in it, and without.
fn pair(head: &str, rest: &str, key: &Key) -> (String, String) {
    let lines = rest
        .lines()
        .filter(|line| line.split('=').next().unwrap_or_default().trim() != key.name);
    let rest: Vec<&str> = lines.collect();
    let without = format!("{head}\n{}\n", rest.join("\n"));
    let with = format!("{without}{} = {}\n", key.name, key.example);
    (with, without)
}

fn seen(member: &str, root: &str) -> String {
    let root = format!("{AROUND}{root}");
    let files = [("", root.as_str()), ("m/common", COMMON), ("m/one", member)];
    let ws = load_texts(&files, &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("{root}\n{member}\n{}", render(&problems)))
        .workspace;
    let text = format!(
        "{:?}",
        (
            &ws.projects,
            &ws.targets,
            &ws.services,
            &ws.environments,
            &ws.registry,
            &ws.notifiers,
            &ws.cache
        )
    );
    without_spans(&text)
}

/// Places move when a line is added: they say nothing.
fn without_spans(text: &str) -> String {
    let mut out = String::new();
    for (i, piece) in text.split("Span {").enumerate() {
        out += if i == 0 {
            piece
        } else {
            piece.split_once('}').map_or("", |(_, rest)| rest)
        };
    }
    out
}

fn kind_of(key: &Key) -> &'static str {
    match key.kinds.first() {
        Some(kind) => kind,
        None => "command",
    }
}

fn target_rest(key: &Key) -> &'static str {
    match kind_of(key) {
        "image" => "kind = \"image\"\nrepository = \"r\"",
        "deploy" => "kind = \"deploy\"\nenvironment = \"other\"\nneeds = [\"img\"]",
        _ => "run = \"true\"\nneeds = [\"venv\"]",
    }
}

/// In a member that has everything around it that the examples name.
fn in_member(head: &str, rest: &str, key: &Key) {
    let (with, without) = pair(head, rest, key);
    let around = "\n[target.img]\nkind = \"image\"\nrepository = \"r\"\n[target.venv]\nrun = \"true\"\n[target.lint]\nrun = \"true\"\n[target.test]\nrun = \"true\"\n[target.'cleanup']\nrun = \"true\"\n[environment.dev]\nprovider = \"docker\"\n";
    let project = "[project]\nname = \"one\"\ndepends = [\"common\"]\nvars = { here = \"1\" }\n";
    let file = |section: &str| match head {
        "[project]" => format!("{section}{around}"),
        _ => format!("{project}{around}{section}"),
    };
    assert_ne!(
        seen(&file(&with), ""),
        seen(&file(&without), ""),
        "{head} {} is not read",
        key.name
    );
}

fn in_root(head: &str, rest: &str, key: &Key) {
    let (with, without) = pair(head, rest, key);
    let member = "[project]\nname = \"one\"\ntemplate = \"python-service\"";
    assert_ne!(
        seen(member, &with),
        seen(member, &without),
        "{head} {} is not read",
        key.name
    );
}

#[test]
fn every_key_of_a_target_is_read() {
    for key in keys::TARGET.keys {
        match key.name {
            // What decides the kind is there in every file; `kind = "command"` is what `run` says already.
            "kind" => {}
            "run" => in_member("[target.x]", "", key),
            "environment" | "repository" => {
                let changed = target_rest(key)
                    .replace("\"r\"", "\"other\"")
                    .replace("\"other\"", "\"dev\"");
                let project = "[project]\nname = \"one\"\n[environment.dev]\nprovider = \"docker\"\n\
                     [target.img]\nkind = \"image\"\nrepository = \"i\"\n[target.x]\n";
                let (one, two) = (
                    format!("{project}{}", target_rest(key)),
                    format!("{project}{changed}"),
                );
                assert_ne!(seen(&one, ""), seen(&two, ""), "{}", key.name);
            }
            _ => in_member("[target.x]", target_rest(key), key),
        }
    }
}

#[test]
fn every_key_of_the_other_tables_is_read() {
    for key in keys::WHEN.keys {
        in_member("[target.x]\nrun = \"true\"\n[target.x.when]", "", key);
    }
    for key in keys::PROJECT.keys {
        in_member("[project]", "name = \"one\"\ndepends = []", key);
    }
    for key in keys::SERVICE.keys {
        let rest = if key.name == "run" {
            "image = \"i\""
        } else {
            "run = \"true\""
        };
        let fixed = Key {
            example: if key.name == "run" {
                "\"serve\""
            } else {
                key.example
            },
            ..*key
        };
        in_member("[service.x]", rest, &fixed);
    }
    for key in keys::READY.keys {
        in_member(
            "[service.x]\nimage = \"i\"\nports = [5432]\n[service.x.ready]",
            if matches!(key.name, "within" | "every") {
                "log = \"up\""
            } else {
                "within = \"70s\""
            },
            key,
        );
    }
    for key in keys::ENVIRONMENT.keys {
        let rest = if key.name == "services" {
            "cluster = \"c\""
        } else {
            "cluster = \"c\"\nservice = \"s\"\nfreeze = [\"Mon 01:00..Mon 02:00\"]\nurl = \"u\""
        };
        if matches!(key.name, "cluster" | "service" | "services" | "provider") {
            continue;
        }
        in_member("[environment.x]", rest, key);
    }
    for key in keys::NOTIFY.keys {
        let kind = key.kinds.first().copied().unwrap_or("webhook");
        let rest = match kind {
            "slack" if key.name == "url" => {
                "kind = \"slack\"\non = [\"rolled-back\"]\ntoken = \"t\"\nchannel = \"c\""
            }
            "slack" => "kind = \"slack\"\non = [\"rolled-back\"]\nurl = \"u\"",
            "pagerduty" => "kind = \"webhook\"\non = [\"rolled-back\"]\nurl = \"u\"",
            "email" => "kind = \"email\"\non = [\"rolled-back\"]\nto = \"me\"\nserver = \"s\"",
            _ => "kind = \"webhook\"\non = [\"rolled-back\"]\nurl = \"u\"",
        };
        if matches!(key.name, "kind" | "on" | "to" | "server") {
            continue;
        }
        let rest = if key.name == "token" {
            format!("{rest}\nchannel = \"c\"")
        } else {
            rest.to_owned()
        };
        in_member("[notify.x]", &rest, key);
    }
}

#[test]
fn every_key_of_the_root_is_read() {
    let defaults = |key: &&Key| !matches!(key.name, "name" | "default");
    for key in keys::PIPELINE.keys.iter().filter(defaults) {
        let member = "[project]\nname = \"one\"\n[target.lint]\nrun = \"true\"\n[target.test]\nrun = \"true\"";
        let with = AROUND.replace(
            "name = \"around\"",
            &format!("name = \"around\"\n{} = {}", key.name, key.example),
        );
        let files = |root| load(&[("", root), ("m/common", COMMON), ("m/one", member)]);
        let shown = |root| {
            let ws = files(root);
            without_spans(&format!("{:?}", (&ws.projects, &ws.targets)))
        };
        assert_ne!(shown(&with), shown(AROUND), "[pipeline] {}", key.name);
    }
    for key in keys::REGISTRY.keys {
        in_root("[registry]", "", key);
    }
    for key in keys::ECR.keys {
        in_root("[registry.ecr]", "", key);
    }
    for key in keys::CACHE.keys {
        in_root("[cache]", "", key);
    }
}

#[test]
fn smoke_checks_and_required_keys_are_read() {
    let environment =
        |line: &str| format!("[environment.x]\nprovider = \"docker\"\nsmoke = [{line}]\n");
    let base = seen(&environment("{ http = \"u\" }"), "");
    for line in [
        "{ http = \"v\" }",
        "{ http = \"u\", status = 204 }",
        "{ http = \"u\", within = \"2m\" }",
        "{ run = \"u\" }",
    ] {
        assert_ne!(seen(&environment(line), ""), base, "{line}");
    }
    let ecs = |cluster: &str, service: &str| {
        format!("[environment.x]\ncluster = \"{cluster}\"\n{service}\n")
    };
    let one = seen(&ecs("a", "service = \"s\""), "");
    assert_ne!(
        seen(
            "[environment.x]\nprovider = \"docker\"\nservice = \"s\"",
            ""
        ),
        one
    );
    assert_ne!(seen(&ecs("b", "service = \"s\""), ""), one);
    assert_ne!(seen(&ecs("a", "service = \"t\""), ""), one);
    assert_ne!(seen(&ecs("a", "services = [\"s\", \"t\"]"), ""), one);
    let mail = |kind: &str, on: &str, to: &str, server: &str| {
        seen(
            &format!("[notify.x]\n{kind}\non = [\"{on}\"]\n{to}\n{server}\n"),
            "",
        )
    };
    let base = mail(
        "kind = \"email\"",
        "run-failed",
        "to = \"a\"",
        "server = \"s\"",
    );
    assert_ne!(
        mail(
            "kind = \"email\"",
            "rolled-back",
            "to = \"a\"",
            "server = \"s\""
        ),
        base
    );
    assert_ne!(
        mail(
            "kind = \"email\"",
            "run-failed",
            "to = \"b\"",
            "server = \"s\""
        ),
        base
    );
    assert_ne!(
        mail(
            "kind = \"email\"",
            "run-failed",
            "to = \"a\"",
            "server = \"t\""
        ),
        base
    );
    assert_ne!(
        mail("kind = \"webhook\"", "run-failed", "url = \"a\"", ""),
        base
    );
}

use std::time::Duration;

use super::{codes, load, target};
use crate::pipeline::code;
use crate::pipeline::model::*;
use crate::pipeline::{LoadOptions, Lookup, Unresolved, load_texts};

/// The file that SPEC opens with.
pub const COMPANY: &str = r#"
[pipeline]
name = "company-app"
default = ["lint", "test"]

[target.venv]
inputs  = ["requirements.txt", "requirements-dev.txt"]
outputs = [".venv"]
run     = ["python3 -m venv .venv", ".venv/bin/pip install -q -r requirements.txt -r requirements-dev.txt"]

[target.black]
needs = ["venv"]
run = "black --check ."

[target.ruff]
needs  = ["venv"]
inputs = ["**/*.py", "pyproject.toml"]
run    = ".venv/bin/ruff check ."

[target.mypy]
needs = ["venv"]
run = "mypy"

[target.scan]
run = "bandit -r ."

[target.lint]
description = "Formatting, style and types"
needs = ["black", "ruff", "mypy"]

[service.postgres]
image = "postgres:15"
env   = { POSTGRES_PASSWORD = "postgres" }
ports = [5432]
ready = { exec = "pg_isready -U postgres" }

[service.redis]
image = "redis:7"
ports = ["6379:6379"]

[target.test]
needs    = ["venv"]
services = ["postgres", "redis"]
env      = { DATABASE_URL = "postgresql://postgres:postgres@${service.postgres.host}:${service.postgres.port}/postgres" }
run      = ".venv/bin/pytest --cov=app --cov-fail-under=80 --cov-report=xml"
outputs  = ["coverage.xml"]
timeout  = "10m"

[target.image]
kind       = "image"
needs      = ["lint", "test", "scan"]
repository = "company-app"
tags       = ["${git.sha}", "latest"]

[environment.dev]
cluster = "dev-cluster"
service = "app-service"
freeze  = ["Fri 16:00..Mon 08:00"]
timezone = "Europe/Berlin"
smoke   = [{ http = "${environment.url}/health" }, { run = "./smoke.sh" }]
url     = "https://dev.example.com"

[target.deploy-dev]
kind        = "deploy"
needs       = ["image"]
environment = "dev"
when        = { branch = "develop" }
"#;

#[test]
fn the_first_file() {
    let ws = load(&[("", COMPANY)]);
    assert_eq!(ws.projects[0].name, "company-app");
    let names: Vec<&str> = ws
        .targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "venv",
            "black",
            "ruff",
            "mypy",
            "scan",
            "lint",
            "test",
            "image",
            "deploy-dev"
        ]
    );
    let default: Vec<_> = ws.projects[0]
        .default
        .iter()
        .map(|id| ws.target(*id).name.as_str())
        .collect();
    assert_eq!(default, ["lint", "test"]);
    let test = target(&ws, "test");
    assert_eq!(test.timeout, Some(Duration::from_secs(600)));
    assert_eq!(*test.shell, ["sh", "-eu", "-c"]);
    assert_eq!(test.services.len(), 2);
    assert_eq!(test.env["DATABASE_URL"].references().count(), 2);
    let deploy = target(&ws, "deploy-dev");
    assert_eq!(deploy.when.as_ref().unwrap().branch, ["develop"]);
    let Kind::Deploy(deploy) = &deploy.kind else {
        panic!()
    };
    assert_eq!(deploy.image, Some(target(&ws, "image").id));
    assert_eq!(ws.services[1].ports[0].outside, Some(6379));
    assert_eq!(ws.environments[0].smoke.len(), 2);
}

const ROOT: &str = r#"
[pipeline]
name = "shop"
default = ["test"]
vars = { python = "3.11", where = "root" }
env = { A = "pipeline", B = "pipeline", C = "pipeline" }
inherit-env = ["CI"]
dotenv = [".env"]
timeout = "1h"

[workspace]
members = ["services/*", "libs/*"]

[template.python.target.test]
inputs = ["src/**", "/conftest.py"]
outputs = ["reports/${project.name}.xml"]
run = "pytest ${var.where}"
env = { B = "template", T = "template" }
tools = { python3 = "3.11", pytest = "*" }
retries = 1

[template.python.target.lint]
needs = [":venv"]
run = "ruff ${project.dir}"

[service.db]
image = "postgres:15"
ports = [5432]

[target.venv]
run = "make venv"
"#;

const BILLING: &str = r#"
[project]
name = "billing"
depends = ["common"]
template = "python"
vars = { where = "member" }
env = { C = "project" }
shell = ["bash", "-c"]

[target.build]
needs = ["^build"]
run = "make"

[target.test]
needs = ["build", "common:build"]
tools = { python3 = "3.12" }
env = { T = "own" }
retries = 3

[service.db]
run = "pg --port ${service.db.port}"
ports = [5432]

[target.db-test]
services = ["db"]
env = { URL = "${service.db.host}:${service.db.port.5432}" }
dir = "tests"
dotenv = ["local.env"]
inherit-env = []
run = "go ${args}"
"#;

const COMMON: &str = r#"
[project]
depends = []
[target.build]
outputs = ["dist"]
run = "make"
"#;

fn shop() -> Workspace {
    load(&[
        ("", ROOT),
        ("libs/common", COMMON),
        ("services/billing", BILLING),
    ])
}

fn raws(map: &std::collections::BTreeMap<String, Text>) -> Vec<(&str, &str)> {
    map.iter()
        .map(|(key, text)| (key.as_str(), text.raw.as_str()))
        .collect()
}

#[test]
fn a_members_keys_lie_over_the_templates() {
    let ws = shop();
    let test = target(&ws, "billing:test");
    let needs: Vec<_> = test
        .needs
        .iter()
        .map(|need| &*ws.target(need.target).address)
        .collect();
    assert_eq!(needs, ["billing:build", "common:build"]);
    assert_eq!(test.retries, 3);
    let Kind::Command { run } = &test.kind else {
        panic!()
    };
    assert_eq!(run[0].literal().as_deref(), Some("pytest member"));
    assert_eq!(
        raws(&test.env_defaults),
        [
            ("A", "pipeline"),
            ("B", "template"),
            ("C", "project"),
            ("T", "template")
        ]
    );
    assert_eq!(raws(&test.env), [("T", "own")]);
    let tools: Vec<_> = test
        .tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.requirement.as_str()))
        .collect();
    assert_eq!(tools, [("pytest", "*"), ("python3", "3.12")]);
    let inputs: Vec<_> = test
        .inputs
        .as_ref()
        .unwrap()
        .iter()
        .map(|input| (input.pattern.as_str(), input.literal))
        .collect();
    assert_eq!(
        inputs,
        [("services/billing/src/**", false), ("conftest.py", true)]
    );
    assert_eq!(
        test.outputs[0].pattern,
        "services/billing/reports/billing.xml"
    );
    assert_eq!(*test.shell, ["bash", "-c"]);
    assert_eq!(test.timeout, Some(Duration::from_secs(3600)));
    assert_eq!(test.dotenv, [".env"]);
    assert_eq!(test.inherit_env, ["CI"]);
}

#[test]
fn own_targets_come_first_and_inherited_ones_last() {
    let ws = shop();
    let addresses: Vec<&str> = ws.targets.iter().map(|target| &*target.address).collect();
    assert_eq!(
        addresses,
        [
            "venv",
            "common:build",
            "billing:build",
            "billing:test",
            "billing:db-test",
            "billing:lint"
        ]
    );
    let lint = target(&ws, "billing:lint");
    assert_eq!(&*ws.target(lint.needs[0].target).address, "venv");
    let build = target(&ws, "billing:build");
    assert_eq!(&*ws.target(build.needs[0].target).address, "common:build");
    assert_eq!(ws.projects[1].name, "common");
    assert_eq!(ws.projects[0].default, [target(&ws, "billing:test").id]);
}

#[test]
fn a_members_service_hides_the_roots_and_its_own_lists_replace_defaults() {
    let ws = shop();
    let test = target(&ws, "billing:db-test");
    assert_eq!(ws.service(test.services[0]).project, ProjectId(2));
    assert_eq!(test.dir, "services/billing/tests");
    assert_eq!(test.dotenv, ["services/billing/local.env"]);
    assert!(test.inherit_env.is_empty());
    let references: Vec<_> = test.env["URL"].references().cloned().collect();
    let db = test.services[0];
    assert_eq!(
        references,
        [
            Reference::ServiceHost(db),
            Reference::ServicePort(db, Some(5432))
        ]
    );
}

#[test]
fn var_on_the_command_line_is_the_strongest_and_may_be_new() {
    let root = "[pipeline]\nvars = { a = \"file\" }\n[target.t]\nrun = \"${var.a} ${var.b} $${x}\"";
    let vars = |pairs: &[(&str, &str)]| LoadOptions {
        vars: pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    };
    let loaded = load_texts(&[("", root)], &vars(&[("a", "1"), ("b", "2")])).unwrap();
    let Kind::Command { run } = &loaded.workspace.targets[0].kind else {
        panic!()
    };
    assert_eq!(run[0].literal().as_deref(), Some("1 2 ${x}"));
    let unused = load_texts(&[("", root)], &vars(&[("b", "2"), ("c", "3")])).unwrap_err();
    assert_eq!(unused.0[0].code_str(), code::UNKNOWN_VAR);
}

#[test]
fn an_image_has_its_defaults() {
    let ws = load(&[(
        "",
        "[target.i]\nkind = \"image\"\nrepository = \"r\"\ncontext = \"web\"",
    )]);
    let Kind::Image(image) = &ws.targets[0].kind else {
        panic!()
    };
    assert_eq!(
        (image.context.as_str(), image.dockerfile.as_str()),
        ("web", "web/Dockerfile")
    );
    assert_eq!(
        image.tags[0].references().collect::<Vec<_>>(),
        [&Reference::GitSha]
    );
    assert!(image.push);
    assert_eq!(ws.cache.dir, ".forge");
    assert_eq!(ws.cache.max_size, 10_000_000_000);
}

#[test]
fn references_are_put_in_when_it_runs() {
    struct Only;
    impl Lookup for Only {
        fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
            match reference {
                Reference::GitSha => Ok("abc".into()),
                other => Err(Unresolved::new(other, "not set")),
            }
        }
    }
    let ws = load(&[(
        "",
        "[target.t]\nrun = [\"echo ${git.sha} ${X}\", \"${env.NO}\"]",
    )]);
    let Kind::Command { run } = &ws.targets[0].kind else {
        panic!()
    };
    assert_eq!(run[0].render(&Only).as_deref(), Ok("echo abc ${X}"));
    assert_eq!(run[1].render(&Only).unwrap_err().reference, "${env.NO}");
}

#[test]
fn overlaps_are_seen_across_projects_and_allowed_within_a_target() {
    let apart = "[target.a]\noutputs = [\"d\", \"d/x\", \"d/*.js\"]\nrun = \"true\"\n[target.b]\noutputs = [\"dd\", \"e/*.js\"]\nrun = \"true\"";
    assert!(codes(&[("", apart)]).is_empty());
    let member = "[target.a]\noutputs = [\"../common\"]\nrun = \"true\"";
    let files = [
        ("", "[workspace]\nmembers = [\"m/*\"]"),
        ("m/one", member),
        ("m/two", member),
    ];
    assert_eq!(codes(&files), [code::OUTPUT_OVERLAP]);
}

#[test]
fn a_needed_maker_is_fine_through_a_group_or_as_what_it_follows() {
    let text = |needs: &str| {
        format!(
            "[target.gen]\noutputs = [\"gen/*.py\"]\nrun = \"true\"\nfinally = [\"last\"]\n[target.all]\nneeds = [\"gen\"]\n\
             [target.last]\ninputs = [\"gen/a.py\"]\nrun = \"true\"\n[target.use]\n{needs}\ninputs = [\"gen/a.py\"]\nrun = \"true\""
        )
    };
    assert!(codes(&[("", &text("needs = [\"all\"]"))]).is_empty());
    assert_eq!(codes(&[("", &text(""))]), [code::INPUT_NOT_NEEDED]);
}

#[test]
fn one_mistake_is_said_once() {
    let text = "[pipeline]\nvars = { a = 1 }\n[target]\nlint = \"ruff\"\n[target.test]\nneeds = [\"lint\"]\nrun = \"pytest ${var.a}\"";
    assert_eq!(codes(&[("", text)]), [code::WRONG_TYPE, code::WRONG_TYPE]);
    let template = "[workspace]\nmembers = [\"m/*\"]\n[template.t.target.test]\nneeds = [\"nothing\"]\nrun = \"true\"";
    let member = "[project]\ntemplate = \"t\"";
    let files = [("", template), ("m/a", member), ("m/b", member)];
    assert_eq!(codes(&files), [code::UNKNOWN_TARGET]);
}

use std::time::Duration;

use crate::pipeline::model::*;
use crate::pipeline::{LoadOptions, Problems, load_texts};

fn load(files: &[(&str, &str)]) -> Workspace {
    match load_texts(files, &LoadOptions::default()) {
        Ok(loaded) => loaded.workspace,
        Err(problems) => panic!("{}", render(&problems)),
    }
}

fn render(problems: &Problems) -> String {
    let handler =
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    let mut text = String::new();
    for problem in &problems.0 {
        handler.render_report(&mut text, problem).unwrap();
    }
    text
}

fn target<'w>(ws: &'w Workspace, address: &str) -> &'w Target {
    ws.targets
        .iter()
        .find(|target| &*target.address == address)
        .unwrap()
}

/// The file that SPEC opens with.
const COMPANY: &str = r#"
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
    assert_eq!(test.shell, ["sh", "-eu", "-c"]);
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

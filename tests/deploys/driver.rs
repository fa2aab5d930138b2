//! Drives the library in a process of its own, because the SDK reads the process's environment. A scenario goes in as
//! JSON, what was told and how it ended comes out as lines.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use forge::deploy::ecs::Ecs;
use forge::deploy::error::DeployError;
use forge::deploy::gates::Approval;
use forge::deploy::outcome::Outcome;
use forge::deploy::progress::Progress;
use forge::deploy::provider::{Provider, Wanted};
use forge::deploy::request::{Caller, Found, Pace, Request};
use forge::deploy::spec::{Check, Overlay, Spec};
use forge::deploy::taskdef::{Definition, Image};
use forge::pipeline::model::OnFailure;
use serde_json::{Value, json};

use crate::script::{REPOSITORY, Script};

/// How a scenario ended.
#[derive(Debug)]
pub struct Run {
    pub code: u8,
    /// Everything that was said, the end last.
    pub text: String,
}

impl Run {
    #[track_caller]
    pub fn says(&self, what: &str) -> &Run {
        assert!(self.text.contains(what), "no `{what}` in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn ends(&self, code: u8) -> &Run {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    /// The id of the plan that was shown.
    pub fn plan(&self) -> String {
        let line = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("plan "));
        line.expect("a plan").to_owned()
    }
}

/// A deployment of image `sha256:2`, changed by what the scenario says.
pub fn deploy(script: &Script, scenario: Value) -> Run {
    run(script, "deploy", scenario)
}

/// `action` is `deploy`, `plan`, `rollback`, `status`, `history`, `logs` or `cancel`.
pub fn run(script: &Script, action: &str, scenario: Value) -> Run {
    run_at(&script.url(), action, scenario)
}

/// The same, against whatever answers at a URL.
pub fn run_at(url: &str, action: &str, mut scenario: Value) -> Run {
    scenario["action"] = json!(action);
    let home = tempfile::tempdir().expect("a directory");
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "driver::child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_ACCESS_KEY_ID", "KEY")
        .env("AWS_SECRET_ACCESS_KEY", "hidden")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SCENARIO", scenario.to_string())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, end) = text.split_once("\nend ").unwrap_or_else(|| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    });
    let (code, end) = end.split_once(' ').expect("a code");
    Run {
        code: code.parse().expect("a code"),
        text: format!("{text}\n{end}"),
    }
}

#[test]
#[ignore = "the other tests run it"]
fn child() {
    let scenario = std::env::var("SCENARIO").expect("a scenario");
    let scenario: Value = serde_json::from_str(&scenario).expect("JSON");
    println!();
    let (code, line) = match act(&scenario) {
        Ok(Some(outcome)) => (
            outcome.result.exit_code(),
            format!("{:?} now {:?}", outcome.result, outcome.now),
        ),
        Ok(None) => (0, String::new()),
        Err(error) => (
            error.exit_code(),
            format!("{} / {}", error.message, error.help),
        ),
    };
    println!("\nend {code} {line}\n");
}

fn act(scenario: &Value) -> Result<Option<Outcome>, DeployError> {
    let cancelled = Cell::new(scenario["cancel-on"] == "");
    let cancel_on = scenario["cancel-on"]
        .as_str()
        .filter(|text| !text.is_empty());
    let mut sink = |progress: Progress| {
        let line = progress.to_string();
        println!("{line}");
        if cancel_on.is_some_and(|word| line.contains(word)) {
            cancelled.set(true);
        }
    };
    let gone = |image: &Image| match scenario["gone"].as_array() {
        Some(gone) if gone.contains(&json!(image.digest)) => Found::Gone,
        _ => Found::Here(vec![
            scenario["architecture"]
                .as_str()
                .unwrap_or("amd64")
                .to_owned(),
        ]),
    };
    let shell = |line: &str| match line {
        "true" => Ok(()),
        _ => Err("exit code 1".to_owned()),
    };
    let mut caller = Caller {
        sink: &mut sink,
        cancelled: &|| cancelled.get(),
        shell: &shell,
        image: &gone,
        login: &|_| None,
        commits: &|old, new| vec![format!("{old}..{new}")],
        pace: Pace(Duration::from_millis(5)),
    };
    let spec = spec(scenario);
    let ecs = Ecs::connect(&spec)?;
    match scenario["action"].as_str().unwrap_or_default() {
        "rollback" => rollback(&ecs, &spec, scenario, &mut caller).map(Some),
        "status" => ecs.status(&spec, &mut caller).map(|all| {
            println!("{all:#?}");
            None
        }),
        "history" => ecs.history(&spec, 10, &mut caller).map(|all| {
            println!("{all:#?}");
            None
        }),
        "logs" => {
            let mut line =
                |line: forge::deploy::provider::LogLine| println!("{} {}", line.task, line.text);
            ecs.logs(&spec, false, &mut line, &mut caller)?;
            Ok(None)
        }
        "cancel" => ecs.cancel(&spec, &mut caller).map(|ended| {
            println!("{ended:?}");
            None
        }),
        action => deploy_or_plan(&ecs, spec.clone(), action, scenario, &mut caller),
    }
}

fn deploy_or_plan(
    ecs: &Ecs,
    spec: Spec,
    action: &str,
    scenario: &Value,
    caller: &mut Caller<'_>,
) -> Result<Option<Outcome>, DeployError> {
    let text = |key: &str| scenario[key].as_str().map(str::to_owned);
    let file = text("task-definition");
    let file = file.map(|text| Definition::from_file(&text, &|raw| Ok(raw.to_owned())));
    let request = Request {
        spec,
        definition: file.transpose()?,
        image: Image {
            repository: REPOSITORY.into(),
            digest: text("digest").unwrap_or("sha256:2".into()),
        },
        commit: text("commit").or(Some("c0ffee".into())),
        branch: text("branch"),
        by: "ann".into(),
        key: "k1".into(),
        run: None,
        now: "2026-01-09T12:00:00Z".parse().expect("a time"),
        hotfix: None,
        takeover: scenario["takeover"] == true,
        restart: false,
    };
    let plan = ecs.plan(&request, caller)?;
    println!("plan {}", plan.id());
    for service in &plan.services {
        service.diff.iter().for_each(|change| println!("{change}"));
        service
            .commits
            .iter()
            .for_each(|commit| println!("{commit}"));
    }
    if action == "plan" {
        plan.notes.iter().for_each(|note| println!("{note:?}"));
        println!("{plan:#?}");
        return Ok(None);
    }
    let approval = match text("approve") {
        None => Approval::None,
        Some(id) => Approval::Of(id),
    };
    ecs.deploy(&request, &plan, &approval, caller).map(Some)
}

fn rollback(
    ecs: &Ecs,
    spec: &Spec,
    scenario: &Value,
    caller: &mut Caller<'_>,
) -> Result<Outcome, DeployError> {
    let wanted = match scenario["to"].as_str() {
        Some(to) => Wanted::To(to.to_owned()),
        None => Wanted::Steps(scenario["steps"].as_u64().unwrap_or(1) as u32),
    };
    let plan = ecs.plan_rollback(spec, &wanted, caller)?;
    for one in &plan.services {
        println!(
            "to {} {:?} {:?} skipped {:?}",
            one.to.revision, one.to.digest, one.to.commit, one.skipped
        );
        one.diff.iter().for_each(|change| println!("{change}"));
    }
    if scenario["dry"] == true {
        return Err(DeployError::wrong("dry", ""));
    }
    ecs.rollback(spec, &plan, caller)
}

fn spec(scenario: &Value) -> Spec {
    let text = |key: &str| scenario[key].as_str().map(str::to_owned);
    let list = |key: &str| -> Vec<String> {
        let list = scenario[key].as_array().into_iter().flatten();
        list.filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let env = scenario["env"].as_object().into_iter().flatten();
    let env =
        env.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    Spec {
        name: "dev".into(),
        region: None,
        account: text("account"),
        profile: None,
        assume_role: None,
        cluster: Some("dev-cluster".into()),
        services: vec!["app".into()],
        container: None,
        overlay: Overlay {
            env: env.collect(),
            secrets: BTreeMap::new(),
            cpu: None,
            memory: scenario["memory"].as_u64().map(|memory| memory as u32),
        },
        desired_count: None,
        url: None,
        branch: list("branches"),
        approval: scenario["approval"] == true,
        freeze: Vec::new(),
        timezone: None,
        before: list("before"),
        smoke: list("smoke").into_iter().map(Check::Run).collect(),
        on_failure: match scenario["on-failure"].as_str() {
            Some("stop") => OnFailure::Stop,
            _ => OnFailure::Rollback,
        },
        timeout: Duration::from_millis(scenario["timeout"].as_u64().unwrap_or(60_000)),
    }
}

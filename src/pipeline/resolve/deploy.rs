//! Environments: where, what is updated, and what guards it.

use std::time::Duration;

use super::text::Scope;
use super::{EMPTY, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::{Field, Node, Value, View, Word};
use crate::pipeline::keys;
use crate::pipeline::model::{Environment, OnFailure, ProjectId, Provider, Smoke, Text};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

impl<'a> Resolver<'a> {
    pub(super) fn environment(&mut self, index: usize) -> Environment {
        let named = &self.environments[index];
        let (field, view, project) = (named.field, named.view, named.project);
        let scope = Scope {
            environment: true,
            ..Scope::new(project)
        };
        let docker = view
            .word("provider")
            .is_some_and(|word| word.text == "docker");
        self.check_environment(field, view, docker);
        self.check_environment_cycle(field, view);
        self.check_env_names(view.entries("env"));
        let freeze = view.list("freeze").unwrap_or_default().iter();
        let freeze = freeze.filter_map(|node| match &node.value {
            Value::Freeze(window) => Some(window.clone()),
            _ => None,
        });
        Environment {
            name: field.key.clone(),
            project,
            span: field.key_span.clone(),
            provider: if docker {
                Provider::Docker
            } else {
                Provider::Ecs
            },
            region: self.optional_text(view, "region", &scope),
            account: self.account(view, &scope),
            profile: self.optional_text(view, "profile", &scope),
            assume_role: self.optional_text(view, "assume-role", &scope),
            cluster: self.optional_text(view, "cluster", &scope),
            services: self.deployed_services(view, &scope),
            container: self.optional_text(view, "container", &scope),
            task_definition: view
                .word("task-definition")
                .and_then(|word| self.path(word, project, project)),
            env: self.text_map(view.entries("env"), &scope),
            secrets: self.text_map(view.entries("secrets"), &scope),
            cpu: view.number("cpu"),
            memory: view.number("memory"),
            desired_count: view.number("desired-count"),
            url: self.optional_text(view, "url", &scope),
            branch: view.strings("branch"),
            approval: view.bool("approval").unwrap_or(false),
            freeze: freeze.collect(),
            timezone: view.string("timezone"),
            before: self.texts(view.list("before").unwrap_or_default(), &scope),
            smoke: self.smoke(view, &scope),
            on_failure: match view.word("on-failure").map(|word| word.text) {
                Some("stop") => OnFailure::Stop,
                _ => OnFailure::Rollback,
            },
            timeout: view
                .duration("timeout")
                .unwrap_or(Duration::from_secs(15 * 60)),
            notify: self.notified(view, project),
        }
    }

    pub(super) fn optional_text(
        &mut self,
        view: View<'a>,
        key: &str,
        scope: &Scope<'_>,
    ) -> Option<Text> {
        view.word(key).map(|word| self.text(word, scope))
    }

    fn account(&mut self, view: View<'a>, scope: &Scope<'_>) -> Option<Text> {
        let word = view.word("account")?;
        let text = self.text(word, scope);
        let wrong =
            |account: &str| account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit());
        if text.literal().is_some_and(|account| wrong(&account))
            && text.references().next().is_none()
        {
            self.report(
                Problem::new(
                    code::BAD_VALUE,
                    format!("`account` can't be `{}`", word.text),
                )
                .label(word.span, "expected the twelve digits of an AWS account")
                .help("for example: account = \"123456789012\""),
            );
        }
        Some(text)
    }

    fn deployed_services(&mut self, view: View<'a>, scope: &Scope<'_>) -> Vec<Text> {
        match view.word("service") {
            Some(word) => vec![self.text(word, scope)],
            None => self.texts(view.list("services").unwrap_or_default(), scope),
        }
    }

    fn check_environment(&mut self, field: &Field, view: View<'a>, docker: bool) {
        self.check_not_empty(
            view,
            &[
                "cluster",
                "service",
                "services",
                "container",
                "task-definition",
                "url",
                "branch",
                "before",
                "smoke",
            ],
        );
        if let (Some(one), Some(many)) = (view.get("service"), view.get("services")) {
            self.report(
                Problem::new(
                    code::KEY_CONFLICT,
                    format!(
                        "the environment `{}` has `service` and `services`",
                        field.key
                    ),
                )
                .label(&many.key_span, "several")
                .label(&one.key_span, "one")
                .help("keep `services`, with all of them in it"),
            );
        }
        if let (Some(zone), None) = (view.get("timezone"), view.get("freeze")) {
            self.report(
                Problem::new(code::MISSING_KEY, "`timezone` without `freeze`")
                    .label(&zone.key_span, "the time zone of what?")
                    .help("freeze = [\"Fri 16:00..Mon 08:00\"], or take `timezone` out"),
            );
        }
        if docker {
            self.check_provider_keys(view);
            return;
        }
        self.check_required(field, view);
    }

    fn check_required(&mut self, field: &Field, view: View<'a>) {
        let missing = |keys: &[&str]| !keys.iter().any(|key| view.has(key)) && !view.broken();
        for (keys, example) in [
            (&["cluster"][..], "cluster = \"dev-cluster\""),
            (&["service", "services"], "service = \"app-service\""),
        ] {
            if missing(keys) {
                self.report(
                    Problem::new(
                        code::MISSING_KEY,
                        format!("the environment `{}` has no `{}`", field.key, keys[0]),
                    )
                    .label(
                        &field.key_span,
                        format!("a deployment to ECS needs `{}`", keys[0]),
                    )
                    .help(format!(
                        "add {example}, or provider = \"docker\" for containers on the local engine"
                    )),
                );
            }
        }
    }

    fn check_provider_keys(&mut self, view: View<'a>) {
        for field in &view.own.fields {
            let key = keys::ENVIRONMENT.key(&field.key);
            if key.is_some_and(|key| !key.kinds.is_empty() && !key.kinds.contains(&"docker")) {
                self.report(
                    Problem::new(
                        code::WRONG_KIND,
                        format!("`{}` means nothing to the provider `docker`", field.key),
                    )
                    .label(&field.key_span, "belongs to the provider `ecs`")
                    .help("take it out: the docker provider deploys to the local engine"),
                );
            }
        }
    }

    /// `url = "${environment.url}"` and longer ways round would never end.
    fn check_environment_cycle(&mut self, field: &Field, view: View<'a>) {
        let next = |key: &str| -> Vec<String> {
            let text = view.word(key).map_or("", |word| word.text);
            let marks = text.split("${environment.").skip(1);
            marks
                .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                .collect()
        };
        for start in super::text::ENVIRONMENT_KEYS {
            let mut seen: Vec<String> = Vec::new();
            let mut open = next(start);
            while let Some(key) = open.pop() {
                if key == *start {
                    self.self_reference(field, view.word(start), start);
                    return;
                }
                if !seen.contains(&key) {
                    open.extend(next(&key));
                    seen.push(key);
                }
            }
        }
    }

    fn self_reference(&mut self, field: &Field, word: Option<Word<'_>>, key: &str) {
        let span = word.map_or(&field.key_span, |word| word.span);
        self.report(
            Problem::new(
                code::REFERENCE_NOT_ALLOWED,
                format!(
                    "`{key}` of the environment `{}` refers to itself",
                    field.key
                ),
            )
            .label(span, "needs its own value")
            .help("write the value itself"),
        );
    }

    fn smoke(&mut self, view: View<'a>, scope: &Scope<'_>) -> Vec<Smoke> {
        let nodes = view.list("smoke").unwrap_or_default();
        nodes
            .iter()
            .filter_map(|node| self.smoke_check(node, scope))
            .collect()
    }

    fn smoke_check(&mut self, node: &'a Node, scope: &Scope<'_>) -> Option<Smoke> {
        let view = View::new(node.table().unwrap_or(&EMPTY));
        self.check_not_empty(view, &["http", "run"]);
        match (view.get("http"), view.get("run")) {
            (Some(http), None) => Some(Smoke::Http {
                url: self.text(http.node.word()?, scope),
                status: view.number("status").unwrap_or(200),
                within: view.duration("within").unwrap_or(Duration::from_secs(60)),
            }),
            (None, Some(run)) => {
                let stray = ["status", "within"]
                    .into_iter()
                    .find_map(|key| view.get(key));
                if let Some(stray) = stray {
                    self.report(
                        Problem::new(
                            code::KEY_CONFLICT,
                            format!("`{}` goes with `http`, not with `run`", stray.key),
                        )
                        .label(&stray.key_span, "means nothing here")
                        .label(&run.key_span, "a shell line")
                        .help("take it out: `run` passes when it ends with 0"),
                    );
                }
                Some(Smoke::Run(self.text(run.node.word()?, scope)))
            }
            (Some(http), Some(run)) => {
                self.report(
                    Problem::new(code::KEY_CONFLICT, "a smoke check has `http` and `run`")
                        .label(&run.key_span, "a shell line")
                        .label(&http.key_span, "a URL")
                        .help("make two of it: smoke = [{ http = \"…\" }, { run = \"…\" }]"),
                );
                None
            }
            (None, None) => {
                if !view.broken() {
                    self.report(
                        Problem::new(
                            code::MISSING_KEY,
                            "a smoke check has neither `http` nor `run`",
                        )
                        .label(&node.span, "nothing to check")
                        .help("smoke = [{ http = \"${environment.url}/health\" }]"),
                    );
                }
                None
            }
        }
    }

    fn notified(&mut self, view: View<'a>, project: ProjectId) -> Vec<usize> {
        let mut notified = Vec::new();
        for word in view.words("notify") {
            match self.find_named("notify", word.text, project) {
                Some(index) => notified.push(index),
                None => {
                    let names = Resolver::names_of(&self.notifiers, project);
                    let help = suggest::help(word.text, "notifiers", names)
                        .unwrap_or_else(|| format!("declare it: [notify.{}]", word.text));
                    self.report(
                        Problem::new(
                            code::UNKNOWN_NOTIFIER,
                            format!("there is no notifier `{}`", word.text),
                        )
                        .label(word.span, "unknown notifier")
                        .help(help),
                    );
                }
            }
        }
        notified
    }
}

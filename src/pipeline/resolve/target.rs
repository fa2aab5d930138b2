//! Targets: defaults filled in, paths made relative to the workspace, kinds told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::text::Scope;
use super::{Declared, ROOT, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::{Field, Value, View, Word};
use crate::pipeline::keys;
use crate::pipeline::model::{Deploy, Kind, ProjectId, Span, Target, TargetId, Text, Tool, When};
use crate::pipeline::names;
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

impl<'a> Resolver<'a> {
    pub(super) fn target(&mut self, id: TargetId) -> Target {
        let declared = self.targets[id.0 as usize].clone();
        let (view, project) = (declared.view, declared.project);
        let kind_name = kind_name(view);
        self.check_keys(&declared, kind_name);
        self.check_not_empty(
            view,
            &["run", "shell", "repository", "dockerfile", "context"],
        );
        let secret_env = self.default_strings(view, project, "secret-env");
        let services = self.listed_services(view, project);
        let scope = Scope {
            target: Some(id),
            services: &services,
            secrets: &secret_env,
            args: kind_name == "command",
            ..Scope::new(project)
        };
        let env_defaults = self.env_defaults(&declared, &scope);
        let env = self.own_env(&declared, &scope);
        self.check_inherited(view);
        let kind = self.kind(&declared, kind_name, &scope);
        let needs = self.needs(view.words("needs"), project);
        let target = Target {
            id,
            project,
            name: declared.name.to_owned(),
            address: self.address_of(&declared).into(),
            span: declared.span.clone(),
            description: view.string("description"),
            kind: with_image(kind, &needs, self),
            needs,
            finally: self.needs(view.words("finally"), project),
            inputs: view.has("inputs").then(|| self.inputs(view, project)),
            outputs: self.outputs(view, project),
            shell: self.shell(view, project),
            dir: self.dir(view, project),
            env_defaults,
            env,
            inherit_env: self.default_strings(view, project, "inherit-env"),
            dotenv: self.dotenv(view, project),
            tools: tools(view),
            cache: view.bool("cache").unwrap_or(true),
            incremental: view.bool("incremental").unwrap_or(false),
            sandbox: view.bool("sandbox").unwrap_or(false),
            timeout: self.timeout(view, project),
            retries: view.number("retries").unwrap_or(0),
            locks: view.strings("locks"),
            interactive: view.bool("interactive").unwrap_or(false),
            when: view.get("when").and_then(when),
            services: Vec::new(),
            secret_env: Vec::new(),
        };
        self.check_secrets(&declared, &secret_env, &target);
        Target {
            services,
            secret_env,
            ..target
        }
    }

    fn address_of(&self, declared: &Declared<'_>) -> String {
        match declared.project {
            ROOT => declared.name.to_owned(),
            project => format!("{}:{}", self.project(project).name, declared.name),
        }
    }

    /// Keys that belong to another kind, and keys that this kind has to have.
    fn check_keys(&mut self, declared: &Declared<'a>, kind: &'static str) {
        let view = declared.view;
        let template = view.template.map_or(&[][..], |below| &below.fields);
        for field in view.own.fields.iter().chain(template) {
            let key = keys::TARGET.key(&field.key);
            let misplaced =
                key.is_some_and(|key| !key.kinds.is_empty() && !key.kinds.contains(&kind));
            let kind_is_known = view.has("kind") || !view.broken();
            if misplaced && kind_is_known {
                self.wrong_kind(declared, field, kind);
            }
        }
        if view.broken() {
            return;
        }
        for (of, key, example) in [
            ("command", "run", "run = \"make test\""),
            ("image", "repository", "repository = \"company-app\""),
            ("deploy", "environment", "environment = \"dev\""),
        ] {
            if of == kind && !view.has(key) {
                self.report(
                    Problem::new(
                        code::MISSING_KEY,
                        format!("`{}` has no `{key}`", declared.name),
                    )
                    .label(
                        &declared.span,
                        format!("{} target needs `{key}`", with_article(kind)),
                    )
                    .help(format!("add {example}")),
                );
            }
        }
    }

    fn wrong_kind(&mut self, declared: &Declared<'_>, field: &Field, kind: &str) {
        let belongs = keys::TARGET
            .key(&field.key)
            .map_or(&[][..], |key| key.kinds);
        let help = match (kind, belongs) {
            ("group", ["image"]) => "add kind = \"image\" for a target that builds an image".to_owned(),
            ("group", ["deploy"]) => "add kind = \"deploy\" for a target that deploys".to_owned(),
            ("group", _) => "a target without `run` and `kind` only names a group of `needs`: add `run`, or take this key out".to_owned(),
            (_, belongs) => format!("`{}` belongs to kind {}", field.key, belongs.iter().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>().join(" and ")),
        };
        self.report(
            Problem::new(
                code::WRONG_KIND,
                format!(
                    "`{}` means nothing in {} target",
                    field.key,
                    with_article(kind)
                ),
            )
            .label(
                &field.key_span,
                format!("`{}` is {}", declared.name, with_article(kind)),
            )
            .help(help),
        );
    }

    pub(super) fn check_not_empty(&mut self, view: View<'a>, keys: &[&str]) {
        for field in keys.iter().filter_map(|key| view.get(key)) {
            let blank = |text: &str| text.trim().is_empty();
            let empty = match &field.node.value {
                Value::Str(text) if blank(text) => Some(&field.node.span),
                Value::List(nodes) if nodes.is_empty() => Some(&field.node.span),
                Value::List(nodes) => nodes
                    .iter()
                    .find(|node| node.word().is_some_and(|word| blank(word.text)))
                    .map(|node| &node.span),
                _ => None,
            };
            if let Some(span) = empty {
                self.report(
                    Problem::new(code::EMPTY_VALUE, format!("`{}` is empty", field.key))
                        .label(span, "nothing here")
                        .help(format!("write what it is, or leave `{}` out", field.key)),
                );
            }
        }
    }

    /// `env` of pipeline, project and template, the later the stronger.
    fn env_defaults(
        &mut self,
        declared: &Declared<'a>,
        scope: &Scope<'_>,
    ) -> BTreeMap<String, Text> {
        let mut heads: Vec<_> = self.heads_of(declared.project).collect();
        heads.reverse();
        let below = heads.into_iter().flat_map(|(_, head)| head.entries("env"));
        let template = declared
            .view
            .template
            .map_or(&[][..], |below| below.entries("env"));
        let all: Vec<&Field> = below.chain(template).collect();
        self.check_env_names(all.iter().copied());
        // Defaults are everybody's: the words after `--` are for the target that was asked for.
        let scope = Scope {
            args: false,
            ..*scope
        };
        self.text_map(all.into_iter(), &scope)
    }

    fn own_env(&mut self, declared: &Declared<'a>, scope: &Scope<'_>) -> BTreeMap<String, Text> {
        let own = declared.view.own.entries("env");
        self.check_env_names(own.iter());
        self.text_map(own.iter(), scope)
    }

    pub(super) fn check_env_names<'f>(&mut self, fields: impl Iterator<Item = &'f Field>) {
        for field in fields {
            self.check_env_name(&field.key, &field.key_span);
        }
    }

    /// Names in lists of what is taken from the caller.
    pub(super) fn check_inherited(&mut self, view: View<'a>) {
        for word in ["inherit-env", "secret-env"]
            .into_iter()
            .flat_map(|key| view.words(key))
        {
            self.check_env_name(word.text, word.span);
        }
    }

    fn check_env_name(&mut self, name: &str, span: &Span) {
        let never = |c: char| c.is_whitespace() || c.is_control() || "=$\"'`".contains(c);
        if !name.is_empty() && !name.contains(never) {
            return;
        }
        let bare = name.trim_start_matches('$').trim_matches(['{', '}']);
        let help = match bare != name && names::is_variable(bare) {
            true => format!("write its name alone: \"{bare}\""),
            false => {
                "a variable's name is not empty, and has no `=`, no `$`, no quote and no blank"
                    .to_owned()
            }
        };
        let shown = name.escape_default();
        self.report(
            Problem::new(
                code::BAD_NAME,
                format!("`{shown}` can't be a variable's name"),
            )
            .label(span, "this name")
            .help(help),
        );
    }

    /// A target's own list, else the project's, else the pipeline's.
    fn default_strings(&self, view: View<'a>, project: ProjectId, key: &str) -> Vec<String> {
        if view.has(key) {
            return view.strings(key);
        }
        self.heads_of(project)
            .find(|(_, head)| head.has(key))
            .map(|(_, head)| head.strings(key))
            .unwrap_or_default()
    }

    fn timeout(&self, view: View<'a>, project: ProjectId) -> Option<Duration> {
        let mut heads = self.heads_of(project);
        let default = || heads.find_map(|(_, head)| head.duration("timeout"));
        view.duration("timeout").or_else(default)
    }

    fn shell(&self, view: View<'a>, project: ProjectId) -> Arc<[String]> {
        match self.default_strings(view, project, "shell") {
            shell if shell.is_empty() => Arc::clone(&self.usual_shell),
            shell => shell.into(),
        }
    }

    fn kind(&mut self, declared: &Declared<'a>, name: &str, scope: &Scope<'_>) -> Kind {
        let view = declared.view;
        match name {
            "command" => Kind::Command {
                run: self.texts(view.list("run").unwrap_or_default(), scope),
            },
            "image" => Kind::Image(Box::new(self.image(declared, scope))),
            "deploy" => Kind::Deploy(Box::new(Deploy {
                environment: self.environment_of(view, declared.project).unwrap_or(0),
                image: None,
            })),
            _ => Kind::Group,
        }
    }

    fn environment_of(&mut self, view: View<'a>, project: ProjectId) -> Option<usize> {
        let word = view.word("environment")?;
        let found = self.find_named("environment", word.text, project);
        if found.is_none() {
            let names = Resolver::names_of(&self.environments, project);
            let help = suggest::help(word.text, "environments", names)
                .unwrap_or_else(|| format!("declare it: [environment.{}]", word.text));
            self.report(
                Problem::new(
                    code::UNKNOWN_ENVIRONMENT,
                    format!("there is no environment `{}`", word.text),
                )
                .label(word.span, "unknown environment")
                .help(help),
            );
        }
        found
    }

    /// A secret that is declared as a variable too would be in the key.
    fn check_secrets(&mut self, declared: &Declared<'a>, secrets: &[String], target: &Target) {
        let listed: Vec<Word<'_>> = declared.view.words("secret-env").collect();
        for name in secrets {
            let also = if target.env.contains_key(name) || target.env_defaults.contains_key(name) {
                "env"
            } else if target.inherit_env.contains(name) {
                "inherit-env"
            } else {
                continue;
            };
            let span = listed
                .iter()
                .find(|word| word.text == name)
                .map_or(&declared.span, |word| word.span);
            self.report(
                Problem::new(
                    code::SECRET_CONFLICT,
                    format!(
                        "`{name}` is a secret of `{}` and in its `{also}` too",
                        declared.name
                    ),
                )
                .label(span, format!("what is in `{also}` gets into the key"))
                .help(format!(
                    "take `{name}` out of `{also}` or out of `secret-env`"
                )),
            );
        }
    }
}

/// As written, else by what is there.
fn kind_name(view: View<'_>) -> &'static str {
    match view.word("kind").map(|word| word.text) {
        Some("command") => "command",
        Some("image") => "image",
        Some("deploy") => "deploy",
        _ if view.has("run") => "command",
        _ => "group",
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "image" => "an image".to_owned(),
        kind => format!("a {kind}"),
    }
}

/// The image that a deploy target deploys, where its needs leave no choice.
fn with_image(kind: Kind, needs: &[crate::pipeline::model::Need], resolver: &Resolver<'_>) -> Kind {
    let Kind::Deploy(mut deploy) = kind else {
        return kind;
    };
    let is_image =
        |target: &TargetId| kind_name(resolver.targets[target.0 as usize].view) == "image";
    let mut images = needs.iter().map(|need| need.target).filter(is_image);
    deploy.image = match (images.next(), images.next()) {
        (Some(image), None) => Some(image),
        _ => None,
    };
    Kind::Deploy(deploy)
}

fn tools(view: View<'_>) -> Vec<Tool> {
    let mut tools: BTreeMap<&str, Tool> = BTreeMap::new();
    for field in view.entries("tools") {
        if let Value::Version(parsed) = &field.node.value {
            let (requirement, version) = &**parsed;
            let tool = Tool {
                name: field.key.clone(),
                requirement: requirement.clone(),
                version: version.clone(),
                span: field.node.span.clone(),
            };
            tools.insert(&field.key, tool);
        }
    }
    tools.into_values().collect()
}

fn when(field: &Field) -> Option<When> {
    let view = View::new(field.node.table()?);
    let env = view.entries("env").map(|field| {
        let values = field.node.words().map(|word| word.text.to_owned());
        (field.key.clone(), values.collect())
    });
    Some(When {
        branch: view.strings("branch"),
        tag: view.strings("tag"),
        event: view.strings("event"),
        os: view.strings("os"),
        env: env.collect(),
        span: Some(field.node.span.clone()),
    })
}

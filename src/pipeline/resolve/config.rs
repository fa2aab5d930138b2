//! `[notify.NAME]`, `[registry]` and `[cache]`.

use super::text::Scope;
use super::{EMPTY, ROOT, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::{Field, View};
use crate::pipeline::keys;
use crate::pipeline::model::{CacheConfig, Notifier, NotifierKind, Registry, RemoteWrite};
use crate::pipeline::problem::Problem;

/// Ten gigabytes.
const MAX_SIZE: u64 = 10_000_000_000;

/// What each kind of notifier has to have; one of each group.
const REQUIRED: &[(&str, &[&str])] = &[
    ("slack", &["url", "token"]),
    ("pagerduty", &["key"]),
    ("email", &["to"]),
    ("email", &["server"]),
    ("webhook", &["url"]),
];

impl<'a> Resolver<'a> {
    pub(super) fn notifier(&mut self, index: usize) -> Notifier {
        let named = &self.notifiers[index];
        let (field, view, project) = (named.field, named.view, named.project);
        let kind = view.word("kind").map(|word| word.text);
        self.check_notifier(field, view, kind);
        let scope = Scope::new(project);
        let settings = view.own.fields.iter().filter(|field| {
            let key = keys::NOTIFY.key(&field.key);
            key.is_some_and(|key| !key.kinds.is_empty())
        });
        Notifier {
            name: field.key.clone(),
            span: field.key_span.clone(),
            kind: match kind {
                Some("slack") => NotifierKind::Slack,
                Some("pagerduty") => NotifierKind::PagerDuty,
                Some("email") => NotifierKind::Email,
                _ => NotifierKind::Webhook,
            },
            settings: self.text_map(settings, &scope),
            on: view.strings("on"),
            branches: view.strings("branches"),
            targets: view.strings("targets"),
        }
    }

    fn check_notifier(&mut self, field: &Field, view: View<'a>, kind: Option<&str>) {
        self.check_not_empty(
            view,
            &[
                "on", "url", "channel", "token", "key", "to", "from", "server",
            ],
        );
        if !view.broken() {
            for (key, example) in [
                ("kind", "kind = \"slack\""),
                ("on", "on = [\"run-failed\"]"),
            ] {
                if !view.has(key) {
                    self.report(missing(field, key, example));
                }
            }
        }
        let Some(kind) = kind else {
            return;
        };
        for setting in &view.own.fields {
            let kinds = keys::NOTIFY
                .key(&setting.key)
                .map_or(&[][..], |key| key.kinds);
            if !kinds.is_empty() && !kinds.contains(&kind) {
                self.report(
                    Problem::new(
                        code::WRONG_KIND,
                        format!(
                            "`{}` means nothing to a notifier of kind `{kind}`",
                            setting.key
                        ),
                    )
                    .label(&setting.key_span, format!("`{}` is {kind}", field.key))
                    .help(format!("`{kind}` takes {}", settings_of(kind))),
                );
            }
        }
        for (_, keys) in REQUIRED.iter().filter(|(of, _)| *of == kind) {
            if !keys.iter().any(|key| view.has(key)) && !view.broken() {
                let example = keys::NOTIFY.key(keys[0]).map_or("", |key| key.example);
                self.report(missing(field, keys[0], &format!("{} = {example}", keys[0])));
            }
        }
        if kind == "slack" && view.has("token") && !view.has("channel") && !view.broken() {
            self.report(missing(field, "channel", "channel = \"#builds\""));
        }
    }

    pub(super) fn registry(&mut self) -> Registry {
        let view = View::new(self.documents[0].fields.table("registry").unwrap_or(&EMPTY));
        if let (Some(ecr), Some(host)) = (view.get("ecr"), view.get("host")) {
            self.report(
                Problem::new(code::KEY_CONFLICT, "[registry] has `ecr` and `host`")
                    .label(&host.key_span, "another registry")
                    .label(&ecr.key_span, "Amazon's")
                    .help("keep the one that images are pushed to"),
            );
        }
        self.check_not_empty(view, &["host"]);
        let host = view.word("host").and_then(|word| self.plain(word, ROOT));
        let ecr = View::new(view.own.table("ecr").unwrap_or(&EMPTY));
        match host {
            Some(host) => Registry::Host(host),
            None => Registry::Ecr {
                region: ecr.word("region").and_then(|word| self.plain(word, ROOT)),
                account: ecr.word("account").and_then(|word| self.plain(word, ROOT)),
                create_repository: ecr.bool("create-repository").unwrap_or(false),
            },
        }
    }

    pub(super) fn cache(&mut self) -> CacheConfig {
        let view = View::new(self.documents[0].fields.table("cache").unwrap_or(&EMPTY));
        self.check_not_empty(view, &["dir", "remote"]);
        CacheConfig {
            dir: self.cache_dir(view).unwrap_or_else(|| ".forge".to_owned()),
            max_size: view.size("max-size").unwrap_or(MAX_SIZE),
            remote: self.optional_text(view, "remote", &Scope::new(ROOT)),
            remote_write: match view.word("remote-write").map(|word| word.text) {
                Some("never") => RemoteWrite::Never,
                Some("always") => RemoteWrite::Always,
                _ => RemoteWrite::Ci,
            },
        }
    }

    /// Below the workspace, or anywhere by an absolute path.
    fn cache_dir(&mut self, view: View<'a>) -> Option<String> {
        let word = view.word("dir")?;
        let dir = self.plain(word, ROOT)?;
        if dir.starts_with('/') {
            return Some(dir);
        }
        let dir = self.path(word, ROOT, ROOT)?;
        if dir.is_empty() {
            self.report(
                Problem::new(code::BAD_PATH, "the cache can't be the workspace itself")
                    .label(word.span, "the root file's directory")
                    .help("dir = \".forge\""),
            );
            return None;
        }
        Some(dir)
    }
}

fn missing(field: &Field, key: &str, example: &str) -> Problem {
    Problem::new(
        code::MISSING_KEY,
        format!("the notifier `{}` has no `{key}`", field.key),
    )
    .label(&field.key_span, format!("`{key}` is missing"))
    .help(format!("add {example}"))
}

fn settings_of(kind: &str) -> String {
    let keys = keys::NOTIFY.keys.iter();
    let names: Vec<&str> = keys
        .filter(|key| key.kinds.contains(&kind))
        .map(|key| key.name)
        .collect();
    crate::pipeline::suggest::list(&names)
}

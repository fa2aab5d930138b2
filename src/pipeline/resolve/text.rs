//! Strings with references: parsed, looked up, and refused where they have no value.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{ImageUse, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::{Field, Node, Word};
use crate::pipeline::interpolate::{NAMESPACES, Piece, scan};
use crate::pipeline::model::{Part, ProjectId, Reference, ServiceId, Span, TargetId, Text};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

/// Where a text stands: what it may refer to.
#[derive(Clone, Copy)]
pub struct Scope<'s> {
    pub project: ProjectId,
    /// The target it belongs to.
    pub target: Option<TargetId>,
    /// The services whose ports are known when it is rendered.
    pub services: &'s [ServiceId],
    /// Names in the target's `secret-env`.
    pub secrets: &'s [String],
    /// In an `[environment.NAME]`.
    pub environment: bool,
    /// In a command, which gets the words after `--`.
    pub args: bool,
}

impl<'s> Scope<'s> {
    pub fn new(project: ProjectId) -> Scope<'s> {
        Scope {
            project,
            target: None,
            services: &[],
            secrets: &[],
            environment: false,
            args: false,
        }
    }
}

/// What `${environment.KEY}` may name.
pub const ENVIRONMENT_KEYS: &[&str] = &[
    "name",
    "provider",
    "region",
    "account",
    "profile",
    "cluster",
    "service",
    "container",
    "url",
];

impl Resolver<'_> {
    pub(super) fn text(&mut self, word: Word<'_>, scope: &Scope<'_>) -> Text {
        let mut parts = Vec::new();
        for (piece, range) in scan(word.text) {
            match piece {
                Piece::Literal(text) => parts.push(Part::Literal(text.to_owned())),
                Piece::Reference(body) => {
                    let span = self.inside(word.span, word.text, range);
                    if let Some(reference) = self.reference(body, &span, scope) {
                        parts.push(Part::Reference(reference));
                    }
                }
                Piece::Unclosed => self.unclosed(&word, range),
                Piece::Foreign(key) => self.foreign(&word, key, range),
            }
        }
        Text {
            raw: word.text.to_owned(),
            span: word.span.clone(),
            parts,
        }
    }

    fn unclosed(&mut self, word: &Word<'_>, range: Range<usize>) {
        let span = self.inside(word.span, word.text, range.clone());
        self.report(
            Problem::new(code::UNKNOWN_REFERENCE, "a reference is not closed")
                .label(&span, "no `}` follows")
                .help(format!(
                    "write `{}}}`, or `$${{` for a literal `${{`",
                    word.text[range].trim_end()
                )),
        );
    }

    fn foreign(&mut self, word: &Word<'_>, key: &str, range: Range<usize>) {
        let span = self.inside(word.span, word.text, range);
        self.report(
            Problem::new(
                code::UNKNOWN_REFERENCE,
                "a reference is written without spaces and in single braces",
            )
            .label(&span, "the shell would get this as it is")
            .help(format!("write ${{{key}}}")),
        );
    }

    /// The texts of a list.
    pub(super) fn texts(&mut self, nodes: &[Node], scope: &Scope<'_>) -> Vec<Text> {
        let words = nodes.iter().filter_map(Node::word);
        words.map(|word| self.text(word, scope)).collect()
    }

    /// The texts of a table, a later entry of the same name being the stronger.
    pub(super) fn text_map<'f>(
        &mut self,
        fields: impl Iterator<Item = &'f Field>,
        scope: &Scope<'_>,
    ) -> BTreeMap<String, Text> {
        let mut map = BTreeMap::new();
        for field in fields {
            if let Some(word) = field.node.word() {
                map.insert(field.key.clone(), self.text(word, scope));
            }
        }
        map
    }

    /// A string that is known before anything runs. `None`: it was reported.
    pub(super) fn plain(&mut self, word: Word<'_>, project: ProjectId) -> Option<String> {
        let mut out = String::new();
        let mut whole = true;
        for (piece, range) in scan(word.text) {
            let span = self.inside(word.span, word.text, range.clone());
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Reference(body) => match self.plain_reference(body, &span, project) {
                    Some(value) => out.push_str(&value),
                    None => whole = false,
                },
                Piece::Unclosed => out.push_str("${"),
                Piece::Foreign(key) => {
                    self.foreign(&word, key, range);
                    whole = false;
                }
            }
        }
        whole.then_some(out)
    }

    fn plain_reference(&mut self, body: &str, span: &Span, project: ProjectId) -> Option<String> {
        let namespace = body.split('.').next().unwrap_or(body);
        if NAMESPACES.contains(&namespace) && !matches!(namespace, "var" | "project")
            || body == "args"
        {
            self.report(
                Problem::new(
                    code::REFERENCE_NOT_ALLOWED,
                    format!("${{{body}}} is not known before anything runs"),
                )
                .label(span, "only ${var.…} and ${project.…} are known here")
                .help("declare it as a variable and set it with `--var NAME=VALUE`"),
            );
            return None;
        }
        match self.reference(body, span, &Scope::new(project))? {
            Reference::Var(_, value) => Some(value),
            Reference::ProjectName => Some(self.project(project).name.clone()),
            Reference::ProjectDir => Some(self.project(project).dir.clone()),
            _ => None,
        }
    }

    /// `None`: it was reported.
    fn reference(&mut self, body: &str, span: &Span, scope: &Scope<'_>) -> Option<Reference> {
        let (namespace, key) = body.split_once('.').unwrap_or((body, ""));
        match namespace {
            "args" => self.args(span, scope),
            "git" => self.choice(
                body,
                key,
                span,
                &[
                    ("sha", Reference::GitSha),
                    ("short-sha", Reference::GitShortSha),
                    ("branch", Reference::GitBranch),
                    ("tag", Reference::GitTag),
                    ("dirty", Reference::GitDirty),
                ],
            ),
            "project" => self.choice(
                body,
                key,
                span,
                &[
                    ("name", Reference::ProjectName),
                    ("dir", Reference::ProjectDir),
                ],
            ),
            "workspace" => self.choice(body, key, span, &[("dir", Reference::WorkspaceDir)]),
            "env" => self.env(key, span, scope),
            "var" => self.var(key, span, scope),
            "service" => self.service_reference(body, key, span, scope),
            "image" => self.image_reference(body, key, span, scope),
            "environment" => self.environment_reference(body, key, span, scope),
            _ => self.unknown_namespace(body, namespace, span),
        }
    }

    fn unknown_namespace(&mut self, body: &str, namespace: &str, span: &Span) -> Option<Reference> {
        let help = match suggest::nearest(namespace, NAMESPACES.iter().copied()) {
            Some(near) => format!("did you mean ${{{}}}?", body.replacen(namespace, near, 1)),
            None => format!(
                "namespaces: {}; `$${{` is a literal `${{`",
                suggest::list(NAMESPACES)
            ),
        };
        self.report(
            Problem::new(
                code::UNKNOWN_NAMESPACE,
                format!("${{{body}}}: there is no namespace `{namespace}`"),
            )
            .label(span, "unknown namespace")
            .help(help),
        );
        None
    }

    fn choice(
        &mut self,
        body: &str,
        key: &str,
        span: &Span,
        choices: &[(&str, Reference)],
    ) -> Option<Reference> {
        if let Some((_, reference)) = choices.iter().find(|(name, _)| *name == key) {
            return Some(reference.clone());
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.unknown_reference(body, key, &names, span);
        None
    }

    fn unknown_reference(&mut self, body: &str, key: &str, names: &[&str], span: &Span) {
        let namespace = &body[..body.len() - key.len()];
        let help = match suggest::nearest(key, names.iter().copied()) {
            Some(near) => format!("did you mean ${{{namespace}{near}}}?"),
            None => {
                let all: Vec<String> = names
                    .iter()
                    .map(|name| format!("${{{namespace}{name}}}"))
                    .collect();
                format!("there are {}", all.join(" and "))
            }
        };
        self.report(
            Problem::new(code::UNKNOWN_REFERENCE, format!("there is no ${{{body}}}"))
                .label(span, "unknown reference")
                .help(help),
        );
    }

    fn args(&mut self, span: &Span, scope: &Scope<'_>) -> Option<Reference> {
        if scope.args {
            return Some(Reference::Args);
        }
        self.not_allowed(
            "args",
            "only commands get the words after `--`",
            span,
            "use it in `run` or `env` of a command target",
        );
        None
    }

    fn not_allowed(&mut self, body: &str, label: &str, span: &Span, help: &str) {
        self.report(
            Problem::new(
                code::REFERENCE_NOT_ALLOWED,
                format!("${{{body}}} has no value here"),
            )
            .label(span, label)
            .help(help),
        );
    }

    fn env(&mut self, name: &str, span: &Span, scope: &Scope<'_>) -> Option<Reference> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let help = match name.contains(":-") {
                true => {
                    "forge has no `:-` defaults: set a default in `vars`, or let the shell do it with ${NAME:-default} and `inherit-env`"
                }
                false => "a variable's name has letters, digits and `_`: ${env.HOME}",
            };
            self.report(
                Problem::new(
                    code::UNKNOWN_REFERENCE,
                    format!("${{env.{name}}} names no variable"),
                )
                .label(span, "expected ${env.NAME}")
                .help(help),
            );
            return None;
        }
        if scope.secrets.iter().any(|secret| secret == name) {
            self.report(
                Problem::new(
                    code::SECRET_IN_KEY,
                    format!("${{env.{name}}} would put a secret into the key"),
                )
                .label(span, format!("`{name}` is in this target's `secret-env`"))
                .help(format!(
                    "write ${name}: the shell reads it when the target runs"
                )),
            );
            return None;
        }
        Some(Reference::Env(name.to_owned()))
    }

    fn var(&mut self, name: &str, span: &Span, scope: &Scope<'_>) -> Option<Reference> {
        self.used_vars.insert(name.to_owned());
        let vars = &self.project(scope.project).vars;
        if let Some(value) = vars.get(name) {
            return Some(Reference::Var(name.to_owned(), value.clone()));
        }
        if self
            .heads_of(scope.project)
            .any(|(_, head)| head.own.broken_table("vars"))
        {
            return None;
        }
        let help = match suggest::nearest(name, vars.keys().map(String::as_str)) {
            Some(near) => format!("did you mean ${{var.{near}}}?"),
            None => format!(
                "declare it in `vars` of [pipeline] or [project], or give `--var {name}=VALUE`"
            ),
        };
        self.report(
            Problem::new(code::UNKNOWN_VAR, format!("there is no variable `{name}`"))
                .label(span, "unknown variable")
                .help(help),
        );
        None
    }

    fn image_reference(
        &mut self,
        body: &str,
        key: &str,
        span: &Span,
        scope: &Scope<'_>,
    ) -> Option<Reference> {
        let Some(user) = scope.target else {
            self.not_allowed(
                body,
                "no image is built before this is read",
                span,
                "use it in a target that needs the image",
            );
            return None;
        };
        let (name, what) = key.rsplit_once('.').unwrap_or((key, ""));
        if !matches!(what, "ref" | "digest") {
            self.unknown_reference(body, what, &["ref", "digest"], span);
            return None;
        }
        let image = match self.address(name, scope.project) {
            Ok(image) => image,
            Err(error) => {
                self.bad_address(&error, span);
                return None;
            }
        };
        let view = self.targets[image.0 as usize].view;
        if view.word("kind").is_none_or(|kind| kind.text != "image") {
            self.report(
                Problem::new(
                    code::REFERENCE_NOT_ALLOWED,
                    format!("`{name}` makes no image"),
                )
                .label(span, "not an image target")
                .help("${image.TARGET.ref} takes a target with kind = \"image\""),
            );
            return None;
        }
        self.image_uses.push(ImageUse {
            target: user,
            image,
            span: span.clone(),
        });
        Some(match what {
            "ref" => Reference::ImageRef(image),
            _ => Reference::ImageDigest(image),
        })
    }

    fn environment_reference(
        &mut self,
        body: &str,
        key: &str,
        span: &Span,
        scope: &Scope<'_>,
    ) -> Option<Reference> {
        if !scope.environment {
            self.not_allowed(
                body,
                "no environment belongs to this",
                span,
                "use it inside an [environment.NAME]",
            );
            return None;
        }
        if !ENVIRONMENT_KEYS.contains(&key) {
            self.unknown_reference(body, key, ENVIRONMENT_KEYS, span);
            return None;
        }
        Some(Reference::Environment(key.to_owned()))
    }

    /// A stretch of a string as a stretch of the file; the whole string where escapes make the two differ.
    pub(super) fn inside(&self, span: &Span, text: &str, range: Range<usize>) -> Span {
        let source = self.files.get(span.file.0 as usize).map(|file| &*file.text);
        let written = source
            .and_then(|source| source.get(span.range.clone()))
            .unwrap_or_default();
        let Some(found) = written.find(text).filter(|_| !text.is_empty()) else {
            return span.clone();
        };
        let start = span.range.start + found;
        Span {
            file: span.file,
            range: start + range.start..start + range.end,
        }
    }
}

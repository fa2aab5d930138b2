//! Image targets.

use super::text::Scope;
use super::{Declared, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::View;
use crate::pipeline::model::{Image, Part, Reference, Span, Text};
use crate::pipeline::problem::Problem;
use crate::pipeline::values;

impl<'a> Resolver<'a> {
    pub(super) fn image(&mut self, declared: &Declared<'a>, scope: &Scope<'_>) -> Image {
        let (view, project) = (declared.view, declared.project);
        let dir = self.project(project).dir.clone();
        let context = view.word("context");
        let context = context
            .and_then(|word| self.path(word, project, project))
            .unwrap_or(dir);
        let dockerfile = view.word("dockerfile");
        let dockerfile = dockerfile
            .and_then(|word| self.path(word, project, project))
            .unwrap_or_else(|| match context.as_str() {
                "" => "Dockerfile".to_owned(),
                context => format!("{context}/Dockerfile"),
            });
        self.check_not_empty(view, &["tags"]);
        self.check_platforms(view);
        let tags = match view.list("tags") {
            Some(tags) => self.texts(tags, scope),
            None => vec![sha_tag(&declared.span)],
        };
        let repository = view.word("repository").map(|word| self.text(word, scope));
        let named = repository.iter().map(|text| ("repository", text));
        let named: Vec<_> = named
            .chain(tags.iter().map(|text| ("tags", text)))
            .collect();
        for (key, text) in named {
            self.check_reference(key, text);
        }
        Image {
            context,
            dockerfile,
            repository: repository.unwrap_or_else(|| sha_tag(&declared.span)),
            tags,
            build_args: self.text_map(view.entries("build-args"), scope),
            build_target: view.string("build-target"),
            platforms: view.strings("platforms"),
            labels: self.text_map(view.entries("labels"), scope),
            secrets: self.text_map(
                view.entries("secrets"),
                &Scope {
                    secrets: &[],
                    ..*scope
                },
            ),
            cache_from: self.texts(view.list("cache-from").unwrap_or_default(), scope),
            push: view.bool("push").unwrap_or(true),
        }
    }

    /// A repository or a tag, where it is known before anything runs; registries refuse it after everything was built.
    fn check_reference(&mut self, key: &str, text: &Text) {
        let Some(literal) = text.literal().filter(|literal| !literal.trim().is_empty()) else {
            return;
        };
        let fits = match key {
            "tags" => values::tag(&literal),
            _ => values::repository(&literal),
        };
        let Err(expected) = fits else { return };
        let small = literal.to_lowercase();
        let help = match key {
            "tags" => "for example: tags = [\"${git.sha}\", \"latest\"]".to_owned(),
            _ if literal.contains(':') => {
                "tags stand in `tags`, and the registry with its port in [registry]".to_owned()
            }
            _ if values::repository(&small).is_ok() => format!("write: repository = \"{small}\""),
            _ => "for example: repository = \"company/app\"".to_owned(),
        };
        self.report(
            Problem::new(code::BAD_VALUE, format!("`{key}` can't hold `{literal}`"))
                .label(&text.span, expected)
                .help(help),
        );
    }

    fn check_platforms(&mut self, view: View<'a>) {
        for word in view.words("platforms") {
            let parts: Vec<&str> = word.text.split('/').collect();
            if !matches!(parts.len(), 2 | 3) || parts.iter().any(|part| part.is_empty()) {
                self.report(
                    Problem::new(
                        code::BAD_VALUE,
                        format!("`platforms` can't hold `{}`", word.text),
                    )
                    .label(
                        word.span,
                        "expected an operating system and an architecture",
                    )
                    .help("for example: platforms = [\"linux/amd64\", \"linux/arm64\"]"),
                );
            }
        }
    }
}

/// The tag of an image that names none.
fn sha_tag(span: &Span) -> Text {
    Text {
        raw: "${git.sha}".to_owned(),
        span: span.clone(),
        parts: vec![Part::Reference(Reference::GitSha)],
    }
}

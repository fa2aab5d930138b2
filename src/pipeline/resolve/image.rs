//! Image targets.

use super::text::Scope;
use super::{Declared, Resolver};
use crate::pipeline::code;
use crate::pipeline::fields::View;
use crate::pipeline::model::{Image, Part, Reference, Span, Text};
use crate::pipeline::problem::Problem;

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

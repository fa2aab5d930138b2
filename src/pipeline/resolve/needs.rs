//! What a word in `needs`, `finally` or `${image.…}` means.

use super::{ROOT, Resolver};
use crate::graph;
use crate::pipeline::code;
use crate::pipeline::fields::Word;
use crate::pipeline::model::{Need, ProjectId, Span, TargetId, Workspace};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

/// Why an address names no target.
pub enum AddressError<'w> {
    Project(&'w str),
    /// The project is there, the target isn't: its name, and what stood before it (`common:`).
    Target(ProjectId, &'w str, &'w str),
}

impl<'a> Resolver<'a> {
    /// The targets that a list of words names, each once.
    pub(super) fn needs(
        &mut self,
        words: impl Iterator<Item = Word<'a>>,
        project: ProjectId,
    ) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        self.need_lists += 1;
        for word in words {
            for target in self.need(word, project) {
                let met_in = &mut self.met_in[target.0 as usize];
                if std::mem::replace(met_in, self.need_lists) != self.need_lists {
                    needs.push(Need {
                        target,
                        span: word.span.clone(),
                    });
                }
            }
        }
        needs
    }

    fn need(&mut self, word: Word<'_>, project: ProjectId) -> Vec<TargetId> {
        if let Some(name) = word.text.strip_prefix('^') {
            return self.upstream(name, word, project);
        }
        match self.address(word.text, project) {
            Ok(target) => vec![target],
            Err(error) => {
                self.bad_address(&error, word.span);
                Vec::new()
            }
        }
    }

    /// `^build`: of every project in `depends` that has one. A name that no project has is a slip.
    fn upstream(&mut self, name: &str, word: Word<'_>, project: ProjectId) -> Vec<TargetId> {
        let found: Vec<TargetId> = self
            .project(project)
            .depends
            .iter()
            .filter_map(|depends| self.target_names.get(&(*depends, name)).copied())
            .collect();
        if found.is_empty() && !self.targets.iter().any(|target| target.name == name) {
            let names = self.targets.iter().map(|target| target.name);
            let help = suggest::nearest(name, names).map(|near| format!("did you mean `^{near}`?"));
            self.report(
                Problem::new(
                    code::UNKNOWN_TARGET,
                    format!("no project has a target `{name}`"),
                )
                .label(word.span, "unknown target")
                .maybe_help(help),
            );
        }
        found
    }

    /// `"venv"`, `"common:build"`, `":venv"`.
    pub(super) fn address<'w>(
        &self,
        word: &'w str,
        project: ProjectId,
    ) -> Result<TargetId, AddressError<'w>> {
        let (owner, name) = match word.split_once(':') {
            None => (project, word),
            Some(("", name)) => (ROOT, name),
            Some((owner, name)) => {
                let owner = self.project_names.get(owner);
                (
                    *owner.ok_or(AddressError::Project(
                        word.split(':').next().unwrap_or(word),
                    ))?,
                    name,
                )
            }
        };
        let found = self.target_names.get(&(owner, name)).copied();
        let prefix = &word[..word.len() - name.len()];
        found.ok_or(AddressError::Target(owner, name, prefix))
    }

    pub(super) fn bad_address(&mut self, error: &AddressError<'_>, span: &Span) {
        match error {
            AddressError::Project(name) => self.unknown_project(name, span),
            AddressError::Target(project, name, prefix) => {
                self.unknown_target(*project, name, prefix, span)
            }
        }
    }

    fn unknown_target(&mut self, project: ProjectId, name: &str, prefix: &str, span: &Span) {
        let owner = match project {
            ROOT if self.projects.len() == 1 => String::new(),
            ROOT => " in the root project".to_owned(),
            project => format!(" in project `{}`", self.project(project).name),
        };
        let names = self.target_lists[project.0 as usize]
            .iter()
            .map(|target| self.targets[target.0 as usize].name);
        let near = suggest::nearest(name, names.clone());
        let help = match near {
            Some(near) => Some(format!("did you mean `{prefix}{near}`?")),
            None => self
                .elsewhere(project, name)
                .or_else(|| suggest::help(name, "targets", names)),
        };
        self.report(
            Problem::new(
                code::UNKNOWN_TARGET,
                format!("there is no target `{name}`{owner}"),
            )
            .label(span, "unknown target")
            .maybe_help(help),
        );
    }

    /// The same name in another project, as it would be written.
    fn elsewhere(&self, project: ProjectId, name: &str) -> Option<String> {
        let near = |candidate: &ProjectId| self.target_names.contains_key(&(*candidate, name));
        let mut others = self.projects.iter().map(|other| other.id);
        let found = others.find(|other| *other != project && near(other))?;
        let owner = match found {
            ROOT => "",
            found => &self.project(found).name,
        };
        Some(format!("did you mean `{owner}:{name}`?"))
    }

    /// `${image.T.ref}` needs T to be built before.
    pub(super) fn check_image_uses(&mut self, workspace: &Workspace) {
        for image in std::mem::take(&mut self.image_uses) {
            if graph::transitive_needs(workspace, image.target).contains(&image.image) {
                continue;
            }
            let (user, name) = (
                workspace.target(image.target),
                workspace.target(image.image),
            );
            self.report(
                Problem::new(
                    code::IMAGE_NOT_NEEDED,
                    format!(
                        "`{}` refers to the image `{}` without needing it",
                        user.address, name.address
                    ),
                )
                .label(&image.span, "not built before this target runs")
                .help(format!(
                    "add \"{}\" to the `needs` of [target.{}]",
                    needs_word(workspace, image.target, image.image),
                    user.name
                )),
            );
        }
    }
}

/// How `user` writes `needed` in its `needs`.
pub fn needs_word(workspace: &Workspace, user: TargetId, needed: TargetId) -> String {
    let (user, needed) = (workspace.target(user), workspace.target(needed));
    match needed.project {
        project if project == user.project => needed.name.clone(),
        ROOT => format!(":{}", needed.name),
        _ => needed.address.to_string(),
    }
}

//! Projects and the targets they declare, a template's included.

use std::collections::BTreeMap;

use super::{Declared, EMPTY, ROOT, Resolver, project_id, target_id};
use crate::graph;
use crate::pipeline::code;
use crate::pipeline::fields::{Field, Fields, View, Word};
use crate::pipeline::interpolate::{Piece, scan};
use crate::pipeline::model::{Project, ProjectId, Span, Workspace};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

impl<'a> Resolver<'a> {
    pub(super) fn declare_projects(&mut self) {
        for (index, document) in self.documents.iter().enumerate() {
            let key = if index == 0 { "pipeline" } else { "project" };
            let head = View::new(document.fields.table(key).unwrap_or(&EMPTY));
            self.heads.push(head);
            let project = self.declare_project(project_id(index), head);
            self.projects.push(project);
        }
        self.check_names();
        for index in 0..self.projects.len() {
            self.projects[index].depends = self.depends(project_id(index));
        }
        self.check_depends();
    }

    /// Projects that depend on one another could never be ordered.
    fn check_depends(&mut self) {
        let edges: Vec<Vec<usize>> = self
            .projects
            .iter()
            .map(|project| project.depends.iter().map(|id| id.0 as usize).collect())
            .collect();
        for cycle in graph::cycles(&edges) {
            let names: Vec<&str> = cycle
                .iter()
                .map(|index| self.projects[*index].name.as_str())
                .collect();
            let way = suggest::circle(&names);
            let mut problem = Problem::new(
                code::DEPENDS_CYCLE,
                format!("projects depend on one another: {way}"),
            )
            .help("take one `depends` out; what both projects use can be a project of its own");
            for (position, index) in cycle.iter().enumerate() {
                let next = names[(position + 1) % names.len()];
                let mut words = self.heads[*index].words("depends");
                if let Some(word) = words.find(|word| word.text == next) {
                    problem = problem.label(
                        word.span,
                        format!("`{}` depends on `{next}`", names[position]),
                    );
                }
            }
            self.problems.push(problem);
        }
    }

    fn declare_project(&mut self, id: ProjectId, head: View<'a>) -> Project {
        let document = &self.documents[id.0 as usize];
        let directory = || match id {
            ROOT => self
                .root
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
            _ => document.dir.rsplit('/').next().map(str::to_owned),
        };
        let name = head.string("name").or_else(directory).unwrap_or_default();
        if let Some(word) = head.word("name") {
            self.check_project_name(word, id);
        }
        self.check_inherited(head);
        Project {
            id,
            name,
            dir: document.dir.clone(),
            file: document.file,
            depends: Vec::new(),
            template: head.string("template"),
            default: Vec::new(),
            vars: self.vars(head, id),
        }
    }

    /// A member's name is a part of addresses; the root's is only shown.
    fn check_project_name(&mut self, word: Word<'_>, id: ProjectId) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let good = !word.text.is_empty() && word.text.chars().all(allowed);
        if id == ROOT && !word.text.trim().is_empty() || good {
            return;
        }
        self.report(
            Problem::new(code::BAD_NAME, format!("`{}` can't be a project's name", word.text))
                .label(word.span, "this name")
                .help("a project's name has letters, digits, `_`, `.` and `-`: it begins addresses such as `billing:test`"),
        );
    }

    /// The root's `vars` under the project's own, `--var` on top.
    fn vars(&mut self, head: View<'a>, id: ProjectId) -> BTreeMap<String, String> {
        for field in head.entries("vars") {
            self.check_var(field);
        }
        let root = (id != ROOT).then(|| self.heads[0]);
        let below = root.into_iter().flat_map(|root| root.entries("vars"));
        let mut vars = BTreeMap::new();
        for field in below.chain(head.entries("vars")) {
            if let Some(word) = field.node.word() {
                vars.insert(field.key.clone(), unescaped(word.text));
            }
        }
        vars.extend(self.options.vars.iter().cloned());
        vars
    }

    /// A variable's value is plain: a reference in it would reach the shell as it is.
    fn check_var(&mut self, field: &Field) {
        let Some(word) = field.node.word() else {
            return;
        };
        let reference = scan(word.text)
            .into_iter()
            .find_map(|(piece, range)| match piece {
                Piece::Reference(body) => Some((body, range)),
                _ => None,
            });
        if let Some((body, range)) = reference {
            let span = self.inside(word.span, word.text, range);
            self.report(
                Problem::new(
                    code::REFERENCE_NOT_ALLOWED,
                    format!("the variable `{}` refers to ${{{body}}}", field.key),
                )
                .label(&span, "`vars` are plain strings")
                .help(format!(
                    "write ${{{body}}} where the variable is used, or `$${{` for a literal `${{`"
                )),
            );
        }
    }

    fn check_names(&mut self) {
        for index in 0..self.projects.len() {
            let (id, name) = (project_id(index), self.projects[index].name.clone());
            // A root without a name is called like its directory, which differs between machines.
            if id == ROOT && !self.heads[0].has("name") {
                continue;
            }
            if let Some(first) = self.project_names.get(&name).copied() {
                let problem = Problem::new(
                    code::DUPLICATE_PROJECT,
                    format!("two projects are named `{name}`"),
                )
                .label(&self.name_span(id), "the second one")
                .label(&self.name_span(first), "the first one")
                .help("give one of them another `name`: it is how its targets are addressed");
                self.report(problem);
                continue;
            }
            self.project_names.insert(name, id);
        }
    }

    /// Where a project says its name; the beginning of its file where it doesn't.
    fn name_span(&self, id: ProjectId) -> Span {
        match self.heads[id.0 as usize].word("name") {
            Some(word) => word.span.clone(),
            None => Span {
                file: self.documents[id.0 as usize].file,
                range: 0..0,
            },
        }
    }

    fn depends(&mut self, id: ProjectId) -> Vec<ProjectId> {
        let mut depends = Vec::new();
        for word in self.heads[id.0 as usize].words("depends") {
            match self.project_names.get(word.text) {
                Some(project) if depends.contains(project) => {}
                Some(project) => depends.push(*project),
                None => self.unknown_project(word.text, word.span),
            }
        }
        depends
    }

    pub(super) fn unknown_project(&mut self, name: &str, span: &Span) {
        let names = self.project_names.keys().map(String::as_str);
        let help = suggest::help(name, "projects", names);
        self.report(
            Problem::new(
                code::UNKNOWN_PROJECT,
                format!("there is no project `{name}`"),
            )
            .label(span, "unknown project")
            .maybe_help(help),
        );
    }

    pub(super) fn declare_targets(&mut self) {
        for (index, document) in self.documents.iter().enumerate() {
            let project = project_id(index);
            let template = self.template(project);
            let inherited = |name: &str| {
                let field = template?.iter().find(|field| field.key == name)?;
                field.node.table()
            };
            self.target_lists.push(Vec::new());
            for field in document.fields.entries("target") {
                let own = field.node.table().unwrap_or(&EMPTY);
                self.declare(project, field, own, inherited(&field.key));
            }
            for field in template.unwrap_or_default() {
                if !self
                    .target_names
                    .contains_key(&(project, field.key.as_str()))
                {
                    self.declare(project, field, &EMPTY, field.node.table());
                }
            }
        }
    }

    fn declare(
        &mut self,
        project: ProjectId,
        field: &'a Field,
        own: &'a Fields,
        template: Option<&'a Fields>,
    ) {
        let target = target_id(self.targets.len());
        self.target_names.insert((project, &field.key), target);
        self.target_lists[project.0 as usize].push(target);
        self.met_in.push(0);
        self.targets.push(Declared {
            project,
            name: &field.key,
            span: field.key_span.clone(),
            view: View { own, template },
        });
    }

    /// The targets of the template that a project names.
    fn template(&mut self, project: ProjectId) -> Option<&'a [Field]> {
        let word = self.heads[project.0 as usize].word("template")?;
        let templates = self.documents[0].fields.entries("template");
        let found = templates.iter().find(|field| field.key == word.text);
        if found.is_none() {
            let names = templates.iter().map(|field| field.key.as_str());
            let help = suggest::help(word.text, "templates", names).or_else(|| {
                Some(format!(
                    "the root file declares it: [template.{}.target.NAME]",
                    word.text
                ))
            });
            self.report(
                Problem::new(
                    code::UNKNOWN_TEMPLATE,
                    format!("there is no template `{}`", word.text),
                )
                .label(word.span, "unknown template")
                .maybe_help(help),
            );
        }
        Some(found?.node.table()?.entries("target"))
    }

    /// `default`: at the root as on the command line (every project's target of that name), in a
    /// member as in `needs`.
    pub(super) fn fill_defaults(&mut self, workspace: &mut Workspace) {
        let names = graph::Names::new(workspace);
        let mut defaults = Vec::with_capacity(self.heads.len());
        for index in 0..self.heads.len() {
            let from = (index != 0).then(|| project_id(index));
            let mut default = Vec::new();
            for word in self.heads[index].words("default") {
                match names.find(word.text, from) {
                    Ok(targets) => default.extend(targets),
                    Err(problem) => self.report(problem.label(word.span, "unknown target")),
                }
            }
            let mut seen = std::collections::HashSet::new();
            default.retain(|target| seen.insert(*target));
            defaults.push(default);
        }
        for (project, default) in workspace.projects.iter_mut().zip(defaults) {
            project.default = default;
        }
    }

    /// `--var` of a name that nothing declares and nothing uses is a slip.
    pub(super) fn check_given_vars(&mut self) {
        let declared: Vec<String> = self
            .heads
            .iter()
            .flat_map(|head| head.entries("vars"))
            .map(|field| field.key.clone())
            .chain(self.used_vars.iter().cloned())
            .collect();
        for (name, _) in &self.options.vars {
            if !declared.contains(name) {
                let help = suggest::help(name, "variables", declared.iter().map(String::as_str));
                self.problems.push(
                    Problem::new(
                        code::UNKNOWN_VAR,
                        format!("--var {name}: no pipeline file uses a variable `{name}`"),
                    )
                    .maybe_help(help),
                );
            }
        }
    }
}

/// A plain string, in which `$${` is `${` as everywhere.
fn unescaped(text: &str) -> String {
    let literal = |(piece, _)| match piece {
        Piece::Literal(text) => Some(text.to_owned()),
        _ => None,
    };
    scan(text).into_iter().filter_map(literal).collect()
}

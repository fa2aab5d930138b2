//! From decoded files to the [`Workspace`]: members and templates put together, names looked up,
//! defaults filled in, text parsed. Goes on after an error, so that all of them are said at once.
//!
//! Knows nothing of TOML or the file system.

mod config;
mod deploy;
mod files;
mod image;
mod needs;
mod project;
mod service;
mod target;
mod text;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::LoadOptions;
use super::fields::{Field, Fields, View};
use super::model::{
    FileId, Project, ProjectId, ServiceId, SourceFile, Span, Target, TargetId, Workspace,
};
use super::problem::Problem;

pub use needs::needs_word;

/// A decoded file and the directory it rules; the root's comes first.
pub struct Document {
    pub file: FileId,
    /// Relative to the workspace, with `/`.
    pub dir: String,
    pub fields: Fields,
}

/// Nothing of one's own: what a member's target is that only the template declares.
static EMPTY: Fields = Fields {
    fields: Vec::new(),
    broken: false,
};

/// A target as it is declared, before anything in it was looked up.
#[derive(Clone)]
struct Declared<'a> {
    project: ProjectId,
    name: &'a str,
    span: Span,
    view: View<'a>,
}

/// A service, an environment or a notifier as it is declared.
struct Named<'a> {
    project: ProjectId,
    field: &'a Field,
    view: View<'a>,
}

/// An image that a target refers to: it has to be among its needs, which are known at the end.
struct ImageUse {
    target: TargetId,
    image: TargetId,
    span: Span,
}

struct Resolver<'a> {
    root: &'a Path,
    files: &'a [SourceFile],
    documents: &'a [Document],
    options: &'a LoadOptions,
    problems: Vec<Problem>,
    projects: Vec<Project>,
    /// Each project's `[pipeline]` or `[project]` table.
    heads: Vec<View<'a>>,
    project_names: HashMap<String, ProjectId>,
    targets: Vec<Declared<'a>>,
    target_names: HashMap<(ProjectId, &'a str), TargetId>,
    /// Each project's targets.
    target_lists: Vec<Vec<TargetId>>,
    services: Vec<Named<'a>>,
    environments: Vec<Named<'a>>,
    notifiers: Vec<Named<'a>>,
    /// Numbers of these, by key (`service`), project and name.
    named: HashMap<(&'static str, ProjectId, &'a str), usize>,
    /// In which list of needs each target was met last.
    met_in: Vec<usize>,
    need_lists: usize,
    /// Shared by all that have no other.
    usual_shell: Arc<[String]>,
    /// Names of variables that something refers to.
    used_vars: BTreeSet<String>,
    image_uses: Vec<ImageUse>,
}

/// What came of it; the workspace is whole only where there are no problems.
pub struct Resolved {
    pub workspace: Workspace,
    pub problems: Vec<Problem>,
}

/// Puts the workspace together from its files.
pub fn resolve<'a>(
    root: &'a Path,
    files: &'a [SourceFile],
    documents: &'a [Document],
    options: &'a LoadOptions,
) -> Resolved {
    let mut resolver = Resolver {
        root,
        files,
        documents,
        options,
        problems: Vec::new(),
        projects: Vec::new(),
        heads: Vec::new(),
        project_names: HashMap::new(),
        targets: Vec::new(),
        target_names: HashMap::new(),
        target_lists: Vec::new(),
        services: Vec::new(),
        environments: Vec::new(),
        notifiers: Vec::new(),
        named: HashMap::new(),
        met_in: Vec::new(),
        need_lists: 0,
        usual_shell: SHELL.map(str::to_owned).into(),
        used_vars: BTreeSet::new(),
        image_uses: Vec::new(),
    };
    resolver.declare_projects();
    resolver.declare_targets();
    resolver.services = resolver.declare_named("service");
    resolver.environments = resolver.declare_named("environment");
    resolver.notifiers = resolver.declare_named("notify");
    let mut workspace = resolver.workspace();
    resolver.fill_defaults(&mut workspace);
    resolver.check_image_uses(&workspace);
    resolver.check_given_vars();
    Resolved {
        workspace,
        problems: resolver.problems,
    }
}

impl<'a> Resolver<'a> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn declare_named(&mut self, key: &'static str) -> Vec<Named<'a>> {
        let mut all = Vec::new();
        for (index, document) in self.documents.iter().enumerate() {
            for field in document.fields.entries(key) {
                if let Some(fields) = field.node.table() {
                    let name = (key, project_id(index), field.key.as_str());
                    self.named.insert(name, all.len());
                    all.push(Named {
                        project: project_id(index),
                        field,
                        view: View::new(fields),
                    });
                }
            }
        }
        all
    }

    fn workspace(&mut self) -> Workspace {
        let targets: Vec<Target> = (0..self.targets.len())
            .map(|index| self.target(target_id(index)))
            .collect();
        let services = (0..self.services.len())
            .map(|index| self.service(service_id(index)))
            .collect();
        let notifiers = (0..self.notifiers.len())
            .map(|index| self.notifier(index))
            .collect();
        let environments = (0..self.environments.len())
            .map(|index| self.environment(index))
            .collect();
        Workspace {
            root: self.root.to_owned(),
            files: self.files.to_vec(),
            targets,
            services,
            environments,
            notifiers,
            registry: self.registry(),
            cache: self.cache(),
            projects: std::mem::take(&mut self.projects),
        }
    }

    fn project(&self, id: ProjectId) -> &Project {
        &self.projects[id.0 as usize]
    }

    /// The head of the project, then the root's: where defaults come from, strongest first.
    fn heads_of(
        &self,
        project: ProjectId,
    ) -> impl Iterator<Item = (ProjectId, View<'a>)> + use<'a> {
        let own = (project, self.heads[project.0 as usize]);
        let root = (ROOT, self.heads[0]);
        std::iter::once(own).chain((project != ROOT).then_some(root))
    }

    /// The service, environment or notifier (`key`) that a name means in a project: its own, else the root's.
    fn find_named(&self, key: &'static str, name: &str, project: ProjectId) -> Option<usize> {
        let of = |owner: ProjectId| self.named.get(&(key, owner, name)).copied();
        of(project).or_else(|| of(ROOT))
    }

    /// The names that [`Resolver::find_named`] would find.
    fn names_of<'n>(
        all: &'n [Named<'a>],
        project: ProjectId,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        all.iter()
            .filter(move |named| named.project == project || named.project == ROOT)
            .map(|named| named.field.key.as_str())
    }
}

/// What runs a line where nothing else is said.
const SHELL: [&str; 3] = ["sh", "-eu", "-c"];

/// The root project.
const ROOT: ProjectId = ProjectId(0);

/// More than 2^32 of anything don't fit in memory as text.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn project_id(index: usize) -> ProjectId {
    ProjectId(id(index))
}

fn target_id(index: usize) -> TargetId {
    TargetId(id(index))
}

fn service_id(index: usize) -> ServiceId {
    ServiceId(id(index))
}

//! What the pipeline files say once everything is resolved: templates applied, members read, names
//! looked up, patterns parsed. Nothing in here can fail any more, except for what only a run knows
//! (an unset `${env.X}`, the port a service got).
//!
//! Knows nothing of files, processes or clocks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// Index of a pipeline file in [`Workspace::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// Index of a project in [`Workspace::projects`]; the root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectId(pub u32);

/// Index of a target in [`Workspace::targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetId(pub u32);

/// Index of a service in [`Workspace::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceId(pub u32);

/// A range of bytes in one pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub file: FileId,
    pub range: Range<usize>,
}

/// A pipeline file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the workspace, with `/`: what diagnostics show.
    pub name: String,
    pub text: Arc<str>,
}

/// Everything that the pipeline files of a workspace say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// Absolute directory of the root pipeline file.
    pub root: PathBuf,
    #[serde(skip)]
    pub files: Vec<SourceFile>,
    /// The root project first, then the members sorted by directory.
    pub projects: Vec<Project>,
    /// By project, in the order they are written (inherited template targets last).
    pub targets: Vec<Target>,
    pub services: Vec<Service>,
    pub environments: Vec<Environment>,
    pub registry: Registry,
    pub notifiers: Vec<Notifier>,
    pub cache: CacheConfig,
}

/// The root, or a member of the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    /// `[pipeline] name` or `[project] name`; the directory's name where it is left out.
    pub name: String,
    /// Directory relative to the workspace with `/`; empty for the root.
    pub dir: String,
    pub file: FileId,
    /// Direct `depends`.
    pub depends: Vec<ProjectId>,
    /// The template it names.
    pub template: Option<String>,
    /// Targets that a bare `forge` in this directory runs.
    pub default: Vec<TargetId>,
    /// Root's `vars` under the project's own, `--var` on top.
    pub vars: BTreeMap<String, String>,
}

/// A string that may hold `${namespace.key}`; see [`super::interpolate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// As written.
    pub raw: String,
    pub span: Span,
    pub parts: Vec<Part>,
}

/// A piece of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Taken as it is (`$${` has become `${`; the shell's own `${X}` is literal text).
    Literal(String),
    /// `${namespace.key}`.
    Reference(Reference),
}

/// What a `${…}` refers to. Names have been looked up: each variant exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reference {
    GitSha,
    GitShortSha,
    GitBranch,
    GitTag,
    GitDirty,
    /// A variable of the caller's environment; unset is an error when it is rendered.
    Env(String),
    /// `${var.NAME}` with its value.
    Var(String, String),
    ProjectName,
    ProjectDir,
    WorkspaceDir,
    ServiceHost(ServiceId),
    /// `port` (`None`: the first) or `port.N` (the one declared as container port N).
    ServicePort(ServiceId, Option<u16>),
    ImageRef(TargetId),
    ImageDigest(TargetId),
    /// `${environment.KEY}` of the environment that the deploy target or environment belongs to.
    Environment(String),
    /// The words after `--`.
    Args,
}

/// A target of any kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    pub id: TargetId,
    pub project: ProjectId,
    /// Without the project: `test`.
    pub name: String,
    /// What people type: `test` in the root, `billing:test` in a member.
    pub address: Arc<str>,
    /// Of its name in the `[target.NAME]` header.
    pub span: Span,
    pub description: Option<String>,
    pub kind: Kind,
    pub needs: Vec<Need>,
    pub finally: Vec<Need>,
    /// `None`: left out, so every file of the project (for an image: its build context).
    pub inputs: Option<Vec<InputPattern>>,
    pub outputs: Vec<OutputPattern>,
    #[serde(deserialize_with = "shell")]
    pub shell: Arc<[String]>,
    /// Working directory relative to the workspace, with `/`.
    pub dir: String,
    /// `env` of pipeline, project and template: weaker than `inherit-env` and `dotenv`.
    pub env_defaults: BTreeMap<String, Text>,
    /// The target's own `env`: stronger than everything.
    pub env: BTreeMap<String, Text>,
    /// Names or globs.
    pub inherit_env: Vec<String>,
    pub secret_env: Vec<String>,
    /// Relative to the workspace, with `/`; later files win.
    pub dotenv: Vec<String>,
    pub tools: Vec<Tool>,
    pub services: Vec<ServiceId>,
    pub cache: bool,
    pub incremental: bool,
    /// Sees of the workspace only what it declares; see `docs/undeclared.md`.
    pub sandbox: bool,
    pub timeout: Option<Duration>,
    pub retries: u32,
    pub locks: Vec<String>,
    pub interactive: bool,
    pub when: Option<When>,
}

/// Targets share the usual one.
fn shell<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[String]>, D::Error> {
    static LAST: Mutex<Option<Arc<[String]>>> = Mutex::new(None);
    let words = Vec::<String>::deserialize(deserializer)?;
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(match &mut *last {
        Some(same) if **same == *words => Arc::clone(same),
        other => Arc::clone(other.insert(words.into())),
    })
}

/// An edge to another target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Need {
    pub target: TargetId,
    /// Of the string in the list.
    pub span: Span,
}

/// What a target does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Nothing itself: a name for its needs.
    Group,
    /// Shell lines, run in turn.
    Command {
        run: Vec<Text>,
    },
    Image(Box<Image>),
    Deploy(Box<Deploy>),
}

impl Kind {
    /// As it is written in the file; a group has no `kind`.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Group => "group",
            Kind::Command { .. } => "command",
            Kind::Image(_) => "image",
            Kind::Deploy(_) => "deploy",
        }
    }
}

/// One entry of `inputs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPattern {
    /// Relative to the workspace, with `/`, no leading `/`, `.` and `..` resolved.
    pub pattern: String,
    /// Began with `!`.
    pub exclude: bool,
    /// Has no glob characters: names one file or directory, git-ignored or not.
    pub literal: bool,
    pub span: Span,
}

/// One entry of `outputs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPattern {
    /// Relative to the workspace, with `/`.
    pub pattern: String,
    /// Has no glob characters: a file or a whole directory.
    pub literal: bool,
    pub span: Span,
}

/// One entry of `tools`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    /// As written: `3.11`.
    pub requirement: String,
    pub version: semver::VersionReq,
    pub span: Span,
}

/// Conditions on the run; each given one must hold. Values are globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    pub branch: Vec<String>,
    pub tag: Vec<String>,
    pub event: Vec<String>,
    pub os: Vec<String>,
    /// Matched against the caller's environment.
    pub env: BTreeMap<String, Vec<String>>,
    pub span: Option<Span>,
}

/// A container or a process that is up while targets run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    pub id: ServiceId,
    pub name: String,
    /// Services of a member are its own; the root's are everybody's.
    pub project: ProjectId,
    pub span: Span,
    /// A container. With `run` as well: the container where an engine answers and has the image, else the process.
    pub image: Option<Text>,
    /// A process; empty for a container only.
    pub run: Vec<Text>,
    pub env: BTreeMap<String, Text>,
    pub ports: Vec<Port>,
    /// Left out: the image's own HEALTHCHECK, else TCP on the first port, else at once.
    pub ready: Option<Probe>,
    /// How long it may take to get ready (default 60 s).
    pub within: Duration,
    /// Pause between two probes (default 500 ms).
    pub every: Duration,
}

/// One entry of a service's `ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Inside the container (for a process: the name by which `port.N` finds it).
    pub inside: u16,
    /// On 127.0.0.1; `None`: any free one.
    pub outside: Option<u16>,
}

/// How to see that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// A shell line, inside the container or beside the process; ready when it ends with 0.
    Exec(Text),
    /// A path on the first port (`/health`) or a whole URL; ready at any 2xx or 3xx.
    Http(Text),
    /// A declared port that accepts a connection.
    Tcp(u16),
    /// Text that the log holds.
    Log(String),
}

/// `kind = "image"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    /// Relative to the workspace.
    pub context: String,
    /// Relative to the workspace.
    pub dockerfile: String,
    pub repository: Text,
    pub tags: Vec<Text>,
    pub build_args: BTreeMap<String, Text>,
    pub build_target: Option<String>,
    pub platforms: Vec<String>,
    pub labels: BTreeMap<String, Text>,
    /// Id → where it comes from: `env.NAME` or a file.
    pub secrets: BTreeMap<String, Text>,
    pub cache_from: Vec<Text>,
    pub push: bool,
}

/// `kind = "deploy"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deploy {
    /// Index in [`Workspace::environments`].
    pub environment: usize,
    /// The image target among its needs, where there is just one.
    pub image: Option<TargetId>,
}

/// `[registry]`: where images go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Registry {
    Ecr {
        region: Option<String>,
        account: Option<String>,
        create_repository: bool,
    },
    Host(String),
}

/// `[environment.NAME]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    pub project: ProjectId,
    pub span: Span,
    pub provider: Provider,
    pub region: Option<Text>,
    pub account: Option<Text>,
    pub profile: Option<Text>,
    pub assume_role: Option<Text>,
    pub cluster: Option<Text>,
    /// `service` or `services`.
    pub services: Vec<Text>,
    pub container: Option<Text>,
    /// Relative to the workspace.
    pub task_definition: Option<String>,
    pub env: BTreeMap<String, Text>,
    pub secrets: BTreeMap<String, Text>,
    pub cpu: Option<u32>,
    /// MiB.
    pub memory: Option<u32>,
    pub desired_count: Option<u32>,
    pub url: Option<Text>,
    /// Globs; empty: any branch.
    pub branch: Vec<String>,
    pub approval: bool,
    pub freeze: Vec<FreezeWindow>,
    /// IANA name; UTC where it is left out.
    pub timezone: Option<String>,
    pub before: Vec<Text>,
    pub smoke: Vec<Smoke>,
    pub on_failure: OnFailure,
    pub timeout: Duration,
    /// Indexes in [`Workspace::notifiers`].
    pub notify: Vec<usize>,
}

impl Environment {
    /// Every text that may refer to something.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let smoke = self.smoke.iter().map(|check| match check {
            Smoke::Http { url, .. } => url,
            Smoke::Run(line) => line,
        });
        let place = [
            &self.region,
            &self.account,
            &self.profile,
            &self.assume_role,
        ];
        let names = [&self.cluster, &self.container, &self.url];
        let single = place.into_iter().chain(names).flatten();
        let lists = self.services.iter().chain(&self.before).chain(smoke);
        single
            .chain(lists)
            .chain(self.env.values())
            .chain(self.secrets.values())
    }
}

/// Where an environment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    Ecs,
    Docker,
}

/// What follows a failed deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    Rollback,
    Stop,
}

/// `"Fri 16:00..Mon 08:00"`, in minutes since Monday 00:00; the end may lie before the start (over the week's end).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeWindow {
    pub text: String,
    pub from: u32,
    pub to: u32,
}

/// A check of a deployment from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Smoke {
    Http {
        url: Text,
        status: u16,
        within: Duration,
    },
    Run(Text),
}

/// `[notify.NAME]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notifier {
    pub name: String,
    pub span: Span,
    pub kind: NotifierKind,
    /// `url`, `to`, `from`, `key`, `channel`, … : what the kind takes.
    pub settings: BTreeMap<String, Text>,
    pub on: Vec<String>,
    pub branches: Vec<String>,
    pub targets: Vec<String>,
}

/// What receives a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifierKind {
    Slack,
    PagerDuty,
    Email,
    Webhook,
}

/// `[cache]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheConfig {
    /// Relative to the workspace, or absolute.
    pub dir: String,
    /// Bytes.
    pub max_size: u64,
    pub remote: Option<Text>,
    pub remote_write: RemoteWrite,
}

/// Who writes to the remote cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteWrite {
    Never,
    Ci,
    Always,
}

impl Workspace {
    pub fn target(&self, id: TargetId) -> &Target {
        &self.targets[id.0 as usize]
    }

    pub fn project(&self, id: ProjectId) -> &Project {
        &self.projects[id.0 as usize]
    }

    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.0 as usize]
    }

    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }
}

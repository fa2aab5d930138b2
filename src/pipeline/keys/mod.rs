//! The one table of every key that a pipeline file may hold: what it takes, what it means, its default
//! and an example. The decoder reads files by it, the JSON schema is printed from it, and suggestions
//! are looked up in it.
//!
//! Knows nothing of how a key is used.

mod deploy;
mod service;
mod target;

pub use deploy::{ECR, ENVIRONMENT, EVENTS, NOTIFY, REGISTRY, SMOKE};
pub use service::{READY, SERVICE};
pub use target::{TARGET, WHEN};

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A string that may hold any `${…}`.
    Text,
    /// A string that may hold `${var.…}` and `${project.…}` only: known before anything runs.
    Plain,
    /// A string taken as it is.
    Word,
    /// One of a few strings.
    Choice(&'static [&'static str]),
    Bool,
    /// A whole number in a range.
    Number(i64, i64),
    Duration,
    Size,
    Version,
    Port,
    PortNumber,
    Freeze,
    Timezone,
    /// A string that is a glob.
    Glob,
    List(&'static Shape),
    /// A list, or one string that stands for a list of one.
    OneOrMany(&'static Shape),
    /// A table whose keys are free.
    Map(&'static Shape),
    /// A table with keys of its own.
    Table(&'static Section),
    /// Tables with free names: `[target.NAME]`.
    Named(&'static Section),
}

/// A table with fixed keys.
#[derive(Debug)]
pub struct Section {
    /// As people write it: `[target.NAME]`.
    pub title: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub doc: &'static str,
    /// As it would be written; `None`: nothing, or it depends.
    pub default: Option<&'static str>,
    /// A value as it could be written.
    pub example: &'static str,
    /// The kinds of target (or of notifier, or the provider) that take it; empty: all.
    pub kinds: &'static [&'static str],
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    const fn default(mut self, default: &'static str) -> Key {
        self.default = Some(default);
        self
    }

    const fn only(mut self, kinds: &'static [&'static str]) -> Key {
        self.kinds = kinds;
        self
    }
}

const fn key(name: &'static str, shape: Shape, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        doc,
        default: None,
        example,
        kinds: &[],
    }
}

use Shape::{Choice, Duration, Glob, List, Map, Named, Plain, Size, Table, Text, Word};

/// The root file.
pub static ROOT: Section = Section {
    title: "the root file",
    doc: "What a workspace builds, tests and deploys.",
    keys: &[
        key(
            "pipeline",
            Table(&PIPELINE),
            "{ name = \"company-app\" }",
            "The root project, and defaults for every target.",
        ),
        key(
            "workspace",
            Table(&WORKSPACE),
            "{ members = [\"services/*\"] }",
            "Where member projects are.",
        ),
        key(
            "template",
            Named(&TEMPLATE),
            "{ python.target.lint.run = \"ruff check .\" }",
            "Targets declared once, for the members that name the template.",
        ),
        key(
            "target",
            Named(&TARGET),
            "{ lint.run = \"ruff check .\" }",
            "Something to run, to build or to deploy, or a name for a group of those.",
        ),
        key(
            "service",
            Named(&SERVICE),
            "{ redis = { image = \"redis:7\", ports = [6379] } }",
            "What has to be up while targets run.",
        ),
        key(
            "environment",
            Named(&ENVIRONMENT),
            "{ dev = { cluster = \"dev\", service = \"app\" } }",
            "Where deploy targets deploy to.",
        ),
        key(
            "registry",
            Table(&REGISTRY),
            "{ host = \"localhost:5000\" }",
            "Where images are pushed to. Left out: ECR of the caller's account and region.",
        ),
        key(
            "notify",
            Named(&NOTIFY),
            "{ team = { kind = \"slack\", url = \"${env.SLACK_URL}\", on = [\"run-failed\"] } }",
            "Who hears of runs and deployments.",
        ),
        key(
            "cache",
            Table(&CACHE),
            "{ max-size = \"10GB\" }",
            "Where results are kept.",
        ),
    ],
};

/// A member's file.
pub static MEMBER: Section = Section {
    title: "a member's file",
    doc: "What one project of a workspace builds, tests and deploys.",
    keys: &[
        key(
            "project",
            Table(&PROJECT),
            "{ name = \"billing\" }",
            "The project, and defaults for its targets.",
        ),
        key(
            "target",
            Named(&TARGET),
            "{ lint.run = \"ruff check .\" }",
            "Something to run, to build or to deploy, or a name for a group of those.",
        ),
        key(
            "service",
            Named(&SERVICE),
            "{ redis = { image = \"redis:7\", ports = [6379] } }",
            "What has to be up while targets of this project run.",
        ),
        key(
            "environment",
            Named(&ENVIRONMENT),
            "{ dev = { cluster = \"dev\", service = \"app\" } }",
            "Where this project's deploy targets deploy to.",
        ),
        key(
            "notify",
            Named(&NOTIFY),
            "{ team = { kind = \"slack\", url = \"${env.SLACK_URL}\", on = [\"run-failed\"] } }",
            "Who hears of this project's deployments.",
        ),
    ],
};

const NAME: Key = key(
    "name",
    Word,
    "\"billing\"",
    "Shown in output, history and notifications; the project's part of an address. Left out: the directory's name.",
);
const DEFAULT: Key = key(
    "default",
    List(&Word),
    "[\"lint\", \"test\"]",
    "Targets that a bare `forge` runs.",
)
.default("[]");
const VARS: Key = key(
    "vars",
    Map(&Word),
    "{ python = \"3.11\" }",
    "Strings for `${var.NAME}`; `--var NAME=VALUE` overrides.",
)
.default("{}");
const ENV_DEFAULTS: Key = key(
    "env",
    Map(&Text),
    "{ PYTHONUNBUFFERED = \"1\" }",
    "Variables set for every target; a target's own `env` is stronger.",
)
.default("{}");
const INHERIT_DEFAULTS: Key = key(
    "inherit-env",
    List(&Glob),
    "[\"CI\", \"AWS_*\"]",
    "`inherit-env` of every target that has none of its own.",
)
.default("[]");
const SECRET_DEFAULTS: Key = key(
    "secret-env",
    List(&Word),
    "[\"PIP_TOKEN\"]",
    "`secret-env` of every target that has none of its own.",
)
.default("[]");
const DOTENV_DEFAULTS: Key = key(
    "dotenv",
    List(&Plain),
    "[\".env\"]",
    "`dotenv` of every target that has none of its own; relative to this file.",
)
.default("[]");
const SHELL_DEFAULTS: Key = key(
    "shell",
    List(&Word),
    "[\"bash\", \"-euo\", \"pipefail\", \"-c\"]",
    "`shell` of every target that has none of its own.",
)
.default("[\"sh\", \"-eu\", \"-c\"]");
const TIMEOUT_DEFAULTS: Key = key(
    "timeout",
    Duration,
    "\"30m\"",
    "`timeout` of every target that has none of its own.",
);

/// `[pipeline]`.
pub static PIPELINE: Section = Section {
    title: "[pipeline]",
    doc: "The root project, and defaults for every target of the workspace.",
    keys: &[
        NAME,
        DEFAULT,
        VARS,
        ENV_DEFAULTS,
        INHERIT_DEFAULTS,
        SECRET_DEFAULTS,
        DOTENV_DEFAULTS,
        SHELL_DEFAULTS,
        TIMEOUT_DEFAULTS,
    ],
};

/// `[project]`.
pub static PROJECT: Section = Section {
    title: "[project]",
    doc: "A member of the workspace, and defaults for its targets.",
    keys: &[
        NAME,
        key(
            "depends",
            List(&Word),
            "[\"common\"]",
            "Projects it builds on: what `^build` in `needs` means, and what `--since` follows.",
        )
        .default("[]"),
        key(
            "template",
            Word,
            "\"python-service\"",
            "The `[template.NAME]` whose targets it gets.",
        ),
        DEFAULT,
        VARS,
        ENV_DEFAULTS,
        INHERIT_DEFAULTS,
        SECRET_DEFAULTS,
        DOTENV_DEFAULTS,
        SHELL_DEFAULTS,
        TIMEOUT_DEFAULTS,
    ],
};

/// `[workspace]`.
pub static WORKSPACE: Section = Section {
    title: "[workspace]",
    doc: "Where member projects are.",
    keys: &[key("members", List(&Glob), "[\"services/*\", \"libs/*\"]", "Directories, or globs of them; a globbed directory without a Pipeline.toml is no member; `!` excludes.").default("[]")],
};

/// `[template.NAME]`.
pub static TEMPLATE: Section = Section {
    title: "[template.NAME]",
    doc: "Targets declared once, for the members that name the template.",
    keys: &[key(
        "target",
        Named(&TARGET),
        "{ lint.run = \"ruff check .\" }",
        "A target that each such member gets; the member's own keys override these.",
    )],
};

/// `[cache]`.
pub static CACHE: Section = Section {
    title: "[cache]",
    doc: "Where results are kept.",
    keys: &[
        key("dir", Plain, "\".cache/forge\"", "The cache's directory.").default("\".forge\""),
        key(
            "max-size",
            Size,
            "\"20GB\"",
            "How large it may grow; least recently used results go first.",
        )
        .default("\"10GB\""),
        key(
            "remote",
            Text,
            "\"https://cache.example.com\"",
            "A cache shared by machines.",
        ),
        key(
            "remote-write",
            Choice(&["never", "ci", "always"]),
            "\"always\"",
            "Who writes to the remote cache.",
        )
        .default("\"ci\""),
    ],
};

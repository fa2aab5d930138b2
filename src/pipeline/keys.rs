//! The one table of every key that a pipeline file may hold: what it takes, what it means, its default
//! and an example. The decoder reads files by it, the JSON schema is printed from it, and suggestions
//! are looked up in it.
//!
//! Knows nothing of how a key is used.

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

use Shape::{
    Bool, Choice, Duration, Freeze, Glob, List, Map, Named, Number, OneOrMany, Plain, Port,
    PortNumber, Size, Table, Text, Timezone, Version, Word,
};

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

const WORKING: &[&str] = &["command", "image"];

/// `[target.NAME]`.
pub static TARGET: Section = Section {
    title: "[target.NAME]",
    doc: "Something to run, to build or to deploy; without `run` and `kind` a name for a group of targets.",
    keys: &[
        key("kind", Choice(&["command", "image", "deploy"]), "\"command\"", "What it does. Left out: `command` where `run` is there, else a group."),
        key("description", Word, "\"Unit tests\"", "One line for `forge list`."),
        key("needs", List(&Word), "[\"venv\", \"common:build\", \"^build\", \":tools\"]", "Targets that finish first: of this project, `project:target`, `^target` of every project in `depends`, `:target` of the root.").default("[]"),
        key("inputs", List(&Plain), "[\"src/**/*.py\", \"!src/gen\", \"/pyproject.toml\"]", "Files it reads: globs relative to the project, `!` excludes, a leading `/` starts at the workspace root. Left out: every file of the project.").only(WORKING),
        key("outputs", List(&Plain), "[\"coverage.xml\"]", "Files, directories or globs it makes; restored when nothing changed.").default("[]").only(&["command"]),
        key("run", OneOrMany(&Text), "\"pytest -q\"", "A shell line, or several run in turn; a multi-line string is a script.").only(&["command"]),
        key("shell", List(&Word), "[\"bash\", \"-euo\", \"pipefail\", \"-c\"]", "The program that gets each line of `run`.").default("[\"sh\", \"-eu\", \"-c\"]").only(&["command"]),
        key("dir", Plain, "\"frontend\"", "Working directory below the project.").default("\".\"").only(&["command"]),
        key("env", Map(&Text), "{ DATABASE_URL = \"postgres://localhost\" }", "Variables set for the target; part of the key.").default("{}").only(WORKING),
        key("inherit-env", List(&Glob), "[\"CI\", \"AWS_*\"]", "Names or globs taken from the caller; values are part of the key.").default("[]").only(WORKING),
        key("secret-env", List(&Word), "[\"PIP_TOKEN\"]", "Names taken from the caller; never in a key, a log or the store.").default("[]").only(WORKING),
        key("dotenv", List(&Plain), "[\".env\"]", "Files of `KEY=value`, weaker than `env`; the values are part of the key.").default("[]").only(&["command"]),
        key("tools", Map(&Version), "{ python3 = \"3.11\" }", "Programs and the versions they must have; part of the key. A bare `3.11` means 3.11.x.").default("{}").only(&["command"]),
        key("services", List(&Word), "[\"postgres\"]", "Services that are up and ready while it runs.").default("[]").only(&["command"]),
        key("cache", Bool, "false", "`false`: always runs.").default("true").only(WORKING),
        key("incremental", Bool, "true", "`true`: its old outputs stay in place while it runs.").default("false").only(&["command"]),
        key("timeout", Duration, "\"10m\"", "How long one attempt may take.").only(&["command", "image", "deploy"]),
        key("retries", Number(0, 100), "2", "How often it is tried again after a failure.").default("0").only(WORKING),
        key("locks", List(&Word), "[\"database\"]", "Names; two targets that share one never run together.").default("[]").only(&["command", "image", "deploy"]),
        key("interactive", Bool, "true", "`true`: owns the terminal, runs alone.").default("false").only(&["command"]),
        key("when", Table(&WHEN), "{ branch = \"develop\" }", "Conditions; unmet: skipped as a need, refused when asked for by name."),
        key("finally", List(&Word), "[\"cleanup\"]", "Targets that run after it, whatever its outcome.").default("[]"),
        key("context", Plain, "\"docker\"", "The build context's directory.").default("\".\"").only(&["image"]),
        key("dockerfile", Plain, "\"docker/Dockerfile\"", "The Dockerfile. Left out: `Dockerfile` in the context.").only(&["image"]),
        key("repository", Text, "\"company-app\"", "The image's repository, without the registry.").only(&["image"]),
        key("tags", List(&Text), "[\"${git.sha}\", \"latest\"]", "Tags that the image gets.").default("[\"${git.sha}\"]").only(&["image"]),
        key("build-args", Map(&Text), "{ PYTHON = \"3.11\" }", "Build arguments.").default("{}").only(&["image"]),
        key("build-target", Word, "\"runtime\"", "The stage to build. Left out: the last one.").only(&["image"]),
        key("platforms", List(&Word), "[\"linux/amd64\"]", "Platforms to build for. Left out: the engine's own.").only(&["image"]),
        key("labels", Map(&Text), "{ team = \"payments\" }", "Labels that the image gets.").default("{}").only(&["image"]),
        key("secrets", Map(&Text), "{ pip = \"env.PIP_TOKEN\" }", "Build secrets: an id and where it comes from, `env.NAME` or a file.").default("{}").only(&["image"]),
        key("cache-from", List(&Text), "[\"company-app:latest\"]", "Images whose layers may be used again.").default("[]").only(&["image"]),
        key("push", Bool, "false", "`false`: stays in the local engine.").default("true").only(&["image"]),
        key("environment", Word, "\"dev\"", "The `[environment.NAME]` it deploys to.").only(&["deploy"]),
    ],
};

/// `when = { … }`.
pub static WHEN: Section = Section {
    title: "when",
    doc: "Conditions on the run; each given one must hold. Values are globs, one or several.",
    keys: &[
        key(
            "branch",
            OneOrMany(&Glob),
            "\"develop\"",
            "The branch that is checked out.",
        ),
        key("tag", OneOrMany(&Glob), "\"v*\"", "A tag of the commit."),
        key(
            "event",
            OneOrMany(&Glob),
            "\"push\"",
            "What started the run in CI: `push`, `pull_request`, …",
        ),
        key(
            "os",
            OneOrMany(&Glob),
            "\"linux\"",
            "The operating system: `linux`, `macos`.",
        ),
        key(
            "env",
            Map(&OneOrMany(&Glob)),
            "{ CI = \"true\" }",
            "Variables of the caller and what they must be.",
        ),
    ],
};

/// `[service.NAME]`.
pub static SERVICE: Section = Section {
    title: "[service.NAME]",
    doc: "A container (`image`) or a process (`run`) that is up while targets run.",
    keys: &[
        key("image", Text, "\"postgres:15\"", "The container's image."),
        key(
            "run",
            OneOrMany(&Text),
            "\"redis-server --port ${service.NAME.port}\"",
            "The process's shell line.",
        ),
        key(
            "env",
            Map(&Text),
            "{ POSTGRES_PASSWORD = \"postgres\" }",
            "Its variables.",
        )
        .default("{}"),
        key(
            "ports",
            List(&Port),
            "[5432]",
            "`5432`: any free port on 127.0.0.1; `\"5432:5432\"`: that one.",
        )
        .default("[]"),
        key(
            "ready",
            Table(&READY),
            "{ exec = \"pg_isready -U postgres\" }",
            "How to see that it is ready. Left out: the image's HEALTHCHECK, else TCP on the first port.",
        ),
    ],
};

/// `ready = { … }`.
pub static READY: Section = Section {
    title: "ready",
    doc: "How to see that a service is ready: one of `exec`, `http`, `tcp` and `log`.",
    keys: &[
        key(
            "exec",
            Text,
            "\"pg_isready -U postgres\"",
            "A shell line that ends with 0, inside the container or beside the process.",
        ),
        key(
            "http",
            Text,
            "\"/health\"",
            "A path on the first port, or a URL, that answers 2xx or 3xx.",
        ),
        key(
            "tcp",
            PortNumber,
            "5432",
            "A declared port that takes a connection.",
        ),
        key(
            "log",
            Word,
            "\"ready to accept connections\"",
            "Text that its log holds.",
        ),
        key("within", Duration, "\"90s\"", "How long it may take.").default("\"60s\""),
        key("every", Duration, "\"1s\"", "The pause between two probes.").default("\"500ms\""),
    ],
};

const ECS: &[&str] = &["ecs"];

/// `[environment.NAME]`.
pub static ENVIRONMENT: Section = Section {
    title: "[environment.NAME]",
    doc: "Where deploy targets deploy to, and what guards it.",
    keys: &[
        key(
            "provider",
            Choice(&["ecs", "docker"]),
            "\"docker\"",
            "`ecs`, or `docker`: containers on the local engine.",
        )
        .default("\"ecs\""),
        key(
            "region",
            Text,
            "\"eu-central-1\"",
            "The AWS region. Left out: the caller's.",
        )
        .only(ECS),
        key(
            "account",
            Text,
            "\"123456789012\"",
            "The AWS account; a caller in another one is refused.",
        )
        .only(ECS),
        key("profile", Text, "\"production\"", "The AWS profile to use.").only(ECS),
        key(
            "assume-role",
            Text,
            "\"arn:aws:iam::123456789012:role/deploy\"",
            "The role to assume.",
        )
        .only(ECS),
        key("cluster", Text, "\"dev-cluster\"", "The ECS cluster.").only(ECS),
        key("service", Text, "\"app-service\"", "The service to update."),
        key(
            "services",
            List(&Text),
            "[\"web\", \"worker\"]",
            "The services to update, in turn.",
        ),
        key(
            "container",
            Text,
            "\"app\"",
            "The container that gets the image. Left out: the only one there is.",
        ),
        key(
            "task-definition",
            Plain,
            "\"ecs/task.json\"",
            "A JSON file to render. Left out: the running one with the new image.",
        )
        .only(ECS),
        key(
            "env",
            Map(&Text),
            "{ LOG_LEVEL = \"info\" }",
            "Variables laid over the task definition's.",
        )
        .default("{}"),
        key(
            "secrets",
            Map(&Text),
            "{ DATABASE_URL = \"arn:aws:ssm:eu-central-1:1:parameter/db\" }",
            "Secrets laid over the task definition's.",
        )
        .default("{}"),
        key("cpu", Number(1, 1_048_576), "512", "CPU units."),
        key("memory", Number(1, 1_048_576), "1024", "Memory in MiB."),
        key(
            "desired-count",
            Number(0, 10_000),
            "2",
            "How many tasks. Left out: as many as there are.",
        ),
        key(
            "url",
            Text,
            "\"https://dev.example.com\"",
            "Where people find it.",
        ),
        key(
            "branch",
            OneOrMany(&Glob),
            "\"main\"",
            "Branches that may be deployed here; others are refused. Left out: any.",
        ),
        key("approval", Bool, "true", "`true`: shows the plan and asks.").default("false"),
        key(
            "freeze",
            OneOrMany(&Freeze),
            "[\"Fri 16:00..Mon 08:00\"]",
            "Times in which deployments are refused.",
        )
        .default("[]"),
        key(
            "timezone",
            Timezone,
            "\"Europe/Berlin\"",
            "The time zone of `freeze`.",
        )
        .default("\"UTC\""),
        key(
            "before",
            OneOrMany(&Text),
            "[\"alembic upgrade head\"]",
            "One-off tasks run with the new revision first.",
        )
        .default("[]"),
        key(
            "smoke",
            List(&Table(&SMOKE)),
            "[{ http = \"${environment.url}/health\", status = 200 }]",
            "Checks of the deployment from outside.",
        )
        .default("[]"),
        key(
            "on-failure",
            Choice(&["rollback", "stop"]),
            "\"stop\"",
            "What follows a failed deployment.",
        )
        .default("\"rollback\""),
        key(
            "timeout",
            Duration,
            "\"20m\"",
            "How long a deployment may take.",
        )
        .default("\"15m\""),
        key("notify", List(&Word), "[\"team\"]", "Names of notifiers.").default("[]"),
    ],
};

/// `smoke = [{ … }]`.
pub static SMOKE: Section = Section {
    title: "smoke",
    doc: "A check of the deployment from outside: `http` or `run`.",
    keys: &[
        key(
            "http",
            Text,
            "\"${environment.url}/health\"",
            "A URL to ask.",
        ),
        key(
            "status",
            Number(100, 599),
            "204",
            "The status it must answer.",
        )
        .default("200"),
        key(
            "within",
            Duration,
            "\"2m\"",
            "How long it may take to answer so.",
        )
        .default("\"60s\""),
        key(
            "run",
            Text,
            "\"./smoke.sh ${environment.url}\"",
            "A shell line that must end with 0.",
        ),
    ],
};

/// `[registry]`.
pub static REGISTRY: Section = Section {
    title: "[registry]",
    doc: "Where images are pushed to: `ecr` or `host`.",
    keys: &[
        key(
            "ecr",
            Table(&ECR),
            "{ region = \"eu-central-1\" }",
            "Amazon's registry.",
        ),
        key(
            "host",
            Plain,
            "\"localhost:5000\"",
            "Another registry, with credentials from the Docker configuration.",
        ),
    ],
};

/// `ecr = { … }`.
pub static ECR: Section = Section {
    title: "ecr",
    doc: "Amazon's registry.",
    keys: &[
        key(
            "region",
            Plain,
            "\"eu-central-1\"",
            "Left out: the caller's.",
        ),
        key(
            "account",
            Plain,
            "\"123456789012\"",
            "Left out: the caller's.",
        ),
        key(
            "create-repository",
            Bool,
            "true",
            "`true`: makes a repository that isn't there.",
        )
        .default("false"),
    ],
};

/// `[notify.NAME]`.
pub static NOTIFY: Section = Section {
    title: "[notify.NAME]",
    doc: "Someone who hears of runs and deployments.",
    keys: &[
        key("kind", Choice(&["slack", "pagerduty", "email", "webhook"]), "\"webhook\"", "How."),
        key("on", OneOrMany(&Choice(EVENTS)), "[\"run-failed\", \"deploy-failed\"]", "Of what."),
        key("branches", OneOrMany(&Glob), "[\"main\"]", "Only runs of these branches.").default("[]"),
        key("targets", OneOrMany(&Glob), "[\"deploy-*\"]", "Only these targets.").default("[]"),
        key("url", Text, "\"${env.SLACK_URL}\"", "The webhook's address.").only(&["slack", "pagerduty", "webhook"]),
        key("channel", Text, "\"#builds\"", "The channel.").only(&["slack"]),
        key("token", Text, "\"${env.SLACK_TOKEN}\"", "The bot's token, where there is no webhook address; for a webhook: sent as bearer token.").only(&["slack", "webhook"]),
        key("key", Text, "\"${env.PAGERDUTY_KEY}\"", "The integration's routing key; for a webhook: what signs its body.").only(&["pagerduty", "webhook"]),
        key("to", Text, "\"team@example.com\"", "Who gets the mail; several with commas.").only(&["email"]),
        key("from", Text, "\"forge@example.com\"", "Who sends the mail.").only(&["email"]),
        key("server", Text, "\"smtp.example.com:587\"", "The mail server.").only(&["email"]),
        key("user", Text, "\"forge\"", "The mail server's user.").only(&["email"]),
        key("password", Text, "\"${env.SMTP_PASSWORD}\"", "The mail server's password.").only(&["email"]),
    ],
};

/// What a notifier may hear of.
pub const EVENTS: &[&str] = &[
    "run-failed",
    "target-failed",
    "target-flaky",
    "deploy-started",
    "deploy-succeeded",
    "deploy-failed",
    "rolled-back",
];

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

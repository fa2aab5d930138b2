//! `[target.NAME]`.

use super::Shape::*;
use super::{Section, key};

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
        key("sandbox", Bool, "true", "`true`: reading a file of the workspace that it doesn't declare fails, and so does writing beside its outputs.").default("false").only(&["command"]),
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

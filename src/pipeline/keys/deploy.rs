//! `[environment.NAME]`, `[registry]` and `[notify.NAME]`.

use super::Shape::*;
use super::{Section, key};

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
            "The container that gets the image. Left out: the only one that runs an image of this repository.",
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
            "`true`: makes a repository that isn't there; its tags stay in place, but for those that are meant to move.",
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
    "target-keeps-failing",
    "deploy-started",
    "deploy-succeeded",
    "deploy-failed",
    "rolled-back",
];

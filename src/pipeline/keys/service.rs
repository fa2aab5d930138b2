//! `[service.NAME]`.

use super::Shape::*;
use super::{Section, key};

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

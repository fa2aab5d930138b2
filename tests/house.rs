//! The house: which room of `src/` may know which, and which may not touch the world. `docs/design.md`
//! draws it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may name. Everybody may name what stands at the front: `units`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("aws", &[]),
    ("pipeline", &["graph"]),
    ("graph", &["pipeline"]),
    ("cache", &["pipeline"]),
    ("deploy", &["aws", "docker", "pipeline"]),
    ("docker", &["image"]),
    ("exec", &["docker", "pipeline"]),
    ("image", &["aws", "pipeline"]),
    (
        "engine",
        &[
            "cache", "deploy", "docker", "exec", "graph", "image", "pipeline",
        ],
    ),
    ("history", &["engine::event"]),
    ("notify", &["engine::event", "pipeline"]),
    ("report", &["engine::event"]),
    ("init", &["pipeline"]),
    ("ci", &["graph", "pipeline"]),
];

/// Above all: it may name everything.
const TOP: &str = "cli";

const FRONT: &[&str] = &["fault", "http", "parallel", "units"];

/// What would reach outside, in rooms that are pure.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "Instant",
    "SystemTime",
    "Timestamp::now",
];

/// Where pipeline files are read; nothing writes.
const READERS: &[&str] = &["pipeline/mod.rs", "pipeline/discover.rs"];

const READS: &[&str] = &[
    "std::fs::File::open",
    "std::fs::read_to_string",
    "std::fs::read_dir",
];

/// A source file, as it is without its tests and comments.
struct Source {
    /// Relative to `src`.
    name: String,
    code: String,
}

fn sources(dir: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !is_test(&path) {
                found.push(source(&path));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn is_test(path: &Path) -> bool {
    let name = path.strip_prefix(src()).expect("in src");
    name.iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

fn source(path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a source file");
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let code: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let name = path.strip_prefix(src()).expect("in src");
    Source {
        name: name.to_string_lossy().into_owned(),
        code: code.join("\n"),
    }
}

/// The paths after `crate::`, two steps deep: `engine::event`.
fn named(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            text[..end.unwrap_or(text.len())].to_owned()
        };
        let first = word(rest);
        let second = rest[first.len()..].strip_prefix("::").map(word);
        paths.insert(match second {
            Some(second) if !second.is_empty() => format!("{first}::{second}"),
            _ => first,
        });
    }
    paths
}

fn room(name: &str) -> Option<&str> {
    name.split_once('/').map(|(room, _)| room)
}

fn may(room: &str, path: &str) -> bool {
    let allowed = MAY_KNOW
        .iter()
        .find(|(name, _)| *name == room)
        .map_or(&[][..], |(_, allowed)| allowed);
    let own = [room];
    let mut rooms = allowed.iter().chain(FRONT).chain(&own);
    rooms.any(|known| path == *known || path.starts_with(&format!("{known}::")))
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for source in sources(&src()) {
        let Some(room) = room(&source.name).filter(|room| *room != TOP) else {
            continue;
        };
        for path in named(&source.code) {
            if !may(room, &path) {
                wrong.push(format!("src/{} names crate::{path}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_in_the_plan() {
    let known: BTreeSet<&str> = MAY_KNOW
        .iter()
        .map(|(room, _)| *room)
        .chain([TOP])
        .collect();
    let all = sources(&src());
    let rooms: BTreeSet<&str> = all.iter().filter_map(|source| room(&source.name)).collect();
    assert_eq!(rooms, known);
}

/// `super::` would leave a room unseen.
#[test]
fn nobody_leaves_a_room_backwards() {
    for source in sources(&src()) {
        let depth = source.name.split('/').count() - usize::from(source.name.ends_with("/mod.rs"));
        let out = "super::".repeat(depth);
        assert!(
            room(&source.name).is_none() || !source.code.contains(&out),
            "src/{} says {out}: write crate::",
            source.name
        );
    }
}

#[test]
fn pipeline_and_graph_only_read_pipeline_files() {
    for source in sources(&src()) {
        if !matches!(room(&source.name), Some("pipeline" | "graph")) {
            continue;
        }
        let mut code = source.code.clone();
        if READERS.contains(&&*source.name) {
            READS.iter().for_each(|read| code = code.replace(read, ""));
        }
        for word in OUTSIDE {
            assert!(!code.contains(word), "src/{} uses {word}", source.name);
        }
    }
}

/// What a deployment decides depends on what it is told: only its provider and what is lent to it act.
#[test]
fn deployments_are_decided_by_what_is_given() {
    const ACTING: &[&str] = &[
        "deploy/ecs/",
        "deploy/local/",
        "deploy/request.rs",
        "deploy/smoke.rs",
    ];
    for source in sources(&src()) {
        let acts = ACTING.iter().any(|name| source.name.starts_with(name));
        if room(&source.name) != Some("deploy") || acts {
            continue;
        }
        for word in OUTSIDE.iter().chain(&["crate::aws", "crate::docker"]) {
            assert!(
                !source.code.contains(word),
                "src/{} uses {word}",
                source.name
            );
        }
    }
}

/// What a person sees is made from events alone: nothing else is public in the engine's direction.
#[test]
fn the_plan_forbids_something() {
    assert!(may("report", "engine::event") && !may("report", "engine::run"));
    assert!(!may("cache", "exec::process") && !may("exec", "cache::store"));
    assert!(!may("engine", "report::style") && !may("pipeline", "engine::event"));
    assert_eq!(
        named("use crate::engine::event::{A}; crate::graph;"),
        BTreeSet::from(["engine::event".to_owned(), "graph".to_owned()])
    );
}

/// Its own image is built from `src/` alone: cargo looks for whatever has no path, and finds it missing there.
#[test]
fn what_the_image_leaves_out_is_not_looked_for() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(manifest).expect("Cargo.toml");
    let manifest: toml::Table = text.parse().expect("TOML");
    for kind in ["bench", "example", "test"] {
        let all = manifest.get(kind).and_then(|all| all.as_array());
        for one in all.into_iter().flatten() {
            assert!(
                one.get("path").is_some(),
                "[[{kind}]] without a path: {one:?}"
            );
        }
    }
}

/// What isn't sent to the engine can't be copied there: the build would end at its first step.
#[test]
fn the_image_is_built_of_what_is_sent_for_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("read");
    let (dockerfile, ignored) = (text("Dockerfile"), text(".dockerignore"));
    let sent: BTreeSet<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let copied: BTreeSet<&str> = copies
        .filter(|words| !words.starts_with("--from"))
        .flat_map(|words| words.rsplit_once(' ').expect("two words").0.split(' '))
        .collect();
    assert!(copied.contains("src"));
    assert_eq!(copied, sent);
}

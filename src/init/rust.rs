//! Targets for a crate: fmt, clippy, lint, build, test. Knows nothing of what is inside.

use super::Found;
use super::Note;
use super::draft::Target;

/// Targets of a project with a Cargo.toml.
pub(super) fn targets(found: &Found, notes: &mut Vec<Note>) -> Vec<Target> {
    if found.text("Cargo.toml").is_none() {
        return Vec::new();
    }
    let Some(manifest) = found.toml("Cargo.toml") else {
        notes.push(Note::new(
            "Cargo.toml",
            None,
            "it can't be read as TOML, and is left out",
        ));
        return Vec::new();
    };
    let lint = Target {
        description: Some("Formatting and clippy".into()),
        needs: vec!["fmt".into(), "clippy".into()],
        ..Target::new("lint")
    };
    let fmt = cargo("fmt", "cargo fmt --all --check");
    let fmt = Target {
        inputs: Some(rust_files(found)),
        locks: Vec::new(),
        ..fmt
    };
    let clippy = cargo("clippy", "cargo clippy --all-targets -- -D warnings");
    let test = Target {
        description: Some("Runs the tests".into()),
        ..cargo("test", "cargo test")
    };
    vec![fmt, clippy, lint, build(found, &manifest), test]
}

fn cargo(name: &str, line: &str) -> Target {
    Target {
        tools: vec!["cargo".into()],
        // cargo itself lets only one at a time into `target/`.
        locks: vec!["cargo".into()],
        run: vec![line.to_owned()],
        ..Target::new(name)
    }
}

fn rust_files(found: &Found) -> Vec<String> {
    let settings = ["rustfmt.toml", ".rustfmt.toml"].into_iter();
    let settings = settings.filter(|file| found.has(file));
    ["**/*.rs", "**/Cargo.toml"]
        .into_iter()
        .chain(settings)
        .map(str::to_owned)
        .collect()
}

/// Programs are outputs; of a library nothing can be named, so cargo decides what is fresh.
fn build(found: &Found, manifest: &toml::Table) -> Target {
    let build = Target {
        description: Some("Compiles it".into()),
        ..cargo("build", "cargo build")
    };
    let programs = programs(found, manifest);
    if programs.is_empty() || manifest.contains_key("workspace") {
        let why = "cargo knows what is fresh; name programs in `outputs` to have them cached";
        return Target {
            uncached: Some(why.into()),
            ..build
        };
    }
    Target {
        outputs: programs
            .iter()
            .map(|p| format!("target/debug/{p}"))
            .collect(),
        incremental: true,
        ..build
    }
}

fn programs(found: &Found, manifest: &toml::Table) -> Vec<String> {
    let name = |table: &toml::Value| Some(table.get("name")?.as_str()?.to_owned());
    let declared = manifest.get("bin").and_then(|bins| bins.as_array());
    let mut programs: Vec<String> = declared.into_iter().flatten().filter_map(name).collect();
    if programs.is_empty() && found.has("src/main.rs") {
        programs.extend(manifest.get("package").and_then(name));
    }
    programs
}

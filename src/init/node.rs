//! Targets for a package.json: its scripts, and the installation they need.

use serde_json::Value;

use super::commands::{Class, environment, judge, reports};
use super::draft::{Target, free_name, slug};
use super::{Found, Note};

const FILE: &str = "package.json";
const INSTALL: &str = "node-modules";

/// Scripts that npm runs by itself at its own moments.
const LIFECYCLE: [&str; 13] = [
    "install",
    "preinstall",
    "postinstall",
    "prepare",
    "preprepare",
    "postprepare",
    "prepack",
    "postpack",
    "prepublish",
    "prepublishOnly",
    "publish",
    "postpublish",
    "dependencies",
];

/// Who installs and runs: by the lockfile that is there.
struct Manager {
    run: &'static str,
    install: &'static str,
    lockfile: Option<&'static str>,
    /// Leaves a node_modules behind.
    modules: bool,
}

/// Targets of a project with a package.json.
pub(super) fn targets(found: &Found, notes: &mut Vec<Note>) -> Vec<Target> {
    let Some(text) = found.text(FILE) else {
        return Vec::new();
    };
    let Ok(package) = serde_json::from_str::<Value>(text) else {
        notes.push(Note::new(
            FILE,
            None,
            "it can't be read as JSON, and is left out",
        ));
        return Vec::new();
    };
    let manager = manager(found);
    let install = installation(&package, &manager, notes);
    let needs: Vec<String> = install.iter().map(|t| t.name.clone()).collect();
    let scripts = package.get("scripts").and_then(Value::as_object);
    let scripts = scripts.into_iter().flatten();
    let names: Vec<&String> = scripts.clone().map(|(name, _)| name).collect();
    let hook = |name: &str| {
        let of = name
            .strip_prefix("pre")
            .or_else(|| name.strip_prefix("post"));
        of.is_some_and(|of| names.iter().any(|n| *n == of))
    };
    let speakable = |name: &str| !name.is_empty() && !name.contains(char::is_control);
    let mut targets: Vec<Target> = install.into_iter().collect();
    for (name, script) in scripts.clone() {
        if LIFECYCLE.contains(&name.as_str()) || hook(name) || !speakable(name) {
            continue;
        }
        let Some(script) = script.as_str() else {
            continue;
        };
        let mut target = target(name, script, &manager, &needs);
        target.name = free_name(&target.name, |n| targets.iter().any(|t| t.name == n));
        targets.push(target);
    }
    targets
}

fn manager(found: &Found) -> Manager {
    let npm = Manager {
        run: "npm run",
        install: "npm ci",
        lockfile: Some("package-lock.json"),
        modules: true,
    };
    if found.has("pnpm-lock.yaml") {
        return Manager {
            run: "pnpm run",
            install: "pnpm install --frozen-lockfile",
            lockfile: Some("pnpm-lock.yaml"),
            ..npm
        };
    }
    if found.has("yarn.lock") {
        let modern = found.has(".yarnrc.yml");
        return Manager {
            run: "yarn run",
            install: if modern {
                "yarn install --immutable"
            } else {
                "yarn install --frozen-lockfile"
            },
            lockfile: Some("yarn.lock"),
            modules: !modern,
        };
    }
    match found.has("package-lock.json") {
        true => npm,
        false => Manager {
            install: "npm install --no-package-lock",
            lockfile: None,
            ..npm
        },
    }
}

fn installation(package: &Value, manager: &Manager, notes: &mut Vec<Note>) -> Option<Target> {
    let some = |key: &str| {
        let table = package.get(key).and_then(Value::as_object);
        table.is_some_and(|t| !t.is_empty())
    };
    let workspaces = package.get("workspaces").is_some();
    if !(some("dependencies")
        || some("devDependencies")
        || some("optionalDependencies")
        || workspaces)
    {
        return None;
    }
    if manager.lockfile.is_none() {
        notes.push(Note::new(
            FILE,
            None,
            "there is no lockfile: what is installed isn't pinned",
        ));
    }
    let mut target = Target {
        tools: vec!["node".into()],
        inputs: Some(
            [FILE]
                .into_iter()
                .chain(manager.lockfile)
                .map(str::to_owned)
                .collect(),
        ),
        outputs: vec!["node_modules".into()],
        run: vec![manager.install.to_owned()],
        ..Target::new(INSTALL)
    };
    if workspaces || !manager.modules {
        let text = "what an installation leaves isn't only `node_modules` here: it always runs";
        notes.push(Note::new(FILE, None, text));
        target.inputs = None;
        target.outputs.clear();
        target.uncached =
            Some("name every directory it fills in `outputs` to have it cached".into());
    }
    Some(target)
}

fn target(name: &str, script: &str, manager: &Manager, needs: &[String]) -> Target {
    let quoted = match name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-:.".contains(c))
    {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    };
    let mut target = Target {
        needs: needs.to_vec(),
        tools: vec!["node".into()],
        run: vec![format!("{} {quoted}", manager.run)],
        ..Target::new(&slug(name))
    };
    let verdict = judge(script);
    let because = &verdict.because;
    target.interactive = verdict.class.owns_terminal();
    target.uncached = match verdict.class {
        Class::Checks if reports(script).is_some_and(|r| r.is_empty()) => None,
        Class::Quiet => Some("it always runs, as under npm".into()),
        Class::Checks | Class::Makes => {
            Some("name what it makes in `outputs` to have it cached".into())
        }
        Class::Looks => Some(format!(
            "`{because}` looks at more than the project's files"
        )),
        Class::Edits => Some(format!("`{because}` changes the sources")),
        Class::Acts | Class::SignsIn => Some(format!("`{because}` reaches outside the project")),
        Class::Asks => Some(format!("`{because}` talks to whoever runs it")),
        Class::Serves => Some(format!("`{because}` goes on until it is stopped")),
    };
    let (open, secret) = environment(script);
    target.inherit_env = open.into_iter().map(str::to_owned).collect();
    target.secret_env = secret.into_iter().map(str::to_owned).collect();
    if script.contains("react-scripts test") {
        target.env.push(("CI".into(), "true".into()));
        target.uncached = None;
    }
    target
}

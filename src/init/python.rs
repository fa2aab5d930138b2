//! Targets for a Python project: its environment, and the checks it is set up for.

use super::draft::Target;
use super::{Found, Note};

const VENV: &str = ".venv";
const TOOLS: [&str; 7] = [
    "black", "isort", "ruff", "flake8", "mypy", "bandit", "pytest",
];

const REQUIREMENTS: [&str; 4] = [
    "requirements.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "requirements-test.txt",
];

/// Targets of a project with a pyproject.toml, a setup.cfg or requirements.
pub(super) fn targets(found: &Found, notes: &mut Vec<Note>) -> Vec<Target> {
    let files: Vec<&str> = REQUIREMENTS
        .into_iter()
        .filter(|f| found.text(f).is_some())
        .collect();
    let pyproject = found.toml("pyproject.toml");
    if found.text("pyproject.toml").is_some() && pyproject.is_none() {
        notes.push(Note::new(
            "pyproject.toml",
            None,
            "it can't be read as TOML, and is left out",
        ));
    }
    let pyproject = pyproject.unwrap_or_default();
    let declares = |key: &str| pyproject.contains_key(key);
    let setup = found.text("setup.cfg").unwrap_or("");
    if files.is_empty() && !declares("project") && !declares("tool") && setup.is_empty() {
        return Vec::new();
    }
    let required = required(found, &files, &pyproject);
    let wanted =
        |tool: &&str| required.iter().any(|r| r == *tool) || configured(found, &pyproject, tool);
    let tools: Vec<&str> = TOOLS.into_iter().filter(wanted).collect();
    let unpinned: Vec<&str> = tools
        .iter()
        .copied()
        .filter(|tool| !required.iter().any(|r| r == tool))
        .collect();
    if !unpinned.is_empty() {
        let names = unpinned.join(", ");
        let text = format!("{names}: set up, but in no requirements; `venv` installs the newest");
        notes.push(Note::new("pyproject.toml", None, text));
    }
    let mut targets = vec![venv(found, &files, &pyproject, &unpinned)];
    targets.extend(
        tools
            .iter()
            .filter(|t| **t != "pytest")
            .map(|tool| check(found, tool)),
    );
    targets.extend(groups(&tools));
    if tools.contains(&"pytest") {
        targets.push(Target {
            description: Some("Runs the tests".into()),
            ..tool("test", "pytest")
        });
    }
    targets
}

/// Names of distributions that the project's requirements ask for.
fn required(found: &Found, files: &[&str], pyproject: &toml::Table) -> Vec<String> {
    let lines = files
        .iter()
        .filter_map(|f| found.text(f))
        .flat_map(str::lines);
    let mut names: Vec<String> = lines.map(distribution).collect();
    let mut listed = |value: Option<&toml::Value>| {
        let strings = value.and_then(|v| v.as_array()).into_iter().flatten();
        names.extend(strings.filter_map(|v| v.as_str()).map(distribution));
    };
    let project = pyproject.get("project");
    listed(project.and_then(|p| p.get("dependencies")));
    let extras = project.and_then(|p| p.get("optional-dependencies"));
    listed(extras.and_then(|e| e.get("dev")));
    names
}

fn distribution(requirement: &str) -> String {
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.');
    let name = requirement.trim().split(end).next().unwrap_or("");
    name.to_lowercase()
}

/// Whether a tool has settings in the project.
fn configured(found: &Found, pyproject: &toml::Table, tool: &str) -> bool {
    let own_files: &[&str] = match tool {
        "ruff" => &["ruff.toml", ".ruff.toml"],
        "mypy" => &["mypy.ini", ".mypy.ini"],
        "flake8" => &[".flake8"],
        "pytest" => &["pytest.ini", "conftest.py", "tests/conftest.py"],
        "bandit" => &[".bandit"],
        _ => &[],
    };
    let in_pyproject = pyproject
        .get("tool")
        .is_some_and(|tools| tools.get(tool).is_some());
    let setup = found.text("setup.cfg").unwrap_or("");
    let section = |line: &str| {
        let line = line.trim();
        line == format!("[{tool}]") || line == format!("[tool:{tool}]")
    };
    in_pyproject || own_files.iter().any(|f| found.has(f)) || setup.lines().any(section)
}

fn venv(found: &Found, files: &[&str], pyproject: &toml::Table, unpinned: &[&str]) -> Target {
    let target = |inputs: Vec<&str>, run: Vec<String>| Target {
        description: Some("The Python environment of the other targets".into()),
        tools: vec!["python3".into()],
        inputs: Some(inputs.into_iter().map(str::to_owned).collect()),
        outputs: vec![VENV.into()],
        run,
        ..Target::new("venv")
    };
    let with_lock = |lock: &'static str, line: &str| {
        let mut run = vec![line.to_owned()];
        if !unpinned.is_empty() {
            run.push(format!(
                "{VENV}/bin/python -m pip install -q {}",
                unpinned.join(" ")
            ));
        }
        target(vec!["pyproject.toml", lock], run)
    };
    if found.has("uv.lock") {
        return with_lock("uv.lock", "uv sync --frozen");
    }
    if found.has("poetry.lock") {
        let mut venv = with_lock("poetry.lock", "poetry install");
        venv.env
            .push(("POETRY_VIRTUALENVS_IN_PROJECT".into(), "true".into()));
        return venv;
    }
    let mut words: Vec<String> = files.iter().map(|f| format!("-r {f}")).collect();
    let mut inputs = files.to_vec();
    let packaged = pyproject.contains_key("project") || found.has("setup.py");
    if packaged && files.is_empty() {
        let extras = pyproject
            .get("project")
            .and_then(|p| p.get("optional-dependencies"));
        let dev = extras.is_some_and(|e| e.get("dev").is_some());
        words.push(if dev {
            "-e '.[dev]'".into()
        } else {
            "-e .".into()
        });
        let described = ["pyproject.toml", "setup.py", "setup.cfg"];
        inputs.extend(described.into_iter().filter(|f| found.has(f)));
    }
    words.extend(unpinned.iter().map(|tool| (*tool).to_owned()));
    let mut run = vec![format!("python3 -m venv {VENV}")];
    if !words.is_empty() {
        run.push(format!("{VENV}/bin/pip install -q {}", words.join(" ")));
    }
    target(inputs, run)
}

fn tool(name: &str, line: &str) -> Target {
    Target {
        needs: vec!["venv".into()],
        run: vec![format!("{VENV}/bin/{line}")],
        ..Target::new(name)
    }
}

fn check(found: &Found, name: &str) -> Target {
    let line = match name {
        "black" => "black --check .".to_owned(),
        "isort" => "isort --check-only --skip .venv .".to_owned(),
        "ruff" => "ruff check .".to_owned(),
        "flake8" => "flake8 --extend-exclude .venv .".to_owned(),
        "bandit" => bandit(found),
        other => format!("{other} ."),
    };
    let own = match name {
        "mypy" => &["mypy.ini", ".mypy.ini"][..],
        "ruff" => &["ruff.toml", ".ruff.toml"],
        "flake8" => &[".flake8"],
        "bandit" => &[".bandit"],
        _ => &[],
    };
    let settings = ["pyproject.toml", "setup.cfg"].iter().chain(own);
    let settings = settings.filter(|file| found.has(file));
    let inputs = std::iter::once(&"**/*.py").chain(settings);
    Target {
        inputs: Some(inputs.map(|i| (*i).to_owned()).collect()),
        ..tool(name, &line)
    }
}

/// The packages of the project, or all of it but the environment and the tests.
fn bandit(found: &Found) -> String {
    let package = |path: &&String| {
        let dir = path.strip_suffix("/__init__.py");
        dir.is_some_and(|dir| !dir.contains('/') && !dir.starts_with("test"))
    };
    let mut dirs: Vec<&str> = found
        .paths
        .iter()
        .filter(package)
        .filter_map(|path| path.strip_suffix("/__init__.py"))
        .collect();
    if found.has("src") {
        dirs.insert(0, "src");
    }
    match dirs.is_empty() {
        true => "bandit -q -r . -x ./.venv,./tests".to_owned(),
        false => format!("bandit -q -r {}", dirs.join(" ")),
    }
}

fn groups(tools: &[&str]) -> Vec<Target> {
    let group = |name: &str, description: &str, members: &[&str]| {
        let members = tools.iter().filter(|t| members.contains(t));
        let needs: Vec<String> = members.map(|t| (*t).to_owned()).collect();
        (!needs.is_empty()).then(|| Target {
            description: Some(description.to_owned()),
            needs,
            ..Target::new(name)
        })
    };
    let lint = ["black", "isort", "ruff", "flake8", "mypy"];
    let lint = group("lint", "Formatting, style and types", &lint);
    let scan = group("scan", "Security of the code", &["bandit"]);
    lint.into_iter().chain(scan).collect()
}

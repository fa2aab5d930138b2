//! What is worth a warning in a Dockerfile and beside it.
//!
//! Only what bites: a base that changes by itself, root at run time, nothing that tells whether it is healthy, a cache that
//! every edit throws away, files that shouldn't leave the machine.

use super::dockerfile::{Base, Dockerfile, Instruction, Stage};
use super::dockerignore::Dockerignore;
use super::private::{is_held_back, is_private};

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// In the Dockerfile, from 1; none where it is about something that isn't there.
    pub line: Option<usize>,
    pub message: String,
    pub help: String,
}

/// What lies in the context, as far as advice goes.
pub struct Surroundings<'a> {
    /// The `.dockerignore`, if there is one.
    pub ignore: Option<&'a Dockerignore>,
    /// Files and directories at the top of the context.
    pub names: &'a [String],
}

/// Words that, in the name of a build argument, mean that its value should not be kept in a layer.
const SECRET_WORDS: &[&str] = &[
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PRIVATE_KEY",
    "API_KEY",
    "CREDENTIAL",
];

/// Files that name dependencies: what installs them should not depend on the rest.
const DEPENDENCY_FILES: &[&str] = &[
    "requirements.txt",
    "pyproject.toml",
    "poetry.lock",
    "uv.lock",
    "Pipfile.lock",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Cargo.lock",
    "go.mod",
    "Gemfile.lock",
    "composer.lock",
];

/// Looks at the stage that is built and what it stands on.
pub fn advise(file: &Dockerfile, target: usize, around: &Surroundings) -> Vec<Advice> {
    let mut advice = Vec::new();
    let Some(stage) = file.stages.get(target) else {
        return advice;
    };
    advice.extend(file.stages.iter().filter_map(unversioned));
    advice.extend(root_user(file, stage));
    advice.extend(no_healthcheck(file, stage));
    advice.extend(
        file.stages
            .iter()
            .filter_map(|stage| copy_too_early(stage, around)),
    );
    advice.extend(
        file.stages
            .iter()
            .flat_map(|stage| &stage.instructions)
            .filter_map(secret_in_layer),
    );
    advice.extend(private_files(around));
    advice
}

fn unversioned(stage: &Stage) -> Option<Advice> {
    let Base::Image(image) = &stage.base else {
        return None;
    };
    if image.contains('@') {
        return None;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split_once(':').map(|(_, tag)| tag);
    let message = match tag {
        None => format!("the base image {image} has no version"),
        Some("latest") => format!("the base image {image} is whatever is latest"),
        Some(_) => return None,
    };
    Some(Advice {
        line: Some(stage.line),
        message,
        help: "name a version, so that a build next month is the same".into(),
    })
}

/// The last of an instruction in a stage or in the stages it stands on.
fn last<'a>(file: &'a Dockerfile, stage: &'a Stage, keyword: &str) -> Option<&'a Instruction> {
    let mut stage = stage;
    loop {
        if let Some(found) = stage
            .instructions
            .iter()
            .rev()
            .find(|instruction| instruction.keyword == keyword)
        {
            return Some(found);
        }
        match stage.base {
            Base::Stage(number) => stage = file.stages.get(number)?,
            _ => return None,
        }
    }
}

fn root_user(file: &Dockerfile, stage: &Stage) -> Option<Advice> {
    let user = last(file, stage, "USER");
    let name = user.map(|user| user.arguments.split(':').next().unwrap_or_default().trim());
    if name.is_some_and(|name| !matches!(name, "" | "root" | "0")) {
        return None;
    }
    Some(Advice {
        line: Some(user.map_or(stage.line, |user| user.line)),
        message: "the container runs as root".into(),
        help: "make a user and end with USER NAME".into(),
    })
}

fn no_healthcheck(file: &Dockerfile, stage: &Stage) -> Option<Advice> {
    let check = last(file, stage, "HEALTHCHECK");
    if check.is_some_and(|check| !check.arguments.eq_ignore_ascii_case("none")) {
        return None;
    }
    Some(Advice {
        line: Some(check.map_or(stage.line, |check| check.line)),
        message: "nothing tells whether the container is healthy".into(),
        help: "add HEALTHCHECK with a command that asks the application".into(),
    })
}

/// `COPY . .` before dependencies are installed: every edit then installs them again.
fn copy_too_early(stage: &Stage, around: &Surroundings) -> Option<Advice> {
    let is_everything = |instruction: &&Instruction| {
        let from_context = instruction.flags.iter().all(|(name, _)| name != "from");
        let first = instruction.arguments.split_whitespace().next();
        instruction.keyword == "COPY" && from_context && matches!(first, Some("." | "./"))
    };
    let at = stage
        .instructions
        .iter()
        .position(|instruction| is_everything(&instruction))?;
    let named = |name: &&&str| around.names.iter().any(|found| found == **name);
    let manifest = DEPENDENCY_FILES.iter().find(named)?;
    let installs = [
        "pip install",
        "npm ci",
        "npm install",
        "yarn install",
        "pnpm install",
        "poetry install",
        "uv sync",
        "go mod download",
        "bundle install",
    ];
    let later = stage.instructions[at..].iter().any(|instruction| {
        instruction.keyword == "RUN"
            && installs
                .iter()
                .any(|install| instruction.arguments.contains(install))
    });
    later.then(|| Advice {
        line: Some(stage.instructions[at].line),
        message: "everything is copied before dependencies are installed, so every edit installs them again".into(),
        help: format!("COPY {manifest} and install first, then COPY the rest"),
    })
}

fn secret_in_layer(instruction: &Instruction) -> Option<Advice> {
    if !matches!(instruction.keyword.as_str(), "ARG" | "ENV") {
        return None;
    }
    let name = instruction
        .arguments
        .split(['=', ' '])
        .next()
        .unwrap_or_default();
    let upper = name.to_ascii_uppercase();
    SECRET_WORDS
        .iter()
        .any(|word| upper.contains(word))
        .then(|| Advice {
            line: Some(instruction.line),
            message: format!(
                "{} {name} keeps a secret in the image, where everybody who pulls it can read it",
                instruction.keyword
            ),
            help: "pass it with `secrets` and RUN --mount=type=secret".into(),
        })
}

fn private_files(around: &Surroundings) -> Vec<Advice> {
    let Some(ignore) = around.ignore else {
        return vec![Advice {
            line: None,
            message:
                "there is no .dockerignore: everything beside the Dockerfile goes into the build"
                    .into(),
            help: "write one; begin with .git, .env, .venv and what is built".into(),
        }];
    };
    let private = around.names.iter().filter(|name| is_private(name));
    let unnamed = private.filter(|name| !ignore.excludes(name));
    let advice = unnamed.map(|name| match is_held_back(name, ignore) {
        true => Advice {
            line: None,
            message: format!("{name} isn't in .dockerignore"),
            help: format!("forge keeps it out of the build, other tools would not: add {name}"),
        },
        false => Advice {
            line: None,
            message: format!("{name} goes into the build"),
            help: format!("take !{name} out of .dockerignore"),
        },
    });
    advice.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn advice(text: &str, ignore: Option<&str>, names: &[&str]) -> Vec<(Option<usize>, String)> {
        let file = Dockerfile::parse(text, &BTreeMap::new());
        let ignore = ignore.map(Dockerignore::new);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let around = Surroundings {
            ignore: ignore.as_ref(),
            names: &names,
        };
        let target = file.target(None).expect("has a stage");
        advise(&file, target, &around)
            .into_iter()
            .map(|advice| (advice.line, advice.message))
            .collect()
    }

    #[test]
    fn a_good_dockerfile_gets_no_advice() {
        let good = "FROM python:3.11-slim AS base\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nHEALTHCHECK CMD true\nUSER app\n\
                    FROM base\nCOPY . .\n";
        assert_eq!(
            advice(
                good,
                Some(".git\n.env*\n"),
                &[".git", ".env", "requirements.txt"]
            ),
            []
        );
    }

    #[test]
    fn each_bad_habit_is_named_with_its_line() {
        let bad = "FROM python\nARG API_TOKEN\nCOPY . .\nRUN pip install -r requirements.txt\nUSER root\nHEALTHCHECK NONE\n";
        let found = advice(bad, Some("*.log\n"), &[".git", "requirements.txt"]);
        let lines: Vec<Option<usize>> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(
            lines,
            [Some(1), Some(5), Some(6), Some(3), Some(2), None],
            "{found:?}"
        );
        assert!(
            advice(bad, None, &[])
                .iter()
                .any(|(_, message)| message.contains("no .dockerignore"))
        );
        let digest = "FROM host:5000/python@sha256:1\nUSER 1000:1000\nHEALTHCHECK CMD x\n";
        assert_eq!(advice(digest, Some(".git"), &[]), []);
        let port_is_no_tag = "FROM host:5000/python\nUSER a\nHEALTHCHECK CMD x\n";
        assert_eq!(advice(port_is_no_tag, Some(".git"), &[]).len(), 1);
    }
}

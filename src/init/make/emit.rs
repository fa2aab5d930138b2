//! The plan of a Makefile as a draft and notes. Decides nothing but words.

use std::collections::{BTreeMap, BTreeSet};

use super::super::commands;
use super::super::draft::{Draft, Target, free_name, slug};
use super::super::{Found, Note};
use super::action::{action, add, pass};
use super::model::{Makefile, Node};
use super::plan::{Fate, Job};
use super::recipe::{ShellLine, needs_plain_shell, render};

const SHELL_COMMENT: &str =
    "As make runs its lines; without this, unset variables and failures inside `a; b` stop them.";

/// Writes the draft of a planned Makefile.
pub(super) fn draft(makefile: &Makefile, plan: &[Job], found: &Found) -> (Draft, Vec<Note>) {
    let mut emitter = Emitter {
        makefile,
        plan,
        found,
        names: names(makefile, plan),
        env: Vec::new(),
        unexported: BTreeSet::new(),
        used: BTreeSet::new(),
        notes: Vec::new(),
    };
    for (line, text) in &makefile.remarks {
        emitter.note(Some(*line), text.clone());
    }
    emitter.exports();
    let targets = (0..plan.len())
        .filter_map(|at| emitter.target(at))
        .collect();
    let (default, default_comment) = emitter.default();
    let draft = Draft {
        default,
        default_comment,
        shell: emitter.shell(),
        shell_comment: makefile.shell.is_none().then(|| SHELL_COMMENT.to_owned()),
        dotenv: makefile.dotenv.clone(),
        inherit_env: emitter.passed_on(),
        vars: emitter.vars(),
        vars_comment: emitter.vars_comment(),
        env: emitter.env.clone(),
        targets,
        ..Draft::new(&found.project_name())
    };
    emitter.say_about_variables();
    (draft, emitter.notes)
}

pub(super) struct Emitter<'a> {
    pub makefile: &'a Makefile,
    pub plan: &'a [Job],
    found: &'a Found,
    /// Of the targets that the file will hold.
    pub names: BTreeMap<usize, String>,
    /// `[pipeline.env]`.
    env: Vec<(String, String)>,
    /// Exported by make, with a value that isn't known.
    unexported: BTreeSet<String>,
    /// Variables that a `${var.…}` speaks of.
    used: BTreeSet<String>,
    pub notes: Vec<Note>,
}

/// Names for forge: what a TOML key and a command line take without quotes, each once.
fn names(makefile: &Makefile, plan: &[Job]) -> BTreeMap<usize, String> {
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let kept = |at: &usize| matches!(plan[*at].fate, Fate::Native(_) | Fate::Make(_));
    // People type the names of actions: files get what these leave.
    let (actions, files): (Vec<usize>, Vec<usize>) =
        (0..plan.len()).filter(kept).partition(|at| plan[*at].phony);
    for at in actions.into_iter().chain(files) {
        let job = &plan[at];
        let file = job.output.as_deref().filter(|_| !job.phony);
        let name = slug(called(makefile, plan, at, file).as_str());
        let free = free_name(&name, |name| taken.contains(name));
        taken.insert(free.clone());
        names.insert(at, free);
    }
    for (at, job) in plan.iter().enumerate() {
        if let Fate::Alias(of) = job.fate {
            names.extend(names.get(&of).cloned().map(|name| (at, name)));
        }
    }
    names
}

/// A target's own name; a file's is its output's, or that of the action which only stands for it.
fn called(makefile: &Makefile, plan: &[Job], at: usize, file: Option<&str>) -> String {
    let alias = plan.iter().position(|job| job.fate == Fate::Alias(at));
    let own = &makefile.nodes[alias.unwrap_or(at)].name;
    match alias {
        Some(_) => own.clone(),
        None => file.unwrap_or(own).to_owned(),
    }
}

impl Emitter<'_> {
    fn note(&mut self, line: Option<usize>, text: String) {
        self.notes.push(Note::new(&self.makefile.file, line, text));
    }

    fn exports(&mut self) {
        let variables = &self.makefile.variables;
        let known_to_make = ["SHELL", "MAKEFLAGS", "MAKE"];
        let mut names = self.makefile.exported.clone();
        if self.makefile.export_all {
            names.extend(variables.names().map(str::to_owned));
        }
        names.retain(|n| commands::is_name(n) && !known_to_make.contains(&n.as_str()));
        names.sort();
        names.dedup();
        for name in names {
            if !variables.is_assigned(&name) {
                continue;
            }
            let value = variables
                .expand(&format!("$({name})"), None)
                .and_then(|pieces| render(&pieces, variables));
            match value {
                Ok(value) => {
                    self.used.extend(value.variables);
                    self.env.push((name, value.text));
                }
                Err(reason) => {
                    self.note(
                        None,
                        format!("`{name}` is exported by make alone: {reason}"),
                    );
                    self.unexported.insert(name);
                }
            }
        }
    }

    /// `export NAME` of what the caller sets.
    fn passed_on(&self) -> Vec<String> {
        let unset =
            |name: &&String| !self.makefile.variables.is_assigned(name) && commands::is_name(name);
        self.makefile
            .exported
            .iter()
            .filter(unset)
            .cloned()
            .collect()
    }

    fn target(&mut self, at: usize) -> Option<Target> {
        let (makefile, plan) = (self.makefile, self.plan);
        let (node, job) = (&makefile.nodes[at], &plan[at]);
        match &job.fate {
            Fate::Out(reason) => {
                self.note(
                    Some(node.line),
                    format!("`{}` is left out: {reason}", node.name),
                );
                None
            }
            Fate::Directory | Fate::Always | Fate::Alias(_) => None,
            Fate::Make(remark) => Some(self.left_to_make(at, remark)),
            Fate::Native(lines) => {
                if let Some(name) = self.reads_unexported(lines) {
                    let reason = format!("it reads `{name}`, which only make knows");
                    return Some(self.left_to_make(at, &(node.line, reason)));
                }
                Some(self.native(at, lines))
            }
        }
    }

    /// The help of a target, or of the action that stands for it.
    pub fn help(&self, at: usize) -> Option<String> {
        let alias = self.plan.iter().position(|job| job.fate == Fate::Alias(at));
        let help = |at: usize| self.makefile.nodes[at].help.clone();
        help(at).or_else(|| alias.and_then(help))
    }

    fn reads_unexported(&self, lines: &[ShellLine]) -> Option<String> {
        let read = lines.iter().flat_map(|l| commands::variables(&l.plain));
        read.into_iter().find(|name| self.unexported.contains(name))
    }

    fn native(&mut self, at: usize, lines: &[ShellLine]) -> Target {
        let (makefile, plan) = (self.makefile, self.plan);
        let (node, job) = (&makefile.nodes[at], &plan[at]);
        let mut target = Target {
            description: self.help(at),
            ..Target::new(&self.names[&at])
        };
        if target.name != node.name {
            target
                .comments
                .push(format!("`{}` of {}.", node.name, makefile.file));
        }
        if job.shadowed {
            let text = format!(
                "`{}` isn't .PHONY and something of its name is there, so make did nothing; forge runs it",
                node.name
            );
            self.note(Some(node.line), text);
        }
        let always = self.needs(node, &mut target);
        target.run.extend(lines.iter().map(|l| l.text.clone()));
        self.used
            .extend(lines.iter().flat_map(|l| l.variables.clone()));
        if target.run.is_empty() && !target.needs.is_empty() {
            return target;
        }
        if target.run.is_empty() {
            target.run.push(":".into());
        }
        let texts: Vec<String> = lines.iter().map(|l| l.plain.clone()).collect();
        match job.phony {
            true => {
                action(job, &texts, &mut target);
                self.coverage(&texts, &mut target);
            }
            false => self.file(job, node, &texts, &mut target),
        }
        if always && !job.phony {
            target.uncached = Some("make runs it every time, after something phony".into());
        }
        self.environment(&mut target, &texts);
        target
    }

    /// pytest-cov leaves its data for a `coverage report` elsewhere in the Makefile.
    fn coverage(&self, texts: &[String], target: &mut Target) {
        let mut recipes = self.makefile.nodes.iter().flat_map(|n| &n.recipe);
        let later = |raw: &str| {
            ["coverage html", "coverage xml", "coverage report"]
                .iter()
                .any(|c| raw.contains(c))
        };
        let measured = texts
            .iter()
            .any(|t| t.contains("pytest") && t.contains("--cov"));
        if target.uncached.is_none() && measured && recipes.any(|(_, raw)| later(raw)) {
            add(&mut target.outputs, ".coverage");
        }
    }

    /// Fills in needs and directories to make; true if one of the prerequisites is no file.
    fn needs(&self, node: &Node, target: &mut Target) -> bool {
        let mut always = false;
        for prerequisite in &node.prerequisites {
            let Some(at) = self.makefile.index.get(&prerequisite.name) else {
                continue;
            };
            match &self.plan[*at].fate {
                Fate::Directory => target.run.push(format!("mkdir -p {}", prerequisite.name)),
                Fate::Always => always |= !prerequisite.order_only,
                Fate::Out(_) => {}
                Fate::Native(_) | Fate::Make(_) | Fate::Alias(_) => {
                    always |= self.plan[*at].phony && !prerequisite.order_only;
                    target.needs.extend(self.names.get(at).cloned());
                }
            }
        }
        always
    }

    fn file(&self, job: &Job, node: &Node, texts: &[String], target: &mut Target) {
        let mut inputs: Vec<String> = node
            .prerequisites
            .iter()
            .filter(|p| !p.order_only && !self.makefile.index.contains_key(&p.name))
            .map(|p| p.name.trim_end_matches('/').to_owned())
            .collect();
        if job.output.as_deref() != Some(node.name.as_str()) || node.name == "node_modules" {
            inputs.extend(self.installed_from(texts));
        }
        let mut seen = BTreeSet::new();
        inputs.retain(|input| seen.insert(input.clone()));
        target.inputs = Some(inputs);
        target.outputs.extend(job.output.clone());
    }

    /// Files that an installation reads, whether its rule names them or not.
    fn installed_from(&self, texts: &[String]) -> Vec<String> {
        let words: Vec<&str> = texts.iter().flat_map(|t| t.split_whitespace()).collect();
        let requirements = words
            .windows(2)
            .filter(|pair| pair[0] == "-r" || pair[0] == "-c")
            .map(|pair| pair[1].to_owned());
        let whole = words.iter().any(|w| *w == "." || w.starts_with(".["));
        let project = ["pyproject.toml", "setup.py", "setup.cfg"]
            .into_iter()
            .filter(|_| whole);
        let node = [
            "package.json",
            "package-lock.json",
            "yarn.lock",
            "pnpm-lock.yaml",
        ];
        let node = node
            .into_iter()
            .filter(|_| !whole && words.iter().any(|w| w.ends_with("npm") || *w == "yarn"));
        requirements
            .chain(project.chain(node).map(str::to_owned))
            .filter(|file| self.found.has(file))
            .collect()
    }

    /// What the recipes take from the caller: forge passes on only what is named.
    pub fn environment(&self, target: &mut Target, texts: &[String]) {
        for text in texts {
            let (open, secret) = commands::environment(text);
            open.iter()
                .for_each(|name| add(&mut target.inherit_env, name));
            secret
                .iter()
                .for_each(|name| add(&mut target.secret_env, name));
            for name in commands::variables(text) {
                if !self.env.iter().any(|(set, _)| *set == name) {
                    pass(target, &name);
                }
            }
        }
    }

    fn default(&mut self) -> (Vec<String>, Option<String>) {
        let variables = &self.makefile.variables;
        let goal = match variables.is_assigned(".DEFAULT_GOAL") {
            true => variables.expand_names("$(.DEFAULT_GOAL)").ok(),
            false => {
                let first = |n: &&Node| !n.name.starts_with('.') || n.name.contains('/');
                self.makefile
                    .nodes
                    .iter()
                    .find(first)
                    .map(|n| n.name.clone())
            }
        };
        let goal = goal.map(|goal| goal.trim().to_owned());
        let at = goal.as_ref().and_then(|goal| self.makefile.index.get(goal));
        if let Some(name) = at.and_then(|at| self.names.get(at)) {
            return (vec![name.clone()], None);
        }
        let usual = ["lint", "test"]
            .iter()
            .filter(|name| self.names.values().any(|n| n == *name));
        let usual: Vec<String> = usual.map(|name| (*name).to_owned()).collect();
        let comment = goal.filter(|_| !usual.is_empty());
        (
            usual,
            comment.map(|goal| format!("A bare make ran `{goal}`.")),
        )
    }

    fn shell(&self) -> Option<Vec<String>> {
        let plain = || vec!["sh".to_owned(), "-c".to_owned()];
        let lines = self.plan.iter().flat_map(|job| match &job.fate {
            Fate::Native(lines) => lines.as_slice(),
            _ => &[],
        });
        let mut lines = lines;
        let explicit = self.makefile.shell.clone();
        explicit.or_else(|| lines.any(needs_plain_shell).then(plain))
    }

    fn vars(&self) -> Vec<(String, String)> {
        let value = |name: &String| (name.clone(), self.makefile.variables.default_of(name));
        self.used.iter().map(value).collect()
    }

    fn vars_comment(&self) -> Option<String> {
        let comment = "Set by `--var NAME=VALUE`; make took them from the environment, too.";
        (!self.used.is_empty()).then(|| comment.to_owned())
    }

    fn say_about_variables(&mut self) {
        let variables = &self.makefile.variables;
        let mut said = Vec::new();
        for name in variables
            .unset
            .borrow()
            .iter()
            .filter(|n| self.used.contains(*n))
        {
            said.push(format!(
                "`{name}` is set by the caller: `--var {name}=…` says it now"
            ));
        }
        for name in variables.fixed.borrow().iter() {
            let value = variables.default_of(name);
            said.push(format!(
                "`{name}` names files, so it is written out as `{value}`"
            ));
        }
        for name in variables.composed.borrow().iter() {
            said.push(format!(
                "`{name}` is made of others and written out: it can't be set by itself"
            ));
        }
        for command in variables
            .known_commands
            .borrow()
            .iter()
            .filter(|c| *c != "pwd")
        {
            said.push(format!("`$(shell {command})` became a name of forge's own"));
        }
        for text in said {
            self.note(None, text);
        }
        for file in &self.makefile.dotenv {
            let text = format!("`{file}` is read by `dotenv`, as KEY=value lines");
            self.notes.push(Note::new(&self.makefile.file, None, text));
        }
    }
}

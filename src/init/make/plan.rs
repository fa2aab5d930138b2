//! What becomes of each target of a Makefile: translated, left to make, or left out.
//!
//! Decides only; nothing of TOML is known here.

use std::collections::BTreeSet;

use super::super::Found;
use super::super::commands::{Class, Verdict, judge, simple_commands};
use super::model::{Makefile, Node, Prerequisite, Remark};
use super::pieces::Automatic;
use super::recipe::{ShellLine, shell_lines};

/// What becomes of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A target of forge's own, with these lines (none: a group).
    Native(Vec<ShellLine>),
    /// Only makes a directory: its dependents do that themselves.
    Directory,
    /// Is there so that its dependents always run.
    Always,
    /// Only another name for this file target.
    Alias(usize),
    /// Left out, for this reason.
    Out(&'static str),
    /// Runs `make TARGET`; the line to blame and the reason.
    Make(Remark),
}

/// A target with what was decided.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub fate: Fate,
    /// Names an action, not a file.
    pub phony: bool,
    pub verdict: Verdict,
    /// For a file target: what it makes (its own name, but for environments), unless that can't
    /// be said.
    pub output: Option<String>,
    /// Not declared phony, though a file of its name is there.
    pub shadowed: bool,
}

/// Decides for every target; the answer is in the order of `makefile.nodes`.
pub(super) fn plan(makefile: &Makefile, found: &Found) -> Vec<Job> {
    let planner = Planner { makefile, found };
    let mut jobs: Vec<Job> = makefile.nodes.iter().map(|n| planner.job(n)).collect();
    for at in 0..jobs.len() {
        if let Some(remark) = planner.doubt(&jobs, at) {
            jobs[at].fate = Fate::Make(remark);
        }
    }
    planner.keep_outputs_apart(&mut jobs);
    // Leaving a target to make takes nothing from what its dependents can rely on, but for one
    // that a clean-up or an order hangs on: those look at the rules, not at fates.
    for at in 0..jobs.len() {
        if matches!(jobs[at].fate, Fate::Native(_))
            && let Some(remark) = planner.order(&jobs, at)
        {
            jobs[at].fate = Fate::Make(remark);
        }
    }
    for at in 0..jobs.len() {
        if let Some(file) = planner.alias(&jobs, at) {
            jobs[at].fate = Fate::Alias(file);
        }
    }
    jobs
}

struct Planner<'a> {
    makefile: &'a Makefile,
    found: &'a Found,
}

impl Planner<'_> {
    /// What can be said from the target's own rule.
    fn job(&self, node: &Node) -> Job {
        let exists = self.found.has(&node.name);
        let makes_itself = makes_itself(node);
        let bare = !node.name.contains(['/', '.']);
        let phony = node.phony || (bare && !makes_itself);
        let mut job = Job {
            fate: Fate::Always,
            phony,
            verdict: judge(""),
            output: (!phony).then(|| node.name.clone()),
            shadowed: phony && !node.phony && exists && !node.recipe.is_empty(),
        };
        if let Some(reason) = self.leave_out(node) {
            job.fate = Fate::Out(reason);
            return job;
        }
        if node.recipe.is_empty()
            && node.prerequisites.is_empty()
            && !node.phony
            && (!exists || self.is_force(node))
        {
            return job;
        }
        match self.lines(node) {
            Ok(lines) => self.native(node, &mut job, lines),
            Err(remark) => {
                let raw: Vec<&str> = node.recipe.iter().map(|(_, raw)| raw.as_str()).collect();
                job.verdict = judge(&raw.join("\n").replace(['@', '$'], " "));
                job.fate = Fate::Make(remark);
            }
        }
        if let Some(remark) = node.doubt.clone().or_else(|| self.makefile.doubt.clone()) {
            job.fate = Fate::Make(remark);
        }
        job
    }

    fn is_force(&self, node: &Node) -> bool {
        node.name.eq_ignore_ascii_case("force")
    }

    fn lines(&self, node: &Node) -> Result<Vec<ShellLine>, Remark> {
        let normal = node.prerequisites.iter().filter(|p| !p.order_only);
        let automatic = Automatic {
            target: node.name.clone(),
            prerequisites: normal.map(|p| p.name.clone()).collect(),
        };
        shell_lines(
            node,
            &automatic,
            &self.makefile.variables,
            self.makefile.oneshell,
        )
    }

    fn native(&self, node: &Node, job: &mut Job, lines: Vec<ShellLine>) {
        let plain: Vec<&str> = lines.iter().map(|l| l.plain.as_str()).collect();
        let plain = plain.join("\n");
        job.verdict = judge(&plain);
        if !job.phony {
            if is_directory(&plain, &node.name) {
                job.fate = Fate::Directory;
                return;
            }
            match whole_output(&plain, &node.name) {
                Ok(output) => job.output = Some(output),
                Err(reason) => {
                    job.fate = Fate::Make((node.line, reason));
                    return;
                }
            }
            let uses_target = node.recipe.iter().any(|(_, raw)| raw.contains("$@"));
            if node.shared && !uses_target {
                let reason = "one recipe makes several files".to_owned();
                job.fate = Fate::Make((node.line, reason));
                return;
            }
        }
        job.fate = Fate::Native(lines);
    }

    /// `help` and `clean`, which forge has commands for.
    fn leave_out(&self, node: &Node) -> Option<&'static str> {
        let raw: Vec<&str> = node.recipe.iter().map(|(_, raw)| raw.as_str()).collect();
        // `$(RM) -r $(DIR)`: the variables' names will do.
        let raw = raw
            .join("\n")
            .replace("$(", "")
            .replace(['@', '-', ')'], " ");
        let programs: Vec<String> = simple_commands(&raw)
            .into_iter()
            .filter_map(|words| words.into_iter().next())
            .collect();
        let only = |allowed: &[&str]| {
            !programs.is_empty() && programs.iter().all(|p| allowed.contains(&p.as_str()))
        };
        let prints = [
            "echo", "printf", "awk", "grep", "sed", "sort", "column", "cat",
        ];
        let is_help = node.name == "help" && (raw.contains("MAKEFILE_LIST") || only(&prints));
        if is_help {
            return Some("`forge list` shows the targets");
        }
        let removes = ["rm", "find", "RM", "echo", "rmdir", "py3clean", "xargs"];
        let needed = self.makefile.nodes.iter().any(|other| {
            !is_clean(&other.name) && other.prerequisites.iter().any(|p| p.name == node.name)
        });
        let groups = programs.is_empty() && !node.prerequisites.is_empty();
        (is_clean(&node.name) && !needed && (groups || only(&removes)))
            .then_some("`forge clean` removes what targets made; git ignores or `rm` the rest")
    }

    /// The file that an action with nothing of its own stands for, if it is the first to do so.
    fn alias(&self, jobs: &[Job], at: usize) -> Option<usize> {
        let node = &self.makefile.nodes[at];
        let [only] = &node.prerequisites[..] else {
            return None;
        };
        let file = *self.makefile.index.get(&only.name)?;
        let kept = matches!(jobs[file].fate, Fate::Native(_) | Fate::Make(_));
        let taken = jobs.iter().any(|job| job.fate == Fate::Alias(file));
        let group = jobs[at].phony && jobs[at].fate == Fate::Native(Vec::new());
        (group && kept && !jobs[file].phony && !taken).then_some(file)
    }

    /// Why a target can't be translated, given what became of the others.
    fn doubt(&self, jobs: &[Job], at: usize) -> Option<Remark> {
        let (node, job) = (&self.makefile.nodes[at], &jobs[at]);
        let Fate::Native(_) = job.fate else {
            return None;
        };
        if self.reaches(at, at) {
            return Some((node.line, "it needs itself".into()));
        }
        let object = node.name.ends_with(".o");
        if !job.phony && object && self.makefile.hidden_prerequisites {
            return Some((node.line, "make knows more prerequisites of it".into()));
        }
        let escapes = |path: &str| path.starts_with('/') || path.split('/').any(|p| p == "..");
        if let Some(output) = job.output.as_deref().filter(|o| !output_path(o)) {
            return Some((node.line, format!("`{output}` is no path for an output")));
        }
        if !job.phony && node.recipe.is_empty() {
            return Some((node.line, "how it is made is known to make alone".into()));
        }
        let unknown = |p: &&Prerequisite| self.unknown_file(job.phony, p);
        let missing = node.prerequisites.iter().find(unknown)?;
        let name = &missing.name;
        let reason = match self.by_pattern(name) || escapes(name) || name.starts_with(".git/") {
            true => format!("`{name}` is made or found by make alone"),
            false => format!("`{name}` isn't there, and no rule says how it is made"),
        };
        Some((node.line, reason))
    }

    /// A prerequisite with no rule of its own that isn't simply a file of the project.
    fn unknown_file(&self, phony: bool, prerequisite: &Prerequisite) -> bool {
        let name = prerequisite.name.as_str();
        if self.makefile.index.contains_key(name) {
            return false;
        }
        let outside = name.starts_with('/') || name.split('/').any(|part| part == "..");
        let hidden = !phony && self.makefile.hidden_prerequisites && !name.contains('/');
        let glob = name.contains(['*', '?', '[']);
        self.by_pattern(name)
            || outside
            || hidden && !self.found.has(name)
            || name.starts_with(".git/")
            || !plain_path(name)
            || !(glob || self.found.has(name.trim_end_matches('/')))
    }

    /// A pattern rule, or one of make's own, makes it.
    fn by_pattern(&self, name: &str) -> bool {
        let matches = |pattern: &String| {
            let (start, end) = pattern.split_once('%').unwrap_or((pattern, ""));
            let any = start.is_empty() && end.is_empty();
            !any && name.len() > start.len() + end.len()
                && name.starts_with(start)
                && name.ends_with(end)
        };
        let from_source = name.strip_suffix(".o").is_some_and(|stem| {
            let sources = ["c", "cc", "cpp", "cxx", "C", "s", "S", "f", "p"];
            sources
                .iter()
                .any(|ext| self.found.has(&format!("{stem}.{ext}")))
        });
        from_source || self.makefile.patterns.iter().any(matches)
    }

    /// Two targets whose outputs lie one in another: both are left to make, which has no trouble
    /// with that.
    fn keep_outputs_apart(&self, jobs: &mut [Job]) {
        let outputs: Vec<Option<String>> = jobs
            .iter()
            .map(|j| match j.fate {
                Fate::Native(_) | Fate::Make(_) => j.output.clone(),
                _ => None,
            })
            .collect();
        for (at, job) in jobs.iter_mut().enumerate() {
            let Some(mine) = &outputs[at] else { continue };
            let within =
                |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|r| r.starts_with('/'));
            let clash = outputs.iter().enumerate().find_map(|(other, output)| {
                let output = output.as_deref().filter(|_| other != at)?;
                (within(mine, output) || within(output, mine)).then_some(other)
            });
            if let Some(other) = clash {
                let line = self.makefile.nodes[at].line;
                let name = &self.makefile.nodes[other].name;
                let reason = format!("what it makes and `{name}` lie in each other");
                job.output = None;
                job.fate = Fate::Make((line, reason));
            } else if !output_path(mine) {
                job.output = None;
            }
        }
    }

    /// make runs prerequisites from left to right; forge runs them side by side. Where one of them
    /// does more than check, and nothing else says which comes first, the order matters.
    fn order(&self, jobs: &[Job], at: usize) -> Option<Remark> {
        let node = &self.makefile.nodes[at];
        let rules: Vec<usize> = node
            .prerequisites
            .iter()
            .filter_map(|p| self.makefile.index.get(&p.name).copied())
            .filter(|p| !matches!(jobs[*p].fate, Fate::Out(_) | Fate::Directory | Fate::Always))
            .collect();
        for (i, first) in rules.iter().enumerate() {
            for second in &rules[i + 1..] {
                let ordered = self.reaches(*second, *first) || self.reaches(*first, *second);
                let matters = self.strongest(jobs, *second) != Class::SignsIn
                    && (self.acts(jobs, *first) || self.acts(jobs, *second));
                if matters && !ordered {
                    let (a, b) = (
                        &self.makefile.nodes[*first].name,
                        &self.makefile.nodes[*second].name,
                    );
                    let reason = format!(
                        "make runs `{a}` before `{b}` and only this line says so; with `needs` between them it can be a group"
                    );
                    return Some((node.line, reason));
                }
            }
        }
        None
    }

    /// It, or something it needs, is an action that does more than check.
    fn acts(&self, jobs: &[Job], at: usize) -> bool {
        self.strongest(jobs, at) > Class::Looks
    }

    /// The strongest class among the actions that a target is or needs.
    fn strongest(&self, jobs: &[Job], at: usize) -> Class {
        let all = self.closure(at).into_iter().chain([at]);
        let actions = all.filter(|at| jobs[*at].phony);
        let classes = actions.map(|at| jobs[at].verdict.class);
        classes.max().unwrap_or(Class::Quiet)
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        self.closure(from).contains(&to)
    }

    /// What a target needs, directly or not; itself only in a circle.
    fn closure(&self, at: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            for prerequisite in &self.makefile.nodes[at].prerequisites {
                if let Some(next) = self.makefile.index.get(&prerequisite.name)
                    && seen.insert(*next)
                {
                    open.push(*next);
                }
            }
        }
        seen
    }
}

/// Whether a recipe seems to make a file of the target's name.
fn makes_itself(node: &Node) -> bool {
    let makers = [
        "-o", ">", ">>", "--output", "-p", "touch", "mkdir", "ln", "cp", "mv", "venv",
    ];
    node.recipe.iter().any(|(_, raw)| {
        let words: Vec<&str> = raw.split_whitespace().collect();
        let named = |at: usize| {
            words[at] == node.name && at > 0 && makers.iter().any(|m| words[at - 1].ends_with(m))
        };
        raw.contains("$@")
            || raw.contains("$(@")
            || (1..words.len()).any(named)
            || (node.name == "node_modules" && raw.contains("install"))
    })
}

fn is_clean(name: &str) -> bool {
    let cleaning = ["clean", "distclean", "mostlyclean", "realclean", "clobber"];
    cleaning.contains(&name) || name.starts_with("clean-") || name.ends_with("-clean")
}

fn is_directory(recipe: &str, name: &str) -> bool {
    let commands = simple_commands(recipe);
    let makes = |words: &[String]| {
        let (program, rest) = words
            .split_first()
            .map_or(("", &[][..]), |(p, r)| (p.as_str(), r));
        program == "mkdir"
            && rest
                .iter()
                .all(|w| w == "-p" || w.trim_end_matches('/') == name.trim_end_matches('/'))
    };
    commands.len() == 1 && commands.iter().all(|words| makes(words))
}

/// The whole of what a recipe makes: more than the target's name for a stamp or an installation.
fn whole_output(recipe: &str, name: &str) -> Result<String, String> {
    let commands = simple_commands(recipe);
    let has = |words: &[String], word: &str| words.iter().any(|w| w == word);
    let below =
        |dir: &str| name == dir || name.strip_prefix(dir).is_some_and(|r| r.starts_with('/'));
    for words in &commands {
        let venv = has(words, "venv") || words.iter().any(|w| w.ends_with("virtualenv"));
        let dir = words.last().map_or("", |w| w.trim_end_matches('/'));
        if venv && !dir.is_empty() && below(dir) {
            return Ok(dir.to_owned());
        }
        let node = ["npm", "yarn", "pnpm"].iter().any(|pm| has(words, pm));
        if node && (has(words, "install") || has(words, "ci") || words.len() == 1) {
            return match below("node_modules") {
                true => Ok("node_modules".into()),
                false => Err("it stands for what an installation leaves elsewhere".into()),
            };
        }
        if has(words, "pip") || words.iter().any(|w| w.ends_with("/pip")) || has(words, "bundle") {
            return Err("it stands for what an installation leaves elsewhere".into());
        }
    }
    let stamps =
        |words: &Vec<String>| words.first().is_some_and(|w| w == "touch") && has(words, name);
    match commands.len() > 1 && commands.iter().any(stamps) {
        true => Err("it is a stamp for something made elsewhere".into()),
        false => Ok(name.to_owned()),
    }
}

/// A path, or a glob, that `inputs` can name as it is.
fn plain_path(path: &str) -> bool {
    let special = "()%\\!{}[]$~:";
    !path.is_empty() && !path.contains(|c: char| special.contains(c) || c.is_control())
}

/// A path of one file or directory inside the project.
fn output_path(path: &str) -> bool {
    let inside = !path.split('/').any(|part| ["", ".", ".."].contains(&part));
    plain_path(path) && inside && !path.contains(['*', '?'])
}

//! Targets that are left to make: what `make TARGET` needs to do what it always did.

use std::collections::BTreeSet;

use super::super::Note;
use super::super::commands;
use super::super::draft::Target;
use super::action::pass;
use super::emit::Emitter;
use super::model::Remark;
use super::pieces::FUNCTIONS;

impl Emitter<'_> {
    /// The target that runs make, never cached, one at a time.
    pub fn left_to_make(&mut self, at: usize, (line, reason): &Remark) -> Target {
        let (node, job) = (&self.makefile.nodes[at], &self.plan[at]);
        let name = &node.name;
        let file = &self.makefile.file;
        self.notes.push(Note::new(
            file,
            Some(*line),
            format!("`{name}` is left to make: {reason}"),
        ));
        let outputs: Vec<String> = job.output.clone().into_iter().collect();
        let mut target = Target {
            comments: vec![format!("Left to make ({file}:{line}): {reason}.")],
            description: self.help(at),
            run: vec![make_line(name)],
            uncached: Some("make knows what there is to do".into()),
            incremental: !outputs.is_empty(),
            outputs,
            interactive: job.verdict.class.owns_terminal(),
            locks: vec!["make".into()],
            ..Target::new(&self.names[&at])
        };
        let (texts, open) = self.seen_by_make(at);
        self.environment(&mut target, &texts);
        for name in open {
            pass(&mut target, &name);
        }
        target
    }

    /// The recipes that `make TARGET` may run, and the variables that they take from the caller.
    fn seen_by_make(&self, at: usize) -> (Vec<String>, BTreeSet<String>) {
        let mut nodes = vec![at];
        let mut texts = Vec::new();
        let mut next = 0;
        while let Some(at) = nodes.get(next).copied() {
            next += 1;
            let node = &self.makefile.nodes[at];
            texts.extend(node.recipe.iter().map(|(_, raw)| raw.clone()));
            let rules = node.prerequisites.iter();
            for rule in rules.filter_map(|p| self.makefile.index.get(&p.name)) {
                if !nodes.contains(rule) {
                    nodes.push(*rule);
                }
            }
        }
        let variables = &self.makefile.variables;
        let read = texts.iter().chain(&self.makefile.conditions);
        let mut names: Vec<String> = read.flat_map(|t| references(t)).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = names.pop() {
            if seen.insert(name.clone()) {
                names.extend(variables.raw(&name).iter().flat_map(|raw| references(raw)));
            }
        }
        let make_own = [
            "MAKE",
            "RM",
            "CURDIR",
            "MAKEFILE_LIST",
            "MAKEFLAGS",
            "MAKECMDGOALS",
        ];
        let used = seen.clone();
        seen.retain(|n| {
            variables.is_open(n) && commands::is_name(n) && !make_own.contains(&n.as_str())
        });
        // `$(AWS) ecs …` and `$(shell aws …)`: what a variable holds is run as well.
        texts.extend(used.iter().flat_map(|name| variables.raw(name)));
        let shell = texts.iter().map(|raw| {
            raw.replace("$(shell ", "$(")
                .replace("$$", "\u{1}")
                .replace('$', "")
                .replace('\u{1}', "$")
        });
        (shell.collect(), seen)
    }
}

/// The shell line that has make make it.
fn make_line(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+-:@,".contains(c);
    let dashes = if name.starts_with('-') { "-- " } else { "" };
    match name.chars().all(plain) {
        true => format!("make {dashes}{name}"),
        false => {
            let quoted = name.replace('\'', r"'\''");
            super::recipe::escape(&format!("make {dashes}'{quoted}'"))
        }
    }
}

/// Names of make's variables that a text mentions.
fn references(text: &str) -> Vec<String> {
    let text = text.replace("$$", "");
    let opened = text.split("$(").skip(1).chain(text.split("${").skip(1));
    opened
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            let name = &rest[..end];
            let function = rest[end..].starts_with([' ', '\t']) && FUNCTIONS.contains(&name);
            (end > 0 && !function).then(|| name.to_owned())
        })
        .collect()
}

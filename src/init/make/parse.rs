//! A Makefile's statements: rules gathered by target, variables in the order they are set.
//!
//! What isn't understood, or isn't sure, becomes a doubt about the targets and variables that it
//! touches. Knows nothing of pipelines.

use super::lines::{Kind, lines};
use super::model::{Makefile, Node};
use super::syntax::{
    Operator, add_prerequisites, find_outside, operator, split_word, without_name,
};

/// Reads the text of a Makefile called `file`.
pub(super) fn parse(file: &str, text: &str) -> Makefile {
    let mut parser = Parser {
        makefile: Makefile {
            file: file.to_owned(),
            ..Makefile::default()
        },
        ..Parser::default()
    };
    for line in lines(text) {
        parser.line = line.number;
        match line.kind {
            Kind::Tabbed(text) => parser.tabbed(text),
            Kind::Plain { text, help } => parser.plain(&text, help),
        }
    }
    parser.finish()
}

#[derive(Default)]
struct Parser {
    makefile: Makefile,
    line: usize,
    /// Targets that a recipe line belongs to now.
    current: Vec<usize>,
    /// Targets of the last rule, however long ago.
    last: Vec<usize>,
    /// Targets that had a recipe when the current rule began.
    complete: Vec<usize>,
    /// Lines of the conditionals that are open.
    conditionals: Vec<usize>,
    defining: Option<String>,
    help: Option<String>,
    phony: Vec<String>,
    /// Where the shell was chosen.
    shell_line: usize,
    /// The rule whose recipe comes now is not kept.
    dropped: bool,
}

/// Special targets that ask for nothing forge would do otherwise.
const HARMLESS: [&str; 9] = [
    ".SILENT",
    ".SUFFIXES",
    ".DELETE_ON_ERROR",
    ".SECONDARY",
    ".PRECIOUS",
    ".INTERMEDIATE",
    ".NOTINTERMEDIATE",
    ".IGNORE",
    ".POSIX",
];

const SUFFIXES: [&str; 16] = [
    "c", "o", "cc", "cpp", "cxx", "C", "s", "S", "y", "l", "f", "F", "p", "r", "tex", "a",
];

impl Parser {
    fn tabbed(&mut self, text: String) {
        if self.defining.is_some() {
            return self.plain(&text, None);
        }
        if self.dropped {
            return;
        }
        if self.current.is_empty() {
            if !text.trim().is_empty() && !text.trim_start().starts_with('#') {
                let reason = "a recipe line after something that is no rule";
                self.last
                    .clone()
                    .iter()
                    .for_each(|at| self.doubt(*at, reason));
                self.statement(text.trim());
            }
            return;
        }
        for at in self.current.clone() {
            if let Some(line) = self.conditionals.last() {
                let reason = format!("a part of its recipe is conditional (line {line})");
                self.doubt(at, &reason);
            }
            if self.complete.contains(&at) {
                self.doubt(at, "it has more than one recipe");
            }
            self.makefile.nodes[at]
                .recipe
                .push((self.line, text.clone()));
        }
    }

    fn plain(&mut self, text: &str, help: Option<String>) {
        let text = text.trim();
        if let Some(name) = self.defining.take() {
            if text != "endef" {
                self.defining = Some(name);
            }
            return;
        }
        if text.is_empty() {
            self.help = help.filter(|h| !h.starts_with(['@', '-', '=', '*']));
            return;
        }
        if let Some(help) = help {
            self.help = Some(help);
        }
        self.statement(text);
        self.help = None;
    }

    fn statement(&mut self, text: &str) {
        let (word, rest) = split_word(text);
        match word {
            "ifeq" | "ifneq" => self.conditional(rest.to_owned()),
            "ifdef" | "ifndef" => self.conditional(format!("$({rest})")),
            "else" => {}
            "endif" => {
                self.conditionals.pop();
            }
            _ if word.starts_with("ifeq(") || word.starts_with("ifneq(") => {
                self.conditional(text.to_owned());
            }
            "define" => self.define(rest),
            "include" | "-include" | "sinclude" => self.include(rest),
            "export" => self.export(rest),
            "override" | "private" => self.statement(rest),
            "undefine" => self.makefile.variables.doubt(rest, "it is undefined again"),
            "unexport" => self
                .makefile
                .exported
                .retain(|name| !rest.split_whitespace().any(|w| w == name)),
            "vpath" => {
                self.makefile.hidden_prerequisites = true;
                self.remark("`vpath`: where files are looked up is known to make alone");
            }
            "load" | "-load" => self.makefile.doubt = Some((self.line, "`load`".into())),
            _ => match operator(text) {
                Some(Operator::Assign { at, length }) => self.assign(text, at, length),
                Some(Operator::Rule { at }) => self.rule(text, at),
                None => {
                    self.current.clear();
                    self.remark("not understood, and left out");
                }
            },
        }
    }

    fn conditional(&mut self, condition: String) {
        self.makefile.conditions.push(condition);
        self.conditionals.push(self.line);
        self.remark("conditional: what depends on it is left to make");
    }

    fn define(&mut self, rest: &str) {
        let name = rest.trim_end_matches(['=', ':', '?', '+', ' ']).to_owned();
        let reason = format!("`{name}` is a `define` (line {})", self.line);
        self.makefile.variables.doubt(&name, &reason);
        self.defining = Some(name);
        self.current.clear();
    }

    fn include(&mut self, rest: &str) {
        self.current.clear();
        let names = self.makefile.variables.expand_names(rest);
        let dependencies =
            |name: &str| name.ends_with(".d") || name.ends_with(".P") || name.ends_with(".dep");
        match names {
            Ok(names)
                if !names.trim().is_empty() && !names.split_whitespace().all(dependencies) =>
            {
                for name in names.split_whitespace() {
                    self.include_file(name);
                }
            }
            Err(_) if !self.is_dependencies(rest) => self.include_file(rest),
            _ => {
                self.makefile.hidden_prerequisites = true;
                self.remark("dependency files are read by make alone: objects are left to it");
            }
        }
    }

    /// `$(DEPS)` and `$(OBJS:.o=.d)`: by the text, or that of the variables in it.
    fn is_dependencies(&self, rest: &str) -> bool {
        let mut names = rest.split("$(").skip(1).filter_map(|r| r.split(')').next());
        let variables = &self.makefile.variables;
        rest.contains(".d") || names.any(|n| variables.raw(n).iter().any(|raw| raw.contains(".d")))
    }

    fn include_file(&mut self, name: &str) {
        let plain = name.strip_prefix("./").unwrap_or(name);
        let base = plain.rsplit('/').next().unwrap_or(plain);
        let variables = &mut self.makefile.variables;
        let elsewhere = format!("`{plain}`, included in line {}", self.line);
        if base.starts_with(".env") || base.ends_with(".env") {
            self.makefile.dotenv.push(plain.to_owned());
        } else {
            variables.doubt_all(&format!("a variable may be set by {elsewhere}"));
            self.remark(&format!(
                "`{plain}` is included, and not read: what it may set is left to make"
            ));
        }
        self.makefile.variables.elsewhere = Some(elsewhere);
    }

    fn export(&mut self, rest: &str) {
        if rest.is_empty() {
            self.makefile.export_all = true;
            return;
        }
        if let Some(Operator::Assign { at, length }) = operator(rest) {
            self.makefile.exported.push(rest[..at].trim().to_owned());
            return self.assign(rest, at, length);
        }
        match self.makefile.variables.expand_names(rest) {
            Ok(names) => {
                let names = names.split_whitespace().map(str::to_owned);
                self.makefile.exported.extend(names);
            }
            Err(reason) => self.remark(&format!("not exported: {reason}")),
        }
    }

    fn assign(&mut self, text: &str, at: usize, length: usize) {
        self.current.clear();
        let (name, value) = (text[..at].trim(), text[at + length..].trim_start());
        let Ok(name) = self.makefile.variables.expand_names(name) else {
            self.makefile
                .variables
                .doubt_all("a variable with a computed name is set");
            return self.remark("a variable with a name that isn't known");
        };
        let (name, line) = (name.trim(), self.line);
        if name == ".RECIPEPREFIX" {
            self.makefile.doubt = Some((line, "`.RECIPEPREFIX` is changed".into()));
        }
        if name == "SHELL" || name == ".SHELLFLAGS" {
            self.shell_line = line;
        }
        if name == "VPATH" {
            self.makefile.hidden_prerequisites = true;
        }
        let conditional = self.conditionals.last().copied();
        let variables = &mut self.makefile.variables;
        match &text[at..at + length] {
            "=" => variables.assign(name, value, false),
            "?=" => variables.assign_default(name, value),
            "+=" => variables.append(name, value),
            "!=" => variables.doubt(
                name,
                &format!("`{name}` is what a command prints (line {line})"),
            ),
            _ => variables.assign(name, value, true),
        }
        if let Some(opened) = conditional {
            variables.doubt(
                name,
                &format!("`{name}` is set by a conditional (line {opened})"),
            );
        }
        if let (Some(elsewhere), "?=") = (variables.elsewhere.clone(), &text[at..at + length]) {
            variables.doubt(name, &format!("`{name}` may be set by {elsewhere}"));
        }
    }

    fn rule(&mut self, text: &str, at: usize) {
        self.current.clear();
        self.dropped = false;
        let (targets, mut rest) = (text[..at].trim_end(), &text[at + 1..]);
        let mut doubt = None;
        if let Some(after) = rest.strip_prefix(':') {
            rest = after;
            doubt = Some("a double-colon rule");
        }
        let targets = match targets.strip_suffix('&') {
            Some(grouped) => {
                doubt = Some("a rule with grouped targets");
                grouped
            }
            None => targets,
        };
        let targets = self.makefile.variables.expand_names(targets);
        let Some(targets) = targets.ok().filter(|t| !t.contains('\\')) else {
            self.dropped = true;
            return self.remark("a rule for targets whose names aren't known is left out");
        };
        let (rest, inline) = match find_outside(rest, ';') {
            Some(at) => (&rest[..at], Some(rest[at + 1..].trim())),
            None => (rest, None),
        };
        let names: Vec<&str> = targets.split_whitespace().collect();
        if let Some(Operator::Assign { .. }) = operator(rest) {
            return self.target_variable(&names);
        }
        if find_outside(rest, ':').is_some() {
            doubt = Some("a static pattern rule");
        }
        self.targets(&names, rest, doubt);
        if let (Some(recipe), false) = (inline, self.dropped) {
            self.tabbed(recipe.to_owned());
        }
    }

    fn target_variable(&mut self, names: &[&str]) {
        for name in names {
            let at = self.node(name);
            self.doubt(at, "a variable is set for this target alone");
        }
    }

    fn targets(&mut self, names: &[&str], rest: &str, doubt: Option<&str>) {
        self.last.clear();
        self.complete.clear();
        let prerequisites = self.makefile.variables.expand_names(rest);
        for name in names {
            if self.special(name, prerequisites.as_deref().unwrap_or("")) {
                continue;
            }
            let at = self.node(name);
            if let Some(reason) = doubt {
                self.doubt(at, reason);
            }
            if let Some(line) = self.conditionals.last() {
                let reason = format!("a rule of its is conditional (line {line})");
                self.doubt(at, &reason);
            }
            match &prerequisites {
                Ok(text) => add_prerequisites(&mut self.makefile.nodes[at], text),
                Err(reason) => self.doubt(at, &format!("its prerequisites aren't known: {reason}")),
            }
            let described = self.help.as_deref().map(|help| without_name(help, name));
            let node = &mut self.makefile.nodes[at];
            node.help = node.help.take().or(described);
            node.shared |= names.len() > 1;
            if !node.recipe.is_empty() {
                self.complete.push(at);
            }
            self.current.push(at);
            self.last.push(at);
        }
        self.dropped = self.current.is_empty();
    }

    /// Handles targets that mean something to make itself, and pattern rules.
    fn special(&mut self, name: &str, prerequisites: &str) -> bool {
        let suffix = |s: &str| SUFFIXES.contains(&s);
        let dots: Vec<&str> = name.split('.').collect();
        match name {
            ".PHONY" => {
                let names = prerequisites.split_whitespace().map(str::to_owned);
                self.phony.extend(names);
            }
            ".ONESHELL" => self.makefile.oneshell = true,
            ".EXPORT_ALL_VARIABLES" => self.makefile.export_all = true,
            ".NOTPARALLEL" => self.remark(
                "`.NOTPARALLEL`: forge runs what isn't ordered by `needs` side by side; `locks` keep targets apart",
            ),
            ".SECONDEXPANSION" => {
                self.makefile.doubt = Some((self.line, "`.SECONDEXPANSION`".into()));
            }
            ".DEFAULT" => self.remark("`.DEFAULT`: a rule for any target is left out"),
            _ if HARMLESS.contains(&name) => {}
            _ if name.contains('%') => {
                self.makefile.patterns.push(name.to_owned());
                self.remark(&format!("pattern rule `{name}`: what it makes is left to make"));
            }
            _ if matches!(dots[..], ["", a] if suffix(a))
                || matches!(dots[..], ["", a, b] if suffix(a) && suffix(b)) =>
            {
                let made = dots.get(2).map_or(String::new(), |to| format!(".{to}"));
                self.makefile.patterns.push(format!("%{made}"));
                self.remark(&format!("suffix rule `{name}`: what it makes is left to make"));
            }
            _ => return false,
        }
        true
    }

    fn node(&mut self, name: &str) -> usize {
        let name = name.strip_prefix("./").unwrap_or(name);
        if let Some(at) = self.makefile.index.get(name) {
            return *at;
        }
        let at = self.makefile.nodes.len();
        self.makefile.index.insert(name.to_owned(), at);
        self.makefile.nodes.push(Node {
            name: name.to_owned(),
            line: self.line,
            ..Node::default()
        });
        at
    }

    fn doubt(&mut self, at: usize, reason: &str) {
        let doubt = (self.line, reason.to_owned());
        self.makefile.nodes[at].doubt.get_or_insert(doubt);
    }

    fn remark(&mut self, text: &str) {
        self.makefile.remarks.push((self.line, text.to_owned()));
    }

    fn finish(mut self) -> Makefile {
        for name in &self.phony {
            if let Some(at) = self.makefile.index.get(name) {
                self.makefile.nodes[*at].phony = true;
            }
        }
        self.shell();
        if !self.makefile.export_all && !self.makefile.dotenv.is_empty() {
            // Read for make's own variables only: targets that use one are left to make.
            self.makefile.dotenv.clear();
        }
        self.makefile
    }

    fn shell(&mut self) {
        let variables = &self.makefile.variables;
        let words = |name: &str, otherwise: &str| match variables.is_assigned(name) {
            true => variables.expand_names(&format!("$({name})")),
            false => Ok(otherwise.to_owned()),
        };
        if !variables.is_assigned("SHELL") && !variables.is_assigned(".SHELLFLAGS") {
            return;
        }
        match (words("SHELL", "/bin/sh"), words(".SHELLFLAGS", "-c")) {
            (Ok(shell), Ok(flags)) => {
                let words = shell.split_whitespace().chain(flags.split_whitespace());
                self.makefile.shell = Some(words.map(str::to_owned).collect());
            }
            (Err(reason), _) | (_, Err(reason)) => {
                let reason = format!("which shell runs it isn't known: {reason}");
                self.makefile.doubt.get_or_insert((self.shell_line, reason));
            }
        }
    }
}

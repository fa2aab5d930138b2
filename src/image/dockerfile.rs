//! A Dockerfile's instructions, stages and the images that it builds on.
//!
//! Reads what decides the key and what is worth a warning; what the instructions *do* is the engine's to know. Continued lines,
//! comments in between, the `escape` directive, here-documents and `ARG` before `FROM` are read as the builder reads them.

use std::collections::BTreeMap;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// From 1: where it begins.
    pub line: usize,
    /// In upper case: `FROM`.
    pub keyword: String,
    /// `--name=value` words before the arguments.
    pub flags: Vec<(String, String)>,
    /// The rest, continued lines joined.
    pub arguments: String,
}

/// A `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub line: usize,
    pub name: Option<String>,
    pub base: Base,
    /// Those after the `FROM`.
    pub instructions: Vec<Instruction>,
}

/// What something is built on or copied from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// An image reference, variables put in.
    Image(String),
    /// An earlier stage, by number.
    Stage(usize),
    Scratch,
}

/// A Dockerfile that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Reads a Dockerfile. `build_args` override the defaults of `ARG`s before the first `FROM`.
    pub fn parse(text: &str, build_args: &BTreeMap<String, String>) -> Self {
        let mut file = Self::default();
        let mut variables = BTreeMap::new();
        for instruction in instructions(text) {
            match (instruction.keyword.as_str(), file.stages.last_mut()) {
                ("FROM", _) => {
                    let stage = file.stage(&instruction, &variables);
                    file.stages.push(stage);
                }
                ("ARG", None) => declare(&instruction.arguments, build_args, &mut variables),
                (_, Some(stage)) => stage.instructions.push(instruction),
                // An instruction before the first FROM: the builder refuses it.
                (_, None) => {}
            }
        }
        file
    }

    fn stage(&self, from: &Instruction, variables: &BTreeMap<String, String>) -> Stage {
        let mut words = from.arguments.split_whitespace();
        let base = substitute(words.next().unwrap_or_default(), variables);
        let name = match (words.next(), words.next()) {
            (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => {
                Some(name.to_ascii_lowercase())
            }
            _ => None,
        };
        Stage {
            line: from.line,
            name,
            base: self.base(&base),
            instructions: Vec::new(),
        }
    }

    /// What a name in `FROM` or `--from` means after the stages so far.
    fn base(&self, name: &str) -> Base {
        if name == "scratch" {
            return Base::Scratch;
        }
        let lower = name.to_ascii_lowercase();
        match self
            .stages
            .iter()
            .position(|stage| stage.name.as_deref() == Some(&*lower))
        {
            Some(number) => Base::Stage(number),
            None => Base::Image(name.to_owned()),
        }
    }

    /// The stage that a build ends with: the named (or numbered) one, or the last.
    pub fn target(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else {
            return self.stages.len().checked_sub(1);
        };
        let lower = name.to_ascii_lowercase();
        let named = self
            .stages
            .iter()
            .position(|stage| stage.name.as_deref() == Some(&*lower));
        named.or_else(|| {
            name.parse()
                .ok()
                .filter(|number| *number < self.stages.len())
        })
    }

    /// The images from outside that a build of a stage starts from or copies from, each once, in order.
    pub fn images(&self, target: usize) -> Vec<String> {
        let mut images: Vec<String> = Vec::new();
        let mut seen = vec![false; self.stages.len()];
        let mut waiting = vec![target];
        while let Some(number) = waiting.pop() {
            let Some(stage) = self
                .stages
                .get(number)
                .filter(|_| !std::mem::replace(&mut seen[number], true))
            else {
                continue;
            };
            let sources = stage.instructions.iter().flat_map(sources);
            let copied = sources.map(|name| match name.parse::<usize>() {
                Ok(other) if other < number => Base::Stage(other),
                _ => self.base(&name),
            });
            for base in std::iter::once(stage.base.clone()).chain(copied) {
                match base {
                    Base::Image(image) if !images.contains(&image) => images.push(image),
                    Base::Stage(other) => waiting.push(other),
                    Base::Image(_) | Base::Scratch => {}
                }
            }
        }
        images
    }
}

/// `--from` of `COPY`, and `from=` of `RUN --mount`.
fn sources(instruction: &Instruction) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in &instruction.flags {
        match (instruction.keyword.as_str(), name.as_str()) {
            ("COPY", "from") => found.push(value.clone()),
            ("RUN", "mount") => {
                let from = value.split(',').find_map(|part| part.strip_prefix("from="));
                found.extend(from.map(str::to_owned));
            }
            _ => {}
        }
    }
    found
}

fn declare(
    arguments: &str,
    build_args: &BTreeMap<String, String>,
    variables: &mut BTreeMap<String, String>,
) {
    for word in arguments.split_whitespace() {
        let (name, default) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        let default = default.map(|value| substitute(value.trim_matches(['"', '\'']), variables));
        if let Some(value) = build_args.get(name).cloned().or(default) {
            variables.insert(name.to_owned(), value);
        }
    }
}

/// `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`.
fn substitute(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (value, taken) = match rest.strip_prefix('{').and_then(|body| body.split_once('}')) {
            Some((body, _)) => (braced(body, variables), body.len() + 2),
            None => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                (
                    variables.get(&rest[..end]).cloned().unwrap_or_default(),
                    end,
                )
            }
        };
        out.push_str(&value);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

fn braced(body: &str, variables: &BTreeMap<String, String>) -> String {
    let value = |name: &str| {
        variables
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    if let Some((name, default)) = body.split_once(":-") {
        return value(name).unwrap_or_else(|| substitute(default, variables));
    }
    if let Some((name, other)) = body.split_once(":+") {
        return value(name)
            .map(|_| substitute(other, variables))
            .unwrap_or_default();
    }
    value(body).unwrap_or_default()
}

/// Cuts a file into instructions, those before the first `FROM` among them.
pub fn instructions(text: &str) -> Vec<Instruction> {
    let escape = escape(text);
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut whole = line.trim_end().to_owned();
        while whole.ends_with(escape) {
            whole.pop();
            // Comments and empty lines between continued ones don't count.
            let next = lines
                .by_ref()
                .map(|(_, line)| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with('#'));
            let Some(next) = next else { break };
            whole.push_str(next);
        }
        let instruction = instruction(number + 1, &whole);
        for end in here_documents(&instruction) {
            for (_, line) in lines.by_ref() {
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        found.push(instruction);
    }
    found
}

/// `# escape=` in the directives at the top.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let named = directives
        .filter_map(|line| line.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
    named
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

fn instruction(line: usize, text: &str) -> Instruction {
    let (keyword, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    rest = rest.trim_start();
    let mut flags = Vec::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let end = flag.find(char::is_whitespace).unwrap_or(flag.len());
        let (name, value) = flag[..end].split_once('=').unwrap_or((&flag[..end], ""));
        flags.push((name.to_ascii_lowercase(), value.to_owned()));
        rest = flag[end..].trim_start();
    }
    Instruction {
        line,
        keyword: keyword.to_ascii_uppercase(),
        flags,
        arguments: rest.trim_end().to_owned(),
    }
}

/// The words that end the here-documents which an instruction begins.
fn here_documents(instruction: &Instruction) -> Vec<String> {
    if !matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let starts = instruction
        .arguments
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("<<"));
    let ends = starts.map(|word| {
        word.trim_start_matches('-')
            .trim_matches(['"', '\''])
            .to_owned()
    });
    ends.filter(|word| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Dockerfile {
        Dockerfile::parse(text, &BTreeMap::new())
    }

    #[test]
    fn stages_and_their_images() {
        let file = parse(
            "# syntax=docker/dockerfile:1\nARG VERSION=3.11\nARG TAG=${VERSION}-slim\nFROM python:${TAG} AS Builder\nRUN a \\\n  # why\n\n  && b\n\
             FROM busybox AS unused\nFROM python:$VERSION\nCOPY --from=builder /a /a\nCOPY --from=redis:7 /x /x\nRUN --mount=type=bind,from=alpine:3,target=/m ls\n",
        );
        assert_eq!(file.stages.len(), 3);
        assert_eq!(file.stages[0].instructions[0].arguments, "a && b");
        assert_eq!(
            file.images(2),
            ["python:3.11", "redis:7", "alpine:3", "python:3.11-slim"]
        );
        assert_eq!(file.target(Some("BUILDER")), Some(0));
        assert_eq!(file.target(None), Some(2));
        assert_eq!(file.images(0), ["python:3.11-slim"]);
    }

    #[test]
    fn build_args_override_defaults() {
        let args = BTreeMap::from([("BASE".to_owned(), "debian:12".to_owned())]);
        let text = "ARG BASE=alpine\nARG NONE\nFROM ${BASE}\nFROM x${NONE:-y}${BASE:+z}\n";
        let file = Dockerfile::parse(text, &args);
        assert_eq!(file.stages[0].base, Base::Image("debian:12".into()));
        assert_eq!(file.stages[1].base, Base::Image("xyz".into()));
    }

    #[test]
    fn here_documents_and_escapes_are_passed_over() {
        let file = parse(
            "FROM scratch\nRUN <<EOF\nFROM nothing\nEOF\nCOPY <<-'A' <<B /x/\nFROM a\n\tA\nFROM b\nB\nUSER me\n",
        );
        assert_eq!(file.stages.len(), 1);
        assert_eq!(file.stages[0].base, Base::Scratch);
        assert_eq!(
            file.stages[0]
                .instructions
                .last()
                .map(|last| last.keyword.as_str()),
            Some("USER")
        );
        let windows = parse("# escape=`\nFROM a `\n AS b\nRUN dir C:\\\nUSER x\n");
        assert_eq!(windows.stages[0].name.as_deref(), Some("b"));
        assert_eq!(windows.stages[0].instructions.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read(text in "(FROM|COPY|ARG|RUN|[a-z$<{}=\\\\ \n:#-]){0,40}") {
            let file = parse(&text);
            for stage in 0..file.stages.len() {
                file.images(stage);
            }
        }
    }
}

//! Where in a Dockerfile a step stands.

use std::collections::BTreeMap;

use crate::image::dockerfile::{self, Base, Dockerfile};

/// What makes a step of BuildKit's, beside `FROM`.
const STEPS: [&str; 4] = ["RUN", "COPY", "ADD", "WORKDIR"];

/// The line of the classic builder's n-th step, which is the n-th instruction.
pub fn of_number(text: &str, number: usize, name: &str) -> Option<usize> {
    let instruction = dockerfile::instructions(text)
        .into_iter()
        .nth(number.checked_sub(1)?)?;
    let word = name.split_whitespace().next()?;
    instruction
        .keyword
        .eq_ignore_ascii_case(word)
        .then_some(instruction.line)
}

/// The line of BuildKit's `[stage 2/5] RUN …`: the second step of that stage.
pub fn of_name(text: &str, build_args: &BTreeMap<String, String>, name: &str) -> Option<usize> {
    let (label, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let mut words: Vec<&str> = label.split_whitespace().collect();
    let number: usize = words.pop()?.split_once('/')?.0.parse().ok()?;
    let file = Dockerfile::parse(text, build_args);
    // A platform may stand before the stage's name, which is left out where there is one stage.
    let stage = match words.last().filter(|word| !word.contains('/')) {
        None => file.stages.first()?,
        Some(word) => file.stages.get(stage(&file, word)?)?,
    };
    let from = matches!(stage.base, Base::Image(_)).then_some(("FROM", stage.line));
    let inside = stage
        .instructions
        .iter()
        .map(|inside| (inside.keyword.as_str(), inside.line))
        .filter(|(keyword, _)| STEPS.contains(keyword));
    let (keyword, line) = from.into_iter().chain(inside).nth(number.checked_sub(1)?)?;
    instruction.starts_with(keyword).then_some(line)
}

fn stage(file: &Dockerfile, name: &str) -> Option<usize> {
    let named = file
        .stages
        .iter()
        .position(|stage| stage.name.as_deref() == Some(name));
    named.or_else(|| name.strip_prefix("stage-")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ARG V=1\nFROM busybox:$V AS one\nENV A=b\nRUN true\n\nCOPY a \\\n  b\n\
        FROM one\nLABEL x=y\nRUN false\nFROM scratch AS last\nCOPY --from=one a a\nRUN x\n";

    #[test]
    fn a_step_of_the_classic_builder() {
        assert_eq!(of_number(TEXT, 1, "ARG V=1"), Some(1));
        assert_eq!(of_number(TEXT, 5, "COPY a   b"), Some(6));
        assert_eq!(of_number(TEXT, 5, "RUN a"), None);
        assert_eq!(of_number(TEXT, 99, "RUN a"), None);
        assert_eq!(of_number(TEXT, 0, "RUN a"), None);
    }

    #[test]
    fn a_step_of_buildkit() {
        let line = |name| of_name(TEXT, &BTreeMap::new(), name);
        assert_eq!(line("[one 1/3] FROM docker.io/library/busybox:1"), Some(2));
        assert_eq!(line("[one 2/3] RUN true"), Some(4));
        assert_eq!(line("[linux/amd64 one 3/3] COPY a   b"), Some(6));
        assert_eq!(line("[stage-1 1/1] RUN false"), Some(10));
        assert_eq!(line("[last 2/2] RUN x"), Some(13));
        assert_eq!(line("[internal] load build context"), None);
        assert_eq!(line("[last 9/9] RUN x"), None);
        assert_eq!(line("[last 1/2] RUN x"), None);
        let one = of_name("FROM a\nRUN b\n", &BTreeMap::new(), "[2/2] RUN b");
        assert_eq!(one, Some(2));
    }
}

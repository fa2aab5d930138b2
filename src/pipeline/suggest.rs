//! The name that was probably meant.

/// The candidate nearest to `word`, where one is near enough to be a slip of the fingers.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(word, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean X?`, or else the list of what there is.
pub fn help<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let mut all: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(word, all.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    all.sort_unstable();
    all.dedup();
    match all.len() {
        0 => None,
        _ => Some(format!("{what}: {}", list(&all))),
    }
}

/// ``\`a\`, \`b\` and 12 more``.
pub fn list(words: &[&str]) -> String {
    const SHOWN: usize = 24;
    let mut text = words
        .iter()
        .take(SHOWN)
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if words.len() > SHOWN {
        text += &format!(" and {} more", words.len() - SHOWN);
    }
    text
}

/// `a → b → a`.
pub fn circle(names: &[&str]) -> String {
    let first = names.first().into_iter();
    names
        .iter()
        .chain(first)
        .copied()
        .collect::<Vec<_>>()
        .join(" → ")
}

/// Edits between two names; `_` for `-` and a different case cost nothing much.
fn distance(lower: &str, candidate: &str) -> usize {
    let candidate = candidate.to_lowercase();
    if lower.replace('_', "-") == candidate.replace('_', "-") {
        return 0;
    }
    strsim::damerau_levenshtein(lower, &candidate)
}

/// A third of the longer name may differ, and never the whole of it.
fn allowed(word: &str, candidate: &str) -> usize {
    let longer = word.chars().count().max(candidate.chars().count());
    let shorter = word.chars().count().min(candidate.chars().count());
    (longer / 3).max(1).min(shorter.saturating_sub(1)).min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let keys = ["inputs", "outputs", "run", "secret-env", "cache"];
        assert_eq!(nearest("input", keys), Some("inputs"));
        assert_eq!(nearest("secret_env", keys), Some("secret-env"));
        assert_eq!(nearest("RUN", keys), Some("run"));
        assert_eq!(nearest("cahce", keys), Some("cache"));
        assert_eq!(nearest("command", keys), None);
        assert_eq!(nearest("x", ["y"]), None);
    }

    #[test]
    fn with_nothing_near_everything_is_listed() {
        let help = help("zzz", "targets", ["lint", "test", "lint"]);
        assert_eq!(help.as_deref(), Some("targets: `lint`, `test`"));
    }
}

//! Which tags of a repository of ECR stay where they are: all or none, but for exceptions.
//!
//! Knows nothing of calls, and of what a tag is used for.

use aws_sdk_ecr::types::{
    ImageTagMutability as Mutability, ImageTagMutabilityExclusionFilter as Filter,
    ImageTagMutabilityExclusionFilterType, Repository,
};

use super::RegistryError;

/// Exceptions that ECR takes for one repository.
const MOST_FILTERS: usize = 5;
/// `*` that ECR takes in one exception.
const MOST_STARS: usize = 2;
/// What people tag by hand, and move, whatever the pipeline file says.
const LATEST: &str = "latest";

/// `exceptions` are patterns in which `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRules {
    moves: bool,
    exceptions: Vec<String>,
}

impl TagRules {
    /// Nothing moves but what is to. Where that can't be said in ECR's rules, all tags move but `forge-…`, by which
    /// images are found again.
    pub fn for_moving(patterns: &[String]) -> TagRules {
        let mut exceptions = vec![LATEST.to_owned()];
        for pattern in patterns {
            if !exceptions.contains(pattern) {
                exceptions.push(pattern.clone());
            }
        }
        let can_be_said = |pattern: &String| {
            pattern != "*" && pattern.matches('*').count() <= MOST_STARS && !pattern.is_empty()
        };
        if exceptions.len() <= MOST_FILTERS && exceptions.iter().all(can_be_said) {
            return TagRules {
                moves: false,
                exceptions,
            };
        }
        TagRules {
            moves: true,
            exceptions: vec!["forge-*".into()],
        }
    }

    /// Those of a repository that is there.
    pub fn of(repository: &Repository) -> TagRules {
        let mutability = repository.image_tag_mutability.as_ref();
        let has_exceptions = matches!(
            mutability,
            Some(Mutability::ImmutableWithExclusion | Mutability::MutableWithExclusion)
        );
        let filters = repository.image_tag_mutability_exclusion_filters().iter();
        let exceptions = filters.filter(|_| has_exceptions);
        TagRules {
            moves: !matches!(
                mutability,
                Some(Mutability::Immutable | Mutability::ImmutableWithExclusion)
            ),
            exceptions: exceptions.map(|filter| filter.filter.clone()).collect(),
        }
    }

    /// Whether a tag that names an image may come to name another.
    pub fn moves(&self, tag: &str) -> bool {
        let is_exception = self.exceptions.iter().any(|pattern| fits(pattern, tag));
        self.moves != is_exception
    }

    pub fn mutability(&self) -> Mutability {
        match self.moves {
            true => Mutability::MutableWithExclusion,
            false => Mutability::ImmutableWithExclusion,
        }
    }

    pub fn filters(&self) -> Result<Vec<Filter>, RegistryError> {
        let filter = |pattern: &String| {
            Filter::builder()
                .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
                .filter(pattern)
                .build()
        };
        let filters = self.exceptions.iter().map(filter);
        filters
            .collect::<Result<_, _>>()
            .map_err(|error| RegistryError::other(error.to_string()))
    }
}

fn fits(pattern: &str, tag: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == tag;
    };
    let Some(rest) = tag.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| fits(after, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_moving(patterns: &[&str]) -> TagRules {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        TagRules::for_moving(&patterns)
    }

    #[test]
    fn only_what_is_meant_to_move_moves() {
        let rules = for_moving(&["dev", "branch-*", "latest"]);
        assert_eq!(rules.exceptions, ["latest", "dev", "branch-*"]);
        for (tag, moves) in [
            ("latest", true),
            ("dev", true),
            ("branch-a", true),
            ("branch-", true),
            ("device", false),
            ("a-branch-a", false),
            ("forge-0a", false),
        ] {
            assert_eq!(rules.moves(tag), moves, "{tag}");
        }
    }

    #[test]
    fn what_ecr_has_no_words_for_leaves_only_our_own_tags_in_place() {
        for patterns in [&["*"][..], &["a", "b", "c", "d", "e"], &["a*b*c*"]] {
            let rules = for_moving(patterns);
            assert!(rules.moves("any") && !rules.moves("forge-0a"), "{rules:?}");
        }
        assert!(!for_moving(&["a", "b", "c", "d"]).moves("any"));
    }

    #[test]
    fn settings_are_read_as_ecr_means_them() {
        let rules = |mutability: Mutability| {
            let filter = Some(for_moving(&[]).filters().unwrap());
            let repository = Repository::builder().image_tag_mutability(mutability);
            TagRules::of(
                &repository
                    .set_image_tag_mutability_exclusion_filters(filter)
                    .build(),
            )
        };
        let moves = |mutability: Mutability| {
            let rules = rules(mutability);
            (rules.moves("latest"), rules.moves("v1"))
        };
        assert_eq!(moves(Mutability::Mutable), (true, true));
        assert_eq!(moves(Mutability::Immutable), (false, false));
        assert_eq!(moves(Mutability::ImmutableWithExclusion), (true, false));
        assert_eq!(moves(Mutability::MutableWithExclusion), (false, true));
    }
}

//! Which deployment a rollback goes back to. Pure, and no clock: order comes from ECS.
//!
//! The rule. What completed is read from the oldest on, and kept as a way: where the service has come
//! along and would come back along. A deployment of a revision adds a step at its end. But a deployment of
//! something that lies on the way already, or of a lower revision than one on it (revisions only
//! count up, so that is older), is itself a going back: the way is cut there first. So what was
//! rolled back from isn't on the way any more, and a rollback only ever makes the way shorter: repeated,
//! it goes further back, never in a circle, and ends. It makes no difference who went back, or with what tool.
//!
//! A step is a revision and the digest that ran: a revision that says `app:latest` can have run several.
//! To go back to one of those, a copy that pins the digest is registered; it is newer by its number, but
//! its tag says what it is a copy of, and it counts as that.

use std::collections::BTreeMap;

use super::seen::Revision;

/// A deployment that completed, or a revision whose tags say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub revision: Revision,
    /// The revision that this one is a pinned copy of.
    pub copy_of: Option<Revision>,
    /// What its container ran; `None` where nobody can tell.
    pub digest: Option<String>,
}

impl Step {
    /// What it counts as.
    fn origin(&self) -> &Revision {
        self.copy_of.as_ref().unwrap_or(&self.revision)
    }

    fn same(&self, other: &Step) -> bool {
        self.origin() == other.origin()
            && (self.digest == other.digest || self.digest.is_none() || other.digest.is_none())
    }

    fn is_above(&self, other: &Step) -> bool {
        let (own, other) = (self.origin(), other.origin());
        own.family == other.family && own.number > other.number
    }
}

/// The way that completed deployments (oldest first) leave: its last step is what runs.
pub fn way(completed: &[Step]) -> Vec<Step> {
    let mut way: Vec<Step> = Vec::new();
    for step in completed {
        let cut = way.iter().position(|on| on.same(step) || on.is_above(step));
        way.truncate(cut.unwrap_or(way.len()));
        way.push(step.clone());
    }
    way
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Back<'a> {
    /// So many usable steps; 1 is the one before.
    Steps(u32),
    To(&'a Revision),
}

/// Why a step can't be gone back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    SameDigest,
    Inactive,
    ImageGone,
    NoDigest,
}

impl Unfit {
    /// For people, after the name of the revision.
    pub fn why(&self) -> &'static str {
        match self {
            Unfit::SameDigest => "runs the same image",
            Unfit::Inactive => "is inactive: it was deregistered",
            Unfit::ImageGone => "needs an image that is gone",
            Unfit::NoDigest => "doesn't tell which image it ran",
        }
    }
}

/// What was chosen, or why nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Go {
        step: Step,
        /// Passed over, the newest first.
        skipped: Vec<(Revision, Unfit)>,
    },
    /// The way holds nothing that far back.
    Nothing { skipped: Vec<(Revision, Unfit)> },
    /// `--to`: it never completed here.
    NotDeployed,
    /// `--to`: it is what runs.
    Running,
    /// `--to`: it can't be gone back to.
    Unfit(Unfit),
}

/// Chooses from a way whose last step isn't what runs. `fit` says whether a step could be deployed:
/// its revision is active, its image is there.
pub fn choose(
    way: &[Step],
    running: &Step,
    back: Back<'_>,
    fit: &mut dyn FnMut(&Step) -> Result<(), Unfit>,
) -> Choice {
    match back {
        Back::To(revision) => to(way, running, revision, fit),
        Back::Steps(steps) => by_steps(way, running, steps, fit),
    }
}

fn to(
    completed: &[Step],
    running: &Step,
    revision: &Revision,
    fit: &mut dyn FnMut(&Step) -> Result<(), Unfit>,
) -> Choice {
    if running.revision == *revision {
        return Choice::Running;
    }
    match completed.iter().rfind(|step| step.revision == *revision) {
        None => Choice::NotDeployed,
        Some(step) => match fit(step) {
            Err(unfit) => Choice::Unfit(unfit),
            Ok(()) => Choice::Go {
                step: step.clone(),
                skipped: Vec::new(),
            },
        },
    }
}

fn by_steps(
    way: &[Step],
    running: &Step,
    steps: u32,
    fit: &mut dyn FnMut(&Step) -> Result<(), Unfit>,
) -> Choice {
    let mut skipped = Vec::new();
    let mut from = running.clone();
    let mut left = steps.max(1);
    for step in way.iter().rev() {
        let unfit = match &step.digest {
            None => Err(Unfit::NoDigest),
            digest if *digest == from.digest => Err(Unfit::SameDigest),
            _ => fit(step),
        };
        match unfit {
            Err(unfit) => skipped.push((step.revision.clone(), unfit)),
            Ok(()) => {
                from = step.clone();
                left -= 1;
            }
        }
        if left == 0 {
            return Choice::Go {
                step: from,
                skipped,
            };
        }
    }
    Choice::Nothing { skipped }
}

/// The steps before the running one: the way with the running one put at its end, which is then taken off.
/// A running deployment that never completed isn't on the way by itself.
pub fn behind(completed: &[Step], running: &Step) -> Vec<Step> {
    let mut all = completed.to_vec();
    all.push(running.clone());
    let mut way = way(&all);
    way.pop();
    way
}

/// Joins what tags say of older times in front of what ECS remembers (both oldest first). Tags don't say
/// when somebody went back, so they count by number, and only below what is remembered of their family.
pub fn with_older(tagged: Vec<Step>, remembered: Vec<Step>) -> Vec<Step> {
    let mut lowest: BTreeMap<&str, u32> = BTreeMap::new();
    for step in &remembered {
        let origin = step.origin();
        let number = lowest.entry(&origin.family).or_insert(origin.number);
        *number = origin.number.min(*number);
    }
    let older = |step: &Step| {
        let lowest = lowest.get(step.origin().family.as_str());
        lowest.is_none_or(|lowest| step.origin().number < *lowest)
    };
    let mut all: Vec<Step> = tagged.into_iter().filter(older).collect();
    all.sort_by(|a, b| a.origin().cmp(b.origin()));
    all.extend(remembered);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn revision(number: u32) -> Revision {
        Revision {
            family: "app".into(),
            number,
        }
    }

    /// Revision n with image d.
    fn step(number: u32, digest: u32) -> Step {
        Step {
            revision: revision(number),
            copy_of: None,
            digest: Some(digest.to_string()),
        }
    }

    fn numbers(steps: &[Step]) -> Vec<u32> {
        steps.iter().map(|step| step.revision.number).collect()
    }

    fn fine(_: &Step) -> Result<(), Unfit> {
        Ok(())
    }

    /// A rollback from the last of these.
    fn rollback(completed: &[Step], steps: u32) -> Option<Step> {
        let running = completed.last()?;
        let behind = behind(completed, running);
        match choose(&behind, running, Back::Steps(steps), &mut fine) {
            Choice::Go { step, .. } => Some(step),
            _ => None,
        }
    }

    #[test]
    fn the_way_is_cut_by_going_back() {
        let table: &[(&[u32], &[u32])] = &[
            (&[1, 2, 3], &[1, 2, 3]),
            (&[1, 2, 3, 2], &[1, 2]),
            (&[1, 2, 3, 2, 4], &[1, 2, 4]),
            (&[1, 2, 3, 1, 3], &[1, 3]),
            (&[1, 2, 2, 2], &[1, 2]),
            // 2 was rolled back to, from before ECS remembers.
            (&[3, 4, 2], &[2]),
            (&[3, 4, 2, 5], &[2, 5]),
        ];
        for (deployed, expected) in table {
            let steps: Vec<Step> = deployed.iter().map(|n| step(*n, *n)).collect();
            assert_eq!(numbers(&way(&steps)), *expected, "{deployed:?}");
        }
    }

    #[test]
    fn twice_in_a_row_goes_further_back() {
        let mut completed: Vec<Step> = (1..=4).map(|n| step(n, n)).collect();
        let mut went = Vec::new();
        for _ in 0..9 {
            let Some(next) = rollback(&completed, 1) else {
                break;
            };
            went.push(next.revision.number);
            completed.push(next);
        }
        assert_eq!(went, [3, 2, 1]);
    }

    #[test]
    fn the_same_image_is_no_way_back() {
        // Only the environment changed between 2 and 3; 4 is a revert to the image of 1.
        let completed = [step(1, 1), step(2, 2), step(3, 2)];
        assert_eq!(rollback(&completed, 1), Some(step(1, 1)));
        let completed = [step(1, 1), step(2, 2), step(4, 1)];
        assert_eq!(rollback(&completed, 1), Some(step(2, 2)));
        assert_eq!(rollback(&[step(1, 1), step(2, 1)], 1), None);
        assert_eq!(rollback(&[step(1, 1)], 1), None);
    }

    #[test]
    fn what_was_rolled_back_from_stays_behind() {
        // 3 was bad, 2 came back, 4 is the next try: going back from it is going to 2.
        let completed = [step(1, 1), step(2, 2), step(3, 3), step(2, 2), step(4, 4)];
        assert_eq!(rollback(&completed, 1), Some(step(2, 2)));
        assert_eq!(rollback(&completed, 2), Some(step(1, 1)));
        assert_eq!(rollback(&completed, 3), None);
    }

    #[test]
    fn a_pinned_copy_counts_as_its_original() {
        // `app:1` says latest and ran three images; 2 is the first that is pinned; 3 is a copy of 1.
        let copy = |number, digest: u32| Step {
            copy_of: Some(revision(1)),
            ..step(number, digest)
        };
        let mut completed = vec![step(1, 1), step(1, 2), step(1, 3), step(2, 4)];
        assert_eq!(rollback(&completed, 1), Some(step(1, 3)));
        completed.push(copy(3, 3));
        assert_eq!(rollback(&completed, 1), Some(step(1, 2)));
        completed.push(copy(4, 2));
        assert_eq!(rollback(&completed, 1), Some(step(1, 1)));
        completed.push(copy(5, 1));
        assert_eq!(rollback(&completed, 1), None);
    }

    #[test]
    fn what_cant_be_deployed_is_passed_over_and_said() {
        let completed = [step(1, 1), step(2, 2), step(3, 3), step(4, 4)];
        let running = &completed[3];
        let behind = behind(&completed, running);
        let mut fit = |step: &Step| match step.revision.number {
            3 => Err(Unfit::Inactive),
            2 => Err(Unfit::ImageGone),
            _ => Ok(()),
        };
        let choice = choose(&behind, running, Back::Steps(1), &mut fit);
        let skipped = vec![
            (revision(3), Unfit::Inactive),
            (revision(2), Unfit::ImageGone),
        ];
        assert_eq!(
            choice,
            Choice::Go {
                step: step(1, 1),
                skipped: skipped.clone()
            }
        );
        let choice = choose(&behind, running, Back::Steps(2), &mut fit);
        assert_eq!(choice, Choice::Nothing { skipped });
    }

    #[test]
    fn a_named_revision_must_have_completed() {
        let completed = [step(1, 1), step(2, 2), step(3, 2)];
        let ask = |number| {
            let back = revision(number);
            choose(
                &completed,
                &completed[2],
                Back::To(&back),
                &mut |step| match step.revision.number {
                    1 => Err(Unfit::ImageGone),
                    _ => Ok(()),
                },
            )
        };
        assert_eq!(ask(3), Choice::Running);
        assert_eq!(ask(7), Choice::NotDeployed);
        assert_eq!(ask(1), Choice::Unfit(Unfit::ImageGone));
        // Named by hand, the same image is fine: another environment may be what is wanted.
        assert!(matches!(ask(2), Choice::Go { .. }));
    }

    #[test]
    fn a_failed_deployment_that_runs_is_left_for_the_last_good_one() {
        let completed = [step(1, 1), step(2, 2)];
        let behind = behind(&completed, &step(3, 3));
        assert_eq!(numbers(&behind), [1, 2]);
    }

    #[test]
    fn tags_reach_further_than_ecs_remembers() {
        let tagged = vec![step(7, 7), step(2, 2), step(1, 1), step(5, 5)];
        let all = with_older(tagged, vec![step(5, 5), step(6, 6)]);
        assert_eq!(numbers(&all), [1, 2, 5, 6]);
        let other = Step {
            revision: Revision {
                family: "old".into(),
                number: 9,
            },
            ..step(9, 9)
        };
        let all = with_older(vec![other.clone()], vec![step(1, 1)]);
        assert_eq!(all, [other, step(1, 1)]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        /// A deploy registers the next revision.
        Deploy(u32),
        /// Of the same revision, with another image: `latest`.
        Force(u32),
        Back(u32),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (1u32..5).prop_map(Act::Deploy),
            1 => (1u32..5).prop_map(Act::Force),
            2 => (1u32..3).prop_map(Act::Back),
        ];
        proptest::collection::vec(act, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Whatever happened before: rollbacks in a row never run the same step twice, never one that didn't
        /// run, always another image than the one before, and end.
        #[test]
        fn rollbacks_never_go_in_circles(acts in acts(), window in 0usize..20) {
            let mut number = 1;
            let mut completed = vec![step(1, 0)];
            for act in acts {
                match act {
                    Act::Deploy(digest) => {
                        number += 1;
                        completed.push(step(number, digest));
                    }
                    Act::Force(digest) => completed.push(step(number, digest)),
                    Act::Back(steps) => completed.extend(rollback(&completed, steps)),
                }
            }
            // ECS forgets what is old.
            let mut remembered = completed.split_off(completed.len().saturating_sub(window + 1));
            let ran = remembered.clone();
            let mut seen = vec![remembered[remembered.len() - 1].clone()];
            while let Some(next) = rollback(&remembered, 1) {
                prop_assert!(ran.contains(&next));
                prop_assert!(!seen.contains(&next), "{next:?} again after {seen:?}");
                prop_assert!(next.digest != remembered[remembered.len() - 1].digest);
                seen.push(next.clone());
                remembered.push(next);
            }
        }

        /// So many steps at once are as many rollbacks in a row.
        #[test]
        fn steps_are_rollbacks_in_a_row(digests in proptest::collection::vec(0u32..4, 1..20), steps in 1u32..5) {
            let completed: Vec<Step> = (1..).zip(&digests).map(|(n, d)| step(n, *d)).collect();
            let mut one_by_one = completed.clone();
            let mut last = None;
            for _ in 0..steps {
                last = rollback(&one_by_one, 1);
                one_by_one.extend(last.clone());
                if last.is_none() {
                    break;
                }
            }
            prop_assert_eq!(rollback(&completed, steps), last);
        }
    }
}

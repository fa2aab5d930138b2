//! Which records go when the store is too large. Pure: knows nothing of files, of the database or of clocks.

use std::collections::{HashMap, HashSet};

use super::digest::Digest;

/// A record that may go.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub key: Digest,
    /// Seconds since 1970, of its last use.
    pub used: u64,
    /// It is what a target is in now: of two that were used in the same second it stays longer.
    pub current: bool,
    /// Everything that it needs, the manifest included.
    pub blobs: Vec<Digest>,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Keys, least recently used first.
    pub records: Vec<Digest>,
    /// Blobs that nothing needs then, in no order that matters.
    pub blobs: Vec<Digest>,
    /// Sum of the sizes of those blobs.
    pub bytes: u64,
}

/// Chooses the least recently used records until all that is needed takes at most `limit` bytes: each blob counts once,
/// and goes with the last record that needs it. Blobs in `kept` count and stay; where they alone take more than
/// `limit`, every record goes.
pub fn choose(
    candidates: &[Candidate],
    sizes: &HashMap<Digest, u64>,
    kept: &HashSet<Digest>,
    limit: u64,
) -> Choice {
    let size = |blob: &Digest| sizes.get(blob).copied().unwrap_or(0);
    let mut users: HashMap<Digest, usize> = kept.iter().map(|blob| (*blob, 1)).collect();
    for blob in candidates.iter().flat_map(unique) {
        *users.entry(blob).or_default() += 1;
    }
    let mut total: u64 = users.keys().map(size).sum();
    let mut oldest_first: Vec<&Candidate> = candidates.iter().collect();
    oldest_first.sort_by_key(|record| (record.used, record.current, record.key));
    let mut choice = Choice::default();
    for record in oldest_first {
        if total <= limit {
            break;
        }
        choice.records.push(record.key);
        for blob in unique(record) {
            let left = users.entry(blob).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                total -= size(&blob);
                choice.bytes += size(&blob);
                choice.blobs.push(blob);
            }
        }
    }
    choice
}

/// A record may name a blob several times: equal files are one.
fn unique(record: &Candidate) -> HashSet<Digest> {
    record.blobs.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn record(number: u8, used: u64, blobs: &[u8]) -> Candidate {
        Candidate {
            key: digest(number),
            used,
            current: false,
            blobs: blobs.iter().map(|blob| digest(*blob)).collect(),
        }
    }

    fn sizes(each: &[(u8, u64)]) -> HashMap<Digest, u64> {
        each.iter()
            .map(|(blob, size)| (digest(*blob), *size))
            .collect()
    }

    #[test]
    fn the_oldest_goes_and_what_others_share_stays() {
        let records = [record(1, 30, &[1, 9]), record(2, 10, &[2, 9, 9])];
        let sizes = sizes(&[(1, 50), (2, 50), (9, 20)]);
        assert_eq!(
            choose(&records, &sizes, &HashSet::new(), 120),
            Choice::default()
        );
        let choice = choose(&records, &sizes, &HashSet::new(), 119);
        assert_eq!(
            (choice.records, choice.blobs, choice.bytes),
            (vec![digest(2)], vec![digest(2)], 50)
        );
        let kept = HashSet::from([digest(2)]);
        let choice = choose(&records, &sizes, &kept, 60);
        assert_eq!(choice.records, [digest(2), digest(1)]);
        assert_eq!(choice.bytes, 70, "what is kept doesn't go");
    }

    #[test]
    fn in_one_second_what_a_target_is_in_stays_longer() {
        let mut records = [record(1, 10, &[1]), record(2, 10, &[2])];
        let sizes = sizes(&[(1, 5), (2, 5)]);
        for current in 0..2 {
            records
                .iter_mut()
                .enumerate()
                .for_each(|(at, record)| record.current = at == current);
            let choice = choose(&records, &sizes, &HashSet::new(), 5);
            assert_eq!(choice.records, [records[1 - current].key]);
        }
    }

    prop_compose! {
        fn any_record()(
            key in any::<[u8; 2]>(), used in 0u64..20, current: bool, blobs in prop::collection::vec(0u8..30, 0..6),
        ) -> Candidate {
            Candidate {
                key: Digest::of(&key),
                used,
                current,
                blobs: blobs.into_iter().map(digest).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn within_the_limit_newest_kept_and_always_the_same(
            mut records in prop::collection::vec(any_record(), 0..25),
            each in prop::collection::vec(0u64..100, 30),
            kept in prop::collection::hash_set(0u8..30, 0..4),
            limit in 0u64..1500,
        ) {
            let mut seen = HashSet::new();
            records.retain(|record| seen.insert(record.key));
            let sizes: HashMap<Digest, u64> = (0u8..30).map(digest).zip(each).collect();
            let kept: HashSet<Digest> = kept.into_iter().map(digest).collect();
            let choice = choose(&records, &sizes, &kept, limit);

            let (gone, left): (Vec<_>, Vec<_>) =
                records.iter().partition(|record| choice.records.contains(&record.key));
            let needed: HashSet<Digest> =
                left.iter().flat_map(|record| record.blobs.clone()).chain(kept.iter().copied()).collect();
            let total = |blobs: &HashSet<Digest>| blobs.iter().map(|blob| sizes[blob]).sum::<u64>();
            prop_assert!(total(&needed) <= limit || left.is_empty());
            // What goes is what nothing needs any more, and all of that.
            let before: HashSet<Digest> = gone.iter().flat_map(|record| record.blobs.clone()).collect();
            let freed: HashSet<Digest> = choice.blobs.iter().copied().collect();
            prop_assert_eq!(&freed, &before.difference(&needed).copied().collect());
            prop_assert_eq!(choice.bytes, total(&freed));
            // No older one stays than one that goes, and none goes without need.
            for gone in &gone {
                prop_assert!(left.iter().all(|left| left.used >= gone.used));
            }
            if let Some(last) = choice.records.last() {
                let back = records.iter().find(|record| record.key == *last).map(|record| record.blobs.clone());
                let with_it: HashSet<Digest> = needed.iter().copied().chain(back.into_iter().flatten()).collect();
                prop_assert!(total(&with_it) > limit);
            }
            records.reverse();
            let mut again = choose(&records, &sizes, &kept, limit);
            prop_assert_eq!(&again.records, &choice.records);
            again.blobs.sort();
            let mut blobs = choice.blobs;
            blobs.sort();
            prop_assert_eq!(again.blobs, blobs);
        }
    }
}

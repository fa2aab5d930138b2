//! Trying again what may work in a moment, within a time limit. Knows nothing of what is tried.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;

/// Most tries for one message.
const TRIES: u32 = 3;
/// Before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(300);

/// Why one try failed.
pub enum Miss {
    /// It would fail again.
    Final(Failure),
    /// Worth another try, after so long where the receiver has said so.
    Again(Failure, Option<Duration>),
}

/// Tries until it works, is final, or the time is over.
///
/// # Errors
/// What the last try failed with.
pub fn repeat<T>(
    until: Instant,
    mut attempt: impl FnMut(Duration) -> Result<T, Miss>,
) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let left = until.saturating_duration_since(Instant::now());
        let (failure, asked) = match attempt(left) {
            Ok(done) => return Ok(done),
            Err(Miss::Final(failure)) => return Err(failure),
            Err(Miss::Again(failure, asked)) => (failure, asked),
        };
        let pause = asked.unwrap_or_else(|| jittered(PAUSE * (1 << (tries - 1))));
        if tries == TRIES || Instant::now() + pause >= until {
            return Err(failure);
        }
        thread::sleep(pause);
    }
}

/// Up to half as long again: many forges that failed together don't come back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    pause + pause.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::undelivered("no", "help")
    }

    #[test]
    fn what_may_work_in_a_moment_is_tried_three_times() {
        let tried = |ok_at: u32, last: bool, limit: Duration, asked: Option<Duration>| {
            let mut tries = 0;
            let result = repeat(Instant::now() + limit, |_| {
                tries += 1;
                match (tries == ok_at, last) {
                    (true, _) => Ok(()),
                    (false, true) => Err(Miss::Final(failure())),
                    (false, false) => Err(Miss::Again(failure(), asked)),
                }
            });
            (tries, result.is_ok())
        };
        let (long, now) = (Duration::from_secs(60), Some(Duration::ZERO));
        assert_eq!(tried(2, false, long, now), (2, true));
        assert_eq!(tried(9, false, long, now), (3, false));
        assert_eq!(tried(9, true, long, now), (1, false));
        // Nobody waits for longer than the limit, whatever the receiver asks for.
        assert_eq!(tried(2, false, long, Some(long * 2)), (1, false));
        assert_eq!(tried(2, false, Duration::ZERO, None), (1, false));
    }

    #[test]
    fn jitter_only_adds() {
        for _ in 0..100 {
            let pause = jittered(PAUSE);
            assert!(pause >= PAUSE && pause <= PAUSE.mul_f64(1.5));
        }
    }
}

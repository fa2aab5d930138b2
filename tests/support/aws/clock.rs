//! Simulated time: it starts at the machine's and then runs as fast as a test says, or stands until a test moves it.
//! Knows nothing of what happens in it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as AWS writes them.
pub type Time = f64;

pub struct Clock {
    /// Simulated time at `since`.
    base: Time,
    since: Instant,
    speed: f64,
}

impl Clock {
    /// `speed`: simulated seconds in a real one; 0 stands still.
    pub fn new(speed: f64) -> Self {
        let base = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            base: base.unwrap_or_default().as_secs_f64(),
            since: Instant::now(),
            speed,
        }
    }

    pub fn now(&self) -> Time {
        self.base + self.since.elapsed().as_secs_f64() * self.speed
    }

    pub fn set_speed(&mut self, speed: f64) {
        self.base = self.now();
        self.since = Instant::now();
        self.speed = speed;
    }

    /// Moves the time on.
    pub fn pass(&mut self, duration: Duration) {
        self.base += duration.as_secs_f64();
    }

    /// Sets the time apart from the machine's, by seconds: what a wrong clock looks like.
    pub fn skew(&mut self, seconds: f64) {
        self.base += seconds;
    }
}

//! How many calls a service takes in a time. Asking costs nothing; only `take` counts.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

/// So many a second in the long run, `burst` at once after a rest.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Timestamp,
}

impl Bucket {
    pub fn new(per_second: f64, burst: u32, now: Timestamp) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_second, burst, left: burst, at: now }
    }

    fn left(&self, now: Timestamp) -> f64 {
        let rested = now.duration_since(self.at).as_secs_f64().max(0.0);
        (self.left + rested * self.per_second).min(self.burst)
    }

    /// How long until one more is taken; zero: now.
    pub fn wait(&self, now: Timestamp) -> Duration {
        // A millionth of a call forgives what adding up seconds as floats loses.
        let missing = 1.0 - 1e-6 - self.left(now);
        if missing <= 0.0 {
            Duration::ZERO
        } else {
            Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)
        }
    }

    pub fn take(&mut self, now: Timestamp) {
        self.left = self.left(now) - 1.0;
        self.at = now;
    }
}

/// At most so many in any stretch of this length.
#[derive(Clone, Debug)]
pub(super) struct Window {
    most: usize,
    span: Duration,
    taken: VecDeque<Timestamp>,
}

impl Window {
    pub fn new(most: u32, span: Duration) -> Self {
        Self { most: most.max(1) as usize, span, taken: VecDeque::new() }
    }

    /// How long until one more is taken; zero: now.
    pub fn wait(&self, now: Timestamp) -> Duration {
        let Some(oldest) = self.taken.len().checked_sub(self.most).and_then(|at| self.taken.get(at)) else {
            return Duration::ZERO;
        };
        let age = Duration::try_from(now.duration_since(*oldest)).unwrap_or_default();
        self.span.saturating_sub(age)
    }

    pub fn take(&mut self, now: Timestamp) {
        self.taken.push_back(now);
        if self.taken.len() > self.most {
            self.taken.pop_front();
        }
    }
}

/// Both services name their waits in whole seconds, rounded up.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_millis().div_ceil(1000) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    #[test]
    fn a_bucket_takes_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(1.0, 3, at(0));
        for _ in 0..3 {
            assert_eq!(bucket.wait(at(0)), Duration::ZERO);
            bucket.take(at(0));
        }
        assert!(bucket.wait(at(0)) > Duration::from_millis(999));
        assert!(bucket.wait(at(999)) > Duration::ZERO);
        assert_eq!(bucket.wait(at(1000)), Duration::ZERO);
        bucket.take(at(1000));
        assert!(bucket.wait(at(1500)) > Duration::from_millis(400));
        assert_eq!(bucket.wait(at(60_000)), Duration::ZERO);
    }

    #[test]
    fn a_window_slides() {
        let mut window = Window::new(20, Duration::from_secs(60));
        for call in 0..20 {
            assert_eq!(window.wait(at(call * 1000)), Duration::ZERO);
            window.take(at(call * 1000));
        }
        assert_eq!(window.wait(at(20_000)), Duration::from_secs(40));
        assert_eq!(window.wait(at(59_999)), Duration::from_millis(1));
        assert_eq!(window.wait(at(60_000)), Duration::ZERO);
        window.take(at(60_000));
        assert_eq!(window.wait(at(60_000)), Duration::from_secs(1));
    }

    #[test]
    fn waits_are_told_in_whole_seconds_rounded_up() {
        for (ms, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (39_500, 40)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
    }
}

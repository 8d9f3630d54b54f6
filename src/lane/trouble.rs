//! What a lane remembers of its failures, until its next success: how long to back off, how far apart to probe.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
const FIRST_PROBE: Duration = Duration::from_secs(60);
const LONGEST_PROBE: Duration = Duration::from_secs(15 * 60);

/// Failures in a row, by lane (or account). Lanes without trouble take no memory.
pub struct Troubles<K> {
    failures: Mutex<HashMap<K, u32>>,
    random: Mutex<fastrand::Rng>,
}

impl<K: Hash + Eq> Troubles<K> {
    pub fn new(random: fastrand::Rng) -> Self {
        Self { failures: Mutex::default(), random: Mutex::new(random) }
    }

    /// How long to leave it alone after one more failure: 100 ms, doubling to 60 s, ± 20 %.
    pub fn back_off(&self, key: K) -> Duration {
        let whole = doubled(FIRST_BACK_OFF, self.one_more(key), LONGEST_BACK_OFF);
        whole.mul_f64(0.8 + 0.4 * self.random.lock().unwrap_or_else(PoisonError::into_inner).f64())
    }

    /// How long until the next probe of something a person has to mend: 1 min, doubling to 15.
    pub fn probe_in(&self, key: K) -> Duration {
        doubled(FIRST_PROBE, self.one_more(key), LONGEST_PROBE)
    }

    /// Something got through.
    pub fn over(&self, key: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Failures before this one.
    fn one_more(&self, key: K) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.entry(key).or_default();
        let before = *failures;
        *failures = failures.saturating_add(1);
        before
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_from_100_ms_to_a_minute_within_a_fifth() {
        let troubles = Troubles::new(fastrand::Rng::with_seed(7));
        for (failure, expected) in
            [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000].into_iter().enumerate()
        {
            let wait = troubles.back_off("lane").as_millis() as f64;
            let expected = f64::from(expected);
            assert!((0.8 * expected - 1.0..=1.2 * expected).contains(&wait), "failure {failure}: {wait}");
        }
        troubles.over(&"lane");
        assert!(troubles.back_off("lane") <= Duration::from_millis(120), "a success starts it anew");
    }

    #[test]
    fn probes_go_from_a_minute_to_a_quarter_of_an_hour_and_stay_there() {
        let troubles = Troubles::new(fastrand::Rng::with_seed(7));
        let minutes: Vec<u64> = (0..40).map(|_| troubles.probe_in(()).as_secs() / 60).collect();
        assert_eq!(minutes[..6], [1, 2, 4, 8, 15, 15]);
        assert_eq!(minutes[39], 15);
    }
}

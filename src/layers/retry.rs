//! The policy of `tower::retry`: a quick second and third try of what provably did not arrive. Belongs outermost, so
//! that each try passes the breaker, the limit and the look at the lease anew. Every longer wait is the lane's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tower::retry::Policy;

use crate::clock::{Clock, Timer};
use crate::delivery::{Advice, SendError};

/// Pauses before the second and the third try, each ± 50 %.
pub const PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(600)];

/// No try begins later than this after the first. Attempts that fail slowly leave no time for another.
pub const IN_ALL: Duration = Duration::from_secs(2);

/// Cloned by tower for each call; the clones share nothing but the source of their jitter.
#[derive(Clone)]
pub struct QuickRetry {
    clock: Clock,
    seeds: Arc<AtomicU64>,
    /// When the first try began, of the clock's own time.
    began: Duration,
    retries: usize,
}

impl QuickRetry {
    /// `seed` begins the row of jitters, so that a test can repeat one.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self { clock, seeds: Arc::new(AtomicU64::new(seed)), began: Duration::ZERO, retries: 0 }
    }

    fn jittered(&self, pause: Duration) -> Duration {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        let ms = pause.as_millis() as u64;
        Duration::from_millis(fastrand::Rng::with_seed(seed).u64(ms / 2..=ms + ms / 2))
    }
}

impl<R: Clone, T> Policy<R, T, SendError> for QuickRetry {
    type Future = Timer;

    fn retry(&mut self, _: &mut R, end: &mut Result<T, SendError>) -> Option<Timer> {
        let error = end.as_ref().err()?;
        if error.advice() != Advice::Again {
            return None;
        }
        let pause = self.jittered(*PAUSES.get(self.retries)?);
        let gone = self.clock.elapsed().saturating_sub(self.began);
        if gone + pause >= IN_ALL {
            return None;
        }
        self.retries += 1;
        Some(self.clock.timer(pause))
    }

    /// Tower asks before each try, the first one included: then the time begins.
    fn clone_request(&mut self, request: &R) -> Option<R> {
        if self.retries == 0 {
            self.began = self.clock.elapsed();
        }
        Some(request.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use tower::retry::RetryLayer;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::delivery::Scope;

    fn unreached() -> SendError {
        SendError::Unreached("refused".into())
    }

    /// At which milliseconds the tries were made, when each takes `slow` and fails like `error`.
    async fn tries(seed: u64, slow: Duration, error: fn() -> SendError) -> Vec<i64> {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let tries = Arc::new(Mutex::new(Vec::new()));
        let (seen, passing) = (tries.clone(), clock.clone());
        let client = service_fn(move |(): ()| {
            seen.lock().unwrap().push(passing.now_ms());
            passing.pass(slow);
            std::future::ready(Err::<(), _>(error()))
        });
        let stack = ServiceBuilder::new().layer(RetryLayer::new(QuickRetry::new(clock.clone(), seed))).service(client);
        let mut call = std::pin::pin!(stack.oneshot(()));
        while is_pending(call.as_mut()).await {
            clock.pass(Duration::from_millis(1));
        }
        tries.lock().unwrap().clone()
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn only_what_provably_did_not_arrive_is_tried_again() {
        let cases: [(fn() -> SendError, usize); 5] = [
            (unreached, 3),
            (|| SendError::Unclear { what: "reset".into(), cause: None }, 1),
            (|| SendError::BreakerOpen { probe_in: Duration::ZERO }, 1),
            (|| SendError::LeaseLost, 1),
            (|| SendError::Paced { code: "429".into(), wait: None, scope: Scope::Lane }, 1),
        ];
        for (error, wanted) in cases {
            assert_eq!(tries(1, Duration::ZERO, error).await.len(), wanted, "{:?}", error());
        }
    }

    #[tokio::test]
    async fn slow_failures_leave_no_time_for_another_try() {
        assert_eq!(tries(1, Duration::from_secs(5), unreached).await.len(), 1);
        assert_eq!(tries(1, Duration::from_millis(900), unreached).await.len(), 2);
    }

    proptest! {
        #[test]
        fn all_tries_begin_within_two_seconds(seed: u64, slow in 0u64..3000) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let tries = runtime.block_on(tries(seed, Duration::from_millis(slow), unreached));
            prop_assert!(tries.len() <= 3);
            prop_assert!(tries.iter().all(|at| *at < 2000), "{tries:?}");
        }
    }

    #[tokio::test]
    async fn jitter_comes_from_the_seed_and_differs_from_call_to_call() {
        let policy = QuickRetry::new(Clock::held(Timestamp::UNIX_EPOCH), 7);
        let (first, second) = (policy.jittered(PAUSES[0]), policy.clone().jittered(PAUSES[0]));
        assert_ne!(first, second);
        assert_eq!(QuickRetry::new(Clock::held(Timestamp::UNIX_EPOCH), 7).jittered(PAUSES[0]), first);
    }
}

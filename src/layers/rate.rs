//! Lets so many calls through in a time and makes the others wait, in their order. Belongs where no lane keeps the pace,
//! outside the look at the lease: the wait may outlast it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower::{Layer, Service};

use super::lease::Leased;
use crate::clock::{Clock, Timer};
use crate::delivery::SendError;

/// What is left out of a rate, so that calls that catch up with each other on their way are not too many where they arrive.
const SPARE: f64 = 0.02;

/// So many calls in any second (or one in a longer time, where the rate is less than one a second), over all clones. Where
/// more processes share it than it has calls, as many as they are may meet in one second, and then none for longer.
#[derive(Clone)]
pub struct Rate(Arc<Inner>);

struct Inner {
    clock: Clock,
    per_second: f64,
    sharers: Box<dyn Fn() -> usize + Send + Sync>,
    /// When the latest calls go or went, of the clock's own time, in order.
    gone: Mutex<VecDeque<Duration>>,
}

impl Rate {
    /// `sharers`: how many processes have this rate together now; each takes its part.
    pub fn new(per_second: f64, clock: Clock, sharers: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { clock, per_second, sharers: Box::new(sharers), gone: Mutex::default() }))
    }

    /// Takes the next turn, and says how long it is until then.
    fn turn(&self) -> Duration {
        let rate = self.0.per_second / (self.0.sharers)().max(1) as f64;
        // Whole calls in a whole second: two replicas with two and a half each, taken in less, would meet in one second
        // with six.
        let (calls, seconds) = if rate < 1.0 { (1.0, 1.0 / rate) } else { (rate.floor(), 1.0) };
        let span = Duration::from_secs_f64(seconds * (1.0 + SPARE));
        let now = self.0.clock.elapsed();
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let beyond = gone.len().saturating_sub(calls as usize);
        gone.drain(..beyond);
        let full = gone.len() == calls as usize;
        let next = gone.front().filter(|_| full).map_or(now, |first| *first + span);
        let at = gone.back().copied().unwrap_or_default().max(next).max(now);
        gone.push_back(at);
        at - now
    }
}

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", self.0.per_second)
    }
}

#[derive(Clone)]
pub struct RateLayer {
    rate: Rate,
}

impl RateLayer {
    pub fn new(rate: Rate) -> Self {
        Self { rate }
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = Rated<S>;

    fn layer(&self, inner: S) -> Rated<S> {
        Rated { inner, rate: self.rate.clone() }
    }
}

#[derive(Clone)]
pub struct Rated<S> {
    inner: S,
    rate: Rate,
}

impl<S, R> Service<R> for Rated<S>
where
    S: Service<R, Error = SendError> + Clone,
    R: Leased,
{
    type Response = S::Response;
    type Error = SendError;
    type Future = Attempt<S, R, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Attempt<S, R, S::Future> {
        // Who lost the lane while it waited for a permit will make no call, and takes no other's turn.
        let wait = if request.is_leased() { self.rate.turn() } else { Duration::ZERO };
        let timer = self.rate.0.clock.timer(wait);
        // The one that was made ready goes; its clone stays.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        Attempt::Waits { timer, then: Some((ready, request)) }
    }
}

pin_project_lite::pin_project! {
    /// Waits => (Waits | Called)
    #[project = AttemptProjection]
    pub enum Attempt<S, R, F> {
        Waits { #[pin] timer: Timer, then: Option<(S, R)> },
        Called { #[pin] attempt: F },
    }
}

impl<S, R> Future for Attempt<S, R, S::Future>
where
    S: Service<R, Error = SendError>,
{
    type Output = Result<S::Response, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let attempt = match self.as_mut().project() {
                AttemptProjection::Called { attempt } => return attempt.poll(cx),
                AttemptProjection::Waits { timer, then } => {
                    ready!(timer.poll(cx));
                    match then.take() {
                        Some((mut service, request)) => service.call(request),
                        None => return Poll::Pending, // not reached: the state changes at once
                    }
                }
            };
            self.set(Attempt::Called { attempt });
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    /// With or without a lease.
    struct Call(bool);

    impl Leased for Call {
        fn is_leased(&self) -> bool {
            self.0
        }
    }

    /// At which milliseconds so many calls that come together are made.
    async fn made(rate: &Rate, clock: &Clock, calls: usize) -> Vec<i64> {
        let (seen, passing) = (Arc::new(Mutex::new(Vec::new())), clock.clone());
        let noting = seen.clone();
        let client = service_fn(move |Call(_)| {
            noting.lock().unwrap().push(passing.now_ms());
            std::future::ready(Ok::<_, SendError>(()))
        });
        let stack = ServiceBuilder::new().layer(RateLayer::new(rate.clone())).service(client);
        let mut waiting: Vec<_> = (0..calls).map(|_| Box::pin(stack.clone().oneshot(Call(true)))).collect();
        while !waiting.is_empty() {
            let mut left = Vec::new();
            for mut call in waiting {
                if std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending() {
                    left.push(call);
                }
            }
            waiting = left;
            clock.pass(Duration::from_millis(1));
        }
        let made = seen.lock().unwrap();
        made.clone()
    }

    fn rate(per_second: f64, sharers: usize) -> (Rate, Clock) {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        (Rate::new(per_second, clock.clone(), move || sharers), clock)
    }

    #[tokio::test]
    async fn no_second_has_more_calls_than_the_rate() {
        let (rate, clock) = rate(5.0, 1);
        let made = made(&rate, &clock, 23).await;
        assert_eq!(made[..6], [0, 0, 0, 0, 0, 1020]);
        assert!(made.windows(6).all(|calls| calls[5] - calls[0] > 1000), "{made:?}");
    }

    #[tokio::test]
    async fn a_rate_is_divided_among_those_who_share_it() {
        let (rate, clock) = rate(5.0, 2);
        assert_eq!(made(&rate, &clock, 5).await, [0, 0, 1020, 1020, 2040]);
    }

    #[tokio::test]
    async fn less_than_one_a_second_is_one_in_a_longer_time() {
        let (rate, clock) = rate(0.5, 1);
        assert_eq!(made(&rate, &clock, 3).await, [0, 2040, 4080]);
    }

    #[tokio::test]
    async fn a_call_that_will_not_be_made_takes_no_turn() {
        let (rate, clock) = rate(1.0, 1);
        assert_eq!(made(&rate, &clock, 1).await, [0]);
        let client = service_fn(async |_: Call| Ok::<_, SendError>(()));
        let stack = ServiceBuilder::new().layer(RateLayer::new(rate.clone())).service(client);
        stack.oneshot(Call(false)).await.unwrap(); // the clock stands: it would wait for ever
        let after = made(&rate, &clock, 1).await;
        assert_eq!(after, [1020]);
    }

    #[tokio::test]
    async fn an_idle_time_saves_nothing_up() {
        let (rate, clock) = rate(2.0, 1);
        clock.pass(Duration::from_secs(60));
        assert_eq!(made(&rate, &clock, 4).await, [60_000, 60_000, 61_020, 61_020]);
    }
}

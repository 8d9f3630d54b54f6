//! Tells an [`Observer`] how each attempt ended and how long it took. Belongs inside the retry, so that each try is
//! seen, and outside the breaker, so that what the breaker refuses is seen too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use tower::{Layer, Service};

use crate::clock::Clock;
use crate::delivery::{Outcome, Platform, SendError};

/// Who counts. Called from the hot path: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A call was made (or at least a connection was tried), and ended so after `took`.
    fn attempt(&self, to: Platform, outcome: Outcome, took: Duration);

    /// Nothing was tried: the breaker is open ([`Outcome::BreakerOpen`]) or the lease has ended ([`Outcome::LeaseLost`]).
    fn not_tried(&self, _to: Platform, _outcome: Outcome) {}
}

/// Nobody counts.
impl Observer for () {
    fn attempt(&self, _: Platform, _: Outcome, _: Duration) {}
}

#[derive(Clone)]
pub struct ObserveLayer {
    to: Platform,
    observer: Arc<dyn Observer>,
    clock: Clock,
}

impl ObserveLayer {
    pub fn new(to: Platform, observer: Arc<dyn Observer>, clock: Clock) -> Self {
        Self { to, observer, clock }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, seen: self.clone() }
    }
}

#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
    seen: ObserveLayer,
}

impl<S, R> Service<R> for Observe<S>
where
    S: Service<R, Error = SendError>,
{
    type Response = S::Response;
    type Error = SendError;
    type Future = Attempt<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Attempt<S::Future> {
        let started = self.seen.clock.now();
        Attempt { attempt: self.inner.call(request), seen: self.seen.clone(), started }
    }
}

pin_project_lite::pin_project! {
    pub struct Attempt<F> {
        #[pin]
        attempt: F,
        seen: ObserveLayer,
        started: Timestamp,
    }
}

impl<F, T> Future for Attempt<F>
where
    F: Future<Output = Result<T, SendError>>,
{
    type Output = Result<T, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let end = ready!(this.attempt.poll(cx));
        let ObserveLayer { to, observer, clock } = this.seen;
        let outcome = end.as_ref().map_or_else(Outcome::of, |_| Outcome::Delivered);
        match outcome {
            Outcome::BreakerOpen | Outcome::LeaseLost => observer.not_tried(*to, outcome),
            _ => {
                // A clock that was set back meanwhile makes the time negative; then none is better than a wrong one.
                let took = Duration::try_from(clock.now().duration_since(*this.started)).unwrap_or_default();
                observer.attempt(*to, outcome, took);
            }
        }
        Poll::Ready(end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::delivery::Messenger;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Observer for Notes {
        fn attempt(&self, to: Platform, outcome: Outcome, took: Duration) {
            self.0.lock().unwrap().push(format!("{to} {} {took:?}", outcome.as_str()));
        }

        fn not_tried(&self, to: Platform, outcome: Outcome) {
            self.0.lock().unwrap().push(format!("{to} not tried: {}", outcome.as_str()));
        }
    }

    #[tokio::test]
    async fn each_attempt_is_told_with_its_end_and_its_time() {
        let (clock, notes) = (Clock::held(Timestamp::UNIX_EPOCH), Arc::new(Notes::default()));
        for step in 0..4 {
            let passing = clock.clone();
            let client = service_fn(move |(): ()| {
                passing.pass(Duration::from_millis(step * 10));
                std::future::ready(match step {
                    0 => Err(SendError::LeaseLost),
                    1 => Err(SendError::BreakerOpen { probe_in: Duration::ZERO }),
                    2 => Err(SendError::Content { code: "no_text".into() }),
                    _ => Ok(()),
                })
            });
            let layer = ObserveLayer::new(Platform::Messenger(Messenger::Slack), notes.clone(), clock.clone());
            let _ = ServiceBuilder::new().layer(layer).service(client).oneshot(()).await;
        }
        insta::assert_snapshot!(notes.0.lock().unwrap().join("\n"), @r"
        slack not tried: lease_lost
        slack not tried: breaker_open
        slack content 20ms
        slack delivered 30ms
        ");
    }
}

//! Stops calls to a messenger that does not answer, and finds out when it does again. One breaker for each account.
//! Belongs outside the concurrency limit: while the messenger hangs, its permits are all out, and a refusal must not
//! wait for one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::watch;
use tower::{Layer, Service};

use crate::clock::Clock;
use crate::delivery::{Outcome, SendError};

/// So many attempts in a row, unreached or unclear, open the breaker.
pub const OPENS_AFTER: u32 = 10;

/// While the breaker is open one call passes in each such time.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused, but for the probes.
    Open,
}

/// The breaker of one account. Cheap to clone; all clones are the same breaker.
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    clock: Clock,
    tally: Mutex<Tally>,
    state: watch::Sender<State>,
}

enum Tally {
    Closed { failed: u32 },
    Open { probe_at_ms: i64 },
}

impl Breaker {
    pub fn new(clock: Clock) -> Self {
        let (tally, state) = (Mutex::new(Tally::Closed { failed: 0 }), watch::Sender::new(State::Closed));
        Self(Arc::new(Inner { clock, tally, state }))
    }

    pub fn state(&self) -> State {
        *self.0.state.borrow()
    }

    /// Wakes at each change: when the breaker closes, the back-off of its lanes is over.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until a call may pass; `None`: one may now.
    pub fn refusal(&self) -> Option<Duration> {
        self.left(&self.tally())
    }

    /// As [`Breaker::refusal`], and the call that may pass an open breaker becomes its probe.
    fn admit(&self) -> Option<Duration> {
        let mut tally = self.tally();
        let left = self.left(&tally);
        if let (None, Tally::Open { probe_at_ms }) = (left, &mut *tally) {
            *probe_at_ms = self.next_probe();
        }
        left
    }

    fn left(&self, tally: &Tally) -> Option<Duration> {
        let Tally::Open { probe_at_ms } = tally else { return None };
        let left = Duration::from_millis(u64::try_from(probe_at_ms - self.0.clock.now_ms()).ok()?);
        // More than a whole period is left only when the machine's clock was set back.
        (!left.is_zero() && left <= PROBE_EVERY).then_some(left)
    }

    fn next_probe(&self) -> i64 {
        self.0.clock.now_ms() + PROBE_EVERY.as_millis() as i64
    }

    /// Counts the end of an attempt. A refusal and a 429 come from a messenger that answers.
    fn note<T>(&self, end: &Result<T, SendError>) {
        let mut tally = self.tally();
        match end.as_ref().map_or_else(Outcome::of, |_| Outcome::Delivered) {
            Outcome::BreakerOpen | Outcome::LeaseLost => {}
            Outcome::Unreached | Outcome::Unclear => {
                if let Tally::Closed { failed } = &mut *tally {
                    *failed += 1;
                    if *failed >= OPENS_AFTER {
                        *tally = Tally::Open { probe_at_ms: self.next_probe() };
                        self.0.state.send_replace(State::Open);
                    }
                }
            }
            _ => {
                let was = std::mem::replace(&mut *tally, Tally::Closed { failed: 0 });
                if let Tally::Open { .. } = was {
                    self.0.state.send_replace(State::Closed);
                }
            }
        }
    }
}

#[derive(Clone)]
pub struct BreakerLayer(Breaker);

impl BreakerLayer {
    pub fn new(breaker: Breaker) -> Self {
        Self(breaker)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, breaker: self.0.clone(), refused: None }
    }
}

#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    breaker: Breaker,
    /// Set when `poll_ready` refused, and so did not ask whether `inner` is ready.
    refused: Option<Duration>,
}

impl<S, R> Service<R> for Guarded<S>
where
    S: Service<R, Error = SendError>,
{
    type Response = S::Response;
    type Error = SendError;
    type Future = Attempt<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.refused = self.breaker.refusal();
        if self.refused.is_some() { Poll::Ready(Ok(())) } else { self.inner.poll_ready(cx) }
    }

    /// Asks the breaker again: it may have opened while this call waited for its permit.
    fn call(&mut self, request: R) -> Attempt<S::Future> {
        match self.refused.take().or_else(|| self.breaker.admit()) {
            Some(probe_in) => Attempt::Refused { probe_in },
            None => Attempt::Made { attempt: self.inner.call(request), breaker: self.breaker.clone() },
        }
    }
}

pin_project_lite::pin_project! {
    #[project = AttemptProjection]
    pub enum Attempt<F> {
        Refused { probe_in: Duration },
        Made { #[pin] attempt: F, breaker: Breaker },
    }
}

impl<F, T> Future for Attempt<F>
where
    F: Future<Output = Result<T, SendError>>,
{
    type Output = Result<T, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            AttemptProjection::Refused { probe_in } => Err(SendError::BreakerOpen { probe_in: *probe_in }),
            AttemptProjection::Made { attempt, breaker } => {
                let end = ready!(attempt.poll(cx));
                breaker.note(&end);
                end
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! Ends an attempt that takes too long. Belongs next to the client: time spent waiting for a permit is not the
//! messenger's, and a retry has a time of its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower::{Layer, Service};

use crate::clock::{Clock, Timer};
use crate::delivery::SendError;
use crate::layers::lease::Leased;

#[derive(Clone)]
pub struct AttemptTimeoutLayer {
    limit: Duration,
    clock: Clock,
}

impl AttemptTimeoutLayer {
    pub fn new(limit: Duration, clock: Clock) -> Self {
        Self { limit, clock }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> AttemptTimeout<S> {
        AttemptTimeout { inner, limit: self.limit, clock: self.clock.clone() }
    }
}

#[derive(Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
    clock: Clock,
}

impl<S, R> Service<R> for AttemptTimeout<S>
where
    S: Service<R, Error = SendError>,
    R: Leased,
{
    type Response = S::Response;
    type Error = SendError;
    type Future = Attempt<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Attempt<S::Future> {
        let changes_nothing = request.changes_nothing();
        let timer = self.clock.timer(self.limit);
        Attempt { attempt: self.inner.call(request), timer, limit: self.limit, changes_nothing }
    }
}

pin_project_lite::pin_project! {
    /// An answer that is there counts, also when the time is over.
    pub struct Attempt<F> {
        #[pin]
        attempt: F,
        #[pin]
        timer: Timer,
        limit: Duration,
        changes_nothing: bool,
    }
}

impl<F, T> Future for Attempt<F>
where
    F: Future<Output = Result<T, SendError>>,
{
    type Output = Result<T, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(end) = this.attempt.poll(cx) {
            return Poll::Ready(end);
        }
        ready!(this.timer.poll(cx));
        let what = format!("no answer within {:?}", this.limit);
        Poll::Ready(Err(match *this.changes_nothing {
            true => SendError::Unreached(what.into()),
            // The other side may hold the whole request by now, and dropping the attempt does not take it back.
            false => SendError::Unclear { what, cause: None },
        }))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::delivery::Advice;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn no_answer_in_time_is_unclear() {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let mut attempt = std::pin::pin!(unanswered(&clock, Asks { only: false }));

        assert!(poll_once(attempt.as_mut()).await.is_pending());
        clock.pass(LIMIT - Duration::from_millis(1));
        assert!(poll_once(attempt.as_mut()).await.is_pending());
        clock.pass(Duration::from_millis(1));
        let error = attempt.await.unwrap_err();
        assert_eq!(error.advice(), Advice::Unclear);
        assert!(error.to_string().ends_with("no answer within 10s"), "{error}");
    }

    #[tokio::test]
    async fn who_only_asked_may_ask_again() {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let mut attempt = std::pin::pin!(unanswered(&clock, Asks { only: true }));
        assert!(poll_once(attempt.as_mut()).await.is_pending());
        clock.pass(LIMIT);
        assert_eq!(attempt.await.unwrap_err().advice(), Advice::Again);
    }

    async fn unanswered(clock: &Clock, request: Asks) -> Result<(), SendError> {
        let silent = service_fn(|_: Asks| std::future::pending::<Result<(), SendError>>());
        let layer = AttemptTimeoutLayer::new(LIMIT, clock.clone());
        ServiceBuilder::new().layer(layer).service(silent).oneshot(request).await
    }

    struct Asks {
        only: bool,
    }

    impl Leased for Asks {
        fn is_leased(&self) -> bool {
            true
        }

        fn changes_nothing(&self) -> bool {
            self.only
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_there_counts_however_late_it_is_read() {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let mut stack =
            AttemptTimeoutLayer::new(LIMIT, clock.clone()).layer(service_fn(|_: Asks| async { Ok("answer") }));
        let attempt = stack.ready().await.unwrap().call(Asks { only: false });
        clock.pass(LIMIT * 2);
        assert_eq!(attempt.await.unwrap(), "answer");
    }

    async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }
}

//! Asks before a call whether this replica still holds the lane. Belongs inside of everything that waits (retry,
//! concurrency limit), so that nothing stands between the look at the lease and the call but the call itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower::{Layer, Service};

use crate::delivery::SendError;

/// Whether the lane's lease is still ours. Asked right before each try.
pub type LeaseCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A request that is made in the name of a lease.
pub trait Leased {
    /// Whether the lease is still ours. Asked once for each try, so it must be cheap and must not block.
    fn is_leased(&self) -> bool;

    /// It asks and changes nothing: without an answer it is as good as not sent.
    fn changes_nothing(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseLayer;

impl<S> Layer<S> for LeaseLayer {
    type Service = Lease<S>;

    fn layer(&self, inner: S) -> Lease<S> {
        Lease { inner }
    }
}

/// Answers [`SendError::LeaseLost`] in place of a call without a lease.
#[derive(Clone, Debug)]
pub struct Lease<S> {
    inner: S,
}

impl<S, R> Service<R> for Lease<S>
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
        if request.is_leased() { Attempt::Made { attempt: self.inner.call(request) } } else { Attempt::Lost }
    }
}

pin_project_lite::pin_project! {
    #[project = AttemptProjection]
    pub enum Attempt<F> {
        Lost,
        Made { #[pin] attempt: F },
    }
}

impl<F, T> Future for Attempt<F>
where
    F: Future<Output = Result<T, SendError>>,
{
    type Output = Result<T, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            AttemptProjection::Lost => Err(SendError::LeaseLost),
            AttemptProjection::Made { attempt } => ready!(attempt.poll(cx)),
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    struct Request(bool);

    impl Leased for Request {
        fn is_leased(&self) -> bool {
            self.0
        }
    }

    #[tokio::test]
    async fn only_a_call_with_a_lease_is_made() {
        let stack = || ServiceBuilder::new().layer(LeaseLayer).service(service_fn(|_: Request| async { Ok("made") }));
        assert_eq!(stack().oneshot(Request(true)).await.unwrap(), "made");
        assert!(matches!(stack().oneshot(Request(false)).await, Err(SendError::LeaseLost)));
    }
}

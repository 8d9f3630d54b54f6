//! The one order of the layers: the way of every call that leaves Campanile.

use std::sync::Arc;
use std::time::Duration;

use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;
use tower::util::{BoxCloneSyncService, option_layer};
use tower::{ServiceBuilder, service_fn};

use super::breaker::{Breaker, BreakerLayer};
use super::lease::{LeaseLayer, Leased};
use super::observe::{ObserveLayer, Observer};
use super::rate::{Rate, RateLayer};
use super::retry::QuickRetry;
use super::timeout::AttemptTimeoutLayer;
use crate::clock::Clock;
use crate::delivery::{Platform, SendError};

/// Cheap to clone. Use one clone for one call: `stack.clone().oneshot(request)`.
pub type Stack<R, T> = BoxCloneSyncService<R, T, SendError>;

#[derive(Clone, Debug)]
pub struct Limits {
    /// Attempts at the same time.
    pub width: usize,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// Begins the row of the retries' jitters.
    pub seed: u64,
    /// Calls in a time, where it is not the lane that keeps the pace.
    pub rate: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { width: 256, attempt: Duration::from_secs(10), seed: 0, rate: None }
    }
}

/// Whom the calls go to, who counts them, and what stops them.
#[derive(Clone)]
pub struct Watched {
    pub to: Platform,
    pub breaker: Breaker,
    pub observer: Arc<dyn Observer>,
    pub clock: Clock,
}

/// Everything around `call`, which makes one attempt, outermost layer first.
pub fn stack<R, T, F, A>(call: F, limits: &Limits, watched: Watched) -> Stack<R, T>
where
    R: Leased + Clone + Send + 'static,
    T: Send + 'static,
    F: Fn(R) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<T, SendError>> + Send + 'static,
{
    let Watched { to, breaker, observer, clock } = watched;
    ServiceBuilder::new()
        .layer(BoxCloneSyncService::layer()) // one named type, so that no signature outgrows the screen
        .layer(RetryLayer::new(QuickRetry::new(clock.clone(), limits.seed))) // only what provably did not arrive
        .layer(ObserveLayer::new(to, observer, clock.clone())) // inside the retry: sees each try
        .layer(BreakerLayer::new(breaker)) // outside the limit: a refusal waits for no permit
        .layer(ConcurrencyLimitLayer::new(limits.width)) // what hangs holds no more than this
        .layer(option_layer(limits.rate.clone().map(RateLayer::new))) // inside the limit: who waits here keeps his turn
        .layer(LeaseLayer) // after every wait of ours, right before the call
        .layer(AttemptTimeoutLayer::new(limits.attempt, clock)) // no answer in time is unclear, not unreached
        .service(service_fn(call))
}

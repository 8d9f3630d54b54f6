//! Accepting connections: a bounded number, each with a deadline from its first moment.
//!
//! hyper-util's auto server has no timer before the first bytes, so the watch over a connection is ours: ten seconds
//! from accept to the end of the first request's head, then at most [`IDLE`] between requests. The body's ten seconds
//! are the handler's.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::lifecycle::Lifecycle;

/// Connections at once, over all peers of one listener.
const MOST_CONNECTIONS: usize = 4_096;
/// Requests at once in one HTTP/2 connection.
const MOST_STREAMS: u32 = 100;
/// From accept to the end of the first request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Between two requests of one connection; longer than common balancers keep theirs (60 s).
const IDLE: Duration = Duration::from_secs(75);
/// After a failed accept (out of descriptors): a pause instead of a spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until intake closes, then lets the requests under way end.
pub async fn serve(listener: TcpListener, router: Router, clock: Clock, lifecycle: Lifecycle) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = lifecycle.closing.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = lifecycle.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), clock.clone(), lifecycle.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                clock.sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = lifecycle.over.cancelled() => {}
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, clock: Clock, lifecycle: Lifecycle) {
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new(&clock));
    let service = service_fn({
        let (activity, clock) = (activity.clone(), clock.clone());
        move |request: http::Request<Incoming>| {
            let (router, activity, clock) = (router.clone(), activity.clone(), clock.clone());
            async move {
                let _request = activity.begin(clock);
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                router.oneshot(request).await
            }
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(MOST_STREAMS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut closing = false;
    loop {
        tokio::select! {
            end = connection.as_mut() => {
                if let Err(error) = end {
                    debug!(%peer, %error, "a connection broke");
                }
                return;
            }
            () = lifecycle.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = lifecycle.over.cancelled() => return,
            () = activity.too_quiet(&clock) => {
                debug!(%peer, "a connection was silent for too long");
                return;
            }
        }
    }
}

/// Whether a connection does anything.
struct Activity {
    under_way: AtomicUsize,
    /// Until when the next request's head must have come, while none is under way: milliseconds of [`Clock::elapsed`].
    deadline: AtomicU64,
}

impl Activity {
    fn new(clock: &Clock) -> Self {
        Self { under_way: AtomicUsize::new(0), deadline: AtomicU64::new(after(clock, HEAD)) }
    }

    fn begin(self: &Arc<Self>, clock: Clock) -> Request {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Request { activity: self.clone(), clock }
    }

    async fn too_quiet(&self, clock: &Clock) {
        loop {
            let busy = self.under_way.load(Ordering::Relaxed) > 0;
            let until = if busy { after(clock, IDLE) } else { self.deadline.load(Ordering::Relaxed) };
            if until <= after(clock, Duration::ZERO) {
                return;
            }
            clock.sleep_until_elapsed(Duration::from_millis(until)).await;
        }
    }
}

/// A request under way; its end starts the wait for the next.
struct Request {
    activity: Arc<Activity>,
    clock: Clock,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.activity.deadline.store(after(&self.clock, IDLE), Ordering::Relaxed);
        self.activity.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// In so much time, as milliseconds of [`Clock::elapsed`]: the time of day may be set.
fn after(clock: &Clock, time: Duration) -> u64 {
    (clock.elapsed() + time).as_millis() as u64
}

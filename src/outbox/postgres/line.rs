//! Callers that want the same kind of statement stand in line: whatever waits while one is on its way goes together with
//! the next (group commit).

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::outbox::OutboxError;

/// Callers in line; above it they wait for a place.
const LONGEST: usize = 4_096;

type Answer<A> = oneshot::Sender<Result<A, OutboxError>>;

/// What one caller wants, and where the answer goes.
pub struct Request<T, A> {
    pub what: T,
    answer: Answer<A>,
}

impl<T, A> Request<T, A> {
    pub fn answer(self, end: Result<A, OutboxError>) {
        let _ = self.answer.send(end); // a caller that waits no more is not waited for
    }
}

pub struct Line<T, A>(mpsc::Sender<Request<T, A>>);

impl<T, A> Line<T, A> {
    pub fn new(closing: CancellationToken) -> (Self, Front<T, A>) {
        let (end, front) = mpsc::channel(LONGEST);
        (Self(end), Front { requests: front, closing })
    }

    /// Cancel safe in that what is wanted is done whole or not at all.
    pub async fn ask(&self, what: T) -> Result<A, OutboxError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { what, answer }).await.map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?
    }
}

pub struct Front<T, A> {
    requests: mpsc::Receiver<Request<T, A>>,
    closing: CancellationToken,
}

impl<T, A> Front<T, A> {
    /// Whatever waits, at most `most`, once something does. `None`: the line is closed and nothing is left in it.
    pub async fn next(&mut self, most: usize) -> Option<Vec<Request<T, A>>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            received = self.requests.recv_many(&mut batch, most) => return (received > 0).then_some(batch),
            () = self.closing.cancelled() => self.requests.close(),
        }
        (self.requests.recv_many(&mut batch, most).await > 0).then_some(batch)
    }
}

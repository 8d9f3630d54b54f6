//! Callers that want the same kind of statement stand in line: whatever waits while one is on its way goes together with
//! the next (group commit).

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::outbox::OutboxError;

/// Callers in line; above it they wait for a place.
const LONGEST: usize = 4_096;
/// From so many callers on, those that were just answered are waited for, for this long: they come back together, and a
/// statement for the first of them alone would keep the others waiting.
const CROWD: usize = 16;
const BREATH: Duration = Duration::from_millis(2);

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
        (Self(end), Front { requests: front, closing, answered: 0, twins: Vec::new() })
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
    /// Of the batch before.
    answered: usize,
    /// For the batch after.
    twins: Vec<Request<T, A>>,
}

impl<T, A> Front<T, A> {
    /// Whatever waits, at most `most`, once something does. `None`: the line is closed and nothing is left in it.
    pub async fn next(&mut self, most: usize) -> Option<Vec<Request<T, A>>> {
        let crowd = self.answered + self.requests.len();
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = self.requests.recv_many(&mut batch, most) => {}
            () = self.closing.cancelled() => {
                self.requests.close();
                self.requests.recv_many(&mut batch, most).await;
            }
        }
        if crowd >= CROWD {
            self.gather(&mut batch, (crowd / 4 * 3).min(most)).await;
        }
        self.answered = batch.len();
        (!batch.is_empty()).then_some(batch)
    }

    /// As [`Front::next`], and no two of them have the same `key`: each sees what became of the one before.
    pub async fn next_without_twins<K: Eq + Hash>(
        &mut self,
        most: usize,
        key: impl Fn(&T) -> K,
    ) -> Option<Vec<Request<T, A>>> {
        let mut batch = std::mem::take(&mut self.twins);
        if batch.is_empty() {
            batch = self.next(most).await?;
        }
        let mut keys = HashSet::new();
        self.twins = batch.extract_if(.., |request| !keys.insert(key(&request.what))).collect();
        Some(batch)
    }

    /// Goes with the next batch without twins.
    pub fn again(&mut self, request: Request<T, A>) {
        self.twins.push(request);
    }

    async fn gather(&mut self, batch: &mut Vec<Request<T, A>>, wanted: usize) {
        let breath = breath(BREATH);
        tokio::pin!(breath);
        while batch.len() < wanted {
            let room = wanted - batch.len();
            tokio::select! {
                biased;
                received = self.requests.recv_many(batch, room) => if received == 0 { return },
                () = self.closing.cancelled() => return,
                () = &mut breath => return,
            }
        }
    }
}

/// A wait for company, on the machine's time: no promise hangs on it, and a clock that is held must not hold the line.
#[expect(clippy::disallowed_methods, reason = "what `Clock::sleep` waits for may be what stands in line")]
pub async fn breath(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn callers_that_were_answered_together_are_waited_for() {
        let closing = CancellationToken::new();
        let (line, mut front) = Line::<usize, ()>::new(closing.clone());
        let line = Arc::new(line);
        let mut callers = JoinSet::new();
        for number in 0..CROWD {
            let line = line.clone();
            callers.spawn(async move {
                line.ask(number).await?;
                for _ in 0..number {
                    tokio::task::yield_now().await; // each comes back a little later than the one before
                }
                line.ask(number).await
            });
        }
        tokio::task::yield_now().await;
        let together = front.next(100).await.unwrap();
        assert_eq!(together.len(), CROWD);
        together.into_iter().for_each(|request| request.answer(Ok(())));
        let again = front.next(100).await.unwrap();
        assert!(again.len() >= CROWD / 4 * 3, "{} came together", again.len());
        again.into_iter().for_each(|request| request.answer(Ok(())));
        closing.cancel();
        while let Some(rest) = front.next(100).await {
            rest.into_iter().for_each(|request| request.answer(Ok(())));
        }
    }
}

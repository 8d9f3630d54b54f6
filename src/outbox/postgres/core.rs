//! What the replica's tasks and its callers share: the connections, the book, and whether the database can be written.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::error::SqlState;

use super::book::Book;
use super::connect::{Db, Pool, Unreached};
use super::pending::Pending;
use super::statements::{self, Failed, Way};
use super::wire::Wire;
use super::words::Told;
use crate::clock::Clock;
use crate::outbox::writes::Writes;
use crate::outbox::{LaneId, Millis, OutboxError};

pub struct Core {
    pub pool: Pool,
    pub clock: Clock,
    pub max_pending: i64,
    /// The row of the ledger that this replica adds to.
    pub shard: i16,
    pub pending: Pending,
    book: Mutex<Book>,
    pub wire: Wire,
    /// The keeper is to look at once: who is there has changed.
    pub look: Notify,
    /// Held by who renews the lease or begins another.
    pub renewing: tokio::sync::Mutex<()>,
    /// Held by who claims conversations or gives some up, until the book has it.
    pub claiming: tokio::sync::Mutex<()>,
    /// Held by who leads channels.
    pub leading: tokio::sync::Mutex<()>,
    pub writes: Writes,
    /// Of the clock's own time that has elapsed.
    certain_until: AtomicI64,
}

/// A change that is refused by itself, or a database that failed under it.
#[derive(Debug)]
pub enum Refusal {
    Answer(OutboxError),
    Database(Failed),
    /// No connection was to be had.
    Pool(Unreached),
}

impl From<Failed> for Refusal {
    fn from(error: Failed) -> Self {
        Self::Database(error)
    }
}

impl From<OutboxError> for Refusal {
    fn from(error: OutboxError) -> Self {
        Self::Answer(error)
    }
}

impl From<Unreached> for Refusal {
    fn from(error: Unreached) -> Self {
        Self::Pool(error)
    }
}

impl Refusal {
    /// Whether the error concerns one row, not the database.
    pub fn is_about_a_row(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Answer(_)) };
        let class = error.code().map(|code| code.code().get(..2).unwrap_or_default());
        matches!(class, Some("22" | "23" | "54"))
    }
}

impl Core {
    pub fn new(pool: Pool, clock: Clock, max_pending: i64, shard: i16) -> Self {
        Self {
            pool,
            clock,
            max_pending,
            shard,
            pending: Pending::default(),
            book: Mutex::default(),
            wire: Wire::default(),
            look: Notify::new(),
            renewing: tokio::sync::Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            leading: tokio::sync::Mutex::default(),
            writes: Writes::default(),
            certain_until: AtomicI64::new(0),
        }
    }

    /// What the clock shows that takes part in the database's time; a test's does not.
    pub fn our_time(&self) -> Option<Millis> {
        self.clock.has_agreed().then(|| self.clock.now_ms())
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn db(&self) -> Result<Db, Refusal> {
        Ok(self.pool.get().await?)
    }

    /// The replica's lease, while it has one.
    pub fn lease(&self) -> Result<i64, OutboxError> {
        self.book().lease.ok_or(OutboxError::Closed)
    }

    /// Nobody ends the lease before that moment.
    pub fn certain(&self, until: Duration) {
        self.certain_until.store(until.as_millis() as i64, Ordering::Relaxed);
    }

    pub fn is_certain(&self) -> bool {
        (self.clock.elapsed().as_millis() as i64) < self.certain_until.load(Ordering::Relaxed)
    }

    /// A write that went through. After one that failed nobody sends until the keeper has looked around: meanwhile the time
    /// may have gone back, and others may have been told to pause.
    pub fn committed(&self, began: Instant) {
        self.count_commit(began);
        if !self.can_write() {
            self.look.notify_one();
        }
    }

    /// Whether the last write went through.
    pub fn can_write(&self) -> bool {
        *self.writes.succeed.borrow()
    }

    pub fn count_commit(&self, began: Instant) {
        self.writes.count_statements(1);
        self.writes.committed(began.elapsed());
    }

    /// A write that failed: what its caller is told. A row that is refused says nothing of the database.
    pub fn failed(&self, refusal: Refusal) -> OutboxError {
        if refusal.is_about_a_row() {
            return self.unanswered(refusal);
        }
        let cause: Arc<dyn std::error::Error + Send + Sync> = match refusal {
            Refusal::Answer(error) => return error,
            Refusal::Database(error) => Arc::new(self.told(error)),
            Refusal::Pool(error) => Arc::new(error),
        };
        self.writes.failed(|| super::chain(&*cause));
        OutboxError::Unavailable(cause)
    }

    /// A question that failed.
    pub fn unanswered(&self, refusal: Refusal) -> OutboxError {
        self.asked();
        match refusal {
            Refusal::Answer(error) => error,
            Refusal::Database(error) => OutboxError::Unavailable(Arc::new(self.told(error))),
            Refusal::Pool(error) => OutboxError::Unavailable(Arc::new(error)),
        }
    }

    fn told(&self, error: Failed) -> Told {
        if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            self.pool.leave(); // another host may be the primary now
        }
        Told(error)
    }

    /// As all replicas made it.
    pub async fn count_pending(&self) -> Result<i64, Refusal> {
        let db = self.db().await?;
        let counting = self.pending.counting();
        let ledger = statements::ledger(&**db).await?;
        let pending = ledger.pending + ledger.to_route;
        self.pending.counted(pending, &counting);
        Ok(pending)
    }

    /// Something became pending in these lanes: to be sent here, or by others, who are told.
    pub fn tell(&self, lanes: Vec<LaneId>) {
        let others = self.expect(lanes);
        if !others.is_empty() {
            self.wire.pending(others);
        }
    }

    /// Something became pending in these lanes of issues. Whoever has made it pending may serve a lane that nobody holds.
    pub fn tell_of_issues(&self, lanes: Vec<(String, Way)>) {
        if lanes.is_empty() {
            return;
        }
        {
            let mut book = self.book();
            for (name, way) in &lanes {
                book.learn(name, *way, None); // it may have been forgotten meanwhile
                book.expect(way.lane);
            }
        }
        self.wire.pending(lanes.into_iter().map(|(_, way)| way.lane));
    }

    /// Gives those that are for others to send.
    pub fn expect(&self, lanes: impl IntoIterator<Item = LaneId>) -> Vec<LaneId> {
        let mut book = self.book();
        let mut others = Vec::new();
        for lane in lanes {
            if book.is_for_us(lane) { book.expect(lane) } else { others.push(lane) }
        }
        others
    }

    /// Others are short of the account's slots.
    pub fn slots_wanted(&self, account: &str) {
        let mut book = self.book();
        book.slots_wanted.insert(account.to_owned());
        book.lanes.work(account).notify_one();
    }

    pub fn asked(&self) {
        self.writes.count_statements(1);
    }
}

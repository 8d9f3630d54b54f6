//! The one writer: it takes whatever waits into one transaction (group commit) and answers each caller after the
//! commit is on disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::group::{Change, Effect, Group, Refusal, Walked};
use super::seen::{self, Seen};
use super::shared::Shared;
use super::{Channels, statements};
use crate::outbox::{Accepted, Expired, Ledger, OutboxError};

/// A group is one commit; a larger one would keep its first callers waiting.
const LARGEST_GROUP: usize = 512;
/// How often an idle store is written to, so that `/readyz` can tell a dead one.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How often a disk that runs full is asked to take the log back.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);
/// What the caller learns.
pub enum Answer {
    Accepted(Accepted),
    Count(usize),
    Expired(Expired),
    Done,
}

pub struct Request {
    pub change: Change,
    pub answer: oneshot::Sender<Result<Answer, OutboxError>>,
}

pub struct Writer {
    pub db: Option<Connection>,
    pub shared: Arc<Shared>,
    pub channels: Channels,
    pub last_event: i64,
    pub last_delivery: i64,
    /// Deliveries that are pending and events that are to be routed.
    pub waiting: i64,
    pub seen: Seen,
    pub expired: Walked,
    pub requests: Receiver<Request>,
    pub log_given_back: Option<Instant>,
    pub checkpoints: Checkpoints,
}

/// What a transaction leaves behind outside the database.
struct Committed {
    effects: Vec<Result<Effect, OutboxError>>,
    last_event: i64,
    last_delivery: i64,
    waiting: i64,
    seen: seen::Turn,
}

impl Writer {
    /// Runs until every sender of requests is gone.
    pub fn run(mut self) {
        let mut group = Vec::new();
        loop {
            match self.requests.recv_timeout(PROBE_EVERY) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while group.len() < LARGEST_GROUP
                && let Ok(next) = self.requests.try_recv()
            {
                group.push(next);
            }
            self.commit(&mut group);
        }
        if let Some(Err(error)) = self.db.as_mut().map(|db| self.shared.end(db)) {
            tracing::warn!(%error, "the store could not be closed in order; the next start marks what may have been sent");
        }
    }

    fn commit(&mut self, group: &mut Vec<Request>) {
        if let Some(error) = self.shared.reserve_is_reached() {
            self.give_back_the_log();
            // Settles go on: the reserve is there for them.
            for refused in group.extract_if(.., |request| {
                matches!(request.change, Change::Accept(_) | Change::SetAside(_) | Change::Link { .. })
            }) {
                let _ = refused.answer.send(Err(error()));
            }
        }
        let started = Instant::now();
        match self.apply(group.iter().map(|request| &request.change)) {
            Ok(effects) => {
                self.shared.writes.committed(started.elapsed());
                self.shared.writes.go_on(self.shared.writes.failures());
                for (request, effect) in group.drain(..).zip(effects) {
                    let _ = request.answer.send(effect.map(|effect| self.take(effect)));
                }
                if let Some(db) = &self.db {
                    self.checkpoints.committed(db);
                }
            }
            // One bad row must not fail its group: each gets a transaction of its own.
            Err(error) if is_about_a_row(&error) && group.len() > 1 => {
                for request in group.drain(..) {
                    let end = match self.apply(std::iter::once(&request.change)) {
                        Ok(mut effects) => effects.pop().unwrap_or(Ok(Effect::None)).map(|effect| self.take(effect)),
                        Err(error) => Err(self.failed(error)),
                    };
                    let _ = request.answer.send(end);
                }
            }
            Err(error) => {
                let error = self.failed(error);
                for request in group.drain(..) {
                    let _ = request.answer.send(Err(again(&error)));
                }
            }
        }
    }

    /// Moves the write-ahead log into the file and gives its room back to the disk, at most once a second.
    fn give_back_the_log(&mut self) {
        if self.log_given_back.is_some_and(|at| at.elapsed() < GIVE_BACK_EVERY) {
            return;
        }
        self.log_given_back = Some(Instant::now());
        if let Some(db) = &self.db
            && let Err(error) = statements::give_back_the_log(db)
        {
            tracing::debug!(%error, "the write-ahead log could not be given back");
        }
    }

    /// Notes that the store could not be written; the next commit opens it anew.
    fn failed(&mut self, error: rusqlite::Error) -> OutboxError {
        if !is_about_a_row(&error) {
            self.shared.writes.failed(|| error.to_string());
            self.db = None;
        }
        OutboxError::Unavailable(Arc::new(error))
    }

    /// One transaction over all changes, committed. A change that is refused (no such delivery, …) has written nothing
    /// and does not hinder the others.
    fn apply<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> rusqlite::Result<Vec<Result<Effect, OutboxError>>> {
        if self.db.is_none() {
            self.db = Some(self.shared.open_writable()?);
        }
        let Some(mut db) = self.db.take() else { return Ok(Vec::new()) };
        let ended = self.transact(&mut db, changes);
        self.db = Some(db);
        let Committed { effects, last_event, last_delivery, waiting, seen } = ended?;
        (self.last_event, self.last_delivery) = (last_event, last_delivery);
        self.waiting += waiting;
        self.seen.committed(seen, last_event);
        Ok(effects)
    }

    fn transact<'a>(
        &self,
        db: &mut Connection,
        changes: impl Iterator<Item = &'a Change>,
    ) -> rusqlite::Result<Committed> {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut group = Group {
            db: &transaction,
            writer: self,
            last_event: self.last_event,
            last_delivery: self.last_delivery,
            ledger: Ledger::default(),
            seen: seen::Turn::default(),
            statements: 0,
            channels: None,
        };
        let mut effects = Vec::new();
        for change in changes {
            effects.push(match group.change(change) {
                Ok(effect) => Ok(effect),
                Err(Refusal::Answer(error)) => Err(error),
                Err(Refusal::Database(error)) => return Err(error),
            });
        }
        self.seen.make_room(&transaction, &mut group.seen)?;
        let Group { last_event, last_delivery, ledger, seen, statements, .. } = group;
        if ledger == Ledger::default() && effects.is_empty() {
            statements::probe(&transaction)?;
        } else {
            statements::add_to_ledger(&transaction, &ledger, last_event, last_delivery)?;
        }
        transaction.commit()?;
        self.shared.writes.count_statements(statements + seen.statements() + 1);
        Ok(Committed { effects, last_event, last_delivery, waiting: ledger.pending + ledger.to_route, seen })
    }

    /// Lets a committed change be seen by the lanes.
    fn take(&mut self, effect: Effect) -> Answer {
        let mut book = self.shared.book();
        match effect {
            Effect::Accepted(accepted, places) => {
                book.add_all(places);
                Answer::Accepted(accepted)
            }
            Effect::Linked { accepted, places, turned } => {
                book.add_all(places);
                self.shared.followers.turn(turned);
                Answer::Accepted(accepted)
            }
            Effect::Followed(turned) => {
                let new = turned.len();
                turned.into_iter().for_each(|turned| self.shared.followers.turn(turned));
                Answer::Count(new)
            }
            Effect::Routed { lane, channel, places, deliveries } => {
                book.take(lane, channel);
                book.add_all(places);
                Answer::Count(deliveries)
            }
            Effect::Settled { lane, channel, ended, hold } => {
                if ended {
                    book.take(lane, channel);
                }
                if let Some(hold) = hold {
                    book.lanes.hold_lane(lane, hold);
                }
                Answer::Done
            }
            Effect::Placed { channels, told, now } => {
                drop(book);
                self.channels = channels;
                self.shared.know_lanes(*told, now);
                Answer::Done
            }
            Effect::AccountHeld(account, hold) => {
                book.lanes.hold_account(&account, hold);
                Answer::Done
            }
            Effect::Revived(revived) => {
                let count = revived.pending.len();
                book.add_all(revived);
                Answer::Count(count)
            }
            Effect::Expired(expired, walked) => {
                book.forget_resting();
                self.expired = walked;
                Answer::Expired(expired)
            }
            Effect::None => Answer::Done,
        }
    }
}

/// Whether the error concerns one row (a constraint), not the store.
fn is_about_a_row(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            rusqlite::ErrorCode::ConstraintViolation | rusqlite::ErrorCode::TooBig | rusqlite::ErrorCode::TypeMismatch
        ),
        _ => true,
    }
}

fn again(error: &OutboxError) -> OutboxError {
    match error {
        OutboxError::Unavailable(error) => OutboxError::Unavailable(error.clone()),
        _ => OutboxError::Closed,
    }
}

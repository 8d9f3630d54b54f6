//! The outbox on SQLite: one process, one file, one writing thread, two reading ones.
//!
//! What one delivery costs here is told in README, "Figures". The file lock, not SQLite's, keeps a second process
//! out: leases live in memory and two schedulers over one file would both send.

mod checkpoint;
mod file;
mod group;
mod linking;
mod offline;
mod pending;
mod reader;
mod seen;
mod shared;
mod statements;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use super::{
    Accepted, Arrival, Aside, DeliveryRow, Due, EventRow, Expired, Filter, Fingerprint, Fleet, Gauges, Hold, Lease,
    Millis, Outbox, OutboxError, Place, Replay, ReplicaId, Routing, Settlement, Slot, State, Until,
};
use crate::clock::Clock;
use crate::delivery::{DeliveryId, EventId, Mark, Receipt};
use crate::event::SourceName;
use checkpoint::Checkpoints;
pub use file::free_bytes;
use file::{lock, migrate, open, ours, own_file, unreadable};
use group::Change;
use linking::Followers;
pub use offline::{FileState, SqliteFile};
use pending::Book;
use reader::Reader;
use seen::Seen;
use shared::{Shared, Told};
use statements::Segment;
use writer::{Answer, Request, Writer};

/// Requests that may wait for the writer; above it callers wait for a place.
const WAITING_REQUESTS: usize = 4_096;

/// A channel's name -> its row and its lane's row.
type Channels = HashMap<String, (i64, i64)>;

#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub path: PathBuf,
    pub reserve_mb: u64,
    pub max_pending: i64,
}

pub struct Sqlite {
    shared: Arc<Shared>,
    writer: Mutex<Option<Handle>>,
    requests: tokio::sync::Semaphore,
    lanes_reader: Reader,
    listings_reader: Reader,
    clock: Clock,
    opened_at: Millis,
    _only_one: File,
}

struct Handle {
    requests: mpsc::Sender<Request>,
    thread: std::thread::JoinHandle<()>,
}

impl Sqlite {
    /// Opens the file, making it and its folder (files 0600), brings its schema up to date and reads the lanes.
    ///
    /// # Errors
    /// One plain sentence each for: another process has it, not ours, of a newer version, cannot be opened.
    pub fn open(options: SqliteOptions, clock: Clock) -> Result<Self, OutboxError> {
        let path = options.path.clone();
        let opening = |what: &str| OutboxError::Opening(format!("{}: {what}", path.display()));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| opening(&format!("its folder cannot be made: {error}")))?;
        }
        let only_one = lock(&path).map_err(|why| opening(&why))?;
        own_file(&path).map_err(|error| opening(&format!("cannot be opened for writing: {error}")))?;
        ours(&path).map_err(|why| opening(&why))?;
        let mut db = open(&path, true).map_err(|error| opening(&unreadable(error)))?;
        migrate(&mut db).map_err(|why| opening(&why))?;

        let broken = |error: rusqlite::Error| opening(&unreadable(error));
        let mut book = Book::default();
        for (account, hold) in statements::accounts(&db).map_err(broken)? {
            book.lanes.hold_account(&account, hold.map(|hold| hold.at_start(clock.now_ms())));
        }
        let seen = Seen::read(&db, seen::KEPT).map_err(broken)?;
        let (last_event, last_delivery) = statements::last_ids(&db).map_err(broken)?;
        let ledger = statements::ledger(&db).map_err(broken)?;
        let followers = Followers::read(&db).map_err(broken)?;
        let shared = Arc::new(Shared::new(options, book, followers));
        shared.know_lanes(Told::read(&db).map_err(broken)?, clock.now_ms());
        shared.begin(&mut db).map_err(broken)?;
        let (requests, waiting) = mpsc::channel();
        let writer = Writer {
            db: Some(db),
            shared: shared.clone(),
            channels: Channels::default(),
            last_event,
            last_delivery,
            waiting: ledger.pending + ledger.to_route,
            expired: group::Walked::default(),
            seen,
            requests: waiting,
            log_given_back: None,
            checkpoints: Checkpoints::start(&path)
                .map_err(|error| opening(&format!("no thread for its log: {error}")))?,
        };
        let thread = std::thread::Builder::new()
            .name("outbox-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| opening(&format!("no thread for its writer: {error}")))?;
        let reader = |name| Reader::start(name, &path).map_err(|error| opening(&format!("cannot be read: {error}")));
        Ok(Self {
            shared,
            writer: Mutex::new(Some(Handle { requests, thread })),
            requests: tokio::sync::Semaphore::new(WAITING_REQUESTS),
            lanes_reader: reader("outbox-lanes")?,
            listings_reader: reader("outbox-listings")?,
            opened_at: clock.now_ms(),
            clock,
            _only_one: only_one,
        })
    }

    async fn change(&self, change: Change) -> Result<Answer, OutboxError> {
        let _place = self.requests.acquire().await.map_err(|_| OutboxError::Closed)?;
        let (answer, answered) = oneshot::channel();
        match &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(writer) => writer.requests.send(Request { change, answer }).map_err(|_| OutboxError::Closed)?,
            None => return Err(OutboxError::Closed),
        }
        answered.await.map_err(|_| OutboxError::Closed)?
    }

    /// What the lanes wait for stands in memory alone.
    fn add_waits<'r>(&self, rows: impl IntoIterator<Item = &'r mut DeliveryRow>) {
        let (now, book) = (self.clock.now_ms(), self.book());
        for row in rows.into_iter().filter(|row| row.state == State::Pending) {
            row.lane_wait = book.lanes.wait(row.lane, now);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }
}

#[async_trait]
impl Outbox for Sqlite {
    async fn place(&self, places: Vec<Place>) -> Result<(), OutboxError> {
        self.change(Change::Place { places, now: self.clock.now_ms() }).await.map(drop)
    }

    async fn accept(&self, arrival: Arrival) -> Result<Accepted, OutboxError> {
        match self.change(Change::Accept(arrival)).await? {
            Answer::Accepted(accepted) => Ok(accepted),
            Answer::Count(_) | Answer::Expired(_) | Answer::Done => Err(OutboxError::Closed),
        }
    }

    async fn called(
        &self,
        fingerprints: HashSet<Fingerprint>,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<(Fingerprint, Millis)>, OutboxError> {
        self.listings_reader.read(move |db| statements::called(db, &fingerprints, from, to)).await
    }

    async fn was_told(
        &self,
        source: &SourceName,
        kind: &str,
        issue: &str,
        from: Millis,
        to: Millis,
    ) -> Result<bool, OutboxError> {
        let told = [source.as_str(), kind, issue].map(str::to_owned);
        self.listings_reader.read(move |db| statements::was_told(db, &told, from, to)).await
    }

    async fn set_aside(&self, aside: Aside) -> Result<(), OutboxError> {
        self.change(Change::SetAside(aside)).await.map(drop)
    }

    async fn claim(&self, account: &str, most: usize) -> Result<Vec<Lease>, OutboxError> {
        let mut leases = self.book().lanes.claim(account, most, self.clock.now_ms());
        leases.iter_mut().for_each(|lease| lease.held.since = self.opened_at);
        Ok(leases)
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.book().lanes.holds(lease)
    }

    async fn heads(&self, lease: &Lease, most: usize) -> Result<Vec<Due>, OutboxError> {
        let lane = lease.lane;
        let (begin, (first, last)) = {
            let pending = &self.book().pending;
            (pending.begin(lane), pending.span(lane))
        };
        let heads = self.lanes_reader.read(move |db| statements::heads(db, lane, first, last, most)).await?;
        let begins = heads.first().map_or(last, |due| Segment::of(due.id.0));
        self.book().pending.begins_later(lane, begin, begins);
        Ok(heads)
    }

    async fn thread(&self, lease: &Lease, issue: &str) -> Result<Option<Receipt>, OutboxError> {
        let (lane, issue) = (lease.lane, issue.to_owned());
        self.lanes_reader.read(move |db| statements::thread(db, lane, &issue)).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), OutboxError> {
        self.change(Change::Settle(lease.clone(), settlement)).await.map(drop)
    }

    async fn route(&self, lease: &Lease, routing: Routing) -> Result<usize, OutboxError> {
        match self.change(Change::Route(lease.clone(), routing)).await? {
            Answer::Count(deliveries) => Ok(deliveries),
            Answer::Accepted(_) | Answer::Expired(_) | Answer::Done => Ok(0),
        }
    }

    fn release(&self, lease: Lease, until: Until) {
        self.book().lanes.release(&lease, until);
    }

    fn abandon(&self, lease: Lease, until: Until) {
        // Nobody waits for the answer; the writer takes it before whatever the lane's next holder settles. A writer that
        // has ended its work marks the lanes that are still leased: this one must stay so.
        if let Some(writer) = &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            let (answer, _) = oneshot::channel();
            let _ = writer.requests.send(Request { change: Change::Mark(lease.lane), answer });
            self.book().lanes.release(&lease, until);
        }
    }

    async fn work(&self, account: &str) {
        let work = self.book().lanes.work(account);
        work.notified().await;
    }

    fn next_due(&self, account: &str) -> Option<Millis> {
        self.book().lanes.next_due(account)
    }

    fn end_back_off(&self, account: &str) {
        self.book().lanes.end_back_off(account);
    }

    fn end_waits(&self, account: &str) {
        self.book().lanes.end_waits(account, self.clock.now_ms());
    }

    /// One process has them all.
    async fn trade_slots(
        &self,
        _account: &str,
        most: u32,
        _back: Vec<Slot>,
        _want: usize,
    ) -> Result<(ReplicaId, Vec<Slot>), OutboxError> {
        Ok((ReplicaId::default(), (0..most).map(|number| Slot { number, free_at: 0 }).collect()))
    }

    fn slots_wanted(&self, _account: &str) -> Option<usize> {
        None
    }

    async fn hold_account(&self, account: &str, hold: Option<Hold>) -> Result<(), OutboxError> {
        self.change(Change::HoldAccount(account.to_owned(), hold)).await.map(drop)
    }

    fn account_hold(&self, account: &str) -> Option<Hold> {
        self.book().lanes.account_hold(account)
    }

    fn accounts_held(&self) -> HashMap<String, Hold> {
        self.book().lanes.accounts_held()
    }

    async fn mark(&self, name: &str) -> Result<Option<i64>, OutboxError> {
        let name = name.to_owned();
        self.lanes_reader.read(move |db| statements::mark(db, &name)).await
    }

    async fn raise(&self, mark: Mark) -> Result<(), OutboxError> {
        self.change(Change::Raise { mark, at: self.clock.now_ms() }).await.map(drop)
    }

    async fn remember_move(&self, from: i64, to: i64) -> Result<(), OutboxError> {
        self.change(Change::Move { from, to }).await.map(drop)
    }

    async fn moves(&self) -> Result<HashMap<i64, i64>, OutboxError> {
        self.listings_reader.read(|db| Ok(statements::moved_chats(db)?.into_iter().collect())).await
    }

    fn can_write(&self) -> bool {
        *self.shared.writes.succeed.borrow()
    }

    fn writable(&self) -> watch::Receiver<bool> {
        self.shared.writes.succeed.subscribe()
    }

    fn since_last_write(&self) -> Duration {
        self.shared.writes.since_last()
    }

    async fn expire(&self, now: Millis, cutoff: Millis) -> Result<Expired, OutboxError> {
        match self.change(Change::Expire { now, cutoff }).await? {
            Answer::Expired(expired) => Ok(expired),
            Answer::Accepted(_) | Answer::Count(_) | Answer::Done => Ok(Expired::default()),
        }
    }

    async fn gauges(&self) -> Result<Gauges, OutboxError> {
        let shared = self.shared.clone();
        let now = self.clock.now_ms();
        self.listings_reader.read(move |db| shared.gauges(db, now)).await
    }

    fn fleet(&self) -> Option<Fleet> {
        None
    }

    async fn events(&self, filter: Filter) -> Result<Vec<EventRow>, OutboxError> {
        self.listings_reader.read(move |db| statements::events(db, &filter, false)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError> {
        self.listings_reader.read(move |db| statements::event(db, id)).await
    }

    async fn deliveries(&self, filter: Filter) -> Result<Vec<DeliveryRow>, OutboxError> {
        let mut rows = self.listings_reader.read(move |db| statements::deliveries(db, &filter, None)).await?;
        self.add_waits(&mut rows);
        Ok(rows)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError> {
        let mut row = self.listings_reader.read(move |db| statements::delivery(db, id)).await?;
        self.add_waits(&mut row);
        Ok(row)
    }

    async fn replay(&self, which: Replay, give_up_at: Millis) -> Result<usize, OutboxError> {
        match self.change(Change::Replay { which, give_up_at }).await? {
            Answer::Count(revived) => Ok(revived),
            Answer::Accepted(_) | Answer::Expired(_) | Answer::Done => Ok(0),
        }
    }

    async fn close(&self) {
        let handle = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Handle { requests, thread }) = handle {
            drop(requests);
            // The writer ends with its last group; joining must not block the runtime.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// The lock goes with the last field: until then the writer must have ended, or two would write.
impl Drop for Sqlite {
    fn drop(&mut self) {
        if let Some(Handle { requests, thread }) = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take()
        {
            drop(requests);
            let _ = thread.join();
        }
    }
}

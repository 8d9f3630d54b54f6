//! The outbox on SQLite: one process, one file, one writing thread, two reading ones.
//!
//! What one delivery costs here is told in README, "Figures". The file lock, not SQLite's, keeps a second process
//! out: leases live in memory and two schedulers over one file would both send.

mod checkpoint;
mod group;
mod lanes;
mod seen;
mod statements;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use tokio::sync::{oneshot, watch};

use super::{
    Accepted, Arrival, Aside, ChannelGauge, DeliveryRow, Due, EventRow, Expired, Filter, Gauges, Hold, Lease, Millis,
    Outbox, OutboxError, Place, Replay, Settlement, Until,
};
use crate::clock::Clock;
use crate::delivery::{DeliveryId, EventId};
use checkpoint::Checkpoints;
use group::Change;
use lanes::Lanes;
use seen::Seen;
use statements::Segment;
use writer::{Answer, Request, Writer};

/// "Camp" in ASCII, in the file's header: tells our files from other programs'.
const APPLICATION_ID: i32 = 0x4361_6d70;
const MIGRATIONS: &[M<'static>] = &[M::up(include_str!("../migrations/0001_outbox.sql"))];
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
    _only_one: File,
}

struct Handle {
    requests: mpsc::Sender<Request>,
    thread: std::thread::JoinHandle<()>,
}

/// What the writer and the callers both see.
struct Shared {
    options: SqliteOptions,
    lanes: Mutex<Lanes>,
    channels: Mutex<Vec<(i64, String)>>,
    writable: watch::Sender<bool>,
    started: Instant,
    /// Milliseconds after `started`.
    last_write: AtomicI64,
    commits: AtomicU64,
    statements: AtomicU64,
    commit_seconds: Mutex<Vec<f64>>,
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
        let mut db = open(&path, true).map_err(|error| opening(&format!("cannot be opened: {error}")))?;
        migrate(&mut db).map_err(|why| opening(&why))?;

        let broken = |error: rusqlite::Error| opening(&format!("cannot be read: {error}"));
        let mut lanes = Lanes::default();
        for (account, hold) in statements::accounts(&db).map_err(broken)? {
            lanes.hold_account(&account, hold.map(|hold| hold.at_start(clock.now_ms())));
        }
        let seen = Seen::read(&db, seen::KEPT).map_err(broken)?;
        let (last_event, last_delivery) = statements::last_ids(&db).map_err(broken)?;
        let pending = statements::ledger(&db).map_err(broken)?.pending;
        let shared = Arc::new(Shared {
            options,
            lanes: Mutex::new(lanes),
            channels: Mutex::default(),
            writable: watch::Sender::new(true),
            started: Instant::now(),
            last_write: AtomicI64::new(0),
            commits: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            commit_seconds: Mutex::default(),
        });
        shared.read_lanes(&db, clock.now_ms()).map_err(broken)?;
        shared.begin(&mut db).map_err(broken)?;
        let (requests, waiting) = mpsc::channel();
        let writer = Writer {
            db: Some(db),
            shared: shared.clone(),
            channels: Channels::default(),
            last_event,
            last_delivery,
            pending,
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

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.shared.lanes()
    }
}

#[async_trait]
impl Outbox for Sqlite {
    async fn place(&self, places: Vec<Place>) -> Result<(), OutboxError> {
        self.change(Change::Place(places)).await?;
        // Lanes may be new and deliveries may have moved: the memory is read again.
        let (shared, now) = (self.shared.clone(), self.clock.now_ms());
        self.listings_reader.read(move |db| shared.read_lanes(db, now)).await
    }

    async fn accept(&self, arrival: Arrival) -> Result<Accepted, OutboxError> {
        match self.change(Change::Accept(arrival)).await? {
            Answer::Accepted(accepted) => Ok(accepted),
            Answer::Count(_) | Answer::Expired(_) | Answer::Done => Err(OutboxError::Closed),
        }
    }

    async fn set_aside(&self, aside: Aside) -> Result<(), OutboxError> {
        self.change(Change::SetAside(aside)).await.map(drop)
    }

    async fn claim(&self, account: &str, most: usize) -> Result<Vec<Lease>, OutboxError> {
        Ok(self.lanes().claim(account, most, self.clock.now_ms()))
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.lanes().holds(lease)
    }

    async fn heads(&self, lease: &Lease, most: usize) -> Result<Vec<Due>, OutboxError> {
        let lane = lease.lane;
        let (first, last) = self.lanes().span(lane);
        let heads = self.lanes_reader.read(move |db| statements::heads(db, lane, first, last, most)).await?;
        let begins = heads.first().map_or(last, |due| Segment::of(due.id.0));
        self.lanes().begins_later(lane, first, begins);
        Ok(heads)
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), OutboxError> {
        self.change(Change::Settle(lease.clone(), settlement)).await.map(drop)
    }

    fn release(&self, lease: Lease, until: Until) {
        self.lanes().release(&lease, until);
    }

    fn abandon(&self, lease: Lease, until: Until) {
        // Nobody waits for the answer; the writer takes it before whatever the lane's next holder settles.
        if let Some(writer) = &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            let (answer, _) = oneshot::channel();
            let _ = writer.requests.send(Request { change: Change::Mark(lease.lane), answer });
        }
        self.lanes().release(&lease, until);
    }

    async fn work(&self, account: &str) {
        let work = self.lanes().work(account);
        work.notified().await;
    }

    fn next_due(&self, account: &str) -> Option<Millis> {
        self.lanes().next_due(account)
    }

    fn end_back_off(&self, account: &str) {
        self.lanes().end_back_off(account);
    }

    async fn hold_account(&self, account: &str, hold: Option<Hold>) -> Result<(), OutboxError> {
        self.change(Change::HoldAccount(account.to_owned(), hold)).await.map(drop)
    }

    fn account_hold(&self, account: &str) -> Option<Hold> {
        self.lanes().account_hold(account)
    }

    async fn remember_move(&self, from: i64, to: i64) -> Result<(), OutboxError> {
        self.change(Change::Move { from, to }).await.map(drop)
    }

    async fn moves(&self) -> Result<HashMap<i64, i64>, OutboxError> {
        self.listings_reader.read(|db| Ok(statements::moved_chats(db)?.into_iter().collect())).await
    }

    fn can_write(&self) -> bool {
        *self.shared.writable.borrow()
    }

    fn writable(&self) -> watch::Receiver<bool> {
        self.shared.writable.subscribe()
    }

    fn since_last_write(&self) -> Duration {
        let at = Duration::from_millis(self.shared.last_write.load(Ordering::Relaxed).max(0) as u64);
        self.shared.started.elapsed().saturating_sub(at)
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

    async fn events(&self, filter: Filter) -> Result<Vec<EventRow>, OutboxError> {
        self.listings_reader.read(move |db| statements::events(db, &filter, false)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError> {
        let filter = Filter { event: Some(id.0), limit: 1, ..Filter::default() };
        self.listings_reader.read(move |db| Ok(statements::events(db, &filter, true)?.pop())).await
    }

    async fn deliveries(&self, filter: Filter) -> Result<Vec<DeliveryRow>, OutboxError> {
        self.listings_reader.read(move |db| statements::deliveries(db, &filter, None)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError> {
        self.listings_reader
            .read(move |db| {
                let filter = Filter { limit: 1, ..Filter::default() };
                let Some(mut row) = statements::deliveries(db, &filter, Some(id))?.pop() else { return Ok(None) };
                row.failed_attempts = Some(statements::attempts(db, id)?);
                Ok(Some(row))
            })
            .await
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

impl Shared {
    /// Why accepts are refused, when less than the reserve is free.
    fn reserve_is_reached(&self) -> Option<impl Fn() -> OutboxError + use<>> {
        let reserve_mb = self.options.reserve_mb;
        let folder = self.options.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let free = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
        let short = free.f_bavail.saturating_mul(free.f_frsize) < reserve_mb.saturating_mul(1024 * 1024);
        short.then_some(move || OutboxError::ReserveReached { reserve_mb })
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the store. Whoever had it and did not close it died, perhaps between a message and its settle: the head of
    /// each lane may stand in its channel.
    fn begin(&self, db: &mut Connection) -> rusqlite::Result<()> {
        let begin = db.transaction()?;
        if !statements::is_closed(&begin)? {
            let lanes = self.lanes();
            for lane in lanes.lanes_with_pending() {
                statements::mark_head(&begin, lane, lanes.span(lane))?;
            }
        }
        statements::set_closed(&begin, false)?;
        begin.commit()
    }

    /// Leaves the store in order. Whoever still holds a lane was cut off.
    fn end(&self, db: &mut Connection) -> rusqlite::Result<()> {
        let end = db.transaction()?;
        let lanes = self.lanes();
        for lane in lanes.leased() {
            statements::mark_head(&end, lane, lanes.span(lane))?;
        }
        statements::set_closed(&end, true)?;
        end.commit()
    }

    fn open_writable(&self) -> rusqlite::Result<Connection> {
        open(&self.options.path, true)
    }

    fn committed(&self, took: Duration) {
        self.last_write.store(self.started.elapsed().as_millis() as i64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut seconds = self.commit_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() < 4_096 {
            seconds.push(took.as_secs_f64());
        }
        drop(seconds);
        if self.writable.send_if_modified(|writable| !std::mem::replace(writable, true)) {
            tracing::info!("the store can be written again");
        }
    }

    fn failed(&self, error: &rusqlite::Error) {
        if self.writable.send_if_modified(|writable| std::mem::replace(writable, false)) {
            tracing::error!(%error, "the store cannot be written: accepts are answered 500 and no lane sends until it can");
        }
    }

    fn count_statements(&self, more: u64) {
        self.statements.fetch_add(more, Ordering::Relaxed);
    }

    fn channels_changed(&self, channels: &Channels) {
        let names = channels.iter().map(|(name, (id, _))| (*id, name.clone())).collect();
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Brings the memory of the lanes up to what the tables say. Leases stay.
    fn read_lanes(&self, db: &Connection, now: Millis) -> rusqlite::Result<()> {
        let rows = statements::lanes(db)?;
        let pending = statements::pending_by_lane(db)?;
        let last = Segment::of(statements::last_ids(db)?.1);
        let names = statements::channels(db)?.into_iter().map(|(id, name, _)| (id, name)).collect();
        let mut lanes = self.lanes();
        for row in rows {
            lanes.add_lane(row.id, &row.account, row.hold.map(|hold| hold.at_start(now)));
        }
        lanes.count_anew(&pending, last);
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    fn gauges(&self, db: &Connection, now: Millis) -> rusqlite::Result<Gauges> {
        let names: HashMap<i64, String> =
            self.channels.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let (pending, busy, lanes_held, accounts_held) = {
            let lanes = self.lanes();
            let pending: Vec<_> = lanes.channels_with_pending().collect();
            let busy: Vec<_> = lanes.lanes_with_pending().map(|lane| (lane, lanes.span(lane))).collect();
            (pending, busy, lanes.held_by_account(now), lanes.accounts_held())
        };
        let mut channels: HashMap<String, ChannelGauge> =
            names.values().map(|name| (name.clone(), ChannelGauge::default())).collect();
        for (channel, pending) in pending {
            if let Some(gauge) = names.get(&channel).and_then(|name| channels.get_mut(name)) {
                gauge.pending = pending.max(0) as u64;
            }
        }
        for (lane, span) in busy {
            let Some((_, channel, planned_at)) = statements::oldest_of_lane(db, lane, span)? else { continue };
            if let Some(gauge) = names.get(&channel).and_then(|name| channels.get_mut(name)) {
                gauge.oldest = Some(gauge.oldest.map_or(planned_at, |oldest| oldest.min(planned_at)));
            }
        }
        Ok(Gauges {
            ledger: statements::ledger(db)?,
            channels,
            lanes_held,
            accounts_held,
            commits: self.commits.load(Ordering::Relaxed),
            statements: self.statements.load(Ordering::Relaxed),
            commit_seconds: std::mem::take(&mut self.commit_seconds.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }
}

/// A thread with a connection of its own that only reads.
struct Reader {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

impl Reader {
    fn start(name: &str, path: &Path) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let path = path.to_owned();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            let mut db = None;
            for job in waiting {
                if db.is_none() {
                    db = open(&path, false).ok();
                }
                job(&mut db);
            }
        })?;
        Ok(Self { jobs })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let end = match db.as_ref() {
                Some(open) => work(open),
                None => Err(rusqlite::Error::InvalidPath("the store cannot be opened for reading".into())),
            };
            if matches!(&end, Err(rusqlite::Error::SqliteFailure(..))) {
                *db = None; // a connection that failed is opened anew
            }
            let _ = answer.send(end);
        });
        self.jobs.send(job).map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?.map_err(|error| OutboxError::Unavailable(Arc::new(error)))
    }
}

/// The lock of the whole store: held while this process lives, gone with it.
fn lock(path: &Path) -> Result<File, String> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let file =
        own_file(&beside).map_err(|error| format!("its lock file {} cannot be made: {error}", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err("another campanile is running on this store; stop it first, or give this one another `store:`".into())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(format!("its lock file cannot be locked: {error}")),
    }
}

/// Opens or makes a file that only its owner may read.
fn own_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn open(path: &Path, writes: bool) -> rusqlite::Result<Connection> {
    let access = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.set_prepared_statement_cache_capacity(64);
    db.busy_timeout(statements::BUSY)?;
    // Without it a statement whose plan could depend on a bound value is prepared anew whenever that value changes.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "cache_size", if writes { -16_000 } else { -4_000 })?;
    if writes {
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        checkpoint::count_pages(&db);
        db.pragma_update(None, "temp_store", "memory")?;
    }
    Ok(db)
}

/// Refuses another program's file before anything in it is changed: [`open`] would give it our journal.
fn ours(path: &Path) -> Result<(), String> {
    let unreadable = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => "is no SQLite file; give another path in `store:`".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, access).map_err(unreadable)?;
    let read = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(unreadable);
    match (read("pragma application_id")?, read("select count(*) from sqlite_schema")?) {
        (_, 0) => Ok(()),
        (id, _) if id == i64::from(APPLICATION_ID) => Ok(()),
        _ => Err("belongs to another program; give another path in `store:`".into()),
    }
}

fn migrate(db: &mut Connection) -> Result<(), String> {
    let marked = db.pragma_update(None, "application_id", APPLICATION_ID);
    marked.map_err(|error| format!("cannot be marked as ours: {error}"))?;
    Migrations::from_slice(MIGRATIONS).to_latest(db).map_err(|error| match error {
        rusqlite_migration::Error::MigrationDefinition(
            rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
        ) => "was written by a newer campanile; run that version, or restore a backup from before the upgrade".into(),
        other => format!("its schema cannot be brought up to date: {other}"),
    })
}

//! The connections to the database: bounded in number, and none waits for ever.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult, Timeouts};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, Socket, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::url::{self, PostgresUrl};
use super::words::words;
use crate::clock::Clock;

/// For accepts, settles, heads, claims, listings and the lease, with a few to spare while one is made anew.
const CONNECTIONS: usize = 8;
/// Of these for what may take long and can wait: listings, sums, retention.
const FOR_LATER: usize = 2;
/// For a connection out of the pool.
const FREE_WITHIN: Duration = Duration::from_secs(5);
/// With one host: from the look-up of its name to the end of the login.
const LOGIN_WITHIN: Duration = Duration::from_secs(5);
/// Then a statement is cancelled and its connection given up: a lock is held, or the network swallows packets.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
const IDLE_WITHIN: &str = "set local idle_in_transaction_session_timeout = '5s'";
/// Time is counted in these: a process that was suspended has waited for one.
const STEP: Duration = Duration::from_secs(1);
/// After a failure nobody tries for so long, so that a database which comes back is not run down.
const REST_MS: std::ops::Range<u64> = 100..400;

/// What runs a connection; ends with it.
pub type Link = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreached {
    /// Of each host, when there are several.
    #[error("{0}")]
    Refused(Arc<str>),
    #[error("all {} connections to the database for this were busy for {} s", .0, FREE_WITHIN.as_secs())]
    Busy(usize),
    #[error("the connections to the database are closed")]
    Closed,
}

/// The hosts of one database.
pub struct Database {
    hosts: Vec<Config>,
    tls: MakeRustlsConnect,
    clock: Clock,
    /// The host that answered last, which is asked first.
    answered: AtomicUsize,
    /// Held by who tries: one at a time.
    trying: tokio::sync::Mutex<Trying>,
}

struct Trying {
    random: fastrand::Rng,
    /// Until when nobody tries, and why.
    rest: Option<(Instant, Unreached)>,
}

impl Database {
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(url: &PostgresUrl, clock: Clock, random: fastrand::Rng) -> Result<Self, String> {
        Ok(Self {
            hosts: url.hosts().to_vec(),
            tls: url.connector()?,
            clock,
            answered: AtomicUsize::default(),
            trying: tokio::sync::Mutex::new(Trying { random, rest: None }),
        })
    }

    /// To the first host that can be written, from the one on that answered last. Cancel safe.
    pub async fn connect(&self) -> Result<(Client, Link), Unreached> {
        let mut trying = self.trying.lock().await;
        if let Some((until, unreached)) = &trying.rest
            && Instant::now() < *until
        {
            return Err(unreached.clone());
        }
        let first = self.answered.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for at in (0..self.hosts.len()).map(|n| (first + n) % self.hosts.len()) {
            let host = &self.hosts[at];
            let end = tokio::select! {
                end = host.connect(self.tls.clone()) => end.map_err(|error| words(&error)),
                () = steps(&self.clock, LOGIN_WITHIN) => {
                    Err(format!("no answer within {} s; are host and port right?", LOGIN_WITHIN.as_secs()))
                }
            };
            match end {
                Ok(both) => {
                    self.answered.store(at, Ordering::Relaxed);
                    trying.rest = None;
                    return Ok(both);
                }
                Err(why) if self.hosts.len() == 1 => failures.push(why),
                Err(why) => failures.push(format!("{}: {why}", url::host(host))),
            }
        }
        let unreached = Unreached::Refused(failures.join("; ").into());
        let rest = Duration::from_millis(trying.random.u64(REST_MS));
        trying.rest = Some((Instant::now() + rest, unreached.clone()));
        Err(unreached)
    }
}

impl Database {
    /// What is answered outside of the pool, in time.
    pub async fn answer<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        tokio::select! {
            end = answer => end.map_err(|error| words(&error)),
            () = steps(&self.clock, ANSWERS_WITHIN) => Err(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())),
        }
    }
}

/// Returns when so much time has passed, of which each leap counts for one step.
async fn steps(clock: &Clock, time: Duration) {
    for _ in 0..time.as_secs() {
        clock.sleep(STEP).await;
    }
}

/// Connections that are made when they are wanted.
pub struct Pool {
    connections: managed::Pool<Manager>,
    for_later: Arc<Semaphore>,
    /// Somebody needs his no more.
    returned: Arc<Notify>,
}

impl Pool {
    /// # Errors
    /// None that is known.
    pub fn new(database: Arc<Database>) -> Result<Self, String> {
        let timeouts = Timeouts { wait: Some(FREE_WITHIN), create: None, recycle: None };
        let manager = Manager { database, links: TaskTracker::new() };
        let pool = managed::Pool::builder(manager).max_size(CONNECTIONS).timeouts(timeouts).runtime(Runtime::Tokio1);
        // The server's process that answered last has what it needs at hand.
        let pool = pool.queue_mode(managed::QueueMode::Lifo);
        let connections = pool.build().map_err(|error| error.to_string())?;
        Ok(Self { connections, for_later: Arc::new(Semaphore::new(FOR_LATER)), returned: Arc::default() })
    }

    /// Where the database gives no more connections than there are (it has no more, or takes no log-ins now), one of these
    /// is waited for.
    pub async fn get(&self) -> Result<Db, Unreached> {
        let too_late = self.too_late();
        tokio::pin!(too_late);
        loop {
            let returned = self.returned.notified();
            let unreached = match self.connections.get().await {
                Ok(connection) => return Ok(Db::new(connection, Returned(self.returned.clone()))),
                Err(PoolError::Backend(unreached)) => unreached,
                Err(PoolError::Timeout(_)) => return Err(Unreached::Busy(CONNECTIONS)),
                Err(_) => return Err(Unreached::Closed),
            };
            if self.connections.status().size == 0 {
                return Err(unreached);
            }
            tokio::select! {
                () = returned => {}
                () = &mut too_late => return Err(unreached),
            }
        }
    }

    /// One of the few for what may take long and can wait.
    pub async fn get_for_later(&self) -> Result<Db, Unreached> {
        let turn = tokio::select! {
            turn = self.for_later.clone().acquire_owned() => turn.map_err(|_| Unreached::Closed)?,
            () = self.too_late() => return Err(Unreached::Busy(FOR_LATER)),
        };
        Ok(Db { _turn: Some(turn), ..self.get().await? })
    }

    async fn too_late(&self) {
        steps(&self.connections.manager().database.clock, FREE_WITHIN).await;
    }

    /// Gives up what is not in use: it leads to a host that must be left.
    pub fn leave(&self) {
        self.connections.retain(|_, _| false);
    }

    pub fn close(&self) {
        self.connections.close();
        self.for_later.close();
    }
}

/// Says so when its holder has given the connection back.
struct Returned(Arc<Notify>);

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// A connection that its holder waits on: it is cut when he has it for [`ANSWERS_WITHIN`].
pub struct Db {
    connection: Waited,
    _turn: Option<OwnedSemaphorePermit>,
    _returned: Returned, // the last: what it says is true then
}

impl Db {
    fn new(connection: managed::Object<Manager>, returned: Returned) -> Self {
        connection.watched.begin();
        Self { connection: Waited(connection), _turn: None, _returned: returned }
    }
}

/// A connection while somebody waits on it.
struct Waited(managed::Object<Manager>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.watched.end();
    }
}

impl Deref for Db {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection.0
    }
}

impl DerefMut for Db {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection.0
    }
}

/// Counts the times that somebody began and ended to wait: an odd number while somebody waits.
#[derive(Default)]
pub struct Watched(AtomicU64);

impl Watched {
    fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when one and the same thing was waited for too long.
    async fn for_too_long(&self, clock: &Clock) {
        let (mut seen, mut steps) = (0, 0);
        while steps < ANSWERS_WITHIN.as_secs() {
            clock.sleep(STEP).await;
            let now = self.0.load(Ordering::Relaxed);
            steps = if now % 2 == 1 && now == seen { steps + 1 } else { 0 };
            seen = now;
        }
    }
}

/// One connection of the pool.
pub struct Connection {
    client: Client,
    watched: Arc<Watched>,
}

impl Connection {
    /// A transaction that the server ends if its process stands still within: what it has locked, others wait for.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        let transaction = self.client.transaction().await?;
        transaction.batch_execute(IDLE_WITHIN).await?;
        Ok(transaction)
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

struct Manager {
    database: Arc<Database>,
    links: TaskTracker,
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Unreached;

    async fn create(&self) -> Result<Connection, Unreached> {
        let (client, link) = self.database.connect().await?;
        let watched = Arc::<Watched>::default();
        self.links.spawn(run(link, client.cancel_token(), self.database.clone(), watched.clone()));
        Ok(Connection { client, watched })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Unreached> {
        match connection.client.is_closed() {
            true => Err(RecycleError::message("closed")),
            false => Ok(()),
        }
    }
}

/// Runs a connection to its end. Whoever waits then hears that it is closed.
async fn run(link: Link, cancel: tokio_postgres::CancelToken, database: Arc<Database>, watched: Arc<Watched>) {
    let mut link = pin!(link);
    tokio::select! {
        end = &mut link => {
            if let Err(error) = end {
                debug!(error = words(&error), "a connection to the database has ended");
            }
            return;
        }
        () = watched.for_too_long(&database.clock) => {}
    }
    warn!("the database gave no answer for {} s; the statement is cancelled", ANSWERS_WITHIN.as_secs());
    let cancelled = async {
        tokio::select! {
            _ = cancel.cancel_query(database.tls.clone()) => {}
            () = steps(&database.clock, STEP) => {}
        }
        steps(&database.clock, STEP).await;
    };
    // It may still answer that it was cancelled, which says more than a connection that was cut.
    tokio::select! {
        _ = link => {}
        () = cancelled => {}
    }
}

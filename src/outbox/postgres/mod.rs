//! The outbox on PostgreSQL: any number of replicas share it.
//!
//! A replica has one lease (a row that it renews) and holds the lanes that name it. It alone sends from them, by the same
//! line in memory as on SQLite, until it gives them up or its lease is ended by another. Nothing here compares two
//! machines' clocks: a lease is ended when somebody has watched it not being renewed for [`keeper::DEAD_AFTER`], by
//! his own clock that only moves forward; and its holder stops sending before, by its own.

mod batch;
mod book;
mod claiming;
mod connect;
mod core;
mod encryption;
mod expiring;
mod keeper;
mod line;
mod linking;
mod look;
mod migrate;
mod pending;
mod placing;
mod reading;
mod routing;
mod settling;
mod statements;
mod taking;
mod url;
mod wire;
mod words;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::connect::{Database, Db, Pool};
use self::core::{Core, Refusal};
use self::line::Line;
pub use self::look::PostgresLook;
use self::reading::Wanted;
pub use self::url::PostgresUrl;
use super::{
    Accepted, Arrival, Aside, DeliveryRow, Due, EventRow, Expired, Filter, Fingerprint, Fleet, Gauges, Hold, Lease,
    Millis, Outbox, OutboxError, Place, Replay, ReplicaId, Routing, Settlement, Slot, State, Until,
};
use crate::clock::Clock;
use crate::delivery::{DeliveryId, EventId, Mark, Receipt};
use crate::event::{ChannelName, SourceName};

/// Dead letters made due again in one transaction.
const REPLAY_BATCH: i64 = 1_000;
/// Whoever stops the process waits little longer than `shutdown_seconds`.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);
/// Rows of the ledger.
const SHARDS: i16 = 32;

#[derive(Clone)]
pub struct PostgresOptions {
    pub url: PostgresUrl,
    pub max_pending: i64,
}

pub struct Postgres {
    core: Arc<Core>,
    accepts: Line<Arrival, Accepted>,
    asides: Line<Aside, ()>,
    heads: Line<Wanted, Vec<Due>>,
    settles: Line<(Lease, Settlement), ()>,
    followers: Line<String, Vec<ChannelName>>,
    links: Line<linking::Turn, Option<Accepted>>,
    walked: expiring::Walk,
    closing: CancellationToken,
    lines: Mutex<JoinSet<()>>,
    keeper: Mutex<JoinSet<()>>,
}

impl Postgres {
    /// Connects, brings the schema up to date, begins a lease.
    ///
    /// # Errors
    /// One plain sentence each for: cannot be reached, password, rights, not ours, of a newer version.
    pub async fn open(options: PostgresOptions, clock: Clock, random: &mut fastrand::Rng) -> Result<Self, OutboxError> {
        let place = options.url.place();
        let opening = |why: String| OutboxError::Opening(format!("{place}: {why}"));
        let database = Arc::new(Database::new(&options.url, clock.clone(), random.fork()).map_err(opening)?);
        let (mut first, connection) = database.connect().await.map_err(|error| opening(error.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        migrate::migrate(&mut first).await.map_err(opening)?;
        drop(first);
        while tasks.join_next().await.is_some() {}

        let pool = Pool::new(database.clone()).map_err(opening)?;
        let core = Arc::new(Core::new(pool, clock, options.max_pending, random.i16(0..SHARDS)));
        let told = |refusal: Refusal| opening(chain(&core.unanswered(refusal)));
        keeper::begin(&core).await.map_err(told)?;
        let closing = CancellationToken::new();
        let (accepts, to_take) = Line::new(closing.clone());
        let (asides, to_set_aside) = Line::new(closing.clone());
        let (heads, to_read) = Line::new(closing.clone());
        let (settles, to_settle) = Line::new(closing.clone());
        let (followers, to_follow) = Line::new(closing.clone());
        let (links, to_link) = Line::new(closing.clone());
        let mut lines = JoinSet::new();
        lines.spawn(taking::take(core.clone(), to_take));
        lines.spawn(taking::set_aside(core.clone(), to_set_aside));
        lines.spawn(reading::read(core.clone(), to_read));
        lines.spawn(settling::settle(core.clone(), to_settle));
        lines.spawn(linking::follow(core.clone(), to_follow));
        lines.spawn(linking::turn(core.clone(), to_link));
        let mut keeper = JoinSet::new();
        keeper.spawn(keeper::keep(core.clone(), closing.clone()));
        keeper.spawn(wire::tell(core.clone(), closing.clone()));
        keeper.spawn(wire::hear(core.clone(), database, closing.clone(), random.fork()));
        Ok(Self {
            core,
            accepts,
            asides,
            heads,
            settles,
            followers,
            links,
            walked: expiring::Walk::default(),
            closing,
            lines: Mutex::new(lines),
            keeper: Mutex::new(keeper),
        })
    }

    /// Ends the leases of all other replicas, as when they were watched long enough. Only for who knows that none lives.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_others(&self) -> Result<(), OutboxError> {
        keeper::end_others(&self.core).await.map_err(|refusal| self.unanswered(refusal))
    }

    async fn db(&self) -> Result<Db, OutboxError> {
        if self.closing.is_cancelled() {
            return Err(OutboxError::Closed);
        }
        self.core.asked();
        self.core.db().await.map_err(|refusal| self.core.unanswered(refusal))
    }

    /// For what may take long and can wait: it never has all connections.
    async fn db_for_later(&self) -> Result<Db, OutboxError> {
        if self.closing.is_cancelled() {
            return Err(OutboxError::Closed);
        }
        self.core.asked();
        self.core.pool.get_for_later().await.map_err(|unreached| self.unanswered(unreached))
    }

    fn unanswered(&self, refusal: impl Into<Refusal>) -> OutboxError {
        self.core.unanswered(refusal.into())
    }

    fn add_wait(&self, row: &mut DeliveryRow) {
        if row.state == State::Pending {
            row.lane_wait = self.core.book().lanes.wait(row.lane, self.core.clock.now_ms());
        }
    }
}

#[async_trait]
impl Outbox for Postgres {
    async fn place(&self, places: Vec<Place>) -> Result<(), OutboxError> {
        placing::place(&self.core, places).await.map_err(|refusal| self.core.failed(refusal))?;
        // The channels are led: whether this look succeeds, the keeper looks again soon.
        if let Err(refusal) = keeper::look(&self.core, false).await {
            self.unanswered(refusal);
        }
        Ok(())
    }

    async fn accept(&self, arrival: Arrival) -> Result<Accepted, OutboxError> {
        self.accepts.ask(arrival).await
    }

    async fn called(
        &self,
        fingerprints: HashSet<Fingerprint>,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<(Fingerprint, Millis)>, OutboxError> {
        let calls = statements::called(&**self.db().await?, &fingerprints, from, to).await;
        calls.map_err(|error| self.unanswered(error))
    }

    async fn was_told(
        &self,
        source: &SourceName,
        kind: &str,
        issue: &str,
        from: Millis,
        to: Millis,
    ) -> Result<bool, OutboxError> {
        let told = statements::was_told(&**self.db().await?, [source.as_str(), kind, issue], from, to).await;
        told.map_err(|error| self.unanswered(error))
    }

    async fn set_aside(&self, aside: Aside) -> Result<(), OutboxError> {
        self.asides.ask(aside).await
    }

    async fn claim(&self, account: &str, most: usize) -> Result<Vec<Lease>, OutboxError> {
        claiming::claim(&self.core, account, most).await
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.core.is_certain() && self.core.book().is_current(lease)
    }

    async fn heads(&self, turn: &Lease, most: usize) -> Result<Vec<Due>, OutboxError> {
        let lane = turn.lane;
        let told = {
            let mut book = self.core.book();
            if book.is_through(turn) {
                book.lanes.expect_nothing(lane);
                return Ok(Vec::new());
            }
            book.told(lane)
        };
        let heads = self.heads.ask(Wanted { lane, most }).await?;
        let mut book = self.core.book();
        if heads.is_empty() {
            book.found_empty(lane, told);
        } else if heads.len() < most {
            book.gave_all(turn, told, heads.len());
        }
        Ok(heads)
    }

    async fn thread(&self, lease: &Lease, issue: &str) -> Result<Option<Receipt>, OutboxError> {
        let thread = statements::thread(&**self.db().await?, lease.lane, issue).await;
        thread.map_err(|error| self.unanswered(error))
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), OutboxError> {
        self.settles.ask((lease.clone(), settlement)).await
    }

    async fn route(&self, lease: &Lease, routing: Routing) -> Result<usize, OutboxError> {
        routing::route(&self.core, lease, &routing).await.map_err(|refusal| self.core.failed(refusal))
    }

    fn release(&self, lease: Lease, until: Until) {
        self.core.book().lanes.release(&lease, until);
    }

    fn abandon(&self, turn: Lease, until: Until) {
        let core = self.core.clone();
        let marking = async move {
            let end = async {
                let lease = core.lease()?;
                let served = core.book().served(turn.lane);
                statements::mark_head(&**core.db().await?, lease, served).await?;
                Ok::<_, Refusal>(())
            };
            if let Err(refusal) = end.await {
                let error = core.unanswered(refusal);
                tracing::warn!(lane = turn.lane.0, %error, "what was being sent could not be marked");
            }
            core.book().lanes.release(&turn, until);
        };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).spawn(marking);
    }

    async fn work(&self, account: &str) {
        let work = self.core.book().lanes.work(account);
        work.notified().await;
    }

    fn next_due(&self, account: &str) -> Option<Millis> {
        self.core.book().lanes.next_due(account)
    }

    fn end_back_off(&self, account: &str) {
        self.core.book().lanes.end_back_off(account);
    }

    fn end_waits(&self, account: &str) {
        self.core.book().lanes.end_waits(account, self.core.clock.now_ms());
    }

    async fn trade_slots(
        &self,
        account: &str,
        most: u32,
        back: Vec<Slot>,
        want: usize,
    ) -> Result<(ReplicaId, Vec<Slot>), OutboxError> {
        let lease = self.core.lease()?;
        let trade = async {
            let db = self.core.db().await?;
            let mut got = statements::trade_slots(&**db, lease, account, most, &back, want).await?;
            if got.len() < want && self.core.book().slots_made.get(account).is_none_or(|made| *made < most) {
                statements::make_slots(&**db, account, most).await?;
                self.core.book().slots_made.insert(account.to_owned(), most);
                got.extend(statements::trade_slots(&**db, lease, account, most, &[], want - got.len()).await?);
            }
            Ok::<_, Refusal>(got)
        };
        let got = trade.await.map_err(|refusal| self.unanswered(refusal))?;
        if got.len() < want {
            self.core.wire.slots_wanted(account);
        }
        Ok((ReplicaId(lease), got))
    }

    fn slots_wanted(&self, account: &str) -> Option<usize> {
        let mut book = self.core.book();
        book.slots_wanted.remove(account).then(|| book.replicas().max(1))
    }

    async fn hold_account(&self, account: &str, hold: Option<Hold>) -> Result<(), OutboxError> {
        let (known, asked_at) = {
            let book = self.core.book(); // it goes back together with the time
            (book.lanes.account_hold(account), self.core.clock.now_ms())
        };
        let db = self.db().await?;
        // Until there was a connection the time may have gone back.
        let now = self.core.our_time();
        let back = (asked_at - self.core.clock.now_ms()).max(0);
        let (hold, known) = (hold.map(|hold| hold.earlier(back)), known.map(|hold| hold.earlier(back)));
        let end = statements::hold_account(&**db, now, account, hold.as_ref(), known.as_ref()).await;
        end.map_err(|error| self.unanswered(error))?;
        self.core.book().wrote_hold(account, hold);
        self.core.wire.holds_changed();
        Ok(())
    }

    fn account_hold(&self, account: &str) -> Option<Hold> {
        self.core.book().lanes.account_hold(account)
    }

    fn accounts_held(&self) -> HashMap<String, Hold> {
        self.core.book().lanes.accounts_held()
    }

    async fn mark(&self, name: &str) -> Result<Option<i64>, OutboxError> {
        statements::mark(&**self.db().await?, name).await.map_err(|error| self.unanswered(error))
    }

    async fn raise(&self, mark: Mark) -> Result<(), OutboxError> {
        let raised = statements::raise(&**self.db().await?, &mark, self.core.clock.now_ms()).await;
        raised.map_err(|error| self.unanswered(error))
    }

    async fn remember_move(&self, from: i64, to: i64) -> Result<(), OutboxError> {
        statements::move_chat(&**self.db().await?, from, to).await.map_err(|error| self.unanswered(error))
    }

    async fn moves(&self) -> Result<HashMap<i64, i64>, OutboxError> {
        let moves = statements::moved_chats(&**self.db().await?).await;
        Ok(moves.map_err(|error| self.unanswered(error))?.into_iter().collect())
    }

    fn can_write(&self) -> bool {
        self.core.can_write()
    }

    fn writable(&self) -> watch::Receiver<bool> {
        self.core.writes.succeed.subscribe()
    }

    fn since_last_write(&self) -> Duration {
        self.core.writes.since_last()
    }

    async fn expire(&self, now: Millis, cutoff: Millis) -> Result<Expired, OutboxError> {
        let mut db = self.db_for_later().await?;
        expiring::expire(&mut db, &self.walked, now, cutoff).await.map_err(|error| self.unanswered(error))
    }

    async fn gauges(&self) -> Result<Gauges, OutboxError> {
        let db = self.db_for_later().await?;
        let all = async {
            Ok::<_, statements::Failed>((statements::ledger(&**db).await?, statements::channels(&**db).await?))
        };
        let (ledger, channels) = all.await.map_err(|error| self.unanswered(error))?;
        let (lanes_held, accounts_held) = {
            let book = self.core.book();
            (book.lanes.held_by_account(self.core.clock.now_ms()), book.lanes.accounts_held())
        };
        let mut gauges = Gauges { ledger, channels, lanes_held, accounts_held, ..Gauges::default() };
        self.core.writes.add_to(&mut gauges);
        Ok(gauges)
    }

    fn fleet(&self) -> Option<Fleet> {
        Some(Fleet { replicas: self.core.book().replicas(), wakes: self.core.wire.hears.load(Ordering::Relaxed) })
    }

    async fn events(&self, filter: Filter) -> Result<Vec<EventRow>, OutboxError> {
        statements::events(&**self.db_for_later().await?, &filter, false).await.map_err(|error| self.unanswered(error))
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError> {
        statements::event(&**self.db_for_later().await?, id).await.map_err(|error| self.unanswered(error))
    }

    async fn deliveries(&self, filter: Filter) -> Result<Vec<DeliveryRow>, OutboxError> {
        let rows = statements::deliveries(&**self.db_for_later().await?, &filter, None).await;
        let mut rows = rows.map_err(|error| self.unanswered(error))?;
        rows.iter_mut().for_each(|row| self.add_wait(row));
        Ok(rows)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError> {
        let row = statements::delivery(&**self.db_for_later().await?, id).await;
        let mut row = row.map_err(|error| self.unanswered(error))?;
        row.iter_mut().for_each(|row| self.add_wait(row));
        Ok(row)
    }

    async fn replay(&self, which: Replay, give_up_at: Millis) -> Result<usize, OutboxError> {
        let began = Instant::now();
        let db = self.db().await?;
        let ids = match &which {
            Replay::One(id) => vec![id.0],
            Replay::Channel(name) => {
                let channel = statements::channel(&**db, name).await.map_err(|error| self.unanswered(error))?;
                let channel = channel.ok_or_else(|| OutboxError::UnknownChannel(name.clone()))?;
                let dead = statements::dead_of_channel(&**db, channel, REPLAY_BATCH).await;
                dead.map_err(|error| self.unanswered(error))?
            }
        };
        let revived = statements::replay(&**db, &ids, give_up_at, self.core.shard).await;
        let revived = revived.map_err(|error| self.core.failed(error.into()))?;
        self.core.committed(began);
        if let (Replay::One(id), true) = (&which, revived.is_empty()) {
            let row = statements::delivery(&**db, *id).await.map_err(|error| self.unanswered(error))?;
            return Err(match row {
                Some(row) => OutboxError::NotDead { id: *id, state: row.state },
                None => OutboxError::NoSuchDelivery(*id),
            });
        }
        let lanes = {
            let book = self.core.book();
            let lane = |channel: &i64| book.ways.values().find(|way| way.channel == *channel).map(|way| way.lane);
            revived.iter().filter_map(lane).collect()
        };
        self.core.tell(lanes);
        self.core.look.notify_one(); // for those in lanes of issues
        Ok(revived.len())
    }

    async fn close(&self) {
        self.closing.cancel();
        let in_order = async {
            for tasks in [&self.lines, &self.keeper] {
                let mut tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
                while tasks.join_next().await.is_some() {}
            }
            keeper::end(&self.core).await.map_err(|refusal| chain(&self.unanswered(refusal)))
        };
        let end = tokio::select! {
            end = in_order => end,
            () = self.core.clock.sleep(CLOSES_WITHIN) => {
                Err(format!("the database gave no answer within {} s", CLOSES_WITHIN.as_secs()))
            }
        };
        if let Err(error) = end {
            tracing::warn!(
                error,
                "the lanes could not be given back; another replica takes them when the lease has ended"
            );
        }
        self.core.pool.close();
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

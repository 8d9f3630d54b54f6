//! The outbox: the durable tables of events, deliveries, attempts and receipts, and the leases on their lanes.
//!
//! What every implementation promises (one contract suite in `tests/outbox.rs` holds it to them):
//!
//! - [`Outbox::accept`] answers after the commit is on disk. An event and its deliveries are one transaction.
//! - A delivery is read only under its lane's [`Lease`], and [`Outbox::heads`] gives the lowest pending ids first:
//!   a holder asks again after each batch, never for "the ones after the last", since ids may become visible late.
//! - [`Outbox::settle`] answers after the commit is on disk, and writes nothing under a lease that has ended.
//! - A pause that a messenger named ([`Settlement::hold`], [`Outbox::hold_account`]) outlives a restart; a lane's own
//!   delay ([`Until`]) does not. What waits for a person stays held, and its next probe is due at once.
//! - Both ledgers balance in every committed state; the tables themselves refuse anything else.

mod arrival;
mod called;
mod issue_lane;
mod lanes;
mod links;
mod postgres;
mod shown;
mod sqlite;
mod writes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::{DeliveryId, Duty, EventId, Mark, Messenger, Outcome, Receipt, Style};
use crate::event::{ChannelName, SourceName};

pub use arrival::{Accepted, Arrival, Aside, Course, Fingerprint, Routed, Routing};
pub use called::{Called, RECOVERED};
pub use issue_lane::IssueLane;
pub use links::{ChannelNow, LinkFilter, LinkRow, Linking, Links, Object};
pub use postgres::{Postgres, PostgresLook, PostgresOptions, PostgresUrl};
pub use shown::{ChannelGauge, DeliveryRow, EventRow, Filter, Fleet, Gauges, Ledger};
pub use sqlite::{FileState, Sqlite, SqliteFile, SqliteOptions, free_bytes};

/// Milliseconds since 1970, as the outbox keeps time.
pub type Millis = i64;

/// Where a configured channel leads: the account that speaks to it and the lane of its conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    pub channel: ChannelName,
    pub messenger: Messenger,
    /// One token, or one incoming webhook: what is paused, held and broken together.
    pub account: Arc<str>,
    /// What shares a pace: a Telegram chat with all its topics.
    pub conversation: String,
    /// Deliveries with one key are one line, in order: the conversation, or a topic of it.
    pub lane: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(transparent)]
pub struct LaneId(pub i64);

/// A claim on a lane. Whoever holds it is the only one to send from it.
#[derive(Clone, Debug)]
pub struct Lease {
    pub lane: LaneId,
    /// Fencing: another claim on the same lane has another number.
    pub(crate) number: u64,
    pub held: Held,
}

/// How a lane's conversation came to this process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// What another process sent there before this time is not known here.
    pub since: Millis,
    /// The replica's lease: what it had under the one before is others' now.
    pub by: ReplicaId,
}

/// A replica, from the moment on when others began to count on it. A process that was given up and comes back is another.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct ReplicaId(pub(crate) i64);

/// The right to send one message of an account in each span of its quota. All replicas share an account's slots, of which
/// there are as many as the quota has messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slot {
    pub number: u32,
    /// When the span after its last message ends.
    pub free_at: Millis,
}

impl Slot {
    /// Who had it is gone, and may have sent just before: it is free when a span has passed since somebody else has it.
    pub const UNKNOWN: Millis = Millis::MAX;
}

/// When a released lane may be claimed again. Kept in memory: after a restart every lane is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    Now,
    /// The lane's pace allows the next message then.
    Paced(Millis),
    /// Our own back-off after a failure; ends early when the account's breaker closes.
    BackedOff(Millis),
}

/// A lane's own wait, as people are told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct LaneWait {
    #[serde(serialize_with = "as_time")]
    pub until: Millis,
    pub why: Wait,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The messenger takes no more in this time.
    Pace,
    /// The last attempt failed.
    BackOff,
}

impl Until {
    /// What is left of it.
    fn left(self, now: Millis) -> Option<LaneWait> {
        let wait = match self {
            Self::Now => return None,
            Self::Paced(until) => LaneWait { until, why: Wait::Pace },
            Self::BackedOff(until) => LaneWait { until, why: Wait::BackOff },
        };
        (wait.until > now).then_some(wait)
    }
}

/// A head of a lane, ready to be sent.
#[derive(Clone, Debug)]
pub struct Due {
    pub id: DeliveryId,
    pub event: EventId,
    pub duty: Duty,
    pub route: String,
    /// The event's.
    pub issue: Option<String>,
    /// The event's document, JSON, without `event.id`.
    pub document: String,
    pub planned_at: Millis,
    pub give_up_at: Millis,
    /// Attempts before this one.
    pub attempts: u32,
    /// An earlier attempt may have placed it already.
    pub unclear: bool,
    /// How the last attempt failed.
    pub reason: Option<String>,
    /// The rendered parts, once a first attempt was settled.
    pub parts: Option<Vec<Part>>,
}

impl Due {
    /// The name of its channel, or of the issue's lane.
    pub fn place(&self) -> String {
        match (&self.duty, IssueLane::of(&self.duty)) {
            (Duty::Message { channel, .. }, _) => channel.to_string(),
            (_, lane) => lane.map(|lane| lane.name()).unwrap_or_default(),
        }
    }

    /// The issue whose thread its message belongs to.
    pub fn thread(&self) -> Option<&str> {
        match self.duty {
            Duty::Message { style: Style::Thread, .. } => self.issue.as_deref(),
            _ => None,
        }
    }
}

/// One message of a delivery: nearly always the only one.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Part {
    /// The messenger's form of it, JSON.
    pub content: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A pause of a lane or an account with its reason, kept until it ends or something gets through.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Hold {
    #[serde(serialize_with = "as_time")]
    pub until: Millis,
    pub reason: String,
    /// `true`: a person has to mend something, the head probes now and then. `false`: the messenger asked for a pause.
    pub needs_a_person: bool,
}

impl Hold {
    /// What is left to wait for when this comes while another hold stands: both their times, and the person, if either
    /// needs one. A pause that was answered late neither ends nor shortens what waits for a person.
    pub fn beside(self, standing: &Hold) -> Self {
        let until = self.until.max(standing.until);
        let stays = (standing.needs_a_person, standing.until) > (self.needs_a_person, self.until);
        let Self { reason, needs_a_person, .. } = if stays { standing.clone() } else { self };
        Self { until, reason, needs_a_person }
    }

    pub(crate) fn earlier(self, by: Millis) -> Self {
        Self { until: self.until - by, ..self }
    }

    /// As a new process sees it: a pause that the messenger named goes on, but whoever mended something and starts
    /// anew does not wait for a probe.
    pub(crate) fn at_start(self, now: Millis) -> Self {
        Self { until: if self.needs_a_person { self.until.min(now) } else { self.until }, ..self }
    }
}

/// What an attempt (or the decision not to make one) changes.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub delivery: DeliveryId,
    pub at: Millis,
    pub to: Next,
    /// Given when the parts or their receipts changed.
    pub parts: Option<Vec<Part>>,
    /// Given for an attempt that failed; a first try that succeeds leaves no row.
    pub attempt: Option<Attempt>,
    /// Given when this message begins a thread, or begins it anew.
    pub thread: Option<Thread>,
    /// `None` leaves the lane's hold as it is; a delivered part ends it.
    pub hold: Option<Hold>,
    /// What is known from then on.
    pub marks: Vec<Mark>,
}

/// The thread of an issue in a lane.
#[derive(Clone, Debug)]
pub struct Thread {
    pub issue: String,
    pub parent: Receipt,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    Delivered,
    Dead {
        reason: String,
    },
    /// It is not to be done any more.
    Filtered {
        reason: String,
    },
    /// Still the head of its lane.
    Pending {
        unclear: bool,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    #[serde(serialize_with = "as_time")]
    pub at: Millis,
    pub took_ms: i64,
    pub outcome: Outcome,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Delivered,
    Dead,
    Filtered,
}

/// One batch of what retention deletes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Expired {
    pub rows: usize,
    /// There is another batch.
    pub more: bool,
}

/// Which dead letters a person wants to be due again.
#[derive(Clone, Debug)]
pub enum Replay {
    One(DeliveryId),
    /// All dead letters of a channel.
    Channel(String),
}

#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("less than the reserve of {reserve_mb} MB is free where the store lies")]
    ReserveReached { reserve_mb: u64 },
    #[error("{pending} deliveries are pending, {most} is the most (max_pending)")]
    TooManyPending { pending: i64, most: i64 },
    #[error("the store fails")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("the store has closed")]
    Closed,
    #[error("no channel `{0}` was placed")]
    UnknownChannel(String),
    #[error("{table}.{column} of row {id} cannot be read: {why}")]
    Unreadable { table: &'static str, column: &'static str, id: i64, why: String },
    #[error("the lease on lane {} has ended", .0.0)]
    LeaseLost(LaneId),
    #[error("there is no delivery {0}")]
    NoSuchDelivery(DeliveryId),
    #[error("delivery {id} is {}: only a dead letter can be replayed", match .state { State::Pending => "pending", State::Delivered => "delivered", State::Dead => "dead", State::Filtered => "filtered" })]
    NotDead { id: DeliveryId, state: State },
    #[error("{0}")]
    Opening(String),
}

/// See the module's text for what this promises. All methods are cancel safe in that a change is made whole or not at
/// all; a caller that stops waiting does not learn which.
#[async_trait]
pub trait Outbox: Links {
    /// Tells where the channels lead. Pending deliveries of a channel that leads elsewhere now move there, so nobody may
    /// be sending from the lanes concerned. Those of a channel that is not named any more stay pending, and this process
    /// sends none of them.
    async fn place(&self, places: Vec<Place>) -> Result<(), OutboxError>;
    async fn accept(&self, arrival: Arrival) -> Result<Accepted, OutboxError>;
    /// Those calls with one of the fingerprints that were accepted and made in this time, both ends included. Only what
    /// [`Arrival::called`] told of.
    async fn called(
        &self,
        fingerprints: HashSet<Fingerprint>,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<(Fingerprint, Millis)>, OutboxError>;
    /// Whether a call of the source that came by itself in this time, both ends included, told so of the issue. Only what
    /// [`Arrival::called`] told of.
    async fn was_told(
        &self,
        source: &SourceName,
        kind: &str,
        issue: &str,
        from: Millis,
        to: Millis,
    ) -> Result<bool, OutboxError>;
    /// Counts (and for the admin keeps) a call that became no event.
    async fn set_aside(&self, aside: Aside) -> Result<(), OutboxError>;

    /// Leases on up to `most` lanes of the account that have something due.
    async fn claim(&self, account: &str, most: usize) -> Result<Vec<Lease>, OutboxError>;
    /// Whether the lease will still be ours for the time of one call.
    fn holds(&self, lease: &Lease) -> bool;
    /// The lane's first `most` pending deliveries.
    async fn heads(&self, lease: &Lease, most: usize) -> Result<Vec<Due>, OutboxError>;
    /// What began the issue's thread in the lane; forgotten when retention has passed since.
    async fn thread(&self, lease: &Lease, issue: &str) -> Result<Option<Receipt>, OutboxError>;
    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), OutboxError>;
    /// Routes an event that was to be routed: its place in the line goes, its deliveries come, in one transaction. Gives
    /// how many.
    async fn route(&self, lease: &Lease, routing: Routing) -> Result<usize, OutboxError>;
    fn release(&self, lease: Lease, until: Until);
    /// Gives back a lease whose holder broke off in the middle: what it was sending may have arrived, so the lane's head
    /// is marked unclear. The heads of all lanes are, when a process died without [`Outbox::close`].
    fn abandon(&self, lease: Lease, until: Until);
    /// Returns when something new may be claimable for the account (an accept, a release, a replay), or others want of its
    /// slots.
    async fn work(&self, account: &str);
    /// When the next lane of the account becomes due by time alone.
    fn next_due(&self, account: &str) -> Option<Millis>;
    /// Ends the account's own back-offs: its breaker has closed.
    fn end_back_off(&self, account: &str);
    /// As after a start: the account's own back-offs end, and what waits for a person may be probed at once.
    fn end_waits(&self, account: &str);

    /// Gives back some of the account's slots, numbered below `most`, and takes up to `want` others.
    async fn trade_slots(
        &self,
        account: &str,
        most: u32,
        back: Vec<Slot>,
        want: usize,
    ) -> Result<(ReplicaId, Vec<Slot>), OutboxError>;
    /// Other replicas were short of the account's slots since the last question: among how many to divide them now.
    fn slots_wanted(&self, account: &str) -> Option<usize>;

    async fn hold_account(&self, account: &str, hold: Option<Hold>) -> Result<(), OutboxError>;
    fn account_hold(&self, account: &str) -> Option<Hold>;
    /// All accounts that are held.
    fn accounts_held(&self) -> HashMap<String, Hold>;
    /// The greatest number that was ever kept for the name; forgotten when retention has passed since.
    async fn mark(&self, name: &str) -> Result<Option<i64>, OutboxError>;
    /// Keeps a number, unless a greater one is known.
    async fn raise(&self, mark: Mark) -> Result<(), OutboxError>;
    /// Telegram chats that became another chat.
    async fn remember_move(&self, from: i64, to: i64) -> Result<(), OutboxError>;
    async fn moves(&self) -> Result<HashMap<i64, i64>, OutboxError>;

    /// Whether the last write went through. While it is `false` no lane sends.
    fn can_write(&self) -> bool;
    /// Wakes when [`Outbox::can_write`] changes.
    fn writable(&self) -> tokio::sync::watch::Receiver<bool>;
    /// Time since the last commit or probe, on a clock that only moves forward.
    fn since_last_write(&self) -> std::time::Duration;
    /// Deletes what was settled before `cutoff`, and what is remembered for longer than it should be: one small batch of
    /// it.
    async fn expire(&self, now: Millis, cutoff: Millis) -> Result<Expired, OutboxError>;
    async fn gauges(&self) -> Result<Gauges, OutboxError>;
    /// `None` where one process has the outbox.
    fn fleet(&self) -> Option<Fleet>;

    async fn events(&self, filter: Filter) -> Result<Vec<EventRow>, OutboxError>;
    async fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError>;
    async fn deliveries(&self, filter: Filter) -> Result<Vec<DeliveryRow>, OutboxError>;
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError>;
    /// Makes dead letters due again, with `give_up_at` anew; says how many.
    async fn replay(&self, which: Replay, give_up_at: Millis) -> Result<usize, OutboxError>;
    /// Writes what is left and closes the files. Later calls answer [`OutboxError::Closed`].
    async fn close(&self);
}

fn as_time<S: serde::Serializer>(ms: &Millis, to: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_millisecond(*ms) {
        Ok(time) => to.collect_str(&time),
        Err(_) => to.serialize_none(),
    }
}

//! What an outbox shows of itself: its sums to metrics and `/readyz`, its rows to people.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Attempt, Hold, LaneId, LaneWait, Millis, Part, State, as_time};
use crate::delivery::{DeliveryId, EventId};

/// Both ledgers: `received` and `planned` are the sums of what stands behind them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Ledger {
    pub received: i64,
    pub routed: i64,
    pub to_route: i64,
    pub ignored: i64,
    pub duplicate: i64,
    pub unreadable: i64,
    pub planned: i64,
    pub delivered: i64,
    pub pending: i64,
    pub dead: i64,
    pub filtered: i64,
    pub merged: i64,
}

impl Ledger {
    pub fn balances(&self) -> bool {
        self.received == self.routed + self.to_route + self.ignored + self.duplicate + self.unreadable
            && self.planned == self.delivered + self.pending + self.dead + self.filtered + self.merged
    }
}

/// What metrics and `/readyz` show.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub ledger: Ledger,
    pub channels: HashMap<String, ChannelGauge>,
    pub lanes_held: HashMap<String, u64>,
    pub accounts_held: HashMap<String, Hold>,
    pub commits: u64,
    pub statements: u64,
    /// Seconds each commit took, since the last call; the caller's histogram takes them.
    pub commit_seconds: Vec<f64>,
}

/// The lanes of all issues together, among the channels of [`Gauges`].
pub(super) const ALL_ISSUES: &str = "issue:*";

#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelGauge {
    pub pending: u64,
    /// When the oldest pending delivery was planned.
    pub oldest: Option<Millis>,
}

/// The replicas that share an outbox, as one of them sees them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fleet {
    pub replicas: usize,
    /// Whether they wake each other; otherwise each looks for work four times a second.
    pub wakes: bool,
}

/// One row of a listing of events.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    pub id: EventId,
    pub source: String,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    #[serde(serialize_with = "as_time")]
    pub received_at: Millis,
    /// `None`: it is to be routed.
    pub deliveries: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
}

/// One row of a listing of deliveries.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub event: EventId,
    pub channel: String,
    pub route: String,
    pub template: String,
    pub state: State,
    #[serde(serialize_with = "as_time")]
    pub planned_at: Millis,
    #[serde(serialize_with = "as_time")]
    pub give_up_at: Millis,
    #[serde(serialize_with = "as_time_or_none", skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Millis>,
    pub attempts: u32,
    /// An attempt ended without an answer: the message may stand twice.
    pub unclear: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_hold: Option<Hold>,
    /// Of the process that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_wait: Option<LaneWait>,
    #[serde(skip)]
    pub(crate) lane: LaneId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<Part>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<Vec<Attempt>>,
}

/// Which rows a listing shows: the newest first, below `before`, at most `limit`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub before: Option<i64>,
    pub limit: usize,
    pub source: Option<String>,
    pub kind: Option<String>,
    pub issue: Option<String>,
    pub channel: Option<String>,
    pub event: Option<i64>,
    pub state: Option<State>,
}

fn as_time_or_none<S: serde::Serializer>(ms: &Option<Millis>, to: S) -> Result<S::Ok, S::Error> {
    match ms {
        Some(ms) => as_time(ms, to),
        None => to.serialize_none(),
    }
}

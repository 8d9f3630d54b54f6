//! Every statement that Campanile sends to SQLite, a function each. Updates say how many rows they expect.

mod listings;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params};

use crate::delivery::{DeliveryId, EventId};
use crate::event::{ChannelName, SourceName};
use crate::outbox::sqlite::seen::Known;
use crate::outbox::{Arrival, Attempt, Due, Fingerprint, Hold, LaneId, Ledger, Millis, Part, Place, State};

pub use listings::{attempts, deliveries, events};

/// A change that hit another number of rows than it must is a bug here, and must not be committed.
fn one_row(rows: usize) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(rows)) }
}

/// How long one connection waits for another's lock. There is one writer, so this is for backups.
pub const BUSY: Duration = Duration::from_secs(5);

// --- ledger -------------------------------------------------------------------------------------------------------

pub fn last_ids(db: &Connection) -> Result<(i64, i64)> {
    db.query_row("select last_event, last_delivery from ledger", [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Whether the last process to have the store closed it.
pub fn is_closed(db: &Connection) -> Result<bool> {
    db.query_row("select closed from ledger", [], |row| row.get(0))
}

pub fn set_closed(db: &Connection, closed: bool) -> Result<()> {
    one_row(db.execute("update ledger set closed = ?1", params![closed])?)
}

pub fn ledger(db: &Connection) -> Result<Ledger> {
    let columns = "received, routed, to_route, ignored, duplicate, unreadable, planned, delivered, pending, dead, \
                   filtered, merged";
    db.query_row(&format!("select {columns} from ledger"), [], |row| {
        Ok(Ledger {
            received: row.get(0)?,
            routed: row.get(1)?,
            to_route: row.get(2)?,
            ignored: row.get(3)?,
            duplicate: row.get(4)?,
            unreadable: row.get(5)?,
            planned: row.get(6)?,
            delivered: row.get(7)?,
            pending: row.get(8)?,
            dead: row.get(9)?,
            filtered: row.get(10)?,
            merged: row.get(11)?,
        })
    })
}

/// Adds a group's sums; the table's checks refuse a ledger that does not balance.
pub fn add_to_ledger(db: &Connection, more: &Ledger, last_event: i64, last_delivery: i64) -> Result<()> {
    one_row(
        db.prepare_cached(
            "update ledger set last_event = ?1, last_delivery = ?2, received = received + ?3, routed = routed + ?4,
                 ignored = ignored + ?5, duplicate = duplicate + ?6, unreadable = unreadable + ?7,
                 planned = planned + ?8, delivered = delivered + ?9, pending = pending + ?10, dead = dead + ?11",
        )?
        .execute(params![
            last_event,
            last_delivery,
            more.received,
            more.routed,
            more.ignored,
            more.duplicate,
            more.unreadable,
            more.planned,
            more.delivered,
            more.pending,
            more.dead,
        ])?,
    )
}

/// A write that changes nothing, to see that the store can be written.
pub fn probe(db: &Connection) -> Result<()> {
    one_row(db.prepare_cached("update ledger set id = 1")?.execute([])?)
}

/// Moves of the write-ahead log what no reader needs; gives how many pages are left in it.
pub fn checkpoint(db: &Connection) -> Result<u32> {
    db.query_row("pragma wal_checkpoint(passive)", [], |row| {
        let (log, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((log - moved).try_into().unwrap_or(0))
    })
}

/// Readers that stand in the way are not waited for.
pub fn give_back_the_log(db: &Connection) -> Result<()> {
    db.busy_timeout(Duration::ZERO)?;
    let end = db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()));
    db.busy_timeout(BUSY)?;
    end
}

// --- accept -------------------------------------------------------------------------------------------------------

pub fn seen(db: &Connection, fingerprint: Fingerprint) -> Result<Option<Known>> {
    db.prepare_cached("select event, until from seen where fingerprint = ?1")?
        .query_row(params![fingerprint.0], |row| Ok(Known { event: row.get(0)?, until: row.get(1)? }))
        .optional()
}

pub fn remember(db: &Connection, fingerprint: Fingerprint, known: Known) -> Result<()> {
    one_row(
        db.prepare_cached("insert or replace into seen (fingerprint, event, until) values (?1, ?2, ?3)")?
            .execute(params![fingerprint.0, known.event, known.until])?,
    )
}

/// Those that are not in `seen` yet, for sure. A call that came again after its time has the newer event.
pub fn waiting_fingerprints(db: &Connection) -> Result<BTreeMap<Fingerprint, Known>> {
    let mut select =
        db.prepare("select fingerprint, id, until from events where id > (select seen_to from ledger) order by id")?;
    let rows =
        select.query_map([], |row| Ok((Fingerprint(row.get(0)?), Known { event: row.get(1)?, until: row.get(2)? })))?;
    rows.collect()
}

pub fn seen_to(db: &Connection, event: i64) -> Result<()> {
    one_row(db.execute("update ledger set seen_to = ?1", params![event])?)
}

pub fn insert_event(db: &Connection, id: i64, arrival: &Arrival, first_delivery: Option<i64>) -> Result<()> {
    db.prepare_cached(
        "insert into events (id, source, kind, issue, received_at, first_delivery, deliveries, fingerprint, until, document)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        id,
        arrival.source.as_str(),
        arrival.kind,
        arrival.issue,
        arrival.received_at,
        first_delivery,
        arrival.planned.len() as i64,
        arrival.fingerprint.0,
        arrival.remember_until,
        arrival.document,
    ])?;
    Ok(())
}

pub struct NewDelivery<'a> {
    pub id: i64,
    pub event: i64,
    pub lane: i64,
    pub channel: i64,
    pub planned_at: Millis,
    pub give_up_at: Millis,
    pub route: &'a str,
    pub template: &'a str,
}

pub fn insert_delivery(db: &Connection, new: &NewDelivery<'_>) -> Result<()> {
    db.prepare_cached(
        "insert into deliveries (id, event, lane, channel, planned_at, settled_at, give_up_at, route, template)
         values (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        new.id,
        new.event,
        new.lane,
        new.channel,
        new.planned_at,
        new.give_up_at,
        new.route,
        new.template
    ])?;
    Ok(())
}

pub fn insert_unreadable(db: &Connection, source: &SourceName, at: Millis, why: &str, head: &[u8]) -> Result<()> {
    db.prepare_cached("insert into unreadable (source, at, why, head) values (?1, ?2, ?3, ?4)")?.execute(params![
        source.as_str(),
        at,
        why,
        head
    ])?;
    Ok(())
}

// --- places -------------------------------------------------------------------------------------------------------

/// The lane of a conversation, made when it is new; its account follows the configuration.
pub fn upsert_lane(db: &Connection, place: &Place) -> Result<i64> {
    db.query_row(
        "insert into lanes (messenger, account, key) values (?1, ?2, ?3)
         on conflict (key) do update set account = excluded.account returning id",
        params![place.messenger.as_str(), &*place.account, place.lane],
        |row| row.get(0),
    )
}

/// A lane that nobody claims: where a channel's pending deliveries wait while the channel is not configured.
pub fn upsert_lane_of_nobody(db: &Connection, channel: &str) -> Result<i64> {
    db.query_row(
        "insert into lanes (messenger, account, key) values ('', '', ?1)
         on conflict (key) do update set account = '' returning id",
        params![format!("not-configured:{channel}")],
        |row| row.get(0),
    )
}

pub fn channels(db: &Connection) -> Result<Vec<(i64, String, i64)>> {
    let mut select = db.prepare("select id, name, lane from channels")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

pub fn insert_channel(db: &Connection, name: &str, lane: i64) -> Result<i64> {
    db.query_row("insert into channels (name, lane) values (?1, ?2) returning id", params![name, lane], |row| {
        row.get(0)
    })
}

/// Moves a channel, and what is pending in it, to another lane.
pub fn lead_channel(db: &Connection, channel: i64, from: i64, to: i64) -> Result<()> {
    one_row(db.execute("update channels set lane = ?2 where id = ?1", params![channel, to])?)?;
    db.execute(
        "update deliveries set lane = ?3 where id in
             (select id from deliveries indexed by pending where state = 0 and lane = ?2 and channel = ?1)",
        params![channel, from, to],
    )?;
    Ok(())
}

pub struct LaneRow {
    pub id: LaneId,
    pub account: String,
    pub hold: Option<Hold>,
}

pub fn lanes(db: &Connection) -> Result<Vec<LaneRow>> {
    let mut select = db.prepare("select id, account, hold_until, hold_reason, hold_needs_a_person from lanes")?;
    let rows = select
        .query_map([], |row| Ok(LaneRow { id: LaneId(row.get(0)?), account: row.get(1)?, hold: hold_of(row, 2)? }))?;
    rows.collect()
}

/// What is pending, by lane and channel, in one walk over the index.
pub fn pending_by_lane(db: &Connection) -> Result<Vec<PendingInLane>> {
    let mut select =
        db.prepare("select id, lane, channel from deliveries indexed by pending where state = 0 order by id >> 10")?;
    let mut rows = select.query([])?;
    let mut found: HashMap<(i64, i64), PendingInLane> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (lane, channel) = (row.get(1)?, row.get(2)?);
        let first = Segment::of(row.get(0)?);
        let new = || PendingInLane { lane: LaneId(lane), channel, count: 0, first };
        found.entry((lane, channel)).or_insert_with(new).count += 1;
    }
    Ok(found.into_values().collect())
}

pub fn accounts(db: &Connection) -> Result<Vec<(String, Option<Hold>)>> {
    let mut select = db.prepare("select name, hold_until, hold_reason, hold_needs_a_person from accounts")?;
    select.query_map([], |row| Ok((row.get(0)?, hold_of(row, 1)?)))?.collect()
}

fn hold_of(row: &Row<'_>, at: usize) -> Result<Option<Hold>> {
    let Some(until) = row.get(at)? else { return Ok(None) };
    Ok(Some(Hold { until, reason: row.get(at + 1)?, needs_a_person: row.get(at + 2)? }))
}

pub fn hold_account(db: &Connection, name: &str, hold: Option<&Hold>) -> Result<()> {
    match hold {
        None => db.execute("delete from accounts where name = ?1", params![name])?,
        Some(hold) => db.execute(
            "insert into accounts (name, hold_until, hold_reason, hold_needs_a_person) values (?1, ?2, ?3, ?4)
             on conflict (name) do update set hold_until = excluded.hold_until, hold_reason = excluded.hold_reason,
                 hold_needs_a_person = excluded.hold_needs_a_person",
            params![name, hold.until, hold.reason, hold.needs_a_person],
        )?,
    };
    Ok(())
}

pub fn hold_lane(db: &Connection, lane: LaneId, hold: Option<&Hold>) -> Result<()> {
    one_row(
        db.prepare_cached(
            "update lanes set hold_until = ?2, hold_reason = ?3, hold_needs_a_person = ?4 where id = ?1",
        )?
        .execute(params![
            lane.0,
            hold.map(|hold| hold.until),
            hold.map(|hold| &hold.reason),
            hold.is_some_and(|hold| hold.needs_a_person),
        ])?,
    )
}

pub fn move_chat(db: &Connection, from: i64, to: i64) -> Result<()> {
    db.execute("insert or replace into moved_chats (chat, now_is) values (?1, ?2)", params![from, to])?;
    Ok(())
}

pub fn moved_chats(db: &Connection) -> Result<Vec<(i64, i64)>> {
    let mut select = db.prepare("select chat, now_is from moved_chats")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

// --- lanes --------------------------------------------------------------------------------------------------------

/// 1,024 neighbouring ids of deliveries: the unit by which the index `pending` is searched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Segment(i64);

impl Segment {
    pub fn of(delivery: i64) -> Self {
        Self(delivery >> 10)
    }

    fn to(self, last: Self) -> impl Iterator<Item = i64> {
        self.0..=last.0
    }
}

/// What is pending of one channel in one lane.
pub struct PendingInLane {
    pub lane: LaneId,
    pub channel: i64,
    pub count: i64,
    /// Nothing of it is pending before.
    pub first: Segment,
}

/// The lane's lowest pending deliveries, at most `most`, of the segments `from` to `last`.
pub fn heads(db: &Connection, lane: LaneId, from: Segment, last: Segment, most: usize) -> Result<Vec<Due>> {
    let mut select = db.prepare_cached(
        "select d.id, d.event, c.name, d.route, d.template, e.document, d.planned_at, d.give_up_at, d.attempts,
                d.unclear, (select parts from messages where id = d.message), d.reason
         from deliveries d indexed by pending join events e on e.id = d.event join channels c on c.id = d.channel
         where d.id >> 10 = ?1 and d.lane = ?2 and d.state = 0 order by d.id limit ?3",
    )?;
    let mut heads = Vec::new();
    for segment in from.to(last) {
        let left = most - heads.len();
        if left == 0 {
            break;
        }
        for due in select.query_map(params![segment, lane.0, left as i64], due)? {
            heads.push(due?);
        }
    }
    Ok(heads)
}

fn due(row: &Row<'_>) -> Result<Due> {
    Ok(Due {
        id: DeliveryId(row.get(0)?),
        event: EventId(row.get(1)?),
        channel: row.get::<_, Parsed<ChannelName>>(2)?.0,
        route: row.get(3)?,
        template: row.get(4)?,
        document: row.get(5)?,
        planned_at: row.get(6)?,
        give_up_at: row.get(7)?,
        attempts: row.get(8)?,
        unclear: row.get(9)?,
        parts: row.get::<_, Option<Json<Vec<Part>>>>(10)?.map(|json| json.0),
        reason: row.get(11)?,
    })
}

/// Of the lane's lowest pending delivery: its id, its channel, and when it was planned.
pub fn oldest_of_lane(
    db: &Connection,
    lane: LaneId,
    (from, last): (Segment, Segment),
) -> Result<Option<(i64, i64, Millis)>> {
    let mut select = db.prepare_cached(
        "select id, channel, planned_at from deliveries indexed by pending
         where id >> 10 = ?1 and lane = ?2 and state = 0 order by id limit 1",
    )?;
    let of_row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    for segment in from.to(last) {
        let oldest = select.query_row(params![segment, lane.0], of_row).optional()?;
        if oldest.is_some() {
            return Ok(oldest);
        }
    }
    Ok(None)
}

/// The lane's lowest pending delivery may stand in its channel already.
pub fn mark_head(db: &Connection, lane: LaneId, span: (Segment, Segment)) -> Result<()> {
    let Some((id, ..)) = oldest_of_lane(db, lane, span)? else { return Ok(()) };
    one_row(db.prepare_cached("update deliveries set unclear = 1 where id = ?1")?.execute(params![id])?)
}

// --- settle -------------------------------------------------------------------------------------------------------

pub struct Settled<'a> {
    pub id: DeliveryId,
    pub state: State,
    pub at: Millis,
    pub unclear: bool,
    pub reason: Option<&'a str>,
    pub message: Option<i64>,
    pub tried: bool,
}

/// A pending delivery's channel and message.
pub fn pending(db: &Connection, id: DeliveryId) -> Result<Option<(i64, Option<i64>)>> {
    db.prepare_cached("select channel, message from deliveries where id = ?1 and state = 0")?
        .query_row(params![id.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

pub fn settle(db: &Connection, settled: &Settled<'_>) -> Result<()> {
    one_row(
        db.prepare_cached(
            "update deliveries set state = ?2, settled_at = ?3, unclear = unclear or ?4, reason = ?5,
                 message = ?6, attempts = attempts + ?7 where id = ?1 and state = 0",
        )?
        .execute(params![
            settled.id.0,
            settled.state,
            settled.at,
            settled.unclear,
            settled.reason,
            settled.message,
            settled.tried,
        ])?,
    )
}

/// Keeps what was rendered, over what was kept before; gives its row.
pub fn keep_message(db: &Connection, before: Option<i64>, parts: &[Part]) -> Result<i64> {
    match before {
        None => db.prepare_cached("insert into messages (parts) values (?1)")?.insert(params![Json(parts)]),
        Some(id) => {
            one_row(
                db.prepare_cached("update messages set parts = ?2 where id = ?1")?.execute(params![id, Json(parts)])?,
            )?;
            Ok(id)
        }
    }
}

pub fn insert_attempt(db: &Connection, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
    one_row(
        db.prepare_cached(
            "insert into attempts (delivery, number, at, took_ms, outcome, detail)
             select ?1, attempts, ?2, ?3, ?4, ?5 from deliveries where id = ?1",
        )?
        .execute(params![
            delivery.0,
            attempt.at,
            attempt.took_ms,
            attempt.outcome.as_str(),
            attempt.detail
        ])?,
    )
}

/// Dead letters that a replay concerns: id, channel.
pub fn dead_of_channel(db: &Connection, channel: i64, most: usize) -> Result<Vec<DeliveryId>> {
    let mut select =
        db.prepare_cached("select id from deliveries where channel = ?1 and state = 2 order by id limit ?2")?;
    select.query_map(params![channel, most as i64], |row| row.get(0).map(DeliveryId))?.collect()
}

pub fn channel_and_state(db: &Connection, id: DeliveryId) -> Result<Option<(i64, State)>> {
    db.prepare_cached("select channel, state from deliveries where id = ?1")?
        .query_row(params![id.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// A dead letter becomes due again, in the lane where its channel leads now. Rendered anew unless a part was placed.
/// Whether it may stand there already is known to whoever asked for the replay.
pub fn revive(db: &Connection, id: DeliveryId, lane: i64, give_up_at: Millis) -> Result<()> {
    let forgotten = db
        .prepare_cached(
            "delete from messages where id = (select message from deliveries where id = ?1)
                 and parts not like '%\"receipt\"%'",
        )?
        .execute(params![id.0])?;
    one_row(
        db.prepare_cached(
            "update deliveries set state = 0, unclear = 0, reason = null, lane = ?2, give_up_at = ?3,
                 message = case when ?4 then null else message end where id = ?1 and state = 2",
        )?
        .execute(params![id.0, lane, give_up_at, forgotten > 0])?,
    )
}

// --- retention ----------------------------------------------------------------------------------------------------

/// Events after `after` up to the first that came at `cutoff` or later: id, first delivery, how many. What is young is
/// not walked through.
pub fn old_events(db: &Connection, after: i64, cutoff: Millis, most: usize) -> Result<Vec<(i64, Option<i64>, i64)>> {
    let mut select = db.prepare_cached(
        "select id, first_delivery, deliveries, received_at < ?2 from events where id > ?1 order by id limit ?3",
    )?;
    let mut rows = select.query(params![after, cutoff, most as i64])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()?
        && row.get(3)?
    {
        old.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    Ok(old)
}

/// Deletes an event with its deliveries, their messages and attempts, unless one of them is pending or was settled after `cutoff`.
pub fn delete_event(db: &Connection, event: i64, first: Option<i64>, count: i64, cutoff: Millis) -> Result<usize> {
    let (from, to) = match first {
        Some(first) => (first, first + count),
        None => (0, 0),
    };
    let kept: i64 = db
        .prepare_cached(
            "select count(*) from deliveries where id >= ?1 and id < ?2 and (state = 0 or settled_at >= ?3)",
        )?
        .query_row(params![from, to, cutoff], |row| row.get(0))?;
    if kept > 0 {
        return Ok(0);
    }
    db.prepare_cached("delete from attempts where delivery >= ?1 and delivery < ?2")?.execute(params![from, to])?;
    db.prepare_cached("delete from messages where id in (select message from deliveries where id >= ?1 and id < ?2)")?
        .execute(params![from, to])?;
    let gone = db.prepare_cached("delete from deliveries where id >= ?1 and id < ?2")?.execute(params![from, to])?;
    one_row(db.prepare_cached("delete from events where id = ?1")?.execute(params![event])?)?;
    Ok(gone + 1)
}

/// Deletes what is over among the next `most` behind `after`; gives the last of those, `None` at the table's end.
pub fn forget_seen(db: &Connection, after: Fingerprint, most: usize, now: Millis) -> Result<Option<Fingerprint>> {
    let last = db
        .prepare_cached("select fingerprint from seen where fingerprint > ?1 order by fingerprint limit 1 offset ?2")?
        .query_row(params![after.0, most as i64 - 1], |row| row.get(0).map(Fingerprint))
        .optional()?;
    let to = last.unwrap_or(Fingerprint([u8::MAX; 16]));
    db.prepare_cached("delete from seen where fingerprint > ?1 and fingerprint <= ?2 and until <= ?3")?
        .execute(params![after.0, to.0, now])?;
    Ok(last)
}

/// Keeps the newest `keep` unreadable calls, none from before `cutoff`.
pub fn forget_unreadable(db: &Connection, cutoff: Millis, keep: i64) -> Result<usize> {
    db.prepare_cached("delete from unreadable where at < ?1 or id <= (select max(id) - ?2 from unreadable)")?
        .execute(params![cutoff, keep])
}

// --- columns ------------------------------------------------------------------------------------------------------

impl ToSql for State {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl ToSql for Segment {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Delivered),
            2 => Ok(Self::Dead),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// A column that holds JSON.
struct Json<T>(T);

impl<T: serde::Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(Into::into)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl<T: serde::de::DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// A column that holds one word of an enum.
struct Word<T>(T);

impl<T: serde::de::DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(value.as_str()?);
        T::deserialize(word).map(Self).map_err(FromSqlError::other)
    }
}

/// A column with a name that is checked when it is made.
struct Parsed<T>(T);

impl<T: TryFrom<String, Error = String>> FromSql for Parsed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        T::try_from(value.as_str()?.to_owned()).map(Self).map_err(|why| FromSqlError::Other(why.into()))
    }
}

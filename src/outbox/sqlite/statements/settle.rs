//! What an attempt changes, and a replay.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::places::{LaneRow, lane_row};
use super::{Json, one_row};
use crate::delivery::DeliveryId;
use crate::outbox::{Attempt, LaneId, Millis, Part, State, Thread};

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

/// In the place of the one before.
pub fn begin_thread(db: &Connection, lane: LaneId, thread: &Thread, at: Millis) -> Result<()> {
    one_row(
        db.prepare_cached("insert or replace into threads (lane, issue, at, receipt) values (?1, ?2, ?3, ?4)")?
            .execute(params![lane.0, thread.issue, at, Json(&thread.parent)])?,
    )
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

/// A delivery's state, its channel, and the lane where that leads now.
pub fn whereabouts(db: &Connection, id: DeliveryId) -> Result<Option<(State, i64, LaneRow)>> {
    db.prepare_cached(
        "select d.state, c.id, l.id, l.account, l.hold_until, l.hold_reason, l.hold_needs_a_person from deliveries d
         join channels c on c.id = d.channel join lanes l on l.id = c.lane where d.id = ?1",
    )?
    .query_row(params![id.0], |row| Ok((row.get(0)?, row.get(1)?, lane_row(row, 2)?)))
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
                 message = case when ?4 then null else message end where id = ?1 and state >= 2",
        )?
        .execute(params![id.0, lane, give_up_at, forgotten > 0])?,
    )
}

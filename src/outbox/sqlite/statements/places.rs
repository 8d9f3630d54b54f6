//! Where channels lead: lanes, accounts, their holds, and chats that moved.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{PendingInLane, Segment, hold_of, one_row};
use crate::outbox::{Hold, IssueLane, LaneId, Place};

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

/// Those that a configuration named. Lanes of issues are none.
pub fn channels(db: &Connection) -> Result<Vec<(i64, String, i64)>> {
    let mut select = db.prepare("select id, name, lane from channels where instr(name, ':') = 0")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

pub struct IssueLaneRow {
    pub channel: i64,
    pub lane: LaneRow,
}

/// The lane of an issue, made when it is new.
pub fn issue_lane(db: &Connection, lane: &IssueLane) -> Result<IssueLaneRow> {
    let name = lane.name();
    let known = db
        .prepare_cached(
            "select c.id, l.id, l.account, l.hold_until, l.hold_reason, l.hold_needs_a_person
             from channels c join lanes l on l.id = c.lane where c.name = ?1",
        )?
        .query_row(params![name], |row| Ok(IssueLaneRow { channel: row.get(0)?, lane: lane_row(row, 1)? }))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let account = lane.account();
    let id = db
        .prepare_cached("insert into lanes (messenger, account, key) values (?1, ?1, ?2)")?
        .insert(params![account, name])?;
    let channel = insert_channel(db, &name, id)?;
    Ok(IssueLaneRow { channel, lane: LaneRow { id: LaneId(id), account: account.to_owned(), hold: None } })
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

/// A channel's row, by its name.
pub fn channel(db: &Connection, name: &str) -> Result<Option<i64>> {
    db.prepare_cached("select id from channels where name = ?1")?.query_row(params![name], |row| row.get(0)).optional()
}

pub struct LaneRow {
    pub id: LaneId,
    pub account: String,
    pub hold: Option<Hold>,
}

pub fn lanes(db: &Connection) -> Result<Vec<LaneRow>> {
    let mut select = db.prepare("select id, account, hold_until, hold_reason, hold_needs_a_person from lanes")?;
    select.query_map([], |row| lane_row(row, 0))?.collect()
}

pub(super) fn lane_row(row: &Row<'_>, at: usize) -> Result<LaneRow> {
    Ok(LaneRow { id: LaneId(row.get(at)?), account: row.get(at + 1)?, hold: hold_of(row, at + 2)? })
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

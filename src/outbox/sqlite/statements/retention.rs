//! What is deleted.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::one_row;
use crate::outbox::{Fingerprint, Millis};

/// An event that may be deleted.
pub struct Old {
    pub id: i64,
    pub first_delivery: Option<i64>,
    pub deliveries: i64,
    pub issue: Option<String>,
}

/// Events after `after` up to the first that came at `cutoff` or later. What is young is not walked through.
pub fn old_events(db: &Connection, after: i64, cutoff: Millis, most: usize) -> Result<Vec<Old>> {
    let mut select = db.prepare_cached(
        "select id, first_delivery, deliveries, received_at < ?2, issue from events where id > ?1 order by id limit ?3",
    )?;
    let mut rows = select.query(params![after, cutoff, most as i64])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()?
        && row.get(3)?
    {
        old.push(Old { id: row.get(0)?, first_delivery: row.get(1)?, deliveries: row.get(2)?, issue: row.get(4)? });
    }
    Ok(old)
}

/// Deletes an event with its deliveries, their messages and attempts, unless one of them is pending or was settled after `cutoff`.
pub fn delete_event(db: &Connection, old: &Old, cutoff: Millis) -> Result<usize> {
    let (from, to) = match old.first_delivery {
        Some(first) => (first, first + old.deliveries),
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
    one_row(db.prepare_cached("delete from events where id = ?1")?.execute(params![old.id])?)?;
    Ok(gone + 1)
}

/// Forgets a lane of an issue of which nothing is kept any more.
pub fn forget_lane(db: &Connection, name: &str) -> Result<()> {
    let lane = db
        .prepare_cached(
            "delete from channels where name = ?1 and not exists
                 (select 1 from deliveries d indexed by of_issue_lanes where d.channel = channels.id and d.duty is not null)
             returning lane",
        )?
        .query_row(params![name], |row| row.get::<_, i64>(0))
        .optional()?;
    match lane {
        Some(lane) => one_row(db.prepare_cached("delete from lanes where id = ?1")?.execute(params![lane])?),
        None => Ok(()),
    }
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

/// Forgets up to `most` threads that began before `cutoff`.
pub fn forget_threads(db: &Connection, cutoff: Millis, most: usize) -> Result<usize> {
    db.prepare_cached("delete from threads where id in (select id from threads order by id limit ?2) and at < ?1")?
        .execute(params![cutoff, most as i64])
}

/// Keeps the newest `keep` unreadable calls, none from before `cutoff`.
pub fn forget_unreadable(db: &Connection, cutoff: Millis, keep: i64) -> Result<usize> {
    db.prepare_cached("delete from unreadable where at < ?1 or id <= (select max(id) - ?2 from unreadable)")?
        .execute(params![cutoff, keep])
}

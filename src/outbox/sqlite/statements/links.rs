//! What issues are linked to, and what is last known of it.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{Json, hold_of, one_row};
use crate::outbox::links::{CHANNEL, ChannelNow, LOOKED_THROUGH, LinkFilter, LinkRow, Linking, Object};
use crate::outbox::{Arrival, Millis};

pub fn is_linked(db: &Connection, object: &str, issue: &str) -> Result<bool> {
    db.prepare_cached("select 1 from links where object = ?1 and issue = ?2")?.exists(params![object, issue])
}

pub fn insert_link(db: &Connection, linking: &Linking) -> Result<()> {
    let Linking { object, by, arrival, .. } = linking;
    one_row(
        db.prepare_cached("insert into links (object, issue, at, by_login) values (?1, ?2, ?3, ?4)")?
            .execute(params![object, linking.issue(), arrival.received_at, by])?,
    )
}

pub fn delete_link(db: &Connection, object: &str, issue: &str) -> Result<()> {
    one_row(db.prepare_cached("delete from links where object = ?1 and issue = ?2")?.execute(params![object, issue])?)
}

/// Links the issue by its present key to the channels that it is linked to by one from before. Gives those that are new.
pub fn link_moved(db: &Connection, present: &str, before: &str) -> Result<Vec<String>> {
    let mut insert = db.prepare_cached(
        "insert into links (object, issue, at, by_login) select object, ?1, at, by_login from links as l
         where issue = ?2 and substr(object, 1, ?3) = ?4
             and not exists (select 1 from links where object = l.object and issue = ?1) order by id returning object",
    )?;
    insert.query_map(params![present, before, CHANNEL.len() as i64, CHANNEL], |row| row.get(0))?.collect()
}

/// All that lead to a channel: issues and objects.
pub fn links_to_channels(db: &Connection) -> Result<Vec<(String, String)>> {
    let mut select = db.prepare("select issue, object from links where substr(object, 1, ?1) = ?2 order by id")?;
    let rows = select.query_map(params![CHANNEL.len() as i64, CHANNEL], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

pub fn links(db: &Connection, filter: &LinkFilter) -> Result<Vec<LinkRow>> {
    let mut select = db.prepare_cached(
        "select id, issue, object, at, by_login from links
         where id < ?1 and (?2 is null or issue = ?2) and (?3 is null or object = ?3) order by id desc limit ?4",
    )?;
    let LinkFilter { before, limit, issue, object } = filter;
    let rows = select.query_map(params![before.unwrap_or(i64::MAX), issue, object, *limit as i64], |row| {
        Ok(LinkRow { id: row.get(0)?, issue: row.get(1)?, object: row.get(2)?, at: row.get(3)?, by: row.get(4)? })
    })?;
    rows.collect()
}

/// Keeps what an event tells of an object, unless something later is known.
pub fn keep_object(db: &Connection, object: &Object, arrival: &Arrival) -> Result<()> {
    db.prepare_cached(
        "insert into objects (key, at, told_at, state) values (?1, ?2, ?3, ?4)
         on conflict (key) do update set at = excluded.at, told_at = excluded.told_at, state = excluded.state
             where excluded.at >= objects.at",
    )?
    .execute(params![object.key, object.at, arrival.received_at, Json(&object.state)])?;
    Ok(())
}

pub fn object(db: &Connection, key: &str) -> Result<Option<Object>> {
    db.prepare_cached("select at, state from objects where key = ?1")?
        .query_row(params![key], |row| {
            Ok(Object { key: key.to_owned(), at: row.get(0)?, state: row.get::<_, Json<_>>(1)?.0 })
        })
        .optional()
}

/// Forgets up to `most` of those that were last told of before `cutoff` and that nothing is linked to.
pub fn forget_objects(db: &Connection, cutoff: Millis, most: usize) -> Result<usize> {
    db.prepare_cached(
        "delete from objects where key in (select key from objects o where told_at < ?1
             and not exists (select 1 from links l where l.object = o.key) order by told_at limit ?2)",
    )?
    .execute(params![cutoff, most as i64])
}

pub fn channel_now(db: &Connection, channel: &str) -> Result<ChannelNow> {
    let hold = db
        .prepare_cached(
            "select l.hold_until, l.hold_reason, l.hold_needs_a_person
             from channels c join lanes l on l.id = c.lane where c.name = ?1",
        )?
        .query_row(params![channel], |row| hold_of(row, 0))
        .optional()?;
    let last = db
        .prepare_cached(
            "select d.state, d.settled_at from deliveries d
             where d.id > (select max(id) from deliveries) - ?2 and d.duty is null
               and d.channel = (select id from channels where name = ?1) order by d.id desc limit 1",
        )?
        .query_row(params![channel, LOOKED_THROUGH], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(ChannelNow { hold: hold.flatten(), last })
}

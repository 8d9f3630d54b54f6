//! The one row that says where the ids stand and what became of everything, and the log under all rows.

use std::time::Duration;

use rusqlite::{Connection, Result, params};

use super::{BUSY, one_row};
use crate::outbox::Ledger;

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
                 planned = planned + ?8, delivered = delivered + ?9, pending = pending + ?10, dead = dead + ?11,
                 to_route = to_route + ?12, filtered = filtered + ?13",
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
            more.to_route,
            more.filtered,
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

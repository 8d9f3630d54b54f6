//! What an accept writes.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::one_row;
use crate::delivery::Style;
use crate::event::SourceName;
use crate::outbox::sqlite::seen::Known;
use crate::outbox::{Arrival, Fingerprint, Millis};

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
    pub style: Style,
}

pub fn insert_delivery(db: &Connection, new: &NewDelivery<'_>) -> Result<()> {
    db.prepare_cached(
        "insert into deliveries (id, event, lane, channel, planned_at, settled_at, give_up_at, route, template, style)
         values (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        new.id,
        new.event,
        new.lane,
        new.channel,
        new.planned_at,
        new.give_up_at,
        new.route,
        new.template,
        new.style == Style::Thread,
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

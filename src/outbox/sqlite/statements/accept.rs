//! What an accept writes.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::one_row;
use crate::delivery::DeliveryId;
use crate::event::SourceName;
use crate::outbox::sqlite::seen::Known;
use crate::outbox::{Arrival, Course, Fingerprint, Millis, Routed, State};

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

/// The event of an equal call that was made between these times.
pub fn called_between(db: &Connection, fingerprint: Fingerprint, after: Millis, before: Millis) -> Result<Option<i64>> {
    db.prepare_cached("select id from events where called_at > ?2 and called_at < ?3 and fingerprint = ?1 limit 1")?
        .query_row(params![fingerprint.0, after, before], |row| row.get(0))
        .optional()
}

/// Calls that were made from one time to another, of those with one of the fingerprints.
pub fn called(
    db: &Connection,
    fingerprints: &HashSet<Fingerprint>,
    from: Millis,
    to: Millis,
) -> Result<Vec<(Fingerprint, Millis)>> {
    let mut select =
        db.prepare_cached("select fingerprint, called_at from events where called_at >= ?1 and called_at <= ?2")?;
    let calls = select.query_map([from, to], |row| Ok((Fingerprint(row.get(0)?), row.get(1)?)))?;
    calls.filter(|call| call.as_ref().map_or(true, |(fingerprint, _)| fingerprints.contains(fingerprint))).collect()
}

/// Whether a call that came by itself in this time told so: its source, kind and issue.
pub fn was_told(db: &Connection, [source, kind, issue]: &[String; 3], from: Millis, to: Millis) -> Result<bool> {
    db.prepare_cached(
        "select exists (select 1 from events where called_at >= ?4 and called_at <= ?5 and received_at = called_at
             and source = ?1 and kind = ?2 and issue = ?3)",
    )?
    .query_row(params![source, kind, issue, from, to], |row| row.get(0))
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

/// `deliveries`: rows that it is to have, from `first_delivery` on.
pub fn insert_event(
    db: &Connection,
    id: i64,
    arrival: &Arrival,
    first_delivery: Option<i64>,
    deliveries: usize,
) -> Result<()> {
    db.prepare_cached(
        "insert into events (id, source, kind, issue, received_at, first_delivery, deliveries, fingerprint, until, document,
             to_route, called_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        id,
        arrival.source.as_str(),
        arrival.kind,
        arrival.issue,
        arrival.received_at,
        first_delivery,
        deliveries as i64,
        arrival.fingerprint.0,
        arrival.remember_until,
        arrival.document,
        matches!(arrival.course, Course::ToRoute { .. }),
        arrival.called.map(|called| called.at),
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
    pub threaded: bool,
    pub duty: Option<&'a str>,
    /// It ends at once, for this reason.
    pub filtered: Option<&'a str>,
}

pub fn insert_delivery(db: &Connection, new: &NewDelivery<'_>) -> Result<()> {
    db.prepare_cached(
        "insert into deliveries (id, event, lane, channel, planned_at, settled_at, give_up_at, route, template, style, duty,
             state, reason)
         values (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
        new.threaded,
        new.duty,
        if new.filtered.is_some() { State::Filtered } else { State::Pending },
        new.filtered,
    ])?;
    Ok(())
}

/// An event that is to be routed: its id, when it came, and the channel and lane of its place in the line.
pub fn to_route(db: &Connection, delivery: DeliveryId) -> Result<Option<(i64, Millis, i64)>> {
    db.prepare_cached(
        "select e.id, e.received_at, d.channel from deliveries d join events e on e.id = d.event
         where d.id = ?1 and d.state = 0 and e.to_route",
    )?
    .query_row(params![delivery.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .optional()
}

/// The event was routed, and its place in the line goes. `deliveries`: rows that it is to have, from `first_delivery` on.
pub fn routed(
    db: &Connection,
    (event, place): (i64, DeliveryId),
    to: &Routed,
    first_delivery: Option<i64>,
    deliveries: usize,
) -> Result<()> {
    db.prepare_cached("delete from attempts where delivery = ?1")?.execute(params![place.0])?;
    one_row(db.prepare_cached("delete from deliveries where id = ?1")?.execute(params![place.0])?)?;
    let (kind, issue, document) = match to {
        Routed::Event { kind, issue, document, .. } => (Some(kind), issue.as_ref(), Some(document)),
        Routed::Ignored => (None, None, None),
    };
    one_row(
        db.prepare_cached(
            "update events set to_route = 0, first_delivery = ?2, deliveries = ?3, kind = coalesce(?4, kind),
                 issue = coalesce(?5, issue), document = coalesce(?6, document) where id = ?1",
        )?
        .execute(params![event, first_delivery, deliveries as i64, kind, issue, document])?,
    )
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

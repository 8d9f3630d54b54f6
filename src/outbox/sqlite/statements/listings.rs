//! What the admin API lists, newest first.

use rusqlite::{Connection, Result, params};

use super::{Json, Word, hold_of};
use crate::delivery::{DeliveryId, EventId};
use crate::outbox::{Attempt, DeliveryRow, EventRow, Filter, LaneId, Part};

pub fn events(db: &Connection, filter: &Filter, whole: bool) -> Result<Vec<EventRow>> {
    let mut select = db.prepare_cached(
        "select id, source, kind, issue, received_at, iif(to_route, null, deliveries), case when ?7 then document end from events
         where id < ?1 and (?2 is null or source = ?2) and (?3 is null or kind = ?3) and (?4 is null or issue = ?4)
           and (?6 is null or id = ?6)
         order by id desc limit ?5",
    )?;
    let rows = select.query_map(
        params![
            filter.before.unwrap_or(i64::MAX),
            filter.source,
            filter.kind,
            filter.issue,
            filter.limit as i64,
            filter.event,
            whole
        ],
        |row| {
            Ok(EventRow {
                id: EventId(row.get(0)?),
                source: row.get(1)?,
                kind: row.get(2)?,
                issue: row.get(3)?,
                received_at: row.get(4)?,
                deliveries: row.get(5)?,
                document: row.get::<_, Option<Json<_>>>(6)?.map(|json| json.0),
            })
        },
    )?;
    rows.collect()
}

/// One event with its document.
pub fn event(db: &Connection, id: EventId) -> Result<Option<EventRow>> {
    let filter = Filter { event: Some(id.0), limit: 1, ..Filter::default() };
    Ok(events(db, &filter, true)?.pop())
}

pub fn deliveries(db: &Connection, filter: &Filter, only: Option<DeliveryId>) -> Result<Vec<DeliveryRow>> {
    let mut select = db.prepare_cached(
        "select d.id, d.event, c.name, d.route, d.template, d.state, d.planned_at, d.give_up_at,
                case when d.state <> 0 then d.settled_at end, d.attempts, d.unclear, d.reason,
                case when d.id = ?5 then (select parts from messages where id = d.message) end,
                case when d.state = 0 then l.hold_until end, l.hold_reason, l.hold_needs_a_person, d.lane
         from deliveries d join channels c on c.id = d.channel join lanes l on l.id = d.lane
         where d.id < ?1 and c.name not like 'route:%' and (?2 is null or d.state = ?2) and (?3 is null or c.name = ?3) and (?4 is null or d.event = ?4)
           and (?5 is null or d.id = ?5)
         order by d.id desc limit ?6",
    )?;
    let rows = select.query_map(
        params![
            filter.before.unwrap_or(i64::MAX),
            filter.state,
            filter.channel,
            filter.event,
            only.map(|id| id.0),
            filter.limit as i64
        ],
        |row| {
            Ok(DeliveryRow {
                id: DeliveryId(row.get(0)?),
                event: EventId(row.get(1)?),
                channel: row.get(2)?,
                route: row.get(3)?,
                template: row.get(4)?,
                state: row.get(5)?,
                planned_at: row.get(6)?,
                give_up_at: row.get(7)?,
                settled_at: row.get(8)?,
                attempts: row.get(9)?,
                unclear: row.get(10)?,
                reason: row.get(11)?,
                parts: row.get::<_, Option<Json<Vec<Part>>>>(12)?.map(|json| json.0),
                lane_hold: hold_of(row, 13)?,
                lane_wait: None,
                lane: LaneId(row.get(16)?),
                failed_attempts: None,
            })
        },
    )?;
    rows.collect()
}

/// One delivery with what was rendered and what failed.
pub fn delivery(db: &Connection, id: DeliveryId) -> Result<Option<DeliveryRow>> {
    let filter = Filter { limit: 1, ..Filter::default() };
    let Some(mut row) = deliveries(db, &filter, Some(id))?.pop() else { return Ok(None) };
    row.failed_attempts = Some(attempts(db, id)?);
    Ok(Some(row))
}

fn attempts(db: &Connection, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    let mut select = db.prepare_cached(
        "select at, took_ms, outcome, detail from attempts where delivery = ?1 order by number desc limit 100",
    )?;
    let rows = select.query_map(params![delivery.0], |row| {
        Ok(Attempt { at: row.get(0)?, took_ms: row.get(1)?, outcome: row.get::<_, Word<_>>(2)?.0, detail: row.get(3)? })
    })?;
    rows.collect()
}

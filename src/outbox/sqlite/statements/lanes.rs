//! What is pending, found by lane.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params};

use super::{Json, one_row};
use crate::delivery::{DeliveryId, EventId, Receipt};
use crate::outbox::{Due, LaneId, Millis, Part, issue_lane};

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

impl ToSql for Segment {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
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
                d.unclear, (select parts from messages where id = d.message), d.reason, e.issue, d.style, d.duty
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
        duty: issue_lane::duty(row.get(2)?, row.get(4)?, row.get_ref(14)?.as_str_or_null()?, row.get(13)?)
            .map_err(|why| rusqlite::Error::FromSqlConversionFailure(14, Type::Text, why.into()))?,
        route: row.get(3)?,
        issue: row.get(12)?,
        document: row.get(5)?,
        planned_at: row.get(6)?,
        give_up_at: row.get(7)?,
        attempts: row.get(8)?,
        unclear: row.get(9)?,
        parts: row.get::<_, Option<Json<Vec<Part>>>>(10)?.map(|json| json.0),
        reason: row.get(11)?,
    })
}

pub fn thread(db: &Connection, lane: LaneId, issue: &str) -> Result<Option<Receipt>> {
    db.prepare_cached("select receipt from threads where lane = ?1 and issue = ?2")?
        .query_row(params![lane.0, issue], |row| row.get::<_, Json<Receipt>>(0).map(|json| json.0))
        .optional()
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

//! What the admin API lists, newest first, and what metrics show.

use std::collections::HashMap;

use tokio_postgres::{GenericClient, Row};

use super::{LEDGER, given, hold_of, json, ledger_of, state_of, unreadable};
use crate::delivery::{DeliveryId, EventId};
use crate::outbox::shown::ALL_ISSUES;
use crate::outbox::{Attempt, ChannelGauge, DeliveryRow, EventRow, Filter, LaneId, Ledger, OutboxError};

type Result<T, E = Refusal> = std::result::Result<T, E>;

use super::super::Refusal;

pub async fn events(db: &impl GenericClient, filter: &Filter, whole: bool) -> Result<Vec<EventRow>> {
    let rows = db
        .query_typed(
            "select id, source, kind, issue, received_at, case when not to_route then cardinality(deliveries)::bigint end, case when $7 then document end
             from events
             where id < $1 and ($2::text is null or source = $2) and ($3::text is null or kind = $3)
               and ($4::text is null or issue = $4) and ($6::bigint is null or id = $6)
             order by id desc limit $5",
            given![
                filter.before.unwrap_or(i64::MAX) => INT8,
                filter.source => TEXT,
                filter.kind => TEXT,
                filter.issue => TEXT,
                filter.limit as i64 => INT8,
                filter.event => INT8,
                whole => BOOL,
            ],
        )
        .await?;
    rows.iter().map(|row| Ok(event_row(row)?)).collect()
}

fn event_row(row: &Row) -> Result<EventRow, OutboxError> {
    let id: i64 = row.get(0);
    let document = row.get::<_, Option<&str>>(6).map(|text| json(text, "events", "document", id));
    Ok(EventRow {
        id: EventId(id),
        source: row.get(1),
        kind: row.get(2),
        issue: row.get(3),
        received_at: row.get(4),
        deliveries: row.get(5),
        document: document.transpose()?,
    })
}

/// One event with its document.
pub async fn event(db: &impl GenericClient, id: EventId) -> Result<Option<EventRow>> {
    let filter = Filter { event: Some(id.0), limit: 1, ..Filter::default() };
    Ok(events(db, &filter, true).await?.pop())
}

pub async fn deliveries(
    db: &impl GenericClient,
    filter: &Filter,
    only: Option<DeliveryId>,
) -> Result<Vec<DeliveryRow>> {
    let rows = db
        .query_typed(
            "select d.id, d.event, c.name, d.route, d.template, d.state, d.planned_at, d.give_up_at,
                    case when d.state <> 0 then d.settled_at end, d.attempts, d.unclear, d.reason,
                    case when d.id = $5 then d.parts end,
                    case when d.state = 0 then l.hold_until end, l.hold_reason, l.hold_needs_a_person, l.id
             from deliveries d join channels c on c.id = d.channel join lanes l on l.id = c.lane
             where d.id < $1 and c.name not like 'route:%' and ($2::smallint is null or d.state = $2) and ($3::text is null or c.name = $3)
               and ($4::bigint is null or d.id = any (select unnest(deliveries) from events where id = $4))
               and ($5::bigint is null or d.id = $5)
             order by d.id desc limit $6",
            given![
                filter.before.unwrap_or(i64::MAX) => INT8,
                filter.state.map(super::number_of) => INT2,
                filter.channel => TEXT,
                filter.event => INT8,
                only.map(|id| id.0) => INT8,
                filter.limit as i64 => INT8,
            ],
        )
        .await?;
    rows.iter().map(delivery_row).collect()
}

fn delivery_row(row: &Row) -> Result<DeliveryRow> {
    let id: i64 = row.get(0);
    let parts = row.get::<_, Option<&str>>(12).map(|text| json(text, "deliveries", "parts", id));
    Ok(DeliveryRow {
        id: DeliveryId(id),
        event: EventId(row.get(1)),
        channel: row.get(2),
        route: row.get(3),
        template: row.get(4),
        state: state_of(row.get(5)),
        planned_at: row.get(6),
        give_up_at: row.get(7),
        settled_at: row.get(8),
        attempts: row.get::<_, i32>(9).unsigned_abs(),
        unclear: row.get(10),
        reason: row.get(11),
        parts: parts.transpose()?,
        lane_hold: hold_of(row, 13)?,
        lane_wait: None,
        lane: LaneId(row.get(16)),
        failed_attempts: None,
    })
}

/// One delivery with what was rendered and what failed.
pub async fn delivery(db: &impl GenericClient, id: DeliveryId) -> Result<Option<DeliveryRow>> {
    let filter = Filter { limit: 1, ..Filter::default() };
    let Some(mut row) = deliveries(db, &filter, Some(id)).await?.pop() else { return Ok(None) };
    row.failed_attempts = Some(attempts(db, id).await?);
    Ok(Some(row))
}

async fn attempts(db: &impl GenericClient, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    let statement =
        "select at, took_ms, outcome, detail from attempts where delivery = $1 order by number desc limit 100";
    let rows = db.query_typed(statement, given![delivery.0 => INT8]).await?;
    let attempt = |row: &Row| {
        let outcome = serde_json::from_value(row.get::<_, &str>(2).into());
        let outcome = outcome.map_err(|error| unreadable("attempts", "outcome", delivery.0, error))?;
        Ok(Attempt { at: row.get(0), took_ms: row.get(1), outcome, detail: row.get(3) })
    };
    rows.iter().map(attempt).collect()
}

pub async fn ledger(db: &impl GenericClient) -> super::Result<Ledger> {
    let sums: Vec<String> = LEDGER.iter().map(|name| format!("sum({name})::bigint as {name}")).collect();
    ledger_of(&db.query_typed_one(&format!("select {} from ledger", sums.join(", ")), &[]).await?)
}

/// What is pending in each channel, configured or not, and in all lanes of issues together.
pub async fn channels(db: &impl GenericClient) -> super::Result<HashMap<String, ChannelGauge>> {
    let rows = db
        .query_typed(
            "select c.name, coalesce(p.pending, 0), (select d.planned_at from deliveries d
                 where d.channel between c.id and c.id and d.state = 0 order by d.channel, d.id limit 1)
             from channels c left join
                 (select channel, count(*) as pending from deliveries where state = 0 group by channel) as p
                 on p.channel = c.id
             where strpos(c.name, ':') = 0
             union all
             select $1, count(*), min(d.planned_at) from deliveries d join channels c on c.id = d.channel
             where d.state = 0 and d.duty is not null and c.name like 'issue:%' having count(*) > 0",
            given![ALL_ISSUES => TEXT],
        )
        .await?;
    let gauge = |row: &Row| {
        let pending: i64 = row.try_get(1)?;
        Ok((row.try_get(0)?, ChannelGauge { pending: pending.max(0) as u64, oldest: row.try_get(2)? }))
    };
    rows.iter().map(gauge).collect()
}

//! What routing an event writes that was to be routed.

use tokio_postgres::Transaction;

use super::{Result, Rows, given};
use crate::delivery::DeliveryId;
use crate::outbox::{LaneId, Millis, Routed, State};

/// An event that was to be routed: gives when it came. Its place in the line goes. `None`: the lane's lease has ended, or it
/// was routed. The lease's row is held until the commit.
pub async fn to_route(
    db: &Transaction<'_>,
    lease: i64,
    lane: LaneId,
    place: DeliveryId,
) -> Result<Option<(i64, Millis)>> {
    let gone = "with mine as materialized (
             select id from leases where id = $1 for key share
         ), gone as (
             delete from deliveries d using lanes l join conversations v on v.id = l.conversation join mine on mine.id = v.lease
             where d.id = $3 and d.state = 0 and l.id = $2 returning d.event
         ), tried as (
             delete from attempts where delivery = $3 and exists (select from gone)
         )
         select e.id, e.received_at from gone join events e on e.id = gone.event and e.to_route";
    let row = db.query_typed_opt(gone, given![lease => INT8, lane.0 => INT8, place.0 => INT8]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Writes what became of it, with its deliveries.
pub async fn route(
    db: &Transaction<'_>,
    (event, received_at): (i64, Millis),
    to: &Routed,
    rows: &Rows<'_>,
    shard: i16,
) -> Result<()> {
    let (kind, issue, document) = match to {
        Routed::Event { kind, issue, document, .. } => (Some(kind), issue.as_ref(), Some(document)),
        Routed::Ignored => (None, None, None),
    };
    let route = "with planned as materialized (
             select p.*, nextval('deliveries_id_seq') as id
             from unnest($1, $2, $3, $4, $5, $6, $7, $8) with ordinality
                 as p (event, channel, give_up_at, route, template, threaded, duty, filtered, place)
             order by place
         ), delivered as (
             insert into deliveries (id, event, channel, threaded, planned_at, give_up_at, settled_at, route, template,
                 duty, state, reason)
             select id, event, channel, threaded, $9, give_up_at, $9, route, template,
                 duty, case when filtered is null then 0 else $10 end, filtered from planned
         ), counted as (
             update ledger set to_route = to_route - 1, routed = routed + $11, ignored = ignored + 1 - $11,
                 planned = planned + new.deliveries, pending = pending + new.deliveries - new.filtered,
                 filtered = ledger.filtered + new.filtered
             from (select count(*) as deliveries, count(filtered) as filtered from planned) as new
             where shard = $12
         )
         update events set to_route = false, kind = coalesce($13, kind), issue = coalesce($14, issue),
             document = coalesce($15, document),
             deliveries = (select coalesce(array_agg(id order by id), '{}') from planned)
         where id = $16";
    let is_routed = i64::from(matches!(to, Routed::Event { .. }));
    db.query_typed(
        route,
        given![
            rows.call => INT8_ARRAY,
            rows.channel => INT8_ARRAY,
            rows.give_up_at => INT8_ARRAY,
            rows.route => TEXT_ARRAY,
            rows.template => TEXT_ARRAY,
            rows.threaded => BOOL_ARRAY,
            rows.duty => TEXT_ARRAY,
            rows.filtered => TEXT_ARRAY,
            received_at => INT8,
            super::number_of(State::Filtered) => INT2,
            is_routed => INT8,
            shard => INT2,
            kind => TEXT,
            issue => TEXT,
            document => TEXT,
            event => INT8,
        ],
    )
    .await?;
    Ok(())
}

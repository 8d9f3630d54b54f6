//! What is pending, found by lane, and who may send it.

use tokio_postgres::{GenericClient, Row};

use super::time::ahead;
use super::{Result, given, hold_of, json, unreadable};
use crate::delivery::{DeliveryId, EventId, Receipt};
use crate::outbox::{Due, Hold, LaneId, Millis, OutboxError, Part, issue_lane};

/// All lanes that share a pace are held together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConversationId(pub i64);

/// Takes those of the conversations that are free, or were taken by this lease before, and gives them. What another replica
/// is just taking is left to it.
pub async fn claim(
    db: &impl GenericClient,
    lease: i64,
    conversations: &[ConversationId],
) -> Result<Vec<ConversationId>> {
    let ids: Vec<i64> = conversations.iter().map(|conversation| conversation.0).collect();
    let rows = db
        .query_typed(
            "update conversations set lease = $1 where id in
                 (select id from conversations where id = any ($2) and (lease is null or lease = $1)
                  order by id for no key update skip locked)
             returning id",
            given![lease => INT8, ids => INT8_ARRAY],
        )
        .await?;
    rows.iter().map(|row| Ok(ConversationId(row.try_get(0)?))).collect()
}

/// The holds of lanes, to be asked by who has claimed them: in the claim's own statement they might be older than the last
/// holder's settle. By the replica's clock that shows `now`.
pub async fn lane_holds(
    db: &impl GenericClient,
    now: Option<Millis>,
    conversations: &[ConversationId],
) -> Result<Vec<(LaneId, Option<Hold>)>> {
    let ids: Vec<i64> = conversations.iter().map(|conversation| conversation.0).collect();
    let holds = format!(
        "select id, hold_until + {}, hold_reason, hold_needs_a_person from lanes where conversation = any ($1)",
        ahead(2)
    );
    let rows = db.query_typed(&holds, given![ids => INT8_ARRAY, now => INT8]).await?;
    rows.iter().map(|row| Ok((LaneId(row.try_get(0)?), hold_of(row, 1)?))).collect()
}

/// Gives back the conversations that are not to be kept.
pub async fn give_up_all_but(db: &impl GenericClient, lease: i64, kept: &[ConversationId]) -> Result<()> {
    let ids: Vec<i64> = kept.iter().map(|conversation| conversation.0).collect();
    let statement = "update conversations set lease = null where lease = $1 and id not in (select unnest($2))";
    db.query_typed(statement, given![lease => INT8, ids => INT8_ARRAY]).await?;
    Ok(())
}

/// A lane as this replica serves it.
pub struct Served {
    pub lane: LaneId,
    /// Those that its configuration leads there. Another replica's may lead more there, which that one sends.
    pub channels: Vec<i64>,
}

/// By column, the channels as PostgreSQL writes an array: arrays of different lengths do not go into one.
fn columns(served: &[Served]) -> (Vec<i64>, Vec<String>) {
    let array = |served: &Served| {
        let ids: Vec<String> = served.channels.iter().map(i64::to_string).collect();
        format!("{{{}}}", ids.join(","))
    };
    (served.iter().map(|served| served.lane.0).collect(), served.iter().map(array).collect())
}

/// A lane in which something is pending, and who holds it.
pub struct Busy {
    pub lane: LaneId,
    pub lease: Option<i64>,
}

/// Those of the lanes in which something is pending: one look into the index for each channel, whatever the planner
/// believes to be pending. Of one channel (`=`) it might look for the first through the primary key, past all that was ever
/// delivered; from a channel to itself (`between`) only the index `pending` has the order.
pub async fn busy(db: &impl GenericClient, lanes: &[Served]) -> Result<Vec<Busy>> {
    let (lanes, channels) = columns(lanes);
    let rows = db
        .query_typed(
            "select l.id, v.lease from unnest($1, $2) as w (lane, channels)
                 join lanes l on l.id = w.lane join conversations v on v.id = l.conversation
             where exists (select from channels c where c.id = any (w.channels::bigint[]) and c.lane = l.id and
                 (select d.id from deliveries d where d.channel between c.id and c.id and d.state = 0
                  order by d.channel, d.id limit 1) is not null)",
            given![lanes => INT8_ARRAY, channels => TEXT_ARRAY],
        )
        .await?;
    rows.iter().map(|row| Ok(Busy { lane: LaneId(row.try_get(0)?), lease: row.try_get(1)? })).collect()
}

/// The first `most` pending deliveries of each of the lanes, in the order of the lanes; nothing for one that is not held by
/// this lease. Never asked in one statement with a claim: that would see what was pending before the last holder's settle.
/// One after another, each by a look into the index as [`busy`]'s: a planner that has not seen yet how much is pending
/// would sort all of a lane's deliveries to find the first.
pub async fn heads(db: &impl GenericClient, lease: i64, lanes: &[Served], most: usize) -> Result<Vec<Row>> {
    let (lanes, channels) = columns(lanes);
    db.query_typed(
        "select w.number, h.* from unnest($2, $4) with ordinality as w (lane, channels, number)
         join lanes l on l.id = w.lane join conversations v on v.id = l.conversation and v.lease = $1
         cross join lateral (
             select d.id, d.event, c.name, d.route, d.template, e.document, d.planned_at, d.give_up_at, d.attempts,
                    d.unclear, d.parts, d.reason, e.issue, d.threaded, d.duty
             from channels c cross join lateral (
                 with recursive line as (
                     (select 1::bigint as place, first.* from deliveries first
                      where first.channel between c.id and c.id and first.state = 0
                      order by first.channel, first.id limit 1)
                     union all
                     select line.place + 1, next.* from line cross join lateral
                         (select d.* from deliveries d where d.channel <= c.id and d.state = 0
                              and (d.channel, d.id) > (c.id, line.id)
                          order by d.channel, d.id limit 1) as next
                     where line.place < $3
                 )
                 select * from line) as d
             join events e on e.id = d.event
             where c.id = any (w.channels::bigint[]) and c.lane = w.lane order by d.id limit $3) as h
         order by w.number, h.id",
        given![lease => INT8, lanes => INT8_ARRAY, most as i64 => INT8, channels => TEXT_ARRAY],
    )
    .await
}

/// Which of the lanes asked for a row is of, from 0.
pub fn asked_by(row: &Row) -> usize {
    row.get::<_, i64>(0) as usize - 1
}

pub fn due(row: &Row) -> std::result::Result<Due, OutboxError> {
    let id: i64 = row.get(1);
    let duty = issue_lane::duty(row.get(3), row.get(5), row.get(15), row.get(14));
    let parts = row.get::<_, Option<&str>>(11).map(|text| json::<Vec<Part>>(text, "deliveries", "parts", id));
    let due = Due {
        id: DeliveryId(id),
        event: EventId(row.get(2)),
        duty: duty.map_err(|why| unreadable("deliveries", "duty", id, why))?,
        route: row.get(4),
        document: row.get(6),
        planned_at: row.get(7),
        give_up_at: row.get(8),
        attempts: row.get::<_, i32>(9).unsigned_abs(),
        unclear: row.get(10),
        parts: parts.transpose()?,
        reason: row.get(12),
        issue: row.get(13),
    };
    Ok(due)
}

pub async fn thread(db: &impl GenericClient, lane: LaneId, issue: &str) -> Result<Option<Receipt>> {
    let statement = "select receipt from threads where lane = $1 and issue = $2";
    let row = db.query_typed_opt(statement, given![lane.0 => INT8, issue => TEXT]).await?;
    // A receipt that cannot be read begins the thread anew.
    Ok(row.and_then(|row| serde_json::from_str(row.get(0)).ok()))
}

/// The lane's head may stand in its channel already.
pub async fn mark_head(db: &impl GenericClient, lease: i64, Served { lane, channels }: Served) -> Result<()> {
    db.query_typed(
        "update deliveries set unclear = true where state = 0 and id =
             (select min(head.id) from lanes l join conversations v on v.id = l.conversation
              join channels c on c.lane = l.id cross join lateral
                 (select d.id from deliveries d where d.channel between c.id and c.id and d.state = 0
                  order by d.channel, d.id limit 1) as head
              where l.id = $2 and v.lease = $1 and c.id = any ($3))",
        given![lease => INT8, lane.0 => INT8, channels => INT8_ARRAY],
    )
    .await?;
    Ok(())
}

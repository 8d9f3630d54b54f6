//! Lanes of issues: made with their first delivery, found by what is pending in them, forgotten with the last.

use tokio_postgres::{GenericClient, Row, Transaction};

use super::time::ahead;
use super::{ConversationId, Result, Way, given, hold_of};
use crate::outbox::{Hold, LaneId, Millis};

/// So many lanes with something pending are found at once.
const MOST_BUSY: i64 = 10_000;

/// Nobody forgets a lane until this transaction ends.
pub async fn keep_lanes(db: &Transaction<'_>) -> Result<()> {
    db.query_typed("select pg_advisory_xact_lock_shared(hashtext('campanile:issue-lanes'))", &[]).await?;
    Ok(())
}

/// Whether nobody is using lanes that have no deliveries yet; if so, nobody does until this transaction ends.
async fn may_forget(db: &Transaction<'_>) -> Result<bool> {
    let alone = "select pg_try_advisory_xact_lock(hashtext('campanile:issue-lanes'))";
    db.query_typed_one(alone, &[]).await?.try_get(0)
}

/// The lanes of these names, made where they are new: each name with its way. In the order of the names, so that replicas
/// wait for each other and never in a circle.
pub async fn make_lanes(db: &impl GenericClient, names: &[&str]) -> Result<Vec<(String, Way)>> {
    let ways = "select c.name, c.id, l.id, l.conversation from channels c join lanes l on l.id = c.lane
         where c.name = any ($1)";
    let way = |row: &Row| {
        let conversation = ConversationId(row.try_get(3)?);
        Ok((row.try_get(0)?, Way { channel: row.try_get(1)?, lane: LaneId(row.try_get(2)?), conversation }))
    };
    let known = db.query_typed(ways, given![names => TEXT_ARRAY]).await?;
    if known.len() == names.len() {
        return known.iter().map(way).collect();
    }
    for make in [
        "insert into conversations (key) select p.key from unnest($1) as p (key) order by p.key
         on conflict (key) do nothing",
        "insert into lanes (conversation, key) select v.id, v.key from conversations v where v.key = any ($1)
         order by v.key on conflict (key) do nothing",
        "insert into channels (name, lane) select l.key, l.id from lanes l where l.key = any ($1)
         order by l.key on conflict (name) do nothing",
    ] {
        db.query_typed(make, given![names => TEXT_ARRAY]).await?;
    }
    db.query_typed(ways, given![names => TEXT_ARRAY]).await?.iter().map(way).collect()
}

/// A lane of an issue in which something is pending.
pub struct BusyIssue {
    pub name: String,
    pub way: Way,
    /// Who holds it.
    pub lease: Option<i64>,
    pub hold: Option<Hold>,
}

/// By the replica's clock that shows `now`. From one channel to the next through the index of what is pending there.
pub async fn busy_issues(db: &impl GenericClient, now: Option<Millis>) -> Result<Vec<BusyIssue>> {
    let busy = format!(
        "with recursive busy as (
             (select d.channel, 1 as number from deliveries d where d.state = 0 and d.duty is not null
              order by d.channel limit 1)
             union all
             select (select d.channel from deliveries d where d.state = 0 and d.duty is not null and d.channel > busy.channel
                     order by d.channel limit 1), busy.number + 1
             from busy where busy.channel is not null and busy.number < $2
         )
         select c.name, c.id, l.id, l.conversation, v.lease, l.hold_until + {}, l.hold_reason, l.hold_needs_a_person
         from busy join channels c on c.id = busy.channel join lanes l on l.id = c.lane
             join conversations v on v.id = l.conversation",
        ahead(1)
    );
    let of_row = |row: &Row| {
        let conversation = ConversationId(row.try_get(3)?);
        Ok(BusyIssue {
            name: row.try_get(0)?,
            way: Way { channel: row.try_get(1)?, lane: LaneId(row.try_get(2)?), conversation },
            lease: row.try_get(4)?,
            hold: hold_of(row, 5)?,
        })
    };
    db.query_typed(&busy, given![now => INT8, MOST_BUSY => INT8]).await?.iter().map(of_row).collect()
}

/// Forgets, of the lanes of these names, those of which nothing is kept and that nobody holds.
pub async fn forget_lanes(db: &Transaction<'_>, names: &[String]) -> Result<()> {
    if names.is_empty() || !may_forget(db).await? {
        return Ok(());
    }
    let gone = "with gone as (
             delete from channels c using lanes l join conversations v on v.id = l.conversation
             where c.name = any ($1) and l.id = c.lane and v.lease is null
                 and not exists (select from deliveries d where d.channel = c.id and d.duty is not null)
             returning l.id
         )
         delete from lanes where id in (select id from gone) returning conversation";
    let rows = db.query_typed(gone, given![names => TEXT_ARRAY]).await?;
    let conversations: Vec<i64> = super::column(&rows, 0)?;
    let gone = "delete from conversations where id = any ($1) and lease is null";
    db.query_typed(gone, given![conversations => INT8_ARRAY]).await?;
    Ok(())
}

//! A replica's lease, and the lanes that it names.

use tokio_postgres::{GenericClient, Row, Transaction};

use super::{Result, given};
use crate::outbox::{Millis, Slot};

/// The channels that a replica serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Channels {
    /// Differs from another's where their configurations lead channels differently.
    pub places: i64,
    /// Those that lead to their places.
    pub ids: Vec<i64>,
}

/// One replica as the table shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Beat {
    pub lease: i64,
    pub beat: i64,
    /// Of its [`Channels`].
    pub places: i64,
}

/// A new lease, whose number no other ever had, and the database's time.
pub async fn begin_lease(db: &impl GenericClient, holder: &str, served: &Channels) -> Result<(i64, Millis)> {
    let begun = "insert into leases (holder, places, channels) values ($1, $2, $3)
         returning id, (extract(epoch from clock_timestamp()) * 1000)::bigint";
    let given = given![holder => TEXT, served.places => INT8, served.ids => INT8_ARRAY];
    let row = db.query_typed_one(begun, given).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Counts the lease's beat on: gives the database's time. `None`: somebody ended the lease.
pub async fn renew_lease(db: &impl GenericClient, lease: i64) -> Result<Option<Millis>> {
    let renewed = "update leases set beat = beat + 1 where id = $1
         returning (extract(epoch from clock_timestamp()) * 1000)::bigint";
    let row = db.query_typed_opt(renewed, given![lease => INT8]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Tells the others which channels this replica serves. `false`: somebody ended the lease.
pub async fn say_channels(db: &impl GenericClient, lease: i64, served: &Channels) -> Result<bool> {
    let said = "update leases set places = $2, channels = $3 where id = $1 returning id";
    let given = given![lease => INT8, served.places => INT8, served.ids => INT8_ARRAY];
    Ok(db.query_typed_opt(said, given).await?.is_some())
}

pub async fn leases(db: &impl GenericClient) -> Result<Vec<Beat>> {
    let rows = db.query_typed("select id, beat, places from leases order by id", &[]).await?;
    let beat = |row: &Row| Ok(Beat { lease: row.try_get(0)?, beat: row.try_get(1)?, places: row.try_get(2)? });
    rows.iter().map(beat).collect()
}

/// Takes hold of a lease that nobody renewed since `seen`; nothing is written under it from now on. `false`: it lives, or
/// another is at it, for whom nobody waits: he may stand still himself.
pub async fn take_lease(db: &Transaction<'_>, seen: Beat) -> Result<bool> {
    let taken = "select id from leases where id = $1 and beat = $2 for update skip locked";
    Ok(db.query_typed_opt(taken, given![seen.lease => INT8, seen.beat => INT8]).await?.is_some())
}

/// Ends a lease that nobody can write under any more: its lanes are free. The heads of those that may have been sending,
/// `None`: of all, and that were planned before `planned_before`, may stand in their channels: the first of the channels that
/// its replica served and of lanes of issues, though an id that became visible meanwhile may be in front of what was sent. A statement of its own
/// for each step: the marks must see what was settled last.
pub async fn end_lease(
    db: &Transaction<'_>,
    lease: i64,
    sending: Option<&[i64]>,
    planned_before: Millis,
) -> Result<()> {
    db.query_typed(
        "update deliveries set unclear = true where state = 0 and planned_at < $2 and id in (
             select (select min(head.id) from channels c cross join lateral
                         (select d.id from deliveries d where d.channel between c.id and c.id and d.state = 0 order by d.channel, d.id limit 1) as head
                     where c.lane = l.id and (c.id = any (s.channels) or strpos(c.name, ':') > 0))
             from leases s join conversations v on v.lease = s.id join lanes l on l.conversation = v.id
             where s.id = $1 and ($3::bigint[] is null or l.id = any ($3)))",
        given![lease => INT8, planned_before => INT8, sending => INT8_ARRAY],
    )
    .await?;
    db.query_typed("update conversations set lease = null where lease = $1", given![lease => INT8]).await?;
    // Those that were not given back: when they were used last nobody knows.
    let freed = "update slots set lease = null, free_at = $2 where lease = $1";
    db.query_typed(freed, given![lease => INT8, Slot::UNKNOWN => INT8]).await?;
    db.query_typed("delete from leases where id = $1", given![lease => INT8]).await?;
    Ok(())
}

/// Says something to all replicas that listen.
pub async fn notify(db: &impl GenericClient, channel: &str, payload: &str) -> Result<()> {
    db.query_typed("select pg_notify($1, $2)", given![channel => TEXT, payload => TEXT]).await?;
    Ok(())
}

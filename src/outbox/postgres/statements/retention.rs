//! What is deleted.

use tokio_postgres::Transaction;

use super::{Result, given};
use crate::outbox::{Fingerprint, Millis};

/// Whether nobody else is deleting; if so, nobody does until this transaction ends.
pub async fn alone(db: &Transaction<'_>) -> Result<bool> {
    db.query_typed_one("select pg_try_advisory_xact_lock(hashtext('campanile:expire'))", &[]).await?.try_get(0)
}

/// Deletes, among the next `most` events after `after` that came before `cutoff`, those whose deliveries all ended before
/// it, with all that belongs to them. Gives the rows that went, the last event that was looked at when there are more, and
/// the issues that went.
pub async fn expire_events(
    db: &Transaction<'_>,
    after: i64,
    cutoff: Millis,
    most: i64,
) -> Result<(i64, Option<i64>, Vec<String>)> {
    let row = db
        .query_typed_one(
            "with next as materialized (
                 select id, deliveries, received_at from events where id > $1 order by id limit $3
             ), old as (
                 select id, deliveries from next where received_at < $2 and not exists
                     (select from deliveries d where d.id = any (next.deliveries) and (d.state = 0 or d.settled_at >= $2))
             ), ids as (
                 select unnest(deliveries) as id from old
             ), tried as (
                 delete from attempts where delivery in (select id from ids)
             ), delivered as (
                 delete from deliveries where id in (select id from ids) returning id
             ), gone as (
                 delete from events where id in (select id from old) returning issue
             )
             select (select count(*) from gone) + (select count(*) from delivered),
                    case when count(*) = $3 and max(received_at) < $2 then max(id) end,
                    (select coalesce(array_agg(distinct issue), '{}') from gone where issue is not null) from next",
            given![after => INT8, cutoff => INT8, most => INT8],
        )
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// Deletes what is over among the next `most` behind `after`; gives the last of those, `None` at the table's end. What an
/// accept has in hand is left to it: the two would lock the same rows, each in its own order.
pub async fn forget_seen(
    db: &Transaction<'_>,
    after: Fingerprint,
    most: i64,
    now: Millis,
) -> Result<Option<Fingerprint>> {
    let row = db
        .query_typed_opt(
            "select fingerprint from seen where fingerprint > $1 order by fingerprint limit 1 offset $2",
            given![&after.0[..] => BYTEA, most - 1 => INT8],
        )
        .await?;
    let last = match row {
        Some(row) => <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(0)?).ok().map(Fingerprint),
        None => None,
    };
    let to = last.unwrap_or(Fingerprint([u8::MAX; 16]));
    db.query_typed(
        "delete from seen where fingerprint in (select fingerprint from seen
             where fingerprint > $1 and fingerprint <= $2 and until <= $3 for update skip locked)",
        given![&after.0[..] => BYTEA, &to.0[..] => BYTEA, now => INT8],
    )
    .await?;
    Ok(last)
}

/// Forgets up to `most` threads that began before `cutoff`; gives how many.
pub async fn forget_threads(db: &Transaction<'_>, cutoff: Millis, most: i64) -> Result<i64> {
    db.query_typed_one(
        "with gone as (
             delete from threads where (lane, issue) in
                 (select lane, issue from threads where at < $1 order by at limit $2) returning lane
         )
         select count(*) from gone",
        given![cutoff => INT8, most => INT8],
    )
    .await?
    .try_get(0)
}

/// Keeps the newest `keep` unreadable calls, none from before `cutoff`; gives how many went.
pub async fn forget_unreadable(db: &Transaction<'_>, cutoff: Millis, keep: i64) -> Result<i64> {
    db.query_typed_one(
        "with gone as (
             delete from unreadable where at < $1 or id <= (select max(id) - $2 from unreadable) returning id
         )
         select count(*) from gone",
        given![cutoff => INT8, keep => INT8],
    )
    .await?
    .try_get(0)
}

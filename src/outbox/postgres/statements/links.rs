//! What issues are linked to, and what is last known of it.

use std::collections::BTreeMap;

use tokio_postgres::{GenericClient, Row, Transaction};

use super::{Result, given, hold_of, json, state_of};
use crate::outbox::links::{ChannelNow, LOOKED_THROUGH, LinkFilter, LinkRow, Linking, Object};
use crate::outbox::{Arrival, Millis, OutboxError};

/// Whether it is new. Another who links the same is waited for.
pub async fn link(db: &Transaction<'_>, linking: &Linking) -> Result<bool> {
    let Linking { object, by, arrival, other_keys } = linking;
    let link = "insert into links (object, issue, at, by_login) select $1, $2, $3, $4
         where not exists (select from links where object = $1 and issue = any($5))
         on conflict (object, issue) do nothing returning id";
    let given = given![
        object => TEXT, linking.issue() => TEXT, arrival.received_at => INT8, by => TEXT, other_keys => TEXT_ARRAY
    ];
    Ok(db.query_typed_opt(link, given).await?.is_some())
}

/// Whether it was there.
pub async fn unlink(db: &Transaction<'_>, linking: &Linking) -> Result<bool> {
    let keys: Vec<&str> = linking.keys().collect();
    let unlink = "delete from links where object = $1 and issue = any($2) returning id";
    Ok(!db.query_typed(unlink, given![linking.object => TEXT, keys => TEXT_ARRAY]).await?.is_empty())
}

/// Links the issue by its present key to the objects, whose keys begin with `front`, that it is linked to by those from
/// before. Whether any is new. No link ends meanwhile: it would stay by the present key.
pub async fn link_moved(db: &Transaction<'_>, present: &str, before: &[String], front: &str) -> Result<bool> {
    db.batch_execute("lock table links in share row exclusive mode").await?;
    let link = "insert into links (object, issue, at, by_login)
         select distinct on (object) object, $1, at, by_login from links
         where issue = any($2) and starts_with(object, $3) order by object, id
         on conflict (object, issue) do nothing returning id";
    Ok(!db.query_typed(link, given![present => TEXT, before => TEXT_ARRAY, front => TEXT]).await?.is_empty())
}

/// The issue's number among those asked for, from 1, and an object it is linked to whose key begins with `front`.
pub async fn linked(db: &impl GenericClient, issues: &[&str], front: &str) -> Result<Vec<(i64, String)>> {
    let rows = db
        .query_typed(
            "select w.number, l.object from unnest($1) with ordinality as w (issue, number) join links l using (issue)
             where starts_with(l.object, $2) order by l.id",
            given![issues => TEXT_ARRAY, front => TEXT],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub async fn links(db: &impl GenericClient, filter: &LinkFilter) -> Result<Vec<LinkRow>> {
    let LinkFilter { before, limit, issue, object } = filter;
    let rows = db
        .query_typed(
            "select id, issue, object, at, by_login from links
             where id < $1 and ($2 is null or issue = $2) and ($3 is null or object = $3) order by id desc limit $4",
            given![
                before.unwrap_or(i64::MAX) => INT8,
                issue => TEXT,
                object => TEXT,
                i64::try_from(*limit).unwrap_or(i64::MAX) => INT8,
            ],
        )
        .await?;
    let row = |row: &Row| {
        let (id, issue, object) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(LinkRow { id, issue, object, at: row.try_get(3)?, by: row.try_get(4)? })
    };
    rows.iter().map(row).collect()
}

/// Keeps what these events tell of objects, unless something later is known. Keys go in by their order, so that two
/// replicas never wait for each other in a circle.
pub async fn keep_objects(db: &impl GenericClient, told: impl Iterator<Item = &Arrival>) -> Result<()> {
    let mut newest: BTreeMap<&str, (&Object, Millis)> = BTreeMap::new();
    for (object, told_at) in told.filter_map(|arrival| Some((arrival.object.as_ref()?, arrival.received_at))) {
        let known = newest.entry(&object.key).or_insert((object, told_at));
        if object.at >= known.0.at {
            *known = (object, told_at);
        }
    }
    if newest.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = newest.keys().copied().collect();
    let at: Vec<Millis> = newest.values().map(|(object, _)| object.at).collect();
    let told_at: Vec<Millis> = newest.values().map(|(_, told_at)| *told_at).collect();
    let states: Vec<String> = newest.values().map(|(object, _)| object.state.to_string()).collect();
    db.query_typed(
        "insert into objects as o (key, at, told_at, state)
         select * from unnest($1, $2, $3, $4) as n (key, at, told_at, state) order by key
         on conflict (key) do update set at = excluded.at, told_at = excluded.told_at, state = excluded.state
             where excluded.at >= o.at",
        given![keys => TEXT_ARRAY, at => INT8_ARRAY, told_at => INT8_ARRAY, states => TEXT_ARRAY],
    )
    .await?;
    Ok(())
}

pub async fn object(db: &impl GenericClient, key: &str) -> Result<std::result::Result<Option<Object>, OutboxError>> {
    let row = db.query_typed_opt("select at, state from objects where key = $1", given![key => TEXT]).await?;
    let Some(row) = row else { return Ok(Ok(None)) };
    let at = row.try_get(0)?;
    let state = json(row.try_get(1)?, "objects", "state", at);
    Ok(state.map(|state| Some(Object { key: key.to_owned(), at, state })))
}

/// Forgets up to `most` of those that were last told of before `cutoff` and that nothing is linked to; gives how many.
/// What an accept has in hand is left to it.
pub async fn forget_objects(db: &Transaction<'_>, cutoff: Millis, most: i64) -> Result<i64> {
    db.query_typed_one(
        "with gone as (
             delete from objects where key in (select key from objects o where told_at < $1
                 and not exists (select from links l where l.object = o.key) order by told_at limit $2
                 for update skip locked) returning key
         )
         select count(*) from gone",
        given![cutoff => INT8, most => INT8],
    )
    .await?
    .try_get(0)
}

pub async fn channel_now(db: &impl GenericClient, channel: &str) -> Result<ChannelNow> {
    let hold = "select l.hold_until, l.hold_reason, l.hold_needs_a_person
         from channels c join lanes l on l.id = c.lane where c.name = $1";
    let hold = db.query_typed_opt(hold, given![channel => TEXT]).await?;
    let hold = hold.map(|row| hold_of(&row, 0)).transpose()?.flatten();
    let last = "select state, settled_at from deliveries
         where id > (select max(id) from deliveries) - $2 and duty is null
           and channel = (select id from channels where name = $1) order by id desc limit 1";
    let last = db.query_typed_opt(last, given![channel => TEXT, LOOKED_THROUGH => INT8]).await?;
    let last = last.map(|row| Ok((state_of(row.try_get(0)?), row.try_get(1)?))).transpose()?;
    Ok(ChannelNow { hold, last })
}

//! Where channels lead: lanes, accounts, their holds, and chats that moved.

use std::collections::HashMap;

use tokio_postgres::{GenericClient, Row};

use super::time::ahead;
use super::{ConversationId, Result, given, hold_of};
use crate::outbox::{Hold, LaneId, Millis, Place};

/// A channel's row, and the lane that it leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    pub channel: i64,
    pub lane: LaneId,
    pub conversation: ConversationId,
}

/// Where a channel leads.
#[derive(Debug)]
pub struct Led {
    pub way: Way,
    /// The lane's key.
    pub to: String,
}

/// Where those of the channels lead that lead anywhere yet.
pub async fn led(db: &impl GenericClient, channels: &[&str]) -> Result<HashMap<String, Led>> {
    let led = "select c.name, c.id, l.id, l.conversation, l.key from channels c join lanes l on l.id = c.lane
         where c.name = any ($1)";
    let led_of = |row: &Row| {
        let way = Way {
            channel: row.try_get(1)?,
            lane: LaneId(row.try_get(2)?),
            conversation: ConversationId(row.try_get(3)?),
        };
        Ok((row.try_get(0)?, Led { way, to: row.try_get(4)? }))
    };
    db.query_typed(led, given![channels => TEXT_ARRAY]).await?.iter().map(led_of).collect()
}

/// Makes what is missing of the places' lanes and conversations, and leads channels there that lead nowhere. By the order of
/// their keys: replicas that start together wait for each other and never in a circle.
pub async fn lead_new(db: &impl GenericClient, places: &[&Place]) -> Result<()> {
    let conversations: Vec<&str> = places.iter().map(|place| &*place.conversation).collect();
    let lanes: Vec<&str> = places.iter().map(|place| &*place.lane).collect();
    let channels: Vec<&str> = places.iter().map(|place| place.channel.as_str()).collect();
    let make = "insert into conversations (key) select distinct p.key from unnest($1) as p (key) order by p.key
         on conflict (key) do nothing";
    db.query_typed(make, given![conversations => TEXT_ARRAY]).await?;
    let make = "insert into lanes (conversation, key)
         select distinct on (p.key) v.id, p.key from unnest($1, $2) as p (conversation, key)
             join conversations v on v.key = p.conversation
         order by p.key on conflict (key) do nothing";
    db.query_typed(make, given![conversations => TEXT_ARRAY, lanes => TEXT_ARRAY]).await?;
    let lead = "insert into channels (name, lane)
         select p.name, l.id from unnest($1, $2) as p (name, lane) join lanes l on l.key = p.lane
         order by p.name on conflict (name) do nothing";
    db.query_typed(lead, given![channels => TEXT_ARRAY, lanes => TEXT_ARRAY]).await?;
    Ok(())
}

/// Leads channels from where they lead to their places, but for those whose messages another replica may be sending from
/// there: it holds the conversation, or is just claiming it.
pub async fn lead_elsewhere(db: &impl GenericClient, lease: i64, places: &[&Place]) -> Result<()> {
    let lanes: Vec<&str> = places.iter().map(|place| &*place.lane).collect();
    let channels: Vec<&str> = places.iter().map(|place| place.channel.as_str()).collect();
    let lead = "with free as materialized (
             select id from conversations
             where id in (select l.conversation from channels c join lanes l on l.id = c.lane where c.name = any ($2))
                 and (lease is null or lease = $1)
             order by id for no key update skip locked
         )
         update channels c set lane = there.id
         from unnest($2, $3) as p (name, lane) join lanes there on there.key = p.lane, lanes here
         where c.name = p.name and here.id = c.lane and here.conversation in (select id from free)";
    db.query_typed(lead, given![lease => INT8, channels => TEXT_ARRAY, lanes => TEXT_ARRAY]).await?;
    Ok(())
}

pub async fn channel(db: &impl GenericClient, name: &str) -> Result<Option<i64>> {
    let row = db.query_typed_opt("select id from channels where name = $1", given![name => TEXT]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// By the replica's clock that shows `now`.
pub async fn account_holds(db: &impl GenericClient, now: Option<Millis>) -> Result<HashMap<String, Hold>> {
    let holds = format!("select name, hold_until + {}, hold_reason, hold_needs_a_person from accounts", ahead(1));
    let rows = db.query_typed(&holds, given![now => INT8]).await?;
    let holds = rows.iter().map(|row| hold_of(row, 1)?.map(|hold| Ok((row.try_get(0)?, hold))).transpose());
    holds.filter_map(Result::transpose).collect()
}

/// Another replica may have met more meanwhile: of two holds the longer and the one that needs a person stays, and only what
/// was `known` is ended. All by the replica's clock that shows `now`.
pub async fn hold_account(
    db: &impl GenericClient,
    now: Option<Millis>,
    name: &str,
    hold: Option<&Hold>,
    known: Option<&Hold>,
) -> Result<()> {
    match hold {
        None => {
            let (until, mended) = known.map_or((Millis::MAX, true), |known| (known.until, known.needs_a_person));
            let end = format!(
                "delete from accounts where name = $1 and (hold_until + {} <= $2 or hold_needs_a_person and $3)",
                ahead(4)
            );
            db.query_typed(&end, given![name => TEXT, until => INT8, mended => BOOL, now => INT8]).await?
        }
        Some(hold) => {
            let statement = format!(
                "insert into accounts (name, hold_until, hold_reason, hold_needs_a_person)
                 values ($1, $2 - {}, $3, $4)
                 on conflict (name) do update set hold_until = greatest(accounts.hold_until, excluded.hold_until),
                     hold_reason = case when (accounts.hold_needs_a_person, accounts.hold_until)
                             > (excluded.hold_needs_a_person, excluded.hold_until)
                         then accounts.hold_reason else excluded.hold_reason end,
                     hold_needs_a_person = accounts.hold_needs_a_person or excluded.hold_needs_a_person",
                ahead(5)
            );
            let Hold { until, reason, needs_a_person } = hold;
            let given = given![name => TEXT, until => INT8, reason => TEXT, needs_a_person => BOOL, now => INT8];
            db.query_typed(&statement, given).await?
        }
    };
    Ok(())
}

pub async fn move_chat(db: &impl GenericClient, from: i64, to: i64) -> Result<()> {
    let statement = "insert into moved_chats (chat, now_is) values ($1, $2)
         on conflict (chat) do update set now_is = excluded.now_is";
    db.query_typed(statement, given![from => INT8, to => INT8]).await?;
    Ok(())
}

pub async fn moved_chats(db: &impl GenericClient) -> Result<Vec<(i64, i64)>> {
    let rows = db.query_typed("select chat, now_is from moved_chats", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

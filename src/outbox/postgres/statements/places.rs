//! Where channels lead: lanes, accounts, their holds, and chats that moved.

use std::collections::HashMap;

use tokio_postgres::{GenericClient, Transaction};

use super::{ConversationId, Result, given, hold_of};
use crate::outbox::{Hold, LaneId, Millis, Place};

/// A channel's row, and the lane that it leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    pub channel: i64,
    pub lane: LaneId,
    pub conversation: ConversationId,
}

/// The lane of a place and its conversation, made when they are new.
pub async fn lane(db: &Transaction<'_>, place: &Place) -> Result<(LaneId, ConversationId)> {
    let made = "insert into conversations (key) values ($1)
         on conflict (key) do update set key = excluded.key returning id";
    let conversation: i64 = db.query_typed_one(made, given![place.conversation => TEXT]).await?.try_get(0)?;
    let made = "insert into lanes (conversation, key) values ($1, $2)
         on conflict (key) do update set key = excluded.key returning id, conversation";
    let row = db.query_typed_one(made, given![conversation => INT8, place.lane => TEXT]).await?;
    Ok((LaneId(row.try_get(0)?), ConversationId(row.try_get(1)?)))
}

/// Where a channel leads after [`lead`].
pub enum Led {
    There(Way),
    /// Still where it led before: another replica may be sending from there.
    Before(Way),
}

/// Leads a channel to a lane, unless another replica holds the one to which it led before.
pub async fn lead(
    db: &Transaction<'_>,
    name: &str,
    (lane, conversation): (LaneId, ConversationId),
    lease: Option<i64>,
) -> Result<Led> {
    let before = "select c.id, l.id, v.id, v.lease from channels c join lanes l on l.id = c.lane
             join conversations v on v.id = l.conversation
         where c.name = $1 and l.id <> $2 for no key update of v";
    if let Some(row) = db.query_typed_opt(before, given![name => TEXT, lane.0 => INT8]).await? {
        let holder: Option<i64> = row.try_get(3)?;
        if holder.is_some() && holder != lease {
            let (lane, conversation) = (LaneId(row.try_get(1)?), ConversationId(row.try_get(2)?));
            return Ok(Led::Before(Way { channel: row.try_get(0)?, lane, conversation }));
        }
    }
    let lead = "insert into channels (name, lane) values ($1, $2)
         on conflict (name) do update set lane = excluded.lane returning id";
    let channel = db.query_typed_one(lead, given![name => TEXT, lane.0 => INT8]).await?.try_get(0)?;
    Ok(Led::There(Way { channel, lane, conversation }))
}

/// Of the channels that lead to these lanes, others than the named lead nowhere any more: what is pending in them stays, and
/// stands in nobody's way.
pub async fn lead_nowhere(db: &Transaction<'_>, lanes: &[LaneId], but: &[&str]) -> Result<()> {
    let lanes: Vec<i64> = lanes.iter().map(|lane| lane.0).collect();
    let statement = "update channels set lane = null where name <> all ($1) and lane = any ($2)";
    db.query_typed(statement, given![but => TEXT_ARRAY, lanes => INT8_ARRAY]).await?;
    Ok(())
}

pub async fn channel(db: &impl GenericClient, name: &str) -> Result<Option<i64>> {
    let row = db.query_typed_opt("select id from channels where name = $1", given![name => TEXT]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

pub async fn account_holds(db: &impl GenericClient) -> Result<HashMap<String, Hold>> {
    let rows = db.query_typed("select name, hold_until, hold_reason, hold_needs_a_person from accounts", &[]).await?;
    let holds = rows.iter().map(|row| hold_of(row, 1)?.map(|hold| Ok((row.try_get(0)?, hold))).transpose());
    holds.filter_map(Result::transpose).collect()
}

/// Another replica may have met more meanwhile: of two holds the longer and the one that needs a person stays, and only what
/// was `known` is ended.
pub async fn hold_account(
    db: &impl GenericClient,
    name: &str,
    hold: Option<&Hold>,
    known: Option<&Hold>,
) -> Result<()> {
    match hold {
        None => {
            let (until, mended) = known.map_or((Millis::MAX, true), |known| (known.until, known.needs_a_person));
            let end = "delete from accounts where name = $1 and (hold_until <= $2 or hold_needs_a_person and $3)";
            db.query_typed(end, given![name => TEXT, until => INT8, mended => BOOL]).await?
        }
        Some(hold) => {
            let statement = "insert into accounts (name, hold_until, hold_reason, hold_needs_a_person)
                 values ($1, $2, $3, $4)
                 on conflict (name) do update set hold_until = greatest(accounts.hold_until, excluded.hold_until),
                     hold_reason = case when (accounts.hold_needs_a_person, accounts.hold_until)
                             > (excluded.hold_needs_a_person, excluded.hold_until)
                         then accounts.hold_reason else excluded.hold_reason end,
                     hold_needs_a_person = accounts.hold_needs_a_person or excluded.hold_needs_a_person";
            let given = given![name => TEXT, hold.until => INT8, hold.reason => TEXT, hold.needs_a_person => BOOL];
            db.query_typed(statement, given).await?
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

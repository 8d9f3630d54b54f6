//! What attempts change, and a replay: a batch of settlements in one statement, which is one transaction.

use tokio_postgres::GenericClient;

use super::time::ahead;
use super::{Result, given, state_of};
use crate::delivery::DeliveryId;
use crate::outbox::{Hold, LaneId, Millis, Settlement, State};

/// Settlements by column. No two are of one lane.
#[derive(Default)]
pub struct Settlements<'a> {
    lane: Vec<i64>,
    delivery: Vec<i64>,
    at: Vec<Millis>,
    state: Vec<i16>,
    unclear: Vec<bool>,
    reason: Vec<Option<&'a str>>,
    parts: Vec<Option<String>>,
    tried: Vec<i32>,
    again: Vec<bool>,
    attempt_at: Vec<Option<Millis>>,
    took_ms: Vec<Option<i64>>,
    outcome: Vec<Option<&'a str>>,
    detail: Vec<Option<&'a str>>,
    issue: Vec<Option<&'a str>>,
    parent: Vec<Option<String>>,
    /// Whether the lane's hold changes at all, and to what.
    holds: Vec<bool>,
    hold_until: Vec<Option<Millis>>,
    hold_reason: Vec<Option<String>>,
    hold_needs_a_person: Vec<bool>,
    /// Numbers of settlements, from 1, with what each makes known.
    marking: Vec<i64>,
    mark: Vec<&'a str>,
    marked: Vec<i64>,
}

/// A settlement with what follows from it.
pub struct Settled<'a> {
    pub lane: LaneId,
    pub settlement: &'a Settlement,
    pub state: State,
    pub unclear: bool,
    pub reason: Option<&'a str>,
    pub tried: bool,
    /// It may have been written before, and the answer was lost.
    pub again: bool,
    /// `None` leaves the lane's hold as it is.
    pub hold: Option<Option<Hold>>,
}

impl<'a> Settlements<'a> {
    /// Its number is how many there are then.
    ///
    /// # Errors
    /// When its parts are no JSON, which cannot be.
    pub fn add(&mut self, settled: &Settled<'a>) -> serde_json::Result<()> {
        let Settled { lane, settlement, state, unclear, reason, tried, again, ref hold } = *settled;
        self.parts.push(settlement.parts.as_ref().map(serde_json::to_string).transpose()?);
        let thread = settlement.thread.as_ref();
        self.parent.push(thread.map(|thread| serde_json::to_string(&thread.parent)).transpose()?);
        self.issue.push(thread.map(|thread| &*thread.issue));
        self.lane.push(lane.0);
        self.delivery.push(settlement.delivery.0);
        for mark in &settlement.marks {
            self.marking.push(self.delivery.len() as i64);
            self.mark.push(&mark.name);
            self.marked.push(mark.number);
        }
        self.at.push(settlement.at);
        self.state.push(super::number_of(state));
        self.unclear.push(unclear);
        self.reason.push(reason);
        self.tried.push(tried.into());
        self.again.push(again);
        let attempt = settlement.attempt.as_ref();
        self.attempt_at.push(attempt.map(|attempt| attempt.at));
        self.took_ms.push(attempt.map(|attempt| attempt.took_ms));
        self.outcome.push(attempt.map(|attempt| attempt.outcome.as_str()));
        self.detail.push(attempt.map(|attempt| &*attempt.detail));
        let held = hold.as_ref().and_then(Option::as_ref);
        self.holds.push(hold.is_some());
        self.hold_until.push(held.map(|hold| hold.until));
        self.hold_reason.push(held.map(|hold| hold.reason.clone()));
        self.hold_needs_a_person.push(held.is_some_and(|hold| hold.needs_a_person));
        Ok(())
    }
}

/// Writes what is still pending in a lane that this lease still names: gives the numbers of those. The lease's row is held Holds
/// are by the replica's clock that shows `now`.
/// until the commit, so that nobody can end it in between. An attempt that was written before is not written again.
pub async fn settle(
    db: &impl GenericClient,
    lease: i64,
    settlements: &Settlements<'_>,
    shard: i16,
    now: Option<Millis>,
) -> Result<Vec<i64>> {
    let rows = db
        .query_typed(
            &format!(
                "with mine as materialized (
                 select id from leases where id = $1 for key share
             ), given as materialized (
                 select * from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
                     with ordinality as g (lane, delivery, at, state, unclear, reason, parts, tried, again, attempt_at, took_ms,
                         outcome, detail, issue, parent, holds, hold_until, hold_reason, hold_needs_a_person, number)
             ), settled as (
                 update deliveries d set state = g.state, settled_at = g.at, unclear = d.unclear or g.unclear,
                     reason = g.reason, parts = coalesce(g.parts, d.parts), attempts = d.attempts + g.tried
                 from given g join lanes l on l.id = g.lane join conversations v on v.id = l.conversation
                     join mine on mine.id = v.lease
                 where d.id = g.delivery and d.state = 0 and not
                     (g.again and exists (select from attempts a where a.delivery = d.id and a.at = g.attempt_at))
                 returning g.number, d.attempts
             ), tried as (
                 insert into attempts (delivery, number, at, took_ms, outcome, detail)
                 select g.delivery, s.attempts, g.attempt_at, g.took_ms, g.outcome, g.detail
                 from settled s join given g using (number) where g.attempt_at is not null
             ), begun as (
                 insert into threads (lane, issue, at, receipt)
                 select g.lane, g.issue, g.at, g.parent from settled join given g using (number) where g.issue is not null
                 on conflict (lane, issue) do update set at = excluded.at, receipt = excluded.receipt
             ), held as (
                 update lanes set hold_until = g.hold_until - {}, hold_reason = g.hold_reason,
                     hold_needs_a_person = g.hold_needs_a_person
                 from settled join given g using (number) where g.holds and lanes.id = g.lane
             ), counted as (
                 update ledger set pending = pending - new.delivered - new.dead - new.filtered,
                     delivered = ledger.delivered + new.delivered, dead = ledger.dead + new.dead,
                     filtered = ledger.filtered + new.filtered
                 from (select count(*) filter (where g.state = 1) as delivered, count(*) filter (where g.state = 2) as dead,
                              count(*) filter (where g.state = 3) as filtered
                       from settled join given g using (number)) as new
                 where shard = $21 and new.delivered + new.dead + new.filtered > 0
             ), marked as (
                 insert into marks (name, number, at)
                 select m.name, max(m.mark), max(g.at) from unnest($23, $24, $25) as m (number, name, mark)
                     join settled using (number) join given g using (number) group by m.name order by m.name
                 on conflict (name) do update set number = greatest(marks.number, excluded.number), at = excluded.at
             )
             select number from settled",
                ahead(22)
            ),
            given![
                lease => INT8,
                settlements.lane => INT8_ARRAY,
                settlements.delivery => INT8_ARRAY,
                settlements.at => INT8_ARRAY,
                settlements.state => INT2_ARRAY,
                settlements.unclear => BOOL_ARRAY,
                settlements.reason => TEXT_ARRAY,
                settlements.parts => TEXT_ARRAY,
                settlements.tried => INT4_ARRAY,
                settlements.again => BOOL_ARRAY,
                settlements.attempt_at => INT8_ARRAY,
                settlements.took_ms => INT8_ARRAY,
                settlements.outcome => TEXT_ARRAY,
                settlements.detail => TEXT_ARRAY,
                settlements.issue => TEXT_ARRAY,
                settlements.parent => TEXT_ARRAY,
                settlements.holds => BOOL_ARRAY,
                settlements.hold_until => INT8_ARRAY,
                settlements.hold_reason => TEXT_ARRAY,
                settlements.hold_needs_a_person => BOOL_ARRAY,
                shard => INT2,
                now => INT8,
                settlements.marking => INT8_ARRAY,
                settlements.mark => TEXT_ARRAY,
                settlements.marked => INT8_ARRAY,
            ],
        )
        .await?;
    super::column(&rows, 0)
}

/// Whether a delivery's lane is held by this lease, and its state. `None`: there is no such delivery.
pub async fn whose(db: &impl GenericClient, lease: i64, id: DeliveryId, lane: LaneId) -> Result<Option<(bool, State)>> {
    let row = db
        .query_typed_opt(
            "select exists (select from lanes l join conversations v on v.id = l.conversation
                 where l.id = $3 and v.lease = $2), state from deliveries where id = $1",
            given![id.0 => INT8, lease => INT8, lane.0 => INT8],
        )
        .await?;
    row.map(|row| Ok((row.try_get(0)?, state_of(row.try_get(1)?)))).transpose()
}

/// Makes what ended without a receipt due again: rendered anew unless a part was placed. Whether one may stand there already is known to
/// whoever asked for it. Gives their channels.
pub async fn replay(db: &impl GenericClient, ids: &[i64], give_up_at: Millis, shard: i16) -> Result<Vec<i64>> {
    let rows = db
        .query_typed(
            r#"with alone as materialized (
                 select pg_advisory_xact_lock(hashtext('campanile:expire')) -- or an event goes that is to be sent again
             ), ended as materialized (
                 select id, state from deliveries where id = any ($1) and state >= 2 and exists (select from alone) for update
             ), revived as (
                 update deliveries d set state = 0, unclear = false, reason = null, give_up_at = $2,
                     parts = case when parts like '%"receipt"%' then parts end
                 from ended where d.id = ended.id returning d.channel
             ), counted as (
                 update ledger set dead = ledger.dead - ended.dead, filtered = ledger.filtered - ended.filtered,
                     pending = pending + ended.dead + ended.filtered
                 from (select count(*) filter (where state = 2) as dead, count(*) filter (where state = 3) as filtered
                       from ended) as ended
                 where shard = $3
             )
             select channel from revived"#,
            given![ids => INT8_ARRAY, give_up_at => INT8, shard => INT2],
        )
        .await?;
    super::column(&rows, 0)
}

pub async fn dead_of_channel(db: &impl GenericClient, channel: i64, most: i64) -> Result<Vec<i64>> {
    let statement = "select id from deliveries where channel = $1 and state = 2 order by id limit $2";
    super::column(&db.query_typed(statement, given![channel => INT8, most => INT8]).await?, 0)
}

//! What an accept writes: a batch of calls in one statement, which is one transaction.

use std::collections::HashSet;

use tokio_postgres::{GenericClient, Transaction};

use super::{Result, given};
use crate::delivery::Planned;
use crate::outbox::{Arrival, Course, Fingerprint, Millis, State, issue_lane};

/// Calls on their way in, by column. No two have the same fingerprint.
#[derive(Default)]
pub struct Calls<'a> {
    fingerprint: Vec<&'a [u8]>,
    received_at: Vec<Millis>,
    until: Vec<Millis>,
    source: Vec<&'a str>,
    kind: Vec<&'a str>,
    issue: Vec<Option<&'a str>>,
    document: Vec<&'a str>,
    to_route: Vec<bool>,
    called_at: Vec<Option<Millis>>,
    /// The one call came by its sender's log: what is remembered of it does not count.
    late: bool,
    rows: Rows<'a>,
}

/// Deliveries, by column.
#[derive(Default)]
pub struct Rows<'a> {
    /// Number of the call, from 1; or the event.
    pub(super) call: Vec<i64>,
    pub(super) channel: Vec<i64>,
    pub(super) give_up_at: Vec<Millis>,
    pub(super) route: Vec<&'a str>,
    pub(super) template: Vec<&'a str>,
    pub(super) threaded: Vec<bool>,
    pub(super) duty: Vec<Option<String>>,
    /// Those that end at once, with the reason.
    pub(super) filtered: Vec<Option<&'a str>>,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// When an action is no JSON, which cannot be.
    pub fn add(&mut self, call: i64, channel: i64, planned: &'a Planned) -> serde_json::Result<()> {
        let (template, duty, threaded) = issue_lane::columns(&planned.duty)?;
        self.call.push(call);
        self.channel.push(channel);
        self.give_up_at.push(planned.give_up_at);
        self.route.push(&planned.route);
        self.template.push(template);
        self.threaded.push(threaded);
        self.duty.push(duty);
        self.filtered.push(planned.filtered);
        Ok(())
    }
}

impl<'a> Calls<'a> {
    /// Its number is how many there are then. `channels`: rows of the channels of what it plans, in that order.
    ///
    /// # Errors
    /// When an action is no JSON, which cannot be.
    pub fn add(&mut self, arrival: &'a Arrival, planned: &'a [Planned], channels: &[i64]) -> serde_json::Result<()> {
        self.fingerprint.push(&arrival.fingerprint.0);
        self.received_at.push(arrival.received_at);
        self.until.push(arrival.remember_until);
        self.source.push(arrival.source.as_str());
        self.kind.push(&arrival.kind);
        self.issue.push(arrival.issue.as_deref());
        self.document.push(&arrival.document);
        self.to_route.push(matches!(arrival.course, Course::ToRoute { .. }));
        self.called_at.push(arrival.called.map(|called| called.at));
        self.late = arrival.late().is_some();
        let number = self.document.len() as i64;
        for (planned, channel) in planned.iter().zip(channels) {
            self.rows.add(number, *channel, planned)?;
        }
        Ok(())
    }
}

/// Stores the calls that are new, each with its event, deliveries and sums: gives their numbers and events. Fingerprints go
/// in by their order, so that two replicas which store the same ones wait for each other and never in a circle; ids are given
/// in the order of the calls.
pub async fn accept(db: &impl GenericClient, calls: &Calls<'_>, shard: i16) -> Result<Vec<(i64, i64)>> {
    let rows = db
        .query_typed(
            "with calls as materialized (
                 select c.*, nextval('events_id_seq') as event
                 from unnest($1, $2, $3, $4, $5, $6, $7, $17, $19) with ordinality
                     as c (fingerprint, received_at, until, source, kind, issue, document, to_route, called_at, number)
                 order by number
             ), fresh as (
                 insert into seen as s (fingerprint, event, until)
                 select fingerprint, event, until from calls order by fingerprint
                 on conflict (fingerprint) do update set event = excluded.event, until = greatest(s.until, excluded.until)
                     where s.until <= (select min(received_at) from calls) or $20
                 returning event
             ), planned as materialized (
                 select p.*, calls.event, calls.received_at, calls.to_route, nextval('deliveries_id_seq') as id
                 from unnest($8, $9, $10, $11, $12, $13, $15, $16) with ordinality
                     as p (number, channel, give_up_at, route, template, threaded, duty, filtered, place)
                 join calls using (number) join fresh using (event)
                 order by place
             ), ids as (
                 select event, array_agg(id order by id) as deliveries from planned group by event
             ), stored as (
                 insert into events (id, source, kind, issue, received_at, deliveries, document, to_route, called_at, fingerprint)
                 select event, source, kind, issue, received_at, coalesce(ids.deliveries, '{}'), document, to_route, called_at,
                     case when called_at is not null then fingerprint end
                 from calls join fresh using (event) left join ids using (event)
                 returning to_route
             ), delivered as (
                 insert into deliveries (id, event, channel, threaded, planned_at, give_up_at, settled_at, route, template,
                     duty, state, reason)
                 select id, event, channel, threaded, received_at, give_up_at, received_at, route, template,
                     duty, case when filtered is null then 0 else $18 end, filtered from planned
             ), counted as (
                 update ledger set received = received + new.calls, routed = routed + new.events - new.to_route,
                     to_route = ledger.to_route + new.to_route, duplicate = duplicate + new.calls - new.events,
                     planned = planned + new.deliveries, pending = pending + new.deliveries - new.filtered,
                     filtered = ledger.filtered + new.filtered
                 from (select calls, events, stored.to_route, deliveries, filtered
                       from (select count(*) as calls from calls) as calls,
                            (select count(*) as events, count(*) filter (where to_route) as to_route from stored) as stored,
                            (select count(*) filter (where not to_route) as deliveries, count(filtered) as filtered
                             from planned) as planned) as new
                 where shard = $14
             )
             select number, event from calls join fresh using (event)",
            given![
                calls.fingerprint => BYTEA_ARRAY,
                calls.received_at => INT8_ARRAY,
                calls.until => INT8_ARRAY,
                calls.source => TEXT_ARRAY,
                calls.kind => TEXT_ARRAY,
                calls.issue => TEXT_ARRAY,
                calls.document => TEXT_ARRAY,
                calls.rows.call => INT8_ARRAY,
                calls.rows.channel => INT8_ARRAY,
                calls.rows.give_up_at => INT8_ARRAY,
                calls.rows.route => TEXT_ARRAY,
                calls.rows.template => TEXT_ARRAY,
                calls.rows.threaded => BOOL_ARRAY,
                shard => INT2,
                calls.rows.duty => TEXT_ARRAY,
                calls.rows.filtered => TEXT_ARRAY,
                calls.to_route => BOOL_ARRAY,
                super::number_of(State::Filtered) => INT2,
                calls.called_at => INT8_ARRAY,
                calls.late => BOOL,
            ],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The events of calls that were stored before, each with the fingerprint's number, from 1.
pub async fn seen(db: &impl GenericClient, fingerprints: &[Fingerprint]) -> Result<Vec<(i64, i64)>> {
    let wanted: Vec<&[u8]> = fingerprints.iter().map(|fingerprint| &fingerprint.0[..]).collect();
    let rows = db
        .query_typed(
            "select w.number, s.event
             from unnest($1) with ordinality as w (fingerprint, number) join seen s using (fingerprint)",
            given![wanted => BYTEA_ARRAY],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The event of an equal call that was made between these times. Until the transaction ends nobody else accepts what came
/// by a sender's log, so that the answer stays true.
pub async fn called_between(
    db: &Transaction<'_>,
    fingerprint: Fingerprint,
    (after, before): (Millis, Millis),
) -> Result<Option<i64>> {
    db.query_typed("select pg_advisory_xact_lock(hashtext('campanile:recover'))", &[]).await?;
    let event = "select id from events where called_at > $2 and called_at < $3 and fingerprint = $1 limit 1";
    let given = given![&fingerprint.0[..] => BYTEA, after => INT8, before => INT8];
    db.query_typed_opt(event, given).await?.map(|row| row.try_get(0)).transpose()
}

/// Calls that were made from one time to another, of those with one of the fingerprints.
pub async fn called(
    db: &impl GenericClient,
    fingerprints: &HashSet<Fingerprint>,
    from: Millis,
    to: Millis,
) -> Result<Vec<(Fingerprint, Millis)>> {
    let wanted: Vec<&[u8]> = fingerprints.iter().map(|fingerprint| &fingerprint.0[..]).collect();
    let calls = "select fingerprint, called_at from events
         where called_at >= $2 and called_at <= $3 and fingerprint = any ($1)";
    let rows = db.query_typed(calls, given![wanted => BYTEA_ARRAY, from => INT8, to => INT8]).await?;
    let mut calls = Vec::with_capacity(rows.len());
    for row in rows {
        if let Ok(half) = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(0)?) {
            calls.push((Fingerprint(half), row.try_get(1)?));
        }
    }
    Ok(calls)
}

/// Whether a call that came by itself in this time told so: its source, kind and issue.
pub async fn was_told(
    db: &impl GenericClient,
    [source, kind, issue]: [&str; 3],
    from: Millis,
    to: Millis,
) -> Result<bool> {
    let told = "select exists (select from events where called_at >= $4 and called_at <= $5 and received_at = called_at
         and source = $1 and kind = $2 and issue = $3)";
    let given = given![source => TEXT, kind => TEXT, issue => TEXT, from => INT8, to => INT8];
    db.query_typed_one(told, given).await?.try_get(0)
}

/// A call came again.
pub async fn count_duplicate(db: &impl GenericClient, shard: i16) -> Result<()> {
    let count = "update ledger set received = received + 1, duplicate = duplicate + 1 where shard = $1";
    db.query_typed(count, given![shard => INT2]).await?;
    Ok(())
}

/// Keeps what else the same thing may be known by, unless somebody has it: then gives his event.
pub async fn guard(db: &impl GenericClient, guard: Fingerprint, event: i64, arrival: &Arrival) -> Result<Option<i64>> {
    let keep = "insert into seen as s (fingerprint, event, until) values ($1, $2, $3)
         on conflict (fingerprint) do update set event = excluded.event, until = excluded.until where s.until <= $4
         returning event";
    let given = given![
        &guard.0[..] => BYTEA, event => INT8, arrival.remember_until => INT8, arrival.received_at => INT8
    ];
    if db.query_typed_opt(keep, given).await?.is_some() {
        return Ok(None);
    }
    Ok(seen(db, &[guard]).await?.first().map(|(_, event)| *event))
}

/// What became no event, and of that what is kept.
#[derive(Default)]
pub struct Asides<'a> {
    pub ignored: i64,
    pub source: Vec<&'a str>,
    pub at: Vec<Millis>,
    pub why: Vec<&'a str>,
    pub head: Vec<&'a [u8]>,
}

pub async fn set_aside(db: &impl GenericClient, asides: &Asides<'_>, shard: i16) -> Result<()> {
    db.query_typed(
        "with kept as (
             insert into unreadable (source, at, why, head) select * from unnest($1, $2, $3, $4) returning id
         ), new as (
             select $5 as ignored, (select count(*) from kept) as unreadable
         )
         update ledger set received = received + new.ignored + new.unreadable, ignored = ledger.ignored + new.ignored,
             unreadable = ledger.unreadable + new.unreadable
         from new where shard = $6",
        given![
            asides.source => TEXT_ARRAY,
            asides.at => INT8_ARRAY,
            asides.why => TEXT_ARRAY,
            asides.head => BYTEA_ARRAY,
            asides.ignored => INT8,
            shard => INT2,
        ],
    )
    .await?;
    Ok(())
}

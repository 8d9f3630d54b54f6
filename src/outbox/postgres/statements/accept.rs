//! What an accept writes: a batch of calls in one statement, which is one transaction.

use tokio_postgres::GenericClient;

use super::{Result, given};
use crate::delivery::Style;
use crate::outbox::{Arrival, Fingerprint, Millis};

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
    planned: Planned<'a>,
}

#[derive(Default)]
struct Planned<'a> {
    /// Number of the call, from 1.
    call: Vec<i64>,
    channel: Vec<i64>,
    give_up_at: Vec<Millis>,
    route: Vec<&'a str>,
    template: Vec<&'a str>,
    threaded: Vec<bool>,
}

impl<'a> Calls<'a> {
    /// Its number is how many there are then. `channels`: rows of the channels of what it plans, in that order.
    pub fn add(&mut self, arrival: &'a Arrival, channels: &[i64]) {
        self.fingerprint.push(&arrival.fingerprint.0);
        self.received_at.push(arrival.received_at);
        self.until.push(arrival.remember_until);
        self.source.push(arrival.source.as_str());
        self.kind.push(&arrival.kind);
        self.issue.push(arrival.issue.as_deref());
        self.document.push(&arrival.document);
        let number = self.document.len() as i64;
        for (planned, channel) in arrival.planned.iter().zip(channels) {
            self.planned.call.push(number);
            self.planned.channel.push(*channel);
            self.planned.give_up_at.push(planned.give_up_at);
            self.planned.route.push(&planned.route);
            self.planned.template.push(&planned.template);
            self.planned.threaded.push(planned.style == Style::Thread);
        }
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
                 from unnest($1, $2, $3, $4, $5, $6, $7) with ordinality
                     as c (fingerprint, received_at, until, source, kind, issue, document, number)
                 order by number
             ), fresh as (
                 insert into seen as s (fingerprint, event, until)
                 select fingerprint, event, until from calls order by fingerprint
                 on conflict (fingerprint) do update set event = excluded.event, until = excluded.until
                     where s.until <= (select min(received_at) from calls)
                 returning event
             ), planned as materialized (
                 select p.*, calls.event, calls.received_at, nextval('deliveries_id_seq') as id
                 from unnest($8, $9, $10, $11, $12, $13) with ordinality
                     as p (number, channel, give_up_at, route, template, threaded, place)
                 join calls using (number) join fresh using (event)
                 order by place
             ), ids as (
                 select event, array_agg(id order by id) as deliveries from planned group by event
             ), stored as (
                 insert into events (id, source, kind, issue, received_at, deliveries, document)
                 select event, source, kind, issue, received_at, coalesce(ids.deliveries, '{}'), document
                 from calls join fresh using (event) left join ids using (event)
                 returning id
             ), delivered as (
                 insert into deliveries (id, event, channel, threaded, planned_at, give_up_at, settled_at, route, template)
                 select id, event, channel, threaded, received_at, give_up_at, received_at, route, template from planned
                 returning id
             ), counted as (
                 update ledger set received = received + new.calls, routed = routed + new.events,
                     duplicate = duplicate + new.calls - new.events,
                     planned = planned + new.deliveries, pending = pending + new.deliveries
                 from (select (select count(*) from calls) as calls, (select count(*) from stored) as events,
                              (select count(*) from delivered) as deliveries) as new
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
                calls.planned.call => INT8_ARRAY,
                calls.planned.channel => INT8_ARRAY,
                calls.planned.give_up_at => INT8_ARRAY,
                calls.planned.route => TEXT_ARRAY,
                calls.planned.template => TEXT_ARRAY,
                calls.planned.threaded => BOOL_ARRAY,
                shard => INT2,
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

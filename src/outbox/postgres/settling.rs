//! The line of the settlements: lanes share a commit.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_postgres::Client;

use super::batch::{Ends, LARGEST, write};
use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Settled, Settlements};
use crate::delivery::DeliveryId;
use crate::outbox::{Lease, Millis, Next, OutboxError, Settlement, State};

pub type Settling = Request<(Lease, Settlement), ()>;

/// Deliveries whose settlement was sent and never answered: it may have been written.
#[derive(Default)]
struct Unanswered(Mutex<HashSet<DeliveryId>>);

impl Unanswered {
    fn add(&self, batch: &[Settling]) {
        let ids = batch.iter().map(|request| request.what.1.delivery);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    fn has(&self, id: DeliveryId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    fn forget(&self, id: DeliveryId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Runs until the line is closed and empty.
pub async fn settle(core: Arc<Core>, mut front: Front<(Lease, Settlement), ()>) {
    let unanswered = Unanswered::default();
    while let Some(mut batch) = front.next_without_twins(LARGEST, |(lease, _)| lease.lane).await {
        let lost = |request: &mut Settling| !core.book().is_current(&request.what.0);
        for request in batch.extract_if(.., lost).collect::<Vec<_>>() {
            let (lane, id) = (request.what.0.lane, request.what.1.delivery);
            unanswered.forget(id); // it is for others to settle
            request.answer(Err(OutboxError::LeaseLost(lane)));
        }
        let ends = write(&core, batch.len(), |range| tried(&core, &unanswered, &batch[range])).await;
        batch.into_iter().zip(ends).for_each(|(request, end)| request.answer(end));
    }
}

/// As [`together`]; a batch that failed may have been written all the same.
async fn tried(core: &Core, unanswered: &Unanswered, batch: &[Settling]) -> Result<Ends<()>, Refusal> {
    together(core, unanswered, batch).await.inspect_err(|_| unanswered.add(batch))
}

/// The end of each settlement of the batch.
async fn together(core: &Core, unanswered: &Unanswered, batch: &[Settling]) -> Result<Ends<()>, Refusal> {
    let began = Instant::now();
    let (lease, db) = (core.lease()?, core.db().await?);
    let (now, our_time) = (core.clock.now_ms(), core.our_time());
    let mut columns = Settlements::default();
    let mut given = Vec::with_capacity(batch.len());
    for request in batch {
        let again = unanswered.has(request.what.1.delivery);
        let settled = Settled { again, ..settled(core, now, &request.what) };
        columns.add(&settled).map_err(|error| {
            let why = error.to_string();
            OutboxError::Unreadable { table: "deliveries", column: "parts", id: settled.settlement.delivery.0, why }
        })?;
        given.push(settled);
    }
    let written = statements::settle(&**db, lease, &columns, core.shard, our_time).await?;
    let written: HashSet<i64> = written.into_iter().collect();
    core.committed(began);
    let mut ends = Vec::with_capacity(batch.len());
    for (number, settled) in (1..).zip(given) {
        let id = settled.settlement.delivery;
        let end = if written.contains(&number) { Ok(()) } else { before(core, &db, lease, &settled).await? };
        unanswered.forget(id);
        if end.is_ok() {
            let mut book = core.book();
            if settled.state != State::Pending {
                book.ended(settled.lane);
                core.pending.ended();
            }
            if let Some(hold) = settled.hold {
                let back = (now - core.clock.now_ms()).max(0); // while this was written
                book.lanes.hold_lane(settled.lane, hold.map(|hold| hold.earlier(back)));
            }
        }
        ends.push(end);
    }
    Ok(ends)
}

/// The end of a settlement that was not written now.
async fn before(
    core: &Core,
    db: &Client,
    lease: i64,
    settled: &Settled<'_>,
) -> Result<Result<(), OutboxError>, Refusal> {
    core.asked();
    let id = settled.settlement.delivery;
    Ok(match statements::whose(db, lease, id, settled.lane).await? {
        // The lane is ours: nobody else can have ended it.
        Some((true, state)) if settled.again && state == settled.state => Ok(()),
        Some((true, _)) | None => Err(OutboxError::NoSuchDelivery(id)),
        Some((false, _)) => Err(OutboxError::LeaseLost(settled.lane)),
    })
}

/// At `now`: where the settlement says more, the time has gone back since.
fn settled<'a>(core: &Core, now: Millis, (lease, settlement): &'a (Lease, Settlement)) -> Settled<'a> {
    let (state, unclear, reason) = match &settlement.to {
        Next::Delivered => (State::Delivered, false, None),
        Next::Dead { reason } => (State::Dead, false, Some(reason.as_str())),
        Next::Filtered { reason } => (State::Filtered, false, Some(reason.as_str())),
        Next::Pending { unclear } => (State::Pending, *unclear, None),
    };
    let reason = reason.or_else(|| settlement.attempt.as_ref().map(|attempt| attempt.detail.as_str()));
    let is_held = core.book().lanes.lane_hold(lease.lane).is_some();
    Settled {
        lane: lease.lane,
        settlement,
        state,
        unclear,
        reason: reason.filter(|_| state != State::Delivered),
        tried: settlement.attempt.is_some() || state == State::Delivered,
        again: false,
        hold: match (&settlement.hold, state) {
            (Some(hold), _) => Some(Some(hold.clone().earlier((settlement.at - now).max(0)))),
            // A part was placed: whatever held the lane is over.
            (None, State::Delivered | State::Pending) if is_held && settlement.attempt.is_none() => Some(None),
            _ => None,
        },
    }
}

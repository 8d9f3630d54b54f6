//! The line of the settlements: lanes share a commit.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Settled, Settlements};
use super::taking::again;
use crate::delivery::DeliveryId;
use crate::outbox::{Lease, Next, OutboxError, Settlement, State};

const LARGEST: usize = 512;

pub type Settling = Request<(Lease, Settlement), ()>;

/// Deliveries whose settlement was sent and never answered: it may have been written.
#[derive(Default)]
struct Unanswered(Mutex<HashSet<DeliveryId>>);

impl Unanswered {
    fn add(&self, ids: impl Iterator<Item = DeliveryId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    fn take(&self, id: DeliveryId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

/// Runs until the line is closed and empty.
pub async fn settle(core: Arc<Core>, mut front: Front<(Lease, Settlement), ()>) {
    let unanswered = Unanswered::default();
    let mut postponed: Vec<Settling> = Vec::new();
    loop {
        let mut batch = std::mem::take(&mut postponed);
        if batch.is_empty() {
            match front.next(LARGEST).await {
                Some(waiting) => batch = waiting,
                None => return,
            }
        }
        let mut lanes = HashSet::new();
        postponed = batch.extract_if(.., |request| !lanes.insert(request.what.0.lane)).collect();
        let lost = |request: &mut Settling| !core.book().is_current(&request.what.0);
        for request in batch.extract_if(.., lost).collect::<Vec<_>>() {
            let lane = request.what.0.lane;
            request.answer(Err(OutboxError::LeaseLost(lane)));
        }
        write(&core, &unanswered, batch).await;
    }
}

async fn write(core: &Core, unanswered: &Unanswered, batch: Vec<Settling>) {
    if batch.is_empty() {
        return;
    }
    match together(core, unanswered, &batch).await {
        Ok(ends) => batch.into_iter().zip(ends).for_each(|(request, end)| request.answer(end)),
        Err(refusal) if refusal.is_about_a_row() && batch.len() > 1 => {
            for request in batch {
                let end = together(core, unanswered, std::slice::from_ref(&request)).await;
                let end = end.map_err(|refusal| core.failed(refusal)).and_then(|mut one| one.pop().unwrap_or(Ok(())));
                request.answer(end);
            }
        }
        Err(refusal) => {
            unanswered.add(batch.iter().map(|request| request.what.1.delivery));
            let error = core.failed(refusal);
            batch.into_iter().for_each(|request| request.answer(Err(again(&error))));
        }
    }
}

/// The end of each settlement of the batch.
async fn together(
    core: &Core,
    unanswered: &Unanswered,
    batch: &[Settling],
) -> Result<Vec<Result<(), OutboxError>>, Refusal> {
    let began = Instant::now();
    let lease = core.lease()?;
    let mut columns = Settlements::default();
    let mut given = Vec::with_capacity(batch.len());
    for request in batch {
        let settled = settled(core, &request.what);
        columns.add(&settled).map_err(|error| {
            let why = error.to_string();
            OutboxError::Unreadable { table: "deliveries", column: "parts", id: settled.settlement.delivery.0, why }
        })?;
        given.push(settled);
    }
    let db = core.db().await?;
    let written: HashSet<i64> = statements::settle(&**db, lease, &columns, core.shard).await?.into_iter().collect();
    core.committed(began);
    let mut ends = Vec::with_capacity(batch.len());
    for (number, settled) in (1..).zip(given) {
        let id = settled.settlement.delivery;
        let was_unanswered = unanswered.take(id);
        if written.contains(&number) {
            let mut book = core.book();
            if settled.state != State::Pending {
                book.ended(settled.lane);
                core.pending.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(hold) = settled.hold {
                book.lanes.hold_lane(settled.lane, hold.cloned());
            }
            ends.push(Ok(()));
            continue;
        }
        core.asked();
        ends.push(match statements::whose(&**db, lease, id, settled.lane).await? {
            // An answer was lost, and the lane is ours: nobody else can have ended it.
            Some((true, state)) if was_unanswered && state == settled.state => Ok(()),
            Some((true, _)) | None => Err(OutboxError::NoSuchDelivery(id)),
            Some((false, _)) => Err(OutboxError::LeaseLost(settled.lane)),
        });
    }
    Ok(ends)
}

fn settled<'a>(core: &Core, (lease, settlement): &'a (Lease, Settlement)) -> Settled<'a> {
    let (state, unclear, reason) = match &settlement.to {
        Next::Delivered => (State::Delivered, false, None),
        Next::Dead { reason } => (State::Dead, false, Some(reason.as_str())),
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
        hold: match (&settlement.hold, state) {
            (Some(hold), _) => Some(Some(hold)),
            // A part was placed: whatever held the lane is over.
            (None, State::Delivered | State::Pending) if is_held && settlement.attempt.is_none() => Some(None),
            _ => None,
        },
    }
}

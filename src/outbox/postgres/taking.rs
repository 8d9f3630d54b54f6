//! The line of the accepts: whatever waits goes into one statement.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::batch::{Ends, LARGEST, again, write};
use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Asides, Calls};
use crate::delivery::EventId;
use crate::outbox::{Accepted, Arrival, Aside, Fingerprint, LaneId, OutboxError};

pub type Taking = Request<Arrival, Accepted>;

/// A call that may go in, with the rows of what it plans.
struct Call {
    request: Taking,
    channels: Vec<i64>,
    lanes: Vec<LaneId>,
}

/// Runs until the line is closed and empty.
pub async fn take(core: Arc<Core>, mut front: Front<Arrival, Accepted>) {
    while let Some(batch) = front.next_without_twins(LARGEST, |arrival| arrival.fingerprint).await {
        let calls = admit(&core, batch).await;
        let ends = write(&core, calls.len(), |range| together(&core, &calls[range])).await;
        for (call, end) in calls.into_iter().zip(ends) {
            match end.transpose() {
                Some(end) => answer(&core, call, end),
                None => front.again(call.request),
            }
        }
    }
}

/// Answers those that cannot be stored, and gives the others.
async fn admit(core: &Core, batch: Vec<Taking>) -> Vec<Call> {
    let planned: i64 = batch.iter().map(|request| request.what.planned.len() as i64).sum();
    let mut pending = core.pending.load(Ordering::Relaxed);
    if pending + planned > core.max_pending {
        // Others may have ended some since.
        match core.count_pending().await {
            Ok(now) => pending = now,
            Err(refusal) => {
                let error = core.unanswered(refusal);
                batch.into_iter().for_each(|request| request.answer(Err(again(&error))));
                return Vec::new();
            }
        }
    }
    let mut calls = Vec::with_capacity(batch.len());
    for request in batch {
        let planned = request.what.planned.len() as i64;
        if planned > 0 && pending + planned > core.max_pending {
            request.answer(Err(OutboxError::TooManyPending { pending, most: core.max_pending }));
            continue;
        }
        let ways = {
            let book = core.book();
            let way = |channel: &str| book.ways.get(channel).copied().ok_or_else(|| channel.to_owned());
            request.what.planned.iter().map(|planned| way(planned.channel.as_str())).collect::<Result<Vec<_>, _>>()
        };
        match ways {
            Ok(ways) => {
                pending += planned;
                let (channels, lanes) = ways.iter().map(|way| (way.channel, way.lane)).unzip();
                calls.push(Call { request, channels, lanes });
            }
            Err(channel) => request.answer(Err(OutboxError::UnknownChannel(channel))),
        }
    }
    calls
}

/// `None`: what the call was a duplicate of has been forgotten since.
async fn together(core: &Core, calls: &[Call]) -> Result<Ends<Option<Accepted>>, Refusal> {
    let began = Instant::now();
    let db = core.db().await?;
    let mut columns = Calls::default();
    for call in calls {
        columns.add(&call.request.what, &call.channels);
    }
    let mut ends: Ends<Option<Accepted>> = calls.iter().map(|_| Ok(None)).collect();
    for (number, event) in statements::accept(&**db, &columns, core.shard).await? {
        let at = (number - 1) as usize;
        ends[at] = Ok(Some(Accepted::New { event: EventId(event), deliveries: calls[at].channels.len() }));
    }
    core.committed(began);
    let known: Vec<usize> = (0..calls.len()).filter(|at| matches!(ends[*at], Ok(None))).collect();
    if !known.is_empty() {
        let fingerprints: Vec<Fingerprint> = known.iter().map(|at| calls[*at].request.what.fingerprint).collect();
        core.asked();
        match statements::seen(&**db, &fingerprints).await {
            Ok(seen) => {
                for (number, event) in seen {
                    ends[known[(number - 1) as usize]] = Ok(Some(Accepted::Duplicate { event: EventId(event) }));
                }
            }
            Err(error) => {
                let error = core.unanswered(error.into());
                known.iter().for_each(|at| ends[*at] = Err(again(&error)));
            }
        }
    }
    Ok(ends)
}

fn answer(core: &Core, call: Call, end: Result<Accepted, OutboxError>) {
    match &end {
        Ok(Accepted::New { .. }) => {
            core.pending.fetch_add(call.lanes.len() as i64, Ordering::Relaxed);
            core.tell(call.lanes);
        }
        // It may be stored all the same: who looks for it in vain has lost little.
        Err(OutboxError::Unavailable(_)) => core.tell(call.lanes),
        _ => {}
    }
    call.request.answer(end);
}

/// Runs until the line is closed and empty.
pub async fn set_aside(core: Arc<Core>, mut front: Front<Aside, ()>) {
    while let Some(batch) = front.next(LARGEST).await {
        let end = keep(&core, &batch).await.map_err(|refusal| core.failed(refusal));
        for request in batch {
            request.answer(end.as_ref().copied().map_err(again));
        }
    }
}

async fn keep(core: &Core, batch: &[Request<Aside, ()>]) -> Result<(), Refusal> {
    let began = Instant::now();
    let mut asides = Asides::default();
    for request in batch {
        match &request.what {
            Aside::Ignored => asides.ignored += 1,
            Aside::Unreadable { source, at, why, head } => {
                asides.source.push(source.as_str());
                asides.at.push(*at);
                asides.why.push(why);
                asides.head.push(head);
            }
        }
    }
    statements::set_aside(&**core.db().await?, &asides, core.shard).await?;
    core.committed(began);
    Ok(())
}

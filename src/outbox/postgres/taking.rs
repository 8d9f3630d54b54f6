//! The line of the accepts: whatever waits goes into one statement.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::{GenericClient, Transaction};

use super::batch::{Ends, LARGEST, again, write};
use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Asides, Calls, Way};
use crate::delivery::{Duty, EventId, Planned};
use crate::outbox::{Accepted, Arrival, Aside, Course, Fingerprint, IssueLane, OutboxError};

pub type Taking = Request<Arrival, Accepted>;

/// A call that may go in, with where what it plans goes.
struct Call {
    request: Taking,
    /// Its place in the line, where it is to be routed.
    to_route: Option<Planned>,
    spots: Vec<Spot>,
}

impl Call {
    fn planned(&self) -> &[Planned] {
        match &self.request.what.course {
            Course::Routed(planned) => planned,
            Course::ToRoute { .. } => self.to_route.as_slice(),
        }
    }

    /// Whether it takes more than the statement that all others share.
    fn goes_alone(&self) -> bool {
        self.request.what.guard.is_some() || self.request.what.late().is_some()
    }
}

/// Where a delivery goes.
pub enum Spot {
    /// To a channel that is led.
    Known(Way),
    /// Into a lane of an issue, which may have to be made.
    Issue(String),
}

/// Lanes of issues that are there, by their names.
pub type Made = HashMap<String, Way>;

impl Spot {
    pub fn known(&self) -> Option<Way> {
        match self {
            Self::Known(way) => Some(*way),
            Self::Issue(_) => None,
        }
    }

    pub fn way(&self, made: &Made) -> Option<Way> {
        match self {
            Self::Known(way) => Some(*way),
            Self::Issue(name) => made.get(name).copied(),
        }
    }
}

/// Of the lanes, those where something waits now.
pub fn waiting<'a>(made: Made, planned: impl Iterator<Item = (&'a Planned, &'a Spot)>) -> Vec<(String, Way)> {
    let waits: HashSet<&str> = planned
        .filter_map(|(planned, spot)| match spot {
            Spot::Issue(name) if planned.filtered.is_none() => Some(name.as_str()),
            _ => None,
        })
        .collect();
    made.into_iter().filter(|(name, _)| waits.contains(name.as_str())).collect()
}

/// Where these go.
///
/// # Errors
/// For a channel that was not placed.
pub fn spots(core: &Core, planned: &[Planned]) -> Result<Vec<Spot>, OutboxError> {
    let book = core.book();
    let spot = |planned: &Planned| match (&planned.duty, IssueLane::of(&planned.duty)) {
        (_, Some(lane)) => Ok(Spot::Issue(lane.name())),
        (Duty::Message { channel, .. }, None) => match book.ways.get(channel.as_str()) {
            Some(way) => Ok(Spot::Known(*way)),
            None => Err(OutboxError::UnknownChannel(channel.to_string())),
        },
        (duty, None) => Err(OutboxError::UnknownChannel(format!("{duty:?}"))), // all others have a lane
    };
    planned.iter().map(spot).collect()
}

/// Makes the lanes of issues among them. Nobody forgets them until the transaction ends.
pub async fn make_lanes(whole: &Transaction<'_>, spots: impl Iterator<Item = &Spot>) -> Result<Made, Refusal> {
    let names: BTreeSet<&str> = spots
        .filter_map(|spot| match spot {
            Spot::Issue(name) => Some(name.as_str()),
            Spot::Known(_) => None,
        })
        .collect();
    if names.is_empty() {
        return Ok(Made::default());
    }
    statements::keep_lanes(whole).await?;
    let names: Vec<&str> = names.into_iter().collect();
    Ok(statements::make_lanes(whole, &names).await?.into_iter().collect())
}

/// Runs until the line is closed and empty.
pub async fn take(core: Arc<Core>, mut front: Front<Arrival, Accepted>) {
    while let Some(batch) = front.next_without_twins(LARGEST, |arrival| arrival.fingerprint).await {
        let calls = admit(&core, batch).await;
        let ends = in_runs(&core, &calls).await;
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
    let waiting: i64 = batch.iter().map(|request| request.what.course.waiting() as i64).sum();
    let mut pending = core.pending.waiting();
    if pending + waiting > core.max_pending {
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
        let waiting = request.what.course.waiting() as i64;
        if waiting > 0 && pending + waiting > core.max_pending {
            request.answer(Err(OutboxError::TooManyPending { pending, most: core.max_pending }));
            continue;
        }
        let to_route = match &request.what.course {
            Course::Routed(_) => None,
            Course::ToRoute { line } => Some(Planned::to_route(line)),
        };
        let mut call = Call { request, to_route, spots: Vec::new() };
        match spots(core, call.planned()) {
            Ok(spots) => {
                pending += waiting;
                call.spots = spots;
                calls.push(call);
            }
            Err(error) => call.request.answer(Err(error)),
        }
    }
    calls
}

/// `None`: what the call was a duplicate of has been forgotten since.
type End = Option<Accepted>;

/// The calls that have a guard, or came by a log, go one by one: each is stored whole or not at all. A run is a transaction
/// of its own, and what it came to stays, whatever becomes of the next.
async fn in_runs(core: &Core, calls: &[Call]) -> Ends<End> {
    let mut ends: Ends<End> = Vec::with_capacity(calls.len());
    for run in calls.chunk_by(|one, next| !one.goes_alone() && !next.goes_alone()) {
        match ends.last() {
            // Nobody answers: to ask once for each of them would keep the callers waiting.
            Some(Err(error @ OutboxError::Unavailable(_))) if !core.can_write() => {
                let error = again(error);
                ends.extend(run.iter().map(|_| Err(again(&error))));
            }
            _ => ends.extend(write(core, run.len(), |range| stored(core, &run[range])).await),
        }
    }
    ends
}

async fn stored(core: &Core, calls: &[Call]) -> Result<Ends<End>, Refusal> {
    let began = Instant::now();
    let mut db = core.db().await?;
    let is_plain = |call: &Call| {
        let is_told = call.request.what.object.is_some();
        !is_told && !call.goes_alone() && call.spots.iter().all(|spot| spot.known().is_some())
    };
    let (new, made) = if calls.iter().all(is_plain) {
        (insert(core, &**db, calls, &Made::default()).await?, Made::default())
    } else {
        let whole = db.transaction().await?;
        if let [call] = calls
            && let Some(between) = call.request.what.late()
            && let Some(other) = statements::called_between(&whole, call.request.what.fingerprint, between).await?
        {
            whole.rollback().await?;
            return Ok(vec![Ok(Some(Accepted::Duplicate { event: EventId(other) }))]);
        }
        let made = make_lanes(&whole, calls.iter().flat_map(|call| &call.spots)).await?;
        let new = insert(core, &whole, calls, &made).await?;
        if let ([call], [(_, event)]) = (calls, new.as_slice())
            && let Some(guard) = call.request.what.guard
            && let Some(other) = statements::guard(&whole, guard, *event, &call.request.what).await?
        {
            whole.rollback().await?;
            statements::count_duplicate(&**db, core.shard).await?;
            core.committed(began);
            return Ok(vec![Ok(Some(Accepted::Duplicate { event: EventId(other) }))]);
        }
        let told = new.iter().map(|(number, _)| &calls[(number - 1) as usize].request.what);
        statements::keep_objects(&whole, told).await?;
        whole.commit().await?;
        (new, made)
    };
    core.committed(began);
    let mut ends: Ends<End> = calls.iter().map(|_| Ok(None)).collect();
    for (number, event) in new {
        let at = (number - 1) as usize;
        let deliveries = calls[at].request.what.course.deliveries();
        ends[at] = Ok(Some(Accepted::New { event: EventId(event), deliveries }));
    }
    core.tell_of_issues(waiting(made, calls.iter().flat_map(|call| call.planned().iter().zip(&call.spots))));
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

/// The numbers of those that are new, and their events.
async fn insert(core: &Core, db: &impl GenericClient, calls: &[Call], made: &Made) -> Result<Vec<(i64, i64)>, Refusal> {
    let mut columns = Calls::default();
    for call in calls {
        let ways: Vec<i64> = call.spots.iter().filter_map(|spot| Some(spot.way(made)?.channel)).collect();
        columns.add(&call.request.what, call.planned(), &ways).map_err(|error| {
            let why = error.to_string();
            OutboxError::Unreadable { table: "deliveries", column: "duty", id: 0, why }
        })?;
    }
    Ok(statements::accept(db, &columns, core.shard).await?)
}

fn answer(core: &Core, call: Call, end: Result<Accepted, OutboxError>) {
    let lanes = || call.spots.iter().filter_map(|spot| Some(spot.known()?.lane)).collect();
    match &end {
        Ok(Accepted::New { .. }) => {
            core.pending.add(call.request.what.course.waiting() as i64);
            core.tell(lanes());
        }
        // It may be stored all the same: who looks for it in vain has lost little.
        Err(OutboxError::Unavailable(_)) => core.tell(lanes()),
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

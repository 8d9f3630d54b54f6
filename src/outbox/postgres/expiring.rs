//! Retention: what was settled long ago goes, a small batch at a time, by whichever replica comes first.

use std::sync::{Mutex, PoisonError};

use super::connect::Db;
use super::statements;
use crate::outbox::{Expired, Fingerprint, IssueLane, Millis};

const BATCH: i64 = 200;
/// Fingerprints looked at in one transaction.
const FORGET_BATCH: i64 = 2_000;
const UNREADABLE_KEPT: i64 = 1_000;

/// How far it has walked.
#[derive(Default)]
pub struct Walk(Mutex<Walked>);

#[derive(Clone, Copy, Default)]
struct Walked {
    events_to: i64,
    seen_to: Fingerprint,
}

/// One batch. Nothing while another replica is at it.
pub async fn expire(db: &mut Db, walk: &Walk, now: Millis, cutoff: Millis) -> Result<Expired, statements::Failed> {
    let walked = *walk.0.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = db.transaction().await?;
    if !statements::alone(&whole).await? {
        return Ok(Expired::default());
    }
    let (events, events_to, issues) = statements::expire_events(&whole, walked.events_to, cutoff, BATCH).await?;
    let lanes = issues.into_iter().flat_map(|issue| [IssueLane::Actions(issue.clone()), IssueLane::Events(issue)]);
    let lanes: Vec<String> = lanes.map(|lane| lane.name()).collect();
    statements::forget_lanes(&whole, &lanes).await?;
    let marks = statements::forget_marks(&whole, cutoff, BATCH).await?;
    let threads = statements::forget_threads(&whole, cutoff, BATCH).await?;
    let unreadable = statements::forget_unreadable(&whole, cutoff, UNREADABLE_KEPT).await?;
    let seen_to = statements::forget_seen(&whole, walked.seen_to, FORGET_BATCH, now).await?;
    let objects = statements::forget_objects(&whole, cutoff, BATCH).await?;
    whole.commit().await?;
    *walk.0.lock().unwrap_or_else(PoisonError::into_inner) =
        Walked { events_to: events_to.unwrap_or_default(), seen_to: seen_to.unwrap_or_default() };
    let rows = events + threads + marks + unreadable + objects;
    let more = events_to.is_some() || seen_to.is_some() || threads.max(marks).max(objects) == BATCH;
    Ok(Expired { rows: rows.max(0) as usize, more })
}

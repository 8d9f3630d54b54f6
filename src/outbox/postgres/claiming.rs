//! Taking turns: at lanes that are held here by the book alone, at others by their conversation's row.

use std::time::Instant;

use super::core::{Core, Refusal};
use super::keeper;
use super::statements::{self, ConversationId};
use crate::outbox::{Lease, Millis, OutboxError, Until};

/// After a claim that failed.
const CLAIM_AGAIN_MS: Millis = 250;
/// Lanes taken in one statement: those whose turn comes next are taken along with those whose turn it is.
const CLAIM_BATCH: usize = 512;

pub async fn claim(core: &Core, account: &str, most: usize) -> Result<Vec<Lease>, OutboxError> {
    if !core.is_certain() {
        keeper::renew(core).await.map_err(|refusal| core.failed(refusal))?;
    }
    let (mut turns, free, wanted) = {
        let mut book = core.book();
        let (held, free) = book.claim(account, most, core.clock.now_ms());
        let wanted = if free.is_empty() { Vec::new() } else { book.to_claim(account, &free, CLAIM_BATCH) };
        (held, free, wanted)
    };
    if !free.is_empty() {
        match claim_free(core, free.clone(), &wanted).await {
            Ok(more) => turns.extend(more),
            Err(refusal) => {
                let error = core.failed(refusal);
                let again = core.clock.now_ms() + CLAIM_AGAIN_MS;
                let mut book = core.book();
                free.iter().for_each(|turn| book.lanes.release(turn, Until::BackedOff(again)));
                if turns.is_empty() {
                    return Err(error);
                }
            }
        }
    }
    Ok(turns)
}

/// Takes conversations that nobody holds; gives those of the turns that are this replica's now.
async fn claim_free(core: &Core, free: Vec<Lease>, wanted: &[ConversationId]) -> Result<Vec<Lease>, Refusal> {
    let _nobody_leaves = core.claiming.lock().await;
    let began = Instant::now();
    let lease = core.lease()?;
    let db = core.db().await?;
    let claimed = statements::claim(&**db, lease, wanted).await?;
    core.committed(began);
    let (asked_at, our_time) = (core.clock.now_ms(), core.our_time());
    let holds = statements::lane_holds(&**db, our_time, &claimed).await?;
    core.asked();
    let mut book = core.book();
    let now = core.clock.now_ms(); // under the book's lock: it goes back together with the holds there
    let back = (asked_at - now).max(0);
    claimed.into_iter().for_each(|conversation| book.claimed(conversation, now));
    for (lane, hold) in holds {
        book.lanes.hold_lane(lane, hold.map(|hold| hold.earlier(back).at_start(now)));
    }
    let mut turns = Vec::with_capacity(free.len());
    for turn in free {
        if !book.holds(turn.lane) {
            book.lanes.expect_nothing(turn.lane); // another has it, and sends what is there
        } else if book.lanes.lane_hold(turn.lane).is_none_or(|hold| hold.until <= now) {
            turns.push(book.with_hold(turn));
            continue;
        }
        book.lanes.release(&turn, Until::Now);
    }
    Ok(turns)
}

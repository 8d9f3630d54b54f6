//! The line of the questions for heads: lanes share a statement.

use std::sync::Arc;

use super::batch::{Ends, again};
use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Served};
use crate::outbox::{Due, LaneId};

/// Lanes asked for in one statement: a larger answer would keep the first of them waiting.
const LARGEST: usize = 64;

/// A holder's question for the first pending deliveries of its lane.
pub struct Wanted {
    pub lane: LaneId,
    pub most: usize,
}

pub type Reading = Request<Wanted, Vec<Due>>;

/// Runs until the line is closed and empty.
pub async fn read(core: Arc<Core>, mut front: Front<Wanted, Vec<Due>>) {
    while let Some(batch) = front.next(LARGEST).await {
        match together(&core, &batch).await {
            Ok(heads) => batch.into_iter().zip(heads).for_each(|(request, heads)| request.answer(heads)),
            Err(refusal) => {
                let error = core.unanswered(refusal);
                batch.into_iter().for_each(|request| request.answer(Err(again(&error))));
            }
        }
    }
}

/// Each lane's heads, or which of its rows cannot be read.
async fn together(core: &Core, batch: &[Reading]) -> Result<Ends<Vec<Due>>, Refusal> {
    let lanes: Vec<Served> = {
        let book = core.book();
        batch.iter().map(|request| book.served(request.what.lane)).collect()
    };
    let most = batch.iter().map(|request| request.what.most).max().unwrap_or_default();
    let lease = core.lease()?;
    core.asked();
    let rows = statements::heads(&**core.db().await?, lease, &lanes, most).await?;
    let mut heads: Ends<Vec<Due>> = batch.iter().map(|_| Ok(Vec::new())).collect();
    for row in &rows {
        let at = statements::asked_by(row);
        let lane = &mut heads[at];
        match (&mut *lane, statements::due(row)) {
            (Ok(dues), _) if dues.len() == batch[at].what.most => {}
            (Ok(dues), Ok(due)) => dues.push(due),
            (Ok(_), Err(error)) => *lane = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(heads)
}

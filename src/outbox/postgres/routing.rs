//! Routing an event that was to be routed: a transaction of its own.

use std::time::Instant;

use super::core::{Core, Refusal};
use super::statements::{self, Rows, Way};
use super::taking::{Spot, make_lanes, spots, waiting};
use crate::outbox::{Course, LaneId, Lease, OutboxError, Routed, Routing};

/// Gives how many deliveries came.
pub async fn route(core: &Core, turn: &Lease, routing: &Routing) -> Result<usize, Refusal> {
    if !core.book().is_current(turn) {
        return Err(OutboxError::LeaseLost(turn.lane).into());
    }
    let planned = match &routing.to {
        Routed::Event { planned, .. } => planned.as_slice(),
        Routed::Ignored => &[],
    };
    let spots = spots(core, planned)?;
    let (began, lease) = (Instant::now(), core.lease()?);
    let mut db = core.db().await?;
    let whole = db.transaction().await?;
    let made = make_lanes(&whole, spots.iter()).await?;
    let Some(event) = statements::to_route(&whole, lease, turn.lane, routing.delivery).await? else {
        return Err(OutboxError::LeaseLost(turn.lane).into());
    };
    let ways: Vec<Way> = spots.iter().filter_map(|spot| spot.way(&made)).collect();
    let mut rows = Rows::default();
    for (planned, way) in planned.iter().zip(&ways) {
        rows.add(event.0, way.channel, planned).map_err(|error| {
            let why = error.to_string();
            OutboxError::Unreadable { table: "deliveries", column: "duty", id: routing.delivery.0, why }
        })?;
    }
    statements::route(&whole, event, &routing.to, &rows, core.shard).await?;
    whole.commit().await?;
    drop(db);
    core.committed(began);
    core.book().ended(turn.lane);
    let waits = Course::waiting_of(planned) as i64;
    core.pending.add(waits);
    core.pending.ended();
    let lanes: Vec<LaneId> = spots.iter().filter_map(Spot::known).map(|way| way.lane).collect();
    core.tell(lanes);
    core.tell_of_issues(waiting(made, planned.iter().zip(&spots)));
    Ok(planned.len())
}

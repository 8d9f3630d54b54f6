//! Links on PostgreSQL. Another replica may have made one a moment ago: which channels an issue is linked to is asked with
//! every event, for all events that come together in one statement.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Postgres;
use super::batch::{LARGEST, again};
use super::core::{Core, Refusal};
use super::line::{Front, Request};
use super::statements::{self, Calls};
use super::taking::{Spot, make_lanes, spots, waiting};
use crate::delivery::{EventId, Planned};
use crate::event::ChannelName;
use crate::outbox::links::{CHANNEL, ChannelNow, LinkFilter, LinkRow, Linking, Links, Object, channel_of};
use crate::outbox::{Accepted, Arrival, Course, LaneId, OutboxError};

/// Runs until the line is closed and empty.
pub async fn follow(core: Arc<Core>, mut front: Front<String, Vec<ChannelName>>) {
    while let Some(batch) = front.next(LARGEST).await {
        match together(&core, &batch).await {
            Ok(channels) => batch.into_iter().zip(channels).for_each(|(request, them)| request.answer(Ok(them))),
            Err(refusal) => {
                let error = core.unanswered(refusal);
                batch.into_iter().for_each(|request| request.answer(Err(again(&error))));
            }
        }
    }
}

async fn together(core: &Core, batch: &[Request<String, Vec<ChannelName>>]) -> Result<Vec<Vec<ChannelName>>, Refusal> {
    let issues: Vec<&str> = batch.iter().map(|request| request.what.as_str()).collect();
    let mut channels = vec![Vec::new(); issues.len()];
    core.asked();
    for (number, object) in statements::linked(&**core.db().await?, &issues, CHANNEL).await? {
        channels[(number - 1) as usize].extend(channel_of(&object));
    }
    Ok(channels)
}

/// A link that begins, or ends.
pub struct Turn {
    linking: Linking,
    begins: bool,
}

/// Runs until the line is closed and empty. They are rare: one after the other.
pub async fn turn(core: Arc<Core>, mut front: Front<Turn, Option<Accepted>>) {
    while let Some(batch) = front.next(LARGEST).await {
        for request in batch {
            let Turn { linking, begins } = &request.what;
            let end = change(&core, linking, *begins).await.map_err(|refusal| core.failed(refusal));
            request.answer(end);
        }
    }
}

/// The link, its event and deliveries: one transaction. `None`: nothing changes.
async fn change(core: &Core, linking: &Linking, begins: bool) -> Result<Option<Accepted>, Refusal> {
    let arrival = &linking.arrival;
    let planned: &[Planned] = match &arrival.course {
        Course::Routed(planned) => planned,
        Course::ToRoute { .. } => &[], // an event of a link is routed as it is
    };
    let spots = spots(core, planned)?;
    has_room(core, arrival).await?;
    let began = Instant::now();
    let mut db = core.db().await?;
    let whole = db.transaction().await?;
    let changes = match begins {
        true => statements::link(&whole, linking).await?,
        false => statements::unlink(&whole, linking).await?,
    };
    if !changes {
        return Ok(None);
    }
    let made = make_lanes(&whole, spots.iter()).await?;
    let ways: Vec<i64> = spots.iter().filter_map(|spot| Some(spot.way(&made)?.channel)).collect();
    let mut calls = Calls::default();
    calls.add(arrival, planned, &ways).map_err(|error| {
        let why = error.to_string();
        OutboxError::Unreadable { table: "deliveries", column: "duty", id: 0, why }
    })?;
    let new = statements::accept(&whole, &calls, core.shard).await?;
    let Some((_, event)) = new.first() else {
        // Nobody else has its fingerprint; if somebody had, nothing must change.
        return Err(OutboxError::Closed.into());
    };
    whole.commit().await?;
    drop(db);
    core.committed(began);
    core.pending.add(arrival.course.waiting() as i64);
    let lanes: Vec<LaneId> = spots.iter().filter_map(Spot::known).map(|way| way.lane).collect();
    core.tell(lanes);
    core.tell_of_issues(waiting(made, planned.iter().zip(&spots)));
    Ok(Some(Accepted::New { event: EventId(*event), deliveries: arrival.course.deliveries() }))
}

/// # Errors
/// More is pending than may be.
async fn has_room(core: &Core, arrival: &Arrival) -> Result<(), Refusal> {
    let (waiting, most) = (arrival.course.waiting() as i64, core.max_pending);
    if waiting == 0 || core.pending.waiting() + waiting <= most {
        return Ok(());
    }
    let pending = core.count_pending().await?; // others may have ended some since
    match pending + waiting > most {
        true => Err(OutboxError::TooManyPending { pending, most }.into()),
        false => Ok(()),
    }
}

#[async_trait]
impl Links for Postgres {
    async fn link(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError> {
        self.links.ask(Turn { linking, begins: true }).await
    }

    async fn unlink(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError> {
        self.links.ask(Turn { linking, begins: false }).await
    }

    async fn link_moved(&self, present: &str, before: &[String]) -> Result<bool, OutboxError> {
        let mut db = self.db_for_later().await?;
        let linked = async {
            let whole = db.transaction().await?;
            let is_new = statements::link_moved(&whole, present, before, CHANNEL).await?;
            whole.commit().await?;
            Ok::<_, statements::Failed>(is_new)
        };
        linked.await.map_err(|error| self.unanswered(error))
    }

    async fn linked_channels(&self, issue: &str) -> Result<Vec<ChannelName>, OutboxError> {
        self.followers.ask(issue.to_owned()).await
    }

    async fn links(&self, filter: LinkFilter) -> Result<Vec<LinkRow>, OutboxError> {
        let links = statements::links(&**self.db_for_later().await?, &filter).await;
        links.map_err(|error| self.unanswered(error))
    }

    async fn object(&self, key: &str) -> Result<Option<Object>, OutboxError> {
        statements::object(&**self.db().await?, key).await.map_err(|error| self.unanswered(error))?
    }

    async fn channel_now(&self, channel: &ChannelName) -> Result<ChannelNow, OutboxError> {
        let now = statements::channel_now(&**self.db_for_later().await?, channel.as_str()).await;
        now.map_err(|error| self.unanswered(error))
    }
}

//! Where the channels lead, by this replica's configuration.
//!
//! A channel's row names one lane for all replicas: an order that several senders keep has to be in one place. Replicas with
//! different configurations (a rollout that is under way, or was undone) each lead what they find elsewhere when they are
//! placed, so the latest counts, and all lead anew once they agree. What is pending goes where its channel leads, and is sent
//! by those that lead it there too.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tracing::info;

use super::core::{Core, Refusal};
use super::keeper;
use super::statements::{self, Channels, Led, Way};
use crate::outbox::{OutboxError, Place};

/// Leads the channels to their places. One whose messages another replica may be sending stays where it is, and
/// [`lead_rest`] tries it again: a replica with another configuration is not waited for.
pub async fn place(core: &Core, places: Vec<Place>) -> Result<(), Refusal> {
    let _one_at_a_time = core.leading.lock().await;
    let asked = core.book().lead_anew(); // should this fail midway, what was led is led back
    let all = places.iter().map(|place| place.channel.to_string()).collect();
    let led = lead(core, &places, &all).await?;
    keeper::read_holds(core).await?;
    say(core, &channels(&places, &led)).await?;
    for place in places.iter().filter(|place| way_there(&led, place).is_none()) {
        let channel = place.channel.as_str();
        info!(channel, "another replica sends to where this channel led before; it is led anew after that");
    }
    let now = core.clock.now_ms();
    let mut book = core.book();
    for (account, hold) in book.lanes.accounts_held() {
        book.lanes.hold_account(&account, Some(hold.at_start(now)));
    }
    for lane in book.lanes.ids().collect::<Vec<_>>() {
        book.lanes.expect_nothing(lane);
    }
    book.lead(places, led, (all, asked));
    Ok(())
}

/// Leads what another replica held when it was placed, or one that is gone has led elsewhere. Where replicas lead channels
/// differently, takes over where they lead now.
pub async fn lead_rest(core: &Core) -> Result<(), Refusal> {
    let _one_at_a_time = core.leading.lock().await;
    let (places, (to_lead, asked)) = {
        let book = core.book();
        let (to_lead, asked) = book.to_lead();
        if to_lead.is_empty() && !book.is_mixed() {
            return Ok(());
        }
        (book.places.clone(), (to_lead, asked))
    };
    let led = lead(core, &places, &to_lead).await?;
    say(core, &channels(&places, &led)).await?;
    core.book().lead(places, led, (to_lead, asked));
    Ok(())
}

/// Before anything is sent to a channel the others know that it may be.
async fn say(core: &Core, served: &Channels) -> Result<(), Refusal> {
    if *served == core.book().said {
        return Ok(());
    }
    core.asked();
    if !statements::say_channels(&**core.db().await?, core.lease()?, served).await? {
        keeper::renew(core).await?; // under another lease
        if !statements::say_channels(&**core.db().await?, core.lease()?, served).await? {
            return Err(OutboxError::Closed.into());
        }
    }
    Ok(())
}

/// Leads those channels that are `to_lead`, and gives where all are led now.
///
/// A channel of the replica's own lane is led away under its own lease: its turns send from there only what leads there by
/// the book, and when that changes by a reload they stand still.
async fn lead(core: &Core, places: &[Place], to_lead: &HashSet<String>) -> Result<HashMap<String, Led>, Refusal> {
    let channels: Vec<&str> = places.iter().map(|place| place.channel.as_str()).collect();
    let db = core.db().await?;
    let led = statements::led(&**db, &channels).await?;
    core.asked();
    let is_due = |place: &&Place| to_lead.contains(place.channel.as_str()) && way_there(&led, place).is_none();
    let rest: Vec<&Place> = places.iter().filter(is_due).collect();
    if rest.is_empty() {
        return Ok(led);
    }
    let (began, lease) = (Instant::now(), core.lease()?);
    statements::lead_new(&**db, &rest).await?;
    statements::lead_elsewhere(&**db, lease, &rest).await?;
    core.committed(began);
    Ok(statements::led(&**db, &channels).await?)
}

/// If the channel leads to its place.
pub fn way_there(led: &HashMap<String, Led>, place: &Place) -> Option<Way> {
    led.get(place.channel.as_str()).filter(|led| led.to == place.lane).map(|led| led.way)
}

/// Those that lead to their places now.
pub fn channels(places: &[Place], led: &HashMap<String, Led>) -> Channels {
    let id = |place: &Place| way_there(led, place).map(|way| way.channel);
    Channels { places: hash(places), ids: places.iter().filter_map(id).collect() }
}

/// The same for replicas that lead the same channels to the same lanes, and for all versions of Campanile.
fn hash(places: &[Place]) -> i64 {
    let mut lines: Vec<String> = places.iter().map(|place| format!("{}\0{}\n", place.channel, place.lane)).collect();
    lines.sort();
    let digest = Sha256::digest(lines.concat());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | i64::from(*byte))
}

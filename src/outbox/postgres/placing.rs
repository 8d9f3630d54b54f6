//! Where the channels lead, by this replica's configuration.

use std::collections::HashMap;
use std::time::Instant;

use tracing::info;

use super::core::{Core, Refusal};
use super::statements::{self, Led, Way};
use crate::outbox::Place;

/// Leads the channels to their places. One whose messages another replica may be sending stays where it is, and
/// [`lead_rest`] tries it again: a replica with another configuration is not waited for.
pub async fn place(core: &Core, places: Vec<Place>) -> Result<(), Refusal> {
    let led = lead(core, &places).await?;
    let holds = statements::account_holds(&**core.db().await?).await?;
    core.asked();
    let now = core.clock.now_ms();
    let mut book = core.book();
    book.see_holds(holds);
    for (account, hold) in book.lanes.accounts_held() {
        book.lanes.hold_account(&account, Some(hold.at_start(now)));
    }
    for lane in book.lanes.ids().collect::<Vec<_>>() {
        book.lanes.expect_nothing(lane);
    }
    book.places = places;
    book.lead(led);
    Ok(())
}

/// Leads the channels that another replica held when they were placed.
pub async fn lead_rest(core: &Core) -> Result<(), Refusal> {
    let Some(places) = core.book().unled() else { return Ok(()) };
    let led = lead(core, &places).await?;
    let mut book = core.book();
    // Unless a reload came between.
    if book.places == places {
        book.lead(led);
    }
    Ok(())
}

async fn lead(core: &Core, places: &[Place]) -> Result<HashMap<String, Led>, Refusal> {
    let began = Instant::now();
    let lease = core.book().lease;
    let mut db = core.db().await?;
    let watched = db.watched();
    let whole = db.transaction().await?;
    // By name: two replicas that start together wait for each other and never in a circle.
    let mut in_order: Vec<&Place> = places.iter().collect();
    in_order.sort_by_key(|place| place.channel.as_str());
    let (mut led, mut lanes) = (HashMap::new(), Vec::new());
    for place in in_order {
        watched.next(); // there may be a thousand
        let name = place.channel.as_str();
        let there = statements::lane(&whole, place).await?;
        let channel = statements::lead(&whole, name, there, lease).await?;
        if let Led::Before(Way { lane, .. }) = channel {
            info!(channel = name, "another replica sends to where this channel led before; it is led anew after that");
            lanes.push(lane);
        }
        lanes.push(there.0);
        led.insert(name.to_owned(), channel);
    }
    let named: Vec<&str> = places.iter().map(|place| place.channel.as_str()).collect();
    statements::lead_nowhere(&whole, &lanes, &named).await?;
    whole.commit().await?;
    core.committed(began);
    Ok(led)
}

//! Keeps the links of issues that are moved: what calls an issue by its new key is heard by the channels that were linked to
//! it before, also where its source does not enrich.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::lane::Works;
use crate::lifecycle::Lifecycle;
use crate::outbox::{IssueLane, LinkFilter, OutboxError};
use crate::tracker::client::Client;
use crate::tracker::moved::every_key;

const EVERY: Duration = Duration::from_secs(5 * 60);
/// Issues of one round. The next one goes on there.
const ISSUES: usize = 50;

/// Runs until a stop is asked for.
pub async fn keep(works: Arc<Works>, lifecycle: Lifecycle) {
    let mut before = None;
    loop {
        let round = async {
            let plan = works.plan.borrow().clone();
            if let Some(tracker) = plan.tracker.as_ref().filter(|_| plan.planner.follows_links) {
                before = look(&works, tracker, before).await.unwrap_or_else(|error| {
                    warn!(%error, "links of moved issues are looked for again later: the store fails");
                    before
                });
            }
            works.clock.sleep(EVERY).await;
        };
        tokio::select! {
            () = round => {}
            () = lifecycle.stopping.cancelled() => return,
        }
    }
}

/// Asks for the issues of the next links; of which Tracker does not tell, it is asked again when all others were. Gives where
/// to go on; `None`: at the newest.
async fn look(works: &Works, tracker: &Client, before: Option<i64>) -> Result<Option<i64>, OutboxError> {
    let filter = LinkFilter { before, limit: ISSUES, ..LinkFilter::default() };
    let links = works.outbox.links(filter).await?;
    let end = links.last().filter(|_| links.len() == ISSUES).map(|link| link.id);
    let issues: BTreeSet<String> =
        links.into_iter().filter(|link| link.leads_to_channel()).map(|link| link.issue).collect();
    for issue in issues {
        let now = works.clock.now_ms();
        if works.outbox.account_hold(IssueLane::TRACKER).is_some_and(|hold| hold.until > now) {
            return Ok(before);
        }
        match every_key(&tracker.free(), &issue).await {
            Ok(keys) => {
                let Some((present, others)) = keys.split_first() else { continue };
                if !others.is_empty() && works.outbox.link_moved(present, others).await? {
                    info!(issue, present, "the issue was moved: its channels are linked to it by its new key too");
                }
            }
            Err(error) => {
                debug!(issue, %error, "Tracker does not tell whether a linked issue was moved; asked again later");
            }
        }
    }
    Ok(end)
}

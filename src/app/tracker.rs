//! What is asked of Tracker outside of any lane: who Campanile is there, and whether its token has changed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::reload::Reloader;
use crate::lane::Works;
use crate::lifecycle::Lifecycle;
use crate::outbox::IssueLane;
use crate::tracker::own::own;

/// How often the token is looked at: what waits for another one goes on so soon.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often Tracker is asked who we are.
const ASK_EVERY: Duration = Duration::from_secs(60 * 60);
/// After a question that failed.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Runs until a stop is asked for.
pub async fn watch(reloader: Arc<Reloader>, works: Arc<Works>, lifecycle: Lifecycle) {
    let mut plan = works.plan.subscribe();
    let (mut ask_at, mut asked_at) = (Duration::ZERO, Duration::ZERO);
    while !lifecycle.stopping.is_cancelled() {
        let tracker = plan.borrow_and_update().tracker.clone();
        match tracker {
            None => drop(works.own.send_replace(None)),
            Some(tracker) => {
                if tracker.token().read_again() {
                    reloader.end_waits(&[IssueLane::TRACKER, IssueLane::ROUTING]).await;
                    ask_at = Duration::ZERO;
                }
                // What concerns the token is over when Tracker says who we are.
                let hold = works.outbox.account_hold(IssueLane::TRACKER).filter(|hold| hold.needs_a_person);
                if hold.is_some() {
                    ask_at = ask_at.min(asked_at + ASK_AGAIN);
                }
                if works.clock.elapsed() >= ask_at {
                    asked_at = works.clock.elapsed();
                    let api = tracker.free();
                    let asked = tokio::select! {
                        asked = own(&api) => asked,
                        () = lifecycle.stopping.cancelled() => return,
                    };
                    ask_at = works.clock.elapsed() + if asked.is_ok() { ASK_EVERY } else { ASK_AGAIN };
                    match asked {
                        Ok(own) => {
                            if hold.is_some() {
                                if let Err(error) = works.outbox.hold_account(IssueLane::TRACKER, None).await {
                                    warn!(%error, "the end of Tracker's hold could not be written");
                                }
                                reloader.end_waits(&[IssueLane::TRACKER, IssueLane::ROUTING]).await;
                            }
                            let new = works.own.send_replace(Some(own.clone())) != Some(own.clone());
                            if new {
                                info!(login = own.login(), "Tracker knows us; our own changes are told from others'");
                            }
                        }
                        Err(error) => {
                            warn!(%error, "Tracker does not say who we are: our own changes are taken for others' until it does");
                        }
                    }
                }
            }
        }
        tokio::select! {
            () = lifecycle.stopping.cancelled() => {}
            Ok(()) = plan.changed() => ask_at = Duration::ZERO,
            () = works.clock.sleep(LOOK_EVERY) => {}
        }
    }
}

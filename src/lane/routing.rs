//! One event that is to be routed: what Tracker knows of its issue goes into it, then it leads where the routes say.
//!
//! Nothing ends here without being routed: what Tracker does not tell in time is left out, and the event says so.

use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::deliver::Then;
use super::{Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Advice, Scope, SendError};
use crate::event::Event;
use crate::outbox::{Due, Hold, IssueLane, Lease, Millis, OutboxError, Routed, Routing, Until};
use crate::telemetry::{ByEnd, ByRoute};
use crate::tracker::look::{Look, look};
use crate::tracker::merge::merge;

impl Runner {
    /// Routes the event at the head of its line. What came after it waits: the events of one issue are routed in the order
    /// in which they were accepted.
    pub(super) async fn route(&self, lease: &Lease, due: &Due, plan: &Plan) -> Then {
        let mut event: Event = match serde_json::from_str(&due.document) {
            Ok(event) => event,
            Err(error) => {
                // Nobody can have written this; what stands behind it must not wait for ever.
                error!(event = due.event.0, %error, "an event that is to be routed cannot be read; it leads nowhere");
                return self.routed(lease, due, Routed::Ignored).await;
            }
        };
        let deadline = due.planned_at.saturating_add(plan.enrich_within.as_millis() as Millis);
        let known = match self.ask(lease, &event, plan).await {
            Ok(known) => Some(known),
            Err(why) => {
                let now = self.works.clock.now_ms();
                if matches!(why, Unasked::LeaseLost) {
                    return Then::Release(Until::Now);
                }
                if now < deadline && !matches!(why, Unasked::Nobody) {
                    let again = self.later(self.lanes_in_trouble.back_off(lease.lane));
                    return Then::Release(Until::BackedOff(again.min(deadline)));
                }
                warn!(
                    event = due.event.0,
                    line = due.place(),
                    why = why.to_string(),
                    "routed without what Tracker knows"
                );
                None
            }
        };
        self.lanes_in_trouble.over(&lease.lane);
        match &known {
            Some(look) => merge(&mut event, look, &plan.web_url),
            None => event.event.unenriched = true,
        }
        let end = if known.is_some() { "enriched" } else { "unenriched" };
        self.works.metrics.events_enriched.get_or_create(&ByEnd { end }).inc();
        let by_us = self.works.own.borrow().as_ref().is_some_and(|own| own.did(&event, known.as_ref()));
        let document = match serde_json::to_string(&event) {
            Ok(document) => document,
            Err(error) => {
                error!(event = due.event.0, %error, "an event cannot be written; it is routed as it came");
                due.document.clone()
            }
        };
        let planned = plan.planner.plan(&event, &document, by_us, self.works.clock.now_ms());
        for failed in &planned.failed {
            let by = ByRoute { route: failed.route.to_string() };
            self.works.metrics.condition_errors.get_or_create(&by).inc();
        }
        if planned.planned.is_empty() {
            self.works.metrics.unrouted.inc();
        }
        let issue = event.issue.map(|issue| issue.key);
        let to = Routed::Event { kind: event.event.kind, issue, document, planned: planned.planned };
        self.routed(lease, due, to).await
    }

    /// What Tracker knows now.
    async fn ask(&self, lease: &Lease, event: &Event, plan: &Plan) -> Result<Look, Unasked> {
        let tracker = plan.tracker.as_ref().ok_or(Unasked::Nobody)?;
        let (works, held) = (&self.works, lease.clone());
        let now = works.clock.now_ms();
        let hold = works.outbox.account_hold(IssueLane::TRACKER);
        if let Some(hold) = hold.as_ref().filter(|hold| hold.until > now) {
            return Err(Unasked::Held(hold.reason.clone()));
        }
        let outbox = works.outbox.clone();
        let api = tracker.under(Arc::new(move || outbox.holds(&held) && outbox.can_write()));
        match look(&api, event).await {
            Ok(look) => {
                if hold.is_some() {
                    self.end_hold_of(IssueLane::TRACKER).await;
                }
                Ok(look)
            }
            Err(error) => Err(self.refused(error.into()).await),
        }
    }

    /// What concerns every call is told to all: a token that ended, a pause.
    async fn refused(&self, error: SendError) -> Unasked {
        let (until, reason, needs_a_person) = match error.advice() {
            Advice::Hold { scope: Scope::Account, reason } => (self.next_probe().0, reason, true),
            Advice::Wait { at_least: Some(wait), scope: Scope::Account } => {
                (self.later(wait), error.to_string(), false)
            }
            _ if matches!(error, SendError::LeaseLost) => return Unasked::LeaseLost,
            _ => return Unasked::Failed(error),
        };
        self.hold_account_of(IssueLane::TRACKER, Hold { until, reason: reason.clone(), needs_a_person }).await;
        Unasked::Held(reason)
    }

    async fn routed(&self, lease: &Lease, due: &Due, to: Routed) -> Then {
        loop {
            let routing = Routing { delivery: due.id, to: to.clone() };
            match self.works.outbox.route(lease, routing).await {
                Ok(deliveries) => {
                    info!(event = due.event.0, line = due.place(), deliveries, "routed");
                    return Then::Next;
                }
                Err(error @ (OutboxError::LeaseLost(_) | OutboxError::NoSuchDelivery(_) | OutboxError::Closed)) => {
                    debug!(event = due.event.0, %error, "an event was not routed here");
                    return Then::Release(Until::Now);
                }
                Err(error @ OutboxError::UnknownChannel(_)) => {
                    // A reload came between: what counts now is asked again.
                    warn!(event = due.event.0, %error, "an event is routed anew");
                    return Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN)));
                }
                Err(error) => warn!(event = due.event.0, %error, "an event is not routed yet; it waits for the store"),
            }
            tokio::select! {
                () = self.works.clock.sleep(SETTLE_AGAIN) => {}
                () = self.lifecycle.over.cancelled() => return Then::Release(Until::Now),
            }
        }
    }
}

/// Why nothing is known of an event's issue.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error("there is no `tracker.token`")]
    Nobody,
    #[error("another replica has the event")]
    LeaseLost,
    #[error("{0}")]
    Held(String),
    #[error("{}", super::deliver::chain(.0))]
    Failed(SendError),
}

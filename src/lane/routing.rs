//! One event that is to be routed: what Tracker knows of its issue goes into it, then it leads where the routes say. A
//! review whose call names no issue is one too: the key is looked for in its comments first.
//!
//! Nothing waits here for ever: what is not told in time is left out, and the event says so.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::{debug, error, info, warn};

use super::deliver::{Then, chain};
use super::{Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Advice, Planned, Scope, SendError};
use crate::event::{ChannelName, Event, Issue, Review, SourceName};
use crate::host;
use crate::key::{Keys, Queues};
use crate::layers::lease::LeaseCheck;
use crate::outbox::{
    Arrival, Course, Due, Fingerprint, Hold, IssueLane, Lease, Millis, OutboxError, Routed, Routing, Until,
};
use crate::telemetry::{ByEnd, ByRoute};
use crate::tracker::look::{Look, look};
use crate::tracker::merge::merge;

/// An issue that was taken up is not taken up again for so long: 30 days, however often its review is looked at.
const REMEMBERED: Millis = 30 * 24 * 60 * 60 * 1_000;

/// A code host that is asked for the comments of a review.
pub struct Comments {
    pub host: host::Client,
    pub keys: Keys,
    pub queues: Queues,
    /// Of its source: Tracker is asked for the issue that was found.
    pub enrich: bool,
}

/// Why something is not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("there is no `tracker.token`")]
    Nobody,
    #[error("another replica has the event")]
    LeaseLost,
    #[error("{0}")]
    Held(String),
    #[error("{}", chain(.0))]
    Failed(SendError),
}

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
        let mut enrich = true;
        if let (None, Some(review)) = (&event.issue, &event.review) {
            let found = match self.find(lease, due, (&event.event.source, review), plan).await {
                Ok(found) => found,
                Err(then) => return then,
            };
            enrich = false;
            match found {
                // Who is to be told is told; what is to be done has no issue.
                None => event.event.unenriched = true,
                Some((keys, is_enriched)) => {
                    let Some((first, others)) = keys.split_first() else {
                        info!(
                            event = due.event.0,
                            line = due.place(),
                            "ignored: no issue key, in the comments neither"
                        );
                        return self.routed(lease, due, Routed::Ignored).await;
                    };
                    for key in others {
                        if let Err(then) = self.take_up(due, &event, key, is_enriched, plan).await {
                            return then;
                        }
                    }
                    event.issue = Some(Issue::of_key(first, &plan.web_url));
                    enrich = is_enriched;
                }
            }
        }
        let (mut by_us, mut known) = (self.is_ours(&event, None), None);
        if enrich {
            known = match self.look(lease, due, &event, plan).await {
                Ok(known) => known,
                Err(then) => return then,
            };
            by_us = self.is_ours(&event, known.as_ref()); // before more is said of the actor than the event told
            match &known {
                Some(look) => merge(&mut event, look, &plan.web_url),
                None => event.event.unenriched = true,
            }
            let end = if known.is_some() { "enriched" } else { "unenriched" };
            self.works.metrics.events_enriched.get_or_create(&ByEnd { end }).inc();
        }
        self.lanes_in_trouble.over(&lease.lane);
        let planned = match self.linked(&event, known.as_ref(), plan).await {
            Ok(linked) => self.planned(&event, &linked, by_us, plan),
            Err(then) => return then,
        };
        let to = match planned {
            Ok((document, planned)) => {
                let issue = event.issue.map(|issue| issue.key);
                Routed::Event { kind: event.event.kind, issue, document, planned }
            }
            Err(error) => {
                error!(event = due.event.0, %error, "an event cannot be written; it leads nowhere");
                Routed::Ignored
            }
        };
        self.routed(lease, due, to).await
    }

    fn is_ours(&self, event: &Event, look: Option<&Look>) -> bool {
        self.works.own.borrow().as_ref().is_some_and(|own| own.did(event, look))
    }

    /// What Tracker knows of the event's issue; `None`: it did not tell in time.
    async fn look(&self, lease: &Lease, due: &Due, event: &Event, plan: &Plan) -> Result<Option<Look>, Then> {
        match self.ask(lease, event, plan).await {
            Ok(look) => Ok(Some(look)),
            Err(why) => {
                self.until_deadline(lease, due, plan, &why)?;
                warn!(event = due.event.0, line = due.place(), %why, "routed without what Tracker knows");
                Ok(None)
            }
        }
    }

    /// The keys in the comments of a review, and whether Tracker is to be asked for their issues. `None`: nobody told.
    async fn find(
        &self,
        lease: &Lease,
        due: &Due,
        (source, review): (&SourceName, &Review),
        plan: &Plan,
    ) -> Result<Option<(Vec<String>, bool)>, Then> {
        let Some(comments) = plan.comments.get(source) else {
            warn!(event = due.event.0, %source, "routed without an issue: the source reads no comments any more");
            return Ok(None);
        };
        let found = comments.host.keys(review, &comments.queues, self.lease_check(lease)).await;
        match found {
            Ok(keys) => match comments.keys.count(keys) {
                Ok(keys) => Ok(Some((keys, comments.enrich))),
                Err(why) => {
                    info!(event = due.event.0, line = due.place(), why, "none of the keys counts");
                    Ok(Some((Vec::new(), comments.enrich)))
                }
            },
            Err(error) => {
                let why = match error {
                    SendError::LeaseLost => Unknown::LeaseLost,
                    error => Unknown::Failed(error),
                };
                self.until_deadline(lease, due, plan, &why)?;
                warn!(event = due.event.0, line = due.place(), %why, "routed without an issue: the comments were not told");
                Ok(None)
            }
        }
    }

    /// The line waits, unless the event's time is over or nobody will ever tell.
    fn until_deadline(&self, lease: &Lease, due: &Due, plan: &Plan, why: &Unknown) -> Result<(), Then> {
        let deadline = due.planned_at.saturating_add(plan.enrich_within.as_millis() as Millis);
        match why {
            Unknown::LeaseLost => Err(Then::Release(Until::Now)),
            Unknown::Nobody => Ok(()),
            Unknown::Held(_) | Unknown::Failed(_) if self.works.clock.now_ms() >= deadline => Ok(()),
            Unknown::Held(_) | Unknown::Failed(_) => {
                let again = self.later(self.lanes_in_trouble.back_off(lease.lane));
                Err(Then::Release(Until::BackedOff(again.min(deadline))))
            }
        }
    }

    async fn ask(&self, lease: &Lease, event: &Event, plan: &Plan) -> Result<Look, Unknown> {
        let tracker = plan.tracker.as_ref().ok_or(Unknown::Nobody)?;
        let works = &self.works;
        let hold = works.outbox.account_hold(IssueLane::TRACKER);
        let now = works.clock.now_ms();
        if let Some(hold) = hold.as_ref().filter(|hold| hold.until > now) {
            return Err(Unknown::Held(hold.reason.clone()));
        }
        match look(&tracker.under(self.lease_check(lease)), event).await {
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
    async fn refused(&self, error: SendError) -> Unknown {
        let (until, reason, needs_a_person) = match error.advice() {
            Advice::Hold { scope: Scope::Account, reason } => (self.next_probe().0, reason, true),
            Advice::Wait { at_least: Some(wait), scope: Scope::Account } => {
                (self.later(wait), error.to_string(), false)
            }
            _ if matches!(error, SendError::LeaseLost) => return Unknown::LeaseLost,
            _ => return Unknown::Failed(error),
        };
        self.hold_account_of(IssueLane::TRACKER, Hold { until, reason: reason.clone(), needs_a_person }).await;
        Unknown::Held(reason)
    }

    /// No call to Tracker or a code host begins after a stop: many may stand in the line for a rate, an action asks before it
    /// changes anything, and what it has not changed it can leave.
    pub(super) fn lease_check(&self, lease: &Lease) -> LeaseCheck {
        let (outbox, held, stop) = (self.works.outbox.clone(), lease.clone(), self.lifecycle.stopping.clone());
        Arc::new(move || !stop.is_cancelled() && outbox.holds(&held) && outbox.can_write())
    }

    /// The channels that the event's issue is linked to, by its key or one that it had before it was moved.
    async fn linked(&self, event: &Event, look: Option<&Look>, plan: &Plan) -> Result<Vec<ChannelName>, Then> {
        let Some(issue) = plan.planner.followed(event) else { return Ok(Vec::new()) };
        let aliases = look.into_iter().flat_map(Look::aliases).map(String::as_str);
        let mut linked = BTreeSet::new();
        for key in iter::once(issue).chain(aliases) {
            let channels = self.works.outbox.linked_channels(key).await.map_err(|error| {
                warn!(key, %error, "an event is routed later: the store does not tell what its issue is linked to");
                Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN)))
            })?;
            linked.extend(channels);
        }
        Ok(linked.into_iter().collect())
    }

    /// The event's document, and what the routes make of it.
    fn planned(
        &self,
        event: &Event,
        linked: &[ChannelName],
        by_us: bool,
        plan: &Plan,
    ) -> serde_json::Result<(String, Vec<Planned>)> {
        let document = serde_json::to_string(event)?;
        let planned = plan.planner.plan(event, &document, linked, by_us, self.works.clock.now_ms());
        for failed in &planned.failed {
            let by = ByRoute { route: failed.route.to_string() };
            self.works.metrics.condition_errors.get_or_create(&by).inc();
        }
        if planned.planned.is_empty() {
            self.works.metrics.unrouted.inc();
        }
        Ok((document, planned.planned))
    }

    /// One more issue of the same review: an event of its own, once however often this is repeated.
    async fn take_up(&self, due: &Due, event: &Event, key: &str, enrich: bool, plan: &Plan) -> Result<(), Then> {
        let event = Event { issue: Some(Issue::of_key(key, &plan.web_url)), ..event.clone() };
        let written = match enrich {
            true => serde_json::to_string(&event).map(|document| (document, Course::ToRoute { line: key.to_owned() })),
            false => self
                .planned(&event, &self.linked(&event, None, plan).await?, false, plan)
                .map(|(document, planned)| (document, Course::Routed(planned))),
        };
        let back_off = || Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN)));
        let (document, of) = written.map_err(|error| {
            error!(event = due.event.0, %error, "an event cannot be written");
            back_off()
        })?;
        let mut hash = Sha256::new_with_prefix(b"found");
        hash.update(due.event.0.to_le_bytes());
        hash.update(key);
        let mut fingerprint = Fingerprint::default();
        fingerprint.0.copy_from_slice(&hash.finalize()[..16]);
        let arrival = Arrival {
            received_at: due.planned_at,
            fingerprint,
            remember_until: due.planned_at.saturating_add(REMEMBERED),
            source: event.event.source.clone(),
            kind: event.event.kind.clone(),
            issue: Some(key.to_owned()),
            document,
            course: of,
            guard: None,
            object: None,
            called: None,
            room: None,
        };
        match self.works.outbox.accept(arrival).await {
            Ok(_) => Ok(()),
            Err(error) => {
                warn!(event = due.event.0, key, %error, "an issue of a review is not taken up yet");
                Err(back_off())
            }
        }
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

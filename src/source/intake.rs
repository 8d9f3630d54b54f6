//! From a call to a durable event: read, route, accept. What the sender hears is decided here and nowhere else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Call, Said, Source};
use crate::clock::Clock;
use crate::delivery::EventId;
use crate::event::Event;
use crate::outbox::{Accepted, Arrival, Aside, Millis, Outbox, OutboxError, Plan};
use crate::route::Planner;
use crate::telemetry::{ByRoute, Metrics};

/// Tracker waits ten seconds. What could not be stored in eight is answered 500, the one status it repeats.
const STORED_WITHIN: Duration = Duration::from_secs(8);
/// Of an unreadable call this much is kept.
const KEPT_OF_UNREADABLE: usize = 64 * 1024;

/// What a sender is told.
#[derive(Debug)]
pub enum Answer {
    /// Stored and on disk.
    Accepted {
        event: EventId,
        /// Not known before it is routed.
        deliveries: Option<usize>,
    },
    Duplicate {
        event: EventId,
    },
    Unreadable {
        why: String,
    },
    /// Nothing was stored; the sender should call again.
    NotStored,
}

/// What a configuration makes of calls: who may call, and where it leads.
pub struct Rules {
    pub sources: HashMap<String, Source>,
    pub planner: Arc<Planner>,
}

/// All sources with what stands behind them.
pub struct Intake {
    /// A reload puts another in its place.
    pub rules: watch::Sender<Arc<Rules>>,
    pub outbox: Arc<dyn Outbox>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Whether Campanile's own user did what the event tells of.
    pub by_us: Box<dyn Fn(&Event) -> bool + Send + Sync>,
}

impl Intake {
    /// Takes a call whose secret was right. Cancel safe: a caller that goes away loses the answer, not the event.
    pub async fn take(&self, source: &Source, call: &Call<'_>) -> Answer {
        let now = call.received_at.as_millisecond();
        match source.read(call) {
            Said::Unreadable { why } => {
                let head = call.body[..call.body.len().min(KEPT_OF_UNREADABLE)].to_vec();
                let aside = Aside::Unreadable { source: source.name.clone(), at: now, why: why.clone(), head };
                warn!(source = %source.name, why, bytes = call.body.len(), "a call could not be read");
                match self.in_time(self.outbox.set_aside(aside)).await {
                    Ok(()) => Answer::Unreadable { why },
                    Err(error) => self.not_stored(source, &error),
                }
            }
            Said::Event { event, fingerprint, remember } => {
                let (document, plan) = match self.plan(source, &event, now) {
                    Ok(plan) => plan,
                    Err(why) => return Answer::Unreadable { why },
                };
                let arrival = Arrival {
                    received_at: now,
                    fingerprint,
                    remember_until: now.saturating_add(remember.as_millis() as Millis),
                    source: source.name.clone(),
                    kind: event.event.kind.clone(),
                    issue: event.issue.as_ref().map(|issue| issue.key.clone()),
                    document,
                    plan,
                    guard: None,
                    room: Some(call.room.clone()),
                };
                match self.in_time(self.outbox.accept(arrival)).await {
                    Ok(Accepted::New { event: id, deliveries }) => {
                        let kind = &event.event.kind;
                        let issue = event.issue.as_ref().map_or("", |issue| &issue.key);
                        info!(event = id.0, source = %source.name, kind, issue, deliveries, "accepted");
                        if deliveries == Some(0) {
                            self.metrics.unrouted.inc();
                        }
                        Answer::Accepted { event: id, deliveries }
                    }
                    Ok(Accepted::Duplicate { event }) => {
                        debug!(event = event.0, source = %source.name, "a call came again");
                        Answer::Duplicate { event }
                    }
                    Err(error) => self.not_stored(source, &error),
                }
            }
        }
    }

    /// The event's document and where it leads.
    fn plan(&self, source: &Source, event: &Event, now: Millis) -> Result<(String, Plan), String> {
        // Not `to_string()`: that goes through `fmt`, at twice the time.
        let document = serde_json::to_string(event).map_err(|error| error.to_string())?;
        if let Some(issue) = event.issue.as_ref().filter(|_| source.enrich) {
            return Ok((document, Plan::ToRoute { line: issue.key.clone() }));
        }
        // Those that count now, not those by which the call was let in: its body may have taken its time, and a reload
        // may have come between.
        let planner = self.rules.borrow().planner.clone();
        let plan = planner.plan(event, &document, (self.by_us)(event), now);
        for failed in &plan.failed {
            self.metrics.condition_errors.get_or_create(&ByRoute { route: failed.route.to_string() }).inc();
        }
        Ok((document, Plan::Routed(plan.planned)))
    }

    async fn in_time<T>(&self, stored: impl Future<Output = Result<T, OutboxError>>) -> Result<T, Option<OutboxError>> {
        tokio::select! {
            end = stored => end.map_err(Some),
            () = self.clock.sleep(STORED_WITHIN) => Err(None),
        }
    }

    fn not_stored(&self, source: &Source, error: &Option<OutboxError>) -> Answer {
        match error {
            Some(error) => warn!(source = %source.name, %error, "a call could not be stored; answered 500"),
            None => warn!(source = %source.name, "a call could not be stored within 8 s; answered 500"),
        }
        Answer::NotStored
    }
}

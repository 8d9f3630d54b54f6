//! From a call to durable events: read, route, accept. What the sender hears is decided here and nowhere else.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Call, Kind, Read, Said, Source};
use crate::clock::Clock;
use crate::delivery::EventId;
use crate::event::Event;
use crate::outbox::{Accepted, Arrival, Aside, Called, Course, Millis, Outbox, OutboxError};
use crate::route::Planner;
use crate::telemetry::{ByRoute, Metrics};

/// Tracker waits ten seconds. What could not be stored in eight is answered 500, the one status it repeats.
const STORED_WITHIN: Duration = Duration::from_secs(8);
/// Of an unreadable call this much is kept.
const KEPT_OF_UNREADABLE: usize = 64 * 1024;

/// What a sender is told.
#[derive(Debug)]
pub enum Answer {
    /// Stored and on disk: an event for each issue, with what is planned for all of them. `None`: not known yet.
    Accepted {
        events: Vec<EventId>,
        deliveries: Option<usize>,
    },
    Duplicate {
        event: EventId,
    },
    /// Understood, and nothing follows from it.
    Ignored {
        why: String,
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
            Said::Ignored { why } => {
                info!(source = %source.name, why, "a call was ignored");
                match self.in_time(self.outbox.set_aside(Aside::Ignored)).await {
                    Ok(()) => Answer::Ignored { why },
                    Err(error) => self.not_stored(source, &error),
                }
            }
            Said::Unreadable { why } => {
                let mut head = source.secrets.cut(call.body); // the whole: one may stand across the cut
                head.truncate(KEPT_OF_UNREADABLE);
                let aside = Aside::Unreadable { source: source.name.clone(), at: now, why: why.clone(), head };
                warn!(source = %source.name, why, bytes = call.body.len(), "a call could not be read");
                match self.in_time(self.outbox.set_aside(aside)).await {
                    Ok(()) if source.is_never_refused() => Answer::Ignored { why },
                    Ok(()) => Answer::Unreadable { why },
                    Err(error) => self.not_stored(source, &error),
                }
            }
            Said::Events(reads) => match self.in_time(self.accept(source, call, reads)).await {
                Ok(answer) => answer,
                Err(error) => self.not_stored(source, &error),
            },
        }
    }

    /// Each event is a transaction of its own. Where one is not stored, the call that comes again adds what is missing.
    ///
    /// # Errors
    /// One of them is not stored.
    async fn accept(&self, source: &Source, call: &Call<'_>, reads: Vec<Read>) -> Result<Answer, OutboxError> {
        let now = call.received_at.as_millisecond();
        let arrivals = reads.into_iter().map(|read| self.arrival(source, (now, call.room.clone()), read));
        let arrivals: Vec<_> = match try_join_all(arrivals).await?.into_iter().collect() {
            Ok(arrivals) => arrivals,
            Err(why) => return Ok(Answer::Unreadable { why }),
        };
        // All at once: a caller who goes away meanwhile loses none of them.
        let accepts = arrivals.into_iter().map(|arrival| self.accept_one(source, arrival));
        let (mut events, mut planned, mut is_new) = (Vec::new(), Some(0), false);
        for end in join_all(accepts).await {
            match end? {
                Accepted::New { event, deliveries } => {
                    events.push(event);
                    planned = planned.zip(deliveries).map(|(planned, more)| planned + more);
                    is_new = true;
                }
                Accepted::Duplicate { event } => events.push(event),
            }
        }
        Ok(match events.first() {
            Some(event) if !is_new => Answer::Duplicate { event: *event },
            _ => Answer::Accepted { events, deliveries: planned },
        })
    }

    /// # Errors
    /// Inside: why the event cannot be written. Outside: the store does not tell what its issue is linked to.
    pub(super) async fn arrival(
        &self,
        source: &Source,
        (now, room): (Millis, Arc<dyn Any + Send + Sync>),
        read: Read,
    ) -> Result<Result<Arrival, String>, OutboxError> {
        let Read { event, fingerprint, remember, guard, object, line } = read;
        let (document, course) = match self.course(&event, line, now).await? {
            Ok(planned) => planned,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Ok(Arrival {
            received_at: now,
            fingerprint,
            remember_until: now.saturating_add(remember.as_millis() as Millis),
            source: source.name.clone(),
            kind: event.event.kind,
            issue: event.issue.map(|issue| issue.key),
            document,
            course,
            guard,
            object,
            // Tracker alone tells what it called.
            called: matches!(source.kind, Kind::Tracker).then_some(Called { at: now, late: None }),
            room: Some(room),
        }))
    }

    async fn accept_one(&self, source: &Source, arrival: Arrival) -> Result<Accepted, OutboxError> {
        let told = (arrival.kind.clone(), arrival.issue.clone().unwrap_or_default());
        let end = self.outbox.accept(arrival).await?;
        self.accepted(source, &told, &end);
        Ok(end)
    }

    /// Notes what became of a call; of its event kind and issue are `told`.
    pub(super) fn accepted(&self, source: &Source, (kind, issue): &(String, String), end: &Accepted) {
        match end {
            Accepted::New { event, deliveries } => {
                info!(event = event.0, source = %source.name, kind, issue, deliveries, "accepted");
                if *deliveries == Some(0) {
                    self.metrics.unrouted.inc();
                }
            }
            Accepted::Duplicate { event } => debug!(event = event.0, source = %source.name, "a call came again"),
        }
    }

    /// The event's document and where it leads.
    async fn course(
        &self,
        event: &Event,
        line: Option<String>,
        now: Millis,
    ) -> Result<Result<(String, Course), String>, OutboxError> {
        // Not `to_string()`: that goes through `fmt`, at twice the time.
        let document = match serde_json::to_string(event) {
            Ok(document) => document,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Some(line) = line {
            return Ok(Ok((document, Course::ToRoute { line })));
        }
        // Those that count now, not those by which the call was let in: its body may have taken its time, and a reload
        // may have come between.
        let planner = self.rules.borrow().planner.clone();
        let linked = match planner.followed(event) {
            Some(issue) => self.outbox.linked_channels(issue).await?,
            None => Vec::new(),
        };
        let plan = planner.plan(event, &document, &linked, (self.by_us)(event), now);
        for failed in &plan.failed {
            self.metrics.condition_errors.get_or_create(&ByRoute { route: failed.route.to_string() }).inc();
        }
        Ok(Ok((document, Course::Routed(plan.planned))))
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

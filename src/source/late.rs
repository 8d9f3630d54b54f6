//! Calls that never came in, or that could not be stored: found in their sender's own log, they are taken late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;
use tracing::{debug, warn};

use super::dedupe::UNDATED;
use super::{Call, Intake, Read, Said, Source};
use crate::event::Reading;
use crate::outbox::{Accepted, Arrival, Called, Fingerprint, Millis, OutboxError};
use crate::telemetry::OfSource;

/// How long Tracker waits for an answer (T 1.4).
const ATTEMPT: Millis = 10_000;
const CLOCKS_DIFFER: Millis = 5_000;

/// A call as its sender's log tells of it: once for each time that it was tried.
#[derive(Clone, Debug)]
pub struct Logged {
    pub at: Timestamp,
    pub method: Method,
    /// Without the question mark.
    pub query: String,
    pub body: String,
    /// Somebody answered that all is well.
    pub answered: bool,
}

/// What became of logged calls.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Late {
    /// They had been missed, and are accepted now.
    pub recovered: usize,
    /// They were accepted before, or are others' second try.
    pub known: usize,
    /// They say nothing that can be read.
    pub unreadable: usize,
}

/// A call that says something, and how far from it in time an equal one is the same.
struct Candidate {
    at: Timestamp,
    answered: bool,
    /// Its body ends as an object does: nothing was cut on its way into the log.
    ends: bool,
    read: Read,
    within: Duration,
}

impl Intake {
    /// Takes those of the calls that were missed, in their order, which is that of time. Where it ends with an error, or
    /// is cancelled, some of them are taken: asked again it goes on.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_missed(&self, source: &Source, calls: &[Logged]) -> Result<Late, OutboxError> {
        let mut late = Late::default();
        let (room, headers): (Arc<()>, _) = (Arc::default(), HeaderMap::new());
        let mut candidates = Vec::new();
        for logged in calls {
            let call = Call {
                method: &logged.method,
                query: &logged.query,
                headers: &headers,
                body: logged.body.as_bytes(),
                room: room.clone(),
                received_at: self.clock.now(),
            };
            match source.read(&call) {
                // Tracker's calls tell of one issue each.
                Said::Events(reads) => candidates.extend(reads.into_iter().map(|read| Candidate::new(logged, read))),
                Said::Ignored { why } | Said::Unreadable { why } => {
                    debug!(source = %source.name, at = %logged.at, why, "a logged call cannot be taken late");
                    late.unreadable += 1;
                }
            }
        }
        let mut known = self.known(&candidates).await?;
        for Candidate { at, answered, ends, read, within } in candidates {
            let (at, within) = (at.as_millisecond(), within.as_millis() as Millis);
            let is_same =
                |(known, when): &(Fingerprint, Millis)| *known == read.fingerprint && (when - at).abs() < within;
            if known.iter().any(is_same) || answered && self.was_told(source, &read, at).await? {
                late.known += 1;
                continue;
            }
            // Our triggers' bodies are strict, but for a hole where a variable had no value. What else is not may have been
            // cut or changed in the log, and known in another form.
            let is_faithful = match read.event.event.reading {
                Reading::Strict => true,
                Reading::Repaired => ends && !answered,
                Reading::Form | Reading::Query | Reading::KeyOnly => false,
            };
            if !is_faithful {
                let issue = read.event.issue.as_ref().map_or("", |issue| &issue.key);
                warn!(source = %source.name, issue, at, "a missed call is not taken: the log may not have its body as it was");
                late.unreadable += 1;
                continue;
            }
            known.push((read.fingerprint, at));
            match self.accept_late(source, at, within, read).await? {
                Some(Accepted::New { .. }) => late.recovered += 1,
                Some(Accepted::Duplicate { .. }) => late.known += 1, // another replica was quicker
                None => late.unreadable += 1,
            }
        }
        Ok(late)
    }

    /// Whether a call that told the same came in itself in the time of one attempt. Asked where somebody answered it: should
    /// the log hold bodies in another form than they are sent in, no fingerprint is known, and all would come twice.
    async fn was_told(&self, source: &Source, read: &Read, at: Millis) -> Result<bool, OutboxError> {
        let (from, to) = (at - CLOCKS_DIFFER, at + CLOCKS_DIFFER + ATTEMPT);
        let issue = read.event.issue.as_ref().map_or("", |issue| &issue.key);
        self.outbox.was_told(&source.name, &read.event.event.kind, issue, from, to).await
    }

    /// What was accepted of calls that equal one of these.
    async fn known(&self, candidates: &[Candidate]) -> Result<Vec<(Fingerprint, Millis)>, OutboxError> {
        let border = |of: fn(Timestamp, Duration) -> Option<Timestamp>| {
            candidates.iter().map(move |one| of(one.at, one.within).unwrap_or(one.at).as_millisecond())
        };
        let from = border(|at, within| at.checked_sub(within).ok()).min();
        let to = border(|at, within| at.checked_add(within).ok()).max();
        let Some((from, to)) = from.zip(to) else { return Ok(Vec::new()) };
        let fingerprints: HashSet<Fingerprint> = candidates.iter().map(|one| one.read.fingerprint).collect();
        self.outbox.called(fingerprints, from, to).await
    }

    /// `None`: its event is no JSON, which cannot be.
    async fn accept_late(
        &self,
        source: &Source,
        at: Millis,
        within: Millis,
        mut read: Read,
    ) -> Result<Option<Accepted>, OutboxError> {
        let head = &mut read.event.event;
        head.recovered = true;
        // Whoever is told of it should see when it happened.
        head.at = head.at.or(Timestamp::from_millisecond(at).ok());
        let remember_until = at.saturating_add(read.remember.as_millis() as Millis);
        let (called, room): (_, Arc<()>) = (Called { at, late: Some(within) }, Arc::default());
        let arrival = self.arrival(source, (self.clock.now_ms(), room), read).await?;
        let Ok(arrival) = arrival else { return Ok(None) };
        let arrival = Arrival { remember_until, called: Some(called), ..arrival };
        let told = (arrival.kind.clone(), arrival.issue.clone().unwrap_or_default());
        // However long it takes: nobody waits for an answer.
        let end = self.outbox.accept(arrival).await?;
        self.accepted(source, &told, &end);
        if let Accepted::New { .. } = end {
            self.metrics.events_recovered.get_or_create(&OfSource { source: source.name.to_string() }).inc();
        }
        Ok(Some(end))
    }
}

impl Candidate {
    /// Calls of Tracker that are one, sent again, lie within [`UNDATED`] whatever `dedupe_seconds` says.
    fn new(logged: &Logged, read: Read) -> Self {
        let ends = logged.body.trim_end().ends_with('}');
        Self { at: logged.at, answered: logged.answered, ends, within: read.remember.max(UNDATED), read }
    }
}

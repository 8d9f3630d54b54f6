//! Links that come and go: what Tracker tells becomes a row and an event, in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::{debug, info, warn};

use super::object::{NoObject, ObjectKey};
use super::template::Captured;
use super::{Application, Rules, STORED_WITHIN};
use crate::delivery::EventId;
use crate::event::{Event, Head, Issue, Link, Person, Reading, SourceName};
use crate::key::is_key;
use crate::outbox::{Accepted, Arrival, Course, Fingerprint, IssueLane, LinkFilter, Linking, OutboxError};
use crate::telemetry::ByRoute;

/// Objects of one call.
const MOST_OBJECTS: usize = 100;

/// What a call has changed.
#[derive(Debug, Default)]
pub struct Changed {
    pub issue: String,
    /// Each that was named, once.
    pub objects: Vec<String>,
    /// Of the links that are new, or gone.
    pub events: Vec<EventId>,
}

/// Why a call has changed nothing, or not all.
#[derive(Debug)]
pub enum NotChanged {
    /// What is wrong with it, one sentence each. Nothing has changed.
    Refused(Vec<String>),
    /// The store does not take it; the same call may be made again.
    NotStored,
    /// The link may be there by a key that the issue had before it was moved, and Tracker does not tell; the same call may be
    /// made again.
    Unknown,
}

impl Application {
    /// Links an issue to objects: `{"issueKey": "TEST-123", "entityIds": ["1234"]}`. All of them or, where one is wrong,
    /// none. What is linked already stays so, without an event.
    ///
    /// # Errors
    /// See [`NotChanged`].
    pub async fn create(&self, rules: &Rules, body: &[u8], by: Option<Person>) -> Result<Changed, NotChanged> {
        let (issue, objects) = asked(rules, body).map_err(NotChanged::Refused)?;
        let mut changed = Changed { issue, ..Changed::default() };
        let until = self.stored_until();
        for object in objects {
            let event = self.turn(rules, "link.created", (&changed.issue, &[], &object), by.as_ref(), until).await?;
            changed.events.extend(event);
            changed.objects.push(object.to_string());
        }
        Ok(changed)
    }

    /// Ends a link, also one by a key that the issue had before it was moved. What is gone already, or was never there, is
    /// no error.
    ///
    /// # Errors
    /// [`NotChanged::NotStored`]; [`NotChanged::Unknown`] where nothing is linked by this key.
    pub async fn remove(&self, rules: &Rules, call: Captured, by: Option<Person>) -> Result<Changed, NotChanged> {
        let issue = rules.queues.named(call.issue_key.unwrap_or_default());
        let mut changed = Changed { issue, ..Changed::default() };
        // Nothing else can have been linked.
        if let Ok(object) = call.remote_key.unwrap_or_default().parse::<ObjectKey>() {
            let until = self.stored_until();
            let keys = self.keys_before(rules, &changed.issue, &object, until).await?;
            let known = keys.as_deref().unwrap_or_default();
            let event = self.turn(rules, "link.removed", (&changed.issue, known, &object), by.as_ref(), until).await?;
            if event.is_none() && keys.is_none() {
                return Err(NotChanged::Unknown);
            }
            changed.events.extend(event);
            changed.objects.push(object.to_string());
        }
        Ok(changed)
    }

    /// The keys by which Tracker knows the issue, where the object is linked to anything that may be the issue by another
    /// key; none without a token. `None`: Tracker does not tell.
    async fn keys_before(
        &self,
        rules: &Rules,
        issue: &str,
        object: &ObjectKey,
        until: Duration,
    ) -> Result<Option<Arc<[String]>>, NotChanged> {
        let Some(every_key) = &rules.every_key else { return Ok(Some(Arc::default())) };
        let filter = LinkFilter { object: Some(object.to_string()), limit: 2, ..LinkFilter::default() };
        let linked = self.in_time(until, self.outbox.links(filter)).await.map_err(|_| NotChanged::NotStored)?;
        if linked.iter().all(|link| link.issue == issue) {
            return Ok(Some(Arc::default()));
        }
        let now = self.clock.now_ms();
        let hold = self.outbox.account_hold(IssueLane::TRACKER).filter(|hold| hold.until > now);
        let told = match hold {
            Some(hold) => Err(hold.reason),
            None => every_key(issue.to_owned()).await,
        };
        Ok(told.inspect_err(|why| warn!(issue, why, "Tracker does not tell the issue's other keys")).ok())
    }

    fn stored_until(&self) -> Duration {
        self.clock.elapsed() + STORED_WITHIN
    }

    async fn turn(
        &self,
        rules: &Rules,
        kind: &'static str,
        (issue, keys, object): (&str, &[String], &ObjectKey),
        by: Option<&Person>,
        until: Duration,
    ) -> Result<Option<EventId>, NotChanged> {
        let now = self.clock.now();
        let event = event(rules, kind, (issue, object), by, now);
        let linking = Linking {
            object: object.to_string(),
            by: by.and_then(|by| by.login.clone()),
            other_keys: keys.iter().filter(|key| *key != issue).cloned().collect(),
            arrival: self.arrival(rules, event, now).map_err(|error| {
                warn!(issue, %object, %error, "an event of a link cannot be written");
                NotChanged::NotStored
            })?,
        };
        let end = match kind {
            "link.created" => self.in_time(until, self.outbox.link(linking)).await,
            _ => self.in_time(until, self.outbox.unlink(linking)).await,
        };
        match end {
            Ok(None) => {
                debug!(issue, %object, kind, "nothing changes");
                Ok(None)
            }
            Ok(Some(Accepted::New { event, deliveries })) => {
                info!(event = event.0, issue, %object, kind, deliveries, "accepted");
                Ok(Some(event))
            }
            Ok(Some(Accepted::Duplicate { event })) => Ok(Some(event)),
            Err(error) => {
                let error = error.as_ref().map_or_else(|| "it takes too long".to_owned(), OutboxError::to_string);
                warn!(issue, %object, kind, error, "a link could not be stored; answered 500");
                Err(NotChanged::NotStored)
            }
        }
    }

    fn arrival(&self, rules: &Rules, event: Event, now: Timestamp) -> serde_json::Result<Arrival> {
        let (document, at) = (serde_json::to_string(&event)?, now.as_millisecond());
        let plan = rules.planner.plan(&event, &document, &[], (self.by_us)(&event), at);
        for failed in &plan.failed {
            self.metrics.condition_errors.get_or_create(&ByRoute { route: failed.route.to_string() }).inc();
        }
        let mut hash = Sha256::new_with_prefix(b"link");
        for number in [self.seed, self.count.fetch_add(1, Ordering::Relaxed), at.unsigned_abs()] {
            hash.update(number.to_le_bytes());
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.0.copy_from_slice(&hash.finalize()[..16]);
        Ok(Arrival {
            received_at: at,
            fingerprint,
            remember_until: at, // the link's own row tells one call from its repetition
            source: event.event.source,
            kind: event.event.kind,
            issue: event.issue.map(|issue| issue.key),
            document,
            course: Course::Routed(plan.planned),
            guard: None,
            object: None,
            called: None,
            room: None,
        })
    }
}

fn event(
    rules: &Rules,
    kind: &str,
    (issue, object): (&str, &ObjectKey),
    by: Option<&Person>,
    received_at: Timestamp,
) -> Event {
    #[expect(clippy::expect_used, reason = "a test parses it")]
    let source = SourceName::try_from("links".to_owned()).expect("a source's name");
    Event {
        event: Head {
            kind: kind.to_owned(),
            source,
            at: None,
            received_at,
            reading: Reading::Strict,
            degraded: false,
            unenriched: false,
            recovered: false,
        },
        issue: Some(Issue::of_key(issue, &rules.web_url)),
        actor: by.cloned(),
        changes: Vec::new(),
        comment: None,
        review: None,
        bench: None,
        link: Some(Link { key: object.to_string(), kind: object.kind().to_owned() }),
        body: serde_json::Map::new(),
    }
}

/// The issue and the objects that a body names.
///
/// # Errors
/// Everything that is wrong with it.
fn asked(rules: &Rules, body: &[u8]) -> Result<(String, Vec<ObjectKey>), Vec<String>> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| vec![format!("the body is no JSON: line {}, column {}", error.line(), error.column())])?;
    let mut wrong = Vec::new();
    let issue = body.get("issueKey").and_then(Value::as_str).map(|key| rules.queues.named(key.to_owned()));
    if !issue.as_deref().is_some_and(is_key) {
        wrong.push("`issueKey` is no issue's key, as in TEST-123".to_owned());
    }
    let named = body.get("entityIds").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if named.is_empty() || named.len() > MOST_OBJECTS {
        wrong.push(format!("`entityIds` is no list of 1 to {MOST_OBJECTS} keys, as in [\"channel:oncall\"]"));
        return Err(wrong);
    }
    let (mut known, mut objects) = (BTreeSet::new(), Vec::new());
    for entity in named {
        match entity
            .as_str()
            .ok_or_else(|| "a key in `entityIds` is no text".to_owned())
            .and_then(|key| object(rules, key))
        {
            Ok(object) if known.insert(object.to_string()) => objects.push(object),
            Ok(_) => {}
            Err(why) => wrong.push(why),
        }
    }
    match issue {
        Some(issue) if wrong.is_empty() => Ok((issue, objects)),
        _ => Err(wrong),
    }
}

/// # Errors
/// It is nothing that an issue can be linked to.
fn object(rules: &Rules, key: &str) -> Result<ObjectKey, String> {
    let object = key.parse::<ObjectKey>().map_err(|why| match why {
        NoObject::Control(_) | NoObject::Long(_) => why.to_string(), // not to be repeated as it came
        why => format!("`{key}`: {why}"),
    })?;
    match &object {
        ObjectKey::Channel(name) if !rules.channels.contains_key(name) => {
            let names: Vec<String> = rules.channels.keys().map(|name| format!("`channel:{name}`")).collect();
            let known =
                if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
            Err(format!("`{key}`: no channel has this name; {known}"))
        }
        // A review or a bench may be linked before anybody has told of it.
        _ => Ok(object),
    }
}

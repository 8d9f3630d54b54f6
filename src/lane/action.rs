//! One action on an issue, from its route's texts to what Tracker answered.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::deliver::{Known, Then, Way, chain};
use super::{Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Action, Advice, Mark, Outcome, SendError};
use crate::event::{Document, Event};
use crate::outbox::{Attempt, Due, Lease, Next, Part, Until};
use crate::tracker::action::{Before, act, comment_mark};

/// What a reviewer decided. A comment or another commit is no verdict and makes none out of date.
const VERDICTS: &[&str] =
    &["review.approved", "review.unapproved", "review.changes_requested", "review.merged", "review.declined"];

const OVERTAKEN: &str = "a later verdict on this review was applied before";
const REPEATED: &str = "this verdict was applied before, from an earlier call";

impl Runner {
    /// Does one delivery's action. What it was rendered to is kept with the first attempt; its receipt is durable before the
    /// issue's next action begins.
    pub(super) async fn act(&self, lease: &Lease, due: &Due, (issue, action): (&str, &Action), plan: &Plan) -> Then {
        let Some(tracker) = &plan.tracker else {
            return Then::Release(Until::BackedOff(self.later(super::POLL)));
        };
        if let Some(then) = self.give_up(lease, due).await {
            return then;
        }
        if !self.works.outbox.can_write() || self.account_hold().is_some_and(|(_, is_over)| !is_over) {
            return Then::Release(Until::Now);
        }
        let event: Event = match serde_json::from_str(&due.document) {
            Ok(event) => event,
            Err(error) => return self.end_dead(lease, due, None, format!("its event cannot be read: {error}")).await,
        };
        let verdict = Verdict::of(&event, issue);
        let (too_late, last_comment) = match self.known(verdict.as_ref(), issue).await {
            Ok(known) => known,
            Err(then) => return then,
        };
        if let Some(reason) = too_late {
            let at = self.works.clock.now_ms();
            tracing::info!(event = due.event.0, delivery = due.id.0, issue, at, "filtered: {reason}");
            return self.end(lease, due, None, Next::Filtered { reason: reason.into() }).await;
        }
        let (action, kept) = match stored(due) {
            Some(action) => (action, true),
            None => match plan.composer.action(action, &Document::new(&due.document, Some(due.event.0))) {
                Ok(action) => (action, false),
                Err(why) => return self.end_dead(lease, due, None, format!("route `{}`: {why}", due.route)).await,
            },
        };
        let mut way = Way { due, parts: vec![part(&action)], kept, unclear: due.unclear };
        let api = tracker.under(self.lease_check(lease));
        // A replayed one was tried before as well.
        let before = Before { again: due.unclear || due.attempts > 0, last_comment };
        let started = self.works.clock.now_ms();
        let error: SendError = match act(&api, issue, &action, &before).await {
            Ok(done) => {
                let marks = done.marks.into_iter().chain(verdict.into_iter().flat_map(Verdict::marks)).collect();
                let known = Known { marks, ..Known::default() };
                return self.placed(lease, &mut way, (0, done.receipt), known).await.unwrap_or(Then::Next);
            }
            Err(error) => error.into(),
        };
        match &error {
            SendError::BreakerOpen { probe_in } => return Then::Release(Until::BackedOff(self.later(*probe_in))),
            SendError::LeaseLost => return Then::Release(Until::Now),
            _ => {}
        }
        let took_ms = self.works.clock.now_ms() - started;
        let (outcome, detail) = (Outcome::of(&error), chain(&error));
        let attempt = Attempt { at: started, took_ms, outcome, detail: detail.clone() };
        self.log_failure(due, outcome, &detail, took_ms);
        match error.advice() {
            Advice::GiveUp(_) | Advice::Plain | Advice::NewThread | Advice::Moved(_) => {
                self.end_dead(lease, due, Some((attempt, &way)), detail).await
            }
            advice => self.wait(lease, &mut way, attempt, advice).await,
        }
    }

    /// Why this verdict is not to be applied, and the last comment that was placed on the issue.
    async fn known(&self, verdict: Option<&Verdict>, issue: &str) -> Result<(Option<&'static str>, Option<i64>), Then> {
        let outbox = &self.works.outbox;
        let both = async {
            let too_late = match verdict {
                Some(Verdict { last, own }) => {
                    let (applied_last, applied_from) = (outbox.mark(&last.name).await?, outbox.mark(&own.name).await?);
                    let overtaken = applied_last.is_some_and(|applied| applied > last.number).then_some(OVERTAKEN);
                    let repeated = applied_from.is_some_and(|applied| applied < own.number).then_some(REPEATED);
                    overtaken.or(repeated)
                }
                None => None,
            };
            Ok::<_, crate::outbox::OutboxError>((too_late, outbox.mark(&comment_mark(issue)).await?))
        };
        both.await.map_err(|error| {
            warn!(issue, %error, "what was done to the issue before could not be looked up");
            Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN)))
        })
    }
}

/// What is kept of a verdict once it is applied to an issue.
struct Verdict {
    /// The review, and when its last verdict was given.
    last: Mark,
    /// This very verdict, and when its call came. A person may send a call again when it is remembered no more: what people
    /// did to the issue since then stays. All actions of one call have the same time.
    own: Mark,
}

impl Verdict {
    fn of(event: &Event, issue: &str) -> Option<Self> {
        let (review, at) = (event.review.as_ref()?, event.event.at?);
        let (source, kind, key) = (&event.event.source, event.event.kind.as_str(), review.key());
        let reviewer = review.reviewer.as_ref();
        let reviewer = reviewer.and_then(|it| it.login.as_deref().or(it.display.as_deref())).unwrap_or_default();
        let text = review.comment.as_deref().unwrap_or_default();
        let mut this = Sha256::new();
        for part in [source.as_str(), &key, issue, kind, &at.to_string(), reviewer, text] {
            this.update(part.len().to_le_bytes());
            this.update(part);
        }
        let this: String = this.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let received_at = event.event.received_at.as_millisecond();
        VERDICTS.contains(&kind).then(|| Self {
            last: Mark { name: format!("verdict:{source}:{key}"), number: at.as_millisecond() },
            own: Mark { name: format!("applied:{this}"), number: received_at },
        })
    }

    fn marks(self) -> [Mark; 2] {
        [self.last, self.own]
    }
}

/// As it was rendered for an earlier attempt.
fn stored(due: &Due) -> Option<Action> {
    serde_json::from_str(due.parts.as_ref()?.first()?.content.get()).ok()
}

fn part(action: &Action) -> Part {
    let json = serde_json::to_string(action).and_then(RawValue::from_string);
    Part { content: json.unwrap_or_default(), receipt: None }
}

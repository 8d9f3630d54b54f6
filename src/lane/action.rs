//! One action on an issue, from its route's texts to what Tracker answered.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tracing::warn;

use super::deliver::{Known, Then, Way, chain};
use super::{Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Action, Advice, Mark, Outcome, SendError, Words};
use crate::event::{Document, Event};
use crate::outbox::{Attempt, Due, Lease, Millis, Next, Part, Until};
use crate::tracker::action::{Before, act, comment_mark};
use crate::tracker::format::markdown;

/// What a reviewer decided. A comment or another commit is no verdict and makes none out of date.
const VERDICTS: &[&str] =
    &["review.approved", "review.unapproved", "review.changes_requested", "review.merged", "review.declined"];

const OVERTAKEN: &str = "a later verdict on this review was applied before";

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
        let verdict = verdict(&event);
        let (last_verdict, last_comment) = match self.known(verdict.as_ref(), issue).await {
            Ok(known) => known,
            Err(then) => return then,
        };
        if verdict.as_ref().zip(last_verdict).is_some_and(|(verdict, last)| last > verdict.number) {
            let at = self.works.clock.now_ms();
            tracing::info!(event = due.event.0, delivery = due.id.0, issue, at, "filtered: {OVERTAKEN}");
            return self.end(lease, due, None, Next::Filtered { reason: OVERTAKEN.into() }).await;
        }
        let (action, kept) = match stored(due) {
            Some(action) => (action, true),
            None => match rendered(action, due, &event, plan) {
                Ok(action) => (action, false),
                Err(why) => return self.end_dead(lease, due, None, why).await,
            },
        };
        let mut way = Way { due, parts: vec![part(&action)], kept, unclear: due.unclear };
        let api = tracker.under(self.lease_check(lease));
        // A replayed one was tried before as well.
        let before = Before { again: due.unclear || due.attempts > 0, last_comment };
        let started = self.works.clock.now_ms();
        let error: SendError = match act(&api, issue, &action, &before).await {
            Ok(done) => {
                let marks = done.marks.into_iter().chain(verdict).collect();
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

    /// The time of the verdict that was applied last to this review, and the last comment that was placed on the issue.
    async fn known(&self, verdict: Option<&Mark>, issue: &str) -> Result<(Option<Millis>, Option<i64>), Then> {
        let outbox = &self.works.outbox;
        let both = async {
            let last_verdict = match verdict {
                Some(verdict) => outbox.mark(&verdict.name).await?,
                None => None,
            };
            Ok::<_, crate::outbox::OutboxError>((last_verdict, outbox.mark(&comment_mark(issue)).await?))
        };
        both.await.map_err(|error| {
            warn!(issue, %error, "what was done to the issue before could not be looked up");
            Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN)))
        })
    }
}

/// Which review this is a verdict on, and when it was given.
fn verdict(event: &Event) -> Option<Mark> {
    let (review, at) = (event.review.as_ref()?, event.event.at?);
    let is_verdict = VERDICTS.contains(&event.event.kind.as_str());
    is_verdict
        .then(|| Mark { name: format!("verdict:{}:{}", event.event.source, review.key()), number: at.as_millisecond() })
}

/// As it was rendered for an earlier attempt.
fn stored(due: &Due) -> Option<Action> {
    serde_json::from_str(due.parts.as_ref()?.first()?.content.get()).ok()
}

fn part(action: &Action) -> Part {
    let json = serde_json::to_string(action).and_then(RawValue::from_string);
    Part { content: json.unwrap_or_default(), receipt: None }
}

/// The action with the texts that its event makes of the route's.
///
/// # Errors
/// Why a text cannot be made, for people.
fn rendered(action: &Action, due: &Due, event: &Event, plan: &Plan) -> Result<Action, String> {
    let document = &Document::new(&due.document, Some(due.event.0));
    let composer = &plan.composer;
    let say = |text: &String| {
        let said = composer.templates.say(text, document, &composer.locale);
        said.map_err(|error| format!("a text of route `{}` fails: {error}", due.route))
    };
    let fields = |fields: &BTreeMap<String, String>| {
        let said = fields.iter().map(|(key, text)| Ok((key.clone(), say(text)?)));
        said.collect::<Result<BTreeMap<_, _>, String>>()
    };
    Ok(match action {
        Action::Set { fields: set, was } => {
            // Another bench may have taken the field since: who goes takes only his own with him.
            let gone = (event.event.kind == "bench.gone").then(|| event.body.get("url")?.as_str().map(str::to_owned));
            Action::Set { fields: fields(set)?, was: gone.flatten().or_else(|| was.clone()) }
        }
        Action::Transition { to, by, fields: of_screen } => {
            Action::Transition { to: to.clone(), by: by.clone(), fields: fields(of_screen)? }
        }
        Action::Comment(Words::Text(text)) => Action::Comment(Words::Text(say(text)?)),
        Action::Comment(Words::Template(name)) => {
            let message = composer.templates.render_for_issue(name, document, &composer.locale);
            Action::Comment(Words::Text(markdown(&message.map_err(|error| error.to_string())?)))
        }
        Action::Link { key, application } => match say(key)?.trim() {
            "" => {
                return Err("there is nothing to link: the event is of no review and of no bench with a branch".into());
            }
            key => Action::Link { key: key.to_owned(), application: application.clone() },
        },
    })
}

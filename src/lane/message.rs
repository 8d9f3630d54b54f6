//! One message, part by part, from its template to the messenger's receipts.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tower::ServiceExt;
use tracing::warn;

use super::deliver::{Known, Then, Way, chain};
use super::{Channel, Early, Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Advice, Messenger, OnUnclear, Outcome, Receipt, Scope, SendError};
use crate::event::{ChannelName, Document, Head};
use crate::message::delayed;
use crate::messenger::Content;
use crate::messenger::sender::{Call, Sender, Target};
use crate::outbox::{Attempt, Due, Lease, Millis, Part, Thread, Until};
use crate::telemetry::{ByMessenger, ByTemplate};

/// A message that arrives later than this after its event says so.
const LATE: Duration = Duration::from_secs(2 * 60);

/// A message on its way.
struct Letter<'a> {
    way: Way<'a>,
    /// What the parts say.
    contents: Vec<Content>,
    name: &'a ChannelName,
    template: &'a str,
    messenger: Messenger,
    channel: &'a Channel,
    sender: &'a Sender,
    plan: &'a Plan,
    /// What began the thread takes no more replies.
    begins_anew: bool,
}

impl Letter<'_> {
    /// Says something else from the start.
    fn say(&mut self, contents: Vec<Content>) {
        self.way.parts = contents.iter().map(part).collect();
        self.contents = contents;
        self.way.kept = false;
    }
}

impl Runner {
    /// Places one delivery's message, part by part; each receipt is durable before the next part leaves.
    pub(super) async fn send(
        &self,
        lease: &Lease,
        due: &Due,
        (name, template): (&ChannelName, &str),
        plan: &Plan,
    ) -> Then {
        let (channel, sender) = (plan.channels.get(name), plan.senders.get(&self.account));
        let (Some(channel), Some(sender)) = (channel, sender) else {
            return Then::Release(Until::BackedOff(self.later(super::POLL)));
        };
        if let Some(then) = self.give_up(lease, due).await {
            return then;
        }
        if due.unclear && channel.on_unclear == OnUnclear::GiveUp {
            let reason =
                "Campanile broke off while it may have been sent; it may stand in the channel (on_unclear: give_up)";
            return self.end_dead(lease, due, None, reason.into()).await;
        }
        if let Some(then) = self.another_place(lease, channel).await {
            return then;
        }
        let messenger = channel.target.messenger();
        let stored = stored_parts(due, messenger);
        let kept = stored.is_some();
        let way = Way { due, parts: Vec::new(), kept, unclear: due.unclear };
        let contents = Vec::new();
        let mut letter = Letter { way, contents, name, template, messenger, channel, sender, plan, begins_anew: false };
        match stored {
            Some((contents, parts)) => (letter.contents, letter.way.parts) = (contents, parts),
            None => letter.say(self.render(&letter, true)),
        }
        let mut paced = true;
        // Counted anew each time: a part that is refused may become several.
        let mut number = 0;
        while number < letter.way.parts.len() {
            if letter.way.parts[number].receipt.is_none() {
                // Later parts take their own place in the pace; the ones before are settled.
                if !std::mem::take(&mut paced)
                    && let Some(then) = self.another_place(lease, channel).await
                {
                    return then;
                }
                if let Some(then) = self.send_part(lease, &mut letter, number).await {
                    return then;
                }
            }
            number += 1;
        }
        Then::Next
    }

    /// Sends one part until its end is settled. `None`: it is placed, the next part may follow.
    async fn send_part(&self, lease: &Lease, letter: &mut Letter<'_>, number: usize) -> Option<Then> {
        let mut moved = false;
        loop {
            let started = self.works.clock.now_ms();
            let is_plain = is_plain(&letter.contents[number]);
            let mut content = letter.contents[number].clone();
            if let Some(late) = self.late_by(letter.way.due, started).filter(|_| number == 0) {
                content = content.late(&delayed(letter.plan.composer.locale.language, late));
                if is_plain {
                    content = content.plain();
                }
            }
            if letter.way.unclear {
                let by = ByMessenger { messenger: letter.messenger.as_str() };
                self.works.metrics.duplicates_possible.get_or_create(&by).inc();
            }
            let outbox = self.works.outbox.clone();
            let held = lease.clone();
            // Asked before each try: a quick retry must not send either what could not be settled.
            let held = Arc::new(move || outbox.holds(&held) && outbox.can_write());
            let target = self.target(&letter.channel.target);
            let parent = match self.parent(lease, letter).await {
                Ok(parent) => parent,
                Err(then) => return Some(then),
            };
            let end = match Call::new(held, &target, parent.as_ref(), content, letter.way.due.id, number as u32) {
                Ok(call) => letter.sender.clone().oneshot(call).await,
                Err(error) => Err(error),
            };
            let now = self.works.clock.now_ms();
            self.pace.answered(&letter.channel.conversation, now);
            let took = now - started;
            let error = match end {
                Ok(receipt) => {
                    let issue = letter.way.due.thread().filter(|_| number == 0 && receipt.can_begin_thread());
                    let thread = issue.map(|issue| Thread { issue: issue.to_owned(), parent: receipt.clone() });
                    let known = Known { thread, ..Known::default() };
                    return self.placed(lease, &mut letter.way, (number, receipt), known).await;
                }
                Err(SendError::BreakerOpen { probe_in }) => {
                    return Some(Then::Release(Until::BackedOff(self.later(probe_in))));
                }
                Err(SendError::LeaseLost) => return Some(Then::Release(Until::Now)),
                // Nothing was replied to: it is the channel that takes nothing.
                Err(SendError::ParentGone { code }) if parent.is_none() => {
                    SendError::Held { code, hint: None, scope: Scope::Lane }
                }
                Err(error) => error,
            };
            let advice = error.advice();
            let outcome = Outcome::of(&error);
            let detail = chain(&error);
            let attempt = Attempt { at: started, took_ms: took, outcome, detail: detail.clone() };
            self.log_failure(letter.way.due, outcome, &detail, took);
            match advice {
                Advice::Plain if !is_plain => {
                    if letter.contents[number].is_own() {
                        // It is the only part, and nothing of it stands.
                        letter.say(self.render(letter, false));
                    } else {
                        let plain = letter.contents[number].plain();
                        letter.way.parts[number] = part(&plain);
                        letter.contents[number] = plain;
                        letter.way.kept = false;
                    }
                    if let Some(then) = self.settle_pending(lease, &letter.way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, letter.channel).await {
                        return Some(then);
                    }
                }
                Advice::NewThread if parent.is_some() => {
                    letter.begins_anew = true;
                    if let Some(then) = self.settle_pending(lease, &letter.way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, letter.channel).await {
                        return Some(then);
                    }
                }
                Advice::Moved(to) if !moved => {
                    moved = true;
                    self.remember_move(&letter.channel.target, to).await;
                    if let Some(then) = self.settle_pending(lease, &letter.way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, letter.channel).await {
                        return Some(then);
                    }
                }
                Advice::Plain | Advice::NewThread | Advice::GiveUp(_) => {
                    return Some(self.end_dead(lease, letter.way.due, Some((attempt, &letter.way)), detail).await);
                }
                Advice::Unclear if letter.channel.on_unclear == OnUnclear::GiveUp => {
                    let reason = format!("{detail}; it may stand in the channel (on_unclear: give_up)");
                    return Some(self.end_dead(lease, letter.way.due, Some((attempt, &letter.way)), reason).await);
                }
                advice => return Some(self.wait(lease, &mut letter.way, attempt, advice).await),
            }
        }
    }

    /// Each call takes a place in the pace of its own, and none while another lane has got the account held, or while
    /// its end could not be settled.
    async fn another_place(&self, lease: &Lease, channel: &Channel) -> Option<Then> {
        if !self.works.outbox.can_write() {
            return Some(Then::Release(Until::Now));
        }
        if self.account_hold().is_some_and(|(_, is_over)| !is_over) {
            return Some(Then::Release(Until::Now));
        }
        let now = self.works.clock.now_ms();
        let take = |now| self.pace.take(&channel.conversation, channel.is_group, lease.held, now);
        let at = match take(now) {
            Ok(()) => return None,
            Err(Early::Until(at)) => at,
            Err(Early::Slots { .. }) => {
                let asked_again_at = self.another_slot().await;
                let now = self.works.clock.now_ms();
                match take(now) {
                    Ok(()) => return None,
                    Err(Early::Until(at)) => at,
                    Err(Early::Slots { until }) => [until, asked_again_at].into_iter().flatten().min().unwrap_or(now),
                }
            }
        };
        Some(Then::Release(Until::Paced(at)))
    }

    async fn remember_move(&self, from: &Target, to: i64) {
        let Target::Telegram { chat, .. } = from else { return };
        warn!(chat, to, "the Telegram chat has a new id; it is remembered, but config.yaml should name it");
        self.works.moves.lock().unwrap_or_else(PoisonError::into_inner).insert(*chat, to);
        if let Err(error) = self.works.outbox.remember_move(*chat, to).await {
            warn!(chat, to, %error, "the chat's new id could not be written");
        }
    }

    /// Where a configured target is now.
    fn target(&self, configured: &Target) -> Target {
        let mut target = configured.clone();
        if let Target::Telegram { chat, .. } = &mut target {
            let moves = self.works.moves.lock().unwrap_or_else(PoisonError::into_inner);
            // A chain is as long as the moves a group made; a circle would be a messenger's mistake.
            for _ in 0..8 {
                match moves.get(chat) {
                    Some(now_is) => *chat = *now_is,
                    None => break,
                }
            }
        }
        target
    }

    /// The message to reply to. Parts after the first stand where the first stands: under the one that began the thread, or
    /// beside it when they belong to it.
    async fn parent(&self, lease: &Lease, letter: &Letter<'_>) -> Result<Option<Receipt>, Then> {
        let Some(issue) = letter.way.due.thread().filter(|_| !letter.begins_anew) else { return Ok(None) };
        match self.works.outbox.thread(lease, issue).await {
            Ok(parent) if parent == letter.way.parts[0].receipt => Ok(None),
            Ok(parent) => Ok(parent),
            Err(error) => {
                warn!(delivery = letter.way.due.id.0, %error, "the thread's first message could not be looked up");
                Err(Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN))))
            }
        }
    }

    /// The message of a template, or the fallback text when there is none or it fails. `own`: in the messenger's own form
    /// where the admin wrote one that it takes.
    fn render(&self, letter: &Letter<'_>, own: bool) -> Vec<Content> {
        let (due, template) = (letter.way.due, letter.template);
        let document = &Document::new(&due.document, Some(due.event.0));
        let composer = &letter.plan.composer;
        let (contents, failure) = composer.compose(template, document, letter.name.as_str(), letter.messenger, own);
        if let Some(why) = failure {
            let by = ByTemplate { template: template.to_owned() };
            self.works.metrics.template_failures.get_or_create(&by).inc();
            warn!(event = due.event.0, delivery = due.id.0, template, %why, "the template failed");
        }
        contents
    }

    fn late_by(&self, due: &Due, now: Millis) -> Option<Duration> {
        let since = due.planned_at.min(missed_at(&due.document).unwrap_or(Millis::MAX));
        let late = Duration::from_millis((now - since).max(0) as u64);
        (late > LATE).then_some(late)
    }
}

/// When it happened, of an event that was missed then: it has waited since.
fn missed_at(document: &str) -> Option<Millis> {
    #[derive(Deserialize)]
    struct Missed {
        event: Head,
    }
    // Nearly no event is one, and a document may be long.
    let missed: Missed = document.contains(r#""recovered":true"#).then(|| serde_json::from_str(document).ok())??;
    missed.event.at.filter(|_| missed.event.recovered).map(|at| at.as_millisecond())
}

/// What was rendered and kept, with the parts as they are kept.
fn stored_parts(due: &Due, messenger: Messenger) -> Option<(Vec<Content>, Vec<Part>)> {
    let parts = due.parts.clone()?;
    let contents = parts.iter().map(|part| Content::from_json(messenger, part.content.get()).ok());
    Some((contents.collect::<Option<_>>()?, parts))
}

/// A part as it is kept until its receipt.
fn part(content: &Content) -> Part {
    let json = content.to_json().and_then(RawValue::from_string);
    Part { content: json.unwrap_or_default(), receipt: None }
}

/// Plain content has nothing left to take away: another refusal is the last.
fn is_plain(content: &Content) -> bool {
    *content == content.plain()
}

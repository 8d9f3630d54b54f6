//! One delivery, from its place at the head of a lane to what an attempt's end makes of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tower::ServiceExt;
use tracing::{info, warn};

use super::{Channel, Early, Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Advice, OnUnclear, Outcome, Receipt, Scope, SendError};
use crate::event::Document;
use crate::message::delayed;
use crate::messenger::Content;
use crate::messenger::sender::{Call, Sender, Target};
use crate::outbox::{Attempt, Due, Hold, Lease, Millis, Next, OutboxError, Part, Settlement, Thread, Until};
use crate::telemetry::{ByMessenger, ByTemplate};

/// A message that arrives later than this after its event says so.
const LATE: Duration = Duration::from_secs(2 * 60);

/// What the lane's turn does after a delivery.
pub enum Then {
    /// The delivery has ended: the next one.
    Next,
    /// The lane must wait.
    Release(Until),
}

/// A delivery on its way: what is due, its parts in the messenger's form, and how they were settled so far.
pub(super) struct Way<'a> {
    pub(super) due: &'a Due,
    channel: &'a Channel,
    sender: &'a Sender,
    plan: &'a Plan,
    parts: Vec<(Content, Part)>,
    /// The rendering is in the outbox already.
    kept: bool,
    pub(super) unclear: bool,
    /// What began the thread takes no more replies.
    begins_anew: bool,
}

impl Runner {
    /// Places one delivery's message, part by part; each receipt is durable before the next part leaves.
    pub(super) async fn deliver(&self, lease: &Lease, due: Due, plan: &Plan) -> Then {
        let now = self.works.clock.now_ms();
        let (channel, sender) = (plan.channels.get(&due.channel), plan.senders.get(&self.account));
        let (Some(channel), Some(sender)) = (channel, sender) else {
            return Then::Release(Until::BackedOff(self.later(super::POLL)));
        };
        if now >= due.give_up_at {
            let reason = due.reason.clone().unwrap_or_else(|| "nothing was tried before".into());
            let reason = format!("waited longer than give_up_after_hours; last: {reason}");
            return self.end_dead(lease, &due, None, reason).await;
        }
        if due.unclear && channel.on_unclear == OnUnclear::GiveUp {
            let reason =
                "Campanile broke off while it may have been sent; it may stand in the channel (on_unclear: give_up)";
            return self.end_dead(lease, &due, None, reason.into()).await;
        }
        // What failed before a restart is due at once, but not everything in the same millisecond.
        let since_start = self.works.clock.elapsed().saturating_sub(self.started_at);
        let left = self.spread(lease.lane).saturating_sub(since_start);
        if due.attempts > 0 && due.planned_at < now - since_start.as_millis() as Millis && !left.is_zero() {
            return Then::Release(Until::Paced(self.later(left)));
        }
        if let Some(then) = self.another_place(lease, channel).await {
            return then;
        }
        let (parts, kept) = match self.stored_parts(&due) {
            Some(parts) => (parts, true),
            None => (self.render(&due, plan, true), false),
        };
        let unclear = due.unclear;
        let mut way = Way { due: &due, channel, sender, plan, parts, kept, unclear, begins_anew: false };
        let mut paced = true;
        // Counted anew each time: a part that is refused may become several.
        let mut number = 0;
        while number < way.parts.len() {
            if way.parts[number].1.receipt.is_none() {
                // Later parts take their own place in the pace; the ones before are settled.
                if !std::mem::take(&mut paced)
                    && let Some(then) = self.another_place(lease, way.channel).await
                {
                    return then;
                }
                if let Some(then) = self.send_part(lease, &mut way, number).await {
                    return then;
                }
            }
            number += 1;
        }
        Then::Next
    }

    /// Sends one part until its end is settled. `None`: it is placed, the next part may follow.
    async fn send_part(&self, lease: &Lease, way: &mut Way<'_>, number: usize) -> Option<Then> {
        let mut moved = false;
        loop {
            let started = self.works.clock.now_ms();
            let is_plain = is_plain(&way.parts[number].0);
            let mut content = way.parts[number].0.clone();
            if let Some(late) = self.late_by(way.due, started).filter(|_| number == 0) {
                content = content.late(&delayed(way.plan.composer.locale.language, late));
                if is_plain {
                    content = content.plain();
                }
            }
            if way.unclear {
                let by = ByMessenger { messenger: self.messenger.as_str() };
                self.works.metrics.duplicates_possible.get_or_create(&by).inc();
            }
            let outbox = self.works.outbox.clone();
            let held = lease.clone();
            // Asked before each try: a quick retry must not send either what could not be settled.
            let held = Arc::new(move || outbox.holds(&held) && outbox.can_write());
            let target = self.target(&way.channel.target);
            let parent = match self.parent(lease, way).await {
                Ok(parent) => parent,
                Err(then) => return Some(then),
            };
            let end = match Call::new(held, &target, parent.as_ref(), content, way.due.id, number as u32) {
                Ok(call) => way.sender.clone().oneshot(call).await,
                Err(error) => Err(error),
            };
            let now = self.works.clock.now_ms();
            self.pace.answered(&way.channel.conversation, now);
            let took = now - started;
            let error = match end {
                Ok(receipt) => return self.placed(lease, way, number, receipt).await,
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
            self.log_failure(way.due, outcome, &detail, took);
            match advice {
                Advice::Plain if !is_plain => {
                    if way.parts[number].0.is_own() {
                        // It is the only part, and nothing of it stands.
                        way.parts = self.render(way.due, way.plan, false);
                    } else {
                        let plain = way.parts[number].0.plain();
                        way.parts[number] = part(plain);
                    }
                    way.kept = false;
                    if let Some(then) = self.settle_pending(lease, way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, way.channel).await {
                        return Some(then);
                    }
                }
                Advice::NewThread if parent.is_some() => {
                    way.begins_anew = true;
                    if let Some(then) = self.settle_pending(lease, way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, way.channel).await {
                        return Some(then);
                    }
                }
                Advice::Moved(to) if !moved => {
                    moved = true;
                    self.remember_move(&way.channel.target, to).await;
                    if let Some(then) = self.settle_pending(lease, way, attempt, None).await {
                        return Some(then);
                    }
                    if let Some(then) = self.another_place(lease, way.channel).await {
                        return Some(then);
                    }
                }
                Advice::Plain | Advice::NewThread | Advice::GiveUp(_) => {
                    return Some(self.end_dead(lease, way.due, Some((attempt, way)), detail).await);
                }
                Advice::Unclear if way.channel.on_unclear == OnUnclear::GiveUp => {
                    let reason = format!("{detail}; it may stand in the channel (on_unclear: give_up)");
                    return Some(self.end_dead(lease, way.due, Some((attempt, way)), reason).await);
                }
                advice => return Some(self.wait(lease, way, attempt, advice).await),
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

    async fn placed(&self, lease: &Lease, way: &mut Way<'_>, number: usize, receipt: Receipt) -> Option<Then> {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("before-settle", |_| {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            None
        });
        let now = self.works.clock.now_ms();
        self.lanes_in_trouble.over(&lease.lane);
        // While the hold's time is not over, this is the answer to a call from before the hold, and says nothing of it.
        if self.account_hold().is_some_and(|(_, is_over)| is_over) {
            self.end_account_hold().await;
        }
        let begun = way.due.thread.clone().filter(|_| number == 0 && receipt.can_begin_thread());
        let thread = begun.map(|issue| Thread { issue, parent: receipt.clone() });
        way.parts[number].1.receipt = Some(receipt);
        let ended = way.parts.iter().all(|(_, part)| part.receipt.is_some());
        let settlement = Settlement {
            delivery: way.due.id,
            at: now,
            to: if ended { Next::Delivered } else { Next::Pending { unclear: false } },
            parts: Some(way.parts.iter().map(|(_, part)| part.clone()).collect()),
            attempt: None,
            thread,
            hold: None,
        };
        way.kept = true;
        way.unclear = false;
        if let Err(then) = self.settle(lease, settlement).await {
            return Some(then);
        }
        if ended {
            let by = ByMessenger { messenger: self.messenger.as_str() };
            let seconds = (now - way.due.planned_at).max(0) as f64 / 1_000.0;
            self.works.metrics.delivery_seconds.get_or_create(&by).observe(seconds);
            info!(
                event = way.due.event.0, delivery = way.due.id.0, channel = %way.due.channel, attempts = way.due.attempts + 1,
                parts = way.parts.len(), after_ms = now - way.due.planned_at, "delivered"
            );
        }
        None
    }

    pub(super) async fn settle_pending(
        &self,
        lease: &Lease,
        way: &Way<'_>,
        attempt: Attempt,
        hold: Option<Hold>,
    ) -> Option<Then> {
        let settlement = Settlement {
            delivery: way.due.id,
            at: self.works.clock.now_ms(),
            to: Next::Pending { unclear: way.unclear },
            parts: (!way.kept).then(|| way.parts.iter().map(|(_, part)| part.clone()).collect()),
            attempt: Some(attempt),
            thread: None,
            hold,
        };
        self.settle(lease, settlement).await.err()
    }

    async fn end_dead(&self, lease: &Lease, due: &Due, tried: Option<(Attempt, &Way<'_>)>, reason: String) -> Then {
        warn!(event = due.event.0, delivery = due.id.0, channel = %due.channel, reason, "dead letter");
        let settlement = Settlement {
            delivery: due.id,
            at: self.works.clock.now_ms(),
            to: Next::Dead { reason },
            parts: tried.as_ref().map(|(_, way)| way.parts.iter().map(|(_, part)| part.clone()).collect()),
            attempt: tried.map(|(attempt, _)| attempt),
            thread: None,
            hold: None,
        };
        self.lanes_in_trouble.over(&lease.lane);
        match self.settle(lease, settlement).await {
            Ok(()) => Then::Next,
            Err(then) => then,
        }
    }

    /// Writes what happened, however long the store refuses: until then this lane sends nothing more.
    async fn settle(&self, lease: &Lease, mut settlement: Settlement) -> Result<(), Then> {
        loop {
            // The clock may have gone back since: nothing is settled in its future.
            let ahead = (settlement.at - self.works.clock.now_ms()).max(0);
            settlement.at -= ahead;
            settlement.hold.iter_mut().for_each(|hold| hold.until -= ahead);
            match self.works.outbox.settle(lease, settlement.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ (OutboxError::LeaseLost(_) | OutboxError::NoSuchDelivery(_) | OutboxError::Closed)) => {
                    warn!(delivery = settlement.delivery.0, %error, "an attempt's end could not be settled");
                    return Err(Then::Release(Until::Now));
                }
                Err(error) => {
                    warn!(delivery = settlement.delivery.0, %error, "an attempt's end is not settled yet; the lane waits for the store");
                }
            }
            tokio::select! {
                () = self.works.clock.sleep(SETTLE_AGAIN) => {}
                () = self.lifecycle.over.cancelled() => return Err(Then::Release(Until::Now)),
            }
        }
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
    async fn parent(&self, lease: &Lease, way: &Way<'_>) -> Result<Option<Receipt>, Then> {
        let Some(issue) = way.due.thread.as_deref().filter(|_| !way.begins_anew) else { return Ok(None) };
        match self.works.outbox.thread(lease, issue).await {
            Ok(parent) if parent == way.parts[0].1.receipt => Ok(None),
            Ok(parent) => Ok(parent),
            Err(error) => {
                warn!(delivery = way.due.id.0, %error, "the thread's first message could not be looked up");
                Err(Then::Release(Until::BackedOff(self.later(SETTLE_AGAIN))))
            }
        }
    }

    fn stored_parts(&self, due: &Due) -> Option<Vec<(Content, Part)>> {
        let parts = due.parts.clone()?;
        let read = |part: Part| Some((Content::from_json(self.messenger, part.content.get()).ok()?, part));
        parts.into_iter().map(read).collect()
    }

    /// The message of a template, or the fallback text when there is none or it fails. `own`: in the messenger's own form
    /// where the admin wrote one that it takes.
    fn render(&self, due: &Due, plan: &Plan, own: bool) -> Vec<(Content, Part)> {
        let works = &self.works;
        let document = &Document::new(&due.document, Some(due.event.0));
        let composed = plan.composer.compose(&due.template, document, due.channel.as_str(), self.messenger, own);
        let (parts, failure) = composed;
        if let Some(why) = failure {
            let by = ByTemplate { template: due.template.clone() };
            works.metrics.template_failures.get_or_create(&by).inc();
            warn!(event = due.event.0, delivery = due.id.0, template = due.template, %why, "the template failed");
        }
        parts.into_iter().map(part).collect()
    }

    fn late_by(&self, due: &Due, now: Millis) -> Option<Duration> {
        let late = Duration::from_millis((now - due.planned_at).max(0) as u64);
        (late > LATE).then_some(late)
    }

    fn log_failure(&self, due: &Due, outcome: Outcome, detail: &str, took_ms: i64) {
        info!(
            event = due.event.0, delivery = due.id.0, channel = %due.channel, outcome = outcome.as_str(), detail,
            attempt = due.attempts + 1, took_ms, "not delivered yet"
        );
    }
}

/// A part as it is kept until its receipt.
fn part(content: Content) -> (Content, Part) {
    let json = content.to_json().and_then(RawValue::from_string);
    let kept = Part { content: json.unwrap_or_default(), receipt: None };
    (content, kept)
}

/// Plain content has nothing left to take away: another refusal is the last.
fn is_plain(content: &Content) -> bool {
    *content == content.plain()
}

/// The error with its causes, in one line.
fn chain(error: &SendError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().take(500).collect()
}

//! How long a lane or its account waits after an attempt that did not place the message, and for whom.

use std::sync::PoisonError;
use std::time::Duration;

use tracing::{info, warn};

use super::Runner;
use super::deliver::{Then, Way};
use crate::delivery::{Advice, Messenger, Platform, Scope};
use crate::outbox::{Attempt, Hold, Lease, Millis, Until};
use crate::telemetry::ByAccount;

/// Two lanes that Telegram told "too many" within this time: it is the bot that is meant.
const SECOND_LANE_WITHIN: Duration = Duration::from_secs(10);
/// A messenger that asks for a pause and names no time.
const UNNAMED_PAUSE: Duration = Duration::from_secs(1);

impl Runner {
    /// The lane (or its account) must wait: for how long, and whether that outlives a restart.
    pub(super) async fn wait(&self, lease: &Lease, way: &mut Way<'_>, attempt: Attempt, advice: Advice) -> Then {
        way.unclear |= advice == Advice::Unclear;
        let reason = attempt.detail.clone();
        let (hold, until) = match advice {
            Advice::Wait { at_least: Some(wait), scope } => {
                let hold = Hold { until: self.later(wait), reason, needs_a_person: false };
                match self.whom_it_means(lease, scope) {
                    Scope::Lane => (Some(hold), Until::Now),
                    Scope::Account => {
                        self.hold_account(hold).await;
                        (None, Until::Now)
                    }
                }
            }
            // The messenger named no time: at least a second, and longer each time.
            Advice::Wait { at_least: None, scope } => {
                let wait = self.lanes_in_trouble.back_off(lease.lane).max(UNNAMED_PAUSE);
                if self.whom_it_means(lease, scope) == Scope::Account {
                    self.hold_account(Hold { until: self.later(wait), reason, needs_a_person: false }).await;
                }
                (None, Until::BackedOff(self.later(wait)))
            }
            Advice::Hold { scope, reason } => {
                self.works.metrics.holds.get_or_create(&ByAccount { account: self.account.to_string() }).inc();
                match scope {
                    Scope::Lane => {
                        let until = self.later(self.lanes_in_trouble.probe_in(lease.lane));
                        // A probe that finds the same is no news.
                        if way.due.reason.as_ref() != Some(&attempt.detail) {
                            let (channel, delivery) = (way.due.place(), way.due.id.0);
                            warn!(channel, delivery, reason, "the lane is held until somebody mends this; probing");
                        }
                        (Some(Hold { until, reason, needs_a_person: true }), Until::Now)
                    }
                    Scope::Account => {
                        let (until, is_new) = self.next_probe();
                        if is_new {
                            self.hold_account(Hold { until, reason, needs_a_person: true }).await;
                        }
                        // The lane waits by itself too: should the account's hold be gone, nothing is sent in circles.
                        (None, Until::BackedOff(until))
                    }
                }
            }
            Advice::Again
            | Advice::Unclear
            | Advice::Plain
            | Advice::NewThread
            | Advice::Moved(_)
            | Advice::GiveUp(_) => {
                let back_off = self.lanes_in_trouble.back_off(lease.lane);
                // An open breaker lets one call through every 2 s: no lane's own back-off may stretch that.
                let wait = self.breaker.refusal().map_or(back_off, |probe_in| back_off.min(probe_in));
                (None, Until::BackedOff(self.later(wait)))
            }
        };
        match self.settle_pending(lease, way, attempt, hold).await {
            Some(then) => then,
            None => Then::Release(until),
        }
    }

    /// Telegram speaks of a chat first; when a second chat hears the same soon after, the bot is meant. Slack says whom
    /// it means.
    fn whom_it_means(&self, lease: &Lease, scope: Scope) -> Scope {
        if self.platform != Platform::Messenger(Messenger::Telegram) {
            return scope;
        }
        let now = self.works.clock.elapsed();
        let mut last = self.last_paced.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((lease.lane, now));
        match before {
            Some((lane, at))
                if scope == Scope::Lane && lane != lease.lane && now.saturating_sub(at) <= SECOND_LANE_WITHIN =>
            {
                Scope::Account
            }
            _ => scope,
        }
    }

    /// When the account's next probe may go, and whether that is news. Calls that were on their way together are one
    /// failure of the account, not many.
    pub(super) fn next_probe(&self) -> (Millis, bool) {
        let mut next = self.next_probe_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.works.clock.elapsed();
        let is_new = *next <= now;
        if is_new {
            *next = now + self.account_in_trouble.probe_in(());
        }
        (self.later(next.saturating_sub(now)), is_new)
    }

    /// The account's hold, and whether its time is over. The clock is read after it: where the time has just gone back, a
    /// hold of the time before lasts too long until it is read again, and none ends too early.
    pub(super) fn account_hold(&self) -> Option<(Hold, bool)> {
        let hold = self.works.outbox.account_hold(&self.account)?;
        let is_over = hold.until <= self.works.clock.now_ms();
        Some((hold, is_over))
    }

    async fn hold_account(&self, hold: Hold) {
        self.hold_account_of(&self.account, hold).await;
    }

    pub(super) async fn hold_account_of(&self, account: &str, hold: Hold) {
        let held = self.works.outbox.account_hold(account);
        let hold = held.iter().fold(hold, |hold, held| hold.beside(held));
        if held.as_ref() == Some(&hold) {
            return;
        }
        if hold.needs_a_person {
            warn!(
                account,
                reason = hold.reason,
                "the account is held until somebody mends this; one message probes now and then"
            );
        } else {
            info!(account, reason = hold.reason, "the account is paused");
        }
        if let Err(error) = self.works.outbox.hold_account(account, Some(hold)).await {
            warn!(account, %error, "the account's hold could not be written");
        }
    }

    /// Something got through.
    pub(super) async fn end_account_hold(&self) {
        self.end_hold_of(&self.account).await;
    }

    pub(super) async fn end_hold_of(&self, account: &str) {
        self.account_in_trouble.over(&());
        if let Err(error) = self.works.outbox.hold_account(account, None).await {
            warn!(account, %error, "the end of the account's hold could not be written");
        }
    }
}

//! One delivery, from its place at the head of a lane to what an attempt's end makes of it: what a message and an action
//! have in common.

use tracing::{info, warn};

use super::{Plan, Runner, SETTLE_AGAIN};
use crate::delivery::{Duty, Mark, Outcome, Receipt, SendError};
use crate::outbox::{Attempt, Due, Hold, Lease, Next, OutboxError, Part, Settlement, Thread, Until};
use crate::telemetry::ByMessenger;

/// What the lane's turn does after a delivery.
pub enum Then {
    /// The delivery has ended: the next one.
    Next,
    /// The lane must wait.
    Release(Until),
}

/// A delivery on its way: what is due, what goes out for it, and how that was settled so far.
pub(super) struct Way<'a> {
    pub(super) due: &'a Due,
    pub(super) parts: Vec<Part>,
    /// The parts are in the outbox already.
    pub(super) kept: bool,
    pub(super) unclear: bool,
}

/// What a receipt makes known besides itself.
#[derive(Default)]
pub(super) struct Known {
    pub(super) thread: Option<Thread>,
    pub(super) marks: Vec<Mark>,
}

impl Runner {
    /// Does what a delivery is due for; every end of it is durable before the next begins.
    pub(super) async fn deliver(&self, lease: &Lease, due: Due, plan: &Plan) -> Then {
        if let Some(then) = self.spread_out(lease, &due) {
            return then;
        }
        match &due.duty {
            Duty::Message { channel, template, .. } => self.send(lease, &due, (channel, template), plan).await,
            Duty::Action { issue, action } => self.act(lease, &due, (issue, action), plan).await,
            Duty::Route { .. } => self.route(lease, &due, plan).await,
        }
    }

    /// What failed before a restart is due at once, but not everything in the same millisecond.
    fn spread_out(&self, lease: &Lease, due: &Due) -> Option<Then> {
        let now = self.works.clock.now_ms();
        let since_start = self.works.clock.elapsed().saturating_sub(self.started_at);
        let left = self.spread(lease.lane).saturating_sub(since_start);
        let failed_before = due.attempts > 0 && due.planned_at < now - since_start.as_millis() as i64;
        let waits = failed_before && now < due.give_up_at && !left.is_zero();
        waits.then(|| Then::Release(Until::Paced(self.later(left))))
    }

    /// Nobody waits for it any more.
    pub(super) async fn give_up(&self, lease: &Lease, due: &Due) -> Option<Then> {
        if self.works.clock.now_ms() < due.give_up_at {
            return None;
        }
        let reason = due.reason.clone().unwrap_or_else(|| "nothing was tried before".into());
        let reason = format!("waited longer than give_up_after_hours; last: {reason}");
        Some(self.end_dead(lease, due, None, reason).await)
    }

    /// A part has its receipt. `None`: that is durable.
    pub(super) async fn placed(
        &self,
        lease: &Lease,
        way: &mut Way<'_>,
        (number, receipt): (usize, Receipt),
        known: Known,
    ) -> Option<Then> {
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
        way.parts[number].receipt = Some(receipt);
        let ended = way.parts.iter().all(|part| part.receipt.is_some());
        let settlement = Settlement {
            delivery: way.due.id,
            at: now,
            to: if ended { Next::Delivered } else { Next::Pending { unclear: false } },
            parts: Some(way.parts.clone()),
            attempt: None,
            thread: known.thread,
            hold: None,
            marks: known.marks,
        };
        way.kept = true;
        way.unclear = false;
        if let Err(then) = self.settle(lease, settlement).await {
            return Some(then);
        }
        if ended {
            let by = ByMessenger { messenger: self.platform.as_str() };
            let seconds = (now - way.due.planned_at).max(0) as f64 / 1_000.0;
            self.works.metrics.delivery_seconds.get_or_create(&by).observe(seconds);
            info!(
                event = way.due.event.0,
                delivery = way.due.id.0,
                channel = way.due.place(),
                attempts = way.due.attempts + 1,
                parts = way.parts.len(),
                after_ms = now - way.due.planned_at,
                "delivered"
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
            parts: (!way.kept).then(|| way.parts.clone()),
            attempt: Some(attempt),
            thread: None,
            hold,
            marks: Vec::new(),
        };
        self.settle(lease, settlement).await.err()
    }

    pub(super) async fn end_dead(
        &self,
        lease: &Lease,
        due: &Due,
        tried: Option<(Attempt, &Way<'_>)>,
        reason: String,
    ) -> Then {
        warn!(event = due.event.0, delivery = due.id.0, channel = due.place(), reason, "dead letter");
        self.end(lease, due, tried, Next::Dead { reason }).await
    }

    /// Ends a delivery without a receipt.
    pub(super) async fn end(&self, lease: &Lease, due: &Due, tried: Option<(Attempt, &Way<'_>)>, to: Next) -> Then {
        let settlement = Settlement {
            delivery: due.id,
            at: self.works.clock.now_ms(),
            to,
            parts: tried.as_ref().map(|(_, way)| way.parts.clone()),
            attempt: tried.map(|(attempt, _)| attempt),
            thread: None,
            hold: None,
            marks: Vec::new(),
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

    pub(super) fn log_failure(&self, due: &Due, outcome: Outcome, detail: &str, took_ms: i64) {
        info!(
            event = due.event.0,
            delivery = due.id.0,
            channel = due.place(),
            outcome = outcome.as_str(),
            detail,
            attempt = due.attempts + 1,
            took_ms,
            "not delivered yet"
        );
    }
}

/// The error with its causes, in one line.
pub(super) fn chain(error: &SendError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().take(500).collect()
}

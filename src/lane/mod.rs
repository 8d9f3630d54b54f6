//! Heads of lanes: claim, render, send, settle.
//!
//! One [`Runner`] serves one account. A lane that has something due gets a task for as long as it can send; a lane
//! that must wait (for its pace, a pause, a back-off) gives its lease back and costs nothing until then.

mod action;
mod compose;
mod deliver;
mod message;
mod pace;
mod routing;
mod slots;
mod trouble;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockWriteGuard, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::delivery::{OnUnclear, Platform};
use crate::event::{ChannelName, SourceName};
use crate::layers::breaker::{self, Breaker};
use crate::lifecycle::Lifecycle;
use crate::messenger::sender::{Sender, Target};
use crate::outbox::{LaneId, Lease, Millis, Outbox, Until};
use crate::route::Planner;
use crate::telemetry::{ByAccount, Metrics};
use crate::tracker::client as tracker;
use crate::tracker::own::Own;

pub use compose::{Composer, Failure};
pub use pace::{Early, Pace, Quota, Rates};
pub use routing::Comments;
use slots::Short;
use trouble::Troubles;

/// Lanes of one account that may be sending at the same time. Each holds one call at most.
const WIDTH: usize = 256;
/// Of Tracker's: an action is several calls, and all share a rate.
const WIDTH_OF_TRACKER: usize = 16;
/// Deliveries read from a lane at once.
const HEADS: usize = 16;
/// After this many messages a lane goes to the end of the line, so that one with a million waiting delays no other.
const TURN: usize = 64;
/// The net under all wake-ups.
const POLL: Duration = Duration::from_secs(15);
/// While the store cannot be written, how often a settle is tried again.
const SETTLE_AGAIN: Duration = Duration::from_millis(250);
/// Heads that failed before a restart are due at once, but not all in the same millisecond.
const SPREAD_AFTER_START_MS: i64 = 1_000;

/// A configured channel, as its lane sees it.
#[derive(Clone, Debug)]
pub struct Channel {
    pub target: Target,
    /// What the pace counts by: topics of one Telegram chat share it.
    pub conversation: String,
    pub is_group: bool,
    pub on_unclear: OnUnclear,
}

/// What a configuration makes of the lanes. A delivery takes the one that counts when it begins, and keeps it.
pub struct Plan {
    pub composer: Composer,
    pub channels: HashMap<ChannelName, Channel>,
    /// By account.
    pub senders: HashMap<Arc<str>, Sender>,
    /// By source: who is asked for a review's comments.
    pub comments: HashMap<SourceName, Comments>,
    /// `None`: no token.
    pub tracker: Option<tracker::Client>,
    /// What routes an event that was to be routed.
    pub planner: Arc<Planner>,
    /// How long such an event may wait for Tracker, from its receipt.
    pub enrich_within: Duration,
    /// Where people open issues, without the slash before the key.
    pub web_url: String,
}

/// What every runner shares.
pub struct Works {
    pub outbox: Arc<dyn Outbox>,
    /// A reload puts another in its place.
    pub plan: watch::Sender<Arc<Plan>>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Telegram chats that became another chat.
    pub moves: Mutex<HashMap<i64, i64>>,
    /// Who Campanile is in Tracker, once Tracker was asked.
    pub own: watch::Sender<Option<Own>>,
}

/// Serves the lanes of one account until it is told to stop.
pub struct Runner {
    pub account: Arc<str>,
    pub platform: Platform,
    works: Arc<Works>,
    breaker: Breaker,
    pace: Pace,
    /// Each delivery that is on its way holds it, so that a reload can wait for all of them.
    turnstile: RwLock<()>,
    short: Short,
    lanes_in_trouble: Troubles<LaneId>,
    account_in_trouble: Troubles<()>,
    // By the time that only moves forward: the clock may go back.
    next_probe_at: Mutex<Duration>,
    /// The lane that was last told "too many" by Telegram, and when: a second one within 10 s means the bot is meant.
    last_paced: Mutex<Option<(LaneId, Duration)>>,
    started_at: Duration,
    lifecycle: Lifecycle,
}

impl Runner {
    pub fn new(
        account: Arc<str>,
        platform: Platform,
        works: Arc<Works>,
        breaker: Breaker,
        pace: Pace,
        random: &mut fastrand::Rng,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            account,
            platform,
            breaker,
            pace,
            turnstile: RwLock::default(),
            short: Short::default(),
            lanes_in_trouble: Troubles::new(random.fork()),
            account_in_trouble: Troubles::new(random.fork()),
            next_probe_at: Mutex::default(),
            last_paced: Mutex::default(),
            started_at: works.clock.elapsed(),
            works,
            lifecycle,
        }
    }

    /// Of its account; whatever the configuration says of that, the messenger is as well or ill as before.
    pub fn breaker(&self) -> Breaker {
        self.breaker.clone()
    }

    /// Waits for what is on its way; nothing begins while the guard lives.
    pub async fn stand_still(&self) -> RwLockWriteGuard<'_, ()> {
        self.turnstile.write().await
    }

    /// A new plan counts: its pace, and nothing waits for what the one before met.
    pub async fn start_over(&self, rates: Rates) {
        self.change_pace(rates).await;
        self.end_waits();
    }

    /// Whatever waits for a person may have been mended.
    pub fn end_waits(&self) {
        self.account_in_trouble.over(&());
        *self.next_probe_at.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
        self.works.outbox.end_waits(&self.account);
    }

    /// Claims and serves lanes until a stop is asked for, then finishes the messages that are on their way and leaves the
    /// account's slots to others.
    pub async fn run(self: Arc<Self>) {
        let outbox = &self.works.outbox;
        let stop: CancellationToken = self.lifecycle.stopping.clone();
        let mut turns = JoinSet::new();
        let mut writable = outbox.writable();
        let mut breaker = self.breaker.watch();
        while !stop.is_cancelled() {
            if let Some(replicas) = outbox.slots_wanted(&self.account) {
                self.give_slots(|slots| slots.div_ceil(replicas)).await;
            }
            let can_write = *writable.borrow_and_update();
            let net = self.later(POLL);
            let (room, look_again) = self.room(turns.len(), can_write).await;
            let mut until = look_again;
            if room > 0 {
                // Not inside select!: half a claim would strand its leases.
                match outbox.claim(&self.account, room).await {
                    Ok(leases) => {
                        if leases.len() < room {
                            until = outbox.next_due(&self.account);
                        }
                        for lease in leases {
                            turns.spawn(self.clone().serve(lease));
                        }
                    }
                    Err(error) => warn!(account = %self.account, %error, "lanes cannot be claimed; asking again"),
                }
            }
            tokio::select! { // only waiting is raced
                () = stop.cancelled() => {}
                () = outbox.work(&self.account) => {}
                () = self.works.clock.sleep_until(until.unwrap_or(Millis::MAX).min(net)) => {}
                _ = writable.changed() => {}
                Ok(()) = breaker.changed() => self.breaker_changed(*breaker.borrow_and_update()),
                Some(ended) = turns.join_next() => note(&self.account, ended),
            }
        }
        while let Some(ended) = turns.join_next().await {
            note(&self.account, ended); // leaving these would abort them in mid-send
        }
        self.give_slots(|_| 0).await;
    }

    /// How many lanes may be claimed now, and when to look again if fewer than all.
    async fn room(&self, busy: usize, writable: bool) -> (usize, Option<Millis>) {
        let now = self.works.clock.now_ms();
        let width = if self.platform == Platform::Tracker { WIDTH_OF_TRACKER } else { WIDTH };
        let free = width.saturating_sub(busy);
        if !writable {
            return (0, None);
        }
        if self.breaker.state() == breaker::State::Open {
            // One lane goes ahead and finds out; calls that hang from before do not stand in its way.
            return match self.breaker.refusal() {
                Some(probe_in) => (0, Some(now + probe_in.as_millis() as Millis)),
                None => (free.min(1), Some(now + breaker::PROBE_EVERY.as_millis() as Millis)),
            };
        }
        match self.account_hold() {
            Some((hold, false)) => (0, Some(hold.until)),
            Some((hold, true)) if hold.needs_a_person => (usize::from(busy == 0), None),
            Some(_) => {
                self.end_account_hold().await;
                (free, None)
            }
            None => (free, None),
        }
    }

    fn breaker_changed(&self, state: breaker::State) {
        let by = ByAccount { account: self.account.to_string() };
        let open = self.works.metrics.breaker_open.get_or_create(&by);
        match state {
            breaker::State::Open => {
                open.set(1);
                warn!(account = %self.account, "the messenger failed ten times in a row; one message probes every 2 s");
            }
            breaker::State::Closed => {
                open.set(0);
                info!(account = %self.account, "the messenger answers again");
                self.works.outbox.end_back_off(&self.account);
            }
        }
    }

    /// One turn of a lane, by one plan; the lease goes back whatever happens in it.
    async fn serve(self: Arc<Self>, lease: Lease) {
        let plan = self.works.plan.borrow().clone();
        let mut turn = Turn { runner: &self, lease: &lease, until: None };
        turn.until = Some(self.turn(&lease, &plan).await);
        drop(turn);
        // What this turn met by the old plan came too late for the reload to end it. Looked at after the lease is back:
        // a reload that comes later finds it.
        if !self.counts(&plan) {
            self.end_waits();
        }
    }

    fn counts(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(plan, &self.works.plan.borrow())
    }

    /// Messages in order until the lane must wait, is empty, has had its share, or another plan counts.
    async fn turn(&self, lease: &Lease, plan: &Arc<Plan>) -> Until {
        let mut sent = 0;
        loop {
            let heads = match self.works.outbox.heads(lease, HEADS).await {
                Ok(heads) => heads,
                Err(error) => {
                    error!(account = %self.account, lane = lease.lane.0, %error, "the heads of a lane cannot be read");
                    return Until::BackedOff(self.later(self.lanes_in_trouble.back_off(lease.lane)));
                }
            };
            if heads.is_empty() {
                return Until::Now;
            }
            for due in heads {
                if self.lifecycle.stopping.is_cancelled() || sent >= TURN {
                    return Until::Now;
                }
                let _on_its_way = self.turnstile.read().await;
                if !self.counts(plan) {
                    return Until::Now; // a reload came between: what was read here may belong to another lane now
                }
                match self.deliver(lease, due, plan).await {
                    deliver::Then::Next => sent += 1,
                    deliver::Then::Release(until) => return until,
                }
            }
        }
    }

    /// A lane's own place within the second after a start.
    fn spread(&self, lane: LaneId) -> Duration {
        Duration::from_millis(lane.0.wrapping_mul(0x9E37_79B9).rem_euclid(SPREAD_AFTER_START_MS) as u64)
    }

    fn later(&self, wait: Duration) -> Millis {
        self.works.clock.now_ms().saturating_add(wait.as_millis() as Millis)
    }
}

/// Gives the lease back when the turn ends, also when it breaks off by a panic or the end of a stop's patience.
struct Turn<'a> {
    runner: &'a Runner,
    lease: &'a Lease,
    until: Option<Until>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (outbox, lease) = (&self.runner.works.outbox, self.lease.clone());
        match self.until {
            Some(until) => outbox.release(lease, until),
            None => outbox.abandon(lease, Until::BackedOff(self.runner.later(POLL))),
        }
    }
}

fn note(account: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(end) = ended {
        error!(account, %end, "a lane's turn did not end by itself; its lane is served again soon");
    }
}

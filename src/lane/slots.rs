//! The account's slots, which replicas share: asked for when a message lacks one, given back when others do. As long as a
//! replica sends at its share of the account's rate, it asks nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tracing::warn;

use super::{Rates, Runner};
use crate::outbox::{Millis, Slot};

/// After there were too few, how soon to ask again: others have been told.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Lanes that lack a slot: they ask together, one question at a time.
#[derive(Default)]
pub struct Short {
    lanes: AtomicUsize,
    trade: Mutex<Trade>,
}

#[derive(Default)]
struct Trade {
    /// By the time that only moves forward.
    ask_again_at: Duration,
    /// An answer was lost: of so many slots, from the first on, it is not known whether they are here.
    unsure_of: u32,
}

impl Runner {
    /// Asks for a slot; gives the time when to ask again if there was none. `None`: the account has no rate.
    pub(super) async fn another_slot(&self) -> Option<Millis> {
        let most = self.pace.slots()?;
        self.short.lanes.fetch_add(1, Ordering::Relaxed);
        let mut trade = self.short.trade.lock().await;
        let (want, now) = (self.short.lanes.swap(0, Ordering::Relaxed), self.works.clock.elapsed());
        if want > 0 && now >= trade.ask_again_at {
            let back = self.unsure(&trade).unwrap_or_default();
            let got = self.trade(&mut trade, most, back, want).await;
            trade.ask_again_at = if got < want { now + ASK_AGAIN } else { now };
        }
        Some(self.later(trade.ask_again_at.saturating_sub(now)))
    }

    /// Leaves to other replicas what is not needed now and what is more than to be kept of so many.
    pub(super) async fn give_slots(&self, keep: impl Fn(usize) -> usize) {
        let most = self.pace.slots().unwrap_or_default();
        let mut trade = self.short.trade.lock().await;
        let give = || self.pace.give(keep(most as usize), self.works.clock.now_ms());
        let back = self.unsure(&trade).unwrap_or_else(give);
        if !back.is_empty() {
            self.trade(&mut trade, most, back, 0).await;
        }
    }

    /// Other replicas may go by the account's rate of before: what it has no more here goes back to them.
    pub(super) async fn change_pace(&self, rates: Rates) {
        let before = self.pace.slots();
        let mut trade = self.short.trade.lock().await;
        let gone = self.pace.change(rates);
        let back = self.unsure(&trade).unwrap_or(gone);
        if let Some(most) = before.filter(|_| !back.is_empty()) {
            self.trade(&mut trade, most, back, 0).await;
        }
    }

    /// What was given or taken when the last answer was lost goes back whole.
    fn unsure(&self, trade: &Trade) -> Option<Vec<Slot>> {
        (trade.unsure_of > 0).then(|| self.pace.give_all(trade.unsure_of, self.works.clock.now_ms()))
    }

    async fn trade(&self, trade: &mut Trade, most: u32, back: Vec<Slot>, want: usize) -> usize {
        match self.works.outbox.trade_slots(&self.account, most, back, want).await {
            Ok((by, slots)) => {
                let got = slots.len();
                self.pace.add(by, slots);
                trade.unsure_of = 0;
                got
            }
            Err(error) => {
                warn!(account = %self.account, %error, "the account's rate cannot be shared; what lacks a slot waits");
                trade.unsure_of = trade.unsure_of.max(most);
                0
            }
        }
    }
}

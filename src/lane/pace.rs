//! The pace of an account: how soon the next message may go to a conversation.
//!
//! A messenger counts on its own clock and sees a call when it arrives, not when it leaves. So the pace stays 2 %
//! below the rate, counts from send to send, and after an idle time from the first answer: a call that waited for a
//! connection arrives late, and the next one would come too soon after it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::outbox::Millis;

/// How far the pace stays below the rate.
const MARGIN: f64 = 1.02;
/// Conversations without a send for this long need no memory: every limit has refilled.
const FORGET_AFTER_MS: Millis = 120_000;

/// What the messenger allows. `None` everywhere is `pace: none`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Messages per second to one conversation, and how many may go at once after a rest.
    pub per_conversation: Option<(f64, u32)>,
    /// Messages to one group, on top of that.
    pub per_group: Option<Quota>,
    /// Messages of the whole account.
    pub per_account: Option<Quota>,
}

/// So many in any span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    most: u32,
    span_ms: f64,
}

impl Quota {
    /// `rate` messages in each span; less than one message is one in a longer span.
    pub fn new(rate: f64, span: Duration) -> Self {
        let span_ms = span.as_secs_f64() * 1_000.0;
        if rate < 1.0 { Self { most: 1, span_ms: span_ms / rate } } else { Self { most: rate as u32, span_ms } }
    }
}

pub struct Pace {
    rates: RwLock<Rates>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    conversations: HashMap<String, Conversation>,
    account: Window,
    swept_at: Millis,
    /// The first question of all.
    since: Option<Millis>,
}

struct Conversation {
    /// When the bucket will be full again (the generic cell rate algorithm's "theoretical arrival time").
    full_at: f64,
    group: Window,
    last_send: Millis,
    /// The last send came after a rest, so its answer counts.
    rested: bool,
}

/// Sends in a sliding window.
#[derive(Default)]
struct Window(VecDeque<Millis>);

impl Window {
    /// When the next send fits into the quota, less the margin.
    fn next(&mut self, quota: Quota, now: Millis) -> Millis {
        let span = (quota.span_ms * MARGIN).ceil() as Millis;
        while self.0.front().is_some_and(|first| first + span <= now) {
            self.0.pop_front();
        }
        match self.0.len().checked_sub(quota.most as usize) {
            Some(over) => self.0.get(over).map_or(now, |oldest| oldest + span),
            None => now,
        }
    }
}

impl Pace {
    /// What a process before this one sent is not known, so a conversation's first burst is one message for a while.
    pub fn new(rates: Rates) -> Self {
        Self { rates: RwLock::new(rates), book: Mutex::default() }
    }

    /// Other rates from the next question on; what was sent stays remembered.
    pub fn change(&self, rates: Rates) {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = rates;
    }

    fn rates(&self) -> Rates {
        *self.rates.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to send one message now, or says when to ask again.
    ///
    /// # Errors
    /// The time at which the next message to this conversation may go, if nothing else is sent until then.
    pub fn take(&self, conversation: &str, is_group: bool, now: Millis) -> Result<(), Millis> {
        let rates = self.rates();
        if rates == Rates::default() {
            return Ok(());
        }
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let book = &mut *book;
        book.sweep(now);
        let interval = rates.per_conversation.map_or(0.0, |(per_second, _)| 1_000.0 / per_second * MARGIN);
        let burst = rates.per_conversation.map_or(1, |(_, burst)| burst.max(1));
        if !book.conversations.contains_key(conversation) {
            let spent = if now - *book.since.get_or_insert(now) < FORGET_AFTER_MS { burst - 1 } else { 0 };
            let new = Conversation {
                // At first as if a burst had just gone: what a process before this one sent is not known.
                full_at: now as f64 + interval * f64::from(spent),
                group: Window::default(),
                last_send: Millis::MIN / 2,
                rested: true,
            };
            book.conversations.insert(conversation.to_owned(), new);
        }
        let Some(known) = book.conversations.get_mut(conversation) else { return Ok(()) };
        let mut at = now.max((known.full_at - interval * f64::from(burst - 1)).ceil() as Millis);
        if let Some(quota) = rates.per_group.filter(|_| is_group) {
            at = at.max(known.group.next(quota, now));
        }
        if let Some(quota) = rates.per_account {
            at = at.max(book.account.next(quota, now));
        }
        if at > now {
            return Err(at);
        }
        known.rested = known.last_send + 2 * (interval as Millis) < now;
        known.full_at = known.full_at.max(now as f64) + interval;
        known.last_send = now;
        if is_group && rates.per_group.is_some() {
            known.group.0.push_back(now);
        }
        if rates.per_account.is_some() {
            book.account.0.push_back(now);
        }
        Ok(())
    }

    /// Notes an answer. After a rest the distance to the next message counts from here.
    pub fn answered(&self, conversation: &str, now: Millis) {
        if self.rates() == Rates::default() {
            return;
        }
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = book.conversations.get_mut(conversation)
            && std::mem::take(&mut known.rested)
        {
            let late_by = (now - known.last_send).max(0);
            known.full_at += late_by as f64;
            if let Some(last) = known.group.0.back_mut() {
                *last = now.max(*last);
            }
        }
    }
}

impl Book {
    fn sweep(&mut self, now: Millis) {
        if now - self.swept_at > FORGET_AFTER_MS {
            self.swept_at = now;
            self.conversations.retain(|_, known| known.last_send + FORGET_AFTER_MS > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TELEGRAM: Rates = Rates {
        per_conversation: Some((1.0, 3)),
        per_group: Some(Quota { most: 20, span_ms: 60_000.0 }),
        per_account: Some(Quota { most: 30, span_ms: 1_000.0 }),
    };

    /// Sends as fast as the pace allows and gives the times.
    fn drain(pace: &Pace, conversation: &str, is_group: bool, messages: usize, mut now: Millis) -> Vec<Millis> {
        let mut sends = Vec::new();
        while sends.len() < messages {
            match pace.take(conversation, is_group, now) {
                Ok(()) => sends.push(now),
                Err(at) => {
                    assert!(at > now, "asked to wait for the past");
                    now = at;
                }
            }
        }
        sends
    }

    #[test]
    fn a_conversation_gets_one_message_a_second_less_the_margin() {
        let sends = drain(&Pace::new(TELEGRAM), "c", false, 4, 1_000);
        assert_eq!(sends, [1_000, 2_020, 3_040, 4_060]);
    }

    #[test]
    fn after_a_rest_a_burst_may_go_at_once() {
        let pace = Pace::new(TELEGRAM);
        drain(&pace, "c", false, 1, 0);
        assert_eq!(drain(&pace, "c", false, 4, 60_000), [60_000, 60_000, 60_000, 61_020]);
    }

    #[test]
    fn after_a_long_rest_too() {
        let pace = Pace::new(TELEGRAM);
        drain(&pace, "c", false, 1, 0);
        let later = 10 * FORGET_AFTER_MS;
        assert_eq!(drain(&pace, "d", false, 1, later), [later]);
        assert_eq!(drain(&pace, "c", false, 3, later), [later; 3]);
    }

    #[test]
    fn a_group_gets_twenty_a_minute_and_a_private_chat_more() {
        let group = drain(&Pace::new(TELEGRAM), "g", true, 21, 0);
        assert_eq!(group[20], 61_200);
        let private = drain(&Pace::new(TELEGRAM), "p", false, 21, 0);
        assert_eq!(private[20], 20 * 1_020);
    }

    #[test]
    fn the_account_gets_thirty_a_second_over_all_conversations() {
        let pace = Pace::new(TELEGRAM);
        for chat in 0..30 {
            assert_eq!(pace.take(&chat.to_string(), false, 5), Ok(()));
        }
        assert_eq!(pace.take("one more", false, 5), Err(1_025));
        assert_eq!(pace.take("one more", false, 1_025), Ok(()));
    }

    #[test]
    fn a_late_first_answer_moves_the_next_send() {
        let pace = Pace::new(Rates { per_conversation: Some((1.0, 1)), ..Rates::default() });
        assert_eq!(pace.take("c", false, 0), Ok(()));
        pace.answered("c", 400);
        assert_eq!(pace.take("c", false, 1_020), Err(1_420));
        assert_eq!(pace.take("c", false, 1_420), Ok(()));
        pace.answered("c", 1_800);
        assert_eq!(pace.take("c", false, 1_800), Err(2_440), "only the first after a rest counts from its answer");
    }

    #[test]
    fn no_pace_asks_for_no_wait() {
        assert_eq!(drain(&Pace::new(Rates::default()), "c", true, 500, 7), vec![7; 500]);
    }

    proptest! {
        /// Whatever the gaps between messages: never more than the burst and the rate allow, in any window.
        #[test]
        fn any_stream_stays_below_the_rate(gaps in proptest::collection::vec(0i64..3_000, 1..120)) {
            let pace = Pace::new(TELEGRAM);
            let mut now = 0;
            let mut sends: Vec<Millis> = Vec::new();
            for gap in gaps {
                now += gap;
                now = drain(&pace, "c", true, 1, now)[0];
                sends.push(now);
            }
            for (i, first) in sends.iter().enumerate() {
                let in_second = sends[i..].iter().filter(|send| **send < first + 1_000).count();
                prop_assert!(in_second <= 3, "{in_second} in a second");
                let in_minute = sends[i..].iter().filter(|send| **send < first + 60_000).count();
                prop_assert!(in_minute <= 20, "{in_minute} in a minute");
            }
        }
    }
}

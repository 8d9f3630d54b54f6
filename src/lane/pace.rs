//! The pace of an account: how soon the next message may go to a conversation.
//!
//! A messenger counts on its own clock and sees a call when it arrives, not when it leaves. So the pace stays 2 %
//! below the rate, counts from send to send, and after an idle time from the first answer: a call that waited for a
//! connection arrives late, and the next one would come too soon after it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::outbox::{Held, Millis, ReplicaId, Slot};

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
    slots: Slots,
    swept_at: Millis,
}

/// What this process has of its account's slots.
#[derive(Default)]
struct Slots {
    by: ReplicaId,
    /// By the time when they are free.
    own: BTreeSet<(Millis, u32)>,
}

/// Why a message may not go now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Early {
    /// The next to this conversation may go then, if nothing else is sent until then.
    Until(Millis),
    /// None of the account's slots that are here is free until then; others may be elsewhere.
    Slots { until: Option<Millis> },
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

impl Quota {
    fn span(self) -> Millis {
        (self.span_ms * MARGIN).ceil() as Millis
    }
}

impl Slots {
    /// What was had under another lease is others' now.
    fn belong_to(&mut self, by: ReplicaId) {
        if self.by < by {
            *self = Self { by, own: BTreeSet::new() };
        }
    }

    /// Nothing is longer than a span away, unless the clock went back or [`Slot::UNKNOWN`].
    fn not_after(&mut self, latest: Millis) {
        while let Some((_, number)) = self.own.last().copied().filter(|(free_at, _)| *free_at > latest) {
            self.own.pop_last();
            self.own.insert((latest, number));
        }
    }

    fn first(&self) -> Option<Millis> {
        self.own.first().map(|(free_at, _)| *free_at)
    }
}

impl Window {
    /// When the next send fits into the quota, less the margin.
    fn next(&mut self, quota: Quota, now: Millis) -> Millis {
        let span = quota.span();
        while self.0.front().is_some_and(|first| first + span <= now) {
            self.0.pop_front();
        }
        match self.0.len().checked_sub(quota.most as usize) {
            Some(over) => self.0.get(over).map_or(now, |oldest| oldest + span),
            None => now,
        }
    }
}

impl Conversation {
    /// Nothing was sent after `now`, and no bucket is full later than after a whole burst, unless the clock went back.
    fn not_after(&mut self, now: Millis, full_at: f64) {
        self.last_send = self.last_send.min(now);
        self.full_at = self.full_at.min(full_at);
        self.group.0.iter_mut().rev().take_while(|sent| **sent > now).for_each(|sent| *sent = now);
    }
}

impl Pace {
    /// Has none of the account's slots at first.
    pub fn new(rates: Rates) -> Self {
        Self { rates: RwLock::new(rates), book: Mutex::default() }
    }

    /// Other rates from the next question on; what was sent stays remembered.
    /// Gives the slots that the account has no more.
    pub fn change(&self, rates: Rates) -> Vec<Slot> {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = rates;
        let slots = self.slots().unwrap_or_default();
        let gone = self.book().slots.own.extract_if(.., |(_, number)| *number >= slots).collect::<Vec<_>>();
        gone.into_iter().map(|(free_at, number)| Slot { number, free_at }).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> Rates {
        *self.rates.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to send one message now, or says when to ask again.
    ///
    /// # Errors
    /// It would be too early.
    pub fn take(&self, conversation: &str, is_group: bool, held: Held, now: Millis) -> Result<(), Early> {
        let rates = self.rates();
        if rates == Rates::default() {
            return Ok(());
        }
        let mut book = self.book();
        let book = &mut *book;
        book.sweep(now);
        book.slots.belong_to(held.by);
        book.slots.not_after(now + rates.per_account.map_or(0, Quota::span));
        let interval = rates.per_conversation.map_or(0.0, |(per_second, _)| 1_000.0 / per_second * MARGIN);
        let burst = f64::from(rates.per_conversation.map_or(1, |(_, burst)| burst.max(1)) - 1);
        if !book.conversations.contains_key(conversation) {
            book.conversations.insert(conversation.to_owned(), Conversation::default());
        }
        let Some(known) = book.conversations.get_mut(conversation) else { return Ok(()) };
        known.not_after(now, now as f64 + interval * (burst + 1.0));
        let since = held.since.min(now);
        if known.last_send <= since {
            // As if a burst had gone just before: what another process sent is not known.
            known.full_at = known.full_at.max(since as f64 + interval * burst);
        }
        let mut at = now.max((known.full_at - interval * burst).ceil() as Millis);
        if let Some(quota) = rates.per_group.filter(|_| is_group) {
            at = at.max(known.group.next(quota, now));
        }
        if at > now {
            return Err(Early::Until(at));
        }
        if let Some(quota) = rates.per_account {
            match book.slots.own.first().copied() {
                Some((free_at, number)) if free_at <= now => {
                    book.slots.own.pop_first();
                    book.slots.own.insert((now + quota.span(), number));
                }
                Some((free_at, _)) if book.slots.own.len() >= quota.most as usize => return Err(Early::Until(free_at)),
                _ => return Err(Early::Slots { until: book.slots.first() }),
            }
        }
        known.rested = known.last_send + 2 * (interval as Millis) < now;
        known.full_at = known.full_at.max(now as f64) + interval;
        known.last_send = now;
        if is_group && rates.per_group.is_some() {
            known.group.0.push_back(now);
        }
        Ok(())
    }

    /// How many slots the account has, over all replicas.
    pub fn slots(&self) -> Option<u32> {
        Some(self.rates().per_account?.most)
    }

    /// Takes in slots of the account that this process has now.
    pub fn add(&self, by: ReplicaId, slots: Vec<Slot>) {
        let slots_of = &mut self.book().slots;
        slots_of.belong_to(by);
        if slots_of.by == by {
            let known: Vec<u32> = slots_of.own.iter().map(|(_, number)| *number).collect();
            let new = slots.into_iter().filter(|slot| !known.contains(&slot.number));
            slots_of.own.extend(new.map(|slot| (slot.free_at, slot.number)));
        }
    }

    /// Gives up all slots, also those of so many that this process may have and does not know of, as if each were used just
    /// now.
    pub fn give_all(&self, slots: u32, now: Millis) -> Vec<Slot> {
        self.book().slots.own.clear();
        let free_at = self.rates().per_account.map_or(Slot::UNKNOWN, |quota| now + quota.span());
        (0..slots).map(|number| Slot { number, free_at }).collect()
    }

    /// Gives up the slots that are not needed now, and as many others that at most `keep` stay.
    pub fn give(&self, keep: usize, now: Millis) -> Vec<Slot> {
        let own = &mut self.book().slots.own;
        let mut given = Vec::new();
        while let Some((free_at, number)) = own.first().copied()
            && (free_at <= now || own.len() > keep)
        {
            own.pop_first();
            given.push(Slot { number, free_at });
        }
        given
    }

    /// Notes an answer. After a rest the distance to the next message counts from here.
    pub fn answered(&self, conversation: &str, now: Millis) {
        if self.rates() == Rates::default() {
            return;
        }
        let mut book = self.book();
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

impl Default for Conversation {
    fn default() -> Self {
        Self { full_at: 0.0, group: Window::default(), last_send: Millis::MIN / 2, rested: true }
    }
}

impl Book {
    fn sweep(&mut self, now: Millis) {
        self.swept_at = self.swept_at.min(now);
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

    /// The only process, from 0 on.
    const ALONE: Held = Held { since: 0, by: ReplicaId(0) };

    /// With all the slots of its account.
    fn paced(rates: Rates) -> Pace {
        let pace = Pace::new(rates);
        pace.add(ALONE.by, (0..pace.slots().unwrap_or_default()).map(|number| Slot { number, free_at: 0 }).collect());
        pace
    }

    /// Sends as fast as the pace allows and gives the times.
    fn drain(pace: &Pace, conversation: &str, is_group: bool, messages: usize, mut now: Millis) -> Vec<Millis> {
        let mut sends = Vec::new();
        while sends.len() < messages {
            match pace.take(conversation, is_group, ALONE, now) {
                Ok(()) => sends.push(now),
                Err(Early::Until(at)) => {
                    assert!(at > now, "asked to wait for the past");
                    now = at;
                }
                Err(early) => panic!("{early:?}"),
            }
        }
        sends
    }

    #[test]
    fn a_conversation_gets_one_message_a_second_less_the_margin() {
        let sends = drain(&paced(TELEGRAM), "c", false, 4, 0);
        assert_eq!(sends, [0, 1_020, 2_040, 3_060]);
    }

    #[test]
    fn what_another_process_sent_just_before_is_reckoned_with() {
        let pace = paced(TELEGRAM);
        assert_eq!(drain(&pace, "c", false, 3, 60_000), [60_000; 3]);
        let back = Held { since: 70_000, by: ALONE.by };
        assert_eq!(pace.take("c", false, back, 70_000), Ok(()));
        assert_eq!(pace.take("c", false, back, 70_000), Err(Early::Until(71_020)), "it may have had a burst");
    }

    #[test]
    fn after_a_rest_a_burst_may_go_at_once() {
        let pace = paced(TELEGRAM);
        drain(&pace, "c", false, 1, 0);
        assert_eq!(drain(&pace, "c", false, 4, 60_000), [60_000, 60_000, 60_000, 61_020]);
    }

    #[test]
    fn after_a_long_rest_too() {
        let pace = paced(TELEGRAM);
        drain(&pace, "c", false, 1, 0);
        let later = 10 * FORGET_AFTER_MS;
        assert_eq!(drain(&pace, "d", false, 1, later), [later]);
        assert_eq!(drain(&pace, "c", false, 3, later), [later; 3]);
    }

    #[test]
    fn a_group_gets_twenty_a_minute_and_a_private_chat_more() {
        let group = drain(&paced(TELEGRAM), "g", true, 21, 0);
        assert_eq!(group[20], 61_200);
        let private = drain(&paced(TELEGRAM), "p", false, 21, 0);
        assert_eq!(private[20], 20 * 1_020);
    }

    #[test]
    fn the_account_gets_thirty_a_second_over_all_conversations() {
        let pace = paced(TELEGRAM);
        for chat in 0..30 {
            assert_eq!(pace.take(&chat.to_string(), false, ALONE, 5), Ok(()));
        }
        assert_eq!(pace.take("one more", false, ALONE, 5), Err(Early::Until(1_025)));
        assert_eq!(pace.take("one more", false, ALONE, 1_025), Ok(()));
    }

    #[test]
    fn slots_go_from_one_replica_to_another_with_their_last_messages() {
        let (one, other) = (paced(TELEGRAM), Pace::new(TELEGRAM));
        assert_eq!(other.take("d", false, ALONE, 0), Err(Early::Slots { until: None }));
        for chat in 0..20 {
            assert_eq!(one.take(&chat.to_string(), false, ALONE, 0), Ok(()));
        }
        let given = one.give(15, 0);
        assert_eq!(given.iter().filter(|slot| slot.free_at == 0).count(), 10, "those that are free");
        assert_eq!(given.len(), 15, "and as many that half stay");
        other.add(ALONE.by, given);
        for chat in 0..10 {
            assert_eq!(other.take(&chat.to_string(), false, ALONE, 0), Ok(()));
        }
        assert_eq!(other.take("d", false, ALONE, 0), Err(Early::Slots { until: Some(1_020) }));
        assert_eq!(one.take("d", false, ALONE, 0), Err(Early::Slots { until: Some(1_020) }));
        assert_eq!(one.take("d", false, ALONE, 1_020), Ok(()));
    }

    #[test]
    fn a_slot_of_which_nothing_is_known_is_free_after_a_span() {
        let pace = paced(TELEGRAM);
        let anew = Held { since: 0, by: ReplicaId(1) };
        pace.add(anew.by, vec![Slot { number: 7, free_at: Slot::UNKNOWN }]);
        assert_eq!(pace.take("c", false, anew, 500), Err(Early::Slots { until: Some(1_520) }));
        assert_eq!(pace.take("c", false, anew, 1_519), Err(Early::Slots { until: Some(1_520) }));
        assert_eq!(pace.take("c", false, anew, 1_520), Ok(()));
    }

    #[test]
    fn slots_of_a_lease_that_was_lost_are_others() {
        let pace = paced(TELEGRAM);
        let anew = Held { since: 0, by: ReplicaId(1) };
        assert_eq!(pace.take("c", false, anew, 0), Err(Early::Slots { until: None }));
        pace.add(ALONE.by, vec![Slot { number: 7, free_at: 0 }]);
        assert_eq!(pace.take("c", false, anew, 0), Err(Early::Slots { until: None }), "they came too late");
        pace.add(anew.by, vec![Slot { number: 7, free_at: 0 }]);
        assert_eq!(pace.take("c", false, anew, 0), Ok(()));
    }

    #[test]
    fn a_late_first_answer_moves_the_next_send() {
        let pace = paced(Rates { per_conversation: Some((1.0, 1)), ..Rates::default() });
        assert_eq!(pace.take("c", false, ALONE, 0), Ok(()));
        pace.answered("c", 400);
        assert_eq!(pace.take("c", false, ALONE, 1_020), Err(Early::Until(1_420)));
        assert_eq!(pace.take("c", false, ALONE, 1_420), Ok(()));
        pace.answered("c", 1_800);
        assert_eq!(
            pace.take("c", false, ALONE, 1_800),
            Err(Early::Until(2_440)),
            "only the first after a rest counts from its answer"
        );
    }

    #[test]
    fn a_clock_that_went_back_costs_no_more_than_one_wait() {
        const HOUR: Millis = 3_600_000;
        let back = |pace: &Pace, chat: &str, is_group| drain(pace, chat, is_group, 1, HOUR)[0] - HOUR;
        let pace = paced(TELEGRAM);
        drain(&pace, "c", false, 3, 2 * HOUR);
        assert_eq!(back(&pace, "c", false), 1_020);
        let pace = paced(TELEGRAM);
        drain(&pace, "g", true, 20, 2 * HOUR);
        assert_eq!(back(&pace, "g", true), 61_200);
        let pace = paced(TELEGRAM);
        (0..30).for_each(|chat| assert_eq!(pace.take(&chat.to_string(), false, ALONE, 2 * HOUR), Ok(())));
        assert_eq!(back(&pace, "d", false), 1_020);
        let came = Held { since: 2 * HOUR, by: ALONE.by };
        let pace = paced(TELEGRAM);
        for second in 0..10 {
            assert_eq!(pace.take("c", false, came, HOUR + second * 1_020), Ok(()), "as before the lane came here");
        }
    }

    #[test]
    fn no_pace_asks_for_no_wait() {
        assert_eq!(drain(&paced(Rates::default()), "c", true, 500, 7), vec![7; 500]);
    }

    proptest! {
        /// Whatever the gaps between messages, and how far the clock goes back between two of them: never more than the
        /// burst and the rate allow, in any window.
        #[test]
        fn any_stream_stays_below_the_rate(
            gaps in proptest::collection::vec(0i64..3_000, 1..120),
            (goes_back, by) in (0usize..120, 0i64..10_000_000),
        ) {
            let pace = paced(TELEGRAM);
            let (mut now, mut clock) = (0, 100_000_000);
            let mut sends: Vec<Millis> = Vec::new();
            for (number, gap) in gaps.into_iter().enumerate() {
                now += gap;
                if number == goes_back {
                    clock -= by;
                }
                now = drain(&pace, "c", true, 1, clock + now)[0] - clock;
                let waited = now - sends.last().map_or(0, |last| last + gap);
                prop_assert!(waited <= 61_300, "a wait of {waited} ms at {number}");
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

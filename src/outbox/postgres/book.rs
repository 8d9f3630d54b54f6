//! What one replica knows of the lanes: which it holds, where something may be pending, and who else there is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::placing::{channels, way_there};
use super::statements::{Beat, Channels, ConversationId, Led, Served, Way};
use crate::outbox::lanes::Lanes;
use crate::outbox::{Held, Hold, IssueLane, LaneId, Lease, Millis, Place, ReplicaId};

#[derive(Default)]
pub struct Book {
    pub lanes: Lanes,
    /// Where the configured channels are to lead.
    pub places: Vec<Place>,
    /// Where they lead.
    pub ways: HashMap<String, Way>,
    /// Channels that another replica was sending to elsewhere when they were to be led.
    unled: HashSet<String>,
    /// How often all were to be led anew, and how often it had been when they were.
    leads_asked: u64,
    leads_made: u64,
    /// Of those that lead to their places: the channels of each lane.
    channels: HashMap<LaneId, Vec<i64>>,
    /// The same as the other replicas know them.
    pub said: Channels,
    /// Lanes of issues that are known, each with its channel.
    issues: HashMap<LaneId, i64>,
    conversations: HashMap<LaneId, ConversationId>,
    /// The replica's lease, and the conversations that name it.
    pub lease: Option<i64>,
    held: HashMap<ConversationId, Millis>,
    /// The accounts' holds as the table had them last: what this replica has made of them since counts until they change.
    holds: HashMap<String, Hold>,
    /// How many of them this replica has written.
    pub holds_written: u64,
    /// Accounts of whose slots others want some.
    pub slots_wanted: HashSet<String>,
    /// How many slots of the accounts there are, as far as is known.
    pub slots_made: HashMap<String, u32>,
    /// How often something was said to be pending in a lane.
    told: HashMap<LaneId, u64>,
    /// What the lanes' turns were given, where it was all that there was.
    given: HashMap<LaneId, Given>,
    /// The leases of all replicas that live, this one's too, and what they say of their places.
    fleet: BTreeMap<i64, i64>,
}

/// All that was pending in a lane when its turn asked.
struct Given {
    turn: u64,
    /// How often something had been said to be pending there.
    told: u64,
    /// How many of it have not ended yet.
    left: usize,
}

impl Book {
    /// Something is pending there; it is for this replica to send.
    pub fn expect(&mut self, lane: LaneId) {
        *self.told.entry(lane).or_default() += 1;
        self.lanes.expect(lane);
    }

    pub fn told(&self, lane: LaneId) -> u64 {
        self.told.get(&lane).copied().unwrap_or_default()
    }

    /// Nothing was pending when somebody looked, and had been `told` so far.
    pub fn found_empty(&mut self, lane: LaneId, told: u64) {
        if self.told(lane) == told {
            self.lanes.expect_nothing(lane);
        }
    }

    /// Takes over what the table said of the accounts when this replica had written so many holds; not if it has written
    /// another since: it may not be among them.
    pub fn see_holds(&mut self, held: HashMap<String, Hold>, written: u64) -> bool {
        if written != self.holds_written {
            return false;
        }
        for name in self.lanes.accounts_held().into_keys().filter(|name| !held.contains_key(name)) {
            self.lanes.hold_account(&name, None);
        }
        for (account, hold) in held.iter().filter(|(account, hold)| self.holds.get(*account) != Some(*hold)) {
            self.lanes.hold_account(account, Some(hold.clone()));
        }
        self.holds = held;
        true
    }

    /// It stands in the table.
    pub fn wrote_hold(&mut self, account: &str, hold: Option<Hold>) {
        self.holds_written += 1;
        self.lanes.hold_account(account, hold);
    }

    /// The database's time went back by so much.
    pub fn go_back(&mut self, by: Millis) {
        self.lanes.go_back(by);
        self.held.values_mut().for_each(|since| *since -= by);
        self.holds.values_mut().for_each(|hold| hold.until -= by);
    }

    /// All places are to be led, though they were before. Gives what [`Book::lead`] is told when they are.
    pub fn lead_anew(&mut self) -> u64 {
        self.leads_asked += 1;
        self.leads_asked
    }

    /// The channels that are to be led now, and what [`Book::lead`] is told then. Not those that a replica with another
    /// configuration has led elsewhere since they were led here: the latest counts.
    pub fn to_lead(&self) -> (HashSet<String>, u64) {
        let all = || self.places.iter().map(|place| place.channel.to_string()).collect();
        let channels = if self.leads_made < self.leads_asked { all() } else { self.unled.clone() };
        (channels, self.leads_asked)
    }

    /// Where the channels lead from now on, after those were to be.
    pub fn lead(&mut self, places: Vec<Place>, led: HashMap<String, Led>, (to_lead, asked): (HashSet<String>, u64)) {
        self.said = channels(&places, &led);
        self.unled = to_lead;
        self.leads_made = asked;
        self.channels.clear();
        for place in &places {
            let Some(way) = way_there(&led, place) else { continue };
            self.unled.remove(place.channel.as_str());
            self.lanes.add_lane(way.lane, &place.account, None);
            self.conversations.insert(way.lane, way.conversation);
            self.channels.entry(way.lane).or_default().push(way.channel);
        }
        self.ways = led.into_iter().map(|(name, led)| (name, led.way)).collect();
        self.places = places;
    }

    /// A lane of an issue is there. `hold`: if it was not known.
    pub fn learn(&mut self, name: &str, way: Way, hold: Option<Hold>) {
        let Some(lane) = IssueLane::parse(name) else { return };
        self.lanes.add_lane(way.lane, lane.account(), hold);
        self.conversations.insert(way.lane, way.conversation);
        self.issues.insert(way.lane, way.channel);
    }

    /// Forgets lanes of issues where nothing waits.
    fn forget_resting(&mut self) {
        for lane in self.lanes.forget_resting(IssueLane::has_account) {
            self.issues.remove(&lane);
            self.conversations.remove(&lane);
            self.told.remove(&lane);
            self.given.remove(&lane);
        }
    }

    pub fn served(&self, lane: LaneId) -> Served {
        let of_issue = || self.issues.get(&lane).map(|channel| vec![*channel]);
        Served { lane, channels: self.channels.get(&lane).cloned().or_else(of_issue).unwrap_or_default() }
    }

    pub fn all_served(&self) -> Vec<Served> {
        self.channels.keys().map(|lane| self.served(*lane)).collect()
    }

    /// What comes up in the lane is for this replica to send.
    pub fn is_for_us(&self, lane: LaneId) -> bool {
        let is_served = self.channels.contains_key(&lane) || self.issues.contains_key(&lane);
        is_served && (self.holds(lane) || self.comes_first(lane))
    }

    pub fn conversation(&self, lane: LaneId) -> Option<ConversationId> {
        self.conversations.get(&lane).copied()
    }

    /// The turn was given all that was pending, when it had been `told` so far.
    pub fn gave_all(&mut self, turn: &Lease, told: u64, left: usize) {
        self.given.insert(turn.lane, Given { turn: turn.number, told, left });
    }

    /// A delivery of the lane has ended.
    pub fn ended(&mut self, lane: LaneId) {
        self.lanes.ended(lane);
        if let Some(given) = self.given.get_mut(&lane) {
            given.left = given.left.saturating_sub(1);
        }
    }

    /// All that the turn was given has ended, and nothing was said to be pending since: to ask would be idle.
    pub fn is_through(&self, turn: &Lease) -> bool {
        let given = self.given.get(&turn.lane).filter(|given| given.turn == turn.number && given.left == 0);
        given.is_some_and(|given| given.told == self.told(turn.lane))
    }

    pub fn holds(&self, lane: LaneId) -> bool {
        self.since(lane).is_some()
    }

    /// Whether the turn was given under the lease that there is.
    pub fn is_current(&self, turn: &Lease) -> bool {
        self.lease == Some(turn.held.by.0) && self.holds(turn.lane) && self.lanes.holds(turn)
    }

    /// When the lane's conversation was claimed.
    fn since(&self, lane: LaneId) -> Option<Millis> {
        self.held.get(&self.conversation(lane)?).copied()
    }

    pub fn claimed(&mut self, conversation: ConversationId, now: Millis) {
        self.held.insert(conversation, now);
    }

    /// The turns of lanes that are held, and the others.
    pub fn claim(&mut self, account: &str, most: usize, now: Millis) -> (Vec<Lease>, Vec<Lease>) {
        let turns = self.lanes.claim(account, most, now).into_iter().map(|turn| self.with_hold(turn));
        turns.partition(|turn| self.holds(turn.lane))
    }

    /// The conversations of these turns, and of the lanes whose turn comes next if they are for this replica too.
    pub fn to_claim(&self, account: &str, free: &[Lease], most: usize) -> Vec<ConversationId> {
        let next = self.lanes.next(account).filter(|lane| !self.holds(*lane) && self.comes_first(*lane));
        let lanes = free.iter().map(|turn| turn.lane).chain(next.take(most));
        let wanted: HashSet<ConversationId> = lanes.filter_map(|lane| self.conversation(lane)).collect();
        wanted.into_iter().collect()
    }

    pub fn with_hold(&self, turn: Lease) -> Lease {
        let since = self.since(turn.lane).unwrap_or_default();
        Lease { held: Held { since, by: ReplicaId(self.lease.unwrap_or_default()) }, ..turn }
    }

    /// Holds no more the conversations from none of whose lanes anything is being sent or to be sent, and which this replica
    /// is not to keep: another comes first for them, or its channels lead there no more. Where replicas lead channels
    /// differently it keeps none, for it cannot see what others have to send there; not those either whose own messages
    /// wait. Gives those that are left.
    pub fn leave(&mut self) -> Vec<ConversationId> {
        let of = |lane: &LaneId| self.conversation(*lane);
        let served: HashSet<ConversationId> = self.channels.keys().filter_map(of).collect();
        let is_mixed = self.is_mixed();
        let is_busy = |lane| if is_mixed { self.lanes.is_leased(lane) } else { !self.lanes.is_at_rest(lane) };
        let busy = self.conversations.iter().filter(|(lane, _)| is_busy(**lane));
        let busy: HashSet<ConversationId> = busy.map(|(_, conversation)| *conversation).collect();
        let keeps = |held: &ConversationId| !is_mixed && served.contains(held) && self.is_first(*held);
        let kept = self.held.keys().copied().filter(|held| keeps(held) || busy.contains(held));
        let kept: HashSet<ConversationId> = kept.collect();
        self.held.retain(|held, _| kept.contains(held));
        self.forget_resting();
        kept.into_iter().collect()
    }

    /// Another lease takes the place of the one before, whose lanes are held by nobody now.
    pub fn begin(&mut self, lease: i64) {
        self.lease = Some(lease);
        self.held.clear();
    }

    /// A replica that is gone, or leads as the others do now, may have led channels elsewhere: a fleet that agrees leads all
    /// anew.
    pub fn see(&mut self, fleet: &[Beat]) {
        let fleet = fleet.iter().map(|beat| (beat.lease, beat.places)).collect();
        let has_changed = self.fleet != fleet;
        self.fleet = fleet;
        if has_changed && !self.is_mixed() {
            self.lead_anew();
        }
    }

    /// Some replicas lead channels elsewhere than others, or lead others.
    pub fn is_mixed(&self) -> bool {
        let mut places = self.fleet.values();
        places.next().is_some_and(|first| places.any(|other| other != first))
    }

    pub fn replicas(&self) -> usize {
        self.fleet.len()
    }

    pub fn is_alone(&self) -> bool {
        self.fleet.keys().all(|lease| Some(*lease) == self.lease)
    }

    /// Whether the lane is for this replica to claim at once.
    pub fn comes_first(&self, lane: LaneId) -> bool {
        self.conversation(lane).is_some_and(|conversation| self.is_first(conversation))
    }

    /// All replicas reckon alike (rendezvous hashing), so each conversation has one that claims it at once, and a replica
    /// that comes or goes moves no more of them than its own.
    pub fn is_first(&self, conversation: ConversationId) -> bool {
        let weight = |lease: i64| mixed(conversation.0 as u64 ^ mixed(lease as u64));
        self.fleet.keys().max_by_key(|lease| weight(**lease)).is_none_or(|first| Some(*first) == self.lease)
    }
}

/// The finalizer of SplitMix64: every bit of the number changes half of the result's.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conversation_has_one_that_comes_first_and_a_newcomer_moves_only_its_own() {
        let of = |lease, fleet: &[i64]| {
            let fleet = fleet.iter().map(|lease| (*lease, 0)).collect();
            Book { lease: Some(lease), fleet, ..Book::default() }
        };
        let first = |id, fleet: &[i64]| {
            let firsts: Vec<i64> =
                fleet.iter().copied().filter(|lease| of(*lease, fleet).is_first(ConversationId(id))).collect();
            assert_eq!(firsts.len(), 1, "conversation {id} of {fleet:?}");
            firsts[0]
        };
        let mut shares = HashMap::<i64, i32>::new();
        for id in 0..300 {
            let (before, after) = (first(id, &[4, 7]), first(id, &[4, 7, 9]));
            assert!(after == before || after == 9);
            *shares.entry(after).or_default() += 1;
        }
        assert!(shares.values().all(|share| (60..140).contains(share)), "{shares:?}");
    }

    #[test]
    fn holds_that_were_read_before_one_was_written_are_not_taken_over() {
        let (mut book, hold) = (Book::default(), Hold { until: 7, reason: "429".into(), needs_a_person: false });
        let read_after = book.holds_written;
        book.wrote_hold("slack", Some(hold.clone()));
        assert!(!book.see_holds(HashMap::new(), read_after));
        assert_eq!(book.lanes.account_hold("slack"), Some(hold));
        assert!(book.see_holds(HashMap::new(), book.holds_written));
        assert_eq!(book.lanes.account_hold("slack"), None, "another has ended it");
    }

    #[test]
    fn a_turn_is_through_when_all_that_there_was_has_ended() {
        let (lane, mut book) = (LaneId(7), Book::default());
        book.lanes.add_lane(lane, "slack", None);
        book.expect(lane);
        let turn = book.lanes.claim("slack", 1, 0).remove(0);
        assert!(!book.is_through(&turn), "nothing was asked yet");
        book.gave_all(&turn, book.told(lane), 2);
        book.ended(lane);
        assert!(!book.is_through(&turn), "one is left");
        book.ended(lane);
        assert!(book.is_through(&turn));
        book.expect(lane);
        assert!(!book.is_through(&turn), "something came since");
        book.gave_all(&turn, book.told(lane), 0);
        book.lanes.release(&turn, crate::outbox::Until::Now);
        let next = book.lanes.claim("slack", 1, 0).remove(0);
        assert!(!book.is_through(&next), "another turn asks for itself");
    }
}

//! The lanes as one process sees them: where something waits, whose turn it is, when the next may be claimed. What must
//! outlive the process (holds) is in the store as well.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Held, Hold, LaneId, LaneWait, Lease, Millis, Until};

#[derive(Default)]
pub struct Lanes {
    accounts: HashMap<Arc<str>, Account>,
    lanes: HashMap<LaneId, Lane>,
    next_lease: u64,
    /// Deliveries that ended since the start.
    ended: u64,
}

#[derive(Default)]
struct Account {
    /// Lanes that may be claimed now, first come first served.
    ready: VecDeque<LaneId>,
    /// Lanes that may be claimed later. Of those that become due together, the one that was served longest ago is first.
    later: BTreeSet<(Millis, u64, LaneId)>,
    work: Arc<Notify>,
    hold: Option<Hold>,
}

struct Lane {
    account: Arc<str>,
    /// Something is pending, as far as is known.
    waiting: bool,
    hold: Option<Hold>,
    delay: Until,
    line: Line,
    /// The clock went back during the turn: what that says of times may be of the time before.
    went_back: bool,
    /// Which delivery of all was the last that ended here.
    served: u64,
}

/// Where a lane stands among its account's lanes.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    /// Nothing waits.
    Out,
    Ready,
    /// When, and the lane's place among those that are due then.
    Later(Millis, u64),
    Leased(u64),
}

impl Lane {
    fn due(&self) -> Millis {
        let delay = match self.delay {
            Until::Now => 0,
            Until::Paced(at) | Until::BackedOff(at) => at,
        };
        delay.max(self.hold.as_ref().map_or(0, |hold| hold.until))
    }
}

impl Lanes {
    pub fn add_lane(&mut self, id: LaneId, account: &str, hold: Option<Hold>) {
        let account: Arc<str> = match self.accounts.get_key_value(account) {
            Some((known, _)) => known.clone(),
            None => {
                let name: Arc<str> = account.into();
                self.accounts.insert(name.clone(), Account::default());
                name
            }
        };
        match self.lanes.get_mut(&id) {
            Some(lane) if lane.account == account => {}
            Some(_) => {
                self.take_out(id);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.account = account;
                }
                self.line_up(id);
            }
            None => {
                let (delay, line) = (Until::Now, Line::Out);
                let lane = Lane { account, waiting: false, hold, delay, line, went_back: false, served: 0 };
                self.lanes.insert(id, lane);
            }
        }
    }

    /// Something is pending in the lane.
    pub fn expect(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.waiting = true;
            self.line_up(id);
        }
    }

    /// Nothing is pending in the lane any more. A lease stays.
    pub fn expect_nothing(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.waiting = false;
            self.take_out(id);
        }
    }

    /// A delivery of the lane has ended.
    pub fn ended(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            self.ended += 1;
            lane.served = self.ended;
        }
    }

    pub fn accounts(&self) -> Vec<Arc<str>> {
        self.accounts.keys().cloned().collect()
    }

    pub fn ids(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.keys().copied()
    }

    /// Forgets the lanes of these accounts where nothing waits and nobody sends from; gives them.
    pub fn forget_resting(&mut self, of: impl Fn(&str) -> bool) -> Vec<LaneId> {
        let rests = |lane: &mut Lane| of(&lane.account) && lane.line == Line::Out;
        self.lanes.extract_if(|_, lane| rests(lane)).map(|(id, _)| id).collect()
    }

    pub fn account(&self, id: LaneId) -> Option<&str> {
        self.lanes.get(&id).map(|lane| &*lane.account)
    }

    /// Nothing waits there, and nobody sends from it.
    pub fn is_at_rest(&self, id: LaneId) -> bool {
        self.lanes.get(&id).is_none_or(|lane| lane.line == Line::Out)
    }

    /// Somebody sends from it.
    pub fn is_leased(&self, id: LaneId) -> bool {
        self.lanes.get(&id).is_some_and(|lane| matches!(lane.line, Line::Leased(_)))
    }

    pub fn leased(&self) -> impl Iterator<Item = LaneId> {
        self.ids().filter(|id| self.is_leased(*id))
    }

    pub fn held_by_account(&self, now: Millis) -> HashMap<String, u64> {
        let mut held = HashMap::new();
        for lane in self.lanes.values().filter(|lane| lane.hold.as_ref().is_some_and(|hold| hold.until > now)) {
            *held.entry(lane.account.to_string()).or_default() += 1;
        }
        held
    }

    pub fn claim(&mut self, account: &str, most: usize, now: Millis) -> Vec<Lease> {
        let Some(account) = self.accounts.get_mut(account) else { return Vec::new() };
        while let Some((.., id)) = account.later.first().filter(|(due, ..)| *due <= now) {
            account.ready.push_back(*id);
            account.later.pop_first();
        }
        let mut leases = Vec::new();
        while leases.len() < most {
            let Some(id) = account.ready.pop_front() else { break };
            // Lanes that were taken out of the line are skipped here instead of searched for there.
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if !matches!(lane.line, Line::Ready | Line::Later(..)) {
                continue;
            }
            self.next_lease += 1;
            lane.line = Line::Leased(self.next_lease);
            lane.delay = Until::Now;
            lane.went_back = false;
            leases.push(Lease { lane: id, number: self.next_lease, held: Held::default() });
        }
        leases
    }

    /// Those whose turn it is next, in their order.
    pub fn next(&self, account: &str) -> impl Iterator<Item = LaneId> {
        let is_ready = |id: &LaneId| self.lanes.get(id).is_some_and(|lane| lane.line == Line::Ready);
        self.accounts.get(account).into_iter().flat_map(|account| account.ready.iter().copied()).filter(is_ready)
    }

    pub fn holds(&self, lease: &Lease) -> bool {
        self.lanes.get(&lease.lane).is_some_and(|lane| lane.line == Line::Leased(lease.number))
    }

    pub fn release(&mut self, lease: &Lease, until: Until) {
        if !self.holds(lease) {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&lease.lane) {
            lane.line = Line::Out;
            lane.delay = if lane.went_back { Until::Now } else { until };
            self.line_up(lease.lane);
        }
    }

    pub fn hold_lane(&mut self, id: LaneId, hold: Option<Hold>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.hold = hold;
        if matches!(lane.line, Line::Ready | Line::Later(..)) {
            self.take_out(id);
            self.line_up(id);
        }
    }

    /// What a pending delivery of the lane waits for, if not for its turn or a hold.
    pub fn wait(&self, id: LaneId, now: Millis) -> Option<LaneWait> {
        self.lanes.get(&id)?.delay.left(now)
    }

    pub fn lane_hold(&self, id: LaneId) -> Option<&Hold> {
        self.lanes.get(&id)?.hold.as_ref()
    }

    pub fn hold_account(&mut self, name: &str, hold: Option<Hold>) {
        let account = match self.accounts.get_mut(name) {
            Some(account) => account,
            None => self.accounts.entry(name.into()).or_default(),
        };
        account.hold = hold;
        account.work.notify_one();
    }

    pub fn account_hold(&self, name: &str) -> Option<Hold> {
        self.accounts.get(name)?.hold.clone()
    }

    pub fn accounts_held(&self) -> HashMap<String, Hold> {
        self.accounts.iter().filter_map(|(name, account)| Some((name.to_string(), account.hold.clone()?))).collect()
    }

    pub fn end_back_off(&mut self, name: &str) {
        let backed_off: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| &*lane.account == name && matches!(lane.delay, Until::BackedOff(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in backed_off {
            self.take_out(id);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.delay = Until::Now;
            }
            self.line_up(id);
        }
    }

    /// Own back-offs end; what waits for a person is due, what the messenger named is not.
    pub fn end_waits(&mut self, name: &str, now: Millis) {
        if let Some(account) = self.accounts.get_mut(name) {
            account.hold = account.hold.take().map(|hold| hold.at_start(now));
            account.work.notify_one();
        }
        let held: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| &*lane.account == name && lane.hold.as_ref().is_some_and(|hold| hold.needs_a_person))
            .map(|(id, _)| *id)
            .collect();
        for id in held {
            let hold = self.lane_hold(id).cloned().map(|hold| hold.at_start(now));
            self.hold_lane(id, hold);
        }
        self.end_back_off(name);
    }

    /// The clock went back by so much: what waits, waits as long as it was to.
    pub fn go_back(&mut self, by: Millis) {
        for account in self.accounts.values_mut() {
            let later = std::mem::take(&mut account.later).into_iter();
            account.later = later.map(|(due, served, id)| (due - by, served, id)).collect();
            account.hold.iter_mut().for_each(|hold| hold.until -= by);
            account.work.notify_one();
        }
        for lane in self.lanes.values_mut() {
            lane.hold.iter_mut().for_each(|hold| hold.until -= by);
            if let Until::Paced(at) | Until::BackedOff(at) = &mut lane.delay {
                *at -= by;
            }
            match &mut lane.line {
                Line::Later(due, _) => *due -= by,
                Line::Leased(_) => lane.went_back = true,
                Line::Out | Line::Ready => {}
            }
        }
    }

    pub fn work(&mut self, name: &str) -> Arc<Notify> {
        match self.accounts.get(name) {
            Some(account) => account.work.clone(),
            None => self.accounts.entry(name.into()).or_default().work.clone(),
        }
    }

    pub fn next_due(&self, name: &str) -> Option<Millis> {
        let account = self.accounts.get(name)?;
        if account.ready.is_empty() { account.later.first().map(|(due, ..)| *due) } else { Some(0) }
    }

    /// Out | nothing waits => Out; Out | something waits => (Ready | Later); Ready, Later, Leased stay.
    fn line_up(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(account) = self.accounts.get_mut(&lane.account) else { return };
        if lane.line == Line::Out && lane.waiting {
            match lane.due() {
                0 => {
                    lane.line = Line::Ready;
                    account.ready.push_back(id);
                }
                due => {
                    lane.line = Line::Later(due, lane.served);
                    account.later.insert((due, lane.served, id));
                }
            }
            account.work.notify_one();
        }
    }

    /// Ready, Later => Out; a lease stays.
    fn take_out(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.line {
            Line::Later(due, served) => {
                if let Some(account) = self.accounts.get_mut(&lane.account) {
                    // Due by now, a claim may have moved it over.
                    if !account.later.remove(&(due, served, id)) {
                        account.ready.retain(|ready| *ready != id);
                    }
                }
                lane.line = Line::Out;
            }
            Line::Ready => {
                if let Some(account) = self.accounts.get_mut(&lane.account) {
                    account.ready.retain(|ready| *ready != id);
                }
                lane.line = Line::Out;
            }
            Line::Out | Line::Leased(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Millis = 3_600_000;

    fn hold(until: Millis) -> Option<Hold> {
        Some(Hold { until, reason: "429".into(), needs_a_person: false })
    }

    #[test]
    fn what_waits_when_the_clock_goes_back_waits_as_long_as_it_was_to() {
        let (mut lanes, now) = (Lanes::default(), 10 * HOUR);
        let [backed_off, paced, held, sending] = [1, 2, 3, 4].map(LaneId);
        for id in [backed_off, paced, held, sending] {
            lanes.add_lane(id, "slack", None);
            lanes.expect(id);
        }
        let turns = lanes.claim("slack", 4, now);
        lanes.release(&turns[0], Until::BackedOff(now + 100));
        lanes.release(&turns[1], Until::Paced(now + 200));
        lanes.hold_lane(held, hold(now + 300));
        lanes.release(&turns[2], Until::Now);
        lanes.hold_account("slack", hold(now + 50));

        lanes.go_back(HOUR);
        let now = now - HOUR;
        assert_eq!(lanes.account_hold("slack").unwrap().until, now + 50);
        assert_eq!(lanes.next_due("slack"), Some(now + 100));
        for (id, wait) in [(backed_off, 100), (paced, 200), (held, 300)] {
            assert!(lanes.claim("slack", 4, now + wait - 1).is_empty());
            assert_eq!(lanes.claim("slack", 4, now + wait)[0].lane, id);
        }
        lanes.release(&turns[3], Until::BackedOff(now + HOUR + 400));
        let turn = lanes.claim("slack", 4, now).remove(0);
        assert_eq!(turn.lane, sending, "what its turn says of times is of the time before");
        lanes.release(&turn, Until::BackedOff(now + 500));
        assert!(lanes.claim("slack", 4, now + 499).is_empty(), "what the next turn says is not");
    }
}

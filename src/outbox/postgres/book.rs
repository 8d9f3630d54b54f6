//! What one replica knows of the lanes: which it holds, where something may be pending, and who else there is.

use std::collections::{HashMap, HashSet};

use super::statements::Way;
use crate::outbox::LaneId;
use crate::outbox::lanes::Lanes;

#[derive(Default)]
pub struct Book {
    pub lanes: Lanes,
    /// Where the configured channels lead.
    pub ways: HashMap<String, Way>,
    /// The replica's lease, and the lanes that name it.
    pub lease: Option<i64>,
    held: HashSet<LaneId>,
    /// How often something was said to be pending in a lane.
    told: HashMap<LaneId, u64>,
    /// The leases of all replicas that live, this one's too.
    fleet: Vec<i64>,
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

    pub fn holds(&self, lane: LaneId) -> bool {
        self.held.contains(&lane)
    }

    pub fn held(&self) -> impl Iterator<Item = LaneId> {
        self.held.iter().copied()
    }

    pub fn claimed(&mut self, lane: LaneId) {
        self.held.insert(lane);
    }

    pub fn gave_up(&mut self, lane: LaneId) {
        self.held.remove(&lane);
        self.lanes.expect_nothing(lane);
    }

    /// Another lease takes the place of the one before, whose lanes are held by nobody now.
    pub fn begin(&mut self, lease: i64) {
        self.lease = Some(lease);
        self.held.clear();
    }

    /// Whether the fleet has changed.
    pub fn see(&mut self, fleet: Vec<i64>) -> bool {
        let changed = self.fleet != fleet;
        self.fleet = fleet;
        changed
    }

    pub fn replicas(&self) -> usize {
        self.fleet.len()
    }

    pub fn is_alone(&self) -> bool {
        self.fleet.iter().all(|lease| Some(*lease) == self.lease)
    }

    /// Whether this replica comes first for the lane. All replicas reckon alike (rendezvous hashing), so each lane has one
    /// that claims it at once, and a replica that comes or goes moves no more lanes than its own.
    pub fn comes_first(&self, lane: LaneId) -> bool {
        let weight = |lease: i64| mixed(lane.0 as u64 ^ mixed(lease as u64));
        self.fleet.iter().max_by_key(|lease| weight(**lease)).is_none_or(|first| Some(*first) == self.lease)
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
    fn each_lane_has_one_that_comes_first_and_a_newcomer_moves_only_its_own() {
        let of = |lease, fleet: &[i64]| Book { lease: Some(lease), fleet: fleet.to_vec(), ..Book::default() };
        let first = |lane, fleet: &[i64]| {
            let firsts: Vec<i64> =
                fleet.iter().copied().filter(|lease| of(*lease, fleet).comes_first(LaneId(lane))).collect();
            assert_eq!(firsts.len(), 1, "lane {lane} of {fleet:?}");
            firsts[0]
        };
        let mut shares = HashMap::<i64, i32>::new();
        for lane in 0..300 {
            let (before, after) = (first(lane, &[4, 7]), first(lane, &[4, 7, 9]));
            assert!(after == before || after == 9);
            *shares.entry(after).or_default() += 1;
        }
        assert!(shares.values().all(|share| (60..140).contains(share)), "{shares:?}");
    }
}

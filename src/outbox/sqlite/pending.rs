//! What is pending where, in memory: exact, since one process has the file and counts what it commits.

use std::collections::HashMap;

use super::group::Places;
use super::statements::{LaneRow, PendingInLane, Segment};
use crate::outbox::lanes::Lanes;
use crate::outbox::{IssueLane, LaneId};

/// The lanes, and what is pending in them.
#[derive(Default)]
pub struct Book {
    pub lanes: Lanes,
    pub pending: Pending,
}

impl Book {
    /// Counts deliveries in and lines their lane up.
    pub fn add(&mut self, new: &PendingInLane) {
        self.pending.add(new);
        self.lanes.expect(new.lane);
    }

    /// What is new in lanes that may be new.
    pub fn add_all(&mut self, places: Places) {
        for LaneRow { id, account, hold } in places.lanes {
            self.lanes.add_lane(id, &account, hold);
        }
        places.pending.iter().for_each(|new| self.add(new));
    }

    /// Forgets lanes of issues where nothing waits: the next delivery makes them known again.
    pub fn forget_resting(&mut self) {
        for lane in self.lanes.forget_resting(IssueLane::has_account) {
            self.pending.lanes.remove(&lane);
        }
    }

    /// Counts a delivery out.
    pub fn take(&mut self, lane: LaneId, channel: i64) {
        self.lanes.ended(lane);
        if self.pending.take(lane, channel) {
            self.lanes.expect_nothing(lane);
        }
    }

    /// Sets every count to what the table holds and lines up the lanes anew. Leases stay.
    pub fn count_anew(&mut self, pending: &[PendingInLane], last: Segment) {
        self.pending.clear(last);
        for lane in self.lanes.ids().collect::<Vec<_>>() {
            self.lanes.expect_nothing(lane);
        }
        for new in pending {
            self.add(new);
        }
    }
}

#[derive(Default)]
pub struct Pending {
    lanes: HashMap<LaneId, InLane>,
    of_channel: HashMap<i64, i64>,
    /// Nothing is pending after.
    last: Segment,
}

struct InLane {
    count: i64,
    begin: Begin,
}

/// Where a lane's pending deliveries begin, or earlier.
#[derive(Clone, Copy, PartialEq)]
pub struct Begin {
    pub segment: Segment,
    /// How often something became pending at this segment or before: a replay, or a channel that moved here.
    told: u64,
}

impl Pending {
    fn add(&mut self, new: &PendingInLane) {
        *self.of_channel.entry(new.channel).or_default() += new.count;
        let begin = self.begin(new.lane);
        let lane = self.lanes.entry(new.lane).or_insert(InLane { count: 0, begin });
        if lane.count == 0 || new.first <= lane.begin.segment {
            lane.begin = Begin { segment: new.first, told: lane.begin.told + 1 };
        }
        lane.count += new.count;
        self.last = self.last.max(new.first);
    }

    /// Where the lanes begin stays: somebody may be looking.
    fn clear(&mut self, last: Segment) {
        self.last = self.last.max(last);
        self.of_channel.clear();
        self.lanes.values_mut().for_each(|lane| lane.count = 0);
    }

    /// `true`: it was the lane's last.
    fn take(&mut self, lane: LaneId, channel: i64) -> bool {
        *self.of_channel.entry(channel).or_default() -= 1;
        let Some(lane) = self.lanes.get_mut(&lane) else { return true };
        lane.count -= 1;
        lane.count <= 0
    }

    /// Where a lane's pending deliveries are.
    pub fn span(&self, lane: LaneId) -> (Segment, Segment) {
        (self.begin(lane).segment, self.last)
    }

    pub fn begin(&self, lane: LaneId) -> Begin {
        self.lanes.get(&lane).map_or(Begin { segment: self.last, told: 0 }, |lane| lane.begin)
    }

    /// Nothing was found before `segment` by who looked when the lane began at `was`. What became pending there since
    /// was told, and then that counts.
    pub fn begins_later(&mut self, lane: LaneId, was: Begin, segment: Segment) {
        if let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| lane.begin == was) {
            lane.begin.segment = segment;
        }
    }

    /// How much is pending in the lane.
    pub fn count(&self, lane: LaneId) -> i64 {
        self.lanes.get(&lane).map_or(0, |lane| lane.count)
    }

    pub fn channels(&self) -> impl Iterator<Item = (i64, i64)> {
        self.of_channel.iter().filter(|(_, pending)| **pending > 0).map(|(channel, pending)| (*channel, *pending))
    }

    /// Lanes in which something is pending.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.iter().filter(|(_, lane)| lane.count > 0).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneId = LaneId(1);

    fn pending(id: i64) -> PendingInLane {
        PendingInLane { lane: LANE, channel: 1, count: 1, first: Segment::of(id) }
    }

    #[test]
    fn what_is_replayed_while_somebody_looks_for_the_head_is_not_passed_over() {
        let mut book = Pending::default();
        let (early, late) = (1, 9_000);
        book.add(&pending(early));
        book.add(&pending(late));
        book.take(LANE, 1); // the early one ended: a look finds the late one only
        let looked = book.begin(LANE);
        book.add(&pending(early)); // and is replayed before the look is over
        book.begins_later(LANE, looked, Segment::of(late));
        assert_eq!(book.span(LANE), (Segment::of(early), Segment::of(late)));
        book.begins_later(LANE, book.begin(LANE), Segment::of(late));
        assert_eq!(book.span(LANE).0, Segment::of(late));
    }
}

//! Calls already taken, by fingerprint.
//!
//! Fingerprints are random numbers: written to their index one by one, each accept writes a page of its own. So the
//! newest wait in memory, and for the next process in the rows of their events, which lie side by side; they move to the
//! table `seen` in its own order, neighbours together, round after round.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use rusqlite::{Connection, Result};

use super::statements;
use crate::outbox::{Fingerprint, Millis};

/// Fingerprints that wait in memory, about 2 MB of them.
pub const KEPT: usize = 32_768;
/// So many move at once, if any: more neighbours on a page.
const LEAST: usize = 64;
const MOST: usize = 512;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    pub event: i64,
    pub until: Millis,
}

pub struct Seen {
    waiting: BTreeMap<Fingerprint, Known>,
    kept: usize,
    /// The last that moved in this round.
    cursor: Option<Fingerprint>,
    /// The newest event when this round began: at its end all up to there have moved.
    round: i64,
}

/// What one transaction does to it; counts once that is committed.
#[derive(Default)]
pub struct Turn {
    new: HashMap<Fingerprint, Known>,
    moved: Vec<(Fingerprint, Known)>,
    ends_round: bool,
}

impl Seen {
    /// As the last process left it.
    pub fn read(db: &Connection, kept: usize) -> Result<Self> {
        let (waiting, round) = (statements::waiting_fingerprints(db)?, statements::last_ids(db)?.0);
        Ok(Self { waiting, kept, cursor: None, round })
    }

    /// The event that has taken this call, if its time is not over.
    pub fn find(&self, db: &Connection, turn: &Turn, fingerprint: Fingerprint, now: Millis) -> Result<Option<i64>> {
        Ok(self.known(db, turn, fingerprint)?.filter(|known| known.until > now).map(|known| known.event))
    }

    /// The event that took this call last, if that is not forgotten.
    pub fn known(&self, db: &Connection, turn: &Turn, fingerprint: Fingerprint) -> Result<Option<Known>> {
        match turn.new.get(&fingerprint).or_else(|| self.waiting.get(&fingerprint)) {
            Some(known) => Ok(Some(*known)),
            None => statements::seen(db, fingerprint),
        }
    }

    /// Moves what is too much to the table, at the end of a transaction.
    pub fn make_room(&self, db: &Connection, turn: &mut Turn) -> Result<()> {
        let too_many = (self.waiting.len() + turn.new.len()).saturating_sub(self.kept).min(MOST);
        if too_many < LEAST {
            return Ok(());
        }
        let after = self.cursor.map_or(Unbounded, Excluded);
        turn.moved = self.waiting.range((after, Unbounded)).take(too_many).map(|(key, known)| (*key, *known)).collect();
        for (fingerprint, known) in &turn.moved {
            statements::remember(db, *fingerprint, *known)?;
        }
        turn.ends_round = turn.moved.len() < too_many;
        if turn.ends_round {
            statements::seen_to(db, self.round)?;
        }
        Ok(())
    }

    pub fn committed(&mut self, turn: Turn, last_event: i64) {
        for (fingerprint, known) in &turn.moved {
            if self.waiting.get(fingerprint) == Some(known) {
                self.waiting.remove(fingerprint);
            }
        }
        self.cursor = turn.moved.last().map(|(fingerprint, _)| *fingerprint).or(self.cursor);
        if turn.ends_round {
            (self.cursor, self.round) = (None, last_event);
        }
        self.waiting.extend(turn.new);
    }
}

impl Turn {
    pub fn add(&mut self, fingerprint: Fingerprint, known: Known) {
        self.new.insert(fingerprint, known);
    }

    /// How many it sent to the database.
    pub fn statements(&self) -> u64 {
        self.moved.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        rusqlite_migration::Migrations::from_slice(super::super::file::MIGRATIONS).to_latest(&mut db).unwrap();
        db
    }

    fn number(n: u64) -> Fingerprint {
        Fingerprint(u128::from(n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes())
    }

    /// One group of calls at a time: answers which of them were new, keeps what a committed group leaves.
    fn group(db: &mut Connection, seen: &mut Seen, calls: &[u64], now: Millis, commits: bool) -> Vec<bool> {
        let transaction = db.transaction().unwrap();
        let (mut last, mut turn) = (statements::last_ids(&transaction).unwrap().0, Turn::default());
        let mut new = Vec::new();
        for call in calls {
            let found = seen.find(&transaction, &turn, number(*call), now).unwrap();
            new.push(found.is_none());
            if found.is_none() {
                last += 1;
                let known = Known { event: last, until: now + 1_000 };
                turn.add(number(*call), known);
                let insert =
                    "insert into events (id, source, kind, received_at, deliveries, fingerprint, until, document)
                              values (?1, '', '', 0, 0, ?2, ?3, '')";
                transaction.execute(insert, (last, number(*call).0, known.until)).unwrap();
            }
        }
        seen.make_room(&transaction, &mut turn).unwrap();
        transaction.execute("update ledger set last_event = ?1", [last]).unwrap();
        if commits {
            transaction.commit().unwrap();
            seen.committed(turn, last);
        }
        new
    }

    proptest! {
        /// Whatever moves when, and wherever a process ends: a call is known again until its time is over.
        #[test]
        fn a_call_is_known_again_until_its_time_is_over(
            groups in proptest::collection::vec(
                (proptest::collection::vec(0..1_500_u64, 1..200), 0..400_i64, 0..10_u8), 1..40),
        ) {
            let (mut db, mut now) = (store(), 0);
            let mut seen = Seen::read(&db, 100).unwrap();
            let mut model: HashMap<u64, Millis> = HashMap::new();
            for (calls, later, chance) in groups {
                now += later;
                let commits = chance > 1;
                let mut after = model.clone();
                let expected: Vec<bool> = calls
                    .iter()
                    .map(|call| {
                        let new = after.get(call).is_none_or(|until| *until <= now);
                        if new {
                            after.insert(*call, now + 1_000);
                        }
                        new
                    })
                    .collect();
                prop_assert_eq!(group(&mut db, &mut seen, &calls, now, commits), expected);
                if commits {
                    model = after;
                }
                if chance == 9 {
                    seen = Seen::read(&db, 100).unwrap();
                }
            }
        }
    }

    #[test]
    fn only_so_many_wait_and_a_new_process_reads_no_more_than_two_rounds() {
        let mut db = store();
        let mut seen = Seen::read(&db, 1_000).unwrap();
        for n in 0..200 {
            let calls: Vec<u64> = (n * 100..(n + 1) * 100).collect();
            group(&mut db, &mut seen, &calls, 0, true);
            assert!(seen.waiting.len() < 1_000 + LEAST + 100);
        }
        let read = Seen::read(&db, 1_000).unwrap().waiting.len();
        assert!((1_000..4_500).contains(&read), "{read}");
    }

    #[test]
    fn what_is_over_is_forgotten_slice_by_slice() {
        let mut db = store();
        let mut seen = Seen::read(&db, 0).unwrap();
        for n in 0..10 {
            let calls: Vec<u64> = (n * 100..(n + 1) * 100).collect();
            group(&mut db, &mut seen, &calls, n as i64, true);
        }
        let forget = |now| {
            let (mut after, mut slices) = (Fingerprint::default(), 1);
            while let Some(last) = statements::forget_seen(&db, after, 150, now).unwrap() {
                (after, slices) = (last, slices + 1);
            }
            (slices, db.query_row("select count(*) from seen", [], |row| row.get::<_, i64>(0)).unwrap())
        };
        let all = forget(999).1;
        assert!(all > 800, "{all}");
        assert_eq!(forget(1_004).1, all - 500);
        assert_eq!(forget(2_000), (3, 0));
    }
}

//! How many deliveries wait, between two counts of the database.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// About so many are pending or to be routed: the last count, and what this replica changed since. What it added is never
/// left out, for `max_pending` is held by this; whoever finds that reached counts again.
#[derive(Default)]
pub struct Pending(Mutex<Known>);

#[derive(Default)]
struct Known {
    waiting: i64,
    /// Since the process began; what has ended is not taken from it.
    added: i64,
}

/// A count that has begun: what is added until it is over may not be in it.
pub struct Counting {
    added: i64,
}

impl Pending {
    pub fn waiting(&self) -> i64 {
        self.known().waiting
    }

    pub fn add(&self, many: i64) {
        let mut known = self.known();
        known.waiting += many;
        known.added += many;
    }

    pub fn ended(&self) {
        self.known().waiting -= 1;
    }

    pub fn counting(&self) -> Counting {
        Counting { added: self.known().added }
    }

    pub fn counted(&self, waiting: i64, counting: &Counting) {
        let mut known = self.known();
        known.waiting = waiting + known.added - counting.added;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_while_the_database_counts_is_not_lost() {
        let pending = Pending::default();
        let counting = pending.counting();
        pending.add(2); // committed after the count's snapshot
        pending.counted(0, &counting);
        assert_eq!(pending.waiting(), 2);
        pending.ended();
        assert_eq!(pending.waiting(), 1);
        pending.counted(5, &pending.counting());
        assert_eq!(pending.waiting(), 5);
    }
}

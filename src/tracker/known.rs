//! What is remembered of Tracker's answers, so that not each event and action asks for it again.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::issue::{Issue, User};
use super::names::Names;
use super::queue::Field;
use crate::clock::Clock;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const MOST_USERS: usize = 10_000;
const MOST_ISSUES: usize = 10_000;
/// Fields of queues, names of dictionaries.
const MOST_LISTS: usize = 1_000;
/// A burst of events of one issue is one question.
const BURST: Duration = Duration::from_secs(1);
const MOST_BURSTS: usize = 10;

/// Cheap to clone; all clones remember the same. It belongs to one organisation and outlives a change of the settings.
#[derive(Clone)]
pub struct Known(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) clock: Clock,
    /// By each of their names.
    pub(super) users: Memory<String, User>,
    /// By queue; of all queues under the empty name.
    pub(super) fields: Memory<String, Arc<[Field]>>,
    pub(super) names: Memory<&'static str, Arc<Names>>,
    /// With the time when they were asked for.
    pub(super) issues: Memory<String, (Timestamp, Arc<Issue>)>,
    /// By each of an issue's keys: all of them.
    pub(super) keys: Memory<String, Arc<[String]>>,
    /// By issue and kind of change: the last entry of the changelog that is too old to be looked for again.
    pub(super) entries: Memory<(String, &'static str), String>,
    /// The login of the token's owner.
    pub(super) login: Mutex<Option<String>>,
}

impl Known {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            users: Memory::new(&clock, HOUR, MOST_USERS),
            fields: Memory::new(&clock, HOUR, MOST_LISTS),
            names: Memory::new(&clock, HOUR, MOST_LISTS),
            issues: Memory::new(&clock, BURST, MOST_BURSTS),
            keys: Memory::new(&clock, MINUTE, MOST_ISSUES),
            entries: Memory::new(&clock, 24 * HOUR, MOST_ISSUES),
            login: Mutex::default(),
            clock,
        }))
    }
}

/// Values by their names, each for a time, and so many at most.
pub(super) struct Memory<K, V> {
    clock: Clock,
    lasts: Duration,
    most: usize,
    held: Mutex<HashMap<K, (Duration, V)>>,
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn new(clock: &Clock, lasts: Duration, most: usize) -> Self {
        Self { clock: clock.clone(), lasts, most, held: Mutex::default() }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let now = self.clock.elapsed();
        self.held().get(name).filter(|(at, _)| now.saturating_sub(*at) < self.lasts).map(|(_, value)| value.clone())
    }

    /// Where there is no room, what is over goes first, and if nothing is over, all.
    pub(super) fn put(&self, name: K, value: V) {
        let now = self.clock.elapsed();
        let mut held = self.held();
        if held.len() >= self.most && !held.contains_key(&name) {
            held.retain(|_, (at, _)| now.saturating_sub(*at) < self.lasts);
            if held.len() >= self.most {
                held.clear();
            }
        }
        held.insert(name, (now, value));
    }

    pub(super) fn forget<Q: Eq + Hash + ?Sized>(&self, name: &Q)
    where
        K: Borrow<Q>,
    {
        self.held().remove(name);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<K, (Duration, V)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_ends_and_has_room_for_so_many() {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let memory = Memory::new(&clock, HOUR, 2);
        memory.put("a", 1);
        clock.pass(HOUR / 2);
        memory.put("b", 2);
        clock.pass(HOUR / 2);
        assert_eq!((memory.get("a"), memory.get("b")), (None, Some(2)));
        memory.put("c", 3);
        assert_eq!((memory.get("b"), memory.get("c")), (Some(2), Some(3)), "what was over went");
        memory.put("d", 4);
        assert_eq!((memory.get("b"), memory.get("c"), memory.get("d")), (None, None, Some(4)));
        memory.put("d", 5);
        memory.forget("a");
        assert_eq!(memory.get("d"), Some(5));
        memory.forget("d");
        assert_eq!(memory.get("d"), None);
    }
}

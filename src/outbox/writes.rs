//! What an outbox knows of its own writes: how many there were, how long they took, and whether the last went through.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Gauges;

/// Kept until somebody asks for them.
const MOST_SECONDS: usize = 4_096;

pub struct Writes {
    /// Whether they go through.
    pub succeed: watch::Sender<bool>,
    failures: AtomicU64,
    started: Instant,
    /// Milliseconds after `started`.
    last: AtomicI64,
    commits: AtomicU64,
    statements: AtomicU64,
    seconds: Mutex<Vec<f64>>,
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            succeed: watch::Sender::new(true),
            failures: AtomicU64::default(),
            started: Instant::now(),
            last: AtomicI64::default(),
            commits: AtomicU64::default(),
            statements: AtomicU64::default(),
            seconds: Mutex::default(),
        }
    }
}

impl Writes {
    /// One went through.
    pub fn committed(&self, took: Duration) {
        self.last.store(self.started.elapsed().as_millis() as i64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() < MOST_SECONDS {
            seconds.push(took.as_secs_f64());
        }
    }

    /// How many did not go through: what [`Writes::go_on`] is told.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// They go through again, unless one has failed since there were so many failures.
    pub fn go_on(&self, failures: u64) {
        let goes_on = self.succeed.send_if_modified(|succeed| {
            let goes_on = !*succeed && self.failures() == failures;
            *succeed |= goes_on;
            goes_on
        });
        if goes_on {
            tracing::info!("the store can be written again");
        }
    }

    /// One did not go through: `why`, with its causes.
    pub fn failed(&self, why: impl FnOnce() -> String) {
        let stops = self.succeed.send_if_modified(|succeed| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            std::mem::replace(succeed, false)
        });
        if stops {
            let error = why();
            tracing::error!(
                error,
                "the store cannot be written: accepts are answered 500 and no lane sends until it can"
            );
        }
    }

    pub fn since_last(&self) -> Duration {
        let at = Duration::from_millis(self.last.load(Ordering::Relaxed).max(0) as u64);
        self.started.elapsed().saturating_sub(at)
    }

    /// More statements were run, of a write or of a question.
    pub fn count_statements(&self, more: u64) {
        self.statements.fetch_add(more, Ordering::Relaxed);
    }

    pub fn add_to(&self, gauges: &mut Gauges) {
        gauges.commits = self.commits.load(Ordering::Relaxed);
        gauges.statements = self.statements.load(Ordering::Relaxed);
        gauges.commit_seconds = std::mem::take(&mut self.seconds.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

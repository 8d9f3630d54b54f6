//! Time from outside. `serve` runs on the machine's clock; a test holds a clock that moves only when told to.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// Cheap to clone; all clones show the same time.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    Machine(Arc<Agreed>),
    Held(Arc<Held>),
}

/// What was agreed with another machine: its time when [`Clock::elapsed`] began, in milliseconds since 1970.
struct Agreed(AtomicI64);

/// Nothing was agreed: the machine's own time counts.
const NOTHING: i64 = i64::MIN;

struct Held {
    now: watch::Sender<Timestamp>,
    moving: Mutex<()>,
}

impl Clock {
    pub fn machine() -> Self {
        Self(Kind::Machine(Arc::new(Agreed(AtomicI64::new(NOTHING)))))
    }

    /// A clock that stands at `start` until [`Clock::pass`].
    pub fn held(start: Timestamp) -> Self {
        Self(Kind::Held(Arc::new(Held { now: watch::Sender::new(start), moving: Mutex::new(()) })))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Machine(agreed) => match agreed.0.load(Ordering::Relaxed) {
                #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
                NOTHING => Timestamp::now(),
                began => {
                    Timestamp::from_millisecond(began).map_or(Timestamp::MAX, |began| later(began, self.elapsed()))
                }
            },
            Kind::Held(held) => *held.now.borrow(),
        }
    }

    /// From now on all clones show the time of somebody else, whose clock showed `theirs_ms` when [`Clock::elapsed`] was
    /// `at`; the machine's own clock counts no more, also where it is set. A held clock agrees with nobody.
    pub fn agree(&self, theirs_ms: i64, at: Duration) {
        if let Kind::Machine(agreed) = &self.0 {
            agreed.0.store(theirs_ms.saturating_sub(at.as_millis() as i64), Ordering::Relaxed);
        }
    }

    /// Whether somebody else's time counts.
    pub fn has_agreed(&self) -> bool {
        matches!(&self.0, Kind::Machine(agreed) if agreed.0.load(Ordering::Relaxed) != NOTHING)
    }

    /// How far the time that was agreed so far is ahead of somebody's whose clock showed `theirs_ms` when
    /// [`Clock::elapsed`] was `at`: zero where it is behind, or nothing was agreed.
    pub fn ahead_of(&self, theirs_ms: i64, at: Duration) -> Duration {
        let began = match &self.0 {
            Kind::Machine(agreed) => agreed.0.load(Ordering::Relaxed),
            Kind::Held(_) => NOTHING,
        };
        let theirs_began = theirs_ms.saturating_sub(at.as_millis() as i64);
        Duration::from_millis(began.saturating_sub(theirs_began).max(0) as u64)
    }

    /// Milliseconds since 1970, the form in which the outbox keeps time.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Time since some moment before: it only moves forward, also where somebody sets the machine's clock, and goes on
    /// while the machine sleeps.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::Machine(_) => awake_or_asleep(),
            Kind::Held(held) => Duration::from_millis(held.now.borrow().as_millisecond().max(0) as u64),
        }
    }

    /// Moves a held clock on. On the machine's clock it does nothing.
    pub fn pass(&self, time: Duration) {
        if let Kind::Held(held) = &self.0 {
            let _one_at_a_time = held.moving.lock();
            held.now.send_modify(|now| *now = later(*now, time));
        }
    }

    /// Returns when `time` has passed on this clock. Cancel safe.
    pub async fn sleep(&self, time: Duration) {
        self.timer(time).await;
    }

    /// [`Clock::sleep`] with a type that has a name, for futures written by hand. It runs from now, not from its first poll.
    pub fn timer(&self, time: Duration) -> Timer {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's time")]
            Kind::Machine(_) => Timer::Machine { sleep: tokio::time::sleep_until(Instant::now() + time) },
            Kind::Held(held) => held.timer(later(*held.now.borrow(), time)),
        }
    }

    /// Returns at the given time on this clock, at once if it is past. Cancel safe.
    pub async fn sleep_until(&self, at_ms: i64) {
        match &self.0 {
            Kind::Machine(_) => {
                let left = at_ms.saturating_sub(self.now_ms());
                self.sleep(Duration::from_millis(left.max(0) as u64)).await;
            }
            // By the time itself: a leap between reading the clock and going to sleep must not be slept through.
            Kind::Held(held) => held.timer(Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX)).await,
        }
    }

    /// Returns when so much time has [`elapsed`](Clock::elapsed), at once if it has. Cancel safe.
    pub async fn sleep_until_elapsed(&self, at: Duration) {
        match &self.0 {
            Kind::Machine(_) => self.sleep(at.saturating_sub(self.elapsed())).await,
            Kind::Held(_) => self.sleep_until(at.as_millis() as i64).await, // it shows the time that has elapsed
        }
    }
}

impl Held {
    fn timer(self: &Arc<Self>, until: Timestamp) -> Timer {
        let held = self.clone();
        let mut seen = held.now.subscribe();
        Timer::Held {
            passed: Box::pin(async move {
                // The sender lives in `held`, so waiting cannot fail.
                let _ = seen.wait_for(|now| *now >= until).await;
                drop(held);
            }),
        }
    }
}

#[cfg(target_os = "linux")]
fn awake_or_asleep() -> Duration {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(since_boot.tv_sec.unsigned_abs(), since_boot.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
fn awake_or_asleep() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[expect(clippy::expect_used, reason = "only a calendar span can fail")]
fn later(at: Timestamp, time: Duration) -> Timestamp {
    at.saturating_add(time).expect("a duration is no calendar span")
}

pin_project_lite::pin_project! {
    /// Ends when its time has passed on the clock it came from.
    #[project = TimerProjection]
    pub enum Timer {
        Machine { #[pin] sleep: tokio::time::Sleep },
        Held { passed: Pin<Box<dyn Future<Output = ()> + Send>> },
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project() {
            TimerProjection::Machine { sleep } => sleep.poll(cx),
            TimerProjection::Held { passed } => passed.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_show_the_time_that_was_agreed() {
        let (clock, hour) = (Clock::machine(), 3_600_000);
        let clone = clock.clone();
        let (before, at) = (clock.now_ms(), clock.elapsed());
        clock.agree(before + hour, at);
        assert!((hour..hour + 60_000).contains(&(clone.now_ms() - before)));
        assert_eq!(clone.ahead_of(before - hour, at).as_millis(), 2 * hour as u128);
        assert_eq!(clone.ahead_of(before + 2 * hour, at), Duration::ZERO);
        clock.agree(before - hour, at);
        assert!((-hour..60_000 - hour).contains(&(clone.now_ms() - before)));
        let other = Clock::machine();
        assert!((0..60_000).contains(&(other.now_ms() - before)), "another clock agreed to nothing");
        assert_eq!(other.ahead_of(before - hour, at), Duration::ZERO);
    }
}

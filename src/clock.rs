//! Time from outside. `serve` runs on the machine's clock; a test holds a clock that moves only when told to.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
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
    Machine,
    Held(Arc<Held>),
}

struct Held {
    now: watch::Sender<Timestamp>,
    moving: Mutex<()>,
}

impl Clock {
    pub fn machine() -> Self {
        Self(Kind::Machine)
    }

    /// A clock that stands at `start` until [`Clock::pass`].
    pub fn held(start: Timestamp) -> Self {
        Self(Kind::Held(Arc::new(Held { now: watch::Sender::new(start), moving: Mutex::new(()) })))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
            Kind::Machine => Timestamp::now(),
            Kind::Held(held) => *held.now.borrow(),
        }
    }

    /// Milliseconds since 1970, the form in which the outbox keeps time.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Time since some moment before: it only moves forward, also where somebody sets the machine's clock.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::Machine => {
                static START: OnceLock<std::time::Instant> = OnceLock::new();
                START.get_or_init(std::time::Instant::now).elapsed()
            }
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
            Kind::Machine => Timer::Machine { sleep: tokio::time::sleep_until(Instant::now() + time) },
            Kind::Held(held) => held.timer(later(*held.now.borrow(), time)),
        }
    }

    /// Returns at the given time on this clock, at once if it is past. Cancel safe.
    pub async fn sleep_until(&self, at_ms: i64) {
        match &self.0 {
            Kind::Machine => {
                let left = at_ms.saturating_sub(self.now_ms());
                self.sleep(Duration::from_millis(left.max(0) as u64)).await;
            }
            // By the time itself: a leap between reading the clock and going to sleep must not be slept through.
            Kind::Held(held) => held.timer(Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX)).await,
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

//! Tracker's external-application protocol: issues are linked to channels, reviews and benches. Tracker asks what an
//! object is ([`info`](Application::info)) and tells of links that come and go ([`create`](Application::create),
//! [`remove`](Application::remove)). Source: tracker.md, section 5.

mod auth;
mod info;
mod intake;
pub mod object;
pub mod template;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;

pub use auth::{AskWhose, Auth, Denied, Users};
pub use intake::{Changed, NotChanged};

use crate::clock::Clock;
use crate::delivery::Messenger;
use crate::event::{ChannelName, Event};
use crate::key::Queues;
use crate::outbox::{Outbox, OutboxError};
use crate::route::Planner;
use crate::telemetry::Metrics;
use template::Shape;

/// A call whose links could not be stored in this time, all of them, is answered 500.
const STORED_WITHIN: Duration = Duration::from_secs(8);
/// People wait for what an object is, and Tracker for less than 2 s (tracker.md, 5.5): the token and the store have this
/// together.
const SHOWN_WITHIN: Duration = Duration::from_millis(1_500);

/// What a configuration makes of the protocol.
pub struct Rules {
    /// Where Tracker asks what an object is.
    pub info: Shape,
    /// Where it tells of new links.
    pub create: Shape,
    /// Where it tells that a link is gone.
    pub remove: Shape,
    pub auth: Auth,
    /// `None`: Tracker cannot be asked.
    pub every_key: Option<EveryKey>,
    pub icon_url: Option<String>,
    pub channels: BTreeMap<ChannelName, Channel>,
    pub planner: Arc<Planner>,
    pub queues: Queues,
    /// Where people open issues, without the slash before the key.
    pub web_url: String,
    pub time_zone: TimeZone,
}

/// Asks Tracker for each key that the issue of this key has or had.
///
/// Its error is why Tracker gave no answer, for the log.
pub type EveryKey = Arc<dyn Fn(String) -> Told + Send + Sync>;
type Told = Pin<Box<dyn Future<Output = Result<Arc<[String]>, String>> + Send>>;

/// A channel as an object.
pub struct Channel {
    pub messenger: Messenger,
    /// What is paused and held with it.
    pub account: Arc<str>,
}

/// The application that Tracker knows.
pub struct Application {
    /// `None`: the protocol is not spoken. A reload puts another in its place.
    pub rules: watch::Sender<Option<Arc<Rules>>>,
    pub outbox: Arc<dyn Outbox>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Whether Campanile's own user did what the event tells of.
    pub by_us: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    /// No two of its events look alike: this differs between processes, and
    pub seed: u64,
    /// this within one.
    pub count: AtomicU64,
}

impl Application {
    /// Until when a question that comes now is answered, of [`Clock::elapsed`].
    pub fn shown_until(&self) -> Duration {
        self.clock.elapsed() + SHOWN_WITHIN
    }

    /// `None`: it took too long.
    async fn in_time<T>(
        &self,
        until: Duration,
        stored: impl Future<Output = Result<T, OutboxError>>,
    ) -> Result<T, Option<OutboxError>> {
        tokio::select! {
            end = stored => end.map_err(Some),
            () = self.clock.sleep_until_elapsed(until) => Err(None),
        }
    }
}

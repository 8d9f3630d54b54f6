//! A call to a source becomes a verified, deduplicated [`Event`].
//!
//! Authenticate first, then read: nothing of a body is looked at before its secret has been.

mod auth;
mod dedupe;
mod intake;
mod read;
mod tracker;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::event::{Event, SourceName};
use crate::outbox::Fingerprint;

pub use auth::Secrets;
pub use intake::{Answer, Intake, Rules};
pub use read::Reader;

/// A configured intake of kind `tracker`.
pub struct Source {
    pub name: SourceName,
    pub secrets: Secrets,
    /// The secret may also stand in the path (`url_secret`).
    pub url_secret: bool,
    /// How long a call is remembered; `None`: as long as Tracker may repeat it.
    pub dedupe: Option<Duration>,
    /// Its events are routed when Tracker was asked for their issues.
    pub enrich: bool,
    pub reader: Reader,
}

/// A call whose secret was right.
pub struct Call<'a> {
    pub method: &'a Method,
    /// Without the question mark.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// See [`crate::outbox::Arrival`].
    pub room: Arc<dyn Any + Send + Sync>,
    pub received_at: Timestamp,
}

/// What a call said.
pub enum Said {
    /// With the mark by which it is known again, and how long that counts.
    Event { event: Box<Event>, fingerprint: Fingerprint, remember: Duration },
    /// No step of the reading found an issue's key.
    Unreadable { why: String },
}

impl Source {
    /// Reads a call. Never fails by panic, whatever the bytes are.
    pub fn read(&self, call: &Call<'_>) -> Said {
        match self.reader.read(call.query, call.body) {
            Err(why) => Said::Unreadable { why },
            Ok(found) => {
                let (fingerprint, remember) = dedupe::mark(&self.name, call, &found.members, self.dedupe);
                let event = tracker::event(&self.name, found, &self.reader, call.received_at);
                Said::Event { event: Box::new(event), fingerprint, remember }
            }
        }
    }
}

//! A call to a source becomes verified, deduplicated [`Event`]s.
//!
//! Authenticate first, then read: nothing of a body is looked at before its secret or its signature has been.

mod auth;
mod bench;
mod bitbucket_cloud;
mod bitbucket_server;
mod dedupe;
mod gitea;
mod github;
mod gitlab;
mod intake;
mod late;
mod read;
mod review;
mod signature;
mod time;
mod told;
mod tracker;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::event::{Event, Head, Host, Reading, SourceName};
use crate::key::Keys;
use crate::outbox::Fingerprint;

pub use crate::outbox::Object;
pub use auth::Secrets;
pub use intake::{Answer, Intake, Rules};
pub use late::{Late, Logged};
pub use read::Reader;

/// A configured intake.
pub struct Source {
    pub name: SourceName,
    pub kind: Kind,
    pub secrets: Secrets,
    /// The secret may also stand in the path (`url_secret`).
    pub url_secret: bool,
    /// How long a call is remembered; `None`: as long as its sender may repeat it.
    pub dedupe: Option<Duration>,
    /// Tracker is asked for an event's issue before the event is routed.
    pub enrich: bool,
    pub reader: Reader,
}

/// Who calls a source.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Tracker,
    Bench,
    Host(Host, Reviews),
}

/// What counts of a code host's calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reviews {
    pub keys: Keys,
    /// What strangers say is ignored.
    pub members_only: bool,
    /// GitLab: only the last one of the approvals that are needed counts.
    pub all_approvals: bool,
    /// A review without an issue's key is an event all the same: its comments are still to be looked through.
    pub fetch_comments: bool,
}

/// What a call's head says of the right to call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Yes,
    No,
    /// There is a signature; the body decides.
    AfterBody,
    /// A trial that its host does not sign: it is answered, and nothing else follows from it.
    Ping,
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
    /// One for each issue that it is about.
    Events(Vec<Read>),
    /// It was understood, and nothing follows from it.
    Ignored { why: String },
    /// It was not understood, or names no issue where it must.
    Unreadable { why: String },
}

/// One event of a call.
pub struct Read {
    pub event: Event,
    /// By this it is known again,
    pub fingerprint: Fingerprint,
    /// and by this, under which the same may come as another call,
    pub guard: Option<Fingerprint>,
    /// for so long.
    pub remember: Duration,
    /// What issues can be linked to, as it stands now.
    pub object: Option<Object>,
    /// It is not to be routed before more is known, in the order of this line: an issue's key, or a review's where the
    /// issue is still looked for. `None`: it is routed as it is.
    pub line: Option<String>,
}

impl Source {
    /// Whether the head of a call lets it in.
    pub fn admit(&self, headers: &HeaderMap) -> Admission {
        match self.kind {
            Kind::Tracker | Kind::Bench if self.secrets.admit(headers) => Admission::Yes,
            Kind::Tracker | Kind::Bench => Admission::No,
            Kind::Host(host, _) => signature::admit(host, &self.secrets, headers),
        }
    }

    /// Whether the body is signed as the head says, where that is what decides. Nothing of it is parsed for that.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
        match self.kind {
            Kind::Tracker | Kind::Bench => false,
            Kind::Host(host, _) => signature::verify(host, &self.secrets, headers, body, now),
        }
    }

    /// Whether the head has anything that could be meant for a secret or a signature.
    pub fn is_offered(&self, headers: &HeaderMap) -> bool {
        match self.kind {
            Kind::Tracker | Kind::Bench => Secrets::offered(headers),
            Kind::Host(host, _) => signature::offered(host, headers),
        }
    }

    /// GitLab switches a hook off after four answers that are not 2xx, whatever they were for (code-hosts.md, 6).
    pub fn is_never_refused(&self) -> bool {
        matches!(self.kind, Kind::Host(Host::GitLab, _))
    }

    /// Reads a call. Never fails by panic, whatever the bytes are.
    pub fn read(&self, call: &Call<'_>) -> Said {
        match self.kind {
            Kind::Tracker => self.read_trigger(call),
            Kind::Bench => bench::read(self, call),
            Kind::Host(host, reviews) => review::read(self, host, reviews, call),
        }
    }

    fn read_trigger(&self, call: &Call<'_>) -> Said {
        match self.reader.read(call.query, call.body) {
            Err(why) => Said::Unreadable { why },
            Ok(found) => {
                let (fingerprint, remember) = dedupe::mark(&self.name, call, &found.members, self.dedupe);
                let line = self.enrich.then(|| found.key.clone());
                let event = tracker::event(&self.name, found, &self.reader, call.received_at);
                Said::Events(vec![Read { event, fingerprint, guard: None, remember, object: None, line }])
            }
        }
    }

    /// The head of an event that was read as the standard wants it.
    fn head(&self, kind: &str, at: Option<Timestamp>, call: &Call<'_>) -> Head {
        Head {
            kind: kind.to_owned(),
            source: self.name.clone(),
            at,
            received_at: call.received_at,
            reading: Reading::Strict,
            degraded: false,
            unenriched: false,
            recovered: false,
        }
    }
}

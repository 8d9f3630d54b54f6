//! What issues are linked to in Tracker, and what is last known of the things that they can be linked to.

use std::iter;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use super::{Accepted, Arrival, Hold, Millis, OutboxError, State, as_time};
use crate::event::ChannelName;

/// The key of a channel as an object begins with this, and its name follows.
pub(super) const CHANNEL: &str = "channel:";
/// A channel's last message is looked for among so many of the newest deliveries: nothing leads from a channel to what
/// was sent there long ago.
pub(super) const LOOKED_THROUGH: i64 = 20_000;

/// The newest that is known of a review or a bench, for the external application.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `review:<host>:<repository>:<id>` or `bench:<branch>`.
    pub key: String,
    /// When it was so. An older one changes nothing.
    pub at: Millis,
    /// Of a review `title`, `status` (open, merged, declined), `resolution` (approved, changes_requested, merged,
    /// declined), `author`, `url`; of a bench `url`, `state`. Absent where not known.
    pub state: Value,
}

/// A link that comes or goes, and the event that tells of it. The issue is the event's.
#[derive(Clone, Debug)]
pub struct Linking {
    /// The object's key.
    pub object: String,
    /// The login of who did it, where that is known.
    pub by: Option<String>,
    pub arrival: Arrival,
    /// What else the issue is called, or was before it was moved: a link by any of its keys is the issue's.
    pub other_keys: Vec<String>,
}

impl Linking {
    /// The event's issue, by which a new link is kept.
    pub(super) fn issue(&self) -> &str {
        self.arrival.issue.as_deref().unwrap_or_default()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        iter::once(self.issue()).chain(self.other_keys.iter().map(String::as_str))
    }
}

/// One row of a listing of links.
#[derive(Clone, Debug, Serialize)]
pub struct LinkRow {
    pub id: i64,
    pub issue: String,
    pub object: String,
    #[serde(serialize_with = "as_time")]
    pub at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl LinkRow {
    pub fn leads_to_channel(&self) -> bool {
        self.object.starts_with(CHANNEL)
    }
}

/// Which links a listing shows: the newest first, below `before`, at most `limit`.
#[derive(Clone, Debug, Default)]
pub struct LinkFilter {
    pub before: Option<i64>,
    pub limit: usize,
    pub issue: Option<String>,
    pub object: Option<String>,
}

/// How a channel does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChannelNow {
    /// Of its lane; it may be over.
    pub hold: Option<Hold>,
    /// What became of its newest message, and when.
    pub last: Option<(State, Millis)>,
}

/// The promises: a link and its event with all deliveries are one transaction, on disk when it is answered; what stands
/// already, or is gone already, makes no event. All methods are cancel safe as those of
/// [`Outbox`](super::Outbox) are.
#[async_trait]
pub trait Links: Send + Sync {
    /// Links an issue to an object. `None`: it was linked.
    async fn link(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError>;
    /// Ends a link, by each of the issue's keys. `None`: there was none.
    async fn unlink(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError>;
    /// Links the issue to all channels by its present key too that it was linked to by those from before it was moved; no
    /// event tells of it. Whether any was new.
    async fn link_moved(&self, present: &str, before: &[String]) -> Result<bool, OutboxError>;
    /// The channels that the issue is linked to by this key, by name, whether or not any configuration has them. Whatever
    /// was answered before by any process counts.
    async fn linked_channels(&self, issue: &str) -> Result<Vec<ChannelName>, OutboxError>;
    async fn links(&self, filter: LinkFilter) -> Result<Vec<LinkRow>, OutboxError>;
    /// What is last known of a review or a bench; forgotten when retention has passed since and nothing is linked to it.
    async fn object(&self, key: &str) -> Result<Option<Object>, OutboxError>;
    async fn channel_now(&self, channel: &ChannelName) -> Result<ChannelNow, OutboxError>;
}

/// The channel that is this object.
pub(super) fn channel_of(object: &str) -> Option<ChannelName> {
    ChannelName::try_from(object.strip_prefix(CHANNEL)?.to_owned()).ok()
}

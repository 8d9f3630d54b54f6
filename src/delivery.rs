//! A delivery: the duty to place one event's message in one channel, from its planning to its receipt or its dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::ChannelName;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The outbox's number of a delivery. Within a lane a lower one is sent first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub i64);

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Messenger {
    Slack,
    Telegram,
}

impl Messenger {
    pub const ALL: [Messenger; 2] = [Messenger::Slack, Messenger::Telegram];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Telegram => "telegram",
        }
    }
}

impl std::fmt::Display for Messenger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom calls go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Platform {
    Messenger(Messenger),
    Tracker,
    /// A code host that is asked for a review's comments.
    CodeHost,
}

impl Platform {
    /// As the label `messenger` of the metrics has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messenger(messenger) => messenger.as_str(),
            Self::Tracker => "tracker",
            Self::CodeHost => "code-host",
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a message stands to those before it about the same issue in the same conversation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Style {
    /// Each event a new message.
    #[default]
    Post,
    /// The first begins a thread, later ones reply to it.
    Thread,
}

/// One change to an issue. As a route has it, its texts are Handlebars; as a part has it, they are what is sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Writes fields, by their keys. An empty text clears one.
    Set {
        fields: BTreeMap<String, String>,
        /// What is cleared is cleared only while it holds this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<String>,
    },
    Transition {
        /// The key of the status where it leads.
        to: String,
        /// The transition's id, where several lead there. `None`: the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Of the transition's screen.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        fields: BTreeMap<String, String>,
    },
    Comment(Words),
    /// Links the issue to an object of the external application.
    Link {
        key: String,
        application: String,
    },
}

/// What a comment says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    Text(String),
    /// The name of a template.
    Template(String),
}

impl Action {
    /// The word for it in `config.yaml`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
            Self::Transition { .. } => "transition",
            Self::Comment(_) => "comment",
            Self::Link { .. } => "link",
        }
    }
}

/// What a delivery has to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Duty {
    /// To place a message.
    Message { channel: ChannelName, template: Arc<str>, style: Style },
    /// To change an issue.
    Action { issue: String, action: Action },
    /// To ask Tracker what is known of the event's issue and to route the event then. It is no delivery yet: its event is
    /// `to route`. The name of the line keeps the order of those who must not overtake each other: the issue's key.
    Route { line: String },
}

/// One delivery that an event asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    pub duty: Duty,
    pub route: Arc<str>,
    /// Milliseconds since 1970.
    pub give_up_at: i64,
    /// It ends at once, for this reason.
    pub filtered: Option<&'static str>,
}

impl Planned {
    /// The place of an event that is to be routed. It is not given up.
    pub fn to_route(line: &str) -> Self {
        let duty = Duty::Route { line: line.to_owned() };
        Self { duty, route: "".into(), give_up_at: i64::MAX, filtered: None }
    }
}

/// The greatest number that is known for a name; a smaller one changes nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    pub name: String,
    pub number: i64,
}

/// The messenger's own name of a message that was placed. A thread, a card and a later look-up need it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    Slack {
        channel: String,
        ts: String,
        /// The `ts` of the message whose thread it stands in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
    },
    Telegram {
        chat: i64,
        message: i64,
        /// The message that it replies to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<i64>,
    },
    /// An action on an issue was done.
    Issue {
        /// The issue's key, as Tracker's answer has it: another than was asked for, when the issue was moved.
        key: String,
        /// In words for people, as in "open → readyForTest".
        did: String,
        /// `false`: it was so already.
        changed: bool,
        /// The new comment's or link's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// The messenger said that it took the message and gave no name that could be read (incoming webhooks never do).
    Unnumbered,
}

impl Receipt {
    /// Whether later messages can reply to it: it has a name and is no reply itself.
    pub fn can_begin_thread(&self) -> bool {
        matches!(self, Self::Slack { thread: None, .. } | Self::Telegram { reply_to: None, .. })
    }
}

/// Whom a pause or a hold concerns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// One conversation.
    Lane,
    /// Everything that goes through the same token (or incoming webhook).
    Account,
}

/// What becomes of a delivery after an attempt whose end nobody can know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnUnclear {
    /// At least once: it may stand twice.
    #[default]
    SendAgain,
    /// At most once: it becomes a dead letter that a person may replay.
    GiveUp,
}

/// How an attempt failed. The lane decides on [`SendError::advice`], never on the text.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Surely not sent: no connection was made.
    #[error("could not be reached")]
    Unreached(#[source] BoxError),
    /// Surely not sent: the breaker is open and this call was not its probe.
    #[error("not tried: ten calls in a row failed")]
    BreakerOpen { probe_in: Duration },
    /// Surely not sent: this replica no longer holds the lane.
    #[error("not tried: the lease on the lane has ended")]
    LeaseLost,
    /// Surely not done; the other side wants a pause. `wait` is what it named.
    #[error("told to pause: {code}")]
    Paced { code: String, wait: Option<Duration>, scope: Scope },
    /// It may already stand in the channel.
    #[error("no answer that could be understood to a message that was sent: {what}")]
    Unclear {
        what: String,
        #[source]
        cause: Option<BoxError>,
    },
    /// The messenger refuses the message's form or content.
    #[error("refused content: {code}")]
    Content { code: String },
    /// The message that this one should reply to takes no replies: it was deleted, or its thread was closed.
    #[error("nothing can reply to the thread's first message: {code}")]
    ParentGone { code: String },
    /// A Telegram group became a supergroup with a new id.
    #[error("the chat has moved to {chat}")]
    Moved { chat: i64 },
    /// Nothing will go through until a person mends something (a token, a right, a channel).
    #[error("held: {code}")]
    Held { code: String, hint: Option<String>, scope: Scope },
    /// Refused for good, by a mistake that another form of the message would not mend.
    #[error("refused for good: {code}")]
    Refused { code: String },
}

/// What to do next. One exhaustive answer to every [`SendError`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Advice {
    /// Provably not sent: may be tried again at once, a few times.
    Again,
    /// Provably not sent: not before this time has passed. `None`: the messenger named no time, back off by ourselves.
    Wait { at_least: Option<Duration>, scope: Scope },
    /// Nobody can know. The channel's `on_unclear` decides.
    Unclear,
    /// Once more as plain text, then give up.
    Plain,
    /// Once more as a message of its own, which later ones then reply to.
    NewThread,
    /// Remember the chat's new id, send again once.
    Moved(i64),
    /// Keep it pending; probe now and then.
    Hold { scope: Scope, reason: String },
    /// A dead letter with this reason.
    GiveUp(String),
}

impl SendError {
    pub fn advice(&self) -> Advice {
        match self {
            Self::Unreached(_) => Advice::Again,
            Self::BreakerOpen { probe_in } => Advice::Wait { at_least: Some(*probe_in), scope: Scope::Lane },
            Self::LeaseLost => Advice::Wait { at_least: None, scope: Scope::Lane },
            Self::Paced { wait, scope, .. } => Advice::Wait { at_least: *wait, scope: *scope },
            Self::Unclear { .. } => Advice::Unclear,
            Self::Content { .. } => Advice::Plain,
            Self::ParentGone { .. } => Advice::NewThread,
            Self::Moved { chat } => Advice::Moved(*chat),
            Self::Held { code, hint, scope } => Advice::Hold {
                scope: *scope,
                reason: match hint {
                    Some(hint) => format!("{code}: {hint}"),
                    None => code.clone(),
                },
            },
            Self::Refused { code } => Advice::GiveUp(code.clone()),
        }
    }
}

/// The word under which an attempt's end is counted, logged and kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    Unreached,
    BreakerOpen,
    LeaseLost,
    Paced,
    Unclear,
    Content,
    ParentGone,
    Moved,
    Held,
    Refused,
}

impl Outcome {
    pub fn of(error: &SendError) -> Self {
        match error {
            SendError::Unreached(_) => Self::Unreached,
            SendError::BreakerOpen { .. } => Self::BreakerOpen,
            SendError::LeaseLost => Self::LeaseLost,
            SendError::Paced { .. } => Self::Paced,
            SendError::Unclear { .. } => Self::Unclear,
            SendError::Content { .. } => Self::Content,
            SendError::ParentGone { .. } => Self::ParentGone,
            SendError::Moved { .. } => Self::Moved,
            SendError::Held { .. } => Self::Held,
            SendError::Refused { .. } => Self::Refused,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unreached => "unreached",
            Self::BreakerOpen => "breaker_open",
            Self::LeaseLost => "lease_lost",
            Self::Paced => "paced",
            Self::Unclear => "unclear",
            Self::Content => "content",
            Self::ParentGone => "parent_gone",
            Self::Moved => "moved",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }
}

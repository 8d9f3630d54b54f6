//! `channels:` — named conversations and chats.

use super::reader::{Fields, Findings, Placed, choice, whole, word};
use super::secret::{Secret, secret};
use super::tree::{Entry, Kind, Node};
use crate::delivery::{Messenger, OnUnclear};
use crate::event::ChannelName;
use crate::finding::Place;

#[derive(Clone, Debug)]
pub struct Channel {
    pub name: ChannelName,
    pub conversation: Conversation,
    /// `None`: 72 hours.
    pub give_up_after_hours: Option<u32>,
    pub on_unclear: OnUnclear,
}

/// Where a channel's messages go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Conversation {
    /// A conversation's id, as in `C0123456789`.
    Slack { id: String },
    /// An incoming webhook: posts only.
    SlackWebhook { url: Placed<Secret> },
    /// Groups are chats with a negative id. The topic is the forum topic's id.
    Telegram { chat: i64, topic: Option<i32> },
}

impl Conversation {
    pub fn messenger(&self) -> Messenger {
        match self {
            Self::Slack { .. } | Self::SlackWebhook { .. } => Messenger::Slack,
            Self::Telegram { .. } => Messenger::Telegram,
        }
    }
}

/// The longest wait for a delivery, in hours: a year.
pub(super) const LONGEST_WAIT: u32 = 8_760;

/// As it was read.
pub(super) struct ChannelRead {
    pub name: ChannelName,
    pub place: Place,
    /// `None`: a finding has told what is wrong in it. Routes may name it all the same: one mistake, one finding.
    pub channel: Option<Channel>,
}

pub(super) fn read(entry: &Entry, findings: &mut Findings) -> Option<ChannelRead> {
    let name = ChannelName::try_from(entry.key.to_string());
    let name = name.map_err(|message| findings.error(entry.place, message).line).ok();
    let mut fields = Fields::of(&entry.value, format!("channel `{}`", entry.key), findings)?;
    let (slack, webhook, telegram) = (fields.get("slack"), fields.get("slack_webhook"), fields.get("telegram"));
    let topic_node = fields.get("topic");
    let topic = topic_node.and_then(|node| whole(1..=i32::MAX)(node, findings));
    let conversation = match (slack, webhook, telegram) {
        (Some(node), None, None) => slack_id(node, findings),
        (None, Some(node), None) => secret(node, findings).map(|url| Conversation::SlackWebhook { url }),
        (None, None, Some(node)) => chat(node, findings).map(|chat| Conversation::Telegram { chat, topic }),
        _ => {
            let what = format!("channel `{}` needs one of `slack`, `slack_webhook` and `telegram`", entry.key);
            findings.error(entry.place, what);
            None
        }
    };
    if let (Some(node), None, true) = (topic_node, telegram, slack.is_some() || webhook.is_some()) {
        findings.error(node.place, "`topic` belongs to Telegram alone");
    }
    let give_up_after_hours = fields.read("give_up_after_hours", findings, whole(1..=LONGEST_WAIT));
    let answers = [("send_again", OnUnclear::SendAgain), ("give_up", OnUnclear::GiveUp)];
    let on_unclear = fields.read("on_unclear", findings, choice(&answers)).unwrap_or_default();
    fields.close(findings);
    let name = name?;
    let channel =
        conversation.map(|conversation| Channel { name: name.clone(), conversation, give_up_after_hours, on_unclear });
    Some(ChannelRead { name, place: entry.place, channel })
}

/// `C…`, `G…`, `D…` or `U…` (reference M, "channel").
fn slack_id(node: &Node, findings: &mut Findings) -> Option<Conversation> {
    if matches!(node.kind, Kind::Empty) {
        findings.hinted(
            node.place,
            "`slack` is empty",
            "it takes a channel's id, as in C0123456789; `#` begins a comment",
        );
        return None;
    }
    let id = word(node, findings)?;
    let shape =
        |id: &str| id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) && (2..=64).contains(&id.len());
    if id.starts_with(['C', 'G', 'D', 'U']) && shape(id) {
        return Some(Conversation::Slack { id: id.to_owned() });
    }
    let hint = "the id stands at the end of the channel's details in Slack, as in C0123456789; a name can change";
    findings.hinted(node.place, format!("`{id}` is no id of a Slack conversation"), hint);
    None
}

/// Ids of persons have 10 digits at most until now.
const LONGEST_PERSON: i64 = 9_999_999_999;

fn chat(node: &Node, findings: &mut Findings) -> Option<i64> {
    // Telegram's ids have at most 52 significant bits: <https://core.telegram.org/bots/api#chat>.
    const MOST: i64 = (1 << 52) - 1;
    let id = whole(-MOST..=MOST)(node, &mut Findings::new("")).filter(|id| *id != 0);
    if id.is_none() && !matches!(node.kind, Kind::Refused) {
        let hint = "a whole number, as in -1001234567890; names as @chat can change";
        findings.hinted(node.place, "`telegram` must be a chat's id", hint);
    }
    if let Some(id) = id.filter(|id| *id > LONGEST_PERSON) {
        let hint = format!("a group's id begins with a minus, as in -{id}");
        findings.warning(node.place, "`telegram` has more digits than the id of a person", hint);
    }
    id
}

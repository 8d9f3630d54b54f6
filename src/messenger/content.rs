use super::{slack::format::SlackContent, telegram::format::TelegramContent};
use crate::delivery::Messenger;
use crate::message::{Form, Message};

/// One part of a message in its messenger's form, as the outbox keeps it until its receipt.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Slack(SlackContent),
    Telegram(TelegramContent),
}

impl Content {
    /// The message in the messenger's form, in at most [`crate::message::MOST_PARTS`] parts. Each leaves room for
    /// [`Content::late`]. None where nothing in the message can be seen. An own form that fits is the one part.
    pub fn parts(messenger: Messenger, message: Message) -> Vec<Self> {
        if let Some(Ok(own)) = Self::own(messenger, &message) {
            return vec![own];
        }
        match messenger {
            Messenger::Slack => SlackContent::parts(message).into_iter().map(Self::Slack).collect(),
            Messenger::Telegram => TelegramContent::parts(message).into_iter().map(Self::Telegram).collect(),
        }
    }

    /// The message in the form that an admin wrote for this messenger.
    ///
    /// # Errors
    /// Why the messenger would not take it; it is never split.
    pub fn own(messenger: Messenger, message: &Message) -> Option<Result<Self, String>> {
        let own = message.own.as_ref()?;
        match (messenger, &own.form) {
            (Messenger::Slack, Form::Blocks { blocks, text }) => {
                Some(SlackContent::own(blocks, text, own.unfurl).map(Self::Slack))
            }
            (Messenger::Telegram, Form::Html(html)) => Some(TelegramContent::own(html, own).map(Self::Telegram)),
            _ => None,
        }
    }

    /// An admin's own form, for which the common one can stand.
    pub fn is_own(&self) -> bool {
        match self {
            Self::Slack(content) => !content.own.is_empty(),
            Self::Telegram(content) => content.html,
        }
    }

    pub fn messenger(&self) -> Messenger {
        match self {
            Self::Slack(_) => Messenger::Slack,
            Self::Telegram(_) => Messenger::Telegram,
        }
    }

    /// Text alone, for the second try after the messenger refused the form. Comes after [`Content::late`].
    pub fn plain(&self) -> Self {
        match self {
            Self::Slack(content) => Self::Slack(content.plain()),
            Self::Telegram(content) => Self::Telegram(content.plain()),
        }
    }

    /// With the note as a last line in italics. Of a note, 60 characters are shown.
    pub fn late(self, note: &str) -> Self {
        match self {
            Self::Slack(content) => Self::Slack(content.late(note)),
            Self::Telegram(content) => Self::Telegram(content.late(note)),
        }
    }

    /// As the outbox keeps it.
    pub fn to_json(&self) -> serde_json::Result<String> {
        match self {
            Self::Slack(content) => serde_json::to_string(content),
            Self::Telegram(content) => serde_json::to_string(content),
        }
    }

    /// What [`Content::to_json`] wrote for this messenger.
    pub fn from_json(messenger: Messenger, json: &str) -> serde_json::Result<Self> {
        match messenger {
            Messenger::Slack => serde_json::from_str(json).map(Self::Slack),
            Messenger::Telegram => serde_json::from_str(json).map(Self::Telegram),
        }
    }
}

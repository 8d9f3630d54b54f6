//! Chats, and what the bot may do in them. Source: telegram-bot-api `Client.cpp`, `check_chat_access`, `check_message_topic`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Refused, Telegram};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChatKind {
    Private,
    Group,
    Supergroup,
    Channel,
}

impl ChatKind {
    /// What an id says by itself: supergroups and channels look alike.
    pub fn of(chat: i64) -> Self {
        match chat {
            0.. => Self::Private,
            ..-1_000_000_000_000 => Self::Supergroup,
            _ => Self::Group,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Group => "group",
            Self::Supergroup => "supergroup",
            Self::Channel => "channel",
        }
    }
}

/// How the bot stands in a chat.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChatState {
    #[default]
    Open,
    /// Removed by an administrator; in a private chat: blocked by the user.
    Kicked,
    NotMember,
    /// A private chat whose person never wrote to the bot.
    NeverStarted,
    /// A private chat whose person's account is gone.
    Deactivated,
    /// The other end of a private chat is a bot.
    Bot,
    /// May read but not write.
    Muted,
    /// The group was deleted.
    Deleted,
    /// The group lives on as this supergroup.
    Upgraded {
        to: i64,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    Open,
    Closed,
    Deleted,
}

#[derive(Clone, Debug)]
pub struct TelegramChat {
    pub kind: ChatKind,
    pub title: String,
    /// Without the @.
    pub username: Option<String>,
    /// The forum's topics by `message_thread_id`; `None`: no forum. General, 1, is never among them.
    pub topics: Option<BTreeMap<i64, Topic>>,
    pub state: ChatState,
}

impl TelegramChat {
    pub fn new(kind: ChatKind, title: impl Into<String>) -> Self {
        Self { kind, title: title.into(), username: None, topics: None, state: ChatState::Open }
    }

    pub fn forum(title: impl Into<String>, topics: impl IntoIterator<Item = (i64, Topic)>) -> Self {
        Self { topics: Some(topics.into_iter().collect()), ..Self::new(ChatKind::Supergroup, title) }
    }

    pub fn state(mut self, state: ChatState) -> Self {
        self.state = state;
        self
    }

    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.username = Some(name.into());
        self
    }

    /// The `chat` of a message.
    pub(super) fn short(&self, id: i64) -> Value {
        let mut chat = json!({"id": id, "type": self.kind.as_str()});
        chat[if self.kind == ChatKind::Private { "first_name" } else { "title" }] = self.title.as_str().into();
        if let Some(name) = &self.username {
            chat["username"] = name.as_str().into();
        }
        if self.topics.is_some() {
            chat["is_forum"] = true.into();
        }
        chat
    }

    /// Whether the bot may be here at all.
    pub(super) fn enter(&self) -> Result<(), Refused> {
        let kind = self.kind.as_str();
        let private = self.kind == ChatKind::Private;
        Err(match self.state {
            ChatState::Open | ChatState::Muted => return Ok(()),
            ChatState::Kicked if private => Refused::new("Forbidden: bot was blocked by the user"),
            ChatState::Kicked => Refused::new(format!("Forbidden: bot was kicked from the {kind} chat")),
            ChatState::NotMember => Refused::new(format!("Forbidden: bot is not a member of the {kind} chat")),
            ChatState::NeverStarted => Refused::new("Forbidden: bot can't initiate conversation with a user"),
            ChatState::Deactivated => Refused::new("Forbidden: user is deactivated"),
            ChatState::Bot => Refused::new("Forbidden: bot can't send messages to bots"),
            ChatState::Deleted => Refused::new("Forbidden: the group chat was deleted"),
            ChatState::Upgraded { to } => Refused::moved(to),
        })
    }

    /// Whether the bot may write here.
    pub(super) fn write(&self) -> Result<(), Refused> {
        self.enter()?;
        match (self.state, self.kind) {
            (ChatState::Muted, ChatKind::Channel) => Err(Refused::bad("need administrator rights in the channel chat")),
            (ChatState::Muted, _) => Err(Refused::bad("not enough rights to send text messages to the chat")),
            _ => Ok(()),
        }
    }

    /// Whether the bot may write in this topic.
    pub(super) fn write_in(&self, topic: i64) -> Result<(), Refused> {
        match self.topics.as_ref().and_then(|topics| topics.get(&topic)) {
            Some(Topic::Open) => Ok(()),
            Some(Topic::Closed) => Err(Refused::bad("TOPIC_CLOSED")),
            Some(Topic::Deleted) => Err(Refused::bad("TOPIC_DELETED")),
            None => Err(Refused::bad("message thread not found")),
        }
    }
}

impl Telegram {
    /// The chat named by an id, by digits in a string, or by `@name`; with `topic` added where any topic exists.
    pub(super) fn chat(&self, given: Option<String>, topic: Option<i64>) -> Result<(i64, TelegramChat), Refused> {
        let given = given.filter(|given| !given.is_empty()).ok_or_else(|| Refused::bad("chat_id is empty"))?;
        let unknown = || Refused::bad("chat not found");
        if let Some(name) = given.strip_prefix('@') {
            let named =
                |chat: &TelegramChat| chat.username.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
            let mut chats = self.options.chats.iter();
            let public = chats.find(|(_, chat)| chat.kind != ChatKind::Private && named(chat));
            return public.map(|(id, chat)| (*id, chat.clone())).ok_or_else(unknown);
        }
        let id: i64 = given.parse().map_err(|_| unknown())?;
        if let Some(chat) = self.options.chats.get(&id) {
            return Ok((id, chat.clone()));
        }
        if self.options.only_known || id == 0 || id.unsigned_abs() >> 52 != 0 {
            return Err(unknown());
        }
        let mut chat = TelegramChat::new(ChatKind::of(id), format!("Chat {id}"));
        if chat.kind == ChatKind::Supergroup {
            let exists = topic.filter(|topic| *topic > 1).map(|topic| (topic, Topic::Open));
            chat.topics = Some(exists.into_iter().collect());
        }
        Ok((id, chat))
    }
}

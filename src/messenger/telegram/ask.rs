//! What Telegram is asked before anything is sent: whose token it is, what a chat is, and how the bot stands in it. Nothing
//! is changed by it. Source: core.telegram.org/bots/api, "getMe", "getChat", "getChatMember"; M 3.8 and 8.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use teloxide::payloads::{GetChat, GetChatMember, GetMe};
use teloxide::requests::Payload;
use teloxide::types::{ChatId, UserId};

use super::client::Client;
use super::error::result;
use crate::delivery::SendError;
use crate::transport::reply::lenient;

/// Whose the token is.
#[derive(Clone, Debug, Deserialize)]
pub struct Bot {
    pub id: u64,
    /// Without the @.
    #[serde(default, deserialize_with = "lenient")]
    pub username: Option<String>,
}

/// A chat, as the bot sees it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Chat {
    /// `private`, `group`, `supergroup` or `channel`.
    #[serde(default, deserialize_with = "lenient", rename = "type")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub is_forum: Option<bool>,
    /// What members who are no administrators may do.
    #[serde(default, deserialize_with = "lenient")]
    pub permissions: Option<Permissions>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Permissions {
    #[serde(default, deserialize_with = "lenient")]
    pub can_send_messages: Option<bool>,
}

/// How the bot stands in a chat.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Member {
    /// `creator`, `administrator`, `member`, `restricted`, `left` or `kicked`.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<String>,
    /// Of an administrator of a channel.
    #[serde(default, deserialize_with = "lenient")]
    pub can_post_messages: Option<bool>,
    /// Of a restricted member.
    #[serde(default, deserialize_with = "lenient")]
    pub can_send_messages: Option<bool>,
}

impl Client {
    /// # Errors
    /// Telegram's refusal, or that there was no answer.
    pub async fn bot(&self) -> Result<Bot, SendError> {
        self.ask(&GetMe::new()).await
    }

    /// # Errors
    /// Telegram's refusal, or that there was no answer.
    pub async fn chat(&self, id: i64) -> Result<Chat, SendError> {
        self.ask(&GetChat::new(ChatId(id))).await
    }

    /// `bot`: [`Bot::id`].
    ///
    /// # Errors
    /// Telegram's refusal, or that there was no answer.
    pub async fn member(&self, chat: i64, bot: u64) -> Result<Member, SendError> {
        self.ask(&GetChatMember::new(ChatId(chat), UserId(bot))).await
    }

    async fn ask<P, T>(&self, question: &P) -> Result<T, SendError>
    where
        P: Payload + serde::Serialize,
        T: DeserializeOwned,
    {
        let unsent = |why: String| SendError::Refused { code: format!("not sent: {why}") };
        let json = serde_json::to_vec(question).map_err(|error| unsent(error.to_string()))?;
        let uri = self.method(P::NAME).map_err(|error| unsent(error.to_string()))?;
        let reply = self.transport.post(uri, None, json).await?;
        result(&reply, &self.secrets)
    }
}

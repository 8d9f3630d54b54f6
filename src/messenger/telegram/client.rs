//! Posts to Telegram: teloxide's payloads, which serialize by themselves, over our transport. teloxide's own client
//! sleeps ten seconds inside the call after each 5xx, and loses the status and `Retry-After` of what is no JSON.

use http::Uri;
use secrecy::{ExposeSecret, SecretString};
use teloxide::payloads::{SendMessage, SendMessageSetters};
use teloxide::requests::Payload;
use teloxide::types::{
    ChatId, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageId, ParseMode, Recipient,
    ReplyParameters, ThreadId,
};

use super::error::receipt;
use super::format::TelegramContent;
use crate::delivery::{Receipt, SendError};
use crate::transport::reply::Secrets;
use crate::transport::{AddressError, Transport, join};

/// A forum's first topic. Clients know it by this id; a message that names it is refused.
/// Source: telegram-bot-api `Client.cpp`, `check_message_topic`.
const GENERAL_TOPIC: i32 = 1;

/// Buttons beside each other: on a phone more of them show no text.
const IN_A_ROW: usize = 2;

/// The account of one bot. All its methods are cancel safe in that nothing breaks; a dropped post may have arrived.
pub struct Client {
    pub(super) transport: Transport,
    api_url: String,
    token: SecretString,
    send_message: Uri,
    pub(super) secrets: Secrets,
}

impl Client {
    pub fn new(transport: Transport, api_url: &str, token: &SecretString) -> Result<Self, AddressError> {
        let whole = token.clone();
        let token = token.expose_secret();
        // It becomes a part of the path: a `/` or `?` would lead to another address.
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
        if token.is_empty() || !token.bytes().all(fits) {
            return Err(AddressError::Token);
        }
        let send_message = join(api_url, &format!("bot{token}/{}", SendMessage::NAME))?;
        // The half after the colon is what must stay secret, and a page that quotes the address may escape the colon.
        let secrets = Secrets::new([token].into_iter().chain(token.split_once(':').map(|(_, secret)| secret)));
        Ok(Self { transport, api_url: api_url.to_owned(), token: whole, send_message, secrets })
    }

    /// Where a method is called.
    pub(super) fn method(&self, name: &str) -> Result<Uri, AddressError> {
        join(&self.api_url, &format!("bot{}/{name}", self.token.expose_secret()))
    }

    /// Calls `sendMessage`.
    pub async fn post(&self, message: &SendMessage) -> Result<Receipt, SendError> {
        let json =
            serde_json::to_vec(message).map_err(|error| SendError::Refused { code: format!("not sent: {error}") })?;
        let reply = self.transport.post(self.send_message.clone(), None, json).await?;
        let asked = match message.chat_id {
            Recipient::Id(ChatId(chat)) => Some(chat),
            Recipient::ChannelUsername(_) => None,
        };
        let reply_to = message.reply_parameters.as_ref().map(|parent| i64::from(parent.message_id.0));
        receipt(&reply, asked, reply_to, &self.secrets)
    }
}

/// One message to one chat or topic, ready to be sent as often as it takes. Entities and no parse mode, so that nothing in
/// the text is markup, but for an admin's own HTML.
pub fn message(chat: i64, topic: Option<i32>, content: TelegramContent) -> SendMessage {
    let preview = LinkPreviewOptions {
        is_disabled: !content.unfurl,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    };
    let mut message = SendMessage::new(ChatId(chat), content.text).link_preview_options(preview);
    message.parse_mode = content.html.then_some(ParseMode::Html);
    message.entities = (!content.html).then_some(content.entities);
    message.disable_notification = content.silent.then_some(true);
    if !content.buttons.is_empty() {
        let buttons: Vec<_> =
            content.buttons.into_iter().map(|(text, url)| InlineKeyboardButton::url(text, url)).collect();
        message = message.reply_markup(InlineKeyboardMarkup::new(buttons.chunks(IN_A_ROW).map(<[_]>::to_vec)));
    }
    match topic {
        None | Some(GENERAL_TOPIC) => message,
        Some(topic) => message.message_thread_id(ThreadId(MessageId(topic))),
    }
}

/// As a reply. Not `allow_sending_without_reply`: that the parent is gone must be known, or later messages would be sent
/// to it as well.
pub fn reply_to(parent: i32, message: SendMessage) -> SendMessage {
    message.reply_parameters(ReplyParameters::new(MessageId(parent)))
}

#[cfg(test)]
mod tests;

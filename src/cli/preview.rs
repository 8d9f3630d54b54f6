//! What would be sent: the very bodies that the senders make.

use serde_json::Value;

use crate::config::{Channel, Config, Conversation};
use crate::delivery::{DeliveryId, Messenger};
use crate::event::Document;
use crate::lane::{Composer, Failure};
use crate::messenger::Content;
use crate::messenger::slack::client::{Post, WebhookPost};
use crate::messenger::telegram::client::message;

/// Stands in the metadata where a real message names its delivery.
const NO_DELIVERY: DeliveryId = DeliveryId(0);

/// A message as it would go to one channel.
pub struct Preview {
    pub channel: String,
    pub messenger: Messenger,
    /// Of `chat.postMessage` or `sendMessage`, one for each part.
    pub bodies: Vec<Value>,
    /// Why these are not what the template was written for.
    pub failure: Option<Failure>,
}

/// Where a message would go: a channel of the configuration, or a made-up one of a messenger that has none.
pub struct Place<'a> {
    name: &'a str,
    conversation: Conversation,
}

impl<'a> Place<'a> {
    pub fn of(channel: &'a Channel) -> Self {
        Self { name: channel.name.as_str(), conversation: channel.conversation.clone() }
    }

    /// The messenger's first channel, conversations before incoming webhooks.
    pub fn first(config: &'a Config, messenger: Messenger) -> Self {
        let is_webhook = |channel: &&Channel| matches!(channel.conversation, Conversation::SlackWebhook { .. });
        let channels = config.channels.iter().filter(|channel| channel.conversation.messenger() == messenger);
        channels.min_by_key(is_webhook).map(Self::of).unwrap_or(Self {
            name: "no-channel-yet",
            conversation: match messenger {
                Messenger::Slack => Conversation::Slack { id: "C0000000000".into() },
                Messenger::Telegram => Conversation::Telegram { chat: -1_000_000_000_000, topic: None },
            },
        })
    }
}

impl Preview {
    /// # Errors
    /// Only what cannot be JSON.
    pub fn new(
        place: &Place<'_>,
        template: &str,
        document: &Document<'_>,
        composer: &Composer,
    ) -> serde_json::Result<Self> {
        let messenger = place.conversation.messenger();
        let (contents, failure) = composer.compose(template, document, place.name, messenger, true);
        let bodies = (0..).zip(contents).map(|(part, content)| body(&place.conversation, content, part));
        Ok(Self { channel: place.name.to_owned(), messenger, bodies: bodies.collect::<Result<_, _>>()?, failure })
    }

    /// The words of all parts, and where their buttons lead.
    pub fn text(&self) -> String {
        let words = match self.messenger {
            Messenger::Slack => slack_words,
            Messenger::Telegram => telegram_words,
        };
        self.bodies.iter().map(words).collect::<Vec<_>>().join("\n\n")
    }
}

/// Of an admin's own blocks, what they show: the body's text is a notification's then. Slack's texts are escaped.
fn slack_words(body: &Value) -> String {
    let blocks = body["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    match blocks.iter().all(|block| block["type"] == "rich_text") {
        true => lines.extend(body["text"].as_str()),
        false => blocks.iter().for_each(|block| collect(block, &mut lines)),
    }
    lines.join("\n").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// What is read in a block, and where it leads.
fn collect<'v>(value: &'v Value, lines: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, lines)),
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if matches!(name.as_str(), "text" | "alt_text" | "url" | "image_url") => {
                        lines.push(text)
                    }
                    _ => collect(member, lines),
                }
            }
        }
        _ => {}
    }
}

fn telegram_words(body: &Value) -> String {
    let rows = body["reply_markup"]["inline_keyboard"].as_array().into_iter().flatten();
    let buttons = rows.flat_map(|row| row.as_array().into_iter().flatten());
    let member = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let buttons = buttons.map(|button| format!("\n[{}] {}", member(button, "text"), member(button, "url")));
    member(body, "text") + &buttons.collect::<String>()
}

fn body(conversation: &Conversation, content: Content, part: u32) -> serde_json::Result<Value> {
    match (conversation, content) {
        (Conversation::Slack { id }, Content::Slack(content)) => {
            serde_json::to_value(Post::new(id, content, NO_DELIVERY, part))
        }
        (Conversation::SlackWebhook { .. }, Content::Slack(content)) => serde_json::to_value(WebhookPost::new(content)),
        (Conversation::Telegram { chat, topic }, Content::Telegram(content)) => {
            serde_json::to_value(message(*chat, *topic, content))
        }
        _ => Ok(Value::Null),
    }
}

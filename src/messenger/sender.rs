//! The way of a message to one messenger, through the tower stack.

use std::sync::Arc;

use teloxide::payloads::SendMessage;

use super::slack::client::{Post, WebhookPost, WebhookUrl};
use super::{Content, slack, telegram};
use crate::delivery::{DeliveryId, Messenger, Receipt, SendError};
use crate::layers::lease::{LeaseCheck, Leased};
use crate::layers::stack::{Limits, Stack, Watched, stack};

pub type Sender = Stack<Call, Receipt>;

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Target {
    Slack { channel: String },
    SlackWebhook { url: WebhookUrl },
    Telegram { chat: i64, topic: Option<i32> },
}

impl Target {
    pub fn messenger(&self) -> Messenger {
        match self {
            Self::Slack { .. } | Self::SlackWebhook { .. } => Messenger::Slack,
            Self::Telegram { .. } => Messenger::Telegram,
        }
    }
}

/// One message (or one part of one) to be placed. Cheap to clone.
#[derive(Clone)]
pub struct Call {
    pub lease: LeaseCheck,
    pub delivery: DeliveryId,
    /// From 0.
    pub part: u32,
    request: Arc<Request>,
}

/// What goes over the wire, made once for all tries.
enum Request {
    Slack(Post),
    SlackWebhook(WebhookUrl, WebhookPost),
    Telegram(SendMessage),
}

impl Call {
    /// `parent`: what to reply to. One that stands in another conversation than the target (the chat has moved) is not
    /// replied to.
    ///
    /// # Errors
    /// [`SendError::Refused`] when the content was made for another messenger than the target's.
    pub fn new(
        lease: LeaseCheck,
        target: &Target,
        parent: Option<&Receipt>,
        content: Content,
        delivery: DeliveryId,
        part: u32,
    ) -> Result<Self, SendError> {
        let request = match (target, content) {
            (Target::Slack { channel }, Content::Slack(content)) => {
                let post = Post::new(channel, content, delivery, part);
                Request::Slack(match parent {
                    Some(Receipt::Slack { ts, .. }) => post.reply_to(ts.clone()),
                    _ => post,
                })
            }
            (Target::SlackWebhook { url }, Content::Slack(content)) => {
                Request::SlackWebhook(url.clone(), WebhookPost::new(content))
            }
            (Target::Telegram { chat, topic }, Content::Telegram(content)) => {
                let parent = match parent {
                    Some(Receipt::Telegram { chat: of, message, .. }) if of == chat => i32::try_from(*message).ok(),
                    _ => None,
                };
                let message = telegram::client::message(*chat, *topic, content);
                Request::Telegram(match parent {
                    Some(parent) => telegram::client::reply_to(parent, message),
                    None => message,
                })
            }
            _ => return Err(misdirected()),
        };
        Ok(Self { lease, delivery, part, request: Arc::new(request) })
    }
}

fn misdirected() -> SendError {
    SendError::Refused { code: "made for another messenger".into() }
}

impl Leased for Call {
    fn is_leased(&self) -> bool {
        (self.lease)()
    }
}

/// Makes one attempt to place a message.
pub trait Client: Send + Sync + 'static {
    fn send(&self, call: &Call) -> impl Future<Output = Result<Receipt, SendError>> + Send;
}

impl Client for slack::client::Client {
    async fn send(&self, call: &Call) -> Result<Receipt, SendError> {
        match &*call.request {
            Request::Slack(post) => self.post(post).await,
            Request::SlackWebhook(url, post) => self.post_webhook(url, post).await,
            Request::Telegram(_) => Err(misdirected()),
        }
    }
}

impl Client for telegram::client::Client {
    async fn send(&self, call: &Call) -> Result<Receipt, SendError> {
        match &*call.request {
            Request::Telegram(message) => self.post(message).await,
            Request::Slack(_) | Request::SlackWebhook(..) => Err(misdirected()),
        }
    }
}

/// The way of a message to one messenger through one account.
pub fn sender<C: Client>(client: C, limits: &Limits, watched: Watched) -> Sender {
    let client = Arc::new(client);
    let send = move |call: Call| {
        let client = client.clone();
        async move { client.send(&call).await }
    };
    stack(send, limits, watched)
}

#[cfg(test)]
mod tests;

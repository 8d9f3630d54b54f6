//! The way of a message to one messenger, as one tower stack.

use std::sync::Arc;
use std::time::Duration;

use teloxide::payloads::SendMessage;
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, service_fn};

use super::slack::client::{Post, WebhookPost, WebhookUrl};
use super::{Content, slack, telegram};
use crate::clock::Clock;
use crate::delivery::{DeliveryId, Messenger, Receipt, SendError};
use crate::layers::breaker::{Breaker, BreakerLayer};
use crate::layers::lease::{LeaseLayer, Leased};
use crate::layers::observe::{ObserveLayer, Observer};
use crate::layers::retry::QuickRetry;
use crate::layers::timeout::AttemptTimeoutLayer;

/// Cheap to clone. Use one clone for one call: `sender.clone().oneshot(call)`.
pub type Sender = BoxCloneSyncService<Call, Receipt, SendError>;

/// Whether the lane's lease is still ours. Asked right before each try.
pub type LeaseCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Target {
    Slack { channel: String },
    SlackWebhook { url: WebhookUrl },
    Telegram { chat: i64, topic: Option<i32> },
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

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts at the same time.
    pub width: usize,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// Begins the row of the retries' jitters.
    pub seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { width: 256, attempt: Duration::from_secs(10), seed: 0 }
    }
}

/// The way of a message to one messenger through one account, outermost layer first.
pub fn sender<C: Client>(
    messenger: Messenger,
    client: C,
    limits: &Limits,
    breaker: &Breaker,
    observer: Arc<dyn Observer>,
    clock: &Clock,
) -> Sender {
    let client = Arc::new(client);
    ServiceBuilder::new()
        .layer(BoxCloneSyncService::layer()) // one named type, so that no signature outgrows the screen
        .layer(RetryLayer::new(QuickRetry::new(clock.clone(), limits.seed))) // only what provably did not arrive
        .layer(ObserveLayer::new(messenger, observer, clock.clone())) // inside the retry: sees each try
        .layer(BreakerLayer::new(breaker.clone())) // outside the limit: a refusal waits for no permit
        .layer(ConcurrencyLimitLayer::new(limits.width)) // what hangs holds no more than this
        .layer(LeaseLayer) // after every wait of ours, right before the call
        .layer(AttemptTimeoutLayer::new(limits.attempt, clock.clone())) // no answer in time is unclear, not unreached
        .service(service_fn(move |call: Call| {
            let client = client.clone();
            async move { client.send(&call).await }
        }))
}

#[cfg(test)]
mod tests;

//! Posts to Slack by slack-morphism's types and client, over our connector.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use slack_morphism::api::{
    SlackApiChatPostMessageRequest, SlackApiPostWebhookMessageRequest, SlackApiPostWebhookMessageResponse,
};
use slack_morphism::prelude::SlackBlock;
use slack_morphism::{
    SlackApiToken, SlackApiTokenValue, SlackChannelId, SlackClient, SlackClientApiCallContext,
    SlackClientHttpConnector, SlackMessageContent, SlackMessageMetadata, SlackTs,
};
use url::Url;

use super::connector::{Connector, POST_MESSAGE};
use super::error::{Answer, no_token, of_api, of_webhook};
use super::format::SlackContent;
use crate::delivery::{DeliveryId, Receipt, SendError};
use crate::transport::reply::Secrets;
use crate::transport::{AddressError, Transport, checked};

/// The account of one bot token, and the way to incoming webhooks. All its methods are cancel safe in that nothing
/// breaks; a dropped post may have arrived.
pub struct Client {
    pub(super) slack: SlackClient<Connector>,
    pub(super) token: Option<SlackApiToken>,
    pub(super) secrets: Secrets,
}

impl Client {
    /// Without a token only webhooks can be posted to.
    pub fn new(transport: Transport, api_url: &str, token: Option<&SecretString>) -> Result<Self, AddressError> {
        let token = token.map(ExposeSecret::expose_secret);
        if token.is_some_and(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(AddressError::Token);
        }
        Ok(Self {
            slack: SlackClient::new(Connector::new(transport, api_url)?),
            token: token.map(|token| SlackApiToken::new(SlackApiTokenValue(token.to_owned()))),
            secrets: Secrets::new(token),
        })
    }

    /// Calls `chat.postMessage`.
    pub async fn post(&self, post: &Post) -> Result<Receipt, SendError> {
        let Some(token) = &self.token else {
            return Err(no_token());
        };
        let session = self.slack.open_session(token);
        match session.http_session_api.http_post::<_, Answer>(POST_MESSAGE, post, None).await {
            Ok(answer) => {
                let thread = post.request.thread_ts.as_ref().map(|ts| ts.0.as_str());
                answer.receipt(&post.request.channel.0, thread, &self.secrets)
            }
            Err(error) => Err(of_api(error, &self.secrets)),
        }
    }

    /// Posts to an incoming webhook, which never names what it took.
    pub async fn post_webhook(&self, url: &WebhookUrl, post: &WebhookPost) -> Result<Receipt, SendError> {
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &tracing::Span::none(),
            is_sensitive_url: true,
        };
        let connector = &self.slack.http_api.connector;
        let answer =
            connector.http_post_uri::<_, SlackApiPostWebhookMessageResponse>(url.0.as_ref().clone(), post, context);
        match answer.await {
            Ok(_) => Ok(Receipt::Unnumbered),
            Err(error) => Err(of_webhook(error, &url.secrets())),
        }
    }
}

/// One message to one conversation, ready to be sent as often as it takes.
#[derive(Debug, PartialEq, Serialize)]
pub struct Post {
    #[serde(flatten)]
    request: SlackApiChatPostMessageRequest,
    /// False: the text of the fallback is text, whatever `*` and `_` are in it. The crate does not know this member.
    mrkdwn: bool,
}

impl Post {
    /// The delivery stands in the message's metadata, by which it can be found when its answer was lost; parts after
    /// the first are told apart by `part`.
    pub fn new(channel: &str, content: SlackContent, delivery: DeliveryId, part: u32) -> Self {
        let mut payload = HashMap::from([("delivery_id".to_owned(), delivery.to_string())]);
        if part > 0 {
            payload.insert("part".to_owned(), part.to_string());
        }
        let metadata = SlackMessageMetadata::new("campanile_delivery".into()).with_event_payload(payload);
        let unfurl = content.unfurl;
        let content = whole(content).with_metadata(metadata);
        let request = SlackApiChatPostMessageRequest::new(SlackChannelId(channel.to_owned()), content)
            .with_unfurl_links(unfurl)
            .with_unfurl_media(unfurl);
        Self { request, mrkdwn: false }
    }

    /// In the thread of the message that has this `ts`.
    pub fn reply_to(self, ts: String) -> Self {
        Self { request: self.request.with_thread_ts(SlackTs(ts)), ..self }
    }
}

/// One message to an incoming webhook.
#[derive(Debug, PartialEq, Serialize)]
pub struct WebhookPost {
    #[serde(flatten)]
    request: SlackApiPostWebhookMessageRequest,
    mrkdwn: bool,
    unfurl_links: bool,
    unfurl_media: bool,
}

impl WebhookPost {
    pub fn new(content: SlackContent) -> Self {
        let unfurl = content.unfurl;
        let request = SlackApiPostWebhookMessageRequest::new(whole(content));
        Self { request, mrkdwn: false, unfurl_links: unfurl, unfurl_media: unfurl }
    }
}

/// With an admin's own blocks as they were written.
fn whole(content: SlackContent) -> SlackMessageContent {
    let SlackContent { message, own, .. } = content;
    match own.is_empty() {
        true => message,
        false => message.with_blocks(own.into_iter().map(SlackBlock::Unknown).collect()),
    }
}

/// The address of an incoming webhook, which is its secret. Cheap to clone; shows only where it is.
#[derive(Clone)]
pub struct WebhookUrl(Arc<Url>);

impl WebhookUrl {
    pub fn parse(url: &SecretString) -> Result<Self, AddressError> {
        let url = url.expose_secret();
        checked(url).and_then(|_| Url::parse(url).ok()).map(|url| Self(Arc::new(url))).ok_or(AddressError::Webhook)
    }

    /// The last part of the path is what nobody can guess.
    fn secrets(&self) -> Secrets {
        let last = self.0.path_segments().and_then(|mut parts| parts.next_back());
        Secrets::new([self.0.path()].into_iter().chain(last))
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}://{}/[secret])", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;

//! slack-morphism over our transport. Its own connector waits for ever, throws away what is not labelled JSON, and
//! takes a captive portal's page for a webhook's `ok`.

use std::pin::Pin;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slack_morphism::errors::{
    SlackClientError, SlackClientHttpError, SlackClientHttpProtocolError, SlackClientProtocolError,
    SlackClientSystemError, SlackRateLimitError,
};
use slack_morphism::multipart_form::FileMultipartData;
use slack_morphism::{
    ClientResult, SlackApiToken, SlackClientApiCallContext, SlackClientHttpConnector, SlackClientId, SlackClientSecret,
};
use url::{Url, form_urlencoded};

use crate::delivery::BoxError;
use crate::transport::reply;
use crate::transport::{AddressError, Reply, Request, Transport, TransportError, join};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// So much of an answer is kept for the error table, in bytes: enough for each error object that Slack sends.
const BODY_KEPT: usize = 64 << 10;

pub(super) const POST_MESSAGE: &str = "chat.postMessage";

/// What a call comes back as:
///
/// | answer | result |
/// |---|---|
/// | 2xx with a JSON object | the object, `ok` or not |
/// | 2xx with anything else | `ProtocolError` with the body |
/// | 2xx `ok` of a webhook | `{}`; any other text `HttpError` with the body |
/// | 429, or a rate-limit code beside a `Retry-After` | `RateLimitError` |
/// | any other status | `HttpError` with the body |
/// | none | `HttpProtocolError` with our `TransportError` as its cause |
/// | never sent, by our own mistake | `SystemError` |
pub(super) struct Connector {
    transport: Transport,
    api_url: String,
    post_message: Uri,
}

impl Connector {
    pub(super) fn new(transport: Transport, api_url: &str) -> Result<Self, AddressError> {
        Ok(Self { transport, post_message: join(api_url, POST_MESSAGE)?, api_url: api_url.to_owned() })
    }

    fn post<'a, RS: DeserializeOwned>(
        &'a self,
        uri: ClientResult<Uri>,
        json: serde_json::Result<Vec<u8>>,
        context: SlackClientApiCallContext<'a>,
    ) -> BoxFuture<'a, ClientResult<RS>> {
        Box::pin(async move {
            let json = json.map_err(unsent)?;
            let authorization = context.token.map(bearer).transpose()?;
            match self.transport.post(uri?, authorization, json).await {
                Ok(reply) => read(&reply, context.is_sensitive_url),
                Err(error) => Err(unreplied(error)),
            }
        })
    }

    /// Asks a method that changes nothing. What it comes back as says [`read`].
    pub(super) async fn ask(
        &self,
        method: &str,
        arguments: &[(&str, &str)],
        token: &SlackApiToken,
    ) -> ClientResult<Reply> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(arguments).finish();
        let uri = join(&self.api_url, &format!("{method}?{query}")).map_err(unsent)?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer(token)?)]);
        let request = Request { method: Method::GET, uri, headers, body: Vec::new() };
        self.transport.call(request).await.map_err(unreplied)
    }
}

fn unreplied(error: TransportError) -> SlackClientError {
    SlackClientError::HttpProtocolError(SlackClientHttpProtocolError::new().with_cause(error.into()))
}

fn bearer(token: &SlackApiToken) -> ClientResult<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.token_value.0)).map_err(unsent)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn read<RS: DeserializeOwned>(reply: &Reply, is_webhook: bool) -> ClientResult<RS> {
    let body = || reply::head(&String::from_utf8_lossy(&reply.body), BODY_KEPT).to_owned();
    if let Some(limit) = rate_limit(reply) {
        return Err(SlackClientError::RateLimitError(limit.with_http_response_body(body())));
    }
    let read = match (reply.status.is_success(), is_webhook) {
        (true, false) => reply::object(&reply.body),
        (true, true) if reply.body.trim_ascii() == b"ok" => reply::object(b"{}"),
        _ => {
            let error = SlackClientHttpError::new(reply.status).with_http_response_body(body());
            return Err(SlackClientError::HttpError(error));
        }
    };
    read.map_err(|error| SlackClientError::ProtocolError(SlackClientProtocolError::new(error).with_json_body(body())))
}

/// Slack's 429 may have any body; its code under another status is one too when a wait is named.
fn rate_limit(reply: &Reply) -> Option<SlackRateLimitError> {
    #[derive(Deserialize)]
    struct Code {
        #[serde(default, deserialize_with = "reply::lenient")]
        error: Option<String>,
    }
    let wait = reply::retry_after(&reply.headers);
    let too_many = reply.status == StatusCode::TOO_MANY_REQUESTS;
    if wait.is_none() && !too_many {
        return None;
    }
    let code = reply::object::<Code>(&reply.body).ok().and_then(|code| code.error);
    let named = matches!(code.as_deref(), Some("ratelimited" | "rate_limited"));
    (too_many || named).then(|| SlackRateLimitError::new().opt_retry_after(wait).opt_code(code))
}

fn unsent(cause: impl Into<BoxError>) -> SlackClientError {
    SlackClientError::SystemError(SlackClientSystemError::new().with_cause(cause.into()))
}

fn unused<'a, T: Send + 'a>() -> BoxFuture<'a, ClientResult<T>> {
    Box::pin(std::future::ready(Err(unsent("Campanile calls Slack by POST of JSON alone"))))
}

impl SlackClientHttpConnector for Connector {
    fn http_post<'a, RQ, RS>(
        &'a self,
        method_relative_uri: &str,
        request: &'a RQ,
        context: SlackClientApiCallContext<'a>,
    ) -> BoxFuture<'a, ClientResult<RS>>
    where
        RQ: Serialize + Send + Sync,
        RS: for<'de> Deserialize<'de> + Send + 'a,
    {
        let uri = match method_relative_uri {
            POST_MESSAGE => Ok(self.post_message.clone()),
            method => join(&self.api_url, method).map_err(unsent),
        };
        self.post(uri, serde_json::to_vec(request), context)
    }

    fn http_post_uri<'a, RQ, RS>(
        &'a self,
        full_uri: Url,
        request_body: &'a RQ,
        context: SlackClientApiCallContext<'a>,
    ) -> BoxFuture<'a, ClientResult<RS>>
    where
        RQ: Serialize + Send + Sync,
        RS: for<'de> Deserialize<'de> + Send + 'a,
    {
        let uri = Uri::try_from(full_uri.as_str()).map_err(unsent);
        self.post(uri, serde_json::to_vec(request_body), context)
    }

    fn create_method_uri_path(&self, method_relative_uri: &str) -> ClientResult<Url> {
        let uri = join(&self.api_url, method_relative_uri).map_err(unsent)?;
        Url::parse(&uri.to_string()).map_err(unsent)
    }

    fn http_get_uri<'a, RS>(&'a self, _: Url, _: SlackClientApiCallContext<'a>) -> BoxFuture<'a, ClientResult<RS>>
    where
        RS: for<'de> Deserialize<'de> + Send + 'a,
    {
        unused()
    }

    fn http_get_with_client_secret<'a, RS>(
        &'a self,
        _: Url,
        _: &'a SlackClientId,
        _: &'a SlackClientSecret,
    ) -> BoxFuture<'a, ClientResult<RS>>
    where
        RS: for<'de> Deserialize<'de> + Send + 'a,
    {
        unused()
    }

    fn http_post_uri_multipart_form<'a, 'p, RS, PT, TS>(
        &'a self,
        _: Url,
        _: Option<FileMultipartData<'p>>,
        _: &'p PT,
        _: SlackClientApiCallContext<'a>,
    ) -> BoxFuture<'a, ClientResult<RS>>
    where
        RS: for<'de> Deserialize<'de> + Send + 'a,
        PT: IntoIterator<Item = (&'p str, Option<TS>)> + Clone,
        TS: AsRef<str> + 'p + Send,
    {
        unused()
    }

    fn http_post_uri_binary<'a, 'p, RS>(
        &'a self,
        _: Url,
        _: String,
        _: &'a [u8],
        _: SlackClientApiCallContext<'a>,
    ) -> BoxFuture<'a, ClientResult<RS>>
    where
        RS: for<'de> Deserialize<'de> + Send + 'a,
    {
        unused()
    }
}

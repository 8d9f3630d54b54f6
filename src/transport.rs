//! The one way out, to the messengers, to Tracker and to code hosts: HTTP/1.1 over a pool of connections.
//!
//! HTTP/1 on purpose: a call that is given up closes its connection, so a dead one is not used again. Over HTTP/2
//! all calls share one connection, and while it is silently dead they all fail until TCP gives up, minutes later.

#[cfg(test)]
pub mod fixture;
pub mod reply;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::clock::Clock;
use crate::delivery::BoxError;
use crate::tls;

/// From the look-up of the name to the end of the TLS handshake.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Answers have a few kilobytes; what is longer is not read.
pub const LONGEST_REPLY: usize = 1 << 20;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
/// More than calls are ever in flight to one host, so that a burst does not end with connections thrown away.
const IDLE_PER_HOST: usize = 512;

/// The content type of a body of JSON.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

const SELF: HeaderValue = HeaderValue::from_static(concat!("campanile/", env!("CARGO_PKG_VERSION")));

/// Why there is no reply. Neither the address nor a header is in it or in what caused it: both hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Surely not sent.
    #[error("no connection")]
    NotConnected(#[source] HyperError),
    /// Nobody can know whether the request arrived.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
    /// The request arrived, and its answer is longer than [`LONGEST_REPLY`].
    #[error("an answer of more than 1 MiB (HTTP {0})")]
    Overlong(StatusCode),
}

/// An address or a token that no call can be made with. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    #[error("`api_url` is no http:// or https:// URL, or has a query")]
    ApiUrl,
    #[error("the webhook's address is no http:// or https:// URL")]
    Webhook,
    #[error("the token is empty or holds a character that no token has")]
    Token,
}

/// What goes out. The client's own name is added to its headers.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Transport {
    client: Client<InTime<HttpsConnector<HttpConnector>>, Full<Bytes>>,
}

impl Transport {
    /// Trusts [`tls::roots`], which are read from disk: once for a process is enough.
    ///
    /// # Errors
    /// Only when the cryptography that this binary was built with offers no protocol version.
    pub fn new(clock: Clock) -> Result<Self, rustls::Error> {
        let tls = tls::config()?.with_root_certificates(tls::roots()).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false); // TLS is laid over it
        tcp.set_connect_timeout(Some(CONNECT_WITHIN)); // shared by a name's addresses, so that a dead first one leaves time
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = https.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new()) // without it idle connections are never closed
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(InTime { connector, clock });
        Ok(Self { client })
    }

    /// Sends one POST of JSON. See [`Transport::call`].
    ///
    /// # Errors
    /// That there is no reply.
    pub async fn post(
        &self,
        uri: Uri,
        authorization: Option<HeaderValue>,
        json: Vec<u8>,
    ) -> Result<Reply, TransportError> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(secret) = authorization {
            headers.insert(AUTHORIZATION, secret);
        }
        self.call(Request { method: Method::POST, uri, headers, body: json }).await
    }

    /// Sends one request. Redirects are not followed. There is no limit of time but for the connection's: that is the
    /// caller's. A dropped call may have arrived.
    ///
    /// # Errors
    /// That there is no reply.
    pub async fn call(&self, request: Request) -> Result<Reply, TransportError> {
        let Request { method, uri, headers, body } = request;
        let mut request = http::Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, SELF);
        // `is_connect` alone proves that not a byte of the request left: hyper reports every other end of a
        // connection in the same way whether or not the server has read the request.
        let (head, body) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) if error.is_connect() => return Err(TransportError::NotConnected(error)),
            Err(error) => return Err(TransportError::Broken(error.into())),
        };
        match Limited::new(body, LONGEST_REPLY).collect().await {
            Ok(body) => Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(TransportError::Overlong(head.status)),
            Err(error) => Err(TransportError::Broken(error)),
        }
    }
}

/// Joins `<base>/<path>`; one trailing slash of `base` is dropped.
pub fn join(base: &str, path: &str) -> Result<Uri, AddressError> {
    let base = base.strip_suffix('/').unwrap_or(base);
    checked(base).ok_or(AddressError::ApiUrl)?;
    Uri::try_from(format!("{base}/{path}")).map_err(|_| AddressError::ApiUrl)
}

/// The address when a call can be made to it: with scheme and host, and nothing after the path.
pub fn checked(address: &str) -> Option<Uri> {
    let uri = Uri::try_from(address).ok()?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && !address.contains(['?', '#']);
    fits.then_some(uri)
}

/// A connector whose whole work, TLS included, ends in time. Hyper counts what it reports as "not connected", where
/// the attempt's own timeout would have to call it unclear.
#[derive(Clone)]
struct InTime<C> {
    connector: C,
    clock: Clock,
}

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Future: Send + 'static, Response: 'static, Error: Into<BoxError> + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connected, time) = (self.connector.call(uri), self.clock.timer(CONNECT_WITHIN));
        Box::pin(async move {
            tokio::select! {
                connected = connected => connected.map_err(Into::into),
                () = time => Err(format!("not connected within {CONNECT_WITHIN:?}").into()),
            }
        })
    }
}

#[cfg(test)]
mod tests;

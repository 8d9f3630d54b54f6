//! A code host's API, which is asked for one thing: the comments of a pull request, when an issue's key stands only there
//! (code-hosts.md, section 11).

mod comments;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

use self::comments::Place;
use crate::delivery::{Scope, SendError};
use crate::event::{Host, Review};
use crate::key::Queues;
use crate::layers::lease::{LeaseCheck, Leased};
use crate::layers::stack::{Limits, Stack, Watched, stack};
use crate::transport::reply::{Secrets, retry_after};
use crate::transport::{AddressError, Reply, Request, Transport, TransportError, checked};

/// So many pages are looked through.
const MOST_PAGES: usize = 10;

/// Cheap to clone.
#[derive(Clone)]
pub struct Client {
    host: Host,
    /// As configured: with the version of the API, as in `https://api.bitbucket.org/2.0`.
    api_url: Url,
    headers: HeaderMap,
    stack: Stack<Ask, Page>,
}

/// One page to be asked for, in the name of a lease.
#[derive(Clone)]
struct Ask {
    lease: LeaseCheck,
    uri: Uri,
    headers: HeaderMap,
}

impl Leased for Ask {
    fn is_leased(&self) -> bool {
        (self.lease)()
    }

    fn changes_nothing(&self) -> bool {
        true
    }
}

/// What came back: nothing but comments, and where they go on.
struct Page {
    headers: HeaderMap,
    body: Value,
}

impl Client {
    /// With a `user` the token is a password.
    ///
    /// # Errors
    /// An address or a token that no call can be made with.
    pub fn new(
        transport: Transport,
        host: Host,
        api_url: &str,
        user: Option<&str>,
        token: &SecretString,
        limits: &Limits,
        watched: Watched,
    ) -> Result<Self, AddressError> {
        let api_url = checked(api_url).and_then(|_| Url::parse(api_url).ok()).ok_or(AddressError::ApiUrl)?;
        let token = token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::Token);
        }
        let (name, value_of) = authorization(host, user, token);
        let mut value = HeaderValue::try_from(&value_of).map_err(|_| AddressError::Token)?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([(name, value)]);
        headers.insert(ACCEPT, HeaderValue::from_static(comments::accepts(host)));
        // As a password it goes out in another form, which a proxy may quote as well.
        let sent = value_of.rsplit(' ').next().unwrap_or_default();
        let secrets = Arc::new(Secrets::new([token, sent]));
        let call = move |ask: Ask| {
            let (transport, secrets) = (transport.clone(), secrets.clone());
            async move {
                let request = Request { method: Method::GET, uri: ask.uri, headers: ask.headers, body: Vec::new() };
                page(transport.call(request).await, &secrets)
            }
        };
        Ok(Self { host, api_url, headers, stack: stack(call, limits, watched) })
    }

    /// The issue keys of the first comment that has any: page by page, the author's before the others' of a page. Empty
    /// when there is none on the first pages. Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// A page was not answered, or nobody with this token may see it.
    pub async fn keys(&self, review: &Review, queues: &Queues, lease: LeaseCheck) -> Result<Vec<String>, SendError> {
        let author = review.author.as_ref().and_then(|author| author.login.as_deref());
        let mut places = comments::places(self.host, review)?.into_iter();
        let mut next = places.next();
        for _ in 0..MOST_PAGES {
            let Some(place) = next.take() else { break };
            let page = self.ask(&place, &lease).await?;
            let keys = comments::keys(self.host, &page.body, author, queues);
            if !keys.is_empty() {
                return Ok(keys);
            }
            next = comments::after(self.host, place, &page).or_else(|| places.next());
        }
        Ok(Vec::new())
    }

    async fn ask(&self, place: &Place, lease: &LeaseCheck) -> Result<Page, SendError> {
        let refused = || SendError::Refused { code: "the pull request has no address in the host's API".into() };
        let uri = Uri::try_from(place.under(&self.api_url).ok_or_else(refused)?.as_str()).map_err(|_| refused())?;
        self.stack.clone().oneshot(Ask { lease: lease.clone(), uri, headers: self.headers.clone() }).await
    }
}

fn authorization(host: Host, user: Option<&str>, token: &str) -> (HeaderName, String) {
    match (host, user) {
        (_, Some(user)) => (AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))),
        (Host::GitLab, None) => (HeaderName::from_static("private-token"), token.to_owned()),
        (Host::Gitea, None) => (AUTHORIZATION, format!("token {token}")),
        (Host::BitbucketCloud | Host::BitbucketServer | Host::GitHub, None) => {
            (AUTHORIZATION, format!("Bearer {token}"))
        }
    }
}

/// What a reply means. A page that was not answered changed nothing, so it may be asked for again.
fn page(reply: Result<Reply, TransportError>, secrets: &Secrets) -> Result<Page, SendError> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error @ TransportError::Overlong(_)) => return Err(SendError::Refused { code: error.to_string() }),
        Err(error) => return Err(SendError::Unreached(error.into())),
    };
    let said = secrets.excerpt(&String::from_utf8_lossy(&reply.body));
    let (status, wait) = (reply.status.as_u16(), retry_after(&reply.headers));
    let code = format!("HTTP {status}: {said}");
    match status {
        200..300 => match serde_json::from_slice(&reply.body) {
            Ok(body) => Ok(Page { headers: reply.headers, body }),
            Err(_) => Err(SendError::Unreached(format!("no JSON in the answer ({code})").into())),
        },
        429 => Err(SendError::Paced { code, wait, scope: Scope::Account }),
        403 if wait.is_some() => Err(SendError::Paced { code, wait, scope: Scope::Account }),
        401 | 403 => Err(SendError::Held {
            code,
            hint: Some("check `fetch_comments.token`: it must be allowed to read pull requests".into()),
            scope: Scope::Account,
        }),
        408 | 500.. => Err(SendError::Unreached(code.into())),
        _ => Err(SendError::Refused { code }),
    }
}

#[cfg(test)]
mod tests;

//! The way to Tracker's API, through the same tower stack as the messages. What can be asked there is `api.rs`.
//! Source: T 4.1 to 4.3.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, HeaderName, LINK};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

use super::error::{Error, judge, refusal, unanswered, unreplied};
use super::issue::list;
use super::known::Known;
use super::token::Token;
use crate::delivery::SendError;
use crate::layers::lease::{LeaseCheck, Leased};
use crate::layers::stack::{Limits, Stack, Watched, stack};
use crate::message::Language;
use crate::transport::{JSON, Reply, Request, Transport, checked, reply};

/// Calls a second that one token makes: Tracker names no number, and none is known to be too many (T 9.11).
pub const PER_SECOND: f64 = 5.0;
/// Calls at the same time.
pub const WIDTH: usize = 8;
/// How long one attempt may take: what Tracker's own client waits (T 4.2).
pub const ATTEMPT: Duration = Duration::from_secs(10);
/// No list is read further.
pub const MOST_PAGES: usize = 20;
/// What Tracker gives when nothing is asked for (T 4.3).
const PER_PAGE: &str = "50";

#[derive(Clone, Debug)]
pub struct Settings {
    /// Without `/v3`.
    pub url: String,
    pub organization: Organization,
    pub token: Arc<Token>,
    /// Of the names that Tracker answers with.
    pub language: Language,
}

/// Tracker wants one of two headers with every call, never both (T 4.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Organization {
    Yandex360(String),
    Cloud(String),
}

impl Organization {
    pub(super) fn header(self) -> Result<(HeaderName, HeaderValue), SettingsError> {
        let (name, id) = match self {
            Self::Yandex360(id) => (HeaderName::from_static("x-org-id"), id),
            Self::Cloud(id) => (HeaderName::from_static("x-cloud-org-id"), id),
        };
        let id = HeaderValue::try_from(id).ok().filter(|id| !id.is_empty()).ok_or(SettingsError::Organization)?;
        Ok((name, id))
    }
}

/// Settings that no call can be made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("`tracker.url` is no http:// or https:// URL, or has a query")]
    Url,
    #[error("the organisation's id is empty or holds a character that no id has")]
    Organization,
}

/// The way to one organisation by one token. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    base: Arc<Url>,
    stack: Stack<Call, Reply>,
    token: Arc<Token>,
    language: Language,
    pub(super) known: Known,
}

/// One request, to be made as often as it takes.
#[derive(Clone)]
struct Call {
    lease: LeaseCheck,
    method: Method,
    uri: Uri,
    language: Language,
    body: Option<Bytes>,
}

impl Leased for Call {
    fn is_leased(&self) -> bool {
        (self.lease)()
    }

    fn changes_nothing(&self) -> bool {
        self.method == Method::GET
    }
}

impl Client {
    /// # Errors
    /// That the address or the organisation's id is none.
    pub fn new(
        transport: Transport,
        settings: Settings,
        known: Known,
        limits: &Limits,
        watched: Watched,
    ) -> Result<Self, SettingsError> {
        let Settings { url, organization, token, language } = settings;
        let base = checked(&url).and_then(|_| Url::parse(&url).ok()).ok_or(SettingsError::Url)?;
        let attempt = Arc::new(Attempt { transport, token: token.clone(), organization: organization.header()? });
        let call = move |call: Call| {
            let attempt = attempt.clone();
            async move { attempt.of(call).await }
        };
        Ok(Self { base: Arc::new(base), stack: stack(call, limits, watched), token, language, known })
    }

    /// In the name of a lease, which each request asks for before it goes.
    pub fn under(&self, lease: LeaseCheck) -> Api {
        Api { client: self.clone(), lease }
    }

    /// For what belongs to no lane: a command, a look at start.
    pub fn free(&self) -> Api {
        self.under(Arc::new(|| true))
    }

    /// The token, to be looked at by whoever waits for a new one.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

/// Makes one attempt.
struct Attempt {
    transport: Transport,
    token: Arc<Token>,
    organization: (HeaderName, HeaderValue),
}

impl Attempt {
    /// Where the token was refused and is another by now, once more: a 401 did nothing.
    async fn of(&self, call: Call) -> Result<Reply, SendError> {
        let used = self.token.authorization();
        let mut reply = self.once(&call, used.clone()).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            // Another call may have read it anew meanwhile: what counts is what this one was made with.
            self.token.read_again();
            let token = self.token.authorization();
            if token != used {
                reply = self.once(&call, token).await?;
            }
        }
        judge(reply, call.changes_nothing(), &self.token.secrets())
    }

    async fn once(&self, call: &Call, authorization: HeaderValue) -> Result<Reply, SendError> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(self.organization.0.clone(), self.organization.1.clone());
        let language = match call.language {
            Language::En => "en",
            Language::Ru => "ru",
        };
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        if call.body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        let body = call.body.as_deref().unwrap_or_default().to_vec();
        let request = Request { method: call.method.clone(), uri: call.uri.clone(), headers, body };
        self.transport.call(request).await.map_err(|error| unreplied(error, call.changes_nothing()))
    }
}

/// Tracker's API in the name of a lease. What it asks for is asked once more when it provably did not arrive (a GET
/// always); every longer wait is the lane's. All its methods are cancel safe in that nothing breaks; a dropped change
/// may have been made. Their errors are Tracker's refusals, or that there was no answer.
#[derive(Clone)]
pub struct Api {
    pub(super) client: Client,
    lease: LeaseCheck,
}

impl Api {
    /// The login of the token's owner, or words for it.
    fn owner(&self) -> String {
        let login = self.client.known.0.login.lock().unwrap_or_else(PoisonError::into_inner);
        login.clone().unwrap_or_else(|| "the token's owner".to_owned())
    }

    /// `<url>/v3/<parts>`; whatever stands in a part, it is one part of the path.
    pub(super) fn at(&self, parts: &[&str]) -> Result<Url, Error> {
        let mut url = (*self.client.base).clone();
        // A path drops such parts, and the call would go elsewhere.
        if let Some(part) = parts.iter().find(|part| matches!(**part, "" | "." | "..")) {
            return Err(Error::Impossible(format!("`{part}` names nothing in Tracker")));
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v3").extend(parts);
        }
        Ok(url)
    }

    pub(super) async fn one<T: DeserializeOwned>(&self, url: Url, about: &str) -> Result<T, Error> {
        let reply = self.ask(Method::GET, url, None, about).await?;
        reply::object(&reply.body).map_err(|_| unreadable("an object", true))
    }

    pub(super) async fn list<T: DeserializeOwned>(&self, url: Url, about: &str) -> Result<Vec<T>, Error> {
        self.pages(url, about, None, MOST_PAGES, |_| None).await
    }

    /// Page by page, by `id` where Tracker says that there is a next one, else by number where it says how many there
    /// are. The address that it names itself is not followed.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        url: Url,
        about: &str,
        after: Option<&str>,
        most: usize,
        id: impl Fn(&T) -> Option<String>,
    ) -> Result<Vec<T>, Error> {
        let (mut all, mut after) = (Vec::new(), after.map(str::to_owned));
        for page in 1..=most {
            let mut url = url.clone();
            match &after {
                Some(after) => {
                    url.query_pairs_mut().append_pair("perPage", PER_PAGE).append_pair("id", after);
                }
                None if page > 1 => {
                    url.query_pairs_mut().append_pair("perPage", PER_PAGE).append_pair("page", &page.to_string());
                }
                None => {}
            }
            let reply = self.ask(Method::GET, url, None, about).await?;
            let items: Vec<T> = list(&reply.body).ok_or_else(|| unreadable("a list", true))?;
            let last = items.last().and_then(&id);
            all.extend(items);
            let has_next = has_next(&reply.headers) && last.is_some() && last != after;
            if !has_next && pages_in_all(&reply.headers).is_none_or(|pages| page >= pages) {
                break;
            }
            after = last.filter(|_| has_next);
        }
        Ok(all)
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        about: &str,
    ) -> Result<Reply, Error> {
        self.ask_in(self.client.language, method, url, body, about).await
    }

    pub(super) async fn ask_in(
        &self,
        language: Language,
        method: Method,
        url: Url,
        body: Option<&Value>,
        about: &str,
    ) -> Result<Reply, Error> {
        let uri = Uri::try_from(url.as_str()).map_err(|_| Error::Impossible(format!("no address for {about}")))?;
        let body = body.map(|body| Bytes::from(body.to_string()));
        let call = Call { lease: self.lease.clone(), method, uri, language, body };
        let reply = self.client.stack.clone().oneshot(call).await?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(refusal(&reply, about, &self.owner(), &self.client.token.secrets())),
        }
    }
}

/// JSON, but not what it should be: whatever stands there, it is not Tracker as we know it. `asks_only`: the request
/// was a GET.
pub(super) fn unreadable(wanted: &str, asks_only: bool) -> Error {
    unanswered(format!("an answer that is not {wanted}"), asks_only).into()
}

fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(LINK).into_iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(',')).any(|link| link.split(';').skip(1).any(|it| it.trim() == r#"rel="next""#))
}

fn pages_in_all(headers: &HeaderMap) -> Option<usize> {
    headers.get("x-total-pages")?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;

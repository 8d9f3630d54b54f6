//! A call as the services read it, and what they give back.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use serde_json::{Map, Value};
use url::form_urlencoded;

/// A call, read. Nothing in it has been believed yet.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// As the service names it: `chat.postMessage`, `webhook`, `sendMessage`; Tracker's endpoint, `transitions`.
    pub method: String,
    /// Slack: the channel as given, or the webhook's path. Telegram: see [`super::telegram::conversation`].
    /// Tracker: the issue as the path names it.
    pub conversation: Option<String>,
    /// Tracker: what stands in the path where its endpoint has a place for it, percent-decoded.
    pub path: Vec<String>,
    /// Tracker: the query's pairs; the others have them among the arguments.
    pub query: Vec<(String, String)>,
    /// All arguments, of the query, the form or the JSON body. Null in lean mode.
    pub body: Value,
    /// `content-type`, `user-agent`, and all that begin with `x-`.
    pub headers: Vec<(String, String)>,
    pub token: Option<String>,
    /// What makes the call unreadable, in the service's word.
    pub problem: Option<&'static str>,
    /// What the service remarks on a call that it takes.
    pub warning: Option<&'static str>,
}

/// What became of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Given {
    /// No answer yet, or never one.
    Nothing,
    Done,
    /// The service's own word or description.
    Refused(String),
    RateLimited {
        retry_after: Option<u64>,
    },
}

/// An answer, ready for the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    /// Header `Retry-After`, in whole seconds.
    pub retry_after: Option<u64>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub given: Given,
}

pub(super) const JSON: &str = "application/json; charset=utf-8";
pub(super) const HTML: &str = "text/html";
pub(super) const TEXT: &str = "text/plain";

impl Answer {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>, given: Given) -> Self {
        let retry_after = match given {
            Given::RateLimited { retry_after } => retry_after,
            _ => None,
        };
        Self { status, content_type, retry_after, headers: Vec::new(), body: body.into(), given }
    }

    pub fn json(status: u16, body: &Value, given: Given) -> Self {
        Self::new(status, JSON, body.to_string(), given)
    }

    /// What a proxy says in the service's place.
    pub fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, HTML, body, Given::Refused(format!("HTTP {status}")))
    }
}

/// How the body of a call is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Json,
    Urlencoded,
    Other,
    Missing,
}

impl Form {
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default()) {
            None => Self::Missing,
            Some(value) => match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                "application/json" => Self::Json,
                "application/x-www-form-urlencoded" => Self::Urlencoded,
                _ => Self::Other,
            },
        }
    }
}

/// Adds `a=b&c=d` to the arguments, as strings.
pub(super) fn add_pairs(arguments: &mut Map<String, Value>, pairs: &[u8]) {
    for (name, value) in form_urlencoded::parse(pairs) {
        arguments.insert(name.into_owned(), Value::String(value.into_owned()));
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

pub(super) fn of_interest(head: &Parts) -> Vec<(String, String)> {
    let wanted = |name: &str| matches!(name, "content-type" | "user-agent") || name.starts_with("x-");
    let headers = head.headers.iter().filter(|(name, _)| wanted(name.as_str()));
    headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

//! What Tracker's refusals mean. Source of the statuses: T 4.2. Its texts are localised: they are shown, and never
//! matched.

use std::collections::BTreeMap;
use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::delivery::{Scope, SendError};
use crate::transport::reply::{self, Secrets, lenient};
use crate::transport::{Reply, TransportError};

/// Why a request did not do what it should. What becomes of it says the [`SendError`] that is made of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer of Tracker's own, or one that concerns every request: 401, 429.
    #[error(transparent)]
    Call(#[from] SendError),
    /// 400
    #[error("{about}: Tracker does not take this: {0}", about = .0.about)]
    BadRequest(Said),
    /// 403
    #[error("{by} may not do this to {about}: {0}", by = .0.by, about = .0.about)]
    Forbidden(Said),
    /// 404; also for what the token's owner may not see.
    #[error("{about} does not exist, or {by} may not see it: {0}", about = .0.about, by = .0.by)]
    NotFound(Said),
    /// 409, 412 and 428: it was changed meanwhile.
    #[error("{about} was changed meanwhile: {0}", about = .0.about)]
    Conflict(Said),
    /// 422
    #[error("{about}: Tracker refuses a value: {0}", about = .0.about)]
    Unprocessable(Said),
    /// 423: the count of changes is at its limit.
    #[error("{about} is frozen for automation, it was changed too often: {0}", about = .0.about)]
    Locked(Said),
    #[error("{about}: HTTP {code}: {said}", about = .said.about, code = .status.as_u16())]
    Other { status: StatusCode, said: Said },
    /// As things stand it cannot be done, and Tracker was not asked to.
    #[error("{0}")]
    Impossible(String),
}

/// What Tracker said of a request that it understood.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// An issue's key, a queue: what the request was about.
    pub about: String,
    /// The login of the token's owner, as far as it is known.
    pub by: String,
    pub messages: Vec<String>,
    /// By the field's key or id.
    pub fields: BTreeMap<String, String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.iter().map(|(field, said)| format!("{field}: {said}"));
        let said: Vec<_> = self.messages.iter().cloned().chain(fields).collect();
        f.write_str(if said.is_empty() { "Tracker gives no reason" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        let code = error.to_string();
        match error {
            Error::Call(error) => error,
            Error::Forbidden(said) => {
                let hint = format!("give {} the right in the settings of the queue", said.by);
                Self::Held { code, hint: Some(hint), scope: Scope::Lane }
            }
            // Seen even with a fresh version: whoever reads again later succeeds.
            Error::Conflict(_) => Self::Paced { code, wait: None, scope: Scope::Lane },
            Error::BadRequest(_)
            | Error::NotFound(_)
            | Error::Unprocessable(_)
            | Error::Locked(_)
            | Error::Other { .. }
            | Error::Impossible(_) => Self::Refused { code },
        }
    }
}

/// The form of Tracker's errors.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default, deserialize_with = "lenient")]
    errors: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "lenient")]
    error_messages: Option<Vec<String>>,
}

/// What Tracker itself says by a status of 400 and above, with the secrets cut out.
pub(super) fn refusal(reply: &Reply, about: &str, by: &str, secrets: &Secrets) -> Error {
    let body = reply::object(&reply.body).unwrap_or(Body { errors: None, error_messages: None });
    let messages = body.error_messages.unwrap_or_default();
    let fields = body.errors.unwrap_or_default();
    let said = Said {
        about: about.to_owned(),
        by: by.to_owned(),
        messages: messages.iter().map(|text| secrets.excerpt(text)).collect(),
        fields: fields.iter().map(|(field, text)| (secrets.excerpt(field), secrets.excerpt(text))).collect(),
    };
    match reply.status.as_u16() {
        400 => Error::BadRequest(said),
        403 => Error::Forbidden(said),
        404 => Error::NotFound(said),
        409 | 412 | 428 => Error::Conflict(said),
        422 => Error::Unprocessable(said),
        423 => Error::Locked(said),
        _ => Error::Other { status: reply.status, said },
    }
}

/// So much of an answer that is not Tracker's is looked at for its error, in bytes.
const BODY_KEPT: usize = 4_096;

const TOKEN: &str = "put a new token where `tracker.token` is read from: nothing needs to be restarted";

/// Lets through what Tracker itself answered to this one request. The rest is the call's end: nobody understood it, or
/// it concerns every request of the token. `asks_only`: a request without an answer changed nothing.
pub(super) fn judge(reply: Reply, asks_only: bool, secrets: &Secrets) -> Result<Reply, SendError> {
    let what = format!("HTTP {}{}", reply.status.as_u16(), words(&reply.body, secrets));
    match reply.status.as_u16() {
        204 => Ok(reply),
        200..300 if is_json(&reply.body) => Ok(reply),
        // 408: whoever says so may have read the whole request.
        200..300 | 408 | 500.. => Err(unanswered(what, asks_only)),
        401 => Err(SendError::Held { code: what, hint: Some(TOKEN.to_owned()), scope: Scope::Account }),
        429 => Err(SendError::Paced { code: what, wait: reply::retry_after(&reply.headers), scope: Scope::Account }),
        400.. if reply.body.is_empty() || reply::object::<Body>(&reply.body).is_ok() => Ok(reply),
        _ => {
            let hint = Some("not Tracker's own answer: check `tracker.url` and any proxy before it".to_owned());
            Err(SendError::Held { code: what, hint, scope: Scope::Account })
        }
    }
}

/// Tracker's own messages, or the beginning of whatever else came.
fn words(body: &[u8], secrets: &Secrets) -> String {
    let own = reply::object::<Body>(body).ok().and_then(|body| body.error_messages).filter(|texts| !texts.is_empty());
    let text = own.map_or_else(
        || String::from_utf8_lossy(&body[..body.len().min(BODY_KEPT)]).into_owned(),
        |texts| texts.join("; "),
    );
    let text = secrets.excerpt(&text);
    if text.is_empty() { text } else { format!(": {text}") }
}

/// There is no answer that can be understood.
pub(super) fn unanswered(what: String, asks_only: bool) -> SendError {
    match asks_only {
        true => SendError::Unreached(what.into()),
        false => SendError::Unclear { what, cause: None },
    }
}

/// There is no answer at all.
pub(super) fn unreplied(error: TransportError, asks_only: bool) -> SendError {
    match asks_only {
        true => SendError::Unreached(error.into()),
        false => error.into(),
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests;

//! Reading what a messenger, or something that stands before it, answered: as JSON whose members may have any shape,
//! as a status, as text that a person may see.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::delivery::{Scope, SendError};
use crate::transport::TransportError;

/// The longest piece of a messenger's text that goes into an error, in characters.
const LONGEST_EXCERPT: usize = 200;

/// Secrets that may come back in an answer: a proxy's error page likes to quote the address that was called.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Very short ones would cut words out of texts and are no secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.len() >= 6).map(str::to_owned).collect())
    }

    /// A text for an error: without secrets, on one line, cut.
    pub fn excerpt(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"));
        let words: Vec<_> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
        let text = words.join(" ");
        match text.char_indices().nth(LONGEST_EXCERPT) {
            Some(_) => text.chars().take(LONGEST_EXCERPT - 1).chain(['…']).collect(),
            None => text,
        }
    }
}

/// At most so many bytes from the front, cut between characters.
pub fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Reads a JSON object. An array would do for serde too, and `[true]` must not pass for `{"ok": true}`.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(body),
        _ => Err(serde_json::Error::custom("not a JSON object")),
    }
}

/// For members of answers: what has not the expected shape is as good as absent. An answer that says `"ok": true`
/// must not become unreadable because of anything else in it.
pub fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// `Retry-After` in seconds, whole or not. A date is not read: messengers send none.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?)
}

/// A wait that a messenger named, at most a week: nothing that is longer was meant.
pub fn seconds(seconds: f64) -> Option<Duration> {
    const LONGEST: f64 = 7.0 * 24.0 * 3600.0;
    Duration::try_from_secs_f64(if seconds > LONGEST { LONGEST } else { seconds }).ok()
}

/// An answer that is not the messenger's own (a proxy's, a wrong `api_url`'s), by its status alone.
/// `address` names the setting that leads there.
pub fn by_status(status: StatusCode, said: &str, address: &str) -> SendError {
    let what =
        if said.is_empty() { format!("HTTP {}", status.as_u16()) } else { format!("HTTP {}: {said}", status.as_u16()) };
    match status.as_u16() {
        // 408: whoever says so may have read the whole request.
        200..300 | 408 | 500.. => SendError::Unclear { what, cause: None },
        400 | 413 | 414 => SendError::Content { code: what },
        status => SendError::Held {
            code: format!("http_{status}"),
            hint: Some(format!("not the messenger's own answer ({what}): check `{address}` and any proxy before it")),
            scope: Scope::Account,
        },
    }
}

impl From<TransportError> for SendError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NotConnected(_) => Self::Unreached(error.into()),
            TransportError::Broken(_) => {
                Self::Unclear { what: "the connection broke".into(), cause: Some(error.into()) }
            }
            TransportError::Overlong(_) => Self::Unclear { what: error.to_string(), cause: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_are_whole_or_broken_seconds_and_never_absurd() {
        for (header, wanted) in [
            ("7", Some(7_000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            (" 12.25 ", Some(12_250)),
            ("1e300", Some(604_800_000)),
            ("-1", None),
            ("NaN", None),
            ("inf", Some(604_800_000)),
            ("soon", None),
            ("", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(header))]);
            assert_eq!(retry_after(&headers), wanted.map(Duration::from_millis), "{header}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn only_an_object_is_an_answer() {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default, deserialize_with = "lenient")]
            ok: Option<bool>,
        }
        for (body, wanted) in [
            (r#"{"ok": true, "more": [1]}"#, Some(Some(true))),
            ("\n {\"ok\":false}", Some(Some(false))),
            (r#"{"ok": "yes"}"#, Some(None)),
            (r#"{"ok": null}"#, Some(None)),
            ("{}", Some(None)),
            ("[true]", None),
            ("true", None),
            ("<html>", None),
            ("", None),
            (r#"{"ok": true"#, None),
            (r#"{"ok": true, "ok": false}"#, None),
        ] {
            assert_eq!(object::<Answer>(body.as_bytes()).ok().map(|answer| answer.ok), wanted, "{body}");
        }
    }

    #[test]
    fn an_excerpt_is_one_line_without_secrets() {
        let secrets = Secrets::new(["12345:token-canary", "token-canary", "a"]);
        let page = "<p>No\r\n\tpath /bot12345:token-canary/x, /bot12345%3Atoken-canary/x \u{0}here</p>";
        assert_eq!(secrets.excerpt(page), "<p>No path /bot[secret]/x, /bot12345%3A[secret]/x here</p>");
    }

    proptest! {
        #[test]
        fn an_excerpt_is_short(text: String, times in 1usize..200) {
            let excerpt = Secrets::new(["canary"]).excerpt(&(text + " canary \n").repeat(times));
            prop_assert!(excerpt.chars().count() <= 200);
            prop_assert!(!excerpt.contains("canary"));
            prop_assert!(!excerpt.contains(char::is_control));
        }
    }
}

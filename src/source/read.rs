//! Bytes to members: the steps of reading, in order (tracker.md 3.4). Each step must find an issue's key: strict JSON,
//! mended JSON or a form, the query string; and at last the key alone, wherever in the text it stands.

mod key_only;
pub mod pairs;
mod repair;
pub mod strict;
pub mod taken;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};

use self::repair::Mended;
use self::taken::Taken;
use crate::event::{Issue, Reading};
use crate::key::{Place, Queues};

/// What reading needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where a person opens an issue: `<web_url>/<key>`.
    pub web_url: String,
    /// Whose keys are taken from a text. A member that is named as the key is taken at its word.
    pub queues: Queues,
}

/// Members with an issue's key among them or near them.
#[derive(Debug)]
pub struct Found {
    pub key: String,
    /// Without the absent ones: empty, null, blank, a lone `{{…}}`.
    pub members: Map<String, Value>,
    pub reading: Reading,
    /// Something may be lost or guessed: mended, the key alone, no UTF-8, or a member stood twice.
    pub degraded: bool,
}

impl Reader {
    /// # Errors
    /// Why no step could read it, for the sender and the admin.
    pub fn read(&self, query: &str, body: &[u8]) -> Result<Found, String> {
        let text = String::from_utf8_lossy(body);
        let mut found = self.read_text(query, text.strip_prefix('\u{feff}').unwrap_or(&text).trim())?;
        found.degraded |= matches!(text, Cow::Owned(_)); // what was no UTF-8 is lost
        found.key = self.queues.named(found.key);
        Ok(found)
    }

    /// An issue of which the key alone is known.
    pub fn issue(&self, key: &str) -> Issue {
        Issue::of_key(key, &self.web_url)
    }

    fn read_text(&self, query: &str, text: &str) -> Result<Found, String> {
        let (body, why) = Body::of(text);
        if let Some(key) = body.own_key() {
            return Ok(body.found(key));
        }
        let asked = pairs::query(query);
        if let Some(key) = asked.key() {
            let degraded = asked.repeated;
            return Ok(Found { key, members: asked.into_present(), reading: Reading::Query, degraded });
        }
        if let Body::Broken(mended) = &body
            && let [one, other, ..] = mended.keys.as_slice()
        {
            return Err(format!(
                "{why}; behind an author's text it names {one} and {other}: put `key` before such text"
            ));
        }
        match body.any_key(text, &self.queues).or_else(|| self.queues.first(&pairs::values(query), Place::Text)) {
            Some(key) => Ok(Found { reading: Reading::KeyOnly, degraded: true, ..body.found(key) }),
            None if self.queues.are_known() => Err(why + "; no key of a queue in `tracker.queues` stands in it"),
            None => Err(why + "; nothing in it looks like an issue's key"),
        }
    }
}

/// A call's body, by the first step that can make something of it.
enum Body {
    Strict(Taken),
    Broken(Mended),
    Form(Taken),
    Text,
}

impl Body {
    /// With what is to be said when it names no issue.
    fn of(text: &str) -> (Self, String) {
        match strict::object(text) {
            Ok(taken) => (
                Self::Strict(taken),
                "the JSON object has no issue key in `key`, `issue_key`, `issueKey` or `issue.key`".to_owned(),
            ),
            Err(_) if text.is_empty() => (Self::Text, "the body is empty".to_owned()),
            Err(error) => {
                let mended = || Some(Self::Broken(Mended::of(text)?));
                let form = || Some(Self::Form(pairs::form(text)?));
                (mended().or_else(form).unwrap_or(Self::Text), format!("the body is no JSON object: {error}"))
            }
        }
    }

    /// The key that its own step finds.
    fn own_key(&self) -> Option<String> {
        match self {
            Self::Strict(taken) | Self::Form(taken) => taken.key(),
            Self::Broken(mended) if mended.whole => mended.key(),
            Self::Broken(_) | Self::Text => None,
        }
    }

    /// The key that stands anywhere in it, first of all in the `text` that messengers' bodies have.
    fn any_key(&self, text: &str, queues: &Queues) -> Option<String> {
        let (named, shown) = match self {
            Self::Strict(taken) | Self::Form(taken) => (None, taken.text("text")),
            Self::Broken(mended) => (mended.key(), mended.members.text("text")),
            Self::Text => (None, None),
        };
        let words = || match self {
            Self::Form(_) => Cow::Owned(pairs::values(text)),
            Self::Strict(_) | Self::Broken(_) | Self::Text => key_only::without_escapes(text),
        };
        let of_shown = || queues.first(shown?, Place::Text);
        named.or_else(of_shown).or_else(|| queues.first(&words(), Place::Text))
    }

    fn found(self, key: String) -> Found {
        let (taken, reading) = match self {
            Self::Strict(taken) => (taken, Reading::Strict),
            Self::Broken(mended) => (mended.members, Reading::Repaired),
            Self::Form(taken) => (taken, Reading::Form),
            Self::Text => (Taken::default(), Reading::KeyOnly),
        };
        let degraded = taken.repeated || matches!(reading, Reading::Repaired | Reading::KeyOnly);
        Found { key, members: taken.into_present(), reading, degraded }
    }
}

//! What Tracker says of an issue (T 4.4, 4.5, 4.7, 4.9). What it leaves out, or gives a shape of its own, is absent;
//! members that nobody knows are passed over; an id may be a number or a text.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::transport::reply::lenient;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// The present one, whatever it was asked by.
    #[serde(default)]
    pub key: String,
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<i64>,
    /// Keys it had before it was moved.
    #[serde(default, deserialize_with = "each")]
    pub aliases: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub summary: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub queue: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub priority: Option<Named>,
    #[serde(default, deserialize_with = "lenient", rename = "type")]
    pub kind: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub resolution: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub parent: Option<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_by: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_by: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub assignee: Option<User>,
    #[serde(default, deserialize_with = "each")]
    pub followers: Vec<User>,
    #[serde(default, deserialize_with = "each")]
    pub tags: Vec<String>,
    #[serde(default, deserialize_with = "each")]
    pub components: Vec<Named>,
    #[serde(default, deserialize_with = "lenient")]
    pub deadline: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub updated_at: Option<Timestamp>,
    /// All of its members, those above too.
    #[serde(skip)]
    pub members: Map<String, Value>,
}

impl Issue {
    /// `None`: it is no issue.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let issue = Self { members: serde_json::from_slice(json).ok()?, ..serde_json::from_slice(json).ok()? };
        (!issue.key.is_empty()).then_some(issue)
    }

    /// Its own, else the one that its key begins with.
    pub fn queue(&self) -> &str {
        let queue = self.queue.as_ref().and_then(|queue| queue.key.as_deref());
        queue.unwrap_or_else(|| crate::key::queue_of(&self.key))
    }
}

/// A status, a priority, a queue, a component.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Named {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub display: Option<String>,
}

/// Inside an issue it has no login and no e-mail.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct User {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub login: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub display: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub email: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub uid: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub tracker_uid: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub passport_uid: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub cloud_uid: Option<String>,
}

impl User {
    /// What `/users/<…>` takes.
    pub fn reference(&self) -> Option<&str> {
        let any = [&self.id, &self.tracker_uid, &self.uid, &self.login];
        any.into_iter().flatten().map(String::as_str).next()
    }

    /// Every name by which Tracker knows the person.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.id, &self.uid, &self.tracker_uid, &self.passport_uid, &self.cloud_uid, &self.login];
        all.into_iter().flatten().map(String::as_str)
    }
}

/// A way out of an issue's present status.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Transition {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    /// The status where it leads.
    #[serde(default, deserialize_with = "lenient")]
    pub to: Option<Named>,
}

impl Transition {
    pub fn leads_to(&self) -> Option<&str> {
        self.to.as_ref()?.key.as_deref()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub long_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_by: Option<User>,
    #[serde(default, deserialize_with = "time")]
    pub created_at: Option<Timestamp>,
}

/// One entry of an issue's changelog.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_by: Option<User>,
    #[serde(default, deserialize_with = "each")]
    pub fields: Vec<Changed>,
}

/// What became of one field.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Changed {
    #[serde(default, deserialize_with = "lenient")]
    pub field: Option<Named>,
    #[serde(default)]
    pub from: Value,
    #[serde(default)]
    pub to: Value,
}

impl Changed {
    pub(super) fn id(&self) -> Option<&str> {
        self.field.as_ref()?.id.as_deref()
    }
}

/// A link to an object of an external application.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RemoteLink {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub object: Option<Object>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Object {
    #[serde(default, deserialize_with = "id")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub application: Option<Named>,
}

impl RemoteLink {
    pub fn leads_to(&self, application: &str, key: &str) -> bool {
        self.object.as_ref().is_some_and(|object| {
            let of = object.application.as_ref().and_then(|application| application.id.as_deref());
            of == Some(application) && object.key.as_deref() == Some(key)
        })
    }
}

/// The elements of a list that can be read. `None`: it is no list.
pub(super) fn list<T: DeserializeOwned>(json: &[u8]) -> Option<Vec<T>> {
    let elements: Vec<&RawValue> = serde_json::from_slice(json).ok()?;
    Some(elements.into_iter().filter_map(|element| serde_json::from_str(element.get()).ok()).collect())
}

pub(super) fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(list(<&RawValue>::deserialize(deserializer)?.get().as_bytes()).unwrap_or_default())
}

/// `16` and `"16"` are one id.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match lenient(deserializer)? {
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    })
}

/// As in `2026-05-12T09:15:02.339+0000`, without a colon in the offset (T 4.1).
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = lenient(deserializer)?;
    let read = |text: &str| text.parse().or_else(|_| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text));
    Ok(text.and_then(|text| read(text.trim()).ok()))
}

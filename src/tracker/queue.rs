//! What Tracker says of a queue and of the organisation: fields, dictionaries, triggers and their log (T 1.5, 1.7, 4.6,
//! 4.8).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::issue::{id, time};
use crate::transport::reply::lenient;

/// A field of issues, of all queues or of one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Field {
    /// What a change is written under; as in `65f1c0ffee0000000000000b--benchLink` where it is a queue's own.
    #[serde(default)]
    pub id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub schema: Option<Schema>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Schema {
    /// `string`, `integer`, `float`, `array`, `user`, …
    #[serde(default, deserialize_with = "lenient", rename = "type")]
    pub kind: Option<String>,
}

/// A word of a dictionary: a status, a priority, a type, a resolution.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Term {
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    /// A text, or texts by language.
    #[serde(default)]
    pub name: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Queue {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Trigger {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    pub active: Option<bool>,
    #[serde(default)]
    pub conditions: Value,
    #[serde(default)]
    pub actions: Value,
}

/// One call that a trigger made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub start_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub request: Option<Asked>,
    #[serde(default, deserialize_with = "lenient")]
    pub response: Option<Answered>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default, deserialize_with = "lenient")]
    pub method: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub endpoint: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub body: Option<String>,
    /// Their values are masked.
    #[serde(default, deserialize_with = "lenient")]
    pub headers: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    #[serde(default, deserialize_with = "lenient")]
    pub status_code: Option<u16>,
}

/// An external application that issues can be linked to.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Application {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
}

//! What Tracker says, yes or no.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::call::{Answer, Given};

/// As in the fixtures.
const TRACKER_JSON: &str = "application/json;charset=UTF-8";

pub(super) type Reply = Result<Answer, Refused>;

/// How Tracker says no (section 4.2).
#[derive(Clone, Debug)]
pub(super) struct Refused {
    status: u16,
    messages: Vec<String>,
    fields: Map<String, Value>,
    retry_after: Option<u64>,
}

impl Refused {
    pub fn new(status: u16, message: &str) -> Self {
        Self { status, messages: vec![message.to_owned()], fields: Map::new(), retry_after: None }
    }

    pub fn field(status: u16, field: &str, message: &str) -> Self {
        let fields = Map::from_iter([(field.to_owned(), message.into())]);
        Self { status, messages: Vec::new(), fields, retry_after: None }
    }

    pub fn no_issue() -> Self {
        Self::new(404, "Задача не существует.")
    }

    pub fn no_right() -> Self {
        Self::new(403, "Недостаточно прав")
    }

    pub fn words(&self) -> String {
        let fields = self.fields.iter().map(|(field, message)| format!("{field}: {}", message.as_str().unwrap_or("")));
        self.messages.iter().cloned().chain(fields).collect::<Vec<_>>().join("; ")
    }

    pub fn answer(self) -> Answer {
        let (status, retry_after) = (self.status, self.retry_after);
        if status == 429 && retry_after.is_none() {
            return Answer::new(429, TRACKER_JSON, "", Given::RateLimited { retry_after }); // as in the fixtures
        }
        let given = match status {
            429 => Given::RateLimited { retry_after },
            _ => Given::Refused(self.words()),
        };
        let body = json!({"errors": self.fields, "errorMessages": self.messages, "statusCode": status});
        Answer::new(status, TRACKER_JSON, body.to_string(), given)
    }
}

pub(super) fn done(status: u16, body: &Value) -> Answer {
    Answer::new(status, TRACKER_JSON, body.to_string(), Given::Done)
}

/// UTC, with three digits and no colon in the offset (section 4.1).
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

pub(super) fn too_many(retry_after: Option<u64>) -> Refused {
    Refused { retry_after, ..Refused::new(429, "Too many requests") }
}

//! Which field a key means in a queue, how a text is written into it, and whether it says that already (T 4.6).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::client::Api;
use super::error::Error;
use super::queue::Field;

/// The id of a queue's own field without the 24 hex digits and `--` that it begins with. `None`: it is of all queues.
pub(super) fn local_key(id: &str) -> Option<&str> {
    let (hex, key) = id.split_once("--")?;
    (hex.len() == 24 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && !key.is_empty()).then_some(key)
}

impl Api {
    /// What `key` means in this queue: its own field comes first. Remembered for an hour.
    ///
    /// # Errors
    /// Tracker's refusal, or that there was no answer.
    pub(super) async fn field(&self, queue: &str, key: &str) -> Result<Option<Field>, Error> {
        let own = self.fields_of(queue).await?;
        if let Some(field) = own.iter().find(|field| means(field, key)) {
            return Ok(Some(field.clone()));
        }
        Ok(self.fields_of("").await?.iter().find(|field| means(field, key)).cloned())
    }

    /// Of all queues, where `queue` is empty.
    async fn fields_of(&self, queue: &str) -> Result<Arc<[Field]>, Error> {
        let remembered = &self.client.known.0.fields;
        if let Some(fields) = remembered.get(queue) {
            return Ok(fields);
        }
        let fields = if queue.is_empty() { self.fields().await? } else { self.local_fields(queue).await? };
        let fields: Arc<[Field]> = fields.into();
        remembered.put(queue.to_owned(), fields.clone());
        Ok(fields)
    }

    pub(super) fn forget_fields(&self, queue: &str) {
        self.client.known.0.fields.forget(queue);
        self.client.known.0.fields.forget("");
    }

    /// Whether a field says what the text would make it say. An issue's people have no login: they are looked up.
    pub(super) async fn says(&self, now: Option<&Value>, field: &Field, text: &str) -> Result<bool, Error> {
        let now = now.unwrap_or(&Value::Null);
        if says(now, field, text) {
            return Ok(true);
        }
        let is_person = now.get("passportUid").or_else(|| now.get("cloudUid")).is_some();
        let Some(id) = now.get("id").and_then(Value::as_str).filter(|_| is_person) else { return Ok(false) };
        match self.user(id).await {
            Ok(user) => Ok(user.login.is_some_and(|login| login.eq_ignore_ascii_case(text))),
            Err(Error::Call(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
}

fn means(field: &Field, key: &str) -> bool {
    field.id == key || field.key.as_deref() == Some(key) || local_key(&field.id) == Some(key)
}

fn kind(field: &Field) -> &str {
    field.schema.as_ref().and_then(|schema| schema.kind.as_deref()).unwrap_or_default()
}

/// The text in the field's own form. Empty clears it. What does not fit goes as it is: Tracker says best what is wrong.
pub(super) fn value(field: &Field, text: &str) -> Value {
    let given = || Value::from(text);
    match kind(field) {
        "array" => elements(text).into(),
        _ if text.is_empty() => Value::Null,
        "integer" | "long" => text.trim().parse::<i64>().map_or_else(|_| given(), Value::from),
        "float" | "double" | "number" => {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.map_or_else(given, Value::from)
        }
        "boolean" | "bool" => text.trim().parse::<bool>().map_or_else(|_| given(), Value::from),
        _ => given(),
    }
}

/// A list as JSON, or with commas between.
fn elements(text: &str) -> Vec<Value> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(Value::from).collect())
}

fn says(now: &Value, field: &Field, text: &str) -> bool {
    match now {
        Value::Null => value(field, text) == Value::Null || value(field, text) == json!([]),
        Value::Array(now) => {
            let mut wanted = elements(text);
            let found = |now: &Value| match wanted.iter().position(|wanted| is(now, &said(wanted))) {
                Some(at) => {
                    wanted.swap_remove(at);
                    true
                }
                None => false,
            };
            now.iter().all(found) && wanted.is_empty()
        }
        now => is(now, text),
    }
}

fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// By text, number, key, id, login or display.
fn is(now: &Value, text: &str) -> bool {
    match now {
        Value::Null => text.is_empty(),
        Value::String(now) => now == text,
        Value::Number(now) => text.trim().parse().is_ok_and(|wanted: f64| now.as_f64() == Some(wanted)),
        Value::Bool(now) => text.trim().parse() == Ok(*now),
        Value::Object(now) => names(now).any(|name| name == text),
        Value::Array(_) => false,
    }
}

fn names(object: &Map<String, Value>) -> impl Iterator<Item = String> {
    // A project stands one level deeper (T 4.1).
    let object = object.get("primary").and_then(Value::as_object).unwrap_or(object);
    ["key", "id", "login", "display"].into_iter().filter_map(|name| object.get(name)).map(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::queue::Schema;

    fn field(kind: &str) -> Field {
        Field { id: "x".into(), schema: Some(Schema { kind: Some(kind.into()) }), ..Field::default() }
    }

    #[test]
    fn a_text_takes_the_fields_form() {
        for (kind, text, wanted) in [
            ("string", "7", json!("7")),
            ("string", "", Value::Null),
            ("uri", "https://a.b/", json!("https://a.b/")),
            ("integer", " 7 ", json!(7)),
            ("integer", "7.5", json!("7.5")),
            ("integer", "", Value::Null),
            ("float", "7.5", json!(7.5)),
            ("float", "NaN", json!("NaN")),
            ("boolean", "true", json!(true)),
            ("array", "a, b,,c", json!(["a", "b", "c"])),
            ("array", r#"["a, b", 3]"#, json!(["a, b", 3])),
            ("array", "", json!([])),
            ("user", "ivanov", json!("ivanov")),
            ("", "x", json!("x")),
        ] {
            assert_eq!(value(&field(kind), text), wanted, "{kind} {text:?}");
        }
    }

    #[test]
    fn a_field_that_says_so_already_is_left() {
        for (now, kind, text, same) in [
            (json!("a"), "string", "a", true),
            (json!("a"), "string", "b", false),
            (json!("a"), "string", "", false),
            (Value::Null, "string", "", true),
            (Value::Null, "array", "", true),
            (Value::Null, "string", "a", false),
            (json!(3.0), "float", "3", true),
            (json!(3), "integer", "4", false),
            (json!("3"), "integer", "3", true),
            (json!(true), "boolean", "true", true),
            (json!({"id": "4", "key": "critical", "display": "Критичный"}), "priority", "critical", true),
            (json!({"id": "4", "key": "critical", "display": "Критичный"}), "priority", "4", true),
            (json!({"id": 4, "key": "critical", "display": "Критичный"}), "priority", "4", true),
            (json!({"id": "4", "key": "critical", "display": "Критичный"}), "priority", "Критичный", true),
            (json!({"id": "4", "key": "critical", "display": "Критичный"}), "priority", "minor", false),
            (json!({"primary": {"id": "11", "display": "CRM"}, "secondary": []}), "project", "11", true),
            (json!(["a", "b"]), "array", "b, a", true),
            (json!(["a", "b"]), "array", "a", false),
            (json!(["a"]), "array", "a, b", false),
            (json!(["a", "a"]), "array", "a, b", false),
            (json!([{"id": "1", "display": "Фронтенд"}]), "array", "Фронтенд", true),
            (json!([]), "array", "", true),
            (json!(["a"]), "array", "", false),
        ] {
            assert_eq!(says(&now, &field(kind), text), same, "{now} {kind} {text:?}");
        }
    }

    #[test]
    fn a_local_field_is_known_by_its_key() {
        for (id, key) in [
            ("65f1c0ffee0000000000000b--benchLink", Some("benchLink")),
            ("65f1c0ffee0000000000000b--", None),
            ("65f1c0ffee0000000000000--benchLink", None),
            ("summary", None),
            ("dev--note", None),
        ] {
            assert_eq!(local_key(id), key, "{id}");
        }
    }
}

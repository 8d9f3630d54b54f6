//! Both sides of what Tracker takes, over its own port.

mod issues;
mod receiver;
mod sending;
mod strictness;
mod triggers;

use serde_json::{Value, json};

use super::super::wire::{ANY_PORT, Got, call, held};
use super::*;
use crate::clock::Clock;

const BOT: &str = "campanile-bot";

/// With the queue `TEST`, which has a local field `benchLink`, and the issue `TEST-1`, open.
fn options() -> TrackerOptions {
    on(held())
}

fn on(clock: Clock) -> TrackerOptions {
    let queue = TrackerQueue::new("TEST", "Тестовая").local("benchLink", "Ссылка на стенд", FieldKind::Text);
    TrackerOptions::new(clock)
        .token("t0ken", BOT)
        .queue(queue)
        .issue(TrackerIssue::new("TEST-1", "Кнопка \"Сохранить\" не работает"))
}

async fn start(options: TrackerOptions) -> TrackerSimulator {
    TrackerSimulator::start(ANY_PORT, options).await.unwrap()
}

const HEADERS: [(&str, &str); 3] =
    [("authorization", "OAuth t0ken"), ("x-org-id", "1"), ("content-type", "application/json")];

async fn ask(tracker: &TrackerSimulator, method: &str, path: &str, body: Value) -> Got {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(tracker.addr(), method, &format!("/v3/{path}"), &HEADERS, body).await.unwrap()
}

async fn get(tracker: &TrackerSimulator, path: &str) -> Value {
    let got = ask(tracker, "GET", path, Value::Null).await;
    assert_eq!(got.status, 200, "{path}: {}", got.body);
    got.json()
}

/// Status and words of a refusal, checked to be in Tracker's form.
fn refusal(got: &Got) -> (u16, Value) {
    let body = got.json();
    assert_eq!(body["statusCode"], got.status);
    assert!(body["errors"].is_object() && body["errorMessages"].is_array(), "{body}");
    let fields = body["errors"].as_object().unwrap();
    (
        got.status,
        if fields.is_empty() { body["errorMessages"].clone() } else { json!(fields.keys().collect::<Vec<_>>()) },
    )
}

/// What of a value is the same in every answer of its kind: names and types.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let name = |name: &String| name.split_once("--").map_or(name.clone(), |(_, key)| format!("*--{key}"));
            Value::Object(members.iter().map(|(member, value)| (name(member), shape(value))).collect())
        }
        Value::Array(list) => {
            let mut shapes: Vec<Value> = list.iter().map(shape).collect();
            shapes.dedup();
            Value::Array(shapes)
        }
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

//! What the admin API answers, for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use super::show::{indented, table, visible};

/// Times as the configuration's `time_zone` has them.
pub struct Times(pub TimeZone);

impl Times {
    fn show(&self, time: &Value) -> String {
        let time = time.as_str().and_then(|time| time.parse::<Timestamp>().ok());
        time.map_or_else(|| "-".into(), |time| time.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
    }
}

/// How serde calls a value that is one word.
pub fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).map(|value| text(&value)).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(text),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The table, or a word that it would be empty.
fn rows(headings: &[&str], rows: &[Value], cells: impl Fn(&Value) -> Vec<String>) -> String {
    match rows {
        [] => "nothing\n".to_owned(),
        rows => table(headings, rows.iter().map(cells)),
    }
}

pub fn events(answer: &Value, times: &Times) -> String {
    rows(&["ID", "RECEIVED", "SOURCE", "KIND", "ISSUE", "DELIVERIES"], list(&answer["events"]), |row| {
        let received = times.show(&row["received_at"]);
        vec![
            text(&row["id"]),
            received,
            text(&row["source"]),
            text(&row["kind"]),
            text(&row["issue"]),
            text(&row["deliveries"]),
        ]
    })
}

pub fn links(answer: &Value, times: &Times) -> String {
    rows(&["ID", "LINKED", "ISSUE", "OBJECT", "BY"], list(&answer["links"]), |row| {
        vec![text(&row["id"]), times.show(&row["at"]), text(&row["issue"]), text(&row["object"]), text(&row["by"])]
    })
}

pub fn deliveries(answer: &Value, times: &Times) -> String {
    let headings = ["ID", "EVENT", "PLANNED", "CHANNEL", "STATE", "ATTEMPTS", "WHY"];
    rows(&headings, list(&answer["deliveries"]), |row| {
        let planned = times.show(&row["planned_at"]);
        let why = match (&row["reason"], &row["lane_hold"]["reason"]) {
            (Value::Null, Value::Null) => own_wait(row, times).unwrap_or_default(),
            (Value::Null, why) | (why, _) => shortened(&text(why)),
        };
        let state = text(&row["state"]);
        let (id, event) = (text(&row["id"]), text(&row["event"]));
        vec![id, event, planned, text(&row["channel"]), state, text(&row["attempts"]), why]
    })
}

pub fn event(answer: &Value, times: &Times) -> String {
    let event = &answer["event"];
    let (id, kind, source) = (text(&event["id"]), text(&event["kind"]), text(&event["source"]));
    let received = times.show(&event["received_at"]);
    let document = serde_json::to_string_pretty(&event["document"]).unwrap_or_default();
    let document = indented(&document);
    format!("event {id}: {kind} from {source}, received {received}\n\n{document}\n{}", deliveries(answer, times))
}

pub fn delivery(answer: &Value, times: &Times) -> String {
    let row = &answer["delivery"];
    let mut lines: Vec<(&str, String)> =
        ["channel", "route", "template", "attempts"].into_iter().map(|name| (name, text(&row[name]))).collect();
    lines.push(("planned", times.show(&row["planned_at"])));
    lines.push(match &row["settled_at"] {
        Value::Null => ("gives up", times.show(&row["give_up_at"])),
        settled => ("settled", times.show(settled)),
    });
    if row["unclear"] == true {
        lines.push(("unclear", "an attempt ended without an answer: the message may stand twice".into()));
    }
    if let hold @ Value::Object(_) = &row["lane_hold"] {
        let waits = if hold["needs_a_person"] == true { "for a person, next try" } else { "until" };
        lines.push(("waits", format!("{waits} {}: {}", times.show(&hold["until"]), text(&hold["reason"]))));
    }
    lines.extend(own_wait(row, times).map(|wait| ("waits", wait)));
    if !row["reason"].is_null() {
        lines.push(("why", text(&row["reason"])));
    }
    lines.extend(list(&row["parts"]).iter().map(|part| ("receipt", text(&part["receipt"]))));
    let (id, event, state) = (text(&row["id"]), text(&row["event"]), text(&row["state"]));
    let mut told = format!("delivery {id} of event {event}: {state}\n");
    told.extend(lines.into_iter().map(|(name, value)| format!("{name:<10}{value}\n")));
    for part in list(&row["parts"]) {
        told += "\n";
        told += &indented(part["content"]["text"].as_str().unwrap_or_default());
    }
    let failed = list(&row["failed_attempts"]);
    if !failed.is_empty() {
        told += "\n";
        told += &table(
            &["FAILED", "TOOK", "OUTCOME", "DETAIL"],
            failed.iter().map(|attempt| {
                let took = format!("{} ms", text(&attempt["took_ms"]));
                vec![times.show(&attempt["at"]), took, text(&attempt["outcome"]), text(&attempt["detail"])]
            }),
        );
    }
    told
}

/// What the lane waits for by itself.
fn own_wait(row: &Value, times: &Times) -> Option<String> {
    let Value::Object(wait) = &row["lane_wait"] else { return None };
    let why = match wait.get("why").and_then(Value::as_str) {
        Some("pace") => "the messenger's pace",
        _ => "the next try",
    };
    Some(format!("for {why}, until {}", times.show(wait.get("until")?)))
}

/// A cause in a table: the rest stands in `show`.
fn shortened(why: &str) -> String {
    const LONGEST: usize = 80;
    if why.chars().count() <= LONGEST { why.to_owned() } else { why.chars().take(LONGEST).collect::<String>() + "…" }
}

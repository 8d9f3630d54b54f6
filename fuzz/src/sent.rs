//! The parts of a message as they go out, against the messengers' limits and what the simulators say of them.

use campanile::delivery::{DeliveryId, Messenger};
use campanile::message::MOST_PARTS;
use campanile::messenger::Content;
use campanile::messenger::slack::client::Post;
use campanile::messenger::telegram::client::message;
use campanile::simulator::{Seen, slack, telegram};
use serde_json::Value;

/// Longer than the room that is left for it.
const NOTE: &str = "<delayed> & \"14\" min 🔥 @here *x* _y_ 🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥";

/// Judges every form in which a part may go out. `taken`: whether its messenger is known to take it.
pub fn hold(messenger: Messenger, parts: &[Content], taken: impl Fn(&Content) -> bool, seen: impl Fn(&Seen)) {
    assert!(parts.len() <= MOST_PARTS);
    for part in parts {
        assert_eq!(part.messenger(), messenger);
        let stored = part.to_json().unwrap();
        assert_eq!(Content::from_json(messenger, &stored).unwrap(), *part, "{stored}");
        let late = part.clone().late(NOTE);
        for form in [part.clone(), late.plain(), late] {
            let is_taken = taken(&form);
            let body = body(&form);
            match judge(messenger, &body) {
                Ok(as_seen) => {
                    seen(&as_seen);
                    limits(messenger, &body, &as_seen);
                }
                Err(why) => assert!(!is_taken, "{why}: {body}"),
            }
        }
    }
}

/// What people see of the parts, without what a late one adds.
pub fn shown(parts: &[Content]) -> String {
    parts.iter().map(|part| judge(part.messenger(), &body(part)).unwrap().text).collect()
}

fn body(part: &Content) -> Value {
    match part.clone() {
        Content::Slack(content) => serde_json::to_value(Post::new("C0123456789", content, DeliveryId(i64::MAX), 3)),
        Content::Telegram(content) => serde_json::to_value(message(-1_001_234_567_890, Some(7), content)),
    }
    .unwrap()
}

fn judge(messenger: Messenger, body: &Value) -> Result<Seen, String> {
    match messenger {
        Messenger::Slack => slack::judge(body),
        Messenger::Telegram => telegram::judge(body),
    }
}

fn limits(messenger: Messenger, body: &Value, seen: &Seen) {
    let text = body["text"].as_str().unwrap();
    match messenger {
        Messenger::Slack => {
            let Some(blocks) = body.get("blocks") else { return assert!(units(text) <= 40_000, "{body}") };
            assert!(blocks.as_array().unwrap().len() <= 50, "{body}");
            assert!(escaped(blocks) <= 9_000, "{} {body}", escaped(blocks));
            assert!(units(text) <= 3_000, "{body}");
        }
        Messenger::Telegram => {
            assert!(units(&seen.text) <= 4_096, "{body}");
            entities(text, body["entities"].as_array().map(Vec::as_slice).unwrap_or_default());
        }
    }
}

/// In bounds, of whole characters, outer before inner and none across another.
fn entities(text: &str, entities: &[Value]) {
    assert!(entities.len() <= 100);
    let text: Vec<u16> = text.encode_utf16().collect();
    let span = |entity: &Value| {
        let [from, length] = ["offset", "length"].map(|name| entity[name].as_u64().unwrap() as usize);
        (from, from + length)
    };
    let mut open: Vec<usize> = Vec::new();
    let mut before = 0;
    for (from, to) in entities.iter().map(span) {
        assert!(before <= from && from < to && to <= text.len(), "{from}..{to} in {}", text.len());
        assert!(String::from_utf16(&text[from..to]).is_ok(), "{from}..{to} halves a character");
        open.retain(|end| *end > from);
        assert!(open.iter().all(|end| *end >= to), "{from}..{to} crosses another");
        open.push(to);
        before = from;
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Length of all texts as Slack counts them.
fn escaped(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(escaped).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match value.as_str() {
                Some(text) if name == "text" => {
                    units(text)
                        + text
                            .chars()
                            .map(|c| match c {
                                '&' => 4,
                                '<' | '>' => 3,
                                _ => 0,
                            })
                            .sum::<usize>()
                }
                _ => escaped(value),
            })
            .sum(),
        _ => 0,
    }
}

//! The blocks of an admin's own file against Slack's limits: what Slack would refuse is not sent, the message goes out
//! in its common form instead. Source of the limits: docs.slack.dev, "Blocks", "Block elements", "Composition objects".

use serde_json::{Value, json};
use slack_morphism::SlackMessageContent;

use super::format::{LATE, LONGEST_FALLBACK, LONGEST_TEXT, SlackContent, escaped};

/// Most blocks, one of which is left for [`SlackContent::late`].
const MOST_BLOCKS: usize = 50 - 1;
const LONGEST_OBJECT: usize = 3_000;
const LONGEST_URL: usize = 3_000;

impl SlackContent {
    /// # Errors
    /// Why Slack would not take them.
    pub fn own(blocks: &[Value], text: &str, unfurl: bool) -> Result<Self, String> {
        if blocks.is_empty() || blocks.len() > MOST_BLOCKS {
            return Err(format!("{} blocks; a message has from 1 to {MOST_BLOCKS}", blocks.len()));
        }
        let mut walk = Walk::default();
        for (index, block) in blocks.iter().enumerate() {
            walk.value(block, "", &format!("blocks[{index}]"))?;
        }
        if walk.units > LONGEST_TEXT - LATE.units {
            return Err(format!("{} characters in its blocks; {LONGEST_TEXT} are safe", walk.units));
        }
        if length(text) > LONGEST_FALLBACK {
            return Err(format!("`text` has {} characters, more than {LONGEST_FALLBACK}", length(text)));
        }
        let message = SlackMessageContent::new().with_text(text.to_owned());
        Ok(Self { message, own: blocks.to_vec(), unfurl })
    }

    pub(super) fn own_late(mut self, note: &str) -> Self {
        let note = json!({"type": "plain_text", "text": note});
        self.own.push(json!({"type": "context", "elements": [note]}));
        let text = self.message.text.take().unwrap_or_default();
        let note =
            escaped(self.own.last().and_then(|it| it["elements"][0]["text"].as_str()).unwrap_or_default(), LATE.units);
        self.message.text = Some(format!("{text}\n\n{note}"));
        self
    }
}

#[derive(Default)]
struct Walk {
    /// Of everything that people read.
    units: usize,
}

impl Walk {
    /// `key`: what the value stands under, a list's for its elements.
    fn value(&mut self, value: &Value, key: &str, at: &str) -> Result<(), String> {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, key, &format!("{at}[{index}]"))?;
                }
                Ok(())
            }
            Value::Object(members) => {
                let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
                let count = |name: &str| members.get(name).and_then(Value::as_array).map_or(0, Vec::len);
                let (name, most) = match kind {
                    "section" => ("fields", 10),
                    "context" => ("elements", 10),
                    "actions" => ("elements", 25),
                    _ => ("", 0),
                };
                if count(name) > most {
                    return Err(format!("{at}.{name} has {} items, {most} at most", count(name)));
                }
                if matches!(kind, "mrkdwn" | "plain_text") {
                    let text = members.get("text").and_then(Value::as_str).unwrap_or_default();
                    let most = match key {
                        "header" => 150,
                        "button" | "option" => 75,
                        "fields" => 2_000,
                        _ => LONGEST_OBJECT,
                    };
                    self.text(text, most, at)?;
                }
                for (name, value) in members {
                    let at = format!("{at}.{name}");
                    let key = match name.as_str() {
                        "text" if matches!(kind, "header" | "button") => kind,
                        "text" if key == "options" => "option",
                        name => name,
                    };
                    match value.as_str() {
                        Some(url) if name == "url" || name.ends_with("_url") => length_of(url, LONGEST_URL, &at)?,
                        Some(text) if name == "alt_text" => length_of(text, 2_000, &at)?,
                        Some(text) if name == "text" && !matches!(kind, "mrkdwn" | "plain_text") => {
                            self.text(text, usize::MAX, &at)?;
                        }
                        Some(_) => {}
                        None => self.value(value, key, &at)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str, most: usize, at: &str) -> Result<(), String> {
        self.units += length(text);
        length_of(text, most, at)
    }
}

fn length_of(text: &str, most: usize, at: &str) -> Result<(), String> {
    match length(text) {
        0 => Err(format!("{at} is empty")),
        units if units > most => Err(format!("{at} has {units} characters, {most} at most")),
        _ => Ok(()),
    }
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(block: Value) -> Result<(), String> {
        SlackContent::own(&[block], "t", false).map(drop)
    }

    #[test]
    fn each_limit_holds_on_both_sides() {
        let text = |length: usize| json!({"type": "mrkdwn", "text": "a".repeat(length)});
        let plain = |length: usize| json!({"type": "plain_text", "text": "a".repeat(length)});
        let some = |count: usize, one: Value| vec![one; count];
        let button = |length: usize| json!({"type": "button", "text": plain(length), "url": "https://a.b"});
        let option = |length: usize| json!({"text": plain(length), "value": "v"});
        let limits: [(usize, &dyn Fn(usize) -> Value); 9] = [
            (3_000, &|n| json!({"type": "section", "text": text(n)})),
            (2_000, &|n| json!({"type": "section", "fields": [text(n)]})),
            (10, &|n| json!({"type": "section", "fields": some(n, text(1))})),
            (150, &|n| json!({"type": "header", "text": plain(n)})),
            (10, &|n| json!({"type": "context", "elements": some(n, plain(1))})),
            (25, &|n| json!({"type": "actions", "elements": some(n, button(1))})),
            (75, &|n| json!({"type": "actions", "elements": [button(n)]})),
            (75, &|n| json!({"type": "actions", "elements": [{"type": "overflow", "options": some(2, option(n))}]})),
            (3_000, &|n| json!({"type": "image", "alt_text": "a", "image_url": "a".repeat(n)})),
        ];
        for (most, block) in limits {
            assert_eq!(said(block(most)), Ok(()), "{}", block(1));
            assert!(said(block(most + 1)).is_err(), "{}", block(1));
            assert!(said(block(0)).is_err() || most == 10 || most == 25, "{}", block(0));
        }
        let dividers = |count: usize| SlackContent::own(&some(count, json!({"type": "divider"})), "t", false);
        assert!(dividers(49).is_ok() && dividers(50).is_err() && dividers(0).is_err());
        let long =
            |count: usize| SlackContent::own(&some(count, json!({"type": "section", "text": text(2_900)})), "t", false);
        assert!(long(3).is_ok() && long(4).is_err());
        assert!(SlackContent::own(&[json!({"type": "divider"})], &"a".repeat(3_001), false).is_err());
    }

    #[test]
    fn a_late_message_says_so_in_a_block_of_its_own() {
        let content = SlackContent::own(&[json!({"type": "divider"})], "t", true).unwrap().late("delayed 14 min");
        assert_eq!(content.own[1]["elements"][0]["text"], "delayed 14 min");
        assert_eq!(content.message.text.as_deref(), Some("t\n\ndelayed 14 min"));
        let back = serde_json::from_str::<SlackContent>(&serde_json::to_string(&content).unwrap());
        assert_eq!(back.unwrap(), content);
        assert_ne!(content.plain(), content);
    }
}

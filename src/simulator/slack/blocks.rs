//! Checks `blocks` against the shapes, with Slack's words and JSON pointers for what is wrong.

use std::collections::HashSet;

use serde_json::Value;
use url::Url;

use super::super::units;
use super::Refused;
use super::shapes::{BLOCKS, Kind, MOST_BLOCKS, MOST_MARKDOWN, MOST_TEXT, Member, PLAIN_TEXTS, Shape, TEXTS};

/// Everything that is wrong at once.
pub(super) fn check(blocks: &Value) -> Result<(), Refused> {
    let Value::Array(list) = blocks else { return Err("invalid_blocks_format".into()) };
    let mut walk = Walk::default();
    if list.len() > MOST_BLOCKS {
        walk.wrong(format!("no more than {MOST_BLOCKS} items allowed"), "/blocks");
    }
    let (mut ids, mut tables, mut markdown) = (HashSet::new(), 0, 0);
    for (index, block) in list.iter().enumerate() {
        let at = format!("/blocks/{index}");
        walk.one_of(block, BLOCKS, &at);
        if let Some(id) = block["block_id"].as_str()
            && !ids.insert(id)
        {
            walk.wrong("block_id already exists", &format!("{at}/block_id"));
        }
        match block["type"].as_str() {
            Some("table") => tables += 1,
            Some("markdown") => markdown += units(block["text"].as_str().unwrap_or_default()),
            Some("section") if block.get("text").is_none() && block.get("fields").is_none() => {
                walk.wrong("must define either `text` or `fields`", &at);
            }
            _ => {}
        }
    }
    if tables > 1 {
        walk.wrong("only one table allowed", "/blocks");
    }
    match walk.errors {
        errors if !errors.is_empty() => Err(Refused::with("invalid_blocks", errors)),
        // Markdown blocks alone have a limit that is written down, and higher.
        _ if walk.text > MOST_TEXT.max(markdown.min(MOST_MARKDOWN)) => Err("msg_blocks_too_long".into()),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Walk {
    errors: Vec<String>,
    /// UTF-16 units of all that people read.
    text: usize,
}

impl Walk {
    fn wrong(&mut self, what: impl AsRef<str>, at: &str) {
        self.errors.push(format!("{} [json-pointer:{at}]", what.as_ref()));
    }

    /// An object whose `type` is the name of one of these shapes.
    fn one_of(&mut self, value: &Value, shapes: &[&Shape], at: &str) {
        match (value, &value["type"]) {
            (Value::Object(_), Value::String(name)) => match shapes.iter().find(|shape| shape.name == name) {
                Some(shape) => self.shape(value, shape, Some("type"), at),
                None => self.wrong(format!("unsupported type: {name}"), at),
            },
            (Value::Object(_), _) => self.wrong("missing required field: type", at),
            _ => self.wrong("must be an object", at),
        }
    }

    fn shape(&mut self, value: &Value, shape: &Shape, tag: Option<&str>, at: &str) {
        let Value::Object(members) = value else { return self.wrong("must be an object", at) };
        for Member { name, .. } in shape.members.iter().filter(|member| member.needed) {
            if !members.contains_key(*name) {
                self.wrong(format!("missing required field: {name}"), at);
            }
        }
        for (name, value) in members {
            match shape.members.iter().find(|member| member.name == name) {
                Some(member) => self.kind(value, &member.kind, &format!("{at}/{name}")),
                None if Some(name.as_str()) == tag => {}
                None => self.wrong(format!("invalid additional property: {name}"), at),
            }
        }
    }

    fn kind(&mut self, value: &Value, kind: &Kind, at: &str) {
        match kind {
            Kind::Any => {}
            Kind::Flag => {
                if !value.is_boolean() {
                    self.wrong("must be a boolean", at);
                }
            }
            Kind::Whole { most } => match value.as_i64() {
                Some(number) if (0..=*most).contains(&number) => {}
                Some(_) => self.wrong(format!("must be from 0 to {most}"), at),
                None => self.wrong("must be an integer", at),
            },
            Kind::OneOf(words) => {
                if !value.as_str().is_some_and(|word| words.contains(&word)) {
                    self.wrong(format!("must be one of: {}", words.join(", ")), at);
                }
            }
            Kind::Word { most } => {
                self.string(value, *most, at);
            }
            Kind::Shown { most } => self.text += self.string(value, *most, at).map_or(0, units),
            Kind::Url { most } => {
                if let Some(url) = self.string(value, *most, at)
                    && Url::parse(url).is_err()
                {
                    self.wrong("invalid url", at);
                }
            }
            Kind::Text { most } => self.text_object(value, TEXTS, *most, at),
            Kind::Plain { most } => self.text_object(value, PLAIN_TEXTS, *most, at),
            Kind::Texts { items, most } => {
                self.items(value, 1, *items, at, |walk, text, at| walk.text_object(text, TEXTS, *most, at));
            }
            Kind::Style(names) => match value {
                Value::Object(styles) => {
                    for (name, on) in styles {
                        match (names.contains(&name.as_str()), on.is_boolean()) {
                            (true, true) => {}
                            (true, false) => self.wrong("must be a boolean", &format!("{at}/{name}")),
                            (false, _) => self.wrong(format!("invalid additional property: {name}"), at),
                        }
                    }
                }
                _ => self.wrong("must be an object", at),
            },
            Kind::Object(shape) => self.shape(value, shape, None, at),
            Kind::Objects { of, least, most } => {
                self.items(value, *least, *most, at, |walk, item, at| walk.shape(item, of, None, at));
            }
            Kind::One(shapes) => self.one_of(value, shapes, at),
            Kind::Many { of, least, most } => {
                self.items(value, *least, *most, at, |walk, item, at| walk.one_of(item, of, at));
            }
            Kind::Rows { of, rows, cells } => self.items(value, 1, *rows, at, |walk, row, at| {
                walk.items(row, 1, *cells, at, |walk, cell, at| walk.one_of(cell, of, at));
            }),
        }
    }

    fn string<'a>(&mut self, value: &'a Value, most: usize, at: &str) -> Option<&'a str> {
        let Some(text) = value.as_str() else {
            self.wrong("must be a string", at);
            return None;
        };
        if text.is_empty() {
            self.wrong("must be more than 0 characters", at);
        } else if units(text) > most {
            self.wrong(format!("must be less than {} characters", most + 1), at);
        }
        Some(text)
    }

    fn text_object(&mut self, value: &Value, shapes: &[&Shape], most: usize, at: &str) {
        self.one_of(value, shapes, at);
        // The shape itself holds the 3,000 of every text object.
        let length = value["text"].as_str().map_or(0, units);
        if length > most && most < 3000 {
            self.wrong(format!("must be less than {} characters", most + 1), &format!("{at}/text"));
        }
    }

    fn items(&mut self, value: &Value, least: usize, most: usize, at: &str, each: impl Fn(&mut Self, &Value, &str)) {
        let Value::Array(items) = value else { return self.wrong("must be an array", at) };
        if items.len() < least {
            self.wrong(format!("no less than {least} items allowed"), at);
        } else if items.len() > most {
            self.wrong(format!("no more than {most} items allowed"), at);
        }
        for (index, item) in items.iter().enumerate() {
            each(self, item, &format!("{at}/{index}"));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

//! Texts with entities: what is refused, what is mended, what is found. Offsets and lengths are UTF-16 units.
//! Source: td `MessageEntity.cpp`, `fix_formatted_text`, `fix_entities`, `find_mentions`.

use serde_json::{Value, json};

use super::super::bare_links;
use super::super::record::Seen;

/// Entities beyond so many are ignored.
const MOST_ENTITIES: usize = 100;
/// Offsets and lengths beyond make the server think of an attack, not of a text.
const FARTHEST: i64 = 1_000_000;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entity {
    pub kind: &'static str,
    pub offset: usize,
    pub length: usize,
    /// The URL, the user's id, the language, the emoji's id.
    pub detail: String,
}

impl Entity {
    fn end(&self) -> usize {
        self.offset + self.length
    }

    fn is_code(&self) -> bool {
        matches!(self.kind, "code" | "pre")
    }

    /// Styles may lie in and over each other; quotes stand for themselves; of the others no two may share a character.
    fn nature(&self) -> Nature {
        match self.kind {
            "bold" | "italic" | "underline" | "strikethrough" | "spoiler" => Nature::Style,
            "blockquote" | "expandable_blockquote" => Nature::Quote,
            _ => Nature::Whole,
        }
    }

    fn to_json(&self) -> Value {
        let mut entity = json!({"type": self.kind, "offset": self.offset, "length": self.length});
        match self.kind {
            "text_link" => entity["url"] = self.detail.as_str().into(),
            "text_mention" => {
                let id: i64 = self.detail.parse().unwrap_or_default();
                entity["user"] = json!({"id": id, "is_bot": false, "first_name": "User"});
            }
            "pre" if !self.detail.is_empty() => entity["language"] = self.detail.as_str().into(),
            "custom_emoji" => entity["custom_emoji_id"] = self.detail.as_str().into(),
            _ => {}
        }
        entity
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Nature {
    Style,
    Quote,
    Whole,
}

/// Kinds that a call may give; those Telegram finds by itself are taken and forgotten.
const GIVEN: [&str; 12] = [
    "bold",
    "italic",
    "underline",
    "strikethrough",
    "spoiler",
    "blockquote",
    "expandable_blockquote",
    "code",
    "pre",
    "text_link",
    "text_mention",
    "custom_emoji",
];
const FOUND: [&str; 8] =
    ["mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number"];

/// Reads the parameter `entities`.
pub(super) fn read(given: &Value) -> Result<Vec<Entity>, String> {
    let wrong = |what: String| format!("Can't parse MessageEntity: {what}");
    let list = given.as_array().ok_or_else(|| wrong("expected an Array".to_owned()))?;
    let mut entities = Vec::new();
    for item in list {
        let missing = |name: &str| wrong(format!("Can't find field \"{name}\""));
        let word = |name: &str| item[name].as_str().map(str::to_owned).ok_or_else(|| missing(name));
        let number = |name: &str| item[name].as_i64().ok_or_else(|| missing(name));
        let name = word("type")?;
        if FOUND.contains(&name.as_str()) {
            continue;
        }
        let kind = GIVEN.into_iter().find(|kind| *kind == name);
        let kind = kind.ok_or_else(|| wrong("Unsupported type specified".to_owned()))?;
        let (offset, length) = (number("offset")?, number("length")?);
        for (what, value) in [("offset", offset), ("length", length)] {
            if !(0..=FARTHEST).contains(&value) {
                return Err(format!("Receive an entity with incorrect {what} {value}"));
            }
        }
        let detail = match kind {
            "text_link" => match checked_link(&word("url")?) {
                Some(url) => url,
                None => continue, // the link goes, its text stays
            },
            "text_mention" => item["user"]["id"].as_i64().ok_or_else(|| missing("user"))?.to_string(),
            "custom_emoji" => word("custom_emoji_id")?,
            "pre" => item["language"].as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        entities.push(Entity { kind, offset: offset as usize, length: length as usize, detail });
    }
    Ok(entities)
}

/// The URL of a link that Telegram keeps: http, https, tg, ton, tonsite, mailto and tel; a bare host gets `http://`.
pub(super) fn checked_link(url: &str) -> Option<String> {
    let url = url.trim();
    let with_scheme = if url.contains("://") || url.starts_with("mailto:") || url.starts_with("tel:") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let parsed = url::Url::parse(&with_scheme).ok()?;
    match parsed.scheme() {
        "http" | "https" => parsed.host_str()?.contains(['.', ':']).then(|| parsed.to_string()),
        "tg" | "ton" | "tonsite" | "mailto" | "tel" => Some(parsed.to_string()),
        _ => None,
    }
}

/// The id in `tg://user?id=…`.
pub(super) fn user_of_link(url: &str) -> Option<i64> {
    url.strip_prefix("tg://user?id=")?.parse().ok()
}

/// A text as it stands in a chat.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Formatted {
    pub text: String,
    pub entities: Vec<Entity>,
}

impl Formatted {
    /// Checks and mends a text as it came.
    pub fn new(text: &str, mut entities: Vec<Entity>) -> Result<Self, String> {
        entities.retain(|entity| entity.length > 0);
        sort(&mut entities);
        let (text, entities) = clean(text, entities)?;
        let mut entities = untangle(entities);
        let text = trim(text, &mut entities);
        find_mentions(&text, &mut entities);
        sort(&mut entities);
        entities.truncate(MOST_ENTITIES);
        Ok(Self { text, entities })
    }

    /// Nothing, or nothing that can be seen.
    pub fn is_empty(&self) -> bool {
        let unseen = |c: char| {
            c.is_whitespace() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
        };
        self.text.chars().all(unseen)
    }

    pub fn entities_json(&self) -> Value {
        self.entities.iter().map(Entity::to_json).collect()
    }

    pub fn seen(&self) -> Seen {
        let mut seen = Seen { text: self.text.clone(), ..Seen::default() };
        let bytes = byte_offsets(&self.text);
        for entity in &self.entities {
            let byte = |at: usize| bytes.get(at).copied().flatten();
            let (Some(from), Some(to)) = (byte(entity.offset), byte(entity.end())) else { continue };
            let text = self.text.get(from..to).unwrap_or_default();
            let style = match entity.kind {
                "strikethrough" => "strike",
                "blockquote" | "expandable_blockquote" => "quote",
                other => other,
            };
            match entity.kind {
                "mention" => seen.pings.push(text.to_owned()),
                "text_mention" => seen.pings.push(format!("tg://user?id={}", entity.detail)),
                "text_link" => seen.link(text, &entity.detail),
                "custom_emoji" => {}
                _ => seen.spans.push(super::super::record::Span { style: style.to_owned(), text: text.to_owned() }),
            }
        }
        let linked: Vec<_> = seen.links.iter().map(|link| link.text.clone()).collect();
        for url in bare_links(&self.text).filter(|url| !linked.iter().any(|text| text.contains(*url))) {
            seen.link(url, url);
        }
        seen
    }
}

/// Outer before inner, code before what covers just as much.
fn sort(entities: &mut [Entity]) {
    entities.sort_by_key(|entity| (entity.offset, std::cmp::Reverse(entity.length), !entity.is_code()));
}

/// For each UTF-16 offset the byte offset; none in the middle of a character.
fn byte_offsets(text: &str) -> Vec<Option<usize>> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        bytes.push(Some(at));
        bytes.extend((1..c.len_utf16()).map(|_| None));
    }
    bytes.push(Some(text.len()));
    bytes
}

/// Refuses entities that leave the text or halve a character; replaces control characters by spaces, drops carriage
/// returns, direction overrides and lines through the text, and moves the entities along.
fn clean(text: &str, mut entities: Vec<Entity>) -> Result<(String, Vec<Entity>), String> {
    let bytes = byte_offsets(text);
    let length = bytes.len() - 1;
    let after = |at: usize| bytes[at..].iter().flatten().next().copied().unwrap_or(text.len());
    for Entity { offset, length: own, .. } in &entities {
        let end = offset + own;
        if *offset > length {
            return Err(format!("Entity begins after the end of the text at UTF-16 offset {offset}"));
        }
        if bytes[*offset].is_none() {
            let at = after(*offset);
            return Err(format!("Entity begins in a middle of a UTF-16 symbol at byte offset {at}"));
        }
        let begins = format!("Entity beginning at UTF-16 offset {offset}");
        if end > length {
            return Err(format!("{begins} ends after the end of the text at UTF-16 offset {end}"));
        }
        if bytes[end].is_none() {
            let at = after(end);
            return Err(format!("{begins} ends in a middle of a UTF-16 symbol at byte offset {at}"));
        }
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut moved = Vec::with_capacity(bytes.len());
    let mut units = 0;
    for c in text.chars() {
        moved.extend((0..c.len_utf16()).map(|_| units));
        let kept = match c {
            '\r' | '\u{2028}'..='\u{202e}' | '\u{333}' | '\u{33f}' | '\u{30a}' => continue,
            '\n' => '\n',
            '\0'..=' ' => ' ',
            other => other,
        };
        cleaned.push(kept);
        units += kept.len_utf16();
    }
    moved.push(units);
    for entity in &mut entities {
        let end = moved[entity.end()];
        entity.offset = moved[entity.offset];
        entity.length = end - entity.offset;
    }
    Ok((cleaned, entities))
}

const BLANK: [char; 2] = [' ', '\n'];

/// Drops entities that hold nothing but blanks (code may), then blanks at both ends, in front only as far as no entity
/// holds them.
fn trim(text: String, entities: &mut Vec<Entity>) -> String {
    drop_blank(&text, entities);
    let first = entities.first().map_or(usize::MAX, |entity| entity.offset);
    let front = (text.len() - text.trim_start_matches(BLANK).len()).min(first);
    let text = text[front..].trim_end_matches(BLANK).to_owned();
    let length = super::super::units(&text);
    for entity in entities.iter_mut() {
        let end = (entity.end() - front).min(length);
        entity.offset -= front;
        entity.length = end.saturating_sub(entity.offset);
    }
    drop_blank(&text, entities);
    text
}

fn drop_blank(text: &str, entities: &mut Vec<Entity>) {
    let bytes = byte_offsets(text);
    entities.retain(|entity| {
        let held = || text.get(bytes.get(entity.offset).copied()??..bytes.get(entity.end()).copied()??);
        entity.length > 0 && (entity.is_code() || held().is_some_and(|held| !held.trim_matches(BLANK).is_empty()))
    });
}

/// No two whole entities share a character, no quote lies in a quote, no style in code; what crosses is dropped or split.
fn untangle(entities: Vec<Entity>) -> Vec<Entity> {
    let mut kept: Vec<Entity> = Vec::new();
    for nature in [Nature::Quote, Nature::Whole] {
        let mut end = 0;
        let quotes = kept.clone();
        for entity in entities.iter().filter(|entity| entity.nature() == nature) {
            let crosses = |quote: &Entity| {
                let apart = entity.end() <= quote.offset || quote.end() <= entity.offset;
                !apart && (entity.offset < quote.offset || entity.end() > quote.end())
            };
            if entity.offset >= end && !quotes.iter().any(crosses) {
                end = entity.end();
                kept.push(entity.clone());
            }
        }
    }
    let code: Vec<_> = kept.iter().filter(|entity| entity.is_code()).map(|code| (code.offset, code.end())).collect();
    let mut styles: Vec<Entity> = Vec::new();
    for entity in entities.into_iter().filter(|entity| entity.nature() == Nature::Style) {
        // One style twice at one place is once.
        match styles.iter_mut().find(|style| style.kind == entity.kind && entity.offset <= style.end()) {
            Some(style) => style.length = style.length.max(entity.end() - style.offset),
            None => styles.push(entity),
        }
    }
    for style in styles {
        let (mut from, end) = (style.offset, style.end());
        for (start, stop) in code.iter().filter(|(start, stop)| *start < end && *stop > style.offset) {
            if *start > from {
                kept.push(Entity { offset: from, length: start - from, ..style.clone() });
            }
            from = from.max(*stop);
        }
        if end > from {
            kept.push(Entity { offset: from, length: end - from, ..style.clone() });
        }
    }
    sort(&mut kept);
    kept
}

/// `@` after no letter of a word, then 5 to 32 of `A-Za-z0-9_`, outside of whole entities.
fn find_mentions(text: &str, entities: &mut Vec<Entity>) {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut before, mut units) = (' ', 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        if c == '@' && !word(before) {
            let rest = &text[at + 1..];
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let ends = !rest[name.len()..].starts_with(word);
            let (offset, length) = (units, name.len() + 1);
            let mut whole = entities.iter().filter(|entity| entity.nature() == Nature::Whole);
            let free = !whole.any(|entity| entity.offset < offset + length && offset < entity.end());
            if ends && free && (5..=32).contains(&name.len()) {
                found.push(Entity { kind: "mention", offset, length, detail: String::new() });
            }
        }
        before = c;
        units += c.len_utf16();
    }
    entities.extend(found);
}

//! `parse_mode: HTML`, with the real parser's words for what it does not take. Source: td `MessageEntity.cpp`, `parse_html`.

use super::entities::{Entity, checked_link, user_of_link};

/// The text without its tags, and the entities; or the reason with its place in bytes.
pub(super) fn parse(text: &str) -> Result<(String, Vec<Entity>), String> {
    let mut parser = Parser { bytes: text.as_bytes(), at: 0, shown: String::new(), units: 0, open: Vec::new() };
    let mut entities = Vec::new();
    while let Some(c) = text[parser.at..].chars().next() {
        match c {
            '&' => {
                let c = parser.reference().unwrap_or_else(|| {
                    parser.at += 1;
                    '&'
                });
                parser.show(c);
            }
            '<' if parser.peek(1) == b'/' => entities.extend(parser.end_tag()?),
            '<' => parser.start_tag()?,
            c => {
                parser.at += c.len_utf8();
                parser.show(c);
            }
        }
    }
    match parser.open.last() {
        Some(tag) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", tag.name)),
        None => Ok((parser.shown, entities)),
    }
}

const TAGS: [&str; 17] = [
    "a",
    "b",
    "strong",
    "i",
    "em",
    "s",
    "strike",
    "del",
    "u",
    "ins",
    "tg-spoiler",
    "tg-emoji",
    "span",
    "pre",
    "code",
    "blockquote",
    "tg-time",
];

struct Tag {
    name: String,
    argument: String,
    offset: usize,
    from: usize,
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    shown: String,
    /// Length of `shown` in UTF-16 units.
    units: usize,
    open: Vec<Tag>,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0 | 0x0b)
}

impl Parser<'_> {
    /// Zero at the end, as the real parser, which reads C strings, sees it.
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn ended(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn skip(&mut self, take: impl Fn(u8) -> bool) {
        while !self.ended() && take(self.peek(0)) {
            self.at += 1;
        }
    }

    fn since(&self, from: usize) -> String {
        String::from_utf8_lossy(&self.bytes[from..self.at]).into_owned()
    }

    fn show(&mut self, c: char) {
        self.shown.push(c);
        self.units += c.len_utf16();
    }

    /// Four names and numbers; the semicolon may be missing.
    fn reference(&mut self) -> Option<char> {
        let start = self.at;
        self.at += 1;
        let c = self.referred(start);
        match c {
            Some(_) if self.peek(0) == b';' => self.at += 1,
            Some(_) => {}
            None => self.at = start,
        }
        c
    }

    fn referred(&mut self, start: usize) -> Option<char> {
        if self.peek(0) != b'#' {
            let from = self.at;
            self.skip(|byte| byte.is_ascii_alphabetic());
            return match self.since(from).as_str() {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "quot" => Some('"'),
                _ => None,
            };
        }
        let radix = if self.peek(1) == b'x' { 16 } else { 10 };
        self.at += if radix == 16 { 2 } else { 1 };
        let from = self.at;
        self.skip(|byte| char::from(byte).is_digit(radix));
        let number = u32::from_str_radix(&self.since(from), radix).ok()?;
        let fits = number != 0 && self.at - start < 10;
        fits.then(|| char::from_u32(number)).flatten()
    }

    fn start_tag(&mut self) -> Result<(), String> {
        let begin = self.at;
        self.at += 1;
        self.skip(|byte| !is_space(byte) && byte != b'>');
        let unclosed = format!("Unclosed start tag at byte offset {begin}");
        if self.ended() {
            return Err(unclosed);
        }
        let name = self.since(begin + 1).to_lowercase();
        if !TAGS.contains(&name.as_str()) {
            return Err(format!("Unsupported start tag \"{name}\" at byte offset {begin}"));
        }
        let mut argument = String::new();
        loop {
            self.skip(is_space);
            if self.peek(0) == b'>' {
                self.at += 1;
                break;
            }
            if self.ended() {
                return Err(unclosed);
            }
            let (attribute, value) = self.attribute(&name, begin)?;
            match (name.as_str(), attribute.as_str()) {
                ("a", "href") | ("tg-emoji", "emoji-id") => argument = value.unwrap_or_default(),
                ("code", "class") => {
                    argument =
                        value.as_deref().and_then(|value| value.strip_prefix("language-")).unwrap_or_default().into();
                }
                ("span", "class") if value.as_deref() == Some("tg-spoiler") => argument = "spoiler".to_owned(),
                ("blockquote", "expandable") => argument = "1".to_owned(),
                _ => {}
            }
        }
        if name == "span" && argument.is_empty() {
            return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {begin}"));
        }
        self.open.push(Tag { name, argument, offset: self.units, from: self.shown.len() });
        Ok(())
    }

    fn attribute(&mut self, tag: &str, begin: usize) -> Result<(String, Option<String>), String> {
        let from = self.at;
        self.skip(|byte| !is_space(byte) && !matches!(byte, b'=' | b'>' | b'/' | b'"' | b'\''));
        let attribute = self.since(from).to_lowercase();
        if attribute.is_empty() {
            return Err(format!("Empty attribute name in the tag \"{tag}\" at byte offset {begin}"));
        }
        self.skip(is_space);
        if self.peek(0) != b'=' {
            return Ok((attribute, None));
        }
        self.at += 1;
        self.skip(is_space);
        let unclosed = || Err(format!("Unclosed start tag at byte offset {begin}"));
        let quote = self.peek(0);
        if quote != b'"' && quote != b'\'' {
            let from = self.at;
            self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
            let value = self.since(from).to_lowercase();
            return match self.peek(0) {
                _ if self.ended() => unclosed(),
                byte if is_space(byte) || byte == b'>' => Ok((attribute, Some(value))),
                _ => Err(format!("Unexpected end of name token at byte offset {from}")),
            };
        }
        self.at += 1;
        let mut value = Vec::new();
        while !self.ended() && self.peek(0) != quote {
            match self.peek(0) {
                b'&' if let Some(c) = self.reference() => {
                    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes())
                }
                byte => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        if self.ended() {
            return unclosed();
        }
        Ok((attribute, Some(String::from_utf8_lossy(&value).into_owned())))
    }

    fn end_tag(&mut self) -> Result<Option<Entity>, String> {
        let begin = self.at;
        let Some(tag) = self.open.pop() else { return Err(format!("Unexpected end tag at byte offset {begin}")) };
        self.at += 2;
        self.skip(|byte| !is_space(byte) && byte != b'>');
        let found = self.since(begin + 2).to_lowercase();
        self.skip(is_space);
        if self.peek(0) != b'>' {
            return Err(format!("Unclosed end tag at byte offset {begin}"));
        }
        self.at += 1;
        if !found.is_empty() && found != tag.name {
            let expected = tag.name;
            return Err(format!(
                "Unmatched end tag at byte offset {begin}, expected \"</{expected}>\", found \"</{found}>\""
            ));
        }
        Ok((self.units > tag.offset).then(|| self.entity(tag)).flatten())
    }

    fn entity(&self, tag: Tag) -> Option<Entity> {
        let mut detail = String::new();
        let kind = match tag.name.as_str() {
            "b" | "strong" => "bold",
            "i" | "em" => "italic",
            "u" | "ins" => "underline",
            "s" | "strike" | "del" => "strikethrough",
            "tg-spoiler" | "span" => "spoiler",
            "blockquote" if tag.argument.is_empty() => "blockquote",
            "blockquote" => "expandable_blockquote",
            "code" if self.open.last().is_some_and(|outer| outer.name == "pre") && !tag.argument.is_empty() => {
                detail = tag.argument;
                "pre"
            }
            "code" => "code",
            "pre" => "pre",
            "tg-emoji" => {
                detail = tag.argument;
                "custom_emoji"
            }
            "a" => {
                let url = if tag.argument.is_empty() { self.shown[tag.from..].to_owned() } else { tag.argument };
                if let Some(user) = user_of_link(&url) {
                    detail = user.to_string();
                    "text_mention"
                } else {
                    detail = checked_link(&url)?; // the link goes, its text stays
                    "text_link"
                }
            }
            _ => return None,
        };
        Some(Entity { kind, offset: tag.offset, length: self.units - tag.offset, detail })
    }
}

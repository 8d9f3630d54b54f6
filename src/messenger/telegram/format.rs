//! A message as Telegram's text and entities. No parse mode: nothing in a text can be markup.

use std::ops::Not;

use serde::{Deserialize, Serialize};
use teloxide::types::{MessageEntity, MessageEntityKind};
use url::Url;

use crate::message::{Block, Button, Limits, Link, Marker, Measure, Message, Own, Run, Size, is_blank};

/// Longest text of one message. Telegram counts code points; in UTF-16 units, as entities count, it is never more.
/// Source: <https://core.telegram.org/bots/api#sendmessage>, parameter `text`.
pub const LONGEST_TEXT: usize = 4_096;

/// Beyond about a hundred the entities are ignored (reported by others, not documented).
pub const MOST_ENTITIES: usize = 100;

/// What [`TelegramContent::late`] adds at most, with its line ends.
const LATE: Size = Size { units: 64, pieces: 1 };

/// One `sendMessage`: its text and the entities in it, offsets in UTF-16 units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TelegramContent {
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<MessageEntity>,
    /// The text is an admin's HTML and has no entities.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub html: bool,
    /// Texts with the pages that they open, one under the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<(String, Url)>,
    /// It arrives without a sound.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub silent: bool,
    /// The first link shows what it leads to.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub unfurl: bool,
}

impl TelegramContent {
    pub fn parts(message: Message) -> Vec<Self> {
        let part = Size { units: LONGEST_TEXT - LATE.units, pieces: MOST_ENTITIES - LATE.pieces };
        let (buttons, silent, unfurl) = (buttons(&message.buttons), message.silent, message.unfurl);
        let parts = message.split(&Units, Limits { part });
        let parts = parts.iter().map(|blocks| Self { silent, unfurl, ..Self::of(blocks) });
        let mut parts: Vec<_> = parts.filter(|part| !is_blank(&part.text)).collect();
        if let Some(last) = parts.last_mut() {
            last.buttons = buttons;
        }
        parts
    }

    /// An admin's own HTML, to be sent as it is.
    ///
    /// # Errors
    /// Why Telegram would not take it.
    pub fn own(html: &str, own: &Own) -> Result<Self, String> {
        let shown = untagged(html);
        if is_blank(&shown) {
            return Err("it shows nothing".to_owned());
        }
        if units(&shown) > LONGEST_TEXT - LATE.units {
            return Err(format!("{} characters; {} are safe", units(&shown), LONGEST_TEXT - LATE.units));
        }
        let (buttons, silent, unfurl) = (buttons(&own.buttons), own.silent, own.unfurl);
        Ok(Self { text: html.to_owned(), html: true, buttons, silent, unfurl, ..Self::default() })
    }

    /// Without entities and buttons. Names in what was code are guarded: Telegram looks for `@names` everywhere else.
    pub fn plain(&self) -> Self {
        let (silent, unfurl) = (self.silent, self.unfurl);
        if self.html {
            let text = untagged(&self.text).replace('@', "@\u{2060}");
            return Self { text, silent, unfurl, ..Self::default() };
        }
        let code = |at: usize| {
            let within = |entity: &&MessageEntity| (entity.offset..entity.offset + entity.length).contains(&at);
            self.entities
                .iter()
                .find(within)
                .is_some_and(|entity| matches!(entity.kind, MessageEntityKind::Code | MessageEntityKind::Pre { .. }))
        };
        let mut text = String::with_capacity(self.text.len());
        let (mut at, mut name) = (0, false);
        for c in self.text.chars() {
            if name && c.is_alphanumeric() {
                text.push('\u{2060}');
            }
            name = c == '@' && code(at);
            at += c.len_utf16();
            text.push(c);
        }
        Self { text, silent, unfurl, ..Self::default() }
    }

    /// With the note as a last line in italics; [`TelegramContent::parts`] left room for it.
    pub fn late(mut self, note: &str) -> Self {
        let mut left = LATE.units - 2;
        let note = note.chars().take_while(|c| {
            let fits = c.len_utf16() <= left;
            left = left.saturating_sub(c.len_utf16());
            fits
        });
        let note = note.collect::<String>().trim().to_owned();
        if note.is_empty() {
            return self;
        }
        self.text.push_str("\n\n");
        if self.html {
            let note = note.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            self.text.push_str(&format!("<i>{note}</i>"));
            return self;
        }
        let (offset, length) = (units(&self.text), units(&note));
        self.text.push_str(&note);
        self.entities.push(MessageEntity::italic(offset, length));
        self
    }

    fn of(blocks: &[Block]) -> Self {
        let mut writer = Writer::default();
        let mut last = None;
        for block in blocks {
            writer.push(between(last, block));
            writer.block(block);
            last = Some(block);
        }
        writer.content()
    }
}

fn buttons(buttons: &[Button]) -> Vec<(String, Url)> {
    buttons.iter().map(|button| (button.text().to_owned(), button.link().url().clone())).collect()
}

/// What is seen of an own message, whose tags are whole and whose other `<` and `&` are escaped.
fn untagged(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((text, tag)) = rest.split_once('<') {
        out.push_str(text);
        rest = tag.split_once('>').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What stands between two blocks. Telegram sets quotes and code off by itself.
fn between(last: Option<&Block>, next: &Block) -> &'static str {
    match (last, next) {
        (None, _) => "",
        (Some(Block::Paragraph(_)), Block::Paragraph(_)) => "\n\n",
        (Some(Block::Quote(_)), Block::Quote(_)) | (Some(Block::Code { .. }), Block::Code { .. }) => "\n\n",
        _ => "\n",
    }
}

fn marker(depth: u8, marker: Marker) -> String {
    let indentation = "  ".repeat(depth.into());
    match marker {
        Marker::Bullet => format!("{indentation}• "),
        Marker::Number(number) => format!("{indentation}{number}. "),
    }
}

/// Telegram's count: UTF-16 units and entities.
struct Units;

impl Measure for Units {
    /// An `@` counts twice: [`TelegramContent::plain`] may have to guard it.
    fn char(&self, c: char) -> usize {
        c.len_utf16() + usize::from(c == '@')
    }

    fn run(&self, run: &Run) -> Size {
        Size { units: 0, pieces: kinds(run).count() }
    }

    fn frame(&self, block: &Block) -> Size {
        let ends = "\n\n".len();
        match block {
            Block::Paragraph(_) => Size { units: ends, pieces: 0 },
            Block::Item { depth, marker: number, .. } => {
                Size { units: ends + units(&marker(*depth, *number)), pieces: 0 }
            }
            Block::Code { .. } | Block::Quote(_) => Size { units: ends, pieces: 1 },
        }
    }
}

/// The entities of a run, the outermost first. Code excludes other styles, a link wins over code.
fn kinds(run: &Run) -> impl Iterator<Item = MessageEntityKind> {
    // Telegram takes a link to anything else for plain text.
    let link = run.link.as_ref().map(Link::url).filter(|url| matches!(url.scheme(), "http" | "https"));
    let code = run.style.code && link.is_none();
    let styles = [
        (run.style.bold, MessageEntityKind::Bold),
        (run.style.italic, MessageEntityKind::Italic),
        (run.style.strike, MessageEntityKind::Strikethrough),
    ];
    let styles = styles.into_iter().filter(move |(on, _)| *on && !code).map(|(_, kind)| kind);
    let link = link.map(|url| MessageEntityKind::TextLink { url: url.clone() });
    link.into_iter().chain(styles).chain(code.then_some(MessageEntityKind::Code))
}

#[derive(Default)]
struct Writer {
    text: String,
    units: usize,
    entities: Vec<MessageEntity>,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.units += units(text);
        self.text.push_str(text);
    }

    fn block(&mut self, block: &Block) {
        let start = self.units;
        match block {
            Block::Paragraph(runs) => self.runs(runs),
            Block::Item { depth, marker: number, runs } => {
                self.push(&marker(*depth, *number));
                self.runs(runs);
            }
            Block::Quote(runs) => {
                let place = self.entities.len();
                self.runs(runs);
                let quote = MessageEntity::new(MessageEntityKind::Blockquote, start, self.units - start);
                self.entities.insert(place, quote);
            }
            Block::Code { language, text } => {
                self.push(text);
                self.entities.push(MessageEntity::pre(language.clone(), start, self.units - start));
            }
        }
    }

    /// Entities of neighbouring runs are one where they can be, and always nest.
    fn runs(&mut self, runs: &[Run]) {
        let mut open: Vec<usize> = Vec::new();
        for run in runs {
            let wanted: Vec<MessageEntityKind> = kinds(run).collect();
            let same =
                open.iter().zip(&wanted).take_while(|(place, kind)| self.entities[**place].kind == **kind).count();
            open.truncate(same);
            for kind in wanted.into_iter().skip(same) {
                open.push(self.entities.len());
                self.entities.push(MessageEntity::new(kind, self.units, 0));
            }
            let length = units(&run.text);
            open.iter().for_each(|place| self.entities[*place].length += length);
            self.push(&run.text);
        }
    }

    /// Telegram trims texts, so no entity may begin or end in what it trims.
    fn content(self) -> TelegramContent {
        let text = self.text.trim();
        let start = units(&self.text[..self.text.len() - self.text.trim_start().len()]);
        let end = start + units(text);
        let clip = |entity: MessageEntity| {
            let from = entity.offset.clamp(start, end);
            let to = (entity.offset + entity.length).clamp(start, end);
            (from < to).then(|| MessageEntity::new(entity.kind, from - start, to - from))
        };
        let entities = self.entities.into_iter().filter_map(clip).collect();
        TelegramContent { text: text.to_owned(), entities, ..TelegramContent::default() }
    }
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;

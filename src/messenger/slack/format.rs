//! A message as Slack's `rich_text` blocks with a fallback text. Nothing in a rich text can be markup.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slack_morphism::prelude::*;

use crate::message::{Block, Button, DEEPEST_LIST, Limits, Marker, Measure, Message, Run, Size, Style, is_blank};

/// Most text of one message, in characters after escaping. Slack does not document its limit; 9,600 have passed,
/// 11,300 have been refused as `msg_blocks_too_long` (<https://github.com/slackapi/bolt-js/issues/2867>).
pub const LONGEST_TEXT: usize = 9_000;

/// Longest fallback text, in characters after escaping. Slack advises at most 4,000.
pub const LONGEST_FALLBACK: usize = 3_000;

/// Most pieces of styled text in one message, our own measure: it keeps the JSON of a message under 100 KB.
pub const MOST_PIECES: usize = 300;

/// Most elements in one rich text block; what is more goes into the next block. A message may have 50 blocks.
const MOST_ELEMENTS: usize = 50;

/// What [`SlackContent::late`] adds at most.
pub(super) const LATE: Size = Size { units: 64, pieces: 1 };

/// The content of one `chat.postMessage`. Post it with `mrkdwn: false`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlackContent {
    #[serde(flatten)]
    pub message: SlackMessageContent,
    /// The blocks of an admin's own file, which stand instead of the message's. Kept as they are: the crate's types drop
    /// members that they do not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<Value>,
    /// Links and media are unfolded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfurl: bool,
}

impl From<SlackMessageContent> for SlackContent {
    fn from(message: SlackMessageContent) -> Self {
        Self { message, own: Vec::new(), unfurl: false }
    }
}

impl SlackContent {
    /// Slack's buttons want an endpoint that answers when they are pressed: links do not.
    pub fn parts(message: Message) -> Vec<Self> {
        let links = line_of_links(&message.buttons);
        let taken = links.iter().fold(Size::default(), |size, run| Size {
            units: size.units + run.text.chars().map(|c| Characters.char(c)).sum::<usize>(),
            pieces: size.pieces + 1,
        });
        let part = Size {
            units: LONGEST_TEXT - LATE.units - taken.units - "\n\n".len(),
            pieces: MOST_PIECES - LATE.pieces - taken.pieces - 1,
        };
        let unfurl = message.unfurl;
        let mut parts = message.split(&Characters, Limits { part });
        parts.retain(|blocks| !blocks.iter().flat_map(Block::texts).all(is_blank));
        if let Some(last) = parts.last_mut().filter(|_| !links.is_empty()) {
            last.push(Block::Paragraph(links));
        }
        parts.into_iter().map(|blocks| Self { unfurl, ..Self::of(elements(&blocks)) }).collect()
    }

    /// The whole text without blocks. Of what is plain already, the same.
    pub fn plain(&self) -> Self {
        if self.message.blocks.is_none() {
            let message = self.message.clone();
            return Self { message, unfurl: self.unfurl, own: Vec::new() };
        }
        let text = escaped(&flat(self.elements()), 2 * LONGEST_TEXT);
        Self { unfurl: self.unfurl, ..SlackMessageContent::new().with_text(text).into() }
    }

    /// With the note as a last line in italics; [`SlackContent::parts`] left room for it.
    pub fn late(self, note: &str) -> Self {
        let mut left = LATE.units - 2;
        let note = note.chars().take_while(|c| {
            let fits = Characters.char(*c) <= left;
            left = left.saturating_sub(Characters.char(*c));
            fits
        });
        let note = note.collect::<String>().trim().to_owned();
        if note.is_empty() {
            return self;
        }
        if !self.own.is_empty() {
            return self.own_late(&note);
        }
        if self.message.blocks.is_none() {
            let text = format!("{}\n\n{}", self.message.text.unwrap_or_default(), escaped(&note, LATE.units));
            return Self { unfurl: self.unfurl, ..SlackMessageContent::new().with_text(text).into() };
        }
        let mut elements: Vec<_> = self.elements().cloned().collect();
        let italic = Run { style: Style { italic: true, ..Style::default() }, ..Run::plain(note) };
        paragraph(&mut elements, &[italic]);
        Self { unfurl: self.unfurl, ..Self::of(elements) }
    }

    fn of(elements: Vec<SlackRichTextElement>) -> Self {
        let text = escaped(&flat(elements.iter()), LONGEST_FALLBACK);
        let blocks = elements.chunks(MOST_ELEMENTS).map(|some| SlackRichTextBlock::new(some.to_vec()).into()).collect();
        SlackMessageContent::new().with_text(text).with_blocks(blocks).into()
    }

    fn elements(&self) -> impl Iterator<Item = &SlackRichTextElement> {
        self.message.blocks.iter().flatten().flat_map(|block| match block {
            SlackBlock::RichText(block) => block.elements.as_slice(),
            _ => &[],
        })
    }
}

/// The buttons as links in one line.
fn line_of_links(buttons: &[Button]) -> Vec<Run> {
    let mut runs = Vec::new();
    for button in buttons {
        if !runs.is_empty() {
            runs.push(Run::plain(" · "));
        }
        runs.push(Run { link: Some(button.link().clone()), ..Run::plain(button.text()) });
    }
    runs
}

/// Slack's count: characters of the escaped text, and inline elements.
struct Characters;

impl Measure for Characters {
    fn char(&self, c: char) -> usize {
        match c {
            '&' => "&amp;".len(),
            '<' | '>' => "&lt;".len(),
            c => c.len_utf16(),
        }
    }

    fn run(&self, _: &Run) -> Size {
        Size { units: 0, pieces: 1 }
    }

    fn frame(&self, block: &Block) -> Size {
        let indentation = match block {
            Block::Item { depth, .. } => 2 * usize::from(*depth) + "18446744073709551615. ".len(),
            _ => 0,
        };
        Size { units: "\n\n".len() + indentation, pieces: 1 }
    }
}

fn elements(blocks: &[Block]) -> Vec<SlackRichTextElement> {
    let mut elements = Vec::new();
    for block in blocks {
        match block {
            Block::Paragraph(runs) => paragraph(&mut elements, runs),
            Block::Item { depth, marker, runs } => item(&mut elements, *depth, *marker, runs),
            Block::Code { text, .. } => elements.push(SlackRichTextPreformatted::new(vec![text.clone().into()]).into()),
            Block::Quote(runs) => elements.push(SlackRichTextQuote::new(inline(runs)).into()),
        }
    }
    elements
}

/// Neighbouring paragraphs are one section: Slack sets sections off by no more than a line end.
fn paragraph(elements: &mut Vec<SlackRichTextElement>, runs: &[Run]) {
    if let Some(SlackRichTextElement::Section(section)) = elements.last_mut() {
        match section.elements.last_mut() {
            Some(SlackRichTextInlineElement::Text(text)) if text.style.is_none() => text.text.push_str("\n\n"),
            _ => section.elements.push("\n\n".into()),
        }
        section.elements.extend(inline(runs));
    } else {
        elements.push(SlackRichTextSection::new(inline(runs)).into());
    }
}

/// Neighbouring items of one depth and kind, numbers in sequence, are one list.
fn item(elements: &mut Vec<SlackRichTextElement>, depth: u8, marker: Marker, runs: &[Run]) {
    let section = SlackRichTextSection::new(inline(runs));
    let indent = u64::from(depth.min(DEEPEST_LIST));
    let (style, offset) = match marker {
        Marker::Bullet => (SlackRichTextListStyle::Bullet, None),
        Marker::Number(number) => (SlackRichTextListStyle::Ordered, Some(number.saturating_sub(1))),
    };
    if let Some(SlackRichTextElement::List(list)) = elements.last_mut() {
        let next = list.offset.unwrap_or(0).saturating_add(list.elements.len() as u64);
        let continues = offset.is_none_or(|offset| offset == next);
        if list.style == style && list.indent.unwrap_or(0) == indent && continues {
            list.elements.push(section.into());
            return;
        }
    }
    let list = SlackRichTextList::new(style, vec![section.into()]);
    elements
        .push(list.opt_indent((indent > 0).then_some(indent)).opt_offset(offset.filter(|offset| *offset > 0)).into());
}

fn inline(runs: &[Run]) -> Vec<SlackRichTextInlineElement> {
    let element = |run: &Run| {
        let style = style(run.style);
        match &run.link {
            Some(link) => {
                let url = SlackRelaxedUrl(link.as_str().to_owned());
                SlackRichTextLink::new(url).with_text(run.text.clone()).opt_style(style).into()
            }
            None => SlackRichTextText::new(run.text.clone()).opt_style(style).into(),
        }
    };
    runs.iter().map(element).collect()
}

fn style(style: Style) -> Option<SlackRichTextStyle> {
    let on = |on: bool| on.then_some(true);
    let Style { bold, italic, strike, code } = style;
    (style != Style::default()).then(|| {
        SlackRichTextStyle::new().opt_bold(on(bold)).opt_italic(on(italic)).opt_strike(on(strike)).opt_code(on(code))
    })
}

/// The text of the elements, as a notification shows it.
fn flat<'a>(elements: impl Iterator<Item = &'a SlackRichTextElement>) -> String {
    let mut text = String::new();
    for element in elements {
        if !text.is_empty() {
            text.push('\n');
        }
        match element {
            SlackRichTextElement::Section(section) => flat_inline(&section.elements, &mut text),
            SlackRichTextElement::Preformatted(code) => flat_inline(&code.elements, &mut text),
            SlackRichTextElement::Quote(quote) => flat_inline(&quote.elements, &mut text),
            SlackRichTextElement::List(list) => {
                let indentation = "  ".repeat(list.indent.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(0));
                for (index, SlackRichTextListElement::Section(item)) in list.elements.iter().enumerate() {
                    text.push_str(if index > 0 { "\n" } else { "" });
                    text.push_str(&indentation);
                    match list.style {
                        SlackRichTextListStyle::Bullet => text.push_str("• "),
                        SlackRichTextListStyle::Ordered => {
                            let number = list.offset.unwrap_or(0).saturating_add(index as u64).saturating_add(1);
                            text.push_str(&format!("{number}. "));
                        }
                    }
                    flat_inline(&item.elements, &mut text);
                }
            }
        }
    }
    text
}

fn flat_inline(elements: &[SlackRichTextInlineElement], text: &mut String) {
    for element in elements {
        match element {
            SlackRichTextInlineElement::Text(run) => text.push_str(&run.text),
            SlackRichTextInlineElement::Link(link) => {
                text.push_str(link.text.as_deref().unwrap_or(link.url.value().as_str()));
            }
            _ => {} // no message has others
        }
    }
}

/// Escaped as Slack wants it (<https://docs.slack.dev/messaging/formatting-message-text#escaping>), at most so long, never
/// cut inside `&amp;`.
pub(super) fn escaped(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(longest) + 8);
    let mut left = longest;
    let whole: usize = text.chars().map(|c| Characters.char(c)).sum();
    if whole > longest {
        left -= "…".encode_utf16().count();
    }
    for c in text.chars() {
        match left.checked_sub(Characters.char(c)) {
            Some(rest) => left = rest,
            None => {
                out.push('…');
                break;
            }
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;

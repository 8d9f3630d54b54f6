//! A message as a typed tree, before any messenger's form. Nothing in it can be mistaken for markup: text is text.

mod runs;
mod split;
mod words;

pub use runs::Runs;
pub use split::{Limits, MOST_PARTS, Measure, Size};
pub use words::{Language, delayed, shortened};

use url::Url;

/// Deepest list that is still indented by its depth.
pub const DEEPEST_LIST: u8 = 8;

/// What a template made. A blank message cannot be sent; the lane sends the fallback text instead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub blocks: Vec<Block>,
    /// The last line of a message that had to be shortened ("… shortened: TEST-1"), with a link to the whole.
    pub shortened: Vec<Run>,
    /// Under its last part.
    pub buttons: Vec<Button>,
    /// It arrives without a sound, where the messenger knows that.
    pub silent: bool,
    /// Links show what they lead to.
    pub unfurl: bool,
    /// The messenger's own form of it, to be sent whole instead of the blocks where the messenger takes it.
    pub own: Option<Own>,
    /// Why there is no own form although there is a template for one.
    pub unfit: Option<String>,
}

/// A message that an admin wrote in a messenger's own form, with its own front matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    pub form: Form,
    pub buttons: Vec<Button>,
    pub silent: bool,
    pub unfurl: bool,
}

/// Whatever variables brought into it is text.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// For Telegram, with its tags alone.
    Html(String),
    /// For Slack. `text`: what a notification shows, escaped.
    Blocks { blocks: Vec<serde_json::Value>, text: String },
}

/// Most buttons of a message. Telegram takes a hundred; nobody reads a line of more links than these.
pub const MOST_BUTTONS: usize = 8;

/// Longest text of a button, in characters. Slack takes 75 and shows thirty.
const LONGEST_BUTTON: usize = 60;

/// Opens a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Button {
    text: String,
    link: Link,
}

impl Button {
    /// `None` for a text that shows nothing, and for a link that is no page's: messengers refuse both. A text that is too
    /// long is cut.
    pub fn new(text: &str, link: Link) -> Option<Self> {
        let cut = text.char_indices().nth(LONGEST_BUTTON).map(|(end, _)| &text[..end]);
        let text = cut.map_or_else(|| text.to_owned(), |cut| format!("{}…", cut.trim_end()));
        (!is_blank(&text) && link.is_web()).then_some(Self { text, link })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Paragraph(Vec<Run>),
    /// One item of a list. Neighbouring items of one `depth` and one `marker` kind are one list to a reader.
    Item {
        depth: u8,
        marker: Marker,
        runs: Vec<Run>,
    },
    Code {
        language: Option<String>,
        text: String,
    },
    Quote(Vec<Run>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marker {
    Bullet,
    /// The number that stands before the item.
    Number(u64),
}

/// Text of one style. Neighbouring runs of one style and one link are one run; no run is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub text: String,
    pub style: Style,
    pub link: Option<Link>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Style {
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
    pub code: bool,
}

/// Longest target of a link, in bytes. Telegram drops longer ones, Slack refuses them at 3,000.
const LONGEST_LINK: usize = 2_000;

/// A link a person may follow: `http`, `https`, `mailto` or `tel`, checked when made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link(Url);

impl Link {
    /// `None` for any other scheme, for what is no URL at all, and over 2,000 bytes: the text of such a link stays, the
    /// link goes.
    pub fn parse(target: &str) -> Option<Self> {
        let target = target.trim();
        let followed = |url: &Url| matches!(url.scheme(), "http" | "https" | "mailto" | "tel");
        let url = (target.len() <= LONGEST_LINK).then(|| Url::parse(target).ok())?.filter(followed)?;
        (url.as_str().len() <= LONGEST_LINK).then_some(Self(url))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// A page that a browser opens.
    pub fn is_web(&self) -> bool {
        matches!(self.0.scheme(), "http" | "https")
    }

    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl Message {
    /// Without white space at its ends, and without blocks that show nothing.
    pub fn new(mut blocks: Vec<Block>) -> Self {
        blocks.retain(|block| !block.is_blank());
        if let Some(first) = blocks.first_mut() {
            first.trim_start();
        }
        if let Some(last) = blocks.last_mut() {
            last.trim_end();
        }
        Self { blocks, ..Self::default() }
    }

    /// Nothing in it can be seen. Messengers refuse such a message.
    pub fn is_blank(&self) -> bool {
        self.blocks.iter().all(Block::is_blank)
    }
}

impl Block {
    /// The texts of the block, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (runs, code) = match self {
            Self::Paragraph(runs) | Self::Item { runs, .. } | Self::Quote(runs) => (runs.as_slice(), None),
            Self::Code { text, .. } => (&[][..], Some(text.as_str())),
        };
        runs.iter().map(|run| run.text.as_str()).chain(code)
    }

    fn is_blank(&self) -> bool {
        self.texts().all(is_blank)
    }

    fn trim_start(&mut self) {
        match self {
            Self::Paragraph(runs) | Self::Item { runs, .. } | Self::Quote(runs) => {
                runs.drain(..runs.iter().take_while(|run| run.text.trim().is_empty()).count());
                if let Some(first) = runs.first_mut() {
                    first.text.drain(..first.text.len() - first.text.trim_start().len());
                }
            }
            // The first line of code keeps its indentation.
            Self::Code { text, .. } => {
                text.drain(..text.len() - text.trim_start_matches('\n').len());
            }
        }
    }

    fn trim_end(&mut self) {
        match self {
            Self::Paragraph(runs) | Self::Item { runs, .. } | Self::Quote(runs) => {
                while runs.last().is_some_and(|run| run.text.trim().is_empty()) {
                    runs.pop();
                }
                if let Some(last) = runs.last_mut() {
                    last.text.truncate(last.text.trim_end().len());
                }
            }
            Self::Code { text, .. } => text.truncate(text.trim_end().len()),
        }
    }
}

impl Run {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::default(), link: None }
    }
}

/// Nothing in the text can be seen: white space, the characters that messengers show as nothing, and the marks over and
/// under letters that Telegram takes away.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{30a}' | '\u{333}' | '\u{33f}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
                | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_only_where_a_person_may_follow() {
        for (target, taken) in [
            ("https://tracker.yandex.ru/TEST-1", true),
            (" http://example.com ", true),
            ("mailto:a@example.com", true),
            ("tel:+74950000000", true),
            ("javascript:alert(1)", false),
            ("tg://user?id=1", false),
            ("file:///etc/passwd", false),
            ("/relative", false),
            ("", false),
        ] {
            assert_eq!(Link::parse(target).is_some(), taken, "{target}");
        }
        assert!(Link::parse(&format!("https://example.com/{}", "a".repeat(1_900))).is_some());
        assert!(Link::parse(&format!("https://example.com/{}", "a".repeat(2_000))).is_none());
        assert!(
            Link::parse(&format!("https://example.com/{}", "я".repeat(600))).is_none(),
            "it grows when percent-encoded"
        );
    }

    #[test]
    fn a_button_has_a_text_and_a_page() {
        let button = |text: &str, url: &str| Button::new(text, Link::parse(url).unwrap());
        assert!(button("Open", "mailto:a@example.com").is_none() && button("\u{200b} ", "https://a.b").is_none());
        assert_eq!(button(&"я".repeat(60), "https://a.b").unwrap().text(), "я".repeat(60));
        assert_eq!(button(&"я".repeat(61), "https://a.b").unwrap().text(), "я".repeat(60) + "…");
    }

    #[test]
    fn a_message_has_no_white_space_at_its_ends_and_no_blank_blocks() {
        let paragraph = |texts: &[&str]| Block::Paragraph(texts.iter().map(|text| Run::plain(*text)).collect());
        let message = Message::new(vec![
            paragraph(&[" \u{2060}", "\n"]),
            paragraph(&["\n ", " a ", "b"]),
            paragraph(&["c ", "\u{a0}"]),
            Block::Quote(vec![]),
        ]);
        assert_eq!(message.blocks, vec![paragraph(&["a ", "b"]), paragraph(&["c"])]);
        assert!(Message::new(vec![paragraph(&["\u{3164}\u{200b}", "\u{333}\u{30a}"])]).is_blank());
    }

    #[test]
    fn code_keeps_its_first_indentation() {
        let code = |text: &str| Block::Code { language: None, text: text.into() };
        assert_eq!(Message::new(vec![code("\n  a\n\n")]).blocks, vec![code("  a")]);
    }
}

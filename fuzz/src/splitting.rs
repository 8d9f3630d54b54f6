//! A message → the parts that its messengers take.

use campanile::delivery::Messenger;
use campanile::message::{Block, Button, Link, MOST_BUTTONS, Marker, Message, Run, Runs, Style, is_blank};
use campanile::messenger::Content;

use super::sent;

/// More than all parts of either messenger can hold.
const LONGEST: usize = 40_000;

/// `input`: a run of text in each line, behind a word whose letters say what it is.
/// `p`, `i`, `1` to `9`, `q`, `c` begin a paragraph, an item, a numbered item, a quote, code; `>` indents an item;
/// `B`, `I`, `S`, `C`, `L`, `M` are bold, italic, strike, code, link, mail; `n` ends the line before; each `x` doubles
/// the text; `k` makes it a button.
pub fn check(input: &[u8]) {
    let message = message(&String::from_utf8_lossy(input));
    for messenger in [Messenger::Slack, Messenger::Telegram] {
        let parts = Content::parts(messenger, message.clone());
        sent::hold(messenger, &parts, |_| true, |_| {});
        whole(messenger, &message, &parts);
    }
}

/// Nothing is lost, unless the end says so.
fn whole(messenger: Messenger, message: &Message, parts: &[Content]) {
    let text: String = message.blocks.iter().flat_map(Block::texts).collect();
    let buttons: String = match messenger {
        Messenger::Slack if !parts.is_empty() => message.buttons.iter().map(Button::text).collect(),
        _ => String::new(),
    };
    let (shown, whole, end) = (bare(&sent::shown(parts)), bare(&text), bare(&buttons));
    let sent = shown.strip_suffix(&end).unwrap_or_else(|| panic!("no `{end}` at the end of {shown}"));
    let shortened = sent.strip_suffix("…shortened:TEST-").is_some_and(|head| whole.starts_with(head));
    assert!(sent == whole || shortened, "{messenger:?}: {whole}\nbecame {sent}");
}

/// Without what is drawn between the runs (digits, bullets, white space) and what Telegram drops.
fn bare(text: &str) -> String {
    let drawn = |c: char| "•·.0123456789".contains(c) || matches!(c, '\u{333}' | '\u{33f}' | '\u{30a}');
    text.replace(|c: char| is_blank(c.encode_utf8(&mut [0; 4])) || drawn(c), "")
}

fn message(input: &str) -> Message {
    let (mut blocks, mut buttons, mut runs, mut kind) = (Vec::new(), Vec::new(), Runs::default(), Kind::Paragraph);
    let link = Link::parse("https://t.ru/T-1").unwrap();
    let mail = Link::parse("mailto:a@b.ru").unwrap();
    let mut room = LONGEST;
    for line in input.lines() {
        let (letters, text) = line.split_once(' ').unwrap_or(("", line));
        let (mut style, mut to, mut text) = (Style::default(), None, text.to_owned());
        for letter in letters.chars() {
            if let Some(next) = Kind::of(letter) {
                blocks.extend(kind.block(&mut runs));
                kind = next;
            }
            match letter {
                'B' => style.bold = true,
                'I' => style.italic = true,
                'S' => style.strike = true,
                'C' => style.code = true,
                'L' => to = Some(&link),
                'M' => to = Some(&mail),
                'n' => runs.break_line(),
                '>' => kind.indent(),
                'x' if 2 * text.len() <= room => text.push_str(&text.clone()),
                _ => {}
            }
        }
        if letters.contains('k') && buttons.len() < MOST_BUTTONS {
            buttons.extend(Button::new(&text, link.clone()));
        } else if text.len() <= room {
            room -= text.len();
            runs.push(&text, style, to);
        }
    }
    blocks.extend(kind.block(&mut runs));
    let shortened = vec![Run::plain("… shortened: "), Run { link: Some(link), ..Run::plain("TEST-1") }];
    Message { shortened, buttons, ..Message::new(blocks) }
}

#[derive(Clone, Copy)]
enum Kind {
    Paragraph,
    Item { depth: u8, marker: Marker },
    Quote,
    Code,
}

impl Kind {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'p' => Self::Paragraph,
            'i' => Self::Item { depth: 0, marker: Marker::Bullet },
            'q' => Self::Quote,
            'c' => Self::Code,
            _ => Self::Item { depth: 0, marker: Marker::Number(letter.to_digit(10)?.into()) },
        })
    }

    fn indent(&mut self) {
        if let Self::Item { depth, .. } = self {
            *depth = depth.saturating_add(1);
        }
    }

    fn block(self, runs: &mut Runs) -> Option<Block> {
        let runs = runs.take();
        (!runs.is_empty()).then(|| match self {
            Self::Paragraph => Block::Paragraph(runs),
            Self::Item { depth, marker } => Block::Item { depth, marker, runs },
            Self::Quote => Block::Quote(runs),
            Self::Code => Block::Code { language: None, text: runs.into_iter().map(|run| run.text).collect() },
        })
    }
}

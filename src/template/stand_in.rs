//! How a variable's text passes Markdown unread: each of its UTF-16 units is written as one private-use character,
//! U+F0000 + unit, which Markdown takes for a letter, and is turned back in what Markdown made.

use crate::finding::in_lines;

/// Where output ends, in characters: a message has at most four parts of a few thousand, whatever a template repeats.
pub(super) const LONGEST_OUTPUT: usize = 256 * 1024;

const FIRST: u32 = 0xF_0000;

/// Stands for a variable that is absent or empty, so that `**{{x}}**` is bold nothing and not four asterisks. Text has
/// no NUL, so nothing else is written so.
pub(super) const NOTHING: &str = "\u{F0000}";

/// A variable's text as stand-ins, without control characters and without marks that turn the direction of what follows.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(4 * text.len().min(LONGEST_OUTPUT));
    let mut units = [0; 2];
    for c in text.chars().filter(|c| !removed(*c)).take(LONGEST_OUTPUT) {
        out.extend(c.encode_utf16(&mut units).iter().filter_map(|unit| char::from_u32(FIRST + u32::from(*unit))));
    }
    if out.is_empty() { NOTHING.to_owned() } else { out }
}

/// A template's own text, with line ends as `\n` and without characters that would be taken for stand-ins.
pub(super) fn frame(source: &str) -> String {
    in_lines(source).replace(|c| unit(c).is_some(), "\u{FFFD}")
}

/// Turns stand-ins back in text that people see. It remembers the end of the text before.
#[derive(Debug, Default)]
pub(super) struct Shown {
    after_at: bool,
}

impl Shown {
    /// After each `@` of a variable that a letter or digit follows stands U+2060: Telegram finds `@names` by itself.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        restore(text, |c, of_variable| {
            if self.after_at && c.is_alphanumeric() {
                out.push('\u{2060}');
            }
            self.after_at = of_variable && c == '@';
            out.push(c);
        });
        out
    }

    /// Forgets what stood before.
    pub fn interrupt(&mut self) {
        self.after_at = false;
    }
}

/// Turns stand-ins back where no messenger looks for names: in code and in targets of links.
pub(super) fn verbatim(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    restore(text, |c, _| out.push(c));
    out
}

/// A variable's text as a message shows it.
pub(super) fn shown(text: &str) -> String {
    Shown::default().text(&escape(text))
}

/// Nothing of a variable is in the text, not even of one that is absent.
pub(super) fn is_frame(text: &str) -> bool {
    text.chars().all(|c| unit(c).is_none())
}

/// Turns stand-ins back and writes each character as `put` wants it, who also hears whether it is a variable's.
pub(super) fn shown_as(text: &str, put: impl Fn(char, bool, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    restore(text, |c, of_variable| put(c, of_variable, &mut out));
    out
}

fn restore(text: &str, mut put: impl FnMut(char, bool)) {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match unit(c) {
            None => put(c, false),
            Some(0) => {}
            Some(high @ 0xD800..0xDC00) => {
                let low = chars.clone().next().and_then(unit).filter(|low| (0xDC00..0xE000).contains(low));
                let whole = low.and_then(|low| char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)));
                if whole.is_some() {
                    chars.next();
                }
                put(whole.unwrap_or('\u{FFFD}'), true);
            }
            Some(unit) => put(char::from_u32(unit).unwrap_or('\u{FFFD}'), true),
        }
    }
}

fn unit(c: char) -> Option<u32> {
    u32::from(c).checked_sub(FIRST).filter(|unit| *unit <= 0xFFFF)
}

fn removed(c: char) -> bool {
    (c < ' ' && c != '\n' && c != '\t') || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_deceive_is_removed_and_the_rest_comes_back() {
        for (given, shown_as) in [
            ("a\r\nb\u{0}\u{7}\tc", "a\nb\tc"),
            ("\u{202e}txt\u{2066}.exe", "txt.exe"),
            ("@here @ x a@b.c @@я", "@\u{2060}here @ x a@\u{2060}b.c @@\u{2060}я"),
            ("👨‍👩‍👧‍👦 \u{10FFFF}\u{F0041}", "👨‍👩‍👧‍👦 \u{10FFFF}\u{F0041}"),
            ("", ""),
        ] {
            assert_eq!(shown(given), shown_as);
        }
        assert_eq!(escape("\u{1}"), NOTHING);
    }

    #[test]
    fn a_templates_own_stand_ins_are_replaced() {
        assert_eq!(frame("a\u{F0041}\r\n\u{FFFFF}\rb"), "a\u{FFFD}\n\u{FFFD}\nb");
    }

    #[test]
    fn an_at_before_the_templates_text_pings_nobody() {
        let mut shown = Shown::default();
        assert_eq!(shown.text(&escape("x@")), "x@");
        assert_eq!(shown.text("all @admins"), "\u{2060}all @admins");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way(text in any::<String>()) {
            let kept: String = text.chars().filter(|c| !removed(*c)).collect();
            prop_assert_eq!(verbatim(&escape(&text)), kept);
            prop_assert!(escape(&text).chars().all(|c| unit(c).is_some()));
        }
    }
}

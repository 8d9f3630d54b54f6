//! The words of a condition with their places.
//!
//! `cel` keeps no places after parsing and parses by recursion. So the words are read here first: to refuse what is
//! nested too deeply before any recursion meets it, and to find again the part of the text that a finding is about.

/// The longest condition, in bytes.
pub(super) const LONGEST: usize = 16 * 1024;

/// How deeply a condition may nest, in brackets, operators and members that contain one another: no deeper than
/// evaluation fits a thread's stack of 2 MiB, without optimisation too. The tests hold it.
pub(super) const DEEPEST: usize = 32;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word<'a> {
    Name(&'a str),
    /// A string's inside as written, escapes and all.
    Text(&'a str),
    Number,
    Sign(char),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token<'a> {
    pub word: Word<'a>,
    /// Byte in the condition.
    pub at: usize,
}

/// Never fails: what is no CEL becomes signs, and `cel` refuses it.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let (word, length) = if next.is_whitespace() {
            (None, next.len_utf8())
        } else if rest.starts_with("//") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if let Some((inside, length)) = string(rest) {
            (Some(Word::Text(inside)), length)
        } else if next.is_alphabetic() || next == '_' {
            let name = &rest[..word_end(rest, |c| c.is_alphanumeric() || c == '_')];
            (Some(Word::Name(name)), name.len())
        } else if next.is_ascii_digit() {
            (Some(Word::Number), word_end(rest, |c| c.is_ascii_alphanumeric()))
        } else {
            (Some(Word::Sign(next)), next.len_utf8())
        };
        tokens.extend(word.map(|word| Token { word, at }));
        at += length;
    }
    tokens
}

fn word_end(text: &str, inside: impl Fn(char) -> bool) -> usize {
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// A string literal at the start of `rest`, prefix and quotes included: its inside and its whole length.
fn string(rest: &str) -> Option<(&str, usize)> {
    let prefix = rest.bytes().take(2).take_while(|b| b"rRbB".contains(b)).count();
    let raw = rest[..prefix].contains(['r', 'R']);
    let quoted = &rest[prefix..];
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| quoted.starts_with(quote))?;
    let body = &quoted[quote.len()..];
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(quote) {
            return Some((&body[..at], prefix + quote.len() + at + quote.len()));
        }
        let step = |text: &str| text.chars().next().map_or(0, char::len_utf8);
        at += step(&body[at..]);
        if !raw && body[..at].ends_with('\\') {
            at += step(&body[at..]);
        }
    }
    Some((body, rest.len())) // no end: `cel` says so
}

/// The byte from which a condition is nested too deeply, counted so that no syntax tree is deeper than the count.
///
/// A bracket holds what is inside it; members, calls and operators hold what stands to their left; `&&` and `||` are
/// balanced by `cel`, so each of their sides starts anew; `? :` holds everything after it.
pub(super) fn too_deep(tokens: &[Token]) -> Option<usize> {
    #[derive(Default)]
    struct Level {
        choices: usize,
        chain: usize,
    }
    let mut outer: Vec<Level> = Vec::new();
    let mut around = 0; // the counts of all outer levels
    let mut level = Level::default();
    for (index, token) in tokens.iter().enumerate() {
        let doubled = tokens.get(index + 1).is_some_and(|next| next.word == token.word && next.at == token.at + 1);
        match token.word {
            Word::Sign('(' | '[' | '{') => {
                level.chain += 1;
                around += level.choices + level.chain;
                outer.push(std::mem::take(&mut level));
            }
            Word::Sign(')' | ']' | '}') => {
                if let Some(back) = outer.pop() {
                    around -= back.choices + back.chain;
                    level = back;
                }
            }
            Word::Sign(',') => level = Level::default(),
            Word::Sign('&' | '|') if doubled => level.chain = 0,
            Word::Sign('?') => level.choices += 1,
            Word::Sign('.' | '!' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=') | Word::Name("in") => {
                level.chain += 1
            }
            _ => {}
        }
        if around + level.choices + level.chain > DEEPEST {
            return Some(token.at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_where_they_are() {
        let text = r#"issue.tags[0] == "a\"b" && r'\' in [x_1] // end"#;
        let words: Vec<_> = tokens(text).iter().map(|token| (token.at, token.word)).collect();
        assert_eq!(words[0], (0, Word::Name("issue")));
        assert_eq!(words[2], (6, Word::Name("tags")));
        assert_eq!(words[4], (11, Word::Number));
        assert!(words.contains(&(17, Word::Text(r#"a\"b"#))), "{words:?}");
        assert!(words.contains(&(27, Word::Text(r"\"))), "{words:?}");
        assert_eq!(words[words.len() - 2].1, Word::Name("x_1"));
    }

    #[test]
    fn depth_is_bounded_from_both_sides() {
        let deep = |text: &str| too_deep(&tokens(text)).is_some();
        let nest = |n| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        assert!(!deep(&nest(DEEPEST)));
        assert!(deep(&nest(DEEPEST + 1)));
        assert!(!deep(&format!("{}true", "!".repeat(DEEPEST))));
        assert!(deep(&format!("{}true", "!".repeat(DEEPEST + 1))));
        assert!(deep(&format!("a{}", ".b".repeat(DEEPEST + 1))));
        assert!(deep(&format!("{}c", "a ? b : ".repeat(DEEPEST + 1))));
        assert!(deep(&format!("{}d", "a && b ? c : ".repeat(DEEPEST + 1))));
        // Many conditions side by side, and long lists, are no depth.
        assert!(!deep(&["issue.key == \"A-1\""; 500].join(" || ")));
        assert!(!deep(&format!("issue.key in [{}]", ["\"A-1\""; 500].join(", "))));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_words_in_order(text in "\\PC{0,60}") {
            let tokens = tokens(&text);
            proptest::prop_assert!(tokens.windows(2).all(|pair| pair[0].at < pair[1].at));
            too_deep(&tokens);
        }
    }
}

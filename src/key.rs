//! Issue keys: what one looks like, and where they stand in what people write. What any key in the store may hold.

use std::collections::HashSet;

/// Longest queue key taken from a text while the queues are not known. Source: tracker.md, section 6.
const LONGEST_UNKNOWN: usize = 20;
/// Longest word before a hyphen that is looked at.
const LONGEST: usize = 64;
/// So many keys of one text count.
const MOST: usize = 20;
/// What looks like a queue in everybody's texts and is none. Source: code-hosts.md, section 12.4.
const NO_QUEUES: &[&str] = &[
    "UTF", "SHA", "ISO", "RFC", "CVE", "CWE", "HTTP", "TLS", "AES", "MD", "COVID", "PEP", "GH", "PR", "MR", "RC",
    "GPT", "X",
];

/// A key as Tracker writes it into `{{issue.key}}`: the queue's letters (digits are tolerated), a hyphen, a number
/// without leading zeros. Source: tracker.md, section 6.
pub fn is_key(text: &str) -> bool {
    let Some((queue, number)) = text.split_once('-') else { return false };
    queue.len() <= LONGEST
        && queue.starts_with(|first: char| first.is_ascii_alphabetic())
        && queue.chars().all(|c| c.is_ascii_alphanumeric())
        && is_number(number)
}

/// Whether a text of at most so many bytes can be a key in the store, or a part of one: PostgreSQL takes no NUL, and no
/// index takes any length.
pub fn is_storable(text: &str, longest: usize) -> bool {
    text.len() <= longest && !text.contains(char::is_control)
}

/// The queue's key: what stands before the hyphen.
pub fn queue_of(key: &str) -> &str {
    key.split_once('-').map_or(key, |(queue, _)| queue)
}

/// Ten digits at most, no leading zero.
fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

/// What kind of text is looked through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// A title, a description, a comment: upper case only; `_` and `-` before a key make it part of a longer word.
    Text,
    /// A branch's name: `feature/test-123-login` and `fix_TEST-1` name issues, the former only of a known queue.
    Branch,
}

/// Which count of several keys in one place. Source: code-hosts.md, section 12.7.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Keys {
    First,
    #[default]
    All,
    /// Several are none.
    Refuse,
}

impl Keys {
    /// Those that count of the keys of one place.
    ///
    /// # Errors
    /// Several, where only one is wanted; for people.
    pub fn count(self, mut keys: Vec<String>) -> Result<Vec<String>, String> {
        match self {
            Self::First => keys.truncate(1),
            Self::Refuse if keys.len() > 1 => {
                return Err(format!(
                    "{} issues are named, and `keys: refuse` wants one: {}",
                    keys.len(),
                    keys.join(", ")
                ));
            }
            Self::All | Self::Refuse => {}
        }
        Ok(keys)
    }
}

/// The queues whose issues are looked for: `tracker.queues`. Empty: not known; then what everybody's texts hold
/// (`UTF-8`, `CVE-2024`) is left out, and a wrong key is still possible.
#[derive(Clone, Debug, Default)]
pub struct Queues(HashSet<String>);

impl Queues {
    /// Keys of queues, in upper case.
    pub fn new(known: impl IntoIterator<Item = String>) -> Self {
        Self(known.into_iter().collect())
    }

    pub fn are_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// The issue keys in a text, in order, without repeats, twenty at most. Source of the rules: code-hosts.md,
    /// section 12, and tracker.md, section 6, where that is silent.
    pub fn keys(&self, text: &str, place: Place) -> Vec<String> {
        let mut keys = Vec::new();
        for key in self.all(text, place) {
            if !keys.contains(&key) {
                keys.push(key);
            }
            if keys.len() == MOST {
                break;
            }
        }
        keys
    }

    /// A key that a call names, as Tracker writes it: in upper case where its queue is known so, and else at its word.
    pub fn named(&self, key: String) -> String {
        let upper = key.to_ascii_uppercase();
        if self.0.contains(queue_of(&upper)) { upper } else { key }
    }

    /// The first issue key in a text.
    pub fn first(&self, text: &str, place: Place) -> Option<String> {
        self.all(text, place).next()
    }

    fn all(&self, text: &str, place: Place) -> impl Iterator<Item = String> {
        text.match_indices('-').filter_map(move |(hyphen, _)| {
            let number = self.number(&text[hyphen + 1..])?;
            let queue = self.queue(&text[..hyphen], place)?;
            Some(format!("{queue}-{number}"))
        })
    }

    /// The number that a text begins with, when nothing behind it makes it another word. `\b` would not do: it takes
    /// `_` for a letter, and `TEST-123_fix` is fair.
    fn number<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (number, rest) = text.split_at(text.bytes().take(11).take_while(u8::is_ascii_digit).count());
        let mut behind = rest.chars();
        let (next, then) = (behind.next(), behind.next());
        let digit_behind = then.is_some_and(|c| c.is_ascii_digit());
        let goes_on = match next {
            Some('.') => digit_behind,                      // a version: `lodash-4.17`
            Some('-') => digit_behind && !self.are_known(), // `CVE-2024-1234`, but `TEST-123-2nd-try`
            Some(c) => c.is_alphanumeric(),
            None => false,
        };
        (is_number(number) && !goes_on).then_some(number)
    }

    /// The queue that a text ends with.
    fn queue(&self, text: &str, place: Place) -> Option<String> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = text.bytes().rev().take(LONGEST + 1).take_while(is_word).count();
        let (before, word) = text.split_at(text.len() - length);
        // Letters of any script: with a Cyrillic first letter `ТEST-1` is nothing, not `EST-1`.
        let fair = |c: char| !c.is_alphanumeric() && (place == Place::Branch || c != '-');
        let whole = before.chars().next_back().is_none_or(fair).then_some(word);
        let ends = word.match_indices('_').map(|(at, _)| &word[at + 1..]).filter(|_| place == Place::Branch);
        whole.into_iter().chain(ends).find_map(|word| self.known(word, place))
    }

    fn known(&self, word: &str, place: Place) -> Option<String> {
        if !self.are_known() {
            let looks_like_one = (1..=LONGEST_UNKNOWN).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_uppercase())
                && !NO_QUEUES.contains(&word);
            return looks_like_one.then(|| word.to_owned());
        }
        let word = match place {
            Place::Text => word.to_owned(),
            Place::Branch => word.to_ascii_uppercase(),
        };
        self.0.contains(&word).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_what_only_looks_like_one() {
        for key in ["TEST-1", "A-9999999999", "ops2-7"] {
            assert!(is_key(key), "{key}");
        }
        for other in [
            "",
            "TEST",
            "TEST-",
            "TEST-0",
            "TEST-01",
            "-1",
            "TEST-1a",
            "ТЕСТ-1",
            "TE ST-1",
            "TEST-12345678901",
            "{{issue.key}}",
        ] {
            assert!(!is_key(other), "{other}");
        }
    }

    fn known() -> Queues {
        Queues::new(["TEST", "DESIGN", "OPS", "OPS2", "OLD_Q"].map(str::to_owned))
    }

    /// The table of code-hosts.md, section 12, and more of its kinds.
    #[test]
    fn keys_in_texts_and_in_branches() {
        use Place::{Branch, Text};
        for (place, text, with_list, without) in [
            (Text, "TEST-123: fix login", "TEST-123", "TEST-123"),
            (Text, "[TEST-123] fix", "TEST-123", "TEST-123"),
            (Text, "fix (TEST-123).", "TEST-123", "TEST-123"),
            (Text, "#TEST-123", "TEST-123", "TEST-123"),
            (Text, "TEST-1, DESIGN-42 and TEST-1", "TEST-1 DESIGN-42", "TEST-1 DESIGN-42"),
            (Text, "Switch to UTF-8, fix CVE-2024-1234, SHA-256, X-1", "", ""),
            (Text, "test-123 fix", "", ""),
            (Branch, "feature/test-123-login", "TEST-123", ""),
            (Branch, "test-123", "TEST-123", ""),
            (Branch, "TEST-123_login", "TEST-123", "TEST-123"),
            (Branch, "user/fix-TEST-123", "TEST-123", "TEST-123"),
            (Branch, "feature-TEST-123", "TEST-123", "TEST-123"),
            (Branch, "fix_TEST-1", "TEST-1", "TEST-1"),
            (Branch, "fix_old_q-1", "OLD_Q-1", ""),
            (Branch, "release-1", "", ""),
            (Branch, "revert-45-feature/test-123", "TEST-123", ""),
            (Branch, "lodash-4.17.21", "", ""),
            (Text, "XTEST-6 TEST- TEST-0 TEST-12a TEST--1 MYTEST_TEST-1 a-TEST-1", "", "XTEST-6"),
            (Text, "ТЕСТ-5 ВTEST-7 ЗадачаTEST-1 TEST-1я TEST-1² é_TEST-2", "", ""),
            (Text, "задача TEST-123, см. OPS-15.", "TEST-123 OPS-15", "TEST-123 OPS-15"),
            (Text, "TEST-123_fix TEST-4-login", "TEST-123 TEST-4", "TEST-123 TEST-4"),
            (Text, "TEST-123-2nd-try", "TEST-123", ""),
            (Text, "TEST-1.2 TEST-1.", "TEST-1", "TEST-1"),
            (Text, "https://tracker.yandex.ru/TEST-9?from=x", "TEST-9", "TEST-9"),
            (Text, "OPS2-7 OLD_Q-8", "OPS2-7 OLD_Q-8", ""),
            (Text, "TEST-12345678901 TEST-9999999999", "TEST-9999999999", "TEST-9999999999"),
            (Text, "ABCDEFGHIJKLMNOPQRSTU-1 ABCDEFGHIJKLMNOPQRST-1", "", "ABCDEFGHIJKLMNOPQRST-1"),
        ] {
            assert_eq!(known().keys(text, place).join(" "), with_list, "{text}, known queues");
            assert_eq!(Queues::default().keys(text, place).join(" "), without, "{text}");
        }
    }

    #[test]
    fn a_named_key_is_in_upper_case_where_its_queue_is_known() {
        for (named, with_list) in [("test-1", "TEST-1"), ("Test-1", "TEST-1"), ("other-1", "other-1")] {
            assert_eq!(known().named(named.into()), with_list);
            assert_eq!(Queues::default().named(named.into()), named);
        }
    }

    #[test]
    fn twenty_keys_of_a_text_count() {
        let text: String = (1..100).map(|n| format!("TEST-{n} ")).collect();
        let keys = known().keys(&text, Place::Text);
        assert_eq!((keys.len(), keys[19].as_str()), (20, "TEST-20"));
    }

    proptest! {
        #[test]
        fn a_key_stands_in_the_text_as_a_word_of_its_own(text in r"[TESAtв1029_.\- ]{0,40}") {
            for queues in [known(), Queues::default()] {
                for key in queues.keys(&text, Place::Text) {
                    prop_assert!(is_key(&key));
                    let alone = text.match_indices(&key).any(|(at, _)| {
                        let before = text[..at].chars().next_back();
                        let behind = text[at + key.len()..].chars().next();
                        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-')
                            && !behind.is_some_and(char::is_alphanumeric)
                    });
                    prop_assert!(alone, "{} in {}", key, text);
                }
            }
        }
    }
}

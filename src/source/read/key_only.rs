//! An issue's key out of a text that nothing else could be read from.

use std::borrow::Cow;

use super::taken::KEY_NAMES;
use crate::key::is_key;

/// The keys in a text that follow a key's name as in JSON, each once, two at most: more than one says all. A `.json`
/// variable's quotes are escaped, so its text cannot hold one.
pub fn keys_by_name(text: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let quotes = text.match_indices('"');
    for key in quotes.filter_map(|(quote, _)| named(&text[quote + 1..])) {
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
        if keys.len() == 2 {
            break;
        }
    }
    keys
}

/// How often members of this name stand in a text, on any level; two at most: more than one says all.
pub fn times_named(text: &str, name: &str) -> usize {
    let quotes = text.match_indices('"');
    let members = quotes.filter_map(|(quote, _)| text[quote + 1..].strip_prefix(name)?.strip_prefix('"'));
    members.filter(|rest| rest.trim_start().starts_with(':')).take(2).count()
}

fn named(text: &str) -> Option<&str> {
    let rest = KEY_NAMES.iter().find_map(|name| text.strip_prefix(name)?.strip_prefix('"'))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let value = value.trim_start_matches('"').trim_start();
    let end = value.bytes().take(128).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
    let goes_on = value[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (is_key(&value[..end]) && !goes_on).then_some(&value[..end])
}

/// A JSON text with its escapes resolved as far as a key's neighbours matter: the `n` of `\nTEST-1` is none.
pub fn without_escapes(text: &str) -> Cow<'_, str> {
    if !(text.starts_with(['{', '[', '"']) && text.contains('\\')) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let unicode = escape.strip_prefix('u').and_then(|digits| u32::from_str_radix(digits.get(..4)?, 16).ok());
        let (c, length) = match (unicode, escape.chars().next()) {
            (Some(code), _) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
            (None, Some('n' | 't' | 'r' | 'b' | 'f')) => (' ', 1),
            (None, Some(c)) => (c, c.len_utf8()),
            (None, None) => ('\\', 0),
        };
        plain.push(c);
        rest = &escape[length..];
    }
    plain.push_str(rest);
    plain.into()
}

//! `k=v&k=v`: forms and query strings.

use serde_json::Value;

use super::taken::Taken;

/// A body that begins as a form does: a plain name and `=`. Free text with a link in it is none.
pub fn form(text: &str) -> Option<Taken> {
    let (name, _) = text.split_once('=')?;
    let plain = |c: char| c.is_alphanumeric() || "_.-+%[]".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| query(text))
}

/// Percent-encoded UTF-8, `+` for a space.
pub fn query(text: &str) -> Taken {
    let mut taken = Taken::default();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        taken.add(name.into_owned(), Value::String(value.into_owned()));
    }
    taken
}

/// The values alone, as a text in which an issue's key can be looked for.
pub fn values(text: &str) -> String {
    let values = url::form_urlencoded::parse(text.as_bytes());
    values.map(|(name, value)| if value.is_empty() { name } else { value }).collect::<Vec<_>>().join("\n")
}

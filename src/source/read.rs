//! Bytes to members: the steps of reading, in order (tracker.md 3.4). Each step must find an issue's key.
//!
//! Strict JSON, form and query are built. Mending broken JSON and scanning text for a key come with a later version;
//! until then such a call is answered 400 and kept for the admin.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::key::is_key;
use crate::event::Reading;

/// Names under which bodies carry an issue's key.
const KEY_MEMBERS: &[&str] = &["key", "issue_key", "issueKey", "issue.key"];

/// What reading needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where a person opens an issue: `<web_url>/<key>`.
    pub web_url: String,
}

/// Members with an issue's key among them.
#[derive(Debug)]
pub struct Found {
    pub key: String,
    /// Without the absent ones: empty, null, blank, a lone `{{…}}`.
    pub members: Map<String, Value>,
    pub reading: Reading,
    /// Something may be lost: a member stood twice.
    pub degraded: bool,
}

impl Reader {
    /// # Errors
    /// Why no step could read it, for the sender and the admin.
    pub fn read(&self, query: &str, body: &[u8]) -> Result<Found, String> {
        let text = String::from_utf8_lossy(body);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
        let (members, why) = match strict(text) {
            Ok((members, repeated)) => {
                if let Some(found) = found(members, Reading::Strict, repeated) {
                    return Ok(found);
                }
                (None, "the JSON object has no issue key in `key`, `issue_key`, `issueKey` or `issue.key`".to_owned())
            }
            Err(error) if text.is_empty() => (None, format!("the body is empty ({error})")),
            Err(error) => (pairs(text), format!("the body is no JSON object: {error}")),
        };
        members
            .and_then(|members| found(members, Reading::Form, false))
            .or_else(|| found(pairs(query)?, Reading::Query, false))
            .ok_or(why)
    }
}

fn found(members: Map<String, Value>, reading: Reading, degraded: bool) -> Option<Found> {
    let members = present(members);
    let of_issue = |members: &Map<String, Value>| match members.get("issue") {
        Some(Value::String(key)) => Some(key.clone()),
        Some(Value::Object(issue)) => issue.get("key").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let named = KEY_MEMBERS.iter().filter_map(|name| members.get(*name)?.as_str().map(str::to_owned));
    let key = named.chain(of_issue(&members)).map(|key| key.trim().to_owned()).find(|key| is_key(key))?;
    Some(Found { key, members, reading, degraded })
}

/// A JSON object by the standard, its first member of each name, and whether one stood twice.
fn strict(text: &str) -> serde_json::Result<(Map<String, Value>, bool)> {
    let mut repeated = false;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = FirstCounts(&mut repeated).deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(members) => Ok((members, repeated)),
        _ => Err(serde::de::Error::custom("it is JSON, but not an object")),
    }
}

/// `k=v&k=v`, percent-encoded, `+` for a space; the first of a name counts. `None`: it does not look like that.
fn pairs(text: &str) -> Option<Map<String, Value>> {
    if !text.contains('=') {
        return None;
    }
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.trim().as_bytes()) {
        members.entry(name.into_owned()).or_insert_with(|| Value::String(value.into_owned()));
    }
    Some(members)
}

/// Leaves out what counts as absent, everywhere.
fn present(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name, present_value(value)?))).collect()
}

fn present_value(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if is_absent(&text) => None,
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(present_value).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(members) => {
            let members = present(members);
            (!members.is_empty()).then_some(Value::Object(members))
        }
        other => Some(other),
    }
}

/// Blank, or a variable that Tracker did not replace.
fn is_absent(text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    text.is_empty() || inner.is_some_and(|inner| !inner.contains("{{") && !inner.contains("}}"))
}

/// Reads any JSON value; of members with one name the first counts, so that what an author's text smuggles in behind
/// the trigger's own literals changes nothing.
struct FirstCounts<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for FirstCounts<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FirstCounts<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(FirstCounts(self.0))? {
            list.push(item);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(FirstCounts(self.0))?;
            match members.entry(name) {
                serde_json::map::Entry::Occupied(_) => *self.0 = true,
                serde_json::map::Entry::Vacant(vacant) => {
                    vacant.insert(value);
                }
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(query: &str, body: &str) -> Result<Found, String> {
        Reader { web_url: "https://tracker.yandex.ru".into() }.read(query, body.as_bytes())
    }

    #[test]
    fn the_key_is_found_where_bodies_carry_it() {
        for body in [
            r#"{"key":"TEST-1"}"#,
            r#"{"issue_key":"TEST-1"}"#,
            r#"{"issueKey":" TEST-1 "}"#,
            r#"{"issue":"TEST-1"}"#,
            r#"{"issue":{"key":"TEST-1"}}"#,
            r#"{"issue.key":"TEST-1"}"#,
            r#"{"key":"{{issue.key}}","issue":"TEST-1"}"#,
            "\u{feff}  {\"key\":\"TEST-1\"}\n",
        ] {
            let found = read("", body).unwrap();
            assert_eq!(
                (found.key.as_str(), found.reading, found.degraded),
                ("TEST-1", Reading::Strict, false),
                "{body}"
            );
        }
    }

    #[test]
    fn a_repeated_member_counts_once_and_is_told() {
        let found = read("", r#"{"key":"TEST-1","priority":"minor","priority":"blocker","key":"EVIL-9"}"#).unwrap();
        assert_eq!((found.key.as_str(), found.degraded), ("TEST-1", true));
        assert_eq!(found.members["priority"], "minor");
    }

    #[test]
    fn form_and_query_are_read_when_json_is_not() {
        let found = read("", "event=created&key=TEST-1&summary=a+%22b%22+%26+%D0%BA&tags=").unwrap();
        assert_eq!((found.reading, found.members["summary"].as_str()), (Reading::Form, Some("a \"b\" & к")));
        assert!(!found.members.contains_key("tags"));
        let found = read("event=created&key=TEST-1&key=EVIL-9", "").unwrap();
        assert_eq!((found.reading, found.key.as_str()), (Reading::Query, "TEST-1"));
    }

    #[test]
    fn what_counts_as_absent_is_left_out_everywhere() {
        let body = r#"{"key":"TEST-1","a":"","b":null,"c":[],"d":" \t","e":"{{issue.x}}","f":{"g":null},"h":[null,""],"i":"a {{b}}","j":false,"k":0}"#;
        let members = read("", body).unwrap().members;
        let left: Vec<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(left, ["i", "j", "k", "key"]);
    }

    #[test]
    fn unreadable_calls_say_why() {
        let deep = format!("{{\"key\":\"TEST-1\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for (body, expected) in [
            ("", "empty"),
            ("[1]", "not an object"),
            (r#"{"key":"TEST-1""#, "no JSON object"),
            (r#"{"no":"key"}"#, "no issue key"),
            (deep.as_str(), "recursion"),
            ("just text about TEST-1", "no JSON object"),
        ] {
            let why = read("", body).unwrap_err();
            assert!(why.contains(expected), "{body:.40}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), query in ".{0,60}") {
            let _ = Reader { web_url: String::new() }.read(&query, &body);
        }

        #[test]
        fn any_text_survives_as_it_was(text in ".{1,80}") {
            prop_assume!(!is_absent(&text));
            let body = serde_json::json!({"key": "TEST-1", "summary": text}).to_string();
            let found = read("", &body).unwrap();
            prop_assert_eq!(found.members["summary"].as_str(), Some(text.as_str()));
        }
    }
}

//! What a step of reading took from a call.

use serde_json::{Map, Value};

use crate::key::is_key;

/// Names under which bodies carry an issue's key; `issue` is a key or an object with one.
pub const KEY_NAMES: &[&str] = &["key", "issue_key", "issueKey", "issue.key", "issue"];

/// Members by name. Of one name the first counts, so that what an author's text smuggles in behind the trigger's own
/// literals changes nothing.
#[derive(Debug, Default)]
pub struct Taken {
    members: Map<String, Value>,
    /// The names of the key that stand here, as they came: of them too the first counts.
    key_names: Vec<&'static str>,
    /// A name stood twice, here or further in.
    pub repeated: bool,
}

impl Taken {
    /// Whether the name is new.
    pub fn add(&mut self, name: String, value: Value) -> bool {
        let serde_json::map::Entry::Vacant(vacant) = self.members.entry(name) else {
            self.repeated = true;
            return false;
        };
        self.key_names.extend(KEY_NAMES.iter().find(|known| *known == vacant.key()));
        vacant.insert(value);
        true
    }

    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub fn remove(&mut self, name: &str) {
        self.members.remove(name);
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// The issue's key: of several the first counts.
    pub fn key(&self) -> Option<String> {
        self.named_keys().next().map(str::to_owned)
    }

    /// The keys that its names give, each once.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.named_keys() {
            if !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
        keys
    }

    fn named_keys(&self) -> impl Iterator<Item = &str> {
        let named = |name: &&str| match self.members.get(*name)? {
            Value::Object(issue) => issue.get("key")?.as_str(),
            value => value.as_str(),
        };
        self.key_names.iter().filter_map(named).map(str::trim).filter(|key| is_key(key))
    }

    /// All members, absent ones too.
    pub fn into_all(self) -> Map<String, Value> {
        self.members
    }

    /// The members without those that count as absent, everywhere.
    pub fn into_present(self) -> Map<String, Value> {
        present(self.members)
    }
}

/// Members without those that count as absent, everywhere.
pub fn present(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name, present_value(value)?))).collect()
}

/// `None`: nothing of it is left.
pub fn present_value(value: Value) -> Option<Value> {
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
pub fn is_absent(text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    text.is_empty() || inner.is_some_and(|inner| !inner.contains("{{") && !inner.contains("}}"))
}

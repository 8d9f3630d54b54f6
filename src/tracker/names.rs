//! From names that people read to keys, in Russian and in English (T 4.8): a body often has no more than the name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::client::Api;
use super::error::Error;
use super::queue::Term;
use crate::message::Language;

/// A name that is not there does not make us ask again more often.
const ASKED_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dictionary {
    Statuses,
    Priorities,
    Types,
    Resolutions,
}

impl Dictionary {
    /// The last part of its address.
    fn path(self) -> &'static str {
        match self {
            Self::Statuses => "statuses",
            Self::Priorities => "priorities",
            Self::Types => "issuetypes",
            Self::Resolutions => "resolutions",
        }
    }
}

/// Keys by name, without case. `None`: two keys share the name.
pub(super) struct Names {
    keys: HashMap<String, Option<String>>,
    asked_at: Duration,
}

impl Names {
    fn of(terms: impl IntoIterator<Item = Term>, asked_at: Duration) -> Self {
        let mut keys: HashMap<String, Option<String>> = HashMap::new();
        for Term { key, name } in terms {
            let Some(key) = key else { continue };
            let names: Vec<&str> = match &name {
                Value::Object(by_language) => by_language.values().filter_map(Value::as_str).collect(),
                name => name.as_str().into_iter().collect(),
            };
            for name in names {
                let known = keys.entry(folded(name)).or_insert_with(|| Some(key.clone()));
                if known.as_ref() != Some(&key) {
                    *known = None;
                }
            }
        }
        Self { keys, asked_at }
    }
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Api {
    /// The key of what is called so in either language; `None` where nothing is, or two are. Remembered for an hour.
    ///
    /// # Errors
    /// Tracker's refusal, or that there was no answer.
    pub async fn key_of(&self, dictionary: Dictionary, name: &str) -> Result<Option<String>, Error> {
        let (known, path, name) = (&self.client.known.0, dictionary.path(), folded(name));
        if let Some(names) = known.names.get(path) {
            let is_fresh = known.clock.elapsed().saturating_sub(names.asked_at) < ASKED_EVERY;
            if let Some(key) = names.keys.get(&name).or(is_fresh.then_some(&None)) {
                return Ok(key.clone());
            }
        }
        let asked_at = known.clock.elapsed();
        let mut terms = self.terms(path, Language::Ru).await?;
        terms.extend(self.terms(path, Language::En).await?);
        let names = Arc::new(Names::of(terms, asked_at));
        known.names.put(path, names.clone());
        Ok(names.keys.get(&name).cloned().flatten())
    }
}

//! A call to the API: which endpoint it means, and what it asks for.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::super::call::Call;
use super::answer::{Refused, Reply, done};

/// The endpoints by the name that [`Call::method`] has: method, and path below `/v3`, a `*` for each of [`Call::path`].
const ENDPOINTS: &[(&str, &str, &str)] = &[
    ("issue", "GET", "issues/*"),
    ("patch", "PATCH", "issues/*"),
    ("transitions", "GET", "issues/*/transitions"),
    ("execute", "POST", "issues/*/transitions/*/_execute"),
    ("comments", "GET", "issues/*/comments"),
    ("add_comment", "POST", "issues/*/comments"),
    ("comment", "GET", "issues/*/comments/*"),
    ("changelog", "GET", "issues/*/changelog"),
    ("myself", "GET", "myself"),
    ("user", "GET", "users/*"),
    ("statuses", "GET", "statuses"),
    ("issuetypes", "GET", "issuetypes"),
    ("priorities", "GET", "priorities"),
    ("resolutions", "GET", "resolutions"),
    ("fields", "GET", "fields"),
    ("queue", "GET", "queues/*"),
    ("local_fields", "GET", "queues/*/localFields"),
    ("triggers", "GET", "queues/*/triggers"),
    ("create_trigger", "POST", "queues/*/triggers"),
    ("trigger", "GET", "queues/*/triggers/*"),
    ("patch_trigger", "PATCH", "queues/*/triggers/*"),
    ("webhook_log", "GET", "queues/*/triggers/*/webhooks/log"),
    ("applications", "GET", "applications"),
    ("remote_links", "GET", "issues/*/remotelinks"),
    ("add_remote_link", "POST", "issues/*/remotelinks"),
    ("delete_remote_link", "DELETE", "issues/*/remotelinks/*"),
];

/// What a call to nowhere is named: the path, or only its method, is unknown.
pub(super) const NOWHERE: &str = "nowhere";
pub(super) const WRONG_METHOD: &str = "wrong method";

/// How many entries a page has, unless `perPage` says otherwise (section 4.3).
const PAGE: usize = 50;

/// In which language names are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Language {
    Ru,
    En,
}

/// A call that was let in.
pub(super) struct Asked<'a> {
    pub call: &'a Call,
    /// The id of the token's owner.
    pub by: String,
    pub language: Language,
    pub now: Timestamp,
}

impl Asked<'_> {
    pub fn part(&self, n: usize) -> &str {
        self.call.path.get(n).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.call.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refused> {
        let read = |value: &str| value.parse().map_err(|_| wrong(name));
        self.query(name).map(read).transpose()
    }

    pub fn flag(&self, name: &str, unless_given: bool) -> Result<bool, Refused> {
        Ok(self.number(name)?.unwrap_or(unless_given))
    }

    pub fn body(&self) -> &Map<String, Value> {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.call.body.as_object().unwrap_or(&NOTHING)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.call.body.get(name).and_then(Value::as_str)
    }

    /// One page of a list in the relative style (section 4.3): those after `id`, at most `perPage`.
    pub fn page<T>(&self, path: &str, all: &[T], id: impl Fn(&T) -> String, shown: impl Fn(&T) -> Value) -> Reply {
        let most = self.number("perPage")?.map_or(PAGE, NonZeroUsize::get);
        let from = match self.query("id") {
            None => 0,
            Some(last) => {
                let known = all.iter().position(|entry| id(entry) == last);
                known.ok_or_else(|| wrong("id"))? + 1
            }
        };
        let page = &all[from..all.len().min(from.saturating_add(most))];
        let mut answer = done(200, &page.iter().map(shown).collect());
        let link = |last: Option<String>, rel: &str| {
            let kept = self.call.query.iter().filter(|(name, _)| name != "id");
            let last = last.map(|last| ("id".to_owned(), last));
            let query =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.cloned().chain(last)).finish();
            format!("<{path}?{query}>; rel=\"{rel}\"")
        };
        let mut links = vec![link(None, "first")];
        if let Some(last) = page.last().filter(|_| from + page.len() < all.len()) {
            links.push(link(Some(id(last)), "next"));
        }
        answer.headers.push(("link", links.join(", ")));
        Ok(answer)
    }
}

/// A parameter of the query that is not what it should be.
pub(super) fn wrong(name: &str) -> Refused {
    Refused::field(400, name, "Неверное значение параметра")
}

/// The name of an endpoint, and what stands at its `*`.
pub(super) fn endpoint(method: &str, path: &str) -> (&'static str, Vec<String>) {
    let Some(path) = path.strip_prefix("/v3/") else { return (NOWHERE, Vec::new()) };
    let places = |pattern: &str| {
        let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
        let mut places = Vec::new();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(places),
                (Some("*"), Some(part)) if !part.is_empty() => places.push(decoded(part)),
                (wanted, given) if wanted == given => {}
                _ => return None,
            }
        }
    };
    let mut found = (NOWHERE, Vec::new());
    for (name, verb, pattern) in ENDPOINTS {
        match places(pattern) {
            Some(places) if *verb == method => return (name, places),
            Some(places) => found = (WRONG_METHOD, places),
            None => {}
        }
    }
    found
}

fn decoded(part: &str) -> String {
    let plain = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"); // they mean something in a form only
    form_urlencoded::parse(plain.as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

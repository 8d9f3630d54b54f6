//! Tracker's REST API v3, and what Tracker calls by itself: triggers' HTTP requests and external applications.
//!
//! Source: tracker.md, whose sections are named where a rule comes from. Where it is silent, this is the stricter side:
//! a request without a header of organisation is 403, one with both 400; a body that is not declared JSON 400; a field
//! that is unknown or not on the transition's screen 422; a path or method that it does not name 404 or 405. Each PATCH
//! and each comment raises the version; the changelog runs from the oldest entry on.

mod deeds;
mod dictionary;
mod field;
mod issue;
mod queue;
mod seeds;
#[cfg(test)]
mod tests;
mod user;
mod workflow;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION};
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::call::{Answer, Call, Form, Given, of_interest};
use super::pace::{Window, whole_seconds};
use super::record::{Posted, Record};
use super::server::{Refusal, Service, Simulator};
pub use dictionary::Dictionary;
pub use field::FieldKind;
pub use queue::TrackerQueue;
pub use seeds::{Conflict, TrackerIssue, TrackerOptions};
pub use user::TrackerUser;
pub use workflow::TrackerTransition;

use field::Field;
use issue::Issue;

pub type TrackerSimulator = Simulator<Tracker>;

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
];

/// What a call to nowhere is named: the path, or only its method, is unknown.
const NOWHERE: &str = "nowhere";
const WRONG_METHOD: &str = "wrong method";

/// As in the fixtures.
const TRACKER_JSON: &str = "application/json;charset=UTF-8";
/// How many entries a page has, unless `perPage` says otherwise (section 4.3).
const PAGE: usize = 50;

/// The service behind the server.
pub struct Tracker {
    options: TrackerOptions,
    /// `http://host:port`, which every `self` begins with.
    base: String,
    users: Vec<TrackerUser>,
    /// Tokens that are let in, and the id of whose each is.
    tokens: HashMap<String, String>,
    queues: Vec<queue::Queue>,
    fields: Vec<Field>,
    issues: Vec<Issue>,
    pace: Option<Window>,
    /// The last number given to anything that needs one.
    last: u64,
}

/// In which language names are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Language {
    Ru,
    En,
}

/// A call that was let in.
struct Asked<'a> {
    call: &'a Call,
    /// The id of the token's owner.
    by: String,
    language: Language,
    now: Timestamp,
}

type Reply = Result<Answer, Refused>;

/// How Tracker says no (section 4.2).
#[derive(Clone, Debug)]
struct Refused {
    status: u16,
    messages: Vec<String>,
    fields: Map<String, Value>,
    retry_after: Option<u64>,
}

impl Refused {
    fn new(status: u16, message: &str) -> Self {
        Self { status, messages: vec![message.to_owned()], fields: Map::new(), retry_after: None }
    }

    fn field(status: u16, field: &str, message: &str) -> Self {
        let fields = Map::from_iter([(field.to_owned(), message.into())]);
        Self { status, messages: Vec::new(), fields, retry_after: None }
    }

    fn no_issue() -> Self {
        Self::new(404, "Задача не существует.")
    }

    fn no_right() -> Self {
        Self::new(403, "Недостаточно прав")
    }

    fn words(&self) -> String {
        let fields = self.fields.iter().map(|(field, message)| format!("{field}: {}", message.as_str().unwrap_or("")));
        self.messages.iter().cloned().chain(fields).collect::<Vec<_>>().join("; ")
    }

    fn answer(self) -> Answer {
        let (status, retry_after) = (self.status, self.retry_after);
        if status == 429 && retry_after.is_none() {
            return Answer::new(429, TRACKER_JSON, "", Given::RateLimited { retry_after }); // as in the fixtures
        }
        let given = match status {
            429 => Given::RateLimited { retry_after },
            _ => Given::Refused(self.words()),
        };
        let body = json!({"errors": self.fields, "errorMessages": self.messages, "statusCode": status});
        Answer::new(status, TRACKER_JSON, body.to_string(), given)
    }
}

fn done(status: u16, body: &Value) -> Answer {
    Answer::new(status, TRACKER_JSON, body.to_string(), Given::Done)
}

/// UTC, with three digits and no colon in the offset (section 4.1).
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

impl Asked<'_> {
    fn part(&self, n: usize) -> &str {
        self.call.path.get(n).map_or("", String::as_str)
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.call.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refused> {
        let read = |value: &str| value.parse().map_err(|_| Refused::field(400, name, "Неверное значение параметра"));
        self.query(name).map(read).transpose()
    }

    fn flag(&self, name: &str, unless_given: bool) -> Result<bool, Refused> {
        Ok(self.number(name)?.unwrap_or(unless_given))
    }

    fn body(&self) -> &Map<String, Value> {
        static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.call.body.as_object().unwrap_or(&NOTHING)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.call.body.get(name).and_then(Value::as_str)
    }

    /// One page of a list in the relative style (section 4.3): those after `id`, at most `perPage`.
    fn page<T>(&self, path: &str, all: &[T], id: impl Fn(&T) -> String, shown: impl Fn(&T) -> Value) -> Reply {
        let most = self.number("perPage")?.filter(|most| *most > 0).unwrap_or(PAGE);
        let from = match self.query("id") {
            None => 0,
            Some(last) => {
                let known = all.iter().position(|entry| id(entry) == last);
                known.ok_or_else(|| Refused::field(400, "id", "Неверное значение параметра"))? + 1
            }
        };
        let page = &all[from..all.len().min(from + most)];
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

impl Service for Tracker {
    const OK_WITHOUT_ID: &'static str = "{}";

    fn read(head: &Parts, body: &Bytes, _: bool) -> Call {
        let (method, path) = endpoint(head.method.as_str(), head.uri.path());
        let mut call = Call { method: method.to_owned(), headers: of_interest(head), ..Call::default() };
        let of_issue = head.uri.path().strip_prefix("/v3/issues/").is_some();
        call.conversation = path.first().filter(|_| of_issue).cloned();
        call.path = path;
        call.query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        call.headers.extend(header(ACCEPT_LANGUAGE).map(|value| ("accept-language".to_owned(), value.to_owned())));
        call.token = header(AUTHORIZATION).and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
            let known = ["oauth", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known.then(|| token.trim().to_owned())
        });
        if !body.is_empty() {
            match (Form::of(&head.headers), serde_json::from_slice(body)) {
                (Form::Json, Ok(Value::Object(object))) => call.body = Value::Object(object),
                (Form::Json, _) => call.problem = Some("Тело запроса не является объектом JSON."),
                _ => call.problem = Some("Content-Type: application/json обязателен."),
            }
        }
        call
    }

    fn handle(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        self.enter(call, now).and_then(|asked| self.answer(&asked, record)).unwrap_or_else(Refused::answer)
    }

    fn refuse(&self, _: &Call, refusal: Refusal<'_>) -> Answer {
        match refusal {
            Refusal::RateLimited { retry_after } => too_many(retry_after),
            // `423 Достигнут предел`: the status by its prefix, as with Telegram; 400 without one.
            Refusal::Error(words) => {
                let prefix = words.split_once(' ').and_then(|(status, text)| Some((status.parse().ok()?, text)));
                let (status, text) = prefix.unwrap_or((400, words));
                Refused::new(status, text)
            }
            Refusal::Internal => Refused::new(500, "Внутренняя ошибка сервера."),
            Refusal::Moved { .. } => Refused::no_issue(),
        }
        .answer()
    }

    fn shown(&self, post: &Posted) -> Value {
        json!({ "text": post.text })
    }
}

fn too_many(retry_after: Option<u64>) -> Refused {
    Refused { retry_after, ..Refused::new(429, "Too many requests") }
}

/// The name of an endpoint, and what stands at its `*`.
fn endpoint(method: &str, path: &str) -> (&'static str, Vec<String>) {
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

impl Tracker {
    /// Token, organisation, pace, then what the body must be.
    fn enter<'a>(&mut self, call: &'a Call, now: Timestamp) -> Result<Asked<'a>, Refused> {
        let by = call.token.as_ref().and_then(|token| self.tokens.get(token)).cloned();
        let by = by.ok_or_else(|| Refused::new(401, "Not authenticated"))?;
        let header = |name: &str| call.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let organization = match (header("x-org-id"), header("x-cloud-org-id")) {
            (Some(_), Some(_)) => return Err(Refused::new(400, "Укажите X-Org-ID или X-Cloud-Org-ID, но не оба.")),
            (Some(id), None) => ("x-org-id", id),
            (None, Some(id)) => ("x-cloud-org-id", id),
            (None, None) => return Err(Refused::new(403, "Организация не указана.")),
        };
        if self.options.organization.as_ref().is_some_and(|own| (own.0, own.1.as_str()) != organization) {
            return Err(Refused::new(403, "Организация недоступна."));
        }
        if let Some(pace) = &mut self.pace {
            let wait = pace.wait(now);
            if !wait.is_zero() {
                return Err(too_many(self.options.says_wait.then(|| whole_seconds(wait))));
            }
            pace.take(now);
        }
        match call.problem {
            Some(problem) => Err(Refused::new(400, problem)),
            None => {
                let english =
                    header("accept-language").is_some_and(|value| value.to_ascii_lowercase().starts_with("en"));
                let language = if english { Language::En } else { Language::Ru };
                Ok(Asked { call, by, language, now })
            }
        }
    }

    fn answer(&mut self, asked: &Asked<'_>, record: &mut Record) -> Reply {
        let dictionary = |dictionary: Dictionary| {
            Ok(done(200, &dictionary.list(&self.base, asked.language, asked.flag("localized", true)?)))
        };
        match asked.call.method.as_str() {
            "issue" => self.get_issue(asked),
            "patch" => self.patch(asked),
            "transitions" => self.transitions(asked),
            "execute" => self.execute(asked),
            "comments" => self.comments(asked),
            "add_comment" => self.add_comment(asked, record),
            "comment" => self.comment(asked),
            "changelog" => self.changelog(asked),
            "myself" => Ok(done(200, &self.user(&asked.by)?.whole(&self.base))),
            "user" => Ok(done(200, &self.user(asked.part(0))?.whole(&self.base))),
            "statuses" => dictionary(Dictionary::Statuses),
            "issuetypes" => dictionary(Dictionary::Types),
            "priorities" => dictionary(Dictionary::Priorities),
            "resolutions" => dictionary(Dictionary::Resolutions),
            "fields" => {
                let global = self.fields.iter().filter(|field| field.queue.is_none());
                Ok(done(200, &global.map(|field| field.whole(self, asked.language)).collect()))
            }
            "queue" => self.get_queue(asked),
            "local_fields" => self.local_fields(asked),
            WRONG_METHOD => Err(Refused::new(405, "Метод не поддерживается.")),
            _ => Err(Refused::new(404, "Ресурс не найден.")),
        }
    }

    /// 24 hex digits that nothing else has.
    fn next_hex(&mut self) -> String {
        self.last += 1;
        hex(self.last)
    }
}

fn hex(number: u64) -> String {
    format!("65f1c0ffee{number:014x}")
}

impl Simulator<Tracker> {
    /// Listens at `addr` (port 0: any free one).
    ///
    /// # Errors
    /// The address cannot be bound, or a seed has what Tracker would not take.
    pub async fn start(addr: SocketAddr, options: TrackerOptions) -> io::Result<Self> {
        let clock = options.clock.clone();
        let tracker = Tracker::new(options).map_err(|refused| io::Error::other(refused.words()))?;
        let simulator = Self::serve(addr, clock, false, tracker).await?;
        let base = simulator.api_url();
        simulator.service(|tracker| tracker.base = base);
        Ok(simulator)
    }

    /// What `tracker.url` must be to come here.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// How many requests came to this endpoint, by its name in [`Call::method`].
    pub fn requests(&self, endpoint: &str) -> usize {
        self.record(|record| record.arrivals().iter().filter(|arrival| arrival.method == endpoint).count())
    }
}

impl Tracker {
    fn new(options: TrackerOptions) -> Result<Self, Refused> {
        let mut tracker = Self {
            base: String::new(),
            users: Vec::new(),
            tokens: HashMap::new(),
            queues: Vec::new(),
            fields: Field::global(),
            issues: Vec::new(),
            pace: options.per_second.map(|most| Window::new(most, Duration::from_secs(1))),
            last: 0,
            options,
        };
        tracker.sow()?;
        Ok(tracker)
    }
}

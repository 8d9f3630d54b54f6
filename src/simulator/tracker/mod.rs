//! Tracker's REST API v3, and what Tracker calls by itself: triggers' HTTP requests and external applications.
//!
//! Source: tracker.md, whose sections are named where a rule comes from. Where it is silent, this is the stricter side:
//! a request without a header of organisation is 403, one with both 400; a body that is not declared JSON 400; a field
//! that is unknown or not on the transition's screen 422; a path or method that it does not name 404 or 405. Each PATCH
//! and each comment raises the version; the changelog runs from the oldest entry on.

mod answer;
mod asked;
mod board;
mod deeds;
mod dictionary;
mod field;
mod issue;
mod link;
mod outgoing;
mod queue;
mod render;
mod seeds;
#[cfg(test)]
mod tests;
mod trigger;
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
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::form_urlencoded;

use super::call::{Answer, Call, Form, of_interest};
use super::pace::{Window, whole_seconds};
use super::record::{Posted, Record};
use super::server::{Refusal, Service, Simulator};
pub use dictionary::Dictionary;
pub use field::FieldKind;
pub use link::{ObjectInfo, TrackerApplication};
pub use outgoing::Callback;
pub use queue::TrackerQueue;
pub use render::Empty;
pub use seeds::{Conflict, TrackerIssue, TrackerOptions};
pub use user::TrackerUser;
pub use workflow::TrackerTransition;

use answer::{Refused, Reply, done, time, too_many};
use asked::{Asked, Language, WRONG_METHOD, endpoint};
use field::Field;
use issue::Issue;
use outgoing::{Entry, Round};
use trigger::Trigger;

pub type TrackerSimulator = Simulator<Tracker>;

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
    applications: Vec<TrackerApplication>,
    triggers: Vec<Trigger>,
    /// Every attempt of a trigger's request that has ended, oldest first.
    log: Vec<Entry>,
    callbacks: Vec<Callback>,
    /// To the task that sends them.
    out: mpsc::UnboundedSender<Round>,
    /// The last number given to anything that needs one.
    last: u64,
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
        let mut answer =
            self.enter(call, now).and_then(|asked| self.answer(&asked, record)).unwrap_or_else(Refused::answer);
        answer.headers.push(("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())); // by its own clock
        answer
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
            "triggers" => self.list_triggers(asked),
            "create_trigger" => self.create_trigger(asked),
            "trigger" => self.get_trigger(asked),
            "patch_trigger" => self.patch_trigger(asked),
            "webhook_log" => self.webhook_log(asked),
            "applications" => Ok(done(200, &self.applications.iter().map(|one| one.shown(&self.base)).collect())),
            "remote_links" => self.remote_links(asked),
            "add_remote_link" => self.add_remote_link(asked),
            "delete_remote_link" => self.delete_remote_link(asked),
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
        let (out, rounds) = mpsc::unbounded_channel();
        let tracker = Tracker::new(options, out).map_err(|refused| io::Error::other(refused.words()))?;
        let simulator = Self::serve(addr, clock, false, tracker).await?;
        let base = simulator.api_url();
        simulator.service(|tracker| tracker.base = base);
        simulator.beside(|inside| outgoing::send(inside, rounds));
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
    fn new(options: TrackerOptions, out: mpsc::UnboundedSender<Round>) -> Result<Self, Refused> {
        let mut tracker = Self {
            base: String::new(),
            users: Vec::new(),
            tokens: HashMap::new(),
            queues: Vec::new(),
            fields: Field::global(),
            issues: Vec::new(),
            pace: options.per_second.map(|most| Window::new(most, Duration::from_secs(1))),
            applications: Vec::new(),
            triggers: Vec::new(),
            log: Vec::new(),
            callbacks: Vec::new(),
            out,
            last: 0,
            options,
        };
        tracker.sow()?;
        Ok(tracker)
    }
}

//! What Tracker calls by itself: sent by a task beside the server, so that the API never waits for it.
//!
//! A trigger's request is sent again after no answer in 10 s or a 500, five times in all, 10 s and twice as long each
//! time after that (section 1.4; the factor is not documented). First attempts of one issue go in order; those that are
//! repeated do not hold up what comes after. An `https` address gives no answer: there is no TLS here.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::super::server::Inside;
use super::answer::{Reply, done};
use super::asked::{Asked, wrong};
use super::{Tracker, time};
use crate::clock::Clock;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Entries of the log in one answer, unless `limit` says otherwise, and at most (section 1.5).
const LOGGED: usize = 10;
const MOST_LOGGED: usize = 100;

/// What one change of an issue wants to be sent, in this order.
pub(super) struct Round {
    pub issue: String,
    pub calls: Vec<Outgoing>,
}

/// A request, rendered once: a repeated one is the same.
pub(super) struct Outgoing {
    pub method: String,
    pub endpoint: String,
    pub headers: Vec<(String, String)>,
    /// As in a trigger's `authContext`.
    pub auth: Value,
    pub body: Option<String>,
    pub purpose: Purpose,
}

pub(super) enum Purpose {
    Trigger { id: u64, action: Value, issue: String },
    Application,
}

/// One attempt of a trigger's request, in the log.
pub(super) struct Entry {
    trigger: u64,
    issue: String,
    start: Timestamp,
    shown: Value,
}

/// A call to an external application, and how it was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Callback {
    pub method: String,
    pub url: String,
    pub status: Option<u16>,
}

pub(super) struct Answered {
    pub status: u16,
    headers: HeaderMap,
    pub body: Bytes,
}

pub(super) type Caller = Client<HttpConnector, Full<Bytes>>;

/// One connection for each call: none is left open for the other side to wait for.
pub(super) fn caller() -> Caller {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http()
}

/// Sends what comes, as long as it comes.
pub(super) async fn send(inside: Inside<Tracker>, mut rounds: mpsc::UnboundedReceiver<Round>) {
    let (mut sending, caller) = (JoinSet::new(), caller());
    let mut lines: HashMap<String, CancellationToken> = HashMap::new();
    loop {
        tokio::select! {
            Some(end) = sending.join_next() => note(end),
            round = rounds.recv() => {
                let Some(round) = round else { break };
                let through = CancellationToken::new();
                let before = lines.insert(round.issue.clone(), through.clone());
                sending.spawn(send_round(inside.clone(), caller.clone(), round, before, through));
            }
        }
    }
    while let Some(end) = sending.join_next().await {
        note(end);
    }
}

fn note(end: Result<(), JoinError>) {
    if let Err(panic) = end {
        error!(%panic, "a simulator's call ended badly");
    }
}

async fn send_round(
    inside: Inside<Tracker>,
    caller: Caller,
    round: Round,
    before: Option<CancellationToken>,
    through: CancellationToken,
) {
    let through = through.drop_guard();
    if let Some(before) = before {
        before.cancelled().await;
    }
    let mut repeated = JoinSet::new();
    for call in round.calls {
        if let Some(failed) = call.attempt(&inside, &caller).await {
            repeated.spawn(repeat(inside.clone(), caller.clone(), call, failed));
        }
    }
    drop(through);
    while let Some(end) = repeated.join_next().await {
        note(end);
    }
}

async fn repeat(inside: Inside<Tracker>, caller: Caller, call: Outgoing, mut failed: Timestamp) {
    for pause in (0..ATTEMPTS - 1).map(|doubled| FIRST_PAUSE * 2_u32.pow(doubled)) {
        inside.clock().sleep_until(after(failed, pause)).await;
        match call.attempt(&inside, &caller).await {
            Some(again) => failed = again,
            None => return,
        }
    }
}

/// In milliseconds since 1970. Waits are counted from a moment, not from when somebody comes to wait.
fn after(moment: Timestamp, time: Duration) -> i64 {
    moment.as_millisecond() + time.as_millis() as i64
}

impl Outgoing {
    /// Sends it and notes how it ended. Where Tracker sends it again: when it failed.
    async fn attempt(&self, inside: &Inside<Tracker>, caller: &Caller) -> Option<Timestamp> {
        let start = inside.clock().now();
        let answered = self.ask(caller, inside.clock()).await;
        let end = inside.clock().now();
        let failed = answered.as_ref().is_none_or(|answered| answered.status == 500);
        let again = failed && matches!(self.purpose, Purpose::Trigger { .. });
        inside.change(|tracker| match &self.purpose {
            Purpose::Trigger { id, action, issue } => {
                let number = tracker.next_hex();
                let shown = self.logged(&number, (*id, action, issue), (start, end), answered);
                tracker.log.push(Entry { trigger: *id, issue: issue.clone(), start, shown });
            }
            Purpose::Application => {
                let (method, url) = (self.method.clone(), self.endpoint.clone());
                tracker.callbacks.push(Callback { method, url, status: answered.map(|answered| answered.status) });
            }
        });
        again.then_some(end)
    }

    /// None: no answer in time, or no address to ask.
    pub async fn ask(&self, caller: &Caller, clock: &Clock) -> Option<Answered> {
        let (request, deadline) = (self.request()?, after(clock.now(), ANSWER_WITHIN));
        let answered = async {
            let (head, body) = caller.request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answered { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::select! {
            answered = answered => answered,
            () = clock.sleep_until(deadline) => None,
        }
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let body = self.body.clone().filter(|_| self.method != "GET").unwrap_or_default();
        let mut request = Request::builder().method(self.method.as_str()).uri(self.endpoint.as_str());
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        if let Some((name, value)) = authorization(&self.auth) {
            request = request.header(name.parse::<HeaderName>().ok()?, value);
        }
        request.body(Full::from(body)).ok()
    }

    /// One entry of the log: values of headers are masked, the address is not (section 1.5).
    fn logged(
        &self,
        number: &str,
        (trigger, action, issue): (u64, &Value, &str),
        (start, end): (Timestamp, Timestamp),
        answered: Option<Answered>,
    ) -> Value {
        let masked = |names: &mut dyn Iterator<Item = String>| -> Map<String, Value> {
            names.map(|name| (name, "XXX".into())).collect()
        };
        let auth = authorization(&self.auth).map(|(name, _)| name);
        let headers = masked(&mut self.headers.iter().map(|(name, _)| name.clone()).chain(auth));
        let mut shown = json!({"id": number, "startTime": time(start), "endTime": time(end),
            "duration": end.duration_since(start).as_millis() as i64, "triggerId": trigger.to_string(),
            "actionId": action, "issueId": issue, "request": {"method": self.method, "endpoint": self.endpoint,
            "headers": headers, "body": self.body, "webhookAuthContext": {"type": self.auth["type"]}}});
        if let Some(answered) = answered {
            let headers = masked(&mut answered.headers.keys().map(|name| name.to_string()));
            shown["response"] = json!({"statusCode": answered.status, "headers": headers});
        }
        shown
    }
}

/// The header that an `authContext` adds (section 1.2).
fn authorization(auth: &Value) -> Option<(String, String)> {
    let word = |name: &str| auth[name].as_str().unwrap_or_default();
    match word("type") {
        "basic" => {
            let pair = STANDARD.encode(format!("{}:{}", word("login"), word("password")));
            Some((AUTHORIZATION.to_string(), format!("Basic {pair}")))
        }
        "oauth" => Some((word("headerName").to_owned(), format!("{} {}", word("tokenType"), word("accessToken")))),
        _ => None,
    }
}

impl Tracker {
    /// Newest first.
    pub(super) fn webhook_log(&self, asked: &Asked<'_>) -> Reply {
        let at = self.asked_trigger(asked)?;
        let limit = asked.number("limit")?.unwrap_or(LOGGED);
        if !(1..=MOST_LOGGED).contains(&limit) {
            return Err(wrong("limit"));
        }
        let border = |name: &str| {
            let read = |text| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text);
            asked.query(name).map(|text| read(text).map_err(|_| wrong(name))).transpose()
        };
        let (from, to, issue) = (border("from")?, border("to")?, asked.query("issueId"));
        let wanted = |entry: &&Entry| {
            entry.trigger == self.triggers[at].id
                && issue.is_none_or(|issue| entry.issue == issue)
                && from.is_none_or(|from| entry.start >= from)
                && to.is_none_or(|to| entry.start <= to)
        };
        let newest = self.log.iter().rev().filter(wanted).take(limit);
        Ok(done(200, &newest.map(|entry| entry.shown.clone()).collect()))
    }

    pub(super) fn last_logged(&self) -> Option<&Value> {
        self.log.last().map(|entry| &entry.shown)
    }

    pub(super) fn logged(&self) -> Vec<Value> {
        self.log.iter().map(|entry| entry.shown.clone()).collect()
    }
}

//! Slack: Web API under `/api/<method>`, incoming webhooks under `/services/T…/B…/X…`.

mod blocks;
mod methods;
mod mrkdwn;
mod seen;
mod shapes;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Answer, Call, Form, Given, add_pairs, bearer, of_interest};
use super::pace::{Bucket, Window, whole_seconds};
use super::record::{Posted, Record, Seen};
use super::server::{Refusal, Service, Simulator};
use crate::clock::Clock;
pub use webhook::SlackWebhook;

pub type SlackSimulator = Simulator<Slack>;

/// What people would see of a `chat.postMessage` with these arguments, without a server and wherever it goes.
///
/// # Errors
/// Slack's word, and everything that is wrong.
pub fn judge(arguments: &Value) -> Result<Seen, String> {
    methods::content(arguments)
        .and_then(|()| methods::metadata(arguments))
        .map_err(|refused| format!("{} {}", refused.code, Value::Object(refused.more)))?;
    Ok(seen::message(arguments))
}

/// What this Slack knows and how strict it is. At first: any token, any channel and webhook, real pace.
#[derive(Clone)]
pub struct SlackOptions {
    clock: Clock,
    pace: Option<SlackPace>,
    lean: bool,
    tokens: Option<HashSet<String>>,
    only_known: bool,
    channels: HashMap<String, SlackChannel>,
    webhooks: HashMap<String, SlackWebhook>,
    users: HashMap<String, String>,
    /// What the tokens may do, in the order in which Slack names it.
    scopes: Vec<String>,
}

/// What an app is given for all that is called here, if its tokens are not said to have less.
const SCOPES: [&str; 6] =
    ["chat:write", "channels:read", "groups:read", "channels:history", "groups:history", "users:read.email"];

/// How many calls are taken. Slack names one post a second per channel and webhook, "short bursts tolerated", and
/// tier 3 for the other methods. Source: docs.slack.dev, "Rate limits".
#[derive(Clone, Copy, Debug)]
pub struct SlackPace {
    pub per_channel_per_second: f64,
    pub burst: u32,
    /// Each other method, in any 60 seconds. `auth.test` and `blocks.validate` are free.
    pub per_method_per_minute: u32,
}

impl Default for SlackPace {
    fn default() -> Self {
        Self { per_channel_per_second: 1.0, burst: 3, per_method_per_minute: 50 }
    }
}

/// One conversation and the bot's standing in it.
#[derive(Clone, Debug, Default)]
pub struct SlackChannel {
    pub name: String,
    pub private: bool,
    pub archived: bool,
    /// The bot was not invited: `not_in_channel`, and `channel_not_found` where the channel is private.
    pub left: bool,
    /// Refuses posts with this code, for example `restricted_action`.
    pub refuses: Option<String>,
}

impl SlackOptions {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            pace: Some(SlackPace::default()),
            lean: false,
            tokens: None,
            only_known: false,
            channels: HashMap::new(),
            webhooks: HashMap::new(),
            users: HashMap::new(),
            scopes: SCOPES.map(str::to_owned).to_vec(),
        }
    }

    pub fn pace(mut self, pace: SlackPace) -> Self {
        self.pace = Some(pace);
        self
    }

    pub fn without_pace(mut self) -> Self {
        self.pace = None;
        self
    }

    /// Answers without judging and keeps counts only: for load.
    pub fn lean(mut self) -> Self {
        self.lean = true;
        self.without_pace()
    }

    /// Only this token, and others named so, are accepted.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.get_or_insert_default().insert(token.into());
        self
    }

    pub fn channel(mut self, id: impl Into<String>, channel: SlackChannel) -> Self {
        self.channels.insert(id.into(), channel);
        self
    }

    /// A webhook by its path, `/services/T…/B…/X…`.
    pub fn webhook(mut self, path: impl Into<String>, webhook: SlackWebhook) -> Self {
        self.webhooks.insert(path.into(), webhook);
        self
    }

    pub fn user(mut self, email: impl Into<String>, id: impl Into<String>) -> Self {
        self.users.insert(email.into(), id.into());
        self
    }

    /// The tokens may do this and nothing else.
    pub fn scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        self.scopes = scopes.into_iter().map(str::to_owned).collect();
        self
    }

    /// Channels and webhooks that were not named do not exist.
    pub fn only_known(mut self) -> Self {
        self.only_known = true;
        self
    }
}

impl Simulator<Slack> {
    /// Listens at `addr` (port 0: any free one).
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(addr: SocketAddr, options: SlackOptions) -> io::Result<Self> {
        let (clock, lean) = (options.clock.clone(), options.lean);
        Self::serve(addr, clock, lean, Slack::new(options)).await
    }

    /// What `slack.api_url` must be to come here.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.addr())
    }

    /// Makes a channel, or changes what it is from the next call on.
    pub fn set_channel(&self, id: impl Into<String>, channel: SlackChannel) {
        self.service(|slack| slack.options.channels.insert(id.into(), channel));
    }

    pub fn set_webhook(&self, path: impl Into<String>, webhook: SlackWebhook) {
        self.service(|slack| slack.options.webhooks.insert(path.into(), webhook));
    }

    /// From the next call on only these tokens are accepted; none: no token is.
    pub fn set_tokens(&self, tokens: impl IntoIterator<Item = String>) {
        self.service(|slack| slack.options.tokens = Some(tokens.into_iter().collect()));
    }
}

/// The service behind the server.
pub struct Slack {
    options: SlackOptions,
    /// In microseconds; each message's is later than the one before.
    last_ts: i64,
    buckets: HashMap<String, Bucket>,
    windows: HashMap<String, Window>,
}

/// How Slack says no, except by 429.
struct Refused {
    code: String,
    /// Other members of the answer.
    more: Map<String, Value>,
}

impl From<&str> for Refused {
    fn from(code: &str) -> Self {
        Self { code: code.to_owned(), more: Map::new() }
    }
}

impl Refused {
    fn with(code: &str, errors: Vec<String>) -> Self {
        let messages: Vec<_> = errors.iter().map(|error| format!("[ERROR] {error}")).collect();
        let more = [("errors", json!(errors)), ("response_metadata", json!({ "messages": messages }))];
        Self { code: code.to_owned(), more: more.map(|(name, value)| (name.to_owned(), value)).into_iter().collect() }
    }
}

impl Service for Slack {
    const OK_WITHOUT_ID: &'static str = r#"{"ok":true}"#;

    fn read(head: &Parts, body: &Bytes, lean: bool) -> Call {
        let path = head.uri.path();
        let hook = path.starts_with("/services/");
        let method = if hook { "webhook" } else { path.strip_prefix("/api/").unwrap_or_default() };
        let mut call = Call { method: method.to_owned(), token: bearer(&head.headers), ..Call::default() };
        if lean {
            call.conversation = if hook { Some(path.to_owned()) } else { lean_channel(body) };
            return call;
        }
        call.headers = of_interest(head);
        let mut arguments = Map::new();
        add_pairs(&mut arguments, head.uri.query().unwrap_or_default().as_bytes());
        let takes_json = hook || methods::takes_json(method);
        match Form::of(&head.headers) {
            Form::Json if takes_json => match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => arguments.extend(object),
                Ok(_) => call.problem = Some("json_not_object"),
                Err(_) => call.problem = Some("invalid_json"),
            },
            Form::Urlencoded => add_pairs(&mut arguments, body),
            Form::Json => {} // ignored, so every argument is missing
            Form::Other => call.problem = Some("invalid_post_type"),
            Form::Missing if !body.is_empty() => call.problem = Some("missing_post_type"),
            Form::Missing => {}
        }
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let charset = content_type.split(';').skip(1).find_map(|part| part.trim().strip_prefix("charset="));
        match (Form::of(&head.headers), charset) {
            (Form::Json | Form::Urlencoded, Some(charset))
                if !charset.trim_matches('"').eq_ignore_ascii_case("utf-8") =>
            {
                call.problem = Some("invalid_charset");
            }
            (Form::Json, None) => call.warning = Some("missing_charset"),
            (Form::Urlencoded, Some(_)) => call.warning = Some("superfluous_charset"),
            _ => {}
        }
        if let (None, Some(Value::String(token))) = (&call.token, arguments.remove("token")) {
            call.token = Some(token);
        }
        let channel = arguments.get("channel").and_then(Value::as_str);
        call.conversation = if hook { Some(path.to_owned()) } else { channel.map(str::to_owned) };
        call.body = Value::Object(arguments);
        call
    }

    fn handle(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        if self.options.lean {
            return self.lean(call, now, record);
        }
        if call.method == "webhook" {
            return self.webhook(call, now, record);
        }
        let pace = match call.method.as_str() {
            "auth.test" | "blocks.validate" => None,
            "chat.postMessage" => call.conversation.clone(),
            _ => Some(format!("method {}", call.method)),
        };
        if let Some(wait) = pace.as_deref().and_then(|key| self.wait(key, now)) {
            return self.refuse(call, Refusal::RateLimited { retry_after: Some(whole_seconds(wait)) });
        }
        let answered = self.method(call, now, record);
        let is_token = !matches!(&answered, Err(refused) if matches!(&*refused.code, "not_authed" | "invalid_auth"));
        let mut answer = match answered {
            Ok(mut reply) => {
                if let Some(key) = pace {
                    self.take(&key, now);
                }
                reply.insert("ok".to_owned(), true.into());
                if let Some(warning) = call.warning {
                    warn(&mut reply, warning);
                }
                Answer::json(200, &Value::Object(reply), Given::Done)
            }
            Err(refused) => refusal(200, refused),
        };
        if is_token && call.method != "blocks.validate" {
            answer.headers.push(("x-oauth-scopes", self.options.scopes.join(",")));
        }
        answer
    }

    fn refuse(&self, call: &Call, refusal_wanted: Refusal<'_>) -> Answer {
        let hook = call.method == "webhook";
        match refusal_wanted {
            Refusal::RateLimited { retry_after } => {
                Answer::json(429, &json!({"ok": false, "error": "ratelimited"}), Given::RateLimited { retry_after })
            }
            Refusal::Error(word) if hook => webhook::refusal(word),
            Refusal::Internal if hook => webhook::refusal("rollup_error"),
            Refusal::Moved { .. } if hook => webhook::refusal("channel_not_found"),
            Refusal::Error(code) => refusal(200, code.into()),
            Refusal::Internal => refusal(500, "internal_error".into()),
            Refusal::Moved { .. } => refusal(200, "channel_not_found".into()),
        }
    }

    fn shown(&self, post: &Posted) -> Value {
        let mut message = methods::shown(post, false);
        for name in ["mrkdwn", "attachments", "markdown_text"] {
            if let Some(member) = methods::parsed(&post.body, name) {
                message[name] = member;
            }
        }
        message
    }
}

fn refusal(status: u16, refused: Refused) -> Answer {
    let mut body = refused.more;
    body.insert("ok".to_owned(), false.into());
    body.insert("error".to_owned(), refused.code.as_str().into());
    Answer::json(status, &Value::Object(body), Given::Refused(refused.code))
}

/// `warning` names all warnings with commas, `response_metadata.warnings` lists them.
fn warn(reply: &mut Map<String, Value>, warning: &str) {
    let before = reply.get("warning").and_then(Value::as_str);
    let all = before.map_or_else(|| warning.to_owned(), |before| format!("{before},{warning}"));
    let list: Vec<_> = all.split(',').collect();
    reply.insert("response_metadata".to_owned(), json!({ "warnings": list }));
    reply.insert("warning".to_owned(), all.into());
}

fn lean_channel(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Lean {
        channel: String,
    }
    serde_json::from_slice(body).ok().map(|lean: Lean| lean.channel)
}

impl Slack {
    fn new(options: SlackOptions) -> Self {
        Self { options, last_ts: 0, buckets: HashMap::new(), windows: HashMap::new() }
    }

    /// The next message's name: seconds and microseconds, unique over all channels.
    fn ts(&mut self, now: Timestamp) -> String {
        self.last_ts = now.as_microsecond().max(self.last_ts + 1);
        format!("{}.{:06}", self.last_ts / 1_000_000, self.last_ts % 1_000_000)
    }

    fn wait(&mut self, key: &str, now: Timestamp) -> Option<Duration> {
        let pace = self.options.pace?;
        let wait = if key.starts_with("method ") {
            let window = || Window::new(pace.per_method_per_minute, Duration::from_secs(60));
            self.windows.entry(key.to_owned()).or_insert_with(window).wait(now)
        } else {
            let bucket = || Bucket::new(pace.per_channel_per_second, pace.burst, now);
            self.buckets.entry(key.to_owned()).or_insert_with(bucket).wait(now)
        };
        (!wait.is_zero()).then_some(wait)
    }

    fn take(&mut self, key: &str, now: Timestamp) {
        if let Some(window) = self.windows.get_mut(key) {
            window.take(now);
        } else if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.take(now);
        }
    }

    fn lean(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        let ts = self.ts(now);
        match call.method.as_str() {
            "webhook" => {
                record.post_counted();
                Answer::new(200, super::call::TEXT, "ok", Given::Done)
            }
            "chat.postMessage" => {
                record.post_counted();
                let channel = Value::from(call.conversation.as_deref().unwrap_or("C0"));
                let body = format!(
                    r#"{{"ok":true,"channel":{channel},"ts":"{ts}","message":{{"type":"message","ts":"{ts}"}}}}"#
                );
                Answer::new(200, super::call::JSON, body, Given::Done)
            }
            _ => Answer::new(200, super::call::JSON, r#"{"ok":true}"#, Given::Done),
        }
    }
}

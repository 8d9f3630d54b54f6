//! Telegram's Bot API under `/bot<token>/<method>`, behind any path.

mod chats;
mod entities;
mod html;
mod keyboard;
mod methods;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Answer, Call, Form, Given, add_pairs, of_interest};
use super::pace::{Bucket, Window, whole_seconds};
use super::record::{Posted, Record, Seen};
use super::server::{Refusal, Service, Simulator};
use crate::clock::Clock;
pub use chats::{ChatKind, ChatState, TelegramChat, Topic};

pub type TelegramSimulator = Simulator<Telegram>;

/// The name under which a chat's or a topic's messages are recorded. General is no topic.
pub fn conversation(chat: i64, topic: Option<i64>) -> String {
    match topic {
        Some(topic) => format!("{chat}/{topic}"),
        None => chat.to_string(),
    }
}

/// What people would see of a `sendMessage` with these arguments, without a server and wherever it goes.
///
/// # Errors
/// Telegram's description.
pub fn judge(arguments: &Value) -> Result<Seen, String> {
    methods::judge(arguments).map_err(|refused| refused.description)
}

/// What this Telegram knows and how strict it is. At first: any token, any chat and topic, real pace.
#[derive(Clone)]
pub struct TelegramOptions {
    clock: Clock,
    pace: Option<TelegramPace>,
    lean: bool,
    tokens: Option<HashSet<String>>,
    only_known: bool,
    chats: HashMap<i64, TelegramChat>,
}

/// How many messages and edits are taken. Source: core.telegram.org/bots/faq, "My bot is hitting limits".
#[derive(Clone, Copy, Debug)]
pub struct TelegramPace {
    pub per_chat_per_second: f64,
    pub burst: u32,
    /// In any 60 seconds, for chats with a negative id.
    pub per_group_per_minute: u32,
    /// In any second, over all chats.
    pub per_bot_per_second: u32,
}

impl Default for TelegramPace {
    fn default() -> Self {
        Self { per_chat_per_second: 1.0, burst: 3, per_group_per_minute: 20, per_bot_per_second: 30 }
    }
}

impl TelegramOptions {
    pub fn new(clock: Clock) -> Self {
        let pace = Some(TelegramPace::default());
        Self { clock, pace, lean: false, tokens: None, only_known: false, chats: HashMap::new() }
    }

    pub fn pace(mut self, pace: TelegramPace) -> Self {
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

    pub fn chat(mut self, id: i64, chat: TelegramChat) -> Self {
        self.chats.insert(id, chat);
        self
    }

    /// Chats that were not named do not exist.
    pub fn only_known(mut self) -> Self {
        self.only_known = true;
        self
    }
}

impl Simulator<Telegram> {
    /// Listens at `addr` (port 0: any free one).
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(addr: SocketAddr, options: TelegramOptions) -> io::Result<Self> {
        let (clock, lean) = (options.clock.clone(), options.lean);
        Self::serve(addr, clock, lean, Telegram::new(options)).await
    }

    /// What `telegram.api_url` must be to come here.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Makes a chat, or changes what it is from the next call on.
    pub fn set_chat(&self, id: i64, chat: TelegramChat) {
        self.service(|telegram| telegram.options.chats.insert(id, chat));
    }

    /// From the next call on only these tokens are accepted; none: no token is.
    pub fn set_tokens(&self, tokens: impl IntoIterator<Item = String>) {
        self.service(|telegram| telegram.options.tokens = Some(tokens.into_iter().collect()));
    }
}

/// The service behind the server.
pub struct Telegram {
    options: TelegramOptions,
    /// The newest `message_id` of each chat.
    ids: HashMap<i64, i64>,
    messages: HashMap<(i64, i64), methods::Message>,
    chats: HashMap<i64, Bucket>,
    groups: HashMap<i64, Window>,
    bot: Option<Window>,
}

/// How Telegram says no.
#[derive(Debug, Default, Eq, PartialEq)]
struct Refused {
    /// With its prefix, which says the status.
    description: String,
    retry_after: Option<u64>,
    migrate_to: Option<i64>,
}

impl Refused {
    fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::default() }
    }

    /// `Bad Request: …`; a reason of the parser loses its capital, as on the real server.
    fn bad(reason: &str) -> Self {
        let mut letters = reason.chars();
        let small = letters.next().filter(|_| !letters.as_str().starts_with(|c: char| c.is_uppercase() || c == '_'));
        let reason =
            small.map_or_else(|| reason.to_owned(), |first| first.to_lowercase().to_string() + letters.as_str());
        Self::new(format!("Bad Request: {reason}"))
    }

    fn rate_limited(seconds: u64) -> Self {
        let description = format!("Too Many Requests: retry after {seconds}");
        Self { description, retry_after: Some(seconds), migrate_to: None }
    }

    fn moved(to: i64) -> Self {
        Self { migrate_to: Some(to), ..Self::bad("group chat was upgraded to a supergroup chat") }
    }

    fn status(&self) -> u16 {
        let prefix = self.description.split(':').next().unwrap_or_default();
        match prefix {
            "Unauthorized" => 401,
            "Forbidden" => 403,
            "Not Found" => 404,
            "Conflict" => 409,
            "Misdirected Request" => 421,
            "Too Many Requests" => 429,
            "Internal Server Error" => 500,
            _ => 400,
        }
    }

    fn answer(self) -> Answer {
        let status = self.status();
        let mut body = json!({"ok": false, "error_code": status, "description": self.description});
        if let Some(seconds) = self.retry_after {
            body["parameters"] = json!({ "retry_after": seconds });
        }
        if let Some(to) = self.migrate_to {
            body["parameters"] = json!({ "migrate_to_chat_id": to });
        }
        let given = match status {
            429 => Given::RateLimited { retry_after: self.retry_after },
            _ => Given::Refused(self.description),
        };
        Answer::json(status, &body, given)
    }
}

impl Service for Telegram {
    const OK_WITHOUT_ID: &'static str = r#"{"ok":true,"result":{}}"#;

    fn read(head: &Parts, body: &Bytes, lean: bool) -> Call {
        let (before, method) = head.uri.path().rsplit_once('/').unwrap_or_default();
        let token = before.rsplit('/').next().and_then(|part| part.strip_prefix("bot"));
        let mut call = Call { method: method.to_owned(), ..Call::default() };
        call.token = token.map(|token| token.replace("%3A", ":").replace("%3a", ":"));
        if lean {
            call.conversation = lean_conversation(body);
            return call;
        }
        call.headers = of_interest(head);
        let mut arguments = Map::new();
        add_pairs(&mut arguments, head.uri.query().unwrap_or_default().as_bytes());
        match Form::of(&head.headers) {
            Form::Json => match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => arguments.extend(object),
                _ if body.is_empty() => {}
                _ => call.problem = Some("can't parse JSON object"),
            },
            Form::Urlencoded => add_pairs(&mut arguments, body),
            Form::Other | Form::Missing => {} // ignored, so every argument is missing
        }
        call.body = Value::Object(arguments);
        call.conversation = methods::text(&call.body, "chat_id").map(|chat| {
            let topic = methods::integer(&call.body, "message_thread_id").filter(|topic| *topic != 0);
            topic.map_or_else(|| chat.clone(), |topic| format!("{chat}/{topic}"))
        });
        call
    }

    fn handle(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        if self.options.lean {
            return self.lean(call, now, record);
        }
        match self.method(call, now, record) {
            Ok(result) => Answer::json(200, &json!({"ok": true, "result": result}), Given::Done),
            Err(refused) => refused.answer(),
        }
    }

    fn refuse(&self, _: &Call, refusal: Refusal<'_>) -> Answer {
        match refusal {
            Refusal::RateLimited { retry_after: Some(seconds) } => Refused::rate_limited(seconds),
            Refusal::RateLimited { retry_after: None } => Refused::new("Too Many Requests"),
            Refusal::Error(description) => Refused::new(description),
            Refusal::Internal => Refused::new("Internal Server Error"),
            Refusal::Moved { to } => Refused::moved(to),
        }
        .answer()
    }

    fn shown(&self, post: &Posted) -> Value {
        self.content(post).unwrap_or_default()
    }
}

fn lean_conversation(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Lean {
        chat_id: Value,
    }
    serde_json::from_slice(body).ok().map(|lean: Lean| match lean.chat_id {
        Value::String(chat) => chat,
        chat => chat.to_string(),
    })
}

impl Telegram {
    fn new(options: TelegramOptions) -> Self {
        let bot = options.pace.map(|pace| Window::new(pace.per_bot_per_second, Duration::from_secs(1)));
        let (ids, messages) = (HashMap::new(), HashMap::new());
        Self { options, ids, messages, chats: HashMap::new(), groups: HashMap::new(), bot }
    }

    /// Counts a message or an edit, or says how long to wait.
    fn pace(&mut self, chat: i64, now: Timestamp) -> Result<(), Refused> {
        let (Some(pace), Some(bot)) = (self.options.pace, &mut self.bot) else { return Ok(()) };
        let bucket = || Bucket::new(pace.per_chat_per_second, pace.burst, now);
        let bucket = self.chats.entry(chat).or_insert_with(bucket);
        let group = || Window::new(pace.per_group_per_minute, Duration::from_secs(60));
        let mut group = (chat < 0).then(|| self.groups.entry(chat).or_insert_with(group));
        let wait =
            bucket.wait(now).max(bot.wait(now)).max(group.as_ref().map_or(Duration::ZERO, |group| group.wait(now)));
        if !wait.is_zero() {
            return Err(Refused::rate_limited(whole_seconds(wait)));
        }
        bucket.take(now);
        bot.take(now);
        if let Some(group) = &mut group {
            group.take(now);
        }
        Ok(())
    }

    fn next_id(&mut self, chat: i64) -> i64 {
        let id = self.ids.entry(chat).or_default();
        *id += 1;
        *id
    }

    fn lean(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        if !call.method.eq_ignore_ascii_case("sendMessage") {
            return Answer::new(200, super::call::JSON, r#"{"ok":true,"result":true}"#, Given::Done);
        }
        record.post_counted();
        let chat = call.conversation.as_deref().and_then(|chat| chat.parse().ok()).unwrap_or_default();
        let (id, date, kind) = (self.next_id(chat), now.as_second(), ChatKind::of(chat).as_str());
        let body = format!(
            r#"{{"ok":true,"result":{{"message_id":{id},"date":{date},"chat":{{"id":{chat},"type":"{kind}"}},"text":"."}}}}"#
        );
        Answer::new(200, super::call::JSON, body, Given::Done)
    }
}

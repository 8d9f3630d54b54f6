//! The Web API's methods. Source: docs.slack.dev, one page per method.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::record::{Posted, Record};
use super::super::units;
use super::{Refused, Slack, SlackChannel, blocks, seen, warn};

/// Longest text of a post, in UTF-16 units; more is cut off with a warning.
const MOST_TEXT: usize = 40_000;
/// Longest text of an edit, which is refused beyond.
const MOST_EDIT: usize = 4_000;
const MOST_MARKDOWN: usize = 12_000;
const MOST_ATTACHMENTS: usize = 100;
/// Longest metadata, in bytes of JSON. Slack states none; below this nobody has seen a refusal.
const MOST_METADATA: usize = 1_024;
/// Most messages of one page of a history.
const MOST_PAGE: usize = 999;

const TEAM: &str = "T0SIMULATED";
const BOT: &str = "B0CAMPANILE";
const BOT_USER: &str = "U0CAMPANILE";

type Reply = Result<Map<String, Value>, Refused>;

/// Methods whose arguments may be JSON; the others ignore a JSON body.
pub(super) fn takes_json(method: &str) -> bool {
    matches!(method, "chat.postMessage" | "chat.update" | "chat.delete" | "auth.test" | "blocks.validate")
}

impl Slack {
    pub(super) fn method(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Reply {
        let known = [
            "chat.postMessage",
            "chat.update",
            "chat.delete",
            "auth.test",
            "conversations.info",
            "conversations.history",
            "conversations.replies",
            "users.lookupByEmail",
            "blocks.validate",
        ];
        if !known.contains(&call.method.as_str()) {
            let mut refused = Refused::from("unknown_method");
            refused.more.insert("req_method".to_owned(), call.method.as_str().into());
            return Err(refused);
        }
        if let Some(problem) = call.problem {
            return Err(problem.into());
        }
        if call.method == "blocks.validate" {
            return validate(&call.body); // the one method that asks for no token
        }
        self.authenticate(call.token.as_deref())?;
        self.permit(&call.method, &call.body)?;
        match call.method.as_str() {
            "chat.postMessage" => self.post(&call.body, now, record),
            "chat.update" => self.update(&call.body, record),
            "chat.delete" => self.delete(&call.body, record),
            "conversations.info" => self.info(&call.body),
            "conversations.history" => self.history(&call.body, record),
            "conversations.replies" => self.replies(&call.body, record),
            "users.lookupByEmail" => self.user(&call.body),
            _ => object(json!({
                "url": "https://simulated.slack.com/", "team": "Simulated", "user": "campanile",
                "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT, "is_enterprise_install": false,
            })),
        }
    }

    fn authenticate(&self, token: Option<&str>) -> Result<(), Refused> {
        match (token, &self.options.tokens) {
            (None | Some(""), _) => Err("not_authed".into()),
            (Some(token), Some(tokens)) if !tokens.contains(token) => Err("invalid_auth".into()),
            _ => Ok(()),
        }
    }

    /// Whether the token has the method's scope; of several, the one for a channel of this kind (the methods' pages).
    fn permit(&self, method: &str, arguments: &Value) -> Result<(), Refused> {
        let known = text(arguments, "channel").and_then(|channel| self.options.channels.get(channel));
        let of_channel = |public, private| if known.is_some_and(|channel| channel.private) { private } else { public };
        let needed = match method {
            "chat.postMessage" | "chat.update" | "chat.delete" => "chat:write",
            "conversations.info" => of_channel("channels:read", "groups:read"),
            "conversations.history" | "conversations.replies" => of_channel("channels:history", "groups:history"),
            "users.lookupByEmail" => "users:read.email",
            _ => return Ok(()),
        };
        if self.options.scopes.iter().any(|scope| scope == needed) {
            return Ok(());
        }
        let mut refused = Refused::from("missing_scope");
        refused.more.insert("needed".to_owned(), needed.into());
        refused.more.insert("provided".to_owned(), self.options.scopes.join(",").into());
        Err(refused)
    }

    /// The id of a channel that can be seen, given by id or `#name`.
    fn find_channel(&self, arguments: &Value) -> Result<(String, SlackChannel), Refused> {
        let given = text(arguments, "channel").ok_or("channel_not_found")?;
        let known = match given.strip_prefix('#') {
            Some(name) => self.options.channels.iter().find(|(_, channel)| channel.name == name),
            None => self.options.channels.get_key_value(given),
        };
        match known {
            Some((_, channel)) if channel.private && channel.left => Err("channel_not_found".into()),
            Some((id, channel)) => Ok((id.clone(), channel.clone())),
            None if !self.options.only_known && looks_like_an_id(given) => {
                Ok((given.to_owned(), SlackChannel { name: given.to_lowercase(), ..SlackChannel::default() }))
            }
            None => Err("channel_not_found".into()),
        }
    }

    /// The id of a channel that the bot is in.
    fn joined(&self, arguments: &Value) -> Result<(String, SlackChannel), Refused> {
        let (id, channel) = self.find_channel(arguments)?;
        if channel.left { Err("not_in_channel".into()) } else { Ok((id, channel)) }
    }

    /// The id of a channel that takes posts.
    fn open(&self, arguments: &Value) -> Result<String, Refused> {
        let (id, channel) = self.find_channel(arguments)?;
        match channel {
            SlackChannel { archived: true, .. } => Err("is_archived".into()),
            SlackChannel { left: true, .. } => Err("not_in_channel".into()),
            SlackChannel { refuses: Some(code), .. } => Err(code.as_str().into()),
            _ => Ok(id),
        }
    }

    fn post(&mut self, arguments: &Value, now: Timestamp, record: &mut Record) -> Reply {
        let channel = self.open(arguments)?;
        content(arguments)?;
        let thread = thread(arguments)?.filter(|parent| stands(record, &channel, parent));
        let metadata = metadata(arguments)?;
        let mut body = arguments.clone();
        let cut = units(text(&body, "text").unwrap_or_default()) > MOST_TEXT;
        if cut {
            body["text"] = cut_to(text(arguments, "text").unwrap_or_default(), MOST_TEXT).into();
        }
        let ts = self.ts(now);
        let post = Posted {
            id: ts.clone(),
            conversation: channel.clone(),
            thread,
            at: now,
            seen: seen::message(&body),
            edits: 0,
            body,
        };
        let mut reply = Map::new();
        reply.insert("channel".to_owned(), channel.into());
        reply.insert("ts".to_owned(), ts.into());
        let mut message = shown(&post, true);
        if metadata.is_none() {
            message.as_object_mut().map(|message| message.remove("metadata"));
        }
        reply.insert("message".to_owned(), message);
        if cut {
            warn(&mut reply, "message_truncated");
        }
        record.post(post);
        Ok(reply)
    }

    fn update(&mut self, arguments: &Value, record: &mut Record) -> Reply {
        let channel = self.open(arguments)?;
        let ts = text(arguments, "ts").ok_or("message_not_found")?;
        let post = record.find(&channel, ts).ok_or("message_not_found")?;
        content(arguments)?;
        if units(text(arguments, "text").unwrap_or_default()) > MOST_EDIT {
            return Err("msg_too_long".into());
        }
        if is_rich(&post.body) && !is_rich(arguments) {
            return Err("block_mismatch".into());
        }
        metadata(arguments)?;
        let mut body = arguments.clone();
        if body.get("metadata").is_none() && !post.body["metadata"].is_null() {
            body["metadata"] = post.body["metadata"].clone();
        }
        post.seen = seen::message(&body);
        post.body = body;
        post.edits += 1;
        object(json!({"channel": channel, "ts": ts, "text": post.body["text"], "message": shown(post, true)}))
    }

    fn delete(&mut self, arguments: &Value, record: &mut Record) -> Reply {
        let (channel, _) = self.joined(arguments)?;
        let ts = text(arguments, "ts").ok_or("message_not_found")?;
        if !record.delete(&channel, ts) {
            return Err("message_not_found".into());
        }
        object(json!({"channel": channel, "ts": ts}))
    }

    fn info(&self, arguments: &Value) -> Reply {
        let (id, channel) = self.find_channel(arguments)?;
        object(json!({"channel": {
            "id": id, "name": channel.name, "name_normalized": channel.name, "is_channel": !channel.private,
            "is_group": channel.private, "is_im": false, "is_mpim": false, "is_private": channel.private,
            "is_archived": channel.archived, "is_member": !channel.left, "created": 1_700_000_000, "creator": BOT_USER,
        }}))
    }

    fn history(&self, arguments: &Value, record: &Record) -> Reply {
        let (channel, _) = self.joined(arguments)?;
        let top = |post: &&Posted| post.thread.is_none() || flag(&post.body, "reply_broadcast");
        page(arguments, record.posted(&channel).rev().filter(top))
    }

    fn replies(&self, arguments: &Value, record: &Record) -> Reply {
        let (channel, _) = self.joined(arguments)?;
        let parent = text(arguments, "ts").ok_or("thread_not_found")?;
        let of_thread = |post: &&Posted| post.id == parent || post.thread.as_deref() == Some(parent);
        if !record.posted(&channel).any(|post| of_thread(&post)) {
            return Err("thread_not_found".into());
        }
        page(arguments, record.posted(&channel).filter(of_thread))
    }

    fn user(&self, arguments: &Value) -> Reply {
        let email = text(arguments, "email").ok_or("users_not_found")?;
        let id = self.options.users.get(email).ok_or("users_not_found")?;
        object(json!({"user": {"id": id, "team_id": TEAM, "name": email.split('@').next(), "deleted": false,
            "is_bot": false, "profile": {"email": email}}}))
    }
}

fn validate(arguments: &Value) -> Reply {
    let message = parsed(arguments, "message");
    let blocks = message.as_ref().map_or_else(|| parsed(arguments, "blocks"), |message| parsed(message, "blocks"));
    blocks::check(&blocks.ok_or("invalid_arguments")?)?;
    Ok(Map::new())
}

/// The parts of a message that people read.
pub(super) fn content(arguments: &Value) -> Result<(), Refused> {
    let plain = match arguments.get("text") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(Refused::with("invalid_arguments", vec!["must be a string [json-pointer:/text]".to_owned()]));
        }
    };
    let blocks = parsed(arguments, "blocks");
    let attachments = parsed(arguments, "attachments");
    if let Some(markdown) = text(arguments, "markdown_text") {
        if !plain.is_empty() || blocks.is_some() {
            return Err("markdown_text_conflict".into());
        }
        if units(markdown) > MOST_MARKDOWN {
            return Err("msg_too_long".into());
        }
    }
    let empty = |part: &Option<Value>| part.as_ref().is_none_or(|part| part.as_array().is_some_and(Vec::is_empty));
    let nothing = plain.trim().is_empty() && text(arguments, "markdown_text").unwrap_or_default().trim().is_empty();
    if nothing && empty(&blocks) && empty(&attachments) {
        return Err("no_text".into());
    }
    blocks.as_ref().map_or(Ok(()), blocks::check)?;
    match attachments {
        None => Ok(()),
        Some(Value::Array(list)) if list.len() > MOST_ATTACHMENTS => Err("too_many_attachments".into()),
        Some(Value::Array(list)) => list.iter().try_for_each(|attachment| match attachment {
            Value::Object(_) => attachment.get("blocks").map_or(Ok(()), blocks::check),
            _ => Err("invalid_attachments".into()),
        }),
        Some(_) => Err("invalid_attachments".into()),
    }
}

/// Checks of a message that a webhook may make too.
pub(super) fn webhook_content(arguments: &Value) -> Result<(), Refused> {
    content(arguments)
}

/// The form of a parent's name is checked; for one that is gone Slack has no error.
pub(super) fn thread(arguments: &Value) -> Result<Option<String>, Refused> {
    match arguments.get("thread_ts") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(ts)) if is_ts(ts) => Ok(Some(ts.clone())),
        Some(_) => Err("invalid_thread_ts".into()),
    }
}

/// A message under one that is gone is posted to the channel itself, without a word. One that was deleted under its replies
/// leaves its place behind, and the thread goes on.
pub(super) fn stands(record: &Record, conversation: &str, parent: &str) -> bool {
    record.posted(conversation).any(|post| post.id == parent || post.thread.as_deref() == Some(parent))
}

fn is_ts(ts: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    ts.split_once('.').is_some_and(|(seconds, micros)| digits(seconds) && digits(micros) && micros.len() == 6)
}

/// The metadata that Slack would ever give back: one whose type has a dot is taken and lost.
pub(super) fn metadata(arguments: &Value) -> Result<Option<Value>, Refused> {
    let Some(metadata) = parsed(arguments, "metadata") else { return Ok(None) };
    let (Some(kind), Some(payload)) = (metadata["event_type"].as_str(), metadata["event_payload"].as_object()) else {
        return Err("invalid_metadata_format".into());
    };
    if metadata.to_string().len() > MOST_METADATA {
        return Err("metadata_too_large".into());
    }
    let flat = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let snake = |name: &str| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let fits = payload.iter().all(|(name, value)| {
        let nested =
            value.as_object().is_some_and(|inner| inner.iter().all(|(name, value)| snake(name) && flat(value)));
        snake(name) && (flat(value) || nested)
    });
    if !fits {
        return Err("invalid_metadata_schema".into());
    }
    let good = kind.starts_with(|c: char| c.is_ascii_lowercase()) && snake(kind);
    Ok(good.then_some(metadata))
}

/// A message as replies and histories show it.
pub(super) fn shown(post: &Posted, whole_metadata: bool) -> Value {
    let body = &post.body;
    let mut message = json!({"type": "message", "subtype": "bot_message", "ts": post.id, "user": BOT_USER, "bot_id": BOT,
        "app_id": "A0CAMPANILE", "team": TEAM, "text": text(body, "text").unwrap_or_default()});
    if let Some(blocks) = parsed(body, "blocks") {
        message["blocks"] = blocks;
    }
    if let Some(thread) = &post.thread {
        message["thread_ts"] = thread.as_str().into();
    }
    if post.edits > 0 {
        message["edited"] = json!({"user": BOT, "ts": post.id});
    }
    if let Ok(Some(metadata)) = metadata(body) {
        message["metadata"] = if whole_metadata { metadata } else { json!({"event_type": metadata["event_type"]}) };
    }
    message
}

fn page<'a>(arguments: &Value, posts: impl Iterator<Item = &'a Posted>) -> Reply {
    let limit = match arguments.get("limit") {
        None => 100,
        Some(limit) => number(limit).filter(|limit| (1..=MOST_PAGE).contains(limit)).ok_or("invalid_limit")?,
    };
    let bound = |name: &'static str, code: &'static str| match arguments.get(name).map(plain) {
        None => Ok(None),
        Some(ts) => micros(&ts).map(Some).ok_or(Refused::from(code)),
    };
    let oldest = bound("oldest", "invalid_ts_oldest")?;
    let latest = bound("latest", "invalid_ts_latest")?;
    let start = match text(arguments, "cursor") {
        None | Some("") => 0,
        Some(cursor) => cursor.parse().map_err(|_| "invalid_cursor")?,
    };
    let inclusive = flag(arguments, "inclusive");
    let within = |post: &&Posted| {
        let at = micros(&post.id).unwrap_or_default();
        let after = oldest.is_none_or(|oldest| at > oldest || inclusive && at == oldest);
        let before = latest.is_none_or(|latest| at < latest || inclusive && at == latest);
        after && before
    };
    let whole = flag(arguments, "include_all_metadata");
    let mut rest = posts.filter(within).skip(start);
    let messages: Vec<_> = rest.by_ref().take(limit).map(|post| shown(post, whole)).collect();
    let mut reply = Map::new();
    let more = rest.next().is_some();
    reply.insert("messages".to_owned(), messages.into());
    reply.insert("has_more".to_owned(), more.into());
    if more {
        reply.insert("response_metadata".to_owned(), json!({"next_cursor": (start + limit).to_string()}));
    }
    Ok(reply)
}

/// A time in a query: seconds, with or without a fraction of up to six digits.
fn micros(ts: &str) -> Option<i64> {
    let (seconds, fraction) = ts.split_once('.').unwrap_or((ts, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.len() <= 6;
    let micros: i64 = digits.then(|| format!("{fraction:0<6}").parse().ok())??;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

fn looks_like_an_id(channel: &str) -> bool {
    let all = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    channel.starts_with(['C', 'G', 'D', 'U', 'W']) && channel.len() > 1 && channel.chars().all(all)
}

fn is_rich(body: &Value) -> bool {
    let blocks = parsed(body, "blocks");
    blocks.as_ref().and_then(Value::as_array).is_some_and(|list| list.iter().any(|block| block["type"] == "rich_text"))
}

/// As many UTF-16 units as fit, never half a character.
fn cut_to(text: &str, most: usize) -> String {
    let mut left = most;
    let fits = |c: &char| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        fits
    };
    text.chars().take_while(fits).collect()
}

pub(super) fn text<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name)?.as_str()
}

/// A flag as JSON or as a form writes it.
pub(super) fn flag(arguments: &Value, name: &str) -> bool {
    matches!(arguments.get(name), Some(Value::Bool(true))) || matches!(text(arguments, name), Some("true" | "1"))
}

/// A structured argument: as it is, or as a string of JSON. What cannot be parsed stays a string, which no check takes.
pub(super) fn parsed(arguments: &Value, name: &str) -> Option<Value> {
    match arguments.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())),
        other => Some(other.clone()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<usize> {
    plain(value).parse().ok()
}

fn object(value: Value) -> Reply {
    match value {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

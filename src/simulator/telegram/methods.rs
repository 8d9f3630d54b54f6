//! The Bot API's methods. Source: core.telegram.org/bots/api; telegram-bot-api `Client.cpp` for order and words of refusals.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::record::{Posted, Record, Seen};
use super::chats::{ChatKind, ChatState, TelegramChat};
use super::entities::{self, Formatted};
use super::{Refused, Telegram, conversation, html, keyboard};

/// Longest text of a message, in code points after parsing.
const MOST_TEXT: usize = 4096;
/// Longest notice of a callback answer, in code points.
const MOST_NOTICE: usize = 200;

/// What must be kept of a message to edit, delete and answer it.
pub(super) struct Message {
    conversation: String,
    formatted: Formatted,
    markup: Value,
    date: i64,
}

type Reply = Result<Value, Refused>;

impl Telegram {
    pub(super) fn method(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Reply {
        let me = self.authenticate(call.token.as_deref())?;
        if let Some(problem) = call.problem {
            return Err(Refused::bad(problem));
        }
        let body = &call.body;
        match call.method.to_ascii_lowercase().as_str() {
            "sendmessage" => self.send(me, body, now, record),
            "editmessagetext" => self.edit(me, body, now, record),
            "deletemessage" => self.delete(body, record),
            "getme" => Ok(bot(me)),
            "getchat" => self.get_chat(body),
            "getchatmember" => self.get_member(me, body),
            "getwebhookinfo" => Ok(json!({"url": "", "has_custom_certificate": false, "pending_update_count": 0})),
            "answercallbackquery" => answer_callback(body),
            _ => Err(Refused::new("Not Found: method not found")),
        }
    }

    /// The bot's id, which is the front of its token.
    fn authenticate(&self, token: Option<&str>) -> Result<i64, Refused> {
        let whole = token.unwrap_or_default();
        let (id, secret) = whole.split_once(':').ok_or_else(|| Refused::new("Not Found"))?;
        let shaped =
            !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let id = id.parse().ok().filter(|id: &i64| *id > 0 && shaped).ok_or_else(|| Refused::new("Not Found"))?;
        match &self.options.tokens {
            Some(tokens) if !tokens.contains(whole) => Err(Refused::new("Unauthorized")),
            _ => Ok(id),
        }
    }

    fn send(&mut self, me: i64, body: &Value, now: Timestamp, record: &mut Record) -> Reply {
        let formatted = formatted(body)?;
        let markup = markup(body)?;
        let topic = integer(body, "message_thread_id").filter(|topic| *topic != 0);
        let (id, chat) = self.chat(text(body, "chat_id"), topic)?;
        chat.write()?;
        if let Some(topic) = topic {
            chat.write_in(topic)?;
        }
        let replied = self.replied(id, body)?;
        check_length(&formatted)?;
        self.pace(id, now)?;
        let message = self.next_id(id);
        let place = conversation(id, topic);
        record.post(Posted {
            id: message.to_string(),
            conversation: place.clone(),
            thread: replied.map(|parent| parent.to_string()),
            at: now,
            seen: formatted.seen(),
            edits: 0,
            body: body.clone(),
        });
        let kept = Message { conversation: place, formatted, markup, date: now.as_second() };
        let mut reply = shown(me, id, &chat, message, &kept);
        if let Some(topic) = topic {
            reply["message_thread_id"] = topic.into();
            reply["is_topic_message"] = true.into();
        }
        if let Some(parent) = replied.and_then(|parent| Some((parent, self.messages.get(&(id, parent))?))) {
            reply["reply_to_message"] = shown(me, id, &chat, parent.0, parent.1);
        }
        self.messages.insert((id, message), kept);
        Ok(reply)
    }

    /// The message that is replied to, where there is one.
    fn replied(&self, chat: i64, body: &Value) -> Result<Option<i64>, Refused> {
        let Some(parameters) = object(body, "reply_parameters")? else { return Ok(None) };
        let parent =
            integer(&parameters, "message_id").ok_or_else(|| Refused::bad("message to be replied not found"))?;
        match self.messages.contains_key(&(chat, parent)) {
            true => Ok(Some(parent)),
            false if flag(&parameters, "allow_sending_without_reply") => Ok(None),
            false => Err(Refused::bad("message to be replied not found")),
        }
    }

    /// The text of a message that stands, with entities and keyboard, mended as readers get it.
    pub(super) fn content(&self, post: &Posted) -> Option<Value> {
        let chat = post.conversation.split('/').next()?.parse().ok()?;
        let Message { formatted, markup, .. } = self.messages.get(&(chat, post.id.parse().ok()?))?;
        Some(json!({"text": formatted.text, "entities": formatted.entities_json(), "reply_markup": markup}))
    }

    fn edit(&mut self, me: i64, body: &Value, now: Timestamp, record: &mut Record) -> Reply {
        let formatted = formatted(body)?;
        let markup = markup(body)?;
        let (id, chat) = self.chat(text(body, "chat_id"), None)?;
        chat.enter()?;
        let missing = || Refused::bad("message to edit not found");
        let message = integer(body, "message_id").ok_or_else(|| Refused::bad("message identifier is not specified"))?;
        let kept = self.messages.get(&(id, message)).ok_or_else(missing)?;
        check_length(&formatted)?;
        if kept.formatted == formatted && kept.markup == markup {
            return Err(Refused::bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message",
            ));
        }
        self.pace(id, now)?;
        let kept = self.messages.get_mut(&(id, message)).ok_or_else(missing)?;
        let post = record.find(&kept.conversation, &message.to_string()).ok_or_else(missing)?;
        post.seen = formatted.seen();
        post.body = body.clone();
        post.edits += 1;
        kept.formatted = formatted;
        kept.markup = markup;
        let mut reply = shown(me, id, &chat, message, kept);
        reply["edit_date"] = now.as_second().into();
        Ok(reply)
    }

    fn delete(&mut self, body: &Value, record: &mut Record) -> Reply {
        let (id, chat) = self.chat(text(body, "chat_id"), None)?;
        chat.enter()?;
        let missing = || Refused::bad("message to delete not found");
        let message = integer(body, "message_id").ok_or_else(|| Refused::bad("message identifier is not specified"))?;
        let kept = self.messages.remove(&(id, message)).ok_or_else(missing)?;
        record.delete(&kept.conversation, &message.to_string());
        Ok(true.into())
    }

    fn get_chat(&self, body: &Value) -> Reply {
        let (id, chat) = self.chat(text(body, "chat_id"), None)?;
        chat.enter()?;
        let mut reply = chat.short(id);
        reply["accent_color_id"] = 0.into();
        reply["max_reaction_count"] = 11.into();
        reply["accepted_gift_types"] = json!({"unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false,
            "premium_subscription": false, "gifts_from_channels": false});
        if chat.kind != ChatKind::Private {
            reply["permissions"] = json!({"can_send_messages": chat.state != ChatState::Muted});
        }
        Ok(reply)
    }

    fn get_member(&self, me: i64, body: &Value) -> Reply {
        let (_, chat) = self.chat(text(body, "chat_id"), None)?;
        if let ChatState::Upgraded { to } = chat.state {
            return Err(Refused::moved(to));
        }
        let member = integer(body, "user_id").ok_or_else(|| Refused::bad("invalid user_id specified"))?;
        if member != me {
            return Err(Refused::bad("PARTICIPANT_ID_INVALID"));
        }
        let status = match (chat.state, chat.kind) {
            (ChatState::Kicked, _) => "kicked",
            (ChatState::NotMember | ChatState::Deleted, _) => "left",
            (ChatState::Muted, ChatKind::Channel) | (_, ChatKind::Private) => "member",
            (ChatState::Muted, _) => "restricted",
            (_, ChatKind::Channel) => "administrator",
            _ => "member",
        };
        let mut reply = json!({"user": bot(me), "status": status});
        match status {
            "administrator" => reply["can_post_messages"] = true.into(),
            "restricted" => {
                reply["is_member"] = true.into();
                reply["can_send_messages"] = false.into();
            }
            _ => {}
        }
        Ok(reply)
    }
}

fn answer_callback(body: &Value) -> Reply {
    if text(body, "callback_query_id").is_none_or(|id| id.is_empty()) {
        return Err(Refused::bad("query is too old and response timeout expired or query ID is invalid"));
    }
    let notice = text(body, "text").unwrap_or_default();
    if notice.chars().count() > MOST_NOTICE { Err(Refused::bad("MESSAGE_TOO_LONG")) } else { Ok(true.into()) }
}

/// What would be seen of a message, as far as its chat has no say in it.
pub(super) fn judge(body: &Value) -> Result<Seen, Refused> {
    let formatted = formatted(body)?;
    markup(body)?;
    check_length(&formatted)?;
    Ok(formatted.seen())
}

/// The text of a call with its entities, by `parse_mode` or `entities`; the former counts where both stand.
fn formatted(body: &Value) -> Result<Formatted, Refused> {
    let given = text(body, "text").unwrap_or_default();
    let empty = || Refused::bad("message text is empty");
    if given.is_empty() {
        return Err(empty());
    }
    let (shown, found) = match text(body, "parse_mode").unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => match structured(body, "entities")? {
            Some(list) => (given, entities::read(&list).map_err(|reason| Refused::bad(&reason))?),
            None => (given, Vec::new()),
        },
        "html" => html::parse(&given).map_err(|reason| Refused::bad(&format!("can't parse entities: {reason}")))?,
        _ => return Err(Refused::bad("unsupported parse_mode")), // Markdown is not simulated
    };
    let formatted = Formatted::new(&shown, found).map_err(|reason| Refused::bad(&reason))?;
    if formatted.is_empty() { Err(empty()) } else { Ok(formatted) }
}

fn check_length(formatted: &Formatted) -> Result<(), Refused> {
    let length = formatted.text.chars().count();
    if length > MOST_TEXT { Err(Refused::bad("message is too long")) } else { Ok(()) }
}

fn markup(body: &Value) -> Reply {
    let markup = structured(body, "reply_markup")?.unwrap_or(Value::Null);
    if !markup.is_null() {
        keyboard::check(&markup)?;
    }
    object(body, "link_preview_options")?;
    Ok(markup)
}

fn bot(me: i64) -> Value {
    json!({"id": me, "is_bot": true, "first_name": "Campanile", "username": "campanile_bot", "can_join_groups": true,
        "can_read_all_group_messages": false, "supports_inline_queries": false, "can_connect_to_business": false,
        "has_main_web_app": false})
}

fn shown(me: i64, id: i64, chat: &TelegramChat, message: i64, kept: &Message) -> Value {
    let mut reply = json!({"message_id": message, "from": {"id": me, "is_bot": true, "first_name": "Campanile",
        "username": "campanile_bot"}, "chat": chat.short(id), "date": kept.date, "text": kept.formatted.text});
    if chat.kind == ChatKind::Channel {
        reply["sender_chat"] = chat.short(id);
        reply.as_object_mut().map(|reply| reply.remove("from"));
    }
    if !kept.formatted.entities.is_empty() {
        reply["entities"] = kept.formatted.entities_json();
    }
    if !kept.markup.is_null() {
        reply["reply_markup"] = kept.markup.clone();
    }
    reply
}

/// A parameter as a string; numbers come in either form.
pub(super) fn text(body: &Value, name: &str) -> Option<String> {
    match body.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn integer(body: &Value, name: &str) -> Option<i64> {
    text(body, name)?.trim().parse().ok()
}

fn flag(body: &Value, name: &str) -> bool {
    body.get(name) == Some(&Value::Bool(true)) || text(body, name).is_some_and(|text| text == "true" || text == "1")
}

/// A structured parameter, as it is or as a string of JSON.
fn structured(body: &Value, name: &str) -> Result<Option<Value>, Refused> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            let wrong = |_| Refused::bad(&format!("can't parse {} JSON object", name.replace('_', " ")));
            serde_json::from_str(text).map(Some).map_err(wrong)
        }
        Some(other) => Ok(Some(other.clone())),
    }
}

fn object(body: &Value, name: &str) -> Result<Option<Value>, Refused> {
    match structured(body, name)? {
        Some(value) if !value.is_object() => {
            Err(Refused::bad(&format!("can't parse {} JSON object", name.replace('_', " "))))
        }
        value => Ok(value),
    }
}

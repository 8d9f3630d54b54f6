//! What the Bot API's answers mean. Source of the descriptions: tdlib/telegram-bot-api `Client.cpp`
//! (`fail_query_with_error`, `check_chat_access`, `check_message_topic`), tdlib/td `MessagesManager.cpp`.

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::delivery::{Receipt, Scope, SendError};
use crate::transport::Reply;
use crate::transport::reply::{self, Secrets, by_status};

const API_URL: &str = "telegram.api_url";

/// What has not the expected shape is absent.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default, deserialize_with = "reply::lenient")]
    ok: Option<bool>,
    #[serde(default, deserialize_with = "reply::lenient")]
    result: Option<Sent>,
    #[serde(default, deserialize_with = "reply::lenient")]
    error_code: Option<u16>,
    #[serde(default, deserialize_with = "reply::lenient")]
    description: Option<String>,
    #[serde(default, deserialize_with = "reply::lenient")]
    parameters: Option<Parameters>,
}

#[derive(Debug, Deserialize)]
struct Sent {
    #[serde(default, deserialize_with = "reply::lenient")]
    message_id: Option<i64>,
    #[serde(default, deserialize_with = "reply::lenient")]
    chat: Option<Chat>,
}

#[derive(Debug, Deserialize)]
struct Chat {
    id: i64,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    /// Seconds.
    #[serde(default, deserialize_with = "reply::lenient")]
    retry_after: Option<f64>,
    #[serde(default, deserialize_with = "reply::lenient")]
    migrate_to_chat_id: Option<i64>,
}

/// Reads the answer to a `sendMessage` to the chat `asked`, perhaps as a reply. (An edit's `message is not modified` is a success; whoever
/// edits asks for it before this table.)
pub fn receipt(
    reply: &Reply,
    asked: Option<i64>,
    reply_to: Option<i64>,
    secrets: &Secrets,
) -> Result<Receipt, SendError> {
    match reply::object::<Answer>(&reply.body) {
        Ok(Answer { ok: Some(true), result, .. }) if reply.status.is_success() => {
            let (chat, message) = result.map_or((None, None), |sent| (sent.chat.map(|chat| chat.id), sent.message_id));
            Ok(match (chat.or(asked), message) {
                (Some(chat), Some(message)) => Receipt::Telegram { chat, message, reply_to },
                _ => Receipt::Unnumbered,
            })
        }
        Ok(Answer { ok: Some(true), .. }) => {
            Err(SendError::Unclear { what: format!("HTTP {} with `ok: true`", reply.status.as_u16()), cause: None })
        }
        Ok(answer @ Answer { ok: Some(false), .. }) => Err(refusal(answer, reply, secrets)),
        _ => Err(foreign(reply, secrets)),
    }
}

/// The `result` of an answer to a question, which changes nothing.
pub fn result<T: DeserializeOwned>(reply: &Reply, secrets: &Secrets) -> Result<T, SendError> {
    #[derive(Deserialize)]
    struct Told<T> {
        result: T,
    }
    match reply::object::<Answer>(&reply.body) {
        Ok(Answer { ok: Some(true), .. }) if reply.status.is_success() => match reply::object::<Told<T>>(&reply.body) {
            Ok(told) => Ok(told.result),
            Err(_) => Err(SendError::Unclear { what: "an answer without a `result`".into(), cause: None }),
        },
        Ok(answer @ Answer { ok: Some(false), .. }) => Err(refusal(answer, reply, secrets)),
        _ => Err(foreign(reply, secrets)),
    }
}

/// What is no answer of the Bot API: a proxy's page, an empty body, `{}`.
fn foreign(reply: &Reply, secrets: &Secrets) -> SendError {
    match reply.status {
        StatusCode::TOO_MANY_REQUESTS => {
            SendError::Paced { code: "HTTP 429".into(), wait: reply::retry_after(&reply.headers), scope: Scope::Lane }
        }
        status => by_status(status, &secrets.excerpt(&String::from_utf8_lossy(&reply.body)), API_URL),
    }
}

/// The answer's own code counts before the HTTP status; `parameters` count before both.
fn refusal(answer: Answer, reply: &Reply, secrets: &Secrets) -> SendError {
    let said = secrets.excerpt(&answer.description.unwrap_or_default());
    let (wait, chat) = answer.parameters.map_or((None, None), |p| (p.retry_after, p.migrate_to_chat_id));
    let status = answer.error_code.unwrap_or_else(|| reply.status.as_u16());
    let named = if said.is_empty() { format!("error {status} without a description") } else { said };
    match (wait.and_then(reply::seconds), chat) {
        (Some(wait), _) => SendError::Paced { code: named, wait: Some(wait), scope: Scope::Lane },
        (None, Some(chat)) => SendError::Moved { chat },
        (None, None) => match class(status, &named) {
            Class::Paced => {
                SendError::Paced { code: named, wait: reply::retry_after(&reply.headers), scope: Scope::Lane }
            }
            Class::Unclear => SendError::Unclear { what: named, cause: None },
            Class::Held(scope, hint) => SendError::Held { code: named, hint: Some(hint.into()), scope },
            Class::Content => SendError::Content { code: named },
            Class::ParentGone => SendError::ParentGone { code: named },
            Class::Bug => SendError::Refused { code: named },
        },
    }
}

#[derive(Clone, Copy)]
enum Class {
    Paced,
    Unclear,
    Held(Scope, &'static str),
    Content,
    ParentGone,
    Bug,
}

const TOKEN: &str = "Telegram does not accept the token: check `telegram.token`";
const MALFORMED: &str = "no bot has such a token, or `telegram.api_url` is wrong: check both";
const POLLING: &str = "another program receives this bot's updates: give each its own bot";
const PLACE: &str = "check that the bot is in the chat and may write there";
const PERSON: &str = "the person must start the bot, and not block it";
const CHAT: &str = "check the channel's chat id, and that the bot was added";
const TOPIC: &str = "check the channel's `topic`: it is closed, deleted or of another chat";
const MOVED: &str = "the group has a new id, which Telegram did not name: set it";

/// By error code, then by the first row whose phrase begins the description after its prefix. `*` stands for any
/// words; capitals do not matter. A code's last row, with an empty phrase, is for what nobody listed.
#[rustfmt::skip] // one description, one row
const TABLE: &[(u16, &str, Class)] = &[
    (429, "", Class::Paced),

    (401, "", Class::Held(Scope::Account, TOKEN)),
    (404, "method not found", Class::Bug),
    (404, "", Class::Held(Scope::Account, MALFORMED)),
    (421, "", Class::Held(Scope::Account, MALFORMED)),
    (409, "", Class::Held(Scope::Account, POLLING)),

    (403, "bot was blocked by the user", Class::Held(Scope::Lane, PERSON)),
    (403, "user is deactivated", Class::Held(Scope::Lane, PERSON)),
    (403, "bot can't initiate conversation with a user", Class::Held(Scope::Lane, PERSON)),
    (403, "bot can't send messages to bots", Class::Held(Scope::Lane, CHAT)),
    (403, "the bot can't send messages to the bot", Class::Held(Scope::Lane, CHAT)),
    (403, "bot was kicked from the * chat", Class::Held(Scope::Lane, PLACE)),
    (403, "bot is not a member of the * chat", Class::Held(Scope::Lane, PLACE)),
    (403, "the group chat was deleted", Class::Held(Scope::Lane, CHAT)),
    (403, "", Class::Held(Scope::Lane, PLACE)),

    (400, "group chat was upgraded to a supergroup chat", Class::Held(Scope::Lane, MOVED)),
    (400, "chat not found", Class::Held(Scope::Lane, CHAT)),
    (400, "private chat not found", Class::Held(Scope::Lane, CHAT)),
    (400, "PEER_ID_INVALID", Class::Held(Scope::Lane, CHAT)),
    (400, "message thread not found", Class::Held(Scope::Lane, TOPIC)),
    (400, "TOPIC_CLOSED", Class::Held(Scope::Lane, TOPIC)),
    (400, "TOPIC_DELETED", Class::Held(Scope::Lane, TOPIC)),
    (400, "not enough rights to send text messages to the chat", Class::Held(Scope::Lane, PLACE)),
    (400, "need administrator rights in the channel chat", Class::Held(Scope::Lane, PLACE)),
    (400, "CHAT_WRITE_FORBIDDEN", Class::Held(Scope::Lane, PLACE)),
    (400, "CHAT_RESTRICTED", Class::Held(Scope::Lane, PLACE)),
    (400, "CHAT_ADMIN_REQUIRED", Class::Held(Scope::Lane, PLACE)),
    (400, "group is deactivated", Class::Held(Scope::Lane, CHAT)),

    (400, "can't parse entities", Class::Content),
    (400, "message text is empty", Class::Content),
    (400, "message is too long", Class::Content),
    (400, "MESSAGE_TOO_LONG", Class::Content),
    (400, "BUTTON_DATA_INVALID", Class::Content),
    (400, "BUTTON_URL_INVALID", Class::Content),
    (400, "reply markup is too long", Class::Content),
    (400, "message to be replied not found", Class::ParentGone),
    (400, "replied message not found", Class::ParentGone),
    (400, "ENTITY_*_INVALID", Class::Content),

    (400, "message is not modified", Class::Content),
    (400, "message to edit not found", Class::Content),
    (400, "message can't be edited", Class::Content),
    (400, "MESSAGE_ID_INVALID", Class::Content),
];

fn class(code: u16, description: &str) -> Class {
    let listed = TABLE.iter().find(|(of, phrase, _)| *of == code && begins(after_prefix(description), phrase));
    match (listed, code) {
        (Some((_, _, class)), _) => *class,
        (None, 408 | 500..) => Class::Unclear,
        (None, _) => Class::Content,
    }
}

/// Without `Bad Request: ` and its like.
fn after_prefix(description: &str) -> &str {
    const PREFIXES: [&str; 4] = ["Bad Request", "Forbidden", "Not Found", "Conflict"];
    match description.split_once(": ") {
        Some((prefix, rest)) if PREFIXES.iter().any(|known| known.eq_ignore_ascii_case(prefix)) => rest,
        _ => description,
    }
}

/// Whether `text` begins with `phrase`, whose `*` stands for any words.
fn begins(text: &str, phrase: &str) -> bool {
    let (text, phrase) = (text.to_lowercase(), phrase.to_lowercase());
    match phrase.split_once('*') {
        Some((front, back)) => text.strip_prefix(front).is_some_and(|rest| rest.contains(back)),
        None => text.starts_with(&phrase),
    }
}

#[cfg(test)]
mod tests;

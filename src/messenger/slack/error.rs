//! What Slack's refusals mean. Source of the codes: docs.slack.dev, "chat.postMessage method", "chat.update method",
//! "Using the Slack Web API", "Sending messages using incoming webhooks".

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use slack_morphism::errors::SlackClientError;

use crate::delivery::{Receipt, Scope, SendError};
use crate::transport::TransportError;
use crate::transport::reply::{self, Secrets, by_status};

const API_URL: &str = "slack.api_url";
const WEBHOOK_URL: &str = "slack_webhook";

/// Slack's answer to a post. What it leaves out, or gives a shape of its own, is absent.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    #[serde(default, deserialize_with = "reply::lenient")]
    pub ok: Option<bool>,
    #[serde(default, deserialize_with = "reply::lenient")]
    pub ts: Option<String>,
    #[serde(default, deserialize_with = "reply::lenient")]
    pub channel: Option<String>,
    /// The message as it was posted.
    #[serde(default, deserialize_with = "reply::lenient")]
    pub message: Option<Posted>,
    #[serde(default, deserialize_with = "reply::lenient")]
    pub error: Option<String>,
    /// Beside `missing_scope`: the scope that is missing.
    #[serde(default, deserialize_with = "reply::lenient")]
    pub needed: Option<String>,
    /// Beside `missing_scope`: the scopes that are there.
    #[serde(default, deserialize_with = "reply::lenient")]
    pub provided: Option<String>,
    #[serde(default, deserialize_with = "reply::lenient")]
    pub response_metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Posted {
    #[serde(default, deserialize_with = "reply::lenient")]
    ts: Option<String>,
    #[serde(default, deserialize_with = "reply::lenient")]
    thread_ts: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Metadata {
    /// Beside `invalid_blocks`: what is wrong, with JSON pointers.
    #[serde(default, deserialize_with = "reply::lenient")]
    pub messages: Option<Vec<String>>,
}

impl Answer {
    /// `asked` is the channel that was posted to. Slack's own id of it, which it answers, may be another. `thread` is the
    /// `thread_ts` that was posted with: where that message is gone, Slack posts to the channel itself and says so only by
    /// a `message` that has a `ts` and no `thread_ts` (seen: github.com/slack-go/slack issue 1571).
    pub fn receipt(self, asked: &str, thread: Option<&str>, secrets: &Secrets) -> Result<Receipt, SendError> {
        if self.ok != Some(true) {
            return Err(self.refusal(secrets));
        }
        let is_top = |message: Posted| message.ts.is_some() && message.thread_ts.is_none();
        let thread = thread.filter(|_| !self.message.is_some_and(is_top));
        Ok(match self.ts {
            Some(ts) => Receipt::Slack {
                channel: self.channel.unwrap_or_else(|| asked.to_owned()),
                ts,
                thread: thread.map(str::to_owned),
            },
            None => Receipt::Unnumbered,
        })
    }

    pub(super) fn refusal(self, secrets: &Secrets) -> SendError {
        match (&self.error, self.ok) {
            (Some(code), _) => self.of_class(code, class(code).unwrap_or(Class::Content), secrets),
            (None, Some(false)) => SendError::Content { code: "an `ok: false` without a code".into() },
            (None, _) => SendError::Unclear { what: "a JSON object without `ok`".into(), cause: None },
        }
    }

    fn of_class(&self, code: &str, class: Class, secrets: &Secrets) -> SendError {
        let named = secrets.excerpt(code);
        match class {
            Class::Paced(wait, scope) => SendError::Paced { code: named, wait, scope },
            Class::Unclear => SendError::Unclear { what: named, cause: None },
            Class::Held(scope, hint) => {
                let hint = match &self.needed {
                    Some(needed) => format!("{hint} (needed: {})", secrets.excerpt(needed)),
                    None => hint.to_owned(),
                };
                SendError::Held { code: named, hint: Some(hint), scope }
            }
            Class::Content => {
                let messages = self.response_metadata.as_ref().and_then(|metadata| metadata.messages.as_deref());
                let said = messages.unwrap_or_default().iter().flat_map(|message| [": ", message]);
                SendError::Content { code: secrets.excerpt(&std::iter::once(code).chain(said).collect::<String>()) }
            }
            Class::ParentGone => SendError::ParentGone { code: named },
            Class::Bug => SendError::Refused { code: named },
        }
    }
}

/// Only incoming webhooks work without a token.
pub(super) fn no_token() -> SendError {
    SendError::Held { code: "no token".into(), hint: Some("set `slack.token`".into()), scope: Scope::Account }
}

/// The way out of a failed call of the Web API. Slack's code counts first, whatever the status. But a code that nobody
/// knows says less than a 5xx, which may have posted, and a code without an `ok` is a proxy's.
pub fn of_api(error: SlackClientError, secrets: &Secrets) -> SendError {
    of_call(error, secrets, |status, body| {
        let answer = reply::object::<Answer>(body.as_bytes()).unwrap_or_default();
        let is_clear = match &answer.error {
            Some(code) => class(code).is_some() || !status.is_server_error(),
            None => false,
        };
        match answer.ok {
            Some(true) => SendError::Unclear { what: format!("HTTP {} with `ok: true`", status.as_u16()), cause: None },
            Some(false) if is_clear => answer.refusal(secrets),
            _ => by_status(status, &secrets.excerpt(body), API_URL),
        }
    })
}

/// The way out of a failed call of an incoming webhook, which answers with one word of text. Statuses vary in practice:
/// the word counts first.
pub fn of_webhook(error: SlackClientError, secrets: &Secrets) -> SendError {
    of_call(error, secrets, |status, body| {
        let word = body.trim();
        match webhook_class(word).or_else(|| class(word)) {
            Some(class) => Answer::default().of_class(word, class, secrets),
            None => by_status(status, &secrets.excerpt(body), WEBHOOK_URL),
        }
    })
}

fn of_call(
    error: SlackClientError,
    secrets: &Secrets,
    of_http: impl FnOnce(StatusCode, &str) -> SendError,
) -> SendError {
    match error {
        SlackClientError::HttpError(error) => {
            of_http(error.status_code, error.http_response_body.as_deref().unwrap_or_default())
        }
        SlackClientError::RateLimitError(limit) => {
            let code = limit.code.map_or_else(|| "HTTP 429".to_owned(), |code| secrets.excerpt(&code));
            SendError::Paced { code, wait: limit.retry_after, scope: Scope::Account }
        }
        SlackClientError::ProtocolError(error) => {
            let said = secrets.excerpt(&error.json_body.unwrap_or_default());
            SendError::Unclear { what: format!("no JSON object in the answer: {said}"), cause: None }
        }
        SlackClientError::HttpProtocolError(error) => match error.cause.map(|cause| cause.downcast::<TransportError>())
        {
            Some(Ok(error)) => (*error).into(),
            _ => SendError::Unclear { what: "the call failed".into(), cause: None },
        },
        SlackClientError::SystemError(error) => {
            let cause = error.cause.map(|cause| cause.to_string()).unwrap_or_default();
            SendError::Refused { code: format!("not sent: {}", secrets.excerpt(&cause)) }
        }
        SlackClientError::ApiError(error) => Answer { error: Some(error.code), ..Answer::default() }.refusal(secrets),
        SlackClientError::EndOfStream(_) | SlackClientError::SocketModeProtocolError(_) => {
            SendError::Unclear { what: "the call failed".into(), cause: None }
        }
    }
}

#[derive(Clone, Copy)]
enum Class {
    Paced(Option<Duration>, Scope),
    Unclear,
    Held(Scope, &'static str),
    Content,
    ParentGone,
    Bug,
}

/// Migrations of a workspace last hours: no need to ask more often.
const MIGRATION: Option<Duration> = Some(Duration::from_secs(60));

const TOKEN: &str = "Slack does not accept the token: check `slack.token` and that the app is installed";
const RIGHTS: &str = "the app may not do this: check its scopes and the workspace's rules for apps, then reinstall it";
const CHANNEL: &str = "check the channel's id, that the app was invited to it and may post there";
const WEBHOOK: &str = "the webhook is gone or switched off: make a new one and set its address";

/// `None` for a code that is not listed.
#[rustfmt::skip] // one row of the documentation, one row here
fn class(code: &str) -> Option<Class> {
    use Class::{Bug, Content, Held, Paced, ParentGone, Unclear};
    use Scope::{Account, Lane};
    Some(match code {
        // Surely not posted, later it may be.
        "ratelimited" | "rate_limited" => Paced(None, Account),
        "service_unavailable" | "request_timeout" => Paced(None, Lane),
        "team_added_to_org" | "org_login_required" => Paced(MIGRATION, Account),
        "external_channel_migrating" => Paced(MIGRATION, Lane),
        "message_limit_exceeded" => Held(Account, "the workspace has used up the messages of its plan"),

        // Part of it may have happened.
        "fatal_error" | "internal_error" | "update_failed" => Unclear,

        // The account.
        "not_authed" | "invalid_auth" | "account_inactive" | "token_revoked" | "token_expired"
        | "not_allowed_token_type" | "is_bot" => Held(Account, TOKEN),
        "missing_scope" | "no_permission" | "two_factor_setup_required" | "access_denied" | "ekm_access_denied"
        | "enterprise_is_restricted" | "app_access_restricted" | "team_access_not_granted" => Held(Account, RIGHTS),
        "accesslimited" => Held(Account, "this machine's address is not on the workspace's list of allowed addresses"),

        // The channel.
        "channel_not_found" => Held(Lane, "no such channel, or a private one that the app was not invited to"),
        "not_in_channel" => Held(Lane, "invite the app to the channel"),
        "is_archived" => Held(Lane, "the channel is archived: restore it or lead its routes elsewhere"),
        "restricted_action" | "restricted_action_read_only_channel" | "restricted_action_thread_only_channel"
        | "messages_tab_disabled" | "team_not_found" | "user_not_found" | "users_not_found"
        | "user_not_in_channel" => Held(Lane, CHANNEL),
        code if code.starts_with("slack_connect_") && code.ends_with("_blocked") => Held(Lane, CHANNEL),

        // The message that was replied to. The last two are not among the documented ones of chat.postMessage.
        "cannot_reply_to_message" | "restricted_action_thread_locked" | "restricted_action_non_threadable_channel"
        | "thread_not_found" | "invalid_thread_ts" => ParentGone,

        // The message that should be edited. A post is answered so only by mistake.
        "message_not_found" | "cant_update_message" | "edit_window_closed" | "is_inactive" | "block_mismatch"
        | "streaming_state_conflict" => Content,

        // The content.
        "no_text" | "msg_too_long" | "msg_too_large" | "msg_blocks_too_long" | "invalid_blocks"
        | "invalid_blocks_format" | "invalid_attachments" | "too_many_attachments"
        | "attachment_payload_limit_exceeded" | "markdown_text_conflict" | "invalid_metadata_format"
        | "invalid_metadata_schema" | "metadata_too_large" | "metadata_must_be_sent_from_app" => Content,

        // Ourselves.
        "invalid_arg_name" | "invalid_array_arg" | "invalid_arguments" | "invalid_charset" | "invalid_form_data"
        | "invalid_post_type" | "missing_post_type" | "invalid_json" | "json_not_object" | "unknown_method"
        | "method_deprecated" | "deprecated_endpoint" => Bug,

        _ => return None,
    })
}

/// Words of incoming webhooks; others, and those of the Web API, are [`class`]'s.
#[rustfmt::skip]
fn webhook_class(word: &str) -> Option<Class> {
    use Class::{Content, Held, Unclear};
    use Scope::{Account, Lane};
    Some(match word {
        "invalid_payload" | "no_text" | "too_many_attachments" => Content,
        "user_not_found" | "channel_not_found" | "channel_is_archived" | "action_prohibited"
        | "posting_to_general_channel_denied" => Held(Lane, CHANNEL),
        "invalid_token" | "team_disabled" | "no_service" | "no_service_id" | "no_team"
        | "no_active_hooks" => Held(Account, WEBHOOK),
        "rollup_error" => Unclear,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

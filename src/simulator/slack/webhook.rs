//! Incoming webhooks: one word of plain text as the answer. Source: docs.slack.dev, "Sending messages using incoming
//! webhooks"; changelog of 2016-05-17.

use jiff::Timestamp;
use serde_json::Value;

use super::super::call::{Answer, Call, Given, TEXT};
use super::super::pace::whole_seconds;
use super::super::record::{Posted, Record};
use super::super::server::{Refusal, Service};
use super::methods::{stands, thread, webhook_content};
use super::{Refused, Slack, seen};

/// What a webhook's address leads to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SlackWebhook {
    #[default]
    Active,
    /// Answers with this word: `no_service`, `channel_is_archived`, `action_prohibited`, …
    Broken(String),
}

/// A word with its status. Unknown words come with 400.
pub(super) fn refusal(word: &str) -> Answer {
    let status = match word {
        "action_prohibited" | "posting_to_general_channel_denied" | "invalid_token" | "team_disabled" => 403,
        "channel_not_found" | "no_service" | "no_service_id" | "no_team" | "no_active_hooks" => 404,
        "channel_is_archived" => 410,
        "rollup_error" => 500,
        _ => 400,
    };
    Answer::new(status, TEXT, word.to_owned(), Given::Refused(word.to_owned()))
}

impl Slack {
    pub(super) fn webhook(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer {
        let path = call.conversation.clone().unwrap_or_default();
        if let Some(wait) = self.wait(&path, now) {
            return self.refuse(call, Refusal::RateLimited { retry_after: Some(whole_seconds(wait)) });
        }
        match self.judge(call, &path) {
            Ok(body) => {
                self.take(&path, now);
                let parent = thread(&body).unwrap_or_default();
                let thread = parent.filter(|parent| stands(record, &path, parent));
                let (id, seen) = (self.ts(now), seen::message(&body));
                record.post(Posted { id, conversation: path, thread, at: now, seen, edits: 0, body });
                Answer::new(200, TEXT, "ok", Given::Done)
            }
            Err(word) => refusal(&word),
        }
    }

    fn judge(&self, call: &Call, path: &str) -> Result<Value, String> {
        let parts: Vec<_> = path.trim_start_matches("/services/").split('/').collect();
        let shaped = matches!(parts.as_slice(), [team, service, key]
            if team.starts_with('T') && service.starts_with('B') && !key.is_empty());
        match self.options.webhooks.get(path) {
            Some(SlackWebhook::Broken(word)) => return Err(word.clone()),
            None if self.options.only_known || !shaped => return Err("no_service".to_owned()),
            Some(SlackWebhook::Active) | None => {}
        }
        if call.problem.is_some() {
            return Err("invalid_payload".to_owned());
        }
        // The old form: one form field with the JSON inside.
        let body = match call.body.get("payload") {
            Some(Value::String(payload)) => serde_json::from_str(payload).map_err(|_| "invalid_payload")?,
            _ => call.body.clone(),
        };
        let word = |refused: Refused| match refused.code.as_str() {
            "invalid_arguments" | "invalid_thread_ts" => "invalid_payload".to_owned(),
            _ => refused.code,
        };
        thread(&body).map_err(word)?;
        webhook_content(&body).map_err(word)?;
        Ok(body)
    }
}

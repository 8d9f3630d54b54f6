//! What Slack is asked before anything is posted: whose token it is, and how the app stands in a conversation. Nothing is
//! changed by it. Source: docs.slack.dev, "auth.test method", "conversations.info method"; M 2.1 and 8.

use serde::Deserialize;

use super::client::Client;
use super::connector::read;
use super::error::{Answer, no_token, of_api};
use crate::delivery::SendError;
use crate::transport::reply::{self, lenient};

/// What a token may do, with commas between; on every answer of the Web API to a token.
const SCOPES: &str = "x-oauth-scopes";

/// Whose the token is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Account {
    /// The workspace's name.
    #[serde(default, deserialize_with = "lenient")]
    pub team: Option<String>,
    /// The app's name there.
    #[serde(default, deserialize_with = "lenient")]
    pub user: Option<String>,
    /// What it may do. `None`: Slack did not say.
    #[serde(skip)]
    pub scopes: Option<Vec<String>>,
}

/// A conversation, as the app sees it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Conversation {
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub is_archived: Option<bool>,
    /// Absent where there are no members to be among: a direct message.
    #[serde(default, deserialize_with = "lenient")]
    pub is_member: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub is_private: Option<bool>,
}

impl Client {
    /// `auth.test`
    ///
    /// # Errors
    /// Slack's refusal, or that there was no answer.
    pub async fn account(&self) -> Result<Account, SendError> {
        let answer = self.asked("auth.test", &[]).await?;
        let scopes = answer.headers.get(SCOPES).and_then(|scopes| scopes.to_str().ok());
        let split = |scopes: &str| {
            scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect()
        };
        let account: Account = reply::object(&answer.body).unwrap_or_default();
        Ok(Account { scopes: scopes.map(split), ..account })
    }

    /// `conversations.info`. Needs `channels:read`, for private ones `groups:read`.
    ///
    /// # Errors
    /// Slack's refusal, or that there was no answer.
    pub async fn conversation(&self, id: &str) -> Result<Conversation, SendError> {
        #[derive(Default, Deserialize)]
        struct Info {
            #[serde(default, deserialize_with = "lenient")]
            channel: Option<Conversation>,
        }
        let answer = self.asked("conversations.info", &[("channel", id)]).await?;
        reply::object::<Info>(&answer.body)
            .ok()
            .and_then(|info| info.channel)
            .ok_or_else(|| SendError::Unclear { what: "an answer without a `channel`".into(), cause: None })
    }

    /// The whole answer to a question that Slack did not refuse.
    async fn asked(&self, method: &str, arguments: &[(&str, &str)]) -> Result<crate::transport::Reply, SendError> {
        let token = self.token.as_ref().ok_or_else(no_token)?;
        let of_slack = |error| of_api(error, &self.secrets);
        let reply = self.slack.http_api.connector.ask(method, arguments, token).await.map_err(of_slack)?;
        let answer: Answer = read(&reply, false).map_err(of_slack)?;
        match answer.ok {
            Some(true) => Ok(reply),
            _ => Err(answer.refusal(&self.secrets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_another_shape_are_absent() {
        let odd = r#"{"name": 1, "is_archived": "no", "is_member": true}"#;
        let conversation: Conversation = serde_json::from_str(odd).unwrap();
        assert_eq!((conversation.name, conversation.is_archived, conversation.is_member), (None, None, Some(true)));
    }
}

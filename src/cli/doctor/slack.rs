//! Slack: the token and its scopes, and how the app stands in each channel.

use futures_util::{StreamExt, stream};

use super::row::{Row, Trouble};
use super::{AT_ONCE, Ground};
use crate::config::{Channel, Conversation};
use crate::delivery::SendError;
use crate::messenger::slack::ask::Account;
use crate::messenger::slack::client::{Client, WebhookUrl};

const TOKEN: &str = "slack token";
const CHANNEL: &str = "slack channel";
const REINSTALL: &str = "add it under \"OAuth & Permissions\" of the app, then reinstall the app";

pub async fn slack(ground: &Ground<'_>) -> Vec<Row> {
    let mut rows = of_app(ground).await;
    rows.extend(ground.config.channels.iter().filter_map(|channel| webhook(ground, channel)));
    rows
}

async fn of_app(ground: &Ground<'_>) -> Vec<Row> {
    let Some(section) = &ground.config.slack else { return Vec::new() };
    let Some(token) = section.token.as_ref().and_then(|token| ground.secret(token)) else { return Vec::new() };
    let client = match Client::new(ground.transport.clone(), section.api_url.as_str(), Some(&token)) {
        Ok(client) => client,
        Err(error) => return vec![Row::fail(TOKEN, "slack", error.to_string())],
    };
    let account = match ground.ask(client.account()).await {
        Ok(account) => account,
        Err(trouble) => return vec![Row::of_trouble(TOKEN, "slack", trouble)],
    };
    let mut rows = vec![of_account(&account)];
    let channels = ground.config.channels.iter().filter_map(|channel| match &channel.conversation {
        Conversation::Slack { id } => Some((channel, id.as_str())),
        Conversation::SlackWebhook { .. } | Conversation::Telegram { .. } => None,
    });
    let (client, account) = (&client, &account);
    let asked = channels.map(|(named, id)| channel(ground, client, account, named, id));
    let found: Vec<Row> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    rows.extend(found);
    rows
}

fn has(account: &Account, scope: &str) -> bool {
    account.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|known| known == scope))
}

fn of_account(account: &Account) -> Row {
    let team = account.team.as_deref().unwrap_or("a workspace without a name");
    let user = account.user.as_deref().unwrap_or("an app without a name");
    if !has(account, "chat:write") {
        return Row::fail(TOKEN, "slack", format!("{user} in {team} may not post: the scope chat:write is missing"))
            .hint(REINSTALL);
    }
    let lacking: Vec<_> = ["channels:read", "groups:read"].into_iter().filter(|scope| !has(account, scope)).collect();
    if lacking.is_empty() {
        return Row::ok(TOKEN, "slack", format!("{user} in {team}"));
    }
    let what =
        format!("{user} in {team} may post; whether it is in a channel cannot be asked without {}", lacking.join(", "));
    Row::warn(TOKEN, "slack", what).hint(REINSTALL)
}

async fn channel(ground: &Ground<'_>, client: &Client, account: &Account, named: &Channel, id: &str) -> Row {
    let subject = named.name.to_string();
    if id.starts_with('U') {
        return Row::ok(CHANNEL, subject, "a person's own messages from the app: only a post can tell");
    }
    let told = match ground.ask(told(client, id)).await {
        Ok(told) => told,
        Err(trouble) => return Row::of_trouble(CHANNEL, subject, trouble),
    };
    let Some(conversation) = told else {
        return Row::warn(CHANNEL, subject, "the app has no scope to look at it; only a post can tell").hint(REINSTALL);
    };
    let name = conversation.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(id);
    if conversation.is_archived == Some(true) {
        return Row::fail(CHANNEL, subject, format!("{name} is archived"))
            .hint("restore it in Slack, or lead its routes elsewhere");
    }
    match conversation.is_member {
        Some(false)
            if account.scopes.is_some()
                && has(account, "chat:write.public")
                && conversation.is_private != Some(true) =>
        {
            Row::ok(CHANNEL, subject, format!("{name}, as everybody may post there (chat:write.public)"))
        }
        Some(false) => Row::fail(CHANNEL, subject, format!("the app is not in {name}"))
            .hint("invite it: /invite @NAME in the channel"),
        _ => Row::ok(CHANNEL, subject, name.to_owned()),
    }
}

/// `None`: the token has no scope to ask it.
async fn told(client: &Client, id: &str) -> Result<Option<crate::messenger::slack::ask::Conversation>, Trouble> {
    match client.conversation(id).await {
        Ok(told) => Ok(Some(told)),
        Err(SendError::Held { code, .. }) if code == "missing_scope" => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// It answers to posts alone.
fn webhook(ground: &Ground<'_>, channel: &Channel) -> Option<Row> {
    let Conversation::SlackWebhook { url } = &channel.conversation else { return None };
    let url = ground.secret(url)?;
    let subject = channel.name.to_string();
    Some(match WebhookUrl::parse(&url) {
        Ok(_) => Row::ok("slack webhook", subject, "its address is set; only a post can tell whether it is taken"),
        Err(error) => Row::fail("slack webhook", subject, error.to_string())
            .hint("the app's \"Incoming Webhooks\" shows the whole address"),
    })
}

//! Telegram: the token, and how the bot stands in each chat.

use futures_util::{StreamExt, stream};

use super::row::{Row, Trouble};
use super::{AT_ONCE, Ground};
use crate::config::{Channel, Conversation};
use crate::delivery::SendError;
use crate::messenger::telegram::ask::{Bot, Chat, Member};
use crate::messenger::telegram::client::Client;

const TOKEN: &str = "telegram token";
const CHAT: &str = "telegram chat";

pub async fn telegram(ground: &Ground<'_>) -> Vec<Row> {
    let Some(section) = &ground.config.telegram else { return Vec::new() };
    let Some(token) = section.token.as_ref().and_then(|token| ground.secret(token)) else { return Vec::new() };
    let client = match Client::new(ground.transport.clone(), section.api_url.as_str(), &token) {
        Ok(client) => client,
        Err(error) => return vec![Row::fail(TOKEN, "telegram", error.to_string())],
    };
    let bot = match ground.ask(client.bot()).await {
        Ok(bot) => bot,
        Err(trouble) => return vec![Row::of_trouble(TOKEN, "telegram", trouble)],
    };
    let name = bot.username.as_deref().unwrap_or("a bot without a name");
    let mut rows = vec![Row::ok(TOKEN, "telegram", format!("@{name}"))];
    let channels = ground.config.channels.iter().filter_map(|channel| match channel.conversation {
        Conversation::Telegram { chat, topic } => Some((channel, chat, topic)),
        Conversation::Slack { .. } | Conversation::SlackWebhook { .. } => None,
    });
    let (client, bot) = (&client, &bot);
    let asked = channels.map(|(named, chat, topic)| of_channel(ground, client, bot, named, (chat, topic)));
    let found: Vec<Row> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    rows.extend(found);
    rows
}

async fn of_channel(
    ground: &Ground<'_>,
    client: &Client,
    bot: &Bot,
    named: &Channel,
    (id, topic): (i64, Option<i32>),
) -> Row {
    let subject = named.name.to_string();
    let chat = match ground.ask(asked(client.chat(id))).await {
        Ok(Ok(chat)) => chat,
        Ok(Err(moved)) => return moved_to(subject, moved),
        Err(trouble) => return Row::of_trouble(CHAT, subject, trouble),
    };
    let title = chat.title.clone().unwrap_or_else(|| id.to_string());
    if topic.is_some_and(|topic| topic > 1) && chat.is_forum != Some(true) {
        return Row::fail(CHAT, subject, format!("{title} has no topics, and a `topic` is configured"))
            .hint("remove `topic`, or switch topics on in the group's settings");
    }
    if chat.kind.as_deref() == Some("private") {
        return Row::ok(CHAT, subject, "a person: only a post can tell whether the bot is blocked");
    }
    match ground.ask(asked(client.member(id, bot.id))).await {
        Ok(Ok(member)) => of_member(subject, &title, &chat, &member, topic),
        Ok(Err(moved)) => moved_to(subject, moved),
        Err(trouble) => Row::of_trouble(CHAT, subject, trouble),
    }
}

/// The inner error: the chat's new id.
async fn asked<T>(question: impl Future<Output = Result<T, SendError>>) -> Result<Result<T, i64>, Trouble> {
    match question.await {
        Ok(answer) => Ok(Ok(answer)),
        Err(SendError::Moved { chat }) => Ok(Err(chat)),
        Err(error) => Err(error.into()),
    }
}

/// Messages find their way by themselves, each time by one more call.
fn moved_to(subject: String, chat: i64) -> Row {
    Row::warn(CHAT, subject, format!("the group has become the supergroup {chat}; messages follow it"))
        .hint(format!("write `telegram: {chat}`"))
}

fn of_member(subject: String, title: &str, chat: &Chat, member: &Member, topic: Option<i32>) -> Row {
    let is_channel = chat.kind.as_deref() == Some("channel");
    let everybody_may = chat.permissions.as_ref().and_then(|all| all.can_send_messages) != Some(false);
    let wrong = match member.status.as_deref() {
        Some("kicked") => Some(("the bot was removed from", "add the bot again")),
        Some("left") => Some(("the bot is not in", "add the bot to it")),
        Some("administrator") if is_channel && member.can_post_messages != Some(true) => {
            Some(("the bot may not post in", "give it the right \"Post messages\""))
        }
        Some("member" | "restricted") if is_channel => {
            Some(("the bot is no administrator of", "make it one, with the right \"Post messages\""))
        }
        Some("restricted") if member.can_send_messages != Some(true) => {
            Some(("the bot may not write in", "lift its restriction, or make it an administrator"))
        }
        Some("member") if !everybody_may => {
            Some(("only administrators may write in", "make the bot one, or let members write"))
        }
        _ => None,
    };
    match (wrong, topic.filter(|topic| *topic > 1)) {
        (Some((what, hint)), _) => Row::fail(CHAT, subject, format!("{what} {title}")).hint(hint),
        (None, None) => Row::ok(CHAT, subject, title.to_owned()),
        (None, Some(topic)) => {
            Row::ok(CHAT, subject, format!("{title}; whether it has the topic {topic} only a post can tell"))
        }
    }
}

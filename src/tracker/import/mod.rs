//! Triggers that call Slack or Telegram by themselves, as channels, routes and templates of ours. What has no counterpart
//! is named; no token and no webhook's address is in anything that is made here. Source: T 1.6, 1.7, 2, 3.3, 7.

mod body;
mod condition;
mod text;
mod variable;

use std::cell::RefCell;

use serde_json::{Map, Value};

pub use self::body::Hosts;
use self::body::{Address, Service, Signs, address, members};
use self::text::Markup;
use super::queue::Trigger;

/// Ids that nothing has: they stand where a trigger names none.
const NO_SLACK: &str = "C0000000000";
const NO_TELEGRAM: i64 = -1_000_000_000_000;
/// Tracker's own address, which bodies hold whatever the configuration says.
const TRACKER: &str = "https://tracker.yandex.ru";

/// Where a message goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Conversation {
    Slack {
        id: String,
    },
    /// An incoming webhook, whose address is a secret.
    SlackWebhook {
        env: String,
    },
    Telegram {
        chat: i64,
        topic: Option<i32>,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Channel {
    pub name: String,
    pub conversation: Conversation,
}

/// One message that a trigger sends.
#[derive(Clone, Debug)]
pub struct Route {
    /// The trigger's id and name.
    pub trigger: String,
    pub name: String,
    /// CEL.
    pub when: String,
    pub channel: String,
    /// Its name and text. None: the event's own template.
    pub template: Option<(String, String)>,
    /// It must be looked at before it may send.
    pub disabled: bool,
    /// What could not be carried over.
    pub notes: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Proposal {
    /// Those that the configuration does not have.
    pub channels: Vec<Channel>,
    pub routes: Vec<Route>,
    /// What was seen and made nothing of, by trigger.
    pub notes: Vec<(String, String)>,
}

/// `known`: the channels of the configuration, which are named instead of new ones.
pub fn import(queue: &str, triggers: &[Trigger], hosts: Hosts<'_>, known: &[Channel]) -> Proposal {
    let mut made = Making { queue, hosts, known, webhooks: Vec::new(), proposal: Proposal::default() };
    for trigger in triggers {
        made.trigger(trigger);
    }
    made.proposal
}

struct Making<'a> {
    queue: &'a str,
    hosts: Hosts<'a>,
    known: &'a [Channel],
    /// The addresses of incoming webhooks, which are secrets, and the channels for them.
    webhooks: Vec<(String, String)>,
    proposal: Proposal,
}

impl Making<'_> {
    fn trigger(&mut self, trigger: &Trigger) {
        let id = trigger.id.clone().unwrap_or_default();
        let label = format!("{id} {}", trigger.name.as_deref().unwrap_or_default()).trim().to_owned();
        let actions = trigger.actions.as_array().map(Vec::as_slice).unwrap_or_default();
        let before = self.proposal.routes.len();
        let (mut others, mut methods) = (Vec::new(), Vec::new());
        for action in actions {
            if action["type"] != "Webhook" {
                others.push(action["type"].as_str().unwrap_or("?").to_owned());
                continue;
            }
            let mut signs = Signs::default();
            let endpoint = signs.veil(action["endpoint"].as_str().unwrap_or_default(), false);
            let read = members(action, &endpoint, &mut signs);
            let found = address(&endpoint, self.hosts);
            let is_guess = matches!(found, Address::Variable);
            let service = match found {
                Address::Message(service) => Some(service),
                Address::Variable => read.as_ref().and_then(guessed),
                Address::Other(method) => {
                    methods.push(method);
                    None
                }
                Address::Nobody => None,
            };
            if let Some(service) = service {
                let number = self.proposal.routes.len() - before;
                let name = template_name(self.queue, &id, number);
                let call = Call { service, is_guess, endpoint, members: read, signs, template: name };
                self.route(trigger, &label, call);
            }
        }
        let made = self.proposal.routes.len() > before;
        if made && !others.is_empty() {
            let what = format!("what else it does stays in Tracker: {}", others.join(", "));
            self.proposal.notes.push((label.clone(), what));
        }
        for method in methods {
            let what = format!("it calls a messenger's `{method}`, which is no message: nothing was made of it");
            self.proposal.notes.push((label.clone(), what));
        }
    }

    fn route(&mut self, trigger: &Trigger, label: &str, mut call: Call) {
        let mut notes = Vec::new();
        let conditions = condition::told(&trigger.conditions);
        let asked = !matches!(&trigger.conditions, Value::Null) && trigger.conditions != Value::Array(Vec::new());
        let everything = asked && conditions.when.is_none();
        notes.extend(conditions.lost);
        if everything {
            notes.push("none of its conditions is left, so that the route is off: write `when`".into());
        }
        let of_queue = format!("issue.queue.key == {}", Value::from(self.queue));
        let when = match conditions.when {
            Some(when) => format!("{of_queue} && {when}"),
            None => of_queue,
        };
        if call.is_guess {
            notes.push("its address is a variable: whom it calls was told by its body".into());
        }
        let members = call.members.take();
        if members.is_none() {
            notes.push("its body cannot be read: is it JSON? The event's own template says what happened".into());
        }
        let members = members.unwrap_or_default();
        let (channel, is_known) = self.channel(&call, &members, &mut notes);
        let is_off = trigger.active == Some(false);
        notes.extend(is_off.then(|| "it is inactive in Tracker, so that the route is off".to_owned()));
        let template = template(&mut call, &members, self.hosts, &mut notes).map(|text| (call.template.clone(), text));
        let name = trigger.name.clone().filter(|name| !name.trim().is_empty());
        let name = self.unnamed(name.unwrap_or_else(|| call.template.clone()));
        self.proposal.routes.push(Route {
            trigger: label.to_owned(),
            name,
            when,
            channel,
            template,
            disabled: is_off || everything || !is_known,
            notes,
        });
    }

    /// The channel's name, and whether the trigger says where it leads.
    fn channel(&mut self, call: &Call, members: &Map<String, Value>, notes: &mut Vec<String>) -> (String, bool) {
        let word = |name: &str| match members.get(name) {
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let (conversation, is_known) = match call.service {
            Service::SlackWebhook => {
                let secret = call.endpoint.chars().map(|c| call.signs.variable(c).map_or(c.to_string(), str::to_owned));
                return (self.webhook(secret.collect()), true);
            }
            Service::Slack => match word("channel").filter(|id| is_slack(id)) {
                Some(id) => (Conversation::Slack { id }, true),
                None => {
                    notes
                        .push(format!("it names no channel's id: put it in the place of {NO_SLACK}, and the route on"));
                    (Conversation::Slack { id: NO_SLACK.into() }, false)
                }
            },
            Service::Telegram => {
                let chat = word("chat_id").and_then(|id| id.parse::<i64>().ok()).filter(|id| is_telegram(*id));
                let topic = word("message_thread_id");
                let number = topic.as_ref().and_then(|topic| topic.parse::<i32>().ok()).filter(|topic| *topic > 0);
                if topic.as_ref().is_some_and(|topic| !topic.is_empty()) && number.is_none() {
                    notes.push("its topic is no number, and is left out".into());
                }
                match chat {
                    Some(chat) => (Conversation::Telegram { chat, topic: number }, true),
                    None => {
                        notes.push(format!(
                            "it names no chat's id: put it in the place of {NO_TELEGRAM}, and the route on"
                        ));
                        (Conversation::Telegram { chat: NO_TELEGRAM, topic: number }, false)
                    }
                }
            }
        };
        (self.named(conversation), is_known)
    }

    fn named(&mut self, conversation: Conversation) -> String {
        let all = self.known.iter().chain(&self.proposal.channels);
        if let Some(known) = all.into_iter().find(|known| known.conversation == conversation) {
            return known.name.clone();
        }
        let name = match &conversation {
            Conversation::Slack { id } => format!("slack-{}", id.to_ascii_lowercase()),
            Conversation::SlackWebhook { env } => env.to_ascii_lowercase().replace('_', "-"),
            Conversation::Telegram { chat, topic } => {
                let topic = topic.map(|topic| format!("-{topic}")).unwrap_or_default();
                format!("telegram-{}{topic}", chat.unsigned_abs())
            }
        };
        self.added(name, conversation)
    }

    /// Under a name that no other channel has.
    fn added(&mut self, name: String, conversation: Conversation) -> String {
        let is_taken = |name: &str| self.known.iter().chain(&self.proposal.channels).any(|known| known.name == name);
        let mut free = name.clone();
        let mut number = 2;
        while is_taken(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        self.proposal.channels.push(Channel { name: free.clone(), conversation });
        free
    }

    /// A route's name that no other has, or `check` would warn: of a trigger with several actions, or of several with one
    /// name.
    fn unnamed(&self, name: String) -> String {
        let is_taken = |name: &str| self.proposal.routes.iter().any(|route| route.name == name);
        let mut free = name.clone();
        let mut number = 2;
        while is_taken(&free) {
            free = format!("{name} ({number})");
            number += 1;
        }
        free
    }

    fn webhook(&mut self, secret: String) -> String {
        if let Some((_, name)) = self.webhooks.iter().find(|(known, _)| *known == secret) {
            return name.clone();
        }
        let env = format!("SLACK_WEBHOOK_{}", self.webhooks.len() + 1);
        let name = env.to_ascii_lowercase().replace('_', "-");
        let name = self.added(name, Conversation::SlackWebhook { env });
        self.webhooks.push((secret, name.clone()));
        name
    }
}

/// What one action sends. It holds secrets.
struct Call {
    service: Service,
    /// By its body alone.
    is_guess: bool,
    endpoint: String,
    members: Option<Map<String, Value>>,
    signs: Signs,
    /// The name of its template.
    template: String,
}

/// Whom a call without an address means.
fn guessed(members: &Map<String, Value>) -> Option<Service> {
    match (members.contains_key("text"), members.contains_key("chat_id"), members.contains_key("channel")) {
        (true, true, _) => Some(Service::Telegram),
        (true, false, true) => Some(Service::Slack),
        (true, false, false) => Some(Service::SlackWebhook),
        (false, ..) => None,
    }
}

fn is_slack(id: &str) -> bool {
    let shape = id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    id.starts_with(['C', 'G', 'D', 'U']) && shape && (2..=64).contains(&id.len())
}

fn is_telegram(id: i64) -> bool {
    id != 0 && id.unsigned_abs() < 1 << 52
}

/// As in `imported-test-16`.
fn template_name(queue: &str, id: &str, number: usize) -> String {
    let word = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let further = if number == 0 { String::new() } else { format!("-{}", number + 1) };
    format!("imported-{}-{}{further}", word(queue), word(id))
}

/// Members of a message that need nothing here, by the way messages are made.
const NEEDLESS: [&str; 8] =
    ["text", "channel", "chat_id", "message_thread_id", "parse_mode", "mrkdwn", "token", "as_user"];

/// The text as a template, with what else the message says of itself.
fn template(
    call: &mut Call,
    members: &Map<String, Value>,
    hosts: Hosts<'_>,
    notes: &mut Vec<String>,
) -> Option<String> {
    let is_true =
        |name: &str| members.get(name).is_some_and(|it| matches!(it.to_string().trim_matches('"'), "true" | "1"));
    let is_false = |name: &str| members.get(name).is_some_and(|it| it.to_string().trim_matches('"') == "false");
    let mut front = String::new();
    let mut used = NEEDLESS.to_vec();
    if is_true("disable_notification") {
        front += "silent: true\n";
    }
    if is_true("disable_web_page_preview")
        || is_false("unfurl_links")
        || members.get("link_preview_options").is_some_and(|it| it["is_disabled"] == true)
    {
        front += "unfurl: false\n";
    }
    used.extend([
        "disable_notification",
        "disable_web_page_preview",
        "unfurl_links",
        "unfurl_media",
        "link_preview_options",
    ]);
    for (name, _) in members.iter().filter(|(name, _)| !used.contains(&name.as_str())) {
        notes.push(match name.as_str() {
            "link_names" => {
                "`link_names`: a name behind `@` calls nobody; write `<@U…>` in the template's .slack.json.hbs".into()
            }
            "username" | "icon_emoji" | "icon_url" => format!("`{name}`: the app's own name and picture are shown"),
            "blocks" | "attachments" => format!("`{name}`: write them in the template's .slack.json.hbs"),
            "reply_markup" => "`reply_markup`: buttons are `buttons` in the template's front matter".into(),
            "thread_ts" | "reply_to_message_id" => format!("`{name}`: `style: thread` of a route makes threads"),
            other if other.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => format!("`{other}` is left out"),
            _ => "a member of its body is left out".into(),
        });
    }
    let Some(given) = members.get("text").and_then(Value::as_str) else {
        notes.push("it has no `text`: the event's own template says what happened".into());
        return None;
    };
    let mode = members.get("parse_mode").and_then(Value::as_str).map(str::to_ascii_lowercase);
    let markup = match (&call.service, mode.as_deref()) {
        (Service::Slack | Service::SlackWebhook, _) if is_false("mrkdwn") => Markup::None,
        (Service::Slack | Service::SlackWebhook, _) => Markup::Mrkdwn,
        (Service::Telegram, Some("markdown")) => Markup::Markdown,
        (Service::Telegram, Some("markdownv2")) => Markup::MarkdownV2,
        (Service::Telegram, Some("html")) => Markup::Html,
        (Service::Telegram, None | Some("")) => Markup::None,
        (Service::Telegram, Some(_)) => {
            notes.push("`parse_mode` is none of Telegram's: the text is taken as plain".into());
            Markup::None
        }
    };
    let given = call.signs.addresses(given, &[hosts.web_url, TRACKER]);
    let lost = RefCell::new(Vec::new());
    let written = |sign: char| {
        let name = call.signs.variable(sign)?;
        Some(variable::handlebars(name).unwrap_or_else(|why| {
            lost.borrow_mut().push(format!("`{name}` is left out of the text: {why}"));
            String::new()
        }))
    };
    let told = text::told(&given, markup, &written);
    notes.extend(told.lost);
    let mut lost = lost.into_inner();
    lost.dedup();
    notes.extend(lost);
    if told.template.trim().is_empty() {
        notes.push("its text is empty: the event's own template says what happened".into());
        return None;
    }
    let front = if front.is_empty() { front } else { format!("---\n{front}---\n") };
    Some(format!("{front}{}\n", told.template.trim_end()))
}

#[cfg(test)]
mod tests;

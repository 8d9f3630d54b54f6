//! What a trigger sends to a messenger by itself: to whom, and what, with its variables as signs of one character, so that
//! a body which only Tracker makes JSON of can be read before. Source: T 2.3, 2.4, 3.3, 7.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::variable;

/// The first of the private characters that stand for variables; there are 6,400.
const FIRST: u32 = 0xE000;
const MOST: u32 = 6_400;

/// Texts with a sign for each variable.
#[derive(Default)]
pub(super) struct Signs {
    variables: Vec<String>,
}

impl Signs {
    /// Without the variables. In JSON one that stands outside of quotes brings its own: it gets them here.
    pub fn veil(&mut self, text: &str, json: bool) -> String {
        let (mut veiled, mut rest, mut quoted) = (String::new(), text, false);
        while let Some((before, (variable, after))) =
            rest.split_once("{{").and_then(|(before, inner)| Some((before, inner.split_once("}}")?)))
        {
            plain(before, json, &mut veiled, &mut quoted);
            let bare = json && !quoted;
            veiled.push_str(if bare { "\"" } else { "" });
            veiled.extend(self.sign(variable));
            veiled.push_str(if bare { "\"" } else { "" });
            rest = after;
        }
        plain(rest, json, &mut veiled, &mut quoted);
        veiled
    }

    /// One more. None: there are too many.
    pub fn sign(&mut self, variable: &str) -> Option<char> {
        let number = u32::try_from(self.variables.len()).ok().filter(|number| *number < MOST)?;
        self.variables.push(variable.trim().to_owned());
        char::from_u32(FIRST + number)
    }

    pub fn variable(&self, sign: char) -> Option<&str> {
        let number = u32::from(sign).checked_sub(FIRST)?;
        self.variables.get(number as usize).map(String::as_str)
    }

    /// The addresses of issues that are put together in a text, each as one variable.
    pub fn addresses(&mut self, text: &str, web_urls: &[&str]) -> String {
        let mut text = text.to_owned();
        let keys: Vec<char> = text.chars().filter(|c| self.variable(*c) == Some("issue.key")).collect();
        for (key, base) in keys.into_iter().flat_map(|key| web_urls.iter().map(move |base| (key, base))) {
            let joined = format!("{}/{key}", base.trim_end_matches('/'));
            if text.contains(&joined)
                && let Some(url) = self.sign(variable::URL)
            {
                text = text.replace(&joined, url.encode_utf8(&mut [0; 4]));
            }
        }
        text
    }
}

/// A stretch without variables. `quoted`: whether its end stands inside quotes.
fn plain(text: &str, json: bool, veiled: &mut String, quoted: &mut bool) {
    let mut escaped = false;
    for c in text.chars().filter(|c| !is_sign(*c)) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => *quoted = !*quoted,
            // Typed as it is seen; Tracker's body editor takes it.
            '\n' if json && *quoted => {
                veiled.push_str("\\n");
                continue;
            }
            _ => {}
        }
        veiled.push(c);
    }
}

fn is_sign(c: char) -> bool {
    (FIRST..FIRST + MOST).contains(&u32::from(c))
}

/// To whom a call goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// `chat.postMessage`.
    Slack,
    SlackWebhook,
    /// `sendMessage`.
    Telegram,
}

/// Where messengers are called.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'a> {
    pub slack_api: &'a str,
    pub telegram_api: &'a str,
    /// Where people open issues.
    pub web_url: &'a str,
}

/// What an address says.
pub(super) enum Address {
    Message(Service),
    /// The whole address is a variable: who is called only the body can tell.
    Variable,
    /// A method of a messenger that makes no message.
    Other(String),
    /// Nobody that we know.
    Nobody,
}

/// `endpoint`: without variables.
pub(super) fn address(endpoint: &str, hosts: Hosts<'_>) -> Address {
    if endpoint.starts_with(is_sign) {
        return Address::Variable;
    }
    let place = endpoint.split(['?', '#']).next().unwrap_or_default();
    let Some((_, rest)) = place.split_once("://") else { return Address::Nobody };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let last = path.rsplit('/').next().unwrap_or_default();
    let of_telegram = path.split('/').rev().nth(1).is_some_and(|part| part.starts_with("bot"));
    let own = |api: &str| place.starts_with(&format!("{}/", api.trim_end_matches('/')));
    let slack = host == "slack.com" || host.ends_with(".slack.com") || own(hosts.slack_api);
    let telegram = host == "api.telegram.org" || own(hosts.telegram_api);
    match last {
        _ if host == "hooks.slack.com" => Address::Message(Service::SlackWebhook),
        "chat.postMessage" => Address::Message(Service::Slack),
        "sendMessage" if of_telegram => Address::Message(Service::Telegram),
        _ if path.starts_with("services/T") => Address::Message(Service::SlackWebhook),
        // The last part alone: before it may stand a token.
        method if (slack || telegram) && method.chars().all(|c| c.is_ascii_alphabetic() || c == '.') => {
            Address::Other(method.to_owned())
        }
        _ if slack || telegram => Address::Other("another method".into()),
        _ => Address::Nobody,
    }
}

/// The members of a call: of the body, and behind them those of the address. None: the body cannot be read.
pub(super) fn members(action: &Value, endpoint: &str, signs: &mut Signs) -> Option<Map<String, Value>> {
    let mut members = match &action["body"] {
        Value::Null => Map::new(),
        Value::String(text) if text.trim().is_empty() => Map::new(),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(&signs.veil(text, true)).ok()?
        }
        Value::String(text) => pairs(&signs.veil(text, false)),
        object @ Value::Object(_) => serde_json::from_str(&signs.veil(&object.to_string(), true)).ok()?,
        _ => return None,
    };
    if let Some((_, query)) = endpoint.split_once('?') {
        for (name, value) in pairs(query) {
            members.entry(name).or_insert(value);
        }
    }
    Some(members)
}

fn pairs(text: &str) -> Map<String, Value> {
    form_urlencoded::parse(text.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect()
}

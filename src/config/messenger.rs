//! `slack:` and `telegram:` — accounts and their pace.

use secrecy::{ExposeSecret, SecretString};

use super::reader::{Fields, Findings, Placed, rate, whole, word};
use super::secret::{Secret, secret};
use super::tree::{Kind, Node};
use super::url::{BaseUrl, base_url, known};
use crate::finding::{Place, suggest};

#[derive(Clone, Debug)]
pub struct Slack {
    /// Only incoming webhooks work without.
    pub token: Option<Placed<Secret>>,
    /// Joined as `<api_url>/<method>`.
    pub api_url: BaseUrl,
    /// `None`: no pacing by rate (`pace: none`).
    pub pace: Option<SlackPace>,
    /// Where a token would stand if there were none.
    pub(super) tokenless: Option<Place>,
}

#[derive(Clone, Debug)]
pub struct Telegram {
    /// Always there in a configuration without errors that has a Telegram channel.
    pub token: Option<Placed<Secret>>,
    /// Joined as `<api_url>/bot<token>/<method>`.
    pub api_url: BaseUrl,
    /// `None`: no pacing by rate (`pace: none`).
    pub pace: Option<TelegramPace>,
    /// Where a token would stand if there were none.
    pub(super) tokenless: Option<Place>,
}

/// How fast Slack takes messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlackPace {
    pub per_channel_per_second: f64,
    /// Messages at once after a pause.
    pub burst: u32,
}

/// How fast Telegram takes messages. Groups are chats with a negative id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TelegramPace {
    pub per_chat_per_second: f64,
    pub per_group_per_minute: f64,
    pub per_bot_per_second: f64,
    /// Messages at once after a pause.
    pub burst: u32,
}

impl Default for SlackPace {
    fn default() -> Self {
        Self { per_channel_per_second: 1.0, burst: 3 }
    }
}

impl Default for TelegramPace {
    fn default() -> Self {
        Self { per_chat_per_second: 1.0, per_group_per_minute: 20.0, per_bot_per_second: 30.0, burst: 3 }
    }
}

impl Default for Slack {
    fn default() -> Self {
        let (api_url, pace) = (known("https://slack.com/api"), Some(SlackPace::default()));
        Self { token: None, api_url, pace, tokenless: None }
    }
}

impl Default for Telegram {
    fn default() -> Self {
        let (api_url, pace) = (known("https://api.telegram.org"), Some(TelegramPace::default()));
        Self { token: None, api_url, pace, tokenless: None }
    }
}

/// What a messenger's token cannot have, and the way out. `None`: it may be one, or `name` is another secret. The forms
/// are no promise of the messengers', so nothing more is asked of them (reference M 1, "Token kinds").
pub(super) fn misfit(name: &str, secret: &SecretString) -> Option<(&'static str, &'static str)> {
    const SLACKS: &str = "Slack's begins with `xoxb-` and stands in the app's \"OAuth & Permissions\"";
    const TELEGRAMS: &str = "@BotFather gives it, as in 123456789:AAE…";
    let secret = secret.expose_secret();
    let of_telegram = secret.split_once(':').is_some_and(|(bot, _)| bot.bytes().all(|b| b.is_ascii_digit()));
    let is_odd = |byte: u8| !byte.is_ascii_graphic();
    match name {
        "slack.token" if secret.bytes().any(is_odd) => Some((ODD, SLACKS)),
        "slack.token" if of_telegram => Some(("is a token of Telegram's", SLACKS)),
        "telegram.token" if secret.starts_with("xox") => Some(("is a token of Slack's", TELEGRAMS)),
        // It becomes a part of the address.
        "telegram.token" if secret.bytes().any(|b| is_odd(b) || b"/?#%".contains(&b)) => Some((ODD, TELEGRAMS)),
        _ => None,
    }
}

const ODD: &str = "has a blank in it, or another character that no token has";

/// The section, with defaults for what could not be read.
pub(super) fn slack(node: &Node, findings: &mut Findings) -> Slack {
    let unread = Slack::default();
    let Some(mut fields) = Fields::of(node, "`slack`", findings) else { return unread };
    let token_node = fields.get("token");
    let token = token_node.and_then(|node| secret(node, findings));
    let api_url = fields.read("api_url", findings, base_url);
    let pace = fields.read("pace", findings, |node, findings| {
        pace(node, findings, |fields, findings| {
            let default = SlackPace::default();
            let per_channel = fields.read("per_channel_per_second", findings, rate);
            SlackPace {
                per_channel_per_second: per_channel.unwrap_or(default.per_channel_per_second),
                burst: burst(fields, findings, default.burst),
            }
        })
    });
    let tokenless = token_node.is_none().then_some(fields.place());
    fields.close(findings);
    let (api_url, pace) = (api_url.unwrap_or(unread.api_url), pace.unwrap_or(unread.pace));
    Slack { token, api_url, pace, tokenless }
}

/// The section, with defaults for what could not be read.
pub(super) fn telegram(node: &Node, findings: &mut Findings) -> Telegram {
    let unread = Telegram::default();
    let Some(mut fields) = Fields::of(node, "`telegram`", findings) else { return unread };
    let token_node = fields.get("token");
    let token = token_node.and_then(|node| secret(node, findings));
    let api_url = fields.read("api_url", findings, base_url);
    let pace = fields.read("pace", findings, |node, findings| {
        pace(node, findings, |fields, findings| {
            let default = TelegramPace::default();
            let per_chat = fields.read("per_chat_per_second", findings, rate);
            let per_group = fields.read("per_group_per_minute", findings, rate);
            let per_bot = fields.read("per_bot_per_second", findings, rate);
            TelegramPace {
                per_chat_per_second: per_chat.unwrap_or(default.per_chat_per_second),
                per_group_per_minute: per_group.unwrap_or(default.per_group_per_minute),
                per_bot_per_second: per_bot.unwrap_or(default.per_bot_per_second),
                burst: burst(fields, findings, default.burst),
            }
        })
    });
    let tokenless = token_node.is_none().then_some(fields.place());
    fields.close(findings);
    let (api_url, pace) = (api_url.unwrap_or(unread.api_url), pace.unwrap_or(unread.pace));
    Telegram { token, api_url, pace, tokenless }
}

fn burst(fields: &mut Fields, findings: &mut Findings, default: u32) -> u32 {
    fields.read("burst", findings, whole(1..=1000)).unwrap_or(default)
}

/// `default`, `none` (inner `None`), or rates of which those left out are the default's.
pub(super) fn pace<T: Default>(
    node: &Node,
    findings: &mut Findings,
    rates: impl FnOnce(&mut Fields, &mut Findings) -> T,
) -> Option<Option<T>> {
    match &node.kind {
        Kind::Map(_) => {
            let mut fields = Fields::of(node, "`pace`", findings)?;
            let pace = rates(&mut fields, findings);
            fields.close(findings);
            Some(Some(pace))
        }
        Kind::Scalar(_) => match word(node, findings)? {
            "default" => Some(Some(T::default())),
            "none" => Some(None),
            other => {
                let hint = format!("{}, or rates as {{burst: 3}}", suggest(other, "words here", ["default", "none"]));
                findings.hinted(node.place, format!("`pace` does not know `{other}`"), hint);
                None
            }
        },
        _ => findings.must_be(node, "`default`, `none` or rates as {burst: 3}"),
    }
}

//! Inline keyboards. Source: core.telegram.org/bots/api, "InlineKeyboardButton".

use serde_json::Value;
use url::Url;

use super::Refused;

/// Longest `callback_data`, in bytes.
const MOST_DATA: usize = 64;
/// Most buttons of one message.
const MOST_BUTTONS: usize = 100;

pub(super) fn check(markup: &Value) -> Result<(), Refused> {
    let broken = || Refused::bad("object expected as reply markup");
    let members = markup.as_object().ok_or_else(broken)?;
    let Some(rows) = members.get("inline_keyboard") else { return Ok(()) }; // another kind of markup
    let rows = rows.as_array().ok_or_else(|| Refused::bad("field \"inline_keyboard\" must be of type Array"))?;
    let mut buttons = 0;
    for button in rows.iter().filter_map(Value::as_array).flatten() {
        buttons += 1;
        let text = button["text"].as_str().unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Refused::bad("can't parse inline keyboard button: Text must be non-empty"));
        }
        match (button["url"].as_str(), button["callback_data"].as_str()) {
            (Some(url), None) if !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "tg")) => {
                return Err(Refused::bad("BUTTON_URL_INVALID"));
            }
            (None, Some(data)) if !(1..=MOST_DATA).contains(&data.len()) => {
                return Err(Refused::bad("BUTTON_DATA_INVALID"));
            }
            (Some(_), Some(_)) => return Err(Refused::bad("BUTTON_TYPE_INVALID")),
            (None, None) if button.as_object().is_none_or(|button| button.len() < 2) => {
                let what = "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard";
                return Err(Refused::bad(what));
            }
            _ => {}
        }
    }
    if buttons > MOST_BUTTONS { Err(Refused::bad("reply markup is too long")) } else { Ok(()) }
}

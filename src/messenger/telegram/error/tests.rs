use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::messenger::telegram::client::{Client, message};
use crate::messenger::telegram::format::TelegramContent;
use crate::transport::Transport;
use crate::transport::fixture::{Act, Fixture, answer, json, told};

const TOKEN: &str = "12345:token-canary";

/// What the client makes of each act, one after the other.
async fn ends(acts: Vec<Act>) -> Vec<Result<Receipt, SendError>> {
    let server = Fixture::start(acts.clone()).await;
    let client = Client::new(Transport::new(Clock::machine()).unwrap(), &server.base, &TOKEN.into()).unwrap();
    let message = message(-1, None, TelegramContent { text: "hello".into(), ..Default::default() });
    let mut ends = Vec::new();
    for _ in acts {
        ends.push(client.post(&message).await);
    }
    ends
}

fn refused(code: u16, description: &str) -> Act {
    let body = serde_json::json!({"ok": false, "error_code": code, "description": description});
    answer(&format!("{code} Refused"), "Content-Type: application/json", &body.to_string())
}

/// The rows of the reference's table, word for word.
#[tokio::test]
async fn each_description_has_its_advice() {
    let rows: &[(&str, u16, &[&str])] = &[
        ("wait None Lane", 429, &["Too Many Requests: retry after 9"]),
        ("unclear", 500, &["Internal Server Error", "Internal Server Error: restart"]),
        ("hold Account", 401, &["Unauthorized", "Unauthorized: invalid token specified"]),
        ("hold Account", 404, &["Not Found"]),
        ("hold Account", 421, &["Misdirected Request: invalid server", "Misdirected Request"]),
        (
            "hold Lane",
            403,
            &[
                "Forbidden: bot was blocked by the user",
                "Forbidden: user is deactivated",
                "Forbidden: bot can't initiate conversation with a user",
                "Forbidden: bot can't send messages to bots",
                "Forbidden: the bot can't send messages to the bot",
                "Forbidden: bot was kicked from the group chat",
                "Forbidden: bot was kicked from the supergroup chat",
                "Forbidden: bot was kicked from the channel chat",
                "Forbidden: bot is not a member of the group chat",
                "Forbidden: bot is not a member of the supergroup chat",
                "Forbidden: bot is not a member of the channel chat",
                "Forbidden: the group chat was deleted",
                "Forbidden: a reason of tomorrow",
            ],
        ),
        (
            "hold Lane",
            400,
            &[
                "Bad Request: group chat was upgraded to a supergroup chat",
                "Bad Request: chat not found",
                "bad request: Chat Not Found",
                "chat not found",
                "Bad Request: private chat not found",
                "Bad Request: PEER_ID_INVALID",
                "Bad Request: message thread not found",
                "Bad Request: TOPIC_CLOSED",
                "Bad Request: TOPIC_DELETED",
                "Bad Request: not enough rights to send text messages to the chat",
                "Bad Request: need administrator rights in the channel chat",
                "Bad Request: CHAT_WRITE_FORBIDDEN",
                "Bad Request: CHAT_RESTRICTED",
                "Bad Request: CHAT_ADMIN_REQUIRED",
                "Bad Request: group is deactivated",
            ],
        ),
        (
            "plain",
            400,
            &[
                "Bad Request: can't parse entities: unexpected end of name token at byte offset 5",
                "Bad Request: message text is empty",
                "Bad Request: message is too long",
                "Bad Request: MESSAGE_TOO_LONG",
                "Bad Request: BUTTON_DATA_INVALID",
                "Bad Request: BUTTON_URL_INVALID",
                "Bad Request: reply markup is too long",
                "Bad Request: ENTITY_BOUNDS_INVALID",
                "Bad Request: a reason of tomorrow, chat not found",
            ],
        ),
        (
            "plain",
            400,
            &[
                "Bad Request: message is not modified: specified new message content is the same",
                "Bad Request: message to edit not found",
                "Bad Request: message can't be edited",
                "Bad Request: MESSAGE_ID_INVALID",
            ],
        ),
        ("newthread", 400, &["Bad Request: message to be replied not found", "Bad Request: replied message not found"]),
        (
            "hold Account",
            409,
            &[
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it first",
            ],
        ),
        ("give up", 404, &["Not Found: method not found"]),
        ("plain", 418, &["I'm a teapot"]),
    ];
    for (wanted, code, descriptions) in rows {
        let acts = descriptions.iter().map(|description| refused(*code, description)).collect();
        for (description, end) in descriptions.iter().zip(ends(acts).await) {
            assert_eq!(told(&end), *wanted, "{code} {description}: {end:?}");
        }
    }
}

#[test]
fn each_row_of_the_table_is_reached() {
    for (code, phrase, _) in TABLE {
        let first = TABLE.iter().find(|(of, other, _)| of == code && begins(&phrase.replace('*', "some"), other));
        assert_eq!(first.map(|row| row.1), Some(*phrase), "{code} {phrase} stands behind a row that takes its answers");
    }
}

#[tokio::test]
async fn each_other_answer_has_its_advice() {
    let posted = r#"{"ok":true,"result":{"message_id":9,"chat":{"id":-5,"type":"group"},"date":1,"new":[]}}"#;
    let numbered = |chat: i64| format!("Telegram {{ chat: {chat}, message: 9, reply_to: None }}");
    let slow = |parameters: &str| {
        let body =
            format!(r#"{{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{parameters}}}"#);
        answer("429 Too Many Requests", "Retry-After: 8", &body)
    };
    let wait = |secs| format!("wait {:?} Lane", Some(Duration::from_secs(secs)));
    let moved = |parameters: &str| {
        answer(
            "400 Bad",
            "",
            &format!(
                r#"{{"ok":false,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{parameters}}}"#
            ),
        )
    };
    let rows = [
        (json(posted), numbered(-5)),
        (answer("200 OK", "Content-Type: text/html", posted), numbered(-5)),
        (json(r#"{"ok":true,"result":{"message_id":9}}"#), numbered(-1)),
        (json(r#"{"ok":true,"result":{"message_id":9,"chat":"here"}}"#), numbered(-1)),
        (json(r#"{"ok":true,"result":{"message_id":"9","chat":{"id":-5}}}"#), "Unnumbered".into()),
        (json(r#"{"ok":true,"result":true}"#), "Unnumbered".into()),
        (json(r#"{"ok":true}"#), "Unnumbered".into()),
        (slow(r#"{"retry_after":7}"#), wait(7)),
        (slow(r#"{"retry_after":7,"migrate_to_chat_id":-9}"#), wait(7)),
        (slow(r#"{"retry_after":7,"new":1}"#), wait(7)),
        (slow(r#"{"retry_after":"7"}"#), wait(8)),
        (slow("[]"), wait(8)),
        (slow("{}"), wait(8)),
        (answer("429 Slow", "Retry-After: 3", "<html>"), wait(3)),
        (answer("429 Slow", "", ""), "wait None Lane".into()),
        (moved(r#"{"migrate_to_chat_id":-1009}"#), "moved(-1009)".into()),
        (moved(r#"{"migrate_to_chat_id":-1009,"new":{}}"#), "moved(-1009)".into()),
        (moved(r#"{"migrate_to_chat_id":"there"}"#), "hold Lane".into()),
        (json(r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#), "hold Account".into()),
        (answer("403 Forbidden", "", r#"{"ok":false}"#), "hold Lane".into()),
        (json(r#"{"ok":false}"#), "plain".into()),
        (json("{}"), "unclear".into()),
        (json("[true]"), "unclear".into()),
        (json(""), "unclear".into()),
        (json(r#"{"ok":true,"#), "unclear".into()),
        (answer("200 OK", "Content-Type: text/html", "<html>Sign in</html>"), "unclear".into()),
        (
            answer("500 Oops", "", r#"{"ok":false,"error_code":500,"description":"Internal Server Error"}"#),
            "unclear".into(),
        ),
        (answer("502 Bad Gateway", "", r#"{"ok":false}"#), "unclear".into()),
        (answer("502 Bad Gateway", "", "<html>"), "unclear".into()),
        (answer("502 Bad Gateway", "", posted), "unclear".into()),
        (answer("504 Gateway Timeout", "", ""), "unclear".into()),
        (answer("408 Request Timeout", "", ""), "unclear".into()),
        (answer("400 Bad Request", "", "<html>"), "plain".into()),
        (answer("413 Too Large", "", "<html>"), "plain".into()),
        (answer("302 Found", "Location: https://proxy.test/login", ""), "hold Account".into()),
        (answer("401 Unauthorized", "", "<html>"), "hold Account".into()),
        (answer("403 Forbidden", "", r#"{"message":"denied by policy"}"#), "hold Account".into()),
        (answer("404 Not Found", "", "<html>"), "hold Account".into()),
        (Act::Close, "unclear".into()),
        (Act::Reset, "unclear".into()),
        (Act::CutBody, "unclear".into()),
    ];
    let (acts, wanted): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    for ((act, wanted), end) in acts.clone().iter().zip(wanted).zip(ends(acts).await) {
        assert_eq!(told(&end), wanted, "{act:?}: {end:?}");
    }
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let echo = "no path /bot12345:token-canary/SendMessage nor /bot12345%3Atoken-canary/SendMessage";
    let statuses = ["200 OK", "302 Found", "400 Bad", "401 No", "404 Not Found", "429 Slow", "500 Oops"];
    let mut acts: Vec<_> = statuses.iter().map(|status| answer(status, "", &format!("<html>{echo}"))).collect();
    acts.extend([400, 403, 404, 429, 500].map(|code| refused(code, echo)));
    acts.extend([Act::Close, Act::Reset, Act::CutBody]);
    for end in ends(acts).await {
        let error = end.unwrap_err();
        let shown = format!("{error:?} {error} {:?}", error.advice());
        assert!(!shown.contains("token-canary"), "{shown}");
    }
}

proptest! {
    /// Only what says `"ok": true` counts as taken, and whatever else comes is read without a panic.
    #[test]
    fn any_answer_is_read(status in 100u16..1000, body: Vec<u8>, code: u16, description: String, wait: f64) {
        let asked = Some(-1);
        let reply = |body: Vec<u8>| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        prop_assert!(receipt(&reply(body), asked, None, &Secrets::new([])).is_err());
        let refused = serde_json::json!({
            "ok": false, "error_code": code, "description": description, "parameters": {"retry_after": wait},
        });
        let error = receipt(&reply(refused.to_string().into_bytes()), asked, None, &Secrets::new([])).unwrap_err();
        prop_assert!(error.to_string().chars().count() < 300);
        if wait >= 0.0 {
            prop_assert!(matches!(error, SendError::Paced { wait: Some(_), .. }), "{error:?}");
        }
    }
}

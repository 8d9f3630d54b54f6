use secrecy::SecretString;
use slack_morphism::SlackMessageContent;

use super::*;
use crate::clock::Clock;
use crate::delivery::{Advice, DeliveryId};
use crate::messenger::slack::client::{Client, Post, WebhookPost, WebhookUrl};
use crate::messenger::slack::format::SlackContent;
use crate::transport::Transport;
use crate::transport::fixture::{Act, Fixture, answer, json, told};

const TOKEN: &str = "xoxb-canary";

/// What the client makes of each act, one after the other.
async fn ends(acts: Vec<Act>) -> Vec<Result<Receipt, SendError>> {
    let server = Fixture::start(acts.clone()).await;
    let transport = Transport::new(Clock::machine()).unwrap();
    let client = Client::new(transport, &server.base, Some(&SecretString::from(TOKEN))).unwrap();
    let post =
        Post::new("C1", SlackContent::from(SlackMessageContent::new().with_text("hello".into())), DeliveryId(1), 0);
    let mut ends = Vec::new();
    for _ in acts {
        ends.push(client.post(&post).await);
    }
    ends
}

async fn webhook_ends(acts: Vec<Act>) -> Vec<Result<Receipt, SendError>> {
    let server = Fixture::start(acts.clone()).await;
    let client = Client::new(Transport::new(Clock::machine()).unwrap(), "https://slack.test", None).unwrap();
    let url = WebhookUrl::parse(&format!("{}/services/T0/B0/hook-canary", server.base).into()).unwrap();
    let post = WebhookPost::new(SlackContent::from(SlackMessageContent::new().with_text("hello".into())));
    let mut ends = Vec::new();
    for _ in acts {
        ends.push(client.post_webhook(&url, &post).await);
    }
    ends
}

fn refused(code: &str) -> Act {
    json(&format!(r#"{{"ok":false,"error":"{code}"}}"#))
}

/// The rows of the reference's table, word for word.
#[tokio::test]
async fn each_code_has_its_advice() {
    let rows = [
        ("wait None Account", "ratelimited rate_limited"),
        ("wait None Lane", "service_unavailable request_timeout"),
        ("wait Some(60s) Account", "team_added_to_org org_login_required"),
        ("wait Some(60s) Lane", "external_channel_migrating"),
        ("hold Account", "message_limit_exceeded"),
        ("unclear", "fatal_error internal_error update_failed"),
        (
            "hold Account",
            "not_authed invalid_auth account_inactive token_revoked token_expired not_allowed_token_type missing_scope \
             no_permission two_factor_setup_required access_denied accesslimited ekm_access_denied \
             enterprise_is_restricted app_access_restricted team_access_not_granted is_bot",
        ),
        (
            "hold Lane",
            "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel \
             restricted_action_thread_only_channel messages_tab_disabled team_not_found user_not_found \
             users_not_found user_not_in_channel slack_connect_file_upload_sharing_blocked \
             slack_connect_canvas_sharing_blocked",
        ),
        (
            "newthread",
            "cannot_reply_to_message restricted_action_thread_locked restricted_action_non_threadable_channel \
             thread_not_found invalid_thread_ts",
        ),
        (
            "plain",
            "message_not_found cant_update_message edit_window_closed is_inactive block_mismatch \
             streaming_state_conflict",
        ),
        (
            "plain",
            "no_text msg_too_long msg_too_large msg_blocks_too_long invalid_blocks invalid_blocks_format \
             invalid_attachments too_many_attachments attachment_payload_limit_exceeded markdown_text_conflict \
             invalid_metadata_format invalid_metadata_schema metadata_too_large metadata_must_be_sent_from_app",
        ),
        (
            "give up",
            "invalid_arg_name invalid_array_arg invalid_arguments invalid_charset invalid_form_data \
             invalid_post_type missing_post_type invalid_json json_not_object unknown_method method_deprecated \
             deprecated_endpoint",
        ),
        ("plain", "duplicate_message_not_found a_code_of_tomorrow slack_connect_ blocked"),
    ];
    for (wanted, codes) in rows {
        for status in ["200 OK", "403 Forbidden"] {
            let codes: Vec<_> = codes.split_whitespace().collect();
            let acts = codes.iter().map(|code| answer(status, "", &format!(r#"{{"ok":false,"error":"{code}"}}"#)));
            for (code, end) in codes.iter().zip(ends(acts.collect()).await) {
                assert_eq!(told(&end), wanted, "{status}, {code}: {end:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_other_answer_has_its_advice() {
    let posted = r#"{"ok":true,"channel":"C9","ts":"1.2","message":{"x":[1]},"new":{}}"#;
    let slack = |ts: &str| format!(r#"Slack {{ channel: "{ts}", ts: "1.2", thread: None }}"#);
    let rows = [
        (json(posted), slack("C9")),
        (answer("200 OK", "Content-Type: text/html", posted), slack("C9")),
        (answer("201 Created", "", posted), slack("C9")),
        (json(r#"{"ok":true,"ts":"1.2"}"#), slack("C1")),
        (json(r#"{"ok":true,"ts":"1.2","channel":{"id":"C9"},"response_metadata":[]}"#), slack("C1")),
        (json(r#"{"ok":true}"#), "Unnumbered".into()),
        (json(r#"{"ok":true,"ts":1.2,"channel":"C9"}"#), "Unnumbered".into()),
        (json(r#"{"ok":false}"#), "plain".into()),
        (json("{}"), "unclear".into()),
        (json("[true]"), "unclear".into()),
        (json("null"), "unclear".into()),
        (json(""), "unclear".into()),
        (json("ok"), "unclear".into()),
        (json(r#"{"ok":true,"#), "unclear".into()),
        (answer("200 OK", "Content-Type: text/html", "<html>Sign in</html>"), "unclear".into()),
        (answer("429 Too Many Requests", "Retry-After: 30", ""), "wait Some(30s) Account".into()),
        (answer("429 Too Many Requests", "Retry-After: 0.5", "<html>"), "wait Some(500ms) Account".into()),
        (answer("429 Too Many Requests", "", r#"{"ok":false,"error":"ratelimited"}"#), "wait None Account".into()),
        (answer("429 Too Many Requests", "Content-Type: application/json", "slow down"), "wait None Account".into()),
        (answer("200 OK", "Retry-After: 7", r#"{"ok":false,"error":"ratelimited"}"#), "wait Some(7s) Account".into()),
        (
            answer("503 Busy", "Retry-After: 7", r#"{"ok":false,"error":"rate_limited"}"#),
            "wait Some(7s) Account".into(),
        ),
        (answer("503 Busy", "Retry-After: 7", "busy"), "unclear".into()),
        (answer("500 Oops", "", r#"{"ok":false,"error":"invalid_auth"}"#), "hold Account".into()),
        (answer("500 Oops", "", r#"{"ok":false,"error":"a_code_of_tomorrow"}"#), "unclear".into()),
        (answer("502 Bad Gateway", "", "<html>"), "unclear".into()),
        (answer("504 Gateway Timeout", "", ""), "unclear".into()),
        (answer("502 Bad Gateway", "", posted), "unclear".into()),
        (answer("403 Forbidden", "", posted), "unclear".into()),
        (answer("408 Request Timeout", "", ""), "unclear".into()),
        (answer("400 Bad Request", "", ""), "plain".into()),
        (answer("413 Too Large", "", "<html>"), "plain".into()),
        (answer("414 Too Long", "", ""), "plain".into()),
        (answer("302 Found", "Location: https://proxy.test/login", ""), "hold Account".into()),
        (answer("401 Unauthorized", "", ""), "hold Account".into()),
        (answer("403 Forbidden", "", r#"{"error":"denied by policy"}"#), "hold Account".into()),
        (answer("404 Not Found", "", "<html>"), "hold Account".into()),
        (answer("503 Busy", "", r#"{"error":"service_unavailable"}"#), "unclear".into()),
        (answer("407 Proxy", "", ""), "hold Account".into()),
        (Act::Close, "unclear".into()),
        (Act::Reset, "unclear".into()),
        (Act::CutBody, "unclear".into()),
        (Act::Raw("SSH-2.0\r\n".into()), "unclear".into()),
    ];
    let (acts, wanted): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    for ((act, wanted), end) in acts.clone().iter().zip(wanted).zip(ends(acts).await) {
        assert_eq!(told(&end), wanted, "{act:?}: {end:?}");
    }
}

#[tokio::test]
async fn each_word_of_a_webhook_has_its_advice() {
    let word = |status: &str, word: &str| answer(status, "Content-Type: text/html", word);
    let rows = [
        (word("200 OK", "ok"), "Unnumbered"),
        (word("200 OK", "ok\n"), "Unnumbered"),
        (word("200 OK", ""), "unclear"),
        (word("200 OK", "<html>Sign in</html>"), "unclear"),
        (word("200 OK", "{}"), "unclear"),
        (word("400 Bad Request", "invalid_payload"), "plain"),
        (word("400 Bad Request", "user_not_found"), "hold Lane"),
        (word("400 Bad Request", "no_text"), "plain"),
        (word("400 Bad Request", "too_many_attachments"), "plain"),
        (word("403 Forbidden", "action_prohibited"), "hold Lane"),
        (word("403 Forbidden", "posting_to_general_channel_denied"), "hold Lane"),
        (word("403 Forbidden", "invalid_token"), "hold Account"),
        (word("403 Forbidden", "team_disabled"), "hold Account"),
        (word("404 Not Found", "channel_not_found"), "hold Lane"),
        (word("404 Not Found", "no_service"), "hold Account"),
        (word("404 Not Found", "no_service_id"), "hold Account"),
        (word("404 Not Found", "no_team"), "hold Account"),
        (word("404 Not Found", "no_active_hooks"), "hold Account"),
        (word("410 Gone", "channel_is_archived"), "hold Lane"),
        (answer("429 Too Many Requests", "Retry-After: 1", "ratelimited"), "wait Some(1s) Account"),
        (word("500 Oops", "rollup_error"), "unclear"),
        // Statuses vary in practice: the word counts first.
        (word("500 Oops", "no_service"), "hold Account"),
        (word("200 OK", "invalid_payload"), "plain"),
        (word("302 Found", "channel_is_archived\n"), "hold Lane"),
        (word("400 Bad Request", "invalid_blocks"), "plain"),
        (word("500 Oops", "a_word_of_tomorrow"), "unclear"),
        (word("400 Bad Request", "a_word_of_tomorrow"), "plain"),
        (word("403 Forbidden", "a_word_of_tomorrow"), "hold Account"),
        (word("404 Not Found", "<html>"), "hold Account"),
        (Act::Close, "unclear"),
    ];
    let (acts, wanted): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    for ((act, wanted), end) in acts.clone().iter().zip(wanted).zip(webhook_ends(acts).await) {
        assert_eq!(told(&end), wanted, "{act:?}: {end:?}");
    }
}

#[tokio::test]
async fn what_a_person_reads_says_what_to_do() {
    let acts = vec![
        json(r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"channels:read"}"#),
        refused("not_in_channel"),
        answer("404 Not Found", "", "<h1>no path\n/api/chat.postMessage</h1>"),
        json(
            r#"{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["[ERROR] must be 1-3000 [json-pointer:/blocks/0]"]}}"#,
        ),
        answer("503 Busy", "", "busy"),
        json("<html>"),
        refused(&"long_".repeat(100)),
    ];
    let mut lines = Vec::new();
    for end in ends(acts).await {
        let error = end.unwrap_err();
        lines.push(match error.advice() {
            Advice::Hold { reason, .. } => reason,
            _ => error.to_string(),
        });
    }
    let last = lines.pop().unwrap();
    assert_eq!(last.chars().filter(|c| *c == '_').count(), 39, "cut to 200 characters: {last}");
    insta::assert_snapshot!(lines.join("\n"), @r"
    missing_scope: the app may not do this: check its scopes and the workspace's rules for apps, then reinstall it (needed: chat:write)
    not_in_channel: invite the app to the channel
    http_404: not the messenger's own answer (HTTP 404: <h1>no path /api/chat.postMessage</h1>): check `slack.api_url` and any proxy before it
    refused content: invalid_blocks: [ERROR] must be 1-3000 [json-pointer:/blocks/0]
    no answer that could be understood to a message that was sent: HTTP 503: busy
    no answer that could be understood to a message that was sent: no JSON object in the answer: <html>
    ");
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let echo = "<html>no path /services/T0/B0/hook-canary for xoxb-canary</html>";
    let page = |status: &str| answer(status, "", echo);
    let acts = || {
        let statuses = ["200 OK", "302 Found", "400 Bad Request", "404 Not Found", "429 Slow", "500 Oops"];
        let mut acts: Vec<_> = statuses.into_iter().map(page).collect();
        acts.extend([json(&format!(r#"{{"ok":false,"error":"{echo}"}}"#)), Act::Close, Act::Reset, Act::CutBody]);
        acts
    };
    for (end, secret) in (ends(acts()).await.into_iter().map(|end| (end, TOKEN)))
        .chain(webhook_ends(acts()).await.into_iter().map(|end| (end, "hook-canary")))
    {
        let error = end.unwrap_err();
        let shown = format!("{error:?} {error} {:?}", error.advice());
        assert!(!shown.contains(secret), "{shown}");
    }
}

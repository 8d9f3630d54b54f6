//! Posts, edits, threads, webhooks: both sides of what Slack takes. Blocks have tests of their own.

use serde_json::{Value, json};

use super::super::wire::{ANY_PORT, Got, call, held, post};
use super::super::{Fault, LimitForm};
use super::blocks::tests::{many, rich, x};
use super::*;

const CHANNEL: &str = "C0123456789";
const HOOK: &str = "/services/T1/B1/abc";

async fn start(change: impl FnOnce(SlackOptions) -> SlackOptions) -> SlackSimulator {
    SlackSimulator::start(ANY_PORT, change(SlackOptions::new(held()).without_pace())).await.unwrap()
}

async fn api(slack: &SlackSimulator, method: &str, body: Value) -> Got {
    post(slack.addr(), &format!("/api/{method}"), &body).await.unwrap()
}

async fn say(slack: &SlackSimulator, body: Value) -> Value {
    let mut body = body;
    body["channel"] = CHANNEL.into();
    api(slack, "chat.postMessage", body).await.json()
}

fn word(reply: &Value) -> &str {
    reply["error"].as_str().unwrap_or("ok")
}

#[tokio::test]
async fn a_refusal_of_blocks_is_http_200_with_pointers() {
    let slack = start(|options| options).await;
    let body = json!({"channel": CHANNEL, "text": "t", "blocks": [{"type": "header"}]});
    let got = api(&slack, "chat.postMessage", body).await;
    assert_eq!(got.status, 200);
    insta::assert_snapshot!(got.body, @r#"{"error":"invalid_blocks","errors":["missing required field: text [json-pointer:/blocks/0]"],"ok":false,"response_metadata":{"messages":["[ERROR] missing required field: text [json-pointer:/blocks/0]"]}}"#);
    assert!(slack.posted(CHANNEL).is_empty());
    let body = json!({"message": json!({"blocks": [{"type": "divider"}]}).to_string()});
    assert_eq!(api(&slack, "blocks.validate", body).await.word(), "ok");
    assert_eq!(api(&slack, "blocks.validate", json!({"blocks": "[{\"type\": 1}]"})).await.word(), "invalid_blocks");
}

#[tokio::test]
async fn a_post_is_answered_stored_and_seen() {
    let slack = start(|options| options).await;
    let reply = say(&slack, json!({"text": "fallback", "blocks": [
        {"type": "rich_text", "elements": [
            {"type": "rich_text_section", "elements": [
                {"type": "text", "text": "Door ", "style": {"bold": true}}, {"type": "link", "url": "https://a.b/1", "text": "OPS-1"}]},
            {"type": "rich_text_list", "style": "ordered", "offset": 2, "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "first"}]}]},
            {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "let x;"}]}]}]})).await;
    assert_eq!(reply["ts"], "1700000000.000000");
    assert_eq!(reply["message"]["text"], "fallback");
    assert!(reply.get("warning").is_none());
    let post = slack.posted(CHANNEL).remove(0);
    assert_eq!(post.id, "1700000000.000000");
    assert_eq!(post.text, "Door OPS-1\n3. first\nlet x;");
    insta::assert_debug_snapshot!((&post.links, &post.spans, &post.pings), @r#"
    (
        [
            Link {
                text: "OPS-1",
                url: "https://a.b/1",
            },
        ],
        [
            Span {
                style: "bold",
                text: "Door ",
            },
            Span {
                style: "pre",
                text: "let x;",
            },
        ],
        [],
    )
    "#);
    assert_eq!(say(&slack, json!({"text": "next"})).await["ts"], "1700000000.000001");
}

#[tokio::test]
async fn everything_that_would_ping_is_recorded() {
    let slack = start(|options| options).await;
    let section = |object: Value| json!({"text": "t", "blocks": [{"type": "section", "text": object}]});
    for (body, pings) in [
        (json!({"text": "<!here> <@U1>"}), vec!["<!here>", "<@U1>"]),
        (json!({"text": "@here &lt;!here&gt;"}), vec![]),
        (json!({"text": "@ann", "link_names": true}), vec!["@ann"]),
        (json!({"text": "<!channel>", "mrkdwn": false}), vec!["<!channel>"]),
        (json!({"text": "<!channel>", "blocks": [{"type": "divider"}]}), vec!["<!channel>"]),
        (section(json!({"type": "mrkdwn", "text": "hi @here"})), vec!["@here"]),
        (section(json!({"type": "mrkdwn", "text": "hi @here", "verbatim": true})), vec![]),
        (section(json!({"type": "plain_text", "text": "hi @here <!here>"})), vec![]),
        (json!({"blocks": rich(json!({"type": "text", "text": "@here <!channel>"}))}), vec![]),
        (json!({"blocks": rich(json!({"type": "broadcast", "range": "here"}))}), vec!["<!here>"]),
        (json!({"blocks": rich(json!({"type": "user", "user_id": "U1"}))}), vec!["<@U1>"]),
        (json!({"blocks": rich(json!({"type": "usergroup", "usergroup_id": "S1"}))}), vec!["<!subteam^S1>"]),
        (json!({"attachments": [{"text": "<!everyone>"}]}), vec!["<!everyone>"]),
    ] {
        assert_eq!(word(&say(&slack, body.clone()).await), "ok", "{body}");
        assert_eq!(slack.posted(CHANNEL).pop().unwrap().pings, pings, "{body}");
    }
}

#[tokio::test]
async fn texts_metadata_and_threads_are_checked() {
    let slack = start(|options| options).await;
    let meta =
        |kind: &str, payload: Value| json!({"text": "t", "metadata": {"event_type": kind, "event_payload": payload}});
    for (body, expected) in [
        (json!({}), "no_text"),
        (json!({"text": " \n"}), "no_text"),
        (json!({"text": "", "blocks": []}), "no_text"),
        (json!({"text": 3}), "invalid_arguments"),
        (json!({"blocks": "{"}), "invalid_blocks_format"),
        (json!({"blocks": "[{\"type\":\"divider\"}]"}), "ok"),
        (json!({"text": "t", "markdown_text": "m"}), "markdown_text_conflict"),
        (json!({"markdown_text": x(12_000)}), "ok"),
        (json!({"markdown_text": x(12_001)}), "msg_too_long"),
        (json!({"attachments": many(100, json!({"text": "a"}))}), "ok"),
        (json!({"attachments": many(101, json!({"text": "a"}))}), "too_many_attachments"),
        (json!({"text": "t", "thread_ts": "1700000000.000000"}), "ok"),
        (json!({"text": "t", "thread_ts": "1700000000.0"}), "invalid_thread_ts"),
        (json!({"text": "t", "thread_ts": 1_700_000_000.5}), "invalid_thread_ts"),
        (json!({"text": "t", "metadata": {"event_type": "a"}}), "invalid_metadata_format"),
        (meta("a_1", json!({"id": "1", "n": 2, "b": true, "in": {"x": "y"}})), "ok"),
        (meta("a.b", json!({"id": "1"})), "ok"),
        (meta("a", json!({"Id": "1"})), "invalid_metadata_schema"),
        (meta("a", json!({"id": ["1"]})), "invalid_metadata_schema"),
        (meta("a", json!({"in": {"x": {"y": 1}}})), "invalid_metadata_schema"),
        (meta("a", json!({"id": x(1100)})), "metadata_too_large"),
        (json!({"text": x(40_000)}), "ok"),
    ] {
        assert_eq!(word(&say(&slack, body.clone()).await), expected, "{body}");
    }
    let cut = say(&slack, json!({"text": x(40_001)})).await;
    assert_eq!(
        (&cut["warning"], &cut["response_metadata"]),
        (&json!("message_truncated"), &json!({"warnings": ["message_truncated"]}))
    );
    assert_eq!(slack.posted(CHANNEL).pop().unwrap().text.len(), 40_000);
}

#[tokio::test]
async fn tokens_and_forms_are_checked() {
    let slack = start(|options| options.token("xoxb-1")).await;
    let body = || json!({"channel": CHANNEL, "text": "t"}).to_string();
    let (good, json) = (("authorization", "Bearer xoxb-1"), ("content-type", "application/json"));
    for (headers, body, expected) in [
        (vec![good, json], body(), "ok"),
        (vec![json], body(), "not_authed"),
        (vec![("authorization", "Bearer xoxb-2"), json], body(), "invalid_auth"),
        (vec![good, json], "{".to_owned(), "invalid_json"),
        (vec![good, json], "[]".to_owned(), "json_not_object"),
        (vec![good], body(), "missing_post_type"),
        (vec![good, ("content-type", "text/plain")], body(), "invalid_post_type"),
        (vec![good, ("content-type", "application/json; charset=koi8-r")], body(), "invalid_charset"),
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            format!("token=xoxb-1&channel={CHANNEL}&text=t"),
            "ok",
        ),
    ] {
        let got = call(slack.addr(), "POST", "/api/chat.postMessage", &headers, body.clone()).await.unwrap();
        assert_eq!((got.status, got.word().as_str()), (200, expected), "{headers:?} {body}");
    }
    let got = call(slack.addr(), "POST", "/api/chat.postMessage", &[good, json], body()).await.unwrap();
    assert_eq!(got.json()["warning"], "missing_charset");
    assert_eq!(api(&slack, "chat.shout", json!({})).await.json()["req_method"], "chat.shout");
    let got = call(slack.addr(), "GET", "/api/auth.test", &[good], String::new()).await.unwrap();
    assert_eq!(got.json()["bot_id"], "B0CAMPANILE");
    slack.set_tokens([]);
    assert_eq!(api(&slack, "auth.test", json!({})).await.word(), "invalid_auth");
}

#[tokio::test]
async fn channels_take_posts_only_as_they_stand() {
    let known = |change: fn(&mut SlackChannel)| {
        let mut channel = SlackChannel { name: "ops".to_owned(), ..SlackChannel::default() };
        change(&mut channel);
        channel
    };
    let slack = start(|options| {
        options
            .only_known()
            .channel("C1", known(|_| {}))
            .channel("C2", known(|channel| channel.archived = true))
            .channel("C3", known(|channel| channel.left = true))
            .channel("C4", known(|channel| (channel.private, channel.left) = (true, true)))
            .channel("C5", known(|channel| channel.refuses = Some("restricted_action".to_owned())))
            .user("ann@example.com", "U7")
    })
    .await;
    for (channel, posts, info) in [
        ("C1", "ok", "ok"),
        ("C2", "is_archived", "ok"),
        ("C3", "not_in_channel", "ok"),
        ("C4", "channel_not_found", "channel_not_found"),
        ("C5", "restricted_action", "ok"),
        ("C6", "channel_not_found", "channel_not_found"),
    ] {
        let got = api(&slack, "chat.postMessage", json!({"channel": channel, "text": "t"})).await;
        assert_eq!(got.word(), posts, "{channel}");
        let path = format!("/api/conversations.info?channel={channel}");
        let got = call(slack.addr(), "GET", &path, &[("authorization", "Bearer x")], String::new()).await.unwrap();
        assert_eq!(got.word(), info, "{channel}");
    }
    slack.set_channel("C1", known(|channel| channel.archived = true));
    assert_eq!(api(&slack, "chat.postMessage", json!({"channel": "C1", "text": "t"})).await.word(), "is_archived");
    for (email, expected) in [("ann@example.com", "ok"), ("bob@example.com", "users_not_found")] {
        let path = format!("/api/users.lookupByEmail?email={email}");
        let got = call(slack.addr(), "GET", &path, &[("authorization", "Bearer x")], String::new()).await.unwrap();
        assert_eq!(got.word(), expected);
    }
    let anywhere = start(|options| options).await;
    assert_eq!(
        api(&anywhere, "chat.postMessage", json!({"channel": "ops", "text": "t"})).await.word(),
        "channel_not_found"
    );
}

#[tokio::test]
async fn edits_and_deletions_keep_to_their_message() {
    let slack = start(|options| options).await;
    let ts = say(&slack, json!({"text": "one"})).await["ts"].clone();
    let update =
        |ts: &Value, text: String| api(&slack, "chat.update", json!({"channel": CHANNEL, "ts": ts, "text": text}));
    assert_eq!(update(&ts, "two".to_owned()).await.word(), "ok");
    assert_eq!(update(&json!("1.000000"), "two".to_owned()).await.word(), "message_not_found");
    assert_eq!(update(&ts, x(4001)).await.word(), "msg_too_long");
    assert_eq!(update(&ts, x(4000)).await.word(), "ok");
    let post = slack.posted(CHANNEL).remove(0);
    assert_eq!((post.text.len(), post.edits), (4000, 2));
    let rich_ts = say(&slack, json!({"blocks": rich(json!({"type": "text", "text": "r"}))})).await["ts"].clone();
    assert_eq!(update(&rich_ts, "plain".to_owned()).await.word(), "block_mismatch");
    let delete = |ts: Value| api(&slack, "chat.delete", json!({"channel": CHANNEL, "ts": ts}));
    assert_eq!(delete(ts.clone()).await.word(), "ok");
    assert_eq!(delete(ts).await.word(), "message_not_found");
    assert_eq!(slack.posted(CHANNEL).len(), 1);
}

#[tokio::test]
async fn a_message_is_found_again_by_its_metadata() {
    let slack = start(|options| options).await;
    let meta = |kind: &str, id: &str| json!({"text": id, "metadata": {"event_type": kind, "event_payload": {"delivery_id": id}}});
    let first = say(&slack, meta("campanile_delivery", "1")).await["ts"].clone();
    say(&slack, meta("with.dot", "2")).await;
    let mut reply = meta("campanile_delivery", "3");
    reply["thread_ts"] = first.clone();
    say(&slack, reply).await;
    let get = async |method: &str, query: &str| {
        let path = format!("/api/{method}?channel={CHANNEL}&{query}");
        call(slack.addr(), "GET", &path, &[("authorization", "Bearer x")], String::new()).await.unwrap().json()
    };
    let texts =
        |page: &Value| page["messages"].as_array().unwrap().iter().map(|m| m["text"].clone()).collect::<Vec<_>>();
    let page = get("conversations.history", "oldest=1699999940&limit=100&include_all_metadata=true").await;
    assert_eq!(texts(&page), ["2", "1"], "newest first, without replies");
    assert_eq!(page["messages"][1]["metadata"]["event_payload"]["delivery_id"], "1");
    assert!(page["messages"][0].get("metadata").is_none(), "a type with a dot is lost");
    let page = get("conversations.history", "limit=1").await;
    assert_eq!((texts(&page), &page["has_more"]), (vec![json!("2")], &json!(true)));
    let cursor = page["response_metadata"]["next_cursor"].as_str().unwrap().to_owned();
    let page = get("conversations.history", &format!("limit=1&cursor={cursor}")).await;
    assert_eq!((texts(&page), &page["has_more"]), (vec![json!("1")], &json!(false)));
    assert_eq!(page["messages"][0]["metadata"], json!({"event_type": "campanile_delivery"}));
    assert!(texts(&get("conversations.history", "oldest=1700000000.000001").await).is_empty());
    assert_eq!(word(&get("conversations.history", "limit=1000").await), "invalid_limit");
    let page = get("conversations.replies", &format!("ts={}", first.as_str().unwrap())).await;
    assert_eq!(texts(&page), ["1", "3"]);
    assert_eq!(word(&get("conversations.replies", "ts=1.000000").await), "thread_not_found");
}

#[tokio::test]
async fn each_channel_has_its_pace() {
    let clock = held();
    let slack = SlackSimulator::start(ANY_PORT, SlackOptions::new(clock.clone())).await.unwrap();
    let say = |channel: &str, text: &str| api(&slack, "chat.postMessage", json!({"channel": channel, "text": text}));
    for _ in 0..3 {
        assert_eq!(say("C1", "t").await.word(), "ok");
    }
    let got = say("C1", "t").await;
    assert_eq!((got.status, got.body.as_str()), (429, r#"{"error":"ratelimited","ok":false}"#));
    assert_eq!(got.headers["retry-after"], "1");
    assert_eq!(say("C2", "t").await.word(), "ok", "another channel is free");
    for _ in 0..5 {
        assert_eq!(say("C2", "").await.word(), "no_text", "what is refused does not count");
    }
    assert_eq!(say("C2", "t").await.word(), "ok");
    clock.pass(Duration::from_secs(1));
    assert_eq!(say("C1", "t").await.word(), "ok");
    assert_eq!(say("C1", "t").await.status, 429);
    assert_eq!(slack.counts().rate_limited, 2);
    let info = async || {
        let path = "/api/conversations.info?channel=C1";
        call(slack.addr(), "GET", path, &[("authorization", "Bearer x")], String::new()).await.unwrap()
    };
    for _ in 0..50 {
        assert_eq!(info().await.word(), "ok");
    }
    let got = info().await;
    assert_eq!((got.status, got.headers["retry-after"].to_str().unwrap()), (429, "60"));
    assert_eq!(api(&slack, "auth.test", json!({})).await.word(), "ok");
}

#[tokio::test]
async fn webhooks_answer_with_a_word() {
    let slack = start(|options| {
        let broken = |word: &str| SlackWebhook::Broken(word.to_owned());
        options
            .only_known()
            .webhook(HOOK, SlackWebhook::Active)
            .webhook("/services/T1/B1/old", broken("channel_is_archived"))
            .webhook("/services/T1/B1/off", broken("action_prohibited"))
    })
    .await;
    let json = [("content-type", "application/json")];
    for (path, body, status, word) in [
        (HOOK, r#"{"text":"t"}"#, 200, "ok"),
        (HOOK, r#"{"text":""}"#, 400, "no_text"),
        (HOOK, "{", 400, "invalid_payload"),
        (HOOK, r#"{"blocks":[{"type":"x"}]}"#, 400, "invalid_blocks"),
        ("/services/T1/B1/none", r#"{"text":"t"}"#, 404, "no_service"),
        ("/services/T1/B1/old", r#"{"text":"t"}"#, 410, "channel_is_archived"),
        ("/services/T1/B1/off", r#"{"text":"t"}"#, 403, "action_prohibited"),
    ] {
        let got = call(slack.addr(), "POST", path, &json, body.to_owned()).await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (status, word), "{path} {body}");
    }
    assert_eq!(slack.posted(HOOK).remove(0).text, "t");
    slack.fault(Fault::error("rollup_error").once().on(HOOK));
    slack.fault(Fault::RateLimited { retry_after: Some(2), form: LimitForm::Text }.once().method("webhook"));
    for (status, word) in [(500, "rollup_error"), (429, "rate_limited"), (200, "ok")] {
        let got = call(slack.addr(), "POST", HOOK, &json, r#"{"text":"t"}"#.to_owned()).await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (status, word));
    }
}

#[tokio::test]
async fn a_webhook_has_its_pace() {
    let slack = SlackSimulator::start(ANY_PORT, SlackOptions::new(held())).await.unwrap();
    let json = [("content-type", "application/json")];
    for status in [200, 200, 200, 429] {
        let got = call(slack.addr(), "POST", HOOK, &json, r#"{"text":"t"}"#.to_owned()).await.unwrap();
        assert_eq!(got.status, status);
    }
}

#[tokio::test]
async fn faults_speak_slacks_words() {
    let slack = start(|options| options).await;
    slack.fault(Fault::error("token_revoked").once());
    slack.fault(Fault::Json500.once());
    slack.fault(Fault::OkWithoutId.once());
    assert_eq!(word(&say(&slack, json!({"text": "t"})).await), "token_revoked");
    let got = api(&slack, "chat.postMessage", json!({"channel": CHANNEL, "text": "t"})).await;
    assert_eq!((got.status, got.word().as_str()), (500, "internal_error"));
    assert_eq!(say(&slack, json!({"text": "t"})).await, json!({"ok": true}));
    assert_eq!(slack.posted(CHANNEL).len(), 1);
}

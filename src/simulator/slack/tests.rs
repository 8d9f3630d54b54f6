//! Both sides of what Slack takes.

use serde_json::{Value, json};

use super::super::wire::{ANY_PORT, Got, call, held, post};
use super::super::{Fault, LimitForm};
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

/// The refusals of blocks, or `ok`.
fn judged(blocks: Value) -> Vec<String> {
    match blocks::check(&blocks) {
        Ok(()) => vec!["ok".to_owned()],
        Err(refused) if refused.code == "invalid_blocks" => {
            let errors = refused.more["errors"].as_array().unwrap();
            errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
        }
        Err(refused) => vec![refused.code],
    }
}

fn x(length: usize) -> String {
    "x".repeat(length)
}

fn many(count: usize, item: Value) -> Value {
    vec![item; count].into()
}

fn text(kind: &str, length: usize) -> Value {
    json!({"type": kind, "text": x(length)})
}

fn section(length: usize) -> Value {
    json!({"type": "section", "text": text("mrkdwn", length)})
}

fn actions(element: Value) -> Value {
    json!([{"type": "actions", "elements": [element]}])
}

fn button(member: &str, value: Value) -> Value {
    let mut button = json!({"type": "button", "text": text("plain_text", 5)});
    button[member] = value;
    actions(button)
}

fn rich(element: Value) -> Value {
    json!([{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [element]}]}])
}

#[test]
fn every_limit_holds_on_both_sides() {
    let option = |length| json!({"text": text("plain_text", length), "value": "v"});
    let overflow = |count| actions(json!({"type": "overflow", "options": many(count, option(5))}));
    let confirm = |title, words, yes| {
        button(
            "confirm",
            json!({"title": text("plain_text", title), "text": text("mrkdwn", words),
            "confirm": text("plain_text", yes), "deny": text("plain_text", 30)}),
        )
    };
    let image = |alt| json!([{"type": "image", "image_url": "https://a.b/c.png", "alt_text": x(alt)}]);
    let fields = |count, length| json!([{"type": "section", "fields": many(count, text("mrkdwn", length))}]);
    let context = |count| json!([{"type": "context", "elements": many(count, text("mrkdwn", 9))}]);
    let url = |length: usize| format!("https://a.b/{}", x(length - 12));
    let elements = |count| json!([{"type": "actions", "elements": many(count, actions_button())}]);
    let id = |length| json!([{"type": "divider", "block_id": x(length)}]);
    let markdown = |length| json!([{"type": "markdown", "text": x(length)}]);
    let select = |count| actions(json!({"type": "static_select", "options": many(count, option(5))}));
    let list = |indent: i64| {
        json!([{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "bullet",
        "indent": indent, "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "a"}]}]}]}])
    };
    let table: Vec<(&str, Value, Value)> = vec![
        ("blocks", many(50, json!({"type": "divider"})), many(51, json!({"type": "divider"}))),
        ("section", json!([section(3000)]), json!([section(3001)])),
        ("text is not empty", json!([section(1)]), json!([section(0)])),
        ("fields", fields(10, 1), fields(11, 1)),
        ("field", fields(1, 2000), fields(1, 2001)),
        (
            "header",
            json!([{"type": "header", "text": text("plain_text", 150)}]),
            json!([{"type": "header", "text": text("plain_text", 151)}]),
        ),
        ("context", context(10), context(11)),
        ("actions", elements(25), elements(26)),
        ("button text", button("text", text("plain_text", 75)), button("text", text("plain_text", 76))),
        ("button value", button("value", x(2000).into()), button("value", x(2001).into())),
        ("button url", button("url", url(3000).into()), button("url", url(3001).into())),
        ("action_id", button("action_id", x(255).into()), button("action_id", x(256).into())),
        ("alt_text", image(2000), image(2001)),
        ("alt_text is not empty", image(1), image(0)),
        ("markdown", markdown(12_000), markdown(12_001)),
        ("confirm title", confirm(100, 300, 30), confirm(101, 300, 30)),
        ("confirm text", confirm(100, 300, 30), confirm(100, 301, 30)),
        ("confirm button", confirm(100, 300, 30), confirm(100, 300, 31)),
        ("overflow", overflow(5), overflow(6)),
        ("overflow needs two", overflow(2), overflow(1)),
        (
            "option",
            actions(json!({"type": "overflow", "options": many(2, option(75))})),
            actions(json!({"type": "overflow", "options": many(2, option(76))})),
        ),
        ("select", select(100), select(101)),
        ("block_id", id(255), id(256)),
        (
            "all text",
            json!([section(3000), section(3000), section(3000), section(2000)]),
            json!([section(3000), section(3000), section(3000), section(2001)]),
        ),
        (
            "rich text counts",
            rich(json!({"type": "text", "text": x(11_000)})),
            rich(json!({"type": "text", "text": x(11_001)})),
        ),
        (
            "rich text is not empty",
            rich(json!({"type": "text", "text": "a"})),
            rich(json!({"type": "text", "text": ""})),
        ),
        ("rich link", rich(json!({"type": "link", "url": url(3000)})), rich(json!({"type": "link", "url": url(3001)}))),
        ("indent", list(8), list(9)),
        (
            "units",
            json!([{"type": "header", "text": {"type": "plain_text", "text": "🔔".repeat(75)}}]),
            json!([{"type": "header", "text": {"type": "plain_text", "text": "🔔".repeat(76)}}]),
        ),
    ];
    for (what, within, beyond) in table {
        assert_eq!(judged(within), ["ok"], "{what}");
        assert_ne!(judged(beyond), ["ok"], "{what}");
    }
}

fn actions_button() -> Value {
    json!({"type": "button", "text": text("plain_text", 5)})
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = [
        (json!([{"type": "sektion"}]), "unsupported type: sektion [json-pointer:/blocks/0]"),
        (json!([{}]), "missing required field: type [json-pointer:/blocks/0]"),
        (json!(["x"]), "must be an object [json-pointer:/blocks/0]"),
        (json!([{"type": "section"}]), "must define either `text` or `fields` [json-pointer:/blocks/0]"),
        (json!([{"type": "header"}]), "missing required field: text [json-pointer:/blocks/0]"),
        (json!([section(3001)]), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        (
            json!([{"type": "header", "text": text("mrkdwn", 3)}]),
            "unsupported type: mrkdwn [json-pointer:/blocks/0/text]",
        ),
        (json!([{"type": "section", "text": "x"}]), "must be an object [json-pointer:/blocks/0/text]"),
        (
            json!([{"type": "section", "text": {"type": "plain_text", "text": "x", "verbatim": true}}]),
            "invalid additional property: verbatim [json-pointer:/blocks/0/text]",
        ),
        (
            json!([{"type": "section", "text": {"type": "mrkdwn", "text": 3}}]),
            "must be a string [json-pointer:/blocks/0/text/text]",
        ),
        (json!([{"type": "divider", "colour": "red"}]), "invalid additional property: colour [json-pointer:/blocks/0]"),
        (
            json!([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}]),
            "block_id already exists [json-pointer:/blocks/1/block_id]",
        ),
        (
            rich(json!({"type": "text", "text": "x", "style": {"blink": true}})),
            "invalid additional property: blink [json-pointer:/blocks/0/elements/0/elements/0/style]",
        ),
        (
            rich(json!({"type": "text", "text": "x", "style": {"bold": 1}})),
            "must be a boolean [json-pointer:/blocks/0/elements/0/elements/0/style/bold]",
        ),
        (
            rich(json!({"type": "link", "url": "relative/path"})),
            "invalid url [json-pointer:/blocks/0/elements/0/elements/0/url]",
        ),
        (
            rich(json!({"type": "broadcast", "range": "all"})),
            "must be one of: here, channel, everyone [json-pointer:/blocks/0/elements/0/elements/0/range]",
        ),
        (
            json!([{"type": "rich_text", "elements": []}]),
            "no less than 1 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            json!([{"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements":
            [{"type": "user", "user_id": "U1"}]}]}]),
            "unsupported type: user [json-pointer:/blocks/0/elements/0/elements/0]",
        ),
        (
            json!([{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "roman", "elements":
            [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}]}]}]),
            "must be one of: bullet, ordered [json-pointer:/blocks/0/elements/0/style]",
        ),
    ];
    for (blocks, error) in table {
        assert_eq!(judged(blocks), [error]);
    }
    assert_eq!(judged(json!({})), ["invalid_blocks_format"]);
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

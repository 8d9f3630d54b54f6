//! What templates say besides text, and messengers' own files, as the strict simulators see them.

use campanile::simulator::{Fault, Posted};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::{SLACK, Setup, TELEGRAM, World, issue};

const ROUTE: &str = "  - {channels: [ops-slack, ops-telegram], template: t}\n";

async fn world(templates: &[(&'static str, &'static str)]) -> World {
    Setup { templates: templates.to_vec(), ..Setup::default() }.routes(ROUTE).start().await
}

/// Fires the body and gives what both messengers were sent last.
async fn sent(world: &World, body: &Value) -> (Posted, Posted) {
    world.accepted(body).await;
    world.until_all("delivered").await;
    (world.slack.posted(SLACK).pop().unwrap(), world.telegram.posted(TELEGRAM).pop().unwrap())
}

fn links(post: &Posted) -> Vec<(&str, &str)> {
    post.seen.links.iter().map(|link| (link.text.as_str(), link.url.as_str())).collect()
}

const FRONT: &str = r#"---
buttons:
  - {text: "Open {{issue.key}}", url: "{{issue.url}}"}
  - {text: "Board <b> & @here", url: "https://example.com/?q={{issue.key}}"}
  - {text: "Bad", url: "{{issue.summary}}"}
  - {text: "{{body.absent}}", url: "https://example.com/"}
silent: "{{#unless (eq issue.priority.key 'critical')}}true{{/unless}}"
unfurl: true
---
**{{issue.key}}** {{issue.summary}}
"#;

#[tokio::test]
async fn buttons_open_pages_and_a_bad_one_costs_itself_alone() {
    let world = world(&[("t.md.hbs", FRONT)]).await;
    let (slack, telegram) = sent(&world, &issue("TEST-1", "created")).await;
    let pages =
        [("Open TEST-1", "https://tracker.yandex.ru/TEST-1"), ("Board <b> & @here", "https://example.com/?q=TEST-1")];
    assert_eq!(links(&slack), pages);
    assert_eq!(slack.seen.text, "TEST-1 Summary of TEST-1\n\nOpen TEST-1 · Board <b> & @here");
    assert_eq!((&slack.body["unfurl_links"], &slack.body["unfurl_media"]), (&json!(true), &json!(true)));
    let keyboard = json!([pages.map(|(text, url)| json!({"text": text, "url": url}))]);
    assert_eq!(telegram.body["reply_markup"]["inline_keyboard"], keyboard);
    assert_eq!(telegram.seen.text, "TEST-1 Summary of TEST-1");
    assert_eq!(
        (&telegram.body["disable_notification"], &telegram.body["link_preview_options"]),
        (&json!(true), &json!({}))
    );
    assert!(slack.seen.pings.is_empty() && telegram.seen.pings.is_empty());

    let mut critical = issue("TEST-2", "created");
    critical["priority"] = json!("critical");
    let (_, telegram) = sent(&world, &critical).await;
    assert_eq!(telegram.body["disable_notification"], Value::Null);
}

#[tokio::test]
async fn buttons_stand_under_the_last_part_of_a_long_message() {
    let world = world(&[("t.md.hbs", FRONT)]).await;
    let mut body = issue("TEST-1", "created");
    body["summary"] = json!("word ".repeat(4_000));
    let (slack, telegram) = sent(&world, &body).await;
    assert_eq!(links(&slack)[0].0, "Open TEST-1");
    let parts = world.telegram.posted(TELEGRAM);
    assert!(parts.len() == 4 && world.slack.posted(SLACK).len() > 1);
    assert!(telegram.body["reply_markup"].is_object() && parts[0].body["reply_markup"].is_null());
    assert!(parts.iter().all(|part| part.body["disable_notification"] == true));
}

#[tokio::test]
async fn a_refused_button_goes_and_the_text_stays() {
    let world = world(&[("t.md.hbs", FRONT)]).await;
    world.telegram.fault(Fault::error("Bad Request: BUTTON_URL_INVALID").once());
    let (_, telegram) = sent(&world, &issue("TEST-1", "created")).await;
    assert_eq!(
        (telegram.seen.text.as_str(), &telegram.body["reply_markup"]),
        ("TEST-1 Summary of TEST-1", &Value::Null)
    );
}

const HTML: &str = r#"---
buttons: [{text: Open, url: "{{issue.url}}"}]
---
<b>{{issue.summary}}</b> <a href="{{issue.url}}">{{issue.key}}</a>
<blockquote expandable>{{default comment.text "nothing said"}}</blockquote>
{{#if issue.status}}{{code issue.status.key}} {{link "all" "https://example.com/"}}{{/if}}
"#;

const BLOCKS: &str = r#"{"blocks": [
  {"type": "header", "text": {"type": "plain_text", "text": "{{truncate issue.summary 100}}"}},
  {"type": "section", "text": {"type": "mrkdwn", "text": "<{{issue.url}}|{{issue.key}}> *{{issue.summary}}*\n{{code issue.status.key}} {{link "all" "https://example.com/"}}"}},
  {{#if comment}}{"type": "section", "text": {"type": "mrkdwn", "text": "> {{comment.text}}"}},{{/if}}
  {"type": "context", "elements": [{"type": "plain_text", "text": {{json issue.key}}}]}
]}
"#;

const COMMON: (&str, &str) = ("t.md.hbs", "common {{issue.key}}");

#[tokio::test]
async fn a_messengers_own_file_wins() {
    let world = world(&[COMMON, ("t.telegram.html.hbs", HTML), ("t.slack.json.hbs", BLOCKS)]).await;
    let mut body = issue("TEST-1", "created");
    body["summary"] = json!("It <b>\"burns\"</b> & @here <!channel>\u{202e}");
    let (slack, telegram) = sent(&world, &body).await;
    let summary = "It <b>\"burns\"</b> & @here <!channel>";
    assert_eq!(slack.seen.text, format!("{summary}\nTEST-1 {summary}\nopen all\nTEST-1"));
    assert_eq!(links(&slack), [("TEST-1", "https://tracker.yandex.ru/TEST-1"), ("all", "https://example.com/")]);
    assert_eq!(slack.body["blocks"][1]["text"]["verbatim"], true);
    assert_eq!(
        slack.body["text"],
        "TEST-1 · created\nIt &lt;b&gt;\"burns\"&lt;/b&gt; &amp; @\u{2060}here &lt;!channel&gt;\nhttps://tracker.yandex.ru/TEST-1"
    );
    assert_eq!(telegram.body["parse_mode"], "HTML");
    assert_eq!(telegram.seen.text.replace('\u{2060}', ""), format!("{summary} TEST-1\nnothing said\nopen all"));
    assert_eq!(links(&telegram)[0], ("TEST-1", "https://tracker.yandex.ru/TEST-1"));
    let spans: Vec<_> = telegram.seen.spans.iter().map(|span| span.style.as_str()).collect();
    assert!(spans.contains(&"bold") && spans.contains(&"quote") && spans.contains(&"code"), "{spans:?}");
    assert_eq!(telegram.body["reply_markup"]["inline_keyboard"][0][0]["text"], "Open");
    assert!(slack.seen.pings.is_empty() && telegram.seen.pings.is_empty());
}

#[tokio::test]
async fn an_own_file_that_is_too_long_or_refused_gives_way_to_the_common_one() {
    let world = world(&[COMMON, ("t.telegram.html.hbs", HTML), ("t.slack.json.hbs", BLOCKS)]).await;
    let mut long = issue("TEST-1", "comment");
    long["comment"] = json!("word ".repeat(1_000));
    let (slack, telegram) = sent(&world, &long).await;
    assert_eq!((slack.seen.text.as_str(), telegram.seen.text.as_str()), ("common TEST-1", "common TEST-1"));
    assert_eq!(telegram.body["parse_mode"], Value::Null);
    assert_eq!((world.slack.counts().refused, world.telegram.counts().refused), (0, 0), "nothing was tried in vain");
    assert!(world.metrics().await.contains("campanile_template_failures_total{template=\"t\"} 2"));

    world.slack.fault(Fault::error("invalid_blocks").once());
    world.telegram.fault(Fault::error("Bad Request: can't parse entities: x").once());
    let (slack, telegram) = sent(&world, &issue("TEST-2", "created")).await;
    assert_eq!((slack.seen.text.as_str(), telegram.seen.text.as_str()), ("common TEST-2", "common TEST-2"));
    assert_eq!((world.slack.posted(SLACK).len(), world.telegram.posted(TELEGRAM).len()), (2, 2));

    let (slack, telegram) = sent(&world, &issue("TEST-3", "created")).await;
    assert!(slack.seen.text.starts_with("Summary of TEST-3") && telegram.body["parse_mode"] == "HTML");
}

#[tokio::test]
async fn without_a_common_file_the_fallback_stands_behind_an_own_one() {
    let world = world(&[("t.telegram.html.hbs", HTML)]).await;
    world.telegram.fault(Fault::error("Bad Request: can't parse entities: x").once());
    let (slack, telegram) = sent(&world, &issue("TEST-1", "created")).await;
    let fallback = "TEST-1 · created\nSummary of TEST-1\nhttps://tracker.yandex.ru/TEST-1";
    assert_eq!((slack.seen.text.as_str(), telegram.seen.text.as_str()), (fallback, fallback));
}

const HOSTILE_HTML: &str = r#"---
buttons: [{text: "{{issue.summary}}", url: "{{issue.url}}"}, {text: x, url: "{{issue.summary}}"}]
---
<b>{{issue.summary}}</b> <a href="{{issue.summary}}">{{issue.summary}}</a> <a href="tg://user?id={{issue.summary}}">x</a>
{{code issue.summary}} {{link issue.summary issue.summary}} <code class="language-{{issue.summary}}">{{issue.summary}}</code>
{{upper issue.summary}}{{issue.summary}}here {{json issue}} {{plural issue.summary "a" issue.summary}}
"#;

const HOSTILE_BLOCKS: &str = r#"{"text": "{{issue.summary}} <{{issue.summary}}> <!{{issue.summary}}>", "blocks": [
  {"type": "section", "text": {"type": "mrkdwn", "text": "*{{issue.summary}}* <{{issue.summary}}|{{issue.summary}}> <!{{issue.summary}}> <@{{issue.summary}}>"}},
  {"type": "section", "text": {"type": "mrkdwn", "text": "x {{code issue.summary}} {{link issue.summary issue.summary}} <{{issue.url}}|{{issue.summary}}>"}},
  {"type": "section", "fields": [{"type": "plain_text", "text": "x{{issue.summary}}"}, {"type": "plain_text", "text": {{json body.text}}}]},
  {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x{{issue.summary}}"}]}]}
]}
"#;

#[tokio::test]
async fn nothing_in_a_variable_breaks_an_own_file_or_calls_anybody() {
    let world = world(&[COMMON, ("t.telegram.html.hbs", HOSTILE_HTML), ("t.slack.json.hbs", HOSTILE_BLOCKS)]).await;
    let known = [
        "!channel",
        "@U0123456",
        "!subteam^S1",
        "here",
        "1",
        "#C1",
        "tg://user?id=1",
        "javascript:1",
        "https://a.b/?x=1&y=|<>\"'",
        "\"}]}, {\"type\": \"broadcast\"",
        "</b><b>",
        "<a href='tg://user?id=1'>x</a>",
        "&lt;!here&gt;",
        "@here @ops",
        "``` `",
        "\\",
        "\\\"",
        "{{x}}",
        "\u{F0041}\u{100001}\u{FFFD}",
        "a\nb\r\n> c",
        "<!here|x>",
        "|",
        "-->",
        "%7C",
        "<https://a.b|c>",
    ];
    let mut runner = TestRunner::deterministic();
    let any = prop_oneof![any::<String>(), "[<>&\"'|@!#\\\\{}\\[\\]`*_~:/ \na-zя]{0,40}"];
    let drawn = (0..150).map(|_| any.new_tree(&mut runner).unwrap().current().chars().take(60).collect());
    for (n, text) in known.into_iter().map(str::to_owned).chain(drawn).enumerate() {
        let mut body = issue(&format!("TEST-{}", n + 1), "created");
        body["summary"] = json!(text);
        body["text"] = json!(format!("x{text}"));
        world.accepted(&body).await;
    }
    world.until_all("delivered").await;
    let (slack, telegram) = (world.slack.posted(SLACK), world.telegram.posted(TELEGRAM));
    assert_eq!((slack.len(), telegram.len()), (known.len() + 150, known.len() + 150));
    assert_eq!((world.slack.counts().refused, world.telegram.counts().refused), (0, 0));
    for post in slack.iter().chain(&telegram) {
        assert_eq!(post.seen.pings, Vec::<String>::new(), "{:#}", post.body);
    }
    let common = |post: &&Posted| post.seen.text.starts_with("common");
    let common: Vec<_> = slack.iter().chain(&telegram).filter(common).map(|post| post.seen.text.as_str()).collect();
    assert_eq!(common, Vec::<&str>::new(), "each fits");
}

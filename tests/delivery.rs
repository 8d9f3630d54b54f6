//! From an accepted event to what stands in the channels.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{Fault, SlackSimulator, SlackWebhook, TelegramChat, TelegramSimulator, Topic};
use serde_json::json;

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, TELEGRAM, World, issue, numbers};

const MINUTE: Duration = Duration::from_secs(60);

/// What a person reads, without the marks that keep it from being more than text.
fn read(text: &str) -> String {
    text.replace(['\u{2060}', '\n', ' '], "")
}

#[tokio::test]
async fn a_lane_keeps_its_order_over_retries() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::Json500.chance(0.3, 1));
    world.telegram.fault(Fault::bad_gateway().chance(0.3, 2));
    world.burst(0..20).await;
    world.until_all("delivered").await;
    let order: Vec<_> = (0..20).collect();
    assert_eq!(numbers(&world.slack.posted(SLACK)), order);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), order);
    assert!(world.slack.counts().refused > 0 && world.telegram.counts().refused > 0);
}

const LONG: (&str, &str) = ("long.md.hbs", "**{{issue.key}}** {{issue.summary}}\n\n{{issue.description}}\n");

fn long(words: usize) -> serde_json::Value {
    let mut body = issue("TEST-7", "created");
    let words: Vec<_> = (0..words).map(|n| format!("word{n:04}")).collect();
    body["description"] = json!(words.join(" "));
    body
}

#[tokio::test]
async fn a_long_message_comes_whole_in_slack_and_shortened_with_a_link_in_telegram() {
    let setup = Setup { templates: vec![LONG], ..Setup::default() };
    let world = setup.routes("  - {channels: [ops-slack, ops-telegram], template: long}\n").start().await;
    let body = long(3_334);
    assert!(body["description"].as_str().unwrap().len() >= 30_000);
    world.accepted(&body).await;
    world.settled_as("delivered", 2).await;
    let slack = world.slack_texts();
    assert_eq!(slack.len(), 4);
    let whole: String = slack.iter().map(|text| read(text)).collect();
    assert!(whole.ends_with(&read(body["description"].as_str().unwrap())));
    let telegram = world.telegram.posted(TELEGRAM);
    assert_eq!(telegram.len(), 4);
    let shown: String = telegram.iter().map(|post| read(&post.seen.text)).collect();
    assert!(shown.contains("word0000word0001") && shown.ends_with("…shortened:TEST-7"), "{shown:.100}");
    assert_eq!(telegram[3].seen.links.last().unwrap().url, "https://tracker.yandex.ru/TEST-7");
}

/// A process that dies between two parts must know of the first.
#[tokio::test]
async fn a_parts_receipt_is_kept_before_the_next_part_leaves() {
    let setup = Setup { templates: vec![LONG], ..Setup::default() };
    let world = setup.routes("  - {channels: [ops-telegram], template: long}\n").start().await;
    let calls = AtomicU32::new(0);
    world.telegram.fault(Fault::HangBefore.always().when(move |_| calls.fetch_add(1, Ordering::Relaxed) == 1));
    world.accepted(&long(800)).await;
    world.telegram_seen(|record| record.counts().calls == 2).await;
    let row = world.delivery(1).await;
    let receipts: Vec<_> = row["parts"].as_array().unwrap().iter().map(|part| part.get("receipt").is_some()).collect();
    assert_eq!((row["state"].as_str(), receipts), (Some("pending"), vec![true, false]));
    world.telegram.release();
    world.settled_as("delivered", 1).await;
    let texts = world.telegram_texts();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("word0000") && texts[1].contains("word0799"));
}

#[tokio::test]
async fn a_message_that_comes_late_says_how_late() {
    let world = Setup::default().start().await;
    world.slack.go_down().await;
    world.telegram.go_down().await;
    world.accepted(&issue("TEST-1", "created")).await;
    // In small steps: a quick retry that met a leap of the clock would carry what was said at its attempt's start.
    let late = world.clock.now() + MINUTE * 14;
    world.until_deliveries(|_| world.clock.now() >= late).await;
    world.slack.come_up().await.unwrap();
    world.telegram.come_up().await.unwrap();
    world.accepted(&issue("TEST-2", "created")).await;
    world.until_all("delivered").await;
    for texts in [world.slack_texts(), world.telegram_texts()] {
        // How many exactly depends on the back-off that the outage had come to: at most a minute and a fifth.
        let late = ["delayed 13 min", "delayed 14 min", "delayed 15 min"].iter().any(|late| texts[0].ends_with(late));
        assert!(texts[0].contains("TEST-1") && late, "{texts:?}");
        assert!(texts[1].contains("TEST-2") && !texts[1].contains("delayed"), "{texts:?}");
    }
}

#[tokio::test]
async fn up_to_two_minutes_are_not_late() {
    let world = Setup::default().only_telegram().start().await;
    for (n, wait, mark) in [(1, 120, false), (2, 121, true)] {
        world.telegram.fault(Fault::rate_limited(wait).once());
        world.accepted(&issue(&format!("TEST-{n}"), "created")).await;
        world.settled(|rows| rows.last().is_some_and(|row| row["lane_hold"].is_object())).await;
        world.clock.pass(Duration::from_secs(wait));
        world.settled_as("delivered", n).await;
        assert_eq!(world.telegram_texts()[n - 1].contains("delayed 2 min"), mark, "{wait} s");
    }
}

#[tokio::test]
async fn an_event_whose_template_cannot_speak_goes_out_as_a_fallback() {
    let setup = Setup {
        templates: vec![
            ("broken.md.hbs", "{{#if issue.key}} never closed"),
            ("loops.md.hbs", "{{> again}}"),
            ("partials/again.hbs", "{{> again}}"),
            ("empty.md.hbs", "{{#if comment.text}}{{comment.text}}{{/if}}"),
            ("good.md.hbs", "good {{issue.key}}"),
        ],
        ..Setup::default()
    };
    let names = ["missing", "broken", "loops", "empty", "good"];
    let routes = names.map(|name| {
        format!(
            "  - {{name: {name}, when: 'issue.summary == \"{name}\"', channels: [ops-slack, ops-telegram], template: {name}}}\n"
        )
    });
    let world = setup.routes(&routes.concat()).start().await;
    for (n, name) in names.into_iter().enumerate() {
        let mut body = issue(&format!("TEST-{}", n + 1), "created");
        body["summary"] = json!(name);
        world.accepted(&body).await;
    }
    world.settled_as("delivered", 10).await;
    for texts in [world.slack_texts(), world.telegram_texts()] {
        for (n, name) in names[..4].iter().enumerate() {
            let key = n + 1;
            let fallback = format!("TEST-{key} · created\n{name}\nhttps://tracker.yandex.ru/TEST-{key}");
            assert_eq!(texts[n], fallback);
        }
        assert_eq!(texts[4], "good TEST-5", "one broken template stops only its own messages");
    }
    for name in names {
        let failures = world.figure(&format!(r#"campanile_template_failures_total{{template="{name}"}}"#)).await;
        assert_eq!(failures, if name == "good" { 0.0 } else { 2.0 }, "{name}");
    }
}

/// The real binary, for its log: the template is fine, and fails at what one event holds.
#[tokio::test]
async fn a_template_that_fails_at_one_event_costs_that_message_its_form_and_no_other() {
    let setup = Setup::on(Clock::machine()).routes(
        "  - {when: 'body.long == true', channels: [ops-slack, ops-telegram], template: long}\n  \
           - {channels: [ops-slack, ops-telegram], template: floor}\n",
    );
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join("floor.md.hbs"), "{{issue.key}}\n\non floor {{body.place.floor}}").unwrap();
    std::fs::write(templates.join("long.md.hbs"), "{{#each body.many}}{{@root.issue.summary}}{{/each}}").unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    bridge.start().await;
    let (client, url) = (Client::default(), bridge.hook_url());
    for (n, more) in [
        json!({"place": {"floor": 3}}),
        json!({"place": [3]}),
        json!({"place": {"floor": 4}}),
        json!({"long": true, "many": vec![0; 300], "summary": "слово ".repeat(200)}), // 360,000 characters
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = issue(&format!("TEST-{}", n + 1), "created");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = client.post(&url).header("authorization", HOOK_SECRET).json(&body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let (four_parts, three_others) = (4, 3);
    slack.wait_for_posts(four_parts + three_others).await;
    telegram.wait_for_posts(four_parts + three_others).await;
    for posts in [slack.posted(SLACK), telegram.posted(TELEGRAM)] {
        let texts: Vec<_> = posts.iter().map(|post| post.seen.text.replace("\n\n", "\n")).collect();
        let fallback = "TEST-2 · created\nSummary of TEST-2\nhttps://tracker.yandex.ru/TEST-2";
        assert_eq!(texts[..3], ["TEST-1\non floor 3", fallback, "TEST-3\non floor 4"]);
        assert!(texts[3].starts_with("слово слово") && texts[6].ends_with("… shortened: TEST-4"), "{}", texts[6]);
    }
    let log = bridge.log();
    let failures: Vec<_> = log.lines().filter(|line| line.contains("the template failed")).collect();
    assert_eq!(failures.len(), 2, "one for each messenger: {log}");
    assert!(failures.iter().all(|line| line.contains("event=2 ") && line.contains("floor.md.hbs:3:10: ")), "{log}");
    let metrics = client.get(&format!("http://{}/metrics", bridge.admin)).send().await.text;
    assert!(metrics.contains(r#"campanile_template_failures_total{template="floor"} 2"#), "{metrics}");
    assert!(!metrics.contains(r#"template="long""#), "{metrics}");
}

#[tokio::test]
async fn whatever_an_author_writes_is_text_and_pings_nobody() {
    let hostile = [
        "<!channel> <!here> <!everyone> <@U012AB3CD> <!subteam^S1>",
        "@here @channel @everyone @ivan_ivanov and x@mail.example",
        "[x](javascript:alert(1)) [y](https://evil.example) <https://evil.example|bank>",
        "*bold* _under_ ~strike~ `code` ```fence``` **x** # head > quote",
        r#"quotes " ' and \ back \" slash {{issue.key}} {"a":1}"#,
        "<b>bold</b> <a href=\"tg://user?id=1\">x</a> &lt;b&gt; &amp;",
        "zero\u{200b}width\u{200d}joined\u{feff}end",
        "tg://user?id=12345 mailto:a@b.example",
    ];
    let world = Setup::default().start().await;
    for (n, summary) in hostile.iter().enumerate() {
        let mut body = issue(&format!("TEST-{}", n + 1), "created");
        body["summary"] = json!(summary);
        world.accepted(&body).await;
    }
    world.settled_as("delivered", 16).await;
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        for (post, summary) in posts.iter().zip(hostile) {
            assert!(read(&post.seen.text).contains(&read(summary)), "{summary}: {}", post.seen.text);
            assert_eq!(post.seen.pings, [] as [&str; 0], "{summary}");
            let strange: Vec<_> = post.seen.links.iter().filter(|link| link.text != link.url).collect();
            assert!(strange.iter().all(|link| link.url.starts_with("https://tracker.yandex.ru/")), "{strange:?}");
        }
    }
}

#[tokio::test]
async fn newlines_marks_of_direction_and_a_hundred_thousand_characters_arrive_as_one_event() {
    let world = Setup::default().start().await;
    for (n, summary) in
        ["two\nlines\r\nand\ttab", "evil\u{202e}txt.exe\u{2066}x", &"слово @here ".repeat(8_334)].iter().enumerate()
    {
        let mut body = issue(&format!("TEST-{}", n + 1), "created");
        body["summary"] = json!(summary);
        world.accepted(&body).await;
    }
    world.settled_as("delivered", 6).await;
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        assert!(posts[0].seen.text.contains("lines"), "{}", posts[0].seen.text);
        assert!(posts[1].seen.text.contains("eviltxt.exex"), "{}", posts[1].seen.text);
        assert!((3..=6).contains(&posts.len()), "{}", posts.len());
        let last = posts.last().unwrap();
        assert!(last.seen.text.ends_with("… shortened: TEST-3"), "{}", last.seen.text);
        assert_eq!(last.seen.links.last().unwrap().url, "https://tracker.yandex.ru/TEST-3");
        assert!(posts.iter().all(|post| post.seen.pings.is_empty()));
    }
    assert_eq!(world.slack.counts().refused + world.telegram.counts().refused, 0, "nothing had to be sent twice");
}

#[tokio::test]
async fn a_topic_is_named_and_the_first_topic_is_not() {
    let chat = -1_001_234_567_890;
    let setup = Setup::default();
    let telegram = setup.telegram.clone().chat(chat, TelegramChat::forum("Ops", [(7, Topic::Open)]));
    let channels = format!("  seven: {{telegram: {chat}, topic: 7}}\n  general: {{telegram: {chat}, topic: 1}}\n");
    let setup = Setup { telegram, channels, ..setup };
    let world = setup.routes("  - channels: [seven, general]\n").start().await;
    world.accepted(&issue("TEST-1", "created")).await;
    world.settled_as("delivered", 2).await;
    assert_eq!(world.telegram.posted(&format!("{chat}/7"))[0].body["message_thread_id"], 7);
    assert_eq!(world.telegram.posted(TELEGRAM)[0].body.get("message_thread_id"), None);
    assert_eq!(world.telegram.counts().calls, 2);
}

/// A world whose only channel is an incoming webhook.
async fn with_webhook(webhook: SlackWebhook) -> (World, String) {
    let mut world = Setup::default().only_slack().start().await;
    let path = "/services/T000/B000/secretpart".to_owned();
    world.slack.set_webhook(&path, webhook);
    world.secrets.insert("WEBHOOK", format!("http://{}{path}", world.slack.addr()));
    let channel = format!("{{slack: {SLACK}}}");
    world.restart_with(|text| text.replace(&channel, "{slack_webhook: {env: WEBHOOK}}")).await;
    (world, path)
}

#[tokio::test]
async fn an_incoming_webhook_is_posted_to() {
    let (world, path) = with_webhook(SlackWebhook::Active).await;
    world.accepted(&issue("TEST-1", "created")).await;
    world.settled_as("delivered", 1).await;
    let posted = world.slack.posted(&path);
    assert!(posted[0].seen.text.contains("Summary of TEST-1"));
    assert_eq!(world.delivery(1).await["parts"][0]["receipt"], "unnumbered", "a webhook names nothing");
    assert!(world.slack.arrivals().iter().all(|call| call.token.is_none()), "it needs no token");
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_held_and_its_address_is_told_nowhere() {
    let (world, path) = with_webhook(SlackWebhook::Broken("no_service".into())).await;
    world.accepted(&issue("TEST-1", "created")).await;
    world.slack_seen(|record| record.counts().calls == 1).await;
    world.until_figure(r#"campanile_account_held{account="slack-webhook:ops-slack"}"#, 1.0, Duration::ZERO).await;
    let row = world.settled(|rows| rows[0]["attempts"] == 1).await[0].to_string();
    assert!(row.contains("no_service") && !row.contains("secretpart"), "{row}");
    world.slack.set_webhook(&path, SlackWebhook::Active);
    world.clock.pass(MINUTE);
    world.settled_as("delivered", 1).await;
}

#[tokio::test]
async fn what_was_placed_is_kept_with_its_receipt() {
    let world = Setup::default().start().await;
    let event = world.accepted(&issue("TEST-1", "created")).await;
    world.settled_as("delivered", 2).await;
    let (slack, telegram) = (&world.slack.posted(SLACK)[0], &world.telegram.posted(TELEGRAM)[0]);
    let rows = [world.delivery(1).await, world.delivery(2).await];
    assert_eq!(rows[0]["parts"][0]["receipt"], json!({"slack": {"channel": SLACK, "ts": slack.id}}));
    let message: i64 = telegram.id.parse().unwrap();
    let chat: i64 = TELEGRAM.parse().unwrap();
    assert_eq!(rows[1]["parts"][0]["receipt"], json!({"telegram": {"chat": chat, "message": message}}));
    assert_eq!(rows[0]["parts"][0]["content"]["blocks"], slack.body["blocks"]);
    assert_eq!(rows[1]["parts"][0]["content"]["text"], telegram.body["text"]);
    for row in rows {
        assert_eq!(
            (&row["attempts"], &row["unclear"], &row["failed_attempts"]),
            (&json!(1), &json!(false), &json!([]))
        );
    }
    let listed = world.api(&format!("/api/v1/events/{event}")).await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn russian_where_the_admin_wants_it() {
    let world = Setup { more: "language: ru\n".into(), ..Setup::default() }.start().await;
    world.slack.fault(Fault::rate_limited(180).once());
    let mut body = issue("TEST-1", "created");
    body["deadline"] = json!("2026-05-15");
    world.accepted(&body).await;
    world.settled(|rows| rows[0]["attempts"] == 1).await;
    world.clock.pass(MINUTE * 3);
    world.settled_as("delivered", 2).await;
    assert!(
        world.telegram_texts()[0].starts_with("TEST-1: новая задача, автор maria.petrova\n"),
        "{:?}",
        world.telegram_texts()
    );
    assert!(world.telegram_texts()[0].contains("15 мая"), "{:?}", world.telegram_texts());
    assert!(world.slack_texts()[0].ends_with("\n\nс задержкой 3 мин"), "{:?}", world.slack_texts());
}

//! Every kind of body that people set up triggers with: how it is read, and what of it arrives.

use serde_json::{Value, json};

use crate::harness::{HOOK_SECRET, SLACK, Setup, TELEGRAM, World};

async fn world(queues: &str) -> World {
    let setup = Setup { more: format!("tracker: {{queues: [{queues}]}}\n"), ..Setup::default() };
    setup.start().await
}

/// Sends a body that must be taken; gives the event's document, and what stands in Slack and in Telegram.
async fn arrives(world: &World, content_type: &str, body: &str) -> (Value, String, String) {
    let before = world.slack.counts().posted;
    let url = world.public_url("/hooks/tracker");
    let call = world.http.post(&url).header("authorization", HOOK_SECRET).header("content-type", content_type);
    let answer = call.header("idempotency-key", before.to_string()).body(body.to_owned()).await;
    assert_eq!(answer.status, 202, "{body}: {}", answer.text);
    world.until_posted(before + 1, before + 1).await;
    let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await;
    let (slack, telegram) = (world.slack.posted(SLACK).pop(), world.telegram.posted(TELEGRAM).pop());
    let (slack, telegram) = (slack.unwrap().seen, telegram.unwrap().seen);
    assert_eq!((slack.pings, telegram.pings), (vec![], vec![]), "{body}");
    (event["event"]["document"].clone(), slack.text, telegram.text)
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/", $name))
    };
}

#[tokio::test]
async fn every_fixture_is_read_as_its_readme_says_and_arrives() {
    let world = world("BELL").await;
    let mut told = String::new();
    for (name, content_type, body) in [
        ("full", "application/json; charset=UTF-8", fixture!("trigger-full.json")),
        ("minimal", "application/json", fixture!("trigger-minimal.json")),
        ("comment", "application/json", fixture!("trigger-comment.json")),
        ("empty-optional", "application/json", fixture!("trigger-empty-optional.json")),
        ("empty-holes", "application/json", fixture!("trigger-empty-holes.txt")),
        ("raw-broken", "application/json", fixture!("trigger-raw-broken.txt")),
        ("double-quoted", "application/json", fixture!("trigger-double-quoted.txt")),
        ("form", "application/x-www-form-urlencoded", fixture!("trigger-form-urlencoded.txt")),
        ("form as json", "application/json", fixture!("trigger-form-urlencoded.txt")),
        ("form as nothing", "", fixture!("trigger-form-urlencoded.txt")),
        ("text-plain", "text/plain", fixture!("trigger-text-plain.txt")),
    ] {
        let (document, slack, telegram) = arrives(&world, content_type, body).await;
        let event = &document["event"];
        let degraded = if event["degraded"] == true { ", degraded" } else { "" };
        let (reading, kind) = (event["reading"].as_str().unwrap(), event["kind"].as_str().unwrap());
        let lines =
            |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
        let (slack, telegram) = (lines(&slack), lines(&telegram));
        assert_eq!(slack, telegram, "{name}");
        told.push_str(&format!("--- {name}: {reading}{degraded}, {kind}\n{slack}\n"));
        assert!(!document.to_string().contains("{{") && !slack.contains("{{"), "{name}: {document}");
    }
    insta::assert_snapshot!(told, @r#"
    --- full: strict, issue.status_changed
    BELL-42 → Можно тестировать / Кнопка "Сохранить" не работает в Safari 🐞 (путь C:\temp\новая, <b>тег</b> & 100%) / by maria.petrova
    --- minimal: strict, issue.created
    BELL-42 created
    --- comment: strict, issue.comment_added
    BELL-42 Выкатить «Реквизиты» на прод / user3993 commented
    --- empty-optional: strict, issue.created
    BELL-43 created by ivan-ivanov / Без исполнителя
    --- empty-holes: repaired, degraded, issue.created
    BELL-43 created / Без исполнителя / may be incomplete · campanile events show 5
    --- raw-broken: key-only, degraded, issue.updated
    BELL-42 · changed / may be incomplete · campanile events show 6
    --- double-quoted: repaired, degraded, issue.created
    BELL-42 created / Выкатить "Реквизиты" на прод / for maria.petrova / may be incomplete · campanile events show 7
    --- form: form, issue.status_changed
    BELL-42: new status / Кнопка "Сохранить" не работает & молчит 🐞 / by maria.petrova
    --- form as json: form, issue.status_changed
    BELL-42: new status / Кнопка "Сохранить" не работает & молчит 🐞 / by maria.petrova
    --- form as nothing: form, issue.status_changed
    BELL-42: new status / Кнопка "Сохранить" не работает & молчит 🐞 / by maria.petrova
    --- text-plain: key-only, degraded, issue.updated
    BELL-42 · changed / may be incomplete · campanile events show 11
    "#);
}

#[tokio::test]
async fn what_a_fixture_says_is_kept_to_the_letter() {
    let world = world("").await;
    let read = async |body: &str| arrives(&world, "text/plain", body).await.0;

    let full = read(fixture!("trigger-full.json")).await;
    let mut sent: Value = serde_json::from_str(fixture!("trigger-full.json")).unwrap();
    assert_eq!(full["body"], sent);
    assert_eq!(full["issue"]["tags"], sent["tags"].take());
    assert_eq!(full["issue"]["description"], sent["description"].take());

    let comment = read(fixture!("trigger-comment.json")).await;
    assert_eq!(comment["comment"], json!({"id": "626"}));

    let optional = read(fixture!("trigger-empty-optional.json")).await;
    let names = |document: &Value, of: &str| document[of].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&optional, "issue"), ["author", "key", "queue", "summary", "url"]);
    assert_eq!(names(&optional, "body"), ["actor", "at", "author", "event", "key", "summary", "v"]);

    let holes = read(fixture!("trigger-empty-holes.txt")).await;
    assert_eq!(names(&holes, "issue"), ["author", "key", "queue", "summary", "url"]);
    assert_eq!(holes["body"]["emails"], json!(["petrova@example.com", "user3993@example.com"]));

    let doubled = read(fixture!("trigger-double-quoted.txt")).await["issue"].clone();
    assert_eq!(doubled["summary"], "Выкатить \"Реквизиты\" на прод");
    assert_eq!(doubled["assignee"], json!({"login": "maria.petrova"}));
    assert_eq!(doubled["tags"], json!(["релиз", "safari"]));
    assert_eq!(doubled["followers"], json!([{"login": "ivan-ivanov"}, {"login": "user3993"}]));

    // Each raw variable between the quotes that the trigger's author typed, whole.
    let raw = fixture!("trigger-raw-broken.txt");
    let broken = read(raw).await;
    let between = |before: &str, behind: &str| raw.split(before).nth(1).unwrap().split(behind).next().unwrap();
    assert_eq!(broken["issue"]["key"], "BELL-42");
    assert_eq!(broken["body"]["text"], between("\"text\": \"", "\", \"comment\""));
    assert_eq!(broken["comment"]["text"], between("\"comment\": \"", "\"}"));

    // Without a list of queues too, `UTF-8` and `RFC-3339` are no issues.
    let plain = read(fixture!("trigger-text-plain.txt")).await;
    assert_eq!((&plain["issue"]["key"], plain.get("body")), (&json!("BELL-42"), None));
}

#[tokio::test]
async fn a_key_of_an_unknown_queue_is_not_taken_from_a_text() {
    let world = world("OPS").await;
    let url = world.public_url("/hooks/tracker");
    let call = |body: &str| world.http.post(&url).header("authorization", HOOK_SECRET).body(body.to_owned());
    let answer = call(fixture!("trigger-text-plain.txt")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("tracker.queues"), "{}", answer.text);
    let answer = call(fixture!("trigger-minimal.json")).await;
    assert_eq!(answer.status, 202, "a member that is named as the key is taken at its word");
}

#[tokio::test]
async fn a_key_in_another_case_is_its_queues_where_that_is_known() {
    let world = world("BELL").await;
    let url = world.public_url("/hooks/tracker");
    for (named, expected) in [("bell-42", "BELL-42"), ("Bell-43", "BELL-43"), ("other-1", "other-1")] {
        let answer = world.http.post(&url).header("authorization", HOOK_SECRET).json(&json!({"key": named})).await;
        let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await;
        let issue = &event["event"]["document"]["issue"];
        assert_eq!((&issue["key"], issue["url"].as_str().unwrap().ends_with(expected)), (&json!(expected), true));
    }
}

#[tokio::test]
async fn bodies_of_a_mebibyte_that_pretend_are_read_or_refused() {
    let world = Setup::default().only_slack().start().await;
    let url = world.public_url("/hooks/tracker");
    for (begin, piece, expected) in [
        (r#"{"key":"TEST-1","x":["#, "[", 202),
        (r#"{"key":"TEST-1","x":"#, r#"{"x":"#, 202),
        (r#"{"key":"TEST-1","x":"#, r#"","x":""#, 202),
        (r#"{"key":"TEST-1","x":["#, "a,", 202),
        (r#"{"key":"TEST-1","x":"#, "x }", 202),
        ("{", r#""\","a":""#, 400),
        (r#"{"x":"#, r#""key":""""#, 400),
        ("", "A-", 400),
        ("", "UTF-8 ", 400),
        ("", r#"\u0041"#, 400),
        ("a=", "&a=%", 400),
    ] {
        let body = format!("{begin}{}", piece.repeat((1024 * 1024 - begin.len()) / piece.len()));
        let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(body).await;
        assert_eq!(answer.status, expected, "{begin} {piece}: {:.200}", answer.text);
    }
}

//! What an event lacks is looked up and merged into it.

use std::time::Duration;

use campanile::event::Event;
use campanile::simulator::Fault;
use campanile::simulator::tracker::TrackerIssue;
use campanile::tracker::look::{Look, look};
use campanile::tracker::merge::merge;
use campanile::tracker::own::own;
use serde_json::{Value, json};

use super::*;

impl World {
    /// An event of now, with what its call said of the issue.
    fn event(&self, kind: &str, issue: Value) -> Event {
        let now = self.clock.now();
        let mut event = json!({"event": {"kind": kind, "source": "tracker", "received_at": now, "reading": "strict",
            "degraded": false}, "issue": {"key": "TEST-1"}});
        event["issue"].as_object_mut().unwrap().extend(issue.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    }

    async fn enriched(&self, event: Event) -> Value {
        let (mut event, found) = self.looked(event).await;
        merge(&mut event, &found, "https://tracker.test");
        serde_json::to_value(event).unwrap()
    }

    async fn looked(&self, event: Event) -> (Event, Look) {
        let found = look(&self.api, &event).await.unwrap();
        (event, found)
    }
}

#[tokio::test]
async fn a_body_with_a_key_alone_says_who_moved_what() {
    let world = World::start().await;
    world.tracker.change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.clock.pass(Duration::from_secs(600));
    world.tracker.change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.clock.pass(Duration::from_secs(1));
    for kind in ["issue.status_changed", "issue.updated"] {
        let got = world.enriched(world.event(kind, json!({}))).await;
        assert_eq!(
            got["actor"],
            json!({"login": "maria.petrova", "display": "Мария Петрова", "email": "maria.petrova@example.com"})
        );
        let change = &got["changes"][0];
        assert_eq!(
            (&change["field"], &change["from"]["key"], &change["to"]["key"]),
            (&json!("status"), &json!("inProgress"), &json!("readyForTest"))
        );
        assert_eq!(got["issue"]["status"], json!({"key": "readyForTest", "display": "Можно тестировать"}));
        assert_eq!(got["issue"]["author"]["login"], "ivan.ivanov");
        assert_eq!(
            (&got["issue"]["summary"], &got["issue"]["url"]),
            (&json!("Кнопка не работает"), &json!("https://tracker.test/TEST-1"))
        );
    }
}

/// The call comes late; the issue has moved on since.
#[tokio::test]
async fn what_it_became_counts_and_not_what_it_is_by_now() {
    let world = World::start().await;
    world.tracker.change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    let event = world.event("issue.status_changed", json!({}));
    world.clock.pass(Duration::from_secs(600));
    world.tracker.change_status("TEST-1", "closed", "maria.petrova").unwrap();
    let got = world.enriched(event).await;
    assert_eq!((&got["issue"]["status"]["key"], &got["actor"]["login"]), (&json!("inProgress"), &json!("ivan.ivanov")));
}

#[tokio::test]
async fn display_names_become_keys_in_both_languages() {
    let world = World::start().await;
    for (name, key) in
        [("Закрыт", json!("closed")), (" closed", json!("closed")), ("ОТКРЫТ", json!("open")), ("Ждёт", Value::Null)]
    {
        let got = world.enriched(world.event("issue.updated", json!({"status": {"display": name}}))).await;
        assert_eq!(
            (got["issue"]["status"].get("key").unwrap_or(&Value::Null), &got["issue"]["status"]["display"]),
            (&key, &json!(name))
        );
    }
    assert_eq!(world.tracker.requests("statuses"), 2, "both languages, and once");
    world.enriched(world.event("issue.updated", json!({"status": {"display": "Открыт"}}))).await;
    world.clock.pass(Duration::from_secs(60));
    world.enriched(world.event("issue.updated", json!({"status": {"display": "Ждёт"}}))).await;
    assert_eq!(world.tracker.requests("statuses"), 4, "a name that is not there is looked for once a minute");
    world.enriched(world.event("issue.updated", json!({"priority": {"display": "Критичный"}}))).await;
    assert_eq!((world.tracker.requests("priorities"), world.tracker.requests("resolutions")), (2, 0));
}

#[tokio::test]
async fn a_comment_is_found_by_either_id_and_by_its_time() {
    let world = World::start().await;
    world.tracker.comment("TEST-1", "Раньше", "ivan.ivanov").unwrap();
    world.clock.pass(Duration::from_secs(600));
    world.tracker.comment("TEST-1", "Проверьте", "maria.petrova").unwrap();
    let comments = world.api.comments("TEST-1", None).await.unwrap();
    let first = &comments[0];
    for (id, text, is_asked_for) in [
        (first.id.clone(), Some("Раньше"), true),
        (first.long_id.clone(), Some("Раньше"), true),
        (first.id.clone(), Some("Раньше"), false),
        (first.long_id.clone(), Some("Раньше"), false),
        (Some("999999".into()), None, true),
        (None, Some("Проверьте"), true),
    ] {
        world.tracker.clear();
        if !is_asked_for {
            world.tracker.fault(Fault::error("404 Не найдено").always().method("comment"));
        }
        let mut event = world.event("issue.comment_added", json!({}));
        event.comment = id.clone().map(|id| campanile::event::Comment { id: Some(id), ..Default::default() });
        let got = world.enriched(event).await;
        assert_eq!(got["comment"].get("text").and_then(Value::as_str), text, "{id:?}");
        assert_eq!(got["comment"].get("author").is_some_and(|it| it["email"].is_string()), text.is_some());
        assert_eq!(got["actor"]["login"], "maria.petrova");
    }
}

#[tokio::test]
async fn a_moved_issue_has_its_new_key_and_its_old_ones() {
    let world = World::start().await;
    let key = world.tracker.move_issue("TEST-1", "OPS", "ivan.ivanov").unwrap();
    let (mut event, found) = world.looked(world.event("issue.moved", json!({}))).await;
    assert_eq!((found.key(), found.aliases()), (key.as_str(), &["TEST-1".to_owned()][..]));
    merge(&mut event, &found, "https://tracker.test");
    let issue = event.issue.unwrap();
    assert_eq!((issue.key, issue.queue.unwrap().key.unwrap()), (key, "OPS".to_owned()));
}

/// Events that were accepted before it was asked share one answer.
#[tokio::test]
async fn a_burst_is_one_question_and_none_gets_an_older_answer() {
    let world = World::start().await;
    let burst: Vec<_> = (0..3).map(|_| world.event("issue.updated", json!({}))).collect();
    world.clock.pass(Duration::from_millis(1));
    for event in burst {
        world.enriched(event).await;
    }
    assert_eq!(world.tracker.requests("issue"), 1);
    world.clock.pass(Duration::from_millis(1));
    world.tracker.update("TEST-1", json!({"summary": "Новое"}).as_object().unwrap(), "ivan.ivanov").unwrap();
    let got = world.enriched(world.event("issue.updated", json!({}))).await;
    assert_eq!((world.tracker.requests("issue"), &got["issue"]["summary"]), (2, &json!("Новое")));
}

/// A look goes on where the one before ended: the newest change of a long history is found, a few pages a time.
#[tokio::test]
async fn a_long_changelog_is_read_further_each_time() {
    let world = World::start().await;
    for n in 0..220 {
        let status = if n % 2 == 0 { "inProgress" } else { "open" };
        world.tracker.change_status("TEST-1", status, "ivan.ivanov").unwrap();
        world.clock.pass(Duration::from_secs(300));
    }
    world.tracker.change_status("TEST-1", "closed", "maria.petrova").unwrap();
    let event = || world.event("issue.status_changed", json!({}));
    let (_, first) = world.looked(event()).await;
    assert!(!first.did_all(|_| true));
    assert_eq!(world.tracker.requests("changelog"), 4);
    let got = world.enriched(event()).await;
    assert_eq!((&got["actor"]["login"], world.tracker.requests("changelog")), (&json!("maria.petrova"), 5));
    assert_eq!(world.enriched(event()).await["actor"]["login"], "maria.petrova", "also when it is looked for again");
}

#[tokio::test]
async fn what_else_is_refused_is_left_out() {
    let world = World::start().await;
    world.tracker.change_status("TEST-1", "inProgress", "maria.petrova").unwrap();
    for endpoint in ["changelog", "user", "statuses"] {
        world.tracker.fault(Fault::error("403 Недостаточно прав").always().method(endpoint));
    }
    let got = world.enriched(world.event("issue.status_changed", json!({"status": {"display": "Закрыт"}}))).await;
    assert_eq!((&got["issue"]["status"], got.get("changes")), (&json!({"display": "Закрыт"}), None));
    assert_eq!(got["actor"], json!({"display": "Мария Петрова"}), "whoever changed it last, just now");
    world.tracker.clear();
    world.tracker.fault(Fault::error("429 x").always().method("user"));
    let end = look(&world.api, &world.event("issue.status_changed", json!({}))).await;
    assert!(end.is_err(), "what can be had later is waited for");
    world.tracker.clear();
    let absent = look(&world.api, &world.event("issue.updated", json!({"key": "TEST-999"}))).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound(_)), "{absent:?}");
}

#[tokio::test]
async fn our_own_change_is_known() {
    let world = World::with(|it| it.issue(TrackerIssue::new("TEST-2", "x"))).await;
    let own = own(&world.api).await.unwrap();
    assert_eq!(own.login(), Some(BOT));
    world.tracker.change_status("TEST-1", "inProgress", BOT).unwrap();
    world.tracker.change_status("TEST-2", "inProgress", "ivan.ivanov").unwrap();
    for (key, ours) in [("TEST-1", true), ("TEST-2", false)] {
        let (event, found) = world.looked(world.event("issue.status_changed", json!({"key": key}))).await;
        assert_eq!(own.did(&event, Some(&found)), ours, "{key}");
        let mut merged = event;
        merge(&mut merged, &found, "https://tracker.test");
        assert_eq!(own.did(&merged, None), ours, "{key}, by the login");
    }
}

/// Tracker sends a call again for minutes: by then we may have changed the issue ourselves, nearer to its arrival.
#[tokio::test]
async fn a_late_call_of_somebodys_change_is_not_taken_for_ours() {
    let world = World::start().await;
    let own = own(&world.api).await.unwrap();
    world.tracker.change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.clock.pass(Duration::from_secs(50));
    world.tracker.change_status("TEST-1", "readyForTest", BOT).unwrap();
    let late = world.event("issue.status_changed", json!({}));
    let (late, found) = world.looked(late).await;
    assert!(!own.did(&late, Some(&found)));
    world.clock.pass(Duration::from_secs(100));
    let (later, found) = world.looked(world.event("issue.status_changed", json!({}))).await;
    assert!(own.did(&later, Some(&found)), "the other's change is too long ago");
}

/// What is remembered of people, fields and names outlives a change of the settings.
#[tokio::test]
async fn a_new_client_knows_what_the_old_one_knew() {
    let world = World::start().await;
    let known = Known::new(world.clock.clone());
    for _ in 0..2 {
        client(&world.clock, &world.tracker, known.clone()).free().user("ivan.ivanov").await.unwrap();
    }
    assert_eq!(world.tracker.requests("user"), 1);
    assert_eq!(format!("{:?}", world.client.token()), "Token(OAuth [secret])");
}

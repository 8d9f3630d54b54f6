//! Tracker's side, played by its simulator.

use campanile::simulator::{TrackerIssue, TrackerOptions, TrackerQueue, TrackerSimulator};
use serde_json::json;

use crate::harness::{HOOK_SECRET, LOOPBACK, Setup, World};

/// With the queue `TEST`, its issue `TEST-1`, and a trigger with the recommended body for every change of a status.
async fn tracker(world: &World) -> TrackerSimulator {
    let issue = TrackerIssue::new("TEST-1", "Кнопка \"Сохранить\"\nне работает");
    let options = TrackerOptions::new(world.clock.clone()).queue(TrackerQueue::new("TEST", "Тестовая")).issue(issue);
    let tracker = TrackerSimulator::start(LOOPBACK, options).await.unwrap();
    let body = r#"{"v": 1, "event": "status_changed", "key": "{{issue.key}}", "summary": {{issue.summary.json}},
        "author": {{issue.author.login.json}}, "actor": {{currentUser.login.json}}, "at": "{{currentDateTime.iso8601}}"}"#;
    let action = json!({"type": "Webhook", "endpoint": world.public_url("/hooks/tracker"), "method": "POST",
        "headers": {"X-Campanile-Token": HOOK_SECRET}, "authContext": {"type": "noauth"}, "body": body});
    let when = json!([{"type": "FieldChangedCondition", "field": "status"}]);
    tracker.make_trigger("TEST", &json!({"name": "Campanile", "conditions": when, "actions": [action]})).unwrap();
    tracker
}

#[tokio::test]
async fn a_change_of_status_reaches_both_messengers() {
    let world = Setup::default().start().await;
    let tracker = tracker(&world).await;
    tracker.comment("TEST-1", "so", "ivan.ivanov").unwrap();
    tracker.change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.until_posted(1, 1).await;
    for texts in [world.slack_texts(), world.telegram_texts()] {
        assert!(texts[0].contains("TEST-1") && texts[0].contains("Кнопка \"Сохранить\""), "{texts:?}");
        assert!(texts[0].contains("maria.petrova"), "{texts:?}");
    }
    tracker.wait_for_sent(1, 0).await;
    let log = tracker.log();
    assert_eq!((log.len(), &log[0]["response"]["statusCode"]), (1, &json!(202)), "the comment fired nothing");
}

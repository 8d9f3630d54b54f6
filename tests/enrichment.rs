//! What an event learns of its issue before it is routed.

use std::time::Duration;

use campanile::simulator::{Fault, TrackerQueue};
use serde_json::{Value, json};

use crate::harness::{Setup, TRACKER_TOKEN, World};

const ENRICHED: &str = "kind: tracker, secret: {env: HOOK}, enrich: true";

async fn start() -> World {
    Setup { source: ENRICHED, ..Setup::default().with_tracker().only_slack() }.start().await
}

impl World {
    /// Fires a trigger that says no more than what happened to which issue; gives its event.
    async fn told(&self, event: &str, key: &str, n: usize) -> i64 {
        let answer = self.trigger(&json!({"event": event, "key": key, "n": n})).await;
        assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &Value::Null), "{}", answer.text);
        answer.json()["event"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn a_body_with_a_key_alone_says_who_moved_what() {
    let world = start().await;
    world.tracker().change_status("TEST-1", "inProgress", "maria.petrova").unwrap();
    let id = world.told("status_changed", "TEST-1", 1).await;
    world.until_posted(1, 0).await;
    let text = world.slack_texts().remove(0);
    for told in ["TEST-1", "Summary of TEST-1", "Мария Петрова"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let document = world.event(id).await["document"].clone();
    assert_eq!(document["actor"]["login"], "maria.petrova");
    assert_eq!(
        (&document["changes"][0]["field"], &document["changes"][0]["to"]["key"]),
        (&json!("status"), &json!("inProgress"))
    );
    assert_eq!((&document["event"]["unenriched"], &document["body"]["n"]), (&json!(false), &json!(1)));
}

#[tokio::test]
async fn stored_and_answered_before_tracker_is_asked_and_routed_in_the_order_of_the_issue() {
    let world = start().await;
    world.tracker().fault(Fault::HangBefore.always().method("issue").on("TEST-1"));
    let first = world.told("updated", "TEST-1", 1).await;
    let second = world.told("updated", "TEST-1", 2).await;
    let other = world.told("updated", "TEST-2", 3).await;
    world.until_routed(other).await;
    assert!(world.event(first).await["deliveries"].is_null(), "Tracker hangs");
    let metrics = world.metrics().await;
    assert!(metrics.lines().any(|line| line.contains("\"to_route\"") && line.ends_with(" 2")), "{metrics}");
    world.tracker().clear();
    world.tracker().release();
    let rows =
        world.until_deliveries(|rows| rows.len() == 3 && rows.iter().all(|row| row["state"] == "delivered")).await;
    let events: Vec<_> = rows.iter().map(|row| row["event"].as_i64().unwrap()).collect();
    assert_eq!(events, [other, first, second]);
}

#[tokio::test]
async fn tracker_down_means_later_and_unenriched() {
    let world = start().await;
    world.tracker().fault(Fault::ResetBefore.always());
    let id = world.told("updated", "TEST-1", 1).await;
    let document = world.until_routed(id).await;
    assert_eq!(document["event"]["unenriched"], true);
    let waited = world.clock.now().duration_since(document["event"]["received_at"].as_str().unwrap().parse().unwrap());
    assert!((60..120).contains(&waited.as_secs()), "{waited:?}");
    world.until_posted(1, 0).await;
    assert!(world.metrics().await.contains("campanile_events_enriched_total{end=\"unenriched\"} 1"));
}

#[tokio::test]
async fn an_issue_that_is_not_there_goes_on_in_time() {
    let world = start().await;
    let id = world.told("updated", "TEST-99", 1).await;
    let document = world.until_routed(id).await;
    assert_eq!((&document["event"]["unenriched"], &document["issue"]["key"]), (&json!(true), &json!("TEST-99")));
}

#[tokio::test]
async fn a_moved_issue_has_its_new_key() {
    let mut setup = Setup { source: ENRICHED, ..Setup::default().with_tracker().only_slack() };
    setup.tracker = setup.tracker.map(|tracker| tracker.queue(TrackerQueue::new("OPS", "Смена")));
    let world = setup.start().await;
    let key = world.tracker().move_issue("TEST-1", "OPS", "ivan.ivanov").unwrap();
    let id = world.told("moved", "TEST-1", 1).await;
    let document = world.until_routed(id).await;
    assert_eq!((document["issue"]["key"].as_str(), &document["issue"]["queue"]["key"]), (Some(&*key), &json!("OPS")));
}

#[tokio::test]
async fn our_own_change_is_filtered() {
    let world = start().await;
    world.tracker().change_status("TEST-1", "inProgress", "campanile-bot").unwrap();
    let id = world.told("status_changed", "TEST-1", 1).await;
    world.until_routed(id).await;
    let rows = world.deliveries().await;
    assert_eq!((rows.len(), &rows[0]["state"]), (1, &json!("filtered")));
    assert_eq!(rows[0]["reason"], "Campanile itself did this");
    assert!(world.slack_texts().is_empty());
}

#[tokio::test]
async fn what_is_to_be_routed_outlives_a_restart() {
    let setup = Setup { source: ENRICHED, ..Setup::default().with_tracker().only_slack() };
    let mut world = setup.start().await;
    world.tracker().fault(Fault::ResetBefore.always());
    let id = world.told("updated", "TEST-1", 1).await;
    world.stop_app().await;
    world.tracker().clear();
    world.start_app().await;
    let document = world.until_routed(id).await;
    assert_eq!(document["event"]["unenriched"], false);
    world.until_posted(1, 0).await;
}

/// Nothing waits any more that would find out by itself.
#[tokio::test]
async fn a_hold_of_the_token_ends_though_nobody_asks_for_an_issue() {
    let world = start().await;
    world.tracker().expire_token(TRACKER_TOKEN);
    let id = world.told("updated", "TEST-1", 1).await;
    assert_eq!(world.until_routed(id).await["event"]["unenriched"], true);
    let held = async || world.http.get(&world.public_url("/readyz")).send().await.json()["held"].clone();
    assert_eq!(held().await, json!(["tracker"]));
    world.tracker().renew_token(TRACKER_TOKEN, "campanile-bot");
    for _ in 0..10_000 {
        if held().await == Value::Null {
            return;
        }
        world.clock.pass(Duration::from_millis(100));
    }
    panic!("it is held for ever");
}

//! An issue that is moved has a new key, and its links are still its own.

use std::time::Duration;

use campanile::simulator::{Fault, TrackerQueue};
use http::Method;
use serde_json::json;

use super::{TOKEN, by_token, driving, register};
use crate::harness::postgres::Database;
use crate::harness::{Setup, World, issue};

const ENRICHED: &str = "kind: tracker, secret: {env: HOOK}, enrich: true";

/// The bridge asks whether a linked issue was moved.
const ROUND: Duration = Duration::from_secs(5 * 60);

/// TEST-2 is linked to ops-slack, and moved. Its new key is told too.
async fn moved(setup: Setup) -> (World, String) {
    moved_by(Setup { source: ENRICHED, ..setup }).await
}

async fn moved_by(setup: Setup) -> (World, String) {
    let tracker = setup.tracker.map(|tracker| tracker.queue(TrackerQueue::new("OPS", "Смена")));
    let world = Setup { tracker, ..setup }.start().await;
    register(&world, |application| application.token(TOKEN));
    world.tracker().link("TEST-2", "campanile", "channel:ops-slack", "maria").unwrap();
    world.until_links(1).await;
    let key = world.tracker().move_issue("TEST-2", "OPS", "maria").unwrap();
    (world, key)
}

/// As people do it, in Tracker's pages: they know the new key alone.
async fn hears_and_ends(world: World, key: &str) {
    assert_eq!(world.trigger(&issue(key, "updated")).await.status, 202);
    world.until_posted(1, 0).await;
    assert!(world.slack_texts()[0].contains(key), "{:?}", world.slack_texts());
    world.tracker().unlink(key, "campanile", "channel:ops-slack", "maria").unwrap();
    world.until_links(0).await;
    assert_eq!(world.event_kinds().await, ["link.created", "issue.updated", "link.removed"]);
    for key in [key, "TEST-2"] {
        assert_eq!(world.trigger(&issue(key, "resolved")).await.status, 202);
    }
    world.until_routed(5).await;
    assert_eq!(world.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_channel_hears_of_an_issue_that_was_moved_until_the_link_is_removed() {
    let (world, key) = moved(by_token()).await;
    hears_and_ends(world, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_hears_of_an_issue_that_was_moved_on_postgresql_too() {
    let database = Database::new().await;
    let (world, key) = moved(Setup { store: format!("'{}'", database.url), ..by_token() }).await;
    hears_and_ends(world, &key).await;
}

/// Nobody asks Tracker for an event there.
#[tokio::test]
async fn where_the_source_does_not_enrich_a_channel_hears_of_a_moved_issue_after_minutes() {
    let (world, key) = moved_by(by_token()).await;
    world.tracker().fault(Fault::ResetBefore.always().method("issue"));
    world.clock.pass(ROUND);
    world.clock.pass(ROUND);
    world.tracker().clear();
    world.until_links_after(2, ROUND).await;
    for (event, key) in [("updated", &*key), ("updated", "TEST-2")] {
        assert_eq!(world.trigger(&issue(key, event)).await.json()["deliveries"], 1);
    }
    world.until_posted(2, 0).await;
    world.tracker().unlink(&key, "campanile", "channel:ops-slack", "maria").unwrap();
    world.until_links(0).await;
    world.clock.pass(ROUND);
    for key in [&*key, "TEST-2"] {
        assert_eq!(world.trigger(&issue(key, "resolved")).await.json()["deliveries"], 0);
    }
}

#[tokio::test]
async fn an_issue_that_is_linked_by_both_of_its_keys_is_linked_once() {
    let (world, key) = moved(by_token()).await;
    assert_eq!(world.create_links(&key, &["channel:ops-slack", "channel:ops-telegram"]).await.status, 200);
    assert_eq!(world.trigger(&issue(&key, "resolved")).await.status, 202);
    world.until_posted(1, 1).await;
    assert_eq!(world.until_all("delivered").await.len(), 2);
    assert_eq!(world.remove_link("channel:ops-slack", &key).await.status, 204);
    assert_eq!(world.links_listed().await, [(key, "channel:ops-telegram".into())]);
}

/// Nothing is linked by this key, and whether by another one nobody tells: it may be asked again.
#[tokio::test]
async fn a_removal_that_may_mean_a_moved_issue_is_500_while_tracker_is_away() {
    let (world, key) = moved(by_token()).await;
    world.tracker().fault(Fault::ResetBefore.always().method("issue"));
    let path = format!("/links/channel:ops-slack/{key}");
    let answer = driving(&world, world.link_call(Method::DELETE, &path, "")).await;
    let said = json!(["Tracker does not tell what the issue was called before it was moved; call again"]);
    assert_eq!((answer.status, &answer.json()["errorMessages"]), (500, &said));
    assert_eq!(world.links_listed().await.len(), 1);
    // Here nobody has to be asked.
    for (object, key) in [("channel:ops-slack", "TEST-2"), ("channel:ops-slack", &key), ("bench:TEST-2", &key)] {
        let answer = driving(&world, world.remove_link(object, key)).await;
        assert_eq!(answer.status, 204, "{object} {key}: {}", answer.text);
    }
    assert!(world.links_listed().await.is_empty());
}

#[tokio::test]
async fn a_removal_waits_a_second_for_a_tracker_that_hangs() {
    let (world, key) = moved(by_token()).await;
    world.tracker().fault(Fault::HangBefore.always().method("issue"));
    let asked_at = world.clock.now();
    assert_eq!(driving(&world, world.remove_link("channel:ops-slack", &key)).await.status, 500);
    let waited = world.clock.now().duration_since(asked_at).as_millis();
    assert!((1_000..2_000).contains(&waited), "{waited} ms of the clock that is driven");
    world.tracker().clear();
    world.tracker().release();
    assert_eq!(driving(&world, world.remove_link("channel:ops-slack", &key)).await.status, 204);
    assert!(world.links_listed().await.is_empty());
}

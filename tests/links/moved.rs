//! An issue that is moved has a new key, and its links are still its own.

use std::time::Duration;

use campanile::simulator::{Fault, TrackerQueue};
use http::Method;
use serde_json::{Value, json};

use super::{TOKEN, by_token, register};
use crate::harness::postgres::Database;
use crate::harness::{Setup, World, issue};

const ENRICHED: &str = "kind: tracker, secret: {env: HOOK}, enrich: true";

/// TEST-2 is linked, and moved. Its new key is told too.
async fn moved(setup: Setup) -> (World, String) {
    let tracker = setup.tracker.map(|tracker| tracker.queue(TrackerQueue::new("OPS", "Смена")));
    let world = Setup { tracker, ..setup }.start().await;
    register(&world, |application| application.token(TOKEN));
    world.tracker().link("TEST-2", "campanile", "channel:ops-slack", "maria").unwrap();
    world.until_links(1).await;
    let key = world.tracker().move_issue("TEST-2", "OPS", "maria").unwrap();
    (world, key)
}

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

#[tokio::test]
async fn a_channel_hears_of_a_moved_issue_also_where_the_source_enriches() {
    let (world, key) = moved(Setup { source: ENRICHED, ..by_token() }).await;
    hears_and_ends(world, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_hears_of_a_moved_issue_on_postgresql() {
    let database = Database::new().await;
    let (world, key) = moved(Setup { store: format!("'{}'", database.url), ..by_token() }).await;
    hears_and_ends(world, &key).await;
}

/// A branch keeps the key that the issue had when it began.
#[tokio::test]
async fn a_channel_that_is_linked_later_hears_of_the_old_key_too() {
    let (world, key) = moved(by_token()).await;
    assert_eq!(world.create_links(&key, &["channel:ops-telegram"]).await.status, 200);
    assert_eq!(world.trigger(&issue("TEST-2", "updated")).await.status, 202);
    world.until_posted(1, 1).await;
}

#[tokio::test]
async fn a_link_by_the_new_key_is_the_one_by_the_old() {
    let (world, key) = moved(by_token()).await;
    let post = world.create_links(&key, &["channel:ops-slack", "channel:ops-telegram"]).await;
    assert_eq!((post.status, &post.json()["events"]), (200, &json!([2])));
    assert_eq!(world.links_listed().await.len(), 2);
    assert_eq!(world.trigger(&issue(&key, "updated")).await.status, 202);
    world.until_posted(1, 1).await;
    assert_eq!(world.until_all("delivered").await.len(), 2);
}

/// Who is named by a route hears of it all the same, and soon.
#[tokio::test]
async fn a_tracker_that_hangs_delays_an_event_by_two_seconds() {
    let routes = "  - {name: all, when: '!has(link.key)', channels: [ops-telegram]}\n";
    let (world, key) = moved(by_token().routes(routes)).await;
    world.tracker().fault(Fault::HangBefore.always().method("issue"));
    let began = world.clock.now();
    assert_eq!(world.trigger(&issue(&key, "updated")).await.status, 202);
    world.until_posted(0, 1).await;
    let took = world.clock.now().duration_since(began).as_secs();
    assert!((2..10).contains(&took), "{took} s of the clock that is driven");
    assert_eq!(world.deliveries().await.len(), 1, "ops-slack may be linked to it: nobody tells");
    world.tracker().clear();
    world.tracker().release();
    assert_eq!(world.trigger(&issue(&key, "resolved")).await.status, 202);
    world.until_posted(1, 2).await;
}

/// Nothing is linked by this key, and whether by another one nobody tells: it may be asked again.
#[tokio::test]
async fn a_removal_that_may_mean_a_moved_issue_is_500_while_tracker_is_away() {
    let (world, key) = moved(by_token()).await;
    world.tracker().fault(Fault::ResetBefore.always().method("issue"));
    let path = format!("/links/channel:ops-slack/{key}");
    let answer = driving(&world, world.link_call(Method::DELETE, &path, "")).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(world.links_listed().await.len(), 1);
    let answer = driving(&world, world.remove_link("channel:ops-slack", "TEST-2")).await;
    assert_eq!(answer.status, 204, "the key that it was linked by: {}", answer.text);
    assert!(world.links_listed().await.is_empty());
}

/// The same while the clock goes on.
async fn driving<T>(world: &World, call: impl Future<Output = T>) -> T {
    tokio::pin!(call);
    for _ in 0..5_000 {
        match tokio::time::timeout(Duration::from_millis(4), &mut call).await {
            Ok(end) => return end,
            Err(_) => world.clock.pass(Duration::from_millis(100)),
        }
    }
    panic!("never answered");
}

/// Nothing is asked where nothing is linked, and of each issue once.
#[tokio::test]
async fn tracker_is_asked_once_for_the_keys_of_an_issue() {
    let world = by_token().start().await;
    let asked = |world: &World| world.tracker().arrivals().iter().filter(|call| call.method == "issue").count();
    assert_eq!(world.trigger(&issue("TEST-2", "updated")).await.json()["deliveries"], 0);
    assert_eq!(asked(&world), 0);
    assert_eq!(world.create_links("TEST-3", &["channel:ops-slack"]).await.status, 200);
    let before = asked(&world);
    for event in ["updated", "resolved", "closed"] {
        world.trigger(&issue("TEST-1", event)).await;
    }
    world.until_routed(5).await;
    assert_eq!(asked(&world) - before, 1);
    assert_eq!(world.deliveries().await, Vec::<Value>::new());
}

//! How fast Tracker is asked, over all lanes and replicas, and that a stop waits for no line of questions.

use std::time::Duration;

use campanile::simulator::{TrackerIssue, TrackerSimulator};
use serde_json::{Value, json};

use crate::harness::postgres::Database;
use crate::harness::{HOOK_SECRET, Setup, World};

/// Of the configuration where it says nothing else.
const A_SECOND: usize = 5;
const FINE: Duration = Duration::from_millis(20);

/// A Tracker that refuses a sixth call in a second, with so many issues; each event asks and acts.
fn setup(issues: usize) -> Setup {
    let routes = "  - {name: both, channels: [ops-slack], issue: {transition: readyForTest}}\n";
    let setup = Setup { source: "kind: tracker, secret: {env: HOOK}, enrich: true", ..Setup::default().with_tracker() };
    let more = (4..=issues).map(|n| TrackerIssue::new(format!("TEST-{n}"), format!("Summary of TEST-{n}")));
    let tracker = setup.tracker.clone().unwrap().pace(A_SECOND as u32, true);
    Setup { tracker: Some(more.fold(tracker, |tracker, issue| tracker.issue(issue))), ..setup }.routes(routes)
}

/// Moves the clock in fine steps until all deliveries have ended well.
async fn drained(world: &World, deliveries: usize) {
    for _ in 0..100_000 {
        if world.figure(r#"campanile_ledger_planned{part="delivered"}"#).await == deliveries as f64 {
            return;
        }
        world.clock.pass(FINE);
    }
    panic!("never came: {:#?}", world.deliveries().await);
}

/// No second had more calls than the rate, and the simulator refused none.
fn kept_the_rate(tracker: &TrackerSimulator) {
    let times: Vec<i64> = tracker.arrivals().iter().map(|arrival| arrival.at.as_millisecond()).collect();
    assert!(times.len() > 4 * A_SECOND, "{times:?}");
    let crowded = times.windows(A_SECOND + 1).find(|calls| calls[A_SECOND] - calls[0] < 1_000);
    assert_eq!(crowded, None, "{times:?}");
    assert_eq!(tracker.counts().rate_limited, 0);
}

#[tokio::test]
async fn five_calls_a_second_over_all_lanes() {
    let world = setup(6).start().await;
    for n in 1..=6 {
        world.accepted(&json!({"event": "updated", "key": format!("TEST-{n}")})).await;
    }
    drained(&world, 12).await;
    kept_the_rate(world.tracker());
}

/// Both share the token and its rate, and each event is routed by one of them, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_rate_and_route_once() {
    let database = Database::new().await;
    let world = Setup { store: database.url.clone(), ..setup(8) }.start().await;
    let other = world.another_app().await;
    world.until_figure("campanile_replicas", 2.0, FINE).await;
    for n in 1..=8 {
        let at = if n % 2 == 0 { other.public.to_string() } else { world.public_url("")[7..].to_owned() };
        let call = world.http.post(&format!("http://{at}/hooks/tracker"));
        let call = call.header("authorization", format!("Bearer {HOOK_SECRET}"));
        let answer = call.json(&json!({"event": "updated", "key": format!("TEST-{n}")})).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    drained(&world, 16).await;
    kept_the_rate(world.tracker());
    let texts = world.slack_texts();
    let said = |n: usize| texts.iter().filter(|text| text.contains(&format!("TEST-{n}"))).count();
    assert!((1..=8).all(|n| said(n) == 1), "{texts:?}");
    assert_eq!(world.tracker().requests("execute"), 8);
}

/// Who stops does not wait until all that stand in the line have asked and acted; the next start goes on with them.
#[tokio::test]
async fn a_stop_waits_for_no_line_of_calls() {
    const ISSUES: usize = 16;
    let slow = ", pace: {per_second: 2}";
    let acting = Setup { source: "kind: tracker, secret: {env: HOOK}", tracker_keys: slow, ..setup(ISSUES) };
    let asking = Setup { tracker_keys: slow, ..setup(ISSUES).only_slack() };
    for (setup, within) in [(asking, 6), (acting, 9)] {
        let mut world = setup.start().await;
        for n in 1..=ISSUES {
            world.accepted(&json!({"event": "updated", "key": format!("TEST-{n}")})).await;
        }
        while world.tracker().arrivals().len() < 3 {
            world.clock.pass(FINE);
            tokio::task::yield_now().await;
        }
        let from = world.clock.now();
        let in_time = world.stop_app().await;
        let took = world.clock.now().duration_since(from);
        assert!(in_time && took.as_secs() < within, "{took:?} of {within} s");
        world.start_app().await;
        let all = |rows: &[Value]| rows.len() >= ISSUES && rows.iter().all(|row| row["state"] == "delivered");
        world.until_deliveries(all).await;
        assert_eq!(world.slack_texts().len(), ISSUES);
    }
}

//! Replicas whose clocks differ by minutes.

use std::time::{Duration, Instant};

use campanile::simulator::Fault;

use super::{Fleet, LANES, until};
use crate::harness::child::preloaded;
use crate::harness::numbered_to;
use crate::harness::postgres::Database;

/// The second replica's clock is ten minutes ahead of the first's, which is right.
async fn fleet() -> (Fleet, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let wrong_clock = preloaded("wrong_clock", folder.path());
    let fleet = Fleet::start(Database::new().await, 2, |replica, bridge| {
        bridge.env("LD_PRELOAD", wrong_clock.to_str().unwrap());
        bridge.env("WRONG_CLOCK", &(600 * replica).to_string());
    });
    (fleet.await, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_comes_again_to_a_replica_whose_clock_is_ahead_is_the_same_call() {
    let (fleet, _folder) = fleet().await;
    for n in 0..LANES {
        let body = numbered_to(n, n);
        assert_eq!(fleet.trigger(n % 2, &body).await.status, 202);
        assert_eq!(fleet.trigger((n + 1) % 2, &body).await.status, 200, "call {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_says_that_it_is_late_because_a_clock_is_wrong() {
    let (fleet, _folder) = fleet().await;
    fleet.taken(0..LANES * 4).await;
    fleet.all_came_once(LANES * 4).await;
    for post in (0..LANES).flat_map(|lane| fleet.slack.posted(&format!("C0000{lane}"))) {
        assert!(!post.seen.text.contains("delayed"), "{}", post.seen.text);
    }
}

/// A pause that one replica was told is as long for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_lasts_as_long_as_the_messenger_said_whoever_heard_of_it() {
    let (fleet, _folder) = fleet().await;
    fleet.taken(0..LANES).await;
    fleet.all_came_once(LANES).await;
    // Slack pauses the whole account: whoever hears it tells the others.
    fleet.slack.fault(Fault::rate_limited(3).once());
    let began = Instant::now();
    assert_eq!(fleet.trigger(0, &numbered_to(0, LANES)).await.status, 202);
    for replica in &fleet.replicas {
        let url = format!("http://{}/metrics", replica.admin);
        let heard =
            async || fleet.client.get(&url).send().await.text.contains("campanile_account_held{account=\"slack\"}");
        until("both have heard of the pause", heard).await;
    }
    for n in LANES + 1..LANES * 2 {
        assert_eq!(fleet.trigger(0, &numbered_to(n % LANES, n)).await.status, 202);
    }
    fleet.all_came_once(LANES * 2).await;
    let calls = fleet.slack.arrivals();
    let paused = calls[LANES].at;
    for call in &calls[LANES + 1..] {
        let after = call.at.duration_since(paused).unsigned_abs();
        assert!(after >= Duration::from_millis(2_900), "a call {after:?} after a pause of 3 s was named");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "ten minutes are not meant");
}

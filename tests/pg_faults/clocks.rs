//! Replicas whose clocks differ by minutes.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use campanile::clock::Clock;
use campanile::simulator::Fault;

use super::{Fleet, LANES, PATIENCE, until};
use crate::harness::child::preloaded;
use crate::harness::postgres::{Database, connect};
use crate::harness::server::{Server, Stop};
use crate::harness::{Setup, numbered_to};

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

/// One of them moves its end on, for all; the others read it before they know, and know after they have read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_ends_when_the_messenger_said_although_the_time_went_back() {
    const PAUSE: u64 = 12;
    let (_folder, mut server) = server_that_is_ahead("0");
    let database = Database::on(&server.url()).await;
    let fleet = Fleet::start_as(Setup::on(Clock::machine()), database, 3, |_, _| {}).await;
    fleet.taken(0..LANES).await;
    fleet.all_came_once(LANES).await;
    fleet.slack.fault(Fault::rate_limited(PAUSE).once());
    assert_eq!(fleet.trigger(0, &numbered_to(0, LANES)).await.status, 202);
    let db = connect(&fleet.database.url).await;
    let pauses = "select count(*) from accounts";
    until("the account is paused", async || db.query_one(pauses, &[]).await.unwrap().get::<_, i64>(0) == 1).await;

    server.stop(Stop::Immediate);
    server.env("WRONG_CLOCK", "-3600");
    server.launch();
    for replica in 0..3 {
        fleet.until_ready_is(replica, 200).await;
    }
    fleet.taken(LANES + 1..LANES * 2).await;
    fleet.all_came_once(LANES * 2).await;
    let calls = fleet.slack.arrivals();
    for call in &calls[LANES + 1..] {
        let after = call.at.duration_since(calls[LANES].at).as_secs_f64();
        assert!(after > PAUSE as f64 - 0.1, "a call {after} s after a pause of {PAUSE} s was named");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_time_was_an_hour_ahead_delays_nothing_by_an_hour() {
    time_goes_back("3600", "0").await;
}

/// Until then all clocks agreed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_time_goes_back_by_an_hour_delays_nothing_by_an_hour() {
    time_goes_back("0", "-3600").await;
}

/// By so many seconds.
fn server_that_is_ahead(by: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap(); // the server is another user
    let wrong_clock = preloaded("wrong_clock", folder.path());
    let env = [("LD_PRELOAD", wrong_clock.to_str().unwrap()), ("WRONG_CLOCK", by)];
    let server = Server::start_with(&["fsync=on"], &env);
    (folder, server)
}

/// As at a fail-over between machines with different clocks: what waited for its pace, after a failure, for a pause or after
/// a start waits no longer for it. In seconds.
async fn time_goes_back(ahead: &str, then: &str) {
    let (_folder, mut server) = server_that_is_ahead(ahead);
    let setup = Setup { slack_pace: "default", ..Setup::on(Clock::machine()) };
    let mut fleet = Fleet::start_as(setup, Database::on(&server.url()).await, 1, |_, _| {}).await;
    fleet.taken(0..LANES * 3).await;
    fleet.all_came_once(LANES * 3).await;
    fleet.slack.fault(Fault::Json500.times(LANES as u32 * 2));
    fleet.taken(LANES * 3..LANES * 4).await;
    let failed = fleet.slack.wait_for_calls(LANES as u64 * 4);
    tokio::time::timeout(PATIENCE, failed).await.expect("each lane's next message fails");
    assert!(fleet.replicas[0].terminate().await.success());
    fleet.slack.fault(Fault::rate_limited(5).once());
    fleet.replicas[0].start().await;
    let db = connect(&fleet.database.url).await;
    let pauses = "select count(*) from accounts";
    until("the account is paused", async || db.query_one(pauses, &[]).await.unwrap().get::<_, i64>(0) == 1).await;

    server.stop(Stop::Immediate);
    server.env("WRONG_CLOCK", then);
    server.launch();
    fleet.until_ready_is(0, 200).await;
    fleet.all_came_once(LANES * 4).await;
    fleet.taken(LANES * 4..LANES * 5).await;
    fleet.all_came_once(LANES * 5).await;
    let db = connect(&fleet.database.url).await;
    assert_eq!(db.query_one(pauses, &[]).await.unwrap().get::<_, i64>(0), 0, "the pause has ended");
    assert!(fleet.replicas[0].log().contains("the database's time went back"));
}

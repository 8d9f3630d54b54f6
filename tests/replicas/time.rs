//! A replica that has not yet seen the database's time go back by an hour: its clock is an hour ahead.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::outbox::{Hold, Outbox};

use super::{PATIENCE, Replica, place};
use crate::harness::postgres::{Database, connect};

const HOUR: i64 = 3_600_000;
/// Of a pause that was just named, in milliseconds.
const LEFT: std::ops::Range<i64> = 50_000..61_000;

async fn replica(database: &Database, seed: u64) -> Replica {
    Replica::start_by(Clock::machine(), database, seed, vec![place(0)]).await
}

fn pause(clock: &Clock) -> Hold {
    Hold { until: clock.now_ms() + 60_000, reason: "ratelimited".into(), needs_a_person: false }
}

fn goes_ahead(clock: &Clock) {
    clock.agree(clock.now_ms() + HOUR, clock.elapsed());
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let come = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("{what}"));
}

const LEFT_IN_TABLE: &str =
    "select (hold_until - extract(epoch from clock_timestamp()) * 1000)::bigint from accounts where name = 'slack'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_how_long_a_pause_lasts_and_not_when_it_ends() {
    let database = Database::new().await;
    let (one, other) = (replica(&database, 1).await, replica(&database, 2).await);
    let hears = |replica: &Replica| replica.outbox.fleet().is_some_and(|fleet| fleet.replicas == 2 && fleet.wakes);
    until("they see and hear each other", async || hears(&one) && hears(&other)).await;
    goes_ahead(&other.clock);
    one.outbox.hold_account("slack", Some(pause(&one.clock))).await.unwrap();
    until("it hears", async || other.outbox.account_hold("slack").is_some()).await;
    let left = other.outbox.account_hold("slack").unwrap().until - other.clock.now_ms();
    assert!(LEFT.contains(&left), "{left} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_how_long_a_pause_lasts_and_not_when_it_ends() {
    let database = Database::new().await;
    let one = replica(&database, 1).await;
    goes_ahead(&one.clock);
    one.outbox.hold_account("slack", Some(pause(&one.clock))).await.unwrap();
    let left: i64 = connect(&database.url).await.query_one(LEFT_IN_TABLE, &[]).await.unwrap().get(0);
    assert!(LEFT.contains(&left), "{left} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pauses_of_all_are_brought_forward_once() {
    let database = Database::new().await;
    let (one, other) = (replica(&database, 1).await, replica(&database, 2).await);
    one.outbox.hold_account("slack", Some(pause(&one.clock))).await.unwrap();
    until("it hears", async || other.outbox.account_hold("slack").is_some()).await;
    let db = connect(&database.url).await;
    // As both had it, an hour ago by the database's time.
    let ahead = "update clock set latest = latest + 3600000; update accounts set hold_until = hold_until + 3600000";
    db.batch_execute(ahead).await.unwrap();
    goes_ahead(&one.clock);
    goes_ahead(&other.clock);
    let has_agreed = |replica: &Replica| (replica.clock.now_ms() - Clock::machine().now_ms()).abs() < HOUR / 2;
    until("both see it", async || has_agreed(&one) && has_agreed(&other)).await;
    let left: i64 = db.query_one(LEFT_IN_TABLE, &[]).await.unwrap().get(0);
    assert!(LEFT.contains(&left), "{left} ms in the table");
    for replica in [&one, &other] {
        let left = || replica.outbox.account_hold("slack").map(|hold| hold.until - replica.clock.now_ms());
        until("it reads it", async || left().is_some_and(|left| LEFT.contains(&left))).await;
    }
}

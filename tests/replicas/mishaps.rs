//! What a lost answer, a lost lease and a replica that stands still leave behind.

use std::time::Duration;

use campanile::outbox::{Outbox, Slot};
use tokio::task::JoinSet;

use super::{LANES, PATIENCE, Replica, STEP, two};
use crate::harness::postgres::{Database, connect};

/// What a claim of all lanes leaves whose answer was lost.
const CLAIMED: &str = "update conversations set lease = (select max(id) from leases)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_lost_is_made_again() {
    let database = Database::new().await;
    let one = Replica::start(&database, Duration::ZERO).await;
    connect(&database.url).await.batch_execute(CLAIMED).await.unwrap();
    one.accept(1, 0..LANES).await;
    let turns = one.claimed(LANES).await;
    one.settle(&turns[0]).await.unwrap();
}

/// As when giving them up failed. Nobody else may claim them, and nobody says that something is pending there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_were_not_given_up_after_all_are_served() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    one.accept(1, 0..LANES).await;
    connect(&database.url).await.batch_execute(CLAIMED).await.unwrap();
    let keeper_looks = async {
        loop {
            one.clock.pass(STEP);
            other.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let all = async {
        let mut turns = Vec::new();
        while turns.len() < LANES {
            turns.extend(one.outbox.claim("slack", LANES).await.unwrap());
            turns.extend(other.outbox.claim("slack", LANES).await.unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        end = tokio::time::timeout(PATIENCE, all) => end.expect("every lane is served"),
        () = keeper_looks => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_lease_begins_one_and_no_more() {
    let database = Database::new().await;
    let one = Replica::start(&database, Duration::ZERO).await;
    let db = connect(&database.url).await;
    db.batch_execute("delete from leases").await.unwrap();
    one.clock.pass(Duration::from_secs(9)); // the keeper wakes as well
    let mut claims = JoinSet::new();
    for _ in 0..6 {
        let outbox = one.outbox.clone();
        claims.spawn(async move { outbox.claim("slack", LANES).await.unwrap() });
    }
    claims.join_all().await;
    let begun: i64 = db.query_one("select count(*) from leases", &[]).await.unwrap().get(0);
    assert_eq!(begun, 1);
}

/// It may have sent by them until the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_knows_when_a_dead_replicas_slots_were_used() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    let (_, others) = other.outbox.trade_slots("slack", 4, Vec::new(), 2).await.unwrap();
    assert_eq!(others.iter().map(|slot| slot.free_at).collect::<Vec<_>>(), [0, 0]);
    let ended = async {
        while one.outbox.fleet().is_some_and(|fleet| fleet.replicas == 2) {
            one.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("its lease is ended");
    let (_, all) = one.outbox.trade_slots("slack", 4, Vec::new(), 4).await.unwrap();
    let mut free_at: Vec<i64> = all.iter().map(|slot| slot.free_at).collect();
    free_at.sort();
    assert_eq!(free_at, [0, 0, Slot::UNKNOWN, Slot::UNKNOWN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_still_while_he_ends_a_dead_lease_holds_nobody_up() {
    let database = Database::new().await;
    let (one, _dead) = two(&database).await;
    one.accept(1, 0..LANES).await;
    let turn = one.claimed(1).await.remove(0);
    let mut db = connect(&database.url).await;
    let stands_still = db.transaction().await.unwrap();
    let dead =
        "select id from leases where id not in (select lease from conversations where lease is not null) for update";
    assert_eq!(stands_still.query(dead, &[]).await.unwrap().len(), 1);
    let db = connect(&database.url).await;
    let beats = "select max(beat) from leases where id in (select lease from conversations)";
    for _ in 0..8 {
        let before: i64 = db.query_one(beats, &[]).await.unwrap().get(0);
        one.clock.pass(STEP);
        let renewed = async {
            while db.query_one(beats, &[]).await.unwrap().get::<_, i64>(0) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, renewed).await.expect("it renews its own lease all the time");
    }
    assert!(one.outbox.holds(&turn));
}

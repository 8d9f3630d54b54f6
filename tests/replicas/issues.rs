//! Lanes of issues, which no configuration names, on several replicas.

use std::time::Duration;

use campanile::delivery::{Action, Duty, Planned};
use campanile::outbox::{Arrival, Course, IssueLane, Outbox};

use super::{PATIENCE, Replica, STEP, arrival, two};
use crate::harness::postgres::Database;

fn acting(n: u8, now: i64, issue: &str) -> Arrival {
    let action = Action::Transition { to: "readyForTest".into(), by: None, fields: Default::default() };
    let duty = Duty::Action { issue: issue.into(), action };
    let planned = Planned { duty, route: "accepted".into(), give_up_at: now + 3_600_000, filtered: None };
    Arrival { course: Course::Routed(vec![planned]), issue: Some(issue.into()), ..arrival(n, now, 0..0) }
}

impl Replica {
    /// Claims lanes of issues and settles what they have until so many deliveries have ended.
    async fn act(&self, ended: usize) {
        let mut done = 0;
        let all = async {
            while done < ended {
                for turn in self.outbox.claim(IssueLane::TRACKER, 8).await.unwrap() {
                    for head in self.outbox.heads(&turn, 8).await.unwrap() {
                        self.delivered(&turn, &head).await.unwrap();
                        done += 1;
                    }
                    self.outbox.release(turn, campanile::outbox::Until::Now);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("they are found");
    }
}

/// Whoever has made it pending serves a lane that nobody holds, whichever replica comes first for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_does_what_it_accepted() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    for n in 0..8 {
        one.outbox.accept(acting(n, one.clock.now_ms(), &format!("TEST-{n}"))).await.unwrap();
    }
    one.act(8).await;
    other.outbox.accept(acting(9, other.clock.now_ms(), "TEST-9")).await.unwrap();
    other.act(1).await;
}

/// The one that holds the lane hears of what others make pending there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_accepts_for_a_held_lane_is_done_by_its_holder() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    one.outbox.accept(acting(1, one.clock.now_ms(), "TEST-1")).await.unwrap();
    let turn = loop {
        if let Some(turn) = one.outbox.claim(IssueLane::TRACKER, 8).await.unwrap().pop() {
            break turn;
        }
    };
    other.outbox.accept(acting(2, other.clock.now_ms(), "TEST-1")).await.unwrap();
    assert!(other.outbox.claim(IssueLane::TRACKER, 8).await.unwrap().is_empty(), "one at a time");
    for head in one.outbox.heads(&turn, 8).await.unwrap() {
        one.delivered(&turn, &head).await.unwrap();
    }
    one.outbox.release(turn, campanile::outbox::Until::Now);
    let ledger = one.outbox.gauges().await.unwrap().ledger;
    assert_eq!((ledger.delivered, ledger.pending), (2, 0));
}

/// It never saw the lane: it looks where something is pending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_finds_the_lanes_of_one_that_died() {
    let database = Database::new().await;
    let one = Replica::start(&database, Duration::ZERO).await;
    for n in 0..3 {
        one.outbox.accept(acting(n, one.clock.now_ms(), &format!("TEST-{n}"))).await.unwrap();
    }
    let held = loop {
        let turns = one.outbox.claim(IssueLane::TRACKER, 1).await.unwrap();
        if !turns.is_empty() {
            break turns;
        }
    };
    let other = Replica::start(&database, Duration::from_secs(180)).await;
    other.outbox.end_others().await.unwrap(); // it was watched long enough
    let looking = async {
        loop {
            other.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = other.act(3) => {}
        () = looking => {}
    }
    assert!(one.outbox.heads(&held[0], 1).await.unwrap_or_default().is_empty(), "its lease has ended");
}

//! A replica that is suspended (SIGSTOP, a paused machine) for longer than its lease lives.

use campanile::simulator::Fault;

use super::{Fleet, LANES, PATIENCE, until};
use crate::harness::postgres::{Database, connect};
use std::collections::HashSet;

const EACH: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_suspended_makes_at_most_one_call_in_a_lane_and_settles_nothing() {
    let fleet = Fleet::start(Database::new().await, 2, |_, _| {}).await;
    let db = connect(&fleet.database.url).await;
    let leases = "select count(*) from leases";
    // Each lane has a message with Slack and two more in the hands of its holder.
    fleet.slack.fault(Fault::HangBefore.times(LANES as u32));
    fleet.taken(0..LANES * EACH).await;
    let hang = fleet.slack.wait_for_calls(LANES as u64);
    tokio::time::timeout(PATIENCE, hang).await.expect("each lane has a call on its way");
    let held = *fleet.calls().get(&0).expect("both serve lanes");
    fleet.replicas[0].suspend();
    fleet.slack.release();
    // What it sent came, its end is not settled, and the other sends it again with all the rest.
    fleet.until_posted(LANES * EACH + held).await;
    fleet.at_rest().await;
    assert_eq!(fleet.calls()[&0], held);
    let marked = "select count(*) from deliveries where unclear";
    assert_eq!(db.query_one(marked, &[]).await.unwrap().get::<_, i64>(0), held as i64);

    let before: i64 = db.query_one("select max(id) from leases", &[]).await.unwrap().get(0);
    fleet.replicas[0].resume();
    until("it begins another lease", async || {
        db.query_one("select max(id) from leases", &[]).await.unwrap().get::<_, i64>(0) > before
    })
    .await;
    until("what it held has ended", async || fleet.replicas[0].log().matches("could not be settled").count() >= held)
        .await;
    assert_eq!(fleet.calls()[&0], held, "nothing more was sent under the lost lease");
    assert_eq!(db.query_one(leases, &[]).await.unwrap().get::<_, i64>(0), 2, "one for each");
    fleet.taken(LANES * EACH..LANES * EACH * 2).await;
    fleet.until_posted(LANES * EACH * 2 + held).await;
    fleet.at_rest().await;
    for (lane, came) in fleet.came().into_iter().enumerate() {
        let mut once = HashSet::new();
        let firsts: Vec<usize> = came.iter().copied().filter(|n| once.insert(*n)).collect();
        assert_eq!(firsts, (lane..LANES * EACH * 2).step_by(LANES).collect::<Vec<_>>());
        assert!(came.len() <= firsts.len() + 1, "lane {lane}: {came:?}");
    }
}

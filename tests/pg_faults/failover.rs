//! The primary is gone, and the standby takes its place: at another address of the URL.

use super::{Fleet, LANES, PATIENCE, until};
use crate::harness::numbered_to;
use crate::harness::postgres::{Database, connect};
use crate::harness::server::{Server, Stop};

/// What is committed on it from now on is on its standby too.
async fn synchronous(primary: &Server) {
    let db = connect(&primary.url()).await;
    db.batch_execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    db.batch_execute("select pg_reload_conf()").await.unwrap();
    let follows = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    until("the standby follows", async || db.query_one(follows, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn after_a_fail_over_replicas_go_on_at_the_other_address_by_themselves() {
    let mut primary = Server::start(&["fsync=on"]);
    let database = Database::on(&primary.url()).await;
    let standby = primary.standby(&["fsync=on"]);
    synchronous(&primary).await;
    let (at, name) =
        (|server: &Server| server.url().replace("/postgres", ""), database.url.rsplit_once('/').unwrap().1);
    let host = at(&standby).replace("postgres://campanile@", "");
    let both = Database { url: format!("{},{host}/{name}", at(&primary)) };
    let fleet = Fleet::start(both, 2, |_, _| {}).await;
    fleet.taken(0..LANES).await;

    let calls = fleet.taken(LANES..LANES * 20);
    let fails_over = async {
        let some = fleet.slack.wait_for_posts(LANES as u64 * 4);
        tokio::time::timeout(PATIENCE, some).await.expect("calls are on their way");
        tokio::task::block_in_place(|| primary.stop(Stop::Immediate));
        for replica in 0..2 {
            assert_eq!(fleet.trigger(replica, &numbered_to(0, LANES * 20)).await.status, 500);
            fleet.until_ready_is(replica, 503).await;
        }
        connect(&standby.url()).await.batch_execute("select pg_promote()").await.unwrap();
        for replica in 0..2 {
            fleet.until_ready_is(replica, 200).await;
        }
    };
    tokio::join!(calls, fails_over);
    fleet.taken(LANES * 20..LANES * 22).await;
    fleet.all_came_once(LANES * 22).await;
}

//! A store that an earlier version wrote is brought up to date when the server starts, and what waits in it goes out.

use campanile::clock::Clock;
use campanile::outbox::{Outbox, Postgres, PostgresOptions};
use refinery_core::Migration;
use serde_json::json;

use crate::harness::postgres::{Database, connect};
use crate::harness::{SLACK, Setup};

/// As released with the first version.
const SQLITE: [&str; 2] = [
    include_str!("../src/outbox/migrations/0001_outbox.sql"),
    include_str!("../src/outbox/migrations/0002_threads.sql"),
];
const POSTGRES: &str = include_str!("../src/outbox/postgres/migrations/V1__outbox.sql");
/// When the event came that waits in the old store.
const THEN: &str = "2026-05-12T09:10:00Z";

#[tokio::test]
async fn what_waits_in_an_sqlite_file_of_the_first_version_goes_out() {
    let mut world = Setup::default().only_slack().start().await;
    world.stop_app().await;
    let file = world.folder.path().join("data/campanile.db");
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    let db = rusqlite::Connection::open(&file).unwrap();
    SQLITE.iter().for_each(|version| db.execute_batch(version).unwrap());
    db.pragma_update(None, "user_version", SQLITE.len() as i64).unwrap();
    db.pragma_update(None, "application_id", 0x4361_6d70).unwrap();
    let document = json!({
        "event": {"kind": "issue.created", "source": "tracker", "received_at": THEN, "reading": "strict", "degraded": false},
        "issue": {"key": "TEST-7", "summary": "written before"}, "body": {},
    });
    let at = THEN.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    db.execute_batch(&format!(
        "insert into lanes (id, messenger, account, key) values (1, 'slack', 'slack', 'slack:{SLACK}');
         insert into channels (id, name, lane) values (1, 'ops-slack', 1);
         insert into events values (1, 'tracker', 'issue.created', 'TEST-7', {at}, 1, 1, zeroblob(16), {at}, '{document}');
         insert into deliveries (id, event, lane, channel, planned_at, give_up_at, settled_at, route, template)
             values (1, 1, 1, 1, {at}, {at} + 3600000, {at}, 'route 1', 'issue-created');
         update ledger set last_event = 1, last_delivery = 1, received = 1, routed = 1, planned = 1, pending = 1;"
    ))
    .unwrap();
    drop(db);
    world.start_app().await;
    world.until_posted(1, 0).await;
    let text = world.slack_texts().remove(0);
    assert!(text.contains("TEST-7") && text.contains("written before"), "{text}");
    world.until_all("delivered").await;
}

/// A replica of the version before holds what the migration wants next, and wants what it has: the migration gives way, and
/// is made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_meets_a_running_replica_in_a_deadlock_is_made_again() {
    let database = Database::new().await;
    let mut replica = connect(&database.url).await;
    replica.batch_execute(POSTGRES).await.unwrap();
    let checksum = Migration::unapplied("V1__outbox", POSTGRES).unwrap().checksum().to_string();
    let history = format!(
        "create table campanile_migrations (version int4 primary key, name varchar(255), applied_on varchar(255),
                                            checksum varchar(255));
         insert into campanile_migrations values (1, 'outbox', '2026-05-12T09:10:00Z', '{checksum}')"
    );
    replica.batch_execute(&history).await.unwrap();
    let running = replica.transaction().await.unwrap();
    running.batch_execute("lock table events in access share mode").await.unwrap();

    let options = PostgresOptions { url: database.url(), max_pending: i64::MAX };
    let opening = tokio::spawn(async move {
        Postgres::open(options, Clock::machine(), &mut fastrand::Rng::with_seed(1))
            .await
            .map_err(|error| error.to_string())
    });
    let look = connect(&database.url).await;
    let waits = "select exists (select from pg_locks where relation = 'events'::regclass and not granted)";
    while !look.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(!opening.is_finished(), "{:?}", opening.await.unwrap().err());
        tokio::task::yield_now().await;
    }
    // The migration has waited for longer, so that it is the one that PostgreSQL ends.
    running.batch_execute("lock table deliveries in access share mode").await.unwrap();
    running.commit().await.unwrap();
    let outbox = opening.await.unwrap().unwrap();
    outbox.close().await;
    let versions = look.query_one("select count(*) from campanile_migrations", &[]).await.unwrap();
    assert!(versions.get::<_, i64>(0) > 1);
}

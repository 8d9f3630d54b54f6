//! A rolling upgrade: the schema is of the next version, and replicas of this one run on.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::outbox::{Filter, Outbox, Postgres, PostgresOptions, Replay, State};

use super::{LANES, Replica, START, arrival};
use crate::harness::postgres::{Database, connect};

/// As a migration may: only what has a default is added, to every table.
const NEXT_VERSION: &str = "do $$ declare name text; begin
     for name in select relname from pg_class where relkind = 'r' and relnamespace = current_schema::regnamespace loop
         execute format('alter table %I add column later text not null default ''x''', name);
     end loop; end $$;
     create table later (id bigint primary key);
     insert into campanile_migrations (version, name, applied_on, checksum, later)
     select version + 1, 'later', applied_on, checksum, '' from campanile_migrations order by version desc limit 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_run_go_on_with_the_schema_of_the_next_version_and_those_that_start_refuse_it() {
    let database = Database::new().await;
    let one = Replica::start(&database, Duration::ZERO).await;
    one.accept(1, 0..LANES).await;
    let turns = one.claimed(LANES).await;
    one.settle(&turns[0]).await.unwrap();

    connect(&database.url).await.batch_execute(NEXT_VERSION).await.unwrap();
    // What was begun before it ends, and all goes on: calls, turns, holds, slots, listings, retention.
    for turn in &turns[1..] {
        one.settle(turn).await.unwrap();
    }
    one.accept(2, 0..LANES).await;
    for turn in &turns {
        one.settle(turn).await.unwrap();
    }
    one.outbox.hold_account("slack", None).await.unwrap();
    one.outbox.remember_move(-1, -2).await.unwrap();
    assert_eq!(one.outbox.trade_slots("slack", 2, Vec::new(), 2).await.unwrap().1.len(), 2);
    assert_eq!(one.outbox.replay(Replay::Channel("c0".into()), START).await.unwrap(), 0);
    let rows = one.outbox.deliveries(Filter { limit: 100, ..Filter::default() }).await.unwrap();
    assert_eq!(rows.iter().filter(|row| row.state == State::Delivered).count(), 2 * LANES);
    let gauges = one.outbox.gauges().await.unwrap();
    assert_eq!((gauges.ledger.delivered, gauges.ledger.pending), (2 * LANES as i64, 0));
    one.outbox.expire(START, START).await.unwrap();

    let clock = Clock::held(jiff::Timestamp::from_millisecond(START).unwrap());
    let options = PostgresOptions { url: database.url(), max_pending: i64::MAX };
    let refused = Postgres::open(options, clock, &mut fastrand::Rng::with_seed(8)).await.err().unwrap().to_string();
    let newest = connect(&database.url).await.query_one("select max(version) from campanile_migrations", &[]).await;
    let newest: i32 = newest.unwrap().get(0);
    let told = format!("was written by a newer campanile (schema version {newest}, this one knows {})", newest - 1);
    assert!(refused.contains(&told), "{refused}");
    one.outbox.accept(arrival(3, START, 0..1)).await.unwrap();
    one.outbox.close().await;
}

//! Answers of the database that are lost, refuse one row of many, or are overtaken by what others write.

use campanile::delivery::Outcome;
use campanile::outbox::{Attempt, Hold, Lease, Next, Settlement};

use super::*;

/// A commit that waits for a standby which never comes has been made all the same, and whoever waits for its answer is cut
/// off then. Only that of a change to this table, on this server.
struct Lost<'a> {
    server: &'a Tcp,
    admin: tokio_postgres::Client,
    table: &'static str,
}

impl Tcp {
    fn that_loses_answers() -> Self {
        Self::start(&["synchronous_standby_names=nobody", "synchronous_commit=local"])
    }
}

impl<'a> Lost<'a> {
    async fn of(server: &'a Tcp, table: &'static str) -> Self {
        let admin = server.admin().await;
        let wait = format!(
            "create function wait() returns trigger language plpgsql as
                 $$ begin perform set_config('synchronous_commit', 'on', true); return null; end $$;
             create trigger wait after insert on {table} execute function wait()"
        );
        admin.batch_execute(&wait).await.unwrap();
        Self { server, admin, table }
    }

    async fn answer<T>(self, asked: impl Future<Output = T>) -> T {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
        let lost = async {
            while self.admin.query(cut, &[]).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let both = async { tokio::join!(asked, lost).0 };
        let end = tokio::time::timeout(PATIENCE, both).await.expect("no answer is lost");
        self.admin.batch_execute(&format!("drop trigger wait on {}", self.table)).await.unwrap();
        assert!(self.server.server.log().contains("already committed locally"));
        end
    }
}

/// A turn at the only lane.
async fn turn(outbox: &Postgres) -> Lease {
    outbox.claim("slack", 1).await.unwrap().pop().expect("something waits there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_is_sent_at_once_although_the_answer_was_lost() {
    let server = Tcp::that_loses_answers();
    let outbox = open(&server.url("127.0.0.1", ""), &clock()).await.unwrap();
    let end = Lost::of(&server, "events").await.answer(outbox.accept(arrival(1))).await;
    assert!(matches!(end, Err(OutboxError::Unavailable(_))), "{end:?}");
    let turn = turn(&outbox).await; // no clock moves, so nobody has looked
    assert_eq!(outbox.heads(&turn, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_settlement_was_not_answered_is_written_once() {
    let server = Tcp::that_loses_answers();
    let outbox = open(&server.url("127.0.0.1", ""), &clock()).await.unwrap();
    outbox.accept(arrival(1)).await.unwrap();
    let turn = turn(&outbox).await;
    let head = outbox.heads(&turn, 1).await.unwrap().remove(0);
    let hold = Hold { until: START + 60_000, reason: "429".into(), needs_a_person: false };
    let failed = |at| Settlement {
        delivery: head.id,
        at,
        to: Next::Pending { unclear: false },
        parts: None,
        attempt: Some(Attempt { at, took_ms: 5, outcome: Outcome::Unclear, detail: "reset".into() }),
        thread: None,
        hold: Some(hold.clone()),
        marks: Vec::new(),
    };
    let lost = Lost::of(&server, "attempts").await.answer(outbox.settle(&turn, failed(START))).await;
    assert!(matches!(lost, Err(OutboxError::Unavailable(_))), "{lost:?}");
    outbox.settle(&turn, failed(START)).await.unwrap();
    let attempts = async || {
        let row = outbox.delivery(head.id).await.unwrap().unwrap();
        (row.attempts, row.failed_attempts.unwrap_or_default().len())
    };
    assert_eq!(attempts().await, (1, 1));
    assert_eq!(outbox.gauges().await.unwrap().lanes_held["slack"], 1, "the lane waits as the messenger said");
    outbox.settle(&turn, failed(START + 1)).await.unwrap();
    assert_eq!(attempts().await, (2, 2), "another attempt is another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_says_nothing_of_the_store() {
    let database = Database::new().await;
    let outbox = open(&database.url, &clock()).await.unwrap();
    let writable = outbox.writable();
    // PostgreSQL takes no text with a zero.
    let bad = |n| Arrival { kind: "\0".into(), ..arrival(n) };
    let ends = tokio::join!(outbox.accept(arrival(1)), outbox.accept(bad(2)), outbox.accept(arrival(3)));
    assert!(matches!(ends, (Ok(_), Err(OutboxError::Unavailable(_)), Ok(_))), "{ends:?}");
    assert!(outbox.accept(bad(4)).await.is_err(), "alone");
    let turn = turn(&outbox).await;
    let delivery = outbox.heads(&turn, 1).await.unwrap().remove(0).id;
    let (to, reason) = (Next::Pending { unclear: false }, "\0".into());
    let hold = Some(Hold { until: START, reason, needs_a_person: false });
    let bad = Settlement { delivery, at: START, to, parts: None, attempt: None, thread: None, hold, marks: Vec::new() };
    assert!(matches!(outbox.settle(&turn, bad).await, Err(OutboxError::Unavailable(_))));
    assert!(
        outbox.can_write() && !writable.has_changed().unwrap(),
        "a lane would stop, and every call would get a 500"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_of_what_is_forgotten_meanwhile_is_new_and_changes_nothing_for_its_neighbours() {
    let database = Database::new().await;
    let outbox = open(&database.url, &clock()).await.unwrap();
    for n in 1..=2 {
        outbox.accept(arrival(n)).await.unwrap();
    }
    let mut admin = connect(&database.url).await;
    let forget = "create function forget() returns trigger language plpgsql as $$ begin
             if (select sum(duplicate) > 0 from ledger) then delete from seen where get_byte(fingerprint, 0) = 1; end if;
             return null; end $$;
         create trigger forget after update on ledger execute function forget()";
    admin.batch_execute(forget).await.unwrap();
    // While one call waits, the two others stand in line together.
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("lock table events").await.unwrap();
    let first = outbox.clone();
    let first = tokio::spawn(async move { first.accept(arrival(3)).await });
    let waits = "select count(*) from pg_locks where not granted and database =
                     (select oid from pg_database where datname = current_database())";
    while lock.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let both = async { tokio::join!(outbox.accept(arrival(1)), outbox.accept(arrival(2))) };
    tokio::pin!(both);
    tokio::select! {
        biased;
        ends = &mut both => panic!("{ends:?}"),
        () = std::future::ready(()) => {}
    }
    lock.rollback().await.unwrap();
    assert!(matches!(first.await.unwrap(), Ok(Accepted::New { .. })));
    let (forgotten, known) = both.await;
    assert!(matches!(forgotten, Ok(Accepted::New { .. })), "{forgotten:?}");
    assert!(matches!(known, Ok(Accepted::Duplicate { event: EventId(2) })), "{known:?}");
    let ledger = outbox.gauges().await.unwrap().ledger;
    assert!(ledger.balances() && ledger.routed == 4, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retention_waits_for_no_accept() {
    let database = Database::new().await;
    let outbox = open(&database.url, &clock()).await.unwrap();
    for n in [2, 1] {
        outbox.accept(arrival(n)).await.unwrap(); // in another order than their fingerprints'
    }
    let mut admin = connect(&database.url).await;
    // What an accept that takes both calls anew has in hand before it comes to the second.
    let accept = admin.transaction().await.unwrap();
    let lock = async |n: u8| {
        let row = "select fingerprint from seen where get_byte(fingerprint, 0) = $1::int4 for update";
        accept.query_one(row, &[&i32::from(n)]).await
    };
    lock(1).await.unwrap();
    let later = START + 2 * 3_600_000;
    let expired = tokio::time::timeout(PATIENCE, outbox.expire(later, START)).await;
    expired.expect("it stands behind the accept, and has what that wants next").unwrap();
    accept.rollback().await.unwrap();
    let left = "select count(*) from seen";
    let left = async || admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(left().await, 1, "what is in nobody's hand is forgotten");
    outbox.expire(later, START).await.unwrap();
    assert_eq!(left().await, 0);
}

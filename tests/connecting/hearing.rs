//! What the others say is heard late, or was said while nobody heard.

use rustix::process::Pid;
use tokio::task::JoinSet;

use super::*;
use crate::harness::process;

/// Once it listens: a process that stood still within would keep all others from speaking.
const LISTENER: &str =
    "select pid from pg_stat_activity where query = 'listen campanile' and state = 'idle' and pid <> $1";
const TOLD: &str = "select count(*) from pg_stat_activity where query like 'select pg_notify%' and state = 'idle'";

/// As when the database stood still for a moment just when the replica began to listen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hears_itself_late_does_not_go_on_looking_all_the_time() {
    let (server, clock) = (Tcp::start(&[]), clock());
    let (mut admin, look) = (server.admin().await, server.admin().await);
    let outbox = open(&server.url("127.0.0.1", ""), &clock).await.unwrap();
    let listener = async |but: i32| loop {
        if let Some(row) = look.query_opt(LISTENER, &[&but]).await.unwrap() {
            return row.get::<_, i32>(0);
        }
        clock.pass(Duration::from_millis(200)); // until it connects again
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let until = async |hears: bool| {
        while outbox.fleet().unwrap().wakes != hears {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let first = tokio::time::timeout(PATIENCE, listener(0)).await.expect("it listens");
    tokio::time::timeout(PATIENCE, until(true)).await.expect("it hears itself");
    // All connections are busy, so that it cannot speak to itself yet when it listens again.
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("lock table moved_chats").await.unwrap();
    let mut questions = JoinSet::new();
    for _ in 0..8 {
        let outbox = outbox.clone();
        questions.spawn(async move { outbox.moves().await.map(drop) });
    }
    let waiting = async || {
        let waiting = "select count(*) from pg_locks where not granted";
        look.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0)
    };
    let all_wait = async {
        while waiting().await < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_wait).await.expect("all are busy");
    look.query("select pg_terminate_backend($1)", &[&first]).await.unwrap();
    let second = tokio::time::timeout(PATIENCE, listener(first)).await.expect("it listens again");
    let second = Pid::from_raw(second).unwrap();
    process::suspend(second);
    lock.rollback().await.unwrap();
    questions.join_all().await.into_iter().for_each(|end| end.unwrap());
    let told = async {
        while look.query_one(TOLD, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it speaks to itself");
    for _ in 0..5 {
        clock.pass(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!outbox.fleet().unwrap().wakes);
    process::resume(second);
    tokio::time::timeout(PATIENCE, until(true)).await.expect("it hears itself after all");
}

/// Another was told to pause just before, and nobody heard it say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sends_after_an_outage_before_the_pauses_are_read() {
    let (mut server, clock) = (Tcp::start(&[]), clock()); // which stands: nothing is looked through by itself
    let outbox = open(&server.url("127.0.0.1", ""), &clock).await.unwrap();
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let look = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect(what);
    };
    until("it hears", &|| outbox.fleet().unwrap().wakes).await;
    let pause = "insert into accounts (name, hold_until, hold_reason, hold_needs_a_person)
                 values ('slack', 9000000000000, 'ratelimited', false)";
    server.admin().await.batch_execute(pause).await.unwrap();
    server.server.stop(Stop::Immediate);
    outbox.accept(arrival(1)).await.unwrap_err();
    assert!(!outbox.can_write());
    server.server.launch();
    let accepted = async { while outbox.accept(arrival(2)).await.is_err() {} };
    tokio::time::timeout(PATIENCE, accepted).await.expect("it is back");
    until("it sends again", &|| outbox.can_write()).await;
    assert!(outbox.account_hold("slack").is_some());
}

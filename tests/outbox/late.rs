//! Calls that came by their sender's log.

use campanile::outbox::Called;

use super::*;

const MINUTE: Millis = 60_000;

/// A call of number 1, made then, which is remembered for four minutes.
fn made(at: Millis) -> Arrival {
    let called = Some(Called { at, late: None });
    Arrival { remember_until: at + 4 * MINUTE, called, ..arrival(1, at, &["a"]) }
}

/// The same, found in the log an hour after [`START`].
fn found(at: Millis) -> Arrival {
    Arrival { received_at: START + HOUR, called: Some(Called { at, late: Some(4 * MINUTE) }), ..made(at) }
}

fn is_new(end: Accepted) -> bool {
    matches!(end, Accepted::New { .. })
}

pub async fn a_logged_call_is_known_by_what_was_called_around_its_time<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let Accepted::New { event, .. } = bench.outbox.accept(made(START)).await.unwrap() else { panic!("a duplicate") };
    bench.accept(2, &["a"]).await; // of a sender without a log
    for at in [START - 4 * MINUTE + 1, START, START + 4 * MINUTE - 1] {
        assert_eq!(bench.outbox.accept(found(at)).await.unwrap(), Accepted::Duplicate { event }, "{at}");
    }
    assert_eq!((bench.ledger().await.received, bench.ledger().await.duplicate), (2, 0), "nobody called");
    // Long enough apart they are two, also where both are found in the same minute.
    for at in [START - 4 * MINUTE, START + 4 * MINUTE, START + 8 * MINUTE] {
        assert!(is_new(bench.outbox.accept(found(at)).await.unwrap()), "{at}");
    }
    bench.reopen().await;
    for at in [START - 4 * MINUTE, START, START + 4 * MINUTE, START + 8 * MINUTE] {
        assert!(!is_new(bench.outbox.accept(found(at)).await.unwrap()), "{at}");
    }
    let both = HashSet::from([made(START).fingerprint, arrival(2, START, &[]).fingerprint]);
    let mut called = bench.outbox.called(both, START - 4 * MINUTE, START + 4 * MINUTE).await.unwrap();
    called.sort_by_key(|(_, at)| *at);
    let wanted = [START - 4 * MINUTE, START, START + 4 * MINUTE].map(|at| (made(START).fingerprint, at));
    assert_eq!(called, wanted);
    let source = made(START).source;
    for (issue, from, to, told) in [
        ("TEST-1", START, START, true),
        ("TEST-2", START, START, false),
        ("TEST-1", START + 1, Millis::MAX, false), // others there were found in the log
    ] {
        let is_told = bench.outbox.was_told(&source, "issue.created", issue, from, to).await.unwrap();
        assert_eq!(is_told, told, "{issue} {from}");
    }
    let other = HashSet::from([Fingerprint([9; 16])]);
    assert_eq!(bench.outbox.called(other, 0, Millis::MAX).await.unwrap(), []);
}

pub async fn what_came_late_changes_nothing_of_what_is_remembered<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    assert!(is_new(bench.outbox.accept(made(START)).await.unwrap()));
    assert!(is_new(bench.outbox.accept(found(START - 5 * MINUTE)).await.unwrap()));
    for reopened in [false, true] {
        let again = bench.outbox.accept(made(START + 3 * MINUTE)).await.unwrap();
        assert!(!is_new(again), "the call of START sent again, reopened: {reopened}");
        bench.reopen().await;
    }
    // And what came late by itself is remembered from when it was made.
    let late = found(START + 58 * MINUTE);
    assert!(is_new(bench.outbox.accept(late).await.unwrap()));
    assert!(
        !is_new(bench.outbox.accept(made(START + 60 * MINUTE)).await.unwrap()),
        "Tracker tried longer than it says"
    );
    assert!(is_new(bench.outbox.accept(made(START + 62 * MINUTE)).await.unwrap()));
}

pub async fn a_logged_call_that_many_find_at_once_is_stored_once<S: Store>() {
    let bench = Bench::<S>::new().await;
    let mut accepts = tokio::task::JoinSet::new();
    for n in 0..20 {
        let outbox = bench.outbox.clone();
        accepts.spawn(async move { outbox.accept(found(START + n)).await });
    }
    let ends = accepts.join_all().await;
    assert_eq!(ends.into_iter().filter(|end| is_new(*end.as_ref().unwrap())).count(), 1);
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.duplicate, ledger.planned), (1, 0, 1));
}

//! What is taken, and how it is counted.

use super::*;

pub async fn what_was_answered_is_there_after_the_process_died<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let mut events = HashSet::new();
    for n in 1..=5 {
        events.insert(bench.accept(n, &["a", "t"]).await);
    }
    assert_eq!(events.len(), 5);
    bench.reopen().await;
    assert_eq!(bench.states().await, [State::Pending; 10]);
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-1", "TEST-2", "TEST-3", "TEST-4", "TEST-5"]);
    let next = bench.accept(6, &["a"]).await;
    assert!(events.iter().all(|event| *event < next), "ids are never given twice");
    let event = bench.outbox.event(next).await.unwrap().unwrap();
    assert_eq!((event.issue.as_deref(), event.deliveries, event.received_at), (Some("TEST-6"), Some(1), START));
}

pub async fn an_event_and_its_deliveries_come_whole_or_not_at_all<S: Store>() {
    let bench = Bench::<S>::new().await;
    let accepts = [(1, vec!["a"]), (2, vec!["a", "nowhere", "t"]), (3, vec!["t"])];
    let accepts = accepts.map(|(n, channels)| bench.outbox.accept(arrival(n, START, &channels)));
    let [first, second, third] = accepts;
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(matches!(second, Err(OutboxError::UnknownChannel(name)) if name == "nowhere"));
    assert!(first.is_ok() && third.is_ok(), "a mistake in one call hinders no other");
    assert_eq!(bench.states().await, [State::Pending; 2]);
    assert_eq!(bench.ledger().await.received, 2);
    let again = bench.outbox.accept(arrival(2, START, &["a"])).await.unwrap();
    assert!(matches!(again, Accepted::New { .. }), "what was refused is not remembered");
}

pub async fn a_call_is_known_again_until_its_time_is_over<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let event = bench.accept(1, &["a"]).await;
    bench.reopen().await;
    bench.clock.pass(Duration::from_millis(HOUR as u64 - 1));
    let again = bench.outbox.accept(arrival(1, bench.clock.now_ms(), &["a"])).await.unwrap();
    assert_eq!(again, Accepted::Duplicate { event });
    bench.clock.pass(Duration::from_millis(1));
    assert_ne!(bench.accept(1, &["a"]).await, event);
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.routed, ledger.duplicate, ledger.planned), (3, 2, 1, 2));
}

pub async fn many_accepts_at_once_are_all_kept_and_numbered<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let mut accepts = tokio::task::JoinSet::new();
    for n in 0..200 {
        let outbox = bench.outbox.clone();
        accepts.spawn(async move { outbox.accept(arrival(n, START, &["a", "b"])).await });
    }
    let mut events = HashSet::new();
    while let Some(accepted) = accepts.join_next().await {
        let Accepted::New { event, .. } = accepted.unwrap().unwrap() else { panic!("a duplicate") };
        events.insert(event);
    }
    assert_eq!(events.len(), 200);
    bench.reopen().await;
    assert_eq!(bench.ledger().await.pending, 400);
}

pub async fn more_than_max_pending_is_refused_until_something_ends<S: Store>() {
    let mut bench = Bench::<S>::with(2).await;
    bench.accept(1, &["a", "t"]).await;
    for _ in 0..2 {
        let refused = bench.outbox.accept(arrival(2, START, &["a"])).await;
        assert!(matches!(refused, Err(OutboxError::TooManyPending { pending: 2, most: 2 })), "{refused:?}");
        bench.reopen().await;
    }
    bench.end_all("slack", Next::Delivered).await;
    bench.accept(2, &["a"]).await;
    assert!(bench.outbox.accept(arrival(3, START, &["a"])).await.is_err());
    bench.accept(4, &[]).await; // what plans nothing needs no room
}

pub async fn both_ledgers_balance_after_every_change<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let source = || "tracker".to_owned().try_into().unwrap();
    bench.accept(1, &["a", "t"]).await;
    bench.ledger().await;
    bench.accept(2, &["a"]).await;
    bench.accept(3, &[]).await;
    bench.outbox.accept(arrival(2, START, &["a"])).await.unwrap();
    bench.outbox.set_aside(Aside::Ignored).await.unwrap();
    let unreadable = Aside::Unreadable { source: source(), at: START, why: "no key".into(), head: b"{".to_vec() };
    bench.outbox.set_aside(unreadable).await.unwrap();
    bench.ledger().await;
    bench.end_all("telegram", dead()).await;
    bench.ledger().await;
    let (lease, heads) = bench.head("slack").await;
    bench.settle(&lease, heads[0].id, Next::Pending { unclear: true }).await.unwrap();
    bench.ledger().await;
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    let expected = Ledger {
        received: 6,
        routed: 3,
        ignored: 1,
        duplicate: 1,
        unreadable: 1,
        planned: 3,
        delivered: 1,
        pending: 1,
        dead: 1,
        ..Ledger::default()
    };
    assert_eq!(bench.ledger().await, expected);
    bench.outbox.replay(Replay::Channel("t".into()), START + HOUR).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.ledger().await, Ledger { pending: 2, dead: 0, ..expected });
}

//! How deliveries end, begin anew and are forgotten.

use super::*;

pub async fn attempts_receipts_and_marks_are_kept<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    let (lease, heads) = bench.head("slack").await;
    let id = heads[0].id;
    let unclear = Settlement {
        parts: Some(vec![part("one", None), part("two", None)]),
        attempt: attempt(START, Outcome::Unclear, "reset"),
        ..settlement(id, START, Next::Pending { unclear: true })
    };
    bench.outbox.settle(&lease, unclear).await.unwrap();
    let first = Settlement {
        parts: Some(vec![part("one", Some("1.1")), part("two", None)]),
        ..settlement(id, START, Next::Pending { unclear: false })
    };
    bench.outbox.settle(&lease, first).await.unwrap();
    bench.reopen().await;
    let (lease, heads) = bench.head("slack").await;
    let due = &heads[0];
    assert_eq!((due.attempts, due.unclear), (1, true));
    let receipts: Vec<_> = due.parts.as_ref().unwrap().iter().map(|part| part.receipt.is_some()).collect();
    assert_eq!(receipts, [true, false], "the next process goes on with the second part");
    let parts = Some(vec![part("one", Some("1.1")), part("two", Some("1.2"))]);
    let last = Settlement { parts, ..settlement(id, START + 1, Next::Delivered) };
    bench.outbox.settle(&lease, last).await.unwrap();
    bench.reopen().await;
    let row = bench.outbox.delivery(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.unclear, row.settled_at), (State::Delivered, 2, true, Some(START + 1)));
    assert_eq!(row.reason, None);
    let receipt = row.parts.unwrap()[1].receipt.clone();
    assert_eq!(receipt, Some(Receipt::Slack { channel: "C1".into(), ts: "1.2".into(), thread: None }));
    let failed = row.failed_attempts.unwrap();
    assert_eq!((failed.len(), failed[0].outcome, &*failed[0].detail), (1, Outcome::Unclear, "reset"));
}

pub async fn what_is_pending_follows_its_channel<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.accept(2, &["b"]).await;
    bench.accept(3, &["a"]).await;
    bench.places = vec![place("a", "slack:C2"), place("b", "slack:C2"), place("t", "telegram:1")];
    bench.reopen().await;
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-1", "TEST-2", "TEST-3"], "one conversation, one line");
    bench.places = vec![place("a", "telegram:1"), place("b", "slack:C2"), place("t", "telegram:1")];
    bench.reopen().await;
    assert_eq!(keys(&bench.head("telegram").await.1), ["TEST-1", "TEST-3"], "to the other messenger");
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-2"]);
}

pub async fn what_is_pending_in_a_channel_that_is_gone_stays<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.accept(2, &["b"]).await;
    let whole = std::mem::replace(&mut bench.places, vec![place("b", "slack:C1")]);
    bench.reopen().await;
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-2"], "it hinders nobody in the conversation it had");
    let filter = Filter { channel: Some("a".into()), limit: 10, ..Filter::default() };
    let rows = bench.outbox.deliveries(filter).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Pending]);
    assert_eq!(bench.outbox.gauges().await.unwrap().channels["a"].pending, 1);
    let refused = bench.outbox.accept(arrival(3, START, &["a"])).await;
    assert!(matches!(refused, Err(OutboxError::UnknownChannel(_))));
    bench.places = whole;
    bench.reopen().await;
    let leases = bench.outbox.claim("slack", 8).await.unwrap();
    assert_eq!(leases.len(), 2, "it is back");
}

pub async fn a_moved_chat_is_remembered<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.outbox.remember_move(-5, -100).await.unwrap();
    bench.outbox.remember_move(-5, -200).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.outbox.moves().await.unwrap().into_iter().collect::<Vec<_>>(), [(-5, -200)]);
}

pub async fn a_thread_belongs_to_its_lane_and_is_forgotten_in_time<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let receipt = |ts: &str| Receipt::Slack { channel: "C1".into(), ts: ts.into(), thread: None };
    let mut planned = arrival(1, START, &["a", "a"]);
    let Course::Routed(deliveries) = &mut planned.course else { panic!("it is routed") };
    let Duty::Message { style, .. } = &mut deliveries[1].duty else { panic!("it is a message") };
    *style = Style::Thread;
    bench.outbox.accept(planned).await.unwrap();
    let (lease, heads) = bench.head("slack").await;
    assert_eq!(heads.iter().map(|due| due.thread()).collect::<Vec<_>>(), [None, Some("TEST-1")]);
    assert_eq!(bench.outbox.thread(&lease, "TEST-1").await.unwrap(), None);
    for (due, ts) in heads.iter().zip(["1.1", "2.2"]) {
        let thread = Some(Thread { issue: "TEST-1".into(), parent: receipt(ts) });
        let settlement = Settlement { thread, ..settlement(due.id, START, Next::Delivered) };
        bench.outbox.settle(&lease, settlement).await.unwrap();
    }
    assert_eq!(bench.outbox.thread(&lease, "TEST-1").await.unwrap(), Some(receipt("2.2")), "the newer one counts");
    assert_eq!(bench.outbox.thread(&lease, "TEST-2").await.unwrap(), None);
    bench.reopen().await;
    bench.accept(2, &["a"]).await;
    bench.accept(3, &["b"]).await;
    let leases = bench.outbox.claim("slack", 8).await.unwrap();
    let known = async |bench: &Bench<S>| {
        let mut known = Vec::new();
        for lease in &leases {
            known.extend(bench.outbox.thread(lease, "TEST-1").await.unwrap());
        }
        known
    };
    assert_eq!(known(&bench).await, [receipt("2.2")], "of one lane alone");
    bench.expire(START, START).await;
    assert_eq!(known(&bench).await, [receipt("2.2")]);
    bench.expire(START, START + 1).await;
    assert_eq!(known(&bench).await, []);
}

pub async fn a_replayed_dead_letter_is_due_in_its_old_place<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.end_all("slack", dead()).await;
    bench.accept(2, &["a"]).await;
    let id = DeliveryId(1);
    assert_eq!(bench.outbox.replay(Replay::One(id), START + 5 * HOUR).await.unwrap(), 1);
    bench.reopen().await;
    let heads = bench.head("slack").await.1;
    assert_eq!(keys(&heads), ["TEST-1", "TEST-2"]);
    assert_eq!((heads[0].give_up_at, &heads[0].reason), (START + 5 * HOUR, &None));
    let again = bench.outbox.replay(Replay::One(id), START + HOUR).await;
    assert!(matches!(again, Err(OutboxError::NotDead { state: State::Pending, .. })), "{again:?}");
    let unknown = bench.outbox.replay(Replay::One(DeliveryId(77)), START + HOUR).await;
    assert!(matches!(unknown, Err(OutboxError::NoSuchDelivery(DeliveryId(77)))));
    let unknown = bench.outbox.replay(Replay::Channel("nowhere".into()), START + HOUR).await;
    assert!(matches!(unknown, Err(OutboxError::UnknownChannel(_))));
}

pub async fn a_replay_keeps_the_parts_only_where_one_was_placed<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 1..=2 {
        bench.accept(n, &["a"]).await;
    }
    let (lease, heads) = bench.head("slack").await;
    for (due, ts) in heads.iter().zip([Some("1.1"), None]) {
        let parts = Some(vec![part("the \\\"receipt\\\" of", ts), part("two", None)]);
        let settlement = Settlement { parts, ..settlement(due.id, START, dead()) };
        bench.outbox.settle(&lease, settlement).await.unwrap();
    }
    assert_eq!(bench.outbox.replay(Replay::Channel("a".into()), START + HOUR).await.unwrap(), 2);
    let heads = bench.outbox.heads(&lease, 9).await.unwrap();
    assert_eq!(heads.iter().map(|due| due.parts.is_some()).collect::<Vec<_>>(), [true, false]);
}

pub async fn a_replay_goes_where_the_channel_leads_now<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.accept(2, &["b"]).await;
    for _ in 0..2 {
        let lease = bench.outbox.claim("slack", 1).await.unwrap().remove(0);
        let head = bench.outbox.heads(&lease, 1).await.unwrap().remove(0);
        bench.settle(&lease, head.id, dead()).await.unwrap();
        bench.outbox.release(lease, Until::Now);
    }
    bench.places = vec![place("a", "telegram:9"), place("b", "slack:C2"), place("t", "telegram:1")];
    bench.reopen().await;
    assert_eq!(bench.outbox.replay(Replay::Channel("a".into()), START + HOUR).await.unwrap(), 1);
    assert_eq!(keys(&bench.head("telegram").await.1), ["TEST-1"]);
    assert_eq!(bench.states().await, [State::Pending, State::Dead], "of that channel alone");
}

pub async fn only_what_ended_long_ago_is_deleted<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.accept(2, &[]).await;
    bench.end_all("slack", Next::Delivered).await;
    bench.accept(3, &["a", "t"]).await;
    bench.end_all("telegram", dead()).await; // its sister stays pending
    bench.clock.pass(Duration::from_millis(31 * DAY as u64));
    bench.accept(4, &["t"]).await;
    bench.end_all("telegram", Next::Delivered).await;
    let before = bench.ledger().await;
    let now = bench.clock.now_ms();
    let deleted: usize = bench.expire(now, now - 30 * DAY).await.iter().sum();
    assert!(deleted >= 3, "{deleted}");
    let filter = || Filter { limit: 100, ..Filter::default() };
    let mut events: Vec<_> = bench.outbox.events(filter()).await.unwrap().iter().map(|event| event.id.0).collect();
    events.sort();
    assert_eq!(events, [3, 4]);
    assert_eq!(bench.states().await, [State::Pending, State::Dead, State::Delivered]);
    assert_eq!(bench.ledger().await, before, "the ledgers count what was, not what is kept");
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-3"]);
}

pub async fn old_rows_go_in_small_batches<S: Store>() {
    let bench = Bench::<S>::new().await;
    let mut accepts = tokio::task::JoinSet::new();
    for n in 0..1_000u16 {
        let (outbox, mut event) = (bench.outbox.clone(), arrival(0, START, &[]));
        event.fingerprint.0[..2].copy_from_slice(&n.to_le_bytes());
        accepts.spawn(async move { outbox.accept(event).await });
    }
    assert!(accepts.join_all().await.into_iter().all(|end| end.is_ok()));
    let now = START + 40 * DAY;
    let batches = bench.expire(now, now - DAY).await;
    assert!(batches.len() >= 3 && batches.iter().max() < Some(&900), "{batches:?}");
    assert!(bench.outbox.events(Filter { limit: 10, ..Filter::default() }).await.unwrap().is_empty());
}

pub async fn a_closed_outbox_says_so<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.outbox.close().await;
    let refused = bench.outbox.accept(arrival(2, START, &["a"])).await;
    assert!(matches!(refused, Err(OutboxError::Closed)), "{refused:?}");
    bench.reopen().await;
    assert_eq!(bench.ledger().await.pending, 1);
}

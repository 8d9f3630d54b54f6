//! Who may send from a lane, and when.

use super::*;

pub async fn a_lane_is_held_by_one_and_read_in_order<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 1..=3 {
        bench.accept(n, &["a"]).await;
    }
    let (lease, heads) = bench.head("slack").await;
    assert_eq!(keys(&heads), ["TEST-1", "TEST-2", "TEST-3"]);
    assert!(bench.outbox.holds(&lease) && !bench.is_claimable("slack").await, "nobody else gets it");
    assert!(!bench.is_claimable("telegram").await, "an account sees its own lanes alone");
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    bench.accept(4, &["a"]).await;
    let heads = bench.outbox.heads(&lease, 2).await.unwrap();
    assert_eq!(keys(&heads), ["TEST-2", "TEST-3"], "the lowest pending first, as many as were asked for");
    bench.outbox.release(lease, Until::Now);
    assert!(bench.is_claimable("slack").await);
}

pub async fn nothing_is_written_under_a_lease_that_has_ended<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    let (old, heads) = bench.head("slack").await;
    bench.outbox.release(old.clone(), Until::Now);
    let before = bench.ledger().await;
    let refused = bench.settle(&old, heads[0].id, Next::Delivered).await;
    assert!(matches!(refused, Err(OutboxError::LeaseLost(_))), "{refused:?}");
    let (new, _) = bench.head("slack").await;
    assert!(!bench.outbox.holds(&old) && bench.outbox.holds(&new));
    let refused = bench.settle(&old, heads[0].id, dead()).await;
    assert!(matches!(refused, Err(OutboxError::LeaseLost(_))), "{refused:?}");
    assert_eq!(bench.ledger().await, before);
    bench.outbox.release(old, Until::Paced(START + DAY));
    assert!(bench.outbox.holds(&new), "an old lease does not release a new one");
    bench.settle(&new, heads[0].id, Next::Delivered).await.unwrap();
    assert!(bench.settle(&new, heads[0].id, Next::Delivered).await.is_err(), "what has ended does not end again");
    assert!(bench.settle(&new, DeliveryId(99), Next::Delivered).await.is_err());
    assert_eq!(bench.ledger().await, Ledger { delivered: 1, pending: 0, ..before });
}

pub async fn a_turn_goes_on_until_nothing_is_left<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    bench.accept(2, &["a"]).await;
    let (lease, heads) = bench.head("slack").await;
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    bench.settle(&lease, heads[1].id, Next::Pending { unclear: false }).await.unwrap();
    assert_eq!(keys(&bench.outbox.heads(&lease, 9).await.unwrap()), ["TEST-2"], "it has not ended");
    bench.settle(&lease, heads[1].id, Next::Delivered).await.unwrap();
    bench.accept(3, &["a"]).await;
    let heads = bench.outbox.heads(&lease, 9).await.unwrap();
    assert_eq!(keys(&heads), ["TEST-3"], "it came during the turn");
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    assert_eq!(keys(&bench.outbox.heads(&lease, 9).await.unwrap()), [""; 0]);
    bench.outbox.release(lease, Until::Now);
    assert!(!bench.is_claimable("slack").await);
    bench.accept(4, &["a"]).await;
    assert_eq!(keys(&bench.head("slack").await.1), ["TEST-4"]);
}

pub async fn a_lane_with_many_does_not_delay_a_lane_with_one<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 0..50 {
        bench.accept(n, &["a"]).await;
    }
    bench.accept(99, &["b"]).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let lease = bench.outbox.claim("slack", 1).await.unwrap().remove(0);
        let head = bench.outbox.heads(&lease, 1).await.unwrap().remove(0);
        served.push(head.place());
        bench.settle(&lease, head.id, Next::Delivered).await.unwrap();
        bench.outbox.release(lease, Until::Now);
    }
    assert_eq!(served, ["a", "b", "a"]);
}

/// All lanes wait for one account's pace and become due together: none of them is always the last.
pub async fn lanes_that_become_due_together_take_turns<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 0..8 {
        bench.accept(n, &["a", "b"]).await;
    }
    let mut served = Vec::new();
    for round in 0..8 {
        for (turn, lease) in bench.outbox.claim("slack", 8).await.unwrap().into_iter().enumerate() {
            if turn == 0 {
                let head = bench.outbox.heads(&lease, 1).await.unwrap().remove(0);
                served.push(head.place());
                bench.settle(&lease, head.id, Next::Delivered).await.unwrap();
            }
            bench.outbox.release(lease, Until::Paced(START + (round + 1) * 1_000));
        }
        bench.clock.pass(Duration::from_secs(1));
    }
    assert_eq!(served.iter().filter(|channel| *channel == "b").count(), 4, "{served:?}");
}

pub async fn work_is_announced<S: Store>() {
    let bench = Bench::<S>::new().await;
    let (_, outbox) = (bench.accept(1, &["a"]).await, &bench.outbox);
    outbox.work("slack").await; // or this test hangs, here and below
    let (lease, heads) = bench.head("slack").await;
    bench.settle(&lease, heads[0].id, dead()).await.unwrap();
    outbox.release(lease, Until::Now);
    outbox.replay(Replay::One(heads[0].id), START + HOUR).await.unwrap();
    outbox.work("slack").await;
    let (lease, _) = bench.head("slack").await;
    outbox.release(lease, Until::Paced(START + 500));
    outbox.work("slack").await;
    assert_eq!(outbox.next_due("slack"), Some(START + 500));
    assert_eq!(outbox.next_due("telegram"), None);
}

pub async fn a_holder_that_breaks_off_leaves_its_head_marked<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    for n in 0..2 {
        bench.accept(n, &["a", "t"]).await;
    }
    let (lease, heads) = bench.head("slack").await;
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    bench.outbox.abandon(lease, Until::BackedOff(START + 500));
    assert!(!bench.is_claimable("slack").await);
    bench.reopen().await;
    let (lease, heads) = bench.head("slack").await;
    assert_eq!(heads.iter().map(|due| due.unclear).collect::<Vec<_>>(), [true]);
    assert!(!bench.head("telegram").await.1[0].unclear, "its holder gave it back");
    bench.settle(&lease, heads[0].id, dead()).await.unwrap();
    bench.outbox.replay(Replay::One(heads[0].id), START + HOUR).await.unwrap();
    let heads = bench.outbox.heads(&lease, 1).await.unwrap();
    assert!(!heads[0].unclear, "who asks for a replay knows");
}

pub async fn a_wait_of_our_own_does_not_outlive_the_process<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    for until in [Until::Paced(START + DAY), Until::BackedOff(START + DAY)] {
        let (lease, _) = bench.head("slack").await;
        bench.outbox.release(lease, until);
        assert!(!bench.is_claimable("slack").await);
        bench.reopen().await;
        assert!(bench.is_claimable("slack").await, "{until:?}");
    }
}

pub async fn a_wait_that_the_messenger_named_outlives_the_process<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a", "t"]).await;
    let hold = Hold { until: START + 90_000, reason: "429".into(), needs_a_person: false };
    let (lease, heads) = bench.head("slack").await;
    let to = Next::Pending { unclear: false };
    let settlement = Settlement { hold: Some(hold.clone()), ..settlement(heads[0].id, START, to) };
    bench.outbox.settle(&lease, settlement).await.unwrap();
    bench.outbox.release(lease, Until::Now);
    bench.outbox.hold_account("telegram", Some(hold.clone())).await.unwrap();
    for _ in 0..2 {
        assert!(!bench.is_claimable("slack").await);
        assert_eq!(bench.outbox.account_hold("telegram"), Some(hold.clone()));
        let row = bench.outbox.delivery(heads[0].id).await.unwrap().unwrap();
        assert_eq!(row.lane_hold, Some(hold.clone()));
        bench.reopen().await;
    }
    bench.clock.pass(Duration::from_secs(90));
    let (lease, heads) = bench.head("slack").await;
    bench.settle(&lease, heads[0].id, Next::Delivered).await.unwrap();
    bench.outbox.hold_account("telegram", None).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.outbox.account_hold("telegram"), None);
    assert!(bench.outbox.gauges().await.unwrap().lanes_held.is_empty(), "a delivered part ends the hold");
}

/// Who mended the token and starts anew must not wait a quarter of an hour for the next probe.
pub async fn what_waits_for_a_person_is_probed_at_once_by_the_next_process<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.accept(1, &["a", "t"]).await;
    let hold = Hold { until: START + 900_000, reason: "invalid_auth".into(), needs_a_person: true };
    let (lease, heads) = bench.head("slack").await;
    let to = Next::Pending { unclear: false };
    let settlement = Settlement { hold: Some(hold.clone()), ..settlement(heads[0].id, START, to) };
    bench.outbox.settle(&lease, settlement).await.unwrap();
    bench.outbox.release(lease, Until::Now);
    bench.outbox.hold_account("telegram", Some(hold)).await.unwrap();
    assert!(!bench.is_claimable("slack").await);
    bench.reopen().await;
    assert!(bench.is_claimable("slack").await);
    let hold = bench.outbox.account_hold("telegram").expect("it still needs a person");
    assert!(hold.needs_a_person && hold.until <= START, "{hold:?}");
}

pub async fn a_back_off_ends_early_and_a_pace_or_a_hold_does_not<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.accept(1, &["a"]).await;
    for (until, ends) in [(Until::BackedOff(START + DAY), true), (Until::Paced(START + DAY), false)] {
        let (lease, _) = bench.head("slack").await;
        bench.outbox.release(lease, until);
        bench.outbox.end_back_off("telegram");
        assert!(!bench.is_claimable("slack").await, "another account's");
        bench.outbox.end_back_off("slack");
        assert_eq!(bench.is_claimable("slack").await, ends, "{until:?}");
    }
}

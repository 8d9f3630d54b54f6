//! Lanes of issues: actions, events that are to be routed, what is filtered, and the greatest numbers that are known.

use campanile::delivery::{Action, Mark};
use campanile::outbox::{IssueLane, Routed, Routing};

use super::*;

/// Asks for one action on each of these issues.
fn acting(n: u8, now: Millis, issues: &[&str]) -> Arrival {
    let planned = issues.iter().map(|issue| Planned {
        duty: Duty::Action { issue: (*issue).to_owned(), action: transition() },
        route: "accepted".into(),
        give_up_at: now + 72 * HOUR,
        filtered: None,
    });
    Arrival { course: Course::Routed(planned.collect()), ..arrival(n, now, &[]) }
}

fn transition() -> Action {
    Action::Transition { to: "readyForTest".into(), by: None, fields: Default::default() }
}

fn to_route(n: u8, now: Millis, line: &str) -> Arrival {
    Arrival { course: Course::ToRoute { line: line.to_owned() }, issue: Some(line.to_owned()), ..arrival(n, now, &[]) }
}

/// One message to `a`, and what is known of the event by now.
fn routed(delivery: DeliveryId, n: u8, now: Millis) -> Routing {
    let Course::Routed(planned) = arrival(n, now, &["a"]).course else { panic!("it is routed") };
    let document = format!(r#"{{"issue":{{"key":"TEST-{n}","summary":"known now"}}}}"#);
    let to = Routed::Event { kind: "issue.moved".into(), issue: Some("NEW-1".into()), document, planned };
    Routing { delivery, to }
}

impl<S: Store> Bench<S> {
    /// The leases on all lanes of the account, each with its first delivery.
    async fn all_heads(&self, account: &str) -> Vec<(Lease, Due)> {
        let mut heads = Vec::new();
        for lease in self.outbox.claim(account, 8).await.unwrap() {
            match self.outbox.heads(&lease, 1).await.unwrap().pop() {
                Some(head) => heads.push((lease, head)),
                None => self.outbox.release(lease, Until::Now), // replicas do not count what is pending
            }
        }
        heads.sort_by_key(|(_, due)| due.id);
        heads
    }
}

pub async fn each_issue_has_a_lane_of_its_own<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.outbox.accept(acting(1, START, &["TEST-1", "TEST-2"])).await.unwrap();
    bench.outbox.accept(acting(2, START, &["TEST-1"])).await.unwrap();
    bench.reopen().await;
    let heads = bench.all_heads(IssueLane::TRACKER).await;
    let places: Vec<_> = heads.iter().map(|(_, due)| due.place()).collect();
    assert_eq!(places, ["issue:TEST-1", "issue:TEST-2"], "what follows in one lane waits for its head");
    assert_eq!(heads[0].1.duty, Duty::Action { issue: "TEST-1".into(), action: transition() });
    for (lease, due) in heads {
        bench.settle(&lease, due.id, Next::Delivered).await.unwrap();
        bench.outbox.release(lease, Until::Now);
    }
    let heads = bench.all_heads(IssueLane::TRACKER).await;
    assert_eq!(heads.iter().map(|(_, due)| due.place()).collect::<Vec<_>>(), ["issue:TEST-1"]);
    let gauges = bench.outbox.gauges().await.unwrap();
    assert_eq!(gauges.channels["issue:*"].pending, 1);
    assert!(!gauges.channels.contains_key("issue:TEST-1"), "metrics have no row for each issue");
    let row = bench.outbox.delivery(heads[0].1.id).await.unwrap().unwrap();
    assert_eq!((&*row.channel, &*row.template), ("issue:TEST-1", "transition"));
}

pub async fn placing_channels_leaves_lanes_of_issues_alone<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.outbox.accept(acting(1, START, &["TEST-1"])).await.unwrap();
    bench.places.truncate(1);
    bench.outbox.place(bench.places.clone()).await.unwrap();
    assert_eq!(bench.all_heads(IssueLane::TRACKER).await.len(), 1);
    bench.reopen().await;
    assert_eq!(bench.all_heads(IssueLane::TRACKER).await.len(), 1);
}

pub async fn a_lane_at_rest_is_made_known_again_by_its_next_delivery<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 1..=3 {
        bench.outbox.accept(acting(n, START, &["TEST-1"])).await.unwrap();
        bench.end_all(IssueLane::TRACKER, Next::Delivered).await;
        bench.expire(START, START - DAY).await; // what is at rest is forgotten by the process
    }
    assert_eq!(bench.ledger().await.delivered, 3);
}

pub async fn a_hold_of_a_lane_at_rest_is_kept<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.outbox.accept(acting(1, START, &["TEST-1"])).await.unwrap();
    let (lease, heads) = bench.head(IssueLane::TRACKER).await;
    let hold = Hold { until: START + HOUR, reason: "no right".into(), needs_a_person: false };
    let to = Next::Dead { reason: "given up".into() };
    let settlement = Settlement { hold: Some(hold), ..settlement(heads[0].id, START, to) };
    bench.outbox.settle(&lease, settlement).await.unwrap();
    bench.outbox.release(lease, Until::Now);
    bench.reopen().await;
    bench.outbox.accept(acting(2, START, &["TEST-1"])).await.unwrap();
    assert!(!bench.is_claimable(IssueLane::TRACKER).await, "the messenger named a time");
    bench.clock.pass(Duration::from_secs(3_600));
    assert!(bench.is_claimable(IssueLane::TRACKER).await);
}

pub async fn an_issue_is_forgotten_with_its_last_event<S: Store>() {
    let bench = Bench::<S>::new().await;
    let acting = |n| Arrival { issue: Some("TEST-1".into()), ..acting(n, START, &["TEST-1"]) };
    bench.outbox.accept(acting(1)).await.unwrap();
    bench.end_all(IssueLane::TRACKER, Next::Delivered).await;
    bench.expire(START + DAY, START + DAY).await;
    assert!(bench.states().await.is_empty());
    bench.outbox.accept(acting(2)).await.unwrap();
    assert_eq!(bench.all_heads(IssueLane::TRACKER).await.len(), 1, "it may come again");
    let lost = bench.outbox.replay(Replay::Channel("issue:TEST-2".into()), START).await.unwrap_err();
    assert!(matches!(lost, OutboxError::UnknownChannel(_)), "{lost}");
}

pub async fn an_event_to_route_is_counted_and_routed_in_its_order<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    for (n, line) in [(1, "TEST-1"), (2, "TEST-2"), (3, "TEST-1")] {
        let accepted = bench.outbox.accept(to_route(n, START, line)).await.unwrap();
        assert!(matches!(accepted, Accepted::New { deliveries: None, .. }), "{accepted:?}");
    }
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.to_route, ledger.routed, ledger.planned), (3, 3, 0, 0));
    bench.reopen().await;
    assert!(bench.states().await.is_empty(), "these are no deliveries yet");
    let mut heads = bench.all_heads(IssueLane::ROUTING).await;
    let lines: Vec<_> = heads.iter().map(|(_, due)| due.duty.clone()).collect();
    assert_eq!(lines, ["TEST-1", "TEST-2"].map(|line| Duty::Route { line: line.into() }));
    let event = heads[0].1.event;
    assert_eq!(bench.outbox.event(event).await.unwrap().unwrap().deliveries, None);

    let (lease, due) = heads.remove(0);
    assert_eq!(bench.outbox.route(&lease, routed(due.id, 1, START)).await.unwrap(), 1);
    bench.outbox.release(lease, Until::Now);
    let ledger = bench.ledger().await;
    assert_eq!((ledger.to_route, ledger.routed, ledger.planned, ledger.pending), (2, 1, 1, 1));
    let row = bench.outbox.event(event).await.unwrap().unwrap();
    assert_eq!((&*row.kind, row.issue.as_deref(), row.deliveries), ("issue.moved", Some("NEW-1"), Some(1)));
    assert!(row.document.unwrap().get().contains("known now"));
    let next = bench.all_heads(IssueLane::ROUTING).await.remove(0).1;
    assert_eq!(keys(&[next]), ["TEST-3"], "what came later in the line comes now");
    let (_, message) = bench.head("slack").await;
    assert_eq!((message.len(), message[0].event, message[0].planned_at), (1, event, START));
}

pub async fn an_event_that_says_nothing_after_all_is_ignored<S: Store>() {
    let bench = Bench::<S>::new().await;
    let accepted = bench.outbox.accept(to_route(1, START, "review:github:a/b:1")).await.unwrap();
    let Accepted::New { event, .. } = accepted else { panic!("it is new") };
    let (lease, heads) = bench.head(IssueLane::ROUTING).await;
    bench.outbox.route(&lease, Routing { delivery: heads[0].id, to: Routed::Ignored }).await.unwrap();
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.to_route, ledger.ignored, ledger.routed), (1, 0, 1, 0));
    assert_eq!(bench.outbox.event(event).await.unwrap().unwrap().deliveries, Some(0));
}

pub async fn routing_under_an_ended_lease_writes_nothing<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.outbox.accept(to_route(1, START, "TEST-1")).await.unwrap();
    let (old, heads) = bench.head(IssueLane::ROUTING).await;
    bench.outbox.release(old.clone(), Until::Now);
    let (lease, _) = bench.head(IssueLane::ROUTING).await;
    assert!(bench.outbox.route(&old, routed(heads[0].id, 1, START)).await.is_err());
    assert_eq!(bench.ledger().await.to_route, 1);
    bench.outbox.route(&lease, routed(heads[0].id, 1, START)).await.unwrap();
    let again = bench.outbox.route(&lease, routed(heads[0].id, 1, START)).await;
    assert!(again.is_err(), "an event is routed once");
    assert_eq!((bench.ledger().await.routed, bench.states().await.len()), (1, 1));
}

pub async fn events_to_route_count_as_waiting<S: Store>() {
    let bench = Bench::<S>::with(2).await;
    bench.outbox.accept(to_route(1, START, "TEST-1")).await.unwrap();
    bench.outbox.accept(to_route(2, START, "TEST-1")).await.unwrap();
    let refused = bench.outbox.accept(to_route(3, START, "TEST-1")).await.unwrap_err();
    assert!(matches!(refused, OutboxError::TooManyPending { pending: 2, most: 2 }), "{refused}");
    let (lease, heads) = bench.head(IssueLane::ROUTING).await;
    bench.outbox.route(&lease, routed(heads[0].id, 1, START)).await.unwrap();
    bench.end_all("slack", Next::Delivered).await;
    bench.outbox.accept(to_route(3, START, "TEST-1")).await.unwrap();
}

pub async fn what_is_filtered_is_listed_and_may_be_wanted_after_all<S: Store>() {
    let bench = Bench::<S>::new().await;
    let mut arrival = acting(1, START, &["TEST-1", "TEST-2"]);
    let Course::Routed(planned) = &mut arrival.course else { panic!("it is routed") };
    planned[0].filtered = Some("Campanile itself did this");
    bench.outbox.accept(arrival).await.unwrap();
    let (lease, heads) = bench.head(IssueLane::TRACKER).await;
    assert_eq!(heads[0].place(), "issue:TEST-2");
    let to = Next::Filtered { reason: "a later verdict was applied".into() };
    bench.settle(&lease, heads[0].id, to).await.unwrap();
    bench.outbox.release(lease, Until::Now);
    assert_eq!(bench.states().await, [State::Filtered, State::Filtered]);
    let ledger = bench.ledger().await;
    assert_eq!((ledger.planned, ledger.pending, ledger.filtered), (2, 0, 2));
    let filter = Filter { state: Some(State::Filtered), limit: 9, ..Filter::default() };
    let rows = bench.outbox.deliveries(filter).await.unwrap();
    assert_eq!(rows[1].reason.as_deref(), Some("Campanile itself did this"));
    assert_eq!(bench.outbox.replay(Replay::Channel("issue:TEST-1".into()), START + HOUR).await.unwrap(), 0);
    assert_eq!(bench.outbox.replay(Replay::One(rows[1].id), START + HOUR).await.unwrap(), 1);
    assert_eq!(bench.ledger().await.filtered, 1);
    let again = async {
        loop {
            if let [(_, due)] = bench.all_heads(IssueLane::TRACKER).await.as_slice() {
                break due.place();
            }
            bench.outbox.work(IssueLane::TRACKER).await;
        }
    };
    assert_eq!(again.await, "issue:TEST-1");
}

pub async fn either_mark_makes_a_duplicate<S: Store>() {
    let bench = Bench::<S>::new().await;
    let guarded = |n, guard: u8| Arrival { guard: Some(Fingerprint([guard; 16])), ..arrival(n, START, &["a"]) };
    let Accepted::New { event, .. } = bench.outbox.accept(guarded(1, 100)).await.unwrap() else { panic!("it is new") };
    for again in [guarded(2, 100), guarded(1, 101), arrival(1, START, &["a"])] {
        assert_eq!(bench.outbox.accept(again).await.unwrap(), Accepted::Duplicate { event });
    }
    assert!(matches!(bench.outbox.accept(guarded(3, 103)).await.unwrap(), Accepted::New { .. }));
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.routed, ledger.duplicate, ledger.pending), (5, 2, 3, 2));
    bench.clock.pass(Duration::from_secs(3_600));
    let later = Arrival { guard: Some(Fingerprint([100; 16])), ..arrival(9, bench.clock.now_ms(), &["a"]) };
    assert!(matches!(bench.outbox.accept(later).await.unwrap(), Accepted::New { .. }), "it counts no longer");
}

pub async fn a_mark_only_grows<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let mark = |number| Mark { name: "verdict:github:a/b:7".into(), number };
    assert_eq!(bench.outbox.mark("verdict:github:a/b:7").await.unwrap(), None);
    bench.outbox.raise(mark(5)).await.unwrap();
    bench.outbox.raise(mark(3)).await.unwrap();
    assert_eq!(bench.outbox.mark("verdict:github:a/b:7").await.unwrap(), Some(5));
    bench.outbox.accept(acting(1, START, &["TEST-1"])).await.unwrap();
    let (lease, heads) = bench.head(IssueLane::TRACKER).await;
    let marks = vec![mark(9), Mark { name: "comment:TEST-1".into(), number: 626 }];
    let settled = Settlement { marks, ..settlement(heads[0].id, START, Next::Delivered) };
    bench.outbox.settle(&lease, settled).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.outbox.mark("verdict:github:a/b:7").await.unwrap(), Some(9));
    assert_eq!(bench.outbox.mark("comment:TEST-1").await.unwrap(), Some(626));
    bench.outbox.raise(Mark { name: "recovered:tracker:TEST".into(), number: START }).await.unwrap();
    bench.expire(START + DAY, START + DAY).await;
    assert_eq!(bench.outbox.mark("comment:TEST-1").await.unwrap(), None, "retention is over");
    assert_eq!(bench.outbox.mark("recovered:tracker:TEST").await.unwrap(), Some(START), "a log is read on from there");
}

pub async fn a_settlement_that_is_not_ours_marks_nothing<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.outbox.accept(acting(1, START, &["TEST-1"])).await.unwrap();
    let (old, heads) = bench.head(IssueLane::TRACKER).await;
    bench.outbox.release(old.clone(), Until::Now);
    let marks = vec![Mark { name: "comment:TEST-1".into(), number: 1 }];
    let settled = Settlement { marks, ..settlement(heads[0].id, START, Next::Delivered) };
    assert!(bench.outbox.settle(&old, settled).await.is_err());
    assert_eq!(bench.outbox.mark("comment:TEST-1").await.unwrap(), None);
}

pub async fn the_head_of_an_issue_is_marked_when_its_holder_died<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    bench.outbox.accept(acting(1, START, &["TEST-1"])).await.unwrap();
    bench.head(IssueLane::TRACKER).await;
    bench.reopen().await;
    let (_, heads) = bench.head(IssueLane::TRACKER).await;
    assert!(heads[0].unclear, "it may have been done");
}

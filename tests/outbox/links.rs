//! What issues are linked to, and what is known of it.

use campanile::outbox::{ChannelNow, LinkFilter, Linking, Object};
use serde_json::json;

use super::*;

fn linking(n: u8, now: Millis, object: &str, channels: &[&str]) -> Linking {
    let arrival = Arrival { issue: Some("TEST-1".into()), kind: "link.created".into(), ..arrival(n, now, channels) };
    Linking { object: object.into(), by: Some("maria".into()), arrival, other_keys: Vec::new() }
}

fn told(n: u8, told_at: Millis, at: Millis, url: &str) -> Arrival {
    let object = Object { key: "bench:TEST-1".into(), at, state: json!({"url": url, "state": "ready"}) };
    Arrival { object: Some(object), ..arrival(n, told_at, &["a"]) }
}

impl<S: Store> Bench<S> {
    async fn listed(&self, filter: LinkFilter) -> Vec<(String, String)> {
        let rows = self.outbox.links(LinkFilter { limit: filter.limit.max(1), ..filter }).await.unwrap();
        rows.into_iter().map(|row| (row.issue, row.object)).collect()
    }

    async fn url(&self) -> Option<String> {
        let object = self.outbox.object("bench:TEST-1").await.unwrap();
        object.map(|object| object.state["url"].as_str().unwrap().to_owned())
    }

    async fn followers(&self, issue: &str) -> Vec<String> {
        let channels = self.outbox.linked_channels(issue).await.unwrap();
        channels.into_iter().map(|channel| channel.to_string()).collect()
    }
}

pub async fn a_link_is_made_once_with_its_event_and_outlives_its_process<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let made = bench.outbox.link(linking(1, START, "channel:a", &["a", "t"])).await.unwrap();
    assert!(matches!(made, Some(Accepted::New { deliveries: Some(2), .. })), "{made:?}");
    bench.reopen().await;
    assert_eq!(bench.outbox.link(linking(2, START, "channel:a", &["a"])).await.unwrap(), None);
    let ledger = bench.ledger().await;
    assert_eq!((ledger.received, ledger.routed, ledger.pending), (1, 1, 2));
    let rows = bench.outbox.links(LinkFilter { limit: 9, ..LinkFilter::default() }).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&*row.issue, &*row.object, row.at, row.by.as_deref()), ("TEST-1", "channel:a", START, Some("maria")));
    assert_eq!(bench.head("slack").await.1.len(), 1, "the lane has heard of it");

    assert_eq!(bench.outbox.unlink(linking(3, START, "channel:b", &["a"])).await.unwrap(), None);
    let gone = bench.outbox.unlink(linking(4, START, "channel:a", &[])).await.unwrap();
    assert!(matches!(gone, Some(Accepted::New { deliveries: Some(0), .. })), "{gone:?}");
    assert_eq!(bench.outbox.unlink(linking(5, START, "channel:a", &[])).await.unwrap(), None);
    assert!(bench.listed(LinkFilter::default()).await.is_empty());
    let again = bench.outbox.link(linking(6, START, "channel:a", &[])).await.unwrap();
    assert!(again.is_some(), "it may come again");
    assert_eq!(bench.ledger().await.received, 3);
}

pub async fn a_link_whose_event_is_refused_is_not_made<S: Store>() {
    let mut bench = Bench::<S>::with(1).await;
    for (n, channels) in [(1, ["a", "nowhere"]), (2, ["a", "b"])] {
        bench.outbox.link(linking(n, START, "channel:a", &channels)).await.unwrap_err();
    }
    bench.outbox.link(linking(3, START, "channel:b", &[])).await.unwrap();
    bench.outbox.unlink(linking(4, START, "channel:b", &["a", "b"])).await.unwrap_err();
    for _ in 0..2 {
        assert_eq!(bench.listed(LinkFilter::default()).await, [("TEST-1".into(), "channel:b".into())]);
        assert_eq!(bench.followers("TEST-1").await, ["b"]);
        assert_eq!(bench.ledger().await.received, 1);
        bench.reopen().await;
    }
}

pub async fn an_issue_is_followed_by_the_channels_it_is_linked_to<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    for (n, object) in (1..).zip(["channel:t", "channel:a", "bench:a", "review:github:channel:a:7", "channel:gone"]) {
        bench.outbox.link(linking(n, START, object, &[])).await.unwrap();
    }
    let other = Linking { arrival: arrival(7, START, &[]), ..linking(7, START, "channel:t", &[]) };
    bench.outbox.link(other).await.unwrap();
    bench.outbox.unlink(linking(8, START, "channel:t", &[])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(bench.followers("TEST-1").await, ["a", "gone"]);
        assert_eq!(bench.followers("TEST-7").await, ["t"], "its own link stands");
        assert!(bench.followers("TEST-2").await.is_empty());
        bench.reopen().await;
    }
}

pub async fn a_link_by_any_key_of_its_issue_is_one_link<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    let moved = |n: u8, object: &str, keys: [&str; 2]| {
        let linking = linking(n, START, object, &[]);
        let arrival = Arrival { issue: Some(keys[0].into()), ..linking.arrival };
        Linking { arrival, other_keys: vec![keys[1].into(), "GONE-1".into()], ..linking }
    };
    bench.outbox.link(linking(1, START, "bench:a", &[])).await.unwrap();
    bench.outbox.link(linking(2, START, "channel:a", &[])).await.unwrap();
    assert_eq!(bench.outbox.link(moved(3, "channel:a", ["OPS-1", "TEST-1"])).await.unwrap(), None);
    // Both were made while nobody told that they are of one issue.
    for (n, key) in [(4, "OPS-1"), (5, "OPS-2")] {
        bench.outbox.link(moved(n, "channel:b", [key, "OPS-9"])).await.unwrap().unwrap();
    }
    assert_eq!(bench.ledger().await.received, 4);
    for _ in 0..2 {
        assert_eq!(bench.followers("TEST-1").await, ["a"]);
        assert_eq!(bench.followers("OPS-1").await, ["b"]);
        bench.reopen().await;
    }
    assert!(bench.outbox.unlink(moved(6, "channel:a", ["OPS-1", "TEST-1"])).await.unwrap().is_some());
    assert!(bench.outbox.unlink(moved(7, "channel:b", ["OPS-1", "OPS-2"])).await.unwrap().is_some());
    assert_eq!(bench.outbox.unlink(moved(8, "channel:b", ["OPS-2", "OPS-1"])).await.unwrap(), None);
    assert_eq!(bench.ledger().await.received, 6, "an event for each change, not for each key");
    for _ in 0..2 {
        assert!(bench.followers("OPS-2").await.is_empty() && bench.followers("TEST-1").await.is_empty());
        assert_eq!(
            bench.listed(LinkFilter { limit: 9, ..LinkFilter::default() }).await,
            [("TEST-1".into(), "bench:a".into())]
        );
        bench.reopen().await;
    }
}

pub async fn a_moved_issue_is_followed_by_its_new_key_too<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    for (n, object) in (1..).zip(["channel:a", "channel:b", "bench:a"]) {
        bench.outbox.link(linking(n, START, object, &[])).await.unwrap();
    }
    let before = ["TEST-1".to_owned(), "GONE-1".to_owned()];
    assert!(bench.outbox.link_moved("OPS-1", &before).await.unwrap());
    assert!(!bench.outbox.link_moved("OPS-1", &before).await.unwrap(), "it is linked by now");
    assert!(!bench.outbox.link_moved("OPS-2", &["NONE-1".to_owned()]).await.unwrap());
    assert_eq!(bench.ledger().await.received, 3, "no event");
    for _ in 0..2 {
        assert_eq!(bench.followers("OPS-1").await, ["a", "b"]);
        assert_eq!(bench.followers("TEST-1").await, ["a", "b"]);
        assert!(bench.followers("OPS-2").await.is_empty());
        bench.reopen().await;
    }
    let of_new = LinkFilter { issue: Some("OPS-1".into()), limit: 9, ..LinkFilter::default() };
    let rows = bench.outbox.links(of_new).await.unwrap();
    assert!(rows.iter().all(|row| (row.at, row.by.as_deref()) == (START, Some("maria"))), "{rows:?}");
    let gone = linking(9, START, "channel:a", &[]);
    let gone = Linking { other_keys: vec!["OPS-1".into()], ..gone };
    assert!(bench.outbox.unlink(gone).await.unwrap().is_some());
    assert_eq!(bench.followers("OPS-1").await, ["b"]);
}

pub async fn links_are_listed_page_by_page<S: Store>() {
    let bench = Bench::<S>::new().await;
    for n in 1..=5 {
        bench.outbox.link(linking(n, START, &format!("bench:{n}"), &[])).await.unwrap();
    }
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = bench.outbox.links(LinkFilter { before, limit: 2, ..LinkFilter::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|row| row.object));
    }
    assert_eq!(seen, ["bench:5", "bench:4", "bench:3", "bench:2", "bench:1"]);
    let of = |issue: &str, object: &str| LinkFilter {
        issue: Some(issue.into()),
        object: Some(object.into()),
        ..LinkFilter::default()
    };
    assert_eq!(bench.listed(of("TEST-1", "bench:2")).await, [("TEST-1".into(), "bench:2".into())]);
    assert!(bench.listed(of("TEST-2", "bench:2")).await.is_empty());
}

pub async fn what_was_told_last_of_an_object_is_what_happened_last<S: Store>() {
    let mut bench = Bench::<S>::new().await;
    assert_eq!(bench.url().await, None);
    let first = told(1, START, START + 5, "https://first");
    bench.outbox.accept(first.clone()).await.unwrap();
    let late = told(2, START, START + 4, "https://late");
    bench.outbox.accept(late).await.unwrap();
    assert_eq!(bench.url().await.as_deref(), Some("https://first"), "it was told late");
    let twice = Arrival { object: Some(Object { at: START + 9, ..first.object.clone().unwrap() }), ..first };
    assert!(matches!(bench.outbox.accept(twice).await.unwrap(), Accepted::Duplicate { .. }));
    bench.outbox.accept(told(3, START, START + 6, "https://next")).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.url().await.as_deref(), Some("https://next"));
    let guarded = Arrival { guard: Some(Fingerprint([9; 16])), ..told(4, START, START + 7, "https://guarded") };
    bench.outbox.accept(guarded).await.unwrap();
    assert_eq!(bench.url().await.as_deref(), Some("https://guarded"));
    let refused = Arrival { object: told(5, START, START + 8, "https://no").object, ..arrival(5, START, &["nowhere"]) };
    bench.outbox.accept(refused).await.unwrap_err();
    assert_eq!(bench.url().await.as_deref(), Some("https://guarded"), "with its event or not at all");
}

pub async fn an_object_is_forgotten_when_nothing_is_linked_to_it<S: Store>() {
    let bench = Bench::<S>::new().await;
    bench.outbox.accept(told(1, START, START + DAY, "https://one")).await.unwrap();
    bench.outbox.link(linking(2, START, "bench:TEST-1", &[])).await.unwrap();
    bench.expire(START + DAY, START).await;
    bench.expire(START + DAY, START + 1).await;
    assert!(bench.url().await.is_some(), "somebody may look at it");
    bench.outbox.unlink(linking(3, START, "bench:TEST-1", &[])).await.unwrap();
    bench.expire(START + DAY, START).await;
    assert!(bench.url().await.is_some());
    bench.expire(START + DAY, START + 1).await;
    assert_eq!(bench.url().await, None);
}

pub async fn a_channel_tells_of_its_last_message_and_its_hold<S: Store>() {
    let bench = Bench::<S>::new().await;
    let (a, nowhere) = ("a".to_owned().try_into().unwrap(), "nowhere".to_owned().try_into().unwrap());
    assert_eq!(bench.outbox.channel_now(&a).await.unwrap(), ChannelNow::default());
    assert_eq!(bench.outbox.channel_now(&nowhere).await.unwrap(), ChannelNow::default());
    bench.accept(1, &["a"]).await;
    bench.accept(2, &["b"]).await;
    let now = bench.outbox.channel_now(&a).await.unwrap();
    assert_eq!((now.hold, now.last), (None, Some((State::Pending, START))));
    let leases = bench.outbox.claim("slack", 8).await.unwrap();
    for lease in leases {
        let due = bench.outbox.heads(&lease, 1).await.unwrap().remove(0);
        let hold = Hold { until: START + HOUR, reason: "429".into(), needs_a_person: false };
        let settlement = Settlement { hold: Some(hold), ..settlement(due.id, START + 7, dead()) };
        bench.outbox.settle(&lease, settlement).await.unwrap();
    }
    let now = bench.outbox.channel_now(&a).await.unwrap();
    assert_eq!(now.last, Some((State::Dead, START + 7)));
    assert_eq!(now.hold.map(|hold| hold.reason).as_deref(), Some("429"));
}

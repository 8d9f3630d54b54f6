//! What a round asks Tracker: how much, from where on, and with which token.

use super::*;

#[tokio::test]
async fn a_round_asks_a_hundred_questions_at_most_and_the_next_one_goes_on() {
    const QUEUES: usize = 20; // one question for the triggers of each, and five for what they called
    let setup = usual();
    let names: Vec<String> = (b'A'..).take(QUEUES).map(|letter| format!("Q{}", char::from(letter))).collect();
    let tracker = setup.tracker.clone().map(|tracker| {
        names.iter().fold(tracker, |tracker, name| {
            let issue = TrackerIssue::new(format!("{name}-1"), "so");
            tracker.queue(TrackerQueue::new(name.as_str(), "Очередь")).issue(issue)
        })
    });
    let mut connected = Connected::without_triggers(Setup { tracker, ..setup }).await;
    connected.stop().await;
    connected.door.leads_to(Behind::Page(503));
    for name in &names {
        for watched in Watched::ALL {
            let trigger = trigger(watched, &connected.door.url, HOOK_SECRET);
            connected.world.tracker().make_trigger(name, &trigger).unwrap();
        }
        // The last of its queue's triggers fires: a round that ends in the middle of a queue has not read it.
        let (key, assigned) = (format!("{name}-1"), json!({"assignee": "ivan.ivanov"}));
        connected.world.tracker().update(&key, assigned.as_object().unwrap(), "maria.petrova").unwrap();
    }
    connected.until_tried(QUEUES).await;
    connected.world.clock.pass(HOUR);
    let tracker = connected.world.tracker();
    let before = tracker.requests("triggers") + tracker.requests("webhook_log");
    let queues = format!("queues: [{}]", names.join(", "));
    let path = connected.world.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("queues: [TEST]", &queues, 1)).unwrap();
    connected.start().await;
    let asked = || connected.world.tracker().requests("triggers") + connected.world.tracker().requests("webhook_log");
    connected.until(|| asked() - before >= 100).await;
    // Two minutes: the next round comes five after this one.
    for _ in 0..120 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(asked() - before, 100);
    let recovered = connected.recovered().await as usize;
    assert!((1..QUEUES).contains(&recovered), "{recovered}");
    connected.until_posted(QUEUES as u64).await;
    assert_eq!(connected.recovered().await as usize, QUEUES);
}

#[tokio::test]
async fn a_renewed_token_ends_the_hour() {
    let setup = usual();
    let robot = TrackerUser::new("campanile-bot", "Робот", "Кампанилы").without_rights();
    let tracker = setup.tracker.clone().map(|tracker| tracker.user(robot));
    let mut connected = Connected::new(Setup { tracker, ..setup }).await;
    let token = connected.world.folder.path().join("token");
    std::fs::write(&token, TRACKER_TOKEN).unwrap();
    connected.world.restart_with(|text| text.replace("token: {env: TRACKER_TOKEN}", "token: {file: token}")).await;
    let asked = || connected.world.tracker().requests("triggers");
    connected.world.until_figure("campanile_recovery_refused{queue=\"TEST\"}", 1.0, SECOND).await;
    let before = asked();
    connected.world.tracker().renew_token("y0_renewed", "campanile-bot");
    std::fs::write(&token, "y0_renewed").unwrap();
    // Six minutes, of an hour: the next round.
    for _ in 0..360 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(asked(), before + 1, "the new one is tried, once");
    connected.world.tracker().renew_token("y0_administrators", "maria.petrova");
    std::fs::write(&token, "y0_administrators").unwrap();
    connected.world.until_figure("campanile_recovery_refused{queue=\"TEST\"}", 0.0, SECOND).await;
}

/// Each has a mark of its own: what was read of one was not read of the other.
#[tokio::test]
async fn what_two_sources_of_a_queue_missed_comes_to_each() {
    let more = "  another: {kind: tracker, secret: {env: HOOK}}\n";
    let mut connected = Connected::without_triggers(Setup { sources: more.into(), ..usual() }).await;
    for source in ["another", "tracker"] {
        let (url, secret) = (&connected.door.url, HOOK_SECRET.to_owned().into());
        connected.connect(Wanted::of(Watched::StatusChanged, url, source, &secret).json());
    }
    for round in 1..=2 {
        connected.stop().await;
        connected.status(if round == 1 { "readyForTest" } else { "open" });
        connected.until_tried(round * 2 * 5).await;
        connected.world.clock.pass(HOUR);
        connected.start().await;
        connected.until_posted(round as u64 * 2).await;
    }
    connected.until_looked().await;
    let events = connected.events().await;
    let mut sources: Vec<_> = events.iter().map(|event| event["event"]["source"].as_str().unwrap()).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["another", "another", "tracker", "tracker"]);
    assert!(events.iter().all(|event| event["event"]["recovered"] == true));
}

/// Not by the next round, and not by the process after this one.
#[tokio::test]
async fn what_was_read_of_the_log_is_not_asked_for_again() {
    let mut connected = Connected::new(usual()).await;
    let asked_from = |connected: &Connected| {
        let arrivals = connected.world.tracker().arrivals();
        let calls = arrivals.iter().filter(|arrival| arrival.call.method == "webhook_log");
        let from = calls.map(|arrival| arrival.call.query.iter().find(|(name, _)| name == "from").unwrap().1.clone());
        from.collect::<Vec<_>>()
    };
    for _ in 0..2 {
        connected.until(|| !asked_from(&connected).is_empty()).await;
        let before = asked_from(&connected);
        connected.until_looked().await;
        let next = asked_from(&connected);
        assert!(next.last() > before.last(), "{next:?}");
        connected.world.restart().await;
        let known = next.len();
        connected.until(|| asked_from(&connected).len() > known).await;
        assert!(asked_from(&connected)[known] > next[known - 1], "{:?}", asked_from(&connected));
    }
}

/// In the same round: the next one comes five minutes later.
#[tokio::test]
async fn a_queue_that_cannot_be_read_hinders_no_other() {
    let setup = usual();
    let issue = TrackerIssue::new("OPS-1", "so");
    let tracker = setup.tracker.clone().map(|tracker| tracker.queue(TrackerQueue::new("OPS", "Смена")).issue(issue));
    let mut connected = Connected::without_triggers(Setup { tracker, ..setup }).await;
    connected.stop().await;
    let trigger = trigger(Watched::CommentAdded, &connected.door.url, HOOK_SECRET);
    connected.world.tracker().make_trigger("OPS", &trigger).unwrap();
    connected.world.tracker().comment("OPS-1", "so", "ivan.ivanov").unwrap();
    connected.until_tried(5).await;
    connected.world.clock.pass(HOUR);
    let fault = Fault::error("422 Так нельзя.").always().method("triggers");
    connected.world.tracker().fault(fault.when(|call| call.path[0] == "TEST"));
    let path = connected.world.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("queues: [TEST]", "queues: [TEST, OPS]", 1)).unwrap();
    let before = connected.world.tracker().requests("triggers");
    connected.start().await;
    connected.until(|| connected.world.tracker().requests("triggers") > before).await;
    for _ in 0..120 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!((connected.world.tracker().requests("triggers") - before, connected.recovered().await), (2, 1.0));
}

/// Whoever has changed the rights or the queues reloads, and need not wait for the hour.
#[tokio::test]
async fn a_reload_ends_the_hour_and_forgets_queues_that_are_named_no_more() {
    let setup = usual();
    let robot = TrackerUser::new("campanile-bot", "Робот", "Кампанилы").without_rights();
    let tracker = setup.tracker.clone().map(|tracker| tracker.queue(TrackerQueue::new("OPS", "Смена")).user(robot));
    let connected = Connected::new(Setup { tracker, ..setup }).await;
    let refused = |queue: &str| format!("campanile_recovery_refused{{queue=\"{queue}\"}}");
    connected.world.until_figure(&refused("TEST"), 1.0, SECOND).await;
    let before = connected.world.tracker().requests("triggers");
    connected.world.reload_with(|text| text.replacen("queues: [TEST]", "queues: [TEST, OPS]", 1)).await.unwrap();
    for _ in 0..120 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(connected.world.tracker().requests("triggers"), before + 2, "both are asked");
    connected.world.reload_with(|text| text.replacen("queues: [TEST, OPS]", "queues: [OPS]", 1)).await.unwrap();
    connected.until(|| connected.world.tracker().requests("triggers") == before + 3).await;
    connected.world.until_figure(&refused("OPS"), 1.0, SECOND).await;
    assert!(!connected.world.metrics().await.contains(&refused("TEST")));
}

/// A replica of a version that notes nothing of calls may go on for an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_replicas_of_before_an_upgrade_the_store_knows_of_calls_an_hour_later() {
    let database = Database::new().await;
    let connected = Connected::new(Setup { store: database.url.clone(), ..usual() }).await;
    let client = crate::harness::postgres::connect(&database.url).await;
    let since = async || {
        let row = client.query_one("select number from marks where name = 'recovered'", &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let began = since().await;
    assert!(began <= connected.world.clock.now_ms(), "alone it knows at once");
    client.execute("delete from marks where name = 'recovered'", &[]).await.unwrap();
    let before = connected.world.clock.now_ms();
    let other = connected.world.another_app().await;
    assert!(since().await >= before + HOUR.as_millis() as i64);
    drop(other);
}

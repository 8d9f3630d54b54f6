//! A stop finishes what is on its way, leaves the rest to the next start, and does nothing twice.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{Fault, SlackSimulator, TelegramSimulator};

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, TELEGRAM, World, numbered, numbers};

const SECOND: Duration = Duration::from_secs(1);

/// Asks until the answer is as wanted, `None` where nobody answers.
async fn asked(client: &Client, url: &str, wanted: impl Fn(Option<u16>) -> bool) {
    for _ in 0..10_000 {
        let answer = client.get(url).try_body("").await.ok().map(|answer| answer.status);
        if wanted(answer) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{url} never answers as wanted");
}

#[tokio::test]
async fn not_ready_at_once_and_intake_goes_on_for_two_seconds() {
    let mut world = Setup::default().start().await;
    let ready = world.public_url("/readyz");
    let stop = world.begin_stop();
    asked(&world.http, &ready, |answer| answer == Some(503)).await;
    world.clock.pass(Duration::from_millis(1_999));
    world.burst(0..2).await;
    assert_eq!(world.deliveries().await.len(), 4, "the admin listener goes on as long");
    world.clock.pass(Duration::from_millis(1));
    asked(&world.http, &ready, |answer| answer.is_none()).await;
    assert!(stop.await.unwrap());
    assert_eq!(world.slack.counts().calls + world.telegram.counts().calls, 0, "nothing new is begun");
    world.start_app().await;
    world.settled_as("delivered", 4).await;
}

/// A world with three messages for each messenger, the first of them on its way.
async fn with_messages_on_their_way(shutdown_seconds: &str, setup: Setup) -> World {
    let mut world = setup.start().await;
    let set = format!("shutdown_seconds: {shutdown_seconds}");
    world.restart_with(|text| text.replace("shutdown_seconds: 10", &set)).await;
    world.slack.fault(Fault::HangBefore.once());
    world.telegram.fault(Fault::HangAfter.once());
    world.burst(0..3).await;
    world.slack_seen(|record| record.counts().calls == 1).await;
    world.telegram_seen(|record| record.counts().calls == 1).await;
    world
}

#[tokio::test]
async fn what_is_on_its_way_is_finished_and_the_rest_waits() {
    let mut world = with_messages_on_their_way("10", Setup::default()).await;
    let (ready, stop) = (world.public_url("/readyz"), world.begin_stop());
    asked(&world.http, &ready, |answer| answer == Some(503)).await;
    world.clock.pass(SECOND * 2);
    asked(&world.http, &ready, |answer| answer.is_none()).await;
    assert!(!stop.is_finished(), "two messages are on their way");
    world.slack.release();
    world.telegram.release();
    assert!(stop.await.unwrap());
    assert_eq!((world.slack.counts().calls, world.telegram.counts().calls), (1, 1));
    world.start_app().await;
    world.clock.pass(SECOND);
    let rows = world.settled_as("delivered", 6).await;
    assert!(rows.iter().all(|row| row["attempts"] == 1 && row["unclear"] == false), "{rows:?}");
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        assert_eq!(numbers(&posts), [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_messenger_that_hangs_cannot_hold_the_stop() {
    let mut world = with_messages_on_their_way("5", Setup::default()).await;
    let stop = world.begin_stop();
    asked(&world.http, &world.public_url("/readyz"), |answer| answer == Some(503)).await;
    world.clock.pass(SECOND * 5);
    assert!(!stop.await.unwrap(), "it had to be cut off, and says so");
    world.start_app().await;
    world.clock.pass(SECOND);
    let rows = world.settled_as("delivered", 6).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1, 2]);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), [0, 0, 1, 2], "its answer was never heard");
    let marked: Vec<_> = rows.iter().filter(|row| row["unclear"] == true).map(|row| row["event"].clone()).collect();
    assert_eq!(marked, [rows[0]["event"].clone(), rows[0]["event"].clone()], "what was cut off, and nothing else");
}

#[tokio::test]
async fn what_was_cut_off_is_not_sent_again_where_nothing_may_come_twice() {
    let setup = Setup::default();
    let channels = setup.channels.replace('}', ", on_unclear: give_up}");
    let mut world = with_messages_on_their_way("5", Setup { channels, ..setup }).await;
    let stop = world.begin_stop();
    asked(&world.http, &world.public_url("/readyz"), |answer| answer == Some(503)).await;
    world.clock.pass(SECOND * 5);
    assert!(!stop.await.unwrap());
    world.start_app().await;
    let rows = world.settled_as("delivered", 4).await;
    let dead: Vec<_> = rows.iter().filter(|row| row["state"] == "dead").map(|row| row["event"].clone()).collect();
    assert_eq!(dead, [1, 1]);
    assert_eq!(numbers(&world.slack.posted(SLACK)), [1, 2]);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), [0, 1, 2]);
}

#[tokio::test]
async fn a_backlog_does_not_hold_the_stop() {
    let mut world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::rate_limited(600).once());
    world.burst(0..50).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    let stop = world.begin_stop();
    asked(&world.http, &world.public_url("/readyz"), |answer| answer == Some(503)).await;
    world.clock.pass(SECOND * 2);
    assert!(stop.await.unwrap());
    world.start_app().await;
    world.clock.pass(SECOND * 600);
    world.settled_as("delivered", 50).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), (0..50).collect::<Vec<_>>());
}

/// The real binary: SIGTERM while a message is on its way and triggers still come.
#[tokio::test]
async fn the_binary_stops_clean_on_sigterm() {
    let setup = Setup::on(Clock::machine()).only_slack();
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    bridge.start().await;
    slack.fault(Fault::HangBefore.once());
    let (client, hook, ready) = (Client::default(), bridge.hook_url(), format!("http://{}/readyz", bridge.public));
    let fire = async |n| {
        let call = client.post(&hook).header("authorization", HOOK_SECRET);
        assert_eq!(call.json(&numbered(n)).await.status, 202);
    };
    for n in 0..3 {
        fire(n).await;
    }
    slack.wait_for_calls(1).await;
    let (ended, ()) = tokio::join!(bridge.terminate(), async {
        asked(&client, &ready, |answer| answer == Some(503)).await;
        fire(3).await;
        slack.release();
        slack.wait_for_posts(1).await;
    });
    assert_eq!(ended.code(), Some(0), "{}", bridge.log());
    assert_eq!(slack.counts().calls, 1, "the rest waits for the next start");
    bridge.start().await;
    slack.wait_for_posts(4).await;
    assert!(bridge.terminate().await.success());
    assert_eq!(numbers(&slack.posted(SLACK)), [0, 1, 2, 3]);
}

/// The real binary: SIGTERM while a messenger hangs, for longer than a stop may take.
#[tokio::test]
async fn the_binary_does_not_wait_for_a_messenger_that_hangs() {
    let setup = Setup::on(Clock::machine());
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    let config = folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("shutdown_seconds: 10", "shutdown_seconds: 3")).unwrap();
    bridge.start().await;
    slack.fault(Fault::HangBefore.once());
    telegram.fault(Fault::HangAfter.once());
    let client = Client::default();
    for n in 0..3 {
        let call = client.post(&bridge.hook_url()).header("authorization", HOOK_SECRET);
        assert_eq!(call.json(&numbered(n)).await.status, 202);
    }
    slack.wait_for_calls(1).await;
    telegram.wait_for_calls(1).await;
    assert_eq!(bridge.terminate().await.code(), Some(0), "{}", bridge.log());
    assert!(bridge.log().contains("shutdown_seconds are over"), "{}", bridge.log());
    assert_eq!((slack.counts().calls, telegram.counts().calls), (1, 1), "it was cut off before the attempt's own end");
    bridge.start().await;
    slack.wait_for_posts(3).await;
    telegram.wait_for_posts(4).await;
    assert!(bridge.terminate().await.success());
    assert_eq!(numbers(&slack.posted(SLACK)), [0, 1, 2]);
    assert_eq!(numbers(&telegram.posted(TELEGRAM)), [0, 0, 1, 2], "its answer was never heard");
}

//! A messenger, or one of its channels, that does not answer.

use campanile::simulator::Fault;

use super::*;
use crate::harness::{SLACK, TELEGRAM, numbered, numbered_to, numbers};

#[tokio::test]
async fn ten_failures_in_a_row_open_the_breaker_and_probes_go_every_two_seconds() {
    const LANES: usize = 12;
    let world = slack_channels(LANES).start().await;
    world.slack.fault(Fault::bad_gateway().always());
    for n in 0..LANES {
        world.accepted(&numbered_to(n, n)).await;
    }
    world.until_figure(r#"campanile_breaker_open{account="slack"}"#, 1.0, Duration::ZERO).await;
    let unclear = r#"campanile_attempts_total{messenger="slack",outcome="unclear"}"#;
    // The calls that were on their way when the tenth failed have all ended before time goes on.
    let mut calls = 0;
    while calls != world.slack.counts().calls {
        calls = world.slack.counts().calls;
        world.until_figure(unclear, calls as f64, Duration::ZERO).await;
    }
    assert!((10..=LANES as u64).contains(&calls), "{calls}");
    for _ in 0..8 {
        world.clock.pass(SECOND * 2 - Duration::from_millis(1));
        stays_at(&world, calls).await;
        world.clock.pass(Duration::from_millis(1));
        calls += 1;
        world.until_figure(unclear, calls as f64, Duration::ZERO).await;
    }
    world.slack.clear();
    world.clock.pass(SECOND * 2);
    world.settled_as("delivered", LANES).await; // the clock stands: no lane waits for its own back-off
    assert_eq!(world.figure(r#"campanile_breaker_open{account="slack"}"#).await, 0.0);
}

#[tokio::test]
async fn refusals_and_429s_do_not_open_it() {
    let world = slack_channels(12).start().await;
    world.slack.fault(Fault::error("is_archived").times(6));
    world.slack.fault(Fault::rate_limited(1).times(6));
    for n in 0..12 {
        world.accepted(&numbered_to(n, n)).await;
    }
    world.until_all("delivered").await;
    assert_eq!(world.figure(r#"campanile_breaker_open{account="slack"}"#).await, 0.0);
    assert_eq!(world.figure(r#"campanile_attempts_total{messenger="slack",outcome="breaker_open"}"#).await, 0.0);
}

/// Another account's lanes are not concerned either: both messengers in one world.
#[tokio::test]
async fn a_channel_that_hangs_delays_no_other() {
    let world = Setup::default().channels(4, |n| match n {
        0 | 1 => format!("slack: {}", slack(n)),
        _ => format!("telegram: {}", chat(n)),
    });
    let world = world.start().await;
    world.slack.fault(Fault::HangBefore.always().on(slack(0)));
    world.telegram.fault(Fault::Slow(SECOND * 9).always().on(chat(2).to_string()));
    for n in 0..40 {
        world.accepted(&numbered_to(n % 4, n)).await;
    }
    world.settled_as("delivered", 20).await; // the clock stands
    assert_eq!(numbers(&world.slack.posted(&slack(1))), (1..40).step_by(4).collect::<Vec<_>>());
    assert_eq!(numbers(&world.telegram.posted(&chat(3).to_string())), (3..40).step_by(4).collect::<Vec<_>>());
    world.slack.clear();
    world.telegram.clear();
    world.slack.release();
    world.until_all("delivered").await;
    assert_eq!(numbers(&world.slack.posted(&slack(0))), (0..40).step_by(4).collect::<Vec<_>>());
    assert_eq!(numbers(&world.telegram.posted(&chat(2).to_string())), (2..40).step_by(4).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_a_day_without_messengers_everything_comes_in_order_and_says_how_late() {
    let mut world = Setup::default().start().await;
    world.slack.go_down().await;
    world.telegram.go_down().await;
    for hour in 0..24 {
        world.accepted(&numbered(hour)).await;
        if hour == 12 {
            world.restart().await;
        }
        world.clock.pass(HOUR);
    }
    assert_eq!(world.figure(r#"campanile_pending{channel="ops-slack"}"#).await, 24.0);
    let oldest = world.figure(r#"campanile_oldest_pending_seconds{channel="ops-slack"}"#).await;
    assert!(oldest >= 24.0 * 3_600.0, "{oldest}");
    world.slack.come_up().await.unwrap();
    world.telegram.come_up().await.unwrap();
    world.until_all("delivered").await;
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        assert_eq!(numbers(&posts), (0..24).collect::<Vec<_>>());
        for (n, post) in posts.iter().enumerate() {
            let late = if n == 0 { "delayed 1 d".to_owned() } else { format!("delayed {} h", 24 - n) };
            assert!(post.seen.text.contains(&late), "{n}: {}", post.seen.text);
        }
    }
}

#[tokio::test]
async fn what_waited_too_long_is_a_dead_letter_with_the_last_reason() {
    let setup = Setup::default();
    let channels = setup.channels.replace('}', ", give_up_after_hours: 2}");
    let world = Setup { channels, ..setup }.start().await;
    world.slack.go_down().await;
    world.telegram.fault(Fault::error("Bad Request: chat not found").always());
    world.accepted(&numbered(0)).await;
    world.settled(|rows| rows[1]["attempts"] == 1).await;
    world.until_deliveries(|rows| rows[0]["attempts"].as_u64() >= Some(1)).await;
    world.clock.pass(HOUR);
    world.accepted(&numbered(1)).await;
    world.clock.pass(HOUR + MINUTE * 15);
    let rows = world.until_deliveries(|rows| rows[0]["state"] == "dead" && rows[1]["state"] == "dead").await;
    for (row, why) in rows.iter().zip(["could not be reached", "chat not found"]) {
        let reason = row["reason"].as_str().unwrap();
        assert!(reason.contains("give_up_after_hours") && reason.contains(why), "{reason}");
    }
    assert!(rows[2..].iter().all(|row| row["state"] == "pending"), "younger ones wait on");
    world.slack.come_up().await.unwrap();
    world.telegram.clear();
    world.until_deliveries(|rows| rows[2..].iter().all(|row| row["state"] == "delivered")).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [1]);
}

#[tokio::test]
async fn one_lane_alone_is_probed_every_two_seconds_too() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::bad_gateway().always());
    world.burst(0..1).await;
    world.until_figure(r#"campanile_breaker_open{account="slack"}"#, 1.0, Duration::from_millis(100)).await;
    let unclear = r#"campanile_attempts_total{messenger="slack",outcome="unclear"}"#;
    let before = world.figure(unclear).await;
    let opened = world.clock.now();
    world.until_figure(unclear, before + 10.0, Duration::from_millis(100)).await;
    let took = world.clock.now().duration_since(opened).as_secs();
    // On a loaded machine the clock runs ahead of the probes; by the lane's own back-off they would take ten minutes.
    assert!(took <= 100, "ten probes took {took} s: the lane's own back-off had come to a minute");
    world.slack.clear();
    world.until_all("delivered").await;
}

//! Pauses that the messengers name, and what waits for a person.

use campanile::simulator::{ChatKind, ChatState, Fault, SlackChannel, TelegramChat};

use serde_json::json;

use super::*;
use crate::harness::{SLACK, SLACK_TOKEN, TELEGRAM, TELEGRAM_TOKEN, numbered_to, numbers};

#[tokio::test]
async fn slacks_429_holds_the_account_for_as_long_as_it_says() {
    let world = slack_channels(3).start().await;
    world.slack.fault(Fault::rate_limited(30).once());
    world.accepted(&numbered_to(0, 0)).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    let holds = world.api("/api/v1/holds").await;
    assert_eq!(holds["holds"].as_array().unwrap().len(), 1, "{holds}");
    let hold = &holds["holds"][0];
    assert_eq!((&hold["account"], &hold["until"]), (&json!("slack"), &json!("2026-05-12T09:15:32Z")), "{hold}");
    assert_eq!(hold["needs_a_person"], false);
    world.accepted(&numbered_to(1, 1)).await;
    world.accepted(&numbered_to(2, 2)).await;
    world.clock.pass(SECOND * 29);
    stays_at(&world, 1).await;
    world.clock.pass(SECOND);
    world.settled_as("delivered", 3).await;
    assert_eq!(world.slack.counts().calls, 4);
    assert_eq!(world.figure(r#"campanile_account_held{account="slack"}"#).await, 0.0);
    assert_eq!(world.api("/api/v1/holds").await, json!({"holds": []}));
}

/// A lane in the middle of its line stops too, and what it had on the way does not end the pause.
#[tokio::test]
async fn slacks_429_stops_the_lanes_that_are_sending() {
    let world = slack_channels(2).start().await;
    world.slack.fault(Fault::HangBefore.once().on(slack(0)));
    world.slack.fault(Fault::rate_limited(30).once().on(slack(1)));
    for n in 0..5 {
        world.accepted(&numbered_to(0, n)).await;
    }
    world.slack_seen(|record| record.counts().calls == 1).await;
    world.accepted(&numbered_to(1, 5)).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    world.slack.release();
    world.settled_as("delivered", 1).await;
    stays_at(&world, 2).await;
    world.clock.pass(SECOND * 29);
    stays_at(&world, 2).await;
    world.clock.pass(SECOND);
    world.settled_as("delivered", 6).await;
}

#[tokio::test]
async fn telegrams_429_holds_the_lane_and_a_second_one_soon_after_the_account() {
    for (apart, account_is_held) in [(10, true), (11, false)] {
        let world = telegram_channels(3).start().await;
        for n in [0, 1] {
            world.telegram.fault(Fault::rate_limited(60).once().on(chat(n).to_string()));
        }
        world.accepted(&numbered_to(0, 0)).await;
        world.settled(|rows| rows[0]["lane_hold"].is_object()).await;
        assert_eq!(world.figure(r#"campanile_lanes_held{account="telegram"}"#).await, 1.0);
        world.accepted(&numbered_to(2, 1)).await;
        world.settled_as("delivered", 1).await; // the others go on
        world.clock.pass(SECOND * apart);
        world.accepted(&numbered_to(1, 2)).await;
        world.settled(|rows| rows[2]["attempts"] == 1).await;
        world.accepted(&numbered_to(2, 3)).await;
        if account_is_held {
            world.until_figure(r#"campanile_account_held{account="telegram"}"#, 1.0, Duration::ZERO).await;
            world.clock.pass(SECOND * 59);
            stays_at(&world, 3).await;
            world.clock.pass(SECOND);
        } else {
            world.settled_as("delivered", 2).await;
            world.clock.pass(MINUTE);
        }
        world.settled_as("delivered", 4).await;
    }
}

#[tokio::test]
async fn a_wait_that_was_named_outlives_the_process() {
    let mut world = Setup::default().start().await;
    world.slack.fault(Fault::rate_limited(300).once());
    world.telegram.fault(Fault::rate_limited(300).once());
    world.burst(0..1).await;
    world.settled(|rows| rows.iter().all(|row| row["attempts"] == 1)).await;
    let until = world.clock.now_ms() + 300_000;
    world.restart().await;
    world.clock.pass(Duration::from_millis((until - world.clock.now_ms() - 1) as u64));
    stays_at(&world, 2).await;
    world.clock.pass(SECOND);
    world.settled_as("delivered", 2).await;
}

#[tokio::test]
async fn our_own_back_off_does_not() {
    let mut world = Setup::default().start().await;
    world.slack.fault(Fault::Json500.times(9));
    world.telegram.fault(Fault::Json500.times(9));
    world.burst(0..1).await;
    world.until(|record| record.counts().calls == 9, |record| record.counts().calls >= 9).await;
    world.settled(|rows| rows.iter().all(|row| row["attempts"].as_u64() >= Some(9))).await;
    world.restart().await;
    world.clock.pass(SECOND); // the ninth back-off is 20 s and more
    world.settled_as("delivered", 2).await;
}

/// Probes after 1, 2, 4, 8, 15 and 15 minutes, then everything at once.
#[tokio::test]
async fn a_revoked_token_with_ten_thousand_pending_costs_probes() {
    const LANES: usize = 8;
    const PENDING: usize = 10_000;
    let mut world = slack_channels(LANES).start().await;
    world.stop_app().await;
    world.seed(PENDING, LANES).await;
    world.slack.set_tokens([]);
    world.start_app().await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    // The lanes that were on their way together have all heard of it before time goes on.
    let mut calls = 0;
    while calls != world.slack.counts().calls {
        calls = world.slack.counts().calls;
        world.until_figure(r#"campanile_holds_total{account="slack"}"#, calls as f64, Duration::ZERO).await;
    }
    stays_at(&world, calls).await;
    assert!(calls <= LANES as u64, "{calls}");
    for minutes in [1, 2, 4, 8, 15, 15] {
        world.clock.pass(MINUTE * minutes - SECOND);
        stays_at(&world, calls).await;
        world.clock.pass(SECOND);
        calls += 1;
        world.slack_seen(|record| record.counts().refused == calls).await;
        world.until_figure("campanile_holds_total{account=\"slack\"}", calls as f64, Duration::ZERO).await;
    }
    let held = world.delivery(1).await;
    assert_eq!(held["state"], "pending");
    world.slack.set_tokens([SLACK_TOKEN.to_owned()]);
    world.clock.pass(MINUTE * 15);
    world.slack.wait_for_posts(PENDING as u64).await;
    world.until_figure(r#"campanile_ledger_planned{part="delivered"}"#, PENDING as f64, Duration::ZERO).await;
    assert_eq!(world.slack.counts().calls, calls + PENDING as u64);
    for lane in 0..LANES {
        let stand = numbers(&world.slack.posted(&slack(lane)));
        assert!(stand.is_sorted() && stand.len() == PENDING / LANES, "{lane}");
    }
}

/// What was on its way when the token was revoked is answered later, with a pause shorter or longer than the hold's.
#[tokio::test]
async fn a_pause_that_comes_late_neither_ends_nor_shortens_what_waits_for_a_person() {
    for (pause, probe_after) in [(30, 60), (600, 600)] {
        let world = slack_channels(3).start().await;
        world.slack.fault(Fault::HangThen(Fault::rate_limited(pause).into()).once().on(slack(0)));
        world.slack.fault(Fault::error("token_revoked").once().on(slack(1)));
        world.slack.fault(Fault::HangBefore.once());
        world.accepted(&numbered_to(0, 0)).await;
        world.slack_seen(|record| record.counts().calls == 1).await;
        world.accepted(&numbered_to(1, 1)).await;
        world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
        world.slack.release();
        world.settled(|rows| rows.iter().all(|row| row["attempts"] == 1)).await;
        world.accepted(&numbered_to(2, 2)).await;
        stays_at(&world, 2).await;
        world.clock.pass(SECOND * (probe_after - 1));
        stays_at(&world, 2).await;
        world.clock.pass(SECOND);
        world.slack_seen(|record| record.counts().calls == 3).await;
        stays_at(&world, 3).await; // one message probes, as the person may not have come
        world.slack.release();
        world.settled_as("delivered", 3).await;
        assert_eq!(world.figure(r#"campanile_account_held{account="slack"}"#).await, 0.0);
    }
}

#[tokio::test]
async fn who_mends_the_token_and_starts_anew_does_not_wait_for_a_probe() {
    let mut world = Setup::default().start().await;
    world.slack.set_tokens([]);
    world.telegram.set_tokens([]);
    world.burst(0..2).await;
    for account in ["slack", "telegram"] {
        let held = format!(r#"campanile_account_held{{account="{account}"}}"#);
        world.until_figure(&held, 1.0, Duration::ZERO).await;
    }
    world.slack.set_tokens([SLACK_TOKEN.to_owned()]);
    world.telegram.set_tokens([TELEGRAM_TOKEN.to_owned()]);
    world.restart().await;
    world.clock.pass(SECOND);
    world.settled_as("delivered", 4).await;
}

#[tokio::test]
async fn a_channel_that_needs_a_person_holds_only_its_own_lane() {
    let world = Setup::default().channels(4, |n| match n {
        0 | 1 => format!("slack: {}", slack(n)),
        _ => format!("telegram: {}", chat(n)),
    });
    let world = world.start().await;
    let group = || TelegramChat::new(ChatKind::Supergroup, "Ops");
    world.slack.set_channel(slack(0), SlackChannel { archived: true, ..SlackChannel::default() });
    world.telegram.set_chat(chat(2), group().state(ChatState::Kicked));
    for n in 0..8 {
        world.accepted(&numbered_to(n % 4, n)).await;
    }
    let rows = world.settled_as("delivered", 4).await;
    let reasons: Vec<_> = rows.iter().filter_map(|row| row["lane_hold"]["reason"].as_str()).collect();
    assert!(reasons.iter().any(|why| why.contains("is_archived")), "{reasons:?}");
    assert!(reasons.iter().any(|why| why.contains("bot was kicked")), "{reasons:?}");
    let mut calls = 6;
    for minutes in [1, 2, 4] {
        world.clock.pass(MINUTE * minutes - SECOND);
        stays_at(&world, calls).await;
        world.clock.pass(SECOND);
        calls += 2;
        world.settled(|rows| rows.iter().map(|row| row["attempts"].as_u64().unwrap()).sum::<u64>() == calls).await;
    }
    world.slack.set_channel(slack(0), SlackChannel::default());
    world.telegram.set_chat(chat(2), group());
    world.clock.pass(MINUTE * 8);
    let rows = world.settled_as("delivered", 8).await;
    assert!(rows.iter().all(|row| row.get("lane_hold").is_none()));
    assert_eq!(numbers(&world.slack.posted(&slack(0))), [0, 4]);
    assert_eq!(numbers(&world.telegram.posted(&chat(2).to_string())), [2, 6]);
}

#[tokio::test]
async fn a_telegram_group_is_followed_to_its_new_id() {
    let mut world = Setup::default().only_telegram().start().await;
    let (old, new): (i64, i64) = (TELEGRAM.parse().unwrap(), -1_009_999_999_999);
    let moved = TelegramChat::new(ChatKind::Group, "Ops").state(ChatState::Upgraded { to: new });
    world.telegram.set_chat(old, moved);
    world.burst(0..2).await;
    world.settled_as("delivered", 2).await;
    assert_eq!(outcomes(&world, DeliveryId(1)).await, ["moved"]);
    world.restart().await;
    world.burst(2..3).await;
    world.settled_as("delivered", 3).await;
    assert_eq!(numbers(&world.telegram.posted(&new.to_string())), [0, 1, 2]);
    let asked: Vec<_> = world.telegram.arrivals().iter().filter_map(|call| call.conversation.clone()).collect();
    let new = new.to_string();
    assert_eq!(asked, [TELEGRAM, &new, &new, &new], "the old id is asked once");
    assert!(world.slack.posted(SLACK).is_empty());
}

#[tokio::test]
async fn two_slack_channels_that_migrate_hold_no_third() {
    let world = slack_channels(3).start().await;
    for n in 0..2 {
        world.slack.fault(Fault::error("external_channel_migrating").once().on(slack(n)));
        world.accepted(&numbered_to(n, n)).await;
    }
    world.settled(|rows| rows.iter().all(|row| row["attempts"] == 1)).await;
    world.accepted(&numbered_to(2, 2)).await;
    world.slack_seen(|record| record.posted(&slack(2)).count() == 1).await; // the clock stands
    assert_eq!(world.figure(r#"campanile_account_held{account="slack"}"#).await, 0.0);
    world.until_all("delivered").await;
}

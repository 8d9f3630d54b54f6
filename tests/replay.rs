//! Dead letters become due again when a person says so.

use std::time::Duration;

use campanile::simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Answer, SLACK, Setup, TELEGRAM, World, numbered, numbers};

impl World {
    async fn replay(&self, path: &str, body: &Value) -> Answer {
        self.http.post(&self.admin_url(&format!("/api/v1/deliveries/{path}"))).json(body).await
    }
}

/// A world with dead letters: the first messages to Slack were refused as they were and as plain text.
async fn with_dead_letters(setup: Setup, dead: u32) -> World {
    let world = setup.only_slack().start().await;
    world.slack.fault(Fault::error("msg_too_long").times(2 * dead));
    world.burst(0..dead as usize).await;
    world.settled_as("dead", dead as usize).await;
    world
}

#[tokio::test]
async fn a_dead_letter_is_delivered_when_it_is_replayed() {
    let world = with_dead_letters(Setup::default(), 1).await;
    let before = world.delivery(1).await;
    assert!(before["reason"].as_str().unwrap().contains("msg_too_long") && before["settled_at"].is_string());
    world.clock.pass(Duration::from_secs(3_600));
    let answer = world.replay("1/replay", &json!({})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"replayed": 1})));
    world.settled_as("delivered", 1).await;
    let row = world.delivery(1).await;
    assert!(row.get("reason").is_none(), "{row}");
    assert_eq!(row["attempts"], 3);
    assert_eq!(row["failed_attempts"].as_array().unwrap().len(), 2, "what was, stays written");
    assert_eq!(row["give_up_at"], "2026-05-15T10:15:02Z", "its time begins anew");
    assert!(world.slack_texts()[0].ends_with("delayed 1 h"), "{:?}", world.slack_texts());
    assert_eq!(world.figure(r#"campanile_ledger_planned{part="dead"}"#).await, 0.0);
    assert_eq!(world.figure(r#"campanile_ledger_planned{part="delivered"}"#).await, 1.0);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let world = with_dead_letters(Setup::default(), 1).await;
    world.burst(1..2).await;
    world.settled_as("delivered", 1).await;
    assert_eq!(world.replay("77/replay", &json!({})).await.status, 404);
    let delivered = world.replay("2/replay", &json!({})).await;
    assert_eq!(delivered.status, 409);
    assert!(delivered.json()["error"].as_str().unwrap().contains("delivered"), "{}", delivered.text);
    assert_eq!(world.replay("replay", &json!({"channel": "nowhere"})).await.status, 404);
    assert_eq!(world.replay("replay", &json!({"chanel": "ops-slack"})).await.status, 400);
    let pending = world.replay("replay", &json!({"channel": "ops-telegram"})).await;
    assert_eq!((pending.status, pending.json()), (200, json!({"replayed": 0})));
    assert_eq!(world.slack_texts().len(), 1, "nothing moved");
}

#[tokio::test]
async fn a_pending_delivery_is_not_replayed() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::rate_limited(60).once());
    world.burst(0..1).await;
    world.settled(|rows| rows[0]["attempts"] == 1).await;
    assert_eq!(world.replay("1/replay", &json!({})).await.status, 409);
    world.clock.pass(Duration::from_secs(60));
    world.settled_as("delivered", 1).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0]);
}

#[tokio::test]
async fn all_dead_letters_of_a_channel_come_in_their_old_order() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::error("msg_too_long").times(10));
    world.telegram.fault(Fault::error("Bad Request: message is too long").times(2));
    world.burst(0..5).await;
    world.settled_as("dead", 6).await;
    world.settled_as("delivered", 4).await;
    // What is due already: the replayed ones are older and go before it.
    world.slack.fault(Fault::rate_limited(60).once());
    world.burst(5..7).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    let answer = world.replay("replay", &json!({"channel": "ops-slack"})).await;
    assert_eq!(answer.json(), json!({"replayed": 5}));
    world.clock.pass(Duration::from_secs(60));
    world.settled_as("delivered", 13).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), [1, 2, 3, 4, 5, 6], "another channel's stay dead");
}

fn templates(text: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![("issue-created.md.hbs", text)]
}

#[tokio::test]
async fn a_replay_renders_anew() {
    let setup = Setup { templates: templates("the old words: {{issue.summary}}"), ..Setup::default() };
    let mut world = with_dead_letters(setup, 1).await;
    let file = world.folder.path().join("templates/issue-created.md.hbs");
    std::fs::write(file, "the new words: {{issue.summary}}").unwrap();
    world.restart().await;
    world.replay("1/replay", &json!({})).await;
    world.clock.pass(Duration::from_secs(1)); // after a start what failed before is spread over a second
    world.settled_as("delivered", 1).await;
    assert_eq!(world.slack_texts(), ["the new words: message 0"]);
}

#[tokio::test]
async fn what_was_placed_in_part_is_finished_as_it_was_begun() {
    let setup = Setup { templates: templates("old {{issue.description}} {{issue.key}}"), ..Setup::default() };
    let mut world = setup.only_telegram().start().await;
    let second = |text: &str| text.contains("word0700");
    let refused = Fault::error("Bad Request: message is too long").once(); // a text without marks has no plainer form
    world.telegram.fault(refused.when(move |call| second(call.body["text"].as_str().unwrap_or_default())));
    let mut body = numbered(0);
    let words: Vec<_> = (0..800).map(|n| format!("word{n:04}")).collect();
    body["description"] = json!(words.join(" "));
    world.accepted(&body).await;
    world.settled_as("dead", 1).await;
    let file = world.folder.path().join("templates/issue-created.md.hbs");
    std::fs::write(file, "new {{issue.description}}").unwrap();
    world.restart().await;
    world.replay("1/replay", &json!({})).await;
    world.clock.pass(Duration::from_secs(1)); // after a start what failed before is spread over a second
    world.settled_as("delivered", 1).await;
    let texts = world.telegram_texts();
    assert_eq!(texts.len(), 2, "the first part stands once");
    assert!(texts[0].starts_with("old word0000") && texts[1].ends_with("word0799 TEST-1"), "{texts:?}");
}

#[tokio::test]
async fn a_replay_that_fails_again_is_a_dead_letter_again() {
    let world = with_dead_letters(Setup::default(), 1).await;
    world.slack.fault(Fault::error("no_such_subteam").times(2));
    world.replay("1/replay", &json!({})).await;
    world.settled(|rows| rows[0]["state"] == "dead" && rows[0]["attempts"] == 4).await;
    assert!(world.delivery(1).await["reason"].as_str().unwrap().contains("no_such_subteam"));
    world.accepted(&numbered(1)).await;
    world.settled_as("delivered", 1).await;
}

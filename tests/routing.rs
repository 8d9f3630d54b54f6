//! Which channels an event leads to, by which template, for how long.

use serde_json::{Value, json};

use crate::harness::{SLACK, Setup, TELEGRAM, World, issue};

impl World {
    /// Where an event is led, as `route → channel: template`.
    async fn led(&self, body: &Value) -> Vec<String> {
        let event = self.accepted(body).await;
        let listed = self.api(&format!("/api/v1/events/{event}")).await;
        let mut rows = listed["deliveries"].as_array().unwrap().clone();
        rows.sort_by_key(|row| row["id"].as_i64());
        let told = |row: &Value| {
            [&row["route"], &row["channel"], &row["template"]].map(|word| word.as_str().unwrap().to_owned())
        };
        rows.iter().map(told).map(|[route, channel, template]| format!("{route} → {channel}: {template}")).collect()
    }
}

/// A body with one member changed; no two are the same call.
fn body(member: &str, value: &str) -> Value {
    let mut body = issue("TEST-1", "created");
    body[member] = json!(value);
    body["nonce"] = json!(format!("{member} {value}"));
    body
}

const ROUTES: &str = r#"
  - {name: off, disabled: true, channels: [ops-telegram]}
  - {name: critical, when: 'issue.priority.key == "critical"', channels: [ops-slack], template: critical, continue: true}
  - {name: mine, when: 'issue.queue.key == "TEST"', channels: [ops-slack, ops-telegram]}
  - {name: rest, channels: [ops-telegram]}
"#;

#[tokio::test]
async fn the_first_match_ends_the_walk_unless_it_continues() {
    let world = Setup::default().routes(ROUTES).start().await;
    let mine = ["mine → ops-slack: issue-created", "mine → ops-telegram: issue-created"];
    assert_eq!(world.led(&body("priority", "normal")).await, mine);
    let both = ["critical → ops-slack: critical", "mine → ops-telegram: issue-created"];
    assert_eq!(world.led(&body("priority", "critical")).await, both, "a channel gets one message, the first route's");
    assert_eq!(world.led(&body("key", "OPS-1")).await, ["rest → ops-telegram: issue-created"]);
    world.settled_as("delivered", 5).await;
    assert_eq!((world.slack.posted(SLACK).len(), world.telegram.posted(TELEGRAM).len()), (2, 3));
    assert!(world.slack_texts()[1].starts_with('🔴'), "{:?}", world.slack_texts());
}

#[tokio::test]
async fn an_event_that_no_route_wants_is_taken_and_counted() {
    let world =
        Setup::default().routes("  - {when: 'issue.queue.key == \"OPS\"', channels: [ops-slack]}\n").start().await;
    let answer = world.trigger(&issue("TEST-1", "created")).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"event": 1, "deliveries": 0})));
    assert_eq!(world.figure("campanile_events_unrouted_total").await, 1.0);
    assert_eq!(world.figure(r#"campanile_ledger_received{part="routed"}"#).await, 1.0);
    assert_eq!(world.trigger(&issue("TEST-1", "created")).await.status, 200, "and known when it comes again");
    assert_eq!(world.led(&issue("OPS-1", "created")).await.len(), 1);
    assert_eq!(world.figure("campanile_events_unrouted_total").await, 1.0);
}

#[tokio::test]
async fn a_condition_on_what_is_absent_does_not_match_and_is_counted() {
    let routes = r#"
  - {name: asks, when: 'has(issue.assignee) && issue.assignee.login == "ivan"', channels: [ops-slack], continue: true}
  - {name: hopes, when: 'issue.assignee.login == "ivan"', channels: [ops-slack], continue: true}
  - {name: number, when: 'body.n', channels: [ops-slack], continue: true}
  - {name: rest, channels: [ops-telegram]}
"#;
    let world = Setup::default().routes(routes).start().await;
    let errors =
        async |route: &str| world.figure(&format!(r#"campanile_condition_errors_total{{route="{route}"}}"#)).await;
    assert_eq!(world.led(&body("n", "not a boolean")).await, ["rest → ops-telegram: issue-created"]);
    assert_eq!((errors("asks").await, errors("hopes").await, errors("number").await), (0.0, 1.0, 1.0));
    let led = world.led(&body("assignee", "ivan")).await;
    assert_eq!(led, ["asks → ops-slack: issue-created", "rest → ops-telegram: issue-created"]);
    assert_eq!((errors("asks").await, errors("hopes").await, errors("number").await), (0.0, 1.0, 2.0));
}

#[tokio::test]
async fn without_a_template_the_events_family_says_which() {
    let world = Setup::default().only_slack().start().await;
    for (event, template) in [
        ("created", "issue-created"),
        ("status", "issue-status"),
        ("comment", "issue-comment"),
        ("updated", "issue"),
        ("a-word-of-tomorrow", "issue"),
    ] {
        let mut body = issue("TEST-1", event);
        body["comment"] = json!({"text": "so be it"});
        let led = world.led(&body).await;
        assert!(led[0].ends_with(&format!(" → ops-slack: {template}")), "{event}: {led:?}");
    }
    world.settled_as("delivered", 5).await;
    assert_eq!(world.slack.counts().posted, 5);
}

#[tokio::test]
async fn how_long_a_delivery_may_wait_the_route_says_before_the_channel() {
    let routes = r#"
  - {name: short, when: 'issue.key == "TEST-1"', channels: [ops-slack, ops-telegram], give_up_after_hours: 1}
  - {name: usual, channels: [ops-slack, ops-telegram]}
"#;
    let setup = Setup::default().routes(routes);
    let channels = setup.channels.replacen('}', ", give_up_after_hours: 5}", 1);
    let world = Setup { channels, ..setup }.start().await;
    world.led(&issue("TEST-1", "created")).await;
    world.led(&issue("TEST-2", "created")).await;
    let rows = world.deliveries().await;
    let until: Vec<_> = rows.iter().map(|row| row["give_up_at"].as_str().unwrap()).collect();
    let (one, five, three_days) = ("2026-05-12T10:15:02Z", "2026-05-12T14:15:02Z", "2026-05-15T09:15:02Z");
    assert_eq!(until, [one, one, five, three_days]);
}

/// One conversation under two names is one line, and gets two messages when two routes want it so.
#[tokio::test]
async fn two_channels_of_one_conversation_share_its_order() {
    let setup = Setup::default();
    let channels = format!("  one: {{slack: {SLACK}}}\n  two: {{slack: {SLACK}}}\n");
    let world = Setup { channels, ..setup }.routes("  - channels: [two, one]\n").start().await;
    for n in 1..=3 {
        world.accepted(&issue(&format!("TEST-{n}"), "created")).await;
    }
    world.settled_as("delivered", 6).await;
    let keys: Vec<_> = world.slack_texts().iter().map(|text| text[..6].to_owned()).collect();
    assert_eq!(keys, ["TEST-1", "TEST-1", "TEST-2", "TEST-2", "TEST-3", "TEST-3"]);
}

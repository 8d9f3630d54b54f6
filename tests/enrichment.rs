//! What an event learns of its issue before it is routed.

use crate::harness::{Setup, World};

const ENRICHED: &str = "kind: tracker, secret: {env: HOOK}, enrich: true";

async fn start() -> World {
    Setup { source: ENRICHED, ..Setup::default().with_tracker().only_slack() }.start().await
}

#[tokio::test]
async fn a_body_with_a_key_alone_says_who_moved_what() {
    let world = start().await;
    world.tracker().change_status("TEST-1", "inProgress", "maria.petrova").unwrap();
    let answer = world.trigger(&serde_json::json!({"event": "status_changed", "key": "TEST-1"})).await;
    assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &serde_json::Value::Null), "{}", answer.text);
    world.until_posted(1, 0).await;
    let text = world.slack_texts().remove(0);
    for told in ["TEST-1", "Summary of TEST-1", "Мария Петрова"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

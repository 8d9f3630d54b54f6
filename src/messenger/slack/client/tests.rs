use serde_json::json;
use slack_morphism::prelude::SlackBlock;

use super::*;
use crate::clock::Clock;
use crate::delivery::{Advice, Scope};
use crate::transport::fixture::{self, Fixture};

fn content() -> SlackContent {
    let block = SlackBlock::Unknown(json!({"type": "rich_text", "elements": []}));
    SlackContent::from(
        slack_morphism::SlackMessageContent::new().with_text("*5* &lt; _6_".into()).with_blocks(vec![block]),
    )
}

fn transport() -> Transport {
    Transport::new(Clock::machine()).unwrap()
}

#[tokio::test]
async fn a_post_carries_its_delivery_and_no_markup() {
    let server = Fixture::start([fixture::json(r#"{"ok":true,"channel":"C1","ts":"1.2"}"#)]).await;
    let client = Client::new(transport(), &format!("{}/api/", server.base), Some(&"xoxb-1".into())).unwrap();
    let receipt = client.post(&Post::new("C1", content(), DeliveryId(42), 0)).await.unwrap();
    assert_eq!(receipt, Receipt::Slack { channel: "C1".into(), ts: "1.2".into(), thread: None });
    let head = &server.requests()[0];
    assert!(head.starts_with("POST /api/chat.postMessage HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: Bearer xoxb-1\r\n"), "{head}");
    assert_eq!(
        server.body(0),
        json!({
            "channel": "C1",
            "text": "*5* &lt; _6_",
            "blocks": [{"type": "rich_text", "elements": []}],
            "mrkdwn": false,
            "unfurl_links": false,
            "unfurl_media": false,
            "metadata": {"event_type": "campanile_delivery", "event_payload": {"delivery_id": "42"}},
        })
    );
}

#[test]
fn later_parts_say_which_they_are() {
    let post = serde_json::to_value(Post::new("C1", content(), DeliveryId(42), 2)).unwrap();
    assert_eq!(post["metadata"]["event_payload"], json!({"delivery_id": "42", "part": "2"}));
}

/// Slack says nothing when it posts to the channel itself, because the message to reply to is gone.
#[tokio::test]
async fn a_receipt_tells_the_thread_in_which_the_message_stands() {
    let answers = [
        (r#"{"ok":true,"channel":"C1","ts":"1.2","message":{"ts":"1.2","thread_ts":"1.1"}}"#, Some("1.1")),
        (r#"{"ok":true,"channel":"C1","ts":"1.2","message":{"ts":"1.2","text":"5"}}"#, None),
        (r#"{"ok":true,"channel":"C1","ts":"1.2","message":{"text":"5"}}"#, Some("1.1")), // not Slack's whole message
        (r#"{"ok":true,"channel":"C1","ts":"1.2"}"#, Some("1.1")),
    ];
    let server = Fixture::start(answers.map(|(answer, _)| fixture::json(answer))).await;
    let client = Client::new(transport(), &server.base, Some(&"xoxb-1".into())).unwrap();
    for (n, (answer, stands_in)) in answers.into_iter().enumerate() {
        let post = Post::new("C1", content(), DeliveryId(42), 0).reply_to("1.1".into());
        let Receipt::Slack { thread, .. } = client.post(&post).await.unwrap() else { panic!("{answer}") };
        assert_eq!(thread.as_deref(), stands_in, "{answer}");
        assert_eq!(server.body(n)["thread_ts"], "1.1");
    }
}

#[tokio::test]
async fn a_webhook_gets_the_content_alone() {
    let server = Fixture::start([fixture::answer("200 OK", "Content-Type: text/html", "ok")]).await;
    let url = WebhookUrl::parse(&format!("{}/services/T0/B0/canary", server.base).into()).unwrap();
    let client = Client::new(transport(), "https://slack.test", None).unwrap();
    let receipt = client.post_webhook(&url, &WebhookPost::new(content())).await.unwrap();
    assert_eq!(receipt, Receipt::Unnumbered);
    let head = &server.requests()[0];
    assert!(head.starts_with("POST /services/T0/B0/canary HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(
        server.body(0),
        json!({
            "text": "*5* &lt; _6_",
            "blocks": [{"type": "rich_text", "elements": []}],
            "mrkdwn": false,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    );
}

#[tokio::test]
async fn without_a_token_posts_are_held() {
    let client = Client::new(transport(), "https://slack.test", None).unwrap();
    let error = client.post(&Post::new("C1", content(), DeliveryId(1), 0)).await.unwrap_err();
    assert!(matches!(error.advice(), Advice::Hold { scope: Scope::Account, .. }), "{error}");
}

#[test]
fn what_no_call_can_be_made_with_is_told_at_once() {
    for token in ["", "xoxb 1", "xoxb-1\n", "xöxb"] {
        assert_eq!(
            Client::new(transport(), "https://slack.test", Some(&token.into())).err(),
            Some(AddressError::Token)
        );
    }
    assert_eq!(Client::new(transport(), "slack.test", None).err(), Some(AddressError::ApiUrl));
    for url in ["", "hooks.slack.com/x", "ftp://hooks.slack.com/x", "https://"] {
        assert_eq!(WebhookUrl::parse(&url.into()).err(), Some(AddressError::Webhook), "{url}");
    }
}

#[test]
fn a_webhooks_address_is_not_shown() {
    let url = WebhookUrl::parse(&"https://hooks.slack.com/services/T0/B0/canary".into()).unwrap();
    assert_eq!(format!("{url:?}"), "WebhookUrl(https://hooks.slack.com/[secret])");
}

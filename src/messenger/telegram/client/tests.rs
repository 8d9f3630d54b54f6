use serde_json::json;

use teloxide::types::MessageEntity;

use super::*;
use crate::clock::Clock;
use crate::transport::fixture::{self, Fixture};

fn content() -> TelegramContent {
    TelegramContent {
        text: "*5* <b> & _6_".into(),
        entities: vec![MessageEntity::bold(0, 3)],
        ..TelegramContent::default()
    }
}

fn client(api_url: &str, token: &str) -> Result<Client, AddressError> {
    Client::new(Transport::new(Clock::machine()).unwrap(), api_url, &token.into())
}

#[tokio::test]
async fn a_post_is_text_with_entities() {
    let server = Fixture::start([fixture::json(r#"{"ok":true,"result":{"message_id":9,"chat":{"id":-1005}}}"#)]).await;
    let client = client(&format!("{}/tg/", server.base), "1:canary").unwrap();
    let receipt = client.post(&message(-1001, Some(7), content())).await.unwrap();
    assert_eq!(receipt, Receipt::Telegram { chat: -1005, message: 9, reply_to: None });
    let head = &server.requests()[0];
    assert!(head.starts_with("POST /tg/bot1:canary/SendMessage HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        server.body(0),
        json!({
            "chat_id": -1001,
            "text": "*5* <b> & _6_",
            "message_thread_id": 7,
            "entities": [{"type": "bold", "offset": 0, "length": 3}],
            "link_preview_options": {"is_disabled": true},
        })
    );
}

#[tokio::test]
async fn a_reply_is_refused_when_its_parent_is_gone() {
    let server = Fixture::start([fixture::json(r#"{"ok":true,"result":{"message_id":9,"chat":{"id":-5}}}"#)]).await;
    let client = client(&server.base, "1:canary").unwrap();
    let receipt = client.post(&reply_to(4, message(-5, None, content()))).await.unwrap();
    assert_eq!(receipt, Receipt::Telegram { chat: -5, message: 9, reply_to: Some(4) });
    assert_eq!(server.body(0)["reply_parameters"], json!({"message_id": 4}));
}

#[test]
fn the_general_topic_is_not_named() {
    for topic in [None, Some(1)] {
        assert_eq!(message(-1001, topic, content()).message_thread_id, None);
    }
    assert!(message(-1001, Some(2), content()).message_thread_id.is_some());
}

#[test]
fn what_no_call_can_be_made_with_is_told_at_once() {
    for token in ["", "1:a b", "1:a\n", "1:a/b", "1:a?b", "1:a#b", "1:ä"] {
        assert_eq!(client("https://telegram.test", token).err(), Some(AddressError::Token), "{token:?}");
    }
    assert_eq!(client("telegram.test", "1:a").err(), Some(AddressError::ApiUrl));
}

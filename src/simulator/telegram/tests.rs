//! Both sides of what Telegram takes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::wire::{ANY_PORT, Got, call, held, post};
use super::entities::Formatted;
use super::*;

const GROUP: i64 = -1_001_234_567_890;

async fn start(change: impl FnOnce(TelegramOptions) -> TelegramOptions) -> TelegramSimulator {
    TelegramSimulator::start(ANY_PORT, change(TelegramOptions::new(held()).without_pace())).await.unwrap()
}

async fn api(telegram: &TelegramSimulator, method: &str, body: Value) -> Got {
    post(telegram.addr(), &format!("/bot42:AAE-x_y/{method}"), &body).await.unwrap()
}

async fn say(telegram: &TelegramSimulator, mut body: Value) -> Got {
    if body.get("chat_id").is_none() {
        body["chat_id"] = GROUP.into();
    }
    api(telegram, "sendMessage", body).await
}

#[tokio::test]
async fn a_message_is_answered_whole_stored_and_seen() {
    let telegram = start(|options| options).await;
    let got = say(
        &telegram,
        json!({"text": " Door @campanile_ops 🔔OPS-1\n", "message_thread_id": 7, "entities": [
        {"type": "bold", "offset": 1, "length": 4},
        {"type": "text_link", "offset": 23, "length": 5, "url": "https://a.b/OPS-1"}]}),
    )
    .await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&got.json()["result"]).unwrap(), @r#"
    {
      "chat": {
        "id": -1001234567890,
        "is_forum": true,
        "title": "Chat -1001234567890",
        "type": "supergroup"
      },
      "date": 1700000000,
      "entities": [
        {
          "length": 4,
          "offset": 0,
          "type": "bold"
        },
        {
          "length": 14,
          "offset": 5,
          "type": "mention"
        },
        {
          "length": 5,
          "offset": 22,
          "type": "text_link",
          "url": "https://a.b/OPS-1"
        }
      ],
      "from": {
        "first_name": "Campanile",
        "id": 42,
        "is_bot": true,
        "username": "campanile_bot"
      },
      "is_topic_message": true,
      "message_id": 1,
      "message_thread_id": 7,
      "text": "Door @campanile_ops 🔔OPS-1"
    }
    "#);
    let post = telegram.posted(&conversation(GROUP, Some(7))).remove(0);
    assert_eq!(
        (post.text.as_str(), post.pings.as_slice()),
        ("Door @campanile_ops 🔔OPS-1", &["@campanile_ops".to_owned()][..])
    );
    assert_eq!((post.links[0].text.as_str(), post.links[0].url.as_str()), ("OPS-1", "https://a.b/OPS-1"));
    assert_eq!((post.spans[0].style.as_str(), post.spans[0].text.as_str()), ("bold", "Door"));
}

#[tokio::test]
async fn texts_are_measured_after_parsing_and_trimming() {
    let telegram = start(|options| options).await;
    let (long, empty) = ("Bad Request: message is too long", "Bad Request: message text is empty");
    for (body, expected) in [
        (json!({"text": "x".repeat(4096)}), "ok"),
        (json!({"text": "x".repeat(4097)}), long),
        (json!({"text": "🔔".repeat(4096)}), "ok"),
        (json!({"text": format!(" {}\n", "x".repeat(4096))}), "ok"),
        (json!({"text": format!("<b>{}</b>", "&lt;".repeat(4096)), "parse_mode": "HTML"}), "ok"),
        (json!({"text": format!("<b>{}</b>", "&lt;".repeat(4097)), "parse_mode": "html"}), long),
        (json!({"text": ""}), empty),
        (json!({}), empty),
        (json!({"text": " \n\t\r"}), empty),
        (json!({"text": "\u{200b}\u{2060}"}), empty),
        (json!({"text": "<b></b>", "parse_mode": "HTML"}), empty),
        (json!({"text": "*x*", "parse_mode": "Wiki"}), "Bad Request: unsupported parse_mode"),
        (
            json!({"text": "<b", "parse_mode": "HTML"}),
            "Bad Request: can't parse entities: Unclosed start tag at byte offset 0",
        ),
    ] {
        assert_eq!(
            say(&telegram, body.clone()).await.word(),
            expected,
            "{}",
            &body.to_string()[..40.min(body.to_string().len())]
        );
    }
}

#[test]
fn html_is_taken_and_refused_as_the_real_parser_does() {
    for (html, reason) in [
        ("a < b", "Unsupported start tag \"\" at byte offset 2"),
        ("<br>", "Unsupported start tag \"br\" at byte offset 0"),
        ("x<b/>", "Unsupported start tag \"b/\" at byte offset 1"),
        ("<!-- x -->", "Unsupported start tag \"!--\" at byte offset 0"),
        ("я<b>x", "Can't find end tag corresponding to start tag \"b\""),
        ("я<b>x</i>", "Unmatched end tag at byte offset 6, expected \"</b>\", found \"</i>\""),
        ("</b>", "Unexpected end tag at byte offset 0"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<span>x</span>", "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0"),
        ("<a href=https://a.b>x</a>", "Unexpected end of name token at byte offset 8"),
        ("<a href=\"x>y</a>", "Unclosed start tag at byte offset 0"),
        ("<a =\"x\">y</a>", "Empty attribute name in the tag \"a\" at byte offset 0"),
    ] {
        assert_eq!(html::parse(html).unwrap_err(), reason, "{html}");
    }
    let link = "text_link https://a.b/?x&y";
    for (html, text, found) in [
        ("<b>x</b>", "x", vec!["bold "]),
        ("<STRONG >x</strong >", "x", vec!["bold "]),
        ("<i>a<u>b</u></>", "ab", vec!["underline ", "italic "]),
        ("&lt;&gt;&amp;&quot;&#39;&#x27;&apos;&nbsp; & >", "<>&\"''&apos;&nbsp; & >", vec![]),
        ("&lt", "<", vec![]),
        ("<a href=\"https://a.b/?x&amp;y\">l</a>", "l", vec![link]),
        ("<a href='https://a.b/?x&y'>l</a>", "l", vec![link]),
        ("<a href=\"javascript:alert(1)\">l</a>", "l", vec![]),
        ("<a href=\"relative\">l</a>", "l", vec![]),
        ("<a href=\"tg://user?id=7\">l</a>", "l", vec!["text_mention 7"]),
        ("<pre><code class=\"language-rust\">x</code></pre>", "x", vec!["pre rust", "pre "]),
        ("<span class=\"tg-spoiler\">x</span><tg-spoiler>y</tg-spoiler>", "xy", vec!["spoiler ", "spoiler "]),
        ("<blockquote expandable>x</blockquote>", "x", vec!["expandable_blockquote "]),
        ("<b></b><b onclick=\"x\">y</b>", "y", vec!["bold "]),
    ] {
        let (shown, entities) = html::parse(html).unwrap_or_else(|error| panic!("{html}: {error}"));
        let entities: Vec<_> = entities.iter().map(|entity| format!("{} {}", entity.kind, entity.detail)).collect();
        assert_eq!((shown.as_str(), entities), (text, found.into_iter().map(str::to_owned).collect()), "{html}");
    }
}

fn formatted(text: &str, entities: Value) -> Result<Formatted, String> {
    Formatted::new(text, entities::read(&entities)?)
}

#[test]
fn entities_must_lie_on_whole_characters_within_the_text() {
    let bold =
        |offset: i64, length: i64| formatted("👉 👉  ", json!([{"type": "bold", "offset": offset, "length": length}]));
    for (offset, length, result) in [
        (0, 2, "bold 0 2"),
        (2, 1, ""),
        (0, 5, "bold 0 5"),
        (0, 7, "bold 0 5"),
        (5, 2, ""),
        (0, 0, ""),
        (0, 1, "Entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at byte offset 4"),
        (1, 1, "Entity begins in a middle of a UTF-16 symbol at byte offset 4"),
        (3, 6, "Entity beginning at UTF-16 offset 3 ends after the end of the text at UTF-16 offset 9"),
        (9, 1, "Entity begins after the end of the text at UTF-16 offset 9"),
        (-1, 1, "Receive an entity with incorrect offset -1"),
        (0, -1, "Receive an entity with incorrect length -1"),
    ] {
        assert_eq!(listed(bold(offset, length)), result, "{offset} {length}");
    }
    for (entity, error) in [
        (json!({"type": "loud", "offset": 0, "length": 1}), "Can't parse MessageEntity: Unsupported type specified"),
        (json!({"type": "text_link", "offset": 0, "length": 1}), "Can't parse MessageEntity: Can't find field \"url\""),
        (json!({"type": "bold", "length": 1}), "Can't parse MessageEntity: Can't find field \"offset\""),
        (json!({"offset": 0, "length": 1}), "Can't parse MessageEntity: Can't find field \"type\""),
    ] {
        assert_eq!(formatted("text", json!([entity])).unwrap_err(), error);
    }
}

fn listed(result: Result<Formatted, String>) -> String {
    let list = |formatted: Formatted| {
        let entity = |entity: &entities::Entity| format!("{} {} {}", entity.kind, entity.offset, entity.length);
        formatted.entities.iter().map(entity).collect::<Vec<_>>().join(", ")
    };
    result.map_or_else(|error| error, list)
}

#[test]
fn entities_that_cross_are_dropped_or_split() {
    let at = |kind: &str, offset: usize, length: usize| json!({"type": kind, "offset": offset, "length": length, "url": "https://a.b"});
    for (entities, result) in [
        (vec![at("bold", 0, 5), at("italic", 2, 2)], "bold 0 5, italic 2 2"),
        (vec![at("bold", 0, 5), at("italic", 3, 5)], "bold 0 5, italic 3 5"),
        (vec![at("bold", 0, 5), at("bold", 3, 5)], "bold 0 8"),
        (vec![at("code", 0, 4), at("bold", 0, 4)], "code 0 4"),
        (vec![at("bold", 0, 9), at("code", 3, 2)], "bold 0 3, code 3 2, bold 5 4"),
        (vec![at("code", 0, 5), at("text_link", 3, 5)], "code 0 5"),
        (vec![at("text_link", 0, 5), at("text_link", 1, 2)], "text_link 0 5"),
        (vec![at("text_link", 0, 5), at("bold", 1, 2)], "text_link 0 5, bold 1 2"),
        (vec![at("blockquote", 0, 9), at("text_link", 1, 2)], "blockquote 0 9, text_link 1 2"),
        (vec![at("blockquote", 0, 5), at("blockquote", 1, 2)], "blockquote 0 5"),
        (vec![at("blockquote", 0, 5), at("text_link", 3, 5)], "blockquote 0 5"),
    ] {
        assert_eq!(listed(formatted("0123456789", entities.clone().into())), result, "{entities:?}");
    }
    let hundred_and_one: Vec<_> = (0..101).map(|n| at("bold", 2 * n, 1)).collect();
    let many = formatted(&"x ".repeat(101), hundred_and_one.into()).unwrap();
    assert_eq!(many.entities.len(), 100);
}

#[test]
fn texts_are_cleaned_and_entities_move_along() {
    let italic = |offset: usize, length: usize| json!([{"type": "italic", "offset": offset, "length": length}]);
    let cleaned = formatted("a\r\n\u{202e}b\tc", italic(4, 3)).unwrap();
    assert_eq!((cleaned.text.as_str(), listed(Ok(cleaned.clone()))), ("a\nb c", "italic 2 3".to_owned()));
    let blank = formatted(" a", italic(0, 1)).unwrap();
    assert_eq!((blank.text.as_str(), blank.entities.len()), ("a", 0));
    let trimmed = formatted("\n  a  ", italic(3, 3)).unwrap();
    assert_eq!((trimmed.text.as_str(), listed(Ok(trimmed.clone()))), ("a", "italic 0 1".to_owned()));
}

#[test]
fn names_ping_where_a_person_would_be_named() {
    for (text, entities, pings) in [
        ("@campanile", json!([]), vec!["@campanile"]),
        ("hi @camp1, (@ann_b)", json!([]), vec!["@camp1", "@ann_b"]),
        ("a@camp1 я@camp1", json!([]), vec![]),
        ("@abcd", json!([]), vec![]),
        ("@abcde", json!([]), vec!["@abcde"]),
        (&format!("@{}", "a".repeat(33)), json!([]), vec![]),
        ("@\u{2060}campanile", json!([]), vec![]),
        ("@campanileя", json!([]), vec![]),
        ("@campanile", json!([{"type": "code", "offset": 0, "length": 10}]), vec![]),
        ("@campanile", json!([{"type": "text_link", "offset": 0, "length": 10, "url": "https://a.b"}]), vec![]),
        ("@campanile", json!([{"type": "bold", "offset": 0, "length": 10}]), vec!["@campanile"]),
        ("ann", json!([{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": 7}}]), vec!["tg://user?id=7"]),
    ] {
        assert_eq!(formatted(text, entities.clone()).unwrap().seen().pings, pings, "{text} {entities}");
    }
}

#[tokio::test]
async fn chats_take_messages_only_as_they_stand() {
    let chat = TelegramChat::new;
    let topics = [(7, Topic::Open), (8, Topic::Closed), (9, Topic::Deleted)];
    let telegram = start(|options| {
        options
            .only_known()
            .chat(1, chat(ChatKind::Private, "Ann").state(ChatState::Kicked))
            .chat(2, chat(ChatKind::Private, "Bob").state(ChatState::Deactivated))
            .chat(3, chat(ChatKind::Private, "Eve").state(ChatState::NeverStarted))
            .chat(-4, chat(ChatKind::Group, "g").state(ChatState::Kicked))
            .chat(-5, chat(ChatKind::Group, "g").state(ChatState::Upgraded { to: GROUP }))
            .chat(-6, chat(ChatKind::Group, "g").state(ChatState::Muted))
            .chat(-1_000_000_000_007, chat(ChatKind::Channel, "c").state(ChatState::Muted))
            .chat(-1_000_000_000_008, chat(ChatKind::Supergroup, "s").state(ChatState::NotMember))
            .chat(GROUP, TelegramChat::forum("ops", topics).username("ops_room"))
    })
    .await;
    let missing = "Bad Request: message thread not found";
    for (chat, thread, expected) in [
        (json!(1), None, "Forbidden: bot was blocked by the user"),
        (json!(2), None, "Forbidden: user is deactivated"),
        (json!(3), None, "Forbidden: bot can't initiate conversation with a user"),
        (json!(-4), None, "Forbidden: bot was kicked from the group chat"),
        (json!(-5), None, "Bad Request: group chat was upgraded to a supergroup chat"),
        (json!(-6), None, "Bad Request: not enough rights to send text messages to the chat"),
        (json!(-1_000_000_000_007_i64), None, "Bad Request: need administrator rights in the channel chat"),
        (json!(-1_000_000_000_008_i64), None, "Forbidden: bot is not a member of the supergroup chat"),
        (json!(99), None, "Bad Request: chat not found"),
        (json!("nobody"), None, "Bad Request: chat not found"),
        (json!(""), None, "Bad Request: chat_id is empty"),
        (json!(GROUP), None, "ok"),
        (json!(GROUP.to_string()), None, "ok"),
        (json!("@Ops_Room"), None, "ok"),
        (json!(GROUP), Some(7), "ok"),
        (json!(GROUP), Some(0), "ok"),
        (json!(GROUP), Some(1), missing),
        (json!(GROUP), Some(6), missing),
        (json!(GROUP), Some(8), "Bad Request: TOPIC_CLOSED"),
        (json!(GROUP), Some(9), "Bad Request: TOPIC_DELETED"),
    ] {
        let mut body = json!({"chat_id": chat, "text": "t"});
        if let Some(thread) = thread {
            body["message_thread_id"] = thread.into();
        }
        let got = say(&telegram, body.clone()).await;
        assert_eq!(got.word(), expected, "{body}");
        let status = if expected == "ok" {
            200
        } else if expected.starts_with("Forbidden") {
            403
        } else {
            400
        };
        assert_eq!(got.status, status, "{body}");
    }
    assert_eq!(
        say(&telegram, json!({"chat_id": -5, "text": "t"})).await.json()["parameters"],
        json!({"migrate_to_chat_id": GROUP})
    );
    let anywhere = start(|options| options).await;
    for (chat, thread, expected) in [(GROUP, 7, "ok"), (GROUP, 1, missing), (-4, 7, missing), (4, 7, missing)] {
        let got = say(&anywhere, json!({"chat_id": chat, "message_thread_id": thread, "text": "t"})).await;
        assert_eq!(got.word(), expected, "{chat} {thread}");
    }
}

#[tokio::test]
async fn tokens_methods_and_forms_are_checked() {
    let telegram = start(|options| options.token("42:AAE-x_y")).await;
    let json = [("content-type", "application/json")];
    for (path, status, expected) in [
        ("/bot42:AAE-x_y/getMe", 200, "ok"),
        ("/some/prefix/bot42:AAE-x_y/GETME", 200, "ok"),
        ("/bot42:other/getMe", 401, "Unauthorized"),
        ("/botnonsense/getMe", 404, "Not Found"),
        ("/getMe", 404, "Not Found"),
        ("/bot42:AAE-x_y/shout", 404, "Not Found: method not found"),
        ("/bot42:AAE-x_y/sendMessage?chat_id=7&text=hi", 200, "ok"),
        ("/bot42:AAE-x_y/getWebhookInfo", 200, "ok"),
        ("/bot42:AAE-x_y/getChat?chat_id=7", 200, "ok"),
        ("/bot42:AAE-x_y/answerCallbackQuery?callback_query_id=1", 200, "ok"),
    ] {
        let got = call(telegram.addr(), "GET", path, &[], String::new()).await.unwrap();
        assert_eq!((got.status, got.word().as_str()), (status, expected), "{path}");
    }
    let got = call(telegram.addr(), "POST", "/bot42:AAE-x_y/sendMessage", &json, "{".into()).await.unwrap();
    assert_eq!(got.word(), "Bad Request: can't parse JSON object");
    let got = api(&telegram, "getChatMember", json!({"chat_id": GROUP, "user_id": 42})).await;
    assert_eq!(got.json()["result"]["status"], "member");
}

#[tokio::test]
async fn edits_deletions_and_replies_keep_to_their_message() {
    let telegram = start(|options| options).await;
    assert_eq!(say(&telegram, json!({"text": "one", "message_thread_id": 7})).await.json()["result"]["message_id"], 1);
    let edit = |id: i64, text: &str| {
        api(&telegram, "editMessageText", json!({"chat_id": GROUP, "message_id": id, "text": text}))
    };
    assert!(edit(1, "one").await.word().starts_with("Bad Request: message is not modified"));
    assert_eq!(edit(1, "two").await.word(), "ok");
    assert_eq!(edit(2, "two").await.word(), "Bad Request: message to edit not found");
    let post = telegram.posted(&conversation(GROUP, Some(7))).remove(0);
    assert_eq!((post.text.as_str(), post.edits), ("two", 1));
    let reply = |id: i64, anyway: bool| {
        say(
            &telegram,
            json!({"text": "r", "reply_parameters": {"message_id": id, "allow_sending_without_reply": anyway}}),
        )
    };
    assert_eq!(reply(9, false).await.word(), "Bad Request: message to be replied not found");
    assert_eq!(reply(9, true).await.word(), "ok");
    assert_eq!(reply(1, false).await.json()["result"]["reply_to_message"]["text"], "two");
    assert_eq!(telegram.posted(&conversation(GROUP, None))[1].thread.as_deref(), Some("1"));
    let delete = || api(&telegram, "deleteMessage", json!({"chat_id": GROUP, "message_id": 1}));
    assert_eq!(delete().await.word(), "ok");
    assert_eq!(delete().await.word(), "Bad Request: message to delete not found");
    assert!(telegram.posted(&conversation(GROUP, Some(7))).is_empty());
}

#[tokio::test]
async fn keyboards_are_checked() {
    let telegram = start(|options| options).await;
    for (button, expected) in [
        (json!({"text": "a", "callback_data": "x".repeat(64)}), "ok"),
        (json!({"text": "a", "callback_data": "x".repeat(65)}), "Bad Request: BUTTON_DATA_INVALID"),
        (json!({"text": "a", "callback_data": ""}), "Bad Request: BUTTON_DATA_INVALID"),
        (json!({"text": "a", "url": "https://a.b"}), "ok"),
        (json!({"text": "a", "url": "a b"}), "Bad Request: BUTTON_URL_INVALID"),
        (
            json!({"text": "", "url": "https://a.b"}),
            "Bad Request: can't parse inline keyboard button: Text must be non-empty",
        ),
    ] {
        let got = say(&telegram, json!({"text": "t", "reply_markup": {"inline_keyboard": [[button]]}})).await;
        assert_eq!(got.word(), expected, "{button}");
    }
}

#[tokio::test]
async fn chats_groups_and_the_bot_have_their_pace() {
    let clock = held();
    let telegram = TelegramSimulator::start(ANY_PORT, TelegramOptions::new(clock.clone())).await.unwrap();
    let to = |chat: i64| say(&telegram, json!({"chat_id": chat, "text": "t"}));
    for _ in 0..3 {
        assert_eq!(to(1).await.word(), "ok");
    }
    let got = to(1).await;
    assert_eq!((got.status, got.headers["retry-after"].to_str().unwrap()), (429, "1"));
    insta::assert_snapshot!(got.body, @r#"{"description":"Too Many Requests: retry after 1","error_code":429,"ok":false,"parameters":{"retry_after":1}}"#);
    for chat in 2..29 {
        assert_eq!(to(chat).await.word(), "ok", "{chat}");
    }
    assert_eq!(to(30).await.status, 429, "the bot's 31st in one second");
    clock.pass(Duration::from_secs(1));
    assert_eq!(to(30).await.word(), "ok");
    for _ in 0..20 {
        clock.pass(Duration::from_secs(1));
        assert_eq!(say(&telegram, json!({"text": ""})).await.status, 400, "what is refused does not count");
        assert_eq!(to(GROUP).await.word(), "ok");
    }
    clock.pass(Duration::from_secs(1));
    assert_eq!(to(GROUP).await.word(), "Too Many Requests: retry after 40");
    clock.pass(Duration::from_secs(40));
    assert_eq!(to(GROUP).await.word(), "ok");
}

proptest! {
    #[test]
    fn no_text_and_no_entities_make_it_stumble(
        text in "\\PC*|[@a-z<>&;/ \"='\n\t🔔]{0,40}",
        entities in prop::collection::vec((0_usize..30, 0_usize..30, 0_usize..8), 0..8),
    ) {
        let _ = html::parse(&text);
        let kinds = ["bold", "italic", "code", "pre", "text_link", "blockquote", "spoiler", "custom_emoji"];
        let list: Vec<_> = entities.iter().map(|(offset, length, kind)| json!({"type": kinds[*kind], "offset": offset,
            "length": length, "url": "https://a.b", "custom_emoji_id": "1"})).collect();
        if let Ok(formatted) = formatted(&text, list.into()) {
            let length = formatted.text.encode_utf16().count();
            let seen = formatted.seen();
            prop_assert!(formatted.entities.iter().all(|entity| entity.length > 0 && entity.offset + entity.length <= length));
            prop_assert!(seen.spans.iter().all(|span| !span.text.is_empty()));
            // What stands is a fixed point: sent again it stays as it is.
            let again = Formatted::new(&formatted.text, formatted.entities.iter().filter(|entity| entity.kind != "mention").cloned().collect());
            prop_assert_eq!(again, Ok(formatted));
        }
    }

    #[test]
    fn escaped_html_is_shown_as_it_was(text in "\\PC*") {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        prop_assert_eq!(html::parse(&escaped).unwrap().0, text);
    }
}

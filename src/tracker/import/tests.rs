use std::fmt::Write;

use serde_json::json;

use super::*;

const HOSTS: Hosts<'_> = Hosts {
    slack_api: "https://slack.com/api",
    telegram_api: "https://telegram.example.com",
    web_url: "https://tracker.example.com",
};

fn trigger(id: u64, endpoint: &str, body: Value) -> Trigger {
    let trigger = json!({"id": id, "name": format!("Trigger {id}"), "version": 1, "active": true,
        "conditions": [{"type": "Event.create"}],
        "actions": [{"type": "Webhook", "endpoint": endpoint, "method": "POST", "body": body}]});
    serde_json::from_str(&trigger.to_string()).unwrap()
}

fn told(triggers: &[Trigger], known: &[Channel]) -> String {
    let proposal = import("TEST", triggers, HOSTS, known);
    let mut told = String::new();
    for channel in &proposal.channels {
        let _ = writeln!(told, "{}: {:?}", channel.name, channel.conversation);
    }
    for route in &proposal.routes {
        let off = if route.disabled { " (off)" } else { "" };
        let _ = writeln!(told, "{} -> {}{off} when {}", route.name, route.channel, route.when);
        for note in &route.notes {
            let _ = writeln!(told, "  - {note}");
        }
        let text = route.template.as_ref().map_or("-", |(_, text)| text.trim_end());
        let _ = writeln!(told, "  | {}", text.replace('\n', "\n  | "));
    }
    for (trigger, note) in &proposal.notes {
        let _ = writeln!(told, "{trigger}: {note}");
    }
    for secret in ["B0SECRET", "t0ken"] {
        assert!(!told.contains(secret) && !format!("{proposal:?}").contains(secret), "{told}");
    }
    told
}

#[test]
fn what_people_paste() {
    let body = |text: &str| Value::from(text);
    let triggers = [
        trigger(
            1,
            "https://hooks.slack.com/services/T0/B0SECRET/1",
            body(r#"{"text": "{{issue.key}} {{issue.sprint}}", "username": "bot"}"#),
        ),
        trigger(2, "https://hooks.slack.com/services/T0/B0SECRET/1", body(r#"{"text": {{issue.summary.json}}}"#)),
        trigger(
            3,
            "https://hooks.slack.com/services/T0/B0SECRET/2",
            json!({"text": "as an object", "mrkdwn": false, "unfurl_links": false}),
        ),
        trigger(4, "https://slack.com/api/chat.postMessage", body(r##"{"channel": "#ops", "text": "x"}"##)),
        trigger(
            5,
            "https://api.telegram.org/bot1:t0ken/sendMessage?chat_id=-1007&text={{issue.key}}+{{issue.summary.urlEncodeUTF8}}",
            Value::Null,
        ),
        trigger(
            6,
            "https://telegram.example.com/bot1:t0ken/sendMessage",
            body("chat_id=-1007&parse_mode=HTML&text=<b>{{issue.key}}</b>"),
        ),
        trigger(
            7,
            "{{telegramUrl}}",
            body(
                r#"{"chat_id": {{chat}}, "text": "https://tracker.example.com/{{issue.key}}", "message_thread_id": 9}"#,
            ),
        ),
        trigger(
            8,
            "https://api.telegram.org/bot1:t0ken/sendMessage",
            body("{\"chat_id\": \"-1007\", \"text\": \"a\nb\"}"),
        ),
        trigger(9, "https://bells.example.com/hooks/tracker", body(r#"{"key": "{{issue.key}}"}"#)),
    ];
    insta::assert_snapshot!(told(&triggers, &[]));
}

#[test]
fn what_a_trigger_is_besides() {
    let mut conditions = trigger(1, "https://hooks.slack.com/services/T0/B0SECRET/1", r#"{"text": "x"}"#.into());
    conditions.conditions = json!([{"type": "ChecklistDone"}]);
    let mut inactive =
        trigger(2, "https://slack.com/api/chat.postMessage", r#"{"channel": "C123", "text": "x"}"#.into());
    inactive.active = Some(false);
    let mut several =
        trigger(3, "https://slack.com/api/chat.postMessage", r#"{"channel": "C123", "text": "x"}"#.into());
    several.conditions = json!([]);
    let more = several.actions.as_array_mut().unwrap();
    more.push(json!({"type": "Transition", "status": "closed"}));
    more.push(json!({"type": "Webhook", "endpoint": "https://api.telegram.org/bot1:t0ken/sendPhoto"}));
    more.push(json!({"type": "Webhook", "endpoint": "https://api.telegram.org/bot1:t0ken/sendMessage",
        "body": "{\"chat_id\": 5, \"text\": \"y\"}"}));
    let known = [
        Channel { name: "ops".into(), conversation: Conversation::Slack { id: "C123".into() } },
        Channel { name: "telegram-5".into(), conversation: Conversation::Telegram { chat: 6, topic: None } },
    ];
    insta::assert_snapshot!(told(&[conditions, inactive, several], &known));
}

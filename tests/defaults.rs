//! The templates in the binary, as both messengers show them in both languages: with all that an event can bring, and
//! with only what it must. The snapshots are for people to read.

use campanile::delivery::Messenger;
use campanile::event::Document;
use campanile::message::Language;
use campanile::messenger::Content;
use campanile::template::{Locale, Templates};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

fn person(login: &str, display: &str) -> Value {
    json!({"login": login, "display": display, "email": format!("{login}@example.com")})
}

fn full(kind: &str) -> Value {
    let mut document = json!({
        "event": {"kind": kind, "source": "tracker", "received_at": "2026-05-20T09:15:02Z", "reading": "strict", "degraded": false},
        "issue": {
            "key": "TEST-12", "url": "https://tracker.yandex.ru/TEST-12", "summary": "Оплата падает: *500* & <timeout>",
            "description": "1 из 10 платежей\nне проходит", "status": {"key": "inProgress", "display": "В работе"},
            "priority": {"key": "critical", "display": "Критичный"}, "resolution": {"key": "fixed", "display": "Решён"},
            "assignee": person("ivan", "Иван Иванов"), "author": person("maria", "Мария Петрова"), "deadline": "2026-05-22",
        },
        "actor": person("maria", "Мария Петрова"),
        "comment": {"id": "7", "text": "Смотрю логи @ops\n`select 1`", "author": person("ivan", "Иван Иванов")},
        "review": {
            "id": "41", "title": "TEST-12: retry payments", "url": "https://git.example.com/shop/pay/pulls/41",
            "repository": "shop/pay", "host": "git.example.com", "branch": "fix/TEST-12", "target": "main",
            "author": person("ivan", "Иван Иванов"), "reviewer": person("anna", "Анна"), "comment": "Почти: см. строку 7",
        },
        "bench": {"url": "https://test-12.bench.example.com", "branch": "fix/TEST-12", "state": "ready"},
    });
    if !matches!(kind, "issue.resolved" | "issue.closed") {
        document["issue"].as_object_mut().unwrap().remove("resolution");
    }
    if !matches!(kind, "issue.resolved" | "issue.comment_added") {
        document.as_object_mut().unwrap().remove("comment");
    }
    document
}

fn bare(kind: &str) -> Value {
    match kind.split('.').next() {
        Some("review") => json!({"event": {"kind": kind}, "review": {"id": "41"}}),
        Some("bench") => json!({"event": {"kind": kind}, "bench": {"branch": "main"}}),
        _ => json!({"event": {"kind": kind}, "issue": {"key": "TEST-12"}}),
    }
}

/// What a part shows, with `**bold**`, `[links](…)`, `` `code` `` and `> quotes` written out.
fn shown(part: &Content) -> String {
    match part {
        Content::Telegram(part) => {
            let units: Vec<u16> = part.text.encode_utf16().collect();
            let mut marks: Vec<(usize, bool, usize, String)> = Vec::new();
            for (n, entity) in part.entities.iter().enumerate() {
                let kind = serde_json::to_value(entity).unwrap();
                let (open, close) = marks_of(kind["type"].as_str().unwrap(), kind["url"].as_str().unwrap_or_default());
                marks.push((entity.offset, true, n, open));
                marks.push((entity.offset + entity.length, false, n, close));
            }
            let mut out = String::new();
            for at in 0..=units.len() {
                for (_, _, _, mark) in marks.iter().rev().filter(|(place, opens, ..)| *place == at && !opens) {
                    out.push_str(mark);
                }
                for (_, _, _, mark) in marks.iter().filter(|(place, opens, ..)| *place == at && *opens) {
                    out.push_str(mark);
                }
                let end = if at < units.len() && (0xD800..0xDC00).contains(&units[at]) { at + 2 } else { at + 1 };
                out.push_str(&String::from_utf16(units.get(at..end).unwrap_or_default()).unwrap_or_default());
            }
            out
        }
        Content::Slack(part) => {
            let blocks = serde_json::to_value(&part.message.blocks).unwrap();
            let elements = blocks.as_array().unwrap().iter().flat_map(|block| block["elements"].as_array().unwrap());
            let told = elements.map(|element| {
                let inner = element["elements"].as_array().unwrap().iter().map(|run| {
                    let text = run["text"].as_str().unwrap_or_default();
                    let mut told = text.to_owned();
                    for style in ["code", "italic", "bold"].into_iter().filter(|style| run["style"][*style] == true) {
                        let (open, close) = marks_of(style, "");
                        told = format!("{open}{told}{close}");
                    }
                    if let Some(url) = run["url"].as_str() { format!("[{told}]({url})") } else { told }
                });
                let (open, close) = match element["type"].as_str().unwrap() {
                    "rich_text_quote" => marks_of("blockquote", ""),
                    _ => Default::default(),
                };
                format!("{open}{}{close}", inner.collect::<String>())
            });
            told.collect::<Vec<_>>().join("\n")
        }
    }
}

fn marks_of(kind: &str, url: &str) -> (String, String) {
    match kind {
        "bold" => ("**".into(), "**".into()),
        "italic" => ("_".into(), "_".into()),
        "code" => ("`".into(), "`".into()),
        "text_link" => ("[".into(), format!("]({url})")),
        "blockquote" => ("> ".into(), String::new()),
        other => (format!("<{other}>"), "</>".into()),
    }
}

/// In Slack and Telegram, in English and Russian: the whole, then the least, then the whole of a degraded event.
fn told(name: &str, kinds: &[&str]) -> String {
    let (templates, findings) = Templates::load(None);
    assert_eq!(findings, vec![]);
    let mut told = String::new();
    for language in [Language::En, Language::Ru] {
        for messenger in Messenger::ALL {
            let locale = Locale { language, time_zone: TimeZone::get("Europe/Moscow").unwrap() };
            let degraded = |kind: &str| {
                let mut document = full(kind);
                document["event"]["degraded"] = true.into();
                document
            };
            let documents =
                kinds.iter().map(|kind| full(kind)).chain([bare(kinds[0]), degraded(kinds[kinds.len() - 1])]);
            for document in documents {
                let json = document.to_string();
                let document_of_outbox = Document::new(&json, Some(7));
                let message = templates.render(name, &document_of_outbox, "ops", messenger, &locale).unwrap();
                let parts = Content::parts(messenger, message);
                assert_eq!(parts.len(), 1);
                told.push_str(&format!(
                    "=== {messenger} {language:?} {}\n{}\n",
                    document["event"]["kind"],
                    shown(&parts[0])
                ));
                let is_told = told.ends_with("`campanile events show 7`\n");
                let is_of_issue = !matches!(name, "review" | "bench");
                assert_eq!(is_told, is_of_issue && document["event"]["degraded"] == true, "{told}");
                assert!(!told.contains("\n\n\n") && !told.contains(" \n") && !told.contains("****"), "{told}");
            }
        }
    }
    told.replace('\u{2060}', "")
}

#[test]
fn each_template_reads_well_on_both_messengers_in_both_languages() {
    for (name, kinds) in [
        ("issue-created", &["issue.created"][..]),
        ("issue-status", &["issue.status_changed", "issue.closed"]),
        ("issue-assigned", &["issue.assigned"]),
        ("issue-comment", &["issue.comment_added"]),
        ("issue-resolved", &["issue.resolved"]),
        (
            "issue",
            &["issue.updated", "issue.sla", "issue.deadline", "issue.linked", "issue.moved", "issue.deployed_to_prod"],
        ),
        (
            "critical",
            &[
                "issue.created",
                "issue.status_changed",
                "issue.comment_added",
                "issue.assigned",
                "issue.sla",
                "issue.resolved",
            ],
        ),
        ("review", &["review.approved", "review.opened", "review.merged"]),
        ("bench", &["bench.ready", "bench.gone"]),
    ] {
        insta::assert_snapshot!(name, told(name, kinds));
    }
}

#[test]
fn every_template_of_the_binary_has_a_snapshot() {
    let (templates, _) = Templates::load(None);
    for name in templates.names() {
        let file = format!("tests/snapshots/tests__defaults__{name}.snap");
        assert!(std::path::Path::new(&file).exists(), "{file}");
    }
}

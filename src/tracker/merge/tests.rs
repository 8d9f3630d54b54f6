use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::tracker::issue::{Comment, Entry, Issue as Found};
use crate::tracker::own::Own;

const ISSUE: &str = include_str!("../../../tests/fixtures/api-issue-v3.json");

fn event(members: Value) -> Event {
    let mut event = json!({"event": {"kind": "issue.status_changed", "source": "tracker", "at": "2026-05-12T09:15:02Z",
        "received_at": "2026-05-12T09:15:03Z", "reading": "strict", "degraded": false}, "issue": {"key": "OLDQ-9"}});
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    serde_json::from_value(event).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_str(&json.to_string()).unwrap()
}

/// The fixture's issue, with the entry that moved it to `testing` (it is `readyForTest` by now), by Maria.
fn look() -> Look {
    let entry: Entry = read(json!({"id": "1", "updatedAt": "2026-05-12T09:15:02.000+0000",
    "updatedBy": {"id": "1120000000211496", "display": "Мария Петрова"},
    "fields": [
        {"field": {"id": "status"}, "from": {"self": "https://x", "key": "open", "display": "Открыт"},
         "to": {"self": "https://x", "id": "7", "key": "testing", "display": "Тестируется"}},
        {"field": {"id": "resolution"}, "from": {"key": "fixed"}, "to": null},
        {"field": {"id": "65f1c0ffee0000000000000b--benchLink"}, "from": null, "to": "https://b/"},
    ]}));
    let user = |id: &str, login: &str| {
        (id.to_owned(), read(json!({"id": id, "login": login, "email": format!("{login}@x.y")})))
    };
    let mut people =
        std::collections::HashMap::from([user("1120000000211496", "maria"), user("1120000000211495", "ivan")]);
    people.insert("maria".into(), read(json!({"login": "maria", "display": "Мария", "email": "maria@x.y"})));
    let doers = entry.updated_by.clone().into_iter().collect();
    let issue = Arc::new(Found::read(ISSUE.as_bytes()).unwrap());
    Look { issue, entry: Some(entry), doers, people, ..Look::default() }
}

fn merged(members: Value, look: &Look) -> Value {
    let mut event = event(members);
    merge(&mut event, look, "https://tracker.test");
    serde_json::to_value(event).unwrap()
}

/// A body that names the key alone.
#[test]
fn what_tracker_knows_is_filled_in() {
    let mut event = merged(json!({}), &look());
    assert!(event["issue"]["description"].as_str().unwrap().starts_with("## Шаги"));
    event["issue"]["description"] = json!("…");
    insta::assert_json_snapshot!(event);
}

#[test]
fn what_the_body_says_stays() {
    let said = json!({"key": "OLDQ-9", "url": "https://body", "queue": {"key": "OLDQ", "display": "Старая"},
        "summary": "s", "description": "d", "status": {"key": "closed"}, "priority": {"display": "Важный"},
        "type": {"key": "task", "display": "T"}, "resolution": {"key": "later"}, "parent": {"key": "X-1"},
        "author": {"login": "a"}, "assignee": {"display": "B"}, "followers": [{"login": "f"}],
        "tags": ["t"], "components": [{"display": "c"}], "deadline": "2030-01-01",
        "fields": {"benchLink": "body's", "other": 1}});
    let others = json!({"issue": said, "actor": {"login": "act"}, "body": {"k": "v"},
        "comment": {"id": "1", "text": "c", "author": {"login": "z"}}, "changes": [{"field": "x", "to": 1}]});
    let found: Comment = read(json!({"id": 626, "text": "other", "createdBy": {"id": "9", "display": "Other"}}));
    let got = merged(others.clone(), &Look { comment: Some(found), ..look() });
    let mut wanted = others;
    wanted["issue"]["key"] = json!("BELL-42");
    wanted["issue"]["url"] = json!("https://tracker.test/BELL-42");
    wanted["issue"]["queue"] = json!({"key": "BELL", "display": "Колокольня"});
    wanted["event"] = got["event"].clone();
    assert_eq!(got, wanted, "the key, its address and its queue are Tracker's");
}

/// What the call said, what it becomes.
#[test]
fn halves_are_made_whole() {
    let with_keys = Look { keys: [("priority", "blocker".to_owned())].into(), ..look() };
    for (said, wanted) in [
        (json!({}), json!(["testing Тестируется", "critical Критичный", "bug Ошибка", null])),
        (
            json!({"status": {"key": "testing"}}),
            json!(["testing Тестируется", "critical Критичный", "bug Ошибка", null]),
        ),
        (
            json!({"status": {"display": "Тестируется"}}),
            json!(["testing Тестируется", "critical Критичный", "bug Ошибка", null]),
        ),
        (
            json!({"status": {"key": "readyForTest"}}),
            json!(["readyForTest Можно тестировать", "critical Критичный", "bug Ошибка", null]),
        ),
        (json!({"status": {"display": "Иначе"}}), json!(["- Иначе", "critical Критичный", "bug Ошибка", null])),
        (
            json!({"priority": {"display": "Блокер"}}),
            json!(["testing Тестируется", "blocker Блокер", "bug Ошибка", null]),
        ),
        (
            json!({"type": {"key": "bug"}, "resolution": {"key": "fixed"}}),
            json!(["testing Тестируется", "critical Критичный", "bug Ошибка", "fixed -"]),
        ),
    ] {
        let mut issue = said.clone();
        issue["key"] = json!("BELL-42");
        let got = merged(json!({"issue": issue}), &with_keys);
        let word = |member: &str| match &got["issue"][member] {
            Value::Null => Value::Null,
            it => json!(format!("{} {}", it["key"].as_str().unwrap_or("-"), it["display"].as_str().unwrap_or("-"))),
        };
        assert_eq!(json!([word("status"), word("priority"), word("type"), word("resolution")]), wanted, "{said}");
    }
}

#[test]
fn people_get_what_is_known_of_them() {
    for (said, wanted) in [
        (json!({"login": "maria"}), json!({"login": "maria", "display": "Мария", "email": "maria@x.y"})),
        (
            json!({"login": "maria", "display": "Маша"}),
            json!({"login": "maria", "display": "Маша", "email": "maria@x.y"}),
        ),
        (
            json!({"display": "Мария Петрова"}),
            json!({"login": "maria", "display": "Мария Петрова", "email": "maria@x.y"}),
        ),
        (json!({"display": "Кто-то"}), json!({"display": "Кто-то"})),
        (json!({"login": "unknown"}), json!({"login": "unknown"})),
    ] {
        assert_eq!(merged(json!({"actor": said}), &look())["actor"], wanted, "{said}");
    }
}

#[test]
fn whoever_changed_it_last_is_the_actor_only_near_the_event() {
    let without = Look { entry: None, ..look() };
    assert_eq!(merged(json!({}), &without).get("actor"), None, "an hour later");
    let mut near = event(json!({}));
    near.event.at = Some("2026-05-12T10:00:00Z".parse().unwrap());
    merge(&mut near, &without, "https://t");
    assert_eq!(near.actor.unwrap().login.as_deref(), Some("maria"));
}

/// It did not happen in the issue: nothing of the changelog is it.
#[test]
fn a_reviews_event_gets_the_issue_alone() {
    let got = merged(json!({"review": {"id": "7", "repository": "a/b", "host": "github"}}), &look());
    assert_eq!((got.get("actor"), got.get("changes"), got.get("comment")), (None, None, None));
    assert_eq!(got["issue"]["assignee"]["login"], "maria");
}

#[test]
fn our_own_doing_is_known_by_any_name() {
    let own = |json: Value| Own::of(read(json));
    let maria = own(json!({"login": "maria", "uid": 1120000000211496_i64}));
    let robot = own(json!({"login": "robot", "uid": 5, "cloudUid": "aje5", "email": "robot@x.y"}));
    let by = |actor: Value| event(json!({"actor": actor}));
    assert!(maria.did(&event(json!({})), Some(&look())), "by the changelog");
    assert!(!robot.did(&event(json!({})), Some(&look())));
    assert!(!robot.did(&event(json!({})), None), "nobody knows");
    assert!(robot.did(&by(json!({"login": "Robot"})), None));
    assert!(robot.did(&by(json!({"login": "5"})), None));
    assert!(robot.did(&by(json!({"email": "robot@x.y"})), None));
    assert!(!maria.did(&by(json!({"login": "ivan"})), Some(&look())), "the body comes first");
    assert!(maria.did(&by(json!({"display": "Somebody"})), Some(&look())), "a name alone says nothing");
    let last = Look { entry: None, doers: Vec::new(), ..look() };
    assert!(!maria.did(&event(json!({})), Some(&last)), "the last change may be a later one");
    assert!(robot.is(&read(json!({"id": "9", "cloudUid": "aje5"}))) && !robot.is(&read(json!({"display": "x"}))));
}

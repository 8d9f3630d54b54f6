//! Where a trigger's members land in the event (design, 3.5).

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::read::{Found, Reader};
use super::time;
use crate::event::{Comment, Event, Head, Issue, Person, Reference, SourceName};
use crate::key::queue_of;

/// Words that triggers use for what happened -> the kind's last part. Compared without case, `-` and blanks as `_`.
const KINDS: &[(&str, &str)] = &[
    ("create", "created"),
    ("created", "created"),
    ("issue_created", "created"),
    ("new", "created"),
    ("opened", "created"),
    ("update", "updated"),
    ("updated", "updated"),
    ("changed", "updated"),
    ("edited", "updated"),
    ("issue_updated", "updated"),
    ("issue_changed", "updated"),
    ("status", "status_changed"),
    ("status_changed", "status_changed"),
    ("status_change", "status_changed"),
    ("issue_status_changed", "status_changed"),
    ("transition", "status_changed"),
    ("comment", "comment_added"),
    ("commented", "comment_added"),
    ("comment_added", "comment_added"),
    ("comment_created", "comment_added"),
    ("issue_commented", "comment_added"),
    ("issue_comment_added", "comment_added"),
    ("assigned", "assigned"),
    ("assignee_changed", "assigned"),
    ("issue_assigned", "assigned"),
    ("resolved", "resolved"),
    ("issue_resolved", "resolved"),
    ("closed", "closed"),
    ("issue_closed", "closed"),
    ("moved", "moved"),
    ("issue_moved", "moved"),
    ("linked", "linked"),
    ("issue_linked", "linked"),
    ("deadline", "deadline"),
    ("sla", "sla"),
];

/// Builds the event of a call. Everything also stands under `body`, as it came.
pub fn event(source: &SourceName, found: Found, reader: &Reader, received_at: Timestamp) -> Event {
    let Found { key, members, reading, degraded } = found;
    let take = Members(&members);
    let issue = Issue {
        url: Some(format!("{}/{key}", reader.web_url)),
        queue: Some(Reference { key: Some(queue_of(&key).to_owned()), ..take.reference("queue").unwrap_or_default() }),
        summary: take.text("summary"),
        description: take.text("description"),
        status: take.reference("status"),
        priority: take.reference("priority"),
        kind: take.reference("type").filter(|_| !take.type_is_the_kind()),
        resolution: take.reference("resolution"),
        parent: take.reference("parent"),
        author: take.person("author"),
        assignee: take.person("assignee"),
        followers: take.list("followers").into_iter().filter_map(person).collect(),
        tags: take.list("tags").into_iter().filter_map(text).collect(),
        components: take.list("components").into_iter().filter_map(component).collect(),
        deadline: take.text("deadline"),
        fields: take.fields(),
        key,
    };
    let head = Head {
        kind: take.kind(),
        source: source.clone(),
        at: take.get("at").and_then(time::read),
        received_at,
        reading,
        degraded,
        unenriched: false,
        recovered: false,
    };
    let (actor, comment) = (take.person("actor"), take.comment());
    Event {
        event: head,
        issue: Some(issue),
        actor,
        changes: Vec::new(),
        comment,
        review: None,
        bench: None,
        link: None,
        body: members,
    }
}

/// A call's members, and those of a nested `issue` behind them.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        let nested = || self.0.get("issue")?.as_object()?.get(name);
        self.0.get(name).or_else(|| self.0.get(&format!("issue.{name}"))).or_else(nested)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| text(value.clone()))
    }

    fn reference(&self, name: &str) -> Option<Reference> {
        let mut reference = match self.get(name) {
            Some(Value::Object(members)) => {
                let member = |name: &str| members.get(name).and_then(|value| text(value.clone()));
                Reference { key: member("key"), display: member("display") }
            }
            Some(value) => match text(value.clone())? {
                word if is_reference_key(&word) => Reference { key: Some(word), display: None },
                display => Reference { key: None, display: Some(display) },
            },
            None => Reference::default(),
        };
        if let Some(display) = self.text(&format!("{name}_name")) {
            reference.display = Some(display);
        }
        (reference != Reference::default()).then_some(reference)
    }

    fn person(&self, name: &str) -> Option<Person> {
        let mut found = self.get(name).and_then(|value| person(value.clone())).unwrap_or_default();
        if let Some(display) = self.text(&format!("{name}_name")) {
            found.display = Some(display);
        }
        (found != Person::default()).then_some(found)
    }

    /// A list, also as JSON in quotes, or text with commas between (the separator of raw lists is not documented).
    fn list(&self, name: &str) -> Vec<Value> {
        match self.get(name) {
            Some(Value::Array(items)) => items.clone(),
            Some(Value::String(items)) => serde_json::from_str(items).unwrap_or_else(|_| {
                items.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
            }),
            Some(other) => vec![other.clone()],
            None => Vec::new(),
        }
    }

    /// `fields: {…}`, and `fields.<name>` as forms write it.
    fn fields(&self) -> Map<String, Value> {
        let mut fields = match self.get("fields") {
            Some(Value::Object(fields)) => fields.clone(),
            _ => Map::new(),
        };
        for (name, value) in self.0 {
            if let Some(field) = name.strip_prefix("fields.") {
                fields.entry(field.to_owned()).or_insert_with(|| value.clone());
            }
        }
        fields
    }

    fn comment(&self) -> Option<Comment> {
        let member = |name: &str| self.0.get(&format!("comment.{name}")).cloned();
        let comment = match self.0.get("comment") {
            Some(Value::Object(comment)) => Comment {
                id: comment.get("id").cloned().and_then(text),
                text: comment.get("text").cloned().and_then(text),
                author: comment.get("author").cloned().and_then(person),
            },
            Some(value) => Comment { text: text(value.clone()), ..Comment::default() },
            None => Comment {
                id: member("id").and_then(text),
                text: member("text").and_then(text),
                author: member("author").and_then(person),
            },
        };
        (comment != Comment::default()).then_some(comment)
    }

    fn kind(&self) -> String {
        let word = |name: &str| self.0.get(name).and_then(Value::as_str);
        match word("event") {
            Some(event) => format!("issue.{}", known_kind(event).map_or_else(|| plain_word(event), str::to_owned)),
            None => format!("issue.{}", word("type").and_then(known_kind).unwrap_or("updated")),
        }
    }

    fn type_is_the_kind(&self) -> bool {
        !self.0.contains_key("event") && self.0.get("type").and_then(Value::as_str).and_then(known_kind).is_some()
    }
}

fn known_kind(word: &str) -> Option<&'static str> {
    let word = plain_word(word);
    KINDS.iter().find(|(alias, _)| *alias == word).map(|(_, kind)| *kind)
}

/// A word as kinds are written: `statusChanged`, `status-changed` and `issue.status_changed` are one.
fn plain_word(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("issue.").unwrap_or(text);
    let mut word = String::with_capacity(text.len());
    let mut before_was_lower = false;
    for c in text.chars().take(64) {
        if c.is_uppercase() && before_was_lower {
            word.push('_');
        }
        before_was_lower = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if !word.is_empty() && !word.ends_with('_') {
            word.push('_');
        }
    }
    let word = word.trim_end_matches('_');
    if word.is_empty() { "updated".to_owned() } else { word.to_owned() }
}

/// `[A-Za-z][A-Za-z0-9_.-]*`: a key; anything else is what people read.
fn is_reference_key(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

pub fn person(value: Value) -> Option<Person> {
    match value {
        Value::Object(members) => {
            let member = |name: &str| members.get(name).and_then(|value| text(value.clone()));
            let person = Person { login: member("login"), display: member("display"), email: member("email") };
            (person != Person::default()).then_some(person)
        }
        value => Some(match text(value)? {
            email if email.contains('@') => Person { email: Some(email), ..Person::default() },
            login => Person { login: Some(login), ..Person::default() },
        }),
    }
}

fn component(value: Value) -> Option<Reference> {
    match value {
        Value::Object(members) => {
            let member = |name: &str| members.get(name).and_then(|value| text(value.clone()));
            let component = Reference { key: member("key"), display: member("display").or_else(|| member("name")) };
            (component != Reference::default()).then_some(component)
        }
        value => Some(Reference { key: None, display: Some(text(value)?) }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::key::Queues;

    fn read(body: Value) -> Event {
        read_text(&body.to_string())
    }

    fn read_text(body: &str) -> Event {
        let reader = Reader { web_url: "https://tracker.yandex.ru".into(), queues: Queues::default() };
        let found = reader.read("", body.as_bytes()).unwrap();
        event(&SourceName::try_from("tracker".to_owned()).unwrap(), found, &reader, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn kinds_by_the_table_and_by_the_word() {
        for (body, expected) in [
            (json!({"event": "created"}), "issue.created"),
            (json!({"event": "statusChanged"}), "issue.status_changed"),
            (json!({"event": "Status-Changed"}), "issue.status_changed"),
            (json!({"event": "issue.comment_created"}), "issue.comment_added"),
            (json!({"type": "issueUpdated"}), "issue.updated"),
            (json!({"type": "bug"}), "issue.updated"),
            (json!({}), "issue.updated"),
            (json!({"event": "Deployed to prod!"}), "issue.deployed_to_prod"),
            (json!({"event": "review.approved"}), "issue.review_approved"),
            (json!({"event": "???"}), "issue.updated"),
        ] {
            let mut body = body;
            body["key"] = "TEST-1".into();
            assert_eq!(read(body.clone()).event.kind, expected, "{body}");
        }
    }

    #[test]
    fn members_land_where_the_design_says() {
        let event = read(json!({
            "key": "TEST-7", "event": "created", "type": "bug", "status": "readyForTest", "status_name": "Можно тестировать",
            "priority": "Критичный", "author": "ivan", "assignee": "maria@example.com", "assignee_name": "Мария",
            "followers": "a, b@c.d", "tags": ["x"], "components": ["API"], "parent": "TEST-1", "comment": "so what",
            "actor": {"login": "petr", "display": "Пётр"}, "fields": {"bench": "u"}, "fields.extra": 1, "at": "2026-05-12T09:15:02.100+0000",
        }));
        insta::assert_json_snapshot!(serde_json::to_value(&event.issue).unwrap(), @r#"
        {
          "assignee": {
            "display": "Мария",
            "email": "maria@example.com"
          },
          "author": {
            "login": "ivan"
          },
          "components": [
            {
              "display": "API"
            }
          ],
          "fields": {
            "bench": "u",
            "extra": 1
          },
          "followers": [
            {
              "login": "a"
            },
            {
              "email": "b@c.d"
            }
          ],
          "key": "TEST-7",
          "parent": {
            "key": "TEST-1"
          },
          "priority": {
            "display": "Критичный"
          },
          "queue": {
            "key": "TEST"
          },
          "status": {
            "display": "Можно тестировать",
            "key": "readyForTest"
          },
          "tags": [
            "x"
          ],
          "type": {
            "key": "bug"
          },
          "url": "https://tracker.yandex.ru/TEST-7"
        }
        "#);
        assert_eq!(event.comment.unwrap().text.as_deref(), Some("so what"));
        assert_eq!(event.actor.unwrap().display.as_deref(), Some("Пётр"));
        assert_eq!(event.event.at.unwrap().to_string(), "2026-05-12T09:15:02.1Z");
    }

    #[test]
    fn a_number_is_kept_to_its_last_digit() {
        let stored = serde_json::to_string(&read_text(r#"{"key":"TEST-1","n":1.7785777777777776e+50}"#)).unwrap();
        let event: Event = serde_json::from_str(&stored).unwrap();
        assert_eq!(event.body["n"].to_string(), "1.7785777777777776e+50");
    }

    #[test]
    fn a_list_in_quotes_is_a_list() {
        let event = read(json!({"key": "TEST-1", "followers": "[]", "tags": r#"["a, b"]"#, "components": "a, b"}));
        let issue = event.issue.unwrap();
        assert_eq!((issue.followers, issue.tags, issue.components.len()), (vec![], vec!["a, b".to_owned()], 2));
    }
}

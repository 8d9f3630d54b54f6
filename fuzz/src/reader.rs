//! A call to a source → an event.

use std::sync::Arc;

use campanile::event::{Document, Event, SourceName};
use campanile::key::Queues;
use campanile::source::{Call, Kind, Reader, Said, Secrets, Source};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::Value;

/// `input`: a line with method, content type and query string, and the body. The body is read as it is, and once more
/// as a text that an issue's author wrote into a variable without `.json`.
pub fn check(input: &[u8]) {
    let (head, body) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let head = String::from_utf8_lossy(head);
    let mut head = head.splitn(3, ' ').chain(["", "", ""]);
    let mut next = || head.next().unwrap_or_default();
    let (method, content_type, query) = (next(), next(), next());
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST);
    for queues in [&[][..], &["TEST", "BELL"]] {
        read(&source(queues), &method, content_type, query, body);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        between_quotes(text);
    }
}

fn source(queues: &[&str]) -> Source {
    let queues = Queues::new(queues.iter().map(|queue| (*queue).to_owned()));
    Source {
        name: SourceName::try_from("tracker".to_owned()).unwrap(),
        secrets: Secrets::new([]),
        kind: Kind::Tracker,
        url_secret: false,
        dedupe: None,
        enrich: false,
        reader: Reader { web_url: "https://tracker.yandex.ru".into(), queues },
    }
}

/// What is read can be stored, and comes back from the store as it was.
fn read(source: &Source, method: &Method, content_type: &str, query: &str, body: &[u8]) -> Option<Event> {
    let content_type = HeaderValue::from_str(content_type).ok();
    let headers = HeaderMap::from_iter(content_type.map(|value| (http::header::CONTENT_TYPE, value)));
    let (room, received_at) = (Arc::new(()), Timestamp::UNIX_EPOCH);
    let event = match source.read(&Call { method, query, headers: &headers, body, room, received_at }) {
        Said::Events(reads) => reads.into_iter().next().unwrap().event,
        Said::Unreadable { why } => {
            assert!(!why.is_empty());
            return None;
        }
        Said::Ignored { why } => panic!("a trigger is never ignored: {why}"),
    };
    let stored = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), event);
    let members = Document::new(&stored, Some(1)).members(|_| true);
    assert_eq!(
        members.contains_key("body"),
        !event.body.is_empty(),
        "conditions and templates lose the body: {stored}"
    );
    let key = &event.issue.as_ref().unwrap().key;
    let queue = key.split_once('-').unwrap().0;
    assert!(!queue.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{key}");
    Some(event)
}

/// An author's text stands in quotes as it is: the trigger's own literals before it keep their values, and behind it they
/// are told rightly or not at all. Unless the author wrote valid JSON: of one name the first counts then.
fn between_quotes(text: &str) {
    const OWN: &str = r#""event": "created", "key": "TEST-1", "priority": "minor", "v": 1"#;
    let of = |body: &str| read(&source(&[]), &Method::POST, "application/json", "", body.as_bytes());
    for member in [
        format!(r#""summary":"{text}""#),
        format!(r#""comment": {{"text": "{text}"}}"#),
        format!(r#""fields":{{"team":"{text}"}}"#),
    ] {
        let event = of(&format!("{{ {OWN}, {member},\n  \"status\": \"open\" }}")).unwrap();
        let own = (event.issue.unwrap().key, event.event.kind.as_str(), &event.body["priority"], &event.body["v"]);
        assert_eq!(own, ("TEST-1".to_owned(), "issue.created", &Value::from("minor"), &Value::from(1)));

        let behind = format!("{{ {member}, {OWN} }}");
        if let Some(event) = of(&behind).filter(|_| serde_json::from_str::<Value>(&behind).is_err()) {
            assert_eq!(event.issue.unwrap().key, "TEST-1");
            assert!(matches!(event.event.kind.as_str(), "issue.created" | "issue.updated"), "{:?}", event.event);
        }
    }
}

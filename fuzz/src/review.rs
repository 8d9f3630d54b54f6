//! A call of a code host or a pipeline → events.

use std::sync::Arc;

use campanile::event::{Document, Event, Host, SourceName};
use campanile::key::{Keys, Queues, is_key};
use campanile::source::{Admission, Call, Kind, Reader, Reviews, Said, Secrets, Source};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

/// `input`: lines of headers, an empty one, and the body. Each kind of source is given it.
pub fn check(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(0);
    let (head, body) = input.split_at(end);
    let body = body.strip_prefix(b"\n\n").unwrap_or(body);
    let headers = String::from_utf8_lossy(head).lines().filter_map(header).collect();
    let reviews = Reviews { keys: Keys::All, members_only: false, all_approvals: false, fetch_comments: true };
    let kinds = Host::ALL.map(|host| Kind::Host(host, reviews)).into_iter().chain([Kind::Bench]);
    for source in kinds.flat_map(|kind| [&[][..], &["TEST"]].map(|queues| source(kind, queues))) {
        read(&source, &headers, body);
    }
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

fn source(kind: Kind, queues: &[&str]) -> Source {
    let queues = Queues::new(queues.iter().map(|queue| (*queue).to_owned()));
    Source {
        name: SourceName::try_from("reviews".to_owned()).unwrap(),
        kind,
        secrets: Secrets::new(&["fixture-secret".into(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()]),
        url_secret: false,
        dedupe: None,
        enrich: true,
        reader: Reader { web_url: "https://tracker.yandex.ru".into(), queues },
    }
}

/// Whatever comes in is verified without a panic; and what is read can be stored, and comes back from the store as it was.
fn read(source: &Source, headers: &HeaderMap, body: &[u8]) {
    let (room, received_at) = (Arc::new(()), Timestamp::UNIX_EPOCH);
    if source.admit(headers) == Admission::No {
        assert!(!source.verify(headers, body, received_at), "a signature that nobody saw");
    }
    match source.read(&Call { method: &Method::POST, query: "", headers, body, room, received_at }) {
        Said::Ignored { why } | Said::Unreadable { why } => assert!(!why.is_empty()),
        Said::Events(reads) => {
            assert!((1..=20).contains(&reads.len()));
            let marks: std::collections::HashSet<_> = reads.iter().map(|read| read.fingerprint).collect();
            assert_eq!(marks.len(), reads.len(), "each event has a mark of its own");
            for read in reads {
                let stored = serde_json::to_string(&read.event).unwrap();
                assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), read.event);
                assert!(!Document::new(&stored, Some(1)).members(|root| root == "event").is_empty());
                let key = read.event.issue.as_ref().map(|issue| issue.key.clone());
                assert!(key.as_deref().is_none_or(is_key), "{key:?}");
                assert_eq!(read.line, key.or_else(|| Some(read.event.review.as_ref()?.key())));
                let fits = |key: &str| key.len() <= 2500 && !key.contains(char::is_control);
                assert!(read.object.is_none_or(|object| fits(&object.key)), "no key of the store");
            }
        }
    }
}

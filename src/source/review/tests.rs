use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::event::{Document, SourceName};
use crate::key::Queues;
use crate::source::{Kind, Secrets};

fn source(host: Host, reviews: Reviews) -> Source {
    Source {
        name: SourceName::try_from("reviews".to_owned()).unwrap(),
        kind: Kind::Host(host, reviews),
        secrets: Secrets::new([]),
        url_secret: false,
        dedupe: None,
        enrich: false,
        reader: Reader { web_url: "https://tracker.yandex.ru".into(), queues: Queues::default() },
    }
}

/// A recorded call: its host, headers and body.
fn recorded(stem: &Path) -> (Host, HeaderMap, Value) {
    let folder = stem.parent().and_then(Path::file_name).unwrap();
    let host = Host::ALL.into_iter().find(|host| *host.as_str() == *folder).unwrap();
    let headers = std::fs::read_to_string(stem.with_extension("headers")).unwrap();
    let headers = headers.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| !name.starts_with('#'));
    let headers =
        headers.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
    (host, headers.collect(), serde_json::from_slice(&std::fs::read(stem.with_extension("json")).unwrap()).unwrap())
}

fn all() -> Vec<(Host, HeaderMap, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts");
    let files = Host::ALL.into_iter().flat_map(|host| std::fs::read_dir(folder.join(host.as_str())).unwrap());
    let files = files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some_and(|e| e == "headers"));
    files.map(|file| recorded(&file)).collect()
}

fn said(host: Host, reviews: Reviews, headers: &HeaderMap, body: &[u8]) -> Said {
    let (room, received_at) = (Arc::new(()), Timestamp::UNIX_EPOCH);
    source(host, reviews).read(&Call { method: &Method::POST, query: "", headers, body, room, received_at })
}

const FETCHED: Reviews = Reviews { keys: Keys::All, members_only: false, all_approvals: false, fetch_comments: true };

/// The way to each member of a body, at any depth.
fn ways(value: &Value, way: &str, ways_there: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.replace('/', "~1"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let way = format!("{way}/{name}");
        ways(value, &way, ways_there);
        ways_there.push(way);
    }
}

/// Whatever is missing, null or of another shape: it is read, ignored, or refused with a reason; and what is read can
/// be stored, and comes back as it was.
#[test]
fn missing_unknown_and_null_members_fail_nothing() {
    let calls: Vec<_> = all()
        .into_iter()
        .map(|(host, headers, body)| {
            let mut there = Vec::new();
            ways(&body, "", &mut there);
            (host, headers, body, there)
        })
        .collect();
    assert!(calls.len() >= 23);
    let values = prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        any::<i64>().prop_map(|number| Some(number.into())),
        any::<f64>().prop_map(|number| Some(number.into())),
        any::<bool>().prop_map(|truth| Some(truth.into())),
        any::<String>().prop_map(|text| Some(text.into())),
        Just(Some(json!([]))),
        Just(Some(json!({}))),
        Just(Some(json!([[{"id": 1, "state": "requested_changes"}], null]))),
        Just(Some(json!({"unknown": {"to": ["all"]}, "user": 7}))),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), values), 1..6);
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let which = any::<prop::sample::Index>();
    runner
        .run(&(which, changes, any::<bool>()), |(which, changes, members_only)| {
            let (host, headers, body, there) = which.get(&calls);
            let mut body = body.clone();
            for (way, value) in changes {
                let way = way.get(there);
                match value {
                    Some(value) => {
                        if let Some(place) = body.pointer_mut(way) {
                            *place = value;
                        }
                    }
                    None => {
                        let (front, name) = way.rsplit_once('/').unwrap();
                        if let Some(Value::Object(members)) = body.pointer_mut(front) {
                            members.remove(&name.replace("~1", "/"));
                        }
                    }
                }
            }
            let reviews = Reviews { members_only, ..FETCHED };
            match said(*host, reviews, headers, body.to_string().as_bytes()) {
                Said::Events(reads) => {
                    prop_assert!((1..=20).contains(&reads.len()));
                    for read in reads {
                        let stored = serde_json::to_string(&read.event).unwrap();
                        prop_assert_eq!(&serde_json::from_str::<Event>(&stored).unwrap(), &read.event);
                        prop_assert!(!Document::new(&stored, Some(1)).members(|_| true).is_empty());
                        let review = read.event.review.unwrap();
                        prop_assert!(review.id.bytes().all(|byte| byte.is_ascii_digit()) && !review.id.is_empty());
                        prop_assert!(!review.repository.is_empty() && review.key().len() < 2500);
                        prop_assert!(!review.repository.contains(char::is_control));
                    }
                }
                Said::Ignored { why } | Said::Unreadable { why } => prop_assert!(!why.is_empty()),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn without_number_or_repository_nothing_is_decided() {
    for (host, headers, body) in all() {
        let text = body.to_string();
        if !matches!(said(host, FETCHED, &headers, text.as_bytes()), Said::Events(_)) {
            continue; // pings
        }
        for name in ["id", "number", "iid", "full_name", "path_with_namespace", "slug"] {
            let mut without = body.clone();
            let mut there = Vec::new();
            ways(&body, "", &mut there);
            let named = there.iter().filter(|way| way.ends_with(&format!("/{name}")));
            let removed = named.filter(|way| {
                let (front, name) = way.rsplit_once('/').unwrap();
                without.pointer_mut(front).and_then(Value::as_object_mut).is_some_and(|m| m.remove(name).is_some())
            });
            if removed.count() == 0 {
                continue;
            }
            let needed = match host {
                Host::BitbucketCloud => ["id", "full_name"],
                Host::BitbucketServer => ["id", "slug"],
                Host::GitHub | Host::Gitea => ["number", "full_name"],
                Host::GitLab => ["iid", "path_with_namespace"],
            };
            let said = said(host, FETCHED, &headers, without.to_string().as_bytes());
            assert_eq!(matches!(said, Said::Unreadable { .. }), needed.contains(&name), "{host:?} without {name}");
        }
    }
}

fn one(host: Host, headers: &HeaderMap, body: &Value) -> Read {
    match said(host, FETCHED, headers, body.to_string().as_bytes()) {
        Said::Events(mut reads) => reads.remove(0),
        Said::Ignored { why } | Said::Unreadable { why } => panic!("{why}"),
    }
}

#[test]
fn the_same_verdict_under_another_id_has_the_same_guard() {
    let ids = ["x-request-uuid", "x-request-id", "x-github-delivery", "idempotency-key", "x-gitea-delivery"];
    for (host, headers, body) in all() {
        if !matches!(said(host, FETCHED, &headers, body.to_string().as_bytes()), Said::Events(_)) {
            continue;
        }
        let first = one(host, &headers, &body);
        let mut others = headers.clone();
        for id in ids {
            if others.contains_key(id) {
                others.insert(id, HeaderValue::from_static("another"));
            }
        }
        let mut more = body.clone();
        more["unknown"] = json!(1);
        let again = one(host, &others, &more);
        assert!(first.guard.is_some() && first.guard == again.guard, "{host:?}");
        assert_ne!(first.fingerprint, again.fingerprint);
    }
}

#[test]
fn another_verdict_has_another_guard() {
    let stem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts/bitbucket-cloud/approved");
    let (host, headers, body) = recorded(&stem);
    let mut guards = vec![one(host, &headers, &body).guard];
    let user = "/approval/user/nickname";
    for (way, value) in [
        (user, json!("another")),
        ("/approval/date", json!("2023-05-16T10:33:05+00:00")),
        ("/pullrequest/id", json!(8)),
        ("/repository/full_name", json!("another/repository")),
    ] {
        let mut body = body.clone();
        *body.pointer_mut(way).unwrap() = value;
        guards.push(one(host, &headers, &body).guard);
    }
    let mut unapproved = headers.clone();
    unapproved.insert("x-event-key", HeaderValue::from_static("pullrequest:unapproved"));
    guards.push(one(host, &unapproved, &body).guard);
    guards.sort();
    let before = guards.len();
    guards.dedup();
    assert_eq!((guards.len(), guards.contains(&None)), (before, false));

    // Two that look alike and have no time are two.
    let mut timeless = body;
    for way in ["/approval/date", "/pullrequest/updated_on"] {
        *timeless.pointer_mut(way).unwrap() = Value::Null;
    }
    assert_eq!(one(host, &headers, &timeless).guard, None);
}

#[test]
fn what_is_remembered_of_a_review() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts");
    let object = |name: &str| {
        let (host, headers, body) = recorded(&folder.join(name));
        one(host, &headers, &body).object
    };
    let approved = object("github/review-approved").unwrap();
    assert_eq!(
        (approved.key.as_str(), approved.at),
        ("review:github:baxterthehacker/public-repo:8", 1_475_537_949_000)
    );
    insta::assert_json_snapshot!(approved.state, @r#"
    {
      "author": {
        "display": "skalnik",
        "login": "skalnik"
      },
      "resolution": "approved",
      "status": "open",
      "title": "Add a README description",
      "url": "https://github.com/baxterthehacker/public-repo/pull/8"
    }
    "#);
    let of = |name: &str| {
        let state = object(name)?.state;
        Some(format!("{} {}", state["status"].as_str()?, state["resolution"].as_str()?))
    };
    assert_eq!(of("gitlab/merged").as_deref(), Some("merged merged"));
    assert_eq!(of("bitbucket-cloud/declined").as_deref(), Some("declined declined"));
    assert_eq!(of("gitea/review-rejected").as_deref(), Some("open changes_requested"));
    assert_eq!(object("github/comment-on-pr"), None, "a comment says nothing of how it stands");
}

#[test]
fn a_line_leads_to_the_issue_or_to_where_it_is_looked_for() {
    let stem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts/gitlab/approved");
    let (host, headers, mut body) = recorded(&stem);
    let looked_for = one(host, &headers, &body);
    assert_eq!(looked_for.line.as_deref(), Some("review:gitlab:eeshangarg/my-awesome-project:1"));
    body["object_attributes"]["title"] = json!("TEST-1");
    assert_eq!(one(host, &headers, &body).line, None);
    let enriched = Source { enrich: true, ..source(host, FETCHED) };
    let (text, room, received_at) = (body.to_string(), Arc::new(()), Timestamp::UNIX_EPOCH);
    let call = Call { method: &Method::POST, query: "", headers: &headers, body: text.as_bytes(), room, received_at };
    let Said::Events(reads) = enriched.read(&call) else { panic!("it is an event") };
    assert_eq!(reads[0].line.as_deref(), Some("TEST-1"));
}

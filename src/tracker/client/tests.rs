use std::error::Error as _;
use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::tracker::fixture::{TOKEN, World};
use crate::tracker::issue::Issue;
use crate::tracker::token::TokenType;
use crate::transport::fixture::{Act, answer, json as ok};

const ISSUE: &str = include_str!("../../../tests/fixtures/api-issue-v3.json");

fn header<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let head = request.split("\r\n\r\n").next().unwrap();
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(is, _)| *is == name)
        .map(|(_, v)| v)
        .collect()
}

#[tokio::test]
async fn the_fixture_issue_is_read_whole() {
    let world = World::new([ok(ISSUE)]).await;
    let mut issue = world.api.issue("BELL-42").await.unwrap();
    let members = std::mem::take(&mut issue.members);
    assert_eq!(serde_json::Value::from(members), serde_json::from_str::<serde_json::Value>(ISSUE).unwrap());
    issue.description = None;
    insta::assert_debug_snapshot!(issue);
}

#[tokio::test]
async fn what_is_missing_or_of_another_shape_is_absent() {
    let odd = r#"{"key": "BELL-1", "version": "7", "aliases": ["A-1", 2], "status": "open", "createdBy": null,
        "queue": {"id": 7}, "followers": [1, {"id": 5, "display": ["x"]}], "tags": {}, "updatedAt": "soon",
        "more": {"and": ["more"]}}"#;
    let world = World::new([ok(odd), ok(r#"{"key": "BELL-1"}"#)]).await;
    let issue = world.api.issue("BELL-1").await.unwrap();
    assert_eq!((issue.version, issue.aliases.len(), &issue.status, issue.queue()), (None, 1, &None, "BELL"));
    assert_eq!((issue.followers.len(), issue.followers[0].id.as_deref(), issue.tags.len()), (1, Some("5"), 0));
    assert_eq!(world.api.issue("BELL-1").await.unwrap().updated_at, None);
}

#[test]
fn no_member_makes_an_issue_unreadable() {
    let whole: serde_json::Map<String, Value> = serde_json::from_str(ISSUE).unwrap();
    let odd = [json!(null), json!(7.5), json!("x"), json!(true), json!([]), json!([[1]]), json!({}), json!({"id": {}})];
    for name in whole.keys().filter(|name| *name != "key") {
        for value in odd.iter().map(Some).chain([None]) {
            let mut members = whole.clone();
            members.remove(name);
            members.extend(value.map(|value| (name.clone(), value.clone())));
            let read = Issue::read(json!(members).to_string().as_bytes());
            assert!(read.is_some_and(|issue| issue.key == "BELL-42"), "{name}: {value:?}");
        }
    }
    assert!(Issue::read(b"[]").is_none() && Issue::read(b"{}").is_none() && Issue::read(br#"{"key": 1}"#).is_none());
}

#[tokio::test]
async fn a_get_is_tried_again_and_a_post_is_not() {
    let down = || answer("503 X", "Content-Type: text/html", "<h1>503</h1>");
    for fails in [down(), Act::Close, Act::Reset, Act::CutBody] {
        let world = World::new([fails.clone(), fails.clone(), ok(ISSUE), fails.clone()]).await;
        assert_eq!(world.runs(world.api.issue("BELL-42")).await.unwrap().key, "BELL-42", "{fails:?}");
        assert_eq!(world.notes.all(), "unreached unreached delivered", "{fails:?}");
        let end = world.runs(world.api.add_comment("BELL-42", "x")).await;
        assert!(matches!(end, Err(Error::Call(SendError::Unclear { .. }))), "{fails:?}: {end:?}");
        assert_eq!(world.asked().len(), 4, "{fails:?}");
    }
}

#[tokio::test]
async fn a_get_that_hangs_changed_nothing() {
    let world = World::new([Act::Hang, ok(ISSUE), Act::Hang]).await;
    for (post, wanted) in [(false, "BELL-42"), (true, "unclear")] {
        let before = world.asked().len();
        let mut call = Box::pin(async {
            match post {
                false => world.api.issue("BELL-42").await.map(|issue| issue.key),
                true => world.api.add_comment("BELL-42", "x").await.map(|_| String::new()),
            }
        });
        while world.asked().len() == before {
            tokio::select! { _ = &mut call => panic!("it hangs"), () = tokio::task::yield_now() => {} }
        }
        world.clock.pass(ATTEMPT);
        let end = world.runs(call).await;
        // The first attempt took longer than all tries may: the lane goes on.
        let said = end.map_err(|error| SendError::from(error).advice());
        match wanted {
            "unclear" => assert_eq!(said, Err(crate::delivery::Advice::Unclear)),
            _ => assert_eq!(said, Err(crate::delivery::Advice::Again)),
        }
    }
}

#[tokio::test]
async fn the_organisation_is_named_once() {
    for (organization, name, other) in [
        (Organization::Yandex360("77".into()), "x-org-id", "x-cloud-org-id"),
        (Organization::Cloud("77".into()), "x-cloud-org-id", "x-org-id"),
    ] {
        let world = World::of(organization, [ok("[]"), answer("204 X", "", "")]).await;
        world.api.transitions("BELL-42").await.unwrap();
        let _ = world.api.add_comment("BELL-42", "x").await;
        for request in world.server.requests() {
            assert_eq!((header(&request, name), header(&request, other)), (vec!["77"], vec![]), "{request}");
            assert_eq!(header(&request, "authorization"), [format!("OAuth {TOKEN}")]);
            assert_eq!(header(&request, "accept-language"), ["ru"]);
        }
        let types: Vec<_> = world.server.requests().iter().map(|it| header(it, "content-type").len()).collect();
        assert_eq!(types, [0, 1], "only a body has a type");
    }
}

#[tokio::test]
async fn a_token_file_that_changes_counts_at_once() {
    let refused = || answer("401 X", "", r#"{"errorMessages": ["Not authenticated"]}"#);
    let world = World::new([ok("[]"), ok("[]"), ok("[]"), refused(), ok("[]"), refused(), refused()]).await;
    let put = |token: &str| *world.file.lock().unwrap() = token.to_owned();
    let sent = || header(world.server.requests().last().unwrap(), "authorization")[0].to_owned();

    put("second-token");
    world.api.transitions("BELL-42").await.unwrap();
    assert_eq!(sent(), format!("OAuth {TOKEN}"), "looked at within this second");
    world.clock.pass(Duration::from_secs(1));
    world.api.transitions("BELL-42").await.unwrap();
    assert_eq!(sent(), "OAuth second-token");
    put("half\nwritten token");
    world.clock.pass(Duration::from_secs(1));
    world.api.transitions("BELL-42").await.unwrap();
    assert_eq!(sent(), "OAuth second-token", "what is no token changes nothing");

    put("third-token");
    world.api.transitions("BELL-42").await.unwrap();
    assert_eq!(
        (sent().as_str(), world.asked().len(), world.notes.all().ends_with(" delivered")),
        ("OAuth third-token", 5, true)
    );
    let error = world.api.transitions("BELL-42").await.unwrap_err();
    assert!(matches!(error, Error::Call(SendError::Held { .. })), "{error:?}");
    assert_eq!(world.asked().len(), 6, "the same token is not sent twice");
}

/// Two calls were under way with the old token: the other one has read the new one first.
#[tokio::test]
async fn a_token_that_another_call_found_counts_for_this_one_too() {
    let world = World::new([answer("401 X", "", ""), ok("[]")]).await;
    *world.file.lock().unwrap() = "second-token".to_owned();
    let mut call = Box::pin(world.api.transitions("T-1"));
    while world.asked().is_empty() {
        tokio::select! { biased; _ = &mut call => panic!("not answered yet"), () = tokio::task::yield_now() => {} }
    }
    assert!(world.client.token().read_again());
    call.await.unwrap();
    assert_eq!(header(&world.server.requests()[1], "authorization"), ["OAuth second-token"]);
}

/// Also where an answer quotes it.
#[tokio::test]
async fn the_token_is_in_no_output() {
    let quoting = format!("<p>{TOKEN}</p>");
    let own = json!({"errors": {TOKEN: TOKEN}, "errorMessages": [TOKEN]}).to_string();
    let answers =
        ["200", "401", "403", "404", "409", "422", "429", "500"].map(|status| [(status, &own), (status, &quoting)]);
    for (status, body) in answers.into_iter().flatten() {
        let world = World::new(vec![answer(&format!("{status} X"), "", body); 3]).await;
        let error = world.runs(world.api.issue("BELL-42")).await.unwrap_err();
        let mut text = format!("{error:?} {error} {:?} {:?}", error.source(), world.client.token());
        text.push_str(&format!("{:?}", SendError::from(error).advice()));
        assert!(!text.contains("TOKEN-CANARY"), "{status} {body}: {text}");
    }
    let token = Token::new(TokenType::Bearer, Clock::held(Timestamp::UNIX_EPOCH), || Ok("can ary".into()));
    assert!(token.is_err_and(|why| !why.contains("ary")));
}

#[tokio::test]
async fn a_part_of_a_path_is_one_part() {
    let world = World::new([ok("[]"), ok(r#"{"login": "x"}"#)]).await;
    world.api.transitions("a/../б?c=%2F#d").await.unwrap();
    world.api.user("x y").await.unwrap();
    assert_eq!(world.asked(), ["GET /v3/issues/a%2F..%2F%D0%B1%3Fc=%252F%23d/transitions", "GET /v3/users/x%20y"]);
    for part in ["", ".", ".."] {
        assert!(matches!(world.api.transitions(part).await, Err(Error::Impossible(_))), "{part:?}");
    }
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let next = r#"Link: <http://elsewhere.test/x?id=1>; rel="first", <http://elsewhere.test/x?id=9>; rel="next""#;
    let world = World::new([
        answer("200 OK", next, r#"[{"id": 1}, {"id": "2"}, 3]"#),
        answer("200 OK", next, r#"[{"id": 4}]"#),
        answer("200 OK", r#"Link: <http://elsewhere.test/x>; rel="first""#, r#"[{"id": 5}]"#),
        answer("200 OK", "X-Total-Pages: 2", r#"[{"id": "a"}]"#),
        answer("200 OK", "X-Total-Pages: 2", r#"[{"id": "b"}]"#),
    ])
    .await;
    let ids: Vec<_> = world.api.comments("T-1", Some("0")).await.unwrap().into_iter().filter_map(|it| it.id).collect();
    assert_eq!(ids, ["1", "2", "4", "5"]);
    assert_eq!(world.api.fields().await.unwrap().len(), 2);
    insta::assert_snapshot!(world.asked().join("\n"), @"
    GET /v3/issues/T-1/comments?perPage=50&id=0
    GET /v3/issues/T-1/comments?perPage=50&id=2
    GET /v3/issues/T-1/comments?perPage=50&id=4
    GET /v3/fields
    GET /v3/fields?perPage=50&page=2
    ");

    let endless = (0..40).map(|n| answer("200 OK", next, &json!([{"id": n}]).to_string()));
    let world = World::new(endless).await;
    assert_eq!(world.api.comments("T-1", None).await.unwrap().len(), MOST_PAGES);
    let stuck = World::new(vec![answer("200 OK", next, r#"[{"id": 1}]"#); 5]).await;
    let comments = stuck.runs(stuck.api.comments("T-1", None)).await.unwrap();
    assert_eq!(comments.len(), 2, "a page that leads to itself");
}

#[tokio::test]
async fn people_are_asked_for_once_an_hour() {
    let user = || ok(r#"{"login": "ivanov", "uid": 7, "trackerUid": 8, "email": "i@x"}"#);
    let world = World::new([user(), user()]).await;
    for name in ["8", "ivanov", "7"] {
        assert_eq!(world.api.user(name).await.unwrap().email.as_deref(), Some("i@x"));
    }
    assert_eq!(world.asked(), ["GET /v3/users/8"]);
    world.clock.pass(Duration::from_secs(3_600));
    world.api.user("8").await.unwrap();
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test]
async fn without_a_lease_nothing_is_asked() {
    let world = World::new([ok("[]")]).await;
    let lease = Arc::new(Mutex::new(true));
    let asked = lease.clone();
    let api = world.client.under(Arc::new(move || *asked.lock().unwrap()));
    api.transitions("T-1").await.unwrap();
    *lease.lock().unwrap() = false;
    assert!(matches!(api.transitions("T-1").await, Err(Error::Call(SendError::LeaseLost))));
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn what_the_trigger_endpoints_are_asked() {
    let trigger = r#"{"id": 16, "name": "n", "version": 1, "active": true, "conditions": [], "actions": []}"#;
    let log = r#"[{"id": "1", "startTime": "2026-05-12T09:15:02.100+0000", "request": {"method": "POST",
        "endpoint": "https://b", "body": "{}"}, "response": {"statusCode": 200}}]"#;
    let world = World::new([ok(&format!("[{trigger}]")), ok(trigger), ok(trigger), ok(log), ok("[]"), ok("{}")]).await;
    assert_eq!(world.api.triggers("BELL").await.unwrap()[0].id.as_deref(), Some("16"));
    world.api.create_trigger("BELL", &json!({"name": "n"})).await.unwrap();
    world.api.patch_trigger("BELL", "16", Some(1), &json!({"active": false})).await.unwrap();
    let (from, to) = ("2026-05-12T09:00:00Z".parse().unwrap(), "2026-05-12T10:00:00.5Z".parse().unwrap());
    let fired = world.api.webhook_log("BELL", "16", from, to, 100).await.unwrap();
    assert_eq!(fired[0].start_time, Some("2026-05-12T09:15:02.1Z".parse().unwrap()));
    world.api.applications().await.unwrap();
    world.api.queue("BELL").await.unwrap();
    insta::assert_snapshot!(world.asked().join("\n").replace('&', "\n    &"), @"
    GET /v3/queues/BELL/triggers
    POST /v3/queues/BELL/triggers
    PATCH /v3/queues/BELL/triggers/16?version=1
    GET /v3/queues/BELL/triggers/16/webhooks/log?from=2026-05-12T09%3A00%3A00.000%2B0000
        &to=2026-05-12T10%3A00%3A00.500%2B0000
        &limit=100
    GET /v3/applications
    GET /v3/queues/BELL
    ");
}

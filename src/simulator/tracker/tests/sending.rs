//! What Tracker sends by itself: attempts, the log, callbacks to applications.

use super::receiver::Receiver;
use super::*;

async fn make(tracker: &TrackerSimulator, action: Value) {
    let mut whole =
        json!({"type": "Webhook", "method": "POST", "authContext": {"type": "noauth"}, "body": "{{issue.key}}"});
    whole.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
    let got = ask(tracker, "POST", "queues/TEST/triggers", json!({"name": "Campanile", "actions": [whole]})).await;
    assert_eq!(got.status, 201, "{}", got.body);
}

/// Seconds since the clock's start at which the attempts began.
fn starts(tracker: &TrackerSimulator) -> Vec<f64> {
    let second = |entry: &Value| {
        let at = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", entry["startTime"].as_str().unwrap()).unwrap();
        at.duration_since(held().now()).as_secs_f64()
    };
    tracker.log().iter().map(second).collect()
}

#[tokio::test]
async fn five_attempts_after_500_or_silence_and_each_pause_is_twice_the_last() {
    let (clock, mut receiver) = (held(), Receiver::start().await);
    let tracker = start(on(clock.clone()).issue(TrackerIssue::new("TEST-2", "x"))).await;
    make(&tracker, json!({"endpoint": receiver.url})).await;
    receiver.answers([Some(500), None, Some(500), Some(500), Some(500)]);
    tracker.change_status("TEST-1", "closed", BOT).unwrap();
    receiver.next().await;
    tracker.wait_for_sent(1, 0).await;
    // The second is never answered: its ten seconds come first.
    for (seconds, ended) in [(10, 1), (10, 2), (20, 3), (40, 4), (80, 5)] {
        clock.pass(Duration::from_millis(seconds * 1000 - 1));
        get(&tracker, "myself").await; // what would be too early has had its turn
        assert!(receiver.is_silent());
        clock.pass(Duration::from_millis(1));
        if ended != 2 {
            assert_eq!(receiver.next().await.body, "TEST-1");
        }
        if ended != 1 {
            tracker.wait_for_sent(ended, 0).await;
        }
    }
    assert_eq!(starts(&tracker), [0.0, 10.0, 40.0, 80.0, 160.0]);
    clock.pass(Duration::from_secs(10_000));
    tracker.change_status("TEST-2", "closed", BOT).unwrap();
    assert_eq!(receiver.next().await.body, "TEST-2", "a sixth attempt never came");
    let log = tracker.log();
    assert_eq!((log[0]["response"]["statusCode"].clone(), log[1].get("response")), (json!(500), None));
    assert_eq!(log[1]["duration"], 10_000);
}

#[tokio::test]
async fn every_other_answer_ends_it() {
    let (clock, mut receiver) = (held(), Receiver::start().await);
    let tracker = start(on(clock.clone())).await;
    make(&tracker, json!({"endpoint": receiver.url, "body": "{{userComment.text}}"})).await;
    let statuses = [302, 400, 404, 429, 502, 503, 200];
    receiver.answers(statuses.map(Some));
    for (n, status) in (1..).zip(statuses) {
        tracker.comment("TEST-1", &status.to_string(), BOT).unwrap();
        assert_eq!(receiver.next().await.body, status.to_string());
        tracker.wait_for_sent(n, 0).await;
        clock.pass(Duration::from_secs(1000));
        get(&tracker, "myself").await; // what would be sent again has had its turn
        assert!(receiver.is_silent(), "{status}");
    }
    let answered = |entry: &Value| entry["response"]["statusCode"].clone();
    assert_eq!(tracker.log().iter().map(answered).collect::<Vec<_>>(), statuses);
}

#[tokio::test]
async fn silence_holds_up_neither_the_api_nor_other_issues() {
    let (clock, mut receiver) = (held(), Receiver::start().await);
    let tracker = start(on(clock.clone()).issue(TrackerIssue::new("TEST-2", "x"))).await;
    for name in ["first", "second"] {
        make(&tracker, json!({"endpoint": format!("{}/{name}/{{{{issue.key}}}}", receiver.url)})).await;
    }
    receiver.answers([None]);
    tracker.change_status("TEST-1", "closed", BOT).unwrap();
    assert_eq!(receiver.next().await.what, "POST /first/TEST-1");
    assert_eq!(get(&tracker, "issues/TEST-1").await["status"]["key"], "closed");
    tracker.change_status("TEST-1", "open", BOT).unwrap();
    tracker.change_status("TEST-2", "closed", BOT).unwrap();
    assert_eq!(receiver.next().await.what, "POST /first/TEST-2");
    assert_eq!(receiver.next().await.what, "POST /second/TEST-2");
    tracker.wait_for_sent(2, 0).await;
    assert!(receiver.is_silent(), "what the same issue wants to be sent waits in its line");
    clock.pass(Duration::from_secs(10));
    let mut then = Vec::new();
    for _ in 0..3 {
        then.push(receiver.next().await.what);
    }
    assert_eq!(then, ["POST /second/TEST-1", "POST /first/TEST-1", "POST /second/TEST-1"]);
    clock.pass(Duration::from_secs(10));
    assert_eq!(receiver.next().await.what, "POST /first/TEST-1", "again, after what is newer");
}

#[tokio::test]
async fn methods_headers_and_authorization_are_as_the_action_says() {
    let mut receiver = Receiver::start().await;
    let tracker = start(options()).await;
    let url = receiver.url.clone();
    let oauth =
        json!({"type": "oauth", "headerName": "X-Campanile-Token", "tokenType": "Bearer", "accessToken": "s3cret"});
    let basic = json!({"type": "basic", "login": "tracker", "password": "s3cret"});
    make(&tracker, json!({"endpoint": format!("{url}/a?id={{{{issue.key}}}}"), "method": "GET"})).await;
    let headers = json!({"X-Key": "{{issue.key}}"});
    let plain = json!({"endpoint": url, "authContext": oauth, "headers": headers, "contentType": "text/plain"});
    make(&tracker, plain).await;
    make(&tracker, json!({"endpoint": url, "authContext": basic, "method": "PUT", "body": {"key": "{{issue.key}}"}}))
        .await;
    tracker.change_status("TEST-1", "closed", BOT).unwrap();
    let first = receiver.next().await;
    assert_eq!((first.what.as_str(), first.body.as_str()), ("GET /a?id=TEST-1", ""));
    assert_eq!(first.headers["content-type"], "application/json; charset=UTF-8");
    assert!(first.headers.contains_key("x-startrek-transport") && !first.headers.contains_key("authorization"));
    let second = receiver.next().await;
    assert_eq!(
        ["x-campanile-token", "x-key", "content-type"].map(|name| second.headers[name].to_str().unwrap()),
        ["Bearer s3cret", "TEST-1", "text/plain"]
    );
    let third = receiver.next().await;
    assert_eq!((third.what.as_str(), third.body.as_str()), ("PUT /", r#"{"key":"TEST-1"}"#));
    assert_eq!(third.headers["authorization"], "Basic dHJhY2tlcjpzM2NyZXQ=");
    tracker.wait_for_sent(3, 0).await;
    assert!(!json!(tracker.log()).to_string().contains("s3cret"), "values of headers are masked");
    let mut entry = get(&tracker, "queues/TEST/triggers/17/webhooks/log").await[0].clone();
    entry["request"]["endpoint"] = "…".into();
    insta::assert_snapshot!(entry, @r#"{"actionId":"1","duration":0,"endTime":"2023-11-14T22:13:20.000+0000","id":"65f1c0ffee00000000000008","issueId":"65f1c0ffee00000000000002","request":{"body":"TEST-1","endpoint":"…","headers":{"Content-Type":"XXX","X-Campanile-Token":"XXX","X-Key":"XXX","X-Startrek-Transport":"XXX"},"method":"POST","webhookAuthContext":{"type":"oauth"}},"response":{"headers":{"content-length":"XXX","content-type":"XXX","date":"XXX"},"statusCode":200},"startTime":"2023-11-14T22:13:20.000+0000","triggerId":"17"}"#);
}

#[tokio::test]
async fn the_log_is_read_in_windows() {
    let (clock, mut receiver) = (held(), Receiver::start().await);
    let tracker = start(on(clock.clone())).await;
    make(&tracker, json!({"endpoint": receiver.url, "body": "{{userComment.text}}"})).await;
    for n in 0..12 {
        tracker.comment("TEST-1", &n.to_string(), BOT).unwrap();
        receiver.next().await;
        tracker.wait_for_sent(n + 1, 0).await;
        clock.pass(Duration::from_secs(60));
    }
    let path = "queues/TEST/triggers/16/webhooks/log";
    let texts = async |query: &str| -> Vec<u64> {
        let log = get(&tracker, &format!("{path}{query}")).await;
        log.as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["request"]["body"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    assert_eq!(texts("").await, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2], "ten, the newest first");
    assert_eq!(texts("?limit=100").await.len(), 12);
    let window = "?from=2023-11-14T22:14:20.000%2B0000&to=2023-11-15T01:16:20.000%2B0300";
    assert_eq!(texts(window).await, [3, 2, 1], "both borders are within");
    assert_eq!(texts("?issueId=65f1c0ffee0000000000dead").await, [] as [u64; 0]);
    for wrong in ["?limit=101", "?limit=0", "?from=2023-11-14", "?to=2023-11-15T01:16:20.000+0300"] {
        assert_eq!(ask(&tracker, "GET", &format!("{path}{wrong}"), Value::Null).await.status, 400, "{wrong}");
    }
}

fn application(url: &str) -> TrackerApplication {
    let (create, remove) = (format!("{url}/links"), format!("{url}/links/{{{{remoteKey}}}}?ticket={{{{issueKey}}}}"));
    TrackerApplication::new("campanile", "Campanile").addresses(format!("{url}/info/{{{{remoteKey}}}}"), create, remove)
}

#[tokio::test]
async fn links_are_made_shown_and_told_to_the_application() {
    let mut receiver = Receiver::start().await;
    let tracker = start(options().application(application(&receiver.url).token("app-t0ken"))).await;
    let add = async |query: &str, key: &str, origin: &str| {
        let body = json!({"relationship": "RELATES", "key": key, "origin": origin});
        ask(&tracker, "POST", &format!("issues/TEST-1/remotelinks{query}"), body).await
    };
    assert_eq!(refusal(&add("", "1", "other").await), (422, json!(["origin"])));
    assert_eq!(refusal(&add("", "", "campanile").await), (422, json!(["key"])));
    assert_eq!(add("", "untold", "campanile").await.status, 201);
    assert_eq!(refusal(&add("", "untold", "campanile").await).0, 409);
    let got = add("?backlink=true", "bench:feature/ветка", "campanile").await.json();
    insta::assert_snapshot!(got.to_string().replace(&tracker.api_url(), ""), @r#"{"createdAt":"2023-11-14T22:13:20.000+0000","createdBy":{"cloudUid":"aje01120000000211495","display":"Робот Кампанилы","id":"1120000000211495","passportUid":1100000000211495,"self":"/v3/users/1120000000211495"},"direction":"outward","id":8,"object":{"application":{"id":"campanile","name":"Campanile","self":"/v3/applications/campanile","type":"campanile"},"id":"bench:feature/ветка","key":"bench:feature/ветка","self":"/v3/applications/campanile/objects/bench:feature/ветка"},"self":"/v3/issues/TEST-1/remotelinks/8","type":{"id":"relates","inward":"Связана с","outward":"Связана с","self":"/v3/linktypes/relates"},"updatedAt":"2023-11-14T22:13:20.000+0000","updatedBy":{"cloudUid":"aje01120000000211495","display":"Робот Кампанилы","id":"1120000000211495","passportUid":1100000000211495,"self":"/v3/users/1120000000211495"}}"#);
    let told = receiver.next().await;
    assert_eq!(
        (told.what.as_str(), &told.headers["authorization"]),
        ("POST /links", &"OAuth app-t0ken".parse().unwrap())
    );
    assert_eq!(told.body, r#"{"entityIds":["bench:feature/ветка"],"issueKey":"TEST-1"}"#);
    assert_eq!(get(&tracker, "applications").await[0]["id"], "campanile");

    let listed = get(&tracker, "issues/TEST-1/remotelinks").await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for link in listed.as_array().unwrap() {
        let got = ask(&tracker, "DELETE", &format!("issues/TEST-1/remotelinks/{}", link["id"]), Value::Null).await;
        assert_eq!((got.status, got.body.as_str()), (204, ""));
    }
    let told = receiver.next().await;
    assert_eq!(told.what, "DELETE /links/bench%3Afeature%2F%D0%B2%D0%B5%D1%82%D0%BA%D0%B0?ticket=TEST-1");
    assert_eq!(ask(&tracker, "DELETE", "issues/TEST-1/remotelinks/1", Value::Null).await.status, 404);
    tracker.wait_for_sent(0, 2).await;
    assert_eq!(tracker.callbacks().iter().map(|one| one.status).collect::<Vec<_>>(), [Some(200); 2]);
    let changes = get(&tracker, "issues/TEST-1/changelog?type=IssueUnlinked").await;
    assert_eq!((changes.as_array().unwrap().len(), tracker.links("TEST-1")), (2, Vec::new()));
}

#[tokio::test]
async fn people_link_and_look_with_their_own_token() {
    let mut receiver = Receiver::start().await;
    let tracker = start(options().token("m4ria", "maria.petrova")).await;
    tracker.set_application(application(&receiver.url).users_token().raw_keys());
    tracker.link("TEST-1", "campanile", "review:a/b:1", "maria.petrova").unwrap();
    assert_eq!(receiver.next().await.headers["authorization"], "OAuth m4ria");
    assert!(tracker.link("TEST-1", "campanile", "review:a/b:1", "maria.petrova").is_err(), "linked already");
    let infos = tracker.open_issue("TEST-1", "maria.petrova").await;
    assert_eq!((infos[0].status, infos[0].body.as_str()), (Some(200), r#"{"summary":"x"}"#));
    let asked = receiver.next().await;
    assert_eq!(
        (asked.what.as_str(), &asked.headers["authorization"]),
        ("GET /info/review:a/b:1", &"OAuth m4ria".parse().unwrap())
    );
    tracker.unlink("TEST-1", "campanile", "review:a/b:1", "ivan.ivanov").unwrap();
    let told = receiver.next().await;
    assert_eq!(
        (told.what.as_str(), told.headers.get("authorization")),
        ("DELETE /links/review:a/b:1?ticket=TEST-1", None)
    );
    tracker.shutdown().await;
}

//! What a caller of `/hooks/<source>` hears, and what is kept of the call.

use campanile::clock::Clock;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, Setup, World, issue, numbered};

#[tokio::test]
async fn a_trigger_is_stored_answered_and_placed_in_both_messengers() {
    let world = Setup::default().start().await;
    let answer = world.trigger(&issue("TEST-7", "created")).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"event": 1, "deliveries": 2})));
    world.until_posted(1, 1).await;
    let (slack, telegram) = (world.slack_texts(), world.telegram_texts());
    assert!(slack[0].contains("TEST-7") && slack[0].contains("Summary of TEST-7"), "{slack:?}");
    assert!(telegram[0].contains("TEST-7") && telegram[0].contains("Summary of TEST-7"), "{telegram:?}");
    let rows = world.until_all("delivered").await;
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn every_method_and_every_form_of_the_secret_is_taken() {
    let world = Setup::default().only_slack().start().await;
    let url = world.public_url("/hooks/tracker");
    let basic = format!("Basic {}", "YW55b25lOmhvb2stczNjcmV0"); // anyone:hook-s3cret
    for (n, (method, header, value)) in [
        (Method::POST, "authorization", format!("Bearer {HOOK_SECRET}")),
        (Method::PUT, "authorization", HOOK_SECRET.to_owned()),
        (Method::PATCH, "authorization", basic),
        (Method::DELETE, "x-campanile-token", format!("OAuth {HOOK_SECRET}")),
        (Method::GET, "x-campanile-token", HOOK_SECRET.to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.http.call(method.clone(), &url).header(header, value).json(&numbered(n)).await;
        assert_eq!(answer.status, 202, "{method} {header}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_before_the_body_is_read() {
    let world = Setup::default().start().await;
    let url = world.public_url("/hooks/tracker");
    for header in [None, Some("Bearer wrong"), Some("Basic d3Jvbmc6d3Jvbmc=")] {
        let mut request = world.http.post(&url);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = request.json(&issue("TEST-1", "created")).await;
        assert_eq!(answer.status, 401);
        assert!(
            answer.text.contains("`Authorization: Bearer <secret>` or `X-Campanile-Token: <secret>`"),
            "{}",
            answer.text
        );
    }
    // The head alone, a body announced and never sent: the answer comes all the same.
    let mut raw = TcpStream::connect(url.trim_start_matches("http://").split('/').next().unwrap()).await.unwrap();
    raw.write_all(b"POST /hooks/tracker HTTP/1.1\r\nhost: x\r\nauthorization: nope\r\ncontent-length: 1000\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(world.api("/api/v1/events").await["events"], json!([]));
    assert!(world.metrics().await.contains(r#"campanile_calls_total{source="tracker",answer="401"} 4"#));
}

#[tokio::test]
async fn an_unknown_source_and_an_unasked_path_are_404() {
    let world = Setup::default().start().await;
    let paths = [
        "/hooks/other",
        "/hooks",
        "/hooks/tracker/",
        "/hooks/a/b/c",
        "/hooks/tracker/secret",
        "/",
        "/metrics",
        "/api/v1/events",
        "/hooksy",
    ];
    for path in paths {
        let answer =
            world.http.post(&world.public_url(path)).header("authorization", HOOK_SECRET).json(&json!({})).await;
        assert_eq!(answer.status, 404, "{path}");
        let names_the_way = answer.text.contains("the address ends in /hooks/<name of a source in config.yaml>");
        assert_eq!(names_the_way, path.starts_with("/hooks") && path != "/hooksy", "{path}: {}", answer.text);
    }
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"campanile_calls_total{source="",answer="404"} 4"#), "{metrics}");
    assert!(metrics.contains(r#"campanile_calls_total{source="tracker",answer="404"} 1"#), "{metrics}");
    let answer = world.http.post(&world.public_url("/healthz")).json(&json!({})).await;
    assert_eq!((answer.status, answer.json()), (405, json!({"error": "this path takes another method"})));
}

#[tokio::test]
async fn the_secret_may_stand_in_the_path_where_the_source_allows_it() {
    let setup = Setup { source: "kind: tracker, secret: {env: HOOK}, url_secret: true", ..Setup::default() };
    let world = setup.only_slack().start().await;
    let right = world.public_url(&format!("/hooks/tracker/{HOOK_SECRET}"));
    assert_eq!(world.http.post(&right).json(&numbered(0)).await.status, 202);
    let wrong = world.public_url("/hooks/tracker/guess");
    assert_eq!(world.http.post(&wrong).json(&numbered(1)).await.status, 401);
    let world = Setup::default().only_slack().start().await;
    let right = world.public_url(&format!("/hooks/tracker/{HOOK_SECRET}"));
    let answer = world.http.post(&right).header("authorization", HOOK_SECRET).json(&numbered(2)).await;
    assert_eq!(answer.status, 404, "where it does not, nothing is behind the source's name");
}

#[tokio::test]
async fn a_call_that_comes_again_is_a_duplicate_until_its_time_is_over() {
    let world = Setup::default().only_slack().start().await;
    let body = issue("TEST-1", "created");
    let event = world.accepted(&body).await;
    let again = world.trigger(&body).await;
    assert_eq!((again.status, again.json()), (200, json!({"event": event, "duplicate": true})));
    world.clock.pass(std::time::Duration::from_secs(9 * 60));
    assert_eq!(world.trigger(&body).await.status, 200, "ten minutes, as the body has a time");
    world.clock.pass(std::time::Duration::from_secs(61));
    assert_eq!(world.trigger(&body).await.status, 202);

    let mut undated = issue("TEST-2", "created");
    undated.as_object_mut().unwrap().remove("at");
    assert_eq!(world.trigger(&undated).await.status, 202);
    world.clock.pass(std::time::Duration::from_secs(239));
    assert_eq!(world.trigger(&undated).await.status, 200);
    world.clock.pass(std::time::Duration::from_secs(2));
    assert_eq!(world.trigger(&undated).await.status, 202, "four minutes without one");
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"campanile_ledger_received{part="duplicate"} 3"#), "{metrics}");
}

#[tokio::test]
async fn a_named_delivery_is_known_by_its_name_for_a_day() {
    let world = Setup::default().only_slack().start().await;
    let mut body = issue("TEST-1", "created");
    body["delivery_id"] = json!("d-1");
    assert_eq!(world.trigger(&body).await.status, 202);
    body["summary"] = json!("another body, the same delivery");
    assert_eq!(world.trigger(&body).await.status, 200);
    let url = world.public_url("/hooks/tracker");
    for (n, expected) in [(1, 202), (2, 200)] {
        let keyed = world.http.post(&url).header("authorization", HOOK_SECRET).header("idempotency-key", "k");
        assert_eq!(keyed.json(&numbered(n)).await.status, expected);
    }
}

#[tokio::test]
async fn form_and_query_calls_arrive_with_their_members() {
    let world = Setup::default().only_slack().start().await;
    let url = world.public_url("/hooks/tracker");
    let form = include_str!("fixtures/trigger-form-urlencoded.txt");
    let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(form).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await;
    let document = &event["event"]["document"];
    assert_eq!(document["event"]["reading"], "form");
    assert_eq!(document["issue"]["summary"], "Кнопка \"Сохранить\" не работает & молчит 🐞");
    assert_eq!(document["issue"]["tags"], json!(["релиз", "safari"]));
    assert_eq!(document["issue"].get("assignee"), None);

    let query = format!("{url}?event=created&key=TEST-9&summary=a%20b+c");
    let answer = world.http.get(&query).header("authorization", HOOK_SECRET).send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await;
    assert_eq!(event["event"]["document"]["issue"]["summary"], "a b c");
    assert_eq!(event["event"]["kind"], "issue.created");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_kept_and_counted() {
    let world = Setup::default().start().await;
    let url = world.public_url("/hooks/tracker");
    for body in ["", "not json", "[1,2]", r#"{"no":"key"}"#, r#"{"key":"TEST"}"#, r#"{"key":"#, "UTF-8, ТEST-1"] {
        let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(body.to_owned()).await;
        assert_eq!(answer.status, 400, "{body:.60}: {}", answer.text);
        assert!(answer.json()["error"].as_str().is_some_and(|why| !why.is_empty()));
    }
    let mut not_utf8 = br#"{"key":"TEST-1","summary":""#.to_vec();
    not_utf8.extend([0xff, 0xfe]);
    not_utf8.extend(br#""}"#);
    let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(not_utf8).await;
    assert_eq!(answer.status, 202, "bad bytes become U+FFFD");
    let event = world.api("/api/v1/events/1").await;
    assert_eq!(event["event"]["document"]["issue"]["summary"], "\u{fffd}\u{fffd}");
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"campanile_ledger_received{part="unreadable"} 7"#), "{metrics}");
    assert!(metrics.contains("campanile_received 8"), "{metrics}");
}

#[tokio::test]
async fn what_yields_a_key_at_least_is_taken_with_its_reading() {
    let world = Setup::default().only_slack().start().await;
    let url = world.public_url("/hooks/tracker");
    let deep = format!("{{\"key\":\"TEST-1\",\"x\":{}", "[".repeat(10_000));
    for (body, reading, degraded) in [
        (r#"{"key":"TEST-1"}"#, "strict", false),
        (r#"{"key":"TEST-1","key":"EVIL-1"}"#, "strict", true),
        (r#"{"key":"TEST-1","s":"\ud800"}"#, "repaired", true),
        (r#"{"key":"TEST-1","n":1e999}"#, "repaired", true),
        ("key=TEST-1", "form", false),
        (r#"["TEST-1"]"#, "key-only", true),
        ("about TEST-1", "key-only", true),
        (&deep, "key-only", true),
    ] {
        let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(body.to_owned()).await;
        assert_eq!(answer.status, 202, "{body:.60}: {}", answer.text);
        let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await;
        let document = &event["event"]["document"];
        assert_eq!(document["issue"]["key"], "TEST-1", "{body:.60}");
        assert_eq!(
            (&document["event"]["reading"], &document["event"]["degraded"]),
            (&json!(reading), &json!(degraded))
        );
    }
}

#[tokio::test]
async fn a_body_of_one_mebibyte_is_taken_and_one_byte_more_is_not() {
    let world = Setup::default().only_slack().start().await;
    let url = world.public_url("/hooks/tracker");
    let frame = r#"{"key":"TEST-1","x":""}"#.len();
    for (size, expected) in [(1024 * 1024, 202), (1024 * 1024 + 1, 413)] {
        let body = format!(r#"{{"key":"TEST-1","x":"{}"}}"#, "a".repeat(size - frame));
        assert_eq!(body.len(), size);
        let answer = world.http.post(&url).header("authorization", HOOK_SECRET).body(body).await;
        assert_eq!(answer.status, expected);
    }
}

#[tokio::test]
async fn silent_and_slow_connections_are_cut_and_hinder_nobody() {
    let world = Setup::default().only_slack().start().await;
    let address = world.public_url("").trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /hooks/tracker HTTP/1.1\r\nhost: x\r\nauthorization: {HOOK_SECRET}\r\ncontent-length: 100\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(world.trigger(&issue("TEST-1", "created")).await.status, 202);

    let mut buffer = Vec::new();
    let read = slow.read_to_end(&mut buffer);
    tokio::pin!(read);
    let mut steps = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(5), &mut read).await.is_err() {
        world.clock.pass(std::time::Duration::from_secs(1));
        steps += 1;
        assert!(steps < 60, "it is never cut");
    }
    assert!(String::from_utf8_lossy(&buffer).starts_with("HTTP/1.1 408"), "{}", String::from_utf8_lossy(&buffer));
    world.clock.pass(std::time::Duration::from_secs(15));
    for mut connection in silent {
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest).await; // ends, or this test hangs
        assert_eq!(rest, b"");
    }
    assert_eq!(world.trigger(&issue("TEST-2", "created")).await.status, 202);
}

#[tokio::test]
async fn ready_says_whether_the_store_can_be_written() {
    let world: World = Setup::default().start().await;
    let ready = world.http.get(&world.public_url("/readyz")).send().await;
    let configuration = world.api("/api/v1/config").await["hash"].clone();
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "configuration": configuration})));
    assert_eq!(world.http.get(&world.public_url("/healthz")).send().await.status, 200);
}

#[tokio::test]
async fn more_than_max_pending_is_not_taken() {
    let setup = Setup { more: "max_pending: 3\n".into(), ..Setup::default() };
    let world = setup.start().await;
    world.slack.go_down().await;
    world.telegram.go_down().await;
    assert_eq!(world.trigger(&numbered(0)).await.status, 202);
    assert_eq!(world.trigger(&numbered(1)).await.status, 500, "two more would be four");
    world.slack.come_up().await.unwrap();
    world.telegram.come_up().await.unwrap();
    world.until_all("delivered").await;
    assert_eq!(world.trigger(&numbered(1)).await.status, 202, "it is not remembered as taken");
}

/// In the log of the real binary.
#[tokio::test]
async fn who_was_refused_is_told_and_only_a_trusted_proxy_is_believed_about_it() {
    let setup = Setup::on(Clock::machine());
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, "http://127.0.0.1:9", "http://127.0.0.1:9");
    let config = folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    for (trusted, told) in [
        ("[]", [("203.0.113.9", "127.0.0.1"), ("10.1.2.3", "127.0.0.1")]),
        ("[10.0.0.0/8]", [("203.0.113.9", "127.0.0.1"), ("203.0.113.9, 10.1.2.3", "127.0.0.1")]),
        ("[127.0.0.1]", [("203.0.113.9", "203.0.113.9"), ("203.0.113.9, 10.1.2.3", "10.1.2.3")]),
        ("[127.0.0.0/8, 10.0.0.0/8]", [("1.1.1.1, 2001:db8::9, 10.1.2.3", "2001:db8::9"), ("unknown", "127.0.0.1")]),
    ] {
        std::fs::write(&config, text.replace("server: {", &format!("server: {{trusted_proxies: {trusted}, "))).unwrap();
        bridge.start().await;
        for (forwarded, caller) in told {
            let call = Client::default().post(&bridge.hook_url()).header("x-forwarded-for", forwarded);
            assert_eq!(call.json(&numbered(0)).await.status, 401);
            let log = bridge.log();
            let line = log.lines().rfind(|line| line.contains("a call without the right secret")).unwrap();
            assert!(line.contains(&format!("caller=\"{caller}\"")), "{trusted} {forwarded}: {line}");
            assert!(line.contains("secret=\"missing\""), "{line}");
        }
        bridge.kill();
    }
}

//! What the admin listener shows, and to whom.

use http::Method;
use serde_json::{Value, json};

use crate::harness::child::run;
use crate::harness::{HOOK_SECRET, Setup, World, issue, numbered};
use campanile::simulator::Fault;

fn ids(listed: &Value, what: &str) -> Vec<i64> {
    listed[what].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

// --- guards -------------------------------------------------------------------------------------------------------

/// A world whose admin listener wants a token.
async fn guarded() -> World {
    let mut world = Setup::default().only_slack().start().await;
    world.stop_app().await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let server = "server: {admin_token: {env: ADMIN}, public_url: 'https://bells.example.com', ";
    std::fs::write(world.config_path(), text.replace("server: {", server)).unwrap();
    world.secrets.insert("ADMIN", "adm1n".to_owned());
    world.start_app().await;
    world
}

#[tokio::test]
async fn with_a_token_every_path_but_healthz_wants_it() {
    let world = guarded().await;
    for path in ["/metrics", "/readyz", "/", "/api/v1/events", "/api/v1/deliveries", "/api/v1/deliveries/1", "/nothing"]
    {
        let url = world.admin_url(path);
        for wrong in [None, Some("Bearer adm1n2"), Some("adm1"), Some("Bearer "), Some(HOOK_SECRET)] {
            let mut request = world.http.get(&url);
            if let Some(wrong) = wrong {
                request = request.header("authorization", wrong);
            }
            assert_eq!(request.send().await.status, 401, "{path} with {wrong:?}");
        }
        let right = world.http.get(&url).header("authorization", "Bearer adm1n").send().await;
        assert_ne!(right.status, 401, "{path}");
    }
    let change = world.http.post(&world.admin_url("/api/v1/deliveries/1/replay"));
    assert_eq!(change.json(&json!({})).await.status, 401);
    assert_eq!(world.http.get(&world.admin_url("/healthz")).send().await.status, 200);
}

#[tokio::test]
async fn only_a_host_that_is_ours_is_answered() {
    let world = guarded().await;
    let port = world.admin_url("").rsplit(':').next().unwrap().to_owned();
    for (host, ours) in [
        (format!("127.0.0.1:{port}"), true),
        ("localhost".into(), true),
        (format!("LOCALHOST:{port}"), true),
        ("[::1]:99".into(), true),
        ("bells.example.com".into(), true),
        ("Bells.Example.com:443".into(), true),
        ("evil.example".into(), false),
        ("localhost.evil.example".into(), false),
        ("bells.example.com.evil.example".into(), false),
        ("10.0.0.1".into(), false),
        (String::new(), false),
    ] {
        for path in ["/metrics", "/healthz", "/api/v1/events"] {
            let request = world.http.get(&world.admin_url(path)).header("host", &host);
            let status = request.header("authorization", "adm1n").send().await.status;
            assert_eq!(status, if ours { 200 } else { 403 }, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_change_wants_json_by_its_content_type() {
    let world = Setup::default().only_slack().start().await;
    let url = world.admin_url("/api/v1/deliveries/7/replay");
    for (kind, expected) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonp"), 415),
        (Some("application/json"), 404),
        (Some("application/json; charset=utf-8"), 404),
    ] {
        let mut request = world.http.post(&url);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        assert_eq!(request.body("{}").await.status, expected, "{kind:?}");
    }
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = world.http.call(method.clone(), &url).json(&json!({})).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.json()["error"], "this path takes another method");
    }
    for path in ["/api/v1/events/abc", "/api/v1/deliveries/9999999999999999999", "/api/v1/deliveries/7x/replay"] {
        let request = if path.ends_with("replay") { Method::POST } else { Method::GET };
        let answer = world.http.call(request, &world.admin_url(path)).json(&json!({})).await;
        assert_eq!((answer.status, answer.json()), (404, json!({"error": "an id is a whole number"})), "{path}");
    }
    assert_eq!(
        world.http.post(&world.admin_url("/metrics")).json(&json!({})).await.json()["error"],
        "this path takes another method"
    );
}

#[tokio::test]
async fn without_a_token_loopback_is_open_and_nothing_else_may_be_bound() {
    let world = Setup::default().only_slack().start().await;
    assert_eq!(world.api("/api/v1/events").await, json!({"events": []}));
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let open = text.replace("admin: '127.0.0.1:0'", "admin: '0.0.0.0:0'");
    assert_ne!(open, text);
    for (text, fine) in [
        (open.clone(), false),
        (text.replace("admin: '127.0.0.1:0'", "admin: '[::1]:0'"), true),
        (open.replace("server: {", "server: {admin_token: {env: ADMIN}, "), true),
    ] {
        std::fs::write(world.config_path(), &text).unwrap();
        let output = run(&["check", "--config", world.config_path().to_str().unwrap()], &[]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(i32::from(!fine)), "{told}");
        assert_eq!(told.contains("admin_token"), !fine || text.contains("ADMIN"), "{told}");
    }
}

// --- API ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn listings_are_newest_first_and_paged() {
    let world = Setup::default().start().await;
    for n in 0..5 {
        world.accepted(&numbered(n)).await;
    }
    assert_eq!(ids(&world.api("/api/v1/events").await, "events"), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&world.api("/api/v1/events?limit=2").await, "events"), [5, 4]);
    assert_eq!(ids(&world.api("/api/v1/events?limit=2&before=4").await, "events"), [3, 2]);
    assert_eq!(ids(&world.api("/api/v1/events?before=1").await, "events"), [0; 0]);
    assert_eq!(ids(&world.api("/api/v1/events?limit=0").await, "events"), [5], "at least one");
    assert_eq!(ids(&world.api("/api/v1/deliveries?limit=3").await, "deliveries"), [10, 9, 8]);
    for bad in ["limit=x", "befor=3", "limit=-1", "state=lost", "event=one"] {
        let answer = world.http.get(&world.admin_url(&format!("/api/v1/deliveries?{bad}"))).send().await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.json()["error"].is_string(), "{bad}: {}", answer.text);
    }
}

#[tokio::test]
async fn listings_are_filtered_by_everything_they_show() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::error("invalid_blocks").always());
    world.accepted(&issue("TEST-1", "created")).await;
    world.accepted(&issue("TEST-2", "created")).await;
    world.accepted(&issue("TEST-2", "comment_added")).await;
    let settled = |rows: &[Value]| rows.len() == 6 && rows.iter().all(|row| row["state"] != "pending");
    world.until_deliveries(settled).await;
    for (query, expected) in [
        ("issue=TEST-2", &[3, 2][..]),
        ("kind=issue.created", &[2, 1]),
        ("kind=issue.created&issue=TEST-2", &[2]),
        ("source=tracker", &[3, 2, 1]),
        ("source=other", &[]),
        ("issue=TEST-%31", &[1]),
    ] {
        assert_eq!(ids(&world.api(&format!("/api/v1/events?{query}")).await, "events"), expected, "{query}");
    }
    for (query, expected) in [
        ("channel=ops-slack", &[5, 3, 1][..]),
        ("channel=nowhere", &[]),
        ("state=dead", &[5, 3, 1]),
        ("state=delivered", &[6, 4, 2]),
        ("state=pending", &[]),
        ("event=2", &[4, 3]),
        ("event=2&channel=ops-telegram", &[4]),
    ] {
        assert_eq!(ids(&world.api(&format!("/api/v1/deliveries?{query}")).await, "deliveries"), expected, "{query}");
    }
}

#[tokio::test]
async fn an_event_and_a_delivery_are_shown_whole() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::bad_gateway().once());
    world.accepted(&issue("TEST-7", "created")).await;
    world.until_all("delivered").await;
    let shown = world.api("/api/v1/events/1").await;
    assert_eq!(shown["event"]["document"]["issue"]["key"], "TEST-7");
    assert_eq!(ids(&shown, "deliveries"), [1]);
    let delivery = world.delivery(1).await;
    assert_eq!(delivery["state"], "delivered");
    assert_eq!(delivery["unclear"], true);
    assert_eq!(delivery["failed_attempts"].as_array().unwrap().len(), 1);
    assert_eq!(delivery["failed_attempts"][0]["outcome"], "unclear");
    assert!(delivery["parts"][0]["receipt"]["slack"]["ts"].is_string(), "{delivery}");
    for path in ["/api/v1/events/2", "/api/v1/deliveries/2"] {
        let answer = world.http.get(&world.admin_url(path)).send().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
    for path in ["/api/v1/events/x", "/api/v1/deliveries/x", "/api/v1/nothing"] {
        let status = world.http.get(&world.admin_url(path)).send().await.status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[tokio::test]
async fn replay_says_what_it_did_or_why_not() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::error("invalid_blocks").always());
    for n in 0..3 {
        world.accepted(&numbered(n)).await;
    }
    world.until_all("dead").await;
    world.slack.clear();
    let replay = async |path: &str, body: Value| {
        let answer = world.http.post(&world.admin_url(&format!("/api/v1/deliveries/{path}"))).json(&body).await;
        (answer.status, answer.json())
    };
    assert_eq!(replay("2/replay", json!({})).await, (200, json!({"replayed": 1})));
    world.until_posted(1, 0).await;
    world.until_deliveries(|rows| rows[1]["state"] == "delivered").await;
    assert_eq!(replay("2/replay", json!({})).await.0, 409, "it stands in the channel");
    assert_eq!(replay("9/replay", json!({})).await.0, 404);
    assert_eq!(replay("replay", json!({"channel": "nowhere"})).await.0, 404);
    assert_eq!(replay("replay", json!({"chanel": "ops-slack"})).await.0, 400);
    assert_eq!(replay("replay", json!({"channel": "ops-slack"})).await, (200, json!({"replayed": 2})));
    world.until_all("delivered").await;
    assert_eq!(replay("replay", json!({"channel": "ops-slack"})).await, (200, json!({"replayed": 0})));
}

//! What the admin listener shows, to whom, and when `serve` does not start at all.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::harness::child::{Bridge, run};
use crate::harness::{HOOK_SECRET, LOOPBACK, Setup, World, issue, numbered};
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
    }
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

// --- metrics ------------------------------------------------------------------------------------------------------

/// The samples of an OpenMetrics page. Panics at the first line that is none, or has no family before it.
fn samples(page: &str) -> Vec<(String, f64)> {
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1, "{page}");
    let (mut family, mut families, mut samples) = (String::new(), Vec::new(), Vec::new());
    for line in page.lines().take_while(|line| *line != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let [word, name, rest] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(["HELP", "TYPE", "UNIT"].contains(&word) && !rest.is_empty(), "{line}");
            if family != name {
                assert!(!families.contains(&name.to_owned()), "{name} comes twice");
                families.push(name.to_owned());
                family = name.to_owned();
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = sample.split('{').next().unwrap();
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        assert!(["", "_total", "_sum", "_count", "_bucket"].contains(&suffix), "{line}");
        if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).expect(line);
            let pairs = labels.split("\",").all(|pair| {
                pair.split_once("=\"").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            });
            assert!(pairs, "{line}");
        }
        samples.push((sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
    }
    samples
}

#[tokio::test]
async fn the_metrics_page_is_well_formed_and_both_ledgers_balance() {
    let setup = Setup::default().routes(
        "  - {name: 'quote \" and \\ and {brace}', when: 'issue.key == body.nothing', channels: [ops-slack], continue: true}\n  - channels: [ops-slack, ops-telegram]\n",
    );
    let world = setup.start().await;
    let fresh = samples(&world.metrics().await);
    assert!(fresh.iter().any(|(name, value)| name == "campanile_received" && *value == 0.0));
    world.telegram.fault(Fault::error("Bad Request: message is too long").always());
    world.accepted(&numbered(0)).await;
    world.accepted(&numbered(1)).await;
    assert_eq!(world.trigger(&numbered(1)).await.status, 200);
    assert_eq!(world.trigger(&json!({"no": "key"})).await.status, 400);
    world.until_deliveries(|rows| rows.len() == 4 && rows.iter().all(|row| row["state"] != "pending")).await;
    world.slack.go_down().await;
    world.accepted(&numbered(2)).await;

    let answer = world.http.get(&world.admin_url("/metrics")).send().await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let page = answer.text;
    let samples = samples(&page);
    let one =
        |wanted: &str| samples.iter().find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("{wanted}: {page}")).1;
    for (sum, parts, expected) in [
        ("campanile_received", "campanile_ledger_received{", 5.0),
        ("campanile_planned", "campanile_ledger_planned{", 6.0),
    ] {
        assert_eq!(one(sum), expected, "{page}");
        let parts: f64 = samples.iter().filter(|(name, _)| name.starts_with(parts)).map(|(_, value)| value).sum();
        assert_eq!(parts, expected, "{page}");
    }
    for (name, expected) in [
        (r#"campanile_ledger_received{part="routed"}"#, 3.0),
        (r#"campanile_ledger_received{part="duplicate"}"#, 1.0),
        (r#"campanile_ledger_received{part="unreadable"}"#, 1.0),
        (r#"campanile_ledger_planned{part="delivered"}"#, 2.0),
        (r#"campanile_pending{channel="ops-slack"}"#, 1.0),
        (r#"campanile_attempts_total{messenger="slack",outcome="delivered"}"#, 2.0),
        (r#"campanile_delivery_duration_seconds_count{messenger="slack"}"#, 2.0),
        (r#"campanile_calls_total{source="tracker",answer="202"}"#, 3.0),
    ] {
        assert_eq!(one(name), expected, "{name}\n{page}");
    }
    assert!(one("campanile_commit_duration_seconds_count") > 0.0);
    world.slack.come_up().await.unwrap();
}

// --- start --------------------------------------------------------------------------------------------------------

struct Start {
    bridge: Bridge,
    _folder: tempfile::TempDir,
}

impl Start {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nobody = "http://127.0.0.1:1";
        let bridge = Bridge::new(folder.path(), &Setup::default(), nobody, nobody);
        Self { bridge, _folder: folder }
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.bridge.folder.join("config.yaml")).unwrap()
    }

    fn change(&self, from: &str, to: &str) {
        let text = self.config();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(self.bridge.folder.join("config.yaml"), text.replace(from, to)).unwrap();
    }

    fn store(&self) -> std::path::PathBuf {
        let data = self.bridge.folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        data.join("campanile.db")
    }

    /// `serve` must end by itself, with 1 and one error that says `word`.
    fn refused(&self, word: &str) {
        let output = self.bridge.command("serve").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.matches("error:").count(), 1, "{told}");
        assert!(told.contains(word) && !told.contains("panicked"), "`{word}` is not in: {told}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn serve_refuses_a_port_that_is_taken() {
    for key in ["listen", "admin"] {
        let start = Start::new();
        let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let own = if key == "listen" { start.bridge.public } else { start.bridge.admin };
        start.change(&own.to_string(), &taken.local_addr().unwrap().to_string());
        start.refused(&format!("server.{key}"));
    }
}

#[test]
fn serve_refuses_a_store_that_it_cannot_use() {
    let start = Start::new();
    std::fs::write(start.store(), "no database at all, and long enough to be sure: ".repeat(100)).unwrap();
    start.refused("no SQLite file");

    let start = Start::new();
    rusqlite::Connection::open(start.store()).unwrap().execute_batch("create table theirs (a)").unwrap();
    start.refused("another program");
    let left = rusqlite::Connection::open(start.store()).unwrap();
    let tables: i64 = left.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).unwrap();
    let journal: String = left.query_row("pragma journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((tables, journal.as_str()), (1, "delete"), "it is left as it was");

    let start = Start::new();
    std::fs::create_dir_all(start.store()).unwrap();
    start.refused("campanile.db");
}

#[tokio::test]
async fn serve_refuses_a_store_of_a_newer_version_or_in_use() {
    let mut start = Start::new();
    start.bridge.start().await;
    let other = Start::new();
    other.change("sqlite://data/campanile.db", &format!("sqlite://{}", start.store().display()));
    other.refused("another campanile is running");
    assert!(start.bridge.terminate().await.success());
    start.bridge.database().pragma_update(None, "user_version", 9_999).unwrap();
    start.refused("newer campanile");
}

#[test]
fn serve_refuses_what_has_no_secret() {
    let start = Start::new();
    start.change("{env: HOOK}", "{env: NOT_SET}");
    start.refused("NOT_SET");

    let start = Start::new();
    start.change("{env: HOOK}", "{file: hook}");
    start.refused("does not exist");
    let file = start.bridge.folder.join("hook");
    std::fs::write(&file, "").unwrap();
    start.refused("is empty");
    std::fs::write(&file, "secret").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&file).is_err() {
        start.refused("cannot be read"); // root reads everything
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    start.refused("cannot be read");
}

#[test]
fn serve_refuses_a_configuration_that_is_not_there_or_wrong() {
    let start = Start::new();
    start.change("routes:", "rotes:");
    start.refused("did you mean `routes`");
    std::fs::remove_file(start.bridge.folder.join("config.yaml")).unwrap();
    start.refused("does not exist");
}

#[test]
fn serve_refuses_a_log_filter_that_cannot_be_read() {
    let mut start = Start::new();
    start.bridge.env("CAMPANILE_LOG", "campanile=loud=very");
    start.refused("CAMPANILE_LOG");
}

#[test]
fn check_ends_with_1_for_errors_alone_and_speaks_json() {
    let start = Start::new();
    let check = |arguments: &[&str], env: bool| {
        let mut run = start.bridge.command("check");
        if !env {
            run.env_clear();
        }
        let output = run.args(arguments).output().unwrap();
        assert_eq!(output.stderr, b"");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let json = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();

    assert_eq!(check(&[], true).0, Some(0));
    let (code, text) = check(&["--json"], false);
    assert_eq!(code, Some(0), "what is not set may be set later: {text}");
    let unset = json(&text).into_iter().filter(|finding| finding["message"].as_str().unwrap().contains("not set"));
    assert_eq!(unset.count(), 3, "{text}");

    start.change("[ops-slack, ops-telegram]", "[ops-slack, ops-telegrm]");
    let (code, text) = check(&["--json"], true);
    assert_eq!(code, Some(1));
    let findings = json(&text);
    let finding = findings.iter().find(|finding| finding["severity"] == "error").unwrap();
    let line = start.config().lines().position(|line| line.contains("ops-telegrm")).unwrap() + 1;
    assert_eq!(finding["line"], line);
    assert!(finding["column"].as_u64() > Some(1) && finding["file"].as_str().unwrap().ends_with("config.yaml"));
    assert!(finding["hint"].as_str().unwrap().contains("ops-telegram"), "{text}");
    assert!(check(&[], true).1.contains("1 error"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&[][..], &["sreve"], &["serve", "--confg", "x"], &["check", "--json=5"], &["check", "extra"]] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["check", "--help"]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn the_repositorys_own_configuration_is_accepted() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let output = run(&["check", "--config", config.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

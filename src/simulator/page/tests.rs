use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::stream::Stream;
use super::{Bridge, Chat, FILES, Page, VISITOR};
use crate::simulator::wire::{ANY_PORT, Called, call, held, post as send};
use crate::simulator::{
    SlackOptions, SlackSimulator, TelegramOptions, TelegramSimulator, TrackerIssue, TrackerOptions, TrackerQueue,
    TrackerSimulator, TrackerUser,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

type Heard = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A page on its port, with the simulators behind it and a bridge that is nothing but answers.
struct World {
    page: Arc<Page>,
    at: SocketAddr,
    heard: Heard,
    slack: Arc<SlackSimulator>,
    telegram: Arc<TelegramSimulator>,
    tracker: Arc<TrackerSimulator>,
}

const METRICS: &str = "campanile_delivery_duration_seconds_count{messenger=\"slack\"} 7\n\
                       campanile_pending{channel=\"a\"} 1\ncampanile_pending{channel=\"b\"} 2\n\
                       campanile_pending{channel=\"issue:X-1\"} 3\ncampanile_pending{channel=\"issue:X-2\"} 4\n\
                       campanile_ledger_received{part=\"to_route\"} 5\n# EOF\n";

async fn world() -> World {
    let heard = Heard::default();
    let hook = post(async |State(heard): State<Heard>, headers: HeaderMap, Json(body): Json<Value>| {
        heard.lock().unwrap().push((headers, body));
        (http::StatusCode::ACCEPTED, Json(json!({"event": 1, "deliveries": 2})))
    });
    let holds = get(async || Json(json!({"holds": [{"account": "slack", "until": "2023-11-14T22:15:00Z"}]})));
    let deliveries = get(async || {
        Json(json!({"deliveries": [
            {"channel": "b", "attempts": 0},
            {"channel": "issue:X-2", "attempts": 9, "reason": "newer"},
            {"channel": "issue:X-1", "attempts": 8, "reason": "HTTP 503"},
            {"channel": "b", "attempts": 3, "reason": "HTTP 502", "lane_hold": {"until": "2023-11-14T22:00:00Z"},
             "lane_wait": {"until": "2023-11-14T22:14:00Z", "why": "pace"}},
        ]}))
    });
    let bridge = Router::new()
        .route("/hooks/source", hook)
        .route("/metrics", get(async || METRICS))
        .route("/api/v1/holds", holds)
        .route("/api/v1/deliveries", deliveries)
        .with_state(heard.clone());
    let bridge = serve(bridge).await;
    let slack = Arc::new(SlackSimulator::start(ANY_PORT, SlackOptions::new(held())).await.unwrap());
    let telegram = Arc::new(TelegramSimulator::start(ANY_PORT, TelegramOptions::new(held())).await.unwrap());
    let options = TrackerOptions::new(held()).queue(TrackerQueue::new("X", "X")).queue(TrackerQueue::new("Y", "Y"));
    let options = options.user(TrackerUser::new(VISITOR, "You", ""));
    let options = options.issue(TrackerIssue::new("X-1", "<one>")).issue(TrackerIssue::new("Y-1", "elsewhere"));
    let tracker = Arc::new(TrackerSimulator::start(ANY_PORT, options).await.unwrap());
    let bridge = Bridge::new(bridge, bridge, "source", "s3cret", ["a", "b"]);
    let chats = (Chat::new(slack.clone(), "C1"), Chat::new(telegram.clone(), "-5"));
    let page = Arc::new(Page::new(chats, (tracker.clone(), "X"), bridge, "store: x\n".to_owned(), held()));
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(page.clone().serve(listener));
    World { page, at, heard, slack, telegram, tracker }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    at
}

/// The stream as a browser reads it: one event after the other.
struct Ear {
    stream: Stream,
    events: VecDeque<(String, Value)>,
}

impl Ear {
    fn of(world: &World) -> Self {
        Self { stream: Stream::of(world.page.clone()), events: VecDeque::new() }
    }

    /// The next event with this name; others before it are dropped.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            while let Some((event, data)) = self.events.pop_front() {
                if event == name {
                    return data;
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.stream.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("no {name} came")).unwrap().unwrap().into_data().unwrap();
            for event in String::from_utf8(frame.to_vec()).unwrap().split_terminator("\n\n") {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let data = serde_json::from_str(data).unwrap();
                self.events.push_back((name.strip_prefix("event: ").unwrap().to_owned(), data));
            }
        }
    }
}

impl World {
    async fn to_slack(&self, method: &str, body: Value) -> Value {
        let reply = send(self.slack.addr(), &format!("/api/{method}"), &body).await.unwrap().json();
        assert_eq!(reply["ok"], true, "{reply}");
        reply
    }

    async fn to_telegram(&self, method: &str, body: Value) -> i64 {
        let reply = send(self.telegram.addr(), &format!("/bot1:x/{method}"), &body).await.unwrap().json();
        assert_eq!(reply["ok"], true, "{reply}");
        reply["result"]["message_id"].as_i64().unwrap_or_default()
    }

    async fn ask(&self, verb: &str, path: &str, host: &str, kind: &str, body: &Value) -> Called {
        call(self.at, verb, path, &[("host", host), ("content-type", kind)], body.to_string()).await
    }
}

#[tokio::test]
async fn messages_edits_and_threads_come_as_they_were_received() {
    let world = world().await;
    let mut ear = Ear::of(&world);
    ear.next("ready").await;
    let blocks = json!([{"type": "rich_text", "elements": [
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "<b>", "style": {"bold": true}}]}]}]);
    let first = world.to_slack("chat.postMessage", json!({"channel": "C1", "text": "f", "blocks": blocks})).await;
    let message = ear.next("message").await;
    assert_eq!((&message["chat"], &message["shown"]["blocks"]), (&json!("slack"), &blocks));
    let thread = json!({"channel": "C1", "text": "*r*", "mrkdwn": false, "thread_ts": first["ts"]});
    world.to_slack("chat.postMessage", thread).await;
    let reply = ear.next("message").await;
    assert_eq!((&reply["thread"], &reply["shown"]["mrkdwn"]), (&first["ts"], &json!(false)));
    let edit = json!({"channel": "C1", "ts": first["ts"], "text": "g", "blocks": blocks});
    world.to_slack("chat.update", edit).await;
    let edited = ear.next("message").await;
    assert_eq!((&edited["id"], &edited["edits"], &edited["shown"]["text"]), (&first["ts"], &json!(1), &json!("g")));
    world.to_slack("chat.delete", json!({"channel": "C1", "ts": first["ts"]})).await;
    assert_eq!(ear.next("gone").await, json!({"chat": "slack", "id": first["ts"]}));

    let parent = world.to_telegram("sendMessage", json!({"chat_id": -5, "text": "one"})).await;
    assert_eq!(ear.next("message").await["id"], parent.to_string());
    let markup = json!({"inline_keyboard": [[{"text": "Open", "url": "https://a.example/"}]]});
    let reply = json!({"chat_id": -5, "text": "<b>🐞</b> &amp; x", "parse_mode": "HTML", "reply_markup": markup,
        "reply_parameters": {"message_id": parent}});
    world.to_telegram("sendMessage", reply).await;
    let message = ear.next("message").await;
    assert_eq!(message["thread"], parent.to_string());
    let entities = json!([{"type": "bold", "offset": 0, "length": 2}]);
    assert_eq!(message["shown"], json!({"text": "🐞 & x", "entities": entities, "reply_markup": markup}));
}

#[tokio::test]
async fn who_comes_later_hears_what_stands_and_no_other_conversation() {
    let world = world().await;
    world.to_slack("chat.postMessage", json!({"channel": "C2", "text": "elsewhere"})).await;
    world.to_slack("chat.postMessage", json!({"channel": "C1", "text": "here"})).await;
    let mut ear = Ear::of(&world);
    assert_eq!(ear.next("message").await["shown"]["text"], "here");
    ear.next("ready").await;
    assert!(ear.events.iter().all(|(name, _)| name != "message"));
    assert!(!ear.stream.is_end_stream());
}

#[tokio::test]
async fn figures_are_the_bridges() {
    let world = world().await;
    let figures = world.page.bridge.figures(held().now()).await.unwrap();
    assert_eq!((figures.slack.delivered, figures.slack.pending, figures.slack.attempts), (7, 1, 0));
    assert_eq!(figures.slack.paused_until, "2023-11-14T22:15:00Z".parse().ok());
    assert_eq!((figures.telegram.delivered, figures.telegram.pending, figures.telegram.attempts), (0, 2, 3));
    assert_eq!(figures.telegram.reason.as_deref(), Some("HTTP 502"), "of the oldest");
    assert_eq!(figures.telegram.paused_until, None, "what is past is no pause");
    assert_eq!(figures.telegram.paced_until, "2023-11-14T22:14:00Z".parse().ok());
    assert_eq!((figures.tracker.pending, figures.tracker.to_route, figures.tracker.attempts), (7, 5, 8));
    assert_eq!(figures.to_change.into_iter().collect::<Vec<_>>(), ["X-1", "X-2"]);
}

#[tokio::test]
async fn deeds_are_done_to_the_queue_that_is_shown_and_to_no_other() {
    let world = world().await;
    let mut ear = Ear::of(&world);
    let board = ear.next("board").await;
    assert_eq!((&board["issues"].as_array().unwrap().len(), &board["issues"][0]["summary"]), (&1, &json!("<one>")));
    let act = async |deed: Value| {
        let answer = world.ask("POST", "/deed", "localhost", "application/json", &deed).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let opened = act(json!({"kind": "open", "summary": "s", "priority": "critical", "times": 2})).await;
    assert_eq!(opened["keys"], json!(["X-2", "X-3"]));
    assert_eq!(world.tracker.issue("X-3")["summary"], "s · 2/2");
    act(json!({"kind": "move", "key": "X-1", "way": "start_progress"})).await;
    act(json!({"kind": "comment", "key": "X-1", "text": "& said"})).await;
    let first = |board: &Value| board["issues"].as_array().unwrap().last().unwrap().clone();
    let mut last = ear.next("board").await;
    while first(&last)["comments"] != 1 {
        last = ear.next("board").await;
    }
    let newest = &first(&last)["newest"];
    assert_eq!((&newest["by"], &newest["what"]), (&json!("You"), &json!("Commented: & said")));
    assert_eq!(first(&last)["status"]["display"], "In progress");
    assert_eq!(last["issues"][0]["priority"]["key"], "critical");
}

#[tokio::test]
async fn a_verdict_is_sent_as_github_sends_it() {
    let world = world().await;
    let deed = json!({"kind": "review", "key": "X-1", "verdict": "reject"});
    let sent = world.ask("POST", "/deed", "localhost", "application/json", &deed).await.unwrap().json();
    assert_eq!((&sent["status"], &sent["answer"]), (&json!(202), &json!({"event": 1, "deliveries": 2})));
    let heard = world.heard.lock().unwrap();
    let (headers, body) = &heard[0];
    assert_eq!(headers["x-github-event"], "pull_request_review");
    // Worked out by Python, HMAC-SHA256 over the body as it came.
    assert_eq!(
        headers["x-hub-signature-256"],
        "sha256=9d78a02806459d6d42b12ccd0f3eebeb24fb57af2ca29b92f375b13112710aa2"
    );
    assert_eq!(
        (&body["review"]["state"], &body["pull_request"]["title"]),
        (&json!("changes_requested"), &json!("X-1: <one>"))
    );
}

#[tokio::test]
async fn a_switch_fails_the_messenger_until_it_is_moved_back() {
    let world = world().await;
    let switch = async |trouble: &str| {
        let body = json!({"service": "telegram", "trouble": trouble});
        assert_eq!(world.ask("POST", "/trouble", "[::1]:80", "application/json", &body).await.unwrap().status, 200);
    };
    let post = async || send(world.telegram.addr(), "/bot1:x/sendMessage", &json!({"chat_id": -5, "text": "x"})).await;
    for (trouble, status) in [("rate_limited", 429), ("bad_gateway", 502), ("none", 200)] {
        switch(trouble).await;
        assert_eq!(post().await.unwrap().status, status, "{trouble}");
    }
    switch("down").await;
    assert!(post().await.is_err());
    switch("hangs").await;
    let (answer, ()) = tokio::join!(post(), async {
        world.telegram.wait_for_calls(4).await;
        switch("none").await;
    });
    assert_eq!(answer.unwrap().status, 200, "what hung goes on");
}

#[tokio::test]
async fn only_the_page_itself_is_answered() {
    let world = world().await;
    for host in ["127.0.0.1:1", "localhost:99", "LOCALHOST", "[::1]:5"] {
        assert_eq!(world.ask("GET", "/", host, "text/plain", &json!({})).await.unwrap().status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "192.0.2.1", ""] {
        for path in ["/", "/events", "/config.yaml"] {
            let answer = world.ask("GET", path, host, "text/plain", &json!({})).await.unwrap();
            assert_eq!(answer.status, 403, "{host} {path}");
        }
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let deed = json!({"kind": "review", "key": "X-1", "verdict": "approve"});
        let answer = world.ask("POST", "/deed", "localhost", kind, &deed).await.unwrap();
        assert_eq!(answer.status, 415, "another page's form must do nothing");
    }
    assert!(world.heard.lock().unwrap().is_empty());
    let wrong = world.ask("POST", "/trouble", "localhost", "application/json", &json!({"service": "icq"})).await;
    assert_eq!(wrong.unwrap().status, 422);
}

#[tokio::test]
async fn the_files_hold_to_their_policy() {
    let world = world().await;
    for (path, kind, text) in FILES {
        let answer = world.ask("GET", path, "localhost", "text/plain", &json!({})).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, text), "{path}");
        assert_eq!(answer.headers["content-type"], kind);
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"));
        for foreign in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick"]
        {
            assert!(!text.contains(foreign), "{path}: {foreign}");
        }
        let own = text.replace("http://www.w3.org/2000/svg", "");
        assert!(path.ends_with(".js") || !own.contains("//"), "{path}: an asset from elsewhere");
    }
    assert_eq!(world.ask("GET", "/config.yaml", "localhost", "", &json!({})).await.unwrap().body, "store: x\n");
    let issue = world.ask("GET", "/issues/X-1%0d%0aa:%20b", "localhost", "", &json!({})).await.unwrap();
    assert_eq!((issue.status, &issue.headers["location"]), (303, &"/#X-1ab".parse().unwrap()));
    assert_eq!(world.ask("GET", "/etc/passwd", "localhost", "", &json!({})).await.unwrap().status, 404);
}

//! Secrets of Tracker's side: our own token, those with which Tracker and its users call, those of code hosts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use campanile::clock::Clock;
use campanile::simulator::{
    Fault, SlackSimulator, TelegramSimulator, TrackerIssue, TrackerOptions, TrackerQueue, TrackerSimulator, TrackerUser,
};
use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

use super::{ADMIN, HOOK, MISTYPED, PASTED, assert_clean, assert_folder_clean, assert_only_ours, look_around};
use crate::harness::child::{Bridge, run};
use crate::harness::{Answer, Client, LOOPBACK, Setup, issue};
use crate::reviews::Call;

const TRACKER: &str = "y0_canary8tracker77b1e4";
/// Of the registration.
const LINKS: &str = "canary9links2c4f10";
/// Of somebody on whose behalf Tracker calls.
const USERS: &str = "y0_canary10users5d9e2a";
/// A code host signs with it; GitLab sends it, and old Giteas put it into the body.
const REVIEWS: &str = "canary11reviews8e0b3c";
pub const API: &str = "canary12api4a6d7f";
/// Whose password it is.
pub const API_USER: &str = "reader";
pub const ALL: [&str; 5] = [TRACKER, LINKS, USERS, REVIEWS, API];

/// A code host's API that repeats in each of its answers what it was asked with.
async fn telling_host() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let tell = async move |headers: HeaderMap| {
        let value = headers["authorization"].to_str().unwrap();
        let said = format!("{value}, which is {API} of {API_USER}");
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => (StatusCode::BAD_GATEWAY, said),
            1 => (StatusCode::OK, said),
            _ => (StatusCode::UNAUTHORIZED, said),
        }
    };
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(tell)).await.unwrap() });
    (url, asked)
}

struct Place {
    bridge: Bridge,
    tracker: TrackerSimulator,
    host_asked: Arc<AtomicUsize>,
    http: Client,
    _messengers: (SlackSimulator, TelegramSimulator),
    _folder: tempfile::TempDir,
}

impl Place {
    /// `auth`: of `links`.
    async fn new(auth: &str) -> Self {
        let clock = Clock::machine();
        let person = TrackerUser::new("maria", "Мария", "Петрова");
        let options = TrackerOptions::new(clock.clone()).organization("1").queue(TrackerQueue::new("TEST", "Тестовая"));
        let options = options.token(TRACKER, "campanile-bot").user(person).token(USERS, "maria");
        let options = options.issue(TrackerIssue::new("TEST-1", "Summary of TEST-1"));
        let tracker = TrackerSimulator::start(LOOPBACK, options).await.unwrap();
        let (host, host_asked) = telling_host().await;
        let setup = Setup::on(clock).routes("  - {channels: [ops-slack], issue: {comment: 'looked at'}}\n");
        let setup = Setup {
            source: "kind: tracker, secret: {env: HOOK}, enrich: true",
            sources: format!(
                "  gitlab: {{kind: gitlab, secret: {{env: REVIEWS}}}}\n  gitea: {{kind: gitea, secret: {{env: REVIEWS}}}}\n  \
                 bitbucket-cloud: {{kind: bitbucket-cloud, secret: {{env: REVIEWS}}, \
                 fetch_comments: {{api_url: '{host}', user: {API_USER}, token: {{env: API}}}}}}\n"
            ),
            more: format!(
                "links: {{auth: {auth}}}\ntracker: {{url: '{}', token: {{env: TRACKER}}, org_id: \"1\", queues: [TEST], \
                 enrich_within_seconds: 1}}\n",
                tracker.api_url()
            ),
            ..setup
        };
        let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let telegram_url = format!("http://{}", telegram.addr());
        let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram_url);
        let config = folder.path().join("config.yaml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("server: {", "server: {admin_token: {env: ADMIN}, ")).unwrap();
        for (name, value) in [
            ("HOOK", HOOK),
            ("ADMIN", ADMIN),
            ("TRACKER", TRACKER),
            ("LINKS", LINKS),
            ("REVIEWS", REVIEWS),
            ("API", API),
            ("CAMPANILE_LOG", "trace,h2=trace,hyper_util=trace"),
        ] {
            bridge.env(name, value);
        }
        Self { bridge, tracker, host_asked, http: Client::default(), _messengers: (slack, telegram), _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.bridge.public)
    }

    /// How GET, POST and DELETE are answered that bring this.
    async fn all_three(&self, authorization: &str) -> [u16; 3] {
        let body = json!({"issueKey": "TEST-1", "entityIds": ["channel:ops-slack"]}).to_string();
        let call = async |method: Method, path: &str, body: &str| {
            let call = self.http.call(method, &self.url(path)).header("authorization", authorization);
            clean(call.body(body.to_owned()).await)
        };
        [
            call(Method::GET, "/links/channel:ops-slack", "").await,
            call(Method::POST, "/links", &body).await,
            call(Method::DELETE, "/links/channel:ops-slack/TEST-1", "").await,
        ]
    }

    async fn linked(&self, authorization: &str) {
        let body = json!({"issueKey": "TEST-1", "entityIds": ["channel:ops-slack"]});
        let call = self.http.post(&self.url("/links")).header("authorization", authorization);
        assert_eq!(clean(call.json(&body).await), 200);
    }

    async fn trigger(&self, event: &str) {
        let call = self.http.post(&self.bridge.hook_url()).header("authorization", format!("Bearer {HOOK}"));
        assert_eq!(clean(call.json(&issue("TEST-1", event)).await), 202);
    }

    async fn reviewed(&self, call: Call) -> u16 {
        clean(call.send_to(&self.http, &self.url("")).await)
    }

    async fn until_log(&self, line: &str) {
        for _ in 0..3_000 {
            if self.bridge.log().contains(line) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("`{line}` never came: {}", self.bridge.log());
    }

    /// What the commands print, from the bridge that runs or from its files.
    fn ask_commands(&self) {
        let config = self.bridge.folder.join("config.yaml").display().to_string();
        let env = [("ADMIN", ADMIN), ("LINKS", LINKS), ("TRACKER", TRACKER), ("API", API), ("CAMPANILE_LOG", "trace")];
        for command in [&["links", "list"][..], &["links", "list", "--json"], &["links", "registration"]] {
            let output = run(&[command, &["--config", &config]].concat(), &env);
            assert_clean(&format!("{command:?}"), [output.stdout, output.stderr].concat());
            let end = output.status.code();
            // Without an application there is nothing to register, which is said too.
            assert!(end == Some(0) || (end == Some(1) && command.contains(&"registration")), "{command:?}: {end:?}");
        }
    }
}

fn clean(answer: Answer) -> u16 {
    assert_clean("an answer", &answer.text);
    for value in answer.headers.values() {
        assert_clean("an answer's header", value);
    }
    answer.status
}

/// Calls that tell the token they came with: as an error of Tracker's own, and as a proxy's page.
fn echo(status: u16, token: &str) -> Fault {
    let said = format!("no upstream for Authorization: OAuth {token}, Bearer {token}");
    Fault::Status { status, body: json!({"errors": {"token": said}, "errorMessages": [said]}).to_string() }
}

fn page(status: u16, token: &str) -> Fault {
    Fault::Status { status, body: format!("<h1>oops</h1> Authorization: OAuth {token}") }
}

async fn calls_of_tracker(place: &Place, own: &str) {
    for word in ["OAuth", "Bearer", "bearer"] {
        assert_eq!(place.all_three(&format!("{word} {own}")).await, [200, 200, 204], "{word}");
    }
    let basic = BASE64_STANDARD.encode(format!("anyone:{own}"));
    for wrong in
        [format!("OAuth {MISTYPED}"), format!("Bearer y0_{MISTYPED}"), own.to_owned(), format!("Basic {basic}")]
    {
        assert_eq!(place.all_three(&wrong).await, [401; 3]);
    }
    place.linked(&format!("OAuth {own}")).await;
}

async fn calls_of_code_hosts(place: &Place) {
    let gitlab = Call::recorded("gitlab/approved").set("object_attributes.title", "TEST-1");
    assert_eq!(place.reviewed(gitlab.clone().signed(REVIEWS)).await, 202);
    assert_eq!(place.reviewed(gitlab.clone().anew(1).signed(MISTYPED)).await, 401);
    assert_eq!(place.reviewed(gitlab.set("object_attributes.iid", json!(null)).anew(2).signed(REVIEWS)).await, 200);
    let gitea = Call::recorded("gitea/review-approved").set("secret", REVIEWS).set("pull_request.title", "TEST-1");
    assert_eq!(place.reviewed(gitea.clone().signed(REVIEWS)).await, 202);
    assert_eq!(place.reviewed(gitea.clone().anew(1).signed(MISTYPED)).await, 401);
    let unreadable = gitea.set("number", json!(null)).set("pull_request.number", json!(null)).anew(2);
    assert_eq!(place.reviewed(unreadable.signed(REVIEWS)).await, 400);
    // Its issue is looked for in the comments.
    let bitbucket = Call::recorded("bitbucket-cloud/approved").signed(REVIEWS);
    assert_eq!(place.reviewed(bitbucket).await, 202);
    place.until_log("[secret] of").await;
    assert!(place.host_asked.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn no_secret_of_trackers_side_is_logged_shown_or_kept_whatever_fails() {
    for (auth, own) in [("{token: {env: LINKS}}", LINKS), ("user", USERS)] {
        let mut place = Place::new(auth).await;
        place.bridge.start().await;
        calls_of_tracker(&place, own).await;
        calls_of_code_hosts(&place).await;

        if auth == "user" {
            for (n, fault) in
                [echo, page].into_iter().flat_map(|told| [500, 404, 200].map(|status| (told, status))).enumerate()
            {
                let own = format!("{USERS}-{n}");
                let (token, (told, status)) = (own.clone(), fault);
                let fault = told(status, &own).always().method("myself");
                place.tracker.fault(fault.when(move |call| call.token.as_ref() == Some(&token)));
                assert_eq!(place.all_three(&format!("OAuth {own}")).await, [503; 3], "{status}");
            }
        }
        let own_call = |call: &campanile::simulator::Call| call.token.as_deref() == Some(TRACKER);
        place.tracker.fault(page(502, TRACKER).always().method("issue").when(own_call));
        place.trigger("created").await;
        place.until_log("routed without what Tracker knows").await;
        place.tracker.clear();
        place.tracker.fault(echo(422, TRACKER).once().method("add_comment"));
        place.trigger("updated").await;
        place.until_log("dead letter").await;
        place.tracker.fault(echo(401, TRACKER).always().when(own_call));
        place.trigger("resolved").await;
        super::until_metrics(&place.bridge, |page| page.contains(r#"account_held{account="tracker"} 1"#)).await;

        look_around(&place.bridge).await;
        place.ask_commands();
        place.bridge.terminate().await;
        place.ask_commands();
        let log = place.bridge.log();
        for line in ["a call to a link without the right token", "[secret]"] {
            assert!(log.contains(line), "{line}: {log}");
        }
        assert_only_ours(&log);
        assert_folder_clean(&place.bridge.folder);
    }
}

#[tokio::test]
async fn check_prints_none_of_them_where_they_stand_in_the_wrong_place() {
    let place = Place::new("{token: {env: LINKS}}").await;
    let config = place.bridge.folder.join("config.yaml");
    let right = std::fs::read_to_string(&config).unwrap();
    for (name, value) in [("TRACKER", TRACKER), ("LINKS", LINKS), ("REVIEWS", REVIEWS), ("API", API)] {
        let way = format!("{{env: {name}}}");
        assert!(right.contains(&way), "{name}");
        for pasted in PASTED.map(|pasted| pasted(value)) {
            std::fs::write(&config, right.replace(&way, &pasted)).unwrap();
            let output = place.bridge.command("check").output().unwrap();
            let told = [output.stdout, output.stderr].concat();
            assert_clean(&format!("check with {pasted}"), &told);
            assert!(String::from_utf8_lossy(&told).contains("config.yaml:"), "{pasted} is found fault with");
        }
    }
}

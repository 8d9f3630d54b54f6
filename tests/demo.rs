//! `campanile demo`: the real binary, alone, as a person starts it.

mod browser;
mod circle;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::child::{self, BINARY};
use crate::harness::{Answer, Client};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(40);
/// What authors of issues write, and what must arrive just so.
const NASTY: &str =
    r#""quoted" 'a' <script>alert(1)</script> <!channel> &amp; *b* _i_ [x](http://y) {{issue.key}} C:\t 🐞"#;

/// A running demo, with a folder of temporary files of its own.
struct Demo {
    child: Child,
    address: String,
    folder: TempDir,
    http: Client,
}

impl Demo {
    /// Returns when it has told its address.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .arg("demo")
            .env_clear()
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
        let address = address.unwrap_or_else(|| panic!("no address: {line}")).trim_end_matches('/').to_owned();
        Self { child, address, folder, http: Client::default() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.http.post(&self.url(path)).json(&body).await
    }

    /// Does something on the page and returns what came of it.
    async fn act(&self, deed: Value) -> Value {
        let answer = self.post("/deed", deed).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Makes an issue in Tracker and returns its key.
    async fn open(&self, summary: &str) -> String {
        let made = self.act(json!({"kind": "open", "summary": summary, "priority": "normal", "times": 1})).await;
        made["keys"][0].as_str().unwrap().to_owned()
    }

    async fn switch(&self, service: &str, trouble: &str) {
        let answer = self.post("/trouble", json!({"service": service, "trouble": trouble})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn listen(&self) -> Ear {
        let host = self.address.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("/events").header("host", host).body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Ear { body: answer.into_body(), text: String::new(), events: VecDeque::new() }
    }

    /// Waits for the end and says how it ended.
    async fn end(mut self, by: Signal) -> (ExitStatus, TempDir) {
        kill_process(Pid::from_child(&self.child), by).unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            let ended = self.child.wait().unwrap();
            (ended, std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()))
        });
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page's stream.
struct Ear {
    body: Incoming,
    text: String,
    events: VecDeque<(String, Value)>,
}

impl Ear {
    /// The next event with this name that is as wanted; those before it are dropped.
    async fn until(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let come = async {
            loop {
                while let Some((event, data)) = self.events.pop_front() {
                    if event == name && wanted(&data) {
                        return data;
                    }
                }
                let Some(frame) = self.body.frame().await else { panic!("the stream ended") };
                self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
                while let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (name, data) = event.split_once("\ndata: ").unwrap();
                    let data = serde_json::from_str(data).unwrap();
                    self.events.push_back((name.strip_prefix("event: ").unwrap().to_owned(), data));
                    self.text = rest.to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("no such {name}"))
    }

    async fn message(&mut self, chat: &str, holds: &str) -> Value {
        self.until("message", |message| message["chat"] == chat && texts(&message["shown"]).contains(holds)).await
    }
}

/// All texts in a message, each on its own line.
fn texts(shown: &Value) -> String {
    match shown {
        Value::Object(members) => {
            let own = members.get("text").and_then(Value::as_str).unwrap_or_default();
            members
                .values()
                .filter(|value| !value.is_string())
                .fold(own.to_owned(), |all, value| all + "\n" + &texts(value))
        }
        Value::Array(values) => values.iter().map(texts).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

#[tokio::test]
async fn what_an_issue_is_called_stands_in_both_chats_as_text() {
    let demo = Demo::start();
    let page = demo.http.get(&demo.url("/")).send().await;
    assert!(page.status == 200 && page.text.starts_with("<!doctype html>"), "{}", page.text);
    let mut ear = demo.listen().await;
    ear.message("slack", "Checkout answers 500").await;
    assert_eq!(demo.open(NASTY).await, "DEMO-3");
    let (mut slack, mut telegram) = (demo.listen().await, demo.listen().await);
    let message = slack.message("slack", NASTY).await;
    let blocks = message["shown"]["blocks"].to_string();
    assert!(!blocks.contains(r#""broadcast""#) && !blocks.contains(r#""user""#), "{blocks}");
    let message = telegram.message("telegram", NASTY).await;
    let kinds = message["shown"]["entities"].as_array().unwrap().iter().map(|entity| entity["type"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["text_link", "bold"], "the template's, and none of the author's");
}

#[tokio::test]
async fn a_messenger_that_is_switched_off_delays_its_own_messages_only() {
    let demo = Demo::start();
    let mut ear = demo.listen().await;
    ear.until("figures", |figures| figures["telegram"]["delivered"] == 4).await;
    demo.switch("telegram", "down").await;
    for n in 0..3 {
        demo.act(json!({"kind": "comment", "key": "DEMO-2", "text": format!("number {n}")})).await;
    }
    ear.message("slack", "number 2").await;
    ear.until("figures", |figures| {
        let (slack, telegram) = (&figures["slack"], &figures["telegram"]);
        let tried = telegram["attempts"].as_u64() > Some(0) && telegram["reason"].is_string();
        slack["pending"] == 0 && telegram["pending"] == 3 && telegram["trouble"] == "down" && tried
    })
    .await;
    demo.switch("telegram", "rate_limited").await;
    ear.until("figures", |figures| figures["telegram"]["paused_until"].is_string()).await;
    demo.switch("telegram", "none").await;
    for n in 0..3 {
        let next = ear.until("message", |message| message["chat"] == "telegram").await;
        assert!(texts(&next["shown"]).contains(&format!("number {n}")), "in order: {next}");
    }
    ear.until("figures", |figures| figures["telegram"]["pending"] == 0 && figures["telegram"]["delivered"] == 7).await;
}

#[tokio::test]
async fn ctrl_c_ends_it_and_leaves_nothing() {
    leaves_nothing(Signal::INT).await;
}

#[tokio::test]
async fn a_terminal_that_is_closed_ends_it_and_leaves_nothing() {
    leaves_nothing(Signal::HUP).await;
}

async fn leaves_nothing(by: Signal) {
    let demo = Demo::start();
    let mut ear = demo.listen().await;
    ear.until("figures", |figures| figures["slack"]["delivered"] == 4).await;
    assert_eq!(std::fs::read_dir(demo.folder.path()).unwrap().count(), 1, "its store");
    demo.switch("slack", "hangs").await;
    demo.open("on its way").await;
    ear.until("figures", |figures| figures["slack"]["pending"] == 1).await;
    let (ended, folder) = demo.end(by).await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_that_somebody_removed_already_is_no_mistake() {
    let demo = Demo::start();
    let mut ear = demo.listen().await;
    ear.until("figures", |figures| figures["slack"]["delivered"] == 4).await;
    for folder in std::fs::read_dir(demo.folder.path()).unwrap() {
        std::fs::remove_dir_all(folder.unwrap().path()).unwrap();
    }
    assert_eq!(demo.end(Signal::INT).await.0.code(), Some(0));
}

#[tokio::test]
async fn another_host_is_refused() {
    let demo = Demo::start();
    for path in ["/", "/events", "/config.yaml"] {
        let answer = demo.http.get(&demo.url(path)).header("host", "evil.example").send().await;
        assert_eq!(answer.status, 403, "{path}");
    }
}

#[test]
fn without_a_place_for_its_folder_it_says_what_to_do() {
    let output = child::run(&["demo"], &[("TMPDIR", "/nowhere/at/all")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error: no temporary folder: ") && said.contains("\nhint: set TMPDIR to "), "{said}");
}

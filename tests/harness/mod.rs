//! The world of a test: the real server, a real store, the strict simulators over real HTTP.

pub mod browser;
pub mod child;
pub mod http;
pub mod postgres;
pub mod process;
pub mod server;
pub mod steps;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use campanile::app::{App, Outside};
use campanile::clock::Clock;
use campanile::config::{self, Loaded};
use campanile::simulator::{
    FieldKind, Record, SlackOptions, SlackSimulator, TelegramOptions, TelegramSimulator, TrackerIssue, TrackerOptions,
    TrackerQueue, TrackerSimulator,
};
use campanile::template::Templates;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub use http::{Answer, Client};
pub use steps::numbers;

pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub const HOOK_SECRET: &str = "hook-s3cret";
pub const SLACK_TOKEN: &str = "xoxb-test-token";
pub const TELEGRAM_TOKEN: &str = "123456:test-token";
pub const TRACKER_TOKEN: &str = "y0_test-token";
/// The Slack conversation and the Telegram chat (a group) of the usual world.
pub const SLACK: &str = "C0123456789";
pub const TELEGRAM: &str = "-1001234567890";

/// How a world differs from the usual one.
pub struct Setup {
    /// The repository's own config.yaml, with the addresses of this machine in it, and this change. Of what follows, the
    /// services alone count then.
    pub shipped: Option<Box<dyn Fn(String) -> String + Send + Sync>>,
    pub store: String,
    pub routes: String,
    pub channels: String,
    pub slack_pace: &'static str,
    pub telegram_pace: &'static str,
    pub more: String,
    /// Of the source `tracker`.
    pub source: &'static str,
    /// Lines of further sources, and what their secrets are.
    pub sources: String,
    pub secrets: Vec<(&'static str, &'static str)>,
    pub slack: SlackOptions,
    pub telegram: TelegramOptions,
    /// `None`: no Tracker that could be asked.
    pub tracker: Option<TrackerOptions>,
    /// More keys of `tracker:`.
    pub tracker_keys: &'static str,
    pub templates: Vec<(&'static str, &'static str)>,
    pub clock: Clock,
}

impl Default for Setup {
    fn default() -> Self {
        let clock = Clock::held("2026-05-12T09:15:02Z".parse::<Timestamp>().unwrap());
        Self::on(clock)
    }
}

impl Setup {
    pub fn on(clock: Clock) -> Self {
        Self {
            shipped: None,
            store: "sqlite://data/campanile.db".into(),
            routes: "  - channels: [ops-slack, ops-telegram]\n".into(),
            channels: format!("  ops-slack: {{slack: {SLACK}}}\n  ops-telegram: {{telegram: {TELEGRAM}}}\n"),
            slack_pace: "none",
            telegram_pace: "none",
            more: String::new(),
            source: "kind: tracker, secret: {env: HOOK}",
            sources: String::new(),
            secrets: Vec::new(),
            slack: SlackOptions::new(clock.clone()).token(SLACK_TOKEN).without_pace(),
            telegram: TelegramOptions::new(clock.clone()).token(TELEGRAM_TOKEN).without_pace(),
            tracker: None,
            tracker_keys: "",
            templates: Vec::new(),
            clock,
        }
    }

    /// The messengers' real limits on both sides.
    pub fn paced() -> Self {
        let setup = Self::default();
        let clock = setup.clock.clone();
        Self {
            slack_pace: "default",
            telegram_pace: "default",
            slack: SlackOptions::new(clock.clone()).token(SLACK_TOKEN),
            telegram: TelegramOptions::new(clock).token(TELEGRAM_TOKEN),
            ..setup
        }
    }

    /// The configuration that is shipped, as it is, between services with their real limits.
    pub fn shipped(change: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        let setup = Self::paced().with_tracker();
        let tracker = setup.tracker.map(|tracker| tracker.organization("1234567"));
        let secrets = vec![
            ("TRACKER_HOOK_SECRET", HOOK_SECRET),
            ("SLACK_BOT_TOKEN", SLACK_TOKEN),
            ("TELEGRAM_BOT_TOKEN", TELEGRAM_TOKEN),
            ("BITBUCKET_SECRET", "bitbucket-s3cret"),
            ("BENCH_SECRET", "bench-s3cret"),
            ("LINKS_TOKEN", "links-t0ken"),
        ];
        Self { shipped: Some(Box::new(change)), tracker, secrets, ..setup }
    }

    /// With a Tracker whose queue TEST has the issues TEST-1 to TEST-3, all open.
    pub fn with_tracker(self) -> Self {
        let queue = TrackerQueue::new("TEST", "Тестовая").local("benchLink", "Ссылка на стенд", FieldKind::Text);
        let options = TrackerOptions::new(self.clock.clone()).token(TRACKER_TOKEN, "campanile-bot").organization("1");
        let issues = (1..=3).map(|n| TrackerIssue::new(format!("TEST-{n}"), format!("Summary of TEST-{n}")));
        let tracker = issues.fold(options.queue(queue), TrackerOptions::issue);
        Self { tracker: Some(tracker), ..self }
    }

    pub fn routes(self, routes: &str) -> Self {
        Self { routes: routes.into(), ..self }
    }

    pub fn only_slack(self) -> Self {
        self.routes("  - channels: [ops-slack]\n")
    }

    pub fn only_telegram(self) -> Self {
        self.routes("  - channels: [ops-telegram]\n")
    }

    /// So many channels `c0`, `c1`, …, each for the triggers that name it in `to`.
    pub fn channels(self, channels: usize, conversation: impl Fn(usize) -> String) -> Self {
        let channel = |n: usize| format!("  c{n}: {{{}}}\n", conversation(n));
        let route = |n: usize| format!("  - {{when: 'body.to == \"c{n}\"', channels: [c{n}]}}\n");
        let routes = (0..channels).map(route).collect();
        Self { channels: (0..channels).map(channel).collect(), routes, ..self }
    }

    pub async fn start(self) -> World {
        World::start(self).await
    }
}

/// config.yaml over simulators.
pub fn config_text(setup: &Setup, slack_url: &str, telegram_url: &str, listen: &str, admin: &str) -> String {
    let Setup { routes, channels, slack_pace, telegram_pace, more, source, sources, store, .. } = setup;
    format!(
        "server: {{listen: '{listen}', admin: '{admin}', shutdown_seconds: 10}}\n\
         store: {store}\n\
         store_reserve_mb: 1\n\
         time_zone: Europe/Moscow\n\
         slack: {{token: {{env: SLACK_TOKEN}}, api_url: '{slack_url}', pace: {slack_pace}}}\n\
         telegram: {{token: {{env: TELEGRAM_TOKEN}}, api_url: '{telegram_url}', pace: {telegram_pace}}}\n\
         sources:\n  tracker: {{{source}}}\n{sources}\
         channels:\n{channels}routes:\n{routes}{more}"
    )
}

/// The repository's config.yaml at addresses of this machine.
fn shipped_text(slack_url: &str, telegram_url: &str) -> String {
    let mut text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml")).unwrap();
    for (shipped, here) in [
        ("\"[::]:8080\"", "\"127.0.0.1:0\""),
        ("\"127.0.0.1:8081\"", "\"127.0.0.1:0\""),
        ("https://slack.com/api", slack_url),
        ("https://api.telegram.org", telegram_url),
    ] {
        assert!(text.contains(shipped), "{shipped}");
        text = text.replace(shipped, here);
    }
    text
}

pub fn secrets() -> HashMap<&'static str, String> {
    HashMap::from([
        ("HOOK", HOOK_SECRET.to_owned()),
        ("SLACK_TOKEN", SLACK_TOKEN.to_owned()),
        ("TELEGRAM_TOKEN", TELEGRAM_TOKEN.to_owned()),
        ("TRACKER_TOKEN", TRACKER_TOKEN.to_owned()),
    ])
}

pub struct World {
    pub slack: SlackSimulator,
    pub telegram: TelegramSimulator,
    tracker: Option<TrackerSimulator>,
    pub clock: Clock,
    pub http: Client,
    pub folder: TempDir,
    pub secrets: HashMap<&'static str, String>,
    app: Option<App>,
    public: SocketAddr,
    admin: SocketAddr,
}

/// Raises the soft limit of files that may be open, which both ends of a test's connections share; says what it is now.
pub fn open_files() -> u64 {
    const MANY: u64 = 10_000;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(MANY, |maximum| maximum.min(MANY));
    let now = current.unwrap_or(MANY);
    match now < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        true => wanted,
        false => now,
    }
}

impl World {
    pub async fn start(setup: Setup) -> Self {
        open_files();
        let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let telegram_url = format!("http://{}", telegram.addr());
        let mut text = match &setup.shipped {
            Some(change) => change(shipped_text(&slack.api_url(), &telegram_url)),
            None => config_text(&setup, &slack.api_url(), &telegram_url, "127.0.0.1:0", "127.0.0.1:0"),
        };
        let tracker = match setup.tracker.clone() {
            Some(options) => Some(TrackerSimulator::start(LOOPBACK, options).await.unwrap()),
            None => None,
        };
        if let (Some(tracker), Some(_)) = (&tracker, &setup.shipped) {
            text = text.replace("https://api.tracker.yandex.net", &tracker.api_url());
        } else if let Some(tracker) = &tracker {
            let (url, keys) = (tracker.api_url(), setup.tracker_keys);
            text += &format!(
                "tracker: {{url: '{url}', token: {{env: TRACKER_TOKEN}}, org_id: \"1\", queues: [TEST]{keys}}}\n"
            );
        }
        std::fs::write(folder.path().join("config.yaml"), text).unwrap();
        for (name, template) in &setup.templates {
            let file = folder.path().join("templates").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, template).unwrap();
        }
        let mut world = Self {
            slack,
            telegram,
            tracker,
            clock: setup.clock.clone(),
            http: Client::default(),
            folder,
            secrets: secrets()
                .into_iter()
                .chain(setup.secrets.iter().map(|(name, value)| (*name, (*value).to_owned())))
                .collect(),
            app: None,
            public: LOOPBACK,
            admin: LOOPBACK,
        };
        world.start_app().await;
        world
    }

    /// Starts the server on the world's configuration as it is on disk now.
    pub async fn start_app(&mut self) {
        let app = self.another_app().await;
        (self.public, self.admin) = (app.public, app.admin);
        self.app = Some(app);
    }

    /// Another server on the same configuration.
    pub async fn another_app(&self) -> App {
        let env = |name: &str| self.secrets.get(name).cloned();
        let loaded: Loaded =
            config::load(&self.config_path(), &|_| Vec::new()).unwrap_or_else(|findings| panic!("{findings:#?}"));
        let (templates, _) = Templates::load(loaded.config.templates.as_deref());
        let outside = Outside {
            clock: self.clock.clone(),
            random: fastrand::Rng::with_seed(7),
            env: &env,
            public: TcpListener::bind(LOOPBACK).await.unwrap(),
            admin: TcpListener::bind(LOOPBACK).await.unwrap(),
        };
        App::start(loaded, templates, outside).await.unwrap()
    }

    /// Stops the server as SIGTERM does, driving the clock.
    pub async fn stop_app(&mut self) -> bool {
        let app = self.app.take().expect("it runs");
        let clock = self.clock.clone();
        let stop = app.stop();
        tokio::pin!(stop);
        loop {
            match tokio::time::timeout(STEP_REAL, &mut stop).await {
                Ok(in_time) => return in_time,
                Err(_) => clock.pass(Duration::from_millis(100)),
            }
        }
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    pub fn public_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Fires a trigger, with the right secret.
    pub async fn trigger(&self, body: &Value) -> Answer {
        let request =
            self.http.post(&self.public_url("/hooks/tracker")).header("authorization", format!("Bearer {HOOK_SECRET}"));
        request.json(body).await
    }

    /// Fires a trigger that must be taken; gives the event's id.
    pub async fn accepted(&self, body: &Value) -> i64 {
        let answer = self.trigger(body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["event"].as_i64().unwrap()
    }

    pub async fn api(&self, path: &str) -> Value {
        let answer = self.http.get(&self.admin_url(path)).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub async fn metrics(&self) -> String {
        self.http.get(&self.admin_url("/metrics")).send().await.text
    }

    /// The deliveries in the store, oldest first.
    pub async fn deliveries(&self) -> Vec<Value> {
        let listed = self.api("/api/v1/deliveries?limit=1000").await;
        let mut rows = listed["deliveries"].as_array().cloned().unwrap();
        rows.reverse();
        rows
    }

    pub async fn delivery(&self, id: i64) -> Value {
        self.api(&format!("/api/v1/deliveries/{id}")).await["delivery"].clone()
    }

    /// Moves the clock on, step by step, until the simulators' record is as wanted. Real time passes only so that
    /// sockets can move; no result depends on how much.
    pub async fn until(&self, mut slack: impl FnMut(&Record) -> bool, mut telegram: impl FnMut(&Record) -> bool) {
        for _ in 0..STEPS {
            let both = async {
                self.slack.wait_for(&mut slack).await;
                self.telegram.wait_for(&mut telegram).await;
            };
            if tokio::time::timeout(STEP_REAL, both).await.is_ok() {
                return;
            }
            self.clock.pass(STEP);
        }
        panic!("never came: slack {:?}, telegram {:?}", self.slack.counts(), self.telegram.counts());
    }

    pub async fn until_posted(&self, slack: u64, telegram: u64) {
        self.until(|record| record.counts().posted >= slack, |record| record.counts().posted >= telegram).await;
    }

    /// Moves the clock on until the deliveries are as wanted.
    pub async fn until_deliveries(&self, mut wanted: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..STEPS {
            let rows = self.deliveries().await;
            if wanted(&rows) {
                return rows;
            }
            tokio::task::yield_now().await;
            self.clock.pass(STEP);
        }
        panic!("never came: {:#?}", self.deliveries().await);
    }

    pub async fn until_all(&self, state: &str) -> Vec<Value> {
        self.until_deliveries(|rows| rows.iter().all(|row| row["state"] == state)).await
    }

    pub fn tracker(&self) -> &TrackerSimulator {
        self.tracker.as_ref().expect("a setup with a tracker")
    }

    /// Moves the clock on until the issue is as wanted.
    pub async fn until_issue(&self, key: &str, mut wanted: impl FnMut(&Value) -> bool) {
        for _ in 0..STEPS {
            if tokio::time::timeout(STEP_REAL, self.tracker().wait_for_issue(key, &mut wanted)).await.is_ok() {
                return;
            }
            self.clock.pass(STEP);
        }
        panic!("never came: {:#}", self.tracker().issue(key));
    }

    pub fn slack_texts(&self) -> Vec<String> {
        self.slack.posted(SLACK).iter().map(|post| post.seen.text.clone()).collect()
    }

    pub fn telegram_texts(&self) -> Vec<String> {
        self.telegram.posted(TELEGRAM).iter().map(|post| post.seen.text.clone()).collect()
    }
}

const STEP: Duration = Duration::from_millis(100);
const STEP_REAL: Duration = Duration::from_millis(4);
/// An hour and more of the world's time.
const STEPS: usize = 50_000;

/// The recommended body of a trigger.
pub fn issue(key: &str, event: &str) -> Value {
    json!({
        "v": 1, "event": event, "key": key, "summary": format!("Summary of {key}"), "author": "ivan-ivanov",
        "actor": "maria.petrova", "at": "2026-05-12T09:15:02.100Z", "status": "open", "priority": "normal",
    })
}

/// A numbered body for one of [`Setup::channels`].
pub fn numbered_to(channel: usize, n: usize) -> Value {
    let mut body = numbered(n);
    body["to"] = json!(format!("c{channel}"));
    body
}

/// A body that no other equals.
pub fn numbered(n: usize) -> Value {
    let mut body = issue(&format!("TEST-{}", n + 1), "created");
    body["summary"] = json!(format!("message {n}"));
    body["n"] = json!(n);
    body
}

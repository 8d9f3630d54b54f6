//! Waiting without moving the clock, and moving it by exact steps: what a test says about time is then exact.

use std::time::Duration;

use campanile::app::StartError;
use campanile::config;
use campanile::simulator::{Posted, Record};
use campanile::template::Templates;
use serde_json::Value;

use super::{World, numbered};

/// Real time that a machine under load may take for what is due at once.
const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// The deliveries once they are as wanted; the clock stands.
    pub async fn settled(&self, mut wanted: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
        let look = async {
            loop {
                let rows = self.deliveries().await;
                if wanted(&rows) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(rows) => rows,
            Err(_) => panic!("never came: {:#?}", self.deliveries().await),
        }
    }

    /// So many deliveries have this state; the clock stands.
    pub async fn settled_as(&self, state: &str, deliveries: usize) -> Vec<Value> {
        self.settled(|rows| rows.iter().filter(|row| row["state"] == state).count() == deliveries).await
    }

    pub async fn slack_seen(&self, seen: impl FnMut(&Record) -> bool) {
        come(self.slack.wait_for(seen), || format!("{:#?}", self.slack.arrivals())).await;
    }

    pub async fn telegram_seen(&self, seen: impl FnMut(&Record) -> bool) {
        come(self.telegram.wait_for(seen), || format!("{:#?}", self.telegram.arrivals())).await;
    }

    /// One figure of `/metrics`, with its labels; 0 where it is not told.
    pub async fn figure(&self, name: &str) -> f64 {
        let page = self.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Moves the clock on until a figure has this value.
    pub async fn until_figure(&self, name: &str, value: f64, step: Duration) {
        for _ in 0..50_000 {
            if self.figure(name).await == value {
                return;
            }
            self.clock.pass(step);
        }
        panic!("{name} is {} and never became {value}", self.figure(name).await);
    }

    pub async fn event(&self, id: i64) -> Value {
        self.api(&format!("/api/v1/events/{id}")).await["event"].clone()
    }

    /// Moves the clock on until the event is routed; gives its document.
    pub async fn until_routed(&self, id: i64) -> Value {
        for _ in 0..50_000 {
            let event = self.event(id).await;
            if !event["deliveries"].is_null() {
                return event["document"].clone();
            }
            self.clock.pass(Duration::from_millis(100));
        }
        panic!("{id} was never routed");
    }

    /// Fires the triggers with these numbers, one after the other.
    pub async fn burst(&self, numbers: std::ops::Range<usize>) {
        for n in numbers {
            self.accepted(&numbered(n)).await;
        }
    }

    /// Begins a stop as SIGTERM does; the clock stands.
    pub fn begin_stop(&mut self) -> tokio::task::JoinHandle<bool> {
        tokio::spawn(self.app.take().expect("it runs").stop())
    }

    /// The next process, on the configuration as `change` leaves it.
    pub async fn restart_with(&mut self, change: impl FnOnce(String) -> String) {
        self.stop_app().await;
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        std::fs::write(self.config_path(), change(text)).unwrap();
        self.start_app().await;
    }

    /// Reloads the configuration as `change` leaves it, and whatever else is on disk.
    pub async fn reload_with(&self, change: impl FnOnce(String) -> String) -> Result<(), StartError> {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        std::fs::write(self.config_path(), change(text)).unwrap();
        let loaded = config::load(&self.config_path(), &|_| Vec::new()).unwrap();
        let (templates, _) = Templates::load(loaded.config.templates.as_deref());
        let reloader = self.app.as_ref().expect("it runs").reloader();
        reloader.reload(loaded, templates, &|name| self.secrets.get(name).cloned()).await
    }

    pub async fn restart(&mut self) {
        self.restart_with(|text| text).await;
    }
}

async fn come(seen: impl Future<Output = ()>, instead: impl FnOnce() -> String) {
    if tokio::time::timeout(PATIENCE, seen).await.is_err() {
        panic!("never came: {}", instead());
    }
}

/// The numbers in messages that stand, in their order.
pub fn numbers(posts: &[Posted]) -> Vec<usize> {
    posts.iter().map(|post| number(&post.seen.text)).collect()
}

fn number(text: &str) -> usize {
    let (_, rest) = text.split_once("message ").unwrap_or_else(|| panic!("no number: {text}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

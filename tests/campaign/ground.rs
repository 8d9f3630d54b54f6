//! What the campaign plays on: the replicas, their PostgreSQL, the messengers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex as Locked;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{
    Call, Fault, Rule, SlackOptions, SlackSimulator, TelegramOptions, TelegramSimulator, TrackerIssue, TrackerOptions,
    TrackerQueue, TrackerSimulator,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::harness::child::{Bridge, preloaded};
use super::harness::postgres::Database;
use super::harness::server::Server;
use super::harness::{Client, LOOPBACK, Setup};
use super::{Asked, lanes, store};

/// Each replica's clock is wrong by another of these, in seconds.
const WRONG_BY: [i64; 4] = [0, 600, -420, 90];
const DRAINS_WITHIN: Duration = Duration::from_secs(180);
/// After a replica ended by itself.
const START_AGAIN: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);

pub struct Ground {
    pub replicas: Vec<Mutex<Bridge>>,
    pub hooks: Vec<String>,
    ready: Vec<String>,
    pub postgres: Mutex<Server>,
    pub url: String,
    pub slack: SlackSimulator,
    pub telegram: TelegramSimulator,
    pub tracker: TrackerSimulator,
    pub clock: Clock,
    /// Replicas that ended by themselves, with the last line of their log.
    pub ended: Locked<Vec<(jiff::Timestamp, usize, String)>>,
    folder: Locked<Option<tempfile::TempDir>>,
}

/// By its token a call shows which replica made it.
pub fn slack_token(replica: usize) -> String {
    format!("xoxb-replica-{replica}")
}

pub fn telegram_token(replica: usize) -> String {
    format!("{}:replica", 1_000 + replica)
}

pub fn tracker_token(replica: usize) -> String {
    format!("y0_replica-{replica}")
}

impl Ground {
    /// Everything runs, but no replica is ready yet.
    pub async fn prepare(asked: &Asked, random: &mut fastrand::Rng) -> Self {
        let clock = Clock::machine();
        let mut slack = SlackOptions::new(clock.clone()).without_pace();
        let mut telegram = TelegramOptions::new(clock.clone()).without_pace();
        let mut tracker =
            TrackerOptions::new(clock.clone()).organization("1").queue(TrackerQueue::new("ACT", "Comments"));
        tracker = lanes::issues().fold(tracker, |tracker, key| tracker.issue(TrackerIssue::new(key, "x")));
        for replica in 0..asked.replicas {
            tracker = tracker.token(tracker_token(replica), "campanile-bot");
            slack = slack.token(slack_token(replica));
            telegram = telegram.token(telegram_token(replica));
        }
        let slack = SlackSimulator::start(LOOPBACK, slack).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, telegram).await.unwrap();
        let tracker = TrackerSimulator::start(LOOPBACK, tracker).await.unwrap();
        // Few calls are changes, and it is these that may be done twice.
        tracker.fault(Fault::LoseAnswer.chance(0.1, random.u64(..)).method("add_comment"));
        rules(random).into_iter().for_each(|rule| tracker.fault(rule));
        rules(random).into_iter().for_each(|rule| slack.fault(rule));
        rules(random).into_iter().for_each(|rule| telegram.fault(rule));
        let postgres = Server::start(&["fsync=on"]);
        let url = Database::on(&postgres.url()).await.url;

        let folder = tempfile::Builder::new().prefix("campanile-campaign-").tempdir().unwrap();
        let clocks_are_wrong = std::env::var("CAMPANILE_CAMPAIGN_CLOCKS").as_deref() != Ok("right");
        let wrong_clock = preloaded("wrong_clock", folder.path());
        let mut replicas = Vec::new();
        for replica in 0..asked.replicas {
            let own = folder.path().join(format!("replica-{replica}"));
            std::fs::create_dir(&own).unwrap();
            let setup = Setup { store: url.clone(), ..Setup::on(clock.clone()) };
            let setup = lanes::configured(setup, &tracker.api_url());
            let mut bridge = Bridge::new(&own, &setup, &slack.api_url(), &telegram.api_url());
            bridge.env("SLACK_TOKEN", &slack_token(replica));
            bridge.env("TELEGRAM_TOKEN", &telegram_token(replica));
            bridge.env("TRACKER_TOKEN", &tracker_token(replica));
            if clocks_are_wrong {
                bridge.env("LD_PRELOAD", wrong_clock.to_str().unwrap());
                bridge.env("WRONG_CLOCK", &WRONG_BY[replica % WRONG_BY.len()].to_string());
            }
            replicas.push(bridge);
        }
        Self {
            hooks: replicas.iter().map(Bridge::hook_url).collect(),
            ready: replicas.iter().map(|replica| format!("http://{}/readyz", replica.public)).collect(),
            replicas: replicas.into_iter().map(Mutex::new).collect(),
            postgres: Mutex::new(postgres),
            url,
            slack,
            telegram,
            tracker,
            clock,
            ended: Locked::default(),
            folder: Locked::new(Some(folder)),
        }
    }

    /// Starts every replica that does not run, as a service manager does.
    pub async fn supervise(self: Arc<Self>, quiet: CancellationToken) {
        let mut started = vec![false; self.replicas.len()];
        while !quiet.is_cancelled() {
            for (number, replica) in self.replicas.iter().enumerate() {
                // Who holds the lock kills or stops it just now, and starts it himself.
                let Ok(mut replica) = replica.try_lock() else { continue };
                if !replica.runs() {
                    if std::mem::replace(&mut started[number], true) {
                        let log = replica.log();
                        let last = log.lines().last().unwrap_or_default().to_owned();
                        self.ended.lock().unwrap().push((self.clock.now(), number, last));
                        tokio::time::sleep(START_AGAIN).await;
                    }
                    replica.launch();
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn until_ready(&self) {
        let client = Client::default();
        let all = async {
            for url in &self.ready {
                while !client.get(url).try_body("").await.is_ok_and(|answer| answer.status == 200) {
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        tokio::time::timeout(DRAINS_WITHIN, all).await.expect("the replicas become ready");
    }

    /// Ends all faults, and waits until nothing is pending; says what stayed.
    pub async fn drain(&self) -> Option<String> {
        self.slack.clear();
        self.telegram.clear();
        self.tracker.clear();
        self.slack.fault(poison());
        self.telegram.fault(poison());
        self.slack.come_up().await.unwrap();
        self.telegram.come_up().await.unwrap();
        let empty = async {
            // The leases of killed replicas end as well.
            while !store::is_at_rest(&self.url, self.replicas.len()).await {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(DRAINS_WITHIN, empty).await {
            Ok(()) => None,
            Err(_) => Some(format!("it never came to rest: {}", store::what_stays(&self.url).await)),
        }
    }

    /// Stops all replicas; says what is wrong with how they stopped.
    pub async fn stop_all(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate() {
            let mut replica = replica.lock().await;
            if !replica.runs() {
                wrong.push(format!("replica {number} does not run at the end"));
            } else {
                let end = replica.terminate().await;
                if !end.success() {
                    wrong.push(format!("replica {number} did not stop cleanly: {end}"));
                }
            }
            for line in replica.log().lines().filter(|line| line.contains("panicked")) {
                wrong.push(format!("replica {number}: {line}"));
            }
        }
        let leases = store::leases(&self.url).await;
        if leases > 0 {
            wrong.push(format!("{leases} leases are left after clean stops"));
        }
        wrong
    }

    /// Keeps the folder of the logs.
    pub fn keep(&self) -> PathBuf {
        self.folder.lock().unwrap().take().unwrap().keep()
    }
}

/// What messengers never take.
fn poison() -> Rule {
    let is_poison = |call: &Call| call.body["text"].as_str().and_then(lanes::number).is_some_and(lanes::is_poison);
    Fault::error("a_word_that_nobody_knows").always().when(is_poison)
}

/// What messengers do all the time.
fn rules(random: &mut fastrand::Rng) -> Vec<Rule> {
    let mut rules = vec![poison()];
    for (fault, probability) in [
        (Fault::LoseAnswer, 0.002),
        (Fault::ResetAfter, 0.001),
        (Fault::UnreadableAnswer, 0.001),
        (Fault::ResetBefore, 0.003),
        (Fault::Json500, 0.001),
        (Fault::bad_gateway(), 0.001),
        (Fault::rate_limited(1), 0.001),
        (Fault::Slow(Duration::from_millis(400)), 0.003),
    ] {
        rules.push(fault.chance(probability, random.u64(..)));
    }
    rules
}

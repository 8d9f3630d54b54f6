//! SIGKILL of the real binary under load. Afterwards the simulators' own record must show: nothing accepted is lost,
//! order kept in every lane, and a message twice only where a kill stood between its sending and its settle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{Fault, Record, SlackSimulator, TelegramSimulator, TrackerSimulator};
use tokio::task::JoinSet;

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, Setup, numbered};

const LANES: usize = 4;
const CALLERS: usize = 4;

/// Kills of one run of the usual suite; the longer runs are `CAMPANILE_KILLS=1000 tests/run.sh`.
fn kills() -> usize {
    std::env::var("CAMPANILE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_1() {
    Run::start(1).await.play(kills(), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_2() {
    Run::start(2).await.play(kills(), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_3() {
    Run::start(3).await.play(kills(), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_4() {
    Run::start(4).await.play(kills(), "").await;
}

/// The process kills itself between a messenger's answer and the settle: the one moment that makes a duplicate.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_an_answer_and_its_settle_make_at_most_one_duplicate_in_a_lane() {
    let run = Run::start(5).await;
    let duplicates = run.play(kills().div_ceil(2), "before-settle=3*off->return").await;
    assert!(duplicates > 0, "the fail point was never met");
}

#[cfg(not(feature = "failpoints"))]
#[test]
#[ignore = "needs `--features failpoints`; tests/run.sh runs it"]
fn kills_between_an_answer_and_its_settle_make_at_most_one_duplicate_in_a_lane() {}

/// A bridge whose events ask a Tracker and act on it, with both.
async fn tracking(routes: &str) -> (Bridge, SlackSimulator, TrackerSimulator, tempfile::TempDir) {
    let mut setup = Setup::on(Clock::machine()).with_tracker().routes(routes);
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let tracker = TrackerSimulator::start(LOOPBACK, setup.tracker.clone().unwrap()).await.unwrap();
    setup.source = "kind: tracker, secret: {env: HOOK}, enrich: true";
    setup.more = format!("tracker: {{url: '{}', token: {{env: TRACKER_TOKEN}}, org_id: '1'}}\n", tracker.api_url());
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), "http://127.0.0.1:9");
    bridge.start().await;
    (bridge, slack, tracker, folder)
}

async fn told(bridge: &Bridge, key: &str) {
    let call = Client::default().post(&bridge.hook_url()).header("authorization", format!("Bearer {HOOK_SECRET}"));
    let answer = call.json(&serde_json::json!({"event": "updated", "key": key})).await;
    assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &serde_json::Value::Null), "{}", answer.text);
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_to_be_routed_outlives_a_kill() {
    let (mut bridge, slack, tracker, _folder) = tracking("  - channels: [ops-slack]\n").await;
    tracker.fault(Fault::HangBefore.always().method("issue"));
    for key in ["TEST-1", "TEST-2"] {
        told(&bridge, key).await;
    }
    let asked = |record: &Record| record.arrivals().iter().filter(|arrival| arrival.method == "issue").count();
    tokio::time::timeout(PATIENCE, tracker.wait_for(|record| asked(record) > 1)).await.expect("it asks");
    bridge.kill();
    tracker.clear();
    tracker.release();
    bridge.start().await;
    tokio::time::timeout(PATIENCE, slack.wait_for_posts(2)).await.expect("they come");
    assert!(bridge.terminate().await.success());
    let texts: Vec<_> = slack.posted(crate::harness::SLACK).iter().map(|post| post.seen.text.clone()).collect();
    let said = |key: &str| texts.iter().filter(|text| text.contains(key)).count();
    assert_eq!((said("TEST-1"), said("TEST-2")), (1, 1), "{texts:?}");
}

/// Between what Tracker did and its receipt on disk: it is looked for before it is done again.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_before_the_receipt_leaves_one_comment_and_one_change() {
    let (mut bridge, _slack, tracker, _folder) =
        tracking("  - {name: act, issue: {transition: readyForTest, comment: Accepted}}\n").await;
    // After the transition, then after the comment.
    for stop in ["return", "1*off->return"] {
        bridge.kill();
        bridge.env("FAILPOINTS", &format!("before-settle={stop}"));
        if stop == "return" {
            bridge.start().await;
            told(&bridge, "TEST-1").await;
        } else {
            bridge.launch();
        }
        tokio::time::timeout(PATIENCE, bridge.wait_for_its_end()).await.expect("it ends at the fail point");
    }
    bridge.env("FAILPOINTS", "");
    bridge.start().await;
    let commented = |issue: &serde_json::Value| issue["status"]["key"] == "readyForTest";
    tokio::time::timeout(PATIENCE, tracker.wait_for_issue("TEST-1", commented)).await.expect("it moves");
    let ended = async {
        let pending = || bridge.database().query_row("select pending from ledger", [], |row| row.get::<_, i64>(0));
        while pending().unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("all ends");
    assert!(bridge.terminate().await.success());
    assert_eq!((tracker.comments("TEST-1"), tracker.requests("execute")), (vec!["Accepted".to_owned()], 1));
}

struct Run {
    slack: SlackSimulator,
    telegram: TelegramSimulator,
    bridge: Bridge,
    random: fastrand::Rng,
    _folder: tempfile::TempDir,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let mut setup = Setup::on(Clock::machine());
        setup.channels = (0..LANES)
            .map(|n| format!("  slack-{n}: {{slack: C000000000{n}}}\n  telegram-{n}: {{telegram: -100{n}}}\n"))
            .collect();
        setup.routes = (0..LANES)
            .map(|n| format!("  - {{when: 'body.n % {LANES} == {n}', channels: [slack-{n}, telegram-{n}]}}\n"))
            .collect();
        let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
        Self { slack, telegram, bridge, random: fastrand::Rng::with_seed(seed), _folder: folder }
    }

    /// Starts, loads and kills, again and again on one store; then lets it finish and looks at the record.
    async fn play(mut self, kills: usize, fail_points: &str) -> usize {
        let next = Arc::new(AtomicUsize::new(0));
        let answered: Arc<Mutex<HashMap<usize, i64>>> = Arc::default();
        let mut starts = Vec::new();
        for _ in 0..kills {
            starts.push(self.arrived());
            self.bridge.env("FAILPOINTS", fail_points);
            if !self.bridge.starts().await {
                assert!(!fail_points.is_empty(), "it ended: {}", self.bridge.log());
                continue; // what was pending met the fail point at once
            }
            let mut callers = JoinSet::new();
            for _ in 0..CALLERS {
                callers.spawn(call(self.bridge.hook_url(), next.clone(), answered.clone()));
            }
            if fail_points.is_empty() {
                // A moment that the load itself defines: after so many more messages, and a little more.
                let posts = self.slack.counts().posted + self.random.u64(0..30);
                let enough = tokio::time::timeout(Duration::from_secs(5), self.slack.wait_for_posts(posts));
                enough.await.expect("messages flow");
                for _ in 0..self.random.u32(0..200) {
                    tokio::task::yield_now().await;
                }
                self.bridge.kill();
            } else {
                self.bridge.wait_for_its_end().await;
            }
            while callers.join_next().await.is_some() {} // each ends when nobody listens
        }
        starts.push(self.arrived());
        self.bridge.env("FAILPOINTS", "");
        self.bridge.start().await;
        self.drain().await;
        assert!(self.bridge.terminate().await.success());
        self.verdict(&starts, &answered.lock().unwrap())
    }

    /// Waits until nothing is pending any more.
    async fn drain(&self) {
        let client = Client::default();
        let url = format!("http://{}/api/v1/deliveries?state=pending&limit=1", self.bridge.admin);
        for _ in 0..3_000 {
            let listed = client.get(&url).send().await.json();
            if listed["deliveries"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never drained: {}", self.bridge.log());
    }

    /// What arrived so far, by lane.
    fn arrived(&self) -> Vec<Vec<usize>> {
        let slack = |lane| self.slack.record(|record| numbers(record, &format!("C000000000{lane}")));
        let telegram = |lane| self.telegram.record(|record| numbers(record, &format!("-100{lane}")));
        (0..LANES).map(slack).chain((0..LANES).map(telegram)).collect()
    }

    /// `starts`: what had arrived before each start of the process. Gives the number of duplicates.
    fn verdict(&self, starts: &[Vec<Vec<usize>>], answered: &HashMap<usize, i64>) -> usize {
        let stored = self.stored();
        for (n, event) in answered {
            assert_eq!(stored.get(event), Some(n), "event {event} was answered 202 and is gone");
        }
        let marked = self.marked();
        let mut duplicates = 0;
        for (lane, arrived) in self.arrived().iter().enumerate() {
            let due: Vec<usize> = stored.values().copied().filter(|n| n % LANES == lane % LANES).collect();
            let mut once = HashSet::new();
            let again: Vec<usize> = (0..arrived.len()).filter(|at| !once.insert(arrived[*at])).collect();
            let firsts: Vec<usize> =
                (0..arrived.len()).filter(|at| !again.contains(at)).map(|at| arrived[at]).collect();
            assert_eq!(firsts, due, "lane {lane}: lost or out of order");
            // A duplicate is the first message after a start, and the last one before it, which may have been on its
            // way when the record was looked at.
            let begins: HashSet<usize> = starts.iter().map(|arrived| arrived[lane].len()).collect();
            for at in &again {
                let begins = begins.contains(at) || begins.contains(&(at - 1));
                assert!(begins, "lane {lane}: message {} came again without a kill", arrived[*at]);
                assert_eq!(arrived[*at], arrived[at - 1], "lane {lane}: an older message came again");
                assert!(marked.contains(&(lane, arrived[*at])), "lane {lane}: {} is not marked", arrived[*at]);
            }
            duplicates += again.len();
        }
        let database = self.bridge.database();
        let balance = "select received = routed + to_route + ignored + duplicate + unreadable
                          and planned = delivered + pending + dead + filtered + merged
                          and pending = (select count(*) from deliveries where state = 0)
                          and delivered = (select count(*) from deliveries where state = 1) from ledger";
        assert!(database.query_row(balance, [], |row| row.get::<_, bool>(0)).unwrap(), "the ledgers do not balance");
        println!("{} kills, {} events, {duplicates} duplicates", starts.len() - 1, stored.len());
        duplicates
    }

    /// The deliveries that the store says may have come twice: lane, number of the message.
    fn marked(&self) -> HashSet<(usize, usize)> {
        let database = self.bridge.database();
        let marked = "select c.name like 'telegram%', json_extract(e.document, '$.body.n')
                      from deliveries d join events e on e.id = d.event join channels c on c.id = d.channel
                      where d.unclear";
        let mut select = database.prepare(marked).unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)? as usize))).unwrap();
        let lane = |(telegram, n): (bool, usize)| (n % LANES + if telegram { LANES } else { 0 }, n);
        rows.map(|row| lane(row.unwrap())).collect()
    }

    /// The events in the store: id -> the number that its trigger carried.
    fn stored(&self) -> BTreeMap<i64, usize> {
        let database = self.bridge.database();
        let mut select = database.prepare("select id, json_extract(document, '$.body.n') from events").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// The numbers of the messages that stand in a conversation, in order.
fn numbers(record: &Record, conversation: &str) -> Vec<usize> {
    let number = |text: &str| text.split("message ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    record.posted(conversation).map(|post| number(&post.seen.text).expect("a numbered message")).collect()
}

/// Fires triggers, one after the other, until nobody listens.
async fn call(url: String, next: Arc<AtomicUsize>, answered: Arc<Mutex<HashMap<usize, i64>>>) {
    let client = Client::kept_alive();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let request = client.post(&url).header("authorization", HOOK_SECRET).header("content-type", "application/json");
        let Ok(answer) = request.try_body(numbered(n).to_string()).await else { return };
        if answer.status == 202 {
            answered.lock().unwrap().insert(n, answer.json()["event"].as_i64().unwrap());
        }
    }
}

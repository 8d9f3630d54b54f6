//! Calls that Tracker gave up are found in its webhook log.

mod calls;
mod door;
mod killed;
mod rounds;

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{Fault, TrackerIssue, TrackerQueue, TrackerUser};
use campanile::tracker::trigger::{Wanted, Watched};
use serde_json::{Value, json};

use self::door::{Behind, Door};
use crate::harness::postgres::Database;
use crate::harness::{HOOK_SECRET, Setup, TRACKER_TOKEN, World};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A bridge that is connected with Tracker's queue TEST, and the door between the two.
struct Connected {
    world: World,
    door: Door,
}

fn usual() -> Setup {
    Setup::default().with_tracker().only_slack()
}

/// As `connect` makes it.
fn trigger(watched: Watched, url: &str, secret: &str) -> Value {
    Wanted::of(watched, url, "tracker", &secret.to_owned().into()).json()
}

impl Connected {
    async fn new(setup: Setup) -> Self {
        let connected = Self::without_triggers(setup).await;
        for watched in Watched::ALL {
            connected.connect(trigger(watched, &connected.door.url, HOOK_SECRET));
        }
        connected
    }

    async fn without_triggers(setup: Setup) -> Self {
        let (door, mut world) = (Door::new().await, setup.start().await);
        let server = format!("server: {{public_url: '{}', ", door.url);
        world.restart_with(|text| text.replacen("server: {", &server, 1)).await;
        let connected = Self { world, door };
        connected.door.leads_to(Behind::Bridge(connected.bridge()));
        connected
    }

    fn connect(&self, trigger: Value) {
        self.world.tracker().make_trigger("TEST", &trigger).unwrap();
    }

    fn bridge(&self) -> std::net::SocketAddr {
        self.world.public_url("").trim_start_matches("http://").parse().unwrap()
    }

    async fn stop(&mut self) {
        self.door.leads_to(Behind::Nobody);
        self.world.stop_app().await;
    }

    async fn start(&mut self) {
        self.world.start_app().await;
        self.door.leads_to(Behind::Bridge(self.bridge()));
    }

    fn status(&self, to: &str) {
        self.world.tracker().change_status("TEST-1", to, "maria.petrova").unwrap();
    }

    fn comment(&self) {
        self.world.tracker().comment("TEST-1", "so", "ivan.ivanov").unwrap();
    }

    /// Moves the clock on until so many tries of calls have ended.
    async fn until_tried(&self, tries: usize) {
        self.until(|| self.world.tracker().log().len() >= tries).await;
    }

    async fn until_posted(&self, messages: u64) {
        self.until(|| self.world.slack.counts().posted >= messages).await;
    }

    async fn until(&self, mut wanted: impl FnMut() -> bool) {
        for _ in 0..20_000 {
            if wanted() {
                return;
            }
            self.world.clock.pass(SECOND);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("never came: {:#?}", self.world.tracker().log());
    }

    /// Moves the clock on until the log was looked through, from a moment from now on.
    async fn until_looked(&self) {
        let rounds = || self.world.tracker().requests("triggers");
        let before = rounds();
        self.until(|| rounds() >= before + 2).await;
    }

    async fn recovered(&self) -> f64 {
        self.world.figure("campanile_events_recovered_total{source=\"tracker\"}").await
    }

    /// Documents of the events, in the order of their acceptance.
    async fn events(&self) -> Vec<Value> {
        let listed = self.world.api("/api/v1/events?limit=1000").await;
        let mut events: Vec<Value> = listed["events"].as_array().unwrap().clone();
        events.reverse();
        let mut documents = Vec::new();
        for event in events {
            let shown = self.world.api(&format!("/api/v1/events/{}", event["id"])).await;
            documents.push(shown["event"]["document"].clone());
        }
        documents
    }
}

#[tokio::test]
async fn what_was_missed_while_the_bridge_was_down_comes_once_and_says_so() {
    let mut connected = Connected::new(usual()).await;
    connected.status("inProgress");
    connected.until_posted(1).await;
    connected.stop().await;
    connected.status("readyForTest");
    connected.comment();
    connected.until_tried(1 + 2 * 5).await;
    connected.world.clock.pass(3 * HOUR);

    connected.start().await;
    connected.until_posted(3).await;
    let texts = connected.world.slack_texts();
    assert!(!texts[0].contains("delayed") && texts[1..].iter().all(|text| text.contains("delayed 3 h")), "{texts:?}");
    let events = connected.events().await;
    let told: Vec<_> = events.iter().map(|it| (&it["event"]["kind"], &it["event"]["recovered"])).collect();
    let (changed, commented) = (json!("issue.status_changed"), json!("issue.comment_added"));
    let wanted = [(&changed, &json!(false)), (&changed, &json!(true)), (&commented, &json!(true))];
    assert_eq!(told, wanted);
    assert_eq!(connected.recovered().await, 2.0);

    connected.until_looked().await;
    connected.world.restart().await;
    connected.until_looked().await;
    assert_eq!(connected.world.slack.counts().posted, 3, "nothing comes twice");
    assert_eq!(connected.recovered().await, 0.0, "by the process that runs now");
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_not_missing() {
    let connected = Connected::new(usual()).await;
    connected.door.leads_to(Behind::Mute(connected.bridge()));
    connected.status("readyForTest");
    connected.until_tried(5).await;
    assert!(connected.world.tracker().log().iter().all(|entry| entry["response"].is_null()));
    connected.until_looked().await;
    connected.until_looked().await;
    assert_eq!((connected.world.slack.counts().posted, connected.recovered().await), (1, 0.0));
}

#[tokio::test]
async fn what_another_answered_is_missing_and_what_the_bridge_refused_is_not() {
    let connected = Connected::without_triggers(usual()).await;
    connected.connect(trigger(Watched::StatusChanged, &connected.door.url, HOOK_SECRET));
    connected.connect(trigger(Watched::CommentAdded, &connected.door.url, "of-yesterday"));
    connected.comment();
    connected.until_tried(1).await;
    connected.door.leads_to(Behind::Page(200));
    connected.status("inProgress");
    connected.until_tried(2).await;
    connected.door.leads_to(Behind::Page(429));
    connected.status("readyForTest");
    connected.until_tried(3).await;
    // So do some proxies answer while nobody is behind them.
    connected.door.leads_to(Behind::Page(404));
    connected.status("open");
    connected.until_tried(4).await;
    let log = connected.world.tracker().log();
    let answers: Vec<_> = log.iter().map(|entry| entry["response"]["statusCode"].as_u64().unwrap()).collect();
    assert_eq!(answers, [401, 200, 429, 404]);
    connected.until_posted(3).await;
    connected.until_looked().await;
    assert_eq!(connected.recovered().await, 3.0);
    assert!(connected.events().await.iter().all(|event| event["event"]["kind"] == "issue.status_changed"));
}

/// All that was accepted would seem to be missing.
#[tokio::test]
async fn with_another_clock_than_trackers_nothing_is_looked_for() {
    let earlier = Setup::on(Clock::held("2026-05-12T09:00:00Z".parse().unwrap())).with_tracker();
    let connected = Connected::new(Setup { tracker: earlier.tracker, ..usual() }).await;
    connected.status("readyForTest");
    connected.until_posted(1).await;
    let asked = connected.world.tracker().requests("myself");
    connected.until(|| connected.world.tracker().requests("myself") > asked + 2).await;
    assert_eq!((connected.world.tracker().requests("webhook_log"), connected.recovered().await), (0, 0.0));
}

#[tokio::test]
async fn hundreds_of_missed_calls_come_in_their_order() {
    const CALLS: usize = 300;
    let connected = Connected::new(usual()).await;
    connected.door.leads_to(Behind::Page(503));
    for n in 1..=CALLS {
        connected.status(if n % 2 == 0 { "open" } else { "inProgress" });
        connected.world.tracker().wait_for_sent(n, 0).await;
        connected.world.clock.pass(SECOND);
    }
    connected.until_posted(CALLS as u64).await;
    connected.until_looked().await;
    let events = connected.events().await;
    let times: Vec<&str> = events.iter().map(|event| event["event"]["at"].as_str().unwrap()).collect();
    assert_eq!(times.len(), CALLS);
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    assert_eq!(connected.recovered().await, CALLS as f64);
}

#[tokio::test]
async fn a_token_without_the_right_is_told_of_and_asked_again_hourly() {
    let setup = usual();
    let robot = TrackerUser::new("campanile-bot", "Робот", "Кампанилы").without_rights();
    let tracker = setup.tracker.clone().map(|tracker| tracker.user(robot));
    let connected = Connected::new(Setup { tracker, ..setup }).await;
    let asked = || connected.world.tracker().requests("triggers");
    connected.until(|| asked() == 1).await;
    connected.world.until_figure("campanile_recovery_refused{queue=\"TEST\"}", 1.0, SECOND).await;
    connected.world.clock.pass(HOUR / 2);
    for _ in 0..20 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(asked(), 1, "once in an hour");
    connected.until(|| asked() == 2).await;
    assert_eq!(connected.world.tracker().requests("webhook_log"), 0);
}

#[tokio::test]
async fn calls_of_others_are_not_taken() {
    let connected = Connected::without_triggers(usual()).await;
    // Of another bridge, by its address; and a person's own, by its name.
    connected.connect(trigger(Watched::StatusChanged, "http://127.0.0.1:9", HOOK_SECRET));
    let mut own = trigger(Watched::StatusChanged, &connected.door.url, HOOK_SECRET);
    own["name"] = json!("Ready for a test");
    connected.connect(own);
    connected.door.leads_to(Behind::Page(503));
    connected.status("readyForTest");
    connected.until_tried(6).await;
    connected.until_looked().await;
    connected.until_looked().await;
    assert_eq!((connected.world.tracker().requests("webhook_log"), connected.recovered().await), (0, 0.0));
}

#[tokio::test]
async fn what_the_log_may_not_tell_as_it_was_is_left_alone() {
    let connected = Connected::without_triggers(usual()).await;
    let ours = |watched| trigger(watched, &connected.door.url, HOOK_SECRET);
    let (mut cut, mut named) = (ours(Watched::StatusChanged), ours(Watched::CommentAdded));
    cut["actions"][0]["body"] =
        json!("{\"event\": \"status_changed\", \"key\": \"{{issue.key}}\", \"summary\": \"Summ");
    named["actions"][0]["headers"]["Idempotency-Key"] = json!("{{issue.key}}");
    [cut, named, ours(Watched::Created)].into_iter().for_each(|trigger| connected.connect(trigger));
    connected.door.leads_to(Behind::Page(503));
    connected.status("readyForTest");
    connected.comment();
    connected.until_tried(2).await;
    // The log has other words than those that came in.
    connected.door.leads_to(Behind::Page(202));
    connected.world.accepted(&json!({"key": "TEST-7", "event": "created"})).await;
    connected.world.tracker().create(TrackerIssue::new("TEST-7", "so")).unwrap();
    connected.until_tried(3).await;
    connected.until_looked().await;
    connected.until_looked().await;
    assert_eq!((connected.recovered().await, connected.events().await.len()), (0.0, 1));
}

#[tokio::test]
async fn what_is_older_than_three_days_or_the_store_is_left_alone() {
    let mut connected = Connected::new(usual()).await;
    connected.stop().await;
    connected.door.leads_to(Behind::Page(503));
    connected.status("inProgress");
    connected.until_tried(1).await;
    connected.world.clock.pass(73 * HOUR);
    connected.status("readyForTest");
    connected.until_tried(2).await;
    connected.start().await;
    connected.until_posted(1).await;
    connected.until_looked().await;
    assert_eq!(connected.recovered().await, 1.0, "three days are the most");

    connected.stop().await;
    connected.door.leads_to(Behind::Page(503));
    connected.status("open");
    connected.until_tried(3).await;
    std::fs::remove_dir_all(connected.world.folder.path().join("data")).unwrap();
    connected.world.clock.pass(HOUR);
    connected.start().await;
    connected.until_looked().await;
    assert_eq!(connected.recovered().await, 0.0, "another store may have been told of it");
}

/// Its page of the log is longer than any answer that is read.
#[tokio::test]
async fn long_bodies_are_read_in_shorter_stretches() {
    const CALLS: usize = 40;
    let setup = usual().routes("  - {when: 'issue.key == \"TEST-1\"', channels: [ops-slack]}\n");
    let long = TrackerIssue::new("TEST-9", "x".repeat(60_000));
    let tracker = setup.tracker.clone().map(|tracker| tracker.issue(long));
    let connected = Connected::new(Setup { tracker, ..setup }).await;
    connected.door.leads_to(Behind::Page(503));
    for n in 1..=CALLS {
        connected.world.tracker().comment("TEST-9", "so", "ivan.ivanov").unwrap();
        connected.until_tried(n).await;
        connected.world.clock.pass(SECOND);
    }
    connected.world.until_figure("campanile_received", CALLS as f64, SECOND).await;
    connected.until_looked().await;
    assert_eq!(connected.recovered().await, CALLS as f64);
}

#[tokio::test]
async fn what_a_full_store_refuses_comes_with_a_later_round() {
    let connected = Connected::new(Setup { more: "max_pending: 2\n".into(), ..usual() }).await;
    connected.world.slack.fault(Fault::HangBefore.always());
    connected.door.leads_to(Behind::Page(503));
    for n in 1..=5 {
        connected.comment();
        connected.until_tried(n).await;
        connected.world.clock.pass(SECOND);
    }
    connected.world.until_figure("campanile_received", 2.0, SECOND).await;
    connected.until_looked().await;
    assert_eq!(connected.recovered().await, 2.0);
    connected.world.slack.clear();
    connected.world.slack.release();
    connected.until_posted(5).await;
    connected.until_looked().await;
    assert_eq!((connected.recovered().await, connected.world.slack.counts().posted), (5.0, 5));
}

#[tokio::test]
async fn what_the_bridge_itself_did_is_no_others_when_it_comes_late() {
    let mut connected = Connected::new(usual()).await;
    connected.stop().await;
    connected.world.tracker().change_status("TEST-1", "readyForTest", "campanile-bot").unwrap();
    connected.until_tried(5).await;
    connected.world.clock.pass(HOUR);
    connected.world.tracker().fault(Fault::ResetBefore.always().method("myself"));
    connected.start().await;
    for _ in 0..60 {
        connected.world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(connected.recovered().await, 0.0, "who did it cannot be known yet");
    connected.world.tracker().clear();
    let rows = connected.world.until_deliveries(|rows| !rows.is_empty()).await;
    assert_eq!((rows.len(), &rows[0]["state"]), (1, &json!("filtered")));
    assert_eq!((connected.recovered().await, connected.world.slack.counts().posted), (1.0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_takes_a_missed_call() {
    let database = Database::new().await;
    let setup = Setup { store: database.url.clone(), ..usual() };
    let connected = Connected::new(setup).await;
    let other = connected.world.another_app().await;
    connected.world.until_figure("campanile_replicas", 2.0, SECOND).await;
    for n in 0..3 {
        connected.door.leads_to(Behind::Page(503));
        connected.status("readyForTest");
        connected.comment();
        connected.until_tried(3 * n + 2).await;
        connected.world.clock.pass(SECOND); // or the next call would have the same body
        connected.door.leads_to(Behind::Bridge(connected.bridge()));
        connected.status("open"); // accepted by one, and looked for by both
        connected.until_tried(3 * n + 3).await;
        connected.world.clock.pass(SECOND);
    }
    connected.until_posted(9).await;
    for _ in 0..2 {
        connected.until_looked().await; // two replicas ask, so that it may be one round
        connected.until_looked().await;
    }
    assert_eq!(connected.world.slack.counts().posted, 9);
    assert_eq!(connected.events().await.len(), 9);
    drop(other);
}

/// The token is one that a test may show.
#[tokio::test]
async fn without_an_address_of_its_own_a_bridge_asks_for_no_log() {
    let world = usual().start().await;
    assert_eq!(world.secrets["TRACKER_TOKEN"], TRACKER_TOKEN);
    world.clock.pass(HOUR);
    for _ in 0..20 {
        world.clock.pass(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.tracker().requests("triggers"), 0);
}

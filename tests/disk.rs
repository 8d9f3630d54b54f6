//! A disk that is full, broken or read-only stops intake, not the truth, and heals without a restart.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{SlackSimulator, TelegramSimulator};

use crate::harness::child::{Bridge, preloaded};
use crate::harness::{Answer, Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, TELEGRAM, numbered};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

struct Machine {
    slack: SlackSimulator,
    telegram: TelegramSimulator,
    bridge: Bridge,
    client: Client,
    order: PathBuf,
    folder: tempfile::TempDir,
}

impl Machine {
    async fn start(more: &str) -> Self {
        let setup = Setup { more: more.into(), ..Setup::on(Clock::machine()) };
        let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let order = folder.path().join("disk-order");
        let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
        bridge.env("LD_PRELOAD", preloaded("faulty_disk", folder.path()).to_str().unwrap());
        bridge.env("FAULTY_DISK", order.to_str().unwrap());
        bridge.start().await;
        Self { slack, telegram, bridge, client: Client::default(), order, folder }
    }

    fn disk_fails(&self, errno: i32) {
        std::fs::write(&self.order, errno.to_string()).unwrap();
    }

    fn disk_works(&self) {
        std::fs::remove_file(&self.order).unwrap();
    }

    async fn trigger(&self, n: usize) -> Answer {
        self.client.post(&self.bridge.hook_url()).header("authorization", HOOK_SECRET).json(&numbered(n)).await
    }

    async fn ready(&self) -> u16 {
        self.client.get(&format!("http://{}/readyz", self.bridge.public)).send().await.status
    }

    async fn until_ready_is(&self, status: u16) {
        for _ in 0..2_000 {
            if self.ready().await == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("/readyz never became {status}: {}", self.bridge.log());
    }

    fn arrived(&self) -> (Vec<String>, Vec<String>) {
        let texts = |record: &campanile::simulator::Record, conversation: &str| {
            record.posted(conversation).map(|post| post.seen.text.clone()).collect()
        };
        (self.slack.record(|record| texts(record, SLACK)), self.telegram.record(|record| texts(record, TELEGRAM)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_intake_and_sending_until_it_is_mended() {
    stops_and_heals(ENOSPC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_stops_intake_and_sending_until_it_is_mended() {
    stops_and_heals(EIO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_stops_intake_and_sending_until_it_is_mended() {
    stops_and_heals(EROFS).await;
}

async fn stops_and_heals(errno: i32) {
    let machine = Machine::start("").await;
    machine.slack.go_down().await;
    machine.telegram.go_down().await;
    for n in 0..20 {
        assert_eq!(machine.trigger(n).await.status, 202);
    }
    machine.disk_fails(errno);
    assert_eq!(machine.trigger(20).await.status, 500, "not stored, not taken");
    machine.until_ready_is(503).await;
    machine.slack.come_up().await.unwrap();
    machine.telegram.come_up().await.unwrap();
    // The messengers answer again, but what they would take could not be settled: no lane sends.
    assert_eq!(machine.trigger(20).await.status, 500);
    assert_eq!(machine.arrived(), (Vec::new(), Vec::new()));

    machine.disk_works();
    machine.until_ready_is(200).await;
    assert_eq!(machine.trigger(20).await.status, 202, "it is no duplicate: it was never taken");
    machine.slack.wait_for_posts(21).await;
    machine.telegram.wait_for_posts(21).await;
    let (slack, telegram) = machine.arrived();
    for (n, text) in slack.iter().enumerate().chain(telegram.iter().enumerate()) {
        assert!(text.contains(&format!("message {n}")), "{n}: {text}");
    }
    assert_eq!((slack.len(), telegram.len()), (21, 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settle_that_cannot_be_written_stops_every_lane_after_its_message() {
    let machine = Machine::start("").await;
    // Both messages are with their messengers when the disk breaks.
    machine.slack.fault(campanile::simulator::Fault::HangBefore.once());
    machine.telegram.fault(campanile::simulator::Fault::HangBefore.once());
    for n in 0..5 {
        assert_eq!(machine.trigger(n).await.status, 202);
    }
    machine.slack.wait_for_calls(1).await;
    machine.telegram.wait_for_calls(1).await;
    machine.disk_fails(ENOSPC);
    machine.slack.release();
    machine.telegram.release();
    machine.slack.wait_for_posts(1).await;
    machine.telegram.wait_for_posts(1).await;
    machine.until_ready_is(503).await;
    assert_eq!((machine.slack.counts().calls, machine.telegram.counts().calls), (1, 1));
    machine.disk_works();
    machine.slack.wait_for_posts(5).await;
    machine.telegram.wait_for_posts(5).await;
    let (slack, telegram) = machine.arrived();
    assert_eq!((slack.len(), telegram.len()), (5, 5), "and nothing twice: the end of the first was kept in memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_reserve_nothing_is_accepted_and_everything_is_still_delivered() {
    let mut machine = Machine::start("").await;
    machine.slack.go_down().await;
    machine.telegram.go_down().await;
    for n in 0..3 {
        assert_eq!(machine.trigger(n).await.status, 202);
    }
    machine.bridge.kill();
    let path = machine.folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    // More than any disk has: the other side of the limit is every other test.
    std::fs::write(&path, text.replace("store_reserve_mb: 1\n", "store_reserve_mb: 1000000000\n")).unwrap();
    machine.slack.come_up().await.unwrap();
    machine.telegram.come_up().await.unwrap();
    machine.bridge.start().await;
    assert_eq!(machine.trigger(3).await.status, 500);
    machine.slack.wait_for_posts(3).await;
    machine.telegram.wait_for_posts(3).await;
    assert!(machine.bridge.log().contains("reserve"), "{}", machine.bridge.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_last_write_costs_nothing_that_was_answered() {
    let mut machine = Machine::start("").await;
    machine.slack.go_down().await;
    machine.telegram.go_down().await;
    for n in 0..10 {
        assert_eq!(machine.trigger(n).await.status, 202);
    }
    machine.bridge.kill();
    let log = machine.folder.path().join("data/campanile.db-wal");
    let mut log = std::fs::File::options().append(true).open(log).unwrap();
    log.write_all(&[0xA5; 2_500]).unwrap();
    machine.slack.come_up().await.unwrap();
    machine.telegram.come_up().await.unwrap();
    machine.bridge.start().await;
    machine.slack.wait_for_posts(10).await;
    machine.telegram.wait_for_posts(10).await;
}

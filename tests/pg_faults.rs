//! What becomes of calls and messages when PostgreSQL or a replica on it fails: real processes, a real server.

mod clocks;
mod failover;
mod pauses;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{SlackOptions, SlackSimulator, TelegramSimulator};
use serde_json::Value;

use crate::harness::child::Bridge;
use crate::harness::postgres::{Database, connect};
use crate::harness::server::{Server, Stop};
use crate::harness::{Answer, Client, HOOK_SECRET, LOOPBACK, Setup, numbered, numbered_to};

const PATIENCE: Duration = Duration::from_secs(40);
const LANES: usize = 6;
const CUT: &str = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'campanile'";

/// Replicas on one database, with a lane for each Slack channel.
struct Fleet {
    replicas: Vec<Bridge>,
    slack: SlackSimulator,
    _telegram: TelegramSimulator,
    database: Database,
    client: Client,
    _folders: Vec<tempfile::TempDir>,
}

impl Fleet {
    /// `change`: what is special about a replica before it starts.
    async fn start(database: Database, replicas: usize, change: impl FnMut(usize, &mut Bridge)) -> Self {
        Self::start_as(Setup::on(Clock::machine()), database, replicas, change).await
    }

    async fn start_as(
        setup: Setup,
        database: Database,
        replicas: usize,
        mut change: impl FnMut(usize, &mut Bridge),
    ) -> Self {
        let clock = setup.clock.clone();
        let tokens = (0..replicas).map(token);
        let options = tokens.fold(SlackOptions::new(clock.clone()).without_pace(), SlackOptions::token);
        let slack = SlackSimulator::start(LOOPBACK, options).await.unwrap();
        let setup = setup.channels(LANES, |n| format!("slack: C0000{n}"));
        let setup = Setup { store: database.url.clone(), ..setup };
        let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
        let (mut bridges, mut folders) = (Vec::new(), Vec::new());
        for replica in 0..replicas {
            let folder = tempfile::tempdir().unwrap();
            let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
            bridge.env("SLACK_TOKEN", &token(replica));
            change(replica, &mut bridge);
            bridge.start().await;
            bridges.push(bridge);
            folders.push(folder);
        }
        let client = Client::default();
        Self { replicas: bridges, slack, _telegram: telegram, database, client, _folders: folders }
    }

    async fn trigger(&self, replica: usize, body: &Value) -> Answer {
        self.client.post(&self.replicas[replica].hook_url()).header("authorization", HOOK_SECRET).json(body).await
    }

    /// Fires these, one after the other, at each replica in turn, and each until it is taken.
    async fn taken(&self, numbers: std::ops::Range<usize>) {
        for n in numbers {
            let body = numbered_to(n % LANES, n);
            let mut at = n;
            until("the call is taken", async || {
                at += 1;
                matches!(self.trigger(at % self.replicas.len(), &body).await.status, 200 | 202)
            })
            .await;
        }
    }

    async fn until_ready_is(&self, replica: usize, status: u16) {
        let url = format!("http://{}/readyz", self.replicas[replica].public);
        until("ready", async || self.client.get(&url).send().await.status == status).await;
    }

    async fn until_posted(&self, messages: usize) {
        let posted = tokio::time::timeout(PATIENCE, self.slack.wait_for_posts(messages as u64)).await;
        assert!(posted.is_ok(), "{:?} of {messages}", self.slack.counts());
    }

    /// The numbers that came, by lane.
    fn came(&self) -> Vec<Vec<usize>> {
        (0..LANES).map(|n| crate::harness::numbers(&self.slack.posted(&format!("C0000{n}")))).collect()
    }

    /// Each of the first so many messages came once, and in order.
    async fn all_came_once(&self, messages: usize) {
        self.until_posted(messages).await;
        self.at_rest().await;
        for (lane, came) in self.came().into_iter().enumerate() {
            assert_eq!(came, (lane..messages).step_by(LANES).collect::<Vec<_>>());
        }
    }

    /// Nothing is pending, and the sums are those of the rows.
    async fn at_rest(&self) {
        let db = connect(&self.database.url).await;
        let pending = "select count(*) from deliveries where state = 0";
        until("nothing is pending", async || db.query_one(pending, &[]).await.unwrap().get::<_, i64>(0) == 0).await;
        let balance = "select sum(received) = sum(routed) + sum(duplicate) and sum(planned) = sum(delivered)
            and sum(routed) = (select count(*) from events) and sum(planned) = (select count(*) from deliveries)
            from ledger";
        assert!(db.query_one(balance, &[]).await.unwrap().get::<_, bool>(0), "the ledger does not balance");
    }

    /// Calls that came to Slack, by the replica that made them.
    fn calls(&self) -> HashMap<usize, usize> {
        let mut calls = HashMap::new();
        for arrival in self.slack.arrivals() {
            let by = (0..self.replicas.len()).find(|replica| arrival.token == Some(token(*replica)));
            *calls.entry(by.unwrap()).or_default() += 1;
        }
        calls
    }
}

fn token(replica: usize) -> String {
    format!("xoxb-replica-{replica}")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "it never came: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_or_crashes_costs_its_callers_an_answer_and_nothing_else() {
    let mut server = Server::start(&["fsync=on"]);
    let fleet = Fleet::start(Database::on(&server.url()).await, 2, |_, _| {}).await;
    let mut messages = 0;
    for how in [Stop::Fast, Stop::Immediate] {
        fleet.taken(messages..messages + 20).await; // and what is on its way meets the stop
        server.stop(how);
        for replica in 0..2 {
            assert_eq!(fleet.trigger(replica, &numbered(messages + 20)).await.status, 500);
            fleet.until_ready_is(replica, 503).await;
        }
        server.launch();
        messages += 40;
        fleet.taken(messages - 20..messages).await;
        for replica in 0..2 {
            fleet.until_ready_is(replica, 200).await;
        }
    }
    fleet.all_came_once(messages).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_cost_nothing() {
    let fleet = Fleet::start(Database::new().await, 2, |_, _| {}).await;
    let db = connect(&fleet.database.url).await;
    let cut = async {
        loop {
            db.query(&format!("{CUT} and datname = current_database() and random() < 0.4"), &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        () = fleet.taken(0..200) => {}
        () = cut => {}
    }
    fleet.all_came_once(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_read_only_stops_intake_and_sending_until_it_is_not() {
    let fleet = Fleet::start(Database::new().await, 1, |_, _| {}).await;
    fleet.taken(0..6).await;
    let db = connect(&fleet.database.url).await;
    let name: String = db.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let cut = format!("{CUT} and datname = current_database()");
    db.batch_execute(&format!("alter database {name} set default_transaction_read_only = on")).await.unwrap();
    db.query(&cut, &[]).await.unwrap();
    fleet.until_ready_is(0, 503).await;
    assert_eq!(fleet.trigger(0, &numbered_to(0, 6)).await.status, 500);
    // The sessions that there are now stay as they are, as those of a primary that became a standby and is one again.
    let back =
        format!("set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only");
    db.batch_execute(&back).await.unwrap();
    fleet.until_ready_is(0, 200).await;
    fleet.taken(6..12).await;
    fleet.all_came_once(12).await;
}

/// A disk of its own for the server: only root may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m,mode=0777", "campanile-test"]).arg(folder);
        mount.output().is_ok_and(|end| end.status.success()).then(|| Self(folder.to_owned()))
    }

    /// Leaves no room.
    fn fill(&self) {
        let room = rustix::fs::statvfs(&self.0).unwrap();
        let ballast = vec![0; (room.f_bavail * room.f_bsize) as usize];
        let _ = std::fs::write(self.0.join("ballast"), ballast); // as much as went in
    }

    fn mend(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_room_stops_intake_until_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: only root may mount a small disk for PostgreSQL");
        return;
    };
    let data = folder.path().join("server");
    std::fs::create_dir(&data).unwrap();
    let mut server = Server::within(data, &["fsync=off", "max_wal_size=32MB"]);
    let fleet = Fleet::start(Database::on(&server.url()).await, 1, |_, _| {}).await;
    fleet.taken(0..6).await;
    disk.fill();
    let mut refused = 0;
    // Each event is large enough to need room soon.
    until("a call is refused", async || {
        let mut body = numbered_to(0, 6);
        body["more"] = Value::String("x".repeat(500_000));
        body["delivery_id"] = refused.into();
        refused += 1;
        fleet.trigger(0, &body).await.status == 500
    })
    .await;
    disk.mend();
    if !server.runs() {
        server.launch(); // it gives up where its log has no room
    }
    fleet.until_ready_is(0, 200).await;
    fleet.taken(6 + 6..6 + 18).await;
    fleet.at_rest().await;
    drop(fleet);
    drop(server);
}

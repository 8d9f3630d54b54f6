//! `campanile serve`, the release binary in processes of its own, and what can be read of them from outside.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::{Done, Load, Most};
use crate::messengers::{LOOPBACK, Messengers};
use crate::store::{OnServer, Store};
use crate::syncs;

/// Kinds of triggers, and conversations at each messenger unless a row asks for more.
pub const LANES: u32 = 32;
pub const SECRET: &str = "hook-s3cret";
/// So many of a load's connections are open at once.
pub const CONNECTIONS: u32 = 64;

/// One replica, or several on one outbox.
pub struct Bridge {
    folder: TempDir,
    replicas: Vec<Replica>,
    /// Where the outbox is, unless in a file of the folder.
    pub database: Option<OnServer>,
}

struct Replica {
    name: String,
    public: SocketAddr,
    admin: SocketAddr,
    process: Option<Child>,
}

#[derive(Clone, Copy)]
pub struct Setup {
    pub store: Store,
    pub replicas: u32,
    /// Conversations at each messenger.
    pub lanes: u32,
}

impl Setup {
    pub fn of(store: Store) -> Self {
        Self { store, replicas: 1, lanes: LANES }
    }
}

/// What the replicas have used up so far, and PostgreSQL's server.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub commits: f64,
    pub statements: f64,
    /// Waits until the disk has it.
    pub syncs: f64,
    /// Handed to write calls: the store's and the sockets'.
    pub bytes_written: f64,
    /// Of these, what went to the disk.
    pub bytes_to_disk: f64,
    /// Of these, PostgreSQL's write-ahead log.
    pub bytes_of_wal: f64,
    pub cpu_seconds: f64,
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            statements: self.statements - before.statements,
            syncs: self.syncs - before.syncs,
            bytes_written: self.bytes_written - before.bytes_written,
            bytes_to_disk: self.bytes_to_disk - before.bytes_to_disk,
            bytes_of_wal: self.bytes_of_wal - before.bytes_of_wal,
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
        }
    }
}

/// Memory in MB.
pub struct Memory {
    pub now: f64,
    pub highest: f64,
}

impl Bridge {
    /// Runs on an empty store when this returns.
    pub fn start(messengers: &Messengers, setup: Setup) -> Self {
        let free_port = || TcpListener::bind(LOOPBACK).and_then(|port| port.local_addr()).expect("a free port");
        let folder = tempfile::tempdir().expect("a folder");
        let database = (setup.store == Store::Postgres).then(OnServer::new);
        let url = database.as_ref().map_or("sqlite://campanile.db", OnServer::url);
        let replicas = (0..setup.replicas).map(|number| {
            let name = format!("replica{number}");
            let (public, admin) = (free_port(), free_port());
            let text = config(public, admin, url, setup.lanes, messengers);
            std::fs::write(folder.path().join(&name).with_extension("yaml"), text).expect("a file");
            Replica { name, public, admin, process: None }
        });
        let replicas = replicas.collect();
        let mut bridge = Self { folder, replicas, database };
        bridge.run();
        bridge
    }

    /// Starts the processes; returns when they are ready.
    pub fn run(&mut self) {
        for replica in &mut self.replicas {
            replica.run(self.folder.path());
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.replicas.iter_mut().for_each(Replica::kill);
    }

    /// Its connections are spread over the replicas.
    pub fn load(&self, most: Most, pace: Option<f64>) -> Load {
        let to = self.replicas.iter().map(|replica| replica.public).collect();
        Load { to, connections: CONNECTIONS, most, pace }
    }

    /// Sends triggers until so many deliveries are pending, while the messengers are down.
    pub fn fill(&self, pending: u32) -> Done {
        let missing = (f64::from(pending) - self.figure("campanile_ledger_planned{part=\"pending\"}")).max(0.0);
        let done = self.load(Most::Triggers((missing / 2.0).ceil() as u32), None).run();
        assert_eq!(done.refused, 0, "triggers were refused");
        done
    }

    /// Lets the store do what it would do later with what was just written in bulk: beside it nothing is to be measured.
    pub fn tidy(&self) {
        if let Some(database) = &self.database {
            database.tidy();
        }
    }

    /// As the first replica sees it.
    pub fn figure(&self, name: &str) -> f64 {
        self.replicas[0].figure(name)
    }

    pub fn cost(&self) -> Cost {
        let used = self.database.as_ref().map(OnServer::used).unwrap_or_default();
        let mut cost = Cost { syncs: syncs::count() as f64, bytes_of_wal: used.wal_bytes, ..Cost::default() };
        for replica in &self.replicas {
            cost.commits += replica.figure("campanile_outbox_commits");
            cost.statements += replica.figure("campanile_outbox_statements");
        }
        for process in self.replicas.iter().map(Replica::process).chain(used.processes) {
            let (io, stat) = (proc(process, "io"), proc(process, "stat"));
            let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
            // A connection may have ended meanwhile, such as the one that asked for the list.
            if io.is_empty() || stat.is_empty() {
                continue;
            }
            cost.bytes_written += number_after(&io, "wchar:");
            cost.bytes_to_disk += number_after(&io, "write_bytes:");
            cost.cpu_seconds += ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0;
        }
        cost
    }

    pub fn memory(&self) -> Memory {
        let status = proc(self.replicas[0].process(), "status");
        let mb = |name: &str| number_after(&status, name) / 1_024.0;
        Memory { now: mb("VmRSS:"), highest: mb("VmHWM:") }
    }
}

impl Replica {
    fn run(&mut self, folder: &Path) {
        let log = folder.join(&self.name).with_extension("log");
        let process = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .arg("serve")
            .arg("--config")
            .arg(folder.join(&self.name).with_extension("yaml"))
            .env_clear()
            .envs([("HOOK", SECRET), ("SLACK_TOKEN", "xoxb-bench"), ("TELEGRAM_TOKEN", "123456:bench")])
            .envs(syncs::counted())
            .env("CAMPANILE_LOG", "warn") // a line for each message would measure the log
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().append(true).create(true).open(&log).expect("a log"))
            .spawn();
        self.process = Some(process.expect("the binary"));
        let begun = Instant::now();
        while get(self.public, "/readyz").is_none() {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready: {}", log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn figure(&self, name: &str) -> f64 {
        let page = get(self.admin, "/metrics").expect("metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no figure `{name}`"))
    }

    fn process(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
        for replica in &self.replicas {
            let log = self.folder.path().join(&replica.name).with_extension("log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let told = log.lines().filter(|line| line.contains("ERROR") || line.contains("panic"));
            told.take(3).for_each(|line| eprintln!("the server said: {line}"));
        }
    }
}

fn proc(process: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

fn number_after(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// The body of a 200.
fn get(from: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(from).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {from}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// A route for each kind of triggers, which is found among 32, on average after 16 conditions; the lanes are dealt out to
/// them.
fn config(public: SocketAddr, admin: SocketAddr, store: &str, lanes: u32, messengers: &Messengers) -> String {
    let (mut channels, mut routes) = (String::new(), String::new());
    for lane in 0..lanes {
        let _ = writeln!(channels, "  s{lane:02}: {{slack: C012345{lane:04}}}");
        let _ = writeln!(channels, "  t{lane:02}: {{telegram: -100123456{lane:04}}}");
    }
    for kind in 0..LANES {
        let led: Vec<String> =
            (kind..lanes).step_by(LANES as usize).map(|lane| format!("s{lane:02}, t{lane:02}")).collect();
        let _ = writeln!(
            routes,
            "  - {{name: l{kind:02}, when: 'body.lane == \"l{kind:02}\"', channels: [{}]}}",
            led.join(", ")
        );
    }
    format!(
        "server: {{listen: '{public}', admin: '{admin}'}}\n\
         store: '{store}'\n\
         slack: {{token: {{env: SLACK_TOKEN}}, api_url: '{}', pace: none}}\n\
         telegram: {{token: {{env: TELEGRAM_TOKEN}}, api_url: '{}', pace: none}}\n\
         sources:\n  tracker: {{kind: tracker, secret: {{env: HOOK}}}}\n\
         channels:\n{channels}routes:\n{routes}",
        messengers.slack, messengers.telegram
    )
}

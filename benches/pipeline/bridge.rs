//! `campanile serve`, the release binary in its own process, and what can be read of it from outside.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::{Done, Load, Most};
use crate::messengers::{LOOPBACK, Messengers};

/// Conversations at each messenger.
pub const LANES: u32 = 32;
pub const SECRET: &str = "hook-s3cret";
/// So many of a load's connections are open at once.
pub const CONNECTIONS: u32 = 64;

pub struct Bridge {
    folder: TempDir,
    pub public: SocketAddr,
    admin: SocketAddr,
    process: Option<Child>,
}

/// What the server has used up so far.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub commits: f64,
    pub statements: f64,
    /// Handed to write calls: the store's and the sockets'.
    pub bytes_written: f64,
    /// Of these, what went to the disk.
    pub bytes_to_disk: f64,
    pub cpu_seconds: f64,
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            statements: self.statements - before.statements,
            bytes_written: self.bytes_written - before.bytes_written,
            bytes_to_disk: self.bytes_to_disk - before.bytes_to_disk,
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
    pub fn start(messengers: &Messengers) -> Self {
        let free_port = || TcpListener::bind(LOOPBACK).and_then(|port| port.local_addr()).expect("a free port");
        let (public, admin) = (free_port(), free_port());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.yaml"), config(public, admin, messengers)).expect("a file");
        let mut bridge = Self { folder, public, admin, process: None };
        bridge.run();
        bridge
    }

    /// Starts the process; returns when it is ready.
    pub fn run(&mut self) {
        let log = std::fs::File::options().append(true).create(true).open(self.folder.path().join("log"));
        let process = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .arg("serve")
            .arg("--config")
            .arg(self.folder.path().join("config.yaml"))
            .env_clear()
            .envs([("HOOK", SECRET), ("SLACK_TOKEN", "xoxb-bench"), ("TELEGRAM_TOKEN", "123456:bench")])
            .env("CAMPANILE_LOG", "warn") // a line for each message would measure the log
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        self.process = Some(process.expect("the binary"));
        let begun = Instant::now();
        while get(self.public, "/readyz").is_none() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready: {}", log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn load(&self, most: Most, pace: Option<f64>) -> Load {
        Load { to: self.public, connections: CONNECTIONS, most, pace }
    }

    /// Sends triggers until so many deliveries are pending, while the messengers are down.
    pub fn fill(&self, pending: u32) -> Done {
        let missing = (f64::from(pending) - self.figure("campanile_ledger_planned{part=\"pending\"}")).max(0.0);
        let done = self.load(Most::Triggers((missing / 2.0).ceil() as u32), None).run();
        assert_eq!(done.refused, 0, "triggers were refused");
        done
    }

    pub fn figure(&self, name: &str) -> f64 {
        let page = get(self.admin, "/metrics").expect("metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no figure `{name}`"))
    }

    pub fn cost(&self) -> Cost {
        let io = self.proc("io");
        let bytes = |name: &str| number_after(&io, name);
        let stat = self.proc("stat");
        let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        Cost {
            commits: self.figure("campanile_outbox_commits"),
            statements: self.figure("campanile_outbox_statements"),
            bytes_written: bytes("wchar:"),
            bytes_to_disk: bytes("write_bytes:"),
            cpu_seconds: ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0,
        }
    }

    pub fn memory(&self) -> Memory {
        let status = self.proc("status");
        let mb = |name: &str| number_after(&status, name) / 1_024.0;
        Memory { now: mb("VmRSS:"), highest: mb("VmHWM:") }
    }

    fn proc(&self, file: &str) -> String {
        let id = self.process.as_ref().expect("it runs").id();
        std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let told = log.lines().filter(|line| line.contains("ERROR") || line.contains("panic"));
        told.take(3).for_each(|line| eprintln!("the server said: {line}"));
    }
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

/// A route and two conversations for each lane: a trigger's route is found among 32, on average after 16 conditions.
fn config(public: SocketAddr, admin: SocketAddr, messengers: &Messengers) -> String {
    let (mut channels, mut routes) = (String::new(), String::new());
    for lane in 0..LANES {
        let _ = writeln!(channels, "  s{lane:02}: {{slack: C01234567{lane:02}}}");
        let _ = writeln!(channels, "  t{lane:02}: {{telegram: -10012345678{lane:02}}}");
        let _ = writeln!(
            routes,
            "  - {{name: l{lane:02}, when: 'body.lane == \"l{lane:02}\"', channels: [s{lane:02}, t{lane:02}]}}"
        );
    }
    format!(
        "server: {{listen: '{public}', admin: '{admin}'}}\n\
         store: sqlite://campanile.db\n\
         slack: {{token: {{env: SLACK_TOKEN}}, api_url: '{}', pace: none}}\n\
         telegram: {{token: {{env: TELEGRAM_TOKEN}}, api_url: '{}', pace: none}}\n\
         sources:\n  tracker: {{kind: tracker, secret: {{env: HOOK}}}}\n\
         channels:\n{channels}routes:\n{routes}",
        messengers.slack, messengers.telegram
    )
}

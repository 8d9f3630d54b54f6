//! Where the outbox is that is measured: in a file, or on a PostgreSQL of the bench's own, with `fsync` and all else as it
//! comes, in a folder beside the file's.

use std::collections::HashMap;
use std::sync::OnceLock;

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::postgres::Database;
use crate::server::Server;
use crate::syncs;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// As asked for on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// What a row is called on it.
    pub fn tells(self, what: &str) -> String {
        match self {
            Self::Sqlite => what.to_owned(),
            Self::Postgres => format!("PostgreSQL: {what}"),
        }
    }
}

fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| std::mem::ManuallyDrop::new(Server::start_with(&["fsync=on"], &syncs::counted())).url())
}

/// One database on the server; it is dropped with this value.
pub struct OnServer(Database);

/// What the server's processes have used up so far.
#[derive(Default)]
pub struct Used {
    pub wal_bytes: f64,
    pub processes: Vec<u32>,
}

impl OnServer {
    pub fn new() -> Self {
        Self(wait(Database::on(server())))
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The first column of what it answers.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        ask(self.url(), sql)
    }

    pub fn used(&self) -> Used {
        let wal = self.ask("select pg_current_wal_lsn() - '0/0'");
        let server = self.ask("select split_part(pg_read_file('postmaster.pid'), chr(10), 1)");
        let number = |of: &[String]| of.first().and_then(|text| text.parse().ok()).expect("a number");
        Used { wal_bytes: number(&wal), processes: with_children(number(&server) as u32) }
    }

    /// As autovacuum and the next checkpoint do.
    pub fn tidy(&self) {
        self.ask("vacuum (analyze)");
        self.ask("checkpoint");
    }

    /// A transaction that sees the database as it is now, until it is dropped.
    pub fn snapshot(&self) -> Snapshot {
        let runtime = runtime();
        let client = runtime.block_on(async {
            let client = connect(self.url()).await;
            client.batch_execute("begin isolation level repeatable read; select 1").await.expect("a transaction");
            client
        });
        Snapshot { _client: client, _runtime: runtime }
    }

    /// From now on new connections write each statement's plan to the server's log.
    pub fn explain(&self) {
        let name = self.ask("select current_database()").remove(0);
        for setting in [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
        ] {
            self.ask(&format!("alter database {name} set {setting}"));
        }
    }

    /// The last plan of each kind of statement, told by words that it contains.
    pub fn plans(&self, kinds: &[&'static str]) -> HashMap<&'static str, String> {
        let folder = self.ask("show unix_socket_directories").remove(0);
        let log = std::fs::read_to_string(format!("{folder}/log")).expect("the server's log");
        let mut plans = HashMap::new();
        // A line of the log begins with the year, what belongs to it with a tab.
        for entry in log.split("\n2").filter(|entry| entry.contains("  plan:")) {
            for kind in kinds.iter().filter(|kind| entry.contains(**kind)) {
                let plan = entry.split_once("Query Text").map_or(entry, |(_, plan)| plan);
                plans.insert(*kind, plan.to_owned());
            }
        }
        plans
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        let name = self.ask("select current_database()").remove(0);
        ask(server(), &format!("drop database {name} with (force)"));
        // Whatever of it is still to be written would be paid for by the next.
        ask(server(), "checkpoint");
    }
}

pub struct Snapshot {
    _client: tokio_postgres::Client,
    _runtime: tokio::runtime::Runtime,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn wait<F: Future>(what: F) -> F::Output {
    runtime().block_on(what)
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

fn ask(url: &str, sql: &str) -> Vec<String> {
    wait(async {
        let answer = connect(url).await.simple_query(sql).await.expect("an answer");
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        };
        answer.into_iter().filter_map(row).collect()
    })
}

/// A process and those that it started.
fn with_children(parent: u32) -> Vec<u32> {
    let child = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let its_parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (its_parent == parent).then(|| entry.file_name().to_str()?.parse().ok())?
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    std::iter::once(parent).chain(processes.filter_map(child)).collect()
}

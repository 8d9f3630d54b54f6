//! A PostgreSQL of the tests' own, from the machine's server binaries: on a socket in a temporary folder, gone with the
//! process. `CAMPANILE_TEST_POSTGRES` names another, on which a database can be made.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use campanile::outbox::PostgresUrl;
use tokio_postgres::{Client, NoTls};

/// Of the server: it refuses to run as root.
const NOBODY: &str = "65534";

/// One database, for one test.
#[derive(Clone)]
pub struct Database {
    pub url: String,
}

impl Database {
    /// A new and empty one.
    pub async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server();
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        connect(server).await.batch_execute(&format!("create database {name}")).await.unwrap();
        let (before, options) =
            server.split_once('?').map_or((server, String::new()), |(url, it)| (url, format!("?{it}")));
        let (front, _) = before.rsplit_once('/').unwrap();
        Self { url: format!("{front}/{name}{options}") }
    }

    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    pub fn url(&self) -> PostgresUrl {
        PostgresUrl::read(&self.url).unwrap()
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| std::env::var("CAMPANILE_TEST_POSTGRES").unwrap_or_else(|_| start()))
}

/// The newest of the machine's servers.
fn binaries() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    folders.sort_by_key(|bin| bin.parent().and_then(|it| it.file_name()?.to_str()?.parse::<u32>().ok()));
    folders.pop().expect("PostgreSQL's server is missing: install postgresql")
}

const PREFIX: &str = "campanile-pg-";

/// Removes what processes left that are gone.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path()); // another process may be at it
        }
    }
}

fn start() -> String {
    sweep();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap().keep();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        assert!(Command::new("chown").arg(NOBODY).arg(&folder).status().unwrap().success());
    }
    let (bin, data) = (binaries(), folder.join("data"));
    let (started, ready) = std::sync::mpsc::channel();
    // A thread that never ends: the server lives as long as the thread that started it.
    std::thread::spawn({
        let folder = folder.clone();
        move || {
            let as_somebody = |program: &Path, ends_with_us: bool| {
                let mut command = Command::new("setpriv");
                if is_root {
                    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
                }
                if ends_with_us {
                    command.args(["--pdeathsig", "QUIT"]);
                }
                command.arg(program).current_dir("/").stdout(Stdio::null());
                command
            };
            let mut initdb = as_somebody(&bin.join("initdb"), false);
            initdb.args(["-U", "campanile", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
            assert!(initdb.status().unwrap().success());
            let mut postgres = as_somebody(&bin.join("postgres"), true);
            postgres.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-h", "", "-c", "fsync=off"]);
            let log = std::fs::File::create(folder.join("log")).unwrap();
            let mut server = postgres.stderr(log).spawn().unwrap();
            started.send(()).unwrap();
            let _ = server.wait();
        }
    });
    ready.recv().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains("ready to accept connections")) {
        assert!(Instant::now() < until, "PostgreSQL did not start: {}", folder.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    format!("postgres://campanile@{}/postgres", folder.display().to_string().replace('/', "%2F"))
}

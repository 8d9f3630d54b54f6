//! Behind a pooler that gives each transaction another connection: everything works, and wake-ups come by looking.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use campanile::simulator::{SlackSimulator, TelegramSimulator};
use serde_json::json;

use super::{PATIENCE, Tcp, free_port};
use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, Setup};

const TEST: &str = "connecting::pooler::everything_works_behind_a_pooler_but_the_wake_ups";

/// A pgbouncer before a server; gone with the test.
struct Pooler {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Pooler {
    fn start(server: &Tcp) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = folder.path().display().to_string();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {at}/users\npool_mode = transaction\n",
            server.port
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        std::fs::write(folder.path().join("users"), "\"campanile\" \"\"\n").unwrap();
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            super::owned_by_nobody(&[
                folder.path(),
                &folder.path().join("users"),
                &folder.path().join("pgbouncer.ini"),
            ]);
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        command.args(["--pdeathsig", "KILL", "pgbouncer"]).arg(folder.path().join("pgbouncer.ini"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, port, folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian has it where only root looks by itself.
fn is_installed() -> bool {
    Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).status().is_ok_and(|end| end.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_a_pooler_but_the_wake_ups() {
    if !is_installed() {
        return eprintln!("skipped: {TEST} needs pgbouncer (apt-get install pgbouncer)");
    }
    let server = Tcp::start(&[]);
    let pooler = Pooler::start(&server);
    let setup = Setup::on(campanile::clock::Clock::machine());
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = pooler.folder.path().join("bridge");
    std::fs::create_dir(&folder).unwrap();
    let mut bridge = Bridge::new(&folder, &setup, &slack.api_url(), &telegram.api_url());
    let config = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
    let store = format!("postgres://campanile@127.0.0.1:{}/postgres", pooler.port);
    std::fs::write(folder.join("config.yaml"), config.replace("sqlite://data/campanile.db", &store)).unwrap();
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", pooler.port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("the pooler is up");
    bridge.start().await;

    let knows = async {
        while !bridge.log().contains("LISTEN has no effect") {
            assert!(!bridge.log().contains("replicas wake each other"), "{}", bridge.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, knows).await.expect("it knows that it hears nothing");
    let issue = json!({"event": "created", "key": "TEST-1", "summary": "behind a pooler"});
    let asked = Client::default().post(&bridge.hook_url()).header("x-campanile-token", HOOK_SECRET);
    assert_eq!(asked.json(&issue).await.status, 202);
    let posted = tokio::time::timeout(PATIENCE, slack.wait_for_posts(1)).await;
    posted.expect("the message is placed");
    assert!(bridge.terminate().await.success(), "{}", bridge.log());
    assert!(!bridge.log().contains("ERROR"), "{}", bridge.log());
}

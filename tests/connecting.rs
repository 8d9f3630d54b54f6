//! The way to PostgreSQL: whom it trusts, which of several hosts it takes, and that nothing waits for ever.

mod answers;
mod comeback;
mod few;
mod hearing;
mod pooler;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::delivery::{Duty, EventId, Messenger, Planned, Style};
use campanile::outbox::{
    Accepted, Arrival, Aside, Course, Fingerprint, Outbox, OutboxError, Place, Postgres, PostgresOptions, PostgresUrl,
};
use tempfile::TempDir;

use crate::harness::postgres::{Database, connect};
use crate::harness::server::{Server, Stop};

const START: i64 = 1_778_577_302_000;
/// Real time for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(30);

fn clock() -> Clock {
    Clock::held(jiff::Timestamp::from_millisecond(START).unwrap())
}

async fn open(url: &str, clock: &Clock) -> Result<Arc<Postgres>, OutboxError> {
    let options = PostgresOptions { url: PostgresUrl::read(url).unwrap(), max_pending: i64::MAX };
    let outbox = Postgres::open(options, clock.clone(), &mut fastrand::Rng::with_seed(7)).await?;
    outbox.place(vec![place()]).await?;
    Ok(Arc::new(outbox))
}

fn place() -> Place {
    Place {
        channel: channel(),
        messenger: Messenger::Slack,
        account: "slack".into(),
        conversation: "slack:C1".into(),
        lane: "slack:C1".into(),
    }
}

fn channel() -> campanile::event::ChannelName {
    "a".to_owned().try_into().unwrap()
}

fn arrival(n: u8) -> Arrival {
    let give_up_at = START + 3_600_000;
    let duty = Duty::Message { channel: channel(), template: "issue".into(), style: Style::Post };
    let route = "all".into();
    Arrival {
        received_at: START,
        fingerprint: Fingerprint([n; 16]),
        remember_until: START + 3_600_000,
        source: "tracker".to_owned().try_into().unwrap(),
        kind: "issue.created".into(),
        issue: None,
        document: "{}".into(),
        course: Course::Routed(vec![Planned { duty, route, give_up_at, filtered: None }]),
        guard: None,
        object: None,
        called: None,
        room: None,
    }
}

/// The error of a way that leads nowhere.
async fn refused(url: &str) -> String {
    match open(url, &clock()).await {
        Ok(_) => panic!("{url} is taken"),
        Err(error) => error.to_string(),
    }
}

/// Whatever comes, while time passes as a second each look.
async fn comes<T>(clock: &Clock, what: &str, wanted: impl Future<Output = T>) -> T {
    let passes = async {
        loop {
            clock.pass(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        end = wanted => end,
        () = passes => unreachable!(),
        () = tokio::time::sleep(PATIENCE) => panic!("{what}"),
    }
}

fn cause(error: &OutboxError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// A server on a port of the loopback.
struct Tcp {
    server: Server,
    port: u16,
}

impl Tcp {
    fn start(more: &[&str]) -> Self {
        let port = free_port();
        let settings = ["fsync=off", "listen_addresses=127.0.0.1", &format!("port={port}")];
        Self { server: Server::start(&[&settings[..], more].concat()), port }
    }

    fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self, host: &str, options: &str) -> String {
        format!("postgres://campanile@{host}:{}/postgres?{options}", self.port)
    }

    /// By the socket.
    async fn admin(&self) -> tokio_postgres::Client {
        connect(&self.server.url().replacen("/postgres", &format!(":{}/postgres", self.port), 1)).await
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Certificates: of an authority, and of a server that it signed, for `localhost` alone.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(made.path("empty.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n").unwrap();
        made.make("authority", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        let (authority, key) = (made.path("authority.pem"), made.path("authority.key"));
        let signed = ["-CA", authority.to_str().unwrap(), "-CAkey", key.to_str().unwrap()];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:localhost"];
        made.make("server", &[&signed[..], &leaf[..]].concat());
        // As PostgreSQL's manual makes one: signed by itself, and by its word an authority.
        let own = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "subjectAltName=DNS:localhost"];
        made.make("own", &own);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make(&self, name: &str, more: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args(["-subj", &format!("/CN={name}"), "-config"]).arg(self.path("empty.cnf"));
        openssl
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.pem")));
        let made = openssl.args(more).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// A server with the certificate of this name.
    fn server(&self, name: &str) -> Tcp {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        // The server is somebody else when we are root, and wants its key to itself.
        if rustix::process::geteuid().is_root() {
            owned_by_nobody(&[self.folder.path(), &key]);
        }
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        Tcp::start(&settings.each_ref().map(String::as_str))
    }
}

fn owned_by_nobody(paths: &[&Path]) {
    assert!(Command::new("chown").arg("65534").args(paths).status().unwrap().success());
}

/// Opens it, and tells how many connections are encrypted and how many are not, once there are both kinds of them: of
/// the pool, and the one that listens.
async fn encrypted(server: &Tcp, url: &str) -> (i64, i64) {
    let outbox = open(url, &clock()).await.unwrap();
    let admin = server.admin().await;
    let count = "select count(*) filter (where ssl), count(*) filter (where not ssl),
                     count(*) filter (where query ilike 'listen%')
                 from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'campanile'";
    let counted = async {
        loop {
            let row = admin.query_one(count, &[]).await.unwrap();
            let (encrypted, plain, listening): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            if listening == 1 && encrypted + plain > 1 {
                return (encrypted, plain);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await.expect("it listens");
    outbox.close().await;
    let gone = async {
        while admin.query_one(count, &[]).await.unwrap().get::<_, i64>(2) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is closed");
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_encrypted_as_sslmode_says() {
    let made = Certificates::new();
    let server = made.server("server");
    let authority = made.path("authority.pem");
    let authority = authority.display();
    for options in ["", "sslmode=require", &format!("sslmode=verify-full&sslrootcert={authority}")] {
        let (encrypted, plain) = encrypted(&server, &server.url("localhost", options)).await;
        assert!(encrypted > 1 && plain == 0, "`{options}`: {encrypted} are and {plain} are not");
    }
    let (encrypted, plain) = encrypted(&server, &server.url("localhost", "sslmode=disable")).await;
    assert!(encrypted == 0 && plain > 1, "{encrypted} are and {plain} are not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_server_that_proves_itself_is_trusted() {
    let (made, strangers) = (Certificates::new(), Certificates::new());
    let server = made.server("server");
    let file = |made: &Certificates, name: &str| made.path(name).display().to_string();
    let (authority, stranger) = (file(&made, "authority.pem"), file(&strangers, "authority.pem"));
    for (host, mode, roots) in [("localhost", "verify-full", &authority), ("127.0.0.1", "verify-ca", &authority)] {
        open(&server.url(host, &format!("sslmode={mode}&sslrootcert={roots}")), &clock()).await.unwrap().close().await;
    }
    for (host, mode, roots, why) in [
        ("127.0.0.1", "verify-full", &*authority, "its certificate is for another host"),
        ("localhost", "verify-full", &*stranger, "its certificate is signed by nobody who is trusted"),
        ("localhost", "verify-ca", &*stranger, "its certificate is signed by nobody who is trusted"),
        ("localhost", "require", &*stranger, "its certificate is signed by nobody who is trusted"),
        ("localhost", "verify-full", "system", "its certificate is signed by nobody who is trusted"),
        ("localhost", "verify-full", "/nonexistent.pem", "`sslrootcert` /nonexistent.pem cannot be used: No such file"),
        ("localhost", "verify-full", &file(&made, "empty.cnf"), "it holds no certificate (PEM)"),
    ] {
        let told = refused(&server.url(host, &format!("sslmode={mode}&sslrootcert={roots}"))).await;
        assert!(told.contains(why), "{host}, {mode}, {roots}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_own_certificate_is_trusted_when_it_is_named() {
    let made = Certificates::new();
    let server = made.server("own");
    let options = format!("sslmode=verify-full&sslrootcert={}", made.path("own.pem").display());
    open(&server.url("localhost", &options), &clock()).await.unwrap().close().await;
    let told = refused(&server.url("127.0.0.1", &options)).await;
    assert!(told.contains("its certificate is for another host"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_where_it_is_required_and_taken_elsewhere() {
    let server = Tcp::start(&[]);
    let told = refused(&server.url("localhost", "sslmode=require")).await;
    let expected = format!(
        "PostgreSQL at localhost:{}, database `postgres`: it has no TLS: switch it on there (ssl=on), \
         or write `sslmode=disable` if nobody is between",
        server.port
    );
    assert_eq!(told, expected);
    assert_eq!(encrypted(&server, &server.url("localhost", "")).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_one_that_can_be_written_is_taken() {
    let (mut standby, primary) = (Tcp::start(&[]), Tcp::start(&[]));
    let read_only = Tcp::start(&["default_transaction_read_only=on"]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let data: String = standby.admin().await.query_one("show data_directory", &[]).await.unwrap().get(0);
    standby.server.stop(Stop::Fast);
    std::fs::write(Path::new(&data).join("standby.signal"), "").unwrap();
    standby.server.launch();
    let is_up = async {
        let url = standby.url("127.0.0.1", "sslmode=disable");
        while tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_up).await.expect("the standby is up");

    for first in [&nobody, &standby.at(), &read_only.at()] {
        let url = format!("postgres://campanile@{first},{}/postgres", primary.at());
        open(&url, &clock()).await.unwrap().close().await;
    }
    let told = refused(&format!("postgres://campanile@{nobody},{}/postgres", standby.at())).await;
    let expected = format!(
        "PostgreSQL at {nobody},{}, database `postgres`: {nobody}: it cannot be reached: Connection refused (os error \
         111); does it run, and are host and port right?; {}: it is read-only, as a standby is: name the primary, or \
         all hosts of the cluster",
        standby.at(),
        standby.at()
    );
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_says_nothing_is_passed_over() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, clock) = (Tcp::start(&[]), clock());
    let url = format!("postgres://campanile@{},{}/postgres", silent.local_addr().unwrap(), server.at());
    comes(&clock, "the second host is never asked", open(&url, &clock)).await.unwrap().close().await;
    let url = format!("postgres://campanile@{}/postgres", silent.local_addr().unwrap());
    let told = comes(&clock, "it waits for ever", open(&url, &clock)).await.map(drop).unwrap_err().to_string();
    assert!(told.contains("no answer within 5 s"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_behind_a_lock_is_cancelled_and_the_outbox_heals() {
    let (database, clock) = (Database::new().await, clock());
    let outbox = open(&database.url, &clock).await.unwrap();
    let mut other = connect(&database.url).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("lock table events").await.unwrap();
    let error = comes(&clock, "the accept waits for ever", outbox.accept(arrival(1))).await.unwrap_err();
    assert!(matches!(error, OutboxError::Unavailable(_)), "{error:?}");
    assert_eq!(
        cause(&error),
        "a statement was cancelled (canceling statement due to user request): it had no answer in 10 s, \
         or `statement_timeout` is shorter; does somebody hold a lock?"
    );
    let waiting = "select count(*) from pg_locks where not granted and database =
                       (select oid from pg_database where datname = current_database())";
    assert_eq!(lock.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing of it is left");
    lock.rollback().await.unwrap();
    assert!(matches!(outbox.accept(arrival(1)).await, Ok(Accepted::New { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_timeout_of_the_server_is_an_error_that_heals() {
    // From the start: sessions that are there learn of a change when they please.
    let server = Tcp::start(&["statement_timeout=3s"]);
    let outbox = open(&server.url("127.0.0.1", ""), &clock()).await.unwrap();
    let mut other = server.admin().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("set local statement_timeout = 0; lock table events").await.unwrap();
    let error = tokio::time::timeout(PATIENCE, outbox.accept(arrival(1))).await.expect("no clock moves").unwrap_err();
    assert!(cause(&error).contains("canceling statement due to statement timeout"), "{}", cause(&error));
    lock.rollback().await.unwrap();
    assert!(matches!(outbox.accept(arrival(1)).await, Ok(Accepted::New { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_costs_an_error_and_no_more() {
    let (server, clock) = (Tcp::start(&[]), clock());
    let outbox = open(&server.url("127.0.0.1", ""), &clock).await.unwrap();
    server.server.suspend();
    let error = comes(&clock, "the accept waits for ever", outbox.accept(arrival(1))).await.unwrap_err();
    let was_cut = "the connection was cut: the database stopped, or gave no answer in time";
    let of_another = "no answer within 5 s; are host and port right?"; // where the keeper has the only one
    assert!([was_cut, of_another].contains(&cause(&error).as_str()), "{}", cause(&error));
    server.server.resume();
    let heals = async { while outbox.accept(arrival(2)).await.is_err() {} };
    comes(&clock, "it does not heal", heals).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_delays_a_stop_by_five_seconds_and_no_more() {
    let (server, clock) = (Tcp::start(&[]), clock());
    let outbox = open(&server.url("127.0.0.1", ""), &clock).await.unwrap();
    server.server.suspend();
    let close = outbox.close();
    tokio::pin!(close);
    tokio::select! {
        biased;
        () = &mut close => panic!("nobody has answered"),
        () = std::future::ready(()) => {}
    }
    // In leaps, so that no statement is given up for that.
    clock.pass(Duration::from_millis(4_900));
    tokio::select! {
        biased;
        () = &mut close => panic!("it could still answer"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    clock.pass(Duration::from_millis(100));
    tokio::time::timeout(PATIENCE, close).await.expect("it waits on");
    server.server.resume();
}

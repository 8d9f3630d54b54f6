//! When `serve` cannot use its PostgreSQL: one plain line, with the way out and without the password.

use super::Start;
use crate::harness::postgres::connect;
use crate::harness::server::Server;

/// Part of every password here.
const SECRET: &str = "hunter2";

/// A server that wants passwords over TCP and lets everybody in by its socket.
struct Guarded {
    server: Server,
    port: u16,
    _rules: tempfile::NamedTempFile,
}

impl Guarded {
    async fn start() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let rules = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(rules.path(), "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        std::fs::set_permissions(rules.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = ["fsync=off", "listen_addresses=127.0.0.1", &format!("port={port}")];
        let rule = format!("hba_file={}", rules.path().display());
        let server = Server::start(&[&settings[..], &[&rule]].concat());
        let guarded = Self { server, port, _rules: rules };
        guarded.sql("postgres", &format!("create role bells login password '{SECRET}'")).await;
        guarded
    }

    /// As its owner.
    async fn sql(&self, database: &str, statements: &str) {
        let url = self.server.url().replacen("/postgres", &format!(":{}/{database}", self.port), 1);
        let client = connect(&url).await;
        // One at a time: some cannot be part of a transaction.
        for statement in statements.split(';') {
            client.batch_execute(statement).await.unwrap();
        }
    }

    fn url(&self, password: &str, database: &str) -> String {
        format!("postgres://bells{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The one line with which `serve` ends, the port as `PORT`.
    fn refused(&self, url: &str) -> String {
        refused(url).replace(&self.port.to_string(), "PORT")
    }
}

fn start(url: &str) -> Start {
    let mut start = Start::new();
    start.change("sqlite://data/campanile.db", "{env: DATABASE_URL}");
    start.bridge.env("DATABASE_URL", url);
    start
}

fn refused(url: &str) -> String {
    let output = start(url).bridge.command("serve").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{told}");
    assert!(!told.contains(SECRET), "{told}");
    told.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_says_in_one_line_what_keeps_it_from_its_postgresql() {
    let guarded = Guarded::start().await;
    let (right, wrong) = (format!(":{SECRET}"), format!(":{SECRET}{SECRET}"));
    for database in ["closed", "theirs"] {
        guarded.sql("postgres", &format!("create database {database}")).await;
    }
    guarded.sql("closed", "revoke create on schema public from public").await;
    guarded.sql("theirs", "create table orders (id int); grant all on schema public to bells").await;
    guarded.sql("postgres", "create database own owner bells").await;
    let mut first = start(&guarded.url(&right, "own"));
    first.bridge.start().await;
    first.bridge.terminate().await;
    guarded.sql("postgres", "create database newer template own owner bells").await;
    guarded
        .sql(
            "newer",
            "insert into campanile_migrations select 99, name, applied_on, checksum from campanile_migrations limit 1",
        )
        .await;
    guarded.sql("postgres", "create database lent template own").await;
    guarded
        .sql("lent", "revoke all on all tables in schema public from bells; reassign owned by bells to campanile")
        .await;

    let told = [
        ("no database", guarded.refused(&guarded.url(&right, "nowhere"))),
        ("wrong password", guarded.refused(&guarded.url(&wrong, "own"))),
        ("no password", guarded.refused(&guarded.url("", "own"))),
        ("no such user", guarded.refused(&guarded.url(&right, "own").replace("bells", "belles"))),
        ("no rights", guarded.refused(&guarded.url(&right, "closed"))),
        ("rights of another", guarded.refused(&guarded.url(&right, "lent"))),
        ("another's", guarded.refused(&guarded.url(&right, "theirs"))),
        ("newer", guarded.refused(&guarded.url(&right, "newer"))),
        ("no port", refused(&format!("postgres://bells:{SECRET}@127.0.0.1:1/own"))),
        ("no socket", refused(&format!("postgres://bells:{SECRET}@%2Fnonexistent/own"))),
        ("no host", refused(&format!("postgres://bells:{SECRET}@nonexistent.invalid/own"))),
    ];
    insta::assert_snapshot!(told.map(|(what, line)| format!("{what}: {line}")).join("\n"), @r#"
    no database: error: PostgreSQL at 127.0.0.1:PORT, database `nowhere`: database "nowhere" does not exist; make it: create database NAME owner USER
    wrong password: error: PostgreSQL at 127.0.0.1:PORT, database `own`: password authentication failed for user "bells"; mend user and password in `store`
    no password: error: PostgreSQL at 127.0.0.1:PORT, database `own`: it wants a password, and `store` has none
    no such user: error: PostgreSQL at 127.0.0.1:PORT, database `own`: password authentication failed for user "belles"; mend user and password in `store`
    no rights: error: PostgreSQL at 127.0.0.1:PORT, database `closed`: permission denied for schema public; let the user own the database and its tables: alter database NAME owner to USER, or reassign owned
    rights of another: error: PostgreSQL at 127.0.0.1:PORT, database `lent`: permission denied for table campanile_migrations; let the user own the database and its tables: alter database NAME owner to USER, or reassign owned
    another's: error: PostgreSQL at 127.0.0.1:PORT, database `theirs`: it is not empty and not Campanile's: it has `orders`; name another, or make one: create database NAME owner USER
    newer: error: PostgreSQL at 127.0.0.1:PORT, database `newer`: it was written by a newer campanile (schema version 99, this one knows 4); start that one
    no port: error: PostgreSQL at 127.0.0.1:1, database `own`: it cannot be reached: Connection refused (os error 111); does it run, and are host and port right?
    no socket: error: PostgreSQL at /nonexistent, database `own`: it cannot be reached: No such file or directory (os error 2); does it run, and are host and port right?
    no host: error: PostgreSQL at nonexistent.invalid:5432, database `own`: it cannot be reached: failed to lookup address information: Name or service not known; does it run, and are host and port right?
    "#);
}

#[test]
fn check_tells_an_address_that_cannot_be_one_and_not_what_it_is() {
    let secret = start(&format!("postgres://bells:{SECRET}@h/own?sslmode=always"));
    let written = Start::new();
    written.change("sqlite://data/campanile.db", &format!("postgres://bells:{SECRET}@h:{SECRET}/own"));
    for (start, why) in [(secret, "`sslmode` is one of disable"), (written, "invalid value for option `port`")] {
        let output = start.bridge.command("check").output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]), "{told}");
        assert!(
            told.contains(&format!("`store` is no address of a PostgreSQL: {why}")) && !told.contains(SECRET),
            "{told}"
        );
    }
}

//! When `serve` does not start at all, what `check` says of it, and what a wrong command line ends with.

mod postgres;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::child::{Bridge, run};
use crate::harness::{LOOPBACK, Setup};

struct Start {
    bridge: Bridge,
    _folder: tempfile::TempDir,
}

impl Start {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nobody = "http://127.0.0.1:1";
        let bridge = Bridge::new(folder.path(), &Setup::default(), nobody, nobody);
        Self { bridge, _folder: folder }
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.bridge.folder.join("config.yaml")).unwrap()
    }

    fn change(&self, from: &str, to: &str) {
        let text = self.config();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(self.bridge.folder.join("config.yaml"), text.replace(from, to)).unwrap();
    }

    fn store(&self) -> std::path::PathBuf {
        let data = self.bridge.folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        data.join("campanile.db")
    }

    /// `serve` must end by itself, with 1 and one error that says `word`.
    fn refused(&self, word: &str) {
        let output = self.bridge.command("serve").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.matches("error:").count(), 1, "{told}");
        assert!(told.contains(word) && !told.contains("panicked"), "`{word}` is not in: {told}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn serve_refuses_a_port_that_is_taken() {
    for key in ["listen", "admin"] {
        let start = Start::new();
        let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let own = if key == "listen" { start.bridge.public } else { start.bridge.admin };
        start.change(&own.to_string(), &taken.local_addr().unwrap().to_string());
        start.refused(&format!("server.{key}"));
    }
}

#[test]
fn serve_refuses_a_store_that_it_cannot_use() {
    let start = Start::new();
    std::fs::write(start.store(), "no database at all, and long enough to be sure: ".repeat(100)).unwrap();
    start.refused("no SQLite file");

    let start = Start::new();
    rusqlite::Connection::open(start.store()).unwrap().execute_batch("create table theirs (a)").unwrap();
    start.refused("another program");
    let left = rusqlite::Connection::open(start.store()).unwrap();
    let tables: i64 = left.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).unwrap();
    let journal: String = left.query_row("pragma journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((tables, journal.as_str()), (1, "delete"), "it is left as it was");

    let start = Start::new();
    std::fs::create_dir_all(start.store()).unwrap();
    start.refused("campanile.db");
}

#[tokio::test]
async fn serve_refuses_a_store_of_a_newer_version_or_in_use() {
    let mut start = Start::new();
    start.bridge.start().await;
    let other = Start::new();
    other.change("sqlite://data/campanile.db", &format!("sqlite://{}", start.store().display()));
    other.refused("another campanile is running");
    assert!(start.bridge.terminate().await.success());
    start.bridge.database().pragma_update(None, "user_version", 9_999).unwrap();
    start.refused("newer campanile");
}

#[test]
fn serve_refuses_what_has_no_secret() {
    let start = Start::new();
    start.change("{env: HOOK}", "{env: NOT_SET}");
    start.refused("NOT_SET");

    let start = Start::new();
    start.change("{env: HOOK}", "{file: hook}");
    start.refused("does not exist");
    let file = start.bridge.folder.join("hook");
    std::fs::write(&file, "").unwrap();
    start.refused("is empty");
    std::fs::write(&file, "secret").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&file).is_err() {
        start.refused("cannot be read"); // root reads everything
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    start.refused("is no file");
}

#[test]
fn serve_refuses_a_configuration_that_is_not_there_or_wrong() {
    let start = Start::new();
    start.change("routes:", "rotes:");
    start.refused("did you mean `routes`");
    std::fs::remove_file(start.bridge.folder.join("config.yaml")).unwrap();
    start.refused("does not exist");
}

#[test]
fn serve_refuses_a_log_filter_that_cannot_be_read() {
    let mut start = Start::new();
    start.bridge.env("CAMPANILE_LOG", "campanile=loud=very");
    start.refused("CAMPANILE_LOG");
}

#[test]
fn check_ends_with_1_for_errors_alone_and_speaks_json() {
    let start = Start::new();
    let check = |arguments: &[&str], env: bool| {
        let mut run = start.bridge.command("check");
        if !env {
            run.env_clear();
        }
        let output = run.args(arguments).output().unwrap();
        assert_eq!(output.stderr, b"");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let json = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();

    assert_eq!(check(&[], true).0, Some(0));
    let (code, text) = check(&["--json"], false);
    assert_eq!(code, Some(0), "what is not set may be set later: {text}");
    let unset = json(&text).into_iter().filter(|finding| finding["message"].as_str().unwrap().contains("not set"));
    assert_eq!(unset.count(), 3, "{text}");

    start.change("[ops-slack, ops-telegram]", "[ops-slack, ops-telegrm]");
    let (code, text) = check(&["--json"], true);
    assert_eq!(code, Some(1));
    let findings = json(&text);
    let finding = findings.iter().find(|finding| finding["severity"] == "error").unwrap();
    let line = start.config().lines().position(|line| line.contains("ops-telegrm")).unwrap() + 1;
    assert_eq!(finding["line"], line);
    assert!(finding["column"].as_u64() > Some(1) && finding["file"].as_str().unwrap().ends_with("config.yaml"));
    assert!(finding["hint"].as_str().unwrap().contains("ops-telegram"), "{text}");
    assert!(check(&[], true).1.contains("1 error"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&[][..], &["sreve"], &["serve", "--confg", "x"], &["check", "--json=5"], &["check", "extra"]] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["check", "--help"]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn the_repositorys_own_configuration_is_accepted() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let output = run(&["check", "--config", config.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

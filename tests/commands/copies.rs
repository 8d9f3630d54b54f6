//! `backup`, `schema` and `completions`.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::{Setup, World, numbered};

/// Triggers are taken and delivered while the copy is made; the copy is one moment of it, whole.
#[tokio::test]
async fn a_backup_of_a_running_store_is_whole() {
    let world = Setup::default().start().await;
    world.burst(0..20).await;
    world.settled_as("delivered", 40).await;
    let (told, ()) = tokio::join!(world.run(&["backup", "copy.db"]), world.burst(20..60));
    let kilobytes = std::fs::metadata(world.folder.path().join("copy.db")).unwrap().len().div_ceil(1_024);
    assert_eq!(told.done(), format!("copy.db: {kilobytes} KB, checked\n"));
    world.settled_as("delivered", 120).await;
    let copy = Connection::open(world.folder.path().join("copy.db")).unwrap();
    let check: String = copy.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let one = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let events = one("select count(*) from events");
    assert!((20..=60).contains(&events), "{events}");
    assert_eq!(one("select count(*) from deliveries"), 2 * events, "an event and its deliveries are one");
    assert_eq!(one("select received from ledger"), events);
    assert_eq!(files(&world), ["copy.db", "data"], "nothing is left beside it");
    let mode = std::fs::metadata(world.folder.path().join("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_backup_of_a_stopped_store_can_be_served() {
    let mut world = Setup::default().only_slack().start().await;
    world.burst(0..3).await;
    world.settled_as("delivered", 3).await;
    world.stop_app().await;
    let told = world.run(&["backup", "copy.db", "--json"]).await.json();
    let bytes = std::fs::metadata(world.folder.path().join("copy.db")).unwrap().len();
    assert_eq!(told, json!({"file": "copy.db", "bytes": bytes}));
    std::fs::remove_dir_all(world.folder.path().join("data")).unwrap();
    std::fs::create_dir(world.folder.path().join("data")).unwrap();
    std::fs::rename(world.folder.path().join("copy.db"), world.folder.path().join("data/campanile.db")).unwrap();
    world.start_app().await;
    assert_eq!(world.settled_as("delivered", 3).await.len(), 3);
    assert_eq!(world.trigger(&numbered(0)).await.json()["duplicate"], true, "what was seen is known");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_half() {
    let world = Setup::default().start().await;
    world.file("there.db", "precious");
    let refused = world.run(&["backup", "there.db"]).await.refused();
    assert!(refused.contains("there.db: exists already; a backup overwrites nothing: give another name"), "{refused}");
    assert_eq!(std::fs::read_to_string(world.folder.path().join("there.db")).unwrap(), "precious");
    let refused = world.run(&["backup", "nowhere/copy.db"]).await.refused();
    assert!(refused.contains("nowhere/copy.db.part cannot be made: No such file or directory"), "{refused}");
    assert!(refused.contains("make its folder first"), "{refused}");
    assert!(!refused.contains("remove it"), "{refused}");
    world.file("broken.db.part", "");
    let refused = world.run(&["backup", "broken.db"]).await.refused();
    assert!(refused.contains("remove it"), "{refused}");
    assert_eq!(files(&world), ["broken.db.part", "data", "there.db"]);
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    world.file("config.yaml", &text.replace("data/campanile.db", "elsewhere.db"));
    let refused = world.run(&["backup", "copy.db"]).await.refused();
    assert!(
        refused.contains("there is no store yet") && !world.folder.path().join("elsewhere.db").exists(),
        "{refused}"
    );
}

/// What lies in the world's folder, but for its configuration.
fn files(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.folder.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "config.yaml").collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_schema_and_completions_need_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let schema = super::run_in(folder.path(), &["schema"], "").await.json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef campanile"), ("fish", "complete -c campanile")] {
        let script = super::run_in(folder.path(), &["completions", shell], "").await.done();
        assert!(script.contains(word) && script.contains("deliveries"), "{shell}");
    }
    assert_eq!(super::run_in(folder.path(), &["completions", "cmd"], "").await.code, Some(2));
}

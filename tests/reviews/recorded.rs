//! The calls that hosts have really sent, to the byte: `../fixtures/code-hosts`, whose README says what each is.

use std::path::Path;

use serde_json::Value;

use super::{Call, FETCHED, world};

/// The README's rows: the call's name, and its verdict.
fn rows() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let cells =
        readme.lines().map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
    let rows: Vec<_> = cells
        .filter(|cells| cells.len() == 8 && cells[1].ends_with(".json") && cells[3] != "verdict")
        .map(|cells| (cells[1].trim_end_matches(".json").to_owned(), cells[3].to_owned()))
        .collect();
    let files = ["bitbucket-cloud", "bitbucket-server", "github", "gitlab", "gitea"].map(|host| {
        let files = std::fs::read_dir(folder.join(host)).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "headers")).count()
    });
    assert_eq!(rows.len(), files.iter().sum::<usize>(), "each file has a row");
    rows
}

#[tokio::test]
async fn every_recorded_call_is_read_as_its_readme_says() {
    let world = world("", FETCHED).await;
    let mut told = String::new();
    for (name, verdict) in rows() {
        let call = Call::recorded(&name);
        if verdict == "ignored" {
            assert_eq!(call.events(&world).await, Err("a ping".to_owned()), "{name}");
            continue;
        }
        let event = call.event(&world).await;
        assert_eq!(event["event"]["kind"], format!("review.{verdict}"), "{name}");
        assert_eq!(event["event"]["degraded"], false, "{name}");
        let review = &event["review"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let who = |person: &Value| format!("{}/{}", text(&person["login"]), text(&person["display"]));
        told.push_str(&format!(
            "{name}: {}#{} «{}» {} → {}\n  {} at {}, author {}, reviewer {}, actor {}, said {}\n",
            text(&review["repository"]),
            text(&review["id"]),
            text(&review["title"]),
            text(&review["branch"]),
            text(&review["target"]),
            text(&review["url"]),
            text(&event["event"]["at"]),
            who(&review["author"]),
            who(&review["reviewer"]),
            who(&event["actor"]),
            text(&review["comment"]),
        ));
        let host = name.split('/').next().unwrap();
        assert_eq!((&review["host"], &event["event"]["source"]), (&host.into(), &host.into()));
        assert_eq!(event["issue"], Value::Null, "{name}");
        assert_eq!(event["body"].get("secret"), None, "{name}");
        let model = format!("{}{}", review, event["actor"]);
        assert!(!model.contains("email") && !model.contains("REDACTED"), "{name}: {model}");
    }
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn no_recorded_call_names_an_issue() {
    let world = world("TEST, DESIGN, OPS", "").await;
    let rows = rows();
    for (name, verdict) in &rows {
        let why = if verdict == "ignored" { "a ping" } else { "no issue key" };
        assert_eq!(Call::recorded(name).events(&world).await, Err(why.to_owned()), "{name}");
    }
    let metrics = world.metrics().await;
    // Data Center's trial is signed by nobody and leaves nothing behind.
    assert!(metrics.contains(&format!("part=\"ignored\"}} {}", rows.len() - 1)), "{metrics}");
}

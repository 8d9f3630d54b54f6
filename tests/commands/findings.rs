//! `check`: mistakes of different kinds in one configuration, all at once.

use std::path::Path;

use serde_json::{Value, json};

use super::run_in;

/// A key, a type, a secret, two conditions, a channel and a template that are wrong, and nothing else.
const CONFIG: &str = r#"server:
  listen: "127.0.0.1:8080"
  shutdown_secs: 5
store: sqlite://data/campanile.db
templates: templates
max_pending: many
slack: {token: xoxb-hunter2}
telegram: {token: {file: token}}
sources:
  tracker: {kind: tracker, secret: {file: token}}
channels:
  ops-room: {slack: C0123456789}
  night: {telegram: -1001234567890}
routes:
  - name: critical
    when: 'issue.priority.key = "critical"'
    channels: [ops-rom]
    template: critcal
  - name: mine
    when: 'issue.asignee.login == "x"'
    channels: [night]
    template: own
"#;

fn write(folder: &Path) {
    std::fs::create_dir(folder.join("templates")).unwrap();
    for (name, text) in [
        ("config.yaml", CONFIG),
        ("token", "1:x"),
        ("templates/own.md.hbs", "**{{issue.key}}**\nby {{actr.display}}\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn mistakes_of_every_kind_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let ran = run_in(folder.path(), &["check", "--json"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    let findings: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let expected = [
        ("config.yaml", 3, 3, "unknown key `shutdown_secs` in `server`", "did you mean `shutdown_seconds`?"),
        ("config.yaml", 6, 14, "`max_pending` must be a whole number from 1 to 1000000000", ""),
        ("config.yaml", 7, 16, "the secret `token` must stand outside this file", "{env: NAME} or {file: PATH}"),
        ("config.yaml", 16, 31, "route `critical`: the condition cannot be read", "equality is written `==`"),
        (
            "config.yaml",
            17,
            16,
            "route `critical` leads to a channel that does not exist: `ops-rom`",
            "did you mean `ops-room`?",
        ),
        (
            "config.yaml",
            18,
            15,
            "route `critical` names a template that does not exist: `critcal`",
            "did you mean `critical`?",
        ),
        ("config.yaml", 20, 18, "route `mine`: `issue.asignee` is not known", "did you mean `assignee`?"),
        ("templates/own.md.hbs", 2, 6, "no event has `actr.display`", "did you mean `actor`?"),
    ];
    let place = |finding: &Value| json!([finding["file"], finding["line"], finding["column"]]);
    let places: Vec<_> = findings.iter().map(place).collect();
    assert_eq!(json!(places), json!(expected.map(|(file, line, column, ..)| (file, line, column))));
    for (finding, (.., message, hint)) in findings.iter().zip(expected) {
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        assert!(text("message").contains(message) && text("hint").contains(hint), "{finding}");
        assert_eq!(text("severity"), "error");
    }
}

#[tokio::test]
async fn people_see_the_line_of_each_mistake_but_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let ran = run_in(folder.path(), &["check"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    assert!(!ran.out.contains("hunter2") && ran.out.ends_with("\n8 errors, 0 warnings\n"), "{}", ran.out);
    for shown in [
        "--> config.yaml:3:3\n  |\n3 |   shutdown_secs: 5\n  |   ^^^^^^^^^^^^^\n",
        "--> config.yaml:7:16\n = hint: write {env: NAME} or {file: PATH}\n",
        "17 |     channels: [ops-rom]\n   |                ^^^^^^^\n",
        "--> templates/own.md.hbs:2:6\n  |\n2 | by {{actr.display}}\n",
    ] {
        assert!(ran.out.contains(shown), "{shown}{}", ran.out);
    }
}

/// Whoever opens a pipe waits for somebody to write: `check`, `serve` and its watcher would wait for ever.
#[tokio::test]
async fn pipes_are_no_templates_and_no_secrets() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    for name in ["token", "templates/own.md.hbs", "templates/partials/sign.hbs"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    let ran = run_in(folder.path(), &["check"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    for told in [
        "error: this is no file\n--> templates/own.md.hbs\n",
        "error: this is no file\n--> templates/partials/sign.hbs\n",
        "`telegram.token` has no value: the secret's file `token` is no file",
    ] {
        assert!(ran.out.contains(told), "{told}{}", ran.out);
    }
}

//! Another configuration without a restart: all of it or nothing, and no message lost, doubled or delayed by it.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{Fault, SlackSimulator, TelegramSimulator};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, TELEGRAM, World, issue, numbered, numbers};

const OTHER: &str = "C0OTHER0000";

fn to_other(text: String) -> String {
    text.replace(SLACK, OTHER)
}

impl World {
    async fn configuration(&self) -> Value {
        self.api("/api/v1/config").await
    }

    fn ledger(&self, part: &str) -> String {
        format!(r#"campanile_ledger_planned{{part="{part}"}}"#)
    }
}

#[tokio::test]
async fn routes_channels_and_templates_count_from_the_next_event() {
    let world = Setup::default().only_slack().start().await;
    world.burst(0..1).await;
    world.settled_as("delivered", 1).await;
    std::fs::create_dir(world.folder.path().join("templates")).unwrap();
    std::fs::write(world.folder.path().join("templates/mine.md.hbs"), "mine: {{issue.summary}}").unwrap();
    let before = world.configuration().await["hash"].clone();
    let changed = |text: String| text.replace("[ops-slack]", "[ops-slack, ops-telegram, new]\n    template: mine");
    let changed = |text| changed(text).replace("channels:\n", &format!("channels:\n  new: {{slack: {OTHER}}}\n"));
    world.reload_with(changed).await.unwrap();
    world.burst(1..2).await;
    world.settled_as("delivered", 4).await;
    assert_eq!(world.slack_texts()[1], "mine: message 1");
    assert_eq!((world.telegram_texts().len(), world.slack.posted(OTHER).len()), (1, 1));
    let with_both = world.configuration().await["hash"].clone();
    assert_ne!(with_both, before);
    std::fs::write(world.folder.path().join("templates/mine.md.hbs"), "mine now: {{issue.summary}}").unwrap();
    world.reload_with(|text| text).await.unwrap();
    let with_another_template = world.configuration().await["hash"].clone();
    assert_ne!(with_another_template, with_both);
    let (page, label) = (world.metrics().await, with_another_template.as_str().unwrap());
    assert!(page.contains(&format!("campanile_configuration_info{{hash=\"{label}\"}} 1\n")), "{page}");
    world.reload_with(|text| text).await.unwrap();
    assert_eq!(world.configuration().await["hash"], with_another_template, "the same files");
}

#[tokio::test]
async fn an_account_that_comes_with_a_reload_is_served() {
    let setup = Setup::default().only_slack();
    let channels = format!("  ops-slack: {{slack: {SLACK}}}\n");
    let world = Setup { channels, ..setup }.start().await;
    let changed = |text: String| text.replace("[ops-slack]", "[ops-slack, chat]");
    let changed =
        |text| changed(text).replace("channels:\n", &format!("channels:\n  chat: {{telegram: {TELEGRAM}}}\n"));
    world.reload_with(changed).await.unwrap();
    world.burst(0..2).await;
    world.settled_as("delivered", 4).await;
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), [0, 1]);
}

#[tokio::test]
async fn a_channels_new_id_counts_for_what_is_pending() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::error("channel_not_found").once());
    world.burst(0..3).await;
    world.settled(|rows| rows[0]["lane_hold"]["needs_a_person"] == true).await;
    world.reload_with(to_other).await.unwrap();
    world.settled_as("delivered", 3).await;
    assert_eq!(numbers(&world.slack.posted(OTHER)), [0, 1, 2]);
    assert!(world.slack.posted(SLACK).is_empty());
}

/// What is on its way ends where it went, and only there; the rest goes to the new place; calls are taken meanwhile.
#[tokio::test]
async fn a_message_on_its_way_is_waited_for() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::HangAfter.once());
    world.burst(0..3).await;
    world.slack.wait_for_calls(1).await;
    let reload = world.reload_with(to_other);
    tokio::pin!(reload);
    tokio::select! {
        end = &mut reload => panic!("it did not wait: {end:?}"),
        () = world.burst(3..5) => {}
    }
    tokio::select! {
        end = &mut reload => panic!("it did not wait: {end:?}"),
        () = world.telegram_seen(|record| record.counts().posted == 5) => {}
    }
    world.slack.release();
    reload.await.unwrap();
    world.settled_as("delivered", 10).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0]);
    assert_eq!(numbers(&world.slack.posted(OTHER)), [1, 2, 3, 4]);
    assert_eq!(world.slack.counts().calls, 5, "none was sent twice");
}

#[tokio::test]
async fn a_channel_that_is_gone_keeps_what_is_pending_under_its_name() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::rate_limited(600).once());
    world.burst(0..2).await;
    world.settled_as("delivered", 2).await;
    let whole = std::fs::read_to_string(world.config_path()).unwrap();
    let without = |text: String| {
        text.replace(&format!("  ops-slack: {{slack: {SLACK}}}\n"), "")
            .replace("[ops-slack, ops-telegram]", "[ops-telegram]")
    };
    world.reload_with(without).await.unwrap();
    world.clock.pass(Duration::from_secs(601));
    world.burst(2..3).await;
    let rows = world.settled_as("delivered", 3).await;
    let pending: Vec<_> = rows.iter().filter(|row| row["state"] == "pending").map(|row| &row["channel"]).collect();
    assert_eq!(pending, ["ops-slack", "ops-slack"]);
    assert_eq!(world.figure(r#"campanile_pending{channel="ops-slack"}"#).await, 2.0);
    world.reload_with(|_| whole).await.unwrap();
    world.settled_as("delivered", 5).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1]);
}

/// A channel comes and goes while calls are taken: none hears that it is not known.
#[tokio::test]
async fn no_call_is_refused_while_a_channel_goes() {
    let world = Setup::default().start().await;
    let whole = std::fs::read_to_string(world.config_path()).unwrap();
    let without = whole
        .replace(&format!("  ops-slack: {{slack: {SLACK}}}\n"), "")
        .replace("[ops-slack, ops-telegram]", "[ops-telegram]");
    let reloads = async {
        for turn in 0..20 {
            let text = if turn % 2 == 0 { &without } else { &whole };
            world.reload_with(|_| text.clone()).await.unwrap();
        }
    };
    tokio::join!(world.burst(0..100), reloads);
    world.until_figure(&world.ledger("pending"), 0.0, Duration::ZERO).await;
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), (0..100).collect::<Vec<_>>());
    assert!(numbers(&world.slack.posted(SLACK)).is_sorted());
}

/// Calls come while channels lead here and there: each is delivered once, in order, and none is forgotten.
#[tokio::test]
async fn nothing_is_lost_or_doubled_between_two_configurations() {
    let world = Setup::default().only_slack().start().await;
    let calls = async {
        for n in 0..300 {
            world.accepted(&numbered(n)).await;
        }
    };
    let reloads = async {
        for turn in 0..30 {
            let to = |text: String| if turn % 2 == 0 { to_other(text) } else { text.replace(OTHER, SLACK) };
            world.reload_with(to).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(calls, reloads);
    world.until_figure(&world.ledger("delivered"), 300.0, Duration::ZERO).await;
    let (one, other) = (numbers(&world.slack.posted(SLACK)), numbers(&world.slack.posted(OTHER)));
    assert!(one.is_sorted() && other.is_sorted(), "{one:?} {other:?}");
    let mut all = [one, other].concat();
    all.sort();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
    assert_eq!(world.slack.counts().calls, 300);
    assert_eq!(world.figure(r#"campanile_config_reloads_total{end="swapped"}"#).await, 30.0);
}

#[tokio::test]
async fn a_new_secret_mends_an_account_at_once() {
    let mut world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::error("invalid_auth").once());
    world.burst(0..2).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    world.secrets.insert("NEW_HOOK", "new-hook-secret".into());
    world.reload_with(|text| text.replace("{env: HOOK}", "{env: NEW_HOOK}")).await.unwrap();
    world.settled_as("delivered", 2).await;
    assert_eq!(world.trigger(&numbered(2)).await.status, 401, "the old secret of the source is over");
    let call = world.http.post(&world.public_url("/hooks/tracker")).header("authorization", "new-hook-secret");
    assert_eq!(call.json(&numbered(2)).await.status, 202);
}

/// The token was changed while a call with the old one had no answer yet: what that call hears holds nobody.
#[tokio::test]
async fn what_the_old_secret_is_told_after_the_reload_holds_nobody() {
    for code in ["invalid_auth", "channel_not_found"] {
        let mut world = Setup::default().only_slack().start().await;
        world.slack.fault(Fault::HangThen(Fault::error(code).into()).once());
        world.burst(0..2).await;
        world.slack.wait_for_calls(1).await;
        world.secrets.insert("NEW_TOKEN", world.secrets["SLACK_TOKEN"].clone());
        world.reload_with(|text| text.replace("{env: SLACK_TOKEN}", "{env: NEW_TOKEN}")).await.unwrap();
        world.slack.release();
        world.settled_as("delivered", 2).await;
        assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1]);
        assert_eq!(world.figure(r#"campanile_account_held{account="slack"}"#).await, 0.0);
    }
}

#[tokio::test]
async fn the_pace_goes_on_over_a_reload() {
    let world = Setup::paced().only_telegram().start().await;
    world.burst(0..25).await;
    for posted in 1..=25 {
        world.reload_with(|text| text).await.unwrap();
        world.until_posted(0, posted).await; // a clock that leaps would cut off the call that is on its way
    }
    world.until_all("delivered").await;
    assert_eq!(world.telegram.counts().rate_limited, 0);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_built_changes_nothing() {
    let world = Setup::default().only_slack().start().await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    for (from, to) in [("{env: SLACK_TOKEN}", "{env: NOT_SET}"), (SLACK, OTHER)] {
        let changed = |text: String| to_other(text).replace("{env: HOOK}", "{file: absent}").replace(from, to);
        let error = world.reload_with(changed).await.unwrap_err().to_string();
        assert!(error.contains("has no value"), "{error}");
        std::fs::write(world.config_path(), &text).unwrap();
    }
    world.burst(0..2).await;
    world.settled_as("delivered", 2).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1]);
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named() {
    let world = Setup::default().start().await;
    assert_eq!(world.configuration().await["waits_for_restart"], json!([]));
    let changed =
        |text: String| text.replace("shutdown_seconds: 10", "shutdown_seconds: 11").replace("campanile.db", "other.db");
    world.reload_with(changed).await.unwrap();
    let configuration = world.configuration().await;
    assert_eq!(configuration["waits_for_restart"], json!(["server.shutdown_seconds", "store"]));
    assert_eq!(configuration["refused"], Value::Null);
    world.accepted(&issue("TEST-1", "created")).await;
    assert!(!world.folder.path().join("data/other.db").exists());
    world
        .reload_with(|text| {
            text.replace("shutdown_seconds: 11", "shutdown_seconds: 10").replace("other.db", "campanile.db")
        })
        .await
        .unwrap();
    assert_eq!(world.configuration().await["waits_for_restart"], json!([]));
}

/// What changes while the process starts is not taken for what it started with.
#[tokio::test]
async fn a_change_during_the_start_is_seen() {
    let setup = Setup::on(Clock::machine()).only_slack();
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    let path = folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    // Its lock is there before the lanes and the listeners are, and after the configuration was read.
    let lock = folder.path().join("data/campanile.db.lock");
    let changes = tokio::task::spawn_blocking(move || {
        while !lock.exists() {
            std::thread::yield_now();
        }
        std::fs::write(path, text.replace("[ops-slack]", "[ops-slak]")).unwrap();
    });
    bridge.start().await;
    changes.await.unwrap();
    for _ in 0..2_000 {
        let state = Client::default().get(&format!("http://{}/api/v1/config", bridge.admin)).send().await.json();
        if state["refused"].is_object() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {}", bridge.log());
}

/// The real binary: SIGHUP, a changed template, a changed secret's file, and files that are wrong.
#[tokio::test]
async fn the_binary_reloads_at_sighup_and_at_a_change_of_its_files() {
    let setup = Setup { source: "kind: tracker, secret: {file: hook}", ..Setup::on(Clock::machine()).only_slack() };
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("hook", HOOK_SECRET);
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    write("templates/issue-created.md.hbs", "first: {{issue.summary}}");
    bridge.start().await;
    let client = Client::default();
    let fire = async |n, secret: &str| {
        client.post(&bridge.hook_url()).header("authorization", secret).json(&numbered(n)).await.status
    };
    let until = async |wanted: &dyn Fn(&Value) -> bool| {
        for _ in 0..2_000 {
            let state = client.get(&format!("http://{}/api/v1/config", bridge.admin)).send().await.json();
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {}", bridge.log());
    };
    let loaded_at = |state: &Value| state["loaded_at"].as_str().unwrap().to_owned();
    let begun = loaded_at(&until(&|_| true).await);
    let text = std::fs::read_to_string(folder.path().join("config.yaml")).unwrap();

    write("templates/issue-created.md.hbs", "second: {{issue.summary}}");
    let second = loaded_at(&until(&|state| loaded_at(state) != begun).await);
    assert_eq!(fire(0, HOOK_SECRET).await, 202);
    slack.wait_for_posts(1).await;
    assert_eq!(slack.posted(SLACK)[0].seen.text, "second: message 0");

    write("config.yaml", &text.replace("[ops-slack]", "[ops-slak]"));
    kill_process(bridge.pid(), Signal::HUP).unwrap();
    let refused = until(&|state| state["refused"].is_object()).await;
    assert!(refused["refused"]["findings"].to_string().contains("ops-slak"), "{refused}");
    assert_eq!(loaded_at(&refused), second);
    assert!(bridge.log().contains("did you mean `ops-slack`?") && bridge.log().contains("was not reloaded"));
    let metrics = client.get(&format!("http://{}/metrics", bridge.admin)).send().await.text;
    assert!(metrics.contains("campanile_config_refused 1\n"), "{metrics}");
    assert_eq!(fire(1, HOOK_SECRET).await, 202, "what ran before goes on");

    write("config.yaml", &text);
    write("templates/issue-created.md.hbs", "{{issue.sumary}}");
    until(&|state| state["refused"].to_string().contains("sumary")).await;
    write("templates/issue-created.md.hbs", "third: {{issue.summary}}");
    until(&|state| state["refused"].is_null()).await;
    write("hook", "another-secret");
    let third = loaded_at(&until(&|_| true).await);
    until(&|state| loaded_at(state) != third).await;
    assert_eq!((fire(2, HOOK_SECRET).await, fire(2, "another-secret").await), (401, 202));
    slack.wait_for_posts(3).await;
    let texts: Vec<_> = slack.posted(SLACK).iter().map(|post| post.seen.text.clone()).collect();
    assert_eq!(texts, ["second: message 0", "second: message 1", "third: message 2"]);
    assert!(bridge.terminate().await.success());
}

/// A probe that finds what the one before it found is no news.
#[tokio::test]
async fn a_lane_that_waits_for_a_person_is_a_warning_once() {
    let setup = Setup::on(Clock::machine()).only_slack();
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), "http://127.0.0.1:9");
    bridge.start().await;
    slack.fault(Fault::error("not_in_channel").times(2));
    let call = Client::default().post(&bridge.hook_url()).header("authorization", HOOK_SECRET);
    assert_eq!(call.json(&numbered(0)).await.status, 202);
    for probes in [1_usize, 2] {
        slack.wait_for(move |record| record.counts().calls == probes as u64).await;
        let failures = || bridge.log().matches("not delivered yet").count();
        for _ in 0..2_000 {
            if failures() == probes {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kill_process(bridge.pid(), Signal::HUP).unwrap();
    }
    slack.wait_for_posts(1).await;
    let log = bridge.log();
    let held: Vec<_> = log.lines().filter(|line| line.contains("the lane is held until somebody mends this")).collect();
    assert!(matches!(held[..], [line] if line.contains("WARN") && line.contains("not_in_channel")), "{log}");
}

//! `doctor`: whether the services would accept us, and what it says where they would not. Nothing is changed anywhere.

mod rows;

use std::process::Command;

use campanile::clock::Clock;
use campanile::simulator::{
    ChatKind, ChatState, Fault, SlackChannel, SlackOptions, TelegramChat, TrackerOptions, TrackerUser,
};
use campanile::tracker::trigger::{Wanted, Watched};
use serde_json::{Value, json};

use crate::harness::child::BINARY;
use crate::harness::server::Server;
use crate::harness::{HOOK_SECRET, SLACK, SLACK_TOKEN, Setup, TELEGRAM, TELEGRAM_TOKEN, TRACKER_TOKEN, World};

const WEBHOOK: &str = "https://hooks.slack.com/services/T1/B1/canary5webhook0f3d";

/// Everything that can be asked, on the machine's clock as the command is.
fn setup() -> Setup {
    let setup = Setup::on(Clock::machine());
    let channels = format!("{}  hooked: {{slack_webhook: {{env: WEBHOOK}}}}\n", setup.channels);
    let secrets = vec![("WEBHOOK", WEBHOOK)];
    Setup { channels, secrets, ..setup }.with_tracker()
}

/// With its public address in the configuration, and the triggers that `connect` makes.
async fn world(setup: Setup) -> World {
    let world = setup.start().await;
    let url = world.public_url("");
    world.config(|text| text.replace("shutdown_seconds: 10", &format!("shutdown_seconds: 10, public_url: '{url}'")));
    for watched in [Watched::Created, Watched::StatusChanged] {
        world.tracker().make_trigger("TEST", &wanted(&world, watched).json()).unwrap();
    }
    world
}

fn wanted(world: &World, watched: Watched) -> Wanted {
    Wanted::of(watched, &world.public_url(""), "tracker", &HOOK_SECRET.into())
}

/// A trigger that somebody wrote by hand.
fn by_hand(endpoint: &str, conditions: Value, body: &str) -> Value {
    json!({"name": "by hand", "conditions": conditions, "actions": [{"type": "Webhook", "endpoint": endpoint,
        "method": "POST", "headers": {"X-Campanile-Token": HOOK_SECRET}, "authContext": {"type": "noauth"}, "body": body}]})
}

struct Told {
    code: Option<i32>,
    out: String,
}

impl World {
    fn config(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        std::fs::write(self.config_path(), change(text)).unwrap();
    }

    /// Runs the command; what it says anywhere holds no secret.
    async fn doctor(&self, arguments: &[&str]) -> Told {
        let mut run = Command::new(BINARY);
        run.arg("doctor").args(arguments).current_dir(self.folder.path()).env_clear().envs(&self.secrets);
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let secrets =
            [HOOK_SECRET, SLACK_TOKEN, TELEGRAM_TOKEN, TRACKER_TOKEN, WEBHOOK, "test-token", "canary5webhook0f3d"];
        for secret in secrets {
            assert!(!out.contains(secret) && !err.contains(secret), "{secret}: {out}{err}");
        }
        assert_eq!(err, "");
        Told { code: output.status.code(), out }
    }

    async fn rows(&self) -> Vec<Value> {
        let told = self.doctor(&["--json"]).await;
        let rows: Vec<Value> = serde_json::from_str(&told.out).unwrap();
        let failed = rows.iter().any(|row| row["state"] == "fail");
        assert_eq!(told.code, Some(failed.into()), "{}", told.out);
        rows
    }

    /// The row of a check about a subject that begins so has this state and says this, its hint counted.
    #[track_caller]
    fn says(rows: &[Value], (check, subject): (&str, &str), state: &str, said: &[&str]) {
        let of = |row: &&Value| row["check"] == check && row["subject"].as_str().unwrap().starts_with(subject);
        let found: Vec<&Value> = rows.iter().filter(of).collect();
        let fits = |row: &&&Value| {
            let text = format!("{} {}", row["message"], row["hint"]);
            row["state"] == state && said.iter().all(|said| text.contains(said))
        };
        assert_eq!(found.iter().filter(fits).count(), 1, "{check} {subject} {state} {said:?}: {rows:#?}");
    }
}

fn plain(told: &str) -> String {
    let told = regex::Regex::new(r"\d+ MB are free").unwrap().replace_all(told, "… MB are free").into_owned();
    regex::Regex::new(r"127\.0\.0\.1:\d{5}").unwrap().replace_all(&told, "127.0.0.1:*****").into_owned()
}

#[tokio::test]
async fn where_all_is_well_it_says_so_and_changes_nothing() {
    let world = world(setup()).await;
    let before = world.tracker().triggers("TEST");
    let told = world.doctor(&[]).await;
    insta::assert_snapshot!(plain(&told.out), @"
    STATE  CHECK           SUBJECT                                     WHAT
    ok     configuration   config.yaml                                 nothing to find fault with; 5 secrets are set
    ok     store           data/campanile.db                           it can be read, and its folder written
    ok     disk            data/campanile.db                           … MB are free, 1 are the reserve
    ok     slack token     slack                                       campanile in Simulated
    ok     slack channel   ops-slack                                   c0123456789
    ok     slack webhook   hooked                                      its address is set; only a post can tell whether it is taken
    ok     telegram token  telegram                                    @campanile_bot
    ok     telegram chat   ops-telegram                                Chat -1001234567890
    ok     tracker token   tracker                                     campanile-bot
    ok     clock           this machine                                as Tracker's, within a minute
    ok     queue           TEST                                        Тестовая
    ok     trigger         TEST #16 Campanile tracker: created         in the recommended form
    ok     trigger         TEST #17 Campanile tracker: status_changed  in the recommended form
    ok     public url      http://127.0.0.1:*****/healthz              a bridge answers

    14 ok, 0 warn, 0 failed
    ");
    assert_eq!(told.code, Some(0), "{}", told.out);
    assert_eq!(world.tracker().triggers("TEST"), before);
    assert_eq!(world.slack.counts().posted + world.telegram.counts().posted, 0);
    let asked =
        world.tracker().record(|record| record.arrivals().iter().map(|it| it.method.clone()).collect::<Vec<_>>());
    let asks = ["myself", "queue", "triggers", "webhook_log", "applications"];
    assert!(asked.iter().all(|method| asks.contains(&&**method)), "{asked:?}");
}

#[tokio::test]
async fn slack_says_what_is_wrong() {
    let channel = |change: &dyn Fn(&mut SlackChannel)| {
        let mut channel = SlackChannel { name: "ops".into(), ..SlackChannel::default() };
        change(&mut channel);
        channel
    };
    let world = world(setup()).await;
    let of_channel = ("slack channel", "ops-slack");
    world.slack.set_channel(SLACK, channel(&|it| it.left = true));
    World::says(&world.rows().await, of_channel, "fail", &["the app is not in ops", "/invite"]);
    world.slack.set_channel(SLACK, channel(&|it| it.archived = true));
    World::says(&world.rows().await, of_channel, "fail", &["ops is archived"]);
    world.slack.set_channel(SLACK, channel(&|it| (it.left, it.private) = (true, true)));
    World::says(&world.rows().await, of_channel, "fail", &["channel_not_found", "not invited"]);
    world.slack.set_tokens(["xoxb-another".to_owned()]);
    let rows = world.rows().await;
    World::says(&rows, ("slack token", ""), "fail", &["invalid_auth", "slack.token"]);
    World::says(&rows, ("slack webhook", "hooked"), "ok", &["only a post can tell"]);
    assert!(!rows.iter().any(|row| row["check"] == "slack channel"), "one mistake, one row");
    World::says(&rows, ("telegram token", ""), "ok", &["@campanile_bot"]);
    world.slack.go_down().await;
    World::says(&world.rows().await, ("slack token", ""), "fail", &["could not be reached"]);
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let with = |scopes: &[&str]| {
        let slack = SlackOptions::new(Clock::machine()).token(SLACK_TOKEN).without_pace();
        Setup { slack: slack.scopes(scopes.iter().copied()), ..setup() }
    };
    let world_without = world(with(&["channels:read", "groups:read"])).await;
    World::says(&world_without.rows().await, ("slack token", ""), "fail", &["chat:write is missing", "reinstall"]);
    let world_blind = world(with(&["chat:write"])).await;
    let rows = world_blind.rows().await;
    World::says(&rows, ("slack token", ""), "warn", &["channels:read, groups:read"]);
    World::says(&rows, ("slack channel", "ops-slack"), "warn", &["no scope", "reinstall"]);
}

#[tokio::test]
async fn telegram_says_what_is_wrong() {
    let world = world(setup()).await;
    let (chat, of_chat) = (TELEGRAM.parse().unwrap(), ("telegram chat", "ops-telegram"));
    for (kind, state, wanted, said) in [
        (ChatKind::Supergroup, ChatState::Kicked, "fail", &["bot was kicked", "bot is in the chat"][..]),
        (ChatKind::Supergroup, ChatState::NotMember, "fail", &["not a member"]),
        (ChatKind::Supergroup, ChatState::Muted, "fail", &["may not write in Ops"]),
        (ChatKind::Channel, ChatState::Muted, "fail", &["no administrator of Ops", "Post messages"]),
        (ChatKind::Channel, ChatState::Open, "ok", &["Ops"]),
        (ChatKind::Group, ChatState::Upgraded { to: -100_777 }, "warn", &["-100777", "messages follow it"]),
    ] {
        world.telegram.set_chat(chat, TelegramChat::new(kind, "Ops").state(state));
        World::says(&world.rows().await, of_chat, wanted, said);
    }
    world.config(|text| text.replace(TELEGRAM, &format!("{TELEGRAM}, topic: 7")));
    world.telegram.set_chat(chat, TelegramChat::new(ChatKind::Supergroup, "Ops"));
    World::says(&world.rows().await, of_chat, "fail", &["Ops has no topics", "remove `topic`"]);
    world.telegram.fault(Fault::error("Bad Request: chat not found").once().method("getChat"));
    World::says(&world.rows().await, of_chat, "fail", &["chat not found", "chat id"]);
    world.telegram.set_tokens(["1:x".to_owned()]);
    World::says(&world.rows().await, ("telegram token", ""), "fail", &["Unauthorized", "telegram.token"]);
}

#[tokio::test]
async fn tracker_says_what_is_wrong() {
    let world = world(setup()).await;
    world.config(|text| text.replace("queues: [TEST]", "queues: [TEST, NONE]"));
    World::says(&world.rows().await, ("queue", "NONE"), "fail", &["does not exist", "may the token's owner see"]);
    world.config(|text| text.replace("org_id: \"1\"", "org_id: \"2\""));
    World::says(&world.rows().await, ("tracker token", ""), "fail", &["org_id"]);
    world.tracker().expire_token(TRACKER_TOKEN);
    World::says(&world.rows().await, ("tracker token", ""), "fail", &["401", "put a new token"]);
}

#[tokio::test]
async fn without_the_right_to_see_triggers_gap_recovery_is_off() {
    let robot = TrackerUser::new("campanile-bot", "Робот", "Кампанилы").without_rights();
    let setup = setup();
    let tracker = setup.tracker.clone().map(|options: TrackerOptions| options.user(robot));
    let world = world(Setup { tracker, ..setup }).await;
    World::says(&world.rows().await, ("trigger", "TEST"), "warn", &["gap recovery is off", "queue's settings"]);
}

#[tokio::test]
async fn triggers_are_held_against_what_they_should_be() {
    let world = setup().start().await;
    let url = world.public_url("");
    world.config(|text| text.replace("shutdown_seconds: 10", &format!("shutdown_seconds: 10, public_url: '{url}'")));
    let missing = ["no trigger of TEST calls the source `tracker`", "campanile connect TEST --source tracker"];
    World::says(&world.rows().await, ("trigger", "TEST"), "warn", &missing);

    let mut edited = wanted(&world, Watched::Created).json();
    edited["conditions"] = json!([{"type": "Event.update"}]);
    world.tracker().make_trigger("TEST", &edited).unwrap();
    let (hook, created) = (world.public_url("/hooks/tracker"), json!([{"type": "Event.create"}]));
    let raw = r#"{"key": "{{issue.key}}", "text": "{{issue.summary}}"}"#;
    world.tracker().make_trigger("TEST", &by_hand(&hook, created.clone(), raw)).unwrap();
    let good = r#"{"key": "{{issue.key}}", "text": {{issue.summary.json}}}"#;
    let mut telling = by_hand(&format!("{hook}/{HOOK_SECRET}"), created.clone(), good);
    telling["name"] = json!(format!("with {HOOK_SECRET}"));
    world.tracker().make_trigger("TEST", &telling).unwrap();
    world.tracker().make_trigger("TEST", &by_hand(&hook, json!([]), good)).unwrap();
    world.tracker().make_trigger("TEST", &by_hand("https://example.com/hooks/tracker", created, raw)).unwrap();
    let bare = r#"{"key": "{{issue.key}}", "summary": {{issue.summary}}}"#;
    world.tracker().make_trigger("TEST", &by_hand(&hook, json!([{"type": "Event.create"}]), bare)).unwrap();
    let rows = world.rows().await;
    World::says(
        &rows,
        ("trigger", "TEST #16 "),
        "warn",
        &["edited since it was made: conditions", "campanile connect"],
    );
    for raw in ["TEST #17 ", "TEST #21 "] {
        World::says(&rows, ("trigger", raw), "fail", &["{{issue.summary}}", "{{….json}} without quotes"]);
    }
    World::says(&rows, ("trigger", "TEST #18 with [secret]"), "ok", &["made by hand"]);
    World::says(&rows, ("trigger", "TEST #19 "), "warn", &["fires at every change"]);
    assert!(!rows.iter().any(|row| row["subject"].as_str().unwrap().contains("#20")), "it calls somebody else");
}

#[tokio::test]
async fn calls_that_failed_are_told_with_their_time() {
    let world = world(setup()).await;
    let wrong = Wanted::of(Watched::Updated, &world.public_url(""), "tracker", &"another-s3cret".into());
    world.tracker().make_trigger("TEST", &wrong.json()).unwrap();
    let fields = json!({"priority": "critical"});
    world.tracker().update("TEST-1", fields.as_object().unwrap(), "ivan.ivanov").unwrap();
    world.tracker().wait_for_sent(1, 0).await;
    let said = ["1 of 1 calls failed", "+03:00: HTTP 401", "campanile connect"];
    World::says(&world.rows().await, ("trigger log", "TEST #18 "), "fail", &said);
}

#[tokio::test]
async fn clocks_that_are_apart_are_told() {
    let held = Setup::default(); // Tracker's clock stands in May
    let world = held.with_tracker().start().await;
    World::says(&world.rows().await, ("clock", ""), "warn", &["ahead of Tracker's", "NTP"]);
}

#[tokio::test]
async fn a_public_address_that_leads_elsewhere_is_told() {
    let world = world(setup()).await;
    let (own, other) = (world.public_url(""), format!("http://{}", world.telegram.addr()));
    world.config(|text| text.replace(&own, &other));
    World::says(&world.rows().await, ("public url", ""), "fail", &["HTTP 404", "server.listen"]);
    for (fault, said) in [(Fault::Html200, "something else answers"), (Fault::bad_gateway(), "reaches no bridge")] {
        world.telegram.fault(fault.once().method("healthz"));
        World::says(&world.rows().await, ("public url", ""), "fail", &[said]);
    }
    world.config(|text| text.replace(&other, "http://127.0.0.1:9"));
    World::says(&world.rows().await, ("public url", ""), "warn", &["not reached from here", "from outside"]);
}

#[tokio::test]
async fn a_configuration_with_faults_is_told_and_nobody_is_asked() {
    let mut world = world(setup()).await;
    world.secrets.remove("SLACK_TOKEN");
    let rows = world.rows().await;
    World::says(&rows, ("configuration", "config.yaml:5:"), "fail", &["`slack.token` has no value", "SLACK_TOKEN"]);
    World::says(&rows, ("telegram token", ""), "ok", &["@campanile_bot"]);
    world.config(|text| text.replace("env: HOOK}", "env: HOOK}, url_secret: true"));
    World::says(&world.rows().await, ("configuration", "config.yaml:8:"), "warn", &["its secret in the URL"]);
    let calls = world.telegram.counts().calls;
    world.config(|text| text + "unknown: 1\n");
    World::says(&world.rows().await, ("configuration", "config.yaml:"), "fail", &["unknown"]);
    assert_eq!(world.telegram.counts().calls, calls);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told() {
    let world = world(setup()).await;
    world.config(|text| text.replace("sqlite://data/campanile.db", "sqlite://other/new.db"));
    World::says(&world.rows().await, ("store", "other/new.db"), "ok", &["serve` makes it"]);
    assert!(!world.folder.path().join("other").exists());
    world.config(|text| text.replace("store_reserve_mb: 1\n", "store_reserve_mb: 1000000000\n"));
    World::says(&world.rows().await, ("disk", "other/new.db"), "fail", &["calls are refused", "make room"]);
    std::fs::create_dir(world.folder.path().join("other")).unwrap();
    std::fs::write(world.folder.path().join("other/new.db"), "no database, and longer than a hundred bytes ".repeat(9))
        .unwrap();
    World::says(&world.rows().await, ("store", "other/new.db"), "fail", &["new.db"]);
    world.config(|text| text.replace("sqlite://other/new.db", "postgres://u:canary5webhook0f3d@127.0.0.1:9/x"));
    World::says(&world.rows().await, ("store", "PostgreSQL at 127.0.0.1:9"), "fail", &["cannot be reached"]);
}

#[tokio::test]
async fn what_no_source_brings_is_told_of_conditions_and_templates() {
    let routes = "  - {name: critical, when: 'has(issue.priority) && issue.priority.key == \"critical\"', channels: [ops-slack], template: t}\n  - {name: rest, channels: [ops-slack], issue: {comment: '{{issue.resolution.display}} {{bench.url}}'}}\n";
    let templates =
        vec![("t.md.hbs", "{{issue.summary}} {{#if issue.assignee}}{{issue.status.display}}{{/if}} {{body.any}}")];
    let world = world(Setup { templates, ..setup().routes(routes) }).await;
    let rows = world.rows().await;
    World::says(&rows, ("variables", "route `critical`"), "warn", &["no source brings issue.priority", "enrich: true"]);
    World::says(&rows, ("variables", "route `rest`"), "warn", &["brings bench.url, issue.resolution"]);
    World::says(&rows, ("variables", "template `t`"), "warn", &["brings issue.assignee, issue.status\""]);

    let more = r#"{"key": "{{issue.key}}", "priority": "critical", "status": {{issue.status.json}}, "summary": {{issue.summary.json}}}"#;
    let made = by_hand(&world.public_url("/hooks/tracker"), json!([{"type": "Event.create"}]), more);
    world.tracker().make_trigger("TEST", &made).unwrap();
    let rows = world.rows().await;
    assert!(!rows.iter().any(|row| row["subject"] == "route `critical`"), "a trigger sends it: {rows:#?}");
    World::says(&rows, ("variables", "template `t`"), "warn", &["brings issue.assignee\""]);

    world.config(|text| text.replace("env: HOOK}", "env: HOOK}, enrich: true"));
    let rows = world.rows().await;
    let told: Vec<_> = rows.iter().filter(|row| row["check"] == "variables").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    World::says(&rows, ("variables", "route `rest`"), "warn", &["brings bench.url\""]);
}

#[tokio::test]
async fn who_does_not_answer_fails_alone() {
    let world = world(setup()).await;
    world.telegram.fault(Fault::HangBefore.always().method("getMe"));
    let rows = world.rows().await;
    World::says(&rows, ("telegram token", ""), "fail", &["no answer within 10 s"]);
    World::says(&rows, ("slack channel", "ops-slack"), "ok", &[""]);
    World::says(&rows, ("queue", "TEST"), "ok", &[""]);
}

#[tokio::test]
async fn a_database_that_would_lose_commits_is_told_and_none_is_touched() {
    let server = Server::start(&["synchronous_commit=off"]);
    let world = world(setup()).await;
    world.config(|text| text.replace("sqlite://data/campanile.db", &server.url()));
    let place = ("store", "PostgreSQL at ");
    World::says(&world.rows().await, place, "fail", &["synchronous_commit is off", "set synchronous_commit = on"]);
    let sound = Server::start(&[]);
    world.config(|text| text.replace(&server.url(), &sound.url()));
    let empty = ["empty; `campanile serve` makes its tables"];
    World::says(&world.rows().await, place, "ok", &empty);
    World::says(&world.rows().await, place, "ok", &empty); // the first made none
}

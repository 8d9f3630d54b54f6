//! Rows that are told seldom: what must stand in them, and that a warning is no failure ([`World::rows`] holds the exit
//! code against the rows).

use campanile::clock::Clock;
use campanile::simulator::{Fault, SlackChannel, SlackOptions, TrackerApplication};
use serde_json::{Value, json};

use super::{World, setup, world};
use crate::harness::{SLACK, SLACK_TOKEN, Setup, TELEGRAM};

const APPLICATION: (&str, &str) = ("link application", "campanile");

#[tokio::test]
async fn whether_tracker_knows_the_application_is_told() {
    let more = "links: {auth: none, application: campanile}\n".to_owned();
    let world = world(Setup { more, ..setup() }).await;
    let unknown = ["Tracker knows no application of this id", "campanile links registration"];
    World::says(&world.rows().await, APPLICATION, "warn", &unknown);
    for (status, said) in [(403, "may not"), (500, "HTTP 500"), (200, "an answer that is not")] {
        let fault = Fault::Status { status, body: json!({"errorMessages": ["нельзя"]}).to_string() };
        world.tracker().fault(fault.always().method("applications"));
        let rows = world.rows().await;
        World::says(&rows, APPLICATION, "warn", &[said]); // links are heard of all the same
        assert!(rows.iter().all(|row| row["state"] != "fail"), "{rows:#?}");
        world.tracker().clear();
    }
    world.tracker().set_application(TrackerApplication::new("another", "Another"));
    World::says(&world.rows().await, APPLICATION, "warn", &unknown);
    world.tracker().set_application(TrackerApplication::new("campanile", "Campanile"));
    World::says(&world.rows().await, APPLICATION, "ok", &["Tracker knows it"]);
    world.config(|text| text.replace(", application: campanile", ""));
    let rows = world.rows().await;
    assert!(rows.iter().all(|row| row["check"] != APPLICATION.0), "none is configured: {rows:#?}");
}

#[tokio::test]
async fn where_everybody_may_post_the_app_need_not_be_in_the_channel() {
    let with = |scopes: &[&str]| {
        let slack = SlackOptions::new(Clock::machine()).token(SLACK_TOKEN).without_pace();
        Setup { slack: slack.scopes(scopes.iter().copied()), ..setup() }
    };
    let channel = |private| SlackChannel { name: "ops".into(), left: true, private, ..SlackChannel::default() };
    let of_channel = ("slack channel", "ops-slack");
    let scopes = ["chat:write", "chat:write.public", "channels:read", "groups:read"];
    let public = world(with(&scopes)).await;
    public.slack.set_channel(SLACK, channel(false));
    let may = ["ops, as everybody may post there (chat:write.public)"];
    World::says(&public.rows().await, of_channel, "ok", &may);
    let told = json!({"ok": true, "channel": {"name": "ops", "is_member": false, "is_private": true}});
    let fault = Fault::Status { status: 200, body: told.to_string() };
    public.slack.fault(fault.once().method("conversations.info"));
    World::says(&public.rows().await, of_channel, "fail", &["the app is not in ops", "/invite"]);
    public.slack.set_channel(SLACK, SlackChannel { archived: true, ..channel(false) });
    World::says(&public.rows().await, of_channel, "fail", &["ops is archived", "lead its routes elsewhere"]);

    let without = world(with(&["chat:write", "channels:read", "groups:read"])).await;
    without.slack.set_channel(SLACK, channel(false));
    World::says(&without.rows().await, of_channel, "fail", &["the app is not in ops", "/invite"]);
}

#[tokio::test]
async fn a_slack_that_asks_for_a_pause_is_no_failure() {
    let world = world(setup()).await;
    let pause = ["it wants a pause: ", "ask again in a minute"];
    world.slack.fault(Fault::rate_limited(30).always().method("conversations.info"));
    let rows = world.rows().await;
    World::says(&rows, ("slack token", "slack"), "ok", &["campanile in Simulated"]);
    World::says(&rows, ("slack channel", "ops-slack"), "warn", &pause);
    world.slack.fault(Fault::rate_limited(30).always().method("auth.test"));
    let told = world.doctor(&[]).await;
    assert_eq!(told.code, Some(0), "{}", told.out);
    let lines: Vec<_> = told.out.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("warn   slack token ")).unwrap();
    assert!(lines[at].contains(pause[0]) && lines[at + 1].contains(&format!("hint: {}", pause[1])), "{}", told.out);
    assert!(told.out.ends_with("1 warn, 0 failed\n"), "{}", told.out);
    World::says(&world.rows().await, ("slack token", "slack"), "warn", &pause);
}

/// Each of them lets `getChat` through, and keeps the bot from writing.
#[tokio::test]
async fn a_bot_that_may_not_write_in_its_chat_is_told_why() {
    let world = world(setup()).await;
    let (group, channel) = ("supergroup", "channel");
    let told = |method: &str, result: Value| {
        let fault = Fault::Status { status: 200, body: json!({"ok": true, "result": result}).to_string() };
        world.telegram.fault(fault.once().method(method));
    };
    let may_write = |may: bool| json!({"can_send_messages": may});
    for (kind, permissions, member, wanted, said) in [
        (
            group,
            may_write(false),
            json!({"status": "member"}),
            "fail",
            ["only administrators may write in Ops", "let members write"],
        ),
        (group, may_write(true), json!({"status": "member"}), "ok", ["Ops", ""]),
        (group, Value::Null, json!({"status": "member"}), "ok", ["Ops", ""]),
        (group, may_write(false), json!({"status": "administrator"}), "ok", ["Ops", ""]),
        (group, may_write(false), json!({"status": "restricted", "can_send_messages": true}), "ok", ["Ops", ""]),
        (
            group,
            may_write(true),
            json!({"status": "restricted"}),
            "fail",
            ["may not write in Ops", "lift its restriction"],
        ),
        (group, may_write(true), json!({"status": "left"}), "fail", ["the bot is not in Ops", "add the bot to it"]),
        (group, may_write(true), json!({"status": "kicked"}), "fail", ["removed from Ops", "add the bot again"]),
        (channel, Value::Null, json!({"status": "administrator"}), "fail", ["may not post in Ops", "Post messages"]),
        (channel, Value::Null, json!({"status": "administrator", "can_post_messages": true}), "ok", ["Ops", ""]),
    ] {
        let id: i64 = TELEGRAM.parse().unwrap();
        told("getChat", json!({"id": id, "type": kind, "title": "Ops", "permissions": permissions}));
        told("getChatMember", member);
        World::says(&world.rows().await, ("telegram chat", "ops-telegram"), wanted, &said);
    }
}

/// Root may look everywhere: what nobody can open is a file where the folder should be.
#[tokio::test]
async fn a_store_whose_folder_is_none_is_told() {
    let world = world(setup()).await;
    world.config(|text| text.replace("sqlite://data/campanile.db", "sqlite://taken/deep/new.db"));
    let file = world.folder.path().join("taken");
    World::says(&world.rows().await, ("store", "taken/deep/new.db"), "ok", &["serve` makes it"]);
    std::fs::write(&file, "a file").unwrap();
    let said = ["taken/deep/new.db: cannot be looked at (", "Not a directory"];
    World::says(&world.rows().await, ("store", "taken/deep/new.db"), "fail", &said);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a file");
}

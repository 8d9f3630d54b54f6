//! `connect` and `disconnect`: the real binary makes a queue's triggers, and they call the real server.

use campanile::simulator::{Fault, TrackerUser};
use campanile::tracker::trigger::{Wanted, Watched};
use serde_json::{Value, json};

use crate::commands::{Ran, run_with_secrets};
use crate::harness::{HOOK_SECRET, Setup, TRACKER_TOKEN, World};

const SECRETS: [(&str, &str); 2] = [("HOOK", HOOK_SECRET), ("TRACKER_TOKEN", TRACKER_TOKEN)];
const ALL: [&str; 5] = ["created", "status_changed", "comment_added", "updated", "assigned"];

impl World {
    /// Runs the binary on the configuration that says how this server is reached.
    pub async fn run_public(&self, arguments: &[&str]) -> Ran {
        self.run_public_with(arguments, &SECRETS).await
    }

    async fn run_public_with(&self, arguments: &[&str], secrets: &[(&str, &str)]) -> Ran {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        let server = format!("shutdown_seconds: 10, public_url: '{}'", self.public_url(""));
        let text = text.replacen("shutdown_seconds: 10", &server, 1);
        std::fs::write(self.folder.path().join("connect.yaml"), text).unwrap();
        let arguments = [arguments, &["--config", "connect.yaml"]].concat();
        let ran = run_with_secrets(self.folder.path(), &arguments, "", secrets).await;
        for said in [&ran.out, &ran.err] {
            assert!(!said.contains(HOOK_SECRET) && !said.contains(TRACKER_TOKEN), "{said}");
        }
        ran
    }

    fn standing(&self) -> Vec<Value> {
        self.tracker().triggers("TEST")
    }

    pub fn named(&self, event: &str) -> Value {
        let name = format!("Campanile tracker: {event}");
        let standing = self.standing();
        let [one] = &standing.iter().filter(|it| it["name"] == name).collect::<Vec<_>>()[..] else {
            panic!("not one {name}: {standing:#?}")
        };
        (*one).clone()
    }

    /// Changes a trigger as somebody does on the pages of the queue.
    pub async fn edited(&self, event: &str, change: Value) -> Value {
        let trigger = self.named(event);
        let (id, version) = (&trigger["id"], &trigger["version"]);
        let url = format!("{}/v3/queues/TEST/triggers/{id}?version={version}", self.tracker().api_url());
        let request = self.http.call(http::Method::PATCH, &url).header("x-org-id", "1");
        let answer = request.header("authorization", format!("OAuth {TRACKER_TOKEN}")).json(&change).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

fn did(told: &Value) -> Vec<(&str, &str)> {
    let triggers = told["triggers"].as_array().unwrap().iter();
    triggers.map(|it| (it["name"].as_str().unwrap(), it["did"].as_str().unwrap())).collect()
}

async fn start() -> World {
    Setup::default().with_tracker().start().await
}

#[tokio::test]
async fn a_connected_queue_tells_both_messengers() {
    let world = start().await;
    let out = world.run_public(&["connect", "TEST"]).await.done();
    for event in ALL {
        assert!(out.contains(&format!("Campanile tracker: {event}")), "{out}");
        assert_eq!(world.named(event)["active"], true);
    }
    world.tracker().change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.until_posted(1, 1).await;
    for texts in [world.slack_texts(), world.telegram_texts()] {
        assert!(texts[0].contains("TEST-1") && texts[0].contains("maria.petrova"), "{texts:?}");
    }
    // Whoever is assigned, it is one event.
    world.tracker().update("TEST-2", json!({"assignee": "ivan.ivanov"}).as_object().unwrap(), "maria.petrova").unwrap();
    let fired = world.tracker().changelog("TEST-2").pop().unwrap()["executedTriggers"].clone();
    assert_eq!(fired.as_array().map(Vec::len), Some(1), "{fired:#}");
    world.until_posted(2, 2).await;
}

#[tokio::test]
async fn what_stands_as_it_should_is_not_written_again() {
    let world = start().await;
    let first = world.run_public(&["connect", "TEST", "--json"]).await.json();
    assert_eq!(first["endpoint"], world.public_url("/hooks/tracker"));
    assert!(did(&first).iter().all(|(_, did)| *did == "created") && did(&first).len() == 5, "{first:#}");
    let before = world.standing();
    let out = world.run_public(&["connect", "TEST"]).await.done();
    assert_eq!(out.matches("as it should be").count(), 5, "{out}");
    assert!(out.contains("--secret-again"), "{out}");
    assert_eq!(world.standing(), before);
    assert_eq!((world.tracker().requests("create_trigger"), world.tracker().requests("patch_trigger")), (5, 0));
    // The secret was changed: Tracker shows none, so that we are told.
    let turned = [("HOOK", "another-s3cret"), SECRETS[1]];
    let out = world.run_public_with(&["connect", "TEST", "--secret-again"], &turned).await.done();
    assert_eq!(out.matches("updated").count(), 5 + 1, "{out}"); // one is named so
    assert_eq!(world.named("created")["actions"][0]["headers"]["X-Campanile-Token"], "another-s3cret");
    assert_eq!(world.tracker().requests("patch_trigger"), 5);
}

#[tokio::test]
async fn only_the_events_that_are_asked_for_are_made() {
    let world = start().await;
    let told = world.run_public(&["connect", "TEST", "--events", "created,status_changed", "--json"]).await.json();
    assert_eq!(
        did(&told),
        [("Campanile tracker: created", "created"), ("Campanile tracker: status_changed", "created")]
    );
    assert_eq!(world.standing().len(), 2);
    let out = world.run_public(&["connect", "TEST", "--events", "created"]).await.done();
    assert!(out.contains("left alone") && out.contains("was not asked for"), "{out}");
    let ran = world.run_public(&["connect", "TEST", "--events", "deleted"]).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("created, status_changed, comment_added, updated, assigned"), "{}", ran.err);
}

#[tokio::test]
async fn what_was_edited_by_hand_is_mended() {
    let world = start().await;
    world.run_public(&["connect", "TEST"]).await.done();
    world.edited("created", json!({"conditions": [], "active": false})).await;
    let mut actions = world.named("updated")["actions"].clone();
    actions[0]["body"] = "{\"text\": \"{{issue.summary}}\"}".into();
    world.edited("updated", json!({"actions": actions})).await;
    let before = world.standing();
    let out = world.run_public(&["connect", "TEST", "--dry-run"]).await.done();
    assert!(out.contains("would be updated") && out.contains("Nothing was written."), "{out}");
    assert_eq!(world.standing(), before, "a dry run writes nothing");
    let told = world.run_public(&["connect", "TEST", "--json"]).await.json();
    let members = |event: &str| {
        let name = format!("Campanile tracker: {event}");
        told["triggers"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()["members"].clone()
    };
    assert_eq!(members("created"), json!(["active", "conditions"]));
    assert_eq!(members("updated"), json!(["actions.body"]));
    assert_eq!(members("assigned"), Value::Null);
    assert_eq!(world.named("created")["conditions"], json!([{"type": "Event.create"}]));
    assert!(world.named("updated")["actions"][0]["body"].as_str().unwrap().contains("{{issue.summary.json}}"));
}

#[tokio::test]
async fn others_triggers_stay_as_they_are() {
    let world = start().await;
    let action = |endpoint: &str| {
        json!({"type": "Webhook", "endpoint": endpoint, "method": "POST", "authContext": {"type": "noauth"},
            "body": "{\"key\": \"{{issue.key}}\"}"})
    };
    let when = json!([{"type": "Event.create"}]);
    let own = world.public_url("/hooks/tracker");
    for (name, endpoints) in [
        ("Campanile tracker: created", vec!["https://other.example.com/hooks/tracker/t0p-s3cret"]),
        ("Campanile tracker: updated", vec![&*own, "https://other.example.com/"]),
        ("Our own", vec![&*own]),
        ("Another's", vec!["https://other.example.com/"]),
    ] {
        let actions: Vec<_> = endpoints.into_iter().map(action).collect();
        world.tracker().make_trigger("TEST", &json!({"name": name, "conditions": when, "actions": actions})).unwrap();
    }
    let before = world.standing();
    let ran = world.run_public(&["connect", "TEST"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{}", ran.out);
    assert_eq!(world.standing()[..4], before, "byte by byte");
    assert_eq!(world.standing().len(), 4 + 4, "an `updated` beside the one that stands would tell all twice");
    for (name, why) in [
        ("Campanile tracker: created", "calls another address"),
        ("Campanile tracker: updated", "does more"),
        ("Our own", "comes twice"),
    ] {
        let told = |line: &str| line.contains("left alone") && line.contains(name) && line.contains(why);
        assert!(ran.out.lines().any(told), "{name}: {}", ran.out);
    }
    assert!(!ran.out.contains("Another's") && !ran.out.contains("t0p-s3cret"), "{}", ran.out);
    world.run_public(&["disconnect", "TEST"]).await;
    assert_eq!(world.standing()[..4], before, "byte by byte");
    assert!(world.standing()[4..].iter().all(|it| it["active"] == false));
}

#[tokio::test]
async fn a_disconnected_queue_is_silent_until_it_is_connected_again() {
    let world = start().await;
    world.run_public(&["connect", "TEST"]).await.done();
    let before = world.standing();
    let out = world.run_public(&["disconnect", "TEST", "--dry-run"]).await.done();
    assert_eq!(out.matches("would be switched off").count(), 5, "{out}");
    assert_eq!(world.standing(), before, "a dry run writes nothing");
    let out = world.run_public(&["disconnect", "TEST", "--events", "assigned"]).await.done();
    assert_eq!(out.matches("switched off").count(), 1, "{out}");
    let told = world.run_public(&["disconnect", "TEST", "--json"]).await.json();
    assert_eq!(did(&told).iter().filter(|(_, did)| *did == "switched_off").count(), 4, "{told:#}");
    for (now, before) in world.standing().iter().zip(&before) {
        assert_eq!((&now["active"], &now["actions"]), (&json!(false), &before["actions"]));
    }
    world.tracker().change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.run_public(&["connect", "TEST"]).await.done();
    world.tracker().change_status("TEST-1", "inProgress", "maria.petrova").unwrap();
    world.until_posted(1, 1).await;
    world.tracker().wait_for_sent(1, 0).await;
    assert_eq!(world.tracker().log().len(), 1);
}

#[tokio::test]
async fn a_change_that_overtakes_ours_is_read_again_three_times_at_most() {
    let world = start().await;
    world.run_public(&["connect", "TEST"]).await.done();
    world.edited("created", json!({"active": false})).await;
    world.tracker().fault(Fault::error("412 Версия устарела").times(2).method("patch_trigger"));
    let out = world.run_public(&["connect", "TEST"]).await.done();
    assert!(out.contains("updated"), "{out}");
    assert_eq!(world.named("created")["active"], true);
    world.edited("created", json!({"active": false})).await;
    world.tracker().fault(Fault::error("409 Версия устарела").times(3).method("patch_trigger"));
    let ran = world.run_public(&["connect", "TEST"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("failed") && ran.out.contains("changed meanwhile"), "{}", ran.out);
    assert_eq!(ran.out.matches("as it should be").count(), 4, "the others are looked at: {}", ran.out);
}

/// What it has become since it was listed decides, and not what it was.
#[tokio::test]
async fn a_trigger_that_somebody_makes_his_own_meanwhile_is_left_to_him() {
    let world = start().await;
    world.run_public(&["connect", "TEST"]).await.done();
    world.edited("created", json!({"active": false})).await;
    world.tracker().fault(Fault::HangBefore.once().method("patch_trigger"));
    let before = world.tracker().requests("patch_trigger");
    let overtaking = async {
        while world.tracker().requests("patch_trigger") == before {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let his = world.edited("created", json!({"name": "Mine"})).await;
        world.tracker().release();
        his
    };
    let both = async { tokio::join!(world.run_public(&["connect", "TEST"]), overtaking) };
    let (ran, his) = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("in time");
    assert!(world.standing().contains(&his), "{:#?}", world.standing());
    assert!(ran.out.contains("Mine") || ran.out.contains("created"), "{}", ran.out);
}

#[tokio::test]
async fn two_that_are_ours_become_one() {
    let setup = Setup::default().with_tracker();
    let late = setup.tracker.clone().unwrap().triggers_show_after(std::time::Duration::from_secs(5));
    let world = Setup { tracker: Some(late), ..setup }.start().await;
    for _ in 0..2 {
        world.run_public(&["connect", "TEST", "--events", "created"]).await.done(); // Tracker shows a new one late
    }
    assert_eq!(world.standing().len(), 2);
    world.clock.pass(std::time::Duration::from_secs(5));
    let told = world.run_public(&["connect", "TEST", "--events", "created", "--json"]).await.json();
    assert_eq!(did(&told).iter().map(|(_, did)| *did).collect::<Vec<_>>(), ["unchanged", "switched_off"]);
    let active: Vec<_> = world.standing().iter().map(|it| it["active"] == true).collect();
    assert_eq!(active, [true, false]);
}

#[tokio::test]
async fn a_lost_answer_is_told_and_nothing_is_made_twice() {
    let world = start().await;
    world.tracker().fault(Fault::LoseAnswer.once().method("create_trigger"));
    let ran = world.run_public(&["connect", "TEST"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("failed") && ran.out.contains("it may have been done or not"), "{}", ran.out);
    assert_eq!(world.standing().len(), 1, "Tracker is not asked for the others");
    let told = world.run_public(&["connect", "TEST", "--json"]).await.json();
    assert_eq!(did(&told).iter().filter(|(_, did)| *did == "created").count(), 4, "{told:#}");
    assert_eq!(world.standing().len(), 5);
}

#[tokio::test]
async fn each_source_has_its_own_triggers() {
    let sources = "  second: {kind: tracker, secret: {env: HOOK}}\n".into();
    let world = Setup { sources, ..Setup::default().with_tracker() }.start().await;
    for source in ["tracker", "second"] {
        world.run_public(&["connect", "TEST", "--source", source, "--events", "created"]).await.done();
    }
    let active = || world.standing().iter().map(|it| it["active"] == true).collect::<Vec<_>>();
    assert_eq!(world.standing()[1]["name"], "Campanile second: created");
    assert_eq!(active(), [true, true]);
    world.run_public(&["disconnect", "TEST", "--source", "second"]).await.done();
    assert_eq!(active(), [true, false]);
    world.run_public(&["disconnect", "TEST"]).await.done();
    assert_eq!(active(), [false, false]);
    let out = world.run_public(&["disconnect", "TEST", "--events", "updated"]).await.done();
    assert!(out.contains("nothing: no such trigger of TEST"), "{out}");
}

#[tokio::test]
async fn what_is_pasted_by_hand_shows_no_secret_and_asks_nobody() {
    let world = start().await;
    let out = world.run_public_with(&["connect", "TEST", "--print"], &[]).await.done();
    let shown = out.replace(&world.public_url(""), "https://bells.example.com");
    insta::assert_snapshot!(shown);
    let all = world.run_public_with(&["connect", "TEST", "--print", "--json"], &[]).await.json();
    assert_eq!(all[0]["actions"][0]["headers"]["X-Campanile-Token"], "<the value of HOOK>");
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(world.tracker().requests("triggers") + world.tracker().requests("create_trigger"), 0);
}

#[tokio::test]
async fn what_tracker_refuses_is_told_with_the_way_out() {
    let setup = Setup::default().with_tracker();
    let user = TrackerUser::new("campanile-bot", "Колокол", "Мост").without_rights();
    let world = Setup { tracker: setup.tracker.clone().map(|it| it.user(user)), ..setup }.start().await;
    for command in ["connect", "disconnect"] {
        let err = world.run_public(&[command, "TEST"]).await.refused();
        assert!(err.contains("campanile-bot may not do this to TEST"), "{err}");
        assert!(err.contains("the right to change the queue's settings: give it to campanile-bot"), "{err}");
        let err = world.run_public(&[command, "test"]).await.refused();
        assert!(err.contains("written in capitals: `TEST`"), "{err}");
        let err = world.run_public(&[command, "NONE"]).await.refused();
        assert!(err.contains("NONE does not exist"), "{err}");
        world.tracker().expire_token(TRACKER_TOKEN);
        let err = world.run_public(&[command, "TEST"]).await.refused();
        assert!(err.contains("HTTP 401") && err.contains("put a new token where `tracker.token`"), "{err}");
        world.tracker().renew_token(TRACKER_TOKEN, "campanile-bot");
    }
    assert_eq!(world.standing(), [Value::Null; 0]);
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), text.replace("org_id: \"1\"", "org_id: \"2\"")).unwrap();
    let err = world.run_public(&["connect", "TEST"]).await.refused();
    assert!(err.contains("lets nobody in by this token") && err.contains("tracker.org_id"), "{err}");
    std::fs::write(world.config_path(), text.replace(&world.tracker().api_url(), "http://127.0.0.1:9")).unwrap();
    let err = world.run_public(&["connect", "TEST"]).await.refused();
    assert!(err.contains("Tracker could not be asked") && err.contains("`tracker.url`"), "{err}");
}

#[tokio::test]
async fn what_the_configuration_lacks_is_told_with_the_way_out() {
    let world = Setup {
        sources: "  benches: {kind: bench, secret: {env: BENCHES}}\n".into(),
        secrets: vec![("BENCHES", "bench-s3cret")],
        ..Setup::default()
    };
    let world = world.start().await;
    let refused = async |arguments: &[&str]| world.run_public(arguments).await.refused();
    let err = refused(&["connect", "TEST"]).await;
    assert!(err.contains("no `tracker.token`") && err.contains("org_id"), "{err}");
    let err = world.run_public_with(&["connect", "TEST"], &[]).await.refused();
    assert!(err.contains("`sources.tracker.secret` has no value: the environment variable `HOOK`"), "{err}");
    let err = world.run_public_with(&["connect", "TEST"], &[("HOOK", "two\nlines")]).await.refused();
    assert!(err.contains("no trigger's header can carry"), "{err}");
    let err = refused(&["connect", "TEST", "--source", "benches"]).await;
    assert!(err.contains("is of kind `bench`"), "{err}");
    let err = refused(&["connect", "TEST", "--source", "traker"]).await;
    assert!(err.contains("no source is named `traker`") && err.contains("`tracker`"), "{err}");
    let bare = run_with_secrets(world.folder.path(), &["connect", "TEST", "--print"], "", &[]).await;
    let err = bare.refused();
    assert!(err.contains("`server.public_url` is not set"), "{err}");
}

/// Of a bridge whose `server.public_url` was another one.
fn before(world: &World, event: Watched) {
    let trigger = Wanted::of(event, "https://old.example.com", "tracker", &HOOK_SECRET.to_owned().into());
    world.tracker().make_trigger("TEST", &trigger.json()).unwrap();
}

#[tokio::test]
async fn after_a_move_the_triggers_of_the_address_before_are_mended() {
    let world = start().await;
    Watched::ALL.into_iter().for_each(|event| before(&world, event));
    // Without a word of it: a second one is made, and the line of the first names the way out.
    let out = world.run_public(&["connect", "TEST", "--events", "created"]).await.done();
    assert!(out.lines().any(|it| it.contains("left alone") && it.contains("--was URL")), "{out}");
    assert_eq!(world.standing().len(), 6);
    let was = ["connect", "TEST", "--was", "https://old.example.com/", "--json"];
    let told = world.run_public(&was).await.json();
    let wanted = ["unchanged", "switched_off", "updated", "updated", "updated", "updated"];
    assert_eq!(did(&told).iter().map(|(_, did)| *did).collect::<Vec<_>>(), wanted, "{told:#}");
    assert_eq!(told["triggers"][2]["members"], json!(["actions.endpoint"]));
    let (own, standing) = (world.public_url("/hooks/tracker"), world.standing());
    assert_eq!(standing.len(), 6);
    let active: Vec<_> = standing.iter().filter(|it| it["active"] == true).collect();
    assert_eq!(active.len(), 5);
    assert!(active.iter().all(|it| it["actions"][0]["endpoint"] == own), "{active:#?}");
    world.tracker().change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.until_posted(1, 1).await;
    let ran = world.run_public(&["connect", "TEST", "--was", "old.example.com"]).await;
    assert!(ran.code == Some(2) && ran.err.contains("https://bells.example.com"), "{}", ran.err);
}

#[tokio::test]
async fn what_calls_the_address_before_is_switched_off_with_the_rest() {
    let world = start().await;
    before(&world, Watched::Created);
    let left = world.run_public(&["disconnect", "TEST"]).await.done();
    assert!(left.contains("left alone") && left.contains("--was URL"), "{left}");
    assert_eq!(world.named("created")["active"], true);
    world.run_public(&["disconnect", "TEST", "--was", "https://old.example.com"]).await.done();
    assert_eq!(world.named("created")["active"], false);
}

/// Of another bridge, of another source, or people's own.
#[tokio::test]
async fn with_the_address_before_the_triggers_of_others_stay_as_they_are() {
    let world = start().await;
    before(&world, Watched::Created);
    let ours = "Campanile tracker: created";
    for (name, endpoint) in [
        (ours, "https://third.example.com/hooks/tracker"),
        (ours, "https://old.example.com/hooks/another"),
        (ours, "https://old.example.com/hooks/tracker-2"),
        (ours, "https://old.example.com.example.net/hooks/tracker"),
        ("Campanile tracker: created (mine)", "https://old.example.com/hooks/tracker"),
        ("Campanile another: created", "https://old.example.com/hooks/tracker"),
        ("campanile tracker: created", "https://old.example.com/hooks/tracker"),
    ] {
        let secret = HOOK_SECRET.to_owned().into();
        let mut made = Wanted::of(Watched::Created, "https://old.example.com", "tracker", &secret).json();
        made["name"] = name.into();
        made["actions"][0]["endpoint"] = endpoint.into();
        world.tracker().make_trigger("TEST", &made).unwrap();
    }
    let standing = world.standing();
    for command in ["connect", "disconnect"] {
        world.run_public(&[command, "TEST", "--events", "created", "--was", "https://old.example.com"]).await.done();
        assert_eq!(world.standing()[1..], standing[1..], "{command}");
    }
    let first = &world.standing()[0];
    let endpoint = &first["actions"][0]["endpoint"];
    assert_eq!((endpoint.as_str(), &first["active"]), (Some(&*world.public_url("/hooks/tracker")), &json!(false)));
}

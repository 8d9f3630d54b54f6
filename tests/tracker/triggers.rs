//! The triggers that we want, made in Tracker, call us, and are known again.

use campanile::simulator::tracker::TrackerIssue;
use campanile::tracker::trigger::{Wanted, Watched};
use serde_json::{Value, json};

use super::*;
use crate::harness::{HOOK_SECRET, Setup};

#[tokio::test]
async fn what_is_wanted_fires_and_stands_as_wanted() {
    let campanile = Setup::default().start().await;
    let world = World::start().await;
    let (url, secret) = (campanile.public_url(""), HOOK_SECRET.into());
    let wanted = Watched::ALL.map(|watched| Wanted::of(watched, &url, "tracker", &secret));
    for wanted in &wanted {
        let made = world.api.create_trigger("TEST", &wanted.json()).await.unwrap();
        assert!(wanted.is(&made) && wanted.differences(&made).is_empty(), "{:?}", wanted.differences(&made));
    }
    let standing = world.api.triggers("TEST").await.unwrap();
    for wanted in &wanted {
        let trigger = standing.iter().find(|trigger| wanted.is(trigger)).unwrap();
        assert_eq!(wanted.differences(trigger), []);
        let (id, off) = (trigger.id.as_deref().unwrap(), json!({"active": false}));
        let off = world.api.patch_trigger("TEST", id, trigger.version, &off).await.unwrap();
        assert_eq!(wanted.differences(&off).iter().map(|it| it.member).collect::<Vec<_>>(), ["active"]);
        let on = world.api.patch_trigger("TEST", id, off.version, &wanted.json()).await.unwrap();
        assert_eq!(wanted.differences(&on), []);
    }

    let ivan = "ivan.ivanov";
    world.tracker.create(TrackerIssue::new("TEST-2", "Кнопка \"Сохранить\"\n\\не работает")).unwrap();
    world.tracker.change_status("TEST-2", "inProgress", ivan).unwrap();
    world.tracker.comment("TEST-2", "so", ivan).unwrap();
    world.tracker.update("TEST-2", json!({"priority": "critical"}).as_object().unwrap(), ivan).unwrap();
    world.tracker.update("TEST-2", json!({"assignee": "maria.petrova"}).as_object().unwrap(), ivan).unwrap();
    world.tracker.update("TEST-2", json!({"storyPoints": 3}).as_object().unwrap(), ivan).unwrap();
    world.tracker.wait_for_sent(5, 0).await;
    let mut told: Vec<String> = Vec::new();
    for entry in world.tracker.log() {
        assert_eq!(entry["response"]["statusCode"], 202, "{entry}");
        let body: Value = serde_json::from_str(entry["request"]["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["key"], &body["actor"]), (&json!("TEST-2"), &json!(ivan)));
        assert_eq!(body["summary"], "Кнопка \"Сохранить\"\n\\не работает");
        told.push(format!(
            "{}{}",
            body["event"].as_str().unwrap(),
            if body["comment"]["id"].is_string() { " with its id" } else { "" }
        ));
    }
    told.sort();
    assert_eq!(told, ["assigned", "comment_added with its id", "created", "status_changed", "updated"]);
    let id = standing[0].id.as_deref().unwrap();
    let day = |day: &str| format!("2026-05-{day}T00:00:00Z").parse().unwrap();
    let log = world.api.webhook_log("TEST", id, day("12"), day("13"), 100).await.unwrap();
    let [fired] = &log[..] else { panic!("{log:?}") };
    let (asked, answered) = (fired.request.as_ref().unwrap(), fired.response.as_ref().unwrap());
    assert_eq!((asked.endpoint.as_deref(), answered.status_code), (Some(wanted[0].endpoint()), Some(202)));
    assert_eq!(world.api.webhook_log("TEST", id, day("13"), day("14"), 100).await.unwrap().len(), 0);
}

//! A link that was answered is kept, and counts at every replica.

use campanile::clock::Clock;
use campanile::simulator::{SlackSimulator, TelegramSimulator};
use serde_json::json;

use super::{TOKEN, by_token};
use crate::harness::child::{self, Bridge};
use crate::harness::postgres::Database;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, Setup, issue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_answered_outlives_a_kill() {
    let setup = Setup::on(Clock::machine()).routes("  - {name: nowhere, when: 'false', channels: [ops-slack]}\n");
    let setup = Setup { more: "links: {auth: {token: {env: LINKS}}}\n".into(), ..setup };
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    bridge.env("LINKS", TOKEN);
    let http = Client::default();
    for n in 1..=5 {
        bridge.start().await;
        let call =
            http.post(&format!("http://{}/links", bridge.public)).header("authorization", format!("OAuth {TOKEN}"));
        let answer = call.json(&json!({"issueKey": format!("TEST-{n}"), "entityIds": ["channel:ops-slack"]})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        bridge.kill();
    }
    let config = folder.path().join("config.yaml").display().to_string();
    let list = |more: &[&str]| {
        let arguments = [&["links", "list", "--config", &config], more].concat();
        let end = child::run(&arguments, &[("LINKS", TOKEN)]);
        assert!(end.status.success(), "{end:?}");
        String::from_utf8(end.stdout).unwrap()
    };
    assert!(list(&[]).contains("TEST-5  channel:ops-slack"), "nobody runs: {}", list(&[]));
    bridge.start().await;
    let listed: serde_json::Value = serde_json::from_str(&list(&["--json", "--issue", "TEST-3"])).unwrap();
    assert_eq!(listed["links"].as_array().unwrap().len(), 1, "{listed}");
    for n in 1..=5 {
        let call = http.post(&bridge.hook_url()).header("authorization", format!("Bearer {HOOK_SECRET}"));
        let answer = call.json(&issue(&format!("TEST-{n}"), "created")).await;
        assert_eq!(answer.json()["deliveries"], 1, "{}", answer.text);
    }
    slack.wait_for_posts(5).await;
    assert!(!bridge.log().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_made_at_one_replica_counts_at_the_other_for_the_next_event() {
    let database = Database::new().await;
    let world = Setup { store: format!("'{}'", database.url), tracker: None, ..by_token() }.start().await;
    let other = world.another_app().await;
    for n in 1..=20 {
        let key = format!("TEST-{n}");
        let trigger = async |event: &str| {
            let url = format!("http://{}/hooks/tracker", other.public);
            let call = world.http.post(&url).header("authorization", format!("Bearer {HOOK_SECRET}"));
            let answer = call.json(&issue(&key, event)).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            answer.json()["deliveries"].clone()
        };
        assert_eq!(trigger("created").await, 0);
        assert_eq!(world.create_links(&key, &["channel:ops-slack"]).await.status, 200);
        assert_eq!(trigger("updated").await, 1);
        assert_eq!(world.remove_link("channel:ops-slack", &key).await.status, 204);
        assert_eq!(trigger("resolved").await, 0);
    }
    let clock = world.clock.clone();
    let stop = other.stop();
    tokio::pin!(stop);
    while tokio::time::timeout(std::time::Duration::from_millis(4), &mut stop).await.is_err() {
        clock.pass(std::time::Duration::from_millis(100));
    }
}

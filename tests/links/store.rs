//! A link that was answered is kept, and counts at every replica; where the store hangs, Tracker is answered in time.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{SlackSimulator, TelegramSimulator};
use futures_util::future::join_all;
use serde_json::json;

use super::{TOKEN, by_token, driving};
use crate::harness::child::{self, Bridge};
use crate::harness::postgres::{Database, connect};
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, Setup, World, issue};

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
    let (world, _database) = on_postgres().await;
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
    while tokio::time::timeout(Duration::from_millis(4), &mut stop).await.is_err() {
        clock.pass(Duration::from_millis(100));
    }
}

/// Whoever wants this table waits, until the client commits.
async fn hold(client: &tokio_postgres::Client, table: &str) {
    client.batch_execute(&format!("begin; lock table {table} in access exclusive mode")).await.unwrap();
}

/// Returns when a statement with these words waits for a table: what else wants it in the background does not count.
async fn until_waits(client: &tokio_postgres::Client, words: &str) {
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and strpos(query, $1) > 0
        and datname = current_database()";
    while client.query_one(waits, &[&words]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What does not come on the held clock never comes.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("an answer in time")
}

async fn on_postgres() -> (World, Database) {
    let database = Database::new().await;
    (Setup { store: format!("'{}'", database.url), tracker: None, ..by_token() }.start().await, database)
}

/// People look at the issue meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_object_is_is_answered_in_time_also_where_the_store_hangs() {
    let (world, database) = on_postgres().await;
    let (other, look) = (connect(&database.url).await, connect(&database.url).await);
    for (table, words, object, status) in [
        ("objects", "from objects where key", "bench:feature/TEST-1", 404),
        ("channels", "from channels c join lanes l on l.id = c.lane where c.name", "channel:ops-slack", 200),
    ] {
        hold(&other, table).await;
        let pass = async {
            until_waits(&look, words).await;
            world.clock.pass(Duration::from_millis(1_500));
        };
        let answer = in_time(async { tokio::join!(world.object_info(object), pass).0 }).await;
        assert_eq!(answer.status, 500, "{object}: {}", answer.text);
        let said = json!({"errors": {}, "errorMessages": ["the store does not answer; ask again"], "statusCode": 500});
        assert_eq!(answer.json(), said);
        other.batch_execute("commit").await.unwrap();
        assert_eq!(driving(&world, world.object_info(object)).await.status, status, "{object}");
    }
}

/// Tracker waits for all objects of a call together: what the first took is not there for the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_take_too_long_together_are_answered_as_not_stored() {
    let (world, database) = on_postgres().await;
    let objects = ["bench:feature/TEST-1", "channel:ops-slack", "channel:ops-telegram"];
    let (other, next, look) =
        (connect(&database.url).await, connect(&database.url).await, connect(&database.url).await);
    hold(&other, "links").await;
    let pass = async {
        until_waits(&look, "insert into links").await;
        // Behind the first object, and before the second.
        let held = tokio::spawn(async move {
            hold(&next, "links").await;
            next
        });
        until_waits(&look, "lock table links").await;
        world.clock.pass(Duration::from_secs(5));
        other.batch_execute("commit").await.unwrap();
        let next = held.await.unwrap();
        until_waits(&look, "insert into links").await;
        world.clock.pass(Duration::from_secs(3));
        next
    };
    let (answer, next) = in_time(async { tokio::join!(world.create_links("TEST-1", &objects), pass) }).await;
    assert_eq!((answer.status, &answer.json()["errorMessages"]), (500, &json!(["not stored; call again"])));
    next.batch_execute("commit").await.unwrap();
    // The same call adds what is missing, and makes nothing twice.
    assert_eq!(driving(&world, world.create_links("TEST-1", &objects)).await.status, 200);
    let mut linked: Vec<_> = world.links_listed().await.into_iter().map(|(_, object)| object).collect();
    linked.sort();
    assert_eq!(linked, objects);
    assert_eq!(world.event_kinds().await, ["link.created"; 3]);

    // A link that ends has as long.
    hold(&other, "links").await;
    let pass = async {
        until_waits(&look, "delete from links").await;
        world.clock.pass(Duration::from_secs(8));
    };
    let answer = in_time(async { tokio::join!(world.remove_link("channel:ops-slack", "TEST-1"), pass).0 }).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    other.batch_execute("commit").await.unwrap();
    assert_eq!(driving(&world, world.remove_link("channel:ops-slack", "TEST-1")).await.status, 204);
}

/// A database that takes the one and not the other has taken nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_stands_with_its_event_or_not_at_all() {
    let (world, database) = on_postgres().await;
    let db = connect(&database.url).await;
    let no_events = "create or replace function no() returns trigger language plpgsql as
         $$ begin raise exception 'not now'; end $$;
         create trigger no before insert on events for each row execute function no()";
    let link = ("TEST-1".to_owned(), "channel:ops-slack".to_owned());

    db.batch_execute(no_events).await.unwrap();
    assert_eq!(world.create_links("TEST-1", &["channel:ops-slack"]).await.status, 500);
    assert!(world.links_listed().await.is_empty());
    db.batch_execute("drop trigger no on events").await.unwrap();
    assert_eq!(
        world.create_links("TEST-1", &["channel:ops-slack"]).await.json()["events"].as_array().unwrap().len(),
        1
    );
    assert_eq!(world.links_listed().await, std::slice::from_ref(&link));

    db.batch_execute(no_events).await.unwrap();
    assert_eq!(world.remove_link("channel:ops-slack", "TEST-1").await.status, 500);
    assert_eq!(world.links_listed().await, [link]);
    db.batch_execute("drop trigger no on events").await.unwrap();
    assert_eq!(world.remove_link("channel:ops-slack", "TEST-1").await.status, 204);
    assert!(world.links_listed().await.is_empty());
    assert_eq!(world.event_kinds().await, ["link.created", "link.removed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_that_link_the_same_at_once_one_makes_the_event() {
    let (world, _database) = on_postgres().await;
    let other = world.another_app().await;
    let other_url = format!("http://{}", other.public);
    let at = async |url: &str, n: usize| {
        let call = world.http.post(&format!("{url}/links")).header("authorization", format!("OAuth {TOKEN}"));
        let answer = call.json(&json!({"issueKey": format!("TEST-{n}"), "entityIds": ["bench:a"]})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["events"].as_array().unwrap().len()
    };
    let own_url = world.public_url("");
    for n in 1..=20 {
        let (one, two) = tokio::join!(at(&own_url, n), at(&other_url, n));
        assert_eq!(one + two, 1, "TEST-{n}");
    }
    assert_eq!(world.links_listed().await.len(), 20);
    drop(other);
}

/// Whose channels are asked for together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_issues_that_are_told_at_once_each_has_its_own_channels() {
    const ISSUES: usize = 40;
    let (world, _database) = on_postgres().await;
    let channel = |n: usize| ["ops-slack", "ops-telegram"][n % 2];
    for n in 1..=ISSUES {
        let object = format!("channel:{}", channel(n));
        assert_eq!(world.create_links(&format!("TEST-{n}"), &[&object]).await.status, 200);
    }
    let accepted = (1..=ISSUES).map(async |n| (world.accepted(&issue(&format!("TEST-{n}"), "created")).await, n));
    for (event, n) in join_all(accepted).await {
        let shown = world.api(&format!("/api/v1/events/{event}")).await;
        let rows = shown["deliveries"].as_array().unwrap();
        let led: Vec<_> = rows.iter().map(|row| row["channel"].as_str().unwrap()).collect();
        assert_eq!(led, [channel(n)], "TEST-{n}");
    }
}

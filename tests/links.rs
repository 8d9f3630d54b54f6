//! Tracker's external-application protocol: what is linked, who may link, what an object is, and what a linked channel
//! hears. Tracker's side is the simulator's own, or calls as its pages give them.

mod answers;
mod auth;
mod moved;
mod registration;
mod store;

use std::time::Duration;

use campanile::simulator::{TrackerApplication, TrackerUser};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, World, issue};

const TOKEN: &str = "links-t0ken";
/// In Tracker.
const MARIAS_TOKEN: &str = "y0_marias-t0ken";

/// A Tracker that can be asked, and the application registered there; no route leads anywhere.
fn linked(auth: &str) -> Setup {
    let setup = Setup::default().with_tracker().routes("  - {name: nowhere, when: 'false', channels: [ops-slack]}\n");
    let person = TrackerUser::new("maria", "Мария", "Петрова");
    let tracker = setup.tracker.clone().map(|tracker| tracker.user(person).token(MARIAS_TOKEN, "maria"));
    Setup {
        tracker,
        more: format!(
            "links: {{auth: {auth}, application: campanile, icon_url: 'https://bells.example.com/bell.png'}}\n"
        ),
        secrets: vec![("LINKS", TOKEN)],
        ..setup
    }
}

fn by_token() -> Setup {
    linked("{token: {env: LINKS}}")
}

/// As Tracker's team registers it.
fn register(world: &World, change: impl FnOnce(TrackerApplication) -> TrackerApplication) {
    let application = TrackerApplication::new("campanile", "Campanile").addresses(
        world.public_url("/links/{{remoteKey}}"),
        world.public_url("/links"),
        world.public_url("/links/{{remoteKey}}/{{issueKey}}"),
    );
    world.tracker().set_application(change(application));
}

impl World {
    async fn link_call(&self, method: Method, path: &str, body: &str) -> Answer {
        let call = self.http.call(method, &self.public_url(path)).header("authorization", format!("OAuth {TOKEN}"));
        call.header("content-type", "application/json").body(body.to_owned()).await
    }

    async fn create_links(&self, issue: &str, objects: &[&str]) -> Answer {
        self.link_call(Method::POST, "/links", &json!({"issueKey": issue, "entityIds": objects}).to_string()).await
    }

    async fn remove_link(&self, object: &str, issue: &str) -> Answer {
        self.link_call(Method::DELETE, &format!("/links/{object}/{issue}"), "").await
    }

    async fn object_info(&self, object: &str) -> Answer {
        self.link_call(Method::GET, &format!("/links/{object}"), "").await
    }

    async fn links_listed(&self) -> Vec<(String, String)> {
        let listed = self.api("/api/v1/links").await;
        let rows = listed["links"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.map(|row| (text(&row["issue"]), text(&row["object"]))).collect()
    }

    /// The kinds of the events so far, oldest first.
    async fn event_kinds(&self) -> Vec<String> {
        let listed = self.api("/api/v1/events").await;
        let rows = listed["events"].as_array().unwrap().iter().rev();
        rows.map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// Moves the clock on, so far each time, until there are so many links.
    async fn until_links_after(&self, links: usize, step: Duration) {
        for _ in 0..500 {
            if self.links_listed().await.len() == links {
                return;
            }
            self.clock.pass(step);
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        panic!("{:?}", self.links_listed().await);
    }

    /// Callbacks are sent beside what causes them.
    async fn until_links(&self, links: usize) {
        let look = async {
            while self.links_listed().await.len() != links {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(30), look).await;
        assert!(came.is_ok(), "{:?}: {:?}", self.links_listed().await, self.tracker().callbacks());
    }
}

/// Waits for an answer while the clock goes on.
async fn driving(world: &World, call: impl Future<Output = Answer>) -> Answer {
    tokio::pin!(call);
    for _ in 0..5_000 {
        match tokio::time::timeout(Duration::from_millis(4), &mut call).await {
            Ok(answer) => return answer,
            Err(_) => world.clock.pass(Duration::from_millis(50)),
        }
    }
    panic!("never answered");
}

/// The order of Tracker's page "External applications": register, look, link, hear, unlink.
#[tokio::test]
async fn an_external_application_answers_get_post_and_delete() {
    let world = by_token().start().await;
    register(&world, |application| application.token(TOKEN));
    let get = world.object_info("channel:ops-slack").await;
    assert_eq!(
        (get.status, get.json()),
        (
            200,
            json!({"key": "channel:ops-slack", "summary": "ops-slack in Slack",
                "iconUrl": "https://bells.example.com/bell.png",
                "status": {"name": "active", "description": "no message lately"}})
        )
    );
    let post = world.create_links("TEST-123", &["channel:ops-slack"]).await;
    assert_eq!(post.status, 200, "{}", post.text);
    assert_eq!(post.json(), json!({"issueKey": "TEST-123", "entityIds": ["channel:ops-slack"], "events": [1]}));

    // No route leads there; the link does.
    for event in ["created", "status_changed", "comment_added", "whatever"] {
        world.accepted(&issue("TEST-123", event)).await;
    }
    world.accepted(&issue("TEST-124", "created")).await;
    world.until_posted(4, 0).await;
    let rows = world.until_all("delivered").await;
    assert_eq!(rows.len(), 4, "{rows:#?}");
    assert_eq!((&rows[0]["template"], &rows[0]["route"]), (&json!("issue-created"), &json!("linked issue")));
    let get = world.object_info("channel:ops-slack").await.json();
    assert_eq!(get["status"], json!({"name": "active", "description": "the last message was delivered"}));
    let updated = get["updated"].as_str().unwrap();
    assert!(updated.starts_with("2026-05-12T12:") && updated.ends_with("+0300"), "{updated}");

    for _ in 0..2 {
        let delete = world.remove_link("channel:ops-slack", "TEST-123").await;
        assert_eq!((delete.status, &*delete.text), (204, ""));
    }
    world.accepted(&issue("TEST-123", "resolved")).await;
    assert_eq!(world.until_all("delivered").await.len(), 4);
}

/// As people do it: in Tracker's pages, which call the application by themselves.
#[tokio::test]
async fn a_link_made_in_trackers_pages_counts_until_it_is_removed_there() {
    let world = by_token().start().await;
    register(&world, |application| application.token(TOKEN));
    world.tracker().link("TEST-1", "campanile", "channel:ops-telegram", "maria").unwrap();
    world.until_links(1).await;
    let infos = world.tracker().open_issue("TEST-1", "maria").await;
    assert_eq!(infos[0].status, Some(200), "{infos:?}");
    assert!(infos[0].body.contains("ops-telegram in Telegram"), "{infos:?}");
    world.accepted(&issue("TEST-1", "updated")).await;
    world.until_posted(0, 1).await;
    world.tracker().unlink("TEST-1", "campanile", "channel:ops-telegram", "maria").unwrap();
    world.until_links(0).await;
    world.accepted(&issue("TEST-1", "resolved")).await;
    assert_eq!(world.until_all("delivered").await.len(), 1);
    let statuses: Vec<_> = world.tracker().callbacks().iter().map(|call| call.status).collect();
    assert!(statuses.contains(&Some(200)) && statuses.contains(&Some(204)), "{:?}", world.tracker().callbacks());
}

#[tokio::test]
async fn a_channel_that_a_route_names_too_gets_one_message() {
    let setup =
        by_token().routes("  - {name: all, when: '!has(link.key)', channels: [ops-slack], template: critical}\n");
    let world = setup.start().await;
    let objects = ["channel:ops-slack", "channel:ops-telegram"];
    assert_eq!(world.create_links("TEST-1", &objects).await.status, 200);
    world.accepted(&issue("TEST-1", "created")).await;
    world.until_posted(1, 1).await;
    let rows = world.until_all("delivered").await;
    let planned: Vec<_> = rows.iter().map(|row| (&row["channel"], &row["route"], &row["template"])).collect();
    assert_eq!(
        planned,
        [
            (&json!("ops-slack"), &json!("all"), &json!("critical")),
            (&json!("ops-telegram"), &json!("linked issue"), &json!("issue-created")),
        ]
    );
}

#[tokio::test]
async fn a_channel_that_a_route_links_hears_of_the_issue() {
    let routes = "  - {name: critical, when: 'issue.priority.key == \"critical\"', \
                  issue: {link: 'channel:ops-telegram'}}\n";
    let world = by_token().routes(routes).start().await;
    register(&world, |application| application.token(TOKEN));
    for n in 0..2 {
        let event = json!({"event": "updated", "key": "TEST-1", "priority": "critical", "n": n});
        assert_eq!(world.trigger(&event).await.status, 202);
        world.until_all("delivered").await;
        world.until_links(1).await;
    }
    assert_eq!(world.links_listed().await, [("TEST-1".into(), "channel:ops-telegram".into())]);
    world.trigger(&issue("TEST-1", "resolved")).await;
    world.until_posted(0, 2).await; // the second change, and this
    assert_eq!(world.tracker().callbacks().len(), 1, "what is linked is not linked again");
}

#[tokio::test]
async fn links_are_events_that_routes_may_use_and_a_repetition_is_none() {
    let routes = "  - {name: linked, when: 'event.kind == \"link.created\" && link.kind == \"bench\"', \
                  channels: [ops-slack]}\n  - {name: gone, when: 'event.kind == \"link.removed\"', \
                  channels: [ops-telegram]}\n";
    let world = by_token().routes(routes).start().await;
    for _ in 0..3 {
        let post = world.create_links("TEST-1", &["bench:feature/TEST-1", "bench:feature/TEST-1"]).await;
        assert_eq!((post.status, &post.json()["entityIds"]), (200, &json!(["bench:feature/TEST-1"])), "{}", post.text);
    }
    world.until_posted(1, 0).await;
    assert!(world.slack_texts()[0].contains("TEST-1"), "{:?}", world.slack_texts());
    for _ in 0..2 {
        assert_eq!(world.remove_link("bench:feature%2FTEST-1", "TEST-1").await.status, 204);
    }
    world.until_posted(1, 1).await;
    world.create_links("TEST-1", &["bench:feature/TEST-1"]).await;
    world.until_posted(2, 1).await;
    assert_eq!(world.event_kinds().await, ["link.created", "link.removed", "link.created"]);
    let event = world.api("/api/v1/events/1").await;
    let document = &event["event"]["document"];
    assert_eq!(document["link"], json!({"key": "bench:feature/TEST-1", "kind": "bench"}));
    assert_eq!((&document["issue"]["key"], &document["event"]["source"]), (&json!("TEST-1"), &json!("links")));
}

/// An event that is enriched is routed later, by what counts then.
#[tokio::test]
async fn a_linked_channel_hears_of_enriched_events_too() {
    let setup = Setup { source: "kind: tracker, secret: {env: HOOK}, enrich: true", ..by_token() };
    let world = setup.start().await;
    assert_eq!(world.create_links("TEST-2", &["channel:ops-slack"]).await.status, 200);
    let answer = world.trigger(&issue("TEST-2", "updated")).await;
    assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &Value::Null));
    world.until_posted(1, 0).await;
    assert_eq!(world.deliveries().await[0]["route"], "linked issue");
}

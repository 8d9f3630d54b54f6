//! What Tracker's own tutorials promise ("Integrate with other platforms"), each as its page tells it, on the configuration
//! that is shipped.

use axum::{Json, Router, routing::get};
use campanile::simulator::TrackerApplication;
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::commands::run_with_secrets;
use crate::harness::{Answer, HOOK_SECRET, LOOPBACK, Setup, TELEGRAM, TRACKER_TOKEN, World, issue};
use crate::reviews::{Call, SECRET};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/code-hosts/bitbucket-cloud");

/// Bitbucket's API: the recorded comments of a pull request, the last of which names the issue.
async fn bitbucket() -> String {
    let page = std::fs::read_to_string(format!("{RECORDED}/api-pr-comments.json")).unwrap();
    let mut page: Value = serde_json::from_str(&page).unwrap();
    page["values"].as_array_mut().unwrap().last_mut().unwrap()["content"]["raw"] = json!("for TEST-1, please");
    let comments = get(async move || Json(page));
    let api = Router::new().route("/2.0/repositories/{workspace}/{repository}/pullrequests/{id}/comments", comments);
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let url = format!("http://{}/2.0", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await.unwrap() });
    url
}

/// A recorded verdict, given at another time.
async fn reviewed(world: &World, file: &str, date: &str, at: &str) -> Answer {
    let call = Call::recorded(&format!("bitbucket-cloud/{file}"));
    call.set(date, at).anew(format!("{file}-{at}")).to("reviews").send(world).await
}

/// What `connect` needs of them.
const SECRETS: [(&str, &str); 2] = [("TRACKER_TOKEN", TRACKER_TOKEN), ("TRACKER_HOOK_SECRET", HOOK_SECRET)];

fn status(issue: &Value) -> &str {
    issue["status"]["key"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_reviewers_verdict_sets_the_issues_status() {
    // As the comment beside the source says: the key may stand in a comment of the pull request.
    let (keys, api) = ("keys: all}", bitbucket().await);
    let fetching = format!("keys: all, fetch_comments: {{api_url: '{api}', token: {{env: BITBUCKET_TOKEN}}}}}}");
    let mut setup = Setup::shipped(move |text| {
        assert!(text.contains(keys));
        text.replacen(keys, &fetching, 1)
    });
    setup.secrets.extend([("BITBUCKET_SECRET", SECRET), ("BITBUCKET_TOKEN", "api-token")]);
    let world = setup.start().await;
    let answer = reviewed(&world, "approved", "approval.date", "2026-05-12T09:15:00.000000+00:00").await;
    assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &Value::Null), "{}", answer.text);
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
    let rows = world.until_all("delivered").await;
    assert_eq!(rows.len(), 3);
    let [comment] = &world.tracker().comments("TEST-1")[..] else { panic!("one comment") };
    assert!(comment.starts_with("Accepted by Reviewer Two: https://bitbucket.org/"), "{comment}");

    reviewed(&world, "changes-requested", "changes_request.date", "2026-05-12T09:20:00.000000+00:00").await;
    world.until_issue("TEST-1", |issue| status(issue) == "needsImprovement").await;
    world.until_posted(2, 0).await;

    // A verdict that was given before the last and comes after it changes nothing.
    reviewed(&world, "approved", "approval.date", "2026-05-12T09:17:00.000000+00:00").await;
    let overtaken = |rows: &[Value]| rows.iter().filter(|row| row["state"] == "filtered").count() == 2;
    world.until_deliveries(overtaken).await;
    assert_eq!(status(&world.tracker().issue("TEST-1")), "needsImprovement");
}

#[tokio::test]
async fn a_deployed_bench_lands_in_the_issues_field_and_leaves_it() {
    let world = Setup::shipped(|text| text).start().await;
    let report = async |body: Value| {
        let request = world.http.post(&world.public_url("/hooks/benches"));
        let answer = request.header("authorization", "Bearer bench-s3cret").json(&body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    };
    let bench = |issue: &Value| {
        let mut fields = issue.as_object().unwrap().iter();
        fields.find(|(id, _)| id.ends_with("--benchLink")).map(|(_, value)| value.as_str().unwrap().to_owned())
    };
    report(json!({"branch": "feature/TEST-2-login", "url": "https://test-2.example.com"})).await;
    world.until_issue("TEST-2", |issue| bench(issue).as_deref() == Some("https://test-2.example.com")).await;
    world.until_posted(1, 0).await;
    // Another branch of the same issue has got a bench since: who goes takes his own address alone.
    report(json!({"branch": "feature/TEST-2-logout", "url": "https://other.example.com"})).await;
    world.until_issue("TEST-2", |issue| bench(issue).as_deref() == Some("https://other.example.com")).await;
    report(json!({"branch": "feature/TEST-2-login", "url": "https://test-2.example.com", "state": "gone"})).await;
    world.until_all("delivered").await;
    assert_eq!(bench(&world.tracker().issue("TEST-2")).as_deref(), Some("https://other.example.com"));
    report(json!({"branch": "feature/TEST-2-logout", "url": "https://other.example.com", "state": "gone"})).await;
    world.until_issue("TEST-2", |issue| bench(issue).is_none()).await;
}

#[tokio::test]
async fn a_trigger_notifies_slack_and_telegram() {
    // As the comment beside the source says: the recommended body has no priority.
    let (secret, enriching) =
        ("secret: {env: TRACKER_HOOK_SECRET}}", "secret: {env: TRACKER_HOOK_SECRET}, enrich: true}");
    let setup = Setup::shipped(move |text| {
        assert!(text.contains(secret));
        text.replacen(secret, enriching, 1)
    });
    let world = setup.start().await;
    let config = std::fs::read_to_string(world.config_path()).unwrap();

    // "Create a trigger", five times, by one command.
    let reached =
        config.replacen("# public_url: https://bells.example.com", &format!("public_url: {}", world.public_url("")), 1);
    std::fs::write(world.config_path(), reached).unwrap();
    let out = run_with_secrets(world.folder.path(), &["connect", "TEST"], "", &SECRETS).await.done();
    assert_eq!(out.matches("created  ").count(), 5, "{out}");

    // "The issue's priority becomes critical": both messengers hear of it, with what the issue says.
    world.tracker().update("TEST-1", json!({"priority": "critical"}).as_object().unwrap(), "ivan.ivanov").unwrap();
    let topic = format!("{TELEGRAM}/7");
    world.until_posted(1, 1).await;
    for text in [world.slack_texts().remove(0), world.telegram.posted(&topic)[0].seen.text.clone()] {
        assert!(text.contains("TEST-1") && text.contains("Summary of TEST-1"), "{text}");
    }
    // "A comment on another one": its route leads to Slack alone, with the comment's text, which the trigger cannot send.
    world.tracker().comment("TEST-2", "Смотрю \"логи\"\nи трассы", "maria.petrova").unwrap();
    world.until_posted(2, 1).await;
    let text = world.slack_texts().remove(1);
    assert!(text.contains("TEST-2") && text.contains("Смотрю \"логи\""), "{text}");
    world.until_all("delivered").await;
    assert_eq!(world.telegram.posted(&topic).len(), 1);
}

#[tokio::test]
async fn an_external_application_answers_get_post_and_delete() {
    let world = Setup::shipped(|text| text).start().await;
    // "Register the application": its addresses are what `links registration` prints.
    let at = |path: &str| world.public_url(path);
    world.tracker().set_application(
        TrackerApplication::new("campanile", "Campanile")
            .addresses(at("/links/{{remoteKey}}"), at("/links"), at("/links/{{remoteKey}}/{{issueKey}}"))
            .token("links-t0ken"),
    );
    let call = async |method: Method, path: &str, body: String| {
        let call = world.http.call(method, &at(path)).header("authorization", "OAuth links-t0ken");
        call.header("content-type", "application/json").body(body).await
    };
    // "Get an object": what the link's tooltip shows.
    let shown = call(Method::GET, "/links/channel:oncall-slack", String::new()).await;
    let shown = (shown.status, shown.json());
    assert_eq!(
        (shown.0, &shown.1["key"], &shown.1["summary"]),
        (200, &json!("channel:oncall-slack"), &json!("oncall-slack in Slack"))
    );
    // "Create a link": no route of the shipped configuration leads an assignment anywhere; the link does.
    world.accepted(&issue("TEST-3", "assigned")).await;
    let body = json!({"issueKey": "TEST-3", "entityIds": ["channel:oncall-slack"]}).to_string();
    assert_eq!(call(Method::POST, "/links", body).await.status, 200);
    world.accepted(&issue("TEST-3", "deadline")).await;
    world.until_posted(1, 0).await;
    assert!(world.slack_texts()[0].contains("TEST-3"), "{:?}", world.slack_texts());
    // "Remove a link": the channel hears no more of it.
    assert_eq!(call(Method::DELETE, "/links/channel:oncall-slack/TEST-3", String::new()).await.status, 204);
    world.accepted(&issue("TEST-3", "resolved")).await;
    assert_eq!(world.until_all("delivered").await.len(), 1);
}

//! Actions of routes: deliveries like any other, in the lane of their issue.

use std::time::Duration;

use campanile::simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Setup, TRACKER_TOKEN, World, issue};
use crate::reviews::{Call, SECRET};

const READY: &str = "  - {name: ready, issue: {transition: readyForTest}}\n";

async fn start(routes: &str) -> World {
    Setup::default().with_tracker().routes(routes).start().await
}

fn status(issue: &Value) -> &str {
    issue["status"]["key"].as_str().unwrap_or_default()
}

impl World {
    /// What the only part of a delivery came to.
    async fn done(&self, row: &Value) -> Value {
        self.delivery(row["id"].as_i64().unwrap()).await["parts"][0]["receipt"]["issue"].clone()
    }
}

#[tokio::test]
async fn a_transition_is_chosen_by_where_it_leads_and_what_is_there_already_is_left() {
    let world = start(READY).await;
    world.tracker().change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.accepted(&issue("TEST-1", "updated")).await;
    world.accepted(&issue("TEST-1", "commented")).await;
    let rows = world.until_all("delivered").await;
    assert_eq!(status(&world.tracker().issue("TEST-1")), "readyForTest");
    assert_eq!((&rows[0]["channel"], &rows[0]["template"]), (&json!("issue:TEST-1"), &json!("transition")));
    assert_eq!(world.done(&rows[0]).await["did"], "inProgress → readyForTest");
    assert_eq!(world.done(&rows[1]).await["changed"], false);
    assert_eq!(world.tracker().requests("execute"), 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_a_dead_letter_that_says_why() {
    let world = start(READY).await;
    world.tracker().change_status("TEST-1", "needInfo", "ivan.ivanov").unwrap();
    world.tracker().lock("TEST-2", true);
    for key in ["TEST-1", "TEST-2", "TEST-99"] {
        world.accepted(&issue(key, "updated")).await;
    }
    let rows = world.until_all("dead").await;
    let reasons: Vec<_> = rows.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    for (reason, told) in reasons.iter().zip([
        &["needInfo", "readyForTest", "inProgress"][..],
        &["TEST-2 is frozen for automation"],
        &["TEST-99 does not exist, or campanile-bot may not see it"],
    ]) {
        assert!(told.iter().all(|told| reason.contains(told)), "{reason}");
    }
}

#[tokio::test]
async fn actions_of_an_issue_keep_their_order_and_hinder_no_other() {
    let routes = "  - {name: all, issue: {set: {benchLink: '{{body.url}}'}, transition: readyForTest, comment: 'so {{body.n}}'}}\n";
    let world = start(routes).await;
    world.tracker().forbid("TEST-1", true);
    for (n, key) in [(1, "TEST-1"), (2, "TEST-2"), (3, "TEST-2")] {
        let mut body = issue(key, "updated");
        (body["n"], body["url"]) = (json!(n), json!(format!("https://bench.example.com/{n}")));
        world.accepted(&body).await;
    }
    let ended = |rows: &[Value]| {
        rows.iter().filter(|row| row["channel"] == "issue:TEST-2").all(|row| row["state"] == "delivered")
    };
    let rows = world.until_deliveries(|rows| rows.len() == 9 && ended(rows)).await;
    assert_eq!(world.tracker().comments("TEST-2"), ["so 2", "so 3"]);
    let bench = world.tracker().issue("TEST-2");
    let field = bench.as_object().unwrap().iter().find(|(id, _)| id.ends_with("--benchLink")).unwrap();
    assert_eq!(field.1, "https://bench.example.com/3");
    let held = &rows[0];
    assert_eq!((&held["state"], &held["channel"]), (&json!("pending"), &json!("issue:TEST-1")));
    let hold = held["lane_hold"]["reason"].as_str().unwrap();
    assert!(hold.contains("campanile-bot may not do this") && hold.contains("right"), "{hold}");
    world.tracker().forbid("TEST-1", false);
    world.until_all("delivered").await;
    assert_eq!(world.tracker().comments("TEST-1"), ["so 1"], "it heals by itself");
}

#[tokio::test]
async fn a_lost_answer_leaves_one_comment_and_one_change() {
    let world =
        start("  - {name: tell, issue: {transition: readyForTest, comment: 'Accepted by {{actor.login}}'}}\n").await;
    for endpoint in ["add_comment", "execute"] {
        world.tracker().fault(Fault::LoseAnswer.once().method(endpoint).on("TEST-1"));
    }
    world.accepted(&issue("TEST-1", "updated")).await;
    let rows = world.until_all("delivered").await;
    assert_eq!(world.tracker().comments("TEST-1"), ["Accepted by maria.petrova"]);
    assert!(rows.iter().all(|row| row["attempts"] == 2), "{rows:#?}");
    assert_eq!(world.tracker().requests("add_comment"), 1, "it was looked for before it was written again");
    assert!(!world.metrics().await.contains("duplicates_possible_total{messenger=\"tracker\"}"));
}

#[tokio::test]
async fn two_equal_comments_of_two_events_are_two() {
    let world = start("  - {name: tell, issue: {comment: same}}\n").await;
    world.accepted(&issue("TEST-1", "updated")).await;
    world.until_all("delivered").await;
    world.tracker().fault(Fault::LoseAnswer.once().method("add_comment").on("TEST-1"));
    world.accepted(&issue("TEST-1", "commented")).await;
    world.until_all("delivered").await;
    assert_eq!(world.tracker().comments("TEST-1"), ["same", "same"]);
}

#[tokio::test]
async fn an_expired_token_holds_tracker_alone_and_all_goes_on_by_itself() {
    let secret = "token: {file: token}";
    let setup = Setup { tracker_keys: "", ..Setup::default().with_tracker() };
    let routes = "  - {name: both, channels: [ops-slack], issue: {transition: readyForTest}}\n";
    let mut world = setup.routes(routes).start().await;
    world.stop_app().await;
    std::fs::write(world.folder.path().join("token"), TRACKER_TOKEN).unwrap();
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), config.replace("token: {env: TRACKER_TOKEN}", secret)).unwrap();
    world.start_app().await;

    world.tracker().expire_token(TRACKER_TOKEN);
    world.accepted(&issue("TEST-1", "updated")).await;
    world.until_posted(1, 0).await;
    let held = |rows: &[Value]| rows.iter().any(|row| row["channel"] == "issue:TEST-1" && row["attempts"] == 1);
    world.until_deliveries(held).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("campanile_account_held{account=\"tracker\"} 1"), "{metrics}");
    let ready = world.http.get(&world.public_url("/readyz")).send().await;
    assert_eq!((ready.status, &ready.json()["held"]), (200, &json!(["tracker"])), "{}", ready.text);

    world.tracker().renew_token("y0_renewed", "campanile-bot");
    std::fs::write(world.folder.path().join("token"), "y0_renewed").unwrap();
    world.clock.pass(Duration::from_secs(5));
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
    world.until_all("delivered").await;
}

#[tokio::test]
async fn an_action_outlives_a_restart() {
    let mut world = start(READY).await;
    world.tracker().fault(Fault::ResetBefore.always());
    world.accepted(&issue("TEST-1", "updated")).await;
    world.until_deliveries(|rows| rows[0]["attempts"].as_u64() > Some(0)).await;
    world.stop_app().await;
    world.tracker().clear();
    world.start_app().await;
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
}

/// A world whose reviews come from Bitbucket, with what more its source says.
async fn reviewed(more: &str) -> World {
    reviewed_with("{transition: readyForTest}", more).await
}

async fn reviewed_with(actions: &str, more: &str) -> World {
    let setup = Setup {
        sources: format!("  reviews: {{kind: bitbucket-cloud, secret: {{env: REVIEWS}}{more}}}\n"),
        secrets: vec![("REVIEWS", SECRET), ("API", "api-token")],
        ..Setup::default().with_tracker()
    };
    setup.routes(&format!("  - {{name: accepted, channels: [ops-slack], issue: {actions}}}\n")).start().await
}

#[tokio::test]
async fn a_reviewer_who_has_our_name_elsewhere_is_not_us() {
    let world = reviewed("").await;
    world.accepted(&issue("TEST-2", "updated")).await;
    world.until_posted(1, 0).await; // by now Tracker has said who we are
    let call = Call::recorded("bitbucket-cloud/approved").set("pullrequest.title", "TEST-1: log in");
    let call = call.set("actor.nickname", "campanile-bot").set("approval.user.nickname", "campanile-bot");
    assert_eq!(call.to("reviews").send(&world).await.status, 202);
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
}

#[tokio::test]
async fn a_verdict_whose_issue_nobody_tells_reaches_its_channel_all_the_same() {
    let world = reviewed(", fetch_comments: {api_url: 'http://127.0.0.1:9', token: {env: API}}").await;
    let answer = Call::recorded("bitbucket-cloud/approved").to("reviews").send(&world).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    world.until_posted(1, 0).await;
    let event = world.api(&format!("/api/v1/events/{}", answer.json()["event"])).await["event"].clone();
    assert_eq!((&event["document"]["event"]["unenriched"], event["document"].get("issue")), (&json!(true), None));
    assert_eq!(world.deliveries().await.len(), 1, "without an issue nothing is done to one");
}

/// A call's actions are one verdict: one that failed is no repetition because the other was done.
#[tokio::test]
async fn an_action_of_a_verdict_is_done_when_it_is_replayed_after_the_others_of_its_call() {
    let world = reviewed_with("{transition: readyForTest, comment: so}", "").await;
    world.tracker().fault(Fault::error("422 Так нельзя.").always().method("execute"));
    let call = Call::recorded("bitbucket-cloud/approved").set("pullrequest.title", "TEST-1: log in");
    assert_eq!(call.to("reviews").send(&world).await.status, 202);
    let ended = |rows: &[Value]| rows.len() == 3 && rows.iter().all(|row| row["state"] != "pending");
    let rows = world.until_deliveries(ended).await;
    let dead: Vec<_> = rows.iter().filter(|row| row["state"] == "dead").collect();
    let [dead] = dead[..] else { panic!("{rows:#?}") };
    assert_eq!(dead["template"], "transition");
    assert_eq!(world.tracker().comments("TEST-1").len(), 1);
    world.tracker().clear();
    let replayed = world.http.post(&world.admin_url(&format!("/api/v1/deliveries/{}/replay", dead["id"])));
    assert_eq!(replayed.json(&json!({})).await.status, 200);
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
    world.until_all("delivered").await;
}

/// Somebody presses "Resend" on an old delivery, and it is known no more: what people did to the issue since then stays.
#[tokio::test]
async fn an_old_verdict_that_is_sent_again_after_its_time_changes_nothing() {
    let world = reviewed("").await;
    let call = Call::recorded("bitbucket-cloud/approved");
    let approved = call.set("pullrequest.title", "TEST-1, TEST-2").set("approval.date", "2026-05-12T09:15:00+00:00");
    let sent = async |call: &Call| call.clone().to("reviews").send(&world).await;
    assert_eq!(sent(&approved).await.status, 202);
    for key in ["TEST-1", "TEST-2"] {
        world.until_issue(key, |issue| status(issue) == "readyForTest").await;
    }
    world.until_all("delivered").await;
    world.tracker().change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.clock.pass(Duration::from_secs(7 * 24 * 3600 - 600));
    assert_eq!((sent(&approved).await.status, world.deliveries().await.len()), (200, 4), "it is known");

    world.clock.pass(Duration::from_secs(600));
    let late = sent(&approved).await;
    assert_eq!((late.status, &late.json()["deliveries"]), (202, &json!(4)), "{}", late.text);
    let rows = world.until_deliveries(|rows| rows.len() == 8 && rows.iter().all(|row| row["state"] != "pending")).await;
    let ends: Vec<_> = rows[4..].iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(ends, ["delivered", "filtered", "delivered", "filtered"], "{rows:#?}");
    let actions: Vec<_> = rows[4..].iter().filter(|row| row["state"] == "filtered").collect();
    for action in &actions {
        assert_eq!(action["reason"], "this verdict was applied before, from an earlier call");
        assert_eq!(action["template"], "transition");
    }
    assert_eq!(status(&world.tracker().issue("TEST-1")), "inProgress");

    // Another verdict counts, and so does this one for an issue that it has not been applied to.
    let more = approved.clone().set("pullrequest.title", "TEST-3").anew("more");
    assert_eq!(sent(&more).await.status, 202);
    world.until_issue("TEST-3", |issue| status(issue) == "readyForTest").await;
    let next = approved.clone().set("approval.date", "2026-05-19T09:15:00+00:00").anew("next");
    assert_eq!(sent(&next).await.status, 202);
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;

    // The first is older than that.
    world.tracker().change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.until_deliveries(|rows| rows.iter().all(|row| row["state"] != "pending")).await;
    world.clock.pass(Duration::from_secs(7 * 24 * 3600 + 600));
    let planned = world.deliveries().await.len();
    assert_eq!(sent(&approved).await.status, 202);
    let rows =
        world.until_deliveries(|rows| rows.len() > planned && rows.iter().all(|row| row["state"] != "pending")).await;
    let reasons: Vec<_> = rows[planned..].iter().filter_map(|row| row["reason"].as_str()).collect();
    assert_eq!(reasons, ["a later verdict on this review was applied before"; 2], "{rows:#?}");
    assert_eq!(status(&world.tracker().issue("TEST-1")), "inProgress");
}

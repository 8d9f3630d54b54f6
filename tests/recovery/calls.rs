//! Which logged calls are the bridge's to take, and as what they come.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Its five attempts may not have ended.
#[tokio::test]
async fn of_the_last_five_minutes_nothing_is_asked() {
    let connected = Connected::new(usual()).await;
    connected.until(|| connected.world.tracker().requests("webhook_log") > 0).await;
    let arrivals = connected.world.tracker().arrivals();
    for arrival in arrivals.iter().filter(|arrival| arrival.call.method == "webhook_log") {
        let to = &arrival.call.query.iter().find(|(name, _)| name == "to").unwrap().1;
        let to: jiff::Timestamp = to.parse().unwrap();
        assert!(to + 5 * MINUTE <= arrival.at, "{to} was asked for at {}", arrival.at);
    }
}

#[tokio::test]
async fn calls_come_in_the_order_in_which_they_were_made_whichever_trigger_made_them() {
    let connected = Connected::new(usual()).await;
    connected.door.leads_to(Behind::Page(503));
    for n in 0..2 {
        connected.comment();
        connected.until_tried(2 * n + 1).await;
        connected.world.clock.pass(SECOND);
        connected.status(if n == 0 { "readyForTest" } else { "open" });
        connected.until_tried(2 * n + 2).await;
        connected.world.clock.pass(SECOND);
    }
    connected.until_posted(4).await;
    let events = connected.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event["event"]["kind"].as_str().unwrap()).collect();
    let (commented, changed) = ("issue.comment_added", "issue.status_changed");
    assert_eq!(kinds, [commented, changed, commented, changed]);
}

/// A body that people wrote may have no time of its own.
#[tokio::test]
async fn what_says_no_time_happened_when_it_was_called() {
    let connected = Connected::without_triggers(usual()).await;
    let mut undated = trigger(Watched::StatusChanged, &connected.door.url, HOOK_SECRET);
    undated["actions"][0]["body"] = json!("{\"event\": \"status_changed\", \"key\": \"{{issue.key}}\"}");
    connected.connect(undated);
    connected.door.leads_to(Behind::Page(503));
    connected.status("readyForTest");
    connected.until_tried(1).await;
    connected.until_posted(1).await;
    let at = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let called = at(&connected.world.tracker().log()[0]["startTime"]);
    assert_eq!(at(&connected.events().await[0]["event"]["at"]), called);
}

#[tokio::test]
async fn tries_of_one_call_are_one_however_short_duplicates_are_remembered() {
    let source = "kind: tracker, secret: {env: HOOK}, dedupe_seconds: 1";
    let mut connected = Connected::new(Setup { source, ..usual() }).await;
    connected.stop().await;
    connected.status("readyForTest");
    connected.until_tried(5).await;
    connected.start().await;
    connected.until_posted(1).await;
    connected.until_looked().await;
    assert_eq!((connected.recovered().await, connected.events().await.len()), (1.0, 1));
}

/// It is remembered from when it was made, not from when it was found.
#[tokio::test]
async fn what_was_taken_late_makes_no_duplicate_of_an_equal_call_of_now() {
    let mut connected = Connected::new(usual()).await;
    connected.stop().await;
    connected.status("readyForTest");
    connected.until_tried(5).await;
    connected.world.clock.pass(HOUR);
    connected.start().await;
    connected.until_posted(1).await;
    let body = connected.world.tracker().log()[0]["request"]["body"].as_str().unwrap().to_owned();
    let hook = connected.world.http.post(&connected.world.public_url("/hooks/tracker"));
    let answer = hook.header("x-campanile-token", HOOK_SECRET).body(body.clone()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let hook = connected.world.http.post(&connected.world.public_url("/hooks/tracker"));
    let again = hook.header("x-campanile-token", HOOK_SECRET).body(body).await;
    assert_eq!(again.status, 200, "it is the same call: {}", again.text);
}

#[tokio::test]
async fn what_a_trigger_called_before_it_was_ours_stays_others() {
    let connected = Connected::without_triggers(usual()).await;
    connected.connect(trigger(Watched::StatusChanged, &format!("{}/elsewhere", connected.door.url), HOOK_SECRET));
    connected.door.leads_to(Behind::Page(503));
    connected.status("readyForTest");
    connected.until_tried(1).await;
    let actions = trigger(Watched::StatusChanged, &connected.door.url, HOOK_SECRET)["actions"].clone();
    connected.world.edited("status_changed", json!({"actions": actions})).await;
    connected.world.clock.pass(SECOND);
    connected.status("open");
    connected.until_tried(2).await;
    connected.until_posted(1).await;
    connected.until_looked().await;
    assert_eq!((connected.recovered().await, connected.events().await.len()), (1.0, 1));
}

#[tokio::test]
async fn a_trigger_that_is_gone_since_it_was_listed_hinders_no_other() {
    let connected = Connected::new(usual()).await;
    let gone = connected.world.named("status_changed")["id"].to_string();
    let fault = Fault::error("404 Триггер не существует.").always().method("webhook_log");
    connected.world.tracker().fault(fault.when(move |call| call.path[1] == gone));
    connected.door.leads_to(Behind::Page(503));
    connected.comment();
    connected.until_tried(1).await;
    connected.until_posted(1).await;
    connected.world.until_figure("campanile_recovery_refused{queue=\"TEST\"}", 0.0, SECOND).await;
    assert_eq!(connected.recovered().await, 1.0);
}

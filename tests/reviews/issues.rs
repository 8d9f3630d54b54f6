//! Which issues a review is about, and whose word counts.

use serde_json::{Value, json};

use super::{Call, FETCHED, keys, world};
use crate::harness::World;

fn comment(text: &str) -> Call {
    Call::recorded("bitbucket-cloud/comment-created").set("comment.content.raw", text)
}

#[tokio::test]
async fn a_verdict_arrives_in_the_channel_with_its_issue() {
    let world = world("TEST", "").await;
    let call = Call::recorded("bitbucket-cloud/approved").set("pullrequest.title", "TEST-123: fix login");
    let event = call.event(&world).await;
    assert_eq!(
        event["issue"],
        json!({"key": "TEST-123", "queue": {"key": "TEST"}, "url": "https://tracker.yandex.ru/TEST-123"})
    );
    world.until_posted(1, 0).await;
    insta::assert_snapshot!(world.slack_texts()[0], @r"
    ✅ TEST-123: fix login · approved
    exampleteam/demo-firmware · feat/sync-from-bitbucket → main
    Reviewer Two · TEST-123
    ");
}

/// Section 12.6 and 12.7: all keys of the first place that has any.
#[tokio::test]
async fn keys_are_looked_for_where_they_are_meant() {
    let world = world("TEST", "").await;
    let all = comment("TEST-1 and TEST-2").set("pullrequest.title", "TEST-3").set("pullrequest.description", "TEST-5");
    let all = all.set("pullrequest.source.branch.name", "feature/test-4-login");
    let steps: [(&str, Value, &[&str]); 5] = [
        ("action", json!(1), &["TEST-1", "TEST-2"]),
        ("comment.content.raw", json!("looks good"), &["TEST-3"]),
        ("pullrequest.title", json!("test-3"), &["TEST-4"]),
        ("pullrequest.source.branch.name", json!("wip"), &["TEST-5"]),
        ("pullrequest.description", Value::Null, &[]),
    ];
    let mut call = all;
    for (path, value, expected) in steps {
        call = call.set(path, value).anew(path);
        match call.clone().events(&world).await {
            Ok(events) => assert_eq!(keys(&events), expected),
            Err(why) => assert_eq!((why.as_str(), expected.len()), ("no issue key", 0)),
        }
    }
}

#[tokio::test]
async fn keys_first_all_refuse() {
    for (more, expected) in [
        ("", Ok(vec!["TEST-2", "TEST-1"])),
        (", keys: all", Ok(vec!["TEST-2", "TEST-1"])),
        (", keys: first", Ok(vec!["TEST-2"])),
        (", keys: refuse", Err("2 issues are named, and `keys: refuse` wants one: TEST-2, TEST-1")),
    ] {
        let world = world("TEST", more).await;
        let events = comment("TEST-2, TEST-1, TEST-2").events(&world).await;
        let found = events.as_ref().map(|events| keys(events)).map_err(String::as_str);
        assert_eq!(found, expected, "{more}");
        let one = comment("TEST-7").anew(1).events(&world).await.unwrap();
        assert_eq!(keys(&one), ["TEST-7"], "{more}");
    }
}

#[tokio::test]
async fn of_forty_keys_twenty_count_each_with_an_event() {
    let world = world("TEST", "").await;
    let text: String = (1..=40).map(|n| format!("TEST-{n} ")).collect();
    let answer = comment(&text).send(&world).await;
    let ids: Vec<i64> = (1..=20).collect();
    assert_eq!((answer.status, answer.json()), (202, json!({"event": 1, "events": ids, "deliveries": 20})));
    let again = comment(&text).send(&world).await;
    assert_eq!((again.status, again.json()), (200, json!({"event": 1, "duplicate": true})));
    let events = world.api("/api/v1/events?limit=100").await["events"].as_array().cloned().unwrap();
    let mut issues: Vec<_> = events.iter().filter_map(|event| event["issue"].as_str()).collect();
    issues.sort_by_key(|key| key.trim_start_matches("TEST-").parse::<u32>().unwrap());
    assert_eq!(issues, (1..=20).map(|n| format!("TEST-{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn keys_of_other_queues_are_none() {
    let listed = world("TEST", "").await;
    assert_eq!(comment("OPS-1, UTF-8").events(&listed).await, Err("no issue key".into()));
    let unlisted = world("", "").await;
    let events = comment("OPS-1, UTF-8, CVE-2024-1").events(&unlisted).await.unwrap();
    assert_eq!(keys(&events), ["OPS-1"]);
}

#[tokio::test]
async fn a_review_whose_comments_are_to_be_fetched_is_kept_without_an_issue() {
    let world = world("TEST", FETCHED).await;
    let event = comment("no key").event(&world).await;
    assert_eq!((event.get("issue"), &event["event"]["kind"]), (None, &json!("review.commented")));
    assert_eq!(keys(&[comment("TEST-1").anew(1).event(&world).await]), ["TEST-1"]);
}

async fn verdict(world: &World, call: &Call, id: &str, changes: &[(&str, Value)]) -> String {
    let call = changes.iter().fold(call.clone(), |call, (path, value)| call.set(path, value.clone()));
    call.anew(id).verdict(world).await
}

#[tokio::test]
async fn strangers_are_ignored_where_only_members_count() {
    // The other kinds have no such key.
    let world = world("TEST", ", members_only: true").await;
    let review = Call::recorded("github/review-approved").set("pull_request.title", "TEST-1");
    for (association, expected) in [
        (json!("OWNER"), "approved"),
        (json!("MEMBER"), "approved"),
        (json!("COLLABORATOR"), "approved"),
        (json!("CONTRIBUTOR"), "ignored"),
        (json!("NONE"), "ignored"),
        (json!(7), "ignored"),
        (Value::Null, "ignored"),
    ] {
        let changes = [("review.author_association", association.clone())];
        assert_eq!(verdict(&world, &review, &association.to_string(), &changes).await, expected, "{association}");
    }
    let comment = Call::recorded("github/comment-on-pr").set("issue.title", "TEST-1");
    for (association, expected) in [("OWNER", "commented"), ("FIRST_TIMER", "ignored")] {
        let changes = [("comment.author_association", json!(association))];
        assert_eq!(verdict(&world, &comment, association, &changes).await, expected);
    }
    let merged = Call::recorded("github/merged").set("pull_request.title", "TEST-1");
    assert_eq!(verdict(&world, &merged, "merged", &[]).await, "merged", "who merges may");

    let cloud = Call::recorded("bitbucket-cloud/approved").set("pullrequest.title", "TEST-1");
    assert_eq!(verdict(&world, &cloud, "asked", &[]).await, "approved");
    for (name, path, value) in [
        ("another", "actor", json!({"uuid": "{x}", "account_id": "y"})),
        ("nobody", "actor", Value::Null),
        ("not among them", "pullrequest.participants", json!([])),
        ("absent", "pullrequest.participants", Value::Null),
    ] {
        assert_eq!(verdict(&world, &cloud, name, &[(path, value)]).await, "ignored", "{name}");
    }
    let participant = cloud.with(|body| body["pullrequest"]["participants"][0]["role"] = json!("PARTICIPANT"));
    assert_eq!(verdict(&world, &participant, "participant", &[]).await, "ignored");
}

#[tokio::test]
async fn gitlabs_last_approval_alone_counts_where_all_are_wanted() {
    let world = world("TEST", ", all_approvals: true").await;
    let call = Call::recorded("gitlab/approved").set("object_attributes.title", "TEST-1");
    for (action, expected) in [("approval", "ignored"), ("approved", "approved"), ("unapproval", "unapproved")] {
        assert_eq!(verdict(&world, &call, action, &[("object_attributes.action", json!(action))]).await, expected);
    }
}

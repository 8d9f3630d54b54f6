//! Every event of every host (code-hosts.md, sections 3 to 7), built from the recorded calls by changing members.

use serde_json::{Value, json};

use super::{Call, FETCHED, world};

#[tokio::test]
async fn bitbucket_cloud_by_its_header() {
    let world = world("", FETCHED).await;
    for (n, (key, verdict)) in [
        ("pullrequest:created", "opened"),
        ("pullrequest:updated", "updated"),
        ("pullrequest:approved", "approved"),
        ("pullrequest:unapproved", "unapproved"),
        ("pullrequest:changes_request_created", "changes_requested"),
        ("pullrequest:changes_request_removed", "unapproved"),
        ("pullrequest:rejected", "declined"),
        ("pullrequest:fulfilled", "merged"),
        ("pullrequest:comment_created", "commented"),
        ("pullrequest:comment_updated", "ignored"),
        ("pullrequest:comment_deleted", "ignored"),
        ("pullrequest:comment_resolved", "ignored"),
        ("pullrequest:push", "ignored"),
        ("repo:push", "ignored"),
        ("repo:commit_status_created", "ignored"),
        ("pullrequest:of_next_year", "ignored"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = Call::recorded("bitbucket-cloud/approved").header("x-event-key", key).anew(n);
        assert_eq!(call.verdict(&world).await, verdict, "{key}");
    }
    // What a documentation sample has, and a reviewer who was asked for nothing.
    let call = Call::recorded("bitbucket-cloud/approved").anew("sample");
    let call = call.set("pullrequest.state", "OPEN|MERGED|DECLINED").set("pullrequest.participants", json!([1, null]));
    assert_eq!(call.verdict(&world).await, "approved");
    let plugin =
        Call::recorded("bitbucket-cloud/approved").set("pullrequest.fromRef", json!({"id": "x"})).anew("plugin");
    assert_eq!(plugin.send(&world).await.status, 400, "the form of Data Center's plugin");
}

#[tokio::test]
async fn data_center_by_its_header_or_its_body() {
    let world = world("", FETCHED).await;
    for (n, (key, verdict)) in [
        ("pr:opened", "opened"),
        ("pr:modified", "updated"),
        ("pr:from_ref_updated", "updated"),
        ("pr:to_ref_updated", "updated"),
        ("pr:reviewer:approved", "approved"),
        ("pr:reviewer:needs_work", "changes_requested"),
        ("pr:reviewer:changes_requested", "changes_requested"),
        ("pr:reviewer:unapproved", "unapproved"),
        ("pr:comment:added", "commented"),
        ("pr:comment:edited", "ignored"),
        ("pr:comment:deleted", "ignored"),
        ("pr:reviewer:updated", "ignored"),
        ("pr:declined", "declined"),
        ("pr:merged", "merged"),
        ("pr:deleted", "ignored"),
        ("repo:refs_changed", "ignored"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = Call::recorded("bitbucket-server/approved").set("eventKey", key).without("x-event-key").anew(n);
        assert_eq!(call.clone().verdict(&world).await, verdict, "{key}");
        let call = call.set("eventKey", Value::Null).header("x-event-key", key).anew(format!("{n}-by-header"));
        assert_eq!(call.verdict(&world).await, verdict, "{key}");
    }

    let base = Call::recorded("bitbucket-server/approved");
    let link_of = async |id: &str, links: Value| {
        let call = base.clone().set("pullRequest.links", links).anew(id);
        call.event(&world).await["review"]["url"].clone()
    };
    let of_repository = "https://server.bitbucket.local/users/gopher/repos/webhook-test/pull-requests/5";
    assert_eq!(link_of("absent", Value::Null).await, of_repository);
    assert_eq!(link_of("null", json!({"self": [null]})).await, of_repository);
    let unlinked =
        base.clone().set("pullRequest.links", Value::Null).set("pullRequest.toRef.repository.links", Value::Null);
    let unlinked = unlinked.set("date", "2017-09-19T11:10:01+1000");
    assert_eq!(unlinked.anew("unlinked").event(&world).await["review"].get("url"), None);
    let tag = base.set("pullRequest.fromRef.displayId", "v1.0").set("pullRequest.fromRef.type", "TAG");
    let tag = tag.set("pullRequest.description", Value::Null).set("date", "later").anew("tag").event(&world).await;
    assert_eq!((&tag["review"]["branch"], tag["event"].get("at")), (&json!("v1.0"), None));
}

#[tokio::test]
async fn github_by_its_header_and_its_action() {
    let world = world("", FETCHED).await;
    let mut n = 0;
    let mut check = async |fixture: &str, event: &str, changes: &[(&str, Value)], verdict: &str| {
        n += 1;
        let call = Call::recorded(&format!("github/{fixture}")).header("x-github-event", event).anew(n);
        let call = changes.iter().fold(call, |call, (path, value)| call.set(path, value.clone()));
        assert_eq!(call.verdict(&world).await, verdict, "{event} {changes:?}");
    };
    for (state, verdict) in [
        ("approved", "approved"),
        ("APPROVED", "approved"),
        ("changes_requested", "changes_requested"),
        ("commented", "commented"),
        ("pending", "ignored"),
    ] {
        let changes = [("review.state", json!(state)), ("review.body", Value::Null)];
        check("review-approved", "pull_request_review", &changes, verdict).await;
    }
    for (action, verdict) in [("dismissed", "unapproved"), ("edited", "ignored"), ("new", "ignored")] {
        let changes = [("action", json!(action)), ("review.state", json!("dismissed"))];
        check("review-approved", "pull_request_review", &changes, verdict).await;
    }
    for (action, verdict) in [
        ("opened", "opened"),
        ("reopened", "opened"),
        ("edited", "updated"),
        ("synchronize", "updated"),
        ("ready_for_review", "updated"),
        ("converted_to_draft", "updated"),
        ("labeled", "ignored"),
        ("assigned", "ignored"),
        ("review_requested", "ignored"),
        ("locked", "ignored"),
        ("enqueued", "ignored"),
    ] {
        check("merged", "pull_request", &[("action", json!(action))], verdict).await;
    }
    for (merged, merged_at, verdict) in [
        (json!(true), Value::Null, "merged"),
        (json!(false), json!("2019-05-15T15:20:34Z"), "declined"),
        (Value::Null, json!("2019-05-15T15:20:34Z"), "merged"),
        (Value::Null, Value::Null, "ignored"), // nobody knows which
    ] {
        let changes = [("pull_request.merged", merged), ("pull_request.merged_at", merged_at)];
        check("merged", "pull_request", &changes, verdict).await;
    }
    check("comment-on-pr", "issue_comment", &[], "commented").await;
    check("comment-on-pr", "issue_comment", &[("action", json!("edited"))], "ignored").await;
    check("comment-on-pr", "issue_comment", &[("issue.pull_request", Value::Null)], "ignored").await;
    let inline = [("action", json!("created")), ("review", Value::Null), ("comment", json!({"id": 7, "body": "here"}))];
    check("review-approved", "pull_request_review_comment", &inline, "commented").await;
    let deleted = [("action", json!("deleted")), ("comment", json!({"id": 7}))];
    check("review-approved", "pull_request_review_comment", &deleted, "ignored").await;
    check("ping", "ping", &[], "ignored").await;
    check("merged", "push", &[], "ignored").await;
    check("review-approved", "pull_request_review", &[("pull_request.head.repo", Value::Null)], "approved").await;
}

#[tokio::test]
async fn a_dismissal_is_of_the_moment_and_of_whose_review_it_was() {
    let world = world("", FETCHED).await;
    let call = Call::recorded("github/review-approved").set("action", "dismissed").set("sender.login", "maintainer");
    let event = call.set("pull_request.updated_at", "2016-10-04T00:00:00Z").event(&world).await;
    assert_eq!(event["event"]["at"], "2016-10-04T00:00:00Z");
    assert_eq!(
        (&event["actor"]["login"], &event["review"]["reviewer"]["login"]),
        (&json!("maintainer"), &json!("baxterthehacker"))
    );
}

#[tokio::test]
async fn gitlab_by_its_body() {
    let world = world("", FETCHED).await;
    let mut n = 0;
    let mut check = async |fixture: &str, changes: &[(&str, Value)], verdict: &str| {
        n += 1;
        let call = Call::recorded(&format!("gitlab/{fixture}")).header("x-gitlab-event", "System Hook").anew(n);
        let call = changes.iter().fold(call, |call, (path, value)| call.set(path, value.clone()));
        assert_eq!(call.verdict(&world).await, verdict, "{changes:?}");
    };
    for (action, verdict) in [
        ("open", "opened"),
        ("reopen", "opened"),
        ("approved", "approved"),
        ("approval", "approved"),
        ("unapproved", "unapproved"),
        ("unapproval", "unapproved"),
        ("update", "updated"),
        ("close", "declined"),
        ("merge", "merged"),
        ("of_next_year", "ignored"),
    ] {
        check("approved", &[("object_attributes.action", json!(action))], verdict).await;
    }
    check("approved", &[("object_kind", json!("push"))], "ignored").await;

    for (noteable, system, action, verdict) in [
        ("MergeRequest", json!(false), Value::Null, "commented"),
        ("MergeRequest", Value::Null, json!("create"), "commented"),
        ("MergeRequest", json!(true), Value::Null, "ignored"),
        ("MergeRequest", json!(false), json!("update"), "ignored"),
        ("Issue", json!(false), Value::Null, "ignored"),
        ("Commit", json!(false), Value::Null, "ignored"),
        ("Snippet", json!(false), Value::Null, "ignored"),
    ] {
        let own = |name: &str| format!("object_attributes.{name}");
        let (of, by, what) = (own("noteable_type"), own("system"), own("action"));
        let changes: [(&str, Value); 3] = [(&of, json!(noteable)), (&by, system), (&what, action)];
        check("comment-on-mr", &changes, verdict).await;
    }

    let state = |state: &str| json!({"id": 6, "state": state, "username": "ann"});
    let (asks, began) = (state("requested_changes"), state("review_started"));
    for (reviewers, verdict) in [
        (json!([[began], [asks]]), "changes_requested"),
        (json!({"previous": [{"id": 6}], "current": [asks]}), "changes_requested"),
        (json!({"previous": [], "current": [asks]}), "changes_requested"),
        (json!([[asks], [asks]]), "updated"),  // was so before
        (json!([[asks], [began]]), "updated"), // asked to look again
        (json!([[{"id": 7, "state": "requested_changes"}], [asks]]), "changes_requested"),
        (json!([[began], [state("reviewed")]]), "updated"),
        (json!([]), "updated"),
        (json!("other"), "updated"),
    ] {
        check("changes-requested", &[("changes.reviewers", reviewers)], verdict).await;
    }
    // The list at the top says how it stands, and nothing of this event.
    check("changes-requested", &[("changes", json!({}))], "updated").await;
}

#[tokio::test]
async fn approvals_that_a_push_took_back_are_nobodys() {
    let world = world("", FETCHED).await;
    let call = Call::recorded("gitlab/approved").set("object_attributes.action", "unapproved");
    let event = call.set("object_attributes.system", true).event(&world).await;
    assert_eq!(event["event"]["kind"], "review.unapproved");
    assert_eq!((event["review"].get("reviewer"), &event["actor"]["login"]), (None, &json!("eeshangargtest")));
}

#[tokio::test]
async fn gitea_by_its_header_and_its_action() {
    let world = world("", FETCHED).await;
    let mut n = 0;
    let mut check = async |fixture: &str, event: &str, changes: &[(&str, Value)], verdict: &str| {
        n += 1;
        let call = Call::recorded(&format!("gitea/{fixture}")).header("x-gitea-event", event).anew(n);
        let call = changes.iter().fold(call, |call, (path, value)| call.set(path, value.clone()));
        assert_eq!(call.clone().verdict(&world).await, verdict, "{event} {changes:?}");
        // Forgejo names its own header too.
        let forgejo = call.without("x-gitea-event").header("x-forgejo-event", event).anew(format!("{n}-forgejo"));
        assert_eq!(forgejo.verdict(&world).await, verdict, "{event} of Forgejo");
    };
    check("review-approved", "pull_request_approved", &[], "approved").await;
    check("review-approved", "pull_request_rejected", &[], "changes_requested").await;
    check("review-approved", "pull_request_comment", &[], "commented").await;
    check("review-approved", "pull_request_review_approved", &[], "approved").await;
    check("review-approved", "pull_request_review_rejected", &[], "changes_requested").await;
    check("review-approved", "pull_request_review_comment", &[], "commented").await;
    for event in ["pull_request_comment", "pull_request_review_comment"] {
        check("review-approved", event, &[("action", json!("deleted"))], "ignored").await;
    }
    for (action, verdict) in [
        ("opened", "opened"),
        ("reopened", "opened"),
        ("edited", "updated"),
        ("synchronized", "updated"),
        ("synchronize", "updated"), // as GitHub says it
        ("deleted", "ignored"),
        ("label_updated", "ignored"),
        ("assigned", "ignored"),
        ("review_requested", "ignored"),
        ("closed", "merged"),
    ] {
        check("merged", "pull_request", &[("action", json!(action))], verdict).await;
    }
    check("merged", "pull_request", &[("pull_request.merged", json!(false))], "declined").await;
    check("comment-on-pr", "issue_comment", &[], "commented").await;
    check("comment-on-pr", "issue_comment", &[("is_pull", Value::Null)], "commented").await;
    let issue = [("is_pull", json!(false)), ("issue.pull_request", Value::Null)];
    check("comment-on-pr", "issue_comment", &issue, "ignored").await;
    check("comment-on-pr", "issue_comment", &[("action", json!("deleted"))], "ignored").await;
    check("merged", "push", &[], "ignored").await;
}

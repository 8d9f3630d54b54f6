//! Who is let in, and what a host hears.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, FETCHED, SECRET, world};
use crate::harness::{HOOK_SECRET, World};

const APPROVED: [&str; 5] = [
    "bitbucket-cloud/approved",
    "bitbucket-server/approved",
    "github/review-approved",
    "gitlab/approved",
    "gitea/review-approved",
];

#[tokio::test]
async fn a_forged_call_is_401_and_says_not_why() {
    let world = world("", FETCHED).await;
    let mut answers = Vec::new();
    for name in APPROVED {
        let right = Call::recorded(name);
        let unsigned = ["x-hub-signature", "x-hub-signature-256", "x-gitlab-token", "x-gitea-signature"];
        let unsigned = unsigned.iter().fold(right.clone(), |call, name| call.without(name));
        let mut other_body = right.clone();
        other_body.body.push(b' ');
        let mut forged = vec![
            unsigned.clone(),
            unsigned.clone().header("authorization", SECRET),
            unsigned.clone().header("x-campanile-token", SECRET),
            right.clone().signed("guess"),
            right.clone().signed(""),
        ];
        match right.to.as_str() {
            "gitlab" => forged.push(unsigned.header("x-gitlab-token", "")),
            "gitea" => forged.extend([
                other_body,
                unsigned.clone().header("x-gitea-signature", ""),
                unsigned.header("x-hub-signature-256", "sha256="),
            ]),
            "github" => forged.extend([
                other_body,
                // Right, and of SHA-1.
                unsigned.clone().header("x-hub-signature", "sha1=b6ec4790b500c679d26314509d293cac54fea98a"),
                unsigned.header("x-hub-signature-256", "sha256="),
            ]),
            _ => forged.extend([other_body, unsigned.header("x-hub-signature", "sha256=")]),
        }
        for (n, call) in forged.into_iter().enumerate() {
            let answer = call.send(&world).await;
            assert_eq!(answer.status, 401, "{name} {n}: {}", answer.text);
            answers.push(answer.text);
        }
        assert_eq!(right.send(&world).await.status, 202, "{name}");
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(world.api("/api/v1/events").await["events"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn either_secret_counts_during_rotation() {
    let world = world("", FETCHED).await;
    for name in APPROVED {
        let call = Call::recorded(name).set("more", 1);
        let second = match call.to.as_str() {
            "bitbucket-server" => "secret",
            "gitea" => "IsWishesWereHorsesWedAllBeEatingSteak!",
            _ => "another-secret",
        };
        assert_eq!(call.clone().signed(SECRET).anew(1).verdict(&world).await, "approved", "{name}");
        assert_eq!(call.signed(second).anew(2).verdict(&world).await, "approved", "{name}");
    }
}

#[tokio::test]
async fn pings_are_answered_and_nothing_follows_from_them() {
    let world = world("TEST", "").await;
    for name in ["bitbucket-server/ping", "github/ping"] {
        let answer = Call::recorded(name).send(&world).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"ignored": "a ping"})), "{name}");
    }
    // Nobody signs Data Center's: whatever else comes under its key has no effect.
    let mut approval = Call::recorded("bitbucket-server/approved").set("pullRequest.title", "TEST-1");
    approval = approval.header("x-event-key", "diagnostics:ping").without("x-hub-signature");
    assert_eq!(approval.clone().send(&world).await.json(), json!({"ignored": "a ping"}));
    approval.body = b"not json".to_vec();
    assert_eq!(approval.clone().send(&world).await.status, 200);
    for key in ["diagnostics:ping2", "pr:reviewer:approved"] {
        assert_eq!(approval.clone().header("x-event-key", key).send(&world).await.status, 401);
    }
    assert_eq!(approval.to("bitbucket-cloud").send(&world).await.status, 401);
    let metrics = world.metrics().await;
    assert!(metrics.contains("campanile_received 1"), "{metrics}");
}

#[tokio::test]
async fn a_call_of_another_host_is_told_whose_it_is() {
    let world = world("", FETCHED).await;
    for name in APPROVED {
        for source in APPROVED {
            let source = source.split('/').next().unwrap();
            let call = Call::recorded(name);
            let own = call.to == source;
            let answer = call.anew(source).to(source).signed(SECRET).send(&world).await;
            match (own, source) {
                (true, _) => assert_eq!(answer.status, 202, "{}", answer.text),
                (false, "gitlab") => assert_eq!(answer.status, 200, "{}", answer.text),
                (false, _) => assert_eq!(answer.status, 400, "{}", answer.text),
            }
            let (sent, to) = (name.split('/').next().unwrap(), format!("a source of kind `{source}`"));
            let says = answer.text.contains(&format!("a call of kind `{sent}`")) && answer.text.contains(&to);
            assert_eq!(says, !own, "{name} to {source}: {}", answer.text);
        }
    }
}

/// The same call with another title.
fn titled(call: Call, title: &str) -> Call {
    let titles = ["pullrequest.title", "pullRequest.title", "pull_request.title", "object_attributes.title"];
    let body = call.json();
    let path = titles.iter().find(|path| body[path.split('.').next().unwrap()].is_object()).unwrap();
    call.set(path, title)
}

#[tokio::test]
async fn delivered_twice_is_one_for_seven_days() {
    let world = world("TEST", "").await;
    for name in APPROVED {
        let call = titled(Call::recorded(name), "TEST-1, TEST-2");
        let first = call.clone().send(&world).await;
        let ids: Vec<i64> = serde_json::from_value(first.json()["events"].clone()).unwrap();
        assert_eq!((first.status, ids.len()), (202, 2), "{}", first.text);
        let again = json!({"event": ids[0], "duplicate": true});
        assert_eq!(call.clone().send(&world).await.json(), again, "{name}");
        world.clock.pass(Duration::from_secs(7 * 24 * 3600 - 60));
        assert_eq!(call.clone().send(&world).await.json(), again, "{name}, nearly seven days later");
        // A delivery has an event for each issue: those that are there are not made again.
        let more = titled(call.clone(), "TEST-1, TEST-3").send(&world).await.json();
        assert_eq!((&more["events"][0], &more["deliveries"]), (&json!(ids[0]), &json!(1)), "{name}: {more}");
        world.clock.pass(Duration::from_secs(61));
        assert_eq!(call.send(&world).await.status, 202, "{name}, more than seven days later");
    }
}

#[tokio::test]
async fn the_same_verdict_under_another_id_is_one() {
    let world = world("TEST", "").await;
    for name in APPROVED {
        let call = titled(Call::recorded(name), "TEST-1");
        assert_eq!(call.clone().send(&world).await.status, 202);
        assert_eq!(call.clone().anew(2).send(&world).await.json()["duplicate"], true, "{name}");
        let reviewers = ["approval.user.nickname", "participant.user.name", "review.user.login", "user.username"];
        let body = call.json();
        let found = reviewers.iter().find(|path| body.pointer(&format!("/{}", path.replace('.', "/"))).is_some());
        let another = call.set(found.unwrap_or(&"sender.login"), "somebody-else").anew(3);
        assert_eq!(another.send(&world).await.status, 202, "{name}: another's verdict is another");
    }
}

#[tokio::test]
async fn without_an_id_the_whole_call_is_its_mark() {
    let world = world("", FETCHED).await;
    let call = Call::recorded("bitbucket-cloud/approved").without("x-request-uuid");
    assert_eq!(call.clone().send(&world).await.status, 202);
    assert_eq!(call.clone().send(&world).await.json(), json!({"event": 1, "duplicate": true}));
    let unapproved = call.header("x-event-key", "pullrequest:unapproved");
    assert_eq!(unapproved.verdict(&world).await, "unapproved", "the same body under another event");
    // Hooks that are set off by a hook share GitLab's event id.
    let shared = Call::recorded("gitlab/approved").without("idempotency-key");
    assert_eq!(shared.clone().verdict(&world).await, "approved");
    assert_eq!(shared.clone().send(&world).await.json()["duplicate"], true);
    assert_eq!(shared.set("object_attributes.action", "merge").verdict(&world).await, "merged");
}

#[tokio::test]
async fn gitlab_never_hears_4xx_of_what_it_signed() {
    let world = world("TEST", "").await;
    let call = Call::recorded("gitlab/approved").set("object_attributes.title", "TEST-1");
    let with_body = |body: &str| Call { body: body.as_bytes().to_vec(), ..call.clone() };
    let unreadable = [
        with_body("not json"),
        with_body("[]"),
        with_body("{}"),
        with_body(""),
        with_body(r#"{"text": "a template of the maintainers, TEST-1"}"#),
        call.clone().set("object_attributes.iid", Value::Null),
        call.clone().set("project", json!([])),
    ];
    for (n, call) in unreadable.iter().enumerate() {
        let answer = call.clone().anew(n).send(&world).await;
        assert_eq!((answer.status, answer.json()["ignored"].is_string()), (200, true), "{}", answer.text);
    }
    let metrics = world.metrics().await;
    let counted = format!("part=\"unreadable\"}} {}", unreadable.len());
    assert!(metrics.contains(&counted), "kept and counted all the same: {metrics}");
    // Others are told.
    for name in
        ["bitbucket-cloud/approved", "bitbucket-server/approved", "github/review-approved", "gitea/review-approved"]
    {
        let call = Call::recorded(name);
        let needed = if call.json()["repository"].is_object() { "repository" } else { "pullRequest" };
        let without = call.clone().set(needed, Value::Null);
        let broken = ["not json", "[1]", ""].map(|body| Call { body: body.into(), ..call.clone() }.signed(SECRET));
        for call in broken.into_iter().chain([without]) {
            let answer = call.send(&world).await;
            assert_eq!(answer.status, 400, "{name}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn github_and_gitea_may_send_forms() {
    let world = world("TEST", "").await;
    for name in ["github/review-approved", "gitea/review-approved"] {
        let json = Call::recorded(name).set("pull_request.title", "TEST-1: «ё & +»");
        let form: String = url::form_urlencoded::byte_serialize(&json.body).collect();
        let form = Call { body: format!("payload={form}").into_bytes(), ..json.clone() };
        // GitHub signs the form, Gitea what is in it.
        let form = if name.starts_with("github") { form.signed(SECRET) } else { form };
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let event = form.event(&world).await;
        assert_eq!(event["review"]["title"], "TEST-1: «ё & +»");
        assert_eq!((&event["event"]["reading"], &event["body"]["action"]), (&json!("form"), &json.json()["action"]));
        // JSON that is only called a form is read as what it is.
        let later = json!("2026-05-12T09:16:00Z");
        let called = json.set("review.submitted_at", later.clone()).set("pull_request.updated_at", later).anew(2);
        let called = called.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(called.event(&world).await["event"]["reading"], "strict", "{name}");
    }
}

#[tokio::test]
async fn bodies_that_pretend_are_refused_or_ignored() {
    let world = world("TEST", FETCHED).await;
    let many = |piece: &str| piece.repeat(1024 * 1024 / piece.len());
    for name in APPROVED {
        let own = Call::recorded(name);
        let numbered =
            own.json().to_string().replace(":1,", ":1e999,").replace(":5,", ":1e999,").replace(":7,", ":1e999,");
        for (body, form) in [
            (many("["), false),
            (many(r#"{"pull_request":"#), false),
            (many(r#"{"a":1}"#), false),
            (many("&payload=%7B"), true),
            (many("%"), true),
            ("payload=".into(), true),
            ("payload=%7B%00%7D".into(), true),
            ("\0".into(), false),
            (String::new(), false),
            ("null".into(), false),
            (numbered + "}", false),
        ] {
            let call = Call { body: body.clone().into_bytes(), ..own.clone() };
            let call = if form { call.header("content-type", "application/x-www-form-urlencoded") } else { call };
            let payload = url::form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "payload");
            let call = match payload.filter(|_| form && own.to == "gitea") {
                Some((_, payload)) => {
                    let signed = Call { body: payload.into_owned().into_bytes(), ..call.clone() }.signed(SECRET);
                    Call { headers: signed.headers, ..call }
                }
                None => call.signed(SECRET),
            };
            let answer = call.send(&world).await;
            let expected = if own.to == "gitlab" { 200 } else { 400 };
            assert_eq!(answer.status, expected, "{name}: {body:.40}: {:.200}", answer.text);
        }
        let longer = Call { body: vec![b' '; 1024 * 1024 + 1], ..own };
        assert_eq!(longer.send(&world).await.status, 413);
    }
    assert_eq!(world.api("/api/v1/events").await["events"], json!([]));
}

#[tokio::test]
async fn other_sources_go_on_beside_a_host() {
    let world: World = world("TEST", "").await;
    let url = world.public_url("/hooks/github");
    let answer = world.http.post(&url).header("authorization", HOOK_SECRET).json(&json!({"key": "TEST-1"})).await;
    assert_eq!(answer.status, 401, "a host's call has a signature");
    world.accepted(&json!({"key": "TEST-1"})).await;
}

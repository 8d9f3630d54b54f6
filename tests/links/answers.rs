//! What Tracker hears: of each kind of object, in each form of address, and when something is wrong.

use http::Method;
use serde_json::{Value, json};

use super::{TOKEN, by_token, register};
use crate::harness::{Answer, Setup, World, issue};
use crate::reviews::{Call, SECRET};

const BENCHES: &str = "bench-s3cret";

fn with_sources(setup: Setup) -> Setup {
    let host = |kind: &str| format!("  {kind}: {{kind: {kind}, secret: {{env: REVIEWS}}}}\n");
    let mut secrets = setup.secrets.clone();
    secrets.extend([("REVIEWS", SECRET), ("BENCHES", BENCHES)]);
    let sources = format!("  benches: {{kind: bench, secret: {{env: BENCHES}}}}\n{}{}", host("github"), host("gitlab"));
    Setup { sources, secrets, ..setup }
}

async fn bench(world: &World, body: &Value) {
    let call =
        world.http.post(&world.public_url("/hooks/benches")).header("authorization", format!("Bearer {BENCHES}"));
    let answer = call.json(body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// An error in Tracker's own form.
fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    let body = answer.json();
    assert_eq!((&body["errors"], &body["statusCode"]), (&json!({}), &json!(status)));
    let messages: Vec<_> =
        body["errorMessages"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    messages.join("\n")
}

#[tokio::test]
async fn a_review_is_shown_as_its_host_told_of_it_last() {
    let world = with_sources(by_token()).start().await;
    let key = "review:github:baxterthehacker/public-repo:8";
    assert!(refused(&world.object_info(key).await, 404).contains("no such object"));
    // What nobody has told of may be linked.
    assert_eq!(world.create_links("TEST-1", &[key]).await.status, 200);
    let verdict = |file: &str| Call::recorded(&format!("github/{file}")).set("pull_request.title", "TEST-1: a README");
    assert_eq!(verdict("review-approved").send(&world).await.status, 202);
    let shown = world.object_info(key).await;
    let expected = json!({"key": key, "summary": "TEST-1: a README", "iconUrl": "https://bells.example.com/bell.png",
        "status": {"name": "open", "description": "by skalnik"}, "resolution": {"name": "approved"},
        "updated": "2016-10-04T02:39:09.000+0300"});
    assert_eq!((shown.status, shown.json()), (200, expected));
    // A verdict from before changes nothing, one from after does.
    let rejected = |time: &str| {
        let call = verdict("review-approved").set("review.state", "changes_requested").set("review.submitted_at", time);
        call.anew(time)
    };
    rejected("2016-10-03T23:39:08Z").send(&world).await;
    assert_eq!(world.object_info(key).await.json()["resolution"]["name"], "approved");
    rejected("2016-10-03T23:39:10Z").send(&world).await;
    assert_eq!(world.object_info(key).await.json()["resolution"]["name"], "changes_requested");

    let merged = Call::recorded("gitlab/merged").set("object_attributes.title", "TEST-2");
    assert_eq!(merged.send(&world).await.status, 202);
    let shown = world.object_info("review:gitlab:gitlab-org%2Fhello-world:1").await.json();
    assert_eq!((&shown["status"]["name"], &shown["resolution"]["name"]), (&json!("merged"), &json!("merged")));
}

#[tokio::test]
async fn a_bench_is_shown_by_any_form_of_its_branch() {
    let world = with_sources(by_token()).start().await;
    let branch = "фича/TEST-1#2";
    bench(&world, &json!({"branch": branch, "url": "https://b.example.com", "at": "2026-05-12T09:00:00.5Z"})).await;
    let encoded = "bench:%D1%84%D0%B8%D1%87%D0%B0%2FTEST-1%232";
    let slashed = encoded.replace("%2F", "/");
    for key in [encoded, &slashed] {
        let shown = world.object_info(key).await;
        assert_eq!(shown.status, 200, "{key}: {}", shown.text);
        assert_eq!(
            shown.json(),
            json!({"key": format!("bench:{branch}"), "summary": branch, "updated": "2026-05-12T12:00:00.500+0300",
                "iconUrl": "https://bells.example.com/bell.png",
                "status": {"name": "ready", "description": "https://b.example.com"}})
        );
    }
    bench(&world, &json!({"branch": branch, "state": "gone"})).await;
    assert_eq!(world.object_info(encoded).await.json()["status"], json!({"name": "gone"}));
    // A branch is decoded once: `%25` is a percent.
    bench(&world, &json!({"branch": "TEST-1-%2F", "url": "https://b.example.com"})).await;
    assert_eq!(world.object_info("bench:TEST-1-%252F").await.status, 200);
    assert_eq!(world.object_info("bench:TEST-1-%2F").await.status, 404);

    for address in [encoded, &slashed] {
        assert_eq!(world.create_links("TEST-9", &[&format!("bench:{branch}")]).await.status, 200);
        assert_eq!(world.links_listed().await, [("TEST-9".to_owned(), format!("bench:{branch}"))]);
        assert_eq!(world.remove_link(address, "TEST-9").await.status, 204);
        assert!(world.links_listed().await.is_empty());
    }
}

#[tokio::test]
async fn tracker_may_encode_a_key_or_not() {
    let world = with_sources(by_token()).start().await;
    bench(&world, &json!({"branch": "fix/TEST-1", "url": "https://b.example.com"})).await;
    for raw in [false, true] {
        register(&world, |application| {
            let application = application.token(TOKEN);
            if raw { application.raw_keys() } else { application }
        });
        world.tracker().link("TEST-1", "campanile", "bench:fix/TEST-1", "maria").unwrap();
        world.until_links(1).await;
        let infos = world.tracker().open_issue("TEST-1", "maria").await;
        assert_eq!(infos[0].status, Some(200), "{infos:?}");
        world.tracker().unlink("TEST-1", "campanile", "bench:fix/TEST-1", "maria").unwrap();
        world.until_links(0).await;
    }
}

#[tokio::test]
async fn addresses_are_as_configured_and_shadow_nothing() {
    let mut setup = by_token();
    setup.more = "links: {auth: {token: {env: LINKS}}, info: '/{{remoteKey}}', create: '/app?do=add', \
                  remove: '/app?do=del&ticket={{issueKey}}&obj={{remoteKey}}'}\n"
        .into();
    let world = setup.start().await;
    let body = json!({"issueKey": "TEST-1", "entityIds": ["channel:ops-slack"]}).to_string();
    assert_eq!(world.link_call(Method::POST, "/app?do=add", &body).await.status, 200);
    assert_eq!(world.link_call(Method::GET, "/channel:ops-slack", "").await.status, 200);
    let swapped = "/app?obj=channel%3Aops-slack&more=1&ticket=TEST-1&do=del";
    assert_eq!(world.link_call(Method::DELETE, swapped, "").await.status, 204);
    assert!(world.links_listed().await.is_empty());
    assert_eq!(world.link_call(Method::GET, "/healthz", "").await.text, "alive\n");
    assert_eq!(world.link_call(Method::GET, "/readyz", "").await.status, 200);
    let hook = world.link_call(Method::GET, "/hooks/a/b/c", "").await;
    assert!(hook.status == 404 && hook.text.contains("no source of that name"), "{}", hook.text);
    world.accepted(&issue("TEST-1", "created")).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_linked() {
    let world = by_token().start().await;
    for (body, why) in [
        ("", "the body is no JSON: line 1"),
        ("{\"issueKey\": \"TEST-1\",", "the body is no JSON: line 1"),
        ("[]", "`issueKey` is no issue's key, as in TEST-123\n`entityIds` is no list of 1 to 100 keys"),
        (r#"{"entityIds": ["bench:a"]}"#, "`issueKey` is no issue's key"),
        (r#"{"issueKey": "TEST", "entityIds": ["bench:a"]}"#, "`issueKey` is no issue's key"),
        (r#"{"issueKey": "TEST-1/..", "entityIds": ["bench:a"]}"#, "`issueKey` is no issue's key"),
        (r#"{"issueKey": 7, "entityIds": ["bench:a"]}"#, "`issueKey` is no issue's key"),
        (r#"{"issueKey": "TEST-1"}"#, "`entityIds` is no list"),
        (r#"{"issueKey": "TEST-1", "entityIds": []}"#, "`entityIds` is no list"),
        (r#"{"issueKey": "TEST-1", "entityIds": "bench:a"}"#, "`entityIds` is no list"),
        (r#"{"issueKey": "TEST-1", "entityIds": [7]}"#, "a key in `entityIds` is no text"),
        (
            r#"{"issueKey": "TEST-1", "entityIds": ["bench:a", "1234", "channel:ops-rom", "review:svn:a:1"]}"#,
            "`1234`: `1234` begins with none of `channel:`, `review:` and `bench:`\n`channel:ops-rom`: no channel has this \
             name; there are `channel:ops-slack`, `channel:ops-telegram`\n`review:svn:a:1`: ",
        ),
    ] {
        let told = refused(&world.link_call(Method::POST, "/links", body).await, 400);
        assert!(told.contains(why), "{body}: {told}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("bench:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(world.create_links("TEST-1", &many).await.status, 400);
    let long = format!("bench:{}", "x".repeat(1_060));
    let told = refused(&world.create_links("TEST-1", &[&long]).await, 400);
    assert!(told.contains("xxx…` is longer than 1064 bytes") && told.len() < 200, "{told}");
    let large = "x".repeat(1024 * 1024 + 1);
    assert!(refused(&world.link_call(Method::POST, "/links", &large).await, 413).contains("1 MiB"));
    assert!(world.links_listed().await.is_empty() && world.event_kinds().await.is_empty());

    let told = refused(&world.remove_link("bench:a", "no-key-1").await, 404);
    assert!(told.contains("DELETE /links/{{remoteKey}}/{{issueKey}}"), "{told}");
    refused(&world.link_call(Method::PUT, "/links/bench:a", "").await, 405);
    refused(&world.link_call(Method::GET, "/links", "").await, 405);
    refused(&world.object_info("1234").await, 404);
    refused(&world.object_info("channel:ops-rom").await, 404);
    assert_eq!(world.remove_link("1234", "TEST-1").await.status, 204, "what was never linked is gone");
    assert_eq!(world.link_call(Method::GET, "/elsewhere", "").await.json(), json!({"error": "nothing is here"}));
}

/// PostgreSQL would take no NUL, and answer so for ever.
#[tokio::test]
async fn a_key_with_a_control_character_is_nobodys() {
    let world = by_token().start().await;
    for (key, encoded, told) in [
        ("bench:a\0b", "bench:a%00b", r"`bench:a\0b` has a control character in it"),
        (
            "review:github:a/b\u{7f}:7",
            "review:github:a/b%7F:7",
            r"`review:github:a/b\u{7f}:7` has a control character in it",
        ),
    ] {
        assert_eq!(refused(&world.create_links("TEST-1", &["bench:fine", key]).await, 400), told);
        refused(&world.object_info(encoded).await, 404);
        assert_eq!(world.remove_link(encoded, "TEST-1").await.status, 204);
    }
    assert!(world.links_listed().await.is_empty() && world.event_kinds().await.is_empty());
}

/// An explicit key is taken at its word, as in a trigger's body; of a known queue in any case.
#[tokio::test]
async fn an_issue_is_named_by_its_key_in_any_case_of_a_known_queue() {
    let world = by_token().start().await;
    for key in ["test-1", "TEST-1", "Other-1"] {
        assert_eq!(world.create_links(key, &["channel:ops-slack"]).await.status, 200);
    }
    let channel = || "channel:ops-slack".to_owned();
    assert_eq!(world.links_listed().await, [("Other-1".to_owned(), channel()), ("TEST-1".to_owned(), channel())]);
    assert_eq!(world.remove_link("channel:ops-slack", "test-1").await.status, 204);
    assert_eq!(world.links_listed().await, [("Other-1".to_owned(), channel())]);
}

#[tokio::test]
async fn a_reload_that_takes_the_channel_or_the_links_ends_what_follows_from_them() {
    let world = by_token().start().await;
    for channel in ["channel:ops-slack", "channel:ops-telegram"] {
        assert_eq!(world.create_links("TEST-1", &[channel]).await.status, 200);
    }
    let gone = |text: String| text.replace("  ops-telegram: {telegram", "  other-telegram: {telegram");
    world.reload_with(gone).await.unwrap();
    world.accepted(&issue("TEST-1", "created")).await;
    world.until_posted(1, 0).await;
    assert_eq!(world.until_all("delivered").await.len(), 1);
    assert_eq!(world.object_info("channel:ops-telegram").await.status, 404);
    assert_eq!(world.remove_link("channel:ops-telegram", "TEST-1").await.status, 204);
    world
        .reload_with(|text| text.lines().filter(|line| !line.starts_with("links:")).collect::<Vec<_>>().join("\n"))
        .await
        .unwrap();
    assert_eq!(world.object_info("channel:ops-slack").await.json(), json!({"error": "nothing is here"}));
    world.accepted(&issue("TEST-1", "resolved")).await;
    assert_eq!(world.until_all("delivered").await.len(), 1);
}

#[tokio::test]
async fn a_channel_that_waits_says_for_what() {
    use campanile::simulator::Fault;
    let world = by_token().start().await;
    world.create_links("TEST-1", &["channel:ops-slack"]).await;
    world.slack.fault(Fault::error("invalid_auth").always());
    world.accepted(&issue("TEST-1", "created")).await;
    world.until(|record| record.counts().calls >= 1, |_| true).await;
    world.settled(|_| true).await;
    let status = async {
        loop {
            let status = world.object_info("channel:ops-slack").await.json()["status"].clone();
            if status["name"] != "active" {
                break status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let status = tokio::time::timeout(std::time::Duration::from_secs(30), status).await.unwrap();
    assert_eq!(status["name"], "held");
    assert!(status["description"].as_str().unwrap().contains("invalid_auth"), "{status}");
}

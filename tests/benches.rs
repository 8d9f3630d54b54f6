//! Test benches that pipelines tell of.

use serde_json::{Value, json};

use crate::harness::{Answer, Setup, World};

const SECRET: &str = "bench-s3cret";

async fn world() -> World {
    let setup = Setup {
        sources: "  benches: {kind: bench, secret: {env: BENCH}}\n".into(),
        secrets: vec![("BENCH", SECRET)],
        more: "tracker: {queues: [TEST, OPS]}\n".into(),
        ..Setup::default()
    };
    setup.only_slack().start().await
}

async fn call(world: &World, body: impl Into<bytes::Bytes>) -> Answer {
    let call = world.http.post(&world.public_url("/hooks/benches"));
    call.header("authorization", format!("Bearer {SECRET}")).body(body).await
}

async fn document(world: &World, id: &Value) -> Value {
    world.api(&format!("/api/v1/events/{id}")).await["event"]["document"].clone()
}

#[tokio::test]
async fn json_and_form_say_the_same() {
    let world = world().await;
    let url = "https://bench-7.example.com/?a=1";
    let body = json!({"branch": "refs/heads/feature/test-7-login", "url": url, "ci": "17", "actor": "ann"});
    let form = "branch=feature%2Ftest-7-login&url=https%3A%2F%2Fbench-7.example.com%2F%3Fa%3D1&ci=17&actor=ann";
    for (body, reading) in [(body.to_string(), "strict"), (form.to_owned(), "form")] {
        let answer = call(&world, body).await;
        assert_eq!((answer.status, &answer.json()["deliveries"]), (202, &json!(1)), "{}", answer.text);
        let event = document(&world, &answer.json()["event"]).await;
        assert_eq!((&event["event"]["kind"], &event["event"]["reading"]), (&json!("bench.ready"), &json!(reading)));
        assert_eq!(event["bench"], json!({"url": url, "branch": "feature/test-7-login", "state": "ready"}));
        assert_eq!((&event["issue"]["key"], &event["actor"]["login"]), (&json!("TEST-7"), &json!("ann")));
        assert_eq!(event["body"]["ci"], "17");
    }
    world.until_posted(2, 0).await;
    assert!(world.slack_texts()[0].contains("TEST-7") && world.slack_texts()[0].contains("bench-7"));
}

#[tokio::test]
async fn a_bench_that_is_gone_has_no_address_any_more() {
    let world = world().await;
    let body = json!({"issue": "test-7", "url": "https://b.example.com", "state": " GONE "});
    let event = document(&world, &call(&world, body.to_string()).await.json()["event"]).await;
    assert_eq!(event["event"]["kind"], "bench.gone");
    assert_eq!((event["bench"].get("url"), &event["body"]["url"]), (None, &json!("https://b.example.com")));
    assert_eq!(event["issue"]["key"], "TEST-7", "as its queue is written");
    let without = call(&world, json!({"branch": "TEST-8", "state": "gone"}).to_string()).await;
    assert_eq!(without.status, 202, "{}", without.text);
}

#[tokio::test]
async fn a_repeated_report_is_success_and_each_issue_has_its_event() {
    let world = world().await;
    let body = json!({"branch": "TEST-1_and_ops-2", "url": "https://b.example.com"}).to_string();
    let first = call(&world, body.clone()).await;
    assert_eq!((first.status, first.json()), (202, json!({"event": 1, "events": [1, 2], "deliveries": 2})));
    let again = call(&world, body.clone()).await;
    assert_eq!((again.status, again.json()), (200, json!({"event": 1, "duplicate": true})));
    let keys = [document(&world, &json!(1)).await, document(&world, &json!(2)).await]
        .map(|event| event["issue"]["key"].clone());
    assert_eq!(keys, ["TEST-1", "OPS-2"]);
    world.clock.pass(std::time::Duration::from_secs(241));
    assert_eq!(call(&world, body).await.status, 202);
}

#[tokio::test]
async fn what_names_no_issue_is_ignored_and_says_why() {
    let world = world().await;
    let cut = format!("feature-test-1{}y", "-x".repeat(24));
    assert_eq!(cut.len(), 63);
    for (branch, why) in [
        ("main", "no issue key in branch `main`"),
        ("refs/heads/release-1", "no issue key in branch `release-1`"),
        ("other-7", "no issue key in branch `other-7`"),
        (&cut, "was cut"),
    ] {
        let answer = call(&world, json!({"branch": branch, "url": "https://b.example.com"}).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json()["ignored"].as_str().unwrap().contains(why), "{}", answer.text);
    }
    let named = json!({"branch": cut, "issue": "TEST-1", "url": "https://b.example.com"});
    assert_eq!(call(&world, named.to_string()).await.status, 202);
}

#[tokio::test]
async fn what_cannot_be_meant_is_400_and_says_what_to_mend() {
    let world = world().await;
    for (body, why) in [
        (json!({"branch": "TEST-1"}).to_string(), "`url` is missing"),
        (json!({"branch": "TEST-1", "url": "b.example.com"}).to_string(), "no http:// or https:// address"),
        (json!({"branch": "TEST-1", "url": "javascript:alert(1)"}).to_string(), "no http:// or https:// address"),
        (json!({"branch": "TEST-1", "url": "https://ann:pw@b.example.com"}).to_string(), "names a user"),
        (json!({"branch": "TEST-1", "url": format!("https://b/{}", "x".repeat(2048))}).to_string(), "longer than 2048"),
        (
            json!({"branch": "TEST-1", "url": "https://b", "state": "broken"}).to_string(),
            "`state` is `ready` or `gone`",
        ),
        (json!({"branch": "TEST-1\u{0}", "url": "https://b"}).to_string(), "no branch's name"),
        (json!({"branch": "x".repeat(1001), "url": "https://b"}).to_string(), "no branch's name"),
        (json!({"issue": "test", "url": "https://b"}).to_string(), "neither `issue` names"),
        (json!({"url": "https://b"}).to_string(), "neither `issue` names"),
        ("[1]".into(), "neither a JSON object nor a form"),
        (String::new(), "neither a JSON object nor a form"),
    ] {
        let answer = call(&world, body.clone()).await;
        assert_eq!(answer.status, 400, "{body:.80}: {}", answer.text);
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(told.contains(why) && !told.contains("pw"), "{body:.80}: {told}");
    }
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"part="unreadable"} 12"#), "{metrics}");
}

#[tokio::test]
async fn a_pipeline_needs_the_benches_own_secret() {
    let world = world().await;
    let url = world.public_url("/hooks/benches");
    let body = json!({"branch": "TEST-1", "url": "https://b.example.com"});
    for secret in [crate::harness::HOOK_SECRET, "", "Bearer"] {
        assert_eq!(world.http.post(&url).header("authorization", secret).json(&body).await.status, 401);
    }
    assert_eq!(world.http.post(&url).header("x-campanile-token", SECRET).json(&body).await.status, 202);
}

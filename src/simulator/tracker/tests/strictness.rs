//! Who is let in, and in which form.

use super::*;

#[tokio::test]
async fn headers_are_judged_before_anything_else() {
    let tracker = start(options().cloud_organization("b1g")).await;
    let (oauth, cloud) = (("authorization", "OAuth t0ken"), ("x-cloud-org-id", "b1g"));
    let table: [(&[(&str, &str)], u16); 9] = [
        (&[oauth, cloud], 200),
        (&[("authorization", "Bearer t0ken"), cloud], 200),
        (&[("authorization", "Basic t0ken"), cloud], 401),
        (&[("authorization", "OAuth other"), cloud], 401),
        (&[cloud], 401),
        (&[oauth], 403),
        (&[oauth, ("x-cloud-org-id", "other")], 403),
        (&[oauth, ("x-org-id", "b1g")], 403),
        (&[oauth, cloud, ("x-org-id", "b1g")], 400),
    ];
    for (headers, status) in table {
        let got = call(tracker.addr(), "GET", "/v3/myself", headers, String::new()).await.unwrap();
        assert_eq!(got.status, status, "{headers:?}: {}", got.body);
        if status != 200 {
            refusal(&got);
        }
    }
    tracker.expire_token("t0ken");
    let got = call(tracker.addr(), "GET", "/v3/myself", &[oauth, cloud], String::new()).await.unwrap();
    let recorded: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/api-errors.json")).unwrap();
    assert_eq!((got.status, &got.json()), (401, &recorded[0]["body"]));
    assert_eq!(got.headers["content-type"], recorded[0]["headers"]["Content-Type"].as_str().unwrap());
    tracker.renew_token("n3w", BOT);
    let headers = [("authorization", "OAuth n3w"), cloud];
    let got = call(tracker.addr(), "GET", "/v3/myself", &headers, String::new()).await.unwrap();
    assert_eq!(got.json()["login"], BOT);
}

#[tokio::test]
async fn bodies_are_objects_of_json_and_say_so() {
    let tracker = start(options()).await;
    let patch = async |content_type: Option<&str>, body: &str| {
        let headers = [Some(HEADERS[0]), Some(HEADERS[1]), content_type.map(|value| ("content-type", value))];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        call(tracker.addr(), "PATCH", "/v3/issues/TEST-1", &headers, body.to_owned()).await.unwrap().status
    };
    let good = r#"{"summary": "x"}"#;
    assert_eq!(patch(Some("application/json; charset=utf-8"), good).await, 200);
    for (content_type, body) in [
        (None, good),
        (Some("text/plain"), good),
        (Some("application/x-www-form-urlencoded"), "summary=x"),
        (Some("application/json"), "[1]"),
        (Some("application/json"), r#"{"summary""#),
        (Some("application/json"), ""),
    ] {
        assert_eq!(patch(content_type, body).await, 400, "{content_type:?} {body}");
    }
    let known = |path| ask(&tracker, "GET", path, Value::Null);
    for (path, status) in [("issues/TEST-1/votes", 404), ("nothing", 404), ("issues//comments", 404)] {
        assert_eq!(known(path).await.status, status, "{path}");
    }
    assert_eq!(ask(&tracker, "DELETE", "issues/TEST-1", Value::Null).await.status, 405);
    assert_eq!(call(tracker.addr(), "GET", "/v2/myself", &HEADERS, String::new()).await.unwrap().status, 404);
}

#[tokio::test]
async fn the_pace_is_held_with_and_without_a_word_how_long() {
    for (says, header) in [(true, Some("1")), (false, None)] {
        let clock = held();
        let tracker = start(on(clock.clone()).pace(2, says)).await;
        for status in [200, 200, 429, 429] {
            let got = ask(&tracker, "GET", "myself", Value::Null).await;
            assert_eq!(got.status, status);
            if status == 429 {
                assert_eq!(got.headers.get("retry-after").map(|value| value.to_str().unwrap()), header);
                assert_eq!(got.body.is_empty(), !says, "bare is quite bare");
            }
        }
        clock.pass(Duration::from_secs(1));
        assert_eq!(ask(&tracker, "GET", "myself", Value::Null).await.status, 200);
        assert_eq!((tracker.requests("myself"), tracker.counts().rate_limited), (5, 2));
    }
}

#[tokio::test]
async fn faults_speak_as_tracker_does() {
    use crate::simulator::Fault;
    let tracker = start(options()).await;
    let gone = Fault::error("404 no transition").once().method("transitions").on("TEST-1");
    tracker.fault(gone);
    tracker.fault(Fault::Json500.once().method("myself"));
    tracker.fault(Fault::rate_limited(3).once().method("statuses"));
    tracker.fault(Fault::OkWithoutId.once().method("add_comment"));
    tracker.fault(Fault::ResetAfter.once().method("add_comment"));
    let answer = async |method, path, body| ask(&tracker, method, path, body).await;
    assert_eq!(
        refusal(&answer("GET", "issues/TEST-1/transitions", Value::Null).await),
        (404, json!(["no transition"]))
    );
    assert_eq!(refusal(&answer("GET", "myself", Value::Null).await).0, 500);
    let limited = answer("GET", "statuses", Value::Null).await;
    assert_eq!((refusal(&limited).0, limited.headers["retry-after"].to_str().unwrap()), (429, "3"));
    assert_eq!(answer("POST", "issues/TEST-1/comments", json!({"text": "first"})).await.body, "{}");
    let path = "/v3/issues/TEST-1/comments";
    let lost = call(tracker.addr(), "POST", path, &HEADERS, json!({"text": "second"}).to_string()).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(tracker.comments("TEST-1"), ["first", "second"], "both were done");
}

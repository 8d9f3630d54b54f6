//! Issues, transitions, versions, comments, the changelog.

use super::*;

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn an_issue_has_the_shape_of_the_fixture() {
    let wanted = fixture(include_str!("../../../../tests/fixtures/api-issue-v3.json"));
    let bench = "65f1c0ffee0000000000000b--benchLink";
    let queue = TrackerQueue::new("BELL", "Колокольня").local("benchLink", "Ссылка на стенд", FieldKind::Text);
    let mut issue = TrackerIssue::new("BELL-42", wanted["summary"].as_str().unwrap())
        .alias("OLDQ-9")
        .version(17)
        .assignee("maria.petrova")
        .field("type", "bug")
        .field("priority", "critical")
        .field("followers", json!(["ivan.ivanov", BOT]))
        .field("benchLink", wanted[bench].clone());
    let given = ["parent", "project", "sprint", "components", "originalEstimation", "estimation", "spent"];
    let checklist = ["checklistItems", "checklistDone", "checklistTotal"];
    for id in given.iter().chain(&checklist).chain(&["description", "tags", "start", "deadline", "storyPoints"]) {
        issue = issue.field(*id, wanted[*id].clone());
    }
    let tracker = start(TrackerOptions::new(held()).token("t0ken", BOT).queue(queue).issue(issue)).await;
    tracker.change_status("BELL-42", "inProgress", "maria.petrova").unwrap();
    tracker.change_status("BELL-42", "readyForTest", "maria.petrova").unwrap();
    tracker.comment("BELL-42", "Готово", "maria.petrova").unwrap();
    let got = get(&tracker, "issues/BELL-42").await;
    assert_eq!(shape(&got), shape(&wanted));
    assert_eq!((&got["version"], &got["aliases"]), (&json!(20), &wanted["aliases"]));
    for reference in ["status", "previousStatus", "statusType"] {
        assert_eq!(
            (&got[reference]["id"], &got[reference]["display"]),
            (&wanted[reference]["id"], &wanted[reference]["display"])
        );
    }
    assert_eq!(get(&tracker, "issues/OLDQ-9").await, got, "by a former key");
    assert_eq!(get(&tracker, &format!("issues/{}", got["id"].as_str().unwrap())).await, got, "by id");
    let some = get(&tracker, "issues/BELL-42?fields=summary,status&expand=transitions").await;
    assert_eq!(
        some.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["id", "key", "self", "status", "summary", "transitions", "version"]
    );
    let wanted = fixture(include_str!("../../../../tests/fixtures/api-transitions.json"));
    let got = get(&tracker, "issues/BELL-42/transitions").await;
    assert_eq!(shape(&got), shape(&json!([wanted[0], wanted[2]])), "without a screen, and with one");
}

#[tokio::test]
async fn a_transition_leads_on_and_its_screen_wants_its_fields() {
    let tracker = start(options()).await;
    let ways = |list: &Value| -> Vec<String> {
        let way = |way: &Value| format!("{} > {}", way["id"].as_str().unwrap(), way["to"]["key"].as_str().unwrap());
        list.as_array().unwrap().iter().map(way).collect()
    };
    let execute =
        async |id: &str, body| ask(&tracker, "POST", &format!("issues/TEST-1/transitions/{id}/_execute"), body).await;
    assert_eq!(
        ways(&get(&tracker, "issues/TEST-1/transitions").await),
        [
            "start_progress > inProgress",
            "to_test > readyForTest",
            "65f1c0ffee00000000000a02meta > needsImprovement",
            "need_info > needInfo",
            "close > closed"
        ]
    );
    let got = execute("to_test", json!({})).await;
    assert_eq!((got.status, ways(&got.json()).contains(&"start_testing > testing".to_owned())), (200, true));
    assert_eq!(
        refusal(&execute("to_test", json!({})).await),
        (404, json!(["no transition"])),
        "twice is once too often"
    );
    assert_eq!(refusal(&execute("readyForTest", json!({})).await), (404, json!(["no transition"])), "an id is no key");
    assert_eq!(refusal(&execute("close", json!({})).await), (422, json!(["resolution"])));
    assert_eq!(refusal(&execute("close", json!({"resolution": "so-so"})).await), (422, json!(["resolution"])));
    assert_eq!(refusal(&execute("start_testing", json!({"resolution": "fixed"})).await), (422, json!(["resolution"])));
    let got = execute("close", json!({"resolution": "fixed", "comment": "Merged in PR 17"})).await;
    assert_eq!((got.status, ways(&got.json())), (200, vec!["reopen > open".to_owned()]));
    let issue = tracker.issue("TEST-1");
    assert_eq!(
        (&issue["status"]["key"], &issue["previousStatus"]["key"], &issue["resolution"]["key"], &issue["version"]),
        (&json!("closed"), &json!("readyForTest"), &json!("fixed"), &json!(3))
    );
    assert_eq!(tracker.comments("TEST-1"), ["Merged in PR 17"]);
}

#[tokio::test]
async fn a_transition_can_be_gone_between_list_and_execute() {
    let tracker = start(options()).await;
    tracker.remove_transition_after_list("TEST-1", "to_test");
    let listed = get(&tracker, "issues/TEST-1/transitions").await;
    assert_eq!(listed[1]["id"], "to_test");
    let got = ask(&tracker, "POST", "issues/TEST-1/transitions/to_test/_execute", json!({})).await;
    assert_eq!(refusal(&got).0, 404);
    assert_ne!(get(&tracker, "issues/TEST-1/transitions").await[1]["id"], "to_test");
}

#[tokio::test]
async fn a_patch_takes_what_the_fields_take() {
    let tracker = start(options()).await;
    let bench = get(&tracker, "queues/TEST/localFields").await[0]["id"].as_str().unwrap().to_owned();
    let table = [
        (json!({"status": "closed"}), 400, "status"),
        (json!({"benchLink": "https://b"}), 422, "benchLink"),
        (json!({"65f1c0ffee0000000000dead--benchLink": "x"}), 422, "65f1c0ffee0000000000dead--benchLink"),
        (json!({ &bench: 7 }), 422, &bench),
        (json!({"assignee": "nobody"}), 422, "assignee"),
        (json!({"deadline": "20.05.2026"}), 422, "deadline"),
        (json!({"storyPoints": "3"}), 422, "storyPoints"),
        (json!({"tags": "release"}), 422, "tags"),
        (json!({"summary": null}), 422, "summary"),
        (json!({"summary": {"add": ["x"]}}), 422, "summary"),
        (json!({"tags": {"add": ["x"], "grow": 1}}), 422, "tags"),
    ];
    for (body, status, field) in table {
        let got = ask(&tracker, "PATCH", "issues/TEST-1", body.clone()).await;
        assert_eq!(refusal(&got), (status, json!([field])), "{body}");
    }
    assert_eq!(tracker.issue("TEST-1")["version"], 1, "nothing of it was done");
    let patch = async |body| {
        let got = ask(&tracker, "PATCH", "issues/TEST-1", body).await;
        assert_eq!(got.status, 200, "{}", got.body);
        got.json()
    };
    let got = patch(
        json!({ &bench: "https://b", "priority": {"key": "critical"}, "tags": ["a", "b"], "deadline": "2026-05-20",
        "assignee": "maria.petrova", "followers": {"add": ["ivan.ivanov", BOT]}, "storyPoints": 3.5}),
    )
    .await;
    assert_eq!(
        (&got[&bench], &got["priority"]["id"], &got["storyPoints"]),
        (&json!("https://b"), &json!("4"), &json!(3.5))
    );
    assert!(got["assignee"].get("login").is_none(), "logins are told by /users alone");
    let got = patch(json!({ &bench: null, "deadline": null, "tags": {"add": ["c"], "remove": ["a"]},
        "followers": {"replace": [{"target": BOT, "replacement": "maria.petrova"}]}}))
    .await;
    assert_eq!((&got["tags"], got.get(&bench), got.get("deadline")), (&json!(["b", "c"]), None, None));
    let followers: Vec<_> = got["followers"].as_array().unwrap().iter().map(|user| user["display"].clone()).collect();
    assert_eq!(followers, ["Иван Иванов", "Мария Петрова"]);
    assert!(patch(json!({"tags": []})).await.get("tags").is_none(), "empty is left out");
    assert_eq!(
        get(&tracker, "users/maria.petrova").await["trackerUid"].to_string(),
        got["assignee"]["id"].as_str().unwrap()
    );
}

#[tokio::test]
async fn a_stale_version_is_refused_in_either_way() {
    for (conflict, status) in [(Conflict::Conflict409, 409), (Conflict::Precondition412, 412)] {
        let tracker = start(options().conflict(conflict)).await;
        let patch = async |query| {
            ask(&tracker, "PATCH", &format!("issues/TEST-1{query}"), json!({"summary": "x"})).await.status
        };
        assert_eq!([patch("?version=1").await, patch("?version=1").await, patch("").await], [200, status, 200]);
        assert_eq!([patch("?version=three").await, patch("?version=3").await], [400, 200]);
        tracker.stale_once("TEST-1");
        assert_eq!(
            [patch("?version=4").await, patch("?version=4").await, patch("?version=5").await],
            [status, status, 200]
        );
    }
}

#[tokio::test]
async fn what_people_do_to_an_issue_shows_in_the_api() {
    let clock = held();
    let other = TrackerQueue::new("OPS", "Смена");
    let bench = TrackerIssue::new("TEST-2", "Стенд").field("benchLink", "https://b");
    let tracker = start(on(clock.clone()).queue(other).issue(bench)).await;
    clock.pass(Duration::from_millis(1500));
    assert_eq!(tracker.move_issue("TEST-2", "OPS", "maria.petrova").unwrap(), "OPS-1");
    let moved = get(&tracker, "issues/TEST-2").await;
    assert_eq!((&moved["key"], &moved["aliases"]), (&json!("OPS-1"), &json!(["TEST-2"])));
    assert!(!moved.as_object().unwrap().keys().any(|id| id.contains("--")), "local values are lost");
    assert_eq!(moved["updatedAt"], "2023-11-14T22:13:21.500+0000");

    let comment = json!({"text": "x"});
    let comment = async || ask(&tracker, "POST", "issues/TEST-1/comments", comment.clone()).await.status;
    tracker.lock("TEST-1", true);
    assert_eq!(
        (comment().await, get(&tracker, "issues/TEST-1").await["version"].clone()),
        (423, json!(1)),
        "reading goes on"
    );
    tracker.lock("TEST-1", false);
    tracker.forbid("TEST-1", true);
    assert_eq!((comment().await, ask(&tracker, "GET", "issues/TEST-1", Value::Null).await.status), (403, 403));
    tracker.forbid("TEST-1", false);
    assert_eq!(comment().await, 201);
    tracker.delete("TEST-1");
    assert_eq!((comment().await, ask(&tracker, "GET", "issues/TEST-1", Value::Null).await.status), (404, 404));
    assert!(tracker.change_status("TEST-1", "closed", BOT).is_err());
}

#[tokio::test]
async fn comments_are_made_listed_by_pages_and_make_followers() {
    let tracker = start(options()).await;
    let say = async |query: &str, text: &str| {
        ask(&tracker, "POST", &format!("issues/TEST-1/comments{query}"), json!({"text": text})).await
    };
    let first = say("?isAddToFollowers=false", "один").await;
    assert_eq!(first.status, 201);
    assert!(tracker.issue("TEST-1").get("followers").is_none());
    let first = first.json();
    assert_eq!((first["id"].is_u64(), first["longId"].as_str().unwrap().len()), (true, 24));
    for text in ["два", "три"] {
        say("", text).await;
    }
    assert_eq!(tracker.issue("TEST-1")["followers"][0]["display"], "Робот Кампанилы");
    assert_eq!(refusal(&say("", "").await), (422, json!(["text"])));
    for wrong in [json!("ivan.ivanov"), json!(["nobody"])] {
        let body = json!({"text": "x", "summonees": wrong});
        let got = ask(&tracker, "POST", "issues/TEST-1/comments", body).await;
        assert_eq!(refusal(&got), (422, json!(["summonees"])));
    }

    let page = ask(&tracker, "GET", "issues/TEST-1/comments?perPage=2", Value::Null).await;
    let second = page.json()[1]["id"].clone();
    let link = page.headers["link"].to_str().unwrap();
    let path = format!("{}/v3/issues/TEST-1/comments", tracker.api_url());
    assert_eq!(link, format!("<{path}?perPage=2>; rel=\"first\", <{path}?perPage=2&id={second}>; rel=\"next\""));
    let page =
        ask(&tracker, "GET", &format!("issues/TEST-1/comments?perPage=2&id={second}&expand=html"), Value::Null).await;
    assert_eq!(
        (page.json()[0]["text"].clone(), page.json()[0]["textHtml"].clone()),
        (json!("три"), json!("<p>три</p>"))
    );
    assert!(!page.headers["link"].to_str().unwrap().contains("next"));
    for wrong in ["id=1", "perPage=0", "perPage=many"] {
        assert_eq!(ask(&tracker, "GET", &format!("issues/TEST-1/comments?{wrong}"), Value::Null).await.status, 400);
    }
    for id in [first["id"].to_string(), first["longId"].as_str().unwrap().to_owned()] {
        assert_eq!(get(&tracker, &format!("issues/TEST-1/comments/{id}")).await, first);
    }
    assert_eq!(ask(&tracker, "GET", "issues/TEST-1/comments/1", Value::Null).await.status, 404);
    let posted: Vec<_> = tracker.posted("TEST-1").iter().map(|post| post.text.clone()).collect();
    assert_eq!(posted, ["один", "два", "три"]);
}

#[tokio::test]
async fn the_changelog_tells_who_moved_what_from_where() {
    let tracker = start(options()).await;
    tracker.change_status("TEST-1", "inProgress", "maria.petrova").unwrap();
    tracker.update("TEST-1", json!({"tags": ["a"]}).as_object().unwrap(), "maria.petrova").unwrap();
    tracker.comment("TEST-1", "так", "maria.petrova").unwrap();
    let all = get(&tracker, "issues/TEST-1/changelog").await;
    let kinds: Vec<_> = all.as_array().unwrap().iter().map(|entry| entry["type"].clone()).collect();
    assert_eq!(kinds, ["IssueCreated", "IssueWorkflow", "IssueUpdated", "IssueCommentAdded"]);
    let status = get(&tracker, "issues/TEST-1/changelog?field=status&type=IssueWorkflow").await;
    assert_eq!(status.as_array().unwrap().len(), 1);
    let field = &status[0]["fields"][0];
    assert_eq!(
        (&field["field"]["id"], &field["from"]["key"], &field["to"]["display"]),
        (&json!("status"), &json!("open"), &json!("В работе"))
    );
    assert_eq!(
        (&status[0]["updatedBy"]["display"], &status[0]["issue"]["key"]),
        (&json!("Мария Петрова"), &json!("TEST-1"))
    );
    assert_eq!(all[2]["fields"][0]["to"], json!(["a"]));
    assert_eq!(all[3]["comments"]["added"][0]["display"], "так");
    tracker.update("TEST-1", json!({"tags": ["a"]}).as_object().unwrap(), "maria.petrova").unwrap();
    let same = tracker.changelog("TEST-1").pop().unwrap();
    assert_eq!(
        (&same["fields"], &tracker.issue("TEST-1")["version"]),
        (&json!([]), &json!(5)),
        "a version all the same"
    );
    let after =
        get(&tracker, &format!("issues/TEST-1/changelog?perPage=1&id={}", status[0]["id"].as_str().unwrap())).await;
    assert_eq!(after[0]["id"], all[2]["id"]);
}

#[tokio::test]
async fn dictionaries_speak_both_languages() {
    let tracker = start(options()).await;
    let here = |value: &Value| value.to_string().replace(&tracker.api_url(), "");
    insta::assert_snapshot!(here(&get(&tracker, "statuses").await[6]), @r#"{"description":"","id":21,"key":"readyForTest","name":"Можно тестировать","order":7,"self":"/v3/statuses/21","type":"inProgress","version":1}"#);
    let english = [HEADERS[0], HEADERS[1], ("accept-language", "en-US")];
    let got =
        call(tracker.addr(), "GET", "/v3/priorities?localized=true", &english, String::new()).await.unwrap().json();
    assert_eq!((&got[3]["name"], &got[3]["key"]), (&json!("Critical"), &json!("critical")));
    assert_eq!(
        get(&tracker, "priorities?localized=false").await[3]["name"],
        json!({"ru": "Критичный", "en": "Critical"})
    );
    assert_eq!(get(&tracker, "issuetypes").await[0]["name"], "Ошибка");
    assert_eq!(get(&tracker, "resolutions").await[0]["key"], "fixed");
    assert_eq!(get(&tracker, "queues/TEST").await["key"], "TEST");
    assert_eq!(ask(&tracker, "GET", "queues/test", Value::Null).await.status, 404, "keys of queues are case-sensitive");
    let fields = get(&tracker, "fields").await;
    assert!(fields.as_array().unwrap().iter().all(|field| !field["id"].as_str().unwrap().contains("--")));
    insta::assert_snapshot!(here(&get(&tracker, "queues/TEST/localFields").await), @r#"[{"id":"65f1c0ffee00000000000001--benchLink","key":"benchLink","name":"Ссылка на стенд","options":false,"queue":{"display":"Тестовая","id":"1","key":"TEST","self":"/v3/queues/TEST"},"readonly":false,"schema":{"required":false,"type":"string"},"self":"/v3/queues/TEST/localFields/65f1c0ffee00000000000001--benchLink","suggest":false,"type":"local","version":1}]"#);
    insta::assert_snapshot!(here(&get(&tracker, "myself").await), @r#"{"cloudUid":"aje01120000000211495","disableNotifications":false,"dismissed":false,"display":"Робот Кампанилы","email":"campanile-bot@example.com","external":false,"firstName":"Робот","hasLicense":true,"lastName":"Кампанилы","login":"campanile-bot","passportUid":1100000000211495,"self":"/v3/users/1120000000211495","trackerUid":1120000000211495,"uid":1120000000211495,"useNewFilters":true,"welcomeMailSent":true}"#);
}

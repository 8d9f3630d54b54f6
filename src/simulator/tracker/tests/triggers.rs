//! Triggers: what the API takes of them, when they fire, and what they send.

use super::receiver::Receiver;
use super::*;

/// A trigger of one webhook to `endpoint`.
fn trigger(endpoint: &str, conditions: Value, body: Value) -> Value {
    json!({"name": "Campanile", "conditions": conditions, "actions": [{"type": "Webhook", "endpoint": endpoint,
        "method": "POST", "authContext": {"type": "noauth"}, "body": body}]})
}

async fn make(tracker: &TrackerSimulator, trigger: Value) -> Value {
    let got = ask(tracker, "POST", "queues/TEST/triggers", trigger).await;
    assert_eq!(got.status, 201, "{}", got.body);
    got.json()
}

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9/";

#[tokio::test]
async fn the_api_takes_only_whole_triggers() {
    let tracker = start(options()).await;
    let good = trigger(NOBODY, json!([]), "".into());
    let with = |change: fn(&mut Value)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let table = [
        (with(|it| it["name"] = Value::Null), "name"),
        (with(|it| it["what"] = 1.into()), "what"),
        (with(|it| it["actions"] = json!([])), "actions"),
        (with(|it| it["actions"][0]["type"] = "Transition".into()), "actions"),
        (with(|it| it["actions"][0]["method"] = "PATCH".into()), "method"),
        (with(|it| it["actions"][0]["endpoint"] = "bridge".into()), "endpoint"),
        (with(|it| it["actions"][0]["authContext"] = json!({"type": "basic", "login": "x"})), "authContext"),
        (with(|it| it["actions"][0]["headers"] = json!({"X-A": 1})), "headers"),
        (with(|it| it["actions"][0]["body"] = json!([1])), "body"),
        (with(|it| it["conditions"] = json!([{"type": "CommentAuthor"}])), "conditions"),
        (
            with(|it| it["conditions"] = json!([{"type": "FieldEquals", "field": "status", "value": "no"}])),
            "conditions",
        ),
        (
            with(|it| {
                it["conditions"] =
                    json!({"type": "Or", "conditions": [{"type": "FieldChangedCondition", "field": "benchLink"}]})
            }),
            "conditions",
        ),
    ];
    for (wrong, field) in table {
        let got = ask(&tracker, "POST", "queues/TEST/triggers", wrong.clone()).await;
        assert_eq!(refusal(&got), (422, json!([field])), "{wrong}");
    }
    let made = make(&tracker, good.clone()).await;
    let mut shown = made.clone();
    shown["self"] = Value::Null;
    shown["queue"]["self"] = Value::Null;
    insta::assert_snapshot!(shown, @r#"{"actions":[{"authContext":{"type":"noauth"},"body":"","endpoint":"http://127.0.0.1:9/","id":"1","method":"POST","type":"Webhook"}],"active":true,"conditions":[],"id":16,"name":"Campanile","order":"0.0001","queue":{"display":"Тестовая","id":"1","key":"TEST","self":null},"self":null,"version":1}"#);
    assert_eq!(get(&tracker, &format!("queues/TEST/triggers/{}", made["id"])).await, made);
    let patch = async |query: &str, body: Value| {
        ask(&tracker, "PATCH", &format!("queues/TEST/triggers/{}{query}", made["id"]), body).await
    };
    assert_eq!(refusal(&patch("", json!({"active": false})).await).0, 428);
    assert_eq!(refusal(&patch("?version=2", json!({"active": false})).await).0, 409);
    let got = patch("?version=1", json!({"active": false})).await.json();
    assert_eq!((&got["active"], &got["version"], &got["actions"]), (&json!(false), &json!(2), &made["actions"]));
    assert_eq!(ask(&tracker, "DELETE", &format!("queues/TEST/triggers/{}", made["id"]), Value::Null).await.status, 405);
    for (queue, status) in [("test", 404), ("TEST", 201)] {
        assert_eq!(ask(&tracker, "POST", &format!("queues/{queue}/triggers"), good.clone()).await.status, status);
    }
    tracker.change_status("TEST-1", "closed", BOT).unwrap();
    let fired = &get(&tracker, "issues/TEST-1/changelog?type=IssueWorkflow").await[0]["executedTriggers"];
    assert_eq!(fired.as_array().unwrap().len(), 1, "an inactive one does not fire");
}

#[tokio::test]
async fn triggers_are_listed_by_pages_some_time_after_they_were_made() {
    let clock = held();
    let tracker = start(on(clock.clone()).triggers_show_after(Duration::from_secs(3))).await;
    for _ in 0..3 {
        make(&tracker, trigger(NOBODY, json!([]), "".into())).await;
    }
    assert_eq!(get(&tracker, "queues/TEST/triggers").await, json!([]));
    clock.pass(Duration::from_secs(3));
    let ids =
        |list: &Value| -> Vec<u64> { list.as_array().unwrap().iter().filter_map(|one| one["id"].as_u64()).collect() };
    assert_eq!(ids(&get(&tracker, "queues/TEST/triggers?perPage=2").await), [16, 17]);
    assert_eq!(ids(&get(&tracker, "queues/TEST/triggers?perPage=2&id=17").await), [18]);
}

#[tokio::test]
async fn without_the_right_to_the_queue_nothing_of_a_trigger_is_seen() {
    let tracker =
        start(options().user(TrackerUser::new("guest", "Гость", "Гостев").without_rights()).token("gu3st", "guest"))
            .await;
    make(&tracker, trigger(NOBODY, json!([]), "".into())).await;
    let guest = [("authorization", "OAuth gu3st"), HEADERS[1], HEADERS[2]];
    for (method, path) in [
        ("GET", "/v3/queues/TEST/triggers"),
        ("GET", "/v3/queues/TEST/triggers/16"),
        ("POST", "/v3/queues/TEST/triggers"),
        ("PATCH", "/v3/queues/TEST/triggers/16?version=1"),
        ("GET", "/v3/queues/TEST/triggers/16/webhooks/log"),
    ] {
        let got = call(tracker.addr(), method, path, &guest, String::new()).await.unwrap();
        assert_eq!(got.status, 403, "{method} {path}");
    }
    assert_eq!(call(tracker.addr(), "GET", "/v3/issues/TEST-1", &guest, String::new()).await.unwrap().status, 200);
}

/// The deeds: an issue made, a status, tags, a comment, tags and summary at once, the assignee gone.
#[tokio::test]
async fn conditions_hold_when_they_should() {
    let changed = |field: &str| json!({"type": "FieldChangedCondition", "field": field});
    let status = |kind: &str| json!([{"type": kind, "field": "status", "value": "closed"}]);
    let assignee = |kind: &str| json!([{"type": kind, "field": "assignee"}]);
    let group = |kind: &str| json!({"type": kind, "conditions": [changed("tags"), changed("summary")]});
    let table = [
        (json!([]), "made status tags comment both unassigned"),
        (json!([{"type": "Event.create"}]), "made"),
        (json!([{"type": "Event.update"}]), "status tags both unassigned"),
        (json!([{"type": "Event.comment-create"}]), "comment"),
        (json!([changed("status")]), "status"),
        (json!([changed("tags")]), "tags both"),
        (json!([changed("tags"), changed("summary")]), "both"),
        (group("And"), "both"),
        (group("Or"), "tags both"),
        (json!([changed("tags"), changed("status")]), ""),
        (
            json!([{"type": "FieldEquals", "field": "queue", "value": "TEST"}]),
            "made status tags comment both unassigned",
        ),
        (status("FieldEquals"), "status tags comment both unassigned"),
        (status("FieldBecameEqual"), "status"),
        (assignee("FieldIsEmpty"), "unassigned"),
        (assignee("FieldIsNotEmpty"), "made status tags comment both"),
        (assignee("FieldBecameEmpty"), "unassigned"),
        (assignee("FieldBecameNotEmpty"), "made"),
    ];
    for (conditions, fired) in table {
        let tracker = start(options()).await;
        make(&tracker, trigger(NOBODY, conditions.clone(), "".into())).await;
        let (key, by) = ("TEST-2", "maria.petrova");
        let update = |fields: Value| tracker.update(key, fields.as_object().unwrap(), by).unwrap();
        tracker.create(TrackerIssue::new(key, "x").assignee(by)).unwrap();
        tracker.change_status(key, "closed", by).unwrap();
        update(json!({"tags": ["a"]}));
        tracker.comment(key, "так", by).unwrap();
        update(json!({"tags": ["b"], "summary": "y"}));
        update(json!({"assignee": null}));
        let log = get(&tracker, "issues/TEST-2/changelog").await;
        let deeds = ["made", "status", "tags", "comment", "both", "unassigned"];
        let names = log.as_array().unwrap().iter().zip(deeds);
        let names: Vec<_> =
            names.filter(|(entry, _)| entry.get("executedTriggers").is_some()).map(|(_, deed)| deed).collect();
        assert_eq!(names.join(" "), fired, "{conditions}");
    }
}

#[tokio::test]
async fn changes_through_the_api_fire_too() {
    let mut receiver = Receiver::start().await;
    let tracker = start(options()).await;
    make(
        &tracker,
        trigger(&receiver.url, json!([]), "{{issue.status}} {{userComment.text}} {{currentUser.login}}".into()),
    )
    .await;
    ask(&tracker, "POST", "issues/TEST-1/transitions/to_test/_execute", json!({})).await;
    assert_eq!(receiver.next().await.body, "Можно тестировать  campanile-bot");
    ask(&tracker, "POST", "issues/TEST-1/comments?isAddToFollowers=false", json!({"text": "so"})).await;
    assert_eq!(receiver.next().await.body, "Можно тестировать so campanile-bot");
    ask(&tracker, "PATCH", "issues/TEST-1", json!({"tags": ["a"]})).await;
    assert_eq!(receiver.next().await.body, "Можно тестировать  campanile-bot");
}

#[tokio::test]
async fn variables_are_rendered_as_documented() {
    let clock = Clock::held("2026-05-12T09:15:02.100Z".parse().unwrap());
    let summary = "Кнопка \"Сохранить\"\nне работает";
    let issue = TrackerIssue::new("TEST-2", summary)
        .assignee("maria.petrova")
        .field("followers", json!(["ivan.ivanov", "maria.petrova"]))
        .field("tags", json!(["say \"hi\"", "b"]))
        .field("deadline", "2026-05-20")
        .field("components", json!([{"id": "1", "display": "Backend"}, {"id": "2", "display": "API"}]))
        .field("benchLink", "https://b/?x=1&y");
    let tracker = start(on(clock).issue(issue)).await;
    let variables = "issue.key issue.summary issue.summary.json issue.summary.urlEncodeUTF8 issue.status \
        issue.status.key issue.priority issue.queue issue.author issue.author.login \
        issue.author.login.json issue.author.json issue.assignee.firstName issue.assignee.email \
        issue.assignee.uid.json issue.followers issue.followers.login issue.followers.login.json \
        issue.tags issue.tags.json issue.components issue.components.display.json issue.deadline \
        issue.deadline.iso8601 issue.dueDate issue.local.benchLink issue.local.benchLink.json \
        issue.local.none issue.resolution issue.votes issue.createdAt issue.createdAt.iso8601 \
        issue.createdAt.unixEpoch userComment.text userComment.text.json userComment.author.login \
        userComment.author generatedComment.text currentUser currentUser.login.json currentDateTime \
        currentDateTime.iso8601 currentDateTime.date comment.author.display nothing";
    let line = |name: &str| format!("{name} <{{{{{name}}}}}>\n");
    let body: String = variables.split_whitespace().map(line).collect();
    make(&tracker, trigger(NOBODY, json!([{"type": "Event.comment-create"}]), body.into())).await;
    tracker.comment("TEST-2", "две\nстроки", "ivan.ivanov").unwrap();
    tracker.wait_for_sent(1, 0).await;
    insta::assert_snapshot!(tracker.log()[0]["request"]["body"].as_str().unwrap(), @r#"
    issue.key <TEST-2>
    issue.summary <Кнопка "Сохранить"
    не работает>
    issue.summary.json <"Кнопка \"Сохранить\"\nне работает">
    issue.summary.urlEncodeUTF8 <%D0%9A%D0%BD%D0%BE%D0%BF%D0%BA%D0%B0+%22%D0%A1%D0%BE%D1%85%D1%80%D0%B0%D0%BD%D0%B8%D1%82%D1%8C%22%0A%D0%BD%D0%B5+%D1%80%D0%B0%D0%B1%D0%BE%D1%82%D0%B0%D0%B5%D1%82>
    issue.status <Открыт>
    issue.status.key <{{issue.status.key}}>
    issue.priority <Средний>
    issue.queue <Тестовая>
    issue.author <Иван Иванов>
    issue.author.login <ivan.ivanov>
    issue.author.login.json <"ivan.ivanov">
    issue.author.json <{{issue.author.json}}>
    issue.assignee.firstName <Мария>
    issue.assignee.email <maria.petrova@example.com>
    issue.assignee.uid.json <1120000000211497>
    issue.followers <Иван Иванов, Мария Петрова>
    issue.followers.login <ivan.ivanov, maria.petrova>
    issue.followers.login.json <["ivan.ivanov","maria.petrova"]>
    issue.tags <say "hi", b>
    issue.tags.json <["say \"hi\"","b"]>
    issue.components <Backend, API>
    issue.components.display.json <["Backend","API"]>
    issue.deadline <20 мая 2026>
    issue.deadline.iso8601 <2026-05-20>
    issue.dueDate <20 мая 2026>
    issue.local.benchLink <https://b/?x=1&y>
    issue.local.benchLink.json <{{issue.local.benchLink.json}}>
    issue.local.none <>
    issue.resolution <>
    issue.votes <0>
    issue.createdAt <12 мая 2026>
    issue.createdAt.iso8601 <2026-05-12T09:15:02.100Z>
    issue.createdAt.unixEpoch <1778577302100>
    userComment.text <две
    строки>
    userComment.text.json <{{userComment.text.json}}>
    userComment.author.login <ivan.ivanov>
    userComment.author <Иван Иванов>
    generatedComment.text <>
    currentUser <Иван Иванов>
    currentUser.login.json <"ivan.ivanov">
    currentDateTime <12 мая 2026>
    currentDateTime.iso8601 <2026-05-12T09:15:02.100Z>
    currentDateTime.date <12 мая 2026>
    comment.author.display <{{comment.author.display}}>
    nothing <{{nothing}}>
    "#);
}

#[tokio::test]
async fn an_empty_variable_has_four_forms() {
    let body = r#"{"who": {{issue.assignee.login.json}}, "when": "{{issue.deadline}}", "key": "{{issue.key}}"}"#;
    let key = r#""key": "TEST-1"}"#;
    let table = [
        (Empty::Nothing, format!(r#"{{"who": , "when": "", {key}"#)),
        (Empty::Null, format!(r#"{{"who": null, "when": "null", {key}"#)),
        (
            Empty::Placeholder,
            format!(r#"{{"who": {{{{issue.assignee.login.json}}}}, "when": "{{{{issue.deadline}}}}", {key}"#),
        ),
        (Empty::NoCall, "always".to_owned()),
    ];
    for (empty, sent) in table {
        let tracker = start(options().empty(empty)).await;
        make(&tracker, trigger(NOBODY, json!([]), body.into())).await;
        make(&tracker, trigger(NOBODY, json!([]), "always".into())).await;
        tracker.change_status("TEST-1", "closed", BOT).unwrap();
        tracker.wait_for_sent(1, 0).await;
        assert_eq!(tracker.log()[0]["request"]["body"], sent);
    }
}

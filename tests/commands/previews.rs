//! `explain` and `render`: what would happen, without it happening.

use serde_json::{Value, json};

use crate::harness::{SLACK, Setup, TELEGRAM, World, issue};

const ROUTES: &str = r#"
  - {name: critical bugs, when: 'has(issue.priority) && issue.priority.key == "critical"', channels: [ops-telegram], template: critical, continue: true}
  - {name: off, channels: [ops-slack], disabled: true}
  - {name: comments, when: 'event.kind == "issue.comment_added"', channels: [ops-slack]}
  - {name: broken, when: 'issue.assignee.login == "ivan"', channels: [ops-slack]}
  - {name: everything else, channels: [ops-slack]}
  - {name: never, channels: [ops-slack]}
"#;

async fn world() -> World {
    let templates = vec![
        ("critical.md.hbs", "**{{issue.key}}** is critical\n\n> {{issue.summary}}"),
        ("issue-created.md.hbs", "{{issue.key}} is new: {{issue.summary}}"),
    ];
    let world = Setup { templates, ..Setup::default() }.routes(ROUTES).start().await;
    world.file("call.json", &critical().to_string());
    world
}

fn critical() -> Value {
    let mut body = issue("TEST-1", "created");
    body["priority"] = json!("critical");
    body["summary"] = json!("It \"burns\" <!channel> *bold* \u{1b}[2J & more");
    body
}

#[tokio::test]
async fn explain_says_of_each_route_whether_and_why() {
    let world = world().await;
    let explained = world.run(&["explain", "--event", "call.json", "--json"]).await.json();
    let expected = [
        ("critical bugs", true, "the condition is true"),
        ("off", false, "the route is disabled"),
        ("comments", false, "the condition is false"),
        ("broken", false, "there is no `assignee` in this event; `has(…)` asks for a member that may be absent"),
        ("everything else", true, "the route has no condition"),
        ("never", false, "not asked: `everything else` matched and does not continue"),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(route, matched, why)| json!({"route": route, "matched": matched, "why": why})).collect();
    assert_eq!(explained, json!(expected));
}

#[tokio::test]
async fn explain_shows_people_what_would_be_sent() {
    let world = world().await;
    insta::assert_snapshot!(world.run(&["explain", "--event", "call.json"]).await.done(), @r#"
    issue.created

    MATCHED  ROUTE            WHY
    yes      critical bugs    the condition is true
    no       off              the route is disabled
    no       comments         the condition is false
    no       broken           there is no `assignee` in this event; `has(…)` asks for a member that may be absent
    yes      everything else  the route has no condition
    no       never            not asked: `everything else` matched and does not continue

    To ops-telegram (telegram), template `critical`, by route `critical bugs`:
        TEST-1 is critical
        It "burns" <!channel> *bold* [2J & more

    To ops-slack (slack), template `issue-created`, by route `everything else`:
        TEST-1 is new: It "burns" <!channel> *bold* [2J & more
    "#);
    let nothing = issue("TEST-1", "created");
    let routes = "  - {name: only critical, when: 'has(issue.priority) && issue.priority.key == \"critical\"', channels: [ops-slack]}\n";
    let world = Setup::default().routes(routes).start().await;
    let told = world.run_with(&["explain", "--event", "-"], &nothing.to_string()).await.done();
    assert!(told.ends_with("Nothing would be sent.\n"), "{told}");
    assert_eq!(world.slack.counts().calls + world.telegram.counts().calls, 0);
}

/// The bodies are the senders' own: those that the same call makes the bridge send, but for the delivery's id.
#[tokio::test]
async fn render_prints_the_very_bodies_that_are_sent() {
    let long = json!("word and **markup** ".repeat(1_000));
    for (event, template) in [("created", "issue-created"), ("comment", "issue-comment"), ("updated", "long")] {
        let templates = vec![("long.md.hbs", "# {{issue.key}}\n\n{{body.description}}\n\n`{{issue.summary}}`")];
        let routes = format!("  - {{channels: [ops-slack, ops-telegram], template: {template}}}\n");
        let world = Setup { templates, ..Setup::default() }.routes(&routes).start().await;
        let mut body = critical();
        (body["event"], body["description"]) = (json!(event), long.clone());
        body["comment"] = json!({"text": "so be it"});
        let text = body.to_string();
        let rendered = world.run_with(&["render", template, "--event", "-", "--json"], &text).await.json();
        world.accepted(&body).await;
        world.settled_as("delivered", 2).await;
        let mut slack: Vec<_> = world.slack.posted(SLACK).iter().map(|post| post.body.clone()).collect();
        for body in &mut slack {
            assert_eq!(body["metadata"]["event_payload"]["delivery_id"], "1");
            body["metadata"]["event_payload"]["delivery_id"] = json!("0");
        }
        let telegram: Vec<_> = world.telegram.posted(TELEGRAM).iter().map(|post| post.body.clone()).collect();
        assert_eq!(telegram.len() > 1, template == "long", "one long message goes out in parts");
        assert_eq!(rendered, json!({"slack": slack, "telegram": telegram}), "{template}");
    }
}

#[tokio::test]
async fn render_shows_people_both_messengers() {
    let world = world().await;
    insta::assert_snapshot!(world.run(&["render", "critical", "--event", "call.json"]).await.done(), @r#"
    slack, channel ops-slack:
        TEST-1 is critical
        It "burns" <!channel> *bold* [2J & more

    telegram, channel ops-telegram:
        TEST-1 is critical
        It "burns" <!channel> *bold* [2J & more
    "#);
}

#[tokio::test]
async fn people_see_buttons_and_what_own_blocks_show() {
    let blocks = r#"{"blocks": [
      {"type": "section", "text": {"type": "mrkdwn", "text": "*{{issue.summary}}*"}},
      {"type": "actions", "elements": [
        {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "{{issue.url}}"}]}
    ], "text": "in the notification"}"#;
    let front = "---\nbuttons: [{text: Open, url: '{{issue.url}}'}]\n---\n{{issue.key}}";
    let templates = vec![("t.md.hbs", front), ("t.slack.json.hbs", blocks)];
    let world = Setup { templates, ..Setup::default() }.start().await;
    world.file("call.json", &critical().to_string());
    insta::assert_snapshot!(world.run(&["render", "t", "--event", "call.json"]).await.done(), @r#"
    slack, channel ops-slack:
        *It "burns" <!channel> *bold* [2J & more*
        Open
        https://tracker.yandex.ru/TEST-1

    telegram, channel ops-telegram:
        TEST-1
        [Open] https://tracker.yandex.ru/TEST-1
    "#);
}

#[tokio::test]
async fn render_takes_the_channel_that_is_named() {
    let setup = Setup::default().routes("  - {channels: [hook]}\n");
    let channels = "  ops: {slack: C0123456789}\n  hook: {slack_webhook: {env: NOT_SET}}\n  forum: {telegram: -100123, topic: 7}\n  chat: {telegram: 5}\n";
    let folder = tempfile::tempdir().unwrap();
    let text = crate::harness::config_text(
        &Setup { channels: channels.into(), ..setup },
        "http://127.0.0.1:9",
        "http://127.0.0.1:9",
        "127.0.0.1:1",
        "127.0.0.1:2",
    );
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("templates/where.md.hbs"), "{{channel.name}} {{channel.messenger}}").unwrap();
    let call = critical().to_string();
    let render = async |more: &[&str]| {
        let arguments = [&["render", "where", "--event", "-", "--json"], more].concat();
        super::run_in(folder.path(), &arguments, &call).await
    };
    let both = render(&[]).await.json();
    let first = |body: &Value| (body[0]["text"].clone(), body[0]["channel"].clone(), body[0]["chat_id"].clone());
    assert_eq!(first(&both["slack"]), (json!("ops slack"), json!("C0123456789"), Value::Null));
    assert_eq!(first(&both["telegram"]), (json!("forum telegram"), Value::Null, json!(-100123)));
    assert_eq!(both["telegram"][0]["message_thread_id"], 7);
    let hook = render(&["--channel", "hook"]).await.json();
    assert_eq!(hook["telegram"], Value::Null, "only what goes to the channel");
    assert_eq!(first(&hook["slack"]), (json!("hook slack"), Value::Null, Value::Null));
    let chat = render(&["--channel", "chat"]).await.json();
    assert_eq!(first(&chat["telegram"]), (json!("chat telegram"), Value::Null, json!(5)));
    assert_eq!(chat["slack"], Value::Null);
    let arguments = ["render", "where", "--event", "-", "--channel", "chat"];
    let text = super::run_in(folder.path(), &arguments, &call).await.done();
    assert_eq!(text, "telegram, channel chat:\n    chat telegram\n\n");
    let refused = render(&["--channel", "chta"]).await.refused();
    assert!(refused.contains("no channel is named `chta`") && refused.contains("did you mean `chat`?"), "{refused}");
}

#[tokio::test]
async fn a_template_that_fails_is_told_and_shows_its_fallback() {
    let templates = vec![("bad.md.hbs", "fine\n{{issue.keey}}"), ("blank.md.hbs", "{{issue.resolution.key}}")];
    let world = Setup { templates, ..Setup::default() }.start().await;
    let call = critical().to_string();
    for (name, why) in
        [("bad", "--> templates/bad.md.hbs:2:3"), ("blank", "blank.md.hbs says nothing about this event")]
    {
        let ran = world.run_with(&["render", name, "--event", "-", "--json"], &call).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(why) && ran.err.contains("hint: "), "{}", ran.err);
        let bodies: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(bodies["telegram"][0]["text"].as_str().unwrap().starts_with("TEST-1 · created"), "{bodies}");
    }
    let unknown = world.run_with(&["render", "critcal", "--event", "-"], &call).await.refused();
    assert!(unknown.contains("no template `critcal`") && unknown.contains("`critical`"), "{unknown}");
}

#[tokio::test]
async fn an_event_is_a_call_or_our_own() {
    let world = world().await;
    world.accepted(&critical()).await;
    let kept = world.api("/api/v1/events/1").await;
    for own in [kept.to_string(), kept["event"]["document"].to_string()] {
        let explained = world.run_with(&["explain", "--event", "-"], &own).await.done();
        assert!(explained.starts_with("issue.created\n") && explained.contains("TEST-1"), "{explained}");
    }
    let review = r#"{"event": {"kind": "review.approved"}, "review": {"title": "Mend it"}}"#;
    assert!(world.run_with(&["explain", "--event", "-"], review).await.done().contains("template `review`"));
    for (arguments, input, said) in [
        (["--event", "absent.json"], "", "absent.json cannot be read"),
        (["--event", "-"], "", "standard input: the body is empty"),
        (["--event", "-"], r#"{"event": {}}"#, "does not say its `event.kind`"),
        (["--event", "-"], r#"{"summary": "no key"}"#, "no issue key"),
        (["--event", "-"], r#"{"summary": "no key"}"#, "README, \"5. A trigger in Tracker\""),
        (["--event", "-"], r#"{"key": "{{issue.key}}"}"#, "write samples there, as TEST-1"),
        (["--event", "-"], &" ".repeat((1 << 20) + 1), "longer than 1 MiB"),
    ] {
        let refused = world.run_with(&[&["explain"], &arguments[..]].concat(), input).await.refused();
        assert!(refused.starts_with("error: ") && refused.contains(said), "{refused}");
    }
    assert!(include_str!("../../README.md").contains("\n### 5. A trigger in Tracker\n"), "what the hint names");
    let refused = world.run(&["explain", "--event", "call.json", "--source", "traker"]).await.refused();
    assert!(refused.contains("no source is named `traker`") && refused.contains("`tracker`"), "{refused}");
    let usage = world.run(&["explain"]).await;
    assert_eq!(usage.code, Some(2), "an event is wanted");
    world.file("config.yaml", "server: {}\n");
    let refused = world.run(&["explain", "--event", "call.json"]).await.refused();
    assert!(refused.contains("`server` needs `listen`"), "{refused}");
}

#[tokio::test]
async fn explain_shows_what_would_be_done_to_the_issue() {
    let routes = "  - {name: told, channels: [ops-slack], issue: {set: {benchLink: '{{body.url}}', tags: ''}, transition: readyForTest, comment: 'So says {{actor.login}}'}, continue: true}\n  - {name: failing, issue: {comment: {template: says-nothing}}}\n";
    let templates = vec![("says-nothing.md.hbs", "{{issue.resolution.key}}")];
    let world = Setup { templates, ..Setup::default() }.with_tracker().routes(routes).start().await;
    let mut body = issue("TEST-1", "updated");
    body["url"] = json!("https://test-1.example.com");
    let told = world.run_with(&["explain", "--event", "-"], &body.to_string()).await.done();
    let (_, done) = told.split_once("To the issue").unwrap();
    insta::assert_snapshot!(format!("To the issue{done}"), @r"
    To the issue TEST-1, `set`, by route `told`:
        benchLink = https://test-1.example.com
        tags is cleared

    To the issue TEST-1, `transition`, by route `told`:
        to the status readyForTest

    To the issue TEST-1, `comment`, by route `told`:
        So says maria.petrova

    To the issue TEST-1, `comment`, by route `failing`:
        (a dead letter, because templates/says-nothing.md.hbs says nothing about this event)
    ");
    let rows = world.run_with(&["explain", "--event", "-", "--json"], &body.to_string()).await.json();
    let expected = json!([
        {"set": {"fields": {"benchLink": "https://test-1.example.com", "tags": ""}}},
        {"transition": {"to": "readyForTest"}},
        {"comment": {"text": "So says maria.petrova"}},
    ]);
    assert_eq!(
        (&rows[0]["route"], &rows[0]["matched"], &rows[0]["actions"]),
        (&json!("told"), &json!(true), &expected)
    );
    assert!(rows[1]["actions"][0]["error"].as_str().unwrap().contains("says nothing"), "{rows}");
    assert_eq!(world.tracker().record(|record| record.arrivals().iter().filter(|it| it.method != "myself").count()), 0);
}

#[tokio::test]
async fn explain_reads_a_code_hosts_call_by_its_headers() {
    let setup = Setup {
        sources: "  reviews: {kind: bitbucket-cloud, secret: {env: REVIEWS}}\n".into(),
        secrets: vec![("REVIEWS", "review-s3cret")],
        ..Setup::default()
    };
    let world = setup
        .routes("  - {name: accepted, when: 'event.kind == \"review.approved\"', channels: [ops-slack]}\n")
        .start()
        .await;
    let body = include_str!("../fixtures/code-hosts/bitbucket-cloud/approved.json");
    let mut body: Value = serde_json::from_str(body).unwrap();
    body["pullrequest"]["title"] = json!("TEST-1: log in");
    let arguments = ["explain", "--event", "-", "--source", "reviews", "--header", "X-Event-Key: pullrequest:approved"];
    let told = world.run_with(&arguments, &body.to_string()).await.done();
    assert!(told.starts_with("review.approved\n") && told.contains("yes      accepted"), "{told}");
    let without = world.run_with(&arguments[..5], &body.to_string()).await;
    assert_eq!(without.code, Some(1), "{}", without.out);
    let wrong = world.run_with(&[&arguments[..5], &["--header", "no header"]].concat(), "").await;
    assert!(wrong.code == Some(2) && wrong.err.contains("write 'NAME: VALUE'"), "{}", wrong.err);
}

//! `import-triggers`: triggers that call the messengers by themselves, as a configuration that works; and their bodies as
//! they are, with only the address changed.

use campanile::config;
use campanile::event::Document;
use campanile::message::{Block, Language, Message};
use campanile::template::{Locale, Templates};
use campanile::tracker::import::{Hosts, import};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{HOOK_SECRET, SLACK, Setup, TELEGRAM, World};

/// Of the tutorials (reference T, 3.3), with marks around them.
const SLACK_BODY: &str = r#"{"link_names": true, "text": "*@tracker*, пора тестировать <https://tracker.yandex.ru/{{issue.key}}|{{issue.key}}>: {{issue.summary}}"}"#;
const TELEGRAM_BODY: &str = r#"{"chat_id": "CHAT", "message_thread_id": "7", "parse_mode": "markdown",
"text": "*Готово* [{{issue.key}}: {{issue.summary}}](https://tracker.yandex.ru/{{issue.key}})\nСтатус: {{issue.status}}", "disable_notification": true}"#;
const SUMMARY: &str = "Кнопка \"Сохранить\" не_работает *везде* \\ </b>";

fn trigger(name: &str, conditions: Value, endpoint: &str, body: &str) -> Value {
    json!({"name": name, "conditions": conditions, "actions": [{"type": "Webhook", "endpoint": endpoint,
        "method": "POST", "contentType": "application/json; charset=UTF-8", "authContext": {"type": "noauth"}, "body": body}]})
}

fn became(status: &str) -> Value {
    json!([{"type": "FieldBecameEqual", "field": "status", "value": status}])
}

/// Everything that an import says, with whatever it made.
struct Imported {
    config: String,
    templates: serde_json::Map<String, Value>,
    notes: String,
}

impl World {
    async fn import(&self) -> Imported {
        let told = self.run_public(&["import-triggers", "TEST", "--json"]).await.json();
        let text = self.run_public(&["import-triggers", "TEST"]).await.done();
        for secret in ["B0SECRET", "123456:", "xoxb-"] {
            assert!(!told.to_string().contains(secret) && !text.contains(secret), "{text}");
        }
        let config = told["config"].as_str().unwrap().to_owned();
        assert!(text.contains(&config), "{text}");
        let templates = told["templates"].as_object().unwrap().clone();
        assert!(templates.values().all(|template| text.contains(template.as_str().unwrap())), "{text}");
        Imported { config, templates, notes: told["notes"].to_string() }
    }

    /// The world's configuration with what was proposed pasted into it, its templates beside it.
    fn paste(&self, imported: &Imported, text: &str) -> String {
        let folder = self.folder.path().join("templates");
        std::fs::create_dir_all(&folder).unwrap();
        for (file, template) in &imported.templates {
            std::fs::write(folder.join(file), template.as_str().unwrap()).unwrap();
        }
        let (channels, routes) = imported.config.split_once("routes:\n").unwrap();
        let channels = channels.strip_prefix("channels:\n").unwrap_or(channels);
        let text = text.replacen("channels:\n", &format!("channels:\n{channels}"), 1);
        text.replacen("routes:\n", &format!("routes:\n{routes}"), 1)
    }
}

#[tokio::test]
async fn what_is_proposed_says_what_the_triggers_said() {
    let mut world = Setup { routes: "  - {channels: [ops-slack], disabled: true}\n".into(), ..Setup::default() }
        .with_tracker()
        .start()
        .await;
    let telegram = format!("http://{}/bot123456:t0ken/sendMessage", world.telegram.addr());
    let slack = format!("{}/chat.postMessage", world.slack.api_url());
    let in_channel = SLACK_BODY.replace("{\"link", &format!("{{\"channel\": \"{SLACK}\", \"link"));
    let hook = "https://hooks.slack.com/services/T0/B0SECRET/x";
    for made in [
        trigger("Пора \"тестировать\": '1'", became("readyForTest"), &slack, &in_channel),
        trigger("Готово", became("readyForTest"), &telegram, &TELEGRAM_BODY.replace("CHAT", TELEGRAM)),
        trigger("By webhook", became("closed"), hook, SLACK_BODY),
        trigger("Elsewhere", became("closed"), "https://example.com/", "{}"),
    ] {
        world.tracker().make_trigger("TEST", &made).unwrap();
    }
    let before = world.tracker().triggers("TEST");
    let imported = world.import().await;
    assert_eq!(world.tracker().triggers("TEST"), before, "nothing is written");
    insta::assert_snapshot!(imported.config);
    insta::assert_json_snapshot!(imported.templates);
    assert!(imported.notes.contains("link_names"), "{}", imported.notes);

    // It is taken as it is, and the queue's triggers are replaced by ours.
    world.secrets.insert("SLACK_WEBHOOK_1", hook.into());
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let pasted = world.paste(&imported, &text).replace("secret: {env: HOOK}", "secret: {env: HOOK}, enrich: true");
    std::fs::write(world.config_path(), &pasted).unwrap();
    let loaded = config::load(&world.config_path(), &|_| Vec::new()).unwrap_or_else(|it| panic!("{it:#?}\n{pasted}"));
    let (templates, findings) = Templates::load(loaded.config.templates.as_deref());
    assert_eq!((findings, loaded.config.unknown_templates(&templates.names())), (vec![], vec![]));
    world.restart().await;
    for old in &before {
        let (id, off) = (&old["id"], json!({"active": false}));
        let url = format!("{}/v3/queues/TEST/triggers/{id}?version=1", world.tracker().api_url());
        let request = world.http.call(http::Method::PATCH, &url).header("x-org-id", "1");
        let token = format!("OAuth {}", crate::harness::TRACKER_TOKEN);
        assert_eq!(request.header("authorization", token).json(&off).await.status, 200);
    }
    world.run_public(&["connect", "TEST", "--events", "status_changed"]).await.done();
    let summary = json!({"summary": SUMMARY});
    world.tracker().update("TEST-1", summary.as_object().unwrap(), "ivan.ivanov").unwrap();
    world.tracker().change_status("TEST-1", "readyForTest", "maria.petrova").unwrap();
    world.until_posted(1, 1).await;
    let said = &world.slack_texts()[0];
    assert!(said.contains("пора тестировать TEST-1: Кнопка \"Сохранить\""), "{said}");
    let topic = world.telegram.posted(&format!("{TELEGRAM}/7"));
    let said = &topic[0].seen.text;
    assert!(said.starts_with(&format!("Готово TEST-1: {SUMMARY}")), "{said}");
    assert!(said.contains("\nСтатус: "), "{said}");
}

#[tokio::test]
async fn a_trigger_that_tells_both_messengers_becomes_routes_of_two_names() {
    let world = Setup::default().with_tracker().start().await;
    let slack = format!("{}/chat.postMessage", world.slack.api_url());
    let telegram = format!("http://{}/bot123456:t0ken/sendMessage", world.telegram.addr());
    let body = SLACK_BODY.replace("{\"link", &format!("{{\"channel\": \"{SLACK}\", \"link"));
    let mut both = trigger("Both", became("closed"), &slack, &body);
    let other = trigger("Both", became("closed"), &telegram, &TELEGRAM_BODY.replace("CHAT", TELEGRAM));
    both["actions"].as_array_mut().unwrap().push(other["actions"][0].clone());
    world.tracker().make_trigger("TEST", &both).unwrap();
    let imported = world.import().await;
    assert!(imported.config.contains("name: \"Both\"\n"), "{}", imported.config);
    assert!(imported.config.contains("name: \"Both (2)\"\n"), "{}", imported.config);
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), world.paste(&imported, &text)).unwrap();
    let out = world.run_public(&["check", "--json"]).await.out;
    assert!(!out.contains("two routes are named"), "{out}");
}

#[tokio::test]
async fn a_queue_without_such_triggers_proposes_nothing() {
    let world = Setup::default().with_tracker().start().await;
    let made = trigger("Elsewhere", became("closed"), "https://example.com/hook", "{}");
    world.tracker().make_trigger("TEST", &made).unwrap();
    let photo = trigger("A photo", became("closed"), "https://api.telegram.org/bot123456:t0ken/sendPhoto", "{}");
    world.tracker().make_trigger("TEST", &photo).unwrap();
    let out = world.run_public(&["import-triggers", "TEST"]).await.done();
    assert!(out.contains("none of 2 triggers of TEST sends messages itself"), "{out}");
    assert!(out.contains("`sendPhoto`, which is no message") && !out.contains("123456"), "{out}");
    let err = world.run_public(&["import-triggers", "test"]).await.refused();
    assert!(err.contains("written in capitals: `TEST`"), "{err}");
}

#[tokio::test]
async fn pasted_bodies_arrive_when_only_their_address_is_changed() {
    let setup = Setup { source: "kind: tracker, secret: {env: HOOK}, url_secret: true", ..Setup::default() };
    let setup = Setup { templates: vec![("issue.md.hbs", "{{issue.key}} {{body.text}}")], ..setup };
    let world = setup.with_tracker().start().await;
    let endpoint = world.public_url(&format!("/hooks/tracker/{HOOK_SECRET}"));
    for (name, body) in [("Slack", SLACK_BODY), ("Telegram", TELEGRAM_BODY)] {
        let conditions = became(if name == "Slack" { "readyForTest" } else { "inProgress" });
        world.tracker().make_trigger("TEST", &trigger(name, conditions, &endpoint, body)).unwrap();
    }
    world.tracker().update("TEST-1", json!({"summary": SUMMARY}).as_object().unwrap(), "ivan.ivanov").unwrap();
    for (n, status) in ["readyForTest", "inProgress"].into_iter().enumerate() {
        world.tracker().change_status("TEST-1", status, "maria.petrova").unwrap();
        world.until_posted(n as u64 + 1, n as u64 + 1).await;
        world.tracker().wait_for_sent(n + 1, 0).await;
        assert_eq!(world.tracker().log()[n]["response"]["statusCode"], 202);
        for texts in [world.slack_texts(), world.telegram_texts()] {
            assert!(texts[n].starts_with("TEST-1 ") && texts[n].contains("Кнопка \"Сохранить\""), "{texts:?}");
        }
    }
    let event = world.api("/api/v1/events/2").await["event"]["document"].clone();
    assert_eq!((&event["issue"]["key"], &event["event"]["degraded"]), (&json!("TEST-1"), &json!(true)));
}

const HOSTS: Hosts<'_> = Hosts {
    slack_api: "https://slack.com/api",
    telegram_api: "https://api.telegram.org",
    web_url: "https://tracker.yandex.ru",
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in a text: a template without findings comes of it.
    #[test]
    fn any_text_becomes_a_template(
        text in "([-*_~`<>|!&;:.#{}()\\[\\]\\\\ \n1a@]|https://a\\.b/|\\{\\{issue\\.(key|summary|sprint)\\}\\}|<b>|</b>){0,24}",
        mode in prop::option::of("(markdown|MarkdownV2|HTML)"),
    ) {
        let endpoint = match mode {
            Some(_) => "https://api.telegram.org/bot1:t/sendMessage",
            None => "https://hooks.slack.com/services/T0/B0/x",
        };
        let body = json!({"chat_id": 5, "text": text, "parse_mode": mode.clone().unwrap_or_default()});
        let mut made = trigger("Any", became("closed"), endpoint, "");
        made["id"] = 1.into();
        made["actions"][0]["body"] = body;
        let made = serde_json::from_str(&made.to_string()).unwrap();
        let proposal = import("TEST", &[made], HOSTS, &[]);
        // A text that says nothing is none.
        let Some((name, template)) = proposal.routes[0].template.clone() else { return Ok(()) };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{name}.md.hbs")), &template).unwrap();
        prop_assert_eq!(Templates::load(Some(folder.path())).1, vec![], "{}", template);
    }

    /// Where a text has no markup, none comes of it.
    #[test]
    fn what_looks_like_markup_is_said_as_it_stands(
        text in "([-+=*_~`<>|!&;:.#{}()\\[\\]\\\\ \n1a]|\n[-+=#>1] ?|[*_~`a][a-][*_~`a]|~~a~~|&amp;|<b>|!\\[a\\]\\(b\\)){1,12}",
    ) {
        prop_assume!(has_no_variable(&text));
        let said = said("https://api.telegram.org/bot1:t/sendMessage", &text)?;
        prop_assert_eq!(bare(&said.text), bare(&text));
        prop_assert!(said.plain, "{:?}", said.message);
    }

    #[test]
    fn a_link_of_a_text_leads_where_it_led(
        label in "[-a*_~`!&#{}().\\[\\]\\\\]{1,8}",
        way in "[a(){} \\\\]{0,6}[a(){}\\\\]",
    ) {
        let text = format!("<https://a.b/{way}|{label}>");
        prop_assume!(has_no_variable(&text));
        let said = said("https://hooks.slack.com/services/T0/B0/x", &text)?;
        let written = |c: char| if c == 'a' { "a".into() } else { format!("%{:02X}", u32::from(c)) };
        let target = format!("https://a.b/{}", way.chars().map(written).collect::<String>());
        prop_assert_eq!((bare(&said.text), said.links), (bare(&label), vec![target]));
    }

    #[test]
    fn code_of_a_text_is_said_as_it_stands(
        fence in "(`|```)",
        code in "\n?[-a{}#!.()\\[\\]\\\\]{1,6}\n?",
    ) {
        prop_assume!(has_no_variable(&code));
        let said = said("https://hooks.slack.com/services/T0/B0/x", &format!("a {fence}{code}{fence} b"))?;
        prop_assert_eq!(bare(&said.text).replace('`', ""), bare(&format!("a{code}b")));
        let is_code = !code.contains(['{', '}', '\\']);
        prop_assert_eq!(said.text.contains('`'), !is_code, "{:?}", said.message);
    }
}

/// What an imported text says.
struct Says {
    message: Message,
    text: String,
    links: Vec<String>,
    /// Paragraphs without any style.
    plain: bool,
}

fn said(endpoint: &str, text: &str) -> Result<Says, TestCaseError> {
    let mut made = trigger("Any", became("closed"), endpoint, "");
    made["id"] = 1.into();
    made["actions"][0]["body"] = json!({"chat_id": 5, "text": text});
    let made = serde_json::from_str(&made.to_string()).unwrap();
    let proposal = import("TEST", &[made], HOSTS, &[]);
    let Some((name, template)) = proposal.routes[0].template.clone() else {
        return Err(TestCaseError::reject("a text that says nothing is none"));
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{name}.md.hbs")), &template).unwrap();
    let (templates, findings) = Templates::load(Some(folder.path()));
    prop_assert_eq!(findings, vec![], "{}", template);
    let document = json!({"event": {"kind": "issue.updated"}, "issue": {"key": "TEST-1"}});
    let locale = Locale { language: Language::En, time_zone: TimeZone::UTC };
    let rendered = templates.render_for_issue(&name, &Document::from(&document), &locale);
    let message = rendered.map_err(|error| TestCaseError::fail(format!("{error}: {template}")))?;
    let runs = message.blocks.iter().flat_map(|block| match block {
        Block::Paragraph(runs) | Block::Quote(runs) | Block::Item { runs, .. } => runs.as_slice(),
        Block::Code { .. } => &[],
    });
    let links = runs.filter_map(|run| run.link.as_ref()).map(|link| link.as_str().to_owned()).collect();
    let plain = message
        .blocks
        .iter()
        .all(|block| matches!(block, Block::Paragraph(runs) if runs.iter().all(|run| run.style == Default::default())));
    let text = message.blocks.iter().flat_map(|block| block.texts()).collect();
    Ok(Says { text, links, plain, message })
}

/// Whatever is in it.
fn has_no_variable(text: &str) -> bool {
    !text.split_once("{{").is_some_and(|(_, behind)| behind.contains("}}"))
}

/// Without white space, of which Markdown keeps its own.
fn bare(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Each kind of condition that is carried over, as a route that `check` takes, and that an event with nothing but a key
/// cannot make fail.
#[test]
fn conditions_are_taken_and_ask_first() {
    let of = |kind: &str, field: &str, value: Value| json!({"type": kind, "field": field, "value": value});
    let mut all: Vec<Value> =
        ["Event.create", "Event.update", "Event.comment-create"].map(|it| json!({"type": it})).into();
    for field in [
        "status",
        "priority",
        "type",
        "resolution",
        "queue",
        "parent",
        "assignee",
        "createdBy",
        "updatedBy",
        "summary",
        "description",
        "deadline",
        "tags",
        "65f1c0ffee--benchLink",
    ] {
        for kind in
            ["FieldChangedCondition", "FieldIsEmpty", "FieldIsNotEmpty", "FieldBecameEmpty", "FieldBecameNotEmpty"]
        {
            all.push(of(kind, field, Value::Null));
        }
        if field != "tags" {
            all.push(of("FieldEquals", field, "it's \"so\" \\ {{x}}".into()));
            all.push(of("FieldBecameEqual", field, json!({"key": "open", "login": "anna"})));
        }
    }
    for kind in ["ContainerContainsAny", "ContainerContainsNone"] {
        all.push(of(kind, "tags", json!(["a", "b"])));
    }
    for kind in ["ContainsAnyOfStrings", "ContainsNoneOfStrings"] {
        all.push(of(kind, "summary", json!(["a", "b"])));
    }
    for kind in ["CommentAnyMatchCondition", "CommentNoneMatchCondition"] {
        all.push(json!({"type": kind, "words": ["a", "b"]}));
    }
    for kind in ["CommentStringMatchCondition", "CommentStringNotMatchCondition", "CommentFullyMatchCondition"] {
        all.push(json!({"type": kind, "word": "a"}));
    }
    all.extend(["CommentAuthor", "CommentAuthorNot"].map(|kind| json!({"type": kind, "user": "anna"})));

    let mut text = "server: {listen: '127.0.0.1:0'}\nstore: sqlite://x.db\nslack: {token: {env: S}}\n\
                    sources: {tracker: {kind: tracker, secret: {env: S}}}\nchannels: {c: {slack: C1}}\nroutes:\n"
        .to_owned();
    for (id, condition) in all.iter().enumerate() {
        let mut made = trigger("Any", json!([condition]), "https://slack.com/api/chat.postMessage", r#"{"text": "x"}"#);
        made["id"] = id.into();
        let made = serde_json::from_str(&made.to_string()).unwrap();
        let route = import("TEST", &[made], HOSTS, &[]).routes.remove(0);
        assert!(route.when.contains("&&"), "{condition}: {:?}", route.notes);
        let when = route.when.replace('\'', "''");
        text += &format!("  - {{name: n{id}, when: '{when}', channels: [c], continue: true}}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, &text).unwrap();
    let loaded = config::load(&path, &|_| Vec::new()).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    for kind in ["issue.created", "issue.updated", "issue.status_changed", "issue.comment_added", "issue.assigned"] {
        let bare = json!({"event": {"kind": kind}, "issue": {"key": "TEST-1", "queue": {"key": "TEST"}}}).to_string();
        let failed = loaded.router.route(&Document::new(&bare, None)).failed;
        assert!(failed.is_empty(), "{kind}: {failed:?}");
    }
}

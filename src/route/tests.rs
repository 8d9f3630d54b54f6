use serde_json::json;

use super::*;
use crate::event::Document;

fn condition(text: &str) -> Condition {
    Condition::new(text, vec![(0, Place { line: 7, column: 12 })])
}

fn route(name: &str, when: &str) -> Route {
    Route {
        name: name.to_owned(),
        when: (!when.is_empty()).then(|| condition(when)),
        channels: vec![channel("ops")],
        actions: Vec::new(),
        template: None,
        style: Style::Post,
        continues: false,
        disabled: false,
        give_up_after_hours: None,
    }
}

fn channel(name: &str) -> ChannelName {
    name.to_owned().try_into().unwrap()
}

fn router(routes: &[Route]) -> Router {
    let (router, findings) = Router::compile(routes, "config.yaml");
    assert_eq!(findings, []);
    router
}

fn document() -> Document<'static> {
    let document = json!({
        "event": {"kind": "issue.created", "degraded": false},
        "issue": {
            "key": "TEST-7",
            "queue": {"key": "TEST"},
            "priority": {"key": "critical", "display": "Критичный"},
            "tags": ["prod", "db"],
            "followers": [{"login": "anna"}, {"login": "boris"}],
            "fields": {"impact": 3},
        },
        "body": {"n": 2, "huge": 18446744073709551615u64, "half": 0.5, "nothing": null,
                 "many": (0..5000).collect::<Vec<_>>()},
    });
    Document::from(&document)
}

/// `Ok` with the answer, or the reason why there is none.
fn answer(when: &str) -> Result<bool, String> {
    let router = router(&[route("one", when)]);
    let routed = router.route(&document());
    let explained = router.explain(&document()).remove(0);
    assert_eq!(explained.matched, !routed.planned.is_empty());
    match routed.failed.as_slice() {
        [] => Ok(explained.matched),
        [failed] => {
            assert!(!explained.matched);
            assert_eq!(explained.why, failed.why.to_string());
            Err(explained.why)
        }
        _ => panic!("one route fails once"),
    }
}

#[test]
fn conditions_read_the_document() {
    for (when, expected) in [
        ("", true),
        (r#"issue.queue.key == "TEST" && issue.priority.key in ["critical", "blocker"]"#, true),
        (r#"issue["queue"]["key"] == "OPS""#, false),
        ("has(issue.assignee)", false),
        (r#"has(issue.assignee) && issue.assignee.login == "x""#, false),
        (r#""db" in issue.tags && issue.tags[0] == "prod""#, true),
        (r#"issue.followers.exists(f, f.login == "anna")"#, true),
        (r#"issue.followers.all(f, f.login == "anna")"#, false),
        (r#"issue.followers.map(f, f.login) == ["anna", "boris"]"#, true),
        (r#"issue.tags.filter(tag, tag.startsWith("p")).size() == 1"#, true),
        ("issue.fields.impact > 2 && has(issue.fields.impact)", true),
        ("body.n + 1 == 3 && type(body.n) == int", true),
        ("type(body.huge) == double && body.half < 1.0", true),
        ("has(body.nothing)", false),
        ("size(body.many) == 1000", true),
        ("size(changes) == 0 && !changes.exists(c, c.field == \"status\")", true),
        ("!has(comment.text) && !has(actor.login) && !has(review.id)", true),
        (r#"issue.key.matches("^TEST-[0-9]+$")"#, true),
        ("!event.degraded", true),
    ] {
        assert_eq!(answer(when), Ok(expected), "{when}");
    }
}

#[test]
fn a_condition_without_an_answer_does_not_match_and_says_why() {
    for (when, why) in [
        (r#"issue.assignee.login == "x""#, "there is no `assignee` in this event"),
        ("issue.fields.budget > 1", "there is no `budget`"),
        ("body.n", "the condition gives int, neither true nor false"),
        ("body.many", "the condition gives list"),
        ("body.n > \"1\"", "a value of a type it cannot take"),
        ("body.n.startsWith(\"1\")", "types it cannot take"),
        ("issue.tags[9] == \"x\"", "beyond the end"),
        ("1 / 0 == body.n", "division by zero"),
        ("int(issue.key) == 1", "refused its values"),
    ] {
        let answer = answer(when).unwrap_err();
        assert!(answer.contains(why), "{when}: {answer}");
        assert!(!answer.contains("TEST-7"), "{answer}");
    }
}

#[test]
fn the_walk_ends_at_the_first_match_unless_it_continues() {
    let disabled = Route { disabled: true, ..route("disabled", "") };
    let misses = route("misses", "event.degraded");
    let continues = Route { continues: true, template: Some("critical".into()), ..route("continues", "") };
    let both = Route {
        actions: Vec::new(),
        channels: vec![channel("ops"), channel("chat"), channel("chat")],
        give_up_after_hours: Some(2),
        ..route("ends", "true")
    };
    let below = Route { channels: vec![channel("never")], ..route("below", "") };
    let router = router(&[disabled, misses, continues, both, below]);

    let planned = router.route(&document()).planned;
    let expected = [("ops", "continues", Some("critical"), None), ("chat", "ends", None, Some(2))];
    assert_eq!(
        planned
            .iter()
            .map(|p| (p.channel.as_str(), &*p.route, p.template.as_deref(), p.give_up_after_hours))
            .collect::<Vec<_>>(),
        expected
    );

    let explained = router.explain(&document());
    let lines: Vec<_> = explained.iter().map(|e| (e.route.as_str(), e.matched, e.why.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("disabled", false, "the route is disabled"),
            ("misses", false, "the condition is false"),
            ("continues", true, "the route has no condition"),
            ("ends", true, "the condition is true"),
            ("below", false, "not asked: `ends` matched and does not continue"),
        ]
    );
}

#[test]
fn mistakes_are_found_at_load_with_their_column() {
    for (when, part, message, hint) in [
        ("isue.key == \"A\"", "isue", "`isue` is not known", "did you mean `issue`?"),
        ("issue.key == \"A\" && issue.asignee.login == \"x\"", "asignee", "`issue.asignee` is not known", "`assignee`"),
        ("has(issue.asignee)", "asignee", "`issue.asignee` is not known", "`assignee`"),
        ("issue[\"asignee\"] == \"x\"", "\"asignee\"", "`issue.asignee` is not known", "`assignee`"),
        ("\"issue.asignee\" == issue.key && issue.queue.kee == \"A\"", "kee", "`issue.queue.kee`", "`key`"),
        ("event.kind.word == \"x\"", "word", "`event.kind` has no members", "compare"),
        ("issue.followers.login == \"x\"", "login", "`issue.followers` is a list", ".exists("),
        ("issue.followers[0].logn == \"x\"", "logn", "`issue.followers.logn`", "`login`"),
        ("issue.followers.exists(f, f.logn == \"x\")", "logn", "`issue.followers.logn`", "`login`"),
        ("changes.exists(c, c.feild == \"x\")", "feild", "`changes.feild`", "`field`"),
        ("issue.tags.exists(tag, tagg == \"x\")", "tagg", "`tagg` is not known", "did you mean `tag`?"),
        ("issue.status == \"open\"", "status", "`issue.status` has members", "compare `issue.status.key`"),
        ("\"x\" != issue.assignee", "assignee", "never equal to a text", "compare `issue.assignee.login`"),
        ("issue.priority in [\"a\", \"b\"]", "priority", "never equal", "`issue.priority.key`"),
        ("issue.followers.exists(f, f == \"anna\")", "f ==", "never equal", "its `login`"),
        ("issue.tags.exists(tag, true) && tag == \"x\"", "tag ==", "`tag` is not known", "roots of an event"),
        ("channel.name == \"x\"", "channel", "`channel` is not known", "templates can"),
        ("event.id > 0", "id", "`event.id` is not known to conditions", "templates have it"),
        ("issue.key.startWith(\"A\")", "startWith", "no function `startWith`", "did you mean `startsWith`?"),
        ("startsWith(issue.key, \"A\")", "startsWith", "called otherwise", "issue.summary.startsWith"),
        ("issue.tags.exists(\"db\")", "exists", "`exists` is written otherwise", "issue.followers.exists"),
        ("timestamp(event.at) > event.at", "timestamp", "no function `timestamp`", "functions are"),
        ("issue.key.matches(\"(\")", "matches", "no regular expression: unclosed group", ""),
        ("Foo{a: 1} == 1", "Foo", "no type `Foo`", ""),
        ("issue.key = \"A\"", "= \"A\"", "cannot be read", "equality is written `==`"),
        ("issue.key == \"Ключ\" && && true", "&& true", "cannot be read", ""),
        ("[1].all(a, [1].all(b, [1].all(c, true)))", "(c, true)", "more than two iterations", ""),
    ] {
        let (router, findings) = Router::compile(&[route("one", when)], "config.yaml");
        let [finding] = findings.as_slice() else { panic!("{when}: {findings:?}") };
        let column = 12 + when[..when.rfind(part).unwrap()].chars().count();
        assert_eq!((finding.line, finding.column), (7, column), "{when}: {}", finding.message);
        assert!(finding.message.contains(message), "{when}: {}", finding.message);
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{when}: {:?}", finding.hint);
        assert!(router.route(&document()).planned.is_empty());
    }
}

#[test]
fn a_condition_that_is_never_true_or_false_is_found_at_load() {
    for (when, kind) in [
        ("1 + 1", "a sum"),
        ("-body.n", "a sum"),
        ("\"issue.key\"", "a fixed value"),
        ("issue.key", "a text"),
        ("issue[\"queue\"][\"key\"]", "a text"),
        ("issue.followers[0].login", "a text"),
        ("issue.assignee", "a map"),
        ("issue", "a map"),
        ("issue.tags", "a list"),
        ("changes", "a list"),
        ("[event.degraded]", "a list"),
        ("issue.tags.filter(tag, tag == \"prod\")", "a list"),
        ("size(issue.tags)", "a number"),
        ("issue.tags.size()", "a number"),
    ] {
        let (_, findings) = Router::compile(&[route("one", when)], "config.yaml");
        let [finding] = findings.as_slice() else { panic!("{when}: {findings:?}") };
        assert!(finding.message.ends_with(&format!("the condition gives {kind}, never true or false")), "{finding:?}");
        assert_eq!((finding.line, finding.column), (7, 12), "{when}");
    }
    // Only an event can tell.
    for when in ["event.degraded", "body.flag", "issue.fields.flag", "changes[0].to", "true", "has(body.x) ? 1 : true"]
    {
        router(&[route("one", when)]);
    }
}

#[test]
fn all_mistakes_of_all_routes_come_at_once() {
    let bad = |name| route(name, "isue.key == eevnt.kind");
    let (_, findings) = Router::compile(&[bad("one"), Route { disabled: true, ..bad("two") }], "config.yaml");
    let places: Vec<_> = findings.iter().map(|finding| finding.column).collect();
    assert_eq!(places, [12, 24, 12, 24]);
}

#[test]
fn size_and_depth_are_bounded_and_fit_a_small_stack() {
    use super::token::{DEEPEST, LONGEST};
    let refused = |when: &str| !Router::compile(&[route("one", when)], "config.yaml").1.is_empty();
    let padded = |length: usize| format!("{}true", " ".repeat(length - 4));
    assert!(!refused(&padded(LONGEST)));
    assert!(refused(&padded(LONGEST + 1)));

    let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    let deepest = [
        nested(DEEPEST),
        format!("{}true", "!".repeat(DEEPEST)),
        format!("{}1 == 1", "1 + ".repeat(DEEPEST - 3)),
        format!("{}true", "false ? true : ".repeat(DEEPEST)),
        format!("{}1{} == 1", "[".repeat(DEEPEST - 3), "]".repeat(DEEPEST - 3)),
        format!("body{} == 1", ".a".repeat(DEEPEST - 3)),
        vec!["issue.key == \"TEST-7\""; 600].join(" || "),
        vec!["issue.key != \"TEST-7\""; 600].join(" && "),
    ];
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let run = small.spawn(move || {
        for when in &deepest {
            let (router, findings) = Router::compile(&[route("one", when)], "config.yaml");
            assert!(findings.is_empty(), "{:.40}", when);
            router.explain(&document());
        }
        let far = 16_000;
        for when in [nested(far / 2), "!".repeat(far), "a.".repeat(far / 2), "[".repeat(far), "a?b:".repeat(far / 4)] {
            assert!(!Router::compile(&[route("one", &when)], "config.yaml").1.is_empty());
        }
    });
    run.unwrap().join().unwrap();
}

#[test]
fn a_place_is_counted_from_the_stretch_before_it() {
    let condition =
        Condition::new("аб && в", vec![(0, Place { line: 3, column: 5 }), (8, Place { line: 4, column: 9 })]);
    assert_eq!(condition.place(2), Place { line: 3, column: 6 });
    assert_eq!(condition.place(8), Place { line: 4, column: 9 });
    assert_eq!(Condition::new("x", vec![]).place(1), Place { line: 1, column: 1 });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_condition_panics(when in "[a-z.()\\[\\]{}\"'!&|?:,=<>+ 0-9-]{1,40}") {
        let (router, findings) = Router::compile(&[route("one", &when)], "config.yaml");
        if findings.is_empty() {
            router.explain(&document());
        }
    }
}

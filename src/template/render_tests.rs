use std::collections::HashMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::super::load::keep;
use super::super::{Templates, helpers, stand_in};
use super::*;
use crate::message::Language;

/// One template, `t`, and what its check says.
fn load(source: &str) -> (Templates, Vec<String>) {
    let (kept, findings) = keep("t.md.hbs", source);
    let told = |finding: crate::finding::Finding| {
        let hint = finding.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}:{} {}{hint}", finding.line, finding.column, finding.message)
    };
    let own = HashMap::from([("t".to_owned(), kept)]);
    let templates = Templates { registry: helpers::registry(), own, defaults: HashMap::new() };
    (templates, findings.into_iter().map(told).collect())
}

fn locale(language: Language) -> Locale {
    Locale { language, time_zone: TimeZone::UTC }
}

fn render(templates: &Templates, name: &str, document: &Value) -> Result<String, RenderError> {
    let message = templates.render(name, &document.into(), "ops", Messenger::Slack, &locale(Language::En))?;
    let blocks = message.blocks.iter().map(|block| block.texts().collect::<String>());
    Ok(blocks.collect::<Vec<_>>().join("\n\n"))
}

fn rendered(source: &str, document: &Value) -> String {
    let (templates, findings) = load(source);
    assert_eq!(findings, Vec::<String>::new(), "{source}");
    render(&templates, "t", document).unwrap()
}

fn document() -> Value {
    json!({
        "event": {"id": 7, "kind": "issue.status_changed", "at": "2026-05-20T09:15:00Z"},
        "issue": {
            "key": "TEST-1", "url": "https://tracker.yandex.ru/TEST-1", "summary": "It *burns* & \"stings\"",
            "status": {"key": "open", "display": "Открыт"}, "priority": {"key": "critical"},
            "assignee": {"login": "ivanov", "display": "Иван Иванов"},
            "followers": [{"login": "a", "display": "A"}, {"login": "b"}], "tags": ["x", "y"],
        },
        "body": {"list": [{"n": 1}, {"n": 2}], "map": {"k": "v"}, "log": "l"},
    })
}

#[test]
fn a_template_says_what_it_names() {
    for (source, said) in [
        ("{{issue.key}} {{issue.summary}}", "TEST-1 It *burns* & \"stings\""),
        ("a {{issue.resolution.display}} b {{event.id}} {{channel.name}} {{channel.messenger}}", "a  b 7 ops slack"),
        ("{{#if (eq issue.priority.key \"critical\")}}yes{{else}}no{{/if}}", "yes"),
        ("{{#if (and issue.key (not comment))}}a{{/if}}{{#if (or comment (ne 1 2))}}b{{/if}}", "ab"),
        ("{{#unless issue.resolution}}open{{/unless}}", "open"),
        (
            "{{join issue.tags \", \"}} {{join issue.followers \"/\"}} {{join issue.followers \"/\" \"login\"}}",
            "x, y A/b a/b",
        ),
        ("{{default issue.resolution.display \"none\"}} {{truncate issue.summary 4}}", "none It *…"),
        ("{{date event.at}} {{date event.at \"%H:%M\"}}", "20 May 2026, 09:15 09:15"),
        ("{{#each issue.followers}}{{@index}}{{login}}{{#if @last}}.{{else}},{{/if}}{{/each}}", "0a,1b."),
        (
            "{{#each issue.followers as |who i|}}{{i}}{{who.login}}{{@root.issue.key}}{{../issue.key}} {{/each}}",
            "0aTEST-1TEST-1 1bTEST-1TEST-1",
        ),
        ("{{#each body.list}}{{n}}{{this.n}}{{/each}}{{#each body.map}}{{@key}}={{this}}{{/each}}", "1122k=v"),
        ("{{#each issue.tags}}{{this}}{{else}}none{{/each}}{{#each issue.components}}{{else}}none{{/each}}", "xynone"),
        ("{{#each (lookup body \"list\") as |e|}}{{e.n}}{{/each}}", "12"),
        (
            "{{#with issue.assignee}}{{login}}{{/with}} {{issue.followers.1.login}} {{lookup body.map \"k\"}}",
            "ivanov b v",
        ),
        (
            "{{#with issue.status as |s|}}{{s.display}}{{/with}} {{issue.tags.[0]}} {{this.issue.key}}",
            "Открыт x TEST-1",
        ),
        ("{{#with body}}{{this.log}}{{/with}} \\{{issue.key}}", "l {{issue.key}}"),
        ("{{#if comment}}a{{else if issue}}b{{else}}c{{/if}}", "b"),
    ] {
        assert_eq!(rendered(source, &document()), said, "{source}");
    }
}

#[test]
fn what_a_template_gets_wrong_is_found_with_its_place() {
    for (source, found) in [
        ("a\n{{issue.sumary}}", "2:3 no event has `issue.sumary` (did you mean `issue.summary`?)"),
        (
            "я {{#if x}}{{/if}}",
            "1:9 no event has `x` (it has `actor`, `bench`, `body`, `changes`, `channel`, `comment`, `event`, `issue`, `review`; what the call itself brought is under `body`)",
        ),
        ("{{issue.status}}", "1:3 `issue.status` is not a text (write `{{issue.status.display}}`)"),
        ("{{truncate issue.author 5}}", "1:12 `issue.author` is not a text (write `{{issue.author.display}}`)"),
        (
            "{{issue.tags}}",
            "1:3 `issue.tags` is not a text (write `{{join issue.tags \", \"}}` or `{{#each issue.tags}}`)",
        ),
        (
            "{{upper issue.key}}",
            "1:3 there is no helper `upper` (the helpers are if, unless, each, with, lookup, eq, ne, not, and, or, join, default, truncate, date)",
        ),
        ("{{truncat issue.key 5}}", "1:3 there is no helper `truncat` (did you mean `truncate`?)"),
        ("{{#issue}}{{/issue}}", "1:4 there is no helper `issue` (write `{{#if issue}}` or `{{#with issue}}`)"),
        ("{{truncate issue.key}}", "1:3 `truncate` takes a text and a number of characters, not 1"),
        ("{{truncate issue.key \"a\"}}", "1:22 `truncate` takes a number of characters from 1"),
        ("{{date event.at \"%!\"}}", "1:17 `%!` is no format of a date: write `%d.%m.%Y %H:%M`, `%-d %B`, `%A`"),
        ("{{#eq 1 2}}{{/eq}}", "1:4 `eq` is no block (write `{{#if (eq …)}}…{{/if}}`)"),
        ("{{if issue}}", "1:3 `if` is a block (write `{{#if …}}…{{/if}}`)"),
        (
            "{{log \"x\"}}",
            "1:3 there is no helper `log` (the helpers are if, unless, each, with, lookup, eq, ne, not, and, or, join, default, truncate, date)",
        ),
        ("{{#with body}}{{log}}{{/with}}", "1:17 there is no helper `log` (write `this.log` for a member)"),
        (
            "{{#each issue.followers}}{{issue.key}}{{/each}}",
            "1:28 `issue.key` is looked up in the block's own value here (write `@root.issue.key`)",
        ),
        (
            "{{#each issue.followers}}{{logn}}{{/each}}",
            "1:28 no event has `logn` (did you mean `issue.followers.login`?)",
        ),
        (
            "{{#each issue.nowhere}}{{x}}{{/each}}",
            "1:9 no event has `issue.nowhere` (it has `assignee`, `author`, `components`, `deadline`, `description`, `fields`, `followers`, `key`, `parent`, `priority`, `queue`, `resolution`, `status`, `summary`, `tags`, `type`, `url`; what the call itself brought is under `body`)",
        ),
        ("{{@index}}", "1:3 `@index` has a meaning only inside `{{#each}}`"),
        ("{{../issue.key}}", "1:3 `../issue.key` leads out of the document"),
        ("{{#if issue.key x=1}}{{/if}}", "1:17 `if` knows no `x=`"),
        ("{{(lookup body \"x\")}}", "1:1 a helper's name cannot be computed (write `{{helper value}}`)"),
        (
            "{{#if (issue.key)}}{{/if}}",
            "1:8 `(issue.key)` calls a helper, and there is none of this name (write `issue.key` without parentheses)",
        ),
        ("{{#each issue.tags as |date|}}{{/each}}", "1:24 `date` is a helper's name (take another name)"),
        ("{{a b", "1:1 this `{{` is never closed (write `\\{{` where the braces are meant as text)"),
        (
            "{{}}",
            "1:3 this is no tag that Handlebars knows (write `{{path}}`, `{{helper value}}` or `{{#if value}}…{{/if}}`)",
        ),
        (
            "{{{issue.key}}}",
            "1:1 a variable cannot be written without escaping (write `{{…}}`: in a message every variable is text, quotes and brackets arrive as they are)",
        ),
        (
            "{{{{raw}}}}{{{{/raw}}}}",
            "1:1 a variable cannot be written without escaping (write `{{…}}`: in a message every variable is text, quotes and brackets arrive as they are)",
        ),
        ("---\nsilent: true\n---\n", "1:1 front matter comes with a later version (a rule inside a message is `***`)"),
    ] {
        let (templates, findings) = load(source);
        assert_eq!(findings.first().map(String::as_str), Some(found), "{source}");
        assert!(matches!(render(&templates, "t", &document()), Err(RenderError::Broken(_))), "{source}");
    }
}

#[test]
fn files_that_no_version_reads_yet_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.slack.json.hbs", "b.telegram.html.hbs", "c.hbs", "d.md", ".e.md.hbs"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    std::fs::create_dir(folder.path().join("partials")).unwrap();
    std::fs::write(folder.path().join("big.md.hbs"), "a".repeat(64 * 1024 + 1)).unwrap();
    std::fs::write(folder.path().join("fits.md.hbs"), "a".repeat(64 * 1024)).unwrap();
    std::fs::write(folder.path().join("bytes.md.hbs"), [0xff]).unwrap();
    let (templates, findings) = Templates::load(Some(folder.path()));
    let told: Vec<_> =
        findings.iter().map(|f| (f.file.rsplit('/').next().unwrap_or_default(), f.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("a.slack.json.hbs", "a template for one messenger comes with a later version"),
            ("b.telegram.html.hbs", "a template for one messenger comes with a later version"),
            ("big.md.hbs", "a template has at most 64 KiB"),
            ("bytes.md.hbs", "the file is not UTF-8"),
            ("c.hbs", "this file is not read"),
            ("partials", "a folder of partials comes with a later version"),
        ]
    );
    assert!(templates.has("big") && templates.has("fits") && templates.has("critical") && !templates.has("d"));
    let (_, findings) = Templates::load(Some(&folder.path().join("missing")));
    assert_eq!(findings.len(), 1);
}

#[test]
fn an_admins_template_wins_over_the_binarys() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("issue.md.hbs"), "own").unwrap();
    let (templates, _) = Templates::load(Some(folder.path()));
    assert_eq!(render(&templates, "issue", &document()).as_deref(), Ok("own"));
    assert_eq!(templates.names(), ["critical", "issue", "issue-comment", "issue-created", "issue-status"]);
}

#[test]
fn errors_name_file_and_line() {
    let (templates, findings) = load("\n{{body.list.name}}");
    assert!(findings.is_empty(), "only the call itself can tell");
    match render(&templates, "t", &document()) {
        Err(RenderError::Failed { file, line: 2, column: 1, .. }) => assert_eq!(file, "t.md.hbs"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(render(&templates, "none", &document()), Err(RenderError::Missing { .. })));
    let (templates, _) = load("{{comment.text}}\n\n> {{comment.text}}");
    assert!(matches!(render(&templates, "t", &document()), Err(RenderError::Empty { .. })));
}

#[test]
fn loops_and_output_end() {
    let many = json!({"body": {"list": vec![0; 300]}});
    let nested = "{{#each body.list}}{{#each @root.body.list}}a{{/each}}{{/each}}";
    let said = rendered(nested, &many);
    assert!((9_000..10_000).contains(&said.len()), "{}", said.len());
    let long = json!({"body": {"list": vec![0; 300], "text": "я".repeat(10_000)}});
    let said = rendered("{{#each body.list}}{{@root.body.text}}{{/each}}", &long);
    assert_eq!(said.chars().count(), stand_in::LONGEST_OUTPUT);
    let said = rendered(
        "{{#each body.list}}{{#each body.list}}{{/each}}{{/each}}x",
        &json!({"body": {"list": [{"body": 1}]}}),
    );
    assert_eq!(said, "x");
}

#[test]
fn deep_nesting_is_read_in_no_time() {
    let deep = |open: &str, close: &str| open.repeat(32) + "x" + &close.repeat(32);
    assert!(load(&deep("{{#if issue}}", "{{/if}}")).1.is_empty());
    assert!(load(&format!("{{{{#if {}}}}}x{{{{/if}}}}", deep("(not ", ")").replace('x', "issue"))).1.is_empty());
    for broken in [
        deep("{{#if (", ""),
        deep("{{default (a ", ""),
        format!("{{{{a {}}}}}", deep("[", "")),
        deep("{{#if a}}", "{{else if b}}"),
    ] {
        assert!(!load(&broken).1.is_empty());
    }
    let _no_stack_overflow =
        [load(&"(".repeat(65_000)), load(&"{{#if a}}".repeat(7_000)), load(&format!("{{{{a {}", "(b ".repeat(20_000)))];
}

#[test]
fn markdown_has_no_depth_that_hurts() {
    for frame in ["> ", "- ", "[", "*", "**a ", "a `", "<", "![", "- a\n  ", "~~a ", "1. "] {
        let source = frame.repeat(64 * 1024 / frame.len() - 16) + "{{issue.key}}";
        assert!(rendered(&source, &document()).contains("TEST-1"), "{frame}");
    }
}

#[test]
fn the_binarys_templates_pass_their_check_and_read_well() {
    let (templates, findings) = Templates::load(None);
    assert_eq!(findings, vec![]);
    let mut document = document();
    document["actor"] = json!({"display": "Пётр"});
    let told = |name: &str, document: &Value, language| {
        let message = templates.render(name, &document.into(), "ops", Messenger::Telegram, &locale(language)).unwrap();
        message.blocks.iter().map(|block| block.texts().collect::<String>()).collect::<Vec<_>>().join("\n|")
    };
    insta::assert_snapshot!(told("issue-created", &document, Language::En), @r#"
    TEST-1 created by Пётр
    It *burns* & "stings"
    critical · for Иван Иванов
    "#);
    insta::assert_snapshot!(told("issue-status", &document, Language::En), @r#"
    TEST-1 → Открыт
    It *burns* & "stings"
    by Пётр
    "#);
    insta::assert_snapshot!(told("issue", &document, Language::Ru), @r#"
    TEST-1 It *burns* & "stings"
    Открыт · Иван Иванов
    изменение: Пётр
    "#);
    document["comment"] = json!({"text": "Это\nпожар", "author": {"display": "Анна"}});
    insta::assert_snapshot!(told("issue-comment", &document, Language::Ru), @r#"
    TEST-1 It *burns* & "stings"
    Комментарий: Анна
    |Это
    пожар
    "#);
    insta::assert_snapshot!(told("critical", &document, Language::Ru), @r#"
    🔴 TEST-1 · critical · Открыт
    It *burns* & "stings"
    исполнитель: Иван Иванов · изменение: Пётр
    |Это
    пожар
    "#);
    let bare = json!({"event": {"kind": "issue.created"}, "issue": {"key": "T-1"}});
    let all = super::super::defaults::NAMES.map(|name| format!("{name}: {}", told(name, &bare, Language::En)));
    insta::assert_snapshot!(all.join("\n---\n"), @r#"
    critical: 🔴 T-1
    ---
    issue: T-1 
    issue.created
    ---
    issue-comment: T-1 
    New comment
    ---
    issue-created: T-1 created
    ---
    issue-status: T-1: new status
    "#);
}

proptest! {
    #[test]
    fn any_template_is_loaded(source in "(\\{\\{|\\}\\}|[#/~>*&!^(\\[\\]|=\"'. \\n-]|if|else|each|issue|key|this|as|@index|\\.\\./|[a-z0-9]|\\PC){0,40}") {
        let (templates, _) = load(&source);
        let _ = render(&templates, "t", &document());
    }

    #[test]
    fn any_string_in_any_variable_is_shown_as_it_is(text in any::<String>()) {
        let (templates, _) = load("a {{issue.summary}} **b {{issue.key}}** `{{comment.text}}`");
        let document = json!({"issue": {"summary": text, "key": text}, "comment": {"text": text}});
        let said = render(&templates, "t", &document).unwrap();
        prop_assert!(said.contains(&stand_in::shown(&text)));
        prop_assert!(said.contains(stand_in::verbatim(&stand_in::escape(&text)).trim_end()));
    }
}

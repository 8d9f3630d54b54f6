use std::collections::HashMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::super::load::{Source, keep};
use super::super::partials::Partials;
use super::super::{Shared, Templates, stand_in};
use super::*;
use crate::message::Language;

#[path = "own_tests.rs"]
mod own;
#[path = "partials_tests.rs"]
mod partials;

/// One template, `t`, and what its check says.
fn load(source: &str) -> (Templates, Vec<String>) {
    load_with(source, &[])
}

/// The same with partials. Findings in a partial begin with its name.
fn load_with(source: &str, all: &[(&str, &str)]) -> (Templates, Vec<String>) {
    let mut partials = Partials::default();
    let mut findings = Vec::new();
    for (name, text) in all {
        findings.extend(partials.add(name, Source::new((*name).to_owned(), text)));
    }
    let shared = Shared::new(partials);
    let (kept, found) = keep(Source::new("t.md.hbs".to_owned(), source), Dialect::Markdown, &shared);
    findings.extend(found);
    let told = |finding: crate::finding::Finding| {
        let hint = finding.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let file = if finding.file == "t.md.hbs" { String::new() } else { format!("{}:", finding.file) };
        format!("{file}{}:{} {}{hint}", finding.line, finding.column, finding.message)
    };
    let own = HashMap::from([("t".to_owned(), kept)]);
    let templates =
        Templates { shared, own, forms: HashMap::new(), defaults: Box::leak(Box::default()), digest: [0; 32] };
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
        "event": {"id": 7, "kind": "issue.status_changed", "at": "2026-05-20T09:15:00Z", "received_at": "2026-05-20T11:16:00Z"},
        "issue": {
            "key": "TEST-1", "url": "https://tracker.yandex.ru/TEST-1", "summary": "It *burns* & \"stings\"",
            "status": {"key": "open", "display": "Открыт"}, "priority": {"key": "critical"},
            "assignee": {"login": "ivanov", "display": "Иван Иванов"},
            "followers": [{"login": "a", "display": "A"}, {"login": "b"}], "tags": ["x", "y"],
        },
        "body": {"n": 21, "day": "2026-05-21", "lines": "*x*\n```", "bad": "javascript:1", "list": [{"n": 1}, {"n": 2}], "map": {"k": "v"}, "log": "l"},
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
        ("{{ago event.at}}, {{ago body.day}}, {{ago issue.summary}}", "2 hours ago, tomorrow, It *burns* & \"stings\""),
        ("{{happened event.kind}}, {{happened \"issue.sla\"}}", "new status, SLA limit reached"),
        ("{{upper issue.priority.key}} {{lower issue.key}} {{upper issue.status.display}}", "CRITICAL test-1 ОТКРЫТ"),
        (
            "{{body.n}} {{plural body.n \"vote\" \"votes\"}}, {{plural body.n \"голос\" \"голоса\" \"голосов\"}}, {{plural issue.key \"a\" \"b\"}}",
            "21 votes, голос, b",
        ),
        ("{{plural \"nan\" \"1\" \"2\" \"5\"}} {{plural \"-inf\" \"1\" \"2\" \"5\"}}", "5 5"),
        (
            "{{json issue.tags}} {{json issue.status}} {{json body.none}}.",
            "[\"x\",\"y\"] {\"display\":\"Открыт\",\"key\":\"open\"} .",
        ),
        ("a {{code issue.summary}} {{code body.none}}b", "a It *burns* & \"stings\" b"),
        ("a {{code body.lines}} b", "a\n\n*x*\n```\n\nb"),
        ("{{code issue.key \"sql\"}}", "TEST-1"),
        (
            "{{link issue.key issue.url}} {{link issue.key body.bad}} {{link body.none issue.url}}.",
            "TEST-1 TEST-1 https://tracker.yandex.ru/TEST-1.",
        ),
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
            "1:9 no event has `x` (it has `actor`, `bench`, `body`, `changes`, `channel`, `comment`, `event`, `issue`, `link`, `review`; what the call itself brought is under `body`)",
        ),
        ("{{issue.status}}", "1:3 `issue.status` is not a text (write `{{issue.status.display}}`)"),
        ("{{issue.fields}}", "1:3 `issue.fields` is not a text (write `{{issue.fields.…}}`)"),
        ("{{upper body}}{{body.any}}", "1:9 `body` is not a text (write `{{body.…}}`)"),
        ("{{truncate issue.author 5}}", "1:12 `issue.author` is not a text (write `{{issue.author.display}}`)"),
        (
            "{{issue.tags}}",
            "1:3 `issue.tags` is not a text (write `{{join issue.tags \", \"}}` or `{{#each issue.tags}}`)",
        ),
        (
            "{{shout issue.key}}",
            "1:3 there is no helper `shout` (the helpers are if, unless, each, with, lookup, eq, ne, not, and, or, default, truncate, join, upper, lower, date, ago, happened, plural, json, code, link)",
        ),
        ("{{truncat issue.key 5}}", "1:3 there is no helper `truncat` (did you mean `truncate`?)"),
        ("{{#issue}}{{/issue}}", "1:4 there is no helper `issue` (write `{{#if issue}}` or `{{#with issue}}`)"),
        (
            "{{truncate issue.key}}",
            "1:3 `truncate` takes a text and a number of characters, not 1 (as in `{{truncate issue.summary 80}}`)",
        ),
        ("{{ago issue.author}}", "1:7 `issue.author` is not a text (write `{{issue.author.display}}`)"),
        ("{{ago}}", "1:3 `ago` takes a time, not 0 (as in `{{ago issue.deadline}}`)"),
        (
            "{{plural body.n \"a\"}}",
            "1:3 `plural` takes a number and two forms, or three as in Russian, not 2 (as in `{{plural body.votes \"vote\" \"votes\"}}`)",
        ),
        ("{{plural body.n \"a\" 5}}", "1:21 `plural` takes its forms as texts in quotes"),
        ("{{code issue.key \"a b\"}}", "1:18 `code` takes a language's name in quotes, as in \"sql\""),
        ("{{link issue.key issue}}", "1:18 `issue` is not a text (write `{{issue.key}}`)"),
        (
            "{{default (link issue.key issue.url) \"x\"}}",
            "1:12 `link` writes text of its own and is no value for another helper (write `{{link …}}` alone)",
        ),
        ("{{#code issue.key}}{{/code}}", "1:4 `code` is no block (write `{{code comment.text \"sql\"}}`)"),
        ("{{uppr issue.key}}", "1:3 there is no helper `uppr` (did you mean `upper`?)"),
        ("{{truncate issue.key \"a\"}}", "1:22 `truncate` takes a number of characters from 1"),
        ("{{date event.at \"%!\"}}", "1:17 `%!` is no format of a date: write `%d.%m.%Y %H:%M`, `%-d %B`, `%A`"),
        ("{{#eq 1 2}}{{/eq}}", "1:4 `eq` is no block (write `{{#if (eq …)}}…{{/if}}`)"),
        ("{{if issue}}", "1:3 `if` is a block (write `{{#if …}}…{{/if}}`)"),
        (
            "{{log \"x\"}}",
            "1:3 there is no helper `log` (the helpers are if, unless, each, with, lookup, eq, ne, not, and, or, default, truncate, join, upper, lower, date, ago, happened, plural, json, code, link)",
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
        (
            "---\nsilent: true\n",
            "1:1 this front matter is never closed (close it with a line `---`; a rule inside a message is `***`)",
        ),
        (
            "---\nsilnt: true\n---\nx",
            "2:1 unknown key `silnt` in front matter (did you mean `silent`? The keys here are `buttons`, `silent` and `unfurl`)",
        ),
        ("---\nbuttons:\n  - {text: Open}\n---\nx", "3:5 a button needs `url`"),
        (
            "---\nbuttons:\n  - text: \"я {{issue.sumary}}\"\n    url: \"{{issue.url}}\"\n---\nx",
            "3:16 no event has `issue.sumary` (did you mean `issue.summary`?)",
        ),
        (
            "---\nbuttons: [{text: x, url: 'ftp://a.b'}]\n---\nx",
            "2:26 `ftp://a.b` is no link that a button can open (write an http or https address, or `\"{{issue.url}}\"`)",
        ),
        ("---\nbuttons: x\n---\nx", "2:10 `buttons` must be a list"),
        (
            "---\nsilent: [\n---\nx",
            "2:9 this is no YAML: unclosed bracket '[' (the `[` in this line is open here: close it; a text with `: ` stands in single quotes)",
        ),
        (
            "---\nsilent: true\n---\n\n{{issue.sumary}}",
            "5:3 no event has `issue.sumary` (did you mean `issue.summary`?)",
        ),
    ] {
        let (templates, findings) = load(source);
        assert_eq!(findings.first().map(String::as_str), Some(found), "{source}");
        assert!(matches!(render(&templates, "t", &document()), Err(RenderError::Broken(_))), "{source}");
    }
}

#[test]
fn what_is_wrong_with_a_folder_is_told_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = ["a.slack.json.hbs", "b.telegram.html.hbs", "fits.telegram.html.hbs", "issue.telegram.html.hbs"];
    for name in own.into_iter().chain(["c.hbs", "d.md", ".e.md.hbs"]) {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    std::fs::create_dir(folder.path().join("partials")).unwrap();
    for (name, text) in [("ok.hbs", "{{issue.key}}"), ("a b.hbs", "x"), ("it.hbs", "{{nohelper 1}}{{> it}}")] {
        std::fs::write(folder.path().join("partials").join(name), text).unwrap();
    }
    std::fs::write(folder.path().join("partials/huge.hbs"), "a".repeat(64 * 1024 + 1)).unwrap();
    std::fs::write(folder.path().join("big.md.hbs"), "a".repeat(64 * 1024 + 1)).unwrap();
    std::fs::write(folder.path().join("fits.md.hbs"), "a".repeat(64 * 1024)).unwrap();
    std::fs::write(folder.path().join("bytes.md.hbs"), [0xff]).unwrap();
    let (templates, findings) = Templates::load(Some(folder.path()));
    let told: Vec<_> =
        findings.iter().map(|f| (f.file.rsplit('/').next().unwrap_or_default(), f.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("a b.hbs", "this file is not read"),
            ("huge.hbs", "a template has at most 64 KiB"),
            ("it.hbs", "there is no helper `nohelper`"),
            ("it.hbs", "a partial that comes to itself never ends: `it` → `it`"),
            ("a.slack.json.hbs", "this is no JSON: expected value"),
            ("a.slack.json.hbs", "there is no `a.md.hbs` for when this file is not used"),
            ("b.telegram.html.hbs", "there is no `b.md.hbs` for when this file is not used"),
            ("big.md.hbs", "a template has at most 64 KiB"),
            ("bytes.md.hbs", "the file is not UTF-8"),
            ("c.hbs", "this file is not read"),
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
    assert_eq!(templates.names(), super::super::defaults::NAMES);
}

#[test]
fn an_own_file_that_stands_alone_tells_its_own_mistake() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("alone.telegram.html.hbs"), "a\n<br>").unwrap();
    let (templates, _) = Templates::load(Some(folder.path()));
    let said = |to| templates.render("alone", &(&document()).into(), "ops", to, &locale(Language::En)).unwrap_err();
    assert!(said(Messenger::Telegram).to_string().ends_with("alone.telegram.html.hbs:2:1: Telegram knows no `<br>`"));
    assert_eq!(said(Messenger::Slack), RenderError::Missing { name: "alone".into() });
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
fn the_binarys_templates_pass_their_check() {
    assert_eq!(Templates::load(None).1, vec![]);
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

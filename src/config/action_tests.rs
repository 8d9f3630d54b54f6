//! What a route does to an issue: how it is read, and what is refused.

use std::collections::BTreeMap;

use super::tests::{EVERY_KEY, HEAD, accepted, findings, refused, with};
use super::*;
use crate::delivery::{Action, Words};
use crate::event::{Bench, Document, Review};
use crate::template::{Locale, Templates};

/// What stands before the routes of a test: eight lines.
const ROOM: &str = "tracker: {token: {env: T}, org_id: \"1\"}\nlinks: {auth: {token: {env: L}}, application: bells}\n";

fn issue(issue: &str) -> String {
    with(&format!("{ROOM}routes:\n  - name: r\n    issue: {{{issue}}}"))
}

fn actions(text: &str) -> Vec<Action> {
    accepted(&issue(text)).routes[0].actions.clone()
}

fn fields(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn actions_are_in_the_order_in_which_they_are_done() {
    let config = accepted(EVERY_KEY);
    let set = fields(&[("benchLink", "{{bench.url}}"), ("65f1c0ffee0000000000000b--team", "")]);
    let screen = fields(&[("resolution", "fixed")]);
    let link = |key: &str| Action::Link { key: key.to_owned(), application: "campanile".to_owned() };
    assert_eq!(
        config.routes[2].actions,
        [
            Action::Set { fields: set, was: None },
            Action::Transition { to: "readyForTest".into(), by: Some("7".into()), fields: screen },
            Action::Comment(Words::Template("review".into())),
            link(OWN_OBJECT),
        ]
    );
    assert!(config.routes[2].channels.is_empty());
    assert_eq!(
        config.routes[3].actions,
        [
            Action::Transition { to: "closed".into(), by: None, fields: BTreeMap::new() },
            Action::Comment(Words::Text("by {{actor.display}}".into())),
            link("channel:c"),
        ]
    );
    let unknown = config.unknown_templates(&["critical"]);
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].message, "route `#3` names a template that does not exist: `review`");
}

#[test]
fn a_text_is_a_number_too_and_no_link_is_none() {
    let text = |key: &str, text: &str| Action::Set { fields: fields(&[(key, text)]), was: None };
    assert_eq!(actions("set: {storyPoints: 3}, link: false"), [text("storyPoints", "3")]);
    let lines = with(&format!("{ROOM}routes:\n  - issue:\n      comment: |\n        one\n        two"));
    assert_eq!(accepted(&lines).routes[0].actions, [Action::Comment(Words::Text("one\ntwo\n".into()))]);
}

#[test]
fn what_cannot_be_done_to_an_issue_is_a_finding() {
    let long = format!("comment: '{}'", "x".repeat(16 * 1024 + 1));
    let many = |count| format!("set: {{{}}}", (0..count).map(|n| format!("f{n}: x")).collect::<Vec<_>>().join(", "));
    for (text, column, message, hint) in [
        ("", 12, "`issue` of route `r` does nothing", "`transition`, `set`, `comment` and `link`"),
        ("fields: {a: b}", 21, "`fields` needs `transition`", "`set`"),
        ("statsu: x", 13, "unknown key `statsu` in `issue` of route `r`", "`transition`"),
        ("transition: Готово", 25, "`transition` must be a status' key, as in readyForTest", "GET /v3/statuses"),
        ("transition: ready for test", 25, "must be a status' key", "GET /v3/statuses"),
        ("transition: '{{body.status}}'", 25, "must be a status' key", ""),
        ("transition: {to: Готово}", 30, "`to` must be a status' key", ""),
        ("transition: {by: x}", 25, "`transition` needs `to`", ""),
        ("transition: {to: a, by: 'b c'}", 37, "`by` must be a transition's id", ""),
        ("set: {bench link: x}", 19, "`bench link` is no field's key", "benchLink"),
        ("set: {65f1--benchLink: x}", 19, "`65f1--benchLink` is no field's key", "65f1c0ffee0000000000000b--benchLink"),
        ("set: {status: closed}", 19, "`set` cannot set the status", "write `transition: KEY`"),
        ("set: {benchLink: }", 19, "`benchLink` is empty", "'' clears the field"),
        ("set: {benchLink: [a]}", 30, "`benchLink` must be a text", ""),
        ("set: {}", 18, "`set` names no field", ""),
        ("set: x", 18, "`set` must be a map", ""),
        (&many(51), 409, "`set` takes at most 50 fields", ""),
        ("set: {benchLink: '{{bench.ulr}}'}", 33, "`benchLink`: no event has `bench.ulr`", "did you mean `bench.url`?"),
        ("set: {benchLink: '{{bench}}'}", 33, "`benchLink`: `bench` is not a text", "{{bench.url}}"),
        ("comment: 'by {{uper actor.login}}'", 28, "`comment`: there is no helper `uper`", "`upper`"),
        ("comment: '{{> head}}'", 23, "`comment`: a text in here takes no partials", ""),
        ("comment: '{{channel.name}}'", 25, "goes to no channel", ""),
        ("comment: ''", 22, "`comment` is empty", ""),
        ("comment: {text: a, template: b}", 23, "unknown key `text` in `comment`", ""),
        ("comment: {}", 22, "`comment` needs `template`", ""),
        (&long, 23, "`comment`: a text in here has at most 16 KiB", ""),
        ("link: '{{review.ulr}}'", 22, "`link`: no event has `review.ulr`", "`review.url`"),
        ("link: [a]", 19, "`link` must be a text", ""),
    ] {
        let found = findings(&issue(text));
        let [finding] = found.as_slice() else { panic!("{text}: {found:#?}") };
        assert_eq!((finding.line, finding.column), (8, column), "{text}: {finding:?}");
        assert!(finding.message.contains(message), "{text}: {}", finding.message);
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {:?}", finding.hint);
    }
    accepted(&issue(&many(50)));
    let folded = format!(
        "{ROOM}routes:\n  - issue:\n      comment: >-\n        by {{{{actor.login}}}}\n        {{{{actor.nam}}}}"
    );
    refused(&[(&folded, (10, 11), "`comment`: no event has `actor.nam`", "`display`")]);
}

#[test]
fn what_an_action_needs_is_asked_for() {
    let route = "routes: [{name: r, issue: {transition: x, link: true}}]";
    let found = findings(&with(route));
    let told: Vec<_> = found.iter().map(|finding| (finding.column, finding.message.as_str())).collect();
    let token = "route `r` changes issues, and Tracker's API has no `tracker.token`";
    assert_eq!(told, [(27, token), (49, "`link` needs `links.application`")]);
    assert!(found[0].hint.as_deref().unwrap().contains("tracker: {token: "));
    let unnamed = ROOM.replace(", application: bells", "");
    let found = findings(&with(&format!("{unnamed}{route}")));
    assert_eq!((found.len(), found[0].line, found[0].column), (1, 6, 49), "{found:?}");
}

#[test]
fn a_route_that_may_lead_to_itself_is_a_warning() {
    let yaml = |guard: &str, does: &str, rest: &str| {
        let tracker = format!("tracker: {{token: {{env: T}}, org_id: \"1\", loop_guard: {guard}}}");
        with(&format!("{tracker}\nroutes: [{{name: r, issue: {{{does}}}{rest}}}]"))
    };
    for (guard, does, rest, warned) in [
        ("off", "comment: a", "", true),
        ("off", "set: {a: b}", "", true),
        ("off", "transition: a", "", false),
        ("off", "comment: a", ", disabled: true", false),
        ("actions", "comment: a", "", false),
        ("events", "comment: a", "", false),
    ] {
        let found = findings(&yaml(guard, does, rest));
        assert_eq!(found.len(), usize::from(warned), "{guard} {does}: {found:?}");
        for finding in found {
            assert_eq!((finding.severity, finding.line, finding.column), (Severity::Warning, 5, 27), "{finding:?}");
            assert!(finding.message.contains("route `r` may lead to itself"), "{finding:?}");
        }
    }
    let benches = yaml("off", "comment: a", "").replace("kind: tracker", "kind: bench");
    assert_eq!(findings(&benches), []);
    assert!(HEAD.contains("kind: tracker"));
}

#[test]
fn the_own_object_of_an_event_is_its_review_or_its_bench() {
    let (templates, _) = Templates::load(None);
    let locale = Locale { language: Language::En, time_zone: TimeZone::UTC };
    let said = |document: serde_json::Value| templates.say(OWN_OBJECT, &Document::from(&document), &locale).unwrap();
    let review = Review { id: "7".into(), host: "github".into(), repository: "a:b/<c>".into(), ..Review::default() };
    let bench = Bench { branch: Some("feature/TEST-1".into()), ..Bench::default() };
    assert_eq!(said(serde_json::json!({"review": review, "bench": bench})), review.key());
    assert_eq!(said(serde_json::json!({"bench": bench})), "bench:feature/TEST-1");
    assert_eq!(said(serde_json::json!({"bench": Bench::default(), "issue": {"key": "TEST-1"}})), "");
}

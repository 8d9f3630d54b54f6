//! `links:` and the keys of `tracker:` that go with it.

use super::tests::{accepted, findings, refused, with};
use super::*;
use crate::route::LoopGuard;

fn links(rest: &str) -> String {
    format!("links: {{auth: {{token: {{env: L}}}}, {rest}}}")
}

#[test]
fn links_have_their_defaults() {
    let config = accepted(&with("links: {auth: {token: {env: L}}}"));
    let links = config.links.as_ref().unwrap();
    assert_eq!(links.info.to_string(), "/links/{{remoteKey}}");
    assert_eq!(links.create.to_string(), "/links");
    assert_eq!(links.remove.to_string(), "/links/{{remoteKey}}/{{issueKey}}");
    assert!(links.application.is_none() && links.icon_url.is_none());
    assert!(matches!(&links.auth, Auth::Token(token) if token.value == Secret::Env("L".into())));
    let of_tracker = "tracker: {token: {env: T}, org_id: \"1\"}\n";
    let user = accepted(&with(&format!("{of_tracker}links: {{auth: user}}")));
    assert_eq!(user.links.unwrap().auth, Auth::User);
}

#[test]
fn a_template_without_a_clear_meaning_is_a_finding() {
    for (rest, message) in [
        ("info: 'links/{{remoteKey}}'", "`info` begins with `/`, as in /links"),
        ("info: '/hooks/{{remoteKey}}'", "`info` has a path of its own: `/hooks` is another's"),
        ("info: '/readyz?{{remoteKey}}'", "`info` has a path of its own: `/readyz` is another's"),
        ("info: '/{{key}}'", "`info` knows `{{remoteKey}}` and `{{issueKey}}`, not `{{key}}`"),
        ("info: /links", "`info` needs `{{remoteKey}}`"),
        ("info: '/{{issueKey}}/{{remoteKey}}'", "`info` takes no `{{issueKey}}`"),
        ("info: '/{{remoteKey}}/{{remoteKey}}'", "`info` has `{{remoteKey}}` twice"),
        ("create: '/{{issueKey}}'", "`create` takes no `{{issueKey}}`"),
        ("remove: '/{{remoteKey}}'", "`remove` needs `{{issueKey}}`"),
        ("remove: '/{{remoteKey}}{{issueKey}}'", "`remove` needs a border, as `/`, between `{{remoteKey}}`"),
        ("icon_url: bell.png", "`icon_url` must be an http or https address"),
    ] {
        let column = links("").len() + rest.find(' ').unwrap() + 1;
        refused(&[(&links(rest), (4, column), message, "")]);
    }
    assert_eq!(findings(&with(&links("remove: /links"))).len(), 2);
    refused(&[("links: {}", (4, 8), "`links` needs `auth`", "")]);
    refused(&[("links: {auth: user}", (4, 15), "`auth: user` asks Tracker whose token it is", "tracker: {token: ")]);
}

#[test]
fn a_token_that_is_pasted_is_not_printed() {
    for auth in ["hunter2", "[hunter2]", "{token: hunter2}", "{tokn: {env: hunter2-x}}"] {
        let found = findings(&with(&format!("links: {{auth: {auth}}}")));
        assert!(!found.is_empty() && !format!("{found:?}").contains("hunter2"), "{found:?}");
    }
    let found = findings(&with("links: {auth: hunter2}"));
    assert!(found[0].veiled && found[0].message == "`auth` must be `none`, `user` or {token: {env: NAME}}");
}

#[test]
fn open_links_are_a_warning_where_the_world_reaches_them() {
    let open = with("links: {auth: none}");
    let found = findings(&open);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.severity, finding.line, finding.column), (Severity::Warning, 4, 15));
    for listen in ["127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(findings(&open.replace("[::]:8080", listen)), []);
    }
}

#[test]
fn how_tracker_is_asked_is_read() {
    let tracker = accepted(&with("tracker: {queues: [A]}")).tracker;
    assert_eq!(tracker.pace, Some(TrackerPace { per_second: 5.0 }));
    assert_eq!((tracker.enrich_within_seconds, tracker.loop_guard), (60, LoopGuard::Events));
    assert_eq!(tracker.recover_every_minutes, 5, "unless there is no token");
    let tracker = accepted(tests::EVERY_KEY).tracker;
    assert_eq!(tracker.pace, Some(TrackerPace { per_second: 2.0 }));
    assert_eq!(
        (tracker.enrich_within_seconds, tracker.loop_guard, tracker.recover_every_minutes),
        (1, LoopGuard::Actions, 0)
    );
    for (key, least, most) in [("enrich_within_seconds", 1, 86_400), ("recover_every_minutes", 0, 1_440)] {
        let with_token = |n: i64| format!("tracker: {{token: {{env: T}}, org_id: \"1\", {key}: {n}}}");
        accepted(&with(&with_token(least)));
        accepted(&with(&with_token(most)));
        let message = format!("`{key}` must be a whole number from {least} to {most}");
        for wrong in [least - 1, most + 1] {
            refused(&[(&with_token(wrong), (4, 43 + key.len()), &message, "")]);
        }
    }
    assert_eq!(accepted(&with("tracker: {pace: none}")).tracker.pace, None);
    accepted(&with("tracker: {recover_every_minutes: 0}"));
    refused(&[
        ("tracker: {recover_every_minutes: 1}", (4, 34), "`recover_every_minutes` needs `token`", "tracker: {token: "),
        ("tracker: {loop_guard: yes}", (4, 23), "`loop_guard` does not know `yes`", "`events`"),
        ("tracker: {pace: {per_minute: 1}}", (4, 18), "unknown key `per_minute` in `pace`", "`per_second`"),
        ("tracker: {pace: fast}", (4, 17), "`pace` does not know `fast`", ""),
    ]);
}

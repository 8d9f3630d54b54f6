//! Actions on an issue: each looks first, and is done no more than once.

use std::collections::BTreeMap;

use campanile::delivery::{Action, Mark, Receipt, Words};
use campanile::simulator::Fault;
use campanile::simulator::tracker::{Conflict, TrackerApplication, TrackerIssue};
use campanile::tracker::action::{Before, Done, act, comment_mark};
use serde_json::json;

use super::*;

fn texts(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
    texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn transition(to: &str, by: Option<&str>, fields: &[(&str, &str)]) -> Action {
    Action::Transition { to: to.into(), by: by.map(str::to_owned), fields: texts(fields) }
}

fn set(fields: &[(&str, &str)]) -> Action {
    Action::Set { fields: texts(fields), was: None }
}

fn comment(text: &str) -> Action {
    Action::Comment(Words::Text(text.into()))
}

impl World {
    /// What the receipt says, or what the lane would be told.
    async fn act(&self, action: &Action) -> String {
        self.act_on("TEST-1", action, Before::default()).await
    }

    async fn act_on(&self, issue: &str, action: &Action, before: Before) -> String {
        match act(&self.api, issue, action, &before).await {
            Ok(Done { receipt: Receipt::Issue { key, did, changed, .. }, .. }) => {
                format!("{key}: {did}{}", if changed { "" } else { " (as it was)" })
            }
            Ok(done) => panic!("{done:?}"),
            Err(error) => told(error),
        }
    }
}

#[tokio::test]
async fn a_transition_is_chosen_by_where_it_leads() {
    let world = World::start().await;
    let ready = transition("readyForTest", None, &[]);
    assert_eq!(world.act(&ready).await, "TEST-1: open → readyForTest");
    assert_eq!(world.act(&ready).await, "TEST-1: readyForTest (as it was)");
    assert_eq!((world.tracker.requests("execute"), world.tracker.requests("transitions")), (1, 1), "it looks first");
    let by = |id| transition("closed", Some(id), &[("resolution", "fixed")]);
    assert_eq!(
        world.act(&by("closeForEver")).await,
        r#"GiveUp("TEST-1 cannot go from readyForTest to closed by `closeForEver`: there it goes by `close`")"#
    );
    assert_eq!(world.act(&by("closeAsDuplicate")).await, "TEST-1: readyForTest → closed");
    let executed = world.tracker.record(|record| record.arrivals().last().unwrap().path.clone());
    assert_eq!(executed, ["TEST-1", "closeAsDuplicate"]);
}

#[tokio::test]
async fn unreachable_says_from_where_to_where() {
    let world = World::with(|it| it.issue(TrackerIssue::new("TEST-2", "x").status("resolved"))).await;
    assert_eq!(
        world.act(&transition("testing", None, &[])).await,
        "GiveUp(\"TEST-1 cannot go from open to testing: from there lead inProgress, readyForTest, needsImprovement, \
         needInfo, closed\")"
    );
    let stuck = world.act_on("TEST-2", &transition("testing", None, &[]), Before::default()).await;
    assert_eq!(stuck, r#"GiveUp("TEST-2 cannot go from resolved to testing: from there lead nothing")"#);
    assert_eq!(world.tracker.requests("execute"), 0);
}

#[tokio::test]
async fn a_screen_gets_its_fields() {
    let world = World::start().await;
    assert_eq!(
        world.act(&transition("closed", None, &[])).await,
        "GiveUp(\"TEST-1 cannot go from open to closed by `close`: resolution: Поле обязательно для заполнения \
         (give what its screen wants under `fields:`)\")"
    );
    let fields = [("resolution", "fixed"), ("comment", "PR 17")];
    assert_eq!(world.act(&transition("closed", None, &fields)).await, "TEST-1: open → closed");
    assert_eq!(world.tracker.issue("TEST-1")["resolution"]["key"], "fixed");
    assert_eq!(world.tracker.comments("TEST-1"), ["PR 17"]);
}

/// It is read again, and what is there then is judged.
#[tokio::test]
async fn a_transition_that_went_between_list_and_execute() {
    let world = World::start().await;
    world.tracker.remove_transition_after_list("TEST-1", "to_test");
    let end = world.act(&transition("readyForTest", None, &[])).await;
    assert!(
        end.starts_with(r#"GiveUp("TEST-1 cannot go from open to readyForTest: from there lead inProgress"#),
        "{end}"
    );
    assert_eq!(world.tracker.requests("execute"), 1);

    let always = World::start().await;
    always.tracker.fault(Fault::error("404 no transition").always().method("execute"));
    let end = always.act(&transition("readyForTest", None, &[])).await;
    assert!(end.starts_with(r#"GiveUp("TEST-1 does not exist, or "#), "{end}");
    assert_eq!(
        (always.tracker.requests("execute"), always.tracker.requests("issue")),
        (4, 4),
        "once and three times more"
    );

    let rival = World::start().await;
    rival.tracker.fault(Fault::error("409 Изменено").times(3).method("execute"));
    assert_eq!(rival.act(&transition("readyForTest", None, &[])).await, "TEST-1: open → readyForTest");
}

/// Its answer was lost: whoever looks again finds it done.
#[tokio::test]
async fn a_lost_answer_moves_once() {
    let world = World::start().await;
    world.tracker.fault(Fault::LoseAnswer.once().method("execute"));
    let ready = transition("readyForTest", None, &[]);
    assert_eq!(world.act(&ready).await, "Unclear");
    assert_eq!(world.act(&ready).await, "TEST-1: readyForTest (as it was)");
    assert_eq!(world.tracker.requests("execute"), 1);
}

#[tokio::test]
async fn a_field_is_written_once_and_only_when_it_differs() {
    let world = World::start().await;
    let bench = set(&[("benchLink", "https://bench.test/1")]);
    let version = world.version("TEST-1");
    assert_eq!(world.act(&bench).await, "TEST-1: benchLink = https://bench.test/1");
    assert_eq!(world.act(&bench).await, "TEST-1: benchLink = https://bench.test/1 (as it was)");
    assert_eq!((world.tracker.requests("patch"), world.version("TEST-1")), (1, version + 1));
    assert_eq!(world.tracker.requests("local_fields"), 1, "a queue's fields are asked for once");

    let several = [
        ("benchLink", ""),
        ("benches", "a, b"),
        ("priority", "critical"),
        ("assignee", "maria.petrova"),
        ("storyPoints", "3"),
    ];
    assert_eq!(
        world.act(&set(&several)).await,
        "TEST-1: assignee = maria.petrova, benchLink cleared, benches = a, b, priority = critical, storyPoints = 3"
    );
    let end = world.act(&set(&several)).await;
    assert!(end.ends_with(" (as it was)"), "{end}");
    assert_eq!(world.tracker.requests("patch"), 2, "also a person's login and a number are known again");
    assert_eq!(
        world.act(&set(&[("benchlink", "x")])).await,
        r#"GiveUp("TEST-1: there is no field `benchlink` in the queue TEST")"#
    );
    assert_eq!(world.act(&set(&[("deadline", "soon")])).await.split(':').nth(1), Some(" Tracker refuses a value"));
}

/// Another branch's bench stays.
#[tokio::test]
async fn a_field_is_cleared_only_while_it_holds_what_it_did() {
    let world = World::start().await;
    world.act(&set(&[("benchLink", "https://bench.test/2")])).await;
    let gone = |url: &str| Action::Set { fields: texts(&[("benchLink", "")]), was: Some(url.into()) };
    assert_eq!(world.act(&gone("https://bench.test/1")).await, "TEST-1: benchLink cleared (as it was)");
    assert_eq!(world.tracker.requests("patch"), 1);
    assert_eq!(world.act(&gone("https://bench.test/2")).await, "TEST-1: benchLink cleared");
    assert_eq!(world.act(&gone("https://bench.test/2")).await, "TEST-1: benchLink cleared (as it was)");
    assert_eq!(world.tracker.requests("patch"), 2);
}

#[tokio::test]
async fn a_conflict_is_read_again_three_times() {
    for conflict in [Conflict::Conflict409, Conflict::Precondition412] {
        let world = World::with(|it| it.conflict(conflict)).await;
        world.tracker.stale_once("TEST-1");
        assert_eq!(world.act(&set(&[("benchLink", "x")])).await, "TEST-1: benchLink = x");
        assert_eq!((world.tracker.requests("patch"), world.tracker.requests("issue")), (2, 2));
    }
    for status in ["409 x", "412 x", "428 x"] {
        let world = World::start().await;
        world.tracker.fault(Fault::error(status).times(3).method("patch"));
        assert_eq!(world.act(&set(&[("benchLink", "x")])).await, "TEST-1: benchLink = x", "{status}");
        world.tracker.fault(Fault::error(status).always().method("patch"));
        assert_eq!(world.act(&set(&[("benchLink", "y")])).await, "Wait { at_least: None, scope: Lane }", "{status}");
        assert_eq!(world.tracker.requests("patch"), 8, "{status}");
    }
}

/// What is remembered of a queue's fields may have changed meanwhile.
#[tokio::test]
async fn fields_that_are_remembered_wrongly_are_asked_for_once_more() {
    let world = World::start().await;
    world.act(&set(&[("benchLink", "x")])).await;
    let id = world
        .tracker
        .issue("TEST-1")
        .as_object()
        .unwrap()
        .keys()
        .find(|id| id.ends_with("--benchLink"))
        .unwrap()
        .clone();
    let refused = json!({"errors": {id: "Поле не существует"}, "errorMessages": [], "statusCode": 422}).to_string();
    world.tracker.fault(Fault::Status { status: 422, body: refused.clone() }.once().method("patch"));
    assert_eq!(world.act(&set(&[("benchLink", "y")])).await, "TEST-1: benchLink = y");
    assert_eq!(world.tracker.requests("local_fields"), 2);
    world.tracker.fault(Fault::Status { status: 422, body: refused }.always().method("patch"));
    let end = world.act(&set(&[("benchLink", "z")])).await;
    assert!(end.contains("Поле не существует") && world.tracker.requests("patch") == 5, "{end}");
}

/// The field is the one of the queue where the issue is now.
#[tokio::test]
async fn a_moved_issue_is_found_by_its_old_key() {
    let world = World::start().await;
    let key = world.tracker.move_issue("TEST-1", "OPS", "ivan.ivanov").unwrap();
    assert_eq!(world.act(&set(&[("benchLink", "x")])).await, format!("{key}: benchLink = x"));
    assert_eq!(world.act(&transition("inProgress", None, &[])).await, format!("{key}: open → inProgress"));
}

#[tokio::test]
async fn a_comment_is_placed_once_and_its_author_does_not_follow() {
    let world = World::start().await;
    let done = act(&world.api, "TEST-1", &comment("Принято\n"), &Before::default()).await.unwrap();
    let Receipt::Issue { key, did, changed: true, id: Some(id) } = &done.receipt else { panic!("{done:?}") };
    assert_eq!((key.as_str(), did.as_str()), ("TEST-1", "comment"));
    assert_eq!(done.marks, [Mark { name: comment_mark("TEST-1"), number: id.parse().unwrap() }]);
    assert_eq!(world.tracker.issue("TEST-1").get("followers"), None);
    assert_eq!(world.act(&comment(" \n")).await, "TEST-1: a comment that says nothing (as it was)");
    let long = "я".repeat(40_000);
    world.act(&comment(&long)).await;
    let placed = world.tracker.comments("TEST-1");
    assert_eq!((placed.len(), placed[0].as_str(), placed[1].len()), (2, "Принято", 64 << 10));
}

#[tokio::test]
async fn a_lost_answer_leaves_one_comment() {
    for fault in [Fault::LoseAnswer, Fault::ResetAfter, Fault::UnreadableAnswer, Fault::OkWithoutId] {
        let named = format!("{fault:?}");
        let world = World::start().await;
        world.tracker.fault(fault.once().method("add_comment"));
        assert_eq!(world.act(&comment("Принято\r\n\r\nда")).await, "Unclear", "{named}");
        let again = Before { again: true, last_comment: None };
        assert_eq!(
            world.act_on("TEST-1", &comment("Принято\r\n\r\nда"), again).await,
            "TEST-1: comment (as it was)",
            "{named}"
        );
        assert_eq!(world.tracker.comments("TEST-1").len(), 1, "{named}");
    }
    for fault in [Fault::ResetBefore, Fault::Empty, Fault::Html200, Fault::WrongJson, Fault::bad_gateway()] {
        let named = format!("{fault:?}");
        let world = World::start().await;
        world.tracker.fault(fault.once().method("add_comment"));
        assert_eq!(world.act(&comment("a")).await, "Unclear", "{named}");
        let again = Before { again: true, last_comment: None };
        assert_eq!(world.act_on("TEST-1", &comment("a"), again).await, "TEST-1: comment", "{named}");
        assert_eq!(world.tracker.comments("TEST-1").len(), 1, "{named}");
    }
}

#[tokio::test]
async fn two_equal_comments_of_two_events_are_two() {
    let world = World::start().await;
    world.tracker.comment("TEST-1", "Принято", "maria.petrova").unwrap();
    let first = act(&world.api, "TEST-1", &comment("Принято"), &Before::default()).await.unwrap();
    let last_comment = Some(first.marks[0].number);
    world.tracker.comment("TEST-1", "Принято", "maria.petrova").unwrap();
    // The first attempt of the second event never arrived.
    let again = Before { again: true, last_comment };
    assert_eq!(world.act_on("TEST-1", &comment("Принято"), again).await, "TEST-1: comment");
    assert_eq!(
        world.act_on("TEST-1", &comment("Принято"), again).await,
        "TEST-1: comment (as it was)",
        "it is there by now"
    );
    assert_eq!(world.tracker.comments("TEST-1").len(), 4, "another person's is not ours");
    let deleted = Before { again: true, last_comment: last_comment.map(|last| last + 1_000_000) };
    assert_eq!(
        world.act_on("TEST-1", &comment("Принято"), deleted).await,
        "TEST-1: comment",
        "nothing is later than one that is gone"
    );
}

#[tokio::test]
async fn a_link_stands_once() {
    let world = World::start().await;
    world.tracker.set_application(TrackerApplication::new("campanile", "Campanile"));
    world.tracker.set_application(TrackerApplication::new("other", "Other"));
    let link = |key: &str| Action::Link { key: key.into(), application: "campanile".into() };
    let review = "review:github:team/bells:7";
    world.tracker.link("TEST-1", "other", review, "ivan.ivanov").unwrap();
    world.tracker.fault(Fault::LoseAnswer.once().method("add_remote_link"));
    assert_eq!(world.act(&link(review)).await, "Unclear");
    assert_eq!(world.act(&link(review)).await, "TEST-1: link to review:github:team/bells:7 (as it was)");
    assert_eq!(world.act(&link("bench:main")).await, "TEST-1: link to bench:main");
    let links = world.tracker.links("TEST-1");
    let links: Vec<_> = links.iter().map(|(application, key)| format!("{application} {key}")).collect();
    assert_eq!(
        links,
        ["other review:github:team/bells:7", "campanile review:github:team/bells:7", "campanile bench:main"]
    );
    assert_eq!(world.tracker.callbacks().len(), 0, "Tracker does not call us for what we did");
    let unknown = Action::Link { key: "x".into(), application: "nobody".into() };
    assert!(world.act(&unknown).await.starts_with("GiveUp("));
}

#[tokio::test]
async fn bad_issues_and_rights() {
    let world = World::start().await;
    let go = transition("readyForTest", None, &[]);
    world.api.myself().await.unwrap();
    let absent = world.act_on("TEST-999", &go, Before::default()).await;
    assert!(absent.starts_with(r#"GiveUp("TEST-999 does not exist, or campanile-bot may not see it: "#), "{absent}");
    world.tracker.forbid("TEST-1", true);
    let forbidden = world.act(&go).await;
    assert!(
        forbidden.starts_with("Hold { scope: Lane, reason: \"campanile-bot may not do this to TEST-1"),
        "{forbidden}"
    );
    world.tracker.forbid("TEST-1", false);
    world.tracker.lock("TEST-1", true);
    for action in [go.clone(), set(&[("benchLink", "x")]), comment("x")] {
        let locked = world.act(&action).await;
        assert!(locked.starts_with(r#"GiveUp("TEST-1 is frozen for automation"#), "{locked}");
    }
    world.tracker.lock("TEST-1", false);
    world.tracker.expire_token("t0ken-canary");
    let expired = world.act(&go).await;
    assert!(expired.starts_with("Hold { scope: Account, ") && !expired.contains("canary"), "{expired}");
    world.tracker.renew_token("t0ken-canary", BOT);
    world.tracker.fault(Fault::rate_limited(7).once());
    assert_eq!(world.act(&go).await, "Wait { at_least: Some(7s), scope: Account }");
    assert_eq!(world.act(&go).await, "TEST-1: open → readyForTest");
}

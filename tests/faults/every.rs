//! Every fault of the simulators on the first of three messages.

use campanile::simulator::{Fault, LimitForm, Record};

use super::*;
use crate::harness::{SLACK, TELEGRAM, numbers};

/// What a fault leads to.
enum End {
    /// Surely not posted: no duplicate, however it is sent again.
    Not(&'static str),
    /// Nobody can know, and it was not posted.
    Unclear,
    /// Nobody can know, and it stands there: the second one is the duplicate that is allowed.
    Doubled,
    /// Delivered at the first try.
    Fine,
}

/// Nobody waits longer for an answer.
const ATTEMPT: Duration = Duration::from_secs(10);
const PAGE: &str = "<html><h1>503</h1></html>";

fn of_both() -> Vec<(Fault, End)> {
    let limited = |retry_after, form| Fault::RateLimited { retry_after, form };
    vec![
        (limited(Some(5), LimitForm::Json), End::Not("paced")),
        (limited(None, LimitForm::Json), End::Not("paced")),
        (limited(Some(5), LimitForm::Html), End::Not("paced")),
        (limited(None, LimitForm::Text), End::Not("paced")),
        (Fault::bad_gateway(), End::Unclear),
        (Fault::Status { status: 503, body: PAGE.into() }, End::Unclear),
        (Fault::Status { status: 403, body: PAGE.into() }, End::Not("held")),
        (Fault::Json500, End::Unclear),
        (Fault::UnreadableAnswer, End::Doubled),
        (Fault::WrongJson, End::Unclear),
        (Fault::Empty, End::Unclear),
        (Fault::Html200, End::Unclear),
        (Fault::OkWithoutId, End::Fine),
        (Fault::LoseAnswer, End::Doubled),
        (Fault::ResetBefore, End::Unclear),
        (Fault::ResetAfter, End::Doubled),
        (Fault::HangBefore, End::Unclear),
        (Fault::HangAfter, End::Doubled),
        (Fault::HangInBody, End::Doubled),
        (Fault::Slow(Duration::from_secs(3)), End::Fine),
    ]
}

async fn meets(setup: Setup, messenger: &str, fault: Fault, end: End) {
    let world = setup.start().await;
    let name = format!("{messenger}: {fault:?}");
    world.slack.fault(fault.clone().once());
    world.telegram.fault(fault.clone().once());
    world.burst(0..3).await;
    if matches!(fault, Fault::HangBefore | Fault::HangAfter | Fault::HangInBody | Fault::Slow(_)) {
        let seen = |record: &Record| record.counts().calls == 1;
        if messenger == "slack" {
            world.slack_seen(seen).await
        } else {
            world.telegram_seen(seen).await
        }
        world.clock.pass(if let Fault::Slow(time) = fault { time } else { ATTEMPT });
    }
    if matches!(end, End::Unclear | End::Doubled | End::Not("paced" | "held")) {
        world.settled(|rows| rows[0]["attempts"] == 1).await;
        world.clock.pass(MINUTE); // back-offs, pauses and the first probe of a hold: all are over
    }
    world.settled_as("delivered", 3).await;
    let stand = match messenger {
        "slack" => numbers(&world.slack.posted(SLACK)),
        _ => numbers(&world.telegram.posted(TELEGRAM)),
    };
    let expected: &[usize] = if matches!(end, End::Doubled) { &[0, 0, 1, 2] } else { &[0, 1, 2] };
    assert_eq!(stand, expected, "{name}");
    let outcome = match end {
        End::Not(outcome) => Some(outcome),
        End::Unclear | End::Doubled => Some("unclear"),
        End::Fine => None,
    };
    assert_eq!(outcomes(&world, DeliveryId(1)).await, outcome.as_slice(), "{name}");
    let row = world.delivery(1).await;
    let is_unclear = outcome == Some("unclear");
    assert_eq!(row["unclear"], is_unclear, "{name}");
    assert_eq!(row["attempts"], if outcome.is_some() { 2 } else { 1 }, "{name}");
    let possible = world.figure(&format!(r#"campanile_duplicates_possible_total{{messenger="{messenger}"}}"#)).await;
    assert_eq!(possible, f64::from(u8::from(is_unclear)), "{name}");
    for other in [2, 3] {
        assert_eq!(outcomes(&world, DeliveryId(other)).await, [] as [&str; 0], "{name}");
    }
}

#[tokio::test]
async fn of_slack() {
    for (fault, end) in of_both() {
        meets(Setup::default().only_slack(), "slack", fault, end).await;
    }
    for (code, end) in [
        ("fatal_error", End::Unclear),
        ("internal_error", End::Unclear),
        ("service_unavailable", End::Not("paced")),
        ("invalid_blocks", End::Not("content")),
        ("a_code_of_tomorrow", End::Not("content")),
        ("is_archived", End::Not("held")),
        ("token_revoked", End::Not("held")),
    ] {
        meets(Setup::default().only_slack(), "slack", Fault::error(code), end).await;
    }
    meets(Setup::default().only_slack(), "slack", Fault::Moved { to: 1 }, End::Not("held")).await;
}

#[tokio::test]
async fn of_telegram() {
    for (fault, end) in of_both() {
        meets(Setup::default().only_telegram(), "telegram", fault, end).await;
    }
    for (description, outcome) in [
        ("Bad Request: can't parse entities: Unexpected end", "content"),
        ("Bad Request: a reason of tomorrow", "content"),
        ("Bad Request: chat not found", "held"),
        ("Forbidden: bot was kicked from the supergroup chat", "held"),
        ("Unauthorized", "held"),
    ] {
        meets(Setup::default().only_telegram(), "telegram", Fault::error(description), End::Not(outcome)).await;
    }
}

#[tokio::test]
async fn what_is_refused_in_its_form_and_as_plain_text_is_a_dead_letter_and_the_next_goes_on() {
    let world = Setup::default().start().await;
    world.slack.fault(Fault::error("msg_too_long").times(2));
    world.telegram.fault(Fault::error("Bad Request: message is too long").times(2));
    world.burst(0..2).await;
    world.settled_as("delivered", 2).await;
    for (id, calls) in [(1, world.slack.arrivals()), (2, world.telegram.arrivals())] {
        let row = world.delivery(id).await;
        assert_eq!(row["state"], "dead");
        assert!(row["reason"].as_str().unwrap().contains("too"), "{row}");
        assert_eq!(outcomes(&world, DeliveryId(id)).await, ["content", "content"]);
        assert_eq!(calls.len(), 3);
        let plain = &calls[1].body;
        assert!(
            plain.get("blocks").is_none() && plain.get("entities").is_none_or(|list| list == &serde_json::json!([]))
        );
    }
}

#[tokio::test]
async fn each_lost_answer_doubles_one_message_and_no_other() {
    for setup in [Setup::default().only_slack(), Setup::default().only_telegram()] {
        let world = setup.start().await;
        world.slack.fault(Fault::LoseAnswer.times(3));
        world.telegram.fault(Fault::LoseAnswer.times(3));
        world.burst(0..5).await;
        world.until_all("delivered").await;
        let stand = [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)].concat();
        assert_eq!(numbers(&stand), [0, 0, 0, 0, 1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_channel_that_wants_nothing_twice_gets_nothing_twice() {
    let setup = Setup::default();
    let channels = setup.channels.replace('}', ", on_unclear: give_up}");
    let world = Setup { channels, ..setup }.start().await;
    world.slack.fault(Fault::LoseAnswer.once());
    world.telegram.fault(Fault::ResetAfter.once());
    world.burst(0..3).await;
    world.settled_as("delivered", 4).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 1, 2]);
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), [0, 1, 2]);
    for id in [1, 2] {
        let row = world.delivery(id).await;
        assert_eq!(row["state"], "dead");
        assert!(row["reason"].as_str().unwrap().contains("it may stand in the channel"), "{row}");
    }
}

//! Faults, record and life of a simulator, over its own port.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use super::super::telegram::{TelegramOptions, TelegramSimulator};
use super::super::wire::{ANY_PORT, Called, call, held, post};
use super::*;

async fn telegram() -> Arc<TelegramSimulator> {
    Arc::new(TelegramSimulator::start(ANY_PORT, TelegramOptions::new(held()).without_pace()).await.unwrap())
}

async fn send(simulator: &TelegramSimulator, text: &str) -> Called {
    post(simulator.addr(), "/bot1:a/sendMessage", &json!({"chat_id": 5, "text": text})).await
}

fn spawn(simulator: &Arc<TelegramSimulator>, text: &'static str) -> JoinHandle<Called> {
    let simulator = Arc::clone(simulator);
    tokio::spawn(async move { send(&simulator, text).await })
}

fn texts(simulator: &TelegramSimulator) -> Vec<String> {
    simulator.posted("5").into_iter().map(|post| post.text.clone()).collect()
}

#[tokio::test]
async fn answered_faults_say_what_they_should() {
    let html = |status| Fault::Status { status, body: "<p>no</p>".to_owned() };
    let limited = |retry_after, form| Fault::RateLimited { retry_after, form };
    let json429 = r#"{"description":"Too Many Requests: retry after 7","error_code":429,"ok":false,"parameters":{"retry_after":7}}"#;
    let kicked = "Forbidden: bot was kicked from the group chat";
    let internal = r#"{"description":"Internal Server Error","error_code":500,"ok":false}"#;
    let table: [(Fault, u16, Option<&str>, &str, bool); 12] = [
        (limited(Some(7), LimitForm::Json), 429, Some("7"), json429, false),
        (limited(None, LimitForm::Text), 429, None, "rate_limited", false),
        (limited(Some(3), LimitForm::Html), 429, Some("3"), "<html><h1>429 Too Many Requests</h1></html>", false),
        (Fault::error(kicked), 403, None, kicked, false),
        (html(502), 502, None, "<p>no</p>", false),
        (Fault::Json500, 500, None, internal, false),
        (Fault::WrongJson, 200, None, "items", false),
        (Fault::Empty, 200, None, "", false),
        (Fault::Html200, 200, None, "<html>", false),
        (Fault::OkWithoutId, 200, None, r#"{"ok":true,"result":{}}"#, true),
        (Fault::UnreadableAnswer, 200, None, "", true),
        (Fault::Moved { to: -1_001 }, 400, None, r#""migrate_to_chat_id":-1001"#, false),
    ];
    for (fault, status, retry_after, body, accepted) in table {
        let simulator = telegram().await;
        let name = fault.name();
        simulator.fault(fault.once());
        let got = send(&simulator, "x").await.unwrap();
        assert_eq!(got.status, status, "{name}");
        assert_eq!(got.headers.get("retry-after").map(|value| value.to_str().unwrap()), retry_after, "{name}");
        assert!(got.body.contains(body), "{name}: {}", got.body);
        assert_eq!(texts(&simulator).len(), usize::from(accepted), "{name}");
        let arrival = simulator.arrivals().remove(0);
        assert_eq!((arrival.accepted, arrival.fault), (accepted, Some(name)));
        assert_eq!(send(&simulator, "y").await.unwrap().word(), "ok", "{name} is over");
    }
}

#[tokio::test]
async fn an_unreadable_answer_is_cut_json() {
    let simulator = telegram().await;
    simulator.fault(Fault::UnreadableAnswer.once());
    let got = send(&simulator, "x").await.unwrap();
    assert!(!got.body.is_empty() && serde_json::from_str::<serde_json::Value>(&got.body).is_err(), "{}", got.body);
}

#[tokio::test]
async fn lost_calls_and_lost_answers_differ_only_in_the_record() {
    for (fault, accepted, reset) in
        [(Fault::LoseAnswer, true, false), (Fault::ResetAfter, true, true), (Fault::ResetBefore, false, true)]
    {
        let simulator = telegram().await;
        let name = fault.name();
        simulator.fault(fault.once());
        let error = format!("{:?}", send(&simulator, "x").await.unwrap_err());
        assert_eq!(error.contains("ConnectionReset"), reset, "{name}: {error}");
        assert_eq!(texts(&simulator).len(), usize::from(accepted), "{name}");
        let arrival = simulator.arrivals().remove(0);
        assert_eq!(arrival.accepted, accepted, "{name}");
        assert_eq!(arrival.given == Given::Nothing, !accepted, "{name}");
    }
}

#[tokio::test]
async fn hanging_calls_go_on_when_released() {
    let then = Fault::HangThen(Box::new(Fault::Slow(Duration::ZERO)));
    for (fault, before) in [(Fault::HangBefore, 0), (then, 0), (Fault::HangAfter, 1), (Fault::HangInBody, 1)] {
        let simulator = telegram().await;
        let name = fault.name();
        simulator.fault(fault.once());
        let caller = spawn(&simulator, "x");
        simulator.wait_for(|record| record.counts().calls == 1 && record.counts().posted == before).await;
        assert_eq!(send(&simulator, "y").await.unwrap().word(), "ok", "others do not hang");
        assert!(!caller.is_finished(), "{name}");
        simulator.release();
        assert_eq!(caller.await.unwrap().unwrap().word(), "ok", "{name}");
        assert_eq!(simulator.counts().posted, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sees_a_call_that_hangs_can_release_it() {
    let simulator = telegram().await;
    simulator.fault(Fault::HangBefore.always());
    for n in 1..=300 {
        let caller = spawn(&simulator, "x");
        while simulator.counts().calls < n {
            std::hint::spin_loop(); // notices at once, unlike a task that is woken
        }
        simulator.release();
        let answer = tokio::time::timeout(Duration::from_secs(20), caller).await.expect("it goes on");
        assert_eq!(answer.unwrap().unwrap().word(), "ok");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_hang() {
    for (fault, stands) in [(Fault::HangBefore, false), (Fault::HangAfter, true), (Fault::HangInBody, true)] {
        let simulator = telegram().await;
        let name = fault.name();
        simulator.fault(fault.once());
        let caller = spawn(&simulator, "x");
        simulator.wait_for_calls(1).await;
        caller.abort();
        assert!(caller.await.is_err());
        // The simulator itself and its listener hold it; every connection does too.
        while Arc::strong_count(&simulator.shared) > 2 {
            tokio::task::yield_now().await;
        }
        simulator.release();
        assert_eq!(send(&simulator, "y").await.unwrap().word(), "ok");
        let expected: &[&str] = if stands { &["x", "y"] } else { &["y"] };
        assert_eq!(texts(&simulator), expected, "{name}");
    }
}

#[tokio::test]
async fn a_slow_call_takes_its_time_by_the_clock() {
    let clock = held();
    let options = TelegramOptions::new(clock.clone()).without_pace();
    let simulator = Arc::new(TelegramSimulator::start(ANY_PORT, options).await.unwrap());
    simulator.fault(Fault::Slow(Duration::from_secs(9)).once());
    let caller = spawn(&simulator, "x");
    simulator.wait_for_calls(1).await;
    send(&simulator, "y").await.unwrap();
    assert_eq!(texts(&simulator), ["y"]);
    let passing = async {
        loop {
            clock.pass(Duration::from_secs(9));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        got = caller => assert_eq!(got.unwrap().unwrap().word(), "ok"),
        () = passing => {}
    }
    assert_eq!(texts(&simulator), ["y", "x"]);
}

#[tokio::test]
async fn down_is_refused_and_up_is_the_same_port() {
    let simulator = telegram().await;
    simulator.fault(Fault::HangBefore.once());
    let caller = spawn(&simulator, "x");
    simulator.wait_for_calls(1).await;
    simulator.go_down().await;
    assert!(caller.await.unwrap().is_err(), "cut");
    let refused = TcpStream::connect(simulator.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    simulator.come_up().await.unwrap();
    simulator.come_up().await.unwrap();
    assert_eq!(send(&simulator, "y").await.unwrap().word(), "ok");
    assert_eq!(texts(&simulator), ["y"]);
    let addr = simulator.addr();
    Arc::into_inner(simulator).unwrap().shutdown().await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn dropping_ends_it() {
    let simulator = telegram().await;
    simulator.fault(Fault::HangBefore.once());
    let addr = simulator.addr();
    let caller =
        tokio::spawn(async move { post(addr, "/bot1:a/sendMessage", &json!({"chat_id": 5, "text": "x"})).await });
    simulator.wait_for_calls(1).await;
    drop(simulator);
    assert!(caller.await.unwrap().is_err());
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_are_recorded_in_order_with_what_came_of_them() {
    let simulator = telegram().await;
    send(&simulator, "x").await.unwrap();
    send(&simulator, "").await.unwrap();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    call(simulator.addr(), "POST", "/api/bot1:a/sendmessage?chat_id=5", &form, "text=a%2Bb".into()).await.unwrap();
    let record: Vec<_> = simulator.arrivals().into_iter().map(|arrival| (arrival.seq, arrival.given.clone())).collect();
    let empty = Given::Refused("Bad Request: message text is empty".to_owned());
    assert_eq!(record, [(1, Given::Done), (2, empty), (3, Given::Done)]);
    assert_eq!(texts(&simulator), ["x", "a+b"]);
    let expected = Counts { connections: 3, calls: 3, accepted: 2, posted: 2, rate_limited: 0, refused: 1 };
    assert_eq!(simulator.counts(), expected);
    assert_eq!(simulator.arrivals()[2].method, "sendmessage");
}

#[tokio::test]
async fn lean_mode_counts_and_answers_and_keeps_nothing() {
    let options = TelegramOptions::new(held()).lean();
    let simulator = TelegramSimulator::start(ANY_PORT, options).await.unwrap();
    for id in 1..=40 {
        let got = send(&simulator, "").await.unwrap().json();
        assert_eq!((&got["result"]["message_id"], &got["result"]["chat"]["id"]), (&json!(id), &json!(5)));
    }
    assert_eq!(simulator.counts().posted, 40);
    assert!(simulator.arrivals().is_empty() && texts(&simulator).is_empty());
}

#[tokio::test]
async fn a_body_too_long_is_refused_unread() {
    let simulator = telegram().await;
    let got = send(&simulator, &"x".repeat(LONGEST_CALL)).await;
    assert!(got.map_or(true, |got| got.status == 413));
    assert!(simulator.arrivals().is_empty());
}

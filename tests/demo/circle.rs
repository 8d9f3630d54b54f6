//! The demo's circle: what a person does in the simulated Tracker, or says on a pull request, comes around to both
//! messengers. Nobody but Tracker's own triggers tells the bridge of an issue.

use serde_json::{Value, json};

use super::{Demo, Ear, NASTY};

impl Demo {
    /// Started, and everything has come that happened before the visitor.
    async fn settled() -> (Self, Ear) {
        let demo = Self::start();
        let mut ear = demo.listen().await;
        ear.until("figures", |figures| figures["slack"]["delivered"] == 4 && figures["telegram"]["delivered"] == 4)
            .await;
        (demo, ear)
    }

    async fn review(&self, key: &str, verdict: &str) -> Value {
        self.act(json!({"kind": "review", "key": key, "verdict": verdict})).await
    }
}

fn issue<'a>(board: &'a Value, key: &str) -> &'a Value {
    board["issues"].as_array().unwrap().iter().find(|issue| issue["key"] == key).unwrap_or(&Value::Null)
}

impl Ear {
    /// Waits until an issue stands so on the board.
    async fn until_status(&mut self, key: &str, status: &str) -> Value {
        let board = self.until("board", |board| issue(board, key)["status"]["key"] == status).await;
        issue(&board, key).clone()
    }
}

/// Both messengers have it, in whichever order they took it.
async fn both_tell(demo: &Demo, text: &str) {
    for chat in ["slack", "telegram"] {
        demo.listen().await.message(chat, text).await;
    }
}

#[tokio::test]
async fn an_approval_moves_the_issue_and_both_messengers_tell() {
    let (demo, mut ear) = Demo::settled().await;
    let sent = demo.review("DEMO-1", "approve").await;
    assert_eq!((&sent["status"], &sent["body"]["review"]["state"]), (&json!(202), &json!("approved")), "{sent}");
    let moved = ear.until_status("DEMO-1", "readyForTest").await;
    let newest = (&moved["newest"]["by"], &moved["newest"]["what"]);
    assert_eq!(newest, (&json!("Campanile"), &json!("Status: In progress → Ready for testing")));
    both_tell(&demo, "Ready for testing").await;
}

#[tokio::test]
async fn a_rejection_sends_the_issue_back_with_the_reviewers_words() {
    let (demo, mut ear) = Demo::settled().await;
    assert_eq!(demo.review("DEMO-2", "reject").await["status"], 202);
    ear.until_status("DEMO-2", "needsImprovement").await;
    both_tell(&demo, "Needs improvement").await;
    both_tell(&demo, "reviewer: Please add a test").await;
}

#[tokio::test]
async fn what_a_person_does_to_an_issue_comes_to_both_messengers_as_it_was_written() {
    let (demo, mut ear) = Demo::settled().await;
    let opened = demo.act(json!({"kind": "open", "summary": NASTY, "priority": "normal", "times": 1})).await;
    assert_eq!(opened["keys"], json!(["DEMO-3"]));
    demo.act(json!({"kind": "move", "key": "DEMO-3", "way": "start_progress"})).await;
    ear.until_status("DEMO-3", "inProgress").await;
    demo.act(json!({"kind": "comment", "key": "DEMO-3", "text": format!("said: {NASTY}")})).await;
    for text in [NASTY, "→ In progress", &format!("said: {NASTY}")] {
        both_tell(&demo, text).await;
    }
    let board = ear.until("board", |board| board["sent"]["status"] == 202).await;
    assert!(board["sent"]["endpoint"].as_str().unwrap().ends_with("/hooks/tracker"), "{board}");
}

#[tokio::test]
async fn what_is_to_be_done_waits_while_tracker_is_down_and_is_done_then() {
    let (demo, mut ear) = Demo::settled().await;
    demo.switch("tracker", "down").await;
    assert_eq!(demo.review("DEMO-1", "approve").await["status"], 202, "taken all the same");
    let waits = |figures: &Value| figures["tracker"]["pending"] == 1 && figures["tracker"]["reason"].is_string();
    ear.until("figures", waits).await;
    let mut anew = demo.listen().await;
    anew.until_status("DEMO-1", "inProgress").await;
    demo.switch("tracker", "none").await;
    ear.until_status("DEMO-1", "readyForTest").await;
    both_tell(&demo, "Ready for testing").await;
    ear.until("figures", |figures| figures["tracker"]["pending"] == 0 && figures["tracker"]["to_route"] == 0).await;
}

#[tokio::test]
async fn tracker_refuses_in_its_own_words() {
    let (demo, _) = Demo::settled().await;
    for (deed, why) in [
        (json!({"kind": "move", "key": "DEMO-1", "way": "reopen"}), "no transition"),
        (json!({"kind": "comment", "key": "DEMO-99", "text": "x"}), "Задача не существует"),
        (json!({"kind": "review", "key": "DEMO-99", "verdict": "approve"}), "no issue DEMO-99"),
        (json!({"kind": "open", "summary": "", "priority": "normal", "times": 1}), "summary"),
        (json!({"kind": "shout"}), "unknown variant"),
    ] {
        let answer = demo.post("/deed", deed.clone()).await;
        assert_eq!(answer.status, 422, "{deed}: {}", answer.text);
        assert!(answer.json()["error"].as_str().unwrap().contains(why), "{deed}: {}", answer.text);
    }
}

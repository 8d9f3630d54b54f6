use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::delivery::Advice;
use crate::tracker::fixture::World;
use crate::transport::fixture::{Act, answer};

#[derive(Deserialize)]
struct Case {
    case: String,
    status: u16,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    body_text: String,
}

impl Case {
    fn act(&self) -> Act {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = if self.body.is_null() { self.body_text.clone() } else { self.body.to_string() };
        answer(&format!("{} X", self.status), &headers.join("\r\n"), &body)
    }
}

fn told(error: Error) -> String {
    let error = SendError::from(error);
    match error.advice() {
        Advice::Hold { scope, reason } => format!("hold {scope:?}: {reason}"),
        Advice::Wait { at_least, scope } => format!("wait {at_least:?} {scope:?}: {error}"),
        Advice::GiveUp(reason) => format!("give up: {reason}"),
        advice => format!("{advice:?}").to_lowercase(),
    }
}

/// An answer that cannot be understood is as good as none: a GET may be repeated, for a change nobody can know.
#[tokio::test]
async fn each_answer_of_the_fixture_has_one_advice() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/fixtures/api-errors.json")).unwrap();
    let mut table = String::new();
    for case in cases {
        let world = World::new(vec![case.act(); 4]).await;
        let asked = world.runs(world.api.issue("BELL-42")).await.unwrap_err();
        let changed = world.runs(world.api.add_comment("BELL-42", "x")).await.unwrap_err();
        let (asked, changed) = (told(asked), told(changed));
        table.push_str(&format!("{}\n  {asked}\n", case.case));
        if changed != asked {
            table.push_str(&format!("  a change: {changed}\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn what_is_not_trackers_own_is_told_apart() {
    let html = "<html>nothing here</html>";
    for (status, body, get, post) in [
        ("200 OK", html, "again", "unclear"),
        ("200 OK", "", "again", "unclear"),
        ("200 OK", r#"{"status":"fine","items":[1,2]}"#, "again", "unclear"),
        ("200 OK", r#"{"key": "BELL-42", "id"#, "again", "unclear"),
        ("408 Timeout", "", "again", "unclear"),
        ("500 X", r#"{"errors":{},"errorMessages":["x"],"statusCode":500}"#, "again", "unclear"),
        ("302 Found", "", "hold Account", "hold Account"),
        ("404 Not Found", html, "hold Account", "hold Account"),
        ("404 Not Found", "", "give up", "give up"),
        ("405 X", html, "hold Account", "hold Account"),
        ("405 X", r#"{"errorMessages":["x"]}"#, "give up", "give up"),
        ("428 X", "{}", "wait None Lane", "wait None Lane"),
        ("423 X", r#"{"errors":"?","errorMessages":7}"#, "give up", "give up"),
    ] {
        let world = World::new(vec![answer(status, "", body); 4]).await;
        let asked = told(world.runs(world.api.issue("BELL-42")).await.unwrap_err());
        let changed = told(world.runs(world.api.add_comment("BELL-42", "x")).await.unwrap_err());
        assert!(asked.starts_with(get), "GET {status} {body}: {asked}");
        assert!(changed.starts_with(post), "POST {status} {body}: {changed}");
    }
}

#[tokio::test]
async fn whose_right_is_missing_is_said_by_name() {
    let myself = answer("200 OK", "", r#"{"login": "campanile-bot", "uid": 1}"#);
    let refused = answer("404 X", "", r#"{"errorMessages": ["Задача не существует."]}"#);
    let world = World::new([refused.clone(), myself, refused]).await;
    let mut said = Vec::new();
    said.push(world.api.issue("TEST-999").await.unwrap_err().to_string());
    world.api.myself().await.unwrap();
    said.push(world.api.issue("TEST-999").await.unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"), @"
    TEST-999 does not exist, or the token's owner may not see it: Задача не существует.
    TEST-999 does not exist, or campanile-bot may not see it: Задача не существует.
    ");
}

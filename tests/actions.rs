//! Actions of routes, as deliveries like any other.

use serde_json::{Value, json};

use crate::harness::{Setup, World, issue};

const TRANSITION: &str = "  - {name: ready, issue: {transition: readyForTest}}\n";

async fn start(routes: &str) -> World {
    Setup::default().with_tracker().routes(routes).start().await
}

fn status(issue: &Value) -> &str {
    issue["status"]["key"].as_str().unwrap_or_default()
}

fn receipt(delivery: &Value) -> &Value {
    &delivery["parts"][0]["receipt"]["issue"]
}

#[tokio::test]
async fn a_transition_is_chosen_by_where_it_leads() {
    let world = start(TRANSITION).await;
    world.tracker().change_status("TEST-1", "inProgress", "ivan.ivanov").unwrap();
    world.accepted(&issue("TEST-1", "updated")).await;
    world.until_issue("TEST-1", |issue| status(issue) == "readyForTest").await;
    let rows = world.until_all("delivered").await;
    assert_eq!(
        (rows.len(), &rows[0]["channel"], &rows[0]["template"]),
        (1, &json!("issue:TEST-1"), &json!("transition"))
    );
    let delivery = world.delivery(rows[0]["id"].as_i64().unwrap()).await;
    assert_eq!(receipt(&delivery)["did"], "inProgress → readyForTest");
}

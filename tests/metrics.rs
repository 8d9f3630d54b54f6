//! The page of metrics: that any scraper reads it, and that its ledgers balance.

use campanile::simulator::Fault;
use serde_json::json;

use crate::harness::{Setup, numbered};

/// The samples of an OpenMetrics page. Panics at the first line that is none, or has no family before it.
fn samples(page: &str) -> Vec<(String, f64)> {
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1, "{page}");
    let (mut family, mut families, mut samples) = (String::new(), Vec::new(), Vec::new());
    for line in page.lines().take_while(|line| *line != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let [word, name, rest] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(["HELP", "TYPE", "UNIT"].contains(&word) && !rest.is_empty(), "{line}");
            if family != name {
                assert!(!families.contains(&name.to_owned()), "{name} comes twice");
                families.push(name.to_owned());
                family = name.to_owned();
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = sample.split('{').next().unwrap();
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        assert!(["", "_total", "_sum", "_count", "_bucket"].contains(&suffix), "{line}");
        if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).expect(line);
            let pairs = labels.split("\",").all(|pair| {
                pair.split_once("=\"").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            });
            assert!(pairs, "{line}");
        }
        samples.push((sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
    }
    samples
}

#[tokio::test]
async fn the_metrics_page_is_well_formed_and_both_ledgers_balance() {
    let setup = Setup::default().routes(
        "  - {name: 'quote \" and \\ and {brace}', when: 'issue.key == body.nothing', channels: [ops-slack], continue: true}\n  - channels: [ops-slack, ops-telegram]\n",
    );
    let world = setup.start().await;
    let fresh = samples(&world.metrics().await);
    assert!(fresh.iter().any(|(name, value)| name == "campanile_received" && *value == 0.0));
    world.telegram.fault(Fault::error("Bad Request: message is too long").always());
    world.accepted(&numbered(0)).await;
    world.accepted(&numbered(1)).await;
    assert_eq!(world.trigger(&numbered(1)).await.status, 200);
    assert_eq!(world.trigger(&json!({"no": "key"})).await.status, 400);
    world.until_deliveries(|rows| rows.len() == 4 && rows.iter().all(|row| row["state"] != "pending")).await;
    world.slack.go_down().await;
    world.accepted(&numbered(2)).await;

    let answer = world.http.get(&world.admin_url("/metrics")).send().await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let page = answer.text;
    let samples = samples(&page);
    let one =
        |wanted: &str| samples.iter().find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("{wanted}: {page}")).1;
    for (sum, parts, expected) in [
        ("campanile_received", "campanile_ledger_received{", 5.0),
        ("campanile_planned", "campanile_ledger_planned{", 6.0),
    ] {
        assert_eq!(one(sum), expected, "{page}");
        let parts: f64 = samples.iter().filter(|(name, _)| name.starts_with(parts)).map(|(_, value)| value).sum();
        assert_eq!(parts, expected, "{page}");
    }
    for (name, expected) in [
        (r#"campanile_ledger_received{part="routed"}"#, 3.0),
        (r#"campanile_ledger_received{part="duplicate"}"#, 1.0),
        (r#"campanile_ledger_received{part="unreadable"}"#, 1.0),
        (r#"campanile_ledger_planned{part="delivered"}"#, 2.0),
        (r#"campanile_pending{channel="ops-slack"}"#, 1.0),
        (r#"campanile_attempts_total{messenger="slack",outcome="delivered"}"#, 2.0),
        (r#"campanile_delivery_duration_seconds_count{messenger="slack"}"#, 2.0),
        (r#"campanile_calls_total{source="tracker",answer="202"}"#, 3.0),
    ] {
        assert_eq!(one(name), expected, "{name}\n{page}");
    }
    assert!(one("campanile_commit_duration_seconds_count") > 0.0);
    world.slack.come_up().await.unwrap();
}

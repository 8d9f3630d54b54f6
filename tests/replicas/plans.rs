//! What is pending is found by the index, whatever the statistics say: they are as old as the last `analyze`.

use std::time::Duration;

use campanile::outbox::Outbox;
use serde_json::Value;

use super::{LANES, Replica};
use crate::harness::postgres::{Database, connect};
use crate::harness::server::Server;

const HEADS: usize = 16;
const EXPLAINED: [&str; 6] = [
    "autovacuum=off",
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_analyze=on",
    "auto_explain.log_timing=off",
    "auto_explain.log_format=json",
];

/// Fifty thousand deliveries over all channels, in this state (0 pending, 1 delivered).
fn deliveries(state: u8) -> String {
    format!(
        "insert into deliveries (event, channel, state, threaded, planned_at, give_up_at, settled_at, route, template, parts)
         select (select max(id) from events), c.id, {state}, false, 0, {}, 0, 'all', 'issue', '[]'
         from generate_series(1, {}) as n, channels c order by n",
        i64::MAX,
        50_000 / LANES
    )
}

/// The plans of the statements that contain this, as the server has run them.
fn plans(server: &Server, of: &str) -> Vec<Value> {
    let log = server.log();
    let plans = log.split("plan:\n").skip(1).map(|rest| {
        let json: Vec<&str> = rest.lines().take_while(|line| line.starts_with('\t')).collect();
        serde_json::from_str::<Value>(&json.join("\n")).unwrap()
    });
    plans.filter(|plan| plan["Query Text"].as_str().unwrap().contains(of)).map(|plan| plan["Plan"].clone()).collect()
}

/// All nodes that read deliveries.
fn reads(node: &Value) -> Vec<&Value> {
    let within = node["Plans"].as_array().into_iter().flatten().flat_map(reads);
    within.chain([node].into_iter().filter(|node| node["Relation Name"] == "deliveries")).collect()
}

fn rows(read: &Value) -> f64 {
    let number = |name: &str| read[name].as_f64().unwrap_or_default();
    (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck"))
        * number("Actual Loops")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_busy_lanes_are_found_by_the_index_whatever_the_statistics_say() {
    let (nothing_known, history, backlog) =
        (String::new(), deliveries(1) + "; analyze", deliveries(0) + "; analyze; update deliveries set state = 1");
    for before in [nothing_known, history, backlog] {
        let server = Server::start(&[&["fsync=off"], &EXPLAINED[..]].concat());
        let database = Database::on(&server.url()).await;
        let replica = Replica::start(&database, Duration::ZERO).await;
        replica.accept(1, 0..0).await; // their event
        let db = connect(&database.url).await;
        db.batch_execute(&before).await.unwrap();
        db.batch_execute(&deliveries(0)).await.unwrap();
        replica.clock.pass(super::STEP);
        let turns = replica.claimed(LANES).await;
        for turn in &turns {
            assert_eq!(replica.outbox.heads(turn, HEADS).await.unwrap().len(), HEADS);
        }
        // A look for what is pending in each channel, and one at the first in each that was asked for.
        for (of, most) in [("select l.id, v.lease from", 1), ("with recursive line", HEADS)] {
            let plans = plans(&server, of);
            assert!(!plans.is_empty(), "{of}");
            for plan in plans {
                let reads = reads(&plan);
                let all = reads.iter().map(|read| rows(read)).sum::<f64>();
                let by_index = reads.iter().all(|read| read["Index Name"] == "pending");
                assert!(by_index && all <= (most * LANES) as f64, "{all} rows of {of}, after {before:?}: {plan:#}");
            }
        }
    }
}

//! Callers that behave as a proxy before the replicas would: each call is sent to another of them until it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ground::Ground;
use super::harness::{Client, HOOK_SECRET, numbered};
use super::lanes;

const CALLERS: usize = 24;
/// A caller that waited so long tries another replica.
const PATIENCE: Duration = Duration::from_secs(3);
const AGAIN_MS: std::ops::Range<u64> = 50..500;

/// A trigger that was taken.
pub struct Taken {
    pub n: usize,
    /// When it was sent first.
    pub began: Timestamp,
    pub answered: Timestamp,
    pub tries: u32,
    pub event: i64,
}

/// Fires triggers until it is enough, and returns when the last is taken.
pub async fn call(
    ground: Arc<Ground>,
    per_second: f64,
    mut random: fastrand::Rng,
    enough: CancellationToken,
) -> Vec<Taken> {
    let next = Arc::new(AtomicUsize::new(0));
    let every = Duration::from_secs_f64(CALLERS as f64 / per_second);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (ground, next, mut random, enough) = (ground.clone(), next.clone(), random.fork(), enough.clone());
        callers.spawn(async move {
            let client = Client::kept_alive();
            let mut taken = Vec::new();
            while !enough.is_cancelled() {
                let next_at = tokio::time::Instant::now() + every.mul_f64(0.5 + random.f64());
                let n = next.fetch_add(1, Ordering::Relaxed);
                taken.push(until_taken(&ground, &client, n, &mut random).await);
                tokio::time::sleep_until(next_at).await;
            }
            taken
        });
    }
    let mut all: Vec<Taken> = callers.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|taken| taken.n);
    all
}

async fn until_taken(ground: &Ground, client: &Client, n: usize, random: &mut fastrand::Rng) -> Taken {
    let (began, mut body, mut source) = (ground.clock.now(), numbered(n), "tracker");
    if let Some(issue) = lanes::issue(n) {
        (body["key"], source) = (issue.into(), lanes::ACTS);
    }
    let body = body.to_string();
    let mut tries = 0;
    loop {
        tries += 1;
        let url =
            ground.hooks[random.usize(..ground.hooks.len())].replace("/hooks/tracker", &format!("/hooks/{source}"));
        let request = client.post(&url).header("authorization", HOOK_SECRET).header("content-type", "application/json");
        let answer = tokio::time::timeout(PATIENCE, request.try_body(body.clone())).await;
        if let Ok(Ok(answer)) = answer
            && matches!(answer.status, 200 | 202)
        {
            let event = answer.json()["event"].as_i64().expect("what is taken has an event");
            return Taken { n, began, answered: ground.clock.now(), tries, event };
        }
        tokio::time::sleep(Duration::from_millis(random.u64(AGAIN_MS))).await;
    }
}

//! The campaign: replicas as real processes share one PostgreSQL, callers fire triggers at any of them, and everything
//! fails that can: processes are killed and paused, the database restarts, crashes, stands still and cuts connections,
//! messengers and Tracker lose answers, reset, refuse and go away, clocks are wrong. Then the faults end, everything drains, and the
//! messengers' own record must show what design.md promises in section 5.
//!
//! `cargo test --release --test campaign`, with in the environment
//! `CAMPANILE_CAMPAIGN_SECONDS` (60), `CAMPANILE_CAMPAIGN_REPLICAS` (3), `CAMPANILE_CAMPAIGN_RATE` (100 calls a second),
//! `CAMPANILE_CAMPAIGN_SEED` (1; 0 is another each time; it repeats the schedule, not how threads run).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests are the outside that the bans name")]

mod callers;
mod ground;
#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../harness/mod.rs"]
mod harness;
mod incidents;
mod lanes;
mod store;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use ground::Ground;

pub struct Asked {
    pub time: Duration,
    pub replicas: usize,
    pub per_second: f64,
    pub seed: u64,
}

fn asked() -> Asked {
    let number = |name: &str, otherwise: u64| match std::env::var(format!("CAMPANILE_CAMPAIGN_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("CAMPANILE_CAMPAIGN_{name} is no number: {text}")),
        Err(_) => otherwise,
    };
    Asked {
        time: Duration::from_secs(number("SECONDS", 60)),
        replicas: number("REPLICAS", 3) as usize,
        per_second: number("RATE", 100) as f64,
        seed: match number("SEED", 1) {
            0 => fastrand::u64(1..1_000_000),
            seed => seed,
        },
    }
}

fn main() -> ExitCode {
    let asked = asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(play(asked))
}

async fn play(asked: Asked) -> ExitCode {
    println!("campaign: seed {}, {} s, {} replicas", asked.seed, asked.time.as_secs(), asked.replicas);
    harness::open_files();
    let mut random = fastrand::Rng::with_seed(asked.seed);
    let ground = Arc::new(Ground::prepare(&asked, &mut random).await);
    let (enough, quiet) = (CancellationToken::new(), CancellationToken::new());
    let supervisor = tokio::spawn(ground.clone().supervise(quiet.clone()));
    ground.until_ready().await;

    let calls = tokio::spawn(callers::call(ground.clone(), asked.per_second, random.fork(), enough.clone()));
    let incidents = incidents::play(&ground, asked.time, random.fork()).await;
    enough.cancel();
    let calls = calls.await.unwrap();
    let drained = ground.drain().await;
    let stored = store::read(&ground.url).await;
    quiet.cancel();
    supervisor.await.unwrap();
    let left = ground.stop_all().await;

    let mut verdict = verdict::Verdict::default();
    drained.into_iter().chain(left).for_each(|why| verdict.broken(why));
    verdict.judge(&ground, &calls, &incidents, &stored);
    verdict.print(&asked, &ground, &calls, &incidents);
    match verdict.holds() {
        true => ExitCode::SUCCESS,
        false => {
            println!("seed {}; the logs are kept in {}", asked.seed, ground.keep().display());
            ExitCode::FAILURE
        }
    }
}

//! What happens to the replicas, the database and the messengers, by a schedule that the seed gives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::ground::Ground;
use super::harness::server::Stop;
use super::store;

/// From one incident to the next; they overlap.
const APART_MS: std::ops::Range<u64> = 1_000..4_500;
const LASTS_MS: std::ops::Range<u64> = 500..4_000;
/// Longer than a lease lives.
const PAUSED_MS: std::ops::Range<u64> = 12_000..25_000;
const FROZEN_MS: std::ops::Range<u64> = 1_000..14_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Kind {
    /// SIGKILL; started again after a while.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// SIGTERM; started again. `Overrun`: it did not end in time or not well.
    CleanStop,
    Overrun,
    PostgresRestart,
    PostgresCrash,
    /// Every process of it stands still.
    PostgresFreeze,
    /// Some or all of its connections are ended.
    Cut,
    SlackAway,
    TelegramAway,
}

impl Kind {
    pub fn is_of_postgres(self) -> bool {
        matches!(self, Self::PostgresRestart | Self::PostgresCrash | Self::PostgresFreeze | Self::Cut)
    }
}

const DECK: [Kind; 12] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Pause,
    Kind::Pause,
    Kind::CleanStop,
    Kind::PostgresRestart,
    Kind::PostgresCrash,
    Kind::PostgresFreeze,
    Kind::Cut,
    Kind::SlackAway,
    Kind::TelegramAway,
];

#[derive(Clone, Debug)]
pub struct Incident {
    pub kind: Kind,
    pub replica: Option<usize>,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Incident {
    /// From when on the others can go on without it.
    pub fn over(&self) -> Timestamp {
        if self.replica.is_some() { self.from } else { self.to }
    }
}

/// Deals the deck again and again until the time is over; returns when the last has ended.
pub async fn play(ground: &Arc<Ground>, time: Duration, mut random: fastrand::Rng) -> Vec<Incident> {
    let until = tokio::time::Instant::now() + time;
    let happened: Arc<Mutex<Vec<Incident>>> = Arc::default();
    let mut running = JoinSet::new();
    let mut deck = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(APART_MS))).await;
        if tokio::time::Instant::now() >= until {
            break;
        }
        if deck.is_empty() {
            deck = DECK.to_vec();
            random.shuffle(&mut deck);
        }
        let kind = deck.pop().unwrap();
        let replica = random.usize(..ground.replicas.len());
        let (ground, happened, random) = (ground.clone(), happened.clone(), random.fork());
        running.spawn(async move {
            let from = ground.clock.now();
            let incident = happen(&ground, kind, replica, random, from).await;
            println!("  {} {:?} {}", incident.from.strftime("%T%.3f"), incident.kind, told(&incident));
            happened.lock().unwrap().push(incident);
        });
    }
    while let Some(end) = running.join_next().await {
        end.unwrap();
    }
    let mut happened = std::mem::take(&mut *happened.lock().unwrap());
    happened.sort_by_key(|incident| incident.from);
    happened
}

fn told(incident: &Incident) -> String {
    let whom = incident.replica.map_or(String::new(), |replica| format!("replica {replica}, "));
    format!("{whom}{} ms", incident.to.duration_since(incident.from).as_millis())
}

async fn happen(
    ground: &Ground,
    mut kind: Kind,
    replica: usize,
    mut random: fastrand::Rng,
    began: Timestamp,
) -> Incident {
    let mut lasts = |range| Duration::from_millis(random.u64(range));
    let mut from = began;
    match kind {
        Kind::Kill => {
            let mut replica = ground.replicas[replica].lock().await;
            from = ground.clock.now();
            replica.kill();
            tokio::time::sleep(lasts(LASTS_MS)).await;
            replica.launch();
        }
        Kind::Pause => {
            let time = lasts(PAUSED_MS);
            let mut replica = ground.replicas[replica].lock().await;
            from = ground.clock.now();
            if replica.runs() {
                replica.suspend();
                tokio::time::sleep(time).await;
                replica.resume();
            }
        }
        Kind::CleanStop | Kind::Overrun => {
            let mut replica = ground.replicas[replica].lock().await;
            from = ground.clock.now();
            if replica.runs() && !replica.terminate().await.success() {
                kind = Kind::Overrun;
            }
            tokio::time::sleep(lasts(LASTS_MS)).await;
            replica.launch();
        }
        Kind::PostgresRestart | Kind::PostgresCrash => {
            let how = if kind == Kind::PostgresCrash { Stop::Immediate } else { Stop::Fast };
            let mut postgres = ground.postgres.lock().await;
            from = ground.clock.now();
            postgres.stop(how);
            tokio::time::sleep(lasts(LASTS_MS)).await;
            postgres.launch();
            postgres.until_ready();
        }
        Kind::PostgresFreeze => {
            let postgres = ground.postgres.lock().await;
            from = ground.clock.now();
            postgres.suspend();
            tokio::time::sleep(lasts(FROZEN_MS)).await;
            postgres.resume();
        }
        Kind::Cut => {
            let _postgres = ground.postgres.lock().await;
            from = ground.clock.now();
            store::cut(&ground.url, random.bool()).await;
        }
        Kind::SlackAway => {
            ground.slack.go_down().await;
            tokio::time::sleep(lasts(LASTS_MS)).await;
            ground.slack.come_up().await.unwrap();
        }
        Kind::TelegramAway => {
            ground.telegram.go_down().await;
            tokio::time::sleep(lasts(LASTS_MS)).await;
            ground.telegram.come_up().await.unwrap();
        }
    }
    let of_a_replica = matches!(kind, Kind::Kill | Kind::Pause | Kind::CleanStop | Kind::Overrun);
    Incident { kind, replica: of_a_replica.then_some(replica), from, to: ground.clock.now() }
}

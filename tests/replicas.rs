//! Replicas that share one outbox on PostgreSQL: who sends from which lane, and what becomes of the lanes of one that is gone.

mod configurations;
mod issues;
mod mishaps;
mod plans;
mod time;
mod upgrade;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::delivery::{Duty, Messenger, Planned, Style};
use campanile::outbox::{
    Arrival, Course, Due, Fingerprint, LaneId, Lease, Next, Outbox, OutboxError, Part, Place, Postgres,
    PostgresOptions, Settlement, Until,
};
use serde_json::value::RawValue;

use crate::harness::postgres::Database;

const START: i64 = 1_778_577_302_000;
const LANES: usize = 24;
/// Lanes of each conversation.
const TOPICS: usize = 2;
/// Real time for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// As the keeper looks around.
const STEP: Duration = Duration::from_millis(2_500);

/// One of several on the same database, each with a clock of its own.
struct Replica {
    outbox: Arc<Postgres>,
    clock: Clock,
}

impl Replica {
    async fn start(database: &Database, ahead: Duration) -> Self {
        Self::start_with(database, ahead, (0..LANES).map(place).collect()).await
    }

    async fn start_with(database: &Database, ahead: Duration, places: Vec<Place>) -> Self {
        let clock = Clock::held(jiff::Timestamp::from_millisecond(START).unwrap() + ahead);
        Self::start_by(clock, database, ahead.as_secs(), places).await
    }

    async fn start_by(clock: Clock, database: &Database, seed: u64, places: Vec<Place>) -> Self {
        let options = PostgresOptions { url: database.url(), max_pending: i64::MAX };
        let mut random = fastrand::Rng::with_seed(seed);
        let outbox = Arc::new(Postgres::open(options, clock.clone(), &mut random).await.unwrap());
        outbox.place(places).await.unwrap();
        Self { outbox, clock }
    }

    async fn accept(&self, n: u8, lanes: std::ops::Range<usize>) {
        self.outbox.accept(arrival(n, self.clock.now_ms(), lanes)).await.unwrap();
    }

    /// Claims until so many turns are held.
    async fn claimed(&self, at_least: usize) -> Vec<Lease> {
        let mut turns = Vec::new();
        let all = async {
            while turns.len() < at_least {
                turns.extend(self.outbox.claim("slack", LANES).await.unwrap());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, all).await;
        assert!(came.is_ok(), "{} of {at_least} lanes", turns.len());
        turns
    }

    /// Sends nothing, but settles the head of the lane.
    async fn settle(&self, turn: &Lease) -> Result<(), OutboxError> {
        let head = self.outbox.heads(turn, 1).await.unwrap().remove(0);
        self.delivered(turn, &head).await
    }

    async fn delivered(&self, turn: &Lease, head: &Due) -> Result<(), OutboxError> {
        let content = RawValue::from_string("{}".into()).unwrap();
        let settlement = Settlement {
            delivery: head.id,
            at: self.clock.now_ms(),
            to: Next::Delivered,
            parts: Some(vec![Part { content, receipt: None }]),
            attempt: None,
            thread: None,
            hold: None,
            marks: Vec::new(),
        };
        self.outbox.settle(turn, settlement).await
    }
}

fn place(n: usize) -> Place {
    Place {
        channel: format!("c{n}").try_into().unwrap(),
        messenger: Messenger::Slack,
        account: "slack".into(),
        // As the topics of a chat.
        conversation: format!("slack:C{}", n / TOPICS),
        lane: format!("slack:C{}:{n}", n / TOPICS),
    }
}

fn arrival(n: u8, now: i64, lanes: std::ops::Range<usize>) -> Arrival {
    let planned = lanes.map(|lane| Planned {
        duty: Duty::Message {
            channel: format!("c{lane}").try_into().unwrap(),
            template: "issue".into(),
            style: Style::Post,
        },
        route: "all".into(),
        give_up_at: now + 3_600_000,
        filtered: None,
    });
    Arrival {
        received_at: now,
        fingerprint: Fingerprint([n; 16]),
        remember_until: now + 3_600_000,
        source: "tracker".to_owned().try_into().unwrap(),
        kind: "issue.created".into(),
        issue: Some(format!("TEST-{n}")),
        document: format!(r#"{{"issue":{{"key":"TEST-{n}"}}}}"#),
        course: Course::Routed(planned.collect()),
        guard: None,
        object: None,
        called: None,
        room: None,
    }
}

fn lanes(turns: &[Lease]) -> BTreeSet<LaneId> {
    turns.iter().map(|turn| turn.lane).collect()
}

/// Both have seen each other, and hear each other.
async fn two(database: &Database) -> (Replica, Replica) {
    let (one, other) =
        tokio::join!(Replica::start(database, Duration::ZERO), Replica::start(database, Duration::from_secs(180)));
    see_each_other(&one, &other).await;
    (one, other)
}

async fn see_each_other(one: &Replica, other: &Replica) {
    for replica in [one, other] {
        let seen = async {
            while replica.outbox.fleet().is_none_or(|fleet| fleet.replicas < 2) {
                replica.clock.pass(Duration::from_millis(250));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("they see each other");
        let hears = async {
            while !replica.outbox.fleet().unwrap().wakes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, hears).await.expect("they hear each other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_are_taken_along_with_the_one_whose_turn_it_is() {
    let database = Database::new().await;
    let one = Replica::start(&database, Duration::ZERO).await;
    one.accept(1, 0..LANES).await;
    let before = one.outbox.gauges().await.unwrap().commits;
    for _ in 0..LANES {
        assert_eq!(one.outbox.claim("slack", 1).await.unwrap().len(), 1);
    }
    assert_eq!(one.outbox.gauges().await.unwrap().commits, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lane_is_one_replicas_wherever_the_calls_come_in() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    one.accept(1, 0..LANES).await;
    let mut turns = [Vec::new(), Vec::new()];
    let all = async {
        while turns.iter().map(Vec::len).sum::<usize>() < LANES {
            for (replica, turns) in [&one, &other].into_iter().zip(&mut turns) {
                turns.extend(replica.outbox.claim("slack", LANES).await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all lanes are claimed, and nobody's clock moved");
    let [ones, others] = turns;
    assert!(!ones.is_empty() && !others.is_empty(), "{} and {}", ones.len(), others.len());
    assert!(lanes(&ones).is_disjoint(&lanes(&others)));
    let mut conversations = [BTreeSet::new(), BTreeSet::new()];
    for ((replica, turns), conversations) in [(&one, &ones), (&other, &others)].into_iter().zip(&mut conversations) {
        for turn in turns {
            assert!(replica.outbox.holds(turn));
            let channel = replica.outbox.heads(turn, 1).await.unwrap().remove(0).place();
            conversations.insert(channel.as_str()[1..].parse::<usize>().unwrap() / TOPICS);
            replica.settle(turn).await.unwrap();
        }
    }
    let [ones, others] = conversations;
    assert!(ones.is_disjoint(&others), "lanes with one pace are one replica's");
    let ledger = one.outbox.gauges().await.unwrap().ledger;
    assert_eq!((ledger.delivered, ledger.pending, ledger.balances()), (LANES as i64, 0, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_its_lanes_to_the_others_at_once() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    one.accept(1, 0..LANES).await;
    for turn in other.claimed(1).await {
        other.outbox.release(turn, Until::Now);
    }
    other.outbox.close().await;
    let turns = one.claimed(LANES).await;
    for turn in &turns {
        assert!(!one.outbox.heads(turn, 1).await.unwrap()[0].unclear, "nothing was on its way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stands_still_loses_its_lanes_and_writes_nothing_more() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    other.accept(1, 0..LANES).await;
    let held = other.claimed(1).await;
    let lost = held[0].clone();
    // The other's clock stands: it neither renews its lease nor knows that time has passed.
    let taken = async {
        let mut turns = Vec::new();
        while !lanes(&turns).contains(&lost.lane) {
            one.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
            turns.extend(one.outbox.claim("slack", LANES).await.unwrap());
        }
        turns
    };
    let turns = tokio::time::timeout(PATIENCE, taken).await.expect("its lanes are taken over");
    let taken = turns.iter().find(|turn| turn.lane == lost.lane).unwrap();
    assert!(one.outbox.heads(taken, 1).await.unwrap()[0].unclear, "it may stand in its channel");
    let refused = other.settle_as(&lost, &one, taken).await;
    assert!(matches!(refused, Err(OutboxError::LeaseLost(_))), "{refused:?}");
    assert!(other.outbox.holds(&lost), "it cannot know yet");
    other.clock.pass(Duration::from_secs(9));
    assert!(!other.outbox.holds(&lost), "time alone is enough to send nothing more");
    one.settle(taken).await.unwrap();
    let ledger = one.outbox.gauges().await.unwrap().ledger;
    assert_eq!((ledger.delivered, ledger.balances()), (1, true));
}

impl Replica {
    /// Settles what another replica sees at the head of the lane.
    async fn settle_as(&self, turn: &Lease, eyes: &Replica, theirs: &Lease) -> Result<(), OutboxError> {
        let head = eyes.outbox.heads(theirs, 1).await.unwrap().remove(0);
        let to = Next::Dead { reason: "late".into() };
        let settlement = Settlement {
            delivery: head.id,
            at: 0,
            to,
            parts: None,
            attempt: None,
            thread: None,
            hold: None,
            marks: Vec::new(),
        };
        self.outbox.settle(turn, settlement).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_at_two_replicas_is_one_event() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    for n in 0..40 {
        let call = || arrival(n, START, 0..2);
        let (one, other) = tokio::join!(one.outbox.accept(call()), other.outbox.accept(call()));
        let known = [one.unwrap(), other.unwrap()];
        let new = known.iter().filter(|end| matches!(end, campanile::outbox::Accepted::New { .. })).count();
        assert_eq!(new, 1, "{known:?}");
    }
    let ledger = other.outbox.gauges().await.unwrap().ledger;
    assert_eq!((ledger.received, ledger.routed, ledger.duplicate, ledger.pending), (80, 40, 40, 80));
}

/// Each word to the others is a commit, and wakes them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_up_within_five_milliseconds_is_one_word_to_the_others() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    let (client, mut connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let hears = async move {
        while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let Ok(tokio_postgres::AsyncMessage::Notification(said)) = message {
                tell.send(said.payload().to_owned()).unwrap();
            }
        }
    };
    tokio::spawn(hears);
    client.batch_execute("listen campanile").await.unwrap();
    let began = std::time::Instant::now();
    for n in 0..200 {
        one.accept(n, 0..LANES).await;
    }
    let turns = other.claimed(1).await; // it was told
    let most = began.elapsed().as_millis() / 5 + 2;
    client.batch_execute("select pg_notify('campanile', 'over')").await.unwrap();
    let mut words = 0;
    while told.recv().await.is_some_and(|said| said != "over") {
        words += 1;
    }
    assert!(words > 0 && !turns.is_empty());
    assert!(words <= most, "{words} words in the time of {most}");
}

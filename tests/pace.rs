//! The messengers' real limits on both sides: no call meets a 429, and a burst takes hardly longer than it must.
//! Times are the simulators', on the held clock.

use std::time::Duration;

use campanile::outbox::{Outbox, Postgres, PostgresOptions};
use campanile::simulator::{Arrival, Fault};

use crate::harness::postgres::{Database, connect};
use crate::harness::{SLACK, Setup, TELEGRAM, World, numbered_to, numbers};

/// How much longer than the limits allow a burst may take.
const MOST: f64 = 1.05;
const FINE: Duration = Duration::from_millis(20);
const COARSE: Duration = Duration::from_millis(100);
/// Real time for a message that is due now. Its pace does not depend on it: only a machine that stands still for so
/// long would see the message late.
const PATIENCE: Duration = Duration::from_millis(60);
/// Real time for what would never come; an hour of the world's time takes much longer.
const AT_LAST: Duration = Duration::from_secs(30);

fn ms(arrivals: &[Arrival]) -> Vec<i64> {
    arrivals.iter().map(|arrival| arrival.at.as_millisecond()).collect()
}

impl World {
    fn arrived(&self) -> Vec<i64> {
        [ms(&self.slack.arrivals()), ms(&self.telegram.arrivals())].concat()
    }

    /// What has come, once all of it is settled: if time went on before, an answer would seem late.
    async fn all_settled(&self) -> Vec<i64> {
        for _ in 0..50_000 {
            let delivered = self.figure(r#"campanile_ledger_planned{part="delivered"}"#).await;
            let arrived = self.arrived();
            if delivered == arrived.len() as f64 {
                return arrived;
            }
        }
        panic!("{:?} are not settled", self.arrived());
    }

    async fn another(&self, calls: usize) -> bool {
        let more = async {
            tokio::select! {
                () = self.slack.wait_for(|record| record.arrivals().len() > calls) => {}
                () = self.telegram.wait_for(|record| record.arrivals().len() > calls) => {}
            }
        };
        tokio::time::timeout(PATIENCE, more).await.is_ok()
    }

    /// Moves the clock until so many calls to one messenger have come, in fine steps where the limits would allow the
    /// next: `per_minute` in a minute and one in a second. Gives their times in seconds from the first one on.
    async fn drained(&self, messages: usize, per_minute: usize, before: usize) -> Vec<f64> {
        let from = before;
        loop {
            let arrived = self.all_settled().await;
            if arrived.len() >= from + messages {
                let first = arrived[from];
                return arrived[from..].iter().map(|at| (at - first) as f64 / 1_000.0).collect();
            }
            let last = arrived.last().copied().unwrap_or_default();
            let a_minute_ago = arrived.len().checked_sub(per_minute).map_or(0, |n| arrived[n] + 60_000);
            let allowed = a_minute_ago.max(last + 1_000);
            while !self.another(arrived.len()).await {
                let mut left = Duration::from_millis((allowed - self.clock.now_ms()).max(0) as u64);
                while left > FINE {
                    self.clock.pass(left.min(COARSE));
                    left = left.saturating_sub(COARSE);
                    tokio::time::sleep(Duration::from_millis(1)).await; // what would go too early goes, and meets a 429
                }
                self.clock.pass(FINE);
            }
        }
    }

    /// Moves the clock in fine steps until so many calls have come to Telegram; their times from the first one on.
    async fn until_calls(&self, calls: usize) -> Vec<f64> {
        while self.telegram.arrivals().len() < calls {
            if !self.another(self.telegram.arrivals().len()).await {
                self.clock.pass(FINE);
            }
        }
        let arrived = self.arrived();
        arrived.iter().map(|at| (at - arrived[0]) as f64 / 1_000.0).collect()
    }

    fn met_no_429(&self) {
        assert_eq!(self.slack.counts().rate_limited + self.telegram.counts().rate_limited, 0);
    }
}

#[tokio::test]
async fn a_burst_to_one_slack_channel_goes_at_one_a_second() {
    let world = Setup::paced().only_slack().start().await;
    world.burst(0..50).await;
    let times = world.drained(50, usize::MAX, 0).await;
    world.met_no_429();
    assert!(times[49] <= 49.0 * MOST, "{times:?}");
    assert_eq!(numbers(&world.slack.posted(SLACK)), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_a_rest_the_first_three_go_at_once() {
    let world = Setup::paced().only_slack().start().await;
    world.burst(0..1).await;
    world.drained(1, usize::MAX, 0).await;
    world.clock.pass(Duration::from_secs(3_600));
    world.burst(1..51).await;
    let times = world.drained(50, usize::MAX, 1).await;
    world.met_no_429();
    assert!(times[2] == 0.0 && times[49] <= 47.0 * MOST, "{times:?}");
}

/// Twenty a minute: of 45 the last five come in the third minute, which allows 122 s.
#[tokio::test]
async fn a_burst_to_one_telegram_group_goes_at_twenty_a_minute() {
    let world = Setup::paced().only_telegram().start().await;
    world.burst(0..45).await;
    let times = world.drained(45, 20, 0).await;
    world.met_no_429();
    assert!(times[44] <= 122.0 * MOST, "{times:?}");
    assert_eq!(numbers(&world.telegram.posted(TELEGRAM)), (0..45).collect::<Vec<_>>());
}

fn private_chats(chats: usize) -> Setup {
    Setup::paced().channels(chats, |n| format!("telegram: {}", 1_000 + n))
}

#[tokio::test]
async fn thirty_five_chats_at_once_get_thirty_messages_a_second() {
    let world = private_chats(35).start().await;
    for n in 0..35 {
        world.accepted(&numbered_to(n, n)).await;
    }
    let seconds = world.until_calls(35).await;
    world.met_no_429();
    assert_eq!(seconds.iter().filter(|at| **at < 1.0).count(), 30, "{seconds:?}");
    assert!(seconds[34] <= MOST, "{seconds:?}");
}

/// Which chats are whose comes by chance, so the replicas' shares of the burst differ; the bot's rate is used up all the
/// same, and kept.
async fn together(replicas: usize) {
    const CHATS: usize = 48;
    const MESSAGES: usize = 4 * CHATS;
    let database = Database::new().await;
    let world = Setup { store: database.url.clone(), ..private_chats(CHATS) }.start().await;
    let mut others = Vec::new();
    for _ in 1..replicas {
        others.push(world.another_app().await);
    }
    world.until_figure("campanile_replicas", replicas as f64, FINE).await;
    for n in 0..MESSAGES {
        world.accepted(&numbered_to(n % CHATS, n)).await;
    }
    let seconds = world.until_calls(MESSAGES).await;
    world.met_no_429();
    let least = ((MESSAGES - 1) / 30) as f64;
    assert!(seconds[MESSAGES - 1] <= least * MOST, "{seconds:?}");
    for chat in 0..CHATS {
        let order = numbers(&world.telegram.posted(&(1_000 + chat).to_string()));
        assert_eq!(order, (0..4).map(|n| n * CHATS + chat).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_keeps_the_bots_pace() {
    together(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_keep_the_bots_pace_together() {
    together(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_replicas_keep_the_bots_pace_together() {
    together(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pace_that_was_switched_off_for_a_while_is_there_again() {
    const CHATS: usize = 31;
    let database = Database::new().await;
    let world = Setup { store: database.url.clone(), ..private_chats(CHATS) }.start().await;
    for round in 0..2 {
        for chat in 0..CHATS {
            world.accepted(&numbered_to(chat, round * CHATS + chat)).await;
        }
        let all = tokio::time::timeout(AT_LAST, world.until_all("delivered")).await;
        assert!(all.is_ok(), "round {round}: the rest waits for slots that are nowhere");
        for (from, to) in [("pace: default", "pace: none"), ("pace: none", "pace: default")] {
            world.reload_with(|text| text.replace(from, to)).await.unwrap();
        }
        world.clock.pass(Duration::from_secs(60));
    }
    world.met_no_429();
}

/// What one replica was giving back when the database refused is not lost between the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_whose_giving_back_failed_are_given_back_again() {
    const SLOTS: usize = 30;
    let database = Database::new().await;
    let world = Setup { store: database.url.clone(), ..private_chats(SLOTS) }.start().await;
    for chat in 0..SLOTS {
        world.accepted(&numbered_to(chat, chat)).await;
    }
    world.until_all("delivered").await;
    let db = connect(&database.url).await;
    let refuse = "create sequence refused;
         create function refuse() returns trigger language plpgsql as
             'begin perform nextval(''refused''); raise exception ''refused''; end';
         create trigger refuse before update on slots for each row when (new.lease is null) execute function refuse()";
    db.batch_execute(refuse).await.unwrap();
    let options = PostgresOptions { url: database.url(), max_pending: i64::MAX };
    let other = Postgres::open(options, world.clock.clone(), &mut fastrand::Rng::with_seed(8)).await.unwrap();
    let mut got = 0;
    let all = async {
        while got < SLOTS {
            got += other.trade_slots("telegram", SLOTS as u32, Vec::new(), SLOTS - got).await.unwrap().1.len();
            world.clock.pass(COARSE);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if db.query_one("select is_called from refused", &[]).await.unwrap().get(0) {
                db.batch_execute("drop trigger if exists refuse on slots").await.unwrap();
            }
        }
    };
    let came = tokio::time::timeout(AT_LAST, all).await;
    assert!(came.is_ok(), "{got} of {SLOTS}");
    let refused = db.query_one("select is_called from refused", &[]).await.unwrap().get::<_, bool>(0);
    assert!(refused, "nothing failed");
}

/// While thirty chats take all that the bot may send, the next one is not always the last.
#[tokio::test]
async fn chats_with_many_waiting_do_not_delay_a_chat_with_one() {
    let world = private_chats(31).start().await;
    for n in 0..90 {
        world.accepted(&numbered_to(n % 30, n)).await;
    }
    world.accepted(&numbered_to(30, 90)).await;
    world.until_calls(31).await;
    assert_eq!(numbers(&world.telegram.posted("1030")), [90], "it is the first of the second second");
    world.until_all("delivered").await;
    world.met_no_429();
}

#[tokio::test]
async fn a_channel_with_many_waiting_does_not_delay_a_channel_with_one() {
    let world = Setup::paced().channels(2, |n| format!("slack: C000000000{n}")).start().await;
    for n in 0..100 {
        world.accepted(&numbered_to(0, n)).await;
    }
    world.accepted(&numbered_to(1, 100)).await;
    world.slack_seen(|record| record.posted("C0000000001").count() == 1).await; // the clock stands
    assert!(world.slack.posted("C0000000000").len() < 3);
}

/// `pace: none` switches off the rates alone.
#[tokio::test]
async fn without_a_pace_order_and_pauses_stay() {
    let world = Setup::default().only_slack().start().await;
    world.burst(0..30).await;
    world.settled_as("delivered", 30).await; // the clock stands
    world.slack.fault(Fault::rate_limited(7).once());
    world.burst(30..60).await;
    world.until_figure(r#"campanile_account_held{account="slack"}"#, 1.0, Duration::ZERO).await;
    let before = world.slack.counts().calls;
    world.clock.pass(Duration::from_secs(6));
    world.deliveries().await;
    assert_eq!(world.slack.counts().calls, before);
    world.clock.pass(Duration::from_secs(1));
    world.settled_as("delivered", 60).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), (0..60).collect::<Vec<_>>());
}

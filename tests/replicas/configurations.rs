//! Replicas whose configurations lead channels differently: a rollout that is under way, or was undone.

use std::time::Duration;

use campanile::outbox::{Lease, Outbox, Place, Until};

use super::{LANES, PATIENCE, Replica, START, STEP, TOPICS, arrival, place, see_each_other, two};
use crate::harness::postgres::{Database, connect};

const OTHERS_TIME: Duration = Duration::from_secs(180);

/// The channel in a lane, which is a conversation of its own.
fn led(channel: usize, lane: &str) -> Place {
    Place { conversation: lane.into(), lane: lane.into(), ..place(channel) }
}

/// Lets time pass and the replicas send until so many messages were sent: which of them sent to which channel.
async fn sent(replicas: &[&Replica], messages: usize) -> Vec<(usize, String)> {
    let mut sent = Vec::new();
    let all = async {
        while sent.len() < messages {
            for (at, replica) in replicas.iter().enumerate() {
                for turn in replica.outbox.claim("slack", LANES).await.unwrap() {
                    for head in replica.outbox.heads(&turn, 16).await.unwrap() {
                        replica.delivered(&turn, &head).await.unwrap();
                        sent.push((at, head.place()));
                    }
                    replica.outbox.release(turn, Until::Now);
                }
                replica.clock.pass(Duration::from_millis(250));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, all).await;
    assert!(came.is_ok(), "{sent:?}, of {messages}");
    sent
}

/// Lets time pass until the replica has a turn.
async fn turn(replica: &Replica) -> Lease {
    let claims = async {
        loop {
            if let Some(turn) = replica.outbox.claim("slack", LANES).await.unwrap().pop() {
                return turn;
            }
            replica.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, claims).await.expect("it claims a lane")
}

async fn lane_of(database: &Database, channel: usize) -> String {
    let key = "select l.key from channels c join lanes l on l.id = c.lane where c.name = $1";
    connect(&database.url).await.query_one(key, &[&format!("c{channel}")]).await.unwrap().get(0)
}

/// In a rolling change of the configuration the replicas of before go on, and nobody waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_another_replica_sends_to_is_led_anew_when_that_leaves_it() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    other.accept(1, 0..LANES).await;
    let held = other.claimed(1).await.remove(0);
    let channel = other.outbox.heads(&held, 1).await.unwrap().remove(0).place();
    let mut places: Vec<Place> = (0..LANES).map(place).collect();
    let moved = places.iter_mut().find(|place| place.channel.as_str() == channel).unwrap();
    (moved.lane, moved.conversation) = ("slack:NEW".into(), "slack:NEW".into());
    one.outbox.place(places).await.unwrap();
    assert_eq!(other.outbox.heads(&held, 1).await.unwrap()[0].place(), channel, "it is still sent from there");
    other.settle(&held).await.unwrap();
    other.accept(2, 0..LANES).await;
    other.outbox.release(held, Until::Now);
    other.outbox.close().await;
    let found = async {
        loop {
            for turn in one.outbox.claim("slack", LANES).await.unwrap() {
                let heads = one.outbox.heads(&turn, 1).await.unwrap();
                if heads.first().is_some_and(|head| head.place() == channel) {
                    return heads;
                }
            }
            one.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heads = tokio::time::timeout(PATIENCE, found).await.expect("it is sent from its new lane");
    assert_eq!(heads[0].document, arrival(2, 0, 0..1).document);
    assert_eq!(lane_of(&database, number(channel.as_str())).await, "slack:NEW");
}

/// Conversations of two channels each, and a replica that has one of the two: the other's messages are not its to send, stand
/// in nobody's way, and are not kept from whoever sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_one_replica_does_not_have_is_served_by_another() {
    const SHARED: usize = 8; // some of which are for either to claim first
    let database = Database::new().await;
    let places = |channels| (0..channels).map(|n| led(n, &format!("slack:C{}", n % SHARED))).collect();
    let one = Replica::start_with(&database, Duration::ZERO, places(SHARED * 2)).await;
    let other = Replica::start_with(&database, OTHERS_TIME, places(SHARED)).await;
    see_each_other(&one, &other).await;
    other.accept(1, 0..SHARED).await;
    sent(&[&other], SHARED).await; // it has claimed them all
    one.accept(2, SHARED..SHARED * 2).await;
    one.accept(3, 0..SHARED).await;
    let ends = sent(&[&other], SHARED).await;
    assert!(ends.iter().all(|(_, channel)| number(channel) < SHARED), "behind what is not its own: {ends:?}");
    let rest = sent(&[&one, &other], SHARED).await;
    assert!(rest.iter().all(|(at, channel)| *at == 0 && number(channel) >= SHARED), "{rest:?}");
}

fn number(channel: &str) -> usize {
    channel[1..].parse().unwrap()
}

/// The newer configuration led a channel elsewhere and was taken back: the channel leads where it did, with what it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_that_is_gone_led_elsewhere_is_led_back() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:OLD")]).await;
    let other = Replica::start_with(&database, OTHERS_TIME, vec![led(0, "slack:NEW")]).await;
    see_each_other(&one, &other).await;
    assert_eq!(lane_of(&database, 0).await, "slack:NEW", "the latest counts");
    one.accept(1, 0..1).await;
    assert_eq!(sent(&[&one, &other], 1).await, [(1, "c0".to_owned())]);
    one.accept(2, 0..1).await;
    other.outbox.close().await;
    assert_eq!(sent(&[&one], 1).await, [(0, "c0".to_owned())]);
    assert_eq!(lane_of(&database, 0).await, "slack:OLD");
}

/// A replica that could not lead one of its channels leads no other anew for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_configuration_counts_though_a_channel_of_the_one_before_could_not_be_led() {
    let database = Database::new().await;
    let (one, other) = two(&database).await;
    let mut places: Vec<Place> = (0..LANES).map(place).collect();
    other.accept(1, 0..LANES).await;
    let held = other.claimed(1).await.remove(0);
    let stuck = number(other.outbox.heads(&held, 1).await.unwrap()[0].place().as_str());
    places[stuck] = led(stuck, "slack:NEW");
    one.outbox.place(places).await.unwrap();
    let moved = (stuck + TOPICS) % LANES; // of another conversation
    let mut places: Vec<Place> = (0..LANES).map(place).collect();
    places[moved] = led(moved, "slack:LATEST");
    other.outbox.place(places).await.unwrap();
    assert_eq!(lane_of(&database, moved).await, "slack:LATEST");
    beats(&database, &one, 3).await;
    assert_eq!(lane_of(&database, stuck).await, place(stuck).lane, "it is being sent from there");
    assert_eq!(lane_of(&database, moved).await, "slack:LATEST");
}

/// Lets a replica look around while the others' clocks stand: not so often that they seem gone.
async fn beats(database: &Database, replica: &Replica, more: usize) {
    let db = connect(&database.url).await;
    let beat = async || {
        let all = "select sum(beat)::bigint from leases";
        db.query_one(all, &[]).await.unwrap().get::<_, i64>(0)
    };
    for _ in 0..more {
        let before = beat().await;
        replica.clock.pass(STEP);
        let looked = async {
            while beat().await == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("it looks around");
    }
}

/// Who sends it is told of what another has accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_accepts_for_a_channel_that_was_led_elsewhere_wakes_whoever_sends_there() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:OLD")]).await;
    let other = Replica::start_with(&database, OTHERS_TIME, vec![led(0, "slack:NEW")]).await;
    see_each_other(&one, &other).await;
    beats(&database, &one, 3).await;
    one.accept(1, 0..1).await;
    let turn = other.claimed(1).await.remove(0); // by a clock that stands: it does not look around
    other.settle(&turn).await.unwrap();
}

/// The other has something to send in the same conversation, which nobody else can see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_time_keeps_no_conversation_from_replicas_that_lead_others_there() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:L")]).await;
    let other = Replica::start_with(&database, OTHERS_TIME, vec![led(1, "slack:L")]).await;
    see_each_other(&one, &other).await;
    one.accept(1, 0..1).await;
    let turn = turn(&one).await;
    one.outbox.release(turn, Until::BackedOff(one.clock.now_ms() + 86_400_000));
    other.accept(2, 1..2).await;
    assert_eq!(sent(&[&one, &other], 1).await, [(1, "c1".to_owned())]);
}

/// A reload that fails midway leaves the old configuration in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_led_before_placing_failed_is_led_back() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:OLD")]).await;
    let db = connect(&database.url).await;
    let looked = async {
        // The first look goes over all places anyway, and the second begins when it is over.
        while db.query_one("select max(beat) from leases", &[]).await.unwrap().get::<_, i64>(0) < 2 {
            one.clock.pass(STEP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks around");
    let refuse = "create function refuse() returns trigger language plpgsql as
             'begin raise exception ''refused''; end';
         create trigger refuse before update of places on leases for each row execute function refuse()";
    db.batch_execute(refuse).await.unwrap();
    one.outbox.place(vec![led(0, "slack:NEW")]).await.unwrap_err();
    db.batch_execute("drop trigger refuse on leases").await.unwrap();
    one.accept(1, 0..1).await;
    assert_eq!(sent(&[&one], 1).await, [(0, "c0".to_owned())]);
    assert_eq!(lane_of(&database, 0).await, "slack:OLD");
}

/// As when giving it up failed: it is in no lane that the replica looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_holds_and_does_not_serve_is_given_up() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:A"), led(1, "slack:B")]).await;
    let other = Replica::start_with(&database, OTHERS_TIME, vec![led(0, "slack:A")]).await;
    see_each_other(&one, &other).await;
    let stranded = "update conversations set lease = (select max(id) from leases) where key = 'slack:B'";
    assert_eq!(connect(&database.url).await.execute(stranded, &[]).await.unwrap(), 1);
    one.accept(1, 1..2).await;
    assert_eq!(sent(&[&one, &other], 1).await, [(0, "c1".to_owned())]);
}

/// It cannot have sent what it does not serve, whatever waits in front of what it sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replica_leaves_its_mark_on_what_it_served() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:L"), led(1, "slack:L")]).await;
    let other = Replica::start_with(&database, OTHERS_TIME, vec![led(1, "slack:L")]).await;
    see_each_other(&one, &other).await;
    one.accept(1, 0..1).await;
    other.accept(2, 1..2).await;
    turn(&other).await; // it stands still from now on
    let turn = turn(&one).await;
    let heads = one.outbox.heads(&turn, 16).await.unwrap();
    let marks: Vec<_> = heads.iter().map(|head| (head.place(), head.unclear)).collect();
    assert_eq!(marks, [("c0".to_owned(), false), ("c1".to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_places_channels_when_its_lease_is_gone_says_so_under_the_next() {
    let database = Database::new().await;
    let one = Replica::start_with(&database, Duration::ZERO, vec![led(0, "slack:OLD")]).await;
    let db = connect(&database.url).await;
    db.batch_execute("delete from leases").await.unwrap();
    one.outbox.place(vec![led(0, "slack:NEW")]).await.unwrap();
    assert_eq!(db.query("select id from leases", &[]).await.unwrap().len(), 1, "before anything is sent");
    let _other = Replica::start_with(&database, OTHERS_TIME, vec![led(0, "slack:NEW")]).await;
    let said = db.query("select places, channels, count(*) from leases group by 1, 2", &[]).await.unwrap();
    assert_eq!(said.iter().map(|row| row.get::<_, i64>(2)).collect::<Vec<_>>(), [2], "both, and they agree");
}

/// Nobody waits for another in a circle, and thousands of channels are no more work for the database than one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_channels_are_placed_at_once() {
    const MANY: usize = 2_000;
    let database = Database::new().await;
    let places = |lane: &str| (0..MANY).map(|n| led(n, &format!("slack:{lane}{n}"))).collect::<Vec<_>>();
    let backwards = |places: Vec<Place>| places.into_iter().rev().collect::<Vec<_>>();
    let one = Replica::start_with(&database, Duration::ZERO, places("A")).await;
    let other = Replica::start_with(&database, OTHERS_TIME, backwards(places("A"))).await;
    for lane in ["B", "C", "D"] {
        let before = one.outbox.gauges().await.unwrap().statements;
        let (ones, others) = tokio::join!(one.outbox.place(places(lane)), other.outbox.place(backwards(places(lane))));
        ones.and(others).unwrap();
        let statements = one.outbox.gauges().await.unwrap().statements - before;
        assert!(statements < 20, "{statements} statements");
        assert_eq!(lane_of(&database, MANY / 2).await, format!("slack:{lane}{}", MANY / 2));
    }
    one.outbox.accept(arrival(1, START, 0..3)).await.unwrap();
    assert_eq!(sent(&[&one, &other], 3).await.len(), 3);
}

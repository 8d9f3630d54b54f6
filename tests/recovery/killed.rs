//! SIGKILL of the real binary while it looks through the log.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::{SlackSimulator, TelegramSimulator, TrackerSimulator};
use campanile::tracker::trigger::Watched;
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::door::{Behind, Door};
use super::{SECOND, trigger};
use crate::harness::child::Bridge;
use crate::harness::{HOOK_SECRET, LOOPBACK, Setup};

const CALLS: usize = 120;
const KILLS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_while_it_recovers_loses_and_repeats_nothing() {
    // What Tracker tells of happened half an hour ago, so that its log is old enough when the bridge reads it.
    let clock = Clock::held(Timestamp::now() - Duration::from_secs(1_800));
    let setup = Setup::on(Clock::machine()).only_slack();
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let options = Setup::on(clock.clone()).with_tracker().tracker.unwrap();
    let tracker = TrackerSimulator::start(LOOPBACK, options).await.unwrap();
    let (folder, door) = (tempfile::tempdir().unwrap(), Door::new().await);
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &format!("http://{}", telegram.addr()));
    let config = std::fs::read_to_string(folder.path().join("config.yaml")).unwrap();
    let config = config.replacen("server: {", &format!("server: {{public_url: '{}', ", door.url), 1);
    let keys = format!("url: '{}', token: {{env: TRACKER_TOKEN}}, org_id: \"1\", queues: [TEST]", tracker.api_url());
    std::fs::write(folder.path().join("config.yaml"), format!("{config}tracker: {{{keys}}}\n")).unwrap();
    bridge.start().await;
    bridge.terminate().await;
    // As if it had been there for an hour.
    bridge.database().execute("update marks set number = number - 3600000 where name = 'recovered'", []).unwrap();
    bridge.database().execute("delete from marks where name like 'recovered:%'", []).unwrap();
    tracker.make_trigger("TEST", &trigger(Watched::StatusChanged, &door.url, HOOK_SECRET)).unwrap();
    door.leads_to(Behind::Page(503));
    for n in 1..=CALLS {
        tracker.change_status("TEST-1", if n % 2 == 0 { "open" } else { "inProgress" }, "maria.petrova").unwrap();
        tracker.wait_for_sent(n, 0).await;
        clock.pass(SECOND);
    }
    // From now on its time is the machine's, which the bridge compares with its own.
    clock.pass(Timestamp::now().duration_since(clock.now()).unsigned_abs());
    let mut ticking = JoinSet::new();
    let ticks = clock.clone();
    ticking.spawn(async move {
        loop {
            tokio::time::sleep(SECOND).await;
            ticks.pass(SECOND);
        }
    });
    let events = || bridge_events(folder.path());
    let called_to = clock.now_ms() - 6 * 60 * 1_000; // a younger call may still come by itself
    let mut stages = Vec::new();
    for kill in 1..=KILLS {
        let wanted = CALLS * kill as usize / (KILLS as usize + 1);
        bridge.start().await;
        until(|| events().0 >= wanted).await;
        bridge.kill();
        stages.push(events().0);
    }
    bridge.start().await;
    until(|| events().0 >= CALLS && events().2 >= called_to).await;
    bridge.kill();
    bridge.start().await;
    until(|| tracker.requests("webhook_log") > 0).await;
    bridge.terminate().await;
    let (all, different, _) = events();
    assert_eq!((all, different), (CALLS, CALLS), "{stages:?}");
    assert!(stages[0] < CALLS, "killed in the middle: {stages:?}");
}

async fn until(wanted: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if wanted() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    panic!("never came");
}

/// How many events there are, of how many calls, and how far the log was read.
fn bridge_events(folder: &std::path::Path) -> (usize, usize, i64) {
    let db = rusqlite::Connection::open(folder.join("data/campanile.db")).unwrap();
    let count = "select count(*), count(distinct fingerprint),
        (select coalesce(max(number), 0) from marks where name like 'recovered:%') from events";
    db.query_row(count, [], |row| Ok((row.get::<_, i64>(0)? as usize, row.get::<_, i64>(1)? as usize, row.get(2)?)))
        .unwrap()
}

//! What is measured: each function starts its own processes on an empty store of a kind and adds its rows to the table.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::bare;
use crate::bridge::{Bridge, CONNECTIONS, Cost, LANES, Setup};
use crate::child::Child;
use crate::load::{Done, Load, Most, percentile};
use crate::messengers::Messengers;
use crate::store::OnServer;
use crate::store::Store::{self, Postgres, Sqlite};
use crate::table::{Must, Table, figure};

type Row = fn(&mut Run, Store);
pub const ROWS: &[(&str, Row)] = &[
    ("accepts", accepts),
    ("backlog", backlog),
    ("both", both),
    ("latency", latency),
    ("rest", rest),
    ("million", million),
    ("lanes", lanes),
    ("snapshot", snapshot),
];

/// How the rows are measured.
#[derive(Clone, Copy, Default)]
pub struct How {
    pub is_quick: bool,
    /// The plans of PostgreSQL's statements are printed as well.
    pub explains: bool,
}

pub struct Run {
    how: How,
    pub table: Table,
}

impl Run {
    pub fn new(how: How) -> Self {
        Self { how, table: Table::default() }
    }

    fn seconds(&self, whole: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.how.is_quick { quick } else { whole })
    }

    fn count(&self, whole: u32, quick: u32) -> u32 {
        if self.how.is_quick { quick } else { whole }
    }

    fn told(&mut self, what: &str, measured: f64, unit: &str, beside: impl Into<String>) {
        self.table.row(what, measured, unit, Must::Told, beside);
    }

    /// What each of `many` cost, in one line of the table.
    fn cost(&mut self, what: &str, cost: Cost, many: f64) {
        let wal = match cost.bytes_of_wal {
            0.0 => String::new(),
            bytes => format!(", of it {} of WAL", figure(bytes / many)),
        };
        let beside = format!(
            "{} commits, {} fsyncs, {} bytes written ({} to disk{wal}), {} µs of CPU",
            figure(cost.commits / many),
            figure(cost.syncs / many),
            figure(cost.bytes_written / many),
            figure(cost.bytes_to_disk / many),
            figure(cost.cpu_seconds * 1e6 / many),
        );
        self.told(what, cost.statements / many, " statements", beside);
    }
}

/// The replicas that are measured beside one.
const FLEET: u32 = 3;

/// A bridge whose lanes are all held: both messengers are down.
fn held(setup: Setup) -> (Messengers, Bridge) {
    let mut messengers = Messengers::start("simulators");
    messengers.go_down();
    let bridge = Bridge::start(&messengers, setup);
    bridge.load(Most::Triggers(64), None).run(); // connections are made, the breakers open
    (messengers, bridge)
}

/// Accepts for a while, on a bridge whose lanes are held.
fn accept(bridge: &Bridge, time: Duration) -> Done {
    let done = bridge.load(Most::Time(time), None).run();
    assert_eq!(done.refused, 0, "triggers were refused");
    done
}

/// How fast `most` messages of the backlog leave, from the first one on, and how many were counted.
fn drain(messengers: &mut Messengers, most: u64) -> (f64, u64) {
    let before = messengers.posted();
    messengers.come_up();
    let first = messengers.wait_for(before + 1);
    let at_first = messengers.posted();
    let last = messengers.wait_for(before + most);
    let posted = messengers.posted() - at_first;
    (posted as f64 / last.duration_since(first).as_secs_f64(), posted)
}

fn accepts(run: &mut Run, store: Store) {
    let time = run.seconds(10, 4);
    let (_messengers, bridge) = held(Setup::of(store));
    let before = bridge.cost();
    let done = accept(&bridge, time);
    let cost = bridge.cost() - before;
    drop(bridge);
    let hyper = Child::start("hyper");
    let load =
        Load { to: vec![bare::address(&hyper)], connections: CONNECTIONS, most: Most::Time(time / 2), pace: None };
    let bare = load.run();
    let ratio = format!(
        "bare hyper {}/s, p99 {} ms: {:.2} of it",
        figure(bare.per_second()),
        figure(bare.percentile(99.0)),
        done.per_second() / bare.per_second()
    );
    let (must, p99_must) = match store {
        Sqlite => (Must::AtLeast(20_000.0), Must::AtMost(20.0)),
        Postgres => (Must::AtLeast(8_000.0), Must::Told),
    };
    let what = store.tells("durable accepts, lanes held, 64 connections");
    run.table.row(what, done.per_second(), "/s", must, ratio);
    run.told("… p50", done.percentile(50.0), " ms", "");
    run.table.row("… p99", done.percentile(99.0), " ms", p99_must, "");
    run.cost("… each (event with 2 deliveries)", cost, done.accepted as f64);
    if store == Postgres {
        let (_messengers, fleet) = held(Setup { replicas: FLEET, ..Setup::of(store) });
        let together = accept(&fleet, time).per_second();
        let beside = format!("{}/s together", figure(together));
        run.table.row("… by three replicas, of one", together / done.per_second(), "", Must::AtLeast(0.9), beside);
    }
}

fn backlog(run: &mut Run, store: Store) {
    let most = run.count(200_000, 60_000);
    let (mut messengers, bridge) = held(Setup::of(store));
    bridge.fill(most);
    let before = bridge.cost();
    let (per_second, posted) = drain(&mut messengers, u64::from(most));
    let cost = bridge.cost() - before;
    drop(bridge);
    let (slack, telegram) = bare::clients(&messengers, run.seconds(4, 2));
    // As many to the one as to the other: the mean of the times, not of the rates.
    let mean = 2.0 / (1.0 / slack + 1.0 / telegram);
    let ratio = format!(
        "bare slack-morphism {}/s, bare teloxide {}/s: {:.2} of their mean",
        figure(slack),
        figure(telegram),
        per_second / mean
    );
    let must = match store {
        Sqlite => Must::AtLeast(15_000.0),
        Postgres => Must::AtLeast(6_000.0),
    };
    let what = store.tells("messages out of a backlog, pace: none, 2 × 32 lanes");
    run.table.row(what, per_second, "/s", must, ratio);
    run.cost("… each delivery, under load", cost, posted as f64);
    if store == Postgres {
        let (mut messengers, fleet) = held(Setup { replicas: FLEET, ..Setup::of(store) });
        fleet.fill(most);
        let (together, _) = drain(&mut messengers, u64::from(most));
        let beside = format!("{}/s together", figure(together));
        run.table.row("… by three replicas, of one", together / per_second, "", Must::AtLeast(0.7), beside);
    }
}

fn both(run: &mut Run, store: Store) {
    let time = run.seconds(10, 4);
    let (mut messengers, bridge) = held(Setup::of(store));
    // Twice what may leave in that time, so that the lanes never run dry.
    bridge.fill(run.count(300_000, 100_000));
    let before = messengers.posted();
    messengers.come_up();
    messengers.wait_for(before + 1);
    let (accepts_must, messages_must) = match store {
        Sqlite => (Must::AtLeast(8_000.0), Must::AtLeast(10_000.0)),
        Postgres => (Must::Told, Must::Told),
    };
    for (what, pace) in [
        ("both at once: accepts, 64 connections, unpaced", None),
        ("both at once: accepts, 8,200/s offered", Some(8_200.0)),
    ] {
        let (posted, begun) = (messengers.posted(), Instant::now());
        let load = bridge.load(Most::Time(time), pace);
        let done = load.run();
        let messages = (messengers.posted() - posted) as f64 / begun.elapsed().as_secs_f64();
        assert_eq!(done.refused, 0, "triggers were refused");
        let beside = format!("p50 {} ms, p99 {} ms", figure(done.percentile(50.0)), figure(done.percentile(99.0)));
        run.table.row(store.tells(what), done.per_second(), "/s", accepts_must, beside);
        run.table.row("… messages meanwhile", messages, "/s", messages_must, "");
    }
}

fn latency(run: &mut Run, store: Store) {
    let musts = match store {
        Sqlite => [(100.0, Must::AtMost(3.0), Must::AtMost(15.0)), (500.0, Must::Told, Must::AtMost(30.0))],
        Postgres => [(100.0, Must::AtMost(6.0), Must::AtMost(30.0)), (500.0, Must::Told, Must::Told)],
    };
    for (rate, p50_must, p99_must) in musts {
        let mut messengers = Messengers::start("receiver");
        let bridge = Bridge::start(&messengers, Setup::of(store));
        bridge.load(Most::Triggers(200), Some(200.0)).run(); // connections are made
        messengers.wait_for(400);
        messengers.arrivals();
        let done = bridge.load(Most::Time(run.seconds(15, 4)), Some(rate)).run();
        messengers.wait_for(2 * done.accepted);
        let sent: HashMap<u32, u64> = done.sent.iter().copied().collect();
        let took = messengers.arrivals().into_iter().map(|(number, at)| at.saturating_sub(sent[&number]) as u32);
        let mut took: Vec<u32> = took.collect();
        took.sort_unstable();
        let ms = |percent| f64::from(percentile(&took, percent)) / 1_000.0;
        let what = store.tells(&format!("trigger → message at {rate}/s to two messengers, p50"));
        run.table.row(
            what,
            ms(50.0),
            " ms",
            p50_must,
            format!("answer to the trigger: p50 {} ms", figure(done.percentile(50.0))),
        );
        let beside = format!("longest {} ms of {} messages", figure(ms(100.0)), took.len());
        run.table.row("… p99", ms(99.0), " ms", p99_must, beside);
    }
}

/// One trigger after another, each when the one before has reached both messengers.
fn rest(run: &mut Run, store: Store) {
    let mut messengers = Messengers::start("simulators");
    let bridge = Bridge::start(&messengers, Setup::of(store));
    bridge.load(Most::Triggers(64), None).run();
    messengers.wait_for(128);
    settle(&bridge);
    let triggers = run.count(100, 30);
    let before = bridge.cost();
    for done in 1..=triggers {
        Load { connections: 1, ..bridge.load(Most::Triggers(1), None) }.run();
        messengers.wait_for(128 + u64::from(2 * done));
    }
    settle(&bridge);
    let cost = bridge.cost() - before;
    run.cost(&store.tells("each delivery of a single event, at rest"), cost, f64::from(2 * triggers));
}

/// Returns when the last receipt is in the store.
fn settle(bridge: &Bridge) {
    while bridge.figure("campanile_ledger_planned{part=\"pending\"}") > 0.0 {
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a claim, a holder's question for heads and a look around begin with.
const EXPLAINED: [&str; 3] = ["update lanes set lease = $1", "select w.number, h.*", "select l.id, l.lease from lanes"];

fn million(run: &mut Run, store: Store) {
    let time = run.seconds(8, 3);
    let (some, many) = (run.count(100_000, 20_000), run.count(1_000_000, 100_000));
    let limits = if run.how.is_quick { [40.0, 60.0, 60.0] } else { [40.0, 60.0, 80.0] };
    let mut messengers = Messengers::start("simulators");
    let idle = Bridge::start(&messengers, Setup::of(store));
    thread::sleep(Duration::from_secs(1)); // at rest: nothing waits for this, it is the state that is measured
    memory(run, &store.tells("memory, idle"), &idle, limits[0]);
    drop(idle);

    // The figures with nothing pending, on a store of its own.
    messengers.go_down();
    let bridge = Bridge::start(&messengers, Setup::of(store));
    bridge.load(Most::Triggers(64), None).run();
    let accepts_before = accept(&bridge, time).per_second();
    let waiting = bridge.figure("campanile_ledger_planned{part=\"pending\"}");
    let (messages_before, _) = drain(&mut messengers, waiting as u64);
    drop(bridge);

    messengers.go_down();
    let mut bridge = Bridge::start(&messengers, Setup::of(store));
    bridge.fill(some);
    memory(run, &store.tells(&format!("memory, {} pending", figure(f64::from(some)))), &bridge, limits[1]);
    bridge.fill(many);
    let pending = figure(f64::from(many));
    memory(run, &store.tells(&format!("memory, {pending} pending")), &bridge, limits[2]);
    bridge.tidy();
    let accepts = accept(&bridge, time).per_second();
    let beside = format!("{}/s with none", figure(accepts_before));
    let what = store.tells(&format!("accepts with {pending} pending, of those with none"));
    run.table.row(what, accepts / accepts_before, "", Must::AtLeast(0.9), format!("{}/s; {beside}", figure(accepts)));

    bridge.kill();
    messengers.come_up();
    let (before, started) = (messengers.posted(), Instant::now());
    let first = {
        // Asked for while the process is starting: the first message may come before it is ready.
        let bridge = &mut bridge;
        let starting = thread::scope(|scope| {
            let starting = scope.spawn(move || bridge.run());
            let first = messengers.wait_for(before + 1);
            starting.join().expect("the server starts");
            first
        });
        starting.duration_since(started)
    };
    let what = store.tells(&format!("first delivery after start with {pending} pending"));
    let must = match store {
        Sqlite => Must::AtMost(1.0),
        Postgres => Must::Told, // the lease of the process that was killed ends first
    };
    run.table.row(what, first.as_secs_f64(), " s", must, "");
    let (posted, begun) = (messengers.posted(), Instant::now());
    messengers.wait_for(posted + u64::from(many / 4));
    let messages = (messengers.posted() - posted) as f64 / begun.elapsed().as_secs_f64();
    let what = store.tells(&format!("messages with {pending} pending, of those with few"));
    let beside = format!("{}/s; {}/s with {}", figure(messages), figure(messages_before), figure(waiting));
    run.table.row(what, messages / messages_before, "", Must::AtLeast(0.9), beside);
    memory(run, &store.tells(&format!("memory, after start with {pending} pending, sending")), &bridge, limits[2]);
    if store == Postgres && run.how.explains {
        explain(&mut messengers, &mut bridge);
    }
}

/// Many lanes with one message each, beside few lanes with as many in all.
fn lanes(run: &mut Run, store: Store) {
    let many = run.count(10_000, 2_000);
    let (mut messengers, bridge) = held(Setup::of(store));
    bridge.fill(many);
    let few = drained(&mut messengers, many);
    drop(bridge);
    messengers.go_down();
    let bridge = Bridge::start(&messengers, Setup { lanes: many / 2, ..Setup::of(store) });
    bridge.load(Most::Triggers(LANES), None).run(); // one of each kind
    let took = drained(&mut messengers, many);
    let what = store.tells(&format!("{} lanes with one message each, of the time of 2 × 32", figure(f64::from(many))));
    let beside = format!("{} s; {} s", figure(took), figure(few));
    run.table.row(what, took / few, "", Must::AtMost(2.0), beside);
    drop(bridge);
}

/// Seconds from the first message of a backlog to its last.
fn drained(messengers: &mut Messengers, most: u32) -> f64 {
    let (per_second, posted) = drain(messengers, u64::from(most));
    posted as f64 / per_second
}

/// A backlog that leaves while somebody else's transaction keeps what was settled from being cleared away.
fn snapshot(run: &mut Run, store: Store) {
    if store == Sqlite {
        return;
    }
    let parts = 10;
    let most = run.count(200_000, 60_000);
    let (mut messengers, bridge) = held(Setup::of(store));
    bridge.fill(most);
    let snapshot = bridge.database.as_ref().map(OnServer::snapshot);
    let (before, mut began) = (messengers.posted(), None);
    messengers.come_up();
    let mut curve = Vec::new();
    for part in 0..=parts {
        let at = messengers.wait_for(before + u64::from(most / parts * part).max(1));
        if let Some(began) = began.replace(at) {
            curve.push(f64::from(most / parts) / at.duration_since(began).as_secs_f64());
        }
    }
    drop(snapshot);
    let told: Vec<String> = curve.iter().map(|rate| figure(*rate)).collect();
    let what = store.tells("messages while a snapshot stays open: the last tenth of the backlog, of the first");
    run.told(&what, curve[curve.len() - 1] / curve[0], "", format!("{} /s", told.join(", ")));
}

/// Prints the plans of the statements by which lanes are claimed and read, from a server that writes them to its log.
fn explain(messengers: &mut Messengers, bridge: &mut Bridge) {
    bridge.kill();
    bridge.database.as_ref().inspect(|database| database.explain());
    bridge.run();
    let posted = messengers.posted();
    messengers.wait_for(posted + 10_000);
    bridge.kill();
    for (words, plan) in bridge.database.as_ref().map(|database| database.plans(&EXPLAINED)).unwrap_or_default() {
        eprintln!("the plan of `{words} …`{plan}\n");
    }
}

fn memory(run: &mut Run, what: &str, bridge: &Bridge, must: f64) {
    let memory = bridge.memory();
    run.table.row(what, memory.now, " MB", Must::AtMost(must), format!("highest so far {} MB", figure(memory.highest)));
}

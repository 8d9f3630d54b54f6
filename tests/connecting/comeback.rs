//! A database that was away is not run down by those who come back to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use campanile::clock::Clock;
use campanile::outbox::{Outbox, Postgres, PostgresOptions, PostgresUrl};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::{PATIENCE, Tcp, arrival, clock, comes, place};

/// The connections of a replica's pool, and the one that listens.
const MOST: usize = 8 + 1;
/// More than connections.
const CALLERS: usize = 40;
const TRIES: usize = 12;
/// As `connect::REST_MS` is wide at least: a machine that stands still makes gaps longer, never alike.
const APART: Duration = Duration::from_millis(60);

/// A way to a server that can be closed: then who comes is let in and shown out.
struct Door {
    port: u16,
    is_open: watch::Sender<bool>,
    tries: mpsc::UnboundedReceiver<Instant>,
    /// Connections through it, and the most of them at one time.
    through: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Door {
    async fn new(server: &Tcp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), server.port);
        let (is_open, open) = watch::channel(true);
        let (tried, tries) = mpsc::unbounded_channel();
        let through = Arc::<(AtomicUsize, AtomicUsize)>::default();
        let counted = through.clone();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let _ = tried.send(Instant::now());
                let (mut open, counted) = (open.clone(), counted.clone());
                tokio::spawn(async move {
                    if !*open.borrow() {
                        return;
                    }
                    counted.1.fetch_max(counted.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut caller, &mut server) => {}
                        _ = open.wait_for(|open| !*open) => {}
                    }
                    counted.0.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, is_open, tries, through }
    }

    /// A replica that comes through it.
    async fn replica(&self, seed: u64, clock: &Clock) -> Arc<Postgres> {
        let url = format!("postgres://campanile@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        let options = PostgresOptions { url: PostgresUrl::read(&url).unwrap(), max_pending: i64::MAX };
        let outbox = Postgres::open(options, clock.clone(), &mut fastrand::Rng::with_seed(seed)).await.unwrap();
        outbox.place(vec![place()]).await.unwrap();
        Arc::new(outbox)
    }

    /// What lies between so many tries to come in, while one caller after another asks.
    async fn gaps(&mut self, outbox: &Postgres) -> Vec<Duration> {
        self.is_open.send_replace(false);
        while self.tries.try_recv().is_ok() {}
        let asks = async {
            loop {
                let _ = outbox.accept(arrival(0)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let tries = async {
            let mut tries = Vec::new();
            while tries.len() < TRIES {
                tries.push(self.tries.recv().await.unwrap());
            }
            tries
        };
        let tries = tokio::select! {
            tries = tokio::time::timeout(PATIENCE, tries) => tries.expect("it tries"),
            () = asks => unreachable!(),
        };
        tries.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_back_each_at_its_own_moments_and_with_no_more_connections_than_before() {
    let server = Tcp::start(&[]);
    let (mut one_door, mut other_door) = (Door::new(&server).await, Door::new(&server).await);
    let clock = clock();
    let (one, other) = (one_door.replica(7, &clock).await, other_door.replica(8, &clock).await);

    // The clock stands: what tries to come in does so because of a call.
    let (gaps, others) = tokio::join!(one_door.gaps(&one), other_door.gaps(&other));
    for gaps in [&gaps, &others] {
        // The first may be another's that was under way: the pool has eight.
        assert!(gaps.iter().skip(1).all(|gap| *gap >= Duration::from_millis(95)), "no rest between tries: {gaps:?}");
        let (least, most) = (gaps.iter().skip(1).min().unwrap(), gaps.iter().max().unwrap());
        assert!(*most - *least > APART, "in step: {gaps:?}");
    }
    let apart = gaps.iter().zip(&others).filter(|(gap, other)| gap.abs_diff(**other) > APART).count();
    assert!(apart >= TRIES / 4, "both at the same moments: {gaps:?}, {others:?}");

    // All callers at once, and the database is back.
    let callers = [&one, &other].into_iter().flat_map(|outbox| {
        (0..CALLERS).map(|_| {
            let outbox = outbox.clone();
            async move {
                while outbox.moves().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
    });
    let callers: Vec<_> = callers.map(tokio::spawn).collect();
    one_door.is_open.send_replace(true);
    other_door.is_open.send_replace(true);
    let answered = async {
        for caller in callers {
            caller.await.unwrap();
        }
    };
    comes(&clock, "all are answered", answered).await;
    for door in [&one_door, &other_door] {
        let most = door.through.1.load(Ordering::SeqCst);
        assert!(most <= MOST, "{most} connections");
    }
}

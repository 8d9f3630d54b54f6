//! The one place where the parts are put together.

mod links;
mod moved;
mod parts;
mod recovery;
mod reload;
mod tracker;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use self::parts::{Ground, Parts, Sharers};
pub use self::parts::{kind, tracker_client};
use self::recovery::Recovery;
pub use self::reload::Reloader;
use self::reload::Start;
use crate::admin::Api;
use crate::clock::Clock;
use crate::config::{Config, Loaded, SecretError, Store};
use crate::delivery::{Outcome, Platform};
use crate::http::{Admin, Guard, Hooks, Readiness, admin_router, public_router, serve};
use crate::key::Queues;
use crate::lane::{Composer, Runner, Works};
use crate::layers::observe::Observer;
use crate::lifecycle::Lifecycle;
use crate::link::Application;
use crate::outbox::{Outbox, OutboxError, Postgres, PostgresOptions, PostgresUrl, Sqlite, SqliteOptions};
use crate::route::GIVE_UP_AFTER_HOURS;
use crate::source::{Intake, Reader, Secrets};
use crate::telemetry::{ByMessenger, ByOutcome, Metrics};
use crate::template::{Locale, Templates};
use crate::transport::Transport;

/// Settled deliveries are looked through for old ones this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// What comes from outside: a test can hold each of these.
pub struct Outside<'a> {
    pub clock: Clock,
    pub random: fastrand::Rng,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub public: TcpListener,
    pub admin: TcpListener,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("`{name}` has no value: {error}")]
    Secret { name: String, error: SecretError },
    #[error("`{name}` cannot be used: {why}")]
    Setting { name: String, why: String },
    #[error("no HTTPS: {0}")]
    Transport(#[source] rustls::Error),
    #[error("a listener has no address: {0}")]
    Listener(#[source] std::io::Error),
}

/// A running bridge.
pub struct App {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    lifecycle: Lifecycle,
    clock: Clock,
    patience: Duration,
    outbox: Arc<dyn Outbox>,
    tasks: JoinSet<&'static str>,
    reloader: Arc<Reloader>,
}

impl App {
    /// Opens the store, starts the lanes and the listeners. Ready whether or not a messenger answers.
    ///
    /// # Errors
    /// Everything that cannot mend itself while running; nothing is left running then.
    pub async fn start(loaded: Loaded, templates: Templates, outside: Outside<'_>) -> Result<Self, StartError> {
        let Outside { clock, mut random, env, public, admin } = outside;
        let (config, metrics) = (loaded.config.clone(), Arc::new(Metrics::default()));
        let transport = Transport::new(clock.clone()).map_err(StartError::Transport)?;
        let nobody = |_: &str| None;
        // What is built here needs the outbox later, and a configuration that cannot be built opens none.
        let opened: Arc<OnceLock<Sharers>> = Arc::default();
        let shared = opened.clone();
        let ground = Ground {
            transport: &transport,
            metrics: &metrics,
            clock: &clock,
            env,
            breaker_of: &nobody,
            sharers: Arc::new(move || shared.get().map_or(1, |sharers| sharers())),
        };
        let Parts { hash, places, rules, links, plan, accounts, admin_token, keep, recover } =
            Parts::build(loaded, templates, &ground, &mut random)?;
        let outbox = open(&config, env, &clock, &mut random).await?;
        let _ = opened.set(reload::sharers(&outbox));
        outbox.place(places.clone()).await?;
        let since = recovery::since(&outbox, &clock).await?;
        let lifecycle = Lifecycle::default();
        let works = Arc::new(Works {
            outbox: outbox.clone(),
            plan: watch::Sender::new(Arc::new(plan)),
            clock: clock.clone(),
            metrics: metrics.clone(),
            moves: Mutex::new(outbox.moves().await?),
            own: watch::Sender::new(None),
        });
        let (own, of_links) = (works.own.subscribe(), works.own.subscribe());
        let application = Arc::new(Application {
            rules: watch::Sender::new(links.map(Arc::new)),
            outbox: outbox.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            by_us: Box::new(move |event| of_links.borrow().as_ref().is_some_and(|own| own.did(event, None))),
            seed: random.u64(..),
            count: AtomicU64::default(),
        });
        let intake = Arc::new(Intake {
            rules: watch::Sender::new(Arc::new(rules)),
            outbox: outbox.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            by_us: Box::new(move |event| own.borrow().as_ref().is_some_and(|own| own.did(event, None))),
        });
        let bound = |listener: &TcpListener| listener.local_addr().map_err(StartError::Listener);
        let (public_at, admin_at) = (bound(&public)?, bound(&admin)?);
        let guard = Guard {
            token: admin_token.as_ref().map(|token| Secrets::new([token])),
            bound: admin_at,
            public_host: config.server.public_url.as_ref().and_then(|url| host_of(url.as_str())),
        };
        let (reloader, runners, keep) = Reloader::new(Start {
            config: config.clone(),
            hash,
            admin_token,
            places,
            transport,
            works: works.clone(),
            intake: intake.clone(),
            application: application.clone(),
            keep,
            recover,
            random,
            lifecycle: lifecycle.clone(),
        });
        reloader.staff(accounts).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(lanes(runners, lifecycle.clone()));
        let configuration = reloader.configuration();
        let readiness = Readiness { outbox: outbox.clone(), lifecycle: lifecycle.clone(), configuration };
        let recovering = intake.clone();
        let proxies = config.server.trusted_proxies.clone();
        let trusts = move |address| proxies.iter().any(|proxy| proxy.contains(address));
        let hooks = Arc::new(Hooks::new(intake, application, readiness.clone(), clock.clone(), trusts));
        let api = Arc::new(Api {
            outbox: outbox.clone(),
            metrics,
            clock: clock.clone(),
            configuration: reloader.configuration(),
            give_up_after_hours: GIVE_UP_AFTER_HOURS,
        });
        for (listener, router, name) in [
            (public, public_router(hooks), "the public listener"),
            (admin, admin_router(Admin { guard, api, readiness }), "the admin listener"),
        ] {
            let (clock, lifecycle) = (clock.clone(), lifecycle.clone());
            tasks.spawn(async move {
                serve(listener, router, clock, lifecycle).await;
                name
            });
        }
        let recovery = Recovery {
            works: works.clone(),
            intake: recovering,
            settings: reloader.recover(),
            keep: keep.clone(),
            public_url: config.server.public_url.as_ref().map(|url| url.as_str().to_owned()),
            since,
            lifecycle: lifecycle.clone(),
        };
        tasks.spawn(async move {
            recovery.run().await;
            "the look for missed calls"
        });
        let links = moved::keep(works.clone(), lifecycle.clone());
        tasks.spawn(async move {
            links.await;
            "the look for moved issues"
        });
        let tracker = tracker::watch(reloader.clone(), works, lifecycle.clone());
        tasks.spawn(async move {
            tracker.await;
            "the look at Tracker"
        });
        let retention = retention(outbox.clone(), keep, clock.clone(), lifecycle.clone());
        tasks.spawn(async move {
            retention.await;
            "retention"
        });
        info!(public = %public_at, admin = %admin_at, "campanile is up");
        let patience = Duration::from_secs(u64::from(config.server.shutdown_seconds));
        Ok(Self { public: public_at, admin: admin_at, lifecycle, clock, patience, outbox, tasks, reloader })
    }

    /// What puts another configuration in the place of the one that runs.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// Runs until `stop` comes, then stops cleanly. `false`: nobody asked, a task ended by itself.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> bool {
        let asked = tokio::select! {
            () = stop => true,
            Some(ended) = self.tasks.join_next() => {
                error!(?ended, "a task ended that must not; stopping");
                false
            }
        };
        self.stop().await;
        asked
    }

    /// Stops: what is in flight is finished within `shutdown_seconds`, the rest waits for the next start.
    pub async fn stop(mut self) -> bool {
        info!("stopping");
        let tasks = &mut self.tasks;
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(end) = ended {
                    error!(%end, "a task did not end by itself");
                }
            }
        };
        let in_time = self.lifecycle.stop(&self.clock, self.patience, all).await;
        if !in_time {
            warn!("shutdown_seconds are over; what was still in flight is left to the next start");
        }
        self.tasks.shutdown().await;
        self.outbox.close().await;
        info!("stopped");
        in_time
    }
}

/// Runs the lanes of every account, those too that a reload brings, until all have stopped.
async fn lanes(mut new: mpsc::UnboundedReceiver<Arc<Runner>>, lifecycle: Lifecycle) -> &'static str {
    let mut runners = JoinSet::new();
    loop {
        tokio::select! {
            biased; // who was there when the stop came has lanes to finish
            Some(runner) = new.recv() => {
                let over = lifecycle.over.clone();
                runners.spawn(async move {
                    tokio::select! {
                        () = runner.run() => {}
                        () = over.cancelled() => {}
                    }
                });
            }
            () = lifecycle.stopping.cancelled() => break,
            Some(ended) = runners.join_next() => {
                error!(?ended, "a messenger's lanes ended that must not");
                lifecycle.stopping.cancel(); // the others finish what they hold
                break;
            }
        }
    }
    while let Some(ended) = runners.join_next().await {
        if let Err(end) = ended {
            error!(%end, "a messenger's lanes did not end by themselves");
        }
    }
    "the messengers' lanes"
}

/// Deletes what is past `retention_days`, a small batch at a time.
async fn retention(outbox: Arc<dyn Outbox>, keep: watch::Receiver<Duration>, clock: Clock, lifecycle: Lifecycle) {
    while !lifecycle.stopping.is_cancelled() {
        let (now, keep) = (clock.now_ms(), *keep.borrow());
        match outbox.expire(now, now.saturating_sub(keep.as_millis() as i64)).await {
            Ok(expired) if expired.more => continue,
            Ok(_) => {}
            Err(error) => warn!(%error, "old rows could not be deleted; trying again later"),
        }
        tokio::select! {
            () = clock.sleep(EXPIRE_EVERY) => {}
            () = lifecycle.stopping.cancelled() => {}
        }
    }
}

/// Opens the store of this configuration, which one process has or replicas share.
///
/// # Errors
/// Of the store; of PostgreSQL's address where that is a secret.
pub async fn open(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    clock: &Clock,
    random: &mut fastrand::Rng,
) -> Result<Arc<dyn Outbox>, StartError> {
    match &config.store {
        Store::Sqlite(path) => Ok(Arc::new(Sqlite::open(sqlite_options(config, path), clock.clone())?)),
        Store::Postgres(url) => {
            let name = || "store".to_owned();
            let url = url.resolve(&config.folder, env).map_err(|error| StartError::Secret { name: name(), error })?;
            let url = PostgresUrl::read(url.expose_secret());
            let url = url.map_err(|why| StartError::Setting { name: name(), why })?;
            let options = PostgresOptions { url: url.in_folder(&config.folder), max_pending: max_pending(config) };
            Ok(Arc::new(Postgres::open(options, clock.clone(), random).await?))
        }
    }
}

/// A file of this configuration.
pub fn sqlite_options(config: &Config, path: &Path) -> SqliteOptions {
    SqliteOptions { path: path.to_owned(), reserve_mb: config.store_reserve_mb, max_pending: max_pending(config) }
}

fn max_pending(config: &Config) -> i64 {
    i64::try_from(config.max_pending).unwrap_or(i64::MAX)
}

/// What makes messages of events, as this configuration wants them.
pub fn composer(config: &Config, templates: Templates) -> Composer {
    Composer { templates, locale: Locale { language: config.language, time_zone: config.time_zone.clone() } }
}

/// What reads the calls of this configuration's sources.
pub fn reader(config: &Config) -> Reader {
    Reader {
        web_url: config.tracker.web_url.as_str().to_owned(),
        queues: Queues::new(config.tracker.queues.iter().cloned()),
    }
}

fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

impl Observer for Metrics {
    fn attempt(&self, to: Platform, outcome: Outcome, took: Duration) {
        let (messenger, outcome) = (to.as_str(), outcome.as_str());
        self.attempts.get_or_create(&ByOutcome { messenger, outcome }).inc();
        self.attempt_seconds.get_or_create(&ByMessenger { messenger }).observe(took.as_secs_f64());
    }
}

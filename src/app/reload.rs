//! Another configuration in the place of the one that runs: built whole first, then swapped whole.
//!
//! A delivery takes the configuration that counts when it begins, and keeps it to its end; a call is routed by the one
//! that counts when it has been read. Where channels lead elsewhere, the lanes concerned stand still while their pending
//! deliveries move: what is on its way ends first, or it would be sent from both. Breakers, paces and pauses belong to
//! the messenger and stay.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::StartError;
use super::parts::{Account, Ground, Parts, Sharers};
use super::recovery::Recover;
use crate::admin::{Configuration, RefusedConfiguration};
use crate::config::{Config, Loaded};
use crate::finding::Finding;
use crate::lane::{Pace, Runner, Works};
use crate::lifecycle::Lifecycle;
use crate::link::Application;
use crate::outbox::{Outbox, Place};
use crate::source::Intake;
use crate::telemetry::ByEnd;
use crate::template::Templates;
use crate::transport::Transport;

pub struct Reloader {
    transport: Transport,
    works: Arc<Works>,
    intake: Arc<Intake>,
    application: Arc<Application>,
    keep: watch::Sender<Duration>,
    recover: watch::Sender<Recover>,
    lifecycle: Lifecycle,
    new_runners: mpsc::UnboundedSender<Arc<Runner>>,
    configuration: watch::Sender<Configuration>,
    started_with: (Config, Option<SecretString>),
    /// Held for a whole reload: one at a time.
    running: tokio::sync::Mutex<Running>,
}

struct Running {
    places: Vec<Place>,
    runners: HashMap<Arc<str>, Arc<Runner>>,
    random: fastrand::Rng,
}

/// What a bridge begins with.
pub struct Start {
    pub config: Config,
    pub hash: String,
    pub admin_token: Option<SecretString>,
    pub places: Vec<Place>,
    pub transport: Transport,
    pub works: Arc<Works>,
    pub intake: Arc<Intake>,
    pub application: Arc<Application>,
    pub keep: Duration,
    pub recover: Recover,
    pub random: fastrand::Rng,
    pub lifecycle: Lifecycle,
}

impl Reloader {
    /// With it come the runners that are to run, and how long settled rows are kept.
    pub fn new(start: Start) -> (Arc<Self>, mpsc::UnboundedReceiver<Arc<Runner>>, watch::Receiver<Duration>) {
        let Start {
            config,
            hash,
            admin_token,
            places,
            transport,
            works,
            intake,
            application,
            keep,
            recover,
            random,
            lifecycle,
        } = start;
        let (new_runners, runners) = mpsc::unbounded_channel();
        let (keep, kept) = watch::channel(keep);
        let loaded_at = works.clock.now();
        let configuration = Configuration { hash, loaded_at, refused: None, waits_for_restart: Vec::new() };
        let reloader = Self {
            transport,
            works,
            intake,
            application,
            keep,
            recover: watch::Sender::new(recover),
            lifecycle,
            new_runners,
            configuration: watch::Sender::new(configuration),
            started_with: (config, admin_token),
            running: Running { places, runners: HashMap::new(), random }.into(),
        };
        (Arc::new(reloader), runners, kept)
    }

    /// How missed calls are looked for.
    pub fn recover(&self) -> watch::Receiver<Recover> {
        self.recover.subscribe()
    }

    pub fn configuration(&self) -> watch::Receiver<Configuration> {
        self.configuration.subscribe()
    }

    /// Swaps. Cancelled in the middle it may leave the channels led by the new configuration and the rest by the old;
    /// only a stop does that.
    ///
    /// # Errors
    /// What cannot be built, or a store that cannot be written. Nothing has changed then.
    pub async fn reload(
        &self,
        loaded: Loaded,
        templates: Templates,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), StartError> {
        let mut running = self.running.lock().await;
        let Running { places, runners, random } = &mut *running;
        let config = loaded.config.clone();
        let breaker_of = |name: &str| runners.get(name).map(|runner| runner.breaker());
        let ground = Ground {
            transport: &self.transport,
            metrics: &self.works.metrics,
            clock: &self.works.clock,
            env,
            breaker_of: &breaker_of,
            sharers: sharers(&self.works.outbox),
        };
        let parts = Parts::build(loaded, templates, &ground, random)?;
        let moved: Vec<Arc<Runner>> =
            led_elsewhere(places, &parts.places).iter().filter_map(|account| runners.get(*account).cloned()).collect();
        let mut still = Vec::with_capacity(moved.len());
        for runner in &moved {
            still.push(runner.stand_still().await);
        }
        // Until the new rules count, calls are still routed to channels that go.
        let stays = |old: &&Place| parts.places.iter().any(|new| new.channel == old.channel);
        let leaving: Vec<Place> = places.iter().filter(|old| !stays(old)).cloned().collect();
        if *places != parts.places {
            let all: Vec<Place> = parts.places.iter().chain(&leaving).cloned().collect();
            self.works.outbox.place(all.clone()).await?;
            *places = all;
        }
        self.works.plan.send_replace(Arc::new(parts.plan));
        self.intake.rules.send_replace(Arc::new(parts.rules));
        self.application.rules.send_replace(parts.links.map(Arc::new));
        self.keep.send_replace(parts.keep);
        self.recover.send_replace(parts.recover); // last: it wakes who looks at the others
        if !leaving.is_empty() {
            match self.works.outbox.place(parts.places.clone()).await {
                Ok(()) => *places = parts.places,
                Err(error) => warn!(%error, "channels that are gone still stand in their lanes; reload once more"),
            }
        }
        drop(still);
        drop(running);
        self.staff(parts.accounts).await;
        self.swapped(&config, parts.hash, parts.admin_token.as_ref());
        Ok(())
    }

    /// Gives each account somebody who serves its lanes, and those that have one their new pace.
    pub(super) async fn staff(&self, accounts: HashMap<Arc<str>, Account>) {
        let mut running = self.running.lock().await;
        let Running { runners, random, .. } = &mut *running;
        for (name, Account { platform, breaker, rates }) in accounts {
            if let Some(runner) = runners.get(&name) {
                runner.start_over(rates).await;
                continue;
            }
            let (works, lifecycle) = (self.works.clone(), self.lifecycle.clone());
            let runner =
                Arc::new(Runner::new(name.clone(), platform, works, breaker, Pace::new(rates), random, lifecycle));
            runners.insert(name, runner.clone());
            let _ = self.new_runners.send(runner); // nobody takes it only while all is stopping
        }
    }

    /// What waits for a person in these accounts may have been mended.
    pub(super) async fn end_waits(&self, accounts: &[&str]) {
        let running = self.running.lock().await;
        accounts.iter().filter_map(|account| running.runners.get(*account)).for_each(|runner| runner.end_waits());
    }

    fn swapped(&self, config: &Config, hash: String, admin_token: Option<&SecretString>) {
        let (started_with, token) = &self.started_with;
        let secret = |token: Option<&SecretString>| token.map(|token| token.expose_secret().to_owned());
        let mut waits_for_restart = config.waits_for_restart(started_with);
        if secret(admin_token) != secret(token.as_ref()) {
            waits_for_restart.push("server.admin_token");
        }
        info!(hash, "the configuration was reloaded");
        if !waits_for_restart.is_empty() {
            warn!(keys = waits_for_restart.join(", "), "some changes count after a restart");
        }
        self.works.metrics.config_reloads.get_or_create(&ByEnd { end: "swapped" }).inc();
        self.works.metrics.config_refused.set(0);
        let loaded_at = self.works.clock.now();
        self.configuration.send_replace(Configuration { hash, loaded_at, refused: None, waits_for_restart });
    }

    /// Shows why the files as they are now change nothing.
    pub fn refused(&self, findings: Vec<Finding>) {
        for Finding { file, line, column, message, hint, .. } in &findings {
            warn!(file, line, column, hint, "{message}");
        }
        warn!("the configuration was not reloaded; what ran before goes on");
        self.works.metrics.config_reloads.get_or_create(&ByEnd { end: "refused" }).inc();
        self.works.metrics.config_refused.set(1);
        let refused = Some(RefusedConfiguration { at: self.works.clock.now(), findings });
        self.configuration.send_modify(|configuration| configuration.refused = refused);
    }
}

/// How many processes share what one of the outbox's organisation may ask of others.
pub(super) fn sharers(outbox: &Arc<dyn Outbox>) -> Sharers {
    let outbox = outbox.clone();
    Arc::new(move || outbox.fleet().map_or(1, |fleet| fleet.replicas))
}

/// The accounts of channels that come, go, or lead elsewhere.
fn led_elsewhere<'a>(before: &'a [Place], after: &'a [Place]) -> BTreeSet<&'a str> {
    let gone = before.iter().filter(|place| !after.contains(place));
    let come = after.iter().filter(|place| !before.contains(place));
    gone.chain(come).map(|place| &*place.account).collect()
}

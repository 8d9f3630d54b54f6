//! The one place where the parts are put together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::Api;
use crate::clock::Clock;
use crate::config::{Channel, Config, Conversation, Loaded, Placed, Secret, SecretError, Store};
use crate::delivery::{Messenger, Outcome};
use crate::http::{Admin, Guard, Hooks, Readiness, admin_router, public_router, serve};
use crate::lane::{self, Composer, Pace, Quota, Rates, Runner, Works};
use crate::layers::breaker::Breaker;
use crate::layers::observe::Observer;
use crate::lifecycle::Lifecycle;
use crate::messenger::sender::{self, Limits, Sender, Target};
use crate::messenger::{slack, telegram, transport};
use crate::outbox::{Outbox, OutboxError, Place, Sqlite, SqliteOptions};
use crate::source::{GIVE_UP_AFTER_HOURS, Intake, Queues, Reader, Secrets, Source};
use crate::telemetry::{ByMessenger, ByOutcome, Metrics};
use crate::template::{Locale, Templates};

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
}

impl App {
    /// Opens the store, starts the lanes and the listeners. Ready whether or not a messenger answers.
    ///
    /// # Errors
    /// Everything that cannot mend itself while running; nothing is left running then.
    pub async fn start(loaded: Loaded, templates: Templates, outside: Outside<'_>) -> Result<Self, StartError> {
        let Loaded { config, router, warnings: _ } = loaded;
        let Outside { clock, mut random, env, public, admin } = outside;
        let secrets = Resolver { config: &config, env };
        let outbox: Arc<dyn Outbox> = Arc::new(Sqlite::open(store_options(&config), clock.clone())?);
        outbox.place(config.channels.iter().map(place).collect()).await?;
        let metrics = Arc::new(Metrics::default());
        let lifecycle = Lifecycle::default();
        let mut tasks = JoinSet::new();

        let mut channels = HashMap::new();
        for channel in &config.channels {
            channels.insert(channel.name.clone(), lane_channel(channel, &secrets)?);
        }
        let works = Arc::new(Works {
            outbox: outbox.clone(),
            composer: composer(&config, templates),
            clock: clock.clone(),
            metrics: metrics.clone(),
            moves: Mutex::new(outbox.moves().await?),
            channels,
        });
        let accounts = Accounts { config: &config, secrets: &secrets, metrics: &metrics, clock: &clock };
        for account in accounts.all(&mut random)? {
            let Account { name, messenger, sender, breaker, rates } = account;
            let pace = Pace::new(rates);
            let runner =
                Runner::new(name, messenger, works.clone(), sender, breaker, pace, &mut random, lifecycle.clone());
            let over = lifecycle.over.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = Arc::new(runner).run() => {}
                    () = over.cancelled() => {}
                }
                "a messenger's lanes"
            });
        }

        let intake = Arc::new(Intake {
            sources: sources(&config, &secrets)?,
            router,
            give_up_after: config
                .channels
                .iter()
                .filter_map(|channel| Some((channel.name.clone(), channel.give_up_after_hours?)))
                .collect(),
            outbox: outbox.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let readiness = Readiness { outbox: outbox.clone(), lifecycle: lifecycle.clone() };
        let bound = |listener: &TcpListener| listener.local_addr().map_err(StartError::Listener);
        let (public_at, admin_at) = (bound(&public)?, bound(&admin)?);
        let proxies = config.server.trusted_proxies.clone();
        let trusts = move |address| proxies.iter().any(|proxy| proxy.contains(address));
        let hooks = Arc::new(Hooks::new(intake, readiness.clone(), clock.clone(), trusts));
        let guard = Guard {
            token: match &config.server.admin_token {
                Some(token) => Some(Secrets::new([&secrets.resolve("server.admin_token", token)?])),
                None => None,
            },
            bound: admin_at,
            public_host: config.server.public_url.as_ref().and_then(|url| host_of(url.as_str())),
        };
        let api = Arc::new(Api {
            outbox: outbox.clone(),
            metrics,
            clock: clock.clone(),
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
        let keep = Duration::from_secs(u64::from(config.retention_days) * 24 * 60 * 60);
        let retention = retention(outbox.clone(), keep, clock.clone(), lifecycle.clone());
        tasks.spawn(async move {
            retention.await;
            "retention"
        });
        info!(public = %public_at, admin = %admin_at, "campanile is up");
        let patience = Duration::from_secs(u64::from(config.server.shutdown_seconds));
        Ok(Self { public: public_at, admin: admin_at, lifecycle, clock, patience, outbox, tasks })
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

/// Deletes what is past `retention_days`, a small batch at a time.
async fn retention(outbox: Arc<dyn Outbox>, keep: Duration, clock: Clock, lifecycle: Lifecycle) {
    while !lifecycle.stopping.is_cancelled() {
        let now = clock.now_ms();
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

/// Secrets of the configuration, with the names under which its author knows them.
struct Resolver<'a> {
    config: &'a Config,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Resolver<'_> {
    fn resolve(&self, name: &str, secret: &Placed<Secret>) -> Result<SecretString, StartError> {
        let resolved = secret.value.resolve(&self.config.folder, self.env);
        resolved.map_err(|error| StartError::Secret { name: name.to_owned(), error })
    }
}

/// The store of this configuration.
pub fn store_options(config: &Config) -> SqliteOptions {
    let Store::Sqlite(path) = &config.store;
    SqliteOptions {
        path: path.clone(),
        reserve_mb: config.store_reserve_mb,
        max_pending: i64::try_from(config.max_pending).unwrap_or(i64::MAX),
    }
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

fn sources(config: &Config, secrets: &Resolver<'_>) -> Result<HashMap<String, Source>, StartError> {
    let mut sources = HashMap::new();
    for source in &config.sources {
        let name = format!("sources.{}.secret", source.name);
        let own: Vec<SecretString> =
            source.secrets.iter().map(|secret| secrets.resolve(&name, secret)).collect::<Result<_, _>>()?;
        let made = Source {
            name: source.name.clone(),
            secrets: Secrets::new(&own),
            url_secret: source.url_secret,
            dedupe: source.dedupe_seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
            reader: reader(config),
        };
        sources.insert(source.name.to_string(), made);
    }
    Ok(sources)
}

fn account_of(channel: &Channel) -> Arc<str> {
    match &channel.conversation {
        Conversation::Slack { .. } => Messenger::Slack.as_str().into(),
        Conversation::SlackWebhook { .. } => format!("slack-webhook:{}", channel.name).into(),
        Conversation::Telegram { .. } => Messenger::Telegram.as_str().into(),
    }
}

fn place(channel: &Channel) -> Place {
    Place {
        channel: channel.name.clone(),
        messenger: channel.conversation.messenger(),
        account: account_of(channel),
        lane: match &channel.conversation {
            Conversation::Slack { id } => format!("slack:{id}"),
            Conversation::SlackWebhook { .. } => format!("slack-webhook:{}", channel.name),
            Conversation::Telegram { chat, topic: None } => format!("telegram:{chat}"),
            Conversation::Telegram { chat, topic: Some(topic) } => format!("telegram:{chat}:{topic}"),
        },
    }
}

fn lane_channel(channel: &Channel, secrets: &Resolver<'_>) -> Result<lane::Channel, StartError> {
    let (target, conversation, is_group) = match &channel.conversation {
        Conversation::Slack { id } => (Target::Slack { channel: id.clone() }, id.clone(), false),
        Conversation::SlackWebhook { url } => {
            let name = format!("channels.{}.slack_webhook", channel.name);
            let url = slack::client::WebhookUrl::parse(&secrets.resolve(&name, url)?)
                .map_err(|error| StartError::Setting { name, why: error.to_string() })?;
            (Target::SlackWebhook { url }, channel.name.to_string(), false)
        }
        Conversation::Telegram { chat, topic } => {
            (Target::Telegram { chat: *chat, topic: *topic }, chat.to_string(), *chat < 0)
        }
    };
    Ok(lane::Channel { target, conversation, is_group, on_unclear: channel.on_unclear })
}

/// A token, or an incoming webhook, with everything that is shared by those who use it.
struct Account {
    name: Arc<str>,
    messenger: Messenger,
    sender: Sender,
    breaker: Breaker,
    rates: Rates,
}

struct Accounts<'a> {
    config: &'a Config,
    secrets: &'a Resolver<'a>,
    metrics: &'a Arc<Metrics>,
    clock: &'a Clock,
}

impl Accounts<'_> {
    fn all(&self, random: &mut fastrand::Rng) -> Result<Vec<Account>, StartError> {
        let transport = transport::Transport::new(self.clock.clone()).map_err(StartError::Transport)?;
        let mut accounts: HashMap<Arc<str>, Account> = HashMap::new();
        for channel in &self.config.channels {
            let name = account_of(channel);
            if !accounts.contains_key(&name) {
                accounts.insert(name.clone(), self.account(name, channel, &transport, random.u64(..))?);
            }
        }
        Ok(accounts.into_values().collect())
    }

    fn account(
        &self,
        name: Arc<str>,
        channel: &Channel,
        transport: &transport::Transport,
        seed: u64,
    ) -> Result<Account, StartError> {
        let messenger = channel.conversation.messenger();
        let breaker = Breaker::new(self.clock.clone());
        let limits = Limits { seed, ..Limits::default() };
        let observer = self.metrics.clone();
        let (sender, rates) = match &channel.conversation {
            Conversation::Slack { .. } | Conversation::SlackWebhook { .. } => {
                let slack = self.config.slack.as_ref();
                let token = slack.and_then(|slack| slack.token.as_ref());
                let token = token.map(|token| self.secrets.resolve("slack.token", token)).transpose()?;
                let api_url = slack.map_or("https://slack.com/api", |slack| slack.api_url.as_str());
                let client = slack::client::Client::new(transport.clone(), api_url, token.as_ref())
                    .map_err(|error| StartError::Setting { name: "slack.api_url".into(), why: error.to_string() })?;
                let pace = slack.map_or(Some(crate::config::SlackPace::default()), |slack| slack.pace);
                let rates = pace.map_or(Rates::default(), |pace| Rates {
                    per_conversation: Some((pace.per_channel_per_second, pace.burst)),
                    ..Rates::default()
                });
                (sender::sender(messenger, client, &limits, &breaker, observer, self.clock), rates)
            }
            Conversation::Telegram { .. } => {
                let telegram = self.config.telegram.as_ref();
                let token = telegram.and_then(|telegram| telegram.token.as_ref());
                let token = match token {
                    Some(token) => self.secrets.resolve("telegram.token", token)?,
                    None => SecretString::default(),
                };
                let api_url = telegram.map_or("https://api.telegram.org", |telegram| telegram.api_url.as_str());
                let client = telegram::client::Client::new(transport.clone(), api_url, &token)
                    .map_err(|error| StartError::Setting { name: "telegram.api_url".into(), why: error.to_string() })?;
                let pace = telegram.map_or(Some(crate::config::TelegramPace::default()), |telegram| telegram.pace);
                let rates = pace.map_or(Rates::default(), |pace| Rates {
                    per_conversation: Some((pace.per_chat_per_second, pace.burst)),
                    per_group: Some(Quota::new(pace.per_group_per_minute, Duration::from_secs(60))),
                    per_account: Some(Quota::new(pace.per_bot_per_second, Duration::from_secs(1))),
                });
                (sender::sender(messenger, client, &limits, &breaker, observer, self.clock), rates)
            }
        };
        Ok(Account { name, messenger, sender, breaker, rates })
    }
}

fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

impl Observer for Metrics {
    fn attempt(&self, messenger: Messenger, outcome: Outcome, took: Duration) {
        let (messenger, outcome) = (messenger.as_str(), outcome.as_str());
        self.attempts.get_or_create(&ByOutcome { messenger, outcome }).inc();
        self.attempt_seconds.get_or_create(&ByMessenger { messenger }).observe(took.as_secs_f64());
    }
}
